"""Family B: messages in the wrong place, too often, from the wrong end; and floods of them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from ikelab.crypto import oakley
from ikelab.hostile.hub import SILENCE, Assault
from ikelab.hostile.registry import Shot, case
from ikelab.isakmp.events import InstallIpsecSa
from ikelab.script import INFO, MM1, MM3, MM5, QM1, Message, Peer
from ikelab.script.message import patched
from ikelab.types import Endpoint
from ikelab.wire.isakmp import Header
from ikelab.wire.layer import Layer
from ikelab.wire.numbers import ExchangeType, Flags, NotifyType, PayloadType, ProtocolId
from ikelab.wire.payloads import DELETE, DELETE_WITH_REASON, NOTIFY

FLOOD = 400  # more than there is room for half-open SAs
ACK = "N R-U-THERE-ACK sealed"


def cookies(peer: Peer) -> bytes:
    """The SPI of a peer's ISAKMP SA."""
    return peer.sa.cky_i + peer.sa.cky_r


def delete_isakmp(spi: bytes) -> Layer:
    """DELETE of an ISAKMP SA."""
    return DELETE(protocol_id=ProtocolId.ISAKMP, spi_size=16, spis=[spi])


def delete_esp(*spis: bytes) -> Layer:
    """DELETE of ESP SAs."""
    return DELETE(protocol_id=ProtocolId.ESP, spi_size=4, spis=list(spis))


def are_you_there(peer: Peer, sequence: int, octets: int = 4) -> Layer:
    """R-U-THERE with a sequence number."""
    return NOTIFY(
        protocol_id=ProtocolId.ISAKMP,
        notify_type=NotifyType.R_U_THERE,
        spi=cookies(peer),
        data=sequence.to_bytes(octets, "big"),
    )


def alive(attack: Assault, peer: Peer, sequence: int) -> Shot:
    """The SA is still there: it answers a probe."""
    octets = peer.phase2([are_you_there(peer, sequence)])
    return attack.shot("the SA still answers", octets, ACK, peer=peer)


def in_clear(peer: Peer, *payloads: Layer) -> bytes:
    """An informational message without keys."""
    header = Header(peer.sa.cky_i, peer.sa.cky_r, 0, int(ExchangeType.INFORMATIONAL), 0, 4711)
    return Message(header, list(payloads)).build()


# --- floods ---------------------------------------------------------------------------------------


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
    yield attack.deed("a member in the middle of it", partial(_tunnel, attack), "a tunnel")
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


def _tunnel(attack: Assault) -> str:
    peer = attack.establish(attack.member())
    return "a tunnel" if peer.of(InstallIpsecSa) else f"nothing: {peer.story}"


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


# --- cookies and repeats --------------------------------------------------------------------------


@case(
    "B04",
    "cookies",
    precedent="libreswan CVE-2023-30570",
    expected="dropped; no state is made",
)
def wrong_cookies(attack: Assault) -> Iterator[Shot]:
    """Message 3 under cookies that nobody has."""
    peer, octets = attack.before(MM3)
    known = attack.hub.sas()
    for what, offset, cookie, reason in (
        ("another responder cookie", 8, b"notthere", "unknown-cookies"),
        ("no responder cookie", 8, bytes(8), "changed-repeat"),
        ("another initiator cookie", 0, b"notthere", "unknown-cookies"),
        ("no initiator cookie", 0, bytes(8), "zero-initiator-cookie"),
    ):
        yield attack.shot(what, patched(octets, offset, cookie), reason=reason, peer=peer)
    stranger = patched(patched(octets, 0, b"notthere"), 8, bytes(8))
    yield attack.shot("a message 3 to begin with", stranger, "N PAYLOAD-MALFORMED", peer=peer)
    yield attack.deed("no SA more", lambda: str(attack.hub.sas() - known), "0")
    yield attack.shot("the true message 3", octets, "MM4", peer=peer)


@case(
    "B05",
    "replayed-message-1",
    precedent="RFC 2408 section 2.5.3",
    expected="the same answer, to the same sender only",
)
def replayed_message_1(attack: Assault) -> Iterator[Shot]:
    """Message 1 again, from here and from elsewhere."""
    peer, octets = attack.before(MM1)
    end = peer.end
    yield attack.shot("message 1", octets, "MM2", peer=peer)
    yield attack.shot("again", octets, "MM2", peer=peer)
    elsewhere = Endpoint(end.address, end.port + 1)
    yield attack.shot("from another port", octets, reason="wrong-peer", source=elsewhere)
    yield attack.shot(
        "from another address", octets, reason="wrong-peer", source=attack.hub.stranger
    )


