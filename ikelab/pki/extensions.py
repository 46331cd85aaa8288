"""Certificate extensions (RFC 5280 section 4.2): those the path validation and the routers use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

from ikelab.pki import der
from ikelab.pki.name import name_values

SUBJECT_KEY_IDENTIFIER = "2.5.29.14"
KEY_USAGE = "2.5.29.15"
SUBJECT_ALT_NAME = "2.5.29.17"
BASIC_CONSTRAINTS = "2.5.29.19"
NAME_CONSTRAINTS = "2.5.29.30"
CRL_DISTRIBUTION_POINTS = "2.5.29.31"
AUTHORITY_KEY_IDENTIFIER = "2.5.29.35"
POLICY_CONSTRAINTS = "2.5.29.36"
EXTENDED_KEY_USAGE = "2.5.29.37"

USAGES = (
    "digitalSignature",
    "nonRepudiation",
    "keyEncipherment",
    "dataEncipherment",
    "keyAgreement",
    "keyCertSign",
    "cRLSign",
    "encipherOnly",
    "decipherOnly",
)
# GeneralName choices (RFC 5280 section 4.2.1.6) as tags.
RFC822_NAME = 0x81
DNS_NAME = 0x82
DIRECTORY_NAME = 0xA4
URI = 0x86
IP_ADDRESS = 0x87
_GENERAL_NAMES = frozenset(
    {0xA0, RFC822_NAME, DNS_NAME, 0xA3, DIRECTORY_NAME, 0xA5, URI, 0x87, 0x88}
)
_MAX_EXTENSIONS = 32
_MAX_NAMES = 64


@dataclass(frozen=True, slots=True)
class Extension:
    """One extension. value: the octets inside its OCTET STRING."""

    oid: str
    critical: bool
    value: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class GeneralName:
    """One GeneralName. tag: the choice; value: its octets (a directoryName's: the Name, DER)."""

    tag: int
    value: bytes

    def text(self) -> str:
        """The characters of an rfc822Name, dNSName or URI."""
        try:
            text = self.value.decode("ascii")
        except UnicodeDecodeError:
            raise der.malformed("a name in a certificate that is not ASCII") from None
        # A NUL or line break would make two programs read two names (CVE-2009-2408 and kin).
        if not text or not text.isprintable() or " " in text:
            raise der.malformed(f"{text[:40]!r} as a name in a certificate")
        return text

    def address(self) -> str:
        """The address of an iPAddress, as text."""
        if len(self.value) == 4:
            return str(IPv4Address(self.value))
        if len(self.value) == 16:
            return str(IPv6Address(self.value))
        raise der.malformed(f"an iPAddress of {len(self.value)} octets")


@dataclass(frozen=True, slots=True)
class NameConstraints:
    """Subtrees that names below a CA must and must not be in (RFC 5280 section 4.2.1.10)."""

    permitted: tuple[GeneralName, ...]
    excluded: tuple[GeneralName, ...]


# --- reading --------------------------------------------------------------------------------------


def read_extensions(element: der.Element) -> tuple[Extension, ...]:
    """The Extensions of a certificate, CRL or request. A second one of a kind is refused."""
    found: dict[str, Extension] = {}
    entries = element.expect(der.SEQUENCE).children()
    if not 0 < len(entries) <= _MAX_EXTENSIONS:
        raise der.malformed(f"{len(entries)} extensions, not 1 to {_MAX_EXTENSIONS}")
    for entry in entries:
        fields = entry.fields()
        dotted = fields.take().oid()
        critical = fields.take_if(der.BOOLEAN)
        value = fields.take().octets()
        fields.finish()
        if dotted in found:
            raise der.malformed(f"extension {dotted} twice")
        found[dotted] = Extension(dotted, critical is not None and critical.boolean(), value)
    return tuple(found.values())


def read_basic_constraints(value: bytes) -> tuple[bool, int | None]:
    """Whether it is a CA, and its pathLenConstraint."""
    fields = der.parse(value).fields()
    flag = fields.take_if(der.BOOLEAN)
    limit = fields.take_if(der.INTEGER)
    fields.finish()
    is_ca = flag is not None and flag.boolean()
    if limit is None:
        return is_ca, None
    if not is_ca or limit.integer() < 0:
        raise der.malformed("a path length of no CA, or a negative one")
    return is_ca, limit.integer()


def read_key_usage(value: bytes) -> frozenset[str]:
    """Names of the bits that are set."""
    octets, unused = der.parse(value).bits()
    bits = "".join(f"{octet:08b}" for octet in octets)[: 8 * len(octets) - unused]
    return frozenset(name for name, bit in zip(USAGES, bits, strict=False) if bit == "1")


def read_extended_key_usage(value: bytes) -> frozenset[str]:
    """OIDs of the purposes."""
    return frozenset(item.oid() for item in der.parse(value).expect(der.SEQUENCE).children())


def read_general_names(element: der.Element) -> tuple[GeneralName, ...]:
    """The GeneralNames inside a SEQUENCE, or inside whatever tag stands for it."""
    entries = element.children()
    if len(entries) > _MAX_NAMES:
        raise der.malformed(f"{len(entries)} names, at most {_MAX_NAMES}")
    return tuple(_read_general_name(entry) for entry in entries)


def _read_general_name(element: der.Element) -> GeneralName:
    if element.tag not in _GENERAL_NAMES:
        raise der.malformed(f"tag 0x{element.tag:02x} as a GeneralName")
    if element.tag == DIRECTORY_NAME:
        name = element.only(der.SEQUENCE).raw
        name_values(name)  # must be a Name
        return GeneralName(element.tag, name)
    return GeneralName(element.tag, element.content)


def read_alternative_names(value: bytes) -> tuple[GeneralName, ...]:
    """SubjectAltName: at least one name; those that are text or an address are sound."""
    names = read_general_names(der.parse(value).expect(der.SEQUENCE))
    if not names:
        raise der.malformed("subjectAltName without a name")
    for name in names:
        if name.tag in (RFC822_NAME, DNS_NAME, URI):
            name.text()
        elif name.tag == IP_ADDRESS:
            name.address()
    return names


def read_name_constraints(value: bytes) -> NameConstraints:
    """Both subtrees; minimum must be 0 and maximum absent (RFC 5280 section 4.2.1.10)."""
    fields = der.parse(value).fields()
    permitted, excluded = fields.take_if(0xA0), fields.take_if(0xA1)
    fields.finish()
    if permitted is None and excluded is None:
        raise der.malformed("nameConstraints without a subtree")
    return NameConstraints(_subtrees(permitted), _subtrees(excluded))


def _subtrees(element: der.Element | None) -> tuple[GeneralName, ...]:
    if element is None:
        return ()
    found = []
    for entry in element.children()[: _MAX_NAMES + 1]:
        fields = entry.fields()
        found.append(_read_general_name(fields.take()))
        fields.finish()
    if not 0 < len(found) <= _MAX_NAMES:
        raise der.malformed(f"not 1 to {_MAX_NAMES} subtrees in nameConstraints")
    return tuple(found)


def read_authority_key_identifier(value: bytes) -> bytes | None:
    """The keyIdentifier, if it has one."""
    fields = der.parse(value).fields()
    key, issuer, serial = fields.take_if(0x80), fields.take_if(0xA1), fields.take_if(0x82)
    fields.finish()
    if (issuer is None) != (serial is None):
        raise der.malformed("an authorityKeyIdentifier with half an issuer and serial number")
    return None if key is None else key.content


def host_names(subject: bytes, names: Sequence[GeneralName]) -> tuple[str, ...]:
    """dNSName values, then unstructuredName of the subject where it can be a host name."""
    alternative = [name.text() for name in names if name.tag == DNS_NAME]
    own = [text for text in name_values(subject, "hostname") if _is_plain(text)]
    return _once(alternative + own)


def addresses(subject: bytes, names: Sequence[GeneralName]) -> tuple[str, ...]:
    """iPAddress values, then unstructuredAddress of the subject where it is an address."""
    alternative = [name.address() for name in names if name.tag == IP_ADDRESS]
    own = [text for text in name_values(subject, "ipaddress") if _is_address(text)]
    return _once(alternative + own)


def mailboxes(names: Sequence[GeneralName]) -> tuple[str, ...]:
    """rfc822Name values."""
    return tuple(name.text() for name in names if name.tag == RFC822_NAME)


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return "%" not in text


def _once(texts: list[str]) -> tuple[str, ...]:
    """Without repetitions; case does not count (RFC 4343)."""
    first: dict[str, str] = {}
    for text in texts:
        first.setdefault(text.lower(), text)
    return tuple(first.values())


# --- building -------------------------------------------------------------------------------------


def build_extension(dotted: str, value: bytes, *, critical: bool = False) -> bytes:
    """One Extension; DER leaves `critical` out where it is FALSE."""
    flag = der.boolean(True) if critical else b""
    return der.sequence(der.oid(dotted), flag, der.octet_string(value))


def build_basic_constraints(path_length: int | None) -> bytes:
    """Of a CA, critical."""
    limit = b"" if path_length is None else der.integer(path_length)
    value = der.sequence(der.boolean(True), limit)
    return build_extension(BASIC_CONSTRAINTS, value, critical=True)


@lru_cache(maxsize=16)
def build_key_usage(usages: frozenset[str], *, critical: bool) -> bytes:
    """A named bit list without trailing zeros (X.690 section 11.2.2). Raises ValueError."""
    highest = max(USAGES.index(usage) for usage in usages)
    octets = bytearray(highest // 8 + 1)
    for usage in usages:
        position = USAGES.index(usage)
        octets[position // 8] |= 0x80 >> position % 8
    return build_extension(
        KEY_USAGE, der.bit_string(bytes(octets), 7 - highest % 8), critical=critical
    )


def build_alternative_names(
    host_names: Sequence[str], addresses: Sequence[str], *, critical: bool = False
) -> bytes:
    """SubjectAltName of host names and IPv4 or IPv6 addresses. Raises ValueError."""
    names = [der.tlv(DNS_NAME, name.encode("ascii")) for name in host_names]
    names += [der.tlv(IP_ADDRESS, ip_address(text).packed) for text in addresses]
    return build_extension(SUBJECT_ALT_NAME, der.sequence(*names), critical=critical)


@lru_cache(maxsize=16)
def build_distribution_point(url: str) -> bytes:
    """One CRL distribution point with one URL. Raises ValueError."""
    full_name = der.explicit(0, der.tlv(URI, url.encode("ascii")))
    point = der.sequence(der.explicit(0, full_name))
    return build_extension(CRL_DISTRIBUTION_POINTS, der.sequence(point))


@lru_cache(maxsize=16)
def build_authority_key_identifier(identifier: bytes) -> bytes:
    """With the keyIdentifier only."""
    value = der.sequence(der.implicit(0, identifier))
    return build_extension(AUTHORITY_KEY_IDENTIFIER, value)


def build_subject_key_identifier(identifier: bytes) -> bytes:
    """Of a certificate's own key."""
    return build_extension(SUBJECT_KEY_IDENTIFIER, der.octet_string(identifier))
