"""Messages: whole, cut at every octet, with octets too many, and every rule of the strict check."""

from __future__ import annotations

from dataclasses import replace

import pytest
from scapy.packet import Packet

from ikelab.errors import WireError
from ikelab.wire import isakmp
from ikelab.wire.isakmp import (
    Header,
    Payload,
    build_message,
    build_payloads,
    check_payloads,
    parse_header,
    parse_payloads,
    payload_names,
)
from ikelab.wire.numbers import ExchangeType, Flags, PayloadType
from ikelab.wire.payloads import (
    KE,
    PAYLOAD_CLASSES,
    SA,
    VENDOR_ID,
    Proposal,
    Transform,
    UnknownPayload,
)
from tests.wire_samples import CKY_I, CKY_R, SAMPLES, chain, message, sample

EACH = pytest.mark.parametrize("name", SAMPLES)
HEADER = Header(CKY_I, CKY_R, 8, ExchangeType.QUICK, Flags.ENCRYPTION, 0xDEADBEEF)


def alone(body: str | bytes) -> bytes:
    """One last payload with this body."""
    octets = bytes.fromhex(body) if isinstance(body, str) else body
    return b"\0\0" + (len(octets) + 4).to_bytes(2, "big") + octets


def refused(first: int, octets: bytes, *, padding: bool = False) -> WireError:
    with pytest.raises(WireError) as caught:
        parse_payloads(first, octets, padding=padding)
    return caught.value


# --- header -----------------------------------------------------------------------------------


def test_header_is_built_as_rfc_2408_draws_it() -> None:
    assert (
        build_message(HEADER, b"body").hex()
        == ("fafaeb49382a763c010203040506070808102001deadbeef00000020") + b"body".hex()
    )


def test_header_comes_back_with_its_length() -> None:
    assert parse_header(build_message(HEADER, b"body")) == replace(HEADER, length=32)


def test_every_header_value_is_taken_as_it_is() -> None:
    odd = Header(b"\xff" * 8, b"\xff" * 8, 255, 255, 255, 0xFFFFFFFF, version=0xFF)
    assert parse_header(build_message(odd, b"")) == replace(odd, length=28)


@pytest.mark.parametrize("length", range(28))
def test_datagram_shorter_than_the_header_is_refused(length: int) -> None:
    with pytest.raises(WireError, match=f"{length} octets are less") as caught:
        parse_header(message()[:length])
    assert (caught.value.offset, caught.value.field) == (length, "header")


def test_message_cut_at_any_octet_is_refused() -> None:
    datagram = message()
    for length in range(28, len(datagram)):
        with pytest.raises(WireError) as caught:
            parse_header(datagram[:length])
        assert (caught.value.offset, caught.value.field) == (24, "length")


@pytest.mark.parametrize("extra", [1, 3, 4, 400])
def test_octets_after_the_message_are_refused(extra: int) -> None:
    with pytest.raises(WireError, match="must be equal"):
        parse_header(message() + bytes(extra))


@pytest.mark.parametrize("cookie", [b"", b"1234567", b"123456789"])
def test_cookie_of_another_length_is_our_bug(cookie: bytes) -> None:
    for header in (replace(HEADER, cky_i=cookie), replace(HEADER, cky_r=cookie)):
        with pytest.raises(ValueError, match="8 octets"):
            build_message(header, b"")


# --- chains -----------------------------------------------------------------------------------


def test_all_payloads_in_one_message_come_back_in_order() -> None:
    first, octets = chain()
    payloads = parse_payloads(first, octets, offset=28)
    assert [p.type for p in payloads] == [payload_type for payload_type, _, _ in SAMPLES.values()]
    assert [p.body for p in payloads] == [sample(name)[2] for name in SAMPLES]
    assert build_payloads([p.packet for p in payloads]) == (first, octets)