@case(
    "B06",
    "repeats",
    precedent="libreswan #1953, its impairments",
    expected="an exact repeat gets the stored answer, octet for octet; a changed one is dropped",
)
def repeats(attack: Assault) -> Iterator[Shot]:
    """Messages 3 and 5 twice, the second time with a changed octet."""
    peer, octets = attack.before(MM3)
    yield attack.shot("message 3, longer", octets + b"\0", reason="malformed", peer=peer)
    yield attack.deed("message 3 twice", partial(_twice, attack, peer, octets), "the same answer")
    changed = patched(octets, len(octets) - 1, bytes([octets[-1] ^ 1]))
    yield attack.shot("message 3 changed", changed, reason="encryption", peer=peer)
    peer, octets = attack.before(MM5)
    changed = patched(octets, 28, bytes([octets[28] ^ 1]))
    yield attack.shot("message 5 changed", changed, reason="undecryptable", peer=peer)
    yield attack.deed("message 5 twice", partial(_twice, attack, peer, octets), "the same answer")
    yield attack.shot("message 5 changed", changed, reason="unexpected-message", peer=peer)


def _twice(attack: Assault, peer: Peer, octets: bytes) -> str:
    answers = []
    for _ in range(2):
        attack.hub.inbox(peer.end)
        attack.hub.send(octets, peer.end)
        answers.append(attack.hub.inbox(peer.end))
    if not answers[0]:
        return SILENCE
    return "the same answer" if answers[0] == answers[1] else "another answer"


# --- the wrong moment -----------------------------------------------------------------------------


@case(
    "B07",
    "out-of-order",
    precedent="libreswan CVE-2019-12312, CVE-2020-1763",
    expected="dropped: there is no row for it",
)
def out_of_order(attack: Assault) -> Iterator[Shot]:
    """Messages that come before those they build on."""
    _, sealed = attack.before(MM5)
    peer, octets = attack.before(MM3)
    pair = cookies(peer)
    early = patched(sealed, 0, pair)
    yield attack.shot("message 5 before message 3", early, reason="encryption", peer=peer)
    quick = Header(pair[:8], pair[8:], PayloadType.HASH, int(ExchangeType.QUICK), 1, 7)
    for what, exchange in (("quick mode", ExchangeType.QUICK), ("a notify", INFO)):
        header = quick if exchange is ExchangeType.QUICK else _informational(quick)
        octets_ = Message(header).build(bytes(64))
        yield attack.shot(
            f"{what} before message 3", octets_, reason="phase1-incomplete", peer=peer
        )
    yield attack.shot("the true message 3", octets, "MM4", peer=peer)
    peer, _ = attack.before(MM5)
    early = peer.phase2([are_you_there(peer, 1)])
    yield attack.shot("R-U-THERE before message 5", early, reason="phase1-incomplete", peer=peer)
    early = peer.phase2([are_you_there(peer, 1)], exchange=ExchangeType.QUICK)
    yield attack.shot("quick mode before message 5", early, reason="phase1-incomplete", peer=peer)


def _informational(header: Header) -> Header:
    message = Message(header)
    message.change_header(
        exchange_type=int(ExchangeType.INFORMATIONAL), flags=int(Flags.ENCRYPTION)
    )
    return message.header


@case(
    "B08",
    "clear-informational",
    precedent="RFC 2409 section 5.7: not authenticated before there are keys",
    expected="counted, never obeyed",
)
def clear_informational(attack: Assault) -> Iterator[Shot]:
    """Deletes and notifies in clear, under the cookies of a living SA."""
    peer, _ = attack.before(QM1)
    spi = cookies(peer)
    for what, payload in (
        ("DELETE of the SA", delete_isakmp(spi)),
        ("DELETE of ESP SAs", delete_esp(b"\0\0\1\1", b"\0\0\1\2")),
        ("DELETE with a reason", _with_reason(spi)),
        ("INITIAL-CONTACT", _notify(NotifyType.INITIAL_CONTACT, spi)),
        ("RESPONDER-LIFETIME", _notify(NotifyType.RESPONDER_LIFETIME, spi)),
        ("AUTHENTICATION-FAILED", _notify(NotifyType.AUTHENTICATION_FAILED, spi)),
    ):
        octets = in_clear(peer, payload)
        yield attack.shot(
            f"{what} in clear", octets, reason="unauthenticated-informational", peer=peer
        )
    yield alive(attack, peer, 1)


