"""The layers: every payload's octets field by field, and what a scapy script may rely on."""

from __future__ import annotations

import subprocess
import sys

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.ipsec import NON_ESP
from scapy.layers.isakmp import ISAKMP, ISAKMP_payload_KE, ISAKMP_payload_Nonce, ISAKMP_payload_SA
from scapy.packet import Packet, Raw

from ikelab.wire.fields import build_attributes, build_standalone, parse_attributes
from ikelab.wire.isakmp import body_of, build_payloads, parse_payloads
from ikelab.wire.numbers import ExchangeType, IdType, NotifyType, ProtocolId
from ikelab.wire.payloads import (
    CERT,
    DELETE,
    DELETE_WITH_REASON,
    FRAGMENT,
    ID,
    KE,
    NAT_OA,
    NONCE,
    NOTIFY,
    PAYLOAD_CLASSES,
    SA,
    VENDOR_ID,
    Proposal,
    Transform,
    UnknownPayload,
)
from tests.wire_samples import CKY_I, CKY_R, SAMPLES, chain, ike_sa, ipsec_sa, message, sample

EACH = pytest.mark.parametrize("name", SAMPLES)


def alone(payload_type: int, body: bytes) -> bytes:
    return b"\0\0" + (len(body) + 4).to_bytes(2, "big") + body


# --- each payload -----------------------------------------------------------------------------


@EACH
def test_payload_is_built_as_its_rfc_draws_it(name: str) -> None:
    payload_type, layer, body = sample(name)
    assert build_payloads([layer]) == (payload_type, alone(payload_type, body))
    assert body_of(layer) == body


@EACH
def test_payload_built_by_scapy_itself_has_the_same_octets(name: str) -> None:
    payload_type, layer, body = sample(name)
    datagram = bytes(ISAKMP(init_cookie=CKY_I) / layer)
    assert datagram[16] == payload_type
    assert datagram[28:] == alone(payload_type, body)


@EACH
def test_received_payload_rebuilds_to_the_identical_octets(name: str) -> None:
    payload_type, _, body = sample(name)
    (payload,) = parse_payloads(payload_type, alone(payload_type, body))
    assert payload.body == body
    assert isinstance(payload.packet, PAYLOAD_CLASSES.get(payload_type, UnknownPayload))
    assert build_payloads([payload.packet]) == (payload_type, alone(payload_type, body))
    assert bytes(payload.packet) == alone(payload_type, body)


@EACH
def test_received_payload_has_the_fields_it_was_built_with(name: str) -> None:
    payload_type, layer, body = sample(name)
    (payload,) = parse_payloads(payload_type, alone(payload_type, body))
    assert_fields_of(layer, payload.packet)


def assert_fields_of(given: Packet, received: Packet) -> None:
    for name, value in given.fields.items():
        if name in ("proposals", "transforms"):
            assert len(received.fields[name]) == len(value)
            for inner, its_copy in zip(value, received.fields[name], strict=True):
                assert_fields_of(inner, its_copy)
        else:
            assert getattr(received, name) == value, name


@EACH
def test_tolerant_dissection_rebuilds_to_the_identical_octets(name: str) -> None:
    payload_type, _, body = sample(name)
    packet = ISAKMP(init_cookie=CKY_I, next_payload=payload_type) / alone(payload_type, body)
    datagram = bytes(packet)
    again = ISAKMP(datagram)
    again.clear_cache()
    assert bytes(again) == datagram


def test_two_proposals_with_spi_are_told_apart() -> None:
    (payload,) = parse_payloads(*build_payloads([ipsec_sa()]))
    first, second = payload.packet.proposals
    assert (first.number, first.protocol_id, first.spi.hex()) == (1, 3, "b9338608")
    assert (second.number, second.protocol_id, second.spi.hex()) == (2, 3, "cafe0002")
    assert [t.transform_id for t in first.transforms] == [12, 3]
    assert [t.transform_id for t in second.transforms] == [2]


def test_delete_says_its_spi_size_with_and_without_spis() -> None:
    for name, size, count in (("DELETE without SPI", 4, 0), ("DELETE of two ESP SAs", 4, 2)):
        payload_type, _, body = sample(name)
        (payload,) = parse_payloads(payload_type, alone(payload_type, body))
        assert payload.packet.spi_size == size
        assert len(payload.packet.spis) == count


