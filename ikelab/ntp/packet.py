"""The NTP packet and its time stamps (RFC 5905 sections 6 and 7.3).

48 octets of fixed layout; what may follow (extension fields, a MAC) is not for us and passed over.
scapy's NTP layer is not used: it carries the stamps as floating point numbers, which round off the
last bits that an answer must repeat exactly.

    0                   1                   2                   3
    0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    |LI | VN  |Mode |    Stratum     |     Poll      |  Precision   |
    |                         Root Delay                            |
    |                       Root Dispersion                         |
    |                          Reference ID                         |
    |                     Reference Timestamp (64)                  |
    |                      Origin Timestamp (64)                    |
    |                      Receive Timestamp (64)                   |
    |                      Transmit Timestamp (64)                  |
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from ipaddress import IPv4Address

from ikelab.errors import WireError

PORT = 123
OCTETS = 48
VERSION = 4
UNSYNCHRONIZED = 16  # stratum of a clock that is none

_LAYOUT = struct.Struct(">BBbbIIIQQQQ")
_EPOCH = datetime(1900, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_SHORT = 1 << 16  # units a second of the 32-bit format
_LONG = 1 << 32  # of the 64-bit format


class Mode(IntEnum):
    """Association modes (RFC 5905 section 3)."""

    RESERVED = 0
    SYMMETRIC_ACTIVE = 1
    SYMMETRIC_PASSIVE = 2
    CLIENT = 3
    SERVER = 4
    BROADCAST = 5
    CONTROL = 6
    PRIVATE = 7


class Leap(IntEnum):
    """Leap indicator."""

    NONE = 0
    LAST_MINUTE_61 = 1
    LAST_MINUTE_59 = 2
    ALARM = 3  # the clock is not synchronized


@dataclass(frozen=True, slots=True)
class NtpPacket:
    """One packet. root_delay, root_dispersion: seconds. reference_id: 4 octets: an address, or the
    name of a clock, or (stratum 0) of a kiss. The stamps: 64-bit units of 2^-32 s since 1900, of
    whichever era; 0: none.
    """

    mode: Mode
    stratum: int = 0
    leap: Leap = Leap.NONE
    version: int = VERSION
    poll: int = 6
    precision: int = -20
    root_delay: float = 0.0
    root_dispersion: float = 0.0
    reference_id: bytes = bytes(4)
    reference: int = 0
    origin: int = 0
    receive: int = 0
    transmit: int = 0

    def build(self) -> bytes:
        """48 octets."""
        return _LAYOUT.pack(
            self.leap << 6 | self.version << 3 | self.mode,
            self.stratum,
            self.poll,
            self.precision,
            _short(self.root_delay),
            _short(self.root_dispersion),
            int.from_bytes(self.reference_id, "big"),
            self.reference,
            self.origin,
            self.receive,
            self.transmit,
        )

    @classmethod
    def parse(cls, octets: bytes) -> NtpPacket:
        """A packet of versions 1 to 4. Raises WireError."""
        if len(octets) < OCTETS:
            raise WireError(f"{len(octets)} octets, an NTP packet has {OCTETS} (RFC 5905)")
        first, stratum, poll, precision, delay, dispersion, name, *stamps = _LAYOUT.unpack_from(
            octets
        )
        version = first >> 3 & 7
        if not 1 <= version <= VERSION:
            raise WireError(f"NTP version {version}, known are 1 to {VERSION}", field="version")
        return cls(
            Mode(first & 7),
            stratum,
            Leap(first >> 6),
            version,
            poll,
            precision,
            delay / _SHORT,
            dispersion / _SHORT,
            name.to_bytes(4, "big"),
            *stamps,
        )


def stamp(moment: datetime, below: int = 0) -> int:
    """A moment as a 64-bit time stamp. below: bits for what is finer than a microsecond."""
    microseconds = (moment - _EPOCH) // _MICROSECOND
    seconds, rest = divmod(microseconds, 1_000_000)
    value = (seconds % _LONG) * _LONG + rest * _LONG // 1_000_000 + below
    return value or 1  # 0 says "no time"


def difference(later: int, earlier: int) -> float:
    """Seconds between two stamps, the shorter way round, so within 68 years (RFC 5905, 6)."""
    units = (later - earlier) % (_LONG * _LONG)
    return (units - _LONG * _LONG if units >= _LONG * _LONG // 2 else units) / _LONG


def reference_name(octets: bytes, stratum: int) -> str:
    """A reference ID as IOS shows it: `.GPS.` for clocks and kisses, else an address."""
    if stratum in (0, 1, UNSYNCHRONIZED) and octets != bytes(4):
        name = octets.rstrip(b"\0")
        if name.isalnum() and name.isascii():
            return f".{name.decode()}."
    return str(IPv4Address(octets))


def _short(seconds: float) -> int:
    return min(round(max(seconds, 0.0) * _SHORT), 0xFFFFFFFF)
