"""The inner IPv4 header of ESP tunnel mode (RFC 791, RFC 4301 section 5.1.2).

In transport mode the kernel makes the only header there is; nothing here is used then.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address

from ikelab.errors import WireError

HEADER = 20  # octets of a header without options
TTL = 255  # what IOS gives a tunnel's packets

_LAYOUT = struct.Struct("!BBHHHBBH4s4s")


@dataclass(frozen=True, slots=True)
class Ipv4Packet:
    """What a tunnel's end must know of an IPv4 packet. Addresses are dotted."""

    source: str
    destination: str
    protocol: int
    payload: bytes


def build(packet: Ipv4Packet) -> bytes:
    """The packet with a header of 20 octets, not to be fragmented nor numbered (RFC 6864)."""
    dont_fragment = 0x4000
    fields = (
        0x45,
        0,
        HEADER + len(packet.payload),
        0,
        dont_fragment,
        TTL,
        packet.protocol,
        0,
        IPv4Address(packet.source).packed,
        IPv4Address(packet.destination).packed,
    )
    header = _LAYOUT.pack(*fields)
    checksum = ~_sum(header) & 0xFFFF
    return header[:10] + checksum.to_bytes(2, "big") + header[12:] + packet.payload


def parse(octets: bytes) -> Ipv4Packet:
    """A received packet; octets after its total length are traffic padding and fall away.

    Raises WireError for wrong version, lengths or checksum, and for fragments: an inner packet
    is protected whole (RFC 4303 section 3.3.4).
    """
    if len(octets) < HEADER or octets[0] >> 4 != 4:
        raise WireError("not an IPv4 packet", field="version")
    length = (octets[0] & 0x0F) * 4
    total = int.from_bytes(octets[2:4], "big")
    if length < HEADER or not length <= total <= len(octets):
        raise WireError(
            f"header of {length} and total of {total} octets in {len(octets)}",
            offset=2,
            field="total length",
        )
    if _sum(octets[:length]) != 0xFFFF:
        raise WireError("header checksum is wrong", offset=10, field="header checksum")
    if int.from_bytes(octets[6:8], "big") & 0x3FFF:
        raise WireError("a fragment inside ESP", offset=6, field="fragment offset")
    return Ipv4Packet(
        str(IPv4Address(octets[12:16])),
        str(IPv4Address(octets[16:20])),
        octets[9],
        octets[length:total],
    )


def _sum(header: bytes) -> int:
    """One's complement sum of RFC 1071; 0xFFFF over a header with the right checksum in it."""
    return int.from_bytes(header, "big") % 0xFFFF or 0xFFFF
