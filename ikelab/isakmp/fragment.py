"""IKE fragmentation, payload type 132: large messages in pieces that no IP layer has to cut.

Cisco's invention, never an RFC; strongSwan, libreswan and racoon speak it. A fragment is a message
of its own, in clear: the header of the whole message with 132 as its next payload, and one payload.

    |                       ISAKMP header (28)                      |
    |  next payload 0 |   RESERVED    |            length           |
    |           fragment ID           |     number    |     last    |    number: from 1
    ~                   a piece of the whole message                ~

The pieces of one message, header included, are put together in the order of their numbers. Whoever
sees the cookies can send fragments, so there is a budget of pieces and octets, a timer, and what
does not fit together is thrown away: the peer sends all of it again. When fragments may be used at
all is in `fragmentation.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ikelab.errors import ProtocolError
from ikelab.wire.isakmp import (
    HEADER_LENGTH,
    Header,
    build_message,
    build_payloads,
    parse_header,
    parse_payloads,
)
from ikelab.wire.numbers import NAT_T_PORT, PayloadType
from ikelab.wire.payloads import FRAGMENT

if TYPE_CHECKING:
    from ikelab.isakmp.sa import IsakmpSa
    from ikelab.wire.layer import Layer

PACKET = 576  # octets of an IPv4 packet that every host must take (RFC 791): what IOS cuts to
_IP_UDP = 28
_MARKER = 4
_PAYLOAD = 8  # octets before the piece

MAX_FRAGMENTS = 128  # 64 KB in pieces of 520 octets
MAX_OCTETS = 65535  # of the whole message: what UDP could carry
SECONDS = 30.0  # for all pieces; a peer sends again after 10


@dataclass(slots=True)
class Pieces:
    """The fragments of one message so far. key: what they share. deadline: `Now.elapsed`."""

    key: tuple[int, int, int]
    deadline: float
    found: dict[int, bytes] = field(default_factory=dict)
    octets: int = 0
    last: int | None = None

    @property
    def is_whole(self) -> bool:
        """Number 1 to the last are there."""
        return self.last is not None and len(self.found) == self.last

    def add(self, number: int, data: bytes, *, is_last: bool) -> None:
        """Keep a piece that was checked."""
        self.found[number] = data
        self.octets += len(data)
        if is_last:
            self.last = number

    def joined(self) -> bytes:
        """The message; only when it is whole."""
        return b"".join(self.found[number] for number in range(1, len(self.found) + 1))


# --- sending --------------------------------------------------------------------------------------


def piece_length(local_port: int) -> int:
    """The most octets of a message that go into one fragment from this port."""
    marker = _MARKER if local_port == NAT_T_PORT else 0
    return PACKET - _IP_UDP - marker - HEADER_LENGTH - _PAYLOAD


def is_large(message: bytes, local_port: int) -> bool:
    """Whether a message does not fit into one packet as it is."""
    return len(message) > piece_length(local_port) + HEADER_LENGTH + _PAYLOAD


def split(message: bytes, local_port: int) -> Iterator[bytes]:
    """The fragments of a message, in order. ID 1, as every peer has it: one message at a time."""
    header, size = parse_header(message), piece_length(local_port)
    pieces = [message[at : at + size] for at in range(0, len(message), size)]
    outer = Header(
        header.cky_i,
        header.cky_r,
        PayloadType.FRAGMENT,
        header.exchange_type,
        0,  # the fragment itself is in clear
        header.message_id,
    )
    for number, piece in enumerate(pieces, start=1):
        payload = FRAGMENT(id=1, number=number, last=int(number == len(pieces)), data=piece)
        yield build_message(outer, build_payloads([payload])[1])


# --- taking ---------------------------------------------------------------------------------------


def read(header: Header, datagram: bytes) -> Layer:
    """The fragment in a datagram. Raises WireError, and ProtocolError for what can be no piece."""
    body = datagram[HEADER_LENGTH:]
    payloads = parse_payloads(header.next_payload, body, offset=HEADER_LENGTH)
    if len(payloads) != 1:
        raise refusal("fragment-not-alone", "one payload", f"{len(payloads)} payloads")
    found = payloads[0].packet
    if not 1 <= found.number <= MAX_FRAGMENTS:
        raise refusal("fragment-number", f"1 to {MAX_FRAGMENTS}", found.number)
    if found.last not in (0, 1):
        raise refusal("fragment-last", "0 or 1 as the mark of the last", found.last)
    if not found.data:
        raise refusal("fragment-empty", "a piece of a message", "no octet")
    return found


def collect(sa: IsakmpSa, header: Header, datagram: bytes, now: float) -> tuple[int, bytes | None]:
    """Take one fragment: its number, and the whole message when this one completes it.

    `sa.pieces` is what is kept. Raises ProtocolError for a fragment that is not taken. One that
    contradicts those before it takes their place: either is not the peer's, and the peer sends
    all of them again, from the first.
    """
    found = read(header, datagram)
    key = (int(header.exchange_type), header.message_id, int(found.id))
    number, data, is_last = int(found.number), bytes(found.data), bool(found.last)
    pieces = sa.pieces
    if pieces is None or pieces.key != key:  # a new message; of the old one nothing more comes
        pieces = sa.pieces = Pieces(key, now + SECONDS)
    if pieces.found.get(number) == data and is_last is (pieces.last == number):
        raise refusal("fragment-repeated", "each number once", number)
    error = _contradiction(pieces, number, data, is_last=is_last)
    if error is not None:
        pieces = sa.pieces = Pieces(key, now + SECONDS)
    pieces.add(number, data, is_last=is_last)
    if error is not None:
        raise error
    if not pieces.is_whole:
        return number, None
    sa.pieces = None
    return number, _check_whole(pieces.joined(), header)


def _contradiction(
    pieces: Pieces, number: int, data: bytes, *, is_last: bool
) -> ProtocolError | None:
    """Why a piece cannot be of the same message as those so far, or is too much."""
    if number in pieces.found:
        return refusal("fragment-conflict", f"number {number} as it was", "other octets")
    if pieces.last is not None and (is_last or number > pieces.last):
        return refusal("fragment-beyond-last", f"numbers below {pieces.last}", number)
    highest = max(pieces.found, default=0)
    if is_last and number < highest:
        return refusal("fragment-beyond-last", f"a last number above {highest}", number)
    if pieces.octets + len(data) > MAX_OCTETS:
        return refusal("fragment-budget", f"{MAX_OCTETS} octets", pieces.octets + len(data))
    return None


def _check_whole(message: bytes, outer: Header) -> bytes:
    """The header of the whole must be the one that its fragments had."""
    inner = parse_header(message)
    if inner.next_payload == PayloadType.FRAGMENT:
        raise refusal("fragment-nested", "a message", "a fragment in fragments")
    same = ("cky_i", "cky_r", "exchange_type", "message_id")
    differing = [name for name in same if getattr(inner, name) != getattr(outer, name)]
    if differing:
        raise refusal(
            "fragment-header", "the header of the fragments", f"another {', '.join(differing)}"
        )
    return message


def refusal(reason: str, wanted: object, seen: object) -> ProtocolError:
    """Why a fragment is not taken."""
    return ProtocolError(
        reason, f"{seen}, wanted {wanted}", payload="FRAG", seen=seen, wanted=wanted
    )
