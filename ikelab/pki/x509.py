"""X.509 certificates and PKCS #10 requests: read strictly, built octet by octet (RFC 5280, 2986).

cryptography refuses to sign with MD5 and SHA-1, which `mode: legacy` needs, so both are written
here; the library does the RSA. Nothing here decides whether a certificate is to be trusted: that is
`chain.py`. What is weak is refused there and in `load_request`, not when a certificate is read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from ikelab.errors import PkiError
from ikelab.pki import der, extensions
from ikelab.pki.algorithms import (
    hash_octets,
    is_signed_by,
    key_identifier,
    read_public_key,
    read_signature_algorithm,
    refuse_weak,
    sign,
    signature_algorithm,
)
from ikelab.pki.algorithms import public_key_info as _public_key_info
from ikelab.pki.distribution_point import (
    ALL_REASONS,
    FRESHEST_CRL,
    DistributionPoint,
    read_distribution_points,
)
from ikelab.pki.extensions import Extension, GeneralName, NameConstraints
from ikelab.pki.name import (
    brief_name,
    build_name,
    format_name,
    is_printable,
    name_values,
    names_match,
    parse_dn,
    read_name,
)

__all__ = [
    "Certificate",
    "CertificateRequest",
    "build_certificate",
    "build_name",
    "build_request",
    "fingerprint",
    "format_fingerprint",
    "format_name",
    "key_identifier",
    "load_certificate",
    "load_request",
    "name_values",
    "names_match",
    "parse_dn",
]

# The largest certificate PKITS has is under 2 kB; one of a router is under 1 kB.
MAX_CERTIFICATE = 16384
MAX_REQUEST = 16384
_MAX_SERIAL = 20  # octets, RFC 5280 section 4.1.2.2
_CHALLENGE_PASSWORD = "1.2.840.113549.1.9.7"
_EXTENSION_REQUEST = "1.2.840.113549.1.9.14"
# What `chain.py` acts on; any other extension that is critical stops a path there.
_UNDERSTOOD = frozenset(
    {
        extensions.BASIC_CONSTRAINTS,
        extensions.KEY_USAGE,
        extensions.EXTENDED_KEY_USAGE,
        extensions.SUBJECT_ALT_NAME,
        extensions.NAME_CONSTRAINTS,
        extensions.SUBJECT_KEY_IDENTIFIER,
        extensions.AUTHORITY_KEY_IDENTIFIER,
        extensions.CRL_DISTRIBUTION_POINTS,
        FRESHEST_CRL,
    }
)
# policyConstraints must be critical (RFC 5280 section 4.2.1.11); where it is not, ignoring it would
# still accept what its issuer forbids.
_NEVER_IGNORED = frozenset({extensions.POLICY_CONSTRAINTS})


@dataclass(frozen=True, slots=True, repr=False)
class Certificate:
    """A certificate that was read; equal to another if its octets are.

    issuer, subject: Name, DER. not_before, not_after: aware, UTC, both inclusive. key_usage: None
    where the extension is absent. fqdns, addresses: subjectAltName first, then the subject's
    unstructuredName and unstructuredAddress. mailboxes: rfc822Names. digest: of its signature,
    such as "sha256".
    crl_points, fresh_points: where its CRLs and their deltas are. verified_keys: SPKIs its
    signature was found to be of; neither can change, so nothing is verified twice.
    """

    der: bytes
    tbs: bytes = field(compare=False)
    signature: bytes = field(compare=False)
    digest: str = field(compare=False)
    serial: int = field(compare=False)
    issuer: bytes = field(compare=False)
    subject: bytes = field(compare=False)
    not_before: datetime = field(compare=False)
    not_after: datetime = field(compare=False)
    public_key: RSAPublicKey = field(compare=False)
    public_key_info: bytes = field(compare=False)
    extensions: tuple[Extension, ...] = field(compare=False, default=())
    is_ca: bool = field(compare=False, default=False)
    path_length: int | None = field(compare=False, default=None)
    key_usage: frozenset[str] | None = field(compare=False, default=None)
    extended_key_usage: frozenset[str] | None = field(compare=False, default=None)
    alternative_names: tuple[GeneralName, ...] = field(compare=False, default=())
    name_constraints: NameConstraints | None = field(compare=False, default=None)
    fqdns: tuple[str, ...] = field(compare=False, default=())
    addresses: tuple[str, ...] = field(compare=False, default=())
    mailboxes: tuple[str, ...] = field(compare=False, default=())
    crl_points: tuple[DistributionPoint, ...] = field(compare=False, default=())
    fresh_points: tuple[DistributionPoint, ...] = field(compare=False, default=())
    authority_key_id: bytes | None = field(compare=False, default=None)
    subject_key_id: bytes | None = field(compare=False, default=None)
    unknown_critical: tuple[str, ...] = field(compare=False, default=())
    verified_keys: set[bytes] = field(compare=False, init=False, default_factory=set)

    def __repr__(self) -> str:
        return f"<Certificate {brief_name(self.subject)} 0x{self.serial:X}>"

    def __reduce__(self) -> tuple[Callable[[bytes], Certificate], tuple[bytes]]:
        """Pickled as its octets: libcrypto's keys cannot be."""
        return _load_again, (self.der,)

    @property
    def is_self_issued(self) -> bool:
        """Whether subject and issuer are one name (not: whether it signed itself)."""
        return names_match(self.subject, self.issuer)

    @property
    def crl_urls(self) -> tuple[str, ...]:
        """Where CRLs of its issuer are that cover every reason."""
        points = (point for point in self.crl_points if point.reasons == ALL_REASONS)
        return tuple(url for point in points for url in point.urls)

    def is_signed_by(self, key: RSAPublicKey) -> bool:
        """Whether its signature is that key's."""
        return is_signed_by(key, self.signature, self.tbs, self.digest)

    def is_issued_by(self, issuer: Certificate) -> bool:
        """Whether its signature is the issuer's key's; names are not compared."""
        if issuer.public_key_info in self.verified_keys:
            return True
        if not self.is_signed_by(issuer.public_key):
            return False
        self.verified_keys.add(issuer.public_key_info)
        return True


