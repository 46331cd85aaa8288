"""Fields of the ISAKMP layers: attributes, chains of nested payloads, SPI lists, identities.

All keep the octets exactly, in both directions; see `payloads` for the layers that use them.
"""

# ruff: noqa: D102 - the methods are those of scapy's Field, with its meaning

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Callable, Iterable, Mapping
from enum import IntEnum

from scapy.config import conf
from scapy.fields import Field, PacketListField, StrLenField, XStrLenField
from scapy.layers.isakmp import ISAKMP_payload
from scapy.packet import Packet

from ikelab.wire.numbers import IdType, IkeAttribute, IpsecAttribute, PayloadType, ProtocolId
from ikelab.wire.vendor_id import name_vendor_id

GENERIC_HEADER = 4
"""Octets of the generic payload header (RFC 2408 section 3.2)."""

Attribute = tuple[int, int | bytes]
"""(class, value): an int is the basic TV form, octets are the variable TLV form."""


def names_of(numbers: type[IntEnum], hyphens: bool = False) -> dict[int, str]:
    """The enumeration as scapy's fields want it. hyphens: RFC 2408 spells notifies with them."""
    return {n.value: n.name.replace("_", "-") if hyphens else n.name for n in numbers}


_IPSEC_ATTRIBUTES = names_of(IpsecAttribute)
_ATTRIBUTE_NAMES: Mapping[int, Mapping[int, str]] = {
    ProtocolId.ISAKMP: names_of(IkeAttribute),
    ProtocolId.AH: _IPSEC_ATTRIBUTES,
    ProtocolId.ESP: _IPSEC_ATTRIBUTES,
    ProtocolId.IPCOMP: _IPSEC_ATTRIBUTES,
}


# --- attributes (RFC 2408 section 3.3) --------------------------------------------------------
#
#      0                   1                   2                   3
#     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
#     |A|       Attribute Type        |    AF=0  Attribute Length     |
#     |F|                             |    AF=1  Attribute Value      |
#     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
#     .                   AF=0  Attribute Value                       .


def build_attributes(attributes: Iterable[Attribute]) -> bytes:
    """Octets of data attributes in the order given.

    Raises ValueError for a class above 0x7fff, or a basic value above 0xffff: the form (TV or TLV)
    is the caller's choice, since HASH_I and HASH_R cover it.
    """
    octets = bytearray()
    for attribute_type, value in attributes:
        if not 0 <= attribute_type <= 0x7FFF:
            raise ValueError(f"attribute type {attribute_type} does not fit 15 bits")
        if isinstance(value, bytes):
            octets += struct.pack("!HH", attribute_type, len(value)) + value
        elif 0 <= value <= 0xFFFF:
            octets += struct.pack("!HH", attribute_type | 0x8000, value)
        else:
            raise ValueError(
                f"attribute {attribute_type}: {value} does not fit the 16 bits of a basic value; "
                f"give octets, such as ({value}).to_bytes(4, 'big')"
            )
    return bytes(octets)


def parse_attributes(octets: bytes) -> tuple[list[Attribute], bytes]:
    """The attributes in order, and what is left where one does not fit (empty if all is well)."""
    attributes: list[Attribute] = []
    position = 0
    while position + 4 <= len(octets):
        attribute_type, value = struct.unpack_from("!HH", octets, position)
        if attribute_type & 0x8000:
            attributes.append((attribute_type & 0x7FFF, value))
            position += 4
        elif position + 4 + value <= len(octets):
            attributes.append((attribute_type, octets[position + 4 : position + 4 + value]))
            position += 4 + value
        else:
            break
    return attributes, octets[position:]


# --- building one payload ---------------------------------------------------------------------


def build_standalone(packet: Packet, following: int = PayloadType.NONE) -> bytes:
    """Octets of one payload without its scapy payload chain; the fast path of all building.

    following: the next payload's type, used unless `next_payload` was given to the layer.
    """
    # explicit=1 spares the clone with which scapy resolves volatile fields: building is 4 times
    # faster without it, and none of our layers has such a default.
    packet.explicit = 1
    octets: bytes = packet.self_build()
    if packet.raw_packet_cache is None:
        octets = packet.post_build(octets, b"")
    if "next_payload" in packet.fields or not isinstance(packet, ISAKMP_payload):
        return octets
    return bytes((following,)) + octets[1:]


# --- fields -----------------------------------------------------------------------------------


def rest_after(fixed: int) -> Callable[[Packet], int]:
    """`length_from` of a field that ends its payload, after `fixed` octets of it."""
    return lambda packet: max(packet.length - fixed, 0)


def protocol_of(packet: Packet | None) -> int:
    """Protocol of the proposal that a transform stands in; ISAKMP for a transform on its own."""
    parent = None if packet is None else packet.parent
    return int(getattr(parent, "protocol_id", ProtocolId.ISAKMP))


