"""Groups: the primes are the RFCs', the peer's value is checked before it is used."""

import pytest
from cryptography.hazmat.primitives.asymmetric.dh import DHParameterNumbers

from ikelab.crypto.dh import SUPPORTED_GROUPS, ExponentKey, check_public_value, prime, public_length
from ikelab.errors import ProtocolError
from ikelab.wire.numbers import Group, NotifyType


@pytest.mark.parametrize("group", sorted(SUPPORTED_GROUPS))
def test_prime_has_the_ends_the_rfcs_print(group):
    octets = prime(group).to_bytes(public_length(group), "big")
    assert octets.startswith(bytes.fromhex("ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd1"))
    assert octets.endswith(b"\xff" * 8)


def test_group_2_ends_as_rfc_2409_prints_it():
    text = prime(Group.MODP_1024).to_bytes(128, "big").hex().upper()
    assert text[32:64] == "C4C6628B80DC1CD129024E088A67CC74"
    assert text.endswith("49286651ECE65381FFFFFFFFFFFFFFFF")  # section 6.2


@pytest.mark.parametrize("group", sorted(SUPPORTED_GROUPS))
def test_libcrypto_knows_the_prime_as_safe(group):
    private = DHParameterNumbers(prime(group), 2).parameters().generate_private_key()
    ours = ExponentKey(group, 0x1234567890ABCDEF1234567890ABCDEF)
    y = private.public_key().public_numbers().y.to_bytes(public_length(group), "big")
    theirs = private.exchange(_as_peer(group, ours.public))
    assert ours.exchange(y) == theirs.rjust(public_length(group), b"\0")


def _as_peer(group, public):
    from cryptography.hazmat.primitives.asymmetric.dh import DHPublicNumbers

    numbers = DHPublicNumbers(int.from_bytes(public, "big"), DHParameterNumbers(prime(group), 2))
    return numbers.public_key()


@pytest.mark.parametrize("value", [0, 1, -1, -2 + 1])
def test_values_outside_the_group_are_refused(value):
    p = prime(Group.MODP_2048)
    octets = (value % p if value < 0 else value).to_bytes(256, "big")
    with pytest.raises(ProtocolError) as refusal:
        check_public_value(Group.MODP_2048, octets)
    assert refusal.value.notify == NotifyType.INVALID_KEY_INFORMATION


@pytest.mark.parametrize("octets", [b"", b"\1" * 255, b"\1" * 257])
def test_values_of_another_length_are_refused(octets):
    with pytest.raises(ProtocolError, match="group 14 has 256"):
        check_public_value(Group.MODP_2048, octets)