def load_certificate(octets: bytes, *, any_serial: bool = False) -> Certificate:
    """Read a certificate, strictly DER. Nothing is verified.

    any_serial: take a serial number that is negative, zero or longer than 20 octets, as SCEP
    clients put into the self-signed certificates they sign requests with (sscep: 32 octets; IOS:
    numbers over 127 as negative ones). Raises PkiError("malformed-certificate",
    "unsupported-algorithm", "bad-key").
    """
    with der.reading("certificate"):
        if len(octets) > MAX_CERTIFICATE:
            raise der.malformed(f"{len(octets)} octets, at most {MAX_CERTIFICATE}")
        outer = der.parse(octets).fields()
        tbs, algorithm, signature = outer.take(), outer.take(), outer.take().whole_octets()
        outer.finish()
        return _read_certificate(octets, tbs, algorithm, signature, any_serial)


def _load_again(octets: bytes) -> Certificate:
    return load_certificate(octets, any_serial=True)


def _read_certificate(
    octets: bytes, tbs: der.Element, algorithm: der.Element, signature: bytes, any_serial: bool
) -> Certificate:
    fields = tbs.fields()
    version = fields.take_if(0xA0)
    number = 0 if version is None else version.only(der.INTEGER).integer()
    serial = _read_serial(fields.take(der.INTEGER), any_serial)
    inner = fields.take(der.SEQUENCE)
    issuer, validity, subject = (fields.take(der.SEQUENCE) for _ in range(3))
    key_info = fields.take(der.SEQUENCE)
    unique = fields.take_if(0x81), fields.take_if(0x82)
    wrapped = fields.take_if(0xA3)
    fields.finish()
    if number not in (0, 1, 2) or (wrapped and number < 2) or (any(unique) and number < 1):
        raise der.malformed(f"version {number + 1} with fields of a later one")
    if inner.raw != algorithm.raw:
        raise der.malformed("the signature algorithm inside differs from the one outside")
    if not read_name(issuer.raw):
        raise der.malformed("an issuer without a name")
    read_name(subject.raw)
    dates = validity.fields()
    not_before, not_after = dates.take().time(), dates.take().time()
    dates.finish()
    present = () if wrapped is None else extensions.read_extensions(wrapped.only())
    values = {extension.oid: extension.value for extension in present}
    names = _optional(values, extensions.SUBJECT_ALT_NAME, extensions.read_alternative_names) or ()
    is_ca, path_length = _optional(
        values, extensions.BASIC_CONSTRAINTS, extensions.read_basic_constraints
    ) or (False, None)
    return Certificate(
        der=octets,
        tbs=tbs.raw,
        signature=signature,
        digest=read_signature_algorithm(algorithm),
        serial=serial,
        issuer=issuer.raw,
        subject=subject.raw,
        not_before=not_before,
        not_after=not_after,
        public_key=read_public_key(key_info),
        public_key_info=key_info.raw,
        extensions=present,
        is_ca=is_ca,
        path_length=path_length,
        key_usage=_optional(values, extensions.KEY_USAGE, extensions.read_key_usage),
        extended_key_usage=_optional(
            values, extensions.EXTENDED_KEY_USAGE, extensions.read_extended_key_usage
        ),
        alternative_names=names,
        name_constraints=_optional(
            values, extensions.NAME_CONSTRAINTS, extensions.read_name_constraints
        ),
        fqdns=extensions.host_names(subject.raw, names),
        addresses=extensions.addresses(subject.raw, names),
        mailboxes=extensions.mailboxes(names),
        crl_points=_points(values.get(extensions.CRL_DISTRIBUTION_POINTS), issuer.raw),
        fresh_points=_points(values.get(FRESHEST_CRL), issuer.raw),
        authority_key_id=_optional(
            values, extensions.AUTHORITY_KEY_IDENTIFIER, extensions.read_authority_key_identifier
        ),
        subject_key_id=_optional(values, extensions.SUBJECT_KEY_IDENTIFIER, _read_octets),
        unknown_critical=tuple(
            extension.oid
            for extension in present
            if (extension.critical or extension.oid in _NEVER_IGNORED)
            and extension.oid not in _UNDERSTOOD
        ),
    )


