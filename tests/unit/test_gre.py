"""GRE headers and the inner IPv4 header, with scapy as the other opinion."""

from __future__ import annotations

import pytest
from scapy.layers.inet import ICMP, IP
from scapy.layers.l2 import GRE

from ikelab.errors import ProtocolError, WireError
from ikelab.ipsec import gre, ipv4

PING = bytes(IP(src="20.0.0.1", dst="20.0.0.4") / ICMP())


def refusal(octets: bytes) -> str:
    with pytest.raises(ProtocolError) as caught:
        gre.parse(octets)
    return caught.value.reason


def test_our_header_is_what_scapy_builds() -> None:
    assert gre.build_header(0x0800, 1234) == bytes(GRE(key_present=1, key=1234, proto=0x0800))
    assert gre.build_header(0x2001, None) == bytes(GRE(proto=0x2001))


@pytest.mark.parametrize("key", [None, 0, 1234, 0xFFFFFFFF])
def test_a_header_comes_back_as_it_was_built(key: int | None) -> None:
    packet = gre.parse(gre.build_header(gre.PROTOCOL_IPV4, key) + PING)
    assert packet == gre.GrePacket(gre.PROTOCOL_IPV4, key, PING)


def test_key_and_sequence_number_of_rfc_2890_are_read() -> None:
    octets = bytes(
        GRE(key_present=1, key=7, seqnum_present=1, sequence_number=9, proto=0x800) / PING
    )
    assert gre.parse(octets) == gre.GrePacket(0x0800, 7, PING, 9)


@pytest.mark.parametrize("payload", [PING, PING + b"odd"])
def test_a_checksum_is_verified(payload: bytes) -> None:
    octets = bytes(GRE(chksum_present=1, key_present=1, key=7) / payload)
    assert gre.parse(octets).payload == payload
    assert refusal(octets[:-1] + bytes((octets[-1] ^ 1,))) == "gre-checksum"


@pytest.mark.parametrize("flags", [0x4000, 0x0800, 0x0400])
def test_routing_bits_of_rfc_1701_are_refused(flags: int) -> None:
    assert refusal(flags.to_bytes(2, "big") + b"\x08\x00" + PING) == "gre-flags"


@pytest.mark.parametrize("flags", [0x0200, 0x0100, 0x0008])
def test_bits_to_be_ignored_are_ignored(flags: int) -> None:
    # RFC 2784 section 2.2: bits 6 to 12 are to be zero and ignored on receipt.
    assert gre.parse(flags.to_bytes(2, "big") + b"\x08\x00" + PING).payload == PING


def test_version_1_is_refused() -> None:
    # PPTP's GRE (RFC 2637).
    assert refusal(b"\x30\x01\x88\x0b" + bytes(12)) == "gre-version"


def test_a_header_cut_anywhere_is_a_wire_error() -> None:
    header = bytes(GRE(key_present=1, key=7, seqnum_present=1, sequence_number=9))
    assert len(header) == 12
    for length in range(len(header)):
        with pytest.raises(WireError):
            gre.parse(header[:length])
    with pytest.raises(WireError):
        gre.parse(b"\x80\x00\x08\x00\x00")


def test_the_inner_ipv4_header_is_one_that_scapy_would_make() -> None:
    built = ipv4.build(ipv4.Ipv4Packet("192.0.2.1", "192.0.2.2", 47, b"payload"))
    scapy_packet = IP(src="192.0.2.1", dst="192.0.2.2", proto=47, ttl=255, id=0, flags="DF")
    assert built == bytes(scapy_packet / b"payload")


def test_an_inner_packet_comes_back_without_the_padding_behind_it() -> None:
    packet = ipv4.Ipv4Packet("192.0.2.1", "192.0.2.2", 47, b"payload")
    assert ipv4.parse(ipv4.build(packet) + b"\0\0\0\0") == packet


def test_inner_header_options_are_skipped() -> None:
    from scapy.layers.inet import IPOption_NOP

    octets = bytes(IP(src="1.2.3.4", dst="5.6.7.8", proto=47, options=[IPOption_NOP()]) / b"x")
    assert ipv4.parse(octets) == ipv4.Ipv4Packet("1.2.3.4", "5.6.7.8", 47, b"x")


@pytest.mark.parametrize(
    ("field", "octets"),
    [
        ("version", bytes(IP())[:19]),
        ("version", b"\x65" + bytes(IP())[1:]),
        ("total length", b"\x44" + bytes(IP())[1:]),
        ("total length", b"\x46" + bytes(IP())[1:]),
        ("total length", bytes(IP(len=21))),
        ("total length", bytes(IP(len=19))),
        ("header checksum", bytes(IP(chksum=1))),
        ("fragment offset", bytes(IP(flags="MF"))),
        ("fragment offset", bytes(IP(frag=1))),
    ],
)
def test_an_inner_header_that_lies_is_refused(field: str, octets: bytes) -> None:
    with pytest.raises(WireError) as caught:
        ipv4.parse(octets)
    assert caught.value.field == field
