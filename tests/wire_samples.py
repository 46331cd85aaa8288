"""One sample of every ISAKMP payload, with the octets its RFC gives, written by hand."""

from __future__ import annotations

from scapy.packet import Packet

from ikelab.wire import vendor_id
from ikelab.wire.isakmp import Header, build_message, build_payloads
from ikelab.wire.numbers import (
    CertEncoding,
    Doi,
    EspTransform,
    ExchangeType,
    Flags,
    IdType,
    IkeAttribute,
    IpsecAttribute,
    NotifyType,
    PayloadType,
    ProtocolId,
)
from ikelab.wire.payloads import (
    CERT,
    CERT_REQ,
    DELETE,
    DELETE_WITH_REASON,
    FRAGMENT,
    HASH,
    ID,
    KE,
    NAT_D,
    NAT_D_DRAFT,
    NAT_OA,
    NAT_OA_DRAFT,
    NONCE,
    NOTIFY,
    SA,
    SIG,
    VENDOR_ID,
    Proposal,
    Transform,
    UnknownPayload,
)

CKY_I = bytes.fromhex("fafaeb49382a763c")
CKY_R = bytes.fromhex("0102030405060708")
DAY = (86400).to_bytes(4, "big")


def ike_sa() -> SA:
    """The guide's phase 1 offer: 3DES MD5 group 2 and DES SHA group 1, RSA-SIG, one day."""
    return SA(
        proposals=[
            Proposal(
                number=1,
                transforms=[
                    Transform(
                        number=number,
                        attributes=[
                            (IkeAttribute.ENCRYPTION_ALGORITHM, encryption),
                            (IkeAttribute.HASH_ALGORITHM, digest),
                            (IkeAttribute.GROUP_DESCRIPTION, group),
                            (IkeAttribute.AUTHENTICATION_METHOD, 3),
                            (IkeAttribute.LIFE_TYPE, 1),
                            (IkeAttribute.LIFE_DURATION, DAY),
                        ],
                    )
                    for number, encryption, digest, group in ((1, 5, 1, 2), (2, 1, 2, 1))
                ],
            )
        ]
    )


def ipsec_sa() -> SA:
    """A phase 2 offer of two proposals, each with its own SPI."""
    return SA(
        proposals=[
            Proposal(
                number=1,
                protocol_id=ProtocolId.ESP,
                spi=bytes.fromhex("b9338608"),
                transforms=[
                    Transform(
                        number=1,
                        transform_id=EspTransform.ESP_AES,
                        attributes=[
                            (IpsecAttribute.SA_LIFE_TYPE, 1),
                            (IpsecAttribute.SA_LIFE_DURATION, 3600),
                            (IpsecAttribute.SA_LIFE_TYPE, 2),
                            (IpsecAttribute.SA_LIFE_DURATION, bytes.fromhex("00465000")),
                            (IpsecAttribute.ENCAPSULATION_MODE, 2),
                            (IpsecAttribute.KEY_LENGTH, 256),
                        ],
                    ),
                    Transform(number=2, transform_id=EspTransform.ESP_3DES),
                ],
            ),
            Proposal(
                number=2,
                protocol_id=ProtocolId.ESP,
                spi=bytes.fromhex("cafe0002"),
                transforms=[
                    Transform(
                        number=1,
                        transform_id=EspTransform.ESP_DES,
                        attributes=[(IpsecAttribute.AUTHENTICATION_ALGORITHM, 1)],
                    )
                ],
            ),
        ]
    )