_T = TypeVar("_T")


def _optional(values: dict[str, bytes], oid: str, read: Callable[[bytes], _T]) -> _T | None:
    """An extension's meaning, None where it is absent."""
    return read(values[oid]) if oid in values else None


def _points(value: bytes | None, issuer: bytes) -> tuple[DistributionPoint, ...]:
    return () if value is None else read_distribution_points(value, issuer)


def _read_octets(value: bytes) -> bytes:
    return der.parse(value).octets()


def _read_serial(element: der.Element, any_serial: bool) -> int:
    serial = element.integer()
    if any_serial:
        # The length of a certificate is the only bound; printing stays cheap under it.
        return serial
    if serial <= 0 or len(element.content) > _MAX_SERIAL:
        kind = "a positive" if serial > 0 else "no positive"
        raise der.malformed(
            f"{kind} serial number in {len(element.content)} octets; RFC 5280 section 4.1.2.2 has"
            f" a positive one of at most {_MAX_SERIAL}"
        )
    return serial


def build_certificate(
    *,
    serial: int,
    issuer: bytes,
    subject: bytes,
    public_key_info: bytes,
    not_before: datetime,
    not_after: datetime,
    issuer_key: RSAPrivateKey,
    digest: str,
    ca: bool,
    path_length: int | None = None,
    key_usage: frozenset[str],
    crl_url: str | None = None,
    authority_key_id: bytes | None = None,
    fqdns: Sequence[str] = (),
    addresses: Sequence[str] = (),
) -> bytes:
    """A version 3 certificate, DER, with the extensions IOS's certificate server sets.

    CA: basicConstraints and keyUsage, both critical; router: keyUsage not critical. All have both
    key identifiers (authority_key_id: None takes the issuer key's own), and subjectAltName where
    there is a name for it. Raises PkiError("bad-certificate", "key-too-short").
    """
    if not 0 < serial < 1 << (8 * _MAX_SERIAL - 1):
        raise PkiError("bad-certificate", f"serial number {serial:#x} is not 1 to 20 octets long")
    if not_after < not_before:
        raise PkiError("bad-certificate", f"would end {not_after} before it starts {not_before}")
    own_id = key_identifier(public_key_info)
    issuer_id = authority_key_id or key_identifier(_public_key_info(issuer_key))
    try:
        entries = [
            extensions.build_basic_constraints(path_length) if ca else b"",
            extensions.build_key_usage(key_usage, critical=ca),
            extensions.build_distribution_point(crl_url) if crl_url else b"",
            _alternative_names(fqdns, addresses, subject),
            extensions.build_authority_key_identifier(issuer_id),
            extensions.build_subject_key_identifier(own_id),
        ]
    except ValueError as error:
        raise PkiError("bad-certificate", f"an extension cannot be written: {error}") from None
    tbs = der.sequence(
        der.explicit(0, der.integer(2)),
        der.integer(serial),
        signature_algorithm(digest),
        issuer,
        der.sequence(der.time(not_before), der.time(not_after)),
        subject,
        public_key_info,
        der.explicit(3, der.sequence(*entries)),
    )
    return _signed(tbs, issuer_key, digest)


