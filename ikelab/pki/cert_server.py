"""The certificate server: `crypto pki server`, as root or as subordinate CA (`mode sub-cs`).

Plain request and answer: `answer` takes an HTTP request and gives the reply; commands give the
notices of what they did. What is true is in the store, in the order that survives a crash: serial
number, certificate, reply. SCEP's messages are in `scep_server.py`, signing in `issuer.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from ikelab.errors import PkiError
from ikelab.pki.algorithms import public_key_info
from ikelab.pki.ca_events import (
    ArchiveMade,
    CaNotice,
    CertificateRevoked,
    CrlPublished,
    HttpIn,
    HttpOut,
    RequestRefused,
    RequestRejected,
    RequestRemoved,
    ServerDisabled,
    ServerEnabled,
    ServerKeyGenerated,
)
from ikelab.pki.config import CertServerConfig
from ikelab.pki.crl import RevokedEntries
from ikelab.pki.events import HttpFailed, HttpReply, HttpRequest
from ikelab.pki.issuer import (
    Issuer,
    archive_file,
    crl_version,
    issued_files,
    issuer_name,
    serial_file,
    sign_ca_certificate,
    sign_crl,
)
from ikelab.pki.pasted_request import queue_pasted
from ikelab.pki.pkcs12 import Identity
from ikelab.pki.recovery import StorageContents, restore
from ikelab.pki.scep_server import ScepServer, queued_notice
from ikelab.pki.store import (
    Authority,
    CaStore,
    EnrollmentRequest,
    IssuedCertificate,
    RequestState,
    RsaKeys,
)
from ikelab.pki.x509 import (
    Certificate,
    fingerprint,
    format_name,
    load_certificate,
)
from ikelab.types import Now, Rng, TimeBase, Timer

# `lifetime enrollment-request`: a week in IOS.
REQUEST_LIFETIME = timedelta(days=7)
# A one-time password holds an hour unless told otherwise, as IOS has it.
PASSWORD_MINUTES = 60
_CLOCK_RETRY = 10.0  # seconds between looks at an unsynchronized clock


class ServerState(Enum):
    """States of a certificate server; the values are what `show crypto pki server` says."""

    DISABLED = "disabled"
    CLOCK_NOT_SET = "disabled, clock not set"
    STORAGE_LOST = "disabled, Storage not accessible"
    REQUEST_PENDING = "disabled, CA Certificate request is pending"
    EXPIRED = "disabled, CA certificate expired"
    ENABLED = "enabled"


class ServerInput(Enum):
    """What can happen to a certificate server. START_*: `no shut`, as what it finds."""

    START_UNSYNCHRONIZED = "no shut without a clock"
    START_SELF_SIGNED = "no shut of a root without a certificate"
    START_SUBORDINATE = "no shut of a sub-CA without a certificate"
    START = "no shut with a certificate"
    CERTIFICATE = "certificate from the CA above"
    EXPIRE = "end of the CA certificate"
    LOSE_STORAGE = "storage not accessible"
    SHUT = "shut"


_S = ServerState
_I = ServerInput
_STARTS = {
    _I.START_UNSYNCHRONIZED: ("", _S.CLOCK_NOT_SET),
    _I.START_SELF_SIGNED: ("sign_itself", _S.ENABLED),
    _I.START_SUBORDINATE: ("write_serial", _S.REQUEST_PENDING),
    _I.START: ("publish", _S.ENABLED),
    _I.LOSE_STORAGE: ("", _S.STORAGE_LOST),
    _I.SHUT: ("", _S.DISABLED),
}
_STOPS = {_I.LOSE_STORAGE: ("", _S.STORAGE_LOST), _I.SHUT: ("", _S.DISABLED)}

# (state, input) -> (step, new state). A pair that is not here is refused.
TABLE: Mapping[ServerState, Mapping[ServerInput, tuple[str, ServerState]]] = {
    _S.DISABLED: _STARTS,
    _S.CLOCK_NOT_SET: _STARTS,
    _S.STORAGE_LOST: _STARTS,
    _S.REQUEST_PENDING: _STOPS | {_I.CERTIFICATE: ("install", _S.ENABLED)},
    _S.EXPIRED: _STOPS | {_I.CERTIFICATE: ("install", _S.ENABLED)},
    _S.ENABLED: _STOPS | {_I.CERTIFICATE: ("install", _S.ENABLED), _I.EXPIRE: ("", _S.EXPIRED)},
}


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """What `show crypto pki server` prints. Fingerprints: MD5, upper-case hex, None if not there.

    upper_fingerprint: of the CA above, None for a root. pending: requests waiting. ra_fingerprint:
    of an RA's own certificate; `fingerprint` is then that of its CA.
    """

    name: str
    state: ServerState
    issuer: str
    fingerprint: str | None
    upper_fingerprint: str | None
    grant: str
    last_serial: int
    expires: datetime | None
    crl_next_update: datetime | None
    database_level: str
    database_url: str | None
    pending: int
    ra_fingerprint: str | None = None


class CertificateServer:
    """One certificate server. legacy: the algorithms and formats of 2009 (MD5, DES, v1 CRLs)."""

    def __init__(
        self,
        config: CertServerConfig,
        store: CaStore,
        rng: Rng,
        keys: RsaKeys,
        legacy: bool = False,
    ) -> None:
        self.config = config
        self.store = store
        self.legacy = legacy
        self.state = ServerState.DISABLED
        self._rng = rng
        self._keys = keys
        self._authority: Authority | None = None
        self._ca: Certificate | None = None
        self._retry_at: float | None = None
        self._crl_due: datetime | None = None
        self._revoked = RevokedEntries(crl_version(config, legacy))
        stored = store.load_authority()
        if stored is not None:
            self._take(stored)

    # --- life -------------------------------------------------------------------------------------

    def no_shut(self, now: Now) -> list[CaNotice]:
        """`no shut`: a root makes key and certificate, a sub-CA waits for `install_certificate`.

        Raises PkiError("server-state") if it runs already.
        """
        if not now.synced:
            self._retry_at = now.elapsed + _CLOCK_RETRY
            return self._input(ServerInput.START_UNSYNCHRONIZED, now)
        if self._ca is not None:
            notices = self._input(ServerInput.START, now)
            return notices + self._expire(now)
        if self.config.mode != "root":
            return self._input(ServerInput.START_SUBORDINATE, now)
        return self._input(ServerInput.START_SELF_SIGNED, now)

    def shut(self, now: Now) -> list[CaNotice]:
        """`shut`: no answers any more. Raises PkiError("server-state") if it is shut."""
        return self._input(ServerInput.SHUT, now)

    def lose_storage(self, now: Now) -> list[CaNotice]:
        """The storage cannot be read at the start, or is not what it should be."""
        return self._input(ServerInput.LOSE_STORAGE, now)

    def resume(self, contents: StorageContents, identity: Identity | None = None) -> None:
        """Before `no_shut`: take up what storage and trustpoint know, see `recovery.restore`.

        Raises PkiError: then the server must stay disabled.
        """
        restore(self.config, self.store, contents, identity, legacy=self.legacy)
        stored = self.store.load_authority()
        if stored is not None:
            self._take(stored)

    def install_certificate(
        self, certificate: bytes, chain: Sequence[bytes], key: RSAPrivateKey, now: Now
    ) -> list[CaNotice]:
        """The sub-CA's certificate has come, through the trustpoint of the same name.

        chain: DER of the CAs above, the issuer first. Raises PkiError.
        """
        ca = load_certificate(certificate)
        if not ca.is_ca or ca.public_key_info != public_key_info(key):
            raise PkiError(
                "not-a-ca", f"{format_name(ca.subject)} is no CA certificate for our key"
            )
        old = self._authority
        generation = 1
        if old is not None:
            same = public_key_info(old.key) == public_key_info(key)
            generation = old.generation + (0 if same else 1)
        self._require(ServerInput.CERTIFICATE)
        authority = Authority(generation, key, certificate, tuple(chain))
        archived = self._save(authority)
        # The guide's sub-CAs show 0x1 as soon as they are enabled; their first router gets 2.
        self.store.raise_last_serial(1)
        self._take(authority)
        return archived + self._input(ServerInput.CERTIFICATE, now)

    def _save(self, authority: Authority) -> list[CaNotice]:
        """Keep a new authority, with its archive on the way to the storage."""
        files = archive_file(self.config, authority, self.legacy)
        self.store.save_authority(authority, files)
        return [ArchiveMade(self.config.name, name) for name, _ in files]

    def _require(self, happened: ServerInput) -> tuple[str, ServerState]:
        row = TABLE[self.state].get(happened)
        if row is None:
            raise PkiError(
                "server-state", f"{self.config.name} is {self.state.value}: no {happened.value} now"
            )
        return row

    def _input(self, happened: ServerInput, now: Now) -> list[CaNotice]:
        """One row of the table: its step, then the new state."""
        step, new_state = self._require(happened)
        notices: list[CaNotice] = []
        if step == "sign_itself":
            notices += self._sign_itself(now)
        if step == "write_serial" and self.config.mode == "sub-cs":
            self.store.queue_files([serial_file(self.config.name, self.store.last_serial())])
        if new_state is ServerState.ENABLED:
            notices += self.publish_crl(now)
        was, self.state = self.state, new_state
        if new_state is ServerState.ENABLED and was is not ServerState.ENABLED:
            notices.append(ServerEnabled(self.config.name))
        elif new_state not in (ServerState.ENABLED, ServerState.REQUEST_PENDING, was):
            notices.append(ServerDisabled(self.config.name, new_state.value))
        return notices

    def _sign_itself(self, now: Now) -> list[CaNotice]:
        """Key, serial number, certificate: in this order, so that a crash skips a serial only."""
        bits = 1024 if self.legacy else 2048
        key = self._keys.rsa_key(self.config.name, bits)
        serial = self.store.reserve_serial()
        certificate = sign_ca_certificate(self.config, key, serial, now.wall)
        authority = Authority(1, key, certificate)
        files = issued_files(self.config, certificate, self.store.last_serial())
        self.store.record_issued(IssuedCertificate(serial, certificate), files)
        archived = self._save(authority)
        self._take(authority)
        return [ServerKeyGenerated(self.config.name, key.key_size), *archived]

    def _take(self, authority: Authority) -> None:
        self._authority = authority
        self._ca = load_certificate(authority.certificate)

    def _working(self) -> tuple[Authority, Certificate]:
        if self.state is not ServerState.ENABLED or self._authority is None or self._ca is None:
            raise PkiError("server-state", f"{self.config.name} is {self.state.value}")
        return self._authority, self._ca

    def _issuer(self) -> Issuer:
        """Who grants; an RA's only lets pass."""
        authority, ca = self._working()
        return Issuer(self.config, self.store, authority, ca, self.legacy)

    # --- time -------------------------------------------------------------------------------------

    def timers(self) -> list[Timer]:
        """CRL reissue, the end of the oldest pending request, the end of the CA certificate."""
        name = self.config.name
        if self.state is ServerState.CLOCK_NOT_SET and self._retry_at is not None:
            return [Timer(TimeBase.ELAPSED, self._retry_at, f"{name}: clock", routine=True)]
        if self.state is not ServerState.ENABLED or self._ca is None:
            return []
        found = [Timer.at(self._ca.not_after, f"{name}: end of the CA certificate")]
        if self._crl_due is not None:
            found.append(Timer.at(self._crl_due, f"{name}: CRL", routine=True))
        oldest = self.store.oldest_pending()
        if oldest is not None:
            found.append(Timer.at(oldest + REQUEST_LIFETIME, f"{name}: enrollment request"))
        return found

    def next_timer(self) -> Timer | None:
        """The first of them."""
        return min(self.timers(), key=lambda timer: timer.deadline, default=None)

    def tick(self, now: Now) -> list[CaNotice]:
        """Do what is due; harmless at any other time."""
        if self.state is ServerState.CLOCK_NOT_SET:
            if now.synced:
                return self.no_shut(now)
            self._retry_at = now.elapsed + _CLOCK_RETRY
            return []
        if self.state is not ServerState.ENABLED:
            return []
        notices = self._expire(now)
        if notices:
            return notices
        for request in self._pending():
            if request.received + REQUEST_LIFETIME <= now.wall and request.request_id is not None:
                if self.store.remove_request(request.number):
                    notices.append(RequestRemoved(self.config.name, request.request_id, True))
        if self._crl_due is None or self._crl_due <= now.wall:
            notices += self.publish_crl(now)
        return notices

    def ask(self, now: Now) -> list[HttpRequest]:
        """What a registration authority wants of its CA now; nothing else asks anybody."""
        return []

    def answered(self, event: HttpReply | HttpFailed, now: Now) -> list[CaNotice]:
        """The answer to `ask`."""
        return []

    def _expire(self, now: Now) -> list[CaNotice]:
        if self._ca is not None and self._ca.not_after <= now.wall:
            return self._input(ServerInput.EXPIRE, now)
        return []

    # --- commands ---------------------------------------------------------------------------------

    def requests(self) -> tuple[EnrollmentRequest, ...]:
        """`info requests`, by id."""
        return self.store.requests()

    def paste_request(
        self, request: bytes, form: str, now: Now
    ) -> tuple[EnrollmentRequest, list[CaNotice]]:
        """`request pkcs10 terminal`: the request as it stands afterwards; `grant auto` grants it.

        request: PKCS #10, DER. form: "pem" or "base64". Raises PkiError.
        """
        issuer = self._issuer()
        row = queue_pasted(issuer, request, form, self._rng, now.wall)
        if row.automatic and row.state is RequestState.PENDING:
            _, granted = issuer.grant(row, now.wall)
            return self.store.find_request(row.key) or row, [granted]
        return row, [queued_notice(self.config.name, row)]

    def grant(self, request_id: int | None, now: Now) -> list[CaNotice]:
        """`grant <1-999>`, or `grant all` with None: what can be granted is, the rest is told.

        Raises PkiError("unknown-request") for an id that is not listed.
        """
        issuer = self._issuer()
        wanted = self._pending() if request_id is None else (self._listed(request_id),)
        notices: list[CaNotice] = []
        for request in wanted:
            try:
                notices.append(issuer.grant(request, now.wall)[1])
            except PkiError as error:
                notices.append(self._refused("grant", request, error.reason, error.detail))
        return notices

    def reject(self, request_id: int | None) -> list[CaNotice]:
        """`reject <1-999>`, or all pending ones. Raises PkiError("unknown-request")."""
        wanted = self._pending() if request_id is None else (self._listed(request_id),)
        notices: list[CaNotice] = []
        for request in wanted:
            number = request.request_id or 0
            if self.store.reject_request(request.number):
                notices.append(RequestRejected(self.config.name, number))
            else:
                detail = f"request {number} is not pending any more"
                notices.append(self._refused("reject", request, "not-pending", detail))
        return notices

    def remove(self, request_id: int | None) -> list[CaNotice]:
        """`remove <1-999>`, or all requests. Raises PkiError("unknown-request")."""
        wanted = self.requests() if request_id is None else (self._listed(request_id),)
        return [
            RequestRemoved(self.config.name, request.request_id, False)
            for request in wanted
            if request.request_id is not None and self.store.remove_request(request.number)
        ]

    def generate_password(self, now: Now, minutes: int = PASSWORD_MINUTES) -> str:
        """`password generate`: 16 hexadecimal digits that let one router in, once, unasked."""
        password = self._rng.draw("one_time_password", 8).hex().upper()
        digest = hashlib.sha256(password.encode()).digest()
        self.store.add_password(digest, now.wall + timedelta(minutes=minutes))
        return password

    def revoke(self, serial: int, now: Now, reason: int | None = None) -> list[CaNotice]:
        """`revoke SERIAL`: in the CRL that is published with it. reason: RFC 5280 section 5.3.1.

        Raises PkiError("unknown-serial") for a number this CA has not given away, or its own.
        """
        _, ca = self._working()
        last = self.store.last_serial()
        own = ca.serial if ca.issuer == ca.subject else None
        if not 0 < serial <= last or serial == own:
            raise PkiError(
                "unknown-serial", f"0x{serial:X} is none of the certificates 0x1 to 0x{last:X}"
            )
        if not self.store.revoke(serial, now.wall, reason):
            return [CertificateRevoked(self.config.name, serial, again=True)]
        return [CertificateRevoked(self.config.name, serial), *self.publish_crl(now)]

    def publish_crl(self, now: Now) -> list[CaNotice]:
        """Sign, record and queue a new CRL."""
        if self._authority is None:
            raise PkiError("server-state", f"{self.config.name} has no CA certificate yet")
        last = self.store.load_crl()
        version = crl_version(self.config, self.legacy)
        if version != self._revoked.version:
            self._revoked = RevokedEntries(version)
        self._revoked.add(self.store.revocations(after=len(self._revoked)))
        crl = sign_crl(self.config, self._authority, self._revoked, last, now.wall)
        self.store.save_crl(crl, [(f"{self.config.name}.crl", crl.crl)])
        # Some time before nextUpdate: at that moment itself the first router to look would still
        # find the old CRL, outdated.
        lead = min(timedelta(seconds=60), self.config.lifetime_crl / 10)
        self._crl_due = crl.next_update - lead
        return [CrlPublished(self.config.name, crl.number, crl.next_update, len(crl.crl))]

    def status(self) -> ServerStatus:
        """The present state, for `show`."""
        authority, crl, ca = self._authority, self.store.load_crl(), self._ca
        chain = () if authority is None else authority.chain
        return ServerStatus(
            name=self.config.name,
            state=self.state,
            issuer=format_name(issuer_name(self.config)),
            fingerprint=None if ca is None else fingerprint(ca.der, "md5"),
            upper_fingerprint=fingerprint(chain[0], "md5") if chain else None,
            grant=self.config.grant,
            last_serial=self.store.last_serial(),
            expires=None if ca is None else ca.not_after,
            crl_next_update=None if crl is None else crl.next_update,
            database_level=self.config.database_level,
            database_url=self.config.database_url,
            pending=len(self._pending()),
        )

    def _pending(self) -> tuple[EnrollmentRequest, ...]:
        return tuple(
            request for request in self.store.requests() if request.state is RequestState.PENDING
        )

    def _listed(self, request_id: int) -> EnrollmentRequest:
        request = self.store.request(request_id)
        if request is None:
            raise PkiError("unknown-request", f"there is no enrollment request {request_id}")
        return request

    def _refused(
        self, message: str, request: EnrollmentRequest, reason: str, detail: str
    ) -> RequestRefused:
        return RequestRefused(self.config.name, message, request.key.transaction_id, reason, detail)

    # --- HTTP -------------------------------------------------------------------------------------

    def answer(self, request: HttpIn, now: Now) -> HttpOut:
        """One HTTP request. Never raises PkiError: what is wrong becomes a status or a CertRep.

        Errors of the store pass: a CA that cannot remember must not answer.
        """
        try:
            issuer = self._issuer()
        except PkiError as error:
            refused = RequestRefused(self.config.name, "HTTP", "", error.reason, error.detail)
            return HttpOut(503, "text/plain", b"not in service\n", (refused,))
        return ScepServer(issuer, self._rng).answer(request, now.wall)