def test_payload_offsets_point_at_the_generic_headers() -> None:
    datagram = message()
    header = parse_header(datagram)
    for payload in parse_payloads(header.next_payload, datagram[28:], offset=28):
        start = payload.offset
        assert datagram[start + 4 : start + 4 + len(payload.body)] == payload.body
        assert int.from_bytes(datagram[start + 2 : start + 4], "big") == len(payload.body) + 4


def test_types_alone_are_those_of_the_dissected_payloads() -> None:
    first, octets = chain()
    parsed = parse_payloads(first, octets)
    assert check_payloads(first, octets) == tuple(payload.type for payload in parsed)


def test_a_cut_chain_is_refused_for_the_same_reason_whether_it_is_dissected_or_not() -> None:
    first, octets = chain()
    for length in range(len(octets)):
        with pytest.raises(WireError) as undissected:
            check_payloads(first, octets[:length], offset=28)
        with pytest.raises(WireError) as dissected:
            parse_payloads(first, octets[:length], offset=28)
        assert str(undissected.value) == str(dissected.value)


def test_no_payload_needs_no_octets() -> None:
    assert parse_payloads(PayloadType.NONE, b"") == ()
    assert build_payloads([]) == (0, b"")


@EACH
def test_payload_cut_at_any_octet_is_refused(name: str) -> None:
    first, octets = chain(name)
    for length in range(len(octets)):
        refused(first, octets[:length])
        refused(first, octets[:length], padding=True)


@EACH
def test_every_body_length_is_accepted_or_refused_but_never_misread(name: str) -> None:
    """The body cut short with its length corrected: what is accepted still rebuilds exactly."""
    payload_type, _, body = sample(name)
    for length in range(len(body) + 1):
        octets = alone(body[:length])
        try:
            (payload,) = parse_payloads(payload_type, octets)
        except WireError:
            continue
        assert payload.body == body[:length]
        assert build_payloads([payload.packet]) == (payload_type, octets)


@pytest.mark.parametrize("extra", [1, 4, 255, 256])
def test_octets_after_the_last_payload_are_refused_in_clear(extra: int) -> None:
    first, octets = chain("KE", "NONCE")
    error = refused(first, octets + bytes(extra))
    assert (error.field, error.offset) == ("padding", len(octets))
    refused(0, bytes(extra))


@pytest.mark.parametrize("pad", [b"\0", b"\1\2\3", b"\xff" * 255, b"\x0b\x00\x00\x04" * 10])
def test_padding_of_any_content_may_follow_in_a_decrypted_body(pad: bytes) -> None:
    first, octets = chain("HASH", "NONCE")
    payloads = parse_payloads(first, octets + pad, padding=True)
    assert payload_names(payloads) == ("HASH", "NONCE")
    assert parse_payloads(0, pad, padding=True) == ()


def test_padding_of_256_octets_is_refused() -> None:
    first, octets = chain("HASH")
    error = refused(first, octets + bytes(256), padding=True)
    assert "more than 255 octets of padding" in str(error)


def test_error_names_offset_field_rule_and_value() -> None:
    with pytest.raises(WireError) as caught:
        parse_payloads(4, bytes.fromhex("0a000005 6b 00000003"), offset=28)
    assert str(caught.value) == (
        "payload length 3 is less than its own header's 4 octets (RFC 2408 section 3.2) "
        "(payload length at octet 35)"
    )


# --- generic header ---------------------------------------------------------------------------


@EACH
def test_reserved_octet_must_be_zero_in_every_payload(name: str) -> None:
    first, octets = chain(name)
    error = refused(first, octets[:1] + b"\x01" + octets[2:])
    assert (error.field, error.offset) == ("RESERVED", 1)


@pytest.mark.parametrize("length", [0, 1, 2, 3])
def test_payload_length_under_its_header_is_refused(length: int) -> None:
    error = refused(4, bytes((0, 0, 0, length)) + bytes(40))
    assert (error.field, error.offset) == ("payload length", 2)