def _alternative_names(fqdns: Sequence[str], addresses: Sequence[str], subject: bytes) -> bytes:
    if not fqdns and not addresses:
        return b""
    # RFC 5280 section 4.2.1.6: critical where it is the only name.
    critical = subject == der.sequence()
    return extensions.build_alternative_names(fqdns, addresses, critical=critical)


def _signed(tbs: bytes, key: RSAPrivateKey, digest: str) -> bytes:
    """SIGNED{tbs} of X.509."""
    signature = sign(key, tbs, digest)
    return der.sequence(tbs, signature_algorithm(digest), der.bit_string(signature))


# --- PKCS #10 -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, repr=False)
class CertificateRequest:
    """A PKCS #10 request whose signature was verified.

    public_key_info: SPKI in DER, whatever encoding came. challenge: challengePassword, "" where
    absent; a secret. fqdns, addresses: as of `Certificate`. requests_ca: whether it asks for
    basicConstraints CA:TRUE.
    """

    der: bytes
    subject: bytes = field(compare=False)
    public_key: RSAPublicKey = field(compare=False)
    public_key_info: bytes = field(compare=False)
    digest: str = field(compare=False)
    challenge: str = field(compare=False, default="")
    fqdns: tuple[str, ...] = field(compare=False, default=())
    addresses: tuple[str, ...] = field(compare=False, default=())
    requests_ca: bool = field(compare=False, default=False)

    def __repr__(self) -> str:
        return f"<CertificateRequest {brief_name(self.subject)}>"


def build_request(
    *,
    subject: bytes,
    key: RSAPrivateKey,
    digest: str,
    challenge: str | None = None,
    fqdns: Sequence[str] = (),
    addresses: Sequence[str] = (),
    ca: bool = False,
) -> bytes:
    """PKCS #10, DER. The same arguments give the same octets: PKCS #1 v1.5 draws nothing.

    fqdns, addresses: asked for as subjectAltName; ca: whether basicConstraints CA:TRUE is asked
    for. Raises PkiError("bad-request", "key-too-short").
    """
    attributes = []
    if challenge:
        tag = der.PRINTABLE_STRING if is_printable(challenge) else der.UTF8_STRING
        value = der.tlv(tag, challenge.encode())
        attributes.append(_attribute(_CHALLENGE_PASSWORD, value))
    try:
        wanted = [
            extensions.build_basic_constraints(None) if ca else b"",
            _alternative_names(fqdns, addresses, subject),
        ]
    except ValueError as error:
        raise PkiError("bad-request", f"a name cannot be written: {error}") from None
    if any(wanted):
        attributes.append(_attribute(_EXTENSION_REQUEST, der.sequence(*wanted)))
    info = der.sequence(
        der.integer(0),
        subject,
        _public_key_info(key),
        der.explicit(0, *sorted(attributes)),
    )
    return _signed(info, key, digest)


