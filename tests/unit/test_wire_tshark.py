"""tshark reads what we build: every field as we meant it, nothing malformed."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw
from scapy.utils import PcapWriter

from ikelab.wire import vendor_id
from ikelab.wire.isakmp import Header, build_message, build_payloads
from ikelab.wire.numbers import ExchangeType, IdType, IpsecAttribute, NotifyType, ProtocolId
from ikelab.wire.payloads import (
    CERT,
    CERT_REQ,
    DELETE,
    FRAGMENT,
    HASH,
    ID,
    KE,
    NAT_D,
    NAT_OA,
    NONCE,
    NOTIFY,
    SA,
    SIG,
    VENDOR_ID,
    Proposal,
    Transform,
)
from tests.wire_samples import CKY_I, CKY_R, ike_sa, ipsec_sa

pytestmark = pytest.mark.interop

NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ra-subca")])
NO_COOKIE = bytes(8)
KE_DATA = bytes(range(256))
NONCE_DATA = bytes(range(20))

Message = tuple[bytes, int, int, Sequence[Packet]]  # responder cookie, exchange, M-ID, payloads


def certificate() -> bytes:
    key = Ed25519PrivateKey.from_private_bytes(bytes(32))
    builder = x509.CertificateBuilder(NAME, NAME, key.public_key(), 7)
    return (
        builder.not_valid_before(datetime(2009, 4, 17, tzinfo=UTC))
        .not_valid_after(datetime(2010, 4, 17, tzinfo=UTC))
        .sign(key, None)
        .public_bytes(Encoding.DER)
    )


class Dissection:
    """A capture of messages in clear, and what tshark says of it."""

    def __init__(self, tshark: str, path: Path, messages: Sequence[Message]) -> None:
        self._command = [tshark, "-n", "-r", str(path)]
        with PcapWriter(str(path), linktype=1) as writer:
            for cky_r, exchange, message_id, packets in messages:
                first, octets = build_payloads(packets)
                header = Header(CKY_I, cky_r, first, exchange, 0, message_id)
                ip = IP(src="192.0.2.1", dst="192.0.2.2") / UDP(sport=500, dport=500)
                mac = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
                writer.write(mac / ip / Raw(build_message(header, octets)))

    def _run(self, *arguments: str) -> list[str]:
        done = subprocess.run(
            [*self._command, *arguments], capture_output=True, check=True, timeout=60, text=True
        )
        return done.stdout.splitlines()

    def fields(self, *names: str) -> dict[str, list[str]]:
        """name -> its values, one string a frame; tshark joins several of a frame by commas."""
        options = [option for name in names for option in ("-e", f"isakmp.{name}")]
        rows = [row.split("|") for row in self._run("-T", "fields", "-E", "separator=|", *options)]
        return dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))

    def complaints(self) -> list[str]:
        return self._run("-Y", "_ws.malformed || _ws.expert.severity >= 4194304")


@pytest.fixture
def dissect(
    need: Callable[[str], str], tmp_path: Path
) -> Callable[[Sequence[Message]], Dissection]:
    tshark = need("tshark")
    return lambda messages: Dissection(tshark, tmp_path / "messages.pcap", messages)


Dissect = Callable[[Sequence[Message]], Dissection]
MAIN = ExchangeType.IDENTITY_PROTECTION


def main_mode() -> list[Message]:
    vendor_ids = [VENDOR_ID(data=octets) for octets in vendor_id.NAT_T_VENDOR_IDS]
    answer = SA(proposals=[Proposal(number=1, transforms=ike_sa().proposals[0].transforms[:1])])
    keys = [KE(data=KE_DATA), NONCE(data=NONCE_DATA)]
    request = CERT_REQ(authority=NAME.public_bytes())
    more = [VENDOR_ID(data=vendor_id.CISCO_UNITY), VENDOR_ID(data=vendor_id.DPD)]
    nat = [NAT_D(data=b"\x44" * 16), NAT_D(data=b"\x45" * 16)]
    return [
        (NO_COOKIE, MAIN, 0, [ike_sa(), *vendor_ids]),
        (CKY_R, MAIN, 0, [answer, vendor_ids[0]]),
        (CKY_R, MAIN, 0, [*keys, *more, *nat]),
        (CKY_R, MAIN, 0, [*keys, request, *more, VENDOR_ID(data=vendor_id.XAUTH), *nat]),
    ]


def test_tshark_reads_main_mode_1_to_4(dissect: Dissect) -> None:
    seen = dissect(main_mode())
    assert seen.complaints() == []
    read = seen.fields(
        "ispi",
        "rspi",
        "exchangetype",
        "typepayload",
        "prop.transforms",
        "trans.number",
        "ike.attr.encryption_algorithm",
        "ike.attr.hash_algorithm",
        "ike.attr.group_description",
        "ike.attr.authentication_method",
        "ike.attr.life_duration",
        "key_exchange.data",
        "nonce",
        "certreq.type",
        "ike.nat_hash",
        "vid_string",
    )
    assert read["ispi"] == [CKY_I.hex()] * 4
    assert read["rspi"] == [NO_COOKIE.hex(), *[CKY_R.hex()] * 3]
    assert read["exchangetype"] == ["2"] * 4
    assert read["typepayload"] == [
        "1,2,3,3,13,13,13,13",
        "1,2,3,13",
        "4,10,13,13,20,20",
        "4,10,7,13,13,13,20,20",
    ]
    assert read["prop.transforms"] == ["2", "1", "", ""]
    assert read["trans.number"] == ["1,2", "1", "", ""]
    assert read["ike.attr.encryption_algorithm"] == ["5,1", "5", "", ""]
    assert read["ike.attr.hash_algorithm"] == ["1,2", "1", "", ""]
    assert read["ike.attr.group_description"] == ["2,1", "2", "", ""]
    assert read["ike.attr.authentication_method"] == ["3,3", "3", "", ""]
    assert read["ike.attr.life_duration"] == ["86400,86400", "86400", "", ""]
    assert read["key_exchange.data"][2] == KE_DATA.hex()
    assert read["nonce"][3] == NONCE_DATA.hex()
    assert read["certreq.type"][3] == "4"
    assert read["ike.nat_hash"][3] == "44" * 16 + "," + "45" * 16
    assert "RFC 3947" in read["vid_string"][1]
    assert "CISCO-UNITY" in read["vid_string"][2]
    assert "RFC 3706 DPD" in read["vid_string"][2]
    assert "XAUTH" in read["vid_string"][3]


def test_tshark_reads_identity_certificate_and_signature(dissect: Dissect) -> None:
    identities = [
        ID(id_type=IdType.ID_FQDN, protocol=17, port=500, data=b"r1.cisco.com"),
        ID(id_type=IdType.ID_IPV4_ADDR, data=bytes((192, 0, 2, 1))),
        ID(id_type=IdType.ID_DER_ASN1_DN, data=NAME.public_bytes()),
    ]
    rest = [CERT(data=certificate()), SIG(data=b"\x22" * 128)]
    seen = dissect([(CKY_R, MAIN, 0, [identity, *rest]) for identity in identities])
    assert seen.complaints() == []
    read = seen.fields(
        "typepayload",
        "id.type",
        "id.protoid",
        "id.port",
        "id.data.fqdn",
        "id.data.ipv4_addr",
        "cert.encoding",
        "sig",
    )
    assert read["typepayload"] == ["5,6,9"] * 3
    assert read["id.type"] == ["2", "1", "9"]
    assert read["id.protoid"] == ["17", "0", "0"]
    assert read["id.port"] == ["500", "0", "0"]
    assert read["id.data.fqdn"][0] == "r1.cisco.com"
    assert read["id.data.ipv4_addr"][1] == "192.0.2.1"
    assert read["cert.encoding"] == ["4"] * 3
    assert read["sig"] == ["22" * 128] * 3


def test_tshark_reads_quick_mode(dissect: Dissect) -> None:
    proxies = [
        ID(id_type=IdType.ID_IPV4_ADDR, protocol=47, data=bytes((192, 0, 2, 1))),
        ID(id_type=IdType.ID_IPV4_ADDR_SUBNET, data=bytes((10, 0, 0, 0, 255, 255, 255, 0))),
    ]
    packets = [HASH(data=b"\x11" * 20), ipsec_sa(), NONCE(data=NONCE_DATA), *proxies]
    packets.append(NAT_OA(data=bytes((10, 0, 0, 1))))
    seen = dissect([(CKY_R, ExchangeType.QUICK, 0xDEADBEEF, packets)])
    assert seen.complaints() == []
    read = seen.fields(
        "messageid",
        "typepayload",
        "prop.number",
        "prop.protoid",
        "prop.transforms",
        "spi",
        "trans.id",
        "ipsec.attr.life_duration",
        "ipsec.attr.encap_mode",
        "ipsec.attr.key_length",
        "ipsec.attr.auth_algorithm",
        "hash",
        "id.protoid",
        "id.data.ipv4_addr",
        "id.data.ipv4_subnet",
        "ike.nat_original_address_ipv4",
    )
    assert read["messageid"] == ["0xdeadbeef"]
    assert read["typepayload"] == ["8,1,2,3,3,2,3,10,5,5,21"]
    assert read["prop.number"] == ["1,2"]
    assert read["prop.protoid"] == ["3,3"]
    assert read["prop.transforms"] == ["2,1"]
    assert read["spi"] == ["b9338608,cafe0002"]
    assert read["trans.id"] == ["12,3,2"]
    assert read["ipsec.attr.life_duration"] == ["3600,4608000"]
    assert read["ipsec.attr.encap_mode"] == ["2"]
    assert read["ipsec.attr.key_length"] == ["256"]
    assert read["ipsec.attr.auth_algorithm"] == ["1"]
    assert read["hash"] == ["11" * 20]
    assert read["id.protoid"] == ["47,0"]
    assert read["id.data.ipv4_addr"] == ["192.0.2.1,10.0.0.0"]
    assert read["id.data.ipv4_subnet"] == ["255.255.255.0"]  # so tshark calls the mask
    assert read["ike.nat_original_address_ipv4"] == ["10.0.0.1"]


def test_tshark_keeps_the_form_of_each_lifetime(dissect: Dissect) -> None:
    """TV and TLV of 4 octets are both legal, and HASH_I tells them apart."""
    transform = Transform(
        transform_id=12,
        attributes=[
            (IpsecAttribute.SA_LIFE_DURATION, 28800),
            (IpsecAttribute.SA_LIFE_DURATION, (28800).to_bytes(4, "big")),
        ],
    )
    proposal = Proposal(protocol_id=ProtocolId.ESP, spi=b"abcd", transforms=[transform])
    seen = dissect([(CKY_R, ExchangeType.QUICK, 1, [SA(proposals=[proposal])])])
    assert seen.complaints() == []
    read = seen.fields("ipsec.attr.format", "ipsec.attr.life_duration")
    assert read["ipsec.attr.format"] == ["True,False"] or read["ipsec.attr.format"] == ["1,0"]
    assert read["ipsec.attr.life_duration"] == ["28800,28800"]


def test_tshark_reads_notifies_and_deletes(dissect: Dissect) -> None:
    cookies = CKY_I + CKY_R
    packets = [
        NOTIFY(notify_type=NotifyType.INITIAL_CONTACT, spi=cookies),
        NOTIFY(notify_type=NotifyType.R_U_THERE, spi=cookies, data=(4711).to_bytes(4, "big")),
        NOTIFY(notify_type=NotifyType.R_U_THERE_ACK, spi=cookies, data=(4711).to_bytes(4, "big")),
        NOTIFY(notify_type=NotifyType.NO_PROPOSAL_CHOSEN, protocol_id=3, spi=b"abcd"),
        DELETE(spis=[cookies]),
        DELETE(protocol_id=ProtocolId.ESP, spi_size=4, spis=[b"abcd", b"efgh"]),
    ]
    seen = dissect([(CKY_R, ExchangeType.INFORMATIONAL, 1, [packet]) for packet in packets])
    assert seen.complaints() == []
    read = seen.fields(
        "notify.msgtype",
        "notify.protoid",
        "spi",
        "notify.data.dpd.are_you_there",
        "notify.data.dpd.are_you_there_ack",
        "delete.protoid",
        "spinum",
        "delete.spi",
    )
    assert read["notify.msgtype"] == ["24578", "36136", "36137", "14", "", ""]
    assert read["notify.protoid"] == ["1", "1", "1", "3", "", ""]
    assert read["spi"] == [*[cookies.hex()] * 3, b"abcd".hex(), "", ""]
    assert read["notify.data.dpd.are_you_there"][1] == "4711"
    assert read["notify.data.dpd.are_you_there_ack"][2] == "4711"
    assert read["delete.protoid"][4:] == ["1", "3"]
    assert read["spinum"][4:] == ["1", "2"]
    assert read["delete.spi"][4:] == [cookies.hex(), f"{b'abcd'.hex()},{b'efgh'.hex()}"]


def test_tshark_reads_fragments(dissect: Dissect) -> None:
    seen = dissect([(CKY_R, MAIN, 0, [FRAGMENT(id=258, number=3, last=1, data=b"part")])])
    read = seen.fields("typepayload", "frag.packetid", "frag.seq", "frag.last")
    assert read["typepayload"] == ["132"]
    assert read["frag.packetid"] == ["0x0102"]
    assert read["frag.seq"] == ["3"]
    assert read["frag.last"] == ["1"]
