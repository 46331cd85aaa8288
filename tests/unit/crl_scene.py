"""A leaf below sub-ca below root-ca, CRLs with any marks, and the verdict on the leaf."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from ikelab.errors import PkiError
from ikelab.pki import der
from ikelab.pki.algorithms import public_key_info, sign, signature_algorithm
from ikelab.pki.chain import validate
from ikelab.pki.crl import CRL_NUMBER, DELTA_CRL_INDICATOR, Crl, load_crl
from ikelab.pki.distribution_point import ISSUING_DISTRIBUTION_POINT
from ikelab.pki.extensions import (
    CRL_DISTRIBUTION_POINTS,
    URI,
    build_authority_key_identifier,
    build_extension,
    build_key_usage,
)
from ikelab.pki.x509 import Certificate, load_certificate
from tests.pki_samples import DAY, NOW, authority, crl_of, name_of, rsa_key

HOUR = timedelta(hours=1)
ROOT = authority("root-ca")
SUB = authority("sub-ca", issuer="root-ca", serial=2)
ROOT_CRL = crl_of(ROOT)
KEY_COMPROMISE, CA_COMPROMISE = 1, 2
Entry = tuple[int, int | None]


def url(text: str) -> bytes:
    return der.tlv(URI, text.encode())


def place(*names: bytes) -> bytes:
    """DistributionPointName, full."""
    return der.explicit(0, der.explicit(0, *names))


def relative(text: str) -> bytes:
    """DistributionPointName, relative to the issuer."""
    [rdn] = der.parse(name_of(text)).children()
    return der.explicit(0, der.explicit(1, rdn.content))


def reason_flags(number: int, *bits: int) -> bytes:
    octets = bytearray(2)
    for bit in bits:
        octets[bit // 8] |= 0x80 >> bit % 8
    return der.implicit(number, b"\x07" + bytes(octets))


def idp(*parts: bytes) -> bytes:
    return build_extension(ISSUING_DISTRIBUTION_POINT, der.sequence(*parts), critical=True)


ONLY_USERS, ONLY_CAS, INDIRECT, ONLY_ATTRIBUTES = (
    der.implicit(number, b"\xff") for number in (1, 2, 4, 5)
)


def leaf(
    *points: bytes, serial: int = 4, extra: Sequence[bytes] = (), name: str = "leaf"
) -> Certificate:
    """A certificate of sub-ca, its key being rsa_key(name). points: DistributionPoints."""
    subject = "sub-ca" if name.startswith("crl key") else name
    entries = list(extra)
    if points:
        value = der.sequence(*(der.sequence(point) for point in points))
        entries.append(build_extension(CRL_DISTRIBUTION_POINTS, value))
    tbs = der.sequence(
        der.explicit(0, der.integer(2)),
        der.integer(serial),
        signature_algorithm("sha256"),
        SUB.subject,
        der.sequence(der.time(NOW - DAY), der.time(NOW + DAY)),
        name_of(subject),
        public_key_info(rsa_key(name)),
        der.explicit(3, der.sequence(*entries)) if entries else b"",
    )
    signature = der.bit_string(sign(rsa_key("sub-ca"), tbs, "sha256"))
    return load_certificate(der.sequence(tbs, signature_algorithm("sha256"), signature))


def make_crl(
    *revoked: Entry,
    extra: Sequence[bytes] = (),
    number: int | None = 7,
    base: int | None = None,
    start: datetime = NOW - HOUR,
    end: datetime = NOW + HOUR,
    key: str = "sub-ca",
    issuer: bytes = SUB.subject,
    key_id: bytes | None = None,
) -> Crl:
    """A CRL of sub-ca with any extensions. base: it is a delta of that number."""
    parts = list(extra)
    if key_id is not None:
        parts.append(build_authority_key_identifier(key_id))
    if number is not None:
        parts.append(build_extension(CRL_NUMBER, der.integer(number)))
    if base is not None:
        parts.append(build_extension(DELTA_CRL_INDICATOR, der.integer(base), critical=True))
    tbs = der.sequence(
        der.integer(1),
        signature_algorithm("sha256"),
        issuer,
        der.time(start),
        der.time(end),
        der.sequence(*(entry(*item) for item in revoked)) if revoked else b"",
        der.explicit(0, der.sequence(*parts)) if parts else b"",
    )
    signature = der.bit_string(sign(rsa_key(key), tbs, "sha256"))
    return load_crl(der.sequence(tbs, signature_algorithm("sha256"), signature))


def entry(serial: int, reason: int | None) -> bytes:
    extensions = b""
    if reason is not None:
        code = der.integer(reason, der.ENUMERATED)
        extensions = der.sequence(build_extension("2.5.29.21", code))
    return der.sequence(der.integer(serial), der.time(NOW - DAY), extensions)


LEAF = leaf()
CRL_SIGN = build_key_usage(frozenset({"cRLSign"}), critical=True)


def verdict(
    *crls: Crl,
    certificate: Certificate = LEAF,
    ca: Certificate = SUB,
    others: Sequence[Certificate] = (),
    at: datetime = NOW,
) -> str:
    """The reason of a refusal, or "accepted"; root-ca's CRL is always at hand."""
    path = (certificate, ca, ROOT)
    try:
        validate(path, [ROOT], at, (*crls, ROOT_CRL), "crl", others=others, key_usage=None)
    except PkiError as error:
        return error.reason
    return "accepted"


A, B = url("http://192.0.2.9/a.crl"), url("http://192.0.2.9/b.crl")

COMPROMISE = (KEY_COMPROMISE, CA_COMPROMISE)
THE_REST = (3, 4, 5, 6, 7, 8)


def for_reasons(*reasons: int, revoked: Sequence[Entry] = ()) -> Crl:
    return make_crl(*revoked, extra=[idp(reason_flags(3, *reasons))])


def crl_signer(
    name: str = "sub-ca",
    *,
    issuer: str = "root-ca",
    key: str = "crl key",
    usage: frozenset[str] = frozenset({"cRLSign"}),
    issuer_key: str | None = None,
    serial: int = 20,
    start: datetime = NOW - DAY,
) -> Certificate:
    return authority(
        name,
        issuer=issuer,
        key=rsa_key(key),
        usage=usage,
        ca=False,
        issuer_key=None if issuer_key is None else rsa_key(issuer_key),
        serial=serial,
        start=start,
    )
