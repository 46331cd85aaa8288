"""What of a configuration a lab in `mode: modern` refuses: the algorithms and keys of 2009."""

from __future__ import annotations

from collections.abc import Iterator

from ikelab.errors import ConfigError
from ikelab.ios.command_tree import Place
from ikelab.ios.config import LabMode, RunningConfig
from ikelab.ios.grammar import Weak
from ikelab.ios.row import Mode
from ikelab.isakmp.policy import IsakmpPolicy
from ikelab.wire.numbers import (
    WEAK_GROUPS,
    AuthAlgorithm,
    EncryptionAlgorithm,
    EspTransform,
    HashAlgorithm,
)

MINIMUM_MODULUS = 2048
"""Bits of an RSA key (NIST SP 800-131A)."""

_WEAK_HASHES = (HashAlgorithm.MD5, HashAlgorithm.SHA)
_STRONG_ESP = (
    AuthAlgorithm.HMAC_SHA2_256,
    AuthAlgorithm.HMAC_SHA2_384,
    AuthAlgorithm.HMAC_SHA2_512,
)


def refuse_weak(weak: tuple[Weak, ...], mode: LabMode) -> None:
    """Raise ConfigError for the first word that needs `mode: legacy` in a lab without it."""
    if mode == "modern" and weak:
        raise _error(weak[0].word, column=weak[0].column + 1)


def weaknesses(config: RunningConfig) -> Iterator[tuple[Place, ConfigError]]:
    """Everything weak, defaults included, with the section it is in."""
    for priority, policy in config.policies.items():
        for text in _policy(policy):
            yield Place(Mode.CONFIG_ISAKMP, str(priority)), _error(text)
    for name, one in config.transform_sets.items():
        place = Place(Mode.CFG_CRYPTO_TRANS, name)
        if one.encryption is not EspTransform.ESP_AES:
            yield place, _error(f"transform-set {name} without esp-aes")
        if one.authentication not in _STRONG_ESP:
            yield place, _error(f"transform-set {name} without esp-sha256-hmac or more")
    for name, profile in config.ipsec_profiles.items():
        if profile.pfs in WEAK_GROUPS:
            yield Place(Mode.IPSEC_PROFILE, name), _error(f"set pfs group{profile.pfs:d}")
    yield from _pki(config)


def _policy(policy: IsakmpPolicy) -> Iterator[str]:
    of = f"of crypto isakmp policy {policy.priority}"
    if policy.encryption is not EncryptionAlgorithm.AES_CBC:
        yield f"encryption {policy.encryption.name} {of} (the default is DES)"
    if policy.hash in _WEAK_HASHES:
        yield f"hash {policy.hash.name} {of} (the default is SHA)"
    if policy.group in WEAK_GROUPS:
        yield f"group {policy.group:d} {of} (the default is 1)"


def _pki(config: RunningConfig) -> Iterator[tuple[Place, ConfigError]]:
    for label, bits in config.key_pairs.items():
        if bits < MINIMUM_MODULUS:
            yield Place(Mode.CONFIG), _error(f"the {bits} bit RSA key {label}")
    for name, trustpoint in config.trustpoints.items():
        if trustpoint.hash in ("md5", "sha1"):
            yield Place(Mode.CA_TRUSTPOINT, name), _error(f"hash {trustpoint.hash}")
    for name, server in config.servers.items():
        if server.hash in ("md5", "sha1"):
            yield Place(Mode.CS_SERVER, name), _error(f"hash {server.hash}")


def _error(what: str, column: int = 0) -> ConfigError:
    return ConfigError(
        f"{what} is too weak for a lab in mode: modern",
        column=column,
        hint="take a stronger one, or set `mode: legacy` in lab.yaml",
    )
