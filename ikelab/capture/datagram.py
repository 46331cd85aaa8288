"""Finds the UDP datagrams in captured Ethernet frames, fragments put together: those of IPv4
(RFC 791), and those of IKE (payload type 132).

A pure reader for joining a capture with the nodes' records: what is not a whole UDP datagram over
IPv4 is passed over in silence, for a capture holds whatever was on the wire. Checksums are not
looked at: frames between virtual devices may carry unfinished ones.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ikelab.capture.pcapng import Frame
from ikelab.wire.numbers import IpProtocol, PayloadType

_ETHERNET = 14
_VLAN = b"\x81\x00"
_IPV4 = b"\x08\x00"
_UDP_HEADER = 8
_MORE_FRAGMENTS = 0x2000
_OFFSET = 0x1FFF
_IKE_NEXT_PAYLOAD = 16  # where it stands in the header of RFC 2408 section 3.1
_IKE_PIECE = 36  # header, payload header, fragment ID, number and mark of the last
_WAITING = 256  # incomplete datagrams remembered at a time; the oldest is forgotten first


@dataclass(slots=True)
class _Fragments:
    """The pieces of one IPv4 packet. end: its payload's octets, once the last piece came."""

    pieces: dict[int, bytes] = field(default_factory=dict)
    end: int | None = None

    def add(self, offset: int, piece: bytes, last: bool) -> bytes | None:
        """The whole payload when this piece completes it."""
        self.pieces.setdefault(offset, piece)
        if last:
            self.end = offset + len(piece)
        whole = bytearray()
        for start in sorted(self.pieces):
            if start > len(whole):
                return None
            whole[start:] = self.pieces[start]
        return bytes(whole) if self.end == len(whole) else None


class DatagramFinder:
    """Takes the frames of one segment in order and remembers fragments between them."""

    def __init__(self) -> None:
        self._waiting: dict[bytes, _Fragments] = {}

    def take(self, frame: bytes) -> bytes | None:
        """The UDP payload that this frame carries or completes."""
        packet = _ipv4_of(frame)
        if packet is None:
            return None
        header = (packet[0] & 0x0F) * 4
        payload = packet[header : int.from_bytes(packet[2:4], "big")]
        flags = int.from_bytes(packet[6:8], "big")
        if flags & (_MORE_FRAGMENTS | _OFFSET):
            whole = self._collect(packet, flags, payload)
            return None if whole is None else _udp_payload(whole)
        return _udp_payload(payload)

    def _collect(self, packet: bytes, flags: int, piece: bytes) -> bytes | None:
        # RFC 791 section 3.2: source, destination, protocol and identification name the packet.
        key = packet[4:6] + packet[12:20]
        if key not in self._waiting and len(self._waiting) >= _WAITING:
            del self._waiting[next(iter(self._waiting))]
        fragments = self._waiting.setdefault(key, _Fragments())
        whole = fragments.add((flags & _OFFSET) * 8, piece, not flags & _MORE_FRAGMENTS)
        if whole is not None:
            del self._waiting[key]
        return whole


def find_datagrams(frames: Iterable[Frame]) -> Iterator[tuple[int, Frame, bytes]]:
    """(number of the frame from 1, the frame, UDP payload), where one is carried or completed."""
    finders: dict[int, DatagramFinder] = defaultdict(DatagramFinder)
    for number, frame in enumerate(frames, start=1):
        payload = finders[frame.interface].take(frame.octets)
        if payload is not None:
            yield number, frame, payload


def _ipv4_of(frame: bytes) -> bytes | None:
    """The IPv4 packet in a frame, with or without a VLAN tag, if it carries UDP."""
    start = _ETHERNET + 4 * (frame[12:14] == _VLAN)
    packet = frame[start:]
    if frame[start - 2 : start] != _IPV4 or len(packet) < 20:
        return None
    return packet if packet[0] >> 4 == 4 and packet[9] == IpProtocol.UDP else None


def _udp_payload(segment: bytes) -> bytes | None:
    """What follows the UDP header (RFC 768), or None where octets are missing."""
    length = int.from_bytes(segment[4:6], "big")
    if length < _UDP_HEADER or len(segment) < length:
        return None
    return segment[_UDP_HEADER:length]


class IkeFragments:
    """Takes the IKE messages of one segment in order, and puts those in fragments together.

    What does not fit together is passed over: a capture may hold forged pieces.
    """

    def __init__(self) -> None:
        self._pieces: dict[bytes, dict[int, bytes]] = {}

    def take(self, message: bytes) -> bytes:
        """The message; of a fragment that completes one, the whole of it."""
        if len(message) < _IKE_PIECE or message[_IKE_NEXT_PAYLOAD] != PayloadType.FRAGMENT:
            return message
        key, (number, is_last) = message[:16] + message[18:24] + message[32:34], message[34:36]
        pieces = self._pieces.setdefault(key, {})
        pieces[number] = message[_IKE_PIECE:]
        if is_last:
            pieces[0] = bytes([number])
        count = pieces.get(0, b"\0")[0]
        whole = b"".join(pieces.get(at, b"") for at in range(1, count + 1))
        if not whole or len(whole) != int.from_bytes(whole[24:28], "big"):
            return message
        del self._pieces[key]
        return whole
