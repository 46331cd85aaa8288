"""Distinguished names: built from IOS's words, written as text, compared as RFC 5280 says.

A name is its DER octets everywhere in this package. Text is in the order of RFC 4514, the most
specific part first, which is the reverse of the encoding.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

from ikelab.errors import ConfigError, PkiError
from ikelab.pki import der

# Short names as IOS prints them; hostname and ipaddress are PKCS #9 unstructuredName and
# unstructuredAddress (RFC 2985 section 5.4).
_OIDS = {
    "cn": "2.5.4.3",
    "sn": "2.5.4.4",
    "serialNumber": "2.5.4.5",
    "c": "2.5.4.6",
    "l": "2.5.4.7",
    "st": "2.5.4.8",
    "street": "2.5.4.9",
    "o": "2.5.4.10",
    "ou": "2.5.4.11",
    "title": "2.5.4.12",
    "givenName": "2.5.4.42",
    "dnQualifier": "2.5.4.46",
    "dc": "0.9.2342.19200300.100.1.25",
    "uid": "0.9.2342.19200300.100.1.1",
    "e": "1.2.840.113549.1.9.1",
    "hostname": "1.2.840.113549.1.9.2",
    "ipaddress": "1.2.840.113549.1.9.8",
}
_SHORT_NAMES = {dotted: name for name, dotted in _OIDS.items()}
_KEYWORDS = {name.lower(): name for name in _OIDS} | {
    "unstructuredname": "hostname",
    "unstructuredaddress": "ipaddress",
    "emailaddress": "e",
    "mail": "e",
    "s": "st",
}
_IA5 = frozenset({"dc", "e", "hostname"})
# Upper bounds of RFC 5280 appendix A and RFC 2985.
_BOUNDS = {"c": 2, "cn": 64, "ou": 64, "o": 64, "serialNumber": 64, "l": 128, "st": 128}
_BOUND = 255
_PRINTABLE = re.compile(r"[A-Za-z0-9 '()+,\-./:=?]*")
_MAX_NAME = 4096
_BRIEF = 200
_SPECIAL = '\\,+"<>;'

Rdns = tuple[tuple[tuple[str, str], ...], ...]


def build_name(rdns: Sequence[Sequence[tuple[str, str]]]) -> bytes:
    """DER Name. rdns: in encoding order, each a set of (short name, value).

    A multi-valued RDN is put into DER SET order, whatever order is given. Raises
    PkiError("bad-name").
    """
    if any(not rdn for rdn in rdns):
        raise PkiError("bad-name", "a relative distinguished name without an attribute")
    return der.sequence(
        *(der.set_of(*(_attribute(key, value) for key, value in rdn)) for rdn in rdns)
    )


def _attribute(key: str, value: str) -> bytes:
    short = _KEYWORDS.get(key.lower())
    if short is None:
        raise PkiError("bad-name", f"attribute {key!r}; known: {', '.join(_OIDS)}")
    bound = _BOUNDS.get(short, _BOUND)
    if not 0 < len(value) <= bound:
        raise PkiError("bad-name", f"{short} has {len(value)} characters, not 1 to {bound}")
    if not value.isprintable():
        raise PkiError("bad-name", f"{short} holds control characters")
    return der.sequence(der.oid(_OIDS[short]), _string(short, value))


def _string(short: str, value: str) -> bytes:
    if short in _IA5 and value.isascii():
        return der.tlv(der.IA5_STRING, value.encode("ascii"))
    if is_printable(value):
        return der.tlv(der.PRINTABLE_STRING, value.encode("ascii"))
    return der.tlv(der.UTF8_STRING, value.encode())


def is_printable(text: str) -> bool:
    """Whether a PrintableString can hold it (X.680 section 41.4)."""
    return _PRINTABLE.fullmatch(text) is not None


def parse_dn(text: str) -> bytes:
    """DER Name of "cn=root-ca,o=Example" (RFC 4514 section 3: the last part is encoded first).

    A value may be quoted, or have `\\` before what is special. Raises ConfigError.
    """
    try:
        return build_name(list(reversed(_split(text))))
    except PkiError as error:
        raise ConfigError(
            f"{text[:200]!r} is not a distinguished name: {error.detail}",
            hint="write it as cn=NAME,ou=UNIT,o=ORGANISATION,c=CC",
        ) from error


def _split(text: str) -> list[list[tuple[str, str]]]:
    """RDNs of RFC 4514 text, in the order written."""
    rdns: list[list[tuple[str, str]]] = [[]]
    rest = text
    while True:
        key, equals, rest = rest.partition("=")
        if not equals:
            raise PkiError("bad-name", f"no = after {key.strip()[:40]!r}")
        value, end, rest = _value(rest)
        rdns[-1].append((key.strip(), value))
        if not end:
            return rdns
        if end in ",;":
            rdns.append([])


def _value(text: str) -> tuple[str, str, str]:
    """One attribute value: its text, the separator behind it ("" at the end), and the rest."""
    text = text.lstrip(" ")
    quoted = text.startswith('"')
    octets = bytearray()
    solid = 0  # up to here blanks were escaped or quoted: they belong to the value
    at = 1 if quoted else 0
    while at < len(text):
        char = text[at]
        if char == "\\":
            escaped, at = _escaped(text, at)
            octets += escaped
            solid = len(octets)
        elif quoted and char == '"':
            return _after_quote(octets, text[at + 1 :])
        elif not quoted and char in ",;+":
            return _decoded(octets, solid), char, text[at + 1 :]
        else:
            octets += char.encode("utf-8", "replace")
            at += 1
    if quoted:
        raise PkiError("bad-name", "a quotation mark is not closed")
    return _decoded(octets, solid), "", ""


def _after_quote(octets: bytearray, text: str) -> tuple[str, str, str]:
    text = text.lstrip(" ")
    if text and text[0] not in ",;+":
        raise PkiError("bad-name", f"{text[0]!r} after a quoted value")
    return _decoded(octets, len(octets)), text[:1], text[1:]


def _escaped(text: str, at: int) -> tuple[bytes, int]:
    """What a backslash at an offset stands for, and the offset behind it."""
    pair = text[at + 1 : at + 3]
    if re.fullmatch("[0-9A-Fa-f]{2}", pair):
        return bytes.fromhex(pair), at + 3
    if not pair:
        raise PkiError("bad-name", "nothing after the last backslash")
    return pair[0].encode("utf-8", "replace"), at + 2


def _decoded(octets: bytearray, solid: int) -> str:
    kept = octets[:solid] + octets[solid:].rstrip(b" ")
    try:
        return kept.decode()
    except UnicodeDecodeError:
        raise PkiError("bad-name", "escaped octets that are not UTF-8") from None


@lru_cache(maxsize=256)
def read_name(name: bytes) -> Rdns:
    """(short name or dotted OID, text) of every attribute, by RDN, in encoding order.

    A value that is not a string is given as # and its DER in hexadecimal. Raises
    PkiError("malformed-der").
    """
    if len(name) > _MAX_NAME:
        raise der.malformed(f"a name of {len(name)} octets, at most {_MAX_NAME}")
    rdns = []
    for rdn in der.parse(name).expect(der.SEQUENCE).children():
        attributes = rdn.expect(der.SET).children()
        if not attributes:
            raise der.malformed("a relative distinguished name without an attribute")
        if any(a.raw > b.raw for a, b in pairwise(attributes)):
            raise der.malformed("a relative distinguished name out of DER order")
        rdns.append(tuple(_read_attribute(attribute) for attribute in attributes))
    return tuple(rdns)


def _read_attribute(element: der.Element) -> tuple[str, str]:
    fields = element.fields()
    dotted = fields.take().oid()
    value = fields.take()
    fields.finish()
    short = _SHORT_NAMES.get(dotted, dotted)
    if value.tag not in der.TEXT_TAGS:
        return short, f"#{value.raw.hex()}"
    return short, value.text()


@lru_cache(maxsize=256)
def format_name(name: bytes) -> str:
    """`cn=ra-subca`, `serialNumber=X+ipaddress=A+hostname=B`: IOS's short names in RFC 4514 order.

    Safe for a terminal and for one line of a log: what is special or not printable is escaped.
    """
    return ",".join(
        "+".join(f"{key}={_escape(value)}" for key, value in rdn)
        for rdn in reversed(read_name(name))
    )


def brief_name(name: bytes) -> str:
    """`format_name` for a message: of a long name, which may be an attack, only the beginning."""
    text = format_name(name)
    return text if len(text) <= _BRIEF else f"{text[:_BRIEF]}..."


def _escape(value: str) -> str:
    """RFC 4514 section 2.4, and every character that is not printable as its UTF-8 octets."""
    text = "".join(_escape_character(char) for char in value)
    if value.startswith((" ", "#")):
        text = "\\" + text
    if value.endswith(" ") and len(value) > 1:
        text = text[:-1] + "\\ "
    return text


def _escape_character(char: str) -> str:
    if char in _SPECIAL:
        return "\\" + char
    if char.isprintable():
        return char
    return "".join(f"\\{octet:02x}" for octet in char.encode("utf-8", "surrogatepass"))


def name_values(name: bytes, key: str | None = None) -> tuple[str, ...]:
    """Texts of all attributes, in encoding order, or only those of one short name ("hostname")."""
    return tuple(
        text for rdn in read_name(name) for short, text in rdn if key is None or short == key
    )


def names_match(one: bytes, other: bytes) -> bool:
    """Whether two names are the same (RFC 5280 section 7.1: case and blanks do not count)."""
    return one == other or _canonical(one) == _canonical(other)


def is_within(name: bytes, base: bytes) -> bool:
    """Whether base's RDNs begin name: a directoryName subtree (RFC 5280 section 4.2.1.10)."""
    subtree = _canonical(base)
    return _canonical(name)[: len(subtree)] == subtree


@lru_cache(maxsize=256)
def _canonical(name: bytes) -> tuple[frozenset[tuple[str, str]], ...]:
    return tuple(
        frozenset((key, " ".join(text.casefold().split())) for key, text in rdn)
        for rdn in read_name(name)
    )
