"""GRE version 0 with key, sequence number and checksum (RFC 2784, RFC 2890).

    |C| |K|S| Reserved0       | Ver |         Protocol Type         |
    |      Checksum (optional)      |       Reserved1 (Optional)    |
    |                         Key (optional)                        |
    |                 Sequence Number (Optional)                    |

We send the key only, as `tunnel key N` asks for; the other fields are taken, never sent.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from ikelab.errors import ProtocolError, WireError

PROTOCOL_IPV4 = 0x0800

_CHECKSUM = 0x8000
_KEY = 0x2000
_SEQUENCE = 0x1000
# Bits 1, 4 and 5: "must discard a packet where any of the bits 1-5 are non-zero" (RFC 2784
# section 2.2), of which RFC 2890 gave bits 2 and 3 their meaning.
_MUST_BE_ZERO = 0x4C00
_VERSION = 0x0007


@dataclass(frozen=True, slots=True)
class GrePacket:
    """A GRE header's values and what it carries. protocol: an Ethernet type."""

    protocol: int
    key: int | None
    payload: bytes
    sequence: int | None = None


def build_header(protocol: int, key: int | None) -> bytes:
    """The octets that go before the payload; the same for every packet of a tunnel."""
    if key is None:
        return struct.pack("!HH", 0, protocol)
    return struct.pack("!HHI", _KEY, protocol, key)


def parse(octets: bytes) -> GrePacket:
    """A received GRE packet.

    Raises WireError where octets are missing; ProtocolError "gre-flags", "gre-version",
    "gre-checksum".
    """
    flags, protocol = struct.unpack("!HH", _take(octets, 0, 4, "GRE header"))
    if flags & _VERSION:
        raise ProtocolError(
            "gre-version",
            f"version {flags & _VERSION}; RFC 2784 is version 0",
            seen=flags & _VERSION,
            wanted=0,
        )
    if flags & _MUST_BE_ZERO:
        raise ProtocolError(
            "gre-flags",
            f"flags 0x{flags:04x} set bits of RFC 1701 routing",
            seen=f"0x{flags:04x}",
            wanted=f"none of 0x{_MUST_BE_ZERO:04x}",
        )
    offset = 4
    key = sequence = None
    if flags & _CHECKSUM:
        _take(octets, offset, 4, "GRE checksum")
        if _ones_complement_sum(octets) != 0xFFFF:
            raise ProtocolError(
                "gre-checksum",
                "the sum over header and payload is wrong",
                seen="another sum",
                wanted="0xffff over header and payload",
            )
        offset += 4
    if flags & _KEY:
        key = int.from_bytes(_take(octets, offset, 4, "GRE key"), "big")
        offset += 4
    if flags & _SEQUENCE:
        sequence = int.from_bytes(_take(octets, offset, 4, "GRE sequence number"), "big")
        offset += 4
    return GrePacket(protocol, key, octets[offset:], sequence)


def _take(octets: bytes, offset: int, length: int, field: str) -> bytes:
    """length octets at offset, or WireError."""
    part = octets[offset : offset + length]
    if len(part) < length:
        raise WireError(f"{len(octets)} octets end inside the header", offset=offset, field=field)
    return part


def _ones_complement_sum(octets: bytes) -> int:
    """Sum of RFC 1071 over whole words: 0xFFFF where a checksum inside is right."""
    padded = octets + bytes(len(octets) % 2)
    # Sums of 16-bit words with end-around carry are the number's remainder modulo 0xFFFF; a
    # remainder of 0 is the other representation of 0xFFFF.
    return int.from_bytes(padded, "big") % 0xFFFF or 0xFFFF
