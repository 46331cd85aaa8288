"""Family D, as far as IKE goes: quick modes for traffic, keys and messages that are not theirs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from ikelab.hostile.hub import Assault
from ikelab.hostile.informational import ACK, alive, are_you_there
from ikelab.hostile.registry import Shot, case
from ikelab.isakmp.events import InstallIpsecSa
from ikelab.script import INFO, QM1, QM3, Message, Peer
from ikelab.wire.layer import Layer
from ikelab.wire.numbers import (
    EspTransform,
    ExchangeType,
    IdType,
    IpsecAttribute,
    NotifyType,
    ProtocolId,
)
from ikelab.wire.payloads import HASH, ID, NOTIFY

NO_KEY = "N INVALID-KEY-INFORMATION sealed"
BAD_ID, NO_PROPOSAL = "N INVALID-ID-INFORMATION sealed", "N NO-PROPOSAL-CHOSEN sealed"
Change = Callable[[Message], object]


class _Offer:
    """A member's quick mode, unsent; `changed` is it with something else, HASH(1) being right."""

    def __init__(self, attack: Assault) -> None:
        self.peer, self.octets = attack.before(QM1)
        self._attack = attack
        self._known = len(self.peer.of(InstallIpsecSa))

    def message(self) -> Message:
        """In clear."""
        return self.peer.read(self.octets)

    def changed(self, change: Change) -> bytes:
        """Under another message ID, so that nothing stands in its way."""
        message = self.message()
        change(message)
        return self.peer.phase2(message.payloads[1:], exchange=ExchangeType.QUICK)

    def with_ids(self, *ids: Layer) -> bytes:
        """For other traffic."""

        def replace(message: Message) -> None:
            message.payloads = [p for p in message.payloads if not isinstance(p, ID)]
            message.payloads += ids

        return self.changed(replace)

    def with_transform(
        self, transform_id: int | None = None, *attributes: tuple[int, int | bytes], **more: object
    ) -> bytes:
        """With another transform, attributes in place of those of the same class."""

        def offer(message: Message) -> None:
            [proposal] = message.one("sa").proposals
            [transform] = proposal.transforms
            kinds = {kind for kind, _ in attributes}
            kept = [(kind, value) for kind, value in transform.attributes if kind not in kinds]
            transform.attributes = [*kept, *attributes]
            if transform_id is not None:
                transform.transform_id = transform_id
            for name, value in more.items():
                proposal.setfieldval(name, value)

        return self.changed(offer)

    def without(self, kind: int) -> bytes:
        """With an attribute less."""

        def offer(message: Message) -> None:
            transform = message.one("sa").proposals[0].transforms[0]
            transform.attributes = [pair for pair in transform.attributes if pair[0] != kind]

        return self.changed(offer)


@case(
    "D01",
    "other-traffic",
    precedent="libreswan CVE-2023-38711",
    expected="INVALID-ID-INFORMATION, no SA",
)
def other_traffic(attack: Assault) -> Iterator[Shot]:
    """Quick mode IDs that no tunnel has."""
    offer = _Offer(attack)
    ours, theirs = offer.message().all("id")

    def host(address: Sequence[int], protocol: int = 47, port: int = 0) -> Layer:
        return ID(id_type=IdType.ID_IPV4_ADDR, protocol=protocol, port=port, data=bytes(address))

    subnet = ID(id_type=IdType.ID_IPV4_ADDR_SUBNET, data=bytes(8), protocol=47)
    name = ID(id_type=IdType.ID_FQDN, protocol=47, data=b"hub.example.com")
    for what, ids in (
        ("swapped", (theirs, ours)),
        ("another peer's address", (host((192, 0, 2, 2)), theirs)),
        ("an address of nobody", (host((198, 51, 100, 9)), theirs)),
        ("everything", (subnet, subnet)),
        ("names", (name, name)),
        ("UDP for GRE", (host(bytes(ours.data), 17), host(bytes(theirs.data), 17))),
        ("a port of it", (host(bytes(ours.data), 47, 500), theirs)),
        ("none", ()),
        ("one", (ours,)),
        ("three", (ours, theirs, ours)),
        ("an address of 3 octets", (host((192, 0, 2)), theirs)),
        ("type 0", (ID(id_type=0, data=b"\0\0\0\0"), theirs)),
        ("a subnet of 4 octets", (ID(id_type=4, protocol=47, data=bytes(4)), theirs)),
    ):
        yield attack.shot(
            f"IDs: {what}", offer.with_ids(*ids), BAD_ID, "proxy-identity", peer=offer.peer
        )
    yield alive(attack, offer.peer, 1)


