"""A13: pieces of messages that fit nothing (Cisco's payload 132)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ikelab.hostile.hub import Assault
from ikelab.hostile.registry import Shot, case
from ikelab.script import MM5, Message, Peer
from ikelab.wire import vendor_id
from ikelab.wire.isakmp import Header
from ikelab.wire.numbers import ExchangeType
from ikelab.wire.payloads import FRAGMENT

# (number, octets, whether it is the last) of each piece, and what the last one is refused for.
_SERIES = (
    ("number 0", [(0, 100, 0)], "fragment-number"),
    ("number 255", [(255, 100, 0)], "fragment-number"),
    ("a mark of 7", [(1, 100, 7)], "fragment-last"),
    ("no octet", [(1, 0, 0)], "fragment-empty"),
    ("other octets of one number", [(1, 100, 0), (1, 101, 0)], "fragment-conflict"),
    ("one beyond the last", [(2, 100, 1), (3, 100, 0)], "fragment-beyond-last"),
    ("a last one below the others", [(5, 100, 0), (2, 100, 1)], "fragment-beyond-last"),
    ("66,000 octets of them", [(n, 1000, 0) for n in range(1, 67)], "fragment-budget"),
)


@case(
    "A13",
    "fragments",
    precedent="Cisco CVE-2016-1287; racoon CVE-2016-10396; strongSwan CVE-2013-6076",
    expected="refused unless agreed on; bounded in number, octets and time",
)
def fragments(attack: Assault) -> Iterator[Shot]:
    """Pieces with gaps, repeats and lies, of messages that nobody sends."""
    peer, _ = attack.before(MM5)
    yield attack.shot("not agreed on", piece(peer, 1), reason="fragment-not-agreed", peer=peer)
    nobody = bytes(range(1, 9)) + piece(peer, 1)[8:]
    yield attack.shot("of no SA", nobody, reason="unknown-cookies", peer=peer)
    if not _agreed(_fragmenting(attack)):
        return
    for turn, (what, series, reason) in enumerate(_SERIES, start=1):
        peer = _fragmenting(attack)
        *before, last = [piece(peer, n, size, mark, turn) for n, size, mark in series]
        for octets in before:
            attack.hub.send(octets, peer.end)
        yield attack.shot(what, last, reason=reason, peer=peer)


def piece(peer: Peer, number: int, size: int = 100, last: int = 0, ident: int = 1) -> bytes:
    """A datagram with one fragment under a peer's cookies."""
    sa = peer.sa
    header = Header(sa.cky_i, sa.cky_r, 0, int(ExchangeType.IDENTITY_PROTECTION), 0, 0)
    data = bytes([size & 0xFF]) * size
    return Message(header, [FRAGMENT(id=ident, number=number, last=last, data=data)]).build()


def _fragmenting(attack: Assault) -> Peer:
    """A member that says it knows fragments, before its message 5."""
    peer = attack.member()
    peer.configure(replace(peer.engine.config, fragmentation=True), attack.hub.now())
    peer.on(MM5).keep()
    return attack.establish(peer)


def _agreed(peer: Peer) -> bool:
    return any(one.startswith(vendor_id.FRAGMENTATION) for one in peer.sa.peer_vendor_ids)
