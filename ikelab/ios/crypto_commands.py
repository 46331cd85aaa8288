"""Rows of the command table: `crypto isakmp`, `crypto keyring`, `crypto ipsec`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ikelab.errors import ConfigError
from ikelab.ios.arguments import Arguments
from ikelab.ios.config import DEFAULT_KEYRING, RunningConfig
from ikelab.ios.row import Mode, Row, Shown, named_section, shown
from ikelab.ios.system_commands import GLOBAL
from ikelab.isakmp.nat_t import KEEPALIVE_SECONDS
from ikelab.isakmp.policy import (
    IdentityMatch,
    IpsecProfile,
    IsakmpPolicy,
    IsakmpProfile,
    Keyring,
    PreSharedKey,
    TransformSet,
)
from ikelab.wire.numbers import (
    AuthAlgorithm,
    EncryptionAlgorithm,
    EspTransform,
    Group,
)

POLICY = named_section(
    Mode.CONFIG_ISAKMP,
    "policies",
    lambda priority: IsakmpPolicy(int(priority)),
    argument="priority",
    index=int,
)
PROFILE = named_section(Mode.CONF_ISA_PROF, "profiles", IsakmpProfile)
KEYRING = named_section(Mode.CONF_KEYRING, "keyrings", Keyring)
TRANSFORM_SET = named_section(
    Mode.CFG_CRYPTO_TRANS,
    "transform_sets",
    lambda name: TransformSet(name, EspTransform.ESP_AES, 128, None),
)
IPSEC_PROFILE = named_section(Mode.IPSEC_PROFILE, "ipsec_profiles", IpsecProfile)


# --- crypto isakmp policy ---------------------------------------------------------------------


def _set_cipher(policy: IsakmpPolicy, arguments: Arguments) -> IsakmpPolicy:
    encryption = EncryptionAlgorithm(arguments.number("encryption"))
    return replace(policy, encryption=encryption, key_length=None)


def _set_aes(policy: IsakmpPolicy, arguments: Arguments) -> IsakmpPolicy:
    key_length = arguments.number("key_length", 128)
    return replace(policy, encryption=EncryptionAlgorithm.AES_CBC, key_length=key_length)


def _default_cipher(policy: IsakmpPolicy, _: Arguments) -> IsakmpPolicy:
    return replace(policy, encryption=EncryptionAlgorithm.DES_CBC, key_length=None)


def _show_cipher(policy: IsakmpPolicy) -> list[Shown]:
    hidden = (EncryptionAlgorithm.DES_CBC, EncryptionAlgorithm.AES_CBC)
    return [] if policy.encryption in hidden else [shown(encryption=policy.encryption)]


def _show_aes(policy: IsakmpPolicy) -> list[Shown]:
    if policy.encryption is not EncryptionAlgorithm.AES_CBC:
        return []
    return [shown(key_length=None if policy.key_length == 128 else policy.key_length)]


POLICY_ROWS = (
    POLICY.row(
        "encryption CIPHER:encryption",
        "Set encryption algorithm for protection suite",
        _set_cipher,
        _default_cipher,
        _show_cipher,
        spelled=("encryption", "encr"),
    ),
    POLICY.row(
        "encryption aes [AES_BITS:key_length]",
        "AES - Advanced Encryption Standard.",
        _set_aes,
        _default_cipher,
        _show_aes,
        spelled=("encryption", "encr"),
    ),
    POLICY.attribute("hash HASH:hash", "Set hash algorithm for protection suite", "hash"),
    POLICY.attribute(
        "authentication AUTHENTICATION:authentication",
        "Set authentication method for protection suite",
        "authentication",
    ),
    POLICY.attribute("group GROUP:group", "Set the Diffie-Hellman group", "group"),
    POLICY.attribute(
        "lifetime <60-86400>:lifetime",
        "Set lifetime for ISAKMP security association | lifetime in seconds",
        "lifetime",
    ),
)


# --- crypto isakmp profile --------------------------------------------------------------------


def _match_row(grammar: str, help_text: str, kind: str) -> Row:
    """A `match identity` line; kind as in `IdentityMatch`."""

    def match_of(arguments: Arguments) -> IdentityMatch:
        mask = arguments.text("mask", "255.255.255.255")
        return IdentityMatch(kind, arguments.text("value"), mask)

    def write(profile: IsakmpProfile, arguments: Arguments) -> IsakmpProfile:
        match = match_of(arguments)
        others = tuple(one for one in profile.match_identity if one != match)
        return replace(profile, match_identity=(*others, match))

    def clear(profile: IsakmpProfile, arguments: Arguments) -> IsakmpProfile:
        gone = match_of(arguments)
        kept = tuple(one for one in profile.match_identity if one != gone)
        return replace(profile, match_identity=kept)

    def read(profile: IsakmpProfile) -> Iterable[Shown]:
        for match in profile.match_identity:
            if match.kind == kind:
                yield shown(value=match.value, mask=match.mask if kind == "address" else None)

    return PROFILE.row(grammar, help_text, write, clear, read, no=grammar)


PROFILE_ROWS = (
    PROFILE.attribute(
        "keyring LABEL:keyring", "Set keyring to use with this profile | keyring name", "keyring"
    ),
    _match_row(
        "match identity host domain DOMAIN:value",
        "Match values of peer | Match identity of the peer | match an FQDN identity"
        " | match a domain | domain name",
        "domain",
    ),
    _match_row("match identity host DOMAIN:value", "fully qualified domain name", "host"),
    _match_row(
        "match identity address A.B.C.D:value [A.B.C.D:mask]",
        "match an IP address | IP address | subnet mask",
        "address",
    ),
)


# --- pre-shared keys --------------------------------------------------------------------------


def _mask(arguments: Arguments) -> str:
    """0.0.0.0 is no host: without a mask, too, it stands for every address."""
    everybody = arguments.text("address") == "0.0.0.0"
    return arguments.text("mask", "0.0.0.0" if everybody else "255.255.255.255")


def _with_key(keyring: Keyring, arguments: Arguments) -> Keyring:
    key = PreSharedKey(arguments.text("address"), _mask(arguments), arguments.text("key"))
    return replace(keyring, keys=(*_without_key(keyring, arguments).keys, key))


def _without_key(keyring: Keyring, arguments: Arguments) -> Keyring:
    gone = (arguments.text("address"), _mask(arguments))
    return replace(keyring, keys=tuple(k for k in keyring.keys if (k.address, k.mask) != gone))


def _show_keys(keyring: Keyring) -> list[Shown]:
    host = "255.255.255.255"
    return [
        shown(address=key.address, mask=None if key.mask == host else key.mask, key=key.key)
        for key in keyring.keys
        if not key.hostname
    ]


KEYRING_ROWS = (
    KEYRING.row(
        "pre-shared-key address A.B.C.D:address [A.B.C.D:mask] key WORD:key",
        "Specify a pre-shared key to be used for IKE authentication | Define shared key by address"
        " | IP address | IP subnet mask | Specify a key | The pre-shared key",
        _with_key,
        _without_key,
        _show_keys,
        no="pre-shared-key address A.B.C.D:address [A.B.C.D:mask] [key WORD:key]",
    ),
)


def _add_keyring(config: RunningConfig, key: str, arguments: Arguments) -> RunningConfig:
    name = arguments.text("name")
    if name == DEFAULT_KEYRING:
        raise ConfigError(
            f"The keyring {name} is filled by `crypto isakmp key`", hint="take another name"
        )
    return KEYRING.add(config, key, arguments)


def _add_default_key(config: RunningConfig, arguments: Arguments) -> RunningConfig:
    keyring = config.keyrings.get(DEFAULT_KEYRING, Keyring(DEFAULT_KEYRING))
    filled = _with_key(keyring, arguments)
    return replace(config, keyrings={**config.keyrings, DEFAULT_KEYRING: filled})


def _remove_default_key(config: RunningConfig, arguments: Arguments) -> RunningConfig:
    keyring = config.keyrings.get(DEFAULT_KEYRING, Keyring(DEFAULT_KEYRING))
    kept = _without_key(keyring, arguments)
    others = {n: k for n, k in config.keyrings.items() if n != DEFAULT_KEYRING}
    return replace(config, keyrings={**others, kept.name: kept} if kept.keys else others)


def _default_keys(config: RunningConfig) -> list[Shown]:
    return _show_keys(config.keyrings.get(DEFAULT_KEYRING, Keyring(DEFAULT_KEYRING)))


# --- crypto ipsec -----------------------------------------------------------------------------


def _add_transform_set(config: RunningConfig, key: str, arguments: Arguments) -> RunningConfig:
    aes = "encryption" not in arguments
    config = TRANSFORM_SET.add(config, key, arguments)
    name = arguments.text("name")
    changed = replace(
        TRANSFORM_SET.get(config, name),
        encryption=EspTransform(arguments.number("encryption", EspTransform.ESP_AES)),
        key_length=arguments.number("key_length", 128) if aes else None,
        authentication=AuthAlgorithm(arguments.number("authentication"))
        if "authentication" in arguments
        else None,
    )
    return TRANSFORM_SET.put(config, name, changed)


def _transform_sets(config: RunningConfig, *, aes: bool) -> Iterable[Shown]:
    for one in config.transform_sets.values():
        if (one.encryption is EspTransform.ESP_AES) is not aes:
            continue
        if aes:
            bits = None if one.key_length == 128 else one.key_length
            yield shown(name=one.name, key_length=bits, authentication=one.authentication)
        else:
            yield shown(name=one.name, encryption=one.encryption, authentication=one.authentication)


TRANSFORM_SET_ROWS = (
    TRANSFORM_SET.attribute("mode MODE:mode", "encapsulation mode (transport/tunnel)", "mode"),
)


def _set_transform_sets(profile: IpsecProfile, arguments: Arguments) -> IpsecProfile:
    names = tuple(dict.fromkeys(arguments.text("transform_sets").split()))
    if len(names) > 6:
        raise ConfigError("A profile takes up to six transform sets")
    return replace(profile, transform_sets=names)


def _show_transform_sets(profile: IpsecProfile) -> list[Shown]:
    names = " ".join(profile.transform_sets)
    return [shown(transform_sets=names)] if names else []


def _set_pfs(profile: IpsecProfile, arguments: Arguments) -> IpsecProfile:
    return replace(profile, pfs=Group(arguments.number("pfs", Group.MODP_768)))


def _show_pfs(profile: IpsecProfile) -> list[Shown]:
    return [] if profile.pfs is None else [shown(pfs=profile.pfs)]


IPSEC_PROFILE_ROWS = (
    IPSEC_PROFILE.attribute(
        "set security-association lifetime kilobytes <2560-4294967295>:lifetime_kilobytes",
        "Set values for encryption/decryption | Security association parameters"
        " | security association lifetime | Volume-based key duration"
        " | Security association duration in kilobytes encrypted",
        "lifetime_kilobytes",
    ),
    IPSEC_PROFILE.attribute(
        "set security-association lifetime seconds <120-86400>:lifetime_seconds",
        "Time-based key duration | Security association duration in seconds",
        "lifetime_seconds",
    ),
    IPSEC_PROFILE.row(
        "set transform-set NAMES:transform_sets",
        "Specify list of transform sets in priority order | Proposal tag",
        _set_transform_sets,
        lambda profile, _: replace(profile, transform_sets=()),
        _show_transform_sets,
    ),
    IPSEC_PROFILE.row(
        "set pfs [PFS_GROUP:pfs]",
        "Specify pfs settings",
        _set_pfs,
        lambda profile, _: replace(profile, pfs=None),
        _show_pfs,
    ),
    IPSEC_PROFILE.attribute(
        "set isakmp-profile LABEL:isakmp_profile",
        "Specify isakmp Profile | isakmp profile name",
        "isakmp_profile",
    ),
)


def _nat_keepalive(config: RunningConfig) -> list[Shown]:
    if config.nat_keepalive is None:
        return [Shown(Arguments(), negative=True)]
    is_default = config.nat_keepalive == KEEPALIVE_SECONDS
    return [] if is_default else [shown(seconds=config.nat_keepalive)]


def _nat_transparency(config: RunningConfig) -> list[Shown]:
    return [] if config.nat_transparency else [Shown(Arguments(), negative=True)]


CRYPTO_ROWS = (
    KEYRING.enter(
        "crypto keyring LABEL:name",
        "Key ring commands | Name of Keyring",
        add=_add_keyring,
        read=lambda config: [shown(name=n) for n in config.keyrings if n != DEFAULT_KEYRING],
    ),
    POLICY.enter(
        "crypto isakmp policy <1-10000>:priority",
        "Configure ISAKMP policy | Set policy for an ISAKMP protection suite"
        " | Priority of protection suite",
        read=lambda config: [shown(priority=n) for n in sorted(config.policies)],
    ),
    GLOBAL.row(
        "crypto isakmp key WORD:key address A.B.C.D:address [A.B.C.D:mask]",
        "Set pre-shared key for remote peer | The UNENCRYPTED (cleartext) user password"
        " | define shared key with IP address | Peer IP address | Peer IP subnet mask",
        _add_default_key,
        _remove_default_key,
        _default_keys,
        no="crypto isakmp key WORD:key address A.B.C.D:address [A.B.C.D:mask]",
    ),
    GLOBAL.row(
        "crypto isakmp nat keepalive <5-3600>:seconds",
        "Set a nat keepalive interval for use with IOS peers | Keepalive for NAT"
        " | Number of seconds between keep alives",
        lambda config, arguments: replace(config, nat_keepalive=arguments.number("seconds")),
        lambda config, _: replace(config, nat_keepalive=None),
        _nat_keepalive,
        no="crypto isakmp nat keepalive",
    ),
    GLOBAL.flag(
        "crypto isakmp fragmentation",
        "IKE Fragmentation enabled if required",
        "fragmentation",
    ),
    GLOBAL.flag(  # no command of IOS, which has no choice; Wireshark takes payload 18 for another
        "crypto isakmp delete-with-reason",
        "Tell other ikelab routers why an SA ends, by payload 18 (unknown to Wireshark)",
        "delete_with_reason",
    ),
    GLOBAL.row(
        "crypto ipsec nat-transparency udp-encapsulation",
        "IPsec NAT transparency model | UDP encapsulation of ESP",
        lambda config, _: replace(config, nat_transparency=True),
        lambda config, _: replace(config, nat_transparency=False),
        _nat_transparency,
    ),
    GLOBAL.attribute(
        "crypto isakmp identity IDENTITY:identity",
        "Set the identity which ISAKMP will use",
        "identity",
    ),
    PROFILE.enter(
        "crypto isakmp profile LABEL:name",
        "Define ISAKMP Profiles | Name of isakmp profile",
        notice="% A profile is deemed incomplete until it has match identity statements",
    ),
    TRANSFORM_SET.enter(
        "crypto ipsec transform-set LABEL:name ESP_CIPHER:encryption [ESP_HASH:authentication]",
        "Configure IPSEC policy | Define transform and settings | Transform set tag",
        add=_add_transform_set,
        read=lambda config: _transform_sets(config, aes=False),
        no="crypto ipsec transform-set LABEL:name [LINE:transforms]",
    ),
    TRANSFORM_SET.enter(
        "crypto ipsec transform-set LABEL:name esp-aes [AES_BITS:key_length]"
        " [ESP_HASH:authentication]",
        "ESP transform using AES cipher",
        add=_add_transform_set,
        read=lambda config: _transform_sets(config, aes=True),
        no="crypto ipsec transform-set LABEL:name [LINE:transforms]",
    ),
    IPSEC_PROFILE.enter(
        "crypto ipsec profile LABEL:name", "Configure an ipsec policy profile | Profile name"
    ),
)