@pytest.mark.parametrize("length", [6, 0x7FFF, 0xFFFF])
def test_payload_length_beyond_the_message_is_refused(length: int) -> None:
    error = refused(99, b"\0\0" + length.to_bytes(2, "big") + b"x")
    assert "beyond the 5 octets" in str(error)
    assert error.field == "payload length"


def test_length_beyond_the_message_is_not_excused_by_padding() -> None:
    refused(99, b"\0\0\0\6x", padding=True)


@pytest.mark.parametrize("payload_type", [2, 3])
def test_proposal_and_transform_outside_an_sa_are_refused(payload_type: int) -> None:
    error = refused(payload_type, alone("01010000"))
    assert (error.field, error.offset) == ("next payload", 0)
    refused(4, bytes((payload_type, 0, 0, 4)) + alone("01010000"))


@pytest.mark.parametrize("payload_type", [14, 17, 19, 33, 48, 127, 128, 255])
def test_unknown_types_are_kept_for_the_engine_to_judge(payload_type: int) -> None:
    (payload,) = parse_payloads(payload_type, alone("cafe"))
    assert isinstance(payload.packet, UnknownPayload)
    assert (payload.type, payload.packet.payload_type) == (payload_type, payload_type)
    assert (payload.body, payload.packet.data) == (b"\xca\xfe", b"\xca\xfe")
    assert payload_names([payload]) == ("ATTR" if payload_type == 14 else f"#{payload_type}",)


# --- bodies -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payload_type", "least"),
    [(1, 8), (5, 4), (6, 1), (7, 1), (11, 8), (12, 8), (18, 12), (21, 4), (131, 4), (132, 4)],
)
def test_body_shorter_than_its_fixed_fields_is_refused(payload_type: int, least: int) -> None:
    for length in range(least):
        error = refused(payload_type, alone(bytes(length)))
        assert (error.field, error.offset) == ("payload length", 4)
    assert parse_payloads(payload_type, alone(bytes(least)))


@pytest.mark.parametrize("payload_type", [4, 8, 9, 10, 13, 20, 130, 99])
def test_empty_body_of_free_form_is_for_the_engine_to_judge(payload_type: int) -> None:
    (payload,) = parse_payloads(payload_type, alone(b""))
    assert payload.packet.data == b""


SA_START = "00000001 00000001"


def sa(*proposals: str) -> bytes:
    return alone(SA_START + "".join(proposals))


@pytest.mark.parametrize(
    ("octets", "field", "offset"),
    [
        (sa("00"), "payload header", 12),
        (sa("000000"), "payload header", 12),
        (sa("00000003 01010000"), "payload length", 14),
        (sa("00000007 010100"), "payload length", 16),
        (sa("00000009 01010000"), "payload length", 14),
        (sa("00010008 01010000"), "RESERVED", 13),
        (sa("01000008 01010000"), "next payload", 12),
        (sa("03000008 01010000"), "next payload", 12),
        (sa("02000008 01010000"), "payload header", 20),
        (sa("00000008 01010000", "00000008 01010000"), "PROPOSAL", 20),
        (sa("00000008 01010001"), "# of transforms", 19),
        (sa("00000010 01010000", "00000008 01010000"), "# of transforms", 19),
        (sa("00000010 01010002", "00000008 01010000"), "# of transforms", 19),
        (sa("00000008 01010400"), "payload length", 20),
        (sa("0000000b 01010400 616263"), "payload length", 20),
        (sa("0000000c 0101ff00 61626364"), "payload length", 20),
        (sa("0000000a 01010001 0000"), "payload header", 20),
        (sa("0000000f 01010001", "00000007 010100"), "payload length", 24),
        (sa("00000010 01010001", "00010008 01010000"), "RESERVED", 21),
        (sa("00000010 01010001", "02000008 01010000"), "next payload", 20),
        (sa("00000010 01010001", "00000008 01010001"), "RESERVED2", 26),
        (sa("00000010 01010001", "00000008 01010100"), "RESERVED2", 26),
        (sa("00000018 01010001", "00000008 01010000 0000000000000000"), "TRANSFORM", 28),
        (sa("00000013 01010001", "0000000b 01010000 800100"), "payload length", 28),
        (sa("00000014 01010001", "0000000c 01010000 000c0001"), "attribute length", 30),
        (sa("00000018 01010001", "00000010 01010000 000c0005 00015180"), "attribute length", 30),
        (sa("00000018 01010001", "00000010 01010000 000cffff 00015180"), "attribute length", 30),
    ],
)
def test_sa_with_a_wrong_length_or_count_is_refused(octets: bytes, field: str, offset: int) -> None:
    error = refused(1, octets)
    assert (error.field, error.offset) == (field, offset)


