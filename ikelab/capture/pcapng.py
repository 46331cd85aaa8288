"""pcapng blocks as octets, and back (draft-ietf-opsawg-pcapng): the few block types a lab needs.

Written little-endian with nanoseconds. The reader takes what the writer here makes; blocks and
options it does not know it skips, as the format asks for.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from ipaddress import IPv4Address

from ikelab.errors import WireError

LINKTYPE_ETHERNET = 1
SNAPLEN = 65535


class BlockType(IntEnum):
    """The blocks written and read here."""

    SECTION_HEADER = 0x0A0D0D0A
    INTERFACE_DESCRIPTION = 1
    NAME_RESOLUTION = 4
    INTERFACE_STATISTICS = 5
    ENHANCED_PACKET = 6


_BYTE_ORDER_MAGIC = 0x1A2B3C4D
_LENGTH_UNKNOWN = -1
_TSRESOL_NANOSECONDS = 9
_RECORD_IPV4 = 1

_OPT_END = 0
_OPT_COMMENT = 1
_SHB_USERAPPL = 4
_IF_NAME = 2
_IF_DESCRIPTION = 3
_IF_TSRESOL = 9
_ISB_IFRECV = 4
_ISB_IFDROP = 5

_OPTION_OCTETS = 0xFFFF  # the length field of an option has 16 bits


@dataclass(frozen=True, slots=True)
class Interface:
    """Where frames were seen: in a lab, one segment."""

    name: str
    description: str = ""
    link_type: int = LINKTYPE_ETHERNET
    snaplen: int = SNAPLEN


@dataclass(frozen=True, slots=True)
class Frame:
    """A captured frame. interface: index in the file; timestamp: nanoseconds since 1970, UTC.

    length: octets on the wire, where fewer were kept; None: all of them are here.
    """

    interface: int
    timestamp: int
    octets: bytes
    comments: tuple[str, ...] = ()
    length: int | None = None


@dataclass(frozen=True, slots=True)
class Section:
    """A whole file. names: (dotted address, name)."""

    comment: str = ""
    application: str = ""
    interfaces: tuple[Interface, ...] = ()
    names: tuple[tuple[str, str], ...] = ()
    frames: tuple[Frame, ...] = ()


# --- writing ----------------------------------------------------------------------------------


def build_section_header(*, comment: str = "", application: str = "") -> bytes:
    """The block that opens a file."""
    options = _text(_OPT_COMMENT, comment) + _text(_SHB_USERAPPL, application)
    body = struct.pack("<IHHq", _BYTE_ORDER_MAGIC, 1, 0, _LENGTH_UNKNOWN)
    return _block(BlockType.SECTION_HEADER, body, options)


def build_interface(interface: Interface) -> bytes:
    """An interface description; interfaces are numbered by their order in the file, from 0."""
    options = (
        _text(_IF_NAME, interface.name)
        + _text(_IF_DESCRIPTION, interface.description)
        + _option(_IF_TSRESOL, bytes((_TSRESOL_NANOSECONDS,)))
    )
    body = struct.pack("<HHI", interface.link_type, 0, interface.snaplen)
    return _block(BlockType.INTERFACE_DESCRIPTION, body, options)


def build_names(names: Sequence[tuple[str, str]]) -> bytes:
    """Name resolution: (dotted address, name); nothing where there are none."""
    records = b"".join(
        _option(_RECORD_IPV4, IPv4Address(address).packed + name.encode() + b"\0")
        for address, name in names
    )
    return _block(BlockType.NAME_RESOLUTION, records + struct.pack("<HH", 0, 0)) if records else b""


def build_frame(frame: Frame) -> bytes:
    """An enhanced packet block, its comments in order."""
    length = len(frame.octets) if frame.length is None else frame.length
    body = struct.pack(
        "<IIIII",
        frame.interface,
        frame.timestamp >> 32,
        frame.timestamp & 0xFFFFFFFF,
        len(frame.octets),
        length,
    )
    options = b"".join(_text(_OPT_COMMENT, comment) for comment in frame.comments)
    return _block(BlockType.ENHANCED_PACKET, body + _padded(frame.octets), options)


def build_statistics(interface: int, timestamp: int, *, received: int, dropped: int) -> bytes:
    """Interface statistics: how many frames came, how many the kernel had no room for."""
    body = struct.pack("<III", interface, timestamp >> 32, timestamp & 0xFFFFFFFF)
    options = _option(_ISB_IFRECV, struct.pack("<Q", received))
    return _block(
        BlockType.INTERFACE_STATISTICS,
        body,
        options + _option(_ISB_IFDROP, struct.pack("<Q", dropped)),
    )


def build(section: Section) -> bytes:
    """A whole file."""
    return b"".join(
        (
            build_section_header(comment=section.comment, application=section.application),
            *(build_interface(interface) for interface in section.interfaces),
            build_names(section.names),
            *(build_frame(frame) for frame in section.frames),
        )
    )


def _block(kind: int, body: bytes, options: bytes = b"") -> bytes:
    """Type and length before, length again after; body and options are multiples of 4 octets."""
    if options:
        options += struct.pack("<HH", _OPT_END, 0)
    length = len(body) + len(options) + 12
    return b"".join((struct.pack("<II", kind, length), body, options, length.to_bytes(4, "little")))


def _text(code: int, text: str) -> bytes:
    """A UTF-8 option, cut at a character where it is too long; nothing where it is empty."""
    octets = text.encode("utf-8", "replace")[:_OPTION_OCTETS]
    return _option(code, octets.decode("utf-8", "ignore").encode()) if text else b""


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + _padded(value)


def _padded(octets: bytes) -> bytes:
    return octets + bytes(-len(octets) % 4)


# --- reading ----------------------------------------------------------------------------------


@dataclass(slots=True)
class _Collected:
    """What the blocks read so far have given."""

    comment: str = ""
    application: str = ""
    interfaces: list[Interface] = field(default_factory=list)
    names: list[tuple[str, str]] = field(default_factory=list)
    frames: list[Frame] = field(default_factory=list)


def parse(octets: bytes, *, torn: bool = False) -> Section:
    """Read a file that this module wrote.

    torn: an incomplete block at the end is left out, as a crash leaves it. Raises WireError for
    anything else that is not such a file.
    """
    collected = _Collected()
    for kind, body, offset in _blocks(octets, torn):
        try:
            _collect(collected, kind, body)
        except (struct.error, ValueError) as error:
            raise WireError(f"block type {kind}: {error}", offset=offset, field="block") from error
    return Section(
        collected.comment,
        collected.application,
        tuple(collected.interfaces),
        tuple(collected.names),
        tuple(collected.frames),
    )


def _blocks(octets: bytes, torn: bool) -> Iterator[tuple[int, bytes, int]]:
    """(type, body, offset) of each block."""
    if octets[:4] != struct.pack("<I", BlockType.SECTION_HEADER):
        raise WireError("the file does not start with a section header", field="block type")
    offset = 0
    while offset < len(octets):
        head = octets[offset : offset + 8]
        kind, length = struct.unpack("<II", head) if len(head) == 8 else (0, 12)
        if length < 12 or length % 4:
            raise WireError(f"block of {length} octets", offset=offset + 4, field="block length")
        if offset + length > len(octets):
            if torn:
                return
            raise WireError(
                f"block of {length} octets, {len(octets) - offset} left",
                offset=offset + 4,
                field="block length",
            )
        if octets[offset + length - 4 : offset + length] != head[4:]:
            raise WireError(
                "the two lengths differ", offset=offset + length - 4, field="block length"
            )
        yield kind, octets[offset + 8 : offset + length - 4], offset
        offset += length


def _collect(collected: _Collected, kind: int, body: bytes) -> None:
    """Take over what one block says."""
    match kind:
        case BlockType.SECTION_HEADER:
            if struct.unpack_from("<I", body)[0] != _BYTE_ORDER_MAGIC:
                raise WireError("a section of the other byte order", field="byte-order magic")
            options = dict(_options(body[16:]))
            collected.comment = options.get(_OPT_COMMENT, b"").decode()
            collected.application = options.get(_SHB_USERAPPL, b"").decode()
        case BlockType.INTERFACE_DESCRIPTION:
            link_type, _, snaplen = struct.unpack_from("<HHI", body)
            options = dict(_options(body[8:]))
            if options.get(_IF_TSRESOL) != bytes((_TSRESOL_NANOSECONDS,)):
                raise WireError("timestamps are not in nanoseconds", field="if_tsresol")
            name = options.get(_IF_NAME, b"").decode()
            description = options.get(_IF_DESCRIPTION, b"").decode()
            collected.interfaces.append(Interface(name, description, link_type, snaplen))
        case BlockType.NAME_RESOLUTION:
            for code, value in _options(body):
                if code == _RECORD_IPV4:
                    name = value[4:].rstrip(b"\0").decode()
                    collected.names.append((str(IPv4Address(value[:4])), name))
        case BlockType.ENHANCED_PACKET:
            collected.frames.append(_parse_frame(body, len(collected.interfaces)))


def _parse_frame(body: bytes, interfaces: int) -> Frame:
    interface, high, low, kept, length = struct.unpack_from("<IIIII", body)
    octets = body[20 : 20 + kept]
    if len(octets) < kept or interface >= interfaces:
        raise WireError(f"a frame of {kept} octets on interface {interface}", field="packet block")
    options = _options(body[20 + kept + -kept % 4 :])
    comments = tuple(value.decode() for code, value in options if code == _OPT_COMMENT)
    return Frame(interface, high << 32 | low, octets, comments, None if length == kept else length)


def _options(octets: bytes) -> Iterator[tuple[int, bytes]]:
    """(code, value) up to the end mark."""
    offset = 0
    while offset < len(octets):
        code, length = struct.unpack_from("<HH", octets, offset)
        if code == _OPT_END:
            return
        value = octets[offset + 4 : offset + 4 + length]
        if len(value) < length:
            raise WireError(f"option {code} of {length} octets", offset=offset, field="option")
        yield code, value
        offset += 4 + length + -length % 4