def _notify(kind: NotifyType, spi: bytes) -> Layer:
    return NOTIFY(protocol_id=ProtocolId.ISAKMP, notify_type=kind, spi=spi)


def _with_reason(spi: bytes) -> Layer:
    return DELETE_WITH_REASON(protocol_id=ProtocolId.ISAKMP, spi_size=16, spis=[spi], reason=2)


@case(
    "B09",
    "initial-contact",
    precedent="as B08, behind the encryption",
    expected="obeyed after authentication only, and for that peer only",
)
def initial_contact(attack: Assault) -> Iterator[Shot]:
    """INITIAL-CONTACT of somebody who cannot prove who it is."""
    first, _ = attack.before(QM1)
    impostor = attack.member()
    assert impostor.end == first.end, "the same address twice"
    proof = "sig" if impostor.engine.config.credentials else "hash"
    impostor.on(MM5).mutate(**{proof: bytes(256 if proof == "sig" else 32)}).keep()
    attack.establish(impostor)
    octets = impostor.kept[-1].octets
    reason = "bad-signature" if proof == "sig" else "bad-hash"
    yield attack.shot("with a wrong proof", octets, reason=reason, peer=impostor)
    yield alive(attack, first, 1)
    other = b"cookies of others"[:16]
    octets = first.phase2([_notify(NotifyType.INITIAL_CONTACT, other)])
    yield attack.shot("later, and for others", octets, peer=first)
    yield alive(attack, first, 2)


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
    yield attack.deed("one SA less", lambda: str(attack.hub.sas() - known), "-1")
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


@case(
    "B13",
    "error-budget",
    precedent="the guide's D2: attempt n of 5",
    expected="five attempts, then the SA goes; the next main mode of the peer works",
)
def error_budget(attack: Assault) -> Iterator[Shot]:
    """Wrong proofs until nobody listens, and then a good one."""
    peer = attack.member()
    proof = "sig" if peer.engine.config.credentials else "hash"
    peer.on(MM5).keep()
    attack.establish(peer)
    good = peer.kept[-1].octets
    reason = "bad-signature" if proof == "sig" else "bad-hash"
    for number in range(1, 6):
        octets = wrong_proof(peer, good, number)
        yield attack.shot(f"attempt {number}", octets, reason=reason, peer=peer)
    yield attack.shot("then a good one", good, reason="unknown-cookies", peer=peer)
    yield attack.deed("the next main mode", partial(_tunnel, attack), "a tunnel")


def wrong_proof(peer: Peer, octets: bytes, number: int = 0) -> bytes:
    """A peer's message 5 with a proof of as many octets that proves nothing."""
    sealed = _opened(peer, octets)
    name = "sig" if sealed.all("sig") else "hash"
    length = len(bytes(sealed.one(name).data))
    sealed.change(name, bytes(length - 1) + bytes([number]))
    return sealed.seal(peer.keys, first_iv(peer))


def _opened(peer: Peer, octets: bytes) -> Message:
    return Message.read(octets, peer.keys, first_iv(peer))


def first_iv(peer: Peer) -> bytes:
    """Of message 5 (RFC 2409 appendix B)."""
    sa = peer.sa
    assert sa.policy is not None and sa.cipher is not None
    return oakley.first_iv(sa.policy.hash, sa.g_xi, sa.g_xr, sa.cipher.block)


@case(
    "B14",
    "crossing",
    precedent="an interop issue of old: both ends begin at once",
    expected="tunnels come up, and nobody goes on beginning",
)
def crossing(attack: Assault) -> Iterator[Shot]:
    """Both ends begin at once."""
    peer = attack.member()
    yield attack.deed("both begin", partial(_cross, attack, peer), "a tunnel, then quiet")
    yield attack.deed("both rekey", partial(_cross, attack, peer), "a tunnel, then quiet")


def _cross(attack: Assault, peer: Peer) -> str:
    before = len(peer.of(InstallIpsecSa))
    peer.request(attack.hub.now())
    attack.hub.provoke(peer)
    attack.run(peer)
    if len(peer.of(InstallIpsecSa)) == before:
        return f"nothing: {peer.story}"
    quiet = not peer.outbox and not attack.hub.inbox(peer.end)
    return "a tunnel, then quiet" if quiet else "a tunnel, and no end"