def test_sa_without_proposals_is_for_the_engine_to_judge() -> None:
    (payload,) = parse_payloads(1, sa())
    assert payload.packet.proposals == []
    (payload,) = parse_payloads(1, sa("00000008 01010000"))
    assert payload.packet.proposals[0].transforms == []


@pytest.mark.parametrize("start", ["00000000 00000001", "00000002 00000001", "00000001 00000003"])
def test_sa_of_another_doi_or_situation_is_opaque(start: str) -> None:
    octets = alone(start + "ffffffffff")
    (payload,) = parse_payloads(1, octets)
    assert (payload.packet.proposals, payload.packet.opaque) == ([], b"\xff" * 5)
    assert build_payloads([payload.packet]) == (1, octets)


@pytest.mark.parametrize(
    ("payload_type", "body", "field", "offset"),
    [
        (11, "00000001 01 01 0001", "payload length", 12),
        (11, "00000001 01 ff 0001 0000", "payload length", 12),
        (12, "00000001 03 04 0001 616263", "# of SPIs", 10),
        (12, "00000001 03 04 0001 6162636465", "# of SPIs", 10),
        (12, "00000001 03 04 0000 61626364", "# of SPIs", 10),
        (12, "00000001 03 04 ffff 61626364", "# of SPIs", 10),
        (12, "00000001 03 ff ffff 61626364", "# of SPIs", 10),
        (12, "00000001 03 00 ffff", "SPI size", 9),
        (12, "00000001 03 00 0001", "SPI size", 9),
        (18, "00000001 01 10 0001 00000006", "# of SPIs", 10),
        (18, "00000001 01 00 ffff 00000006", "SPI size", 9),
        (21, "01 000001 0a000001", "RESERVED", 5),
        (21, "01 010000 0a000001", "RESERVED", 5),
        (131, "01 000100 0a000001", "RESERVED", 5),
    ],
)
def test_claims_that_do_not_match_the_octets_are_refused(
    payload_type: int, body: str, field: str, offset: int
) -> None:
    error = refused(payload_type, alone(body))
    assert (error.field, error.offset) == (field, offset)


# --- caps -------------------------------------------------------------------------------------


def test_64_payloads_are_taken_and_65_are_not() -> None:
    first, octets = build_payloads([VENDOR_ID(data=b"v")] * 64)
    assert len(parse_payloads(first, octets)) == 64
    first, octets = build_payloads([VENDOR_ID(data=b"v")] * 65)
    assert "more than 64 payloads" in str(refused(first, octets))