# name: (payload type, layer, body in hexadecimal: RFC 2408 section 3 field by field)
SAMPLES: dict[str, tuple[int, Packet, str]] = {
    "SA of phase 1": (
        1,
        ike_sa(),
        "00000001 00000001"  # DOI, situation
        "00 00 0050 01 01 00 02"  # last proposal, length 80, number 1, ISAKMP, no SPI, 2 transforms
        "03 00 0024 01 01 0000"  # one more transform, length 36, number 1, KEY_IKE, RESERVED2
        "80010005 80020001 80040002 80030003 800b0001 000c0004 00015180"
        "00 00 0024 02 01 0000 80010001 80020002 80040001 80030003 800b0001 000c0004 00015180",
    ),
    "SA of phase 2": (
        1,
        ipsec_sa(),
        "00000001 00000001"
        "02 00 0038 01 03 04 02 b9338608"  # one more proposal, ESP, SPI of 4, 2 transforms
        "03 00 0024 01 0c 0000 80010001 80020e10 80010002 00020004 00465000 80040002 80060100"
        "00 00 0008 02 03 0000"
        "00 00 0018 02 03 04 01 cafe0002"
        "00 00 000c 01 02 0000 80050001",
    ),
    "SA of another DOI": (
        1,
        SA(doi=2, situation=7, opaque=bytes.fromhex("deadbeef")),
        "00000002 00000007 deadbeef",
    ),
    "KE": (4, KE(data=bytes(range(96))), bytes(range(96)).hex()),
    "ID": (
        5,
        ID(id_type=IdType.ID_IPV4_ADDR, protocol=17, port=500, data=bytes((192, 0, 2, 1))),
        "01 11 01f4 c0000201",
    ),
    "CERT": (6, CERT(encoding=CertEncoding.X509_SIGNATURE, data=b"\x30\x00"), "04 3000"),
    "CERT_REQ": (7, CERT_REQ(encoding=CertEncoding.CRL, authority=b"\x30\x00"), "07 3000"),
    "CERT_REQ without authority": (7, CERT_REQ(), "04"),
    "HASH": (8, HASH(data=b"\x11" * 16), "11" * 16),
    "SIG": (9, SIG(data=b"\x22" * 64), "22" * 64),
    "NONCE": (10, NONCE(data=b"\x33" * 20), "33" * 20),
    "INITIAL-CONTACT": (
        11,
        NOTIFY(notify_type=NotifyType.INITIAL_CONTACT, spi=CKY_I + CKY_R),
        "00000001 01 10 6002 fafaeb49382a763c0102030405060708",
    ),
    "R-U-THERE": (
        11,
        NOTIFY(notify_type=NotifyType.R_U_THERE, spi=CKY_I + CKY_R, data=bytes((0, 0, 0x12, 0x34))),
        "00000001 01 10 8d28 fafaeb49382a763c0102030405060708 00001234",
    ),
    "NO-PROPOSAL-CHOSEN": (
        11,
        NOTIFY(doi=Doi.ISAKMP, protocol_id=ProtocolId.ESP, notify_type=14, data=b"\x01"),
        "00000000 03 00 000e 01",
    ),
    "DELETE of an ISAKMP SA": (
        12,
        DELETE(protocol_id=ProtocolId.ISAKMP, spis=[CKY_I + CKY_R]),
        "00000001 01 10 0001 fafaeb49382a763c0102030405060708",
    ),
    "DELETE of two ESP SAs": (
        12,
        DELETE(protocol_id=ProtocolId.ESP, spi_size=4, spis=[b"abcd", b"efgh"]),
        "00000001 03 04 0002 61626364 65666768",
    ),
    "DELETE without SPI": (12, DELETE(spi_size=4, spis=[]), "00000001 01 04 0000"),
    "VENDOR_ID": (
        13,
        VENDOR_ID(data=vendor_id.DPD),
        "afcad71368a1f1c96b8696fc7757 01 00",
    ),
    "DELETE_WITH_REASON": (
        18,
        DELETE_WITH_REASON(spis=[CKY_I + CKY_R], reason=6),
        "00000001 01 10 0001 00000006 fafaeb49382a763c0102030405060708",
    ),
    "NAT_D": (20, NAT_D(data=b"\x44" * 16), "44" * 16),
    "NAT_OA": (
        21,
        NAT_OA(id_type=IdType.ID_IPV4_ADDR, data=bytes((10, 0, 0, 1))),
        "01 000000 0a000001",
    ),
    "NAT_D of the drafts": (130, NAT_D_DRAFT(data=b"\x55" * 20), "55" * 20),
    "NAT_OA of the drafts": (131, NAT_OA_DRAFT(data=bytes(4)), "01 000000 00000000"),
    "FRAGMENT": (132, FRAGMENT(id=0x0102, number=3, last=1, data=b"part"), "0102 03 01 70617274"),
    "unknown": (99, UnknownPayload(payload_type=99, data=b"\xff\x00"), "ff00"),
    "unknown and empty": (PayloadType.MODE_CONFIG, UnknownPayload(payload_type=14), ""),
}


def sample(name: str) -> tuple[int, Packet, bytes]:
    """(payload type, a layer of its own, body) of a sample."""
    payload_type, layer, body = SAMPLES[name]
    return payload_type, layer.copy(), bytes.fromhex(body)


def chain(*names: str) -> tuple[int, bytes]:
    """(first type, octets) of samples in order; of all of them if none is named."""
    return build_payloads([SAMPLES[name][1] for name in names or SAMPLES])


def message(*names: str) -> bytes:
    """A main mode datagram in clear of samples in order."""
    first, octets = chain(*names)
    header = Header(CKY_I, CKY_R, first, ExchangeType.IDENTITY_PROTECTION, Flags.NONE, 0)
    return build_message(header, octets)