def _attribute(dotted: str, value: bytes) -> bytes:
    return der.sequence(der.oid(dotted), der.set_of(value))


def load_request(octets: bytes, *, legacy: bool = False) -> CertificateRequest:
    """Read a PKCS #10 request and verify that its sender has the private key.

    BER is taken, and attributes in any order (strongSwan's are not in DER's): the signature is
    verified over the octets as they came. Raises PkiError("malformed-request", "bad-signature",
    "weak-algorithm", "unsupported-algorithm", "bad-key").
    """
    with der.reading("request"):
        if len(octets) > MAX_REQUEST:
            raise der.malformed(f"{len(octets)} octets, at most {MAX_REQUEST}")
        outer = der.parse(octets, strict=False).fields()
        info, algorithm, signature = outer.take(), outer.take(), outer.take().whole_octets()
        outer.finish()
        request = _read_request(octets, info, read_signature_algorithm(algorithm))
    if not is_signed_by(request.public_key, signature, info.raw, request.digest):
        raise PkiError("bad-signature", "the request is not signed with the key it holds")
    refuse_weak("the request", legacy=legacy, digest=request.digest, key=request.public_key)
    return request


def _read_request(octets: bytes, info: der.Element, digest: str) -> CertificateRequest:
    fields = info.fields()
    if fields.take().integer() != 0:
        raise der.malformed("a request of an unknown version")
    subject = fields.take(der.SEQUENCE).raw
    read_name(subject)
    key = read_public_key(fields.take(der.SEQUENCE))
    # RFC 2986 demands [0] even when empty; old clients leave it out.
    attributes = fields.take_if(0xA0)
    fields.finish()
    challenge, wanted = _read_attributes(() if attributes is None else attributes.children())
    values = {extension.oid: extension.value for extension in wanted}
    names = _optional(values, extensions.SUBJECT_ALT_NAME, extensions.read_alternative_names) or ()
    basic = _optional(values, extensions.BASIC_CONSTRAINTS, extensions.read_basic_constraints)
    return CertificateRequest(
        der=octets,
        subject=subject,
        public_key=key,
        public_key_info=_public_key_info(key),
        digest=digest,
        challenge=challenge,
        fqdns=extensions.host_names(subject, names),
        addresses=extensions.addresses(subject, names),
        requests_ca=basic is not None and basic[0],
    )


def _read_attributes(attributes: Sequence[der.Element]) -> tuple[str, tuple[Extension, ...]]:
    """challengePassword and the extensions asked for; other attributes are passed over."""
    values: dict[str, der.Element] = {}
    for attribute in attributes:
        fields = attribute.fields()
        dotted = fields.take().oid()
        entry = fields.take(der.SET)
        fields.finish()
        if dotted in values:
            raise der.malformed(f"attribute {dotted} twice")
        values[dotted] = entry
    password = values.get(_CHALLENGE_PASSWORD)
    wanted = values.get(_EXTENSION_REQUEST)
    return (
        "" if password is None else password.only().text(),
        () if wanted is None else extensions.read_extensions(wanted.only()),
    )


# --- fingerprints ---------------------------------------------------------------------------------


def fingerprint(octets: bytes, digest: str) -> str:
    """Hash of a certificate or request, upper-case hexadecimal without blanks."""
    return hash_octets(digest, octets).hex().upper()


def format_fingerprint(hexadecimal: str) -> str:
    """In groups of eight digits, as IOS prints it."""
    return " ".join(hexadecimal[at : at + 8] for at in range(0, len(hexadecimal), 8))
