"""ASN.1: a DER writer, and a reader that is strict (DER) or tolerant (BER) as its caller asks.

Certificates and CRLs are read strictly, as they must be DER (RFC 5280 section 4.1). CMS messages
and requests are read tolerantly: SCEP clients send indefinite lengths, strings in pieces and sets
out of order. Elements are read one level at a time, so nothing here recurses deeply; every fault is
PkiError("malformed-der"), which `reading` renames after the thing that was read.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

from ikelab.errors import PkiError

BOOLEAN = 0x01
INTEGER = 0x02
BIT_STRING = 0x03
OCTET_STRING = 0x04
NULL = 0x05
OBJECT_IDENTIFIER = 0x06
ENUMERATED = 0x0A
UTF8_STRING = 0x0C
NUMERIC_STRING = 0x12
PRINTABLE_STRING = 0x13
TELETEX_STRING = 0x14
IA5_STRING = 0x16
UTC_TIME = 0x17
GENERALIZED_TIME = 0x18
VISIBLE_STRING = 0x1A
UNIVERSAL_STRING = 0x1C
BMP_STRING = 0x1E
SEQUENCE = 0x30
SET = 0x31

CONSTRUCTED = 0x20
_CONTEXT = 0x80

# Deeper than any structure of X.509 or CMS (a request in a SignedData is at 14).
_MAX_DEPTH = 32
# Pieces of pieces of a string: BER allows any depth, clients use one.
_MAX_STRING_DEPTH = 4
_MAX_OID = 64
_ENCODINGS = {
    UTF8_STRING: "utf-8",
    NUMERIC_STRING: "ascii",
    PRINTABLE_STRING: "ascii",
    TELETEX_STRING: "latin-1",
    IA5_STRING: "ascii",
    VISIBLE_STRING: "ascii",
    UNIVERSAL_STRING: "utf-32-be",
    BMP_STRING: "utf-16-be",
}
TEXT_TAGS = frozenset(_ENCODINGS)


# --- writer ---------------------------------------------------------------------------------------


def tlv(tag: int, *parts: bytes) -> bytes:
    """Tag, length in its shortest form, and the parts one after another."""
    content = b"".join(parts)
    length = len(content)
    if length < 0x80:
        return bytes((tag, length)) + content
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets + content


def sequence(*parts: bytes) -> bytes:
    """SEQUENCE."""
    return tlv(SEQUENCE, *parts)


def set_of(*parts: bytes) -> bytes:
    """SET OF: the elements in ascending order of their octets (X.690 section 11.6)."""
    return tlv(SET, *sorted(parts))


def explicit(number: int, *parts: bytes) -> bytes:
    """[number] EXPLICIT, or an IMPLICIT one of a constructed type (give it the contents)."""
    return tlv(_CONTEXT | CONSTRUCTED | number, *parts)


def implicit(number: int, content: bytes) -> bytes:
    """[number] IMPLICIT of a primitive type."""
    return tlv(_CONTEXT | number, content)


def boolean(value: bool) -> bytes:
    """BOOLEAN."""
    return tlv(BOOLEAN, b"\xff" if value else b"\x00")


def integer(value: int, tag: int = INTEGER) -> bytes:
    """INTEGER, two's complement in the fewest octets. tag: ENUMERATED is written the same way."""
    magnitude = value if value >= 0 else ~value
    return tlv(tag, value.to_bytes(magnitude.bit_length() // 8 + 1, "big", signed=True))


def bit_string(octets: bytes, unused: int = 0) -> bytes:
    """BIT STRING. unused: how many of the last octet's low bits do not count."""
    return tlv(BIT_STRING, bytes((unused,)), octets)


def octet_string(octets: bytes) -> bytes:
    """OCTET STRING."""
    return tlv(OCTET_STRING, octets)


def null() -> bytes:
    """NULL."""
    return b"\x05\x00"


@lru_cache(maxsize=256)
def oid(dotted: str) -> bytes:
    """OBJECT IDENTIFIER of "1.2.840.113549"."""
    first, second, *rest = (int(arc) for arc in dotted.split("."))
    return tlv(OBJECT_IDENTIFIER, *(_base128(arc) for arc in (40 * first + second, *rest)))


def _base128(arc: int) -> bytes:
    octets = [arc & 0x7F]
    while arc := arc >> 7:
        octets.append(0x80 | (arc & 0x7F))
    return bytes(reversed(octets))


def time(moment: datetime) -> bytes:
    """UTCTime through 2049, GeneralizedTime after (RFC 5280 section 4.1.2.5); whole seconds."""
    utc = moment.astimezone(UTC)
    year = f"{utc.year:04}"
    rest = f"{utc.month:02}{utc.day:02}{utc.hour:02}{utc.minute:02}{utc.second:02}Z"
    if 1950 <= utc.year < 2050:
        return tlv(UTC_TIME, f"{year[2:]}{rest}".encode())
    return tlv(GENERALIZED_TIME, f"{year}{rest}".encode())


# --- reader ---------------------------------------------------------------------------------------


def malformed(detail: str) -> PkiError:
    """The error of this module."""
    return PkiError("malformed-der", detail)


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Name the thing that was read: PkiError("malformed-der") becomes "malformed-`what`"."""
    try:
        yield
    except PkiError as error:
        if error.reason != "malformed-der":
            raise
        raise PkiError(f"malformed-{what}", error.detail) from error


class Element(NamedTuple):
    """One type, length and value. raw: all of it as received; strict: DER is demanded inside.

    A tuple, for a message has more than a hundred and a frozen dataclass takes twice as long.
    """

    tag: int
    content: bytes
    raw: bytes
    strict: bool

    def __repr__(self) -> str:
        return f"<Element 0x{self.tag:02x} {self.content!r:.80}>"

    def children(self) -> tuple[Element, ...]:
        """The elements inside a constructed one."""
        if not self.tag & CONSTRUCTED:
            raise malformed(f"tag 0x{self.tag:02x} stands where a structure should")
        _, content, _, strict = self
        found = []
        at, end = 0, len(content)
        while at < end:
            element, at = _read(content, at, strict)
            found.append(element)
        return tuple(found)

    def only(self, tag: int | None = None) -> Element:
        """The single element inside, of that tag."""
        inside = self.children()
        if len(inside) != 1:
            raise malformed(f"{len(inside)} elements where there should be one")
        return inside[0] if tag is None else inside[0].expect(tag)

    def expect(self, tag: int) -> Element:
        """Itself, if it has that tag; read tolerantly, a string may be in pieces."""
        in_pieces = (tag == OCTET_STRING or tag & _CONTEXT) and self.tag == tag | CONSTRUCTED
        if self.tag != tag and (self.strict or not in_pieces):
            raise malformed(f"tag 0x{self.tag:02x} where 0x{tag:02x} should be")
        return self

    def fields(self) -> Fields:
        """The elements of a SEQUENCE, to be taken one by one."""
        return Fields(self.expect(SEQUENCE).children())

    def integer(self, tag: int = INTEGER) -> int:
        """INTEGER, of any size and sign. tag: ENUMERATED, or an implicit one."""
        octets = self.expect(tag).content
        if not octets:
            raise malformed("an INTEGER without octets")
        padded = len(octets) > 1 and (octets[0], octets[1] >> 7) in ((0x00, 0), (0xFF, 1))
        if self.strict and padded:
            raise malformed("an INTEGER longer than it must be")
        return int.from_bytes(octets, "big", signed=True)

    def boolean(self, tag: int = BOOLEAN) -> bool:
        """BOOLEAN: 00 or FF, read tolerantly anything but 00 is true."""
        octets = self.expect(tag).content
        if len(octets) != 1 or (self.strict and octets not in (b"\x00", b"\xff")):
            raise malformed(f"{octets[:8].hex()} is not a BOOLEAN")
        return octets != b"\x00"

    def oid(self) -> str:
        """OBJECT IDENTIFIER, dotted."""
        return _dotted(self.expect(OBJECT_IDENTIFIER).content)

    def octets(self, tag: int = OCTET_STRING) -> bytes:
        """OCTET STRING (or another string type); read tolerantly also one in pieces."""
        return b"".join(self.expect(tag)._pieces(tag, 0))

    def _pieces(self, tag: int, depth: int) -> Iterator[bytes]:
        if not self.tag & CONSTRUCTED:
            yield self.content
            return
        if depth == _MAX_STRING_DEPTH:
            raise malformed("a string in pieces of pieces")
        for piece in self.children():
            # Pieces of an implicitly tagged string carry the universal tag (X.690 section 8.7.3).
            yield from piece.expect(OCTET_STRING if tag & _CONTEXT else tag)._pieces(tag, depth + 1)

    def bits(self, tag: int = BIT_STRING) -> tuple[bytes, int]:
        """BIT STRING: its octets, and how many low bits of the last one do not count."""
        octets = self.expect(tag).content
        if (
            self.tag & CONSTRUCTED
            or not octets
            or octets[0] > 7
            or (len(octets) == 1 and octets[0])
        ):
            raise malformed("a BIT STRING without a sound count of unused bits")
        return octets[1:], octets[0]

    def whole_octets(self) -> bytes:
        """BIT STRING that holds whole octets: a signature or a key."""
        octets, unused = self.bits()
        if unused:
            raise malformed(f"a BIT STRING with {unused} unused bits where octets should be")
        return octets

    def time(self) -> datetime:
        """UTCTime or GeneralizedTime with seconds and Z, as RFC 5280 section 4.1.2.5 has them."""
        return read_time(self.tag, self.content)

    def text(self) -> str:
        """Any of the string types with characters."""
        encoding = _ENCODINGS.get(self.tag)
        if encoding is None:
            raise malformed(f"tag 0x{self.tag:02x} where text should be")
        try:
            return self.content.decode(encoding)
        except UnicodeDecodeError:
            raise malformed(f"text that is not {encoding}") from None


class Fields:
    """The elements of a SEQUENCE in order, with the optional ones asked for by tag."""

    def __init__(self, elements: tuple[Element, ...]) -> None:
        self._elements = elements
        self._at = 0

    def take(self, tag: int | None = None) -> Element:
        """The next element, which must be there and have that tag."""
        if self._at == len(self._elements):
            raise malformed("a structure ends too early")
        element = self._elements[self._at]
        self._at += 1
        return element if tag is None else element.expect(tag)

    def take_if(self, *tags: int) -> Element | None:
        """The next element if it has one of these tags."""
        if self._at < len(self._elements) and self._elements[self._at].tag in tags:
            return self.take()
        return None

    def rest(self) -> tuple[Element, ...]:
        """All that are left."""
        left = self._elements[self._at :]
        self._at = len(self._elements)
        return left

    def finish(self) -> None:
        """Refuse what is left."""
        if self._at != len(self._elements):
            tag = self._elements[self._at].tag
            raise malformed(f"tag 0x{tag:02x} where a structure should end")


def parse(octets: bytes, *, strict: bool = True) -> Element:
    """The one element that octets are; nothing may follow. strict: DER, else BER."""
    element, end = _read(octets, 0, strict)
    if end != len(octets):
        raise malformed(f"{len(octets) - end} octets after the end")
    return element


def header(octets: bytes, at: int) -> tuple[int, int, int]:
    """Tag, start and end of the DER element at an offset: the reader without objects, for CRLs."""
    tag, start, length = _header(octets, at, True)
    return tag, start, start + length


def read_time(tag: int, content: bytes) -> datetime:
    """The moment of a time's contents octets, aware, UTC."""
    if tag == UTC_TIME and len(content) == 13:
        century = b"19" if content >= b"5" else b"20"
        digits = century + content[:-1]
    elif tag == GENERALIZED_TIME and len(content) == 15:
        digits = content[:-1]
    else:
        raise malformed(f"tag 0x{tag:02x}, {len(content)} octets, where a time should be")
    if not digits.isdigit() or content[-1:] != b"Z":
        raise malformed(f"{content!r} is not a time")
    year, month, day = int(digits[:4]), int(digits[4:6]), int(digits[6:8])
    hour, minute, second = int(digits[8:10]), int(digits[10:12]), int(digits[12:14])
    try:
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        raise malformed(f"{content!r} is not a time") from None


def _read(octets: bytes, at: int, strict: bool) -> tuple[Element, int]:
    tag, start, length = _header(octets, at, strict)
    if length >= 0:
        end = start + length
        return Element(tag, octets[start:end], octets[at:end], strict), end
    end = _end_of_contents(octets, start)
    return Element(tag, octets[start : end - 2], octets[at:end], strict), end


def _header(octets: bytes, at: int, strict: bool) -> tuple[int, int, int]:
    """Tag, offset of the contents, their length (-1: indefinite). They are all there."""
    if at + 2 > len(octets):
        raise malformed("octets end within a tag or length")
    tag, length = octets[at], octets[at + 1]
    if tag & 0x1F == 0x1F or tag == 0:
        raise malformed(f"tag 0x{tag:02x} is none of X.509 or CMS")
    start = at + 2
    if length == 0x80:
        if strict or not tag & CONSTRUCTED:
            raise malformed("an indefinite length")
        return tag, start, -1
    if length > 0x80:
        count = length & 0x7F
        if count > 4 or start + count > len(octets):
            raise malformed(f"a length of {count} octets")
        length = int.from_bytes(octets[start : start + count], "big")
        if strict and (length < 0x80 or length >> (8 * (count - 1)) == 0):
            raise malformed("a length written longer than it must be")
        start += count
    if length > len(octets) - start:
        raise malformed(f"{length} octets announced, {len(octets) - start} there")
    return tag, start, length


def _end_of_contents(octets: bytes, at: int) -> int:
    """Offset behind the 00 00 that ends an indefinite length whose contents start at `at`."""
    depth = 1
    while depth:
        if octets[at : at + 2] == b"\x00\x00":
            depth -= 1
            at += 2
            continue
        _, start, length = _header(octets, at, False)
        if length < 0:
            depth += 1
            if depth > _MAX_DEPTH:
                raise malformed(f"indefinite lengths nested more than {_MAX_DEPTH} deep")
        at = start + max(length, 0)
    return at


@lru_cache(maxsize=256)
def _dotted(content: bytes) -> str:
    if not content or len(content) > _MAX_OID or content[-1] & 0x80:
        raise malformed("not an OBJECT IDENTIFIER")
    arcs: list[int] = []
    arc = 0
    for position, octet in enumerate(content):
        if octet == 0x80 and (position == 0 or not content[position - 1] & 0x80):
            raise malformed("an OBJECT IDENTIFIER with a padded arc")
        arc = arc << 7 | octet & 0x7F
        if not octet & 0x80:
            arcs.append(arc)
            arc = 0
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:])))
