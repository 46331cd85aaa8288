"""One scapy layer a payload of ISAKMP and IKEv1, bound to scapy's `ISAKMP` header.

Sources: RFC 2408 section 3 (layouts), RFC 2407 section 4.6 (SA, ID, NOTIFY of the IPsec DOI),
RFC 3947 (NAT-D, NAT-OA), and two payloads that only vendors send (FRAGMENT, DELETE_WITH_REASON).

Importing this module makes `scapy.layers.isakmp.ISAKMP(octets)` dissect into these classes, for the
whole process; scapy's own payload classes still build as before, and scapy's `conf` is not touched.
Lengths, counts and `next_payload` are computed on building unless a script gives them.

Not here: any judgement of what was received. The layers take malformed octets as scapy layers do
(what does not fit ends as `Raw`); `isakmp.parse_payloads` checks first and refuses.
"""

from __future__ import annotations

from scapy.config import conf
from scapy.fields import (
    ByteEnumField,
    ByteField,
    FieldLenField,
    IntEnumField,
    IntField,
    MultiEnumField,
    ShortEnumField,
    ShortField,
    X3BytesField,
    XStrLenField,
)
from scapy.layers.isakmp import (
    ISAKMP_payload,
    ISAKMP_payload_Delete,
    ISAKMP_payload_Hash,
    ISAKMP_payload_ID,
    ISAKMP_payload_KE,
    ISAKMP_payload_Nonce,
    ISAKMP_payload_Notify,
    ISAKMP_payload_Proposal,
    ISAKMP_payload_SA,
    ISAKMP_payload_SIG,
    ISAKMP_payload_Transform,
    ISAKMP_payload_VendorID,
    _ISAKMP_class,
)
from scapy.packet import Packet, bind_layers, split_bottom_up

from ikelab.wire.fields import (
    AttributesField,
    ChainField,
    IdentityField,
    SpisField,
    TypeField,
    VendorIdField,
    names_of,
    protocol_of,
    rest_after,
)
from ikelab.wire.numbers import (
    CertEncoding,
    Doi,
    EspTransform,
    IdType,
    IsakmpTransform,
    NotifyType,
    PayloadType,
    ProtocolId,
    Situation,
)


class _Payload(ISAKMP_payload):
    """The generic payload header (RFC 2408 section 3.2), first of every payload.

    |  next_payload |    reserved   |            length             |
    """

    PAYLOAD_TYPE = PayloadType.NONE
    fields_desc = [
        ByteEnumField("next_payload", None, names_of(PayloadType)),
        ByteField("reserved", 0),
        ShortField("length", None),
    ]

    def default_payload_class(self, payload: bytes) -> type[Packet]:
        """Of what follows, when no class is bound to `next_payload`."""
        return UnknownPayload if self.next_payload else conf.raw_layer


class UnknownPayload(_Payload):
    """A payload of a type that has no class here.

    payload_type: goes out as the `next_payload` of the payload before; takes no octet itself.
    """

    name = "Unknown Payload"
    fields_desc = [
        *_Payload.fields_desc,
        XStrLenField("data", b"", length_from=rest_after(4)),
    ] + [TypeField("payload_type", PayloadType.NONE, fmt="B")]

    def add_underlayer(self, underlayer: Packet) -> None:
        """Tell the payload before of our type, as a bound layer's class would."""
        object.__setattr__(
            self, "overload_fields", {_ISAKMP_class: {"next_payload": self.payload_type}}
        )
        super().add_underlayer(underlayer)


class Transform(_Payload):
    """RFC 2408 section 3.6.

    |    number     |  transform_id |           reserved2           |
    ~                          attributes                           ~

    attributes: list of (class, int) for the basic form and (class, octets) for the variable form.
    """

    name = "Transform"
    PAYLOAD_TYPE = PayloadType.TRANSFORM
    fields_desc = [
        *_Payload.fields_desc,
        ByteField("number", 1),
        MultiEnumField(
            "transform_id",
            IsakmpTransform.KEY_IKE,
            {ProtocolId.ISAKMP: names_of(IsakmpTransform), ProtocolId.ESP: names_of(EspTransform)},
            depends_on=protocol_of,
            fmt="B",
        ),
        ShortField("reserved2", 0),
        AttributesField("attributes", [], length_from=rest_after(8)),
    ]


