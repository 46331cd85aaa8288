"""What a certificate server is asked over HTTP, what it answers, and what it reports.

The notices are the audit trail: facts for the log, worded in `ios/log.py`. None carries a secret.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime

from ikelab.errors import PkiError
from ikelab.pki.cert_rep import ToSign
from ikelab.pki.store import RequestKind
from ikelab.types import Rng


@dataclass(frozen=True, slots=True)
class HttpIn:
    """A request of a web client. target: as on the request line, "/path?query", not decoded."""

    method: str
    target: str
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class ServerKeyGenerated:
    """Notice: the certificate server made its own key pair. bits: of the modulus."""

    server: str
    bits: int


@dataclass(frozen=True, slots=True)
class ServerEnabled:
    """Notice (%PKI-6-CS_ENABLED): the certificate server answers now."""

    server: str


@dataclass(frozen=True, slots=True)
class ServerDisabled:
    """Notice (%PKI-6-CS_DISABLED): it does not answer any more. reason: as `show` has it."""

    server: str
    reason: str


@dataclass(frozen=True, slots=True)
class RolloverAvailable:
    """Notice: there is a next CA certificate, which takes over at `start`. serial: its own."""

    server: str
    serial: int
    start: datetime


@dataclass(frozen=True, slots=True)
class RolloverDone:
    """Notice: another CA certificate is in force. again: it was before, and the clock went back
    or forth since.
    """

    server: str
    serial: int
    end: datetime
    again: bool = False


@dataclass(frozen=True, slots=True)
class RequestQueued:
    """Notice: a request waits to be granted. fingerprint: MD5 of the PKCS#10, upper-case hex."""

    server: str
    request_id: int
    kind: RequestKind
    fingerprint: str
    subject: str


@dataclass(frozen=True, slots=True)
class RequestGranted:
    """Notice: a certificate was signed and recorded. serial: of the certificate."""

    server: str
    request_id: int
    serial: int
    subject: str


@dataclass(frozen=True, slots=True)
class RequestAuthorized:
    """Notice: a registration authority lets a request pass; the CA is asked to sign it."""

    server: str
    request_id: int
    subject: str


@dataclass(frozen=True, slots=True)
class RequestRefused:
    """Notice: no certificate. message: SCEP's word for what came, or "grant", "reject".

    reason: the short name counters use; detail: a sentence. transaction_id: "" where unknown.
    """

    server: str
    message: str
    transaction_id: str
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class RequestRejected:
    """Notice: somebody said no; whoever asks for it is told from now on."""

    server: str
    request_id: int


@dataclass(frozen=True, slots=True)
class RequestRemoved:
    """Notice: taken off the list by command, or because it waited longer than a week."""

    server: str
    request_id: int
    expired: bool


@dataclass(frozen=True, slots=True)
class CertificateRevoked:
    """Notice: in the next CRL. again: it was revoked before, nothing changed."""

    server: str
    serial: int
    again: bool = False


@dataclass(frozen=True, slots=True)
class CrlPublished:
    """Notice: a CRL was signed, recorded and queued for the storage. size: octets of its DER."""

    server: str
    number: int
    next_update: datetime
    size: int


@dataclass(frozen=True, slots=True)
class FileWritten:
    """Notice: a file of the server is in its storage, under its final name. size: octets."""

    server: str
    name: str
    size: int


@dataclass(frozen=True, slots=True)
class FileLoaded:
    """Notice: a file was read back from the storage. size: octets."""

    server: str
    name: str
    size: int


@dataclass(frozen=True, slots=True)
class StorageUnreadable:
    """Notice: the server stays disabled, since this file could not be read. detail: why."""

    server: str
    name: str
    detail: str


@dataclass(frozen=True, slots=True)
class ServerNotStarted:
    """Notice: `no shutdown` came to nothing. reason: short name; detail: a sentence."""

    server: str
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class ArchiveMade:
    """Notice: the CA's key and certificate wait for the storage, under `database archive`."""

    server: str
    name: str


@dataclass(frozen=True, slots=True)
class ServerRemoved:
    """Notice: key and database of the server are destroyed. url: of its storage, None for nvram.

    unwritten: names of files that had not reached it.
    """

    server: str
    url: str | None
    unwritten: tuple[str, ...]


CaNotice = (
    ServerKeyGenerated
    | ServerEnabled
    | ServerDisabled
    | RolloverAvailable
    | RolloverDone
    | RequestQueued
    | RequestGranted
    | RequestAuthorized
    | RequestRefused
    | RequestRejected
    | RequestRemoved
    | CertificateRevoked
    | CrlPublished
    | FileWritten
    | FileLoaded
    | StorageUnreadable
    | ServerNotStarted
    | ArchiveMade
    | ServerRemoved
)


@dataclass(frozen=True, slots=True)
class HttpOut:
    """The answer to an `HttpIn`, with what happened on the way.

    unsigned: its body is still to be made, of this.
    """

    status: int
    content_type: str
    body: bytes = field(repr=False)
    notices: tuple[CaNotice, ...] = ()
    unsigned: ToSign | None = None

    def sign(self, rng: Rng) -> HttpOut:
        """The same with its body, or 400 and a notice where the CertRep cannot be made."""
        if self.unsigned is None:
            return self
        try:
            return self.with_body(self.unsigned.sign(rng))
        except PkiError as error:
            server = self.unsigned.server
            refused = RequestRefused(server, "HTTP", "", error.reason, error.detail)
            return HttpOut(400, "text/plain", b"refused\n", (*self.notices, refused))

    def with_body(self, body: bytes) -> HttpOut:
        """The same, signed by somebody else."""
        return replace(self, body=body, unsigned=None)
