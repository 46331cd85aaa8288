"""What the PKI engines are told and what they ask for.

The router side (`trustpoint.py`) takes the events and returns the actions of this module; the
server side (`cert_server.py`) is plain request and answer. The notices are facts: their words for
the console and syslog are made in `ios/log.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """Action: ask a web server. handle: comes back in the reply. method: "GET" or "POST".

    limit: octets of the answer's body; a larger one is not read to its end. seconds: for all of it.
    """

    handle: str
    method: str
    url: str
    body: bytes = b""
    content_type: str = ""
    limit: int = 65536
    seconds: float = 10.0


@dataclass(frozen=True, slots=True)
class HttpReply:
    """Event: the answer to an `HttpRequest`. content_type: without parameters, lower case."""

    handle: str
    status: int
    content_type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class HttpFailed:
    """Event: no answer to an `HttpRequest`. reason: for people ("connection refused").

    too_large: there was one, over the request's limit.
    """

    handle: str
    reason: str
    too_large: bool = False


@dataclass(frozen=True, slots=True)
class CaCertificateAccepted:
    """Notice: `crypto pki authenticate` is through. fingerprint: SHA-256, upper-case hex."""

    trustpoint: str
    subject: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class RequestSent:
    """Notice: a certificate request went out. Fingerprints of the PKCS#10, upper-case hex."""

    trustpoint: str
    subject: str
    fingerprint_md5: str
    fingerprint_sha1: str


@dataclass(frozen=True, slots=True)
class EnrollmentPending:
    """Notice: the CA keeps the request until somebody grants it; next poll in `retry` seconds.

    unanswered: why the CA gave no answer at all; "" where it did.
    """

    trustpoint: str
    retry: float
    unanswered: str = ""


@dataclass(frozen=True, slots=True)
class CertificateInstalled:
    """Notice (%PKI-6-CERTRET): the router certificate is there. serial: as an integer."""

    trustpoint: str
    serial: int
    issuer: str
    subject: str


@dataclass(frozen=True, slots=True)
class NextCaHeld:
    """Notice: the next CA certificate is held beside the present one. start: when it begins."""

    trustpoint: str
    subject: str
    serial: int
    start: datetime


@dataclass(frozen=True, slots=True)
class NextCaMissing:
    """Notice: a renewal waits for the next CA certificate, which the CA does not have yet.

    retry: seconds to the next look.
    """

    trustpoint: str
    reason: str
    retry: float


@dataclass(frozen=True, slots=True)
class CaRenewed:
    """Notice: the CA has a new certificate for the same key, which takes the old one's place."""

    trustpoint: str
    subject: str
    serial: int
    end: datetime


@dataclass(frozen=True, slots=True)
class NextCertificateHeld:
    """Notice: a certificate came whose time is not yet; it is held beside the present one."""

    trustpoint: str
    serial: int
    issuer: str
    subject: str
    start: datetime


@dataclass(frozen=True, slots=True)
class GenerationSwapped:
    """Notice: the generation that was held beside is in force. serial: of the router's own
    certificate, None where it has to enroll anew. ca_serial: of its CA's.
    """

    trustpoint: str
    serial: int | None
    ca_serial: int


@dataclass(frozen=True, slots=True)
class EnrollmentFailed:
    """Notice (%PKI-6-CERTFAIL): given up or refused. reason: a sentence for a person.

    rejected: the CA itself said no (%PKI-6-CERTREJECT).
    """

    trustpoint: str
    reason: str
    rejected: bool = False


@dataclass(frozen=True, slots=True)
class CrlInstalled:
    """Notice: a CRL was fetched, checked and cached. size: octets of its DER."""

    issuer: str
    url: str
    size: int


@dataclass(frozen=True, slots=True)
class CrlRefused:
    """Notice: a CRL could not be fetched or used; the one cached before stays.

    trustpoint: for which it was fetched. published: its date, where that lies in the future: then
    the router's clock, or the CA's, is wrong. clock: what the router's said.
    """

    issuer: str
    url: str
    reason: str
    trustpoint: str = ""
    published: datetime | None = None
    clock: datetime | None = None


@dataclass(frozen=True, slots=True)
class PathExamined:
    """Notice: a peer's certificates were judged. leaf: the peer's own, DER; count: how many came.

    trusts: of each trustpoint that might vouch for it, the name, its CA's certificate (DER) and
    whether it asks for a CRL. reason: why they do not hold, "" where they do.
    """

    handle: int
    leaf: bytes
    count: int
    trusts: tuple[tuple[str, bytes, bool], ...]
    reason: str = ""


PkiNotice = (
    CaCertificateAccepted
    | RequestSent
    | EnrollmentPending
    | CertificateInstalled
    | NextCaHeld
    | NextCaMissing
    | CaRenewed
    | NextCertificateHeld
    | GenerationSwapped
    | EnrollmentFailed
    | CrlInstalled
    | CrlRefused
)
PkiAction = HttpRequest | PkiNotice