class Proposal(_Payload):
    """RFC 2408 section 3.5.

    |    number     |  protocol_id  |    spi_size   |transform_count|
    ~                     spi, then transforms                      ~
    """

    name = "Proposal"
    PAYLOAD_TYPE = PayloadType.PROPOSAL
    fields_desc = [
        *_Payload.fields_desc,
        ByteField("number", 1),
        ByteEnumField("protocol_id", ProtocolId.ISAKMP, names_of(ProtocolId)),
        FieldLenField("spi_size", None, length_of="spi", fmt="B"),
        FieldLenField("transform_count", None, count_of="transforms", fmt="B"),
        XStrLenField("spi", b"", length_from=lambda packet: packet.spi_size),
        ChainField(
            "transforms",
            [],
            Transform,
            length_from=lambda packet: max(packet.length - 8 - packet.spi_size, 0),
        ),
    ]


def _is_ipsec_identity_only(packet: Packet) -> bool:
    return bool(packet.doi == Doi.IPSEC and packet.situation == Situation.IDENTITY_ONLY)


class SA(_Payload):
    """RFC 2408 section 3.4 with the situation of RFC 2407 section 4.6.1.

    |                              doi                              |
    |                           situation                           |
    ~                           proposals                           ~

    opaque: octets after the situation when the DOI is not IPSEC, or the situation not
    SIT_IDENTITY_ONLY; those lay out labels of their own there, which this lab does not know.
    """

    name = "Security Association"
    PAYLOAD_TYPE = PayloadType.SA
    fields_desc = [
        *_Payload.fields_desc,
        IntEnumField("doi", Doi.IPSEC, names_of(Doi)),
        IntEnumField("situation", Situation.IDENTITY_ONLY, {1: "SIT_IDENTITY_ONLY"}),
        ChainField(
            "proposals",
            [],
            Proposal,
            length_from=lambda p: rest_after(12)(p) if _is_ipsec_identity_only(p) else 0,
        ),
        XStrLenField(
            "opaque",
            b"",
            length_from=lambda p: 0 if _is_ipsec_identity_only(p) else rest_after(12)(p),
        ),
    ]


class KE(_Payload):
    """Key exchange (RFC 2408 section 3.7). data: g^x, as long as the group's prime."""

    name = "Key Exchange"
    PAYLOAD_TYPE = PayloadType.KE
    fields_desc = [*_Payload.fields_desc, XStrLenField("data", b"", length_from=rest_after(4))]


class ID(_Payload):
    """Identification of the IPsec DOI (RFC 2407 section 4.6.2).

    |    id_type    |    protocol   |             port              |
    ~                             data                              ~
    """

    name = "Identification"
    PAYLOAD_TYPE = PayloadType.ID
    fields_desc = [
        *_Payload.fields_desc,
        ByteEnumField("id_type", IdType.ID_IPV4_ADDR, names_of(IdType)),
        ByteField("protocol", 0),
        ShortField("port", 0),
        IdentityField("data", b"", length_from=rest_after(8)),
    ]


class CERT(_Payload):
    """Certificate (RFC 2408 section 3.9): one octet of encoding, then the certificate or CRL."""

    name = "Certificate"
    PAYLOAD_TYPE = PayloadType.CERT
    fields_desc = [
        *_Payload.fields_desc,
        ByteEnumField("encoding", CertEncoding.X509_SIGNATURE, names_of(CertEncoding)),
        XStrLenField("data", b"", length_from=rest_after(5)),
    ]


class CERT_REQ(_Payload):
    """Certificate request (RFC 2408 section 3.10). authority: the CA's Name in DER, or empty."""

    name = "Certificate Request"
    PAYLOAD_TYPE = PayloadType.CERT_REQ
    fields_desc = [
        *_Payload.fields_desc,
        ByteEnumField("encoding", CertEncoding.X509_SIGNATURE, names_of(CertEncoding)),
        XStrLenField("authority", b"", length_from=rest_after(5)),
    ]


class HASH(_Payload):
    """Hash (RFC 2408 section 3.11): the output of the prf."""

    name = "Hash"
    PAYLOAD_TYPE = PayloadType.HASH
    fields_desc = [*_Payload.fields_desc, XStrLenField("data", b"", length_from=rest_after(4))]


