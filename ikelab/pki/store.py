"""What the certificate server and the trustpoints remember: records and the stores' protocols.

Nothing here touches a file; `runtime/store.py` keeps the same records in SQLite. Each method of a
store is one transaction: when it has returned, a crash takes nothing back (inside `CaStore.group`:
no crash of the process does, and no loss of power once the block is left). All dates are aware,
UTC, whole seconds (the resolution of a certificate).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from ikelab.pki.crl_status import is_of_wrong_clock

# `crypto pki server NAME grant ?` in the guide: "<1-999> Request ID".
MAX_REQUEST_ID = 999


class RsaKeys(Protocol):
    """Source of RSA key pairs: libcrypto in the runtime, a fixed pool in tests."""

    def rsa_key(self, label: str, bits: int) -> RSAPrivateKey:
        """A fresh key pair of `bits`; whoever asks stores it under `label`."""
        ...


class RequestKind(Enum):
    """Which table of the enrollment request database a request stands in (IOS's headings)."""

    SUB_CA = "Subordinate CA certificate requests"
    RA = "RA certificate requests"
    ROUTER = "Router certificates requests"


class RequestState(Enum):
    """State of an enrollment request, as `info requests` prints it."""

    PENDING = "pending"
    AUTHORIZED = "authorized"  # granted by a registration authority, the CA has not signed yet
    GRANTED = "granted"
    REJECTED = "rejected"


UNDECIDED = (RequestState.PENDING, RequestState.AUTHORIZED)
"""States in which a request can still be granted."""


@dataclass(frozen=True, slots=True)
class RequestKey:
    """What makes two requests the same one (a repeat gets the same answer).

    generation: of the CA key asked. request_digest: SHA-256 of the PKCS#10. signer_key: SHA-256
    of the signer's SubjectPublicKeyInfo. renews: serial of the certificate that signed, 0 for a
    self-signed signer: a renewal that keeps key, name and transactionID is still a new request.
    """

    generation: int
    transaction_id: str
    request_digest: bytes
    signer_key: bytes
    renews: int = 0


@dataclass(frozen=True, slots=True)
class NewRequest:
    """A request about to be queued. automatic: to be granted without anybody's word."""

    key: RequestKey
    kind: RequestKind
    request: bytes
    subject: bytes
    received: datetime
    automatic: bool


@dataclass(frozen=True, slots=True)
class EnrollmentRequest:
    """A row of the request database.

    number: never reused. request_id: 1 to 999 as IOS shows it, None once taken off the list.
    request: PKCS#10 DER. certificate: the DER answered, None until granted.
    """

    number: int
    request_id: int | None
    key: RequestKey
    kind: RequestKind
    state: RequestState
    request: bytes
    subject: bytes
    received: datetime
    automatic: bool
    certificate: bytes | None = None


@dataclass(frozen=True, slots=True)
class Authority:
    """The CA's own key and certificates.

    generation: 1, then one more for each new CA key. certificate: DER. chain: DER of the CAs
    above, the issuer of `certificate` first; empty for a root.
    """

    generation: int
    key: RSAPrivateKey = field(repr=False)
    certificate: bytes
    chain: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class IssuedCertificate:
    """A certificate this CA signed, and whether it still stands. certificate: DER."""

    serial: int
    certificate: bytes
    revoked_at: datetime | None = None
    reason: int | None = None


@dataclass(frozen=True, slots=True)
class IssuedCrl:
    """The CRL published last. number: strictly increasing. crl: DER."""

    number: int
    this_update: datetime
    next_update: datetime
    crl: bytes

    def follows(self, last: IssuedCrl) -> bool:
        """A greater number and no earlier date, but for that of a clock that was wrong."""
        dated = self.this_update >= last.this_update
        return self.number > last.number and (
            dated or is_of_wrong_clock(last.this_update, self.this_update)
        )


@dataclass(frozen=True, slots=True)
class StorageFile:
    """A file for the storage host, waiting to be written.

    order: write in this order, and acknowledge by it. name: made of the CA's name or a serial
    number only, never of anything a requester wrote.
    """

    order: int
    name: str
    octets: bytes = field(repr=False)


class PasswordState(Enum):
    """What a challenge password is to the one-time passwords of this CA."""

    OPEN = "open"
    SPENT = "spent"
    UNKNOWN = "unknown"


NewFile = tuple[str, bytes]


class CaStore(Protocol):
    """The certificate server's durable memory: the truth of which storage files are copies."""

    def group(self) -> AbstractContextManager[None]:
        """A block whose transactions are durable only when it is left, all at the cost of one.

        Nothing that came of them may leave the process before: no answer, no file, no log line.
        """
        ...

    def load_authority(self) -> Authority | None:
        """The CA's present key and certificate, or None before there is one."""
        ...

    def save_authority(self, authority: Authority, files: Sequence[NewFile]) -> None:
        """Keep a CA key and certificate of a new generation, and queue files with it.

        A rollover certificate of this generation, or one before it, is none any more.
        """
        ...

    def load_rollover(self) -> Authority | None:
        """The CA's next key and certificate, made before the present one ends; None without."""
        ...

    def generations(self) -> tuple[Authority, ...]:
        """Every key the CA had, has and will have, the oldest first; a rollover is the last."""
        ...

    def former_certificates(self, generation: int) -> tuple[bytes, ...]:
        """Certificates (DER) that the key of a generation had before the one it has now."""
        ...

    def save_rollover(self, authority: Authority, files: Sequence[NewFile]) -> None:
        """Keep the next key and certificate beside the present, in place of any other.

        Raises PkiError("rollover-order") unless its generation comes after the present one.
        """
        ...

    def reserve_serial(self) -> int:
        """The next serial number, given away for good *before* anything is signed with it."""
        ...

    def last_serial(self) -> int:
        """The serial number given away last, 0 at the beginning."""
        ...

    def raise_last_serial(self, serial: int) -> None:
        """After a restore: no serial number up to this one is given away any more."""
        ...

    def add_request(
        self, new: NewRequest, password: bytes | None = None
    ) -> EnrollmentRequest | None:
        """Queue a request, spending a one-time password (SHA-256) in the same step.

        Returns None, with nothing changed, if the password is not open. When 999 requests wait, an
        automatic one goes without an id, for others PkiError("request-database-full") is raised.
        """
        ...

    def find_request(self, key: RequestKey) -> EnrollmentRequest | None:
        """The request that is the same as this one, whatever has become of it."""
        ...

    def find_transaction(
        self, generation: int, transaction_id: str
    ) -> tuple[EnrollmentRequest, ...]:
        """All requests under one transactionID, the latest first (they are not unique)."""
        ...

    def request(self, request_id: int) -> EnrollmentRequest | None:
        """The listed request with this id."""
        ...

    def requests(self) -> tuple[EnrollmentRequest, ...]:
        """The listed requests, by id."""
        ...

    def oldest_pending(self) -> datetime | None:
        """When the pending request came in that has waited longest."""
        ...

    def authorize_request(self, number: int) -> bool:
        """Pending becomes authorized; False if it was not pending any more."""
        ...

    def authorized_requests(self) -> tuple[EnrollmentRequest, ...]:
        """All that a CA has still to sign, listed or not, the oldest first."""
        ...

    def grant_request(
        self, number: int, issued: IssuedCertificate, files: Sequence[NewFile]
    ) -> bool:
        """Record a signed certificate as the answer; False if the request did not wait for one.

        The certificate must not leave the process unless this returned True.
        """
        ...

    def reject_request(self, number: int, state: RequestState = RequestState.PENDING) -> bool:
        """It becomes rejected; False if it was not in this state any more."""
        ...

    def remove_request(self, number: int) -> bool:
        """Take a request off the list: a granted one keeps its answer, others are forgotten."""
        ...

    def record_issued(self, issued: IssuedCertificate, files: Sequence[NewFile]) -> None:
        """Record a certificate that answers no request (the root's own)."""
        ...

    def issued(self, serial: int) -> IssuedCertificate | None:
        """The certificate with this serial number."""
        ...

    def revoke(self, serial: int, at: datetime, reason: int | None) -> bool:
        """Mark as revoked, also a serial nobody recorded; False if it was revoked before."""
        ...

    def revocations(self, after: int = 0) -> tuple[tuple[int, datetime, int | None], ...]:
        """(serial, date, reason code) of everything revoked, in the order it was, without the
        first `after` of them."""
        ...

    def save_crl(self, crl: IssuedCrl, files: Sequence[NewFile]) -> None:
        """Keep the CRL.

        Raises PkiError("crl-order") unless its number is greater and its thisUpdate not earlier
        than those of the CRL kept before, but for one of a clock that was wrong.
        """
        ...

    def load_crl(self) -> IssuedCrl | None:
        """The CRL published last."""
        ...

    def add_password(self, digest: bytes, expires: datetime) -> None:
        """Open a one-time password (SHA-256 of it); the one opened before is spent with this."""
        ...

    def password_state(self, digest: bytes, at: datetime) -> PasswordState:
        """Whether this password (SHA-256) would be taken now. Expired counts as spent."""
        ...

    def is_password_open(self, at: datetime) -> bool:
        """Whether any one-time password waits to be used."""
        ...

    def queue_files(self, files: Sequence[NewFile]) -> None:
        """Files for the storage that come with no other change."""
        ...

    def outbox(self) -> tuple[StorageFile, ...]:
        """Files not yet written to the storage, in order."""
        ...

    def acknowledge_file(self, order: int) -> None:
        """The storage has this file, whole and under its final name."""
        ...

    def destroy(self) -> None:
        """`no crypto pki server`: everything, for good. The store is of no use afterwards."""
        ...


@dataclass(frozen=True, slots=True)
class PendingEnrollment:
    """What a restarted router needs to go on polling. subject: Name, DER.

    key_label: of the pair the new certificate will hold. renews: signed by the certificate that is
    to be replaced, not by a self-signed one. under_next: it is the next CA certificate that is
    asked, by the key it will have. Fingerprints: of the PKCS#10, upper-case hex, for
    whoever compares them with the CA's list; the request itself is not kept, for its password.
    """

    transaction_id: str
    subject: bytes
    key_label: str
    renews: bool = False
    fingerprint_md5: str = ""
    fingerprint_sha1: str = ""
    under_next: bool = False


@dataclass(frozen=True, slots=True)
class Generation:
    """A CA with one of its keys, and what it certified for the router; all DER.

    The fields are those of `StoredTrustpoint`. certificate: None while only the CA is known.
    """

    ca_certificates: tuple[bytes, ...]
    ra_certificates: tuple[bytes, ...] = ()
    certificate: bytes | None = None
    key_label: str | None = None


@dataclass(frozen=True, slots=True)
class StoredTrustpoint:
    """A trustpoint's certificates as nvram keeps them, all DER.

    ca_certificates: the CA accepted by its fingerprint first, then CAs above it whose signatures
    lead to it. ra_certificates: registration authorities of that CA. certificate: the router's
    own; key_label: its key pair. capabilities: GetCACaps keywords. beside: the generation that
    follows, until its time has come; then the one it took the place of.
    """

    name: str
    capabilities: tuple[str, ...] = ()
    ca_certificates: tuple[bytes, ...] = ()
    ra_certificates: tuple[bytes, ...] = ()
    certificate: bytes | None = None
    key_label: str | None = None
    pending: PendingEnrollment | None = None
    beside: Generation | None = None


class Nvram(Protocol):
    """A router's key pairs and certificates; a restarted router does not enroll again."""

    def load_key(self, label: str) -> RSAPrivateKey | None:
        """The key pair with this label."""
        ...

    def save_key(
        self, label: str, key: RSAPrivateKey, made: datetime | None, *, exportable: bool = False
    ) -> None:
        """Keep a key pair, replacing the one of the same label.

        made: when it was generated, or came here; None where that is known already. exportable: it
        may leave the router again; a pair that takes the place of such a one may too, also by
        `save_trustpoint`.
        """
        ...

    def key_made(self, key: RSAPrivateKey) -> datetime | None:
        """When a key pair was generated, or came here, in whole seconds, UTC."""
        ...

    def is_exportable(self, label: str) -> bool:
        """Whether the key pair of this label may be exported."""
        ...

    def delete_key(self, label: str) -> None:
        """`crypto key zeroize rsa LABEL`; nothing happens if there is none."""
        ...

    def key_labels(self) -> tuple[str, ...]:
        """The labels of all key pairs, in alphabetical order."""
        ...

    def key_users(self, label: str) -> tuple[str, ...]:
        """Names of the trustpoints whose certificate is for this key pair."""
        ...

    def load_trustpoint(self, name: str) -> StoredTrustpoint | None:
        """What was saved of this trustpoint."""
        ...

    def save_trustpoint(self, stored: StoredTrustpoint, *keys: tuple[str, RSAPrivateKey]) -> None:
        """Keep a trustpoint and, in the same step, key pairs with their labels."""
        ...

    def delete_trustpoint(self, name: str) -> None:
        """`no crypto pki trustpoint`: certificates are destroyed, key pairs stay."""
        ...
