"""The certificate server: `crypto pki server`, as root or as subordinate CA (`mode sub-cs`).

Plain request and answer: `answer` takes an HTTP request and gives the reply; commands give the
notices of what they did. What is true is in the store, in the order that survives a crash: serial
number, certificate, reply. SCEP's messages are in `scep_server.py`, signing in `issuer.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

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
    RequestRemoved,
    RolloverAvailable,
    RolloverDone,
    ServerDisabled,
    ServerEnabled,
    ServerKeyGenerated,
)
from ikelab.pki.config import CertServerConfig
from ikelab.pki.crl import RevokedEntries
from ikelab.pki.crl_status import is_of_wrong_clock
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
from ikelab.pki.pkcs12 import Identity
from ikelab.pki.recovery import StorageContents, restore
from ikelab.pki.request_desk import RequestDesk
from ikelab.pki.rollover import following, in_force, make_next, other_issuers, rollover_date
from ikelab.pki.scep_server import ScepServer
from ikelab.pki.server_state import PUBLISHING, TABLE, ServerInput, ServerState, ServerStatus
from ikelab.pki.store import (
    Authority,
    CaStore,
    IssuedCertificate,
    RsaKeys,
)
from ikelab.pki.x509 import (
    Certificate,
    fingerprint,
    format_name,
    load_certificate,
)
from ikelab.types import Now, Rng, TimeBase, Timer

__all__ = ["TABLE", "CertificateServer", "ServerInput", "ServerState", "ServerStatus"]

# `lifetime enrollment-request`: a week in IOS.
REQUEST_LIFETIME = timedelta(days=7)
_CLOCK_RETRY = 10.0  # seconds between looks at an unsynchronized clock


class CertificateServer(RequestDesk):
    """One certificate server. legacy: the algorithms and formats of 2009 (MD5, DES, v1 CRLs).

    prepared: the key pair that somebody made for a root before its first start, if any.
    """

    def __init__(
        self,
        config: CertServerConfig,
        store: CaStore,
        rng: Rng,
        keys: RsaKeys,
        legacy: bool = False,
        prepared: Callable[[], RSAPrivateKey | None] = lambda: None,
    ) -> None:
        self.config = config
        self.store = store
        self._prepared = prepared
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
            notices = self._swap(now)
            return notices + self._input(ServerInput.START, now) + self._follow_clock(now)
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
            if not same and ca.not_before > now.wall:
                following = Authority(generation, key, certificate, tuple(chain))
                return self._hold_next(following, now)
        self._require(ServerInput.CERTIFICATE)
        authority = Authority(generation, key, certificate, tuple(chain))
        archived = self._save(authority)
        # The guide's sub-CAs show 0x1 as soon as they are enabled; their first router gets 2.
        self.store.raise_last_serial(1)
        self._take(authority)
        return archived + self._input(ServerInput.CERTIFICATE, now)

    def _hold_next(self, following: Authority, now: Now) -> list[CaNotice]:
        """The certificate that takes over at the end of ours. Nothing new where it is held."""
        if any(item.certificate == following.certificate for item in self.store.generations()):
            return []
        self.store.save_rollover(following, [])
        available = _rollover_available(self.config.name, following)
        if self.state is not ServerState.ENABLED:  # shut, but its trustpoint went on
            return [available]
        return [*self._input(ServerInput.NEXT_CERTIFICATE, now), available]

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
        if step == "make_next":
            notices += self._make_next()
        if step == "write_serial" and self.config.mode == "sub-cs":
            self.store.queue_files([serial_file(self.config.name, self.store.last_serial())])
        if step in PUBLISHING:
            notices += self.publish_crl(now)
        was, self.state = self.state, new_state
        if new_state is ServerState.ENABLED and was is not ServerState.ENABLED:
            notices.append(ServerEnabled(self.config.name))
        elif new_state not in (ServerState.ENABLED, ServerState.REQUEST_PENDING, was):
            notices.append(ServerDisabled(self.config.name, new_state.value))
        return notices

    def _sign_itself(self, now: Now) -> list[CaNotice]:
        """Key, serial number, certificate: in this order, so that a crash skips a serial only."""
        prepared = self._prepared()
        key = prepared or self._keys.rsa_key(self.config.name, 1024 if self.legacy else 2048)
        serial = self.store.reserve_serial()
        certificate = sign_ca_certificate(self.config, key, serial, now.wall)
        authority = Authority(1, key, certificate)
        files = issued_files(self.config, certificate, self.store.last_serial())
        self.store.record_issued(IssuedCertificate(serial, certificate), files)
        archived = self._save(authority)
        self._take(authority)
        made = [] if prepared else [ServerKeyGenerated(self.config.name, key.key_size)]
        return [*made, *archived]

    def _make_next(self) -> list[CaNotice]:
        assert self._authority is not None
        key = self._keys.rsa_key(self.config.name, self._authority.key.key_size)
        made = make_next(self.config, self.store, self._authority, key)
        return [
            ServerKeyGenerated(self.config.name, key.key_size),
            _rollover_available(self.config.name, made),
        ]

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
        if self._rollover_at is not None:
            found.append(Timer.at(self._rollover_at, f"{name}: rollover"))
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
        notices = self._follow_clock(now)
        if self.state is not ServerState.ENABLED:
            return notices
        for request in self._pending():
            if request.received + REQUEST_LIFETIME <= now.wall and request.request_id is not None:
                if self.store.remove_request(request.number):
                    notices.append(RequestRemoved(self.config.name, request.request_id, True))
        if self._is_crl_due(now):
            notices += self.publish_crl(now)
        return notices

    def _is_crl_due(self, now: Now) -> bool:
        """Also where the last one was made by a clock that was far ahead and is set right."""
        if self._crl_due is None or self._crl_due <= now.wall:
            return True
        last = self.store.load_crl()
        return last is not None and is_of_wrong_clock(last.this_update, now.wall)

    def ask(self, now: Now) -> list[HttpRequest]:
        """What a registration authority wants of its CA now; nothing else asks anybody."""
        return []

    def answered(self, event: HttpReply | HttpFailed, now: Now) -> list[CaNotice]:
        """The answer to `ask`."""
        return []

    def _follow_clock(self, now: Now) -> list[CaNotice]:
        """The CA certificate of this moment, or none any more, and the next one when it is time."""
        if self.state not in (ServerState.ENABLED, ServerState.EXPIRED) or self._ca is None:
            return []
        notices = self._swap(now)
        if notices:
            notices += self._input(ServerInput.SWAP, now)
        holds = now.wall < self._ca.not_after
        if not holds and self.state is ServerState.ENABLED:
            notices += self._input(ServerInput.EXPIRE, now)
        if holds and self.state is ServerState.EXPIRED:
            notices += self._input(ServerInput.RECOVER, now)
        if holds and self._rollover_at is not None and self._rollover_at <= now.wall:
            notices += self._input(ServerInput.ROLLOVER, now)
        return notices

    def _catch_up(self, now: Now) -> list[CaNotice]:
        """Somebody asks before the timer came: the generation of this moment is to answer."""
        ca = self._ca
        if ca is None or (
            self.state is ServerState.ENABLED and ca.not_before <= now.wall < ca.not_after
        ):
            return []
        wanted = in_force(self.store.generations(), now.wall)
        present = self._authority
        is_other = wanted and present and wanted.generation != present.generation
        return self._follow_clock(now) if is_other or self.state is ServerState.EXPIRED else []

    def _swap(self, now: Now) -> list[CaNotice]:
        """Take the generation of this moment in force; [] where it is already.

        What is saved here is all there is to lose: whoever is killed before finds the rollover
        certificate in the store, and whoever is killed after starts with it.
        """
        present, wanted = self._authority, in_force(self.store.generations(), now.wall)
        if wanted is None or present is None or wanted.generation == present.generation:
            return []
        following = self.store.load_rollover()
        again = following is None or following.generation != wanted.generation
        archived = [] if again else self._save(wanted)
        self._take(wanted)
        ca = load_certificate(wanted.certificate)
        return [*archived, RolloverDone(self.config.name, ca.serial, ca.not_after, again)]

    @property
    def _rollover_at(self) -> datetime | None:
        """When a root is to make its next certificate; None where there is one. A subordinate CA's
        trustpoint asks for it.
        """
        if self._authority is None or self._ca is None or self.config.mode != "root":
            return None
        date = rollover_date(self.config, self._ca)
        return None if date is None or following(self.store, self._authority) else date

    @property
    def rollover_overlap(self) -> timedelta | None:
        """How long before the end of the CA certificate its trustpoint asks for the next one."""
        return self.config.auto_rollover if self.config.mode == "sub-cs" else None

    # --- commands ---------------------------------------------------------------------------------

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
        after = None if authority is None else following(self.store, authority)
        next_ca = None if after is None else load_certificate(after.certificate)
        date = None if ca is None or next_ca is not None else rollover_date(self.config, ca)
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
            rollover_fingerprint=None if next_ca is None else fingerprint(next_ca.der, "md5"),
            rollover_expires=None if next_ca is None else next_ca.not_after,
            rollover_date=date,
        )

    @property
    def certificates(self) -> tuple[bytes | None, bytes | None]:
        """The CA certificate in force and the next one, DER."""
        if self._authority is None:
            return None, None
        after = following(self.store, self._authority)
        return self._authority.certificate, None if after is None else after.certificate

    # --- HTTP -------------------------------------------------------------------------------------

    def answer(self, request: HttpIn, now: Now) -> HttpOut:
        """One HTTP request; a CertRep is still to be signed: `HttpOut.sign`.

        Never raises PkiError: what is wrong becomes a status or a CertRep. Errors of the store
        pass: a CA that cannot remember must not answer.
        """
        notices = self._catch_up(now)
        try:
            issuer = self._issuer()
        except PkiError as error:
            refused = RequestRefused(self.config.name, "HTTP", "", error.reason, error.detail)
            return HttpOut(503, "text/plain", b"not in service\n", (*notices, refused))
        server = ScepServer(
            issuer,
            lambda: self._other_issuers(issuer),
            lambda: following(self.store, issuer.authority),
        )
        answer = server.answer(request, now.wall)
        return replace(answer, notices=(*notices, *answer.notices)) if notices else answer

    def _other_issuers(self, present: Issuer) -> Iterable[Issuer]:
        return other_issuers(present)


def _rollover_available(server: str, following: Authority) -> RolloverAvailable:
    ca = load_certificate(following.certificate)
    return RolloverAvailable(server, ca.serial, ca.not_before)
