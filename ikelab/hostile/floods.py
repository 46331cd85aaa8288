"""Family B, the first half: too many messages, in too many names."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from ikelab.hostile.hub import SILENCE, Assault, describe, without_notifies
from ikelab.hostile.informational import (
    alive,
    are_you_there,
    cookies,
    delete_esp,
    delete_isakmp,
)
from ikelab.hostile.registry import Shot, case
from ikelab.isakmp.admission import AGGRESSIVE_ANSWERS_OF_ADDRESS, SAS_OF_PEER
from ikelab.isakmp.events import InstallIpsecSa
from ikelab.script import AM1, INFO, MM1, MM5, QM1, Message, Peer
from ikelab.script.message import patched
from ikelab.types import Endpoint
from ikelab.wire.layer import Layer
from ikelab.wire.numbers import ExchangeType, ProtocolId
from ikelab.wire.payloads import DELETE_WITH_REASON

FLOOD = 400  # more than there is room for half-open SAs


@case(
    "B01",
    "half-open-flood",
    precedent="Simpson 1999; the paper of isakmpd",
    expected="half-open SAs are bounded, the oldest give way, members come through",
)
def half_open_flood(attack: Assault) -> Iterator[Shot]:
    """Message 1 from addresses that do not exist."""
    yield attack.deed(
        f"{FLOOD} message 1 from as many addresses",
        partial(_flood, attack, FLOOD),
        "bounded",
        "half-open-limit",
    )
    yield attack.deed("a member in the middle of it", attack.tunnel, "a tunnel")
    yield attack.deed(
        "20 message 1 from one address",
        partial(_same_address, attack),
        "bounded",
        "half-open-limit",
    )


def _flood(attack: Assault, count: int) -> str:
    octets = attack.before(MM1, "rsa" if attack.takes("rsa") else "")[1]
    known = attack.hub.sas()
    for number in range(count):
        source = Endpoint(f"198.51.{100 + number // 250}.{number % 250 + 1}", 500)
        attack.hub.send((number + 1).to_bytes(8, "big") + octets[8:], source)
    grown = attack.hub.sas() - known
    return "bounded" if grown <= 256 else f"{grown} more SAs"


def _same_address(attack: Assault) -> str:
    peer, octets = attack.before(MM1)
    known = attack.hub.sas()
    for number in range(1, 21):
        attack.hub.send(number.to_bytes(8, "big") + octets[8:], peer.end)
    attack.hub.inbox(peer.end)
    grown = attack.hub.sas() - known
    return "bounded" if grown <= 5 else f"{grown} more SAs"


@case(
    "B02",
    "silence-after-message-1",
    precedent="Simpson 1999; altsci",
    expected="nothing is sent again before our cookie was echoed; freed after 30 s",
)
def silence_after_message_1(attack: Assault) -> Iterator[Shot]:
    """Somebody who begins and says no more."""
    peer, octets = attack.before(MM1)
    known = attack.hub.sas()
    yield attack.shot("message 1", octets, "MM2", peer=peer)
    yield attack.deed("31 s later", partial(_wait, attack, peer, known), "freed, nothing more sent")


def _wait(attack: Assault, peer: Peer, known: int) -> str:
    attack.hub.advance(31.0)
    again = len(attack.hub.inbox(peer.end))
    if attack.hub.sas() > known:
        return "still there"
    return f"freed, {again or 'nothing'} more sent"


@case(
    "B03",
    "amplification",
    precedent='"CVE-2016-5361" (disputed), VU#419128: retransmissions of aggressive mode',
    expected="off unless configured; no answer is larger than the question",
)
def amplification(attack: Assault) -> Iterator[Shot]:
    """A small question in the name of a victim."""
    peer, octets = attack.before(MM1)
    aggressive = patched(octets, 18, bytes([ExchangeType.AGGRESSIVE]))
    yield attack.shot("aggressive mode", aggressive, reason="aggressive-mode-disabled")
    small = Message.read(octets)
    small.payloads = small.payloads[:1]
    small.change_header(cky_i=b"minimal!")
    yield attack.shot("the smallest message 1", small.build(), "MM2", peer=peer)


@case(
    "B03b",
    "aggressive-amplification",
    precedent='"CVE-2016-5361" (disputed), VU#419128: retransmissions of aggressive mode',
    expected="where it is allowed: few answers to one address, none sent by itself, then silence",
)
def aggressive_amplification(attack: Assault) -> Iterator[Shot]:
    """Message 1 of aggressive mode, in the name of a victim, to a router that allows it."""
    method = "rsa" if attack.takes("rsa") else ""
    peer = attack.aggressive(method)
    peer.on(AM1).keep()
    peer.request(attack.hub.now())
    octets = peer.kept[-1].octets
    known, limit = attack.hub.sas(), "aggressive-answer-limit"
    others = [_renamed(octets, number) for number in range(20)]
    flood = [*[octets] * 3, *others, *[octets] * 20]
    yield attack.deed(
        "43 in one name, of which 23 are the same", partial(_few, attack, peer, flood), "few", limit
    )
    main = attack.before(MM1, method)[1]
    mixed = [_renamed(main, number) for number in range(40, 60)]
    yield attack.deed(
        "main modes that might push them out",
        lambda: "MM2 only" if set(_answers(attack, peer, mixed).split()) == {"MM2"} else "more",
        "MM2 only",
        "half-open-limit",
    )
    yield attack.shot("and once more", _renamed(octets, 30), reason=limit, peer=peer)
    yield attack.deed("a member in main mode", attack.tunnel, "a tunnel")
    yield attack.deed(
        "31 s later", lambda: _wait(attack, peer, known + 1), "freed, nothing more sent"
    )
    yield attack.deed("a member in aggressive mode", partial(_quick_tunnel, attack), "a tunnel")


def _few(attack: Assault, peer: Peer, datagrams: list[bytes]) -> str:
    """The limit is of half a minute: attacks of a moment ago count as well."""
    answers = _answers(attack, peer, datagrams).split()
    many = len(answers) > AGGRESSIVE_ANSWERS_OF_ADDRESS
    return f"{len(answers)} answers" if many else "few"


def _answers(attack: Assault, peer: Peer, datagrams: list[bytes]) -> str:
    """The answers to all of them together, in few words."""
    for octets in datagrams:
        attack.hub.send(octets, peer.end)
    return " ".join(describe(answer) for answer in attack.hub.inbox(peer.end)) or SILENCE


def _renamed(octets: bytes, number: int) -> bytes:
    """Under another initiator cookie."""
    return (number + 1).to_bytes(8, "big") + octets[8:]


def _quick_tunnel(attack: Assault) -> str:
    peer = attack.establish(attack.aggressive())
    return "a tunnel" if peer.of(InstallIpsecSa) else f"nothing: {peer.story}"


# --- deletes and probes ---------------------------------------------------------------------------


@case(
    "B10",
    "deletes",
    precedent="libreswan CVE-2023-38712",
    expected="the first acts, the rest is ignored; nobody deletes what is not its own",
)
def deletes(attack: Assault) -> Iterator[Shot]:
    """DELETEs that lie, repeat and go on."""
    peer, _ = attack.before(QM1)
    spi = cookies(peer)
    foreign = bytes(range(16))
    for what, payload, reason in (
        ("of an SA of others", delete_isakmp(foreign), ""),
        ("of ESP SAs of others", delete_esp(b"\0\0\1\1", b"\xff\xff\xff\xff"), ""),
        ("of 65535 SPIs of no octets", _lying(0, 65535), "undecryptable"),
        ("of SPIs of 255 octets", _lying(255, 1), "undecryptable"),
        ("of one SPI, claiming 65535", _lying(16, 65535), "undecryptable"),
    ):
        octets = peer.phase2([payload])
        yield attack.shot(f"DELETE {what}", octets, reason=reason, peer=peer)
    yield alive(attack, peer, 1)
    known = attack.hub.sas()
    octets = peer.phase2([delete_isakmp(spi), are_you_there(peer, 2), delete_isakmp(spi)])
    yield attack.shot("DELETE, R-U-THERE, DELETE in one", octets, peer=peer)
    yield attack.deed("the SA", lambda: "gone" if attack.hub.sas() < known else "there", "gone")
    yield attack.shot("the same again", octets, reason="unknown-cookies", peer=peer)


def _lying(size: int, count: int) -> Layer:
    return DELETE_WITH_REASON(
        protocol_id=ProtocolId.ISAKMP, spi_size=size, spi_count=count, spis=[bytes(16)]
    )


@case(
    "B11",
    "probes",
    precedent="openswan, strongSwan CVE-2009-0790",
    expected="old numbers and odd lengths are dropped, floods answered at a bounded rate",
)
def probes(attack: Assault) -> Iterator[Shot]:
    """R-U-THERE as no peer sends it."""
    peer, _ = attack.before(QM1)
    yield alive(attack, peer, 100)
    for what, sequence, octets in (
        ("a number heard before", 100, 4),
        ("an old number", 7, 4),
        ("a number of 1 octet", 101, 1),
        ("a number of 12 octets", 101, 12),
    ):
        sealed = peer.phase2([are_you_there(peer, sequence, octets)])
        yield attack.shot(what, sealed, reason="dpd-sequence", peer=peer)
    yield attack.deed("100 at once", partial(_probe, attack, peer, 100), "few answers", "dpd-rate")
    peer.on(INFO).keep()
    gone = peer.phase2([delete_isakmp(cookies(peer))])
    late = peer.phase2([are_you_there(peer, 1000)])
    yield attack.shot("DELETE", gone, peer=peer)
    yield attack.shot("of an SA that is gone", late, reason="unknown-cookies", peer=peer)


def _probe(attack: Assault, peer: Peer, count: int) -> str:
    attack.hub.inbox(peer.end)
    for sequence in range(200, 200 + count):
        attack.hub.send(peer.phase2([are_you_there(peer, sequence)]), peer.end)
    answers = len(attack.hub.inbox(peer.end))
    return "few answers" if 0 < answers <= count // 2 else f"{answers} answers"


@case(
    "B12",
    "quick-mode-flood",
    precedent="strongSwan's max_ikev1_exchanges",
    expected="a bounded number at once; a message ID begins one exchange",
)
def quick_mode_flood(attack: Assault) -> Iterator[Shot]:
    """More quick modes than anybody needs, and message IDs that are none."""
    peer, octets = attack.before(QM1)
    yield attack.deed(
        "200 quick modes at once",
        partial(_open_many, attack, peer, octets),
        "few answers",
        "quick-mode-limit",
    )
    zero = patched(octets, 20, bytes(4))
    yield attack.shot("message ID 0", zero, reason="message-id", peer=peer)
    other = attack.before(QM1)
    yield attack.shot("a good one", other[1], "QM sealed", peer=other[0])
    changed = _another(other[0], other[1])
    yield attack.shot("its message ID again", changed, reason="undecryptable", peer=other[0])


@case(
    "B12b",
    "tunnel-flood",
    precedent="a spoke that restarts and restarts, and never says INITIAL-CONTACT",
    expected="few pairs of IPsec SAs a tunnel at a time: the oldest gives way",
)
def tunnel_flood(attack: Assault) -> Iterator[Shot]:
    """The same tunnel fifty times, each with keys of its own."""
    peer = attack.member()
    do = partial(_tunnels, attack, peer, 50)
    yield attack.deed("50 times the same tunnel", do, "50 tunnels", "ipsec-pair-limit")


@case(
    "B12c",
    "main-mode-flood",
    precedent="as B12b, one phase earlier",
    expected="few ISAKMP SAs a peer at a time: the oldest gives way",
)
def main_mode_flood(attack: Assault) -> Iterator[Shot]:
    """A member that begins anew thirty times and never says INITIAL-CONTACT."""
    do = partial(_begin_anew, attack, 30)
    yield attack.deed("30 times from the beginning", do, "30 SAs, few at a time", "peer-sa-limit")


def _begin_anew(attack: Assault, count: int) -> str:
    known, made = attack.hub.sas(), 0
    for _ in range(count):
        peer = attack.member()
        peer.on(MM5).edit(without_notifies)
        attack.establish(peer)
        made += "IKE_P1_COMPLETE" in peer.states
    few = "few" if attack.hub.sas() - known <= SAS_OF_PEER else "many"
    return f"{made} SAs, {few} at a time"


def _tunnels(attack: Assault, peer: Peer, count: int) -> str:
    made = 0
    for _ in range(count):
        attack.establish(peer)
        made += len(peer.of(InstallIpsecSa))
        peer.forget()
    return f"{made} tunnels"


def _open_many(attack: Assault, peer: Peer, octets: bytes) -> str:
    attack.hub.inbox(peer.end)
    for number in range(1, 201):
        attack.hub.send(_resealed(peer, octets, number), peer.end)
    answers = len(attack.hub.inbox(peer.end))
    return "few answers" if 0 < answers <= 20 else f"{answers} answers"


def _resealed(peer: Peer, octets: bytes, message_id: int) -> bytes:
    """The same offer under another message ID."""
    message = peer.read(octets)
    return peer.phase2(message.payloads[1:], exchange=ExchangeType.QUICK, message_id=message_id)


def _another(peer: Peer, octets: bytes) -> bytes:
    """Another offer under the same message ID."""
    message = peer.read(octets)
    message.change("nonce", b"another nonce of it")
    message_id = message.header.message_id
    return peer.phase2(message.payloads[1:], exchange=ExchangeType.QUICK, message_id=message_id)
