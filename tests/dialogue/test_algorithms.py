"""Every group, cipher, hash and length of RSA key, in phase 1 and, as PFS, in phase 2."""

from dataclasses import replace
from functools import cache

import pytest

from ikelab.crypto.dh import SUPPORTED_GROUPS, public_length
from ikelab.isakmp.events import PlainMessage
from ikelab.runtime.keys import generate_rsa_key
from ikelab.wire.numbers import EncryptionAlgorithm, Group, HashAlgorithm
from tests.dialogue import playbook
from tests.dialogue.playbook import (
    I_END,
    MODERN,
    PSK,
    R_END,
    Pair,
    config,
    esp_keys,
    gre_flow,
    key_material,
)

CIPHERS = [
    (EncryptionAlgorithm.DES_CBC, None, 8),
    (EncryptionAlgorithm.TRIPLE_DES_CBC, None, 24),
    (EncryptionAlgorithm.AES_CBC, 128, 16),
    (EncryptionAlgorithm.AES_CBC, 192, 24),
    (EncryptionAlgorithm.AES_CBC, 256, 32),
]


def established(policy, *, pfs=None):
    ends = ((I_END, R_END), (R_END, I_END))
    spoke, hub = (
        config(name, local, remote, policies=(policy,), flows=(gre_flow(local, remote, pfs=pfs),))
        for name, (local, remote) in zip(("spoke1", "hub"), ends, strict=True)
    )
    pair = Pair(spoke, hub)
    pair.establish()
    assert pair.i.refusals == pair.r.refusals == []
    assert key_material(pair.i) == key_material(pair.r) != []
    assert esp_keys(pair.i) == esp_keys(pair.r) != []
    return pair


@pytest.mark.parametrize("group", sorted(SUPPORTED_GROUPS), ids=lambda group: group.name)
def test_group_in_both_phases(group):
    pair = established(replace(PSK, group=group), pfs=group)
    (_, others), *_ = key_material(pair.i)
    octets = public_length(group) // (2 if group >= Group.ECP_256 else 1)
    assert len(dict(others)["g_xy"]) == octets
    keys = [m.payloads.count("KE") for m in pair.i.of(PlainMessage) if "sends QM1" in m.comment]
    assert keys == [1]


def test_all_supported_groups_are_those_that_the_configuration_names():
    assert frozenset(Group) == SUPPORTED_GROUPS


@pytest.mark.parametrize("hash_algorithm", HashAlgorithm, ids=lambda one: one.name)
@pytest.mark.parametrize(("cipher", "bits", "octets"), CIPHERS)
def test_cipher_and_hash(cipher, bits, octets, hash_algorithm):
    """Short hashes stretch SKEYID_e for long keys (RFC 2409 appendix B)."""
    policy = replace(
        PSK,
        encryption=cipher,
        key_length=bits,
        hash=hash_algorithm,
        group=Group.ECP_256,
    )
    pair = established(policy)
    (encryption_key, _), *_ = key_material(pair.i)
    assert len(encryption_key) == octets


@cache
def key_of(bits):
    return generate_rsa_key(bits)


@pytest.mark.parametrize("bits", [512, 768, 1024, 2048, 3072, 4096])
def test_rsa_keys_of_every_length_sign(monkeypatch, bits):
    monkeypatch.setattr(playbook, "rsa_key", lambda name: key_of(bits))
    monkeypatch.setattr(playbook.Side, "judge", _same_key_for_all)
    pair = established(replace(MODERN, hash=HashAlgorithm.SHA2_384, group=Group.ECP_256))
    (message,) = [m for m in pair.i.of(PlainMessage) if m.sent and "sends MM5" in m.comment]
    assert "SIG" in message.payloads


def _same_key_for_all(side, handle, certificates, peer_id=None):
    name = "hub" if side.name == "spoke1" else "spoke1"
    return playbook.PeerCertAccepted(
        handle, "ra", certificates[0], b"", (f"{name}.cisco.example",), (), 7
    )


def test_a_key_too_short_for_the_hash_is_refused_with_its_name(monkeypatch):
    """A modulus of 64 octets has no room for SHA-512's 64 and the padding."""
    monkeypatch.setattr(playbook, "rsa_key", lambda name: key_of(512))
    policy = replace(MODERN, hash=HashAlgorithm.SHA2_512, group=Group.ECP_256)
    pair = Pair(
        config("spoke1", I_END, R_END, policies=(policy,)),
        config("hub", R_END, I_END, policies=(policy,)),
    )
    pair.establish()
    assert pair.i.refusals[0] == "own-key-too-short"
    assert pair.i.states == ["IKE_I_MM3"]
