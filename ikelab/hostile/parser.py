"""Family A: octets that anybody may send to UDP 500, meant to break whoever reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from ikelab.hostile.hub import SILENCE, Assault
from ikelab.hostile.mutations import mutations
from ikelab.hostile.registry import Shot, case
from ikelab.isakmp.state import PayloadRule
from ikelab.script import MM1, MM3, MM5, QM1, Message
from ikelab.script.message import patched
from ikelab.types import Endpoint
from ikelab.wire.isakmp import HEADER_LENGTH, build_message
from ikelab.wire.layer import Layer
from ikelab.wire.numbers import IkeAttribute, PayloadType
from ikelab.wire.payloads import NONCE, VENDOR_ID, UnknownPayload

_LENGTH, _VERSION, _EXCHANGE, _FLAGS, _MESSAGE_ID = 24, 17, 18, 19, 20
_FIRST = HEADER_LENGTH  # where the first payload's generic header stands
NO_PROPOSAL, _REASON = "N NO-PROPOSAL-CHOSEN", "no-proposal-chosen"


def number(value: int, octets: int) -> bytes:
    """Network order."""
    return value.to_bytes(octets, "big")


def payload(following: int, body: bytes, length: int | None = None) -> bytes:
    """A payload whose generic header may lie."""
    size = 4 + len(body) if length is None else length
    return bytes([following, 0]) + number(size, 2) + body


class _Mm1:
    """A good message 1 of a member, and broken ones made of it, each with a cookie of its own."""

    def __init__(self, attack: Assault) -> None:
        peer, self._octets = attack.before(MM1)
        self.end: Endpoint = peer.end
        self._turn = 0

    @property
    def octets(self) -> bytes:
        """As a member begins."""
        self._turn += 1
        return self._octets[:6] + number(self._turn, 2) + self._octets[8:]

    @property
    def message(self) -> Message:
        """To be changed; each time a new one."""
        return Message.read(self.octets)

    def edited(self, change: Callable[[Message], object]) -> bytes:
        """With payloads or header changed."""
        message = self.message
        change(message)
        return message.build()

    def with_more(self, *payloads: Layer) -> bytes:
        """With payloads behind its own."""
        return self.edited(lambda message: message.payloads.extend(payloads))

    def with_sa(self, **fields: object) -> bytes:
        """With other fields of its SA payload."""
        return self.edited(lambda message: _set(message.one("sa"), fields))

    def with_proposal(self, **fields: object) -> bytes:
        """With other fields of its proposal."""
        return self.edited(lambda message: _set(message.one("sa").proposals[0], fields))

    def with_attributes(self, *attributes: tuple[int, int | bytes]) -> bytes:
        """With these attributes in place of those of the same class; none at all: without any."""
        return self.edited(lambda message: _offer(message, attributes))

    def with_body(self, first: int, body: bytes) -> bytes:
        """With other octets behind the header."""
        message = self.message
        message.change_header(next_payload=first)
        return build_message(message.header, body)


def _set(layer: Layer, fields: Mapping[str, object]) -> None:
    for name, value in fields.items():
        layer.setfieldval(name, value)


def _offer(message: Message, attributes: Sequence[tuple[int, int | bytes]]) -> None:
    transform = message.one("sa").proposals[0].transforms[0]
    kinds = {kind for kind, _ in attributes}
    kept = [(kind, value) for kind, value in transform.attributes if kind not in kinds]
    transform.attributes = [*kept, *attributes] if attributes else []


@case(
    "A01",
    "short-datagrams",
    precedent="Bindview's short packets, 2002",
    expected="dropped as malformed",
)
def short_datagrams(attack: Assault) -> Iterator[Shot]:
    """Less than a header."""
    good = attack.first_octets()
    for octets in (b"", b"\0", good[:8], good[:27]):
        yield attack.shot(f"{len(octets)} octets", octets, reason="malformed")


@case(
    "A02",
    "header-length",
    precedent="RFC 2408 section 5.1; TAHI's generic tests",
    expected="dropped; nothing is read past the end",
)
def header_length(attack: Assault) -> Iterator[Shot]:
    """The length in the header and that of the datagram differ."""
    good = attack.first_octets()
    for length in (0, 27, len(good) - 1, len(good) + 1, 0xFFFF, 0xFFFFFFFF):
        octets = patched(good, _LENGTH, number(length, 4))
        yield attack.shot(f"length {length} of {len(good)} octets", octets, reason="malformed")
    yield attack.shot("an octet too many", good + b"\0", reason="malformed")
    yield attack.shot("the last octet missing", good[:-1], reason="malformed")


@case(
    "A03",
    "payload-length",
    precedent="PROTOS c09; tcpdump's pointer loop",
    expected="dropped, no loop",
)
def payload_length(attack: Assault) -> Iterator[Shot]:
    """Payloads shorter than their own header."""
    good = _Mm1(attack)
    for length in (0, 1, 3):
        octets = patched(good.octets, _FIRST + 2, number(length, 2))
        yield attack.shot(f"SA of length {length}", octets, reason="malformed")
        vendor = payload(0, b"", length)
        octets = good.with_body(PayloadType.VENDOR_ID, vendor)
        yield attack.shot(f"VID of length {length}", octets, reason="malformed")
        loop = payload(PayloadType.VENDOR_ID, b"", length)
        octets = good.with_body(PayloadType.VENDOR_ID, loop * 3)
        yield attack.shot(f"a chain of VIDs of length {length}", octets, reason="malformed")


@case(
    "A04",
    "payload-past-the-end",
    precedent="PROTOS c09",
    expected="dropped; nothing is read past the end",
)
def payload_past_the_end(attack: Assault) -> Iterator[Shot]:
    """Payloads, proposals and transforms that claim more than there is."""
    good = _Mm1(attack)
    for what, offset in (("SA", _FIRST), ("proposal", _FIRST + 12), ("transform", _FIRST + 20)):
        for length in (len(good.octets), 0xFFFF):
            octets = patched(good.octets, offset + 2, number(length, 2))
            yield attack.shot(f"{what} of length {length}", octets, reason="malformed")
    octets = good.with_more(VENDOR_ID(data=bytes(16), length=0x8000))
    yield attack.shot("VID of length 32768", octets, reason="malformed")
    octets = good.with_body(PayloadType.SA, b"\0\0")
    yield attack.shot("half a payload header", octets, reason="malformed")


@case(
    "A05",
    "too-many",
    precedent="libreswan CVE-2026-12413 (its IKEv2 kin)",
    expected="refused by count before anything is built",
)
def too_many(attack: Assault) -> Iterator[Shot]:
    """More payloads, proposals, transforms and attributes than anybody needs."""
    good = _Mm1(attack)
    vendor = payload(PayloadType.VENDOR_ID, b"")
    for count in (65, 1000, 16_000):
        octets = good.with_body(PayloadType.VENDOR_ID, vendor * count)
        reason = "malformed" if count < 4000 else "message-too-long"
        yield attack.shot(f"{count} payloads", octets, reason=reason)
    proposals = good.message.one("sa").proposals
    transforms = proposals[0].transforms
    for what, octets in (
        ("65 proposals", good.with_sa(proposals=proposals * 65)),
        ("257 transforms", good.with_proposal(transform_count=1, transforms=transforms * 257)),
        ("33 attributes", good.with_attributes(*[(1, 7)] * 33)),
    ):
        yield attack.shot(what, octets, reason="malformed")


@case(
    "A06",
    "payload-types",
    precedent="strongSwan CVE-2015-3991",
    expected="INVALID-PAYLOAD-TYPE at most, and only where it is no longer than the question",
)
def payload_types(attack: Assault) -> Iterator[Shot]:
    """Types that are unknown, of IKEv2, or have no place where they stand."""
    good = _Mm1(attack)
    for number_ in (77, 255, *range(33, 49)):
        octets = good.with_more(UnknownPayload(payload_type=number_, data=bytes(20)))
        yield attack.shot(
            f"payload type {number_}", octets, "N INVALID-PAYLOAD-TYPE", "payload-unexpected"
        )
    octets = good.with_body(77, payload(0, b""))
    yield attack.shot("32 octets, whose refusal takes 40", octets, reason="payload-missing")
    for kind in (PayloadType.PROPOSAL, PayloadType.TRANSFORM):
        octets = good.with_body(kind, payload(0, bytes(40)))
        yield attack.shot(f"a bare {kind.name}", octets, reason="malformed")
    octets = good.with_more(NONCE(data=bytes(16)))
    yield attack.shot(
        "a NONCE in message 1", octets, "N INVALID-PAYLOAD-TYPE", "payload-unexpected"
    )
    ikev2 = patched(patched(good.octets, _VERSION, b"\x20"), _EXCHANGE, b"\x22")
    yield attack.shot("IKE_SA_INIT of IKEv2", ikev2, reason="major-version")


@case(
    "A07",
    "versions-and-exchanges",
    precedent="PROTOS c09",
    expected="dropped, each by the rule it breaks",
)
def versions_and_exchanges(attack: Assault) -> Iterator[Shot]:
    """Headers of other protocols."""
    good = attack.first_octets()
    for major in (0, 2, 15):
        octets = patched(good, _VERSION, bytes([major << 4]))
        yield attack.shot(f"major version {major}", octets, reason="major-version")
    for kind in (0, 1, 6, 243, 255):
        octets = patched(good, _EXCHANGE, bytes([kind]))
        yield attack.shot(f"exchange type {kind}", octets, reason="exchange-type")
    quick = patched(good, _EXCHANGE, b"\x20")
    yield attack.shot("quick mode with message ID 0", quick, reason="message-id")
    quick = patched(quick, _MESSAGE_ID, number(7, 4))
    yield attack.shot("quick mode of nobody", quick, reason="unknown-cookies")
    octets = patched(good, _MESSAGE_ID, number(7, 4))
    yield attack.shot("main mode with a message ID", octets, reason="message-id")


@case(
    "A08",
    "reserved",
    precedent="RFC 2408 sections 3.2, 3.6, 5.3: must be zero",
    expected="refused, the same in every payload",
)
def reserved(attack: Assault) -> Iterator[Shot]:
    """RESERVED fields that are not zero."""
    good = _Mm1(attack)
    for what, offset in (
        ("of the SA payload", _FIRST + 1),
        ("of the proposal", _FIRST + 13),
        ("of the transform", _FIRST + 21),
        ("2 of the transform", _FIRST + 26),
    ):
        octets = patched(good.octets, offset, b"\1")
        yield attack.shot(f"RESERVED {what}", octets, reason="malformed")
    for flags in (0x08, 0x80):
        octets = patched(good.octets, _FLAGS, bytes([flags]))
        yield attack.shot(f"flags 0x{flags:02x}", octets, reason="flags")


@case(
    "A09",
    "twisted-proposal",
    precedent="PROTOS c09",
    expected="NO-PROPOSAL-CHOSEN or dropped; nothing is allocated by a claimed size",
)
def twisted_proposal(attack: Assault) -> Iterator[Shot]:
    """Proposals and transforms that do not add up."""
    good = _Mm1(attack)
    for what, octets, answer, reason in (
        ("SPI size 255, no SPI", good.with_proposal(spi_size=255), SILENCE, "malformed"),
        ("an SPI of 255 octets", good.with_proposal(spi=bytes(255)), NO_PROPOSAL, _REASON),
        ("no transform", good.with_proposal(transforms=[]), NO_PROPOSAL, _REASON),
        ("a count of 255 for one", good.with_proposal(transform_count=255), SILENCE, "malformed"),
        ("a count of 0 for one", good.with_proposal(transform_count=0), SILENCE, "malformed"),
        ("protocol AH", good.with_proposal(protocol_id=2), NO_PROPOSAL, _REASON),
        ("no proposal", good.with_sa(proposals=[]), NO_PROPOSAL, _REASON),
        ("no attribute", good.with_attributes(), NO_PROPOSAL, _REASON),
        ("an attribute twice", good.with_attributes((1, 7), (1, 7)), NO_PROPOSAL, _REASON),
        ("a cipher of no octets", good.with_attributes((1, b"")), NO_PROPOSAL, _REASON),
        ("attribute 16383", good.with_attributes((0x3FFF, 1)), NO_PROPOSAL, _REASON),
        (
            "a lifetime of 2000 octets",
            good.with_attributes((12, b"\xff" * 2000)),
            "N ATTRIBUTES-NOT-SUPPORTED",
            "attribute-not-supported",
        ),
    ):
        yield attack.shot(what, octets, answer, reason, source=good.end)
    lying = good.with_attributes((16, bytes(4)))
    place = lying.index(number(16, 2) + number(4, 2) + bytes(4)) + 2
    octets = patched(lying, place, b"\xff\xff")
    yield attack.shot("an attribute of 65535 octets", octets, reason="malformed")


@case(
    "A10",
    "doi-and-situation",
    precedent="libreswan CVE-2015-3204",
    expected="DOI-NOT-SUPPORTED, SITUATION-NOT-SUPPORTED",
)
def doi_and_situation(attack: Assault) -> Iterator[Shot]:
    """Domains and situations that this is not."""
    good = _Mm1(attack)
    for doi in (0, 2, 0xFFFFFFFF):
        octets = good.with_sa(doi=doi)
        yield attack.shot(f"DOI {doi}", octets, "N DOI-NOT-SUPPORTED", "doi", source=good.end)
    for situation in (0, 2, 7, 0x80000000):
        octets = good.with_sa(situation=situation)
        yield attack.shot(
            f"situation {situation}",
            octets,
            "N SITUATION-NOT-SUPPORTED",
            "situation",
            source=good.end,
        )


@case(
    "A11",
    "group-and-key-length",
    precedent="strongSwan CVE-2014-9221 (a group of IKEv2's private range)",
    expected="the transform does not fit",
)
def group_and_key_length(attack: Assault) -> Iterator[Shot]:
    """Diffie-Hellman groups and key lengths that no policy names."""
    good = _Mm1(attack)
    for what, attributes in (
        *((f"group {group}", [(IkeAttribute.GROUP_DESCRIPTION, group)]) for group in (0, 1025)),
        ("group 65535", [(IkeAttribute.GROUP_DESCRIPTION, 0xFFFF)]),
        ("3DES with a key length", [(IkeAttribute.ENCRYPTION_ALGORITHM, 5)]),
        *((f"AES with {bits} bits", [(IkeAttribute.KEY_LENGTH, bits)]) for bits in (0, 1, 65535)),
        ("a hash of 255", [(IkeAttribute.HASH_ALGORITHM, 255)]),
    ):
        octets = good.with_attributes(*attributes)
        yield attack.shot(what, octets, NO_PROPOSAL, _REASON, source=good.end)


@case(
    "A12",
    "vendor-ids",
    precedent="PROTOS c09",
    expected="unknown ones are ignored and not remembered; length and number are capped",
    repeats=3,
)
def vendor_ids(attack: Assault) -> Iterator[Shot]:
    """Vendor IDs of any length and number."""
    good = _Mm1(attack)
    for length in (0, 1, 15, 4000):
        octets = good.with_more(VENDOR_ID(data=b"v" * length))
        yield attack.shot(f"a vendor ID of {length} octets", octets, "MM2", source=good.end)
    octets = good.with_more(*(VENDOR_ID(data=bytes([n]) * 16) for n in range(50)))
    yield attack.shot("50 of them", octets, "MM2", source=good.end)
    octets = good.with_more(VENDOR_ID(data=bytes(65_000)))
    yield attack.shot("one of 65,000 octets", octets, reason="message-too-long", source=good.end)
    octets = good.with_more(*(VENDOR_ID(data=bytes([n]) * 16) for n in range(200)))
    yield attack.shot("200 of them", octets, reason="malformed", source=good.end)


@case(
    "A14",
    "answers-of-our-own",
    precedent="Cisco CVE-2016-6415: memory in the answer to a crafted negotiation",
    expected="every octet of an answer is a builder's; the chosen transform comes back as offered",
)
def answers_of_our_own(attack: Assault) -> Iterator[Shot]:
    """Negotiations cut short; whatever is answered is read strictly and built again."""
    good = _Mm1(attack)
    offer, end = good.octets, good.end
    yield attack.deed("a good offer", lambda: _as_offered(attack, offer, end), "as offered")
    refusals = {1: ("N SITUATION-NOT-SUPPORTED", "situation"), 16: ("N DOI-NOT-SUPPORTED", "doi")}
    for doi, refusal in refusals.items():
        for size in (0, 4, 7):
            octets = good.with_body(PayloadType.SA, payload(0, number(doi, 4) + bytes(size)))
            answer, reason = refusal if size else (SILENCE, "malformed")
            yield attack.shot(f"DOI {doi}, {size} octets behind it", octets, answer, reason)


def _as_offered(attack: Assault, octets: bytes, end: Endpoint) -> str:
    attack.hub.inbox(end)
    attack.hub.send(octets, end)
    [answer] = attack.hub.inbox(end)
    offered, chosen = (Message.read(o).one("sa").proposals[0] for o in (octets, answer))
    same = [t.attributes for t in chosen.transforms] == [
        t.attributes for t in offered.transforms[:1]
    ]
    return "as offered" if same else f"something else: {answer.hex()}"


@case(
    "A16",
    "mutations",
    precedent="altsci's IKEv1 fuzzer, 2015: racoon, libreswan and strongSwan within weeks",
    expected="nothing is raised, nothing of the live tunnel moves",
)
def mutated_messages(attack: Assault) -> Iterator[Shot]:
    """Real messages with one to three changes of the kinds that break parsers; seeded."""
    rules: tuple[PayloadRule, ...] = (MM1, MM3, MM5, QM1)
    for rule in rules:
        send = partial(_send_mutations, attack, rule, 60)
        yield attack.deed(f"60 mutations of {rule.message}", send, "all handled")


def _send_mutations(attack: Assault, rule: PayloadRule, count: int) -> str:
    peer, octets = attack.before(rule)
    for mutated in mutations(octets, count, seed=rule.message):
        attack.fire(mutated, peer.end, peer)
    return "all handled"
