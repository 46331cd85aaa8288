"""Family B, the second half: messages in the wrong place, and from the wrong end."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from ikelab.crypto import oakley
from ikelab.hostile.hub import SILENCE, Assault
from ikelab.hostile.informational import (
    alive,
    are_you_there,
    cookies,
    delete_esp,
    delete_isakmp,
    in_clear,
)
from ikelab.hostile.registry import Shot, case
from ikelab.isakmp.events import InstallIpsecSa
from ikelab.script import INFO, MM1, MM3, MM5, QM1, Message, Peer
from ikelab.script.message import patched
from ikelab.types import Endpoint
from ikelab.wire.isakmp import Header
from ikelab.wire.layer import Layer
from ikelab.wire.numbers import ExchangeType, Flags, NotifyType, PayloadType, ProtocolId
from ikelab.wire.payloads import DELETE_WITH_REASON, NOTIFY

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
    yield attack.deed(
        "SAs made of it", lambda: "none" if attack.hub.sas() <= known else "some", "none"
    )
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


def _say_initial_contact(peer: Peer, layer: Layer) -> None:
    layer.notify_type, layer.spi = NotifyType.INITIAL_CONTACT, cookies(peer)
    layer.protocol_id = ProtocolId.ISAKMP


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
    wrong = bytes(256 if proof == "sig" else 32)
    contact = partial(_say_initial_contact, impostor)
    impostor.on(MM5).mutate(**{proof: wrong}).mutate(notify=contact).keep()
    attack.establish(impostor)
    octets = impostor.kept[-1].octets
    reason = "bad-signature" if proof == "sig" else "bad-hash"
    yield attack.shot("with a wrong proof", octets, reason=reason, peer=impostor)
    yield alive(attack, first, 1)
    other = b"cookies of others"[:16]
    octets = first.phase2([_notify(NotifyType.INITIAL_CONTACT, other)])
    yield attack.shot("later, and for others", octets, peer=first)
    yield alive(attack, first, 2)


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
    for number in range(1, 7):  # the message and five repetitions, as in the guide's listing
        octets = wrong_proof(peer, good, number)
        yield attack.shot(f"attempt {number}", octets, reason=reason, peer=peer)
    yield attack.shot("then a good one", good, reason="unknown-cookies", peer=peer)
    yield attack.deed("the next main mode", attack.tunnel, "a tunnel")


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
    peer.forget()
    peer.request(attack.hub.now())
    attack.hub.provoke(peer)
    attack.run(peer)
    if not peer.of(InstallIpsecSa):
        return f"nothing: {peer.story}"
    quiet = not peer.outbox and not attack.hub.inbox(peer.end)
    return "a tunnel, then quiet" if quiet else "a tunnel, and no end"