def test_chain_of_16000_payloads_is_refused_before_a_layer_is_built(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def never(octets: bytes) -> Packet:
        raise AssertionError("a layer was built")

    monkeypatch.setitem(PAYLOAD_CLASSES, PayloadType.VENDOR_ID, never)
    octets = b"\x0d\0\0\4" * 16000 + b"\0\0\0\4"
    refused(13, octets)


def many_proposals(number: int) -> tuple[int, bytes]:
    return build_payloads([SA(proposals=[Proposal() for _ in range(number)])])


def many_transforms(*numbers: int) -> tuple[int, bytes]:
    proposals = [Proposal(transforms=[Transform() for _ in range(n)]) for n in numbers]
    return build_payloads([SA(proposals=proposals)])


def many_attributes(number: int) -> tuple[int, bytes]:
    transform = Transform(attributes=[(1, 1)] * number)
    return build_payloads([SA(proposals=[Proposal(transforms=[transform])])])


def test_proposals_transforms_and_attributes_are_capped() -> None:
    for fitting in (many_proposals(64), many_transforms(255, 1), many_attributes(32)):
        assert build_payloads([p.packet for p in parse_payloads(*fitting)]) == fitting
    assert "more than 64 proposals" in str(refused(*many_proposals(65)))
    assert "more than 256 transforms" in str(refused(*many_transforms(255, 2)))
    assert "more than 32 attributes" in str(refused(*many_attributes(33)))


def test_caps_count_over_all_sa_payloads_of_a_message() -> None:
    half = [SA(proposals=[Proposal() for _ in range(33)]) for _ in range(2)]
    assert "more than 64 proposals" in str(refused(*build_payloads(half)))


def test_65535_octets_are_taken_and_65536_are_not() -> None:
    largest = alone(bytes(65531))
    assert parse_payloads(99, largest)[0].body == bytes(65531)
    assert refused(99, largest + b"\0", padding=True).field == "length"


# --- the guard behind the check ---------------------------------------------------------------


class _Stingy(VENDOR_ID):
    """A layer that leaves its last octet to scapy."""

    fields_desc = [*KE.fields_desc[:3], KE.fields_desc[3].copy()]


def test_octets_that_scapy_puts_aside_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    _Stingy.fields_desc[3].length_from = lambda packet: packet.length - 5
    monkeypatch.setitem(PAYLOAD_CLASSES, PayloadType.VENDOR_ID, _Stingy)
    with pytest.raises(WireError, match="no field takes") as caught:
        parse_payloads(*build_payloads([KE(data=b"k"), VENDOR_ID(data=b"vendor")]), offset=28)
    assert caught.value.offset == 33


def test_octets_that_scapy_puts_aside_inside_an_sa_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(isakmp._StrictCheck, "_check_sa", lambda *_: None)
    for broken in ("ffff", "00000010 01010001 0000000c 01010000"):
        assert "no field takes" in str(refused(1, sa(broken)))
    assert "no field takes" in str(refused(1, sa("00000013 01010001 0000000b 01010000 800100")))


# --- names ------------------------------------------------------------------------------------


def test_names_are_short_and_in_order() -> None:
    names = ("SA of phase 1", "KE", "ID", "CERT", "CERT_REQ", "HASH", "SIG", "NONCE", "R-U-THERE")
    more = ("DELETE without SPI", "VENDOR_ID", "NAT_D", "NAT_OA", "FRAGMENT", "unknown")
    payloads = parse_payloads(*chain(*names, *more))
    assert " ".join(payload_names(payloads)) == (
        "SA KE ID CERT CERT_REQ HASH SIG NONCE N D VID NAT-D NAT-OA FRAG #99"
    )


def test_draft_numbers_of_nat_traversal_are_named_apart() -> None:
    payloads = parse_payloads(*chain("NAT_D of the drafts", "NAT_OA of the drafts"))
    assert payload_names(payloads) == ("NAT-D(130)", "NAT-OA(131)")
    assert payload_names(parse_payloads(*chain("DELETE_WITH_REASON"))) == ("DWR",)


def test_payload_is_compared_by_its_octets_and_its_repr_is_short() -> None:
    one, other = (parse_payloads(*chain("KE"))[0] for _ in range(2))
    assert one == other
    assert one != Payload(one.type, one.body, one.packet, 1)
    assert "packet" not in repr(one)