# --- attributes -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attributes", "octets"),
    [
        ([], ""),
        ([(1, 7)], "80010007"),
        ([(0, 0)], "80000000"),
        ([(12, (86400).to_bytes(4, "big"))], "000c0004 00015180"),
        ([(12, (86400).to_bytes(3, "big"))], "000c0003 015180"),
        ([(12, 28800)], "800c7080"),
        ([(12, (28800).to_bytes(4, "big"))], "000c0004 00007080"),
        ([(12, b"")], "000c0000"),
        ([(0x7FFF, 0xFFFF), (0x7FFF, b"\xff")], "ffffffff 7fff0001 ff"),
        ([(1, 1), (1, 1)], "80010001 80010001"),
    ],
)
def test_attributes_are_exact_in_both_directions(
    attributes: list[tuple[int, int | bytes]], octets: str
) -> None:
    assert build_attributes(attributes) == bytes.fromhex(octets)
    assert parse_attributes(bytes.fromhex(octets)) == (attributes, b"")


@pytest.mark.parametrize("attribute", [(12, 86400), (12, -1), (0x8001, 1), (-1, 1)])
def test_attribute_that_does_not_fit_is_refused(attribute: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        build_attributes([attribute])


def test_attribute_too_large_says_how_to_write_it() -> None:
    with pytest.raises(ValueError, match=r"\(86400\).to_bytes\(4, 'big'\)"):
        bytes(Transform(attributes=[(12, 86400)]))


@pytest.mark.parametrize("octets", ["80", "800100", "00010001", "000c0005 00015180"])
def test_attribute_cut_short_is_left_over(octets: str) -> None:
    assert parse_attributes(bytes.fromhex(octets)) == ([], bytes.fromhex(octets))


def test_script_may_send_attributes_as_octets() -> None:
    layer = Transform(attributes=bytes.fromhex("000c ffff"))
    assert body_of(layer).hex() == "01010000000cffff"
    assert "000cffff" in layer.show(dump=True)


# --- what is computed, what a script may override ---------------------------------------------


def test_given_lengths_and_counts_go_out_as_given() -> None:
    proposal = Proposal(spi_size=200, transform_count=9, length=7, next_payload=2, transforms=[])
    assert body_of(SA(proposals=[proposal]))[8:].hex() == "020000070101c809"
    delete = DELETE(spi_size=255, spi_count=65535, spis=[])
    assert body_of(delete).hex() == "0000000101ffffff"
    assert build_standalone(KE(data=b"x", length=65535, reserved=1)).hex() == "0001ffff78"


def test_given_next_payload_goes_out_as_given() -> None:
    first, octets = build_payloads([KE(data=b"", next_payload=77), NONCE(data=b"")])
    assert (first, octets.hex()) == (4, "4d00000400000004")


def test_building_twice_and_in_another_order_does_not_disturb() -> None:
    ke, nonce = KE(data=b"k"), NONCE(data=b"n")
    assert build_payloads([ke, nonce])[1].hex() == "0a0000056b000000056e"
    assert build_payloads([nonce, ke])[1].hex() == "040000056e000000056b"
    assert not ke.payload and not nonce.payload


def test_received_payloads_may_be_sent_on_in_another_order() -> None:
    received = parse_payloads(*build_payloads([KE(data=b"k"), NONCE(data=b"n")]))
    assert build_payloads([p.packet for p in reversed(received)])[1].hex() == (
        "040000056e000000056b"
    )


def test_all_received_payloads_may_be_sent_on_in_another_order() -> None:
    received = parse_payloads(*chain())
    first, octets = build_payloads([p.packet for p in reversed(received)])
    again = parse_payloads(first, octets)
    assert [(p.type, p.body) for p in again] == [(p.type, p.body) for p in reversed(received)]


def test_spi_size_follows_when_a_received_spi_is_changed() -> None:
    notify, offer = parse_payloads(*build_payloads([NOTIFY(spi=b"abcd"), ipsec_sa()]))
    notify.packet.spi = b"ab"
    offer.packet.proposals[0].spi = b"abcdefgh"
    notify, offer = parse_payloads(*build_payloads([notify.packet, offer.packet]))
    assert notify.packet.spi == b"ab"
    assert offer.packet.proposals[0].spi == b"abcdefgh"


def test_lengths_and_counts_follow_when_a_received_sa_is_changed() -> None:
    (payload,) = parse_payloads(*build_payloads([ike_sa()]))
    proposal = payload.packet.proposals[0]
    proposal.transforms = [proposal.transforms[1]]
    (chosen,) = parse_payloads(*build_payloads([payload.packet]))
    assert [t.number for t in chosen.packet.proposals[0].transforms] == [2]
    assert chosen.body.hex() == SAMPLES["SA of phase 1"][2].replace(" ", "").replace(
        "0000005001010002", "0000002c01010001"
    ).replace("030000240101000080010005800200018004000280030003800b0001000c000400015180", "")


def test_received_transform_may_answer_in_a_new_sa() -> None:
    (payload,) = parse_payloads(*build_payloads([ike_sa()]))
    first = payload.packet.proposals[0].transforms[0]
    answer = SA(proposals=[Proposal(number=1, transforms=[first])])
    assert body_of(answer)[8:12].hex() == "0000002c"
    parse_payloads(*build_payloads([answer]))


def test_values_not_given_are_the_usual_ones() -> None:
    assert body_of(SA()).hex() == "0000000100000001"
    assert body_of(Proposal()).hex() == "01010000"
    assert body_of(Transform()).hex() == "01010000"
    assert body_of(ID()).hex() == "01000000"
    assert body_of(CERT()).hex() == "04"
    assert body_of(NOTIFY()).hex() == "0000000101000000"
    assert body_of(DELETE()).hex() == "0000000101000000"
    assert body_of(DELETE_WITH_REASON()).hex() == "000000010100000000000000"
    assert body_of(NAT_OA()).hex() == "01000000"
    assert body_of(FRAGMENT()).hex() == "00010100"


# --- scripts ----------------------------------------------------------------------------------


def test_scapy_dissects_a_datagram_into_our_layers() -> None:
    datagram = message("SA of phase 2", "VENDOR_ID", "unknown", "NAT_D", "R-U-THERE")
    packet = ISAKMP(datagram)
    assert [type(layer).__name__ for layer in (packet[SA], packet[VENDOR_ID])] == [
        "SA",
        "VENDOR_ID",
    ]
    assert [layer.__name__ for layer in packet.layers()] == [
        "ISAKMP",
        "SA",
        "VENDOR_ID",
        "UnknownPayload",
        "NAT_D",
        "NOTIFY",
    ]
    assert packet[UnknownPayload].payload_type == 99
    assert packet[NOTIFY].notify_type == NotifyType.R_U_THERE
    assert packet[SA].proposals[1].spi.hex() == "cafe0002"
    assert bytes(packet) == datagram


def test_script_builds_a_message_with_slashes() -> None:
    packet = (
        ISAKMP(init_cookie=CKY_I, resp_cookie=CKY_R, exch_type=ExchangeType.IDENTITY_PROTECTION)
        / ike_sa()
        / VENDOR_ID(data=b"vendor")
        / UnknownPayload(payload_type=99, data=b"\xff\x00")
        / KE(data=b"k")
    )
    octets = build_payloads([packet[SA]])  # a chain is as good as a list
    assert bytes(packet)[28:] == octets[1]
    assert [p.type for p in parse_payloads(*octets)] == [1, 13, 99, 4]


@pytest.mark.parametrize("marker", [b"", b"\0\0\0\0"], ids=["port 500", "port 4500"])
def test_layers_are_found_behind_udp(marker: bytes) -> None:
    port = 4500 if marker else 500
    octets = bytes(IP(src="192.0.2.1", dst="192.0.2.2") / UDP(sport=port, dport=port))[:20]
    datagram = marker + message("KE", "NONCE")
    udp = bytes(UDP(sport=port, dport=port, len=8 + len(datagram), chksum=0))
    packet = IP(octets[:2] + (28 + len(datagram)).to_bytes(2, "big") + octets[4:] + udp + datagram)
    assert packet[KE].data == bytes(range(96))
    assert packet.haslayer(NON_ESP) == bool(marker)


def test_octets_after_the_last_payload_stay_raw_in_scapy() -> None:
    packet = ISAKMP(message("KE", "NONCE") + b"junk")
    assert packet.lastlayer().load == b"junk"


@pytest.mark.parametrize(
    "sa_body",
    [
        "00000001 00000001 00000004",  # a proposal of 4 octets
        "00000001 00000001 00000003 ffff",  # length under its header
        "00000001 00000001 0000ffff 01010001",  # length past the end
        "00000001 00000001 00000014 01030401 61626364 00000004",  # a transform of 4 octets
        "00000001 00000001 00000014 01010001 0000000c 01010000 000c0009",  # attribute past the end
        "00000001 00000001 00",
    ],
)
def test_tolerant_dissection_keeps_broken_octets(sa_body: str) -> None:
    body = bytes.fromhex(sa_body)
    datagram = bytes(ISAKMP(next_payload=1) / Raw(alone(1, body)))
    packet = ISAKMP(datagram)
    assert bytes(packet) == datagram
    packet[SA].clear_cache()
    assert bytes(packet) == datagram


@pytest.mark.parametrize("claim", ["0400 02", "04ffff", "00ffff", "ff0001"])
def test_tolerant_dissection_of_a_delete_takes_no_octet_of_the_next_payload(claim: str) -> None:
    body = bytes.fromhex("00000001 01" + claim + "61626364")
    chained = b"\x0a" + alone(12, body)[1:] + alone(10, b"nonce")
    datagram = bytes(ISAKMP(next_payload=12) / Raw(chained))
    packet = ISAKMP(datagram)
    assert packet[DELETE].spis in ([b"abcd"], [])
    packet.clear_cache()
    assert bytes(packet) == datagram


def test_scapys_own_classes_still_build() -> None:
    datagram = bytes(ISAKMP() / ISAKMP_payload_KE(ke=b"k") / ISAKMP_payload_Nonce(nonce=b"n"))
    assert [p.type for p in parse_payloads(datagram[16], datagram[28:])] == [4, 10]
    assert build_payloads([ISAKMP_payload_KE(ke=b"k")]) == (4, b"\0\0\0\x05k")
    assert build_payloads([ISAKMP_payload_SA()])[0] == 1


def test_what_is_no_payload_may_end_a_message() -> None:
    assert build_payloads([KE(data=b"k"), Raw(b"junk")]) == (4, b"\0\0\0\x05kjunk")


def test_import_changes_no_setting_of_scapy_and_loads_no_more_of_it() -> None:
    script = """
import sys
import scapy.layers.isakmp
from scapy.config import conf
def settings():
    return {name: repr(getattr(conf, name)) for name in dir(conf) if not name.startswith("_")
            and isinstance(getattr(conf, name), (bool, int, str, float, type(None)))}
before, modules = settings(), set(sys.modules)
import ikelab.wire.isakmp
assert settings() == before, "conf changed"
more = {name for name in set(sys.modules) - modules if name.startswith("scapy")}
assert not more, more
assert len(before) > 30, before
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


# --- show -------------------------------------------------------------------------------------


def test_show_uses_the_names_of_the_rfcs() -> None:
    text = ISAKMP(message("SA of phase 1", "ID", "R-U-THERE", "VENDOR_ID")).show(dump=True)
    for name in (
        "###[ Security Association ]###",
        "###[ Proposal ]###",
        "###[ Transform ]###",
        "###[ Identification ]###",
        "###[ Notification ]###",
        "transform_id= KEY_IKE",
        "ENCRYPTION_ALGORITHM=5",
        "LIFE_DURATION=0x00015180",
        "situation = SIT_IDENTITY_ONLY",
        "id_type   = ID_IPV4_ADDR",
        "data      = 192.0.2.1",
        "notify_type= R-U-THERE",
        "(DPD)",
    ):
        assert name in text


def test_show_names_phase_2_attributes_by_the_proposals_protocol() -> None:
    text = ipsec_sa().show(dump=True)
    assert "transform_id= ESP_AES" in text
    assert "ENCAPSULATION_MODE=2" in text
    assert "SA_LIFE_DURATION=0x00465000" in text


@pytest.mark.parametrize(
    ("id_type", "data", "shown"),
    [
        (IdType.ID_IPV4_ADDR_SUBNET, bytes((10, 0, 0, 0, 255, 0, 0, 0)), "10.0.0.0/255.0.0.0"),
        (IdType.ID_IPV4_ADDR, b"abc", "616263"),
        (IdType.ID_FQDN, b"r1.example\x1b[2J", r"b'r1.example\x1b[2J'"),
        (IdType.ID_KEY_ID, b"\x1b", "1b"),
        (200, b"\x1b", "1b"),
    ],
)
def test_show_prints_identities_readably_and_safely(id_type: int, data: bytes, shown: str) -> None:
    assert f"= {shown}\n" in ID(id_type=id_type, data=data).show(dump=True)


def test_show_prints_spis_and_unknown_vendor_ids_in_hexadecimal() -> None:
    assert "[61626364, 65666768]" in DELETE(spis=[b"abcd", b"efgh"]).show(dump=True)
    assert "data      = 6162\n" in VENDOR_ID(data=b"ab").show(dump=True)


def test_transform_of_an_unknown_protocol_shows_numbers() -> None:
    text = SA(
        proposals=[Proposal(protocol_id=99, transforms=[Transform(attributes=[(1, 2)])])]
    ).show(dump=True)
    assert "protocol_id= 99" in text
    assert "attributes= 1=2" in text


def test_a_single_spi_may_be_given_without_a_list() -> None:
    assert DELETE(protocol_id=ProtocolId.ESP, spis=b"abcd").spis == [b"abcd"]