@case(
    "D02",
    "weak-protection",
    precedent="libreswan CVE-2024-3652",
    expected="NO-PROPOSAL-CHOSEN",
)
def weak_protection(attack: Assault) -> Iterator[Shot]:
    """Transforms without keys, without secrecy, for something else, or none at all."""
    offer = _Offer(attack)
    bits, mode = IpsecAttribute.KEY_LENGTH, IpsecAttribute.ENCAPSULATION_MODE
    integrity = IpsecAttribute.AUTHENTICATION_ALGORITHM
    for what, octets in (
        ("NULL", offer.with_transform(EspTransform.ESP_NULL)),
        ("single DES", offer.with_transform(EspTransform.ESP_DES)),
        ("AES-GMAC", offer.with_transform(23)),
        ("AES-GCM", offer.with_transform(20)),
        ("transform 0", offer.with_transform(0)),
        ("AH", offer.with_transform(protocol_id=ProtocolId.AH)),
        ("IPCOMP", offer.with_transform(protocol_id=4)),
        ("protocol 0", offer.with_transform(protocol_id=0)),
        ("tunnel for transport", offer.with_transform(None, (mode, 1))),
        ("mode 65535", offer.with_transform(None, (mode, 65535))),
        ("no integrity", offer.without(integrity)),
        ("MD5 for SHA-256", offer.with_transform(None, (integrity, 1))),
        ("a key of 0 bits", offer.with_transform(None, (bits, 0))),
        ("a key of 65535 bits", offer.with_transform(None, (bits, 65535))),
        ("no key length", offer.without(bits)),
        ("an SPI of 0", offer.with_transform(spi=bytes(4))),
        ("a reserved SPI", offer.with_transform(spi=b"\0\0\0\xff")),
        ("an SPI of 16 octets", offer.with_transform(spi=bytes(16))),
        ("no SPI", offer.with_transform(spi=b"")),
        ("no transform", offer.with_transform(transforms=[])),
        ("no proposal", offer.changed(lambda m: m.one("sa").setfieldval("proposals", []))),
    ):
        yield attack.shot(what, octets, NO_PROPOSAL, "no-proposal-chosen", peer=offer.peer)
    group = IpsecAttribute.GROUP_DESCRIPTION
    for what, octets, answer in (
        ("PFS of a weak group", offer.with_transform(None, (group, 1)), NO_PROPOSAL),
        ("PFS of an unknown group", offer.with_transform(None, (group, 99)), NO_PROPOSAL),
        ("PFS without a KE payload", offer.with_transform(None, (group, 14)), NO_KEY),
    ):
        yield attack.shot(what, octets, answer, "pfs-mismatch", peer=offer.peer)
    for what, octets in (
        ("a key length of 2000 octets", offer.with_transform(None, (bits, b"\xff" * 2000))),
        ("attribute 99", offer.with_transform(None, (99, 1))),
    ):
        answer = "N ATTRIBUTES-NOT-SUPPORTED sealed"
        yield attack.shot(what, octets, answer, "attribute-not-supported", peer=offer.peer)
    yield alive(attack, offer.peer, 1)


@case(
    "D03",
    "replays-and-hashes",
    precedent="libreswan CVE-2019-10155",
    expected="dropped; every encrypted message has its HASH checked",
)
def replays_and_hashes(attack: Assault) -> Iterator[Shot]:
    """Quick mode and notifies, again and with wrong hashes."""
    offer = _Offer(attack)
    peer = offer.peer
    yield attack.shot(
        "HASH(1) wrong", _with_hash(peer, offer.message(), bytes(32)), reason="bad-hash", peer=peer
    )
    bare = offer.message()
    bare.payloads.pop(0)
    unhashed = peer.phase2(bare.payloads, exchange=ExchangeType.QUICK, hashed=False)
    yield attack.shot("no HASH(1)", unhashed, reason="payload-missing", peer=peer)
    yield attack.shot("message 1", offer.octets, "QM sealed", peer=peer)
    yield attack.deed("again", partial(_same_answer, attack, peer, offer.octets), "the same answer")
    finished, last = _last_message(attack)
    yield attack.shot(
        "HASH(3) wrong", _third(finished, last, bytes(32)), reason="bad-hash", peer=finished
    )
    yield attack.shot("message 3", last, peer=finished)
    yield attack.shot("message 3 again", last, peer=finished)
    notify = [NOTIFY(protocol_id=ProtocolId.ISAKMP, notify_type=NotifyType.INITIAL_CONTACT)]
    bad = finished.phase2([_hash(finished), *notify], hashed=False)
    yield attack.shot("a notify with a wrong HASH", bad, reason="bad-hash", peer=finished)
    probe = finished.phase2([are_you_there(finished, 5)])
    yield attack.shot("R-U-THERE", probe, ACK, peer=finished)
    yield attack.shot("R-U-THERE again", probe, reason="message-id-reused", peer=finished)


def _hash(peer: Peer) -> Layer:
    return HASH(data=bytes(len(peer.keys.hash_1(1, []))))


def _with_hash(peer: Peer, message: Message, value: bytes) -> bytes:
    message.change("hash", value)
    return message.seal(peer.keys, peer.keys.iv(message.header.message_id))


def _same_answer(attack: Assault, peer: Peer, octets: bytes) -> str:
    answers = []
    for _ in range(2):
        attack.hub.inbox(peer.end)
        attack.hub.send(octets, peer.end)
        answers.append(attack.hub.inbox(peer.end))
    return "the same answer" if answers[0] == answers[1] != [] else "another answer"


def _last_message(attack: Assault) -> tuple[Peer, bytes]:
    """A member whose quick mode lacks its message 3."""
    peer = attack.member()
    peer.on(QM3).keep()
    attack.establish(peer)
    return peer, peer.kept[-1].octets


def _third(peer: Peer, octets: bytes, value: bytes) -> bytes:
    """Message 3 with another HASH(3), sealed with the IV of the true one."""
    [plain] = [sent for sent in peer.of_message(QM3) if sent.datagram == octets]
    return peer.resealed(plain, lambda message: message.change("hash", value))


@case(
    "D03b",
    "late-replay",
    precedent="RFC 2409 section 5.5: message IDs are unique",
    expected="a recorded quick mode begins nothing, however late it comes",
)
def late_replay(attack: Assault) -> Iterator[Shot]:
    """A whole quick mode recorded, and played again when it has been forgotten."""
    peer = attack.member()
    peer.on(INFO).keep()
    attack.establish(peer)
    first = next(p.datagram for p in peer.of_message(QM1))
    yield attack.deed("two minutes later", partial(_wait, attack), "waited")
    yield attack.shot("message 1 again", first, reason="message-id-reused", peer=peer)


def _wait(attack: Assault) -> str:
    attack.hub.advance(120.0)
    return "waited"
