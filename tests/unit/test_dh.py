"""Groups: the primes are the RFCs', the peer's value is checked before it is used."""

import pytest
from cryptography.hazmat.primitives.asymmetric.dh import DHParameterNumbers

from ikelab.crypto.dh import (
    MODP_GROUPS,
    SUPPORTED_GROUPS,
    ExponentKey,
    check_public_value,
    prime,
    public_length,
)
from ikelab.crypto.ecp import CURVES
from ikelab.errors import ProtocolError
from ikelab.runtime.keys import OsDhKeys
from ikelab.wire.numbers import Group, NotifyType


@pytest.mark.parametrize("group", sorted(MODP_GROUPS))
def test_prime_has_the_ends_the_rfcs_print(group):
    octets = prime(group).to_bytes(public_length(group), "big")
    assert octets.startswith(bytes.fromhex("ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd1"))
    assert octets.endswith(b"\xff" * 8)


def test_group_2_ends_as_rfc_2409_prints_it():
    text = prime(Group.MODP_1024).to_bytes(128, "big").hex().upper()
    assert text[32:64] == "C4C6628B80DC1CD129024E088A67CC74"
    assert text.endswith("49286651ECE65381FFFFFFFFFFFFFFFF")  # section 6.2


@pytest.mark.parametrize("group", sorted(MODP_GROUPS))
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


# --- curves (RFC 5903) ----------------------------------------------------------------------------


def number(text):
    return int(text.replace(" ", ""), 16)


# RFC 5903 section 8: i, r, the x coordinate of g^r, and that of g^ir.
VECTORS = {
    Group.ECP_256: (
        "C88F01F5 10D9AC3F 70A292DA A2316DE5 44E9AAB8 AFE84049 C62A9C57 862D1433",
        "C6EF9C5D 78AE012A 011164AC B397CE20 88685D8F 06BF9BE0 B283AB46 476BEE53",
        "D12DFB52 89C8D4F8 1208B702 70398C34 2296970A 0BCCB74C 736FC755 4494BF63",
        "D6840F6B 42F6EDAF D13116E0 E1256520 2FEF8E9E CE7DCE03 812464D0 4B9442DE",
    ),
    Group.ECP_384: (
        "099F3C70 34D4A2C6 99884D73 A375A67F 7624EF7C 6B3C0F16 0647B674 14DCE655 E35B5380"
        " 41E649EE 3FAEF896 783AB194",
        "41CB0779 B4BDB85D 47846725 FBEC3C94 30FAB46C C8DC5060 855CC9BD A0AA2942 E0308312"
        " 916B8ED2 960E4BD5 5A7448FC",
        "E558DBEF 53EECDE3 D3FCCFC1 AEA08A89 A987475D 12FD950D 83CFA417 32BC509D 0D1AC43A"
        " 0336DEF9 6FDA41D0 774A3571",
        "11187331 C279962D 93D60424 3FD592CB 9D0A926F 422E4718 7521287E 7156C5C4 D6031355"
        " 69B9E9D0 9CF5D4A2 70F59746",
    ),
    Group.ECP_521: (
        "0037ADE9 319A89F4 DABDB3EF 411AACCC A5123C61 ACAB57B5 393DCE47 608172A0 95AA85A3"
        " 0FE1C295 2C6771D9 37BA9777 F5957B26 39BAB072 462F68C2 7A57382D 4A52",
        "0145BA99 A847AF43 793FDD0E 872E7CDF A16BE30F DC780F97 BCCC3F07 8380201E 9C677D60"
        " 0B343757 A3BDBF2A 3163E4C2 F869CCA7 458AA4A4 EFFC311F 5CB15168 5EB9",
        "00D0B397 5AC4B799 F5BEA16D 5E13E9AF 971D5E9B 984C9F39 728B5E57 39735A21 9B97C356"
        " 436ADC6E 95BB0352 F6BE64A6 C2912D4E F2D0433C ED2B6171 640012D9 460F",
        "01144C7D 79AE6956 BC8EDB8E 7C787C45 21CB086F A64407F9 7894E5E6 B2D79B04 D1427E73"
        " CA4BAA24 0A347868 59810C06 B3C715A3 A8CC3151 F2BEE417 996D19F3 DDEA",
    ),
}


@pytest.mark.parametrize("group", VECTORS)
def test_the_curves_give_what_rfc_5903_prints(group):
    i, r, g_r, g_ir = map(number, VECTORS[group])
    ours, theirs = ExponentKey(group, i), ExponentKey(group, r)
    octets = CURVES[group].octets
    assert theirs.public[:octets] == g_r.to_bytes(octets, "big")
    assert len(theirs.public) == public_length(group) == 2 * octets
    assert ours.exchange(theirs.public) == g_ir.to_bytes(octets, "big")
    assert theirs.exchange(ours.public) == ours.exchange(theirs.public)


@pytest.mark.parametrize("group", VECTORS)
def test_the_generator_has_the_order_of_the_group(group):
    curve = CURVES[group]
    assert curve.holds(*curve.g)
    assert curve.multiply(curve.n, curve.g) is None
    assert curve.add(None, curve.g) == curve.add(curve.g, None) == curve.g


@pytest.mark.parametrize("group", sorted(SUPPORTED_GROUPS))
def test_libcrypto_and_plain_arithmetic_agree(group):
    ours, theirs = OsDhKeys().dh_key(group), ExponentKey(group, 0x1234567890ABCDEF1234567890ABCDEF)
    assert len(ours.public) == public_length(group)
    assert ours.exchange(theirs.public) == theirs.exchange(ours.public)


@pytest.mark.parametrize("group", VECTORS)
def test_points_that_are_not_on_the_curve_are_refused_by_both(group):
    curve = CURVES[group]
    x, y = curve.g
    infinity = bytes(2 * curve.octets)
    twisted = curve.encode((x, (y + 1) % curve.p))
    over = curve.encode((x + curve.p, y)) if x + curve.p < 1 << (8 * curve.octets) else twisted
    for key in (OsDhKeys().dh_key(group), ExponentKey(group, 7)):
        for octets in (infinity, twisted, over):
            with pytest.raises(ProtocolError, match="not a point of the curve") as refusal:
                key.exchange(octets)
            assert refusal.value.notify == NotifyType.INVALID_KEY_INFORMATION
        with pytest.raises(ProtocolError, match="octets"):
            key.exchange(infinity[:-1])