class SIG(_Payload):
    """Signature (RFC 2408 section 3.12)."""

    name = "Signature"
    PAYLOAD_TYPE = PayloadType.SIG
    fields_desc = [*_Payload.fields_desc, XStrLenField("data", b"", length_from=rest_after(4))]


class NONCE(_Payload):
    """Nonce (RFC 2408 section 3.13); RFC 2409 section 5 wants 8 to 256 octets."""

    name = "Nonce"
    PAYLOAD_TYPE = PayloadType.NONCE
    fields_desc = [*_Payload.fields_desc, XStrLenField("data", b"", length_from=rest_after(4))]


class NOTIFY(_Payload):
    """Notification (RFC 2408 section 3.14).

    |                              doi                              |
    |  protocol_id  |    spi_size   |          notify_type          |
    ~                       spi, then data                          ~

    INITIAL-CONTACT and the DPD messages carry both cookies as a 16-octet SPI; R-U-THERE and its
    acknowledgement a 4-octet sequence number as data (RFC 3706 section 5.3).
    """

    name = "Notification"
    PAYLOAD_TYPE = PayloadType.NOTIFY
    fields_desc = [
        *_Payload.fields_desc,
        IntEnumField("doi", Doi.IPSEC, names_of(Doi)),
        ByteEnumField("protocol_id", ProtocolId.ISAKMP, names_of(ProtocolId)),
        FieldLenField("spi_size", None, length_of="spi", fmt="B"),
        ShortEnumField("notify_type", 0, names_of(NotifyType, hyphens=True)),
        XStrLenField("spi", b"", length_from=lambda packet: packet.spi_size),
        XStrLenField(
            "data", b"", length_from=lambda packet: max(packet.length - 12 - packet.spi_size, 0)
        ),
    ]


_DELETE_HEADER = [
    IntEnumField("doi", Doi.IPSEC, names_of(Doi)),
    ByteEnumField("protocol_id", ProtocolId.ISAKMP, names_of(ProtocolId)),
    FieldLenField("spi_size", None, length_of="spis", fmt="B"),
    FieldLenField("spi_count", None, count_of="spis", fmt="H"),
]


class DELETE(_Payload):
    """RFC 2408 section 3.15. spis: of spi_size octets each, 16 (both cookies) for an ISAKMP SA.

    |                              doi                              |
    |  protocol_id  |    spi_size   |           spi_count           |
    ~                             spis                              ~
    """

    name = "Delete"
    PAYLOAD_TYPE = PayloadType.DELETE
    fields_desc = [
        *_Payload.fields_desc,
        *_DELETE_HEADER,
        SpisField("spis", [], length_from=rest_after(12)),
    ]


class DELETE_WITH_REASON(_Payload):
    """Cisco's DELETE_WITH_REASON, payload type 18: a DELETE with a 4-octet reason.

    |                              doi                              |
    |  protocol_id  |    spi_size   |           spi_count           |
    |                            reason                             |
    ~                             spis                              ~

    The layout is unverified: Cisco publishes none. IOS debug output prints doi, protocol id,
    spi_size, num spis and delete_reason, in this order; that the wire has the same order, and
    that the reason takes 4 octets, is an assumption. A reason of another size is refused for its
    lengths; a reason after the SPIs would be misread, so `spis` needs the engine's usual check
    against the cookies it knows.
    """

    name = "Delete With Reason"
    PAYLOAD_TYPE = PayloadType.DELETE_WITH_REASON
    fields_desc = [
        *_Payload.fields_desc,
        *_DELETE_HEADER,
        IntField("reason", 0),
        SpisField("spis", [], length_from=rest_after(16)),
    ]


class VENDOR_ID(_Payload):
    """Vendor ID (RFC 2408 section 3.16); known ones are named in `vendor_id`."""

    name = "Vendor ID"
    PAYLOAD_TYPE = PayloadType.VENDOR_ID
    fields_desc = [
        *_Payload.fields_desc,
        VendorIdField("data", b"", length_from=rest_after(4)),
    ]


