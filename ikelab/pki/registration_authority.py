"""A registration authority: `crypto pki server` in `mode ra` (the guide's second server model).

It has no CA key. Routers enroll with it as with a CA; what it grants goes on to the CA, signed with
the RA's own certificate, and the certificate that comes back waits here for the router's next poll.
Requests, passwords and grants are a certificate server's; what is granted is `authorized` in the
store until the CA has answered, so that a restart asks again under the same transactionID.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from ikelab.errors import PkiError
from ikelab.pki.algorithms import public_key_info
from ikelab.pki.ca_events import (
    CaNotice,
    RequestAuthorized,
    RequestGranted,
    RequestRefused,
    ServerNotStarted,
)
from ikelab.pki.cert_server import CertificateServer, ServerInput, ServerState, ServerStatus
from ikelab.pki.config import CertServerConfig
from ikelab.pki.events import HttpFailed, HttpReply, HttpRequest
from ikelab.pki.issuer import Issuer, kind_of, names_registration_authority
from ikelab.pki.pkcs12 import Identity
from ikelab.pki.recovery import StorageContents, check_mode
from ikelab.pki.scep import FailInfo
from ikelab.pki.scep_client import CaBundle, ScepClient, SentMessage, Signer
from ikelab.pki.store import (
    Authority,
    CaStore,
    EnrollmentRequest,
    IssuedCertificate,
    PendingEnrollment,
    RequestKind,
    RequestState,
    RsaKeys,
)
from ikelab.pki.x509 import (
    Certificate,
    CertificateRequest,
    fingerprint,
    format_name,
    load_certificate,
    load_request,
)
from ikelab.types import Now, Rng, TimeBase, Timer

_MAX_SERIAL = 1 << 63  # what the store keeps; IOS's CAs count from 1


@dataclass(frozen=True, slots=True)
class Upstream:
    """How the CA is spoken to. capabilities: its GetCACaps; retry: seconds between tries."""

    client: ScepClient
    capabilities: tuple[str, ...]
    retry: float


@dataclass(frozen=True, slots=True)
class Forwarder(Issuer):
    """An issuer that signs nothing: it lets requests pass. ca: the CA that will sign.

    authority: the RA's own key and certificate, below that CA.
    """

    @property
    def signer(self) -> Certificate:
        """The RA: it opens the routers' messages and signs what they are answered."""
        return load_certificate(self.authority.certificate)

    def check(self, request: CertificateRequest) -> None:
        """Routers only: neither a CA nor another RA comes in by an RA's word."""
        Issuer.check(self, request)
        if kind_of(request) is not RequestKind.ROUTER:
            raise PkiError(
                "not-for-an-ra",
                f"{format_name(request.subject)} is no router: ask the CA itself",
                fail_info=FailInfo.BAD_REQUEST,
            )

    def grant(
        self,
        waiting: EnrollmentRequest,
        now: datetime,
        request: CertificateRequest | None = None,
    ) -> tuple[None, RequestAuthorized]:
        """Authorize a pending request; the certificate comes later. Raises PkiError."""
        if not self.store.authorize_request(waiting.number):
            raise PkiError(
                "not-pending", f"request {waiting.request_id or 0} is not pending any more"
            )
        subject = format_name(waiting.subject)
        return None, RequestAuthorized(self.config.name, waiting.request_id or 0, subject)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is on its way to the CA."""

    handle: str
    request: EnrollmentRequest
    message: SentMessage


class RegistrationAuthority(CertificateServer):
    """One RA. upstream: how its trustpoint speaks to the CA, None while it cannot."""

    def __init__(
        self,
        config: CertServerConfig,
        store: CaStore,
        rng: Rng,
        keys: RsaKeys,
        upstream: Callable[[], Upstream | None],
        legacy: bool = False,
    ) -> None:
        super().__init__(config, store, rng, keys, legacy)
        self._upstream = upstream
        self._asked: _Asked | None = None
        self._due: dict[int, float] = {}  # request number -> when to ask again
        self._kept: set[int] = set()  # requests the CA has told to be polled for
        self._count = 0

    # --- life -------------------------------------------------------------------------------------

    def resume(self, contents: StorageContents, identity: Identity | None = None) -> None:
        """An RA has no database to restore; its certificate may be in the trustpoint already."""
        present = self.store.load_authority()
        if present is not None:
            check_mode(self.config, present)
        elif identity is not None:
            self._adopt(identity.certificate, identity.chain, identity.key)

    def install_certificate(
        self, certificate: bytes, chain: Sequence[bytes], key: RSAPrivateKey, now: Now
    ) -> list[CaNotice]:
        """The RA's certificate has come, through the trustpoint of the same name."""
        subject = load_certificate(certificate).subject
        if not names_registration_authority(subject):
            detail = f"{format_name(subject)} has neither cn=ioscs RA nor ou=ioscs RA in it"
            return [ServerNotStarted(self.config.name, "not-an-ra", detail)]
        self._require(ServerInput.CERTIFICATE)
        self._adopt(certificate, chain, key)
        return self._input(ServerInput.CERTIFICATE, now)

    def _adopt(self, certificate: bytes, chain: Sequence[bytes], key: RSAPrivateKey) -> None:
        old = self._authority
        same = old is not None and public_key_info(old.key) == public_key_info(key)
        generation = (0 if old is None else old.generation) + (0 if same else 1)
        authority = Authority(generation, key, certificate, tuple(chain))
        self.store.save_authority(authority, [])
        self._take(authority)

    def _issuer(self) -> Forwarder:
        authority, _ = self._working()
        ca = load_certificate(authority.chain[0])
        return Forwarder(self.config, self.store, authority, ca, self.legacy)

    def _other_issuers(self, present: Issuer) -> Iterator[Forwarder]:
        """Routers know the RA by certificates it had before, of this key or an older one."""
        for old in self.store.generations():
            ders = self.store.former_certificates(old.generation)
            if old.generation != present.authority.generation:
                ders = (*ders, old.certificate)
            for der in ders:
                authority = replace(old, certificate=der)
                yield Forwarder(self.config, self.store, authority, present.ca, self.legacy)

    def publish_crl(self, now: Now) -> list[CaNotice]:
        """An RA has none."""
        return []

    def revoke(self, serial: int, now: Now, reason: int | None = None) -> list[CaNotice]:
        """Not here. Raises PkiError."""
        raise PkiError("not-a-ca", f"{self.config.name} is an RA: revoke at its CA")

    def paste_request(
        self, request: bytes, form: str, now: Now
    ) -> tuple[EnrollmentRequest, list[CaNotice]]:
        """Not here, where the certificate could not be printed at once. Raises PkiError."""
        raise PkiError("not-a-ca", f"{self.config.name} is an RA: paste the request at its CA")

    def status(self) -> ServerStatus:
        """With the CA's name and fingerprint, and the RA's own."""
        status, authority = super().status(), self._authority
        if authority is None:
            return status
        ca = load_certificate(authority.chain[0])
        return replace(
            status,
            issuer=format_name(ca.subject),
            fingerprint=fingerprint(ca.der, "md5"),
            upper_fingerprint=None,
            ra_fingerprint=status.fingerprint,
        )

    # --- the CA -----------------------------------------------------------------------------------

    def timers(self) -> list[Timer]:
        """When the next authorized request is to be taken to the CA."""
        if self.state is ServerState.ENABLED and self._asked is None:
            waiting = self.store.authorized_requests()
            if waiting:
                due = min(self._due.get(row.number, 0.0) for row in waiting)
                what = f"{self.config.name}: request to the CA"
                return [Timer(TimeBase.ELAPSED, due, what, routine=True)]
        return super().timers()

    def ask(self, now: Now) -> list[HttpRequest]:
        """The next authorized request whose time has come, one at a time."""
        upstream = self._upstream()
        if self.state is not ServerState.ENABLED or self._asked is not None:
            return []
        for row in self.store.authorized_requests():
            if self._due.get(row.number, 0.0) > now.elapsed:
                continue
            self._due[row.number] = now.elapsed + (60.0 if upstream is None else upstream.retry)
            if upstream is not None:
                return [self._send(row, upstream)]
        return []

    def _send(self, row: EnrollmentRequest, upstream: Upstream) -> HttpRequest:
        """PKCSReq with the router's PKCS #10, or CertPoll, signed by the RA."""
        authority, certificate = self._working()
        signer = Signer(certificate, authority.key)
        pending = PendingEnrollment(_transaction_id(row), row.subject, "")
        bundle, client = _bundle(authority), upstream.client
        if row.number in self._kept:
            sent = client.cert_poll(pending, signer, signer.key, bundle, upstream.capabilities)
        else:
            sent = client.pkcs_req(
                pending, row.request, signer, signer.key, bundle, upstream.capabilities
            )
        wanted = load_request(row.request, legacy=self.legacy).public_key_info
        self._count += 1
        self._asked = _Asked(str(self._count), row, replace(sent, subject_key=wanted))
        request = client.pki_operation(sent.octets, upstream.capabilities)
        return replace(request, handle=self._asked.handle)

    def answered(self, event: HttpReply | HttpFailed, now: Now) -> list[CaNotice]:
        """What the CA made of a request. Without a good answer it is asked again, later."""
        asked = self._asked
        if asked is None or event.handle != asked.handle:
            return []
        self._asked = None
        if isinstance(event, HttpFailed):
            return [self._unanswered(asked, "no-answer", event.reason)]
        if event.status != 200:
            return [self._unanswered(asked, "no-answer", f"HTTP status {event.status}")]
        try:
            return self._read(asked, event.body, now)
        except PkiError as error:
            if error.reason == "refused-by-ca":
                self.store.reject_request(asked.request.number, RequestState.AUTHORIZED)
            return [self._unanswered(asked, error.reason, error.detail)]

    def _read(self, asked: _Asked, body: bytes, now: Now) -> list[CaNotice]:
        upstream = self._upstream()
        if upstream is None or self._authority is None:
            return []
        bundle, row = _bundle(self._authority), asked.request
        der = upstream.client.read_cert_rep(body, asked.message, bundle, now.wall)
        if der is None:
            self._kept.add(row.number)
            return []
        serial = load_certificate(der).serial
        if serial >= _MAX_SERIAL:
            raise PkiError("serial-too-long", f"0x{serial:X} has more than 63 bits")
        if not self.store.grant_request(row.number, IssuedCertificate(serial, der), []):
            return []  # somebody has removed it meanwhile
        subject = format_name(row.subject)
        return [RequestGranted(self.config.name, row.request_id or 0, serial, subject)]

    def _unanswered(self, asked: _Asked, reason: str, detail: str) -> RequestRefused:
        return self._refused("forward", asked.request, reason, detail)


def _bundle(authority: Authority) -> CaBundle:
    ca, *upper = (load_certificate(der) for der in authority.chain)
    return CaBundle(ca, tuple(upper))


def _transaction_id(row: EnrollmentRequest) -> str:
    """The same for the same request, also after a restart; another router's is another."""
    key = row.key
    parts = (key.transaction_id.encode(), key.request_digest, key.signer_key, b"%d" % key.renews)
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:32].upper()
