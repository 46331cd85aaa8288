"""Certificate revocation lists (RFC 5280 section 5): version 2, and IOS's version 1 of 2009.

A list is parsed once into a dictionary by serial number; looking a certificate up costs the same
whatever its size, and its signature is verified once. Complete CRLs, deltas and partitioned ones
are told apart here and put together in `crl_status.py`. Indirect CRLs are refused by whoever checks
`unknown_critical`: their marks are critical extensions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from ikelab.errors import PkiError
from ikelab.pki import der
from ikelab.pki.algorithms import (
    is_signed_by,
    read_signature_algorithm,
    refuse_weak,
    sign,
    signature_algorithm,
)
from ikelab.pki.distribution_point import (
    FRESHEST_CRL,
    ISSUING_DISTRIBUTION_POINT,
    DistributionPoint,
    IssuingDistributionPoint,
    read_distribution_points,
    read_issuing_distribution_point,
)
from ikelab.pki.extensions import (
    AUTHORITY_KEY_IDENTIFIER,
    build_authority_key_identifier,
    build_extension,
    read_authority_key_identifier,
    read_extensions,
)
from ikelab.pki.name import brief_name, names_match, read_name
from ikelab.pki.x509 import Certificate

CRL_NUMBER = "2.5.29.20"
DELTA_CRL_INDICATOR = "2.5.29.27"
_REASON_CODE = "2.5.29.21"
_INVALIDITY_DATE = "2.5.29.24"
# CRLReason (RFC 5280 section 5.3.1); 7 is not used.
CERTIFICATE_HOLD, REMOVE_FROM_CRL = 6, 8
REASONS = {
    0: "unspecified",
    1: "keyCompromise",
    2: "cACompromise",
    3: "affiliationChanged",
    4: "superseded",
    5: "cessationOfOperation",
    6: "certificateHold",
    8: "removeFromCRL",
    9: "privilegeWithdrawn",
    10: "aACompromise",
}
_UNDERSTOOD = frozenset(
    {
        CRL_NUMBER,
        AUTHORITY_KEY_IDENTIFIER,
        DELTA_CRL_INDICATOR,
        ISSUING_DISTRIBUTION_POINT,
        FRESHEST_CRL,
    }
)
_ENTRY_UNDERSTOOD = frozenset({_REASON_CODE, _INVALIDITY_DATE})
# 100,000 entries are 2.2 MB; a router's cache has 64 kB, its caller refuses earlier.
MAX_CRL = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True, repr=False)
class Crl:
    """A CRL that was read, not verified; equal to another if its octets are.

    next_update: None where absent. number: CRLNumber, None in version 1. revoked: by serial number
    the revocation date and the reason code, None where not given. base_number: of the complete CRL
    that a delta continues, None for a complete one. scope: what it covers, None: all its issuer's
    certificates. fresh_points: where its deltas are. unknown_critical: extensions of the list or of
    an entry without which it must not be used. verified_keys: SPKIs its signature was found to be
    of; neither can change, so nothing is verified twice.
    """

    der: bytes
    tbs: bytes = field(compare=False)
    signature: bytes = field(compare=False)
    digest: str = field(compare=False)
    version: int = field(compare=False)
    issuer: bytes = field(compare=False)
    this_update: datetime = field(compare=False)
    next_update: datetime | None = field(compare=False)
    revoked: Mapping[int, tuple[datetime, int | None]] = field(compare=False)
    number: int | None = field(compare=False, default=None)
    authority_key_id: bytes | None = field(compare=False, default=None)
    base_number: int | None = field(compare=False, default=None)
    scope: IssuingDistributionPoint | None = field(compare=False, default=None)
    fresh_points: tuple[DistributionPoint, ...] = field(compare=False, default=())
    unknown_critical: tuple[str, ...] = field(compare=False, default=())
    verified_keys: set[bytes] = field(compare=False, init=False, default_factory=set)

    def __repr__(self) -> str:
        return f"<Crl {brief_name(self.issuer)} {self.this_update} {len(self.revoked)} revoked>"

    @property
    def is_delta(self) -> bool:
        """Whether it lists only what changed since another one."""
        return self.base_number is not None

    def is_signed_by(self, issuer: Certificate) -> bool:
        """Whether its signature is the issuer's key's; names are not compared."""
        if issuer.public_key_info in self.verified_keys:
            return True
        if not is_signed_by(issuer.public_key, self.signature, self.tbs, self.digest):
            return False
        self.verified_keys.add(issuer.public_key_info)
        return True


# --- reading --------------------------------------------------------------------------------------


def load_crl(octets: bytes) -> Crl:
    """Read a CRL, strictly DER. Raises PkiError("malformed-crl", "unsupported-algorithm")."""
    with der.reading("crl"):
        if len(octets) > MAX_CRL:
            raise der.malformed(f"{len(octets)} octets, at most {MAX_CRL}")
        outer = der.parse(octets).fields()
        tbs, algorithm, signature = outer.take(), outer.take(), outer.take().whole_octets()
        outer.finish()
        return _read_crl(octets, tbs, algorithm, signature)


def _read_crl(octets: bytes, tbs: der.Element, algorithm: der.Element, signature: bytes) -> Crl:
    fields = tbs.fields()
    written = fields.take_if(der.INTEGER)
    version = 1 if written is None else written.integer() + 1
    inner, issuer = fields.take(der.SEQUENCE), fields.take(der.SEQUENCE)
    this_update = fields.take().time()
    next_update = fields.take_if(der.UTC_TIME, der.GENERALIZED_TIME)
    entries = fields.take_if(der.SEQUENCE)
    wrapped = fields.take_if(0xA0)
    fields.finish()
    if version != (1 if written is None else 2) or (wrapped is not None and version == 1):
        raise der.malformed(f"version {version} with what it cannot have")
    if inner.raw != algorithm.raw:
        raise der.malformed("the signature algorithm inside differs from the one outside")
    if not read_name(issuer.raw):
        raise der.malformed("an issuer without a name")
    revoked, unknown = _read_entries(b"" if entries is None else entries.content, version)
    present = () if wrapped is None else read_extensions(wrapped.only())
    values = {extension.oid: extension.value for extension in present}
    unknown |= {item.oid for item in present if item.critical and item.oid not in _UNDERSTOOD}
    key_id, number = values.get(AUTHORITY_KEY_IDENTIFIER), values.get(CRL_NUMBER)
    base, fresh = values.get(DELTA_CRL_INDICATOR), values.get(FRESHEST_CRL)
    if base is not None and (number is None or fresh is not None):
        raise der.malformed("a delta CRL without a number, or with a delta of its own")
    place = values.get(ISSUING_DISTRIBUTION_POINT)
    scope = None if place is None else read_issuing_distribution_point(place, issuer.raw)
    if scope is not None and scope.is_indirect:
        unknown.add(ISSUING_DISTRIBUTION_POINT)
    return Crl(
        der=octets,
        tbs=tbs.raw,
        signature=signature,
        digest=read_signature_algorithm(algorithm),
        version=version,
        issuer=issuer.raw,
        this_update=this_update,
        next_update=None if next_update is None else next_update.time(),
        revoked=MappingProxyType(revoked),
        number=None if number is None else _read_number(number),
        authority_key_id=None if key_id is None else read_authority_key_identifier(key_id),
        base_number=None if base is None else _read_number(base),
        scope=scope,
        fresh_points=() if fresh is None else read_distribution_points(fresh, issuer.raw),
        unknown_critical=tuple(sorted(unknown)),
    )


def _read_number(value: bytes) -> int:
    element = der.parse(value)
    number = element.integer()
    if number < 0 or len(element.content) > 20:
        raise der.malformed("a CRLNumber that is negative or longer than 20 octets")
    return number


def _read_entries(
    octets: bytes, version: int
) -> tuple[dict[int, tuple[datetime, int | None]], set[str]]:
    """revokedCertificates, and the critical entry extensions nobody here understands.

    Written without `Element`: a list may have a hundred thousand entries.
    """
    revoked: dict[int, tuple[datetime, int | None]] = {}
    unknown: set[str] = set()
    # Dates and reasons are mostly the same few octets again and again.
    moments: dict[bytes, datetime] = {}
    reasons: dict[bytes, int | None] = {b"": None}
    header = der.header
    at = 0
    while at < len(octets):
        tag, start, end = header(octets, at)
        serial_tag, serial_start, serial_end = header(octets, start)
        date_tag, date_start, date_end = header(octets, serial_end)
        if (tag, serial_tag) != (der.SEQUENCE, der.INTEGER) or date_end > end:
            raise der.malformed("an entry that is not a serial number and a date")
        if serial_start == serial_end:
            raise der.malformed("an INTEGER without octets")
        date = octets[serial_end:date_end]
        if date not in moments:
            moments[date] = der.read_time(date_tag, octets[date_start:date_end])
        serial = int.from_bytes(octets[serial_start:serial_end], "big", signed=True)
        extensions = octets[date_end:end]
        if extensions not in reasons:
            reasons[extensions], more = _read_entry_extensions(extensions, version)
            unknown |= more
        revoked.setdefault(serial, (moments[date], reasons[extensions]))
        at = end
    return revoked, unknown


def _read_entry_extensions(octets: bytes, version: int) -> tuple[int | None, set[str]]:
    if version == 1:
        raise der.malformed("an entry of version 1 with extensions")
    present = read_extensions(der.parse(octets))
    unknown = {item.oid for item in present if item.critical and item.oid not in _ENTRY_UNDERSTOOD}
    for item in present:
        if item.oid == _REASON_CODE:
            return der.parse(item.value).integer(der.ENUMERATED), unknown
    return None, unknown


# --- building -------------------------------------------------------------------------------------


def build_crl(
    *,
    issuer: bytes,
    this_update: datetime,
    next_update: datetime,
    number: int | None,
    revoked: Iterable[Revocation] | RevokedEntries,
    key: RSAPrivateKey,
    digest: str,
    authority_key_id: bytes | None,
    version: int = 2,
) -> bytes:
    """A complete CRL, DER. revoked: in the order in which they are written.

    version 2 has CRLNumber and authorityKeyIdentifier (either may be None); version 1 has no
    extensions and no reasons, so both must be None there. Raises PkiError("bad-crl").
    """
    if version not in (1, 2) or (version == 1 and (number, authority_key_id) != (None, None)):
        raise PkiError("bad-crl", f"version {version} with a number or a key identifier")
    if next_update < this_update:
        raise PkiError("bad-crl", f"would end {next_update} before it starts {this_update}")
    extensions = [] if number is None else [build_extension(CRL_NUMBER, der.integer(number))]
    if authority_key_id is not None:
        extensions.insert(0, build_authority_key_identifier(authority_key_id))
    if not isinstance(revoked, RevokedEntries):
        revoked = RevokedEntries(version, revoked)
    elif revoked.version != version:
        raise PkiError("bad-crl", f"entries of version {revoked.version} in version {version}")
    tbs = der.sequence(
        der.integer(1) if version == 2 else b"",
        signature_algorithm(digest),
        issuer,
        der.time(this_update),
        der.time(next_update),
        der.sequence(revoked.octets) if len(revoked) else b"",
        der.explicit(0, der.sequence(*extensions)) if extensions else b"",
    )
    signature = sign(key, tbs, digest)
    return der.sequence(tbs, signature_algorithm(digest), der.bit_string(signature))


Revocation = tuple[int, datetime, int | None]
"""Serial number, date, reason code."""


class RevokedEntries:
    """revokedCertificates of one CA, each entry encoded once: a CRL of 100,000 is then joined.

    len() is how many there are. version: of the CRL; version 1 has no reasons.
    """

    def __init__(self, version: int, revoked: Iterable[Revocation] = ()) -> None:
        self.version = version
        self._octets = bytearray()
        self._count = 0
        self._tails: dict[tuple[datetime, int | None], bytes] = {}  # mostly the same few
        self.add(revoked)

    def __len__(self) -> int:
        return self._count

    @property
    def octets(self) -> bytes:
        """All of them, one after the other, in the order they were added."""
        return bytes(self._octets)

    def add(self, revoked: Iterable[Revocation]) -> None:
        """Append entries. Raises PkiError("bad-crl") for a reason code that is none."""
        for serial, date, reason in revoked:
            if (date, reason) not in self._tails:
                self._tails[date, reason] = self._tail(date, reason)
            self._octets += der.sequence(der.integer(serial), self._tails[date, reason])
            self._count += 1

    def _tail(self, date: datetime, reason: int | None) -> bytes:
        """Date and extensions of an entry."""
        # RFC 5280 section 5.3.1: "unspecified" is said by leaving the reason out.
        if not reason or self.version == 1:
            return der.time(date)
        if reason not in REASONS:
            raise PkiError("bad-crl", f"reason code {reason}")
        code = build_extension(_REASON_CODE, der.integer(reason, der.ENUMERATED))
        return der.time(date) + der.sequence(code)


# --- verifying ------------------------------------------------------------------------------------


def verify_crl(crl: Crl, issuer: Certificate, *, legacy: bool = False) -> None:
    """Whether the CRL is of this name, signed with this key, and of a kind that is understood.

    Dates and scope are not looked at. Raises PkiError("crl-wrong-issuer", "key-usage",
    "weak-algorithm", "crl-bad-signature", "crl-unknown-critical-extension").
    """
    who = brief_name(issuer.subject)
    if not names_match(crl.issuer, issuer.subject):
        raise PkiError("crl-wrong-issuer", f"issued by {brief_name(crl.issuer)}, not by {who}")
    ids = (crl.authority_key_id, issuer.subject_key_id)
    if None not in ids and ids[0] != ids[1]:
        raise PkiError("crl-wrong-issuer", f"signed with another key of {who} (key identifier)")
    if issuer.key_usage is not None and "cRLSign" not in issuer.key_usage:
        raise PkiError("key-usage", f"{who} may not sign CRLs")
    refuse_weak("the CRL", legacy=legacy, digest=crl.digest, key=issuer.public_key)
    if not crl.is_signed_by(issuer):
        raise PkiError("crl-bad-signature", f"the CRL is not signed with the key of {who}")
    if crl.unknown_critical:
        raise PkiError(
            "crl-unknown-critical-extension",
            f"the CRL of {who} has {', '.join(crl.unknown_critical)} (indirect CRLs are not"
            " processed)",
        )