class NAT_D(_Payload):
    """NAT discovery (RFC 3947 section 3.2): HASH(CKY-I | CKY-R | address | port)."""

    name = "NAT-D"
    PAYLOAD_TYPE = PayloadType.NAT_D
    fields_desc = [*_Payload.fields_desc, XStrLenField("data", b"", length_from=rest_after(4))]


class NAT_OA(_Payload):
    """NAT original address (RFC 3947 section 5.2): ID type, three octets RESERVED, address."""

    name = "NAT-OA"
    PAYLOAD_TYPE = PayloadType.NAT_OA
    fields_desc = [
        *_Payload.fields_desc,
        ByteEnumField("id_type", IdType.ID_IPV4_ADDR, names_of(IdType)),
        X3BytesField("reserved2", 0),
        IdentityField("data", b"", length_from=rest_after(8)),
    ]


class NAT_D_DRAFT(NAT_D):
    """NAT-D under the number of draft-ietf-ipsec-nat-t-ike-02 and -03."""

    name = "NAT-D (draft)"
    PAYLOAD_TYPE = PayloadType.NAT_D_DRAFT


class NAT_OA_DRAFT(NAT_OA):
    """NAT-OA under the number of draft-ietf-ipsec-nat-t-ike-02 and -03."""

    name = "NAT-OA (draft)"
    PAYLOAD_TYPE = PayloadType.NAT_OA_DRAFT


class NAT_D_DRAFT_07(NAT_D):
    """NAT-D under the number of draft-ietf-ipsec-nat-t-ike-04 to -08."""

    name = "NAT-D (draft 07)"
    PAYLOAD_TYPE = PayloadType.NAT_D_DRAFT_07


class NAT_OA_DRAFT_07(NAT_OA):
    """NAT-OA under the number of draft-ietf-ipsec-nat-t-ike-04 to -08."""

    name = "NAT-OA (draft 07)"
    PAYLOAD_TYPE = PayloadType.NAT_OA_DRAFT_07


class FRAGMENT(_Payload):
    """Cisco IKE fragmentation, payload type 132.

    |              id               |     number    |     last      |
    ~                             data                              ~

    id: the same in all fragments of a message. number: from 1. last: 1 in the last, else 0.
    """

    name = "Fragment"
    PAYLOAD_TYPE = PayloadType.FRAGMENT
    fields_desc = [
        *_Payload.fields_desc,
        ShortField("id", 1),
        ByteField("number", 1),
        ByteField("last", 0),
        XStrLenField("data", b"", length_from=rest_after(8)),
    ]


PAYLOAD_CLASSES: dict[int, type[_Payload]] = {
    layer.PAYLOAD_TYPE: layer
    for layer in (
        *(SA, Proposal, Transform, KE, ID, CERT, CERT_REQ, HASH, SIG, NONCE, NOTIFY, DELETE),
        *(VENDOR_ID, DELETE_WITH_REASON, NAT_D, NAT_OA, NAT_D_DRAFT, NAT_OA_DRAFT),
        *(NAT_D_DRAFT_07, NAT_OA_DRAFT_07, FRAGMENT),
    )
}
"""Layer of each payload type; all others are `UnknownPayload`."""

# scapy takes the first binding that matches, so its own must go. Only for dissection: a script
# that builds with scapy's classes keeps its next_payload.
for _number, _scapy_layer in (
    (PayloadType.SA, ISAKMP_payload_SA),
    (PayloadType.PROPOSAL, ISAKMP_payload_Proposal),
    (PayloadType.TRANSFORM, ISAKMP_payload_Transform),
    (PayloadType.KE, ISAKMP_payload_KE),
    (PayloadType.ID, ISAKMP_payload_ID),
    (PayloadType.HASH, ISAKMP_payload_Hash),
    (PayloadType.SIG, ISAKMP_payload_SIG),
    (PayloadType.NONCE, ISAKMP_payload_Nonce),
    (PayloadType.NOTIFY, ISAKMP_payload_Notify),
    (PayloadType.DELETE, ISAKMP_payload_Delete),
    (PayloadType.VENDOR_ID, ISAKMP_payload_VendorID),
):
    split_bottom_up(_ISAKMP_class, _scapy_layer, next_payload=int(_number))
for _layer in PAYLOAD_CLASSES.values():
    bind_layers(_ISAKMP_class, _layer, next_payload=int(_layer.PAYLOAD_TYPE))
