"""What a trustpoint is told by its router, and what others learn from it."""

from __future__ import annotations

from dataclasses import dataclass, field

from ikelab.pki.events import HttpFailed, HttpReply, PkiAction


@dataclass(frozen=True, slots=True)
class Authenticate:
    """Event: `crypto pki authenticate NAME`."""


@dataclass(frozen=True, slots=True)
class AcceptCa:
    """Event: the answer to "Do you accept this certificate?"."""

    yes: bool


@dataclass(frozen=True, slots=True)
class Enroll:
    """Event: `crypto pki enroll NAME`: a first enrollment, also where a certificate is there.

    password: the challenge; goes into the request and is not kept.
    """

    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class TimerFired:
    """Event: `next_timer()` is due."""


@dataclass(frozen=True, slots=True)
class PastedCa:
    """Event: a CA certificate was pasted at the console, perhaps with those above it; all DER."""

    certificates: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class PastedCertificate:
    """Event: `crypto pki import NAME certificate`; DER."""

    certificate: bytes


TrustpointEvent = (
    Authenticate
    | AcceptCa
    | Enroll
    | PastedCa
    | PastedCertificate
    | TimerFired
    | HttpReply
    | HttpFailed
)


@dataclass(frozen=True, slots=True)
class CaCertificateOffered:
    """Notice: a CA certificate came and no fingerprint was configured; wants `AcceptCa`.

    Fingerprints: upper-case hex. subordinate: it is not self-signed, which IOS remarks upon.
    """

    trustpoint: str
    subject: str
    fingerprint_md5: str
    fingerprint_sha1: str
    subordinate: bool


@dataclass(frozen=True, slots=True)
class AuthenticationFailed:
    """Notice: there is no accepted CA certificate. reason: short name; detail: a sentence."""

    trustpoint: str
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class KeyPairGenerated:
    """Notice (%CRYPTO-6-AUTOGEN): a key pair was made for an enrollment."""

    label: str
    bits: int


@dataclass(frozen=True, slots=True)
class RenewalStarted:
    """Notice (%PKI-6-CERTRENEWAUTO): the certificate's renew date has come."""

    trustpoint: str


@dataclass(frozen=True, slots=True)
class RequestPrinted:
    """Action: show the request to whoever typed `crypto pki enroll`, and to nobody else.

    request: PKCS #10, DER; it holds the challenge password, so no log has it. pem: with armour.
    """

    trustpoint: str
    subject: str
    request: bytes = field(repr=False)
    pem: bool


@dataclass(frozen=True, slots=True)
class FallbackStarted:
    """Notice: the CA of `trustpoint` gives no answer; the router turns to that of `fallback`."""

    trustpoint: str
    fallback: str


TrustpointAction = (
    PkiAction
    | CaCertificateOffered
    | AuthenticationFailed
    | KeyPairGenerated
    | RenewalStarted
    | FallbackStarted
    | RequestPrinted
)


@dataclass(frozen=True, slots=True)
class Device:
    """The router as it names itself in a request. serial: of its board ("FTX1048A6QA")."""

    hostname: str
    serial: str = ""


@dataclass(frozen=True, slots=True)
class Credential:
    """A router certificate that can be used. chain: DER, its issuer first.

    key_label: of the key pair in nvram.
    """

    trustpoint: str
    certificate: bytes
    chain: tuple[bytes, ...]
    key_label: str


@dataclass(frozen=True, slots=True)
class Trust:
    """What one trustpoint lets a peer be checked against.

    anchors: DER of the CA certificates that a path may end at. revocation_check: "crl" and "none",
    in order. below: DER of CA certificates at hand that are to be checked like any other. by_scep:
    DER of the CAs that can be asked for their CRL by SCEP.
    """

    trustpoint: str
    anchors: tuple[bytes, ...]
    revocation_check: tuple[str, ...] = ("crl",)
    below: tuple[bytes, ...] = ()
    by_scep: tuple[bytes, ...] = ()