class ChainField(PacketListField):
    """Payloads of one type inside another: proposals of an SA, transforms of a proposal.

    Each element gets exactly the octets its own length claims, so work is linear. What cannot be
    an element stays as one `Raw` at the end.
    """

    def getfield(self, pkt: Packet, s: bytes) -> tuple[bytes, list[Packet]]:
        end = min(self.length_from(pkt), len(s))
        elements: list[Packet] = []
        position = 0
        while position + GENERIC_HEADER <= end:
            length = int.from_bytes(s[position + 2 : position + 4], "big")
            if length < GENERIC_HEADER or position + length > end:
                break
            try:
                elements.append(self.cls(s[position : position + length], _parent=pkt))
            except struct.error:  # shorter than the fixed fields of its class
                break
            position += length
        if position < end:
            elements.append(conf.raw_layer(s[position:end]))
        return s[end:], elements

    def addfield(self, pkt: Packet, s: bytes, val: list[Packet]) -> bytes:
        kind = self.cls.PAYLOAD_TYPE
        last = len(val) - 1
        return s + b"".join(
            build_standalone(element, PayloadType.NONE if index == last else kind)
            + element.payload.build()  # octets a tolerant dissection could not place
            for index, element in enumerate(val)
        )


class AttributesField(StrLenField):
    """Data attributes as a list of (class, int or octets); see `build_attributes`.

    Octets instead of a list go out as they are. Octets after the last whole attribute are left
    to scapy, which makes them `Raw`.
    """

    islist = 1

    def any2i(self, pkt: Packet, x: object) -> object:
        return x if isinstance(x, bytes) else [] if x is None else list(x)  # type: ignore[call-overload]

    def i2m(self, pkt: Packet, x: object) -> bytes:
        return x if isinstance(x, bytes) else build_attributes(x)  # type: ignore[arg-type]

    def getfield(self, pkt: Packet, s: bytes) -> tuple[bytes, list[Attribute]]:
        end = self.length_from(pkt)
        attributes, left = parse_attributes(s[:end])
        return left + s[end:], attributes

    def i2repr(self, pkt: Packet, x: object) -> str:
        if isinstance(x, bytes):
            return x.hex()
        classes = _ATTRIBUTE_NAMES.get(protocol_of(pkt), {})
        return ", ".join(
            f"{classes.get(kind, kind)}={'0x' + v.hex() if isinstance(v, bytes) else int(v)}"
            for kind, v in x  # type: ignore[attr-defined]
        )


class SpisField(StrLenField):
    """SPIs of `spi_size` octets each, `spi_count` of them, as a list of octets."""

    islist = 1

    def any2i(self, pkt: Packet, x: object) -> object:
        return [x] if isinstance(x, bytes) else list(x)  # type: ignore[call-overload]

    def i2m(self, pkt: Packet, x: list[bytes]) -> bytes:
        return b"".join(x)

    def i2len(self, pkt: Packet, x: list[bytes]) -> int:
        return len(x[0]) if x else 0  # what spi_size wants: the length of one

    def i2count(self, pkt: Packet, x: list[bytes]) -> int:
        return len(x)

    def i2repr(self, pkt: Packet, x: list[bytes]) -> str:
        return "[" + ", ".join(spi.hex() for spi in x) + "]"

    def getfield(self, pkt: Packet, s: bytes) -> tuple[bytes, list[bytes]]:
        size = pkt.spi_size
        room = min(len(s), self.length_from(pkt))
        count = min(pkt.spi_count, room // size) if size else 0
        end = size * count
        return s[end:], [s[start : start + size] for start in range(0, end, size or 1)]


class VendorIdField(XStrLenField):
    """Octets, shown with the name of the vendor ID where it is known."""

    def i2repr(self, pkt: Packet, x: bytes) -> str:
        name = name_vendor_id(x)
        return x.hex() + (f" ({name})" if name else "")


class IdentityField(XStrLenField):
    """Identification data, shown by ID type: addresses dotted, names quoted, else hexadecimal."""

    def i2repr(self, pkt: Packet, x: bytes) -> str:
        if pkt.id_type in (IdType.ID_IPV4_ADDR, IdType.ID_IPV4_ADDR_SUBNET) and len(x) % 4 == 0:
            return "/".join(str(ipaddress.IPv4Address(x[i : i + 4])) for i in range(0, len(x), 4))
        if pkt.id_type in (IdType.ID_FQDN, IdType.ID_USER_FQDN):
            return repr(x)
        return x.hex()


class TypeField(Field[int, int]):
    """The type of an unknown payload, which no octet of the payload itself says."""

    def addfield(self, pkt: Packet, s: bytes, val: int) -> bytes:
        return s

    def getfield(self, pkt: Packet, s: bytes) -> tuple[bytes, int]:
        return s, getattr(pkt.underlayer, "next_payload", PayloadType.NONE)
