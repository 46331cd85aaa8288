"""The router's side of enrollment: `crypto pki trustpoint`, authenticate, enroll, poll, renew.

Sans-IO: `handle(event, now)` returns actions, `next_timer()` says when it wants to be called. The
machine is the table of `trustpoint_state.py`, the wire is `scep_client.py`. Certificates are saved
before they are used, so that a router that starts again goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from ikelab.errors import PkiError
from ikelab.pki.config import TrustpointConfig
from ikelab.pki.enrollment_events import (
    AcceptCa,
    Authenticate,
    AuthenticationFailed,
    CaCertificateOffered,
    Credential,
    Device,
    Enroll,
    PastedCa,
    PastedCertificate,
    RenewalStarted,
    TimerFired,
    TrustpointAction,
    TrustpointEvent,
)
from ikelab.pki.events import (
    CaCertificateAccepted,
    CertificateInstalled,
    EnrollmentFailed,
    EnrollmentPending,
    HttpFailed,
    HttpReply,
    HttpRequest,
    RequestSent,
)
from ikelab.pki.key_pairs import KeyPairs, key_bits
from ikelab.pki.scep_client import (
    CaBundle,
    ScepClient,
    SentMessage,
    Signer,
    parse_capabilities,
    read_ca_certificates,
)
from ikelab.pki.store import Nvram, PendingEnrollment, RsaKeys, StoredTrustpoint
from ikelab.pki.trustpoint_state import TABLE, Input, State
from ikelab.pki.x509 import (
    fingerprint,
    format_name,
    load_certificate,
    names_match,
)
from ikelab.types import Now, Rng, TimeBase, Timer

__all__ = ["State", "Trustpoint"]

_AUTHENTICATING = frozenset({State.CAPS_SENT, State.CA_SENT})
_COMMANDS = frozenset({Input.AUTHENTICATE, Input.ACCEPT, Input.DECLINE, Input.ENROLL})
_FINGERPRINTS = {32: "md5", 40: "sha1", 64: "sha256"}  # by hexadecimal digits


def _announcement(trustpoint: str, pending: PendingEnrollment) -> RequestSent:
    return RequestSent(
        trustpoint,
        format_name(pending.subject),
        pending.fingerprint_md5,
        pending.fingerprint_sha1,
    )


class Trustpoint:
    """One trustpoint of a router, or of a sub-CA for itself.

    device: how the router names itself. ca_subject: for the trustpoint of a certificate server in
    `mode sub-cs`: the DN to ask a CA certificate for. legacy: algorithms and key sizes of 2009.
    """

    _table = TABLE

    def __init__(
        self,
        config: TrustpointConfig,
        device: Device,
        rng: Rng,
        keys: RsaKeys,
        nvram: Nvram,
        *,
        legacy: bool = False,
        ca_subject: str | None = None,
    ) -> None:
        self.config = config
        self._nvram = nvram
        self._legacy = legacy
        self._pairs = KeyPairs(nvram, keys, key_bits(legacy, ca_subject is not None))
        self._stored = nvram.load_trustpoint(config.name) or StoredTrustpoint(config.name)
        self._client = ScepClient(config, device, rng, legacy, ca_subject)
        self._offered: CaBundle | None = None
        self._request: HttpRequest | None = None
        self._sent: SentMessage | None = None
        self._granted: bytes | None = None
        self._fault = PkiError("none")
        self._password: str | None = None
        self._count = 0
        self._tries = 0
        self._retry_at: float | None = 0.0
        self._steps: Mapping[str, Callable[[Now], list[TrustpointAction]]] = {
            "ask_capabilities": self._ask_capabilities,
            "ask_ca": self._ask_ca,
            "offer_ca": self._offer_ca,
            "hold_ca": self._hold_ca,
            "drop_ca": self._drop_ca,
            "give_up_ca": self._give_up_ca,
            "enroll": self._enroll,
            "enroll_again": self._enroll_again,
            "renew": self._renew,
            "send_again": self._send_again,
            "poll": self._poll,
            "wait": self._wait,
            "install": self._install,
            "give_up": self._give_up,
        }
        self.state = self._state_found()

    def _state_found(self) -> State:
        """Where a router that starts again goes on: with polling, if it was waiting."""
        pending = self._stored.pending
        if pending is not None and pending.transaction_id:  # one that was printed is not polled for
            return State.PENDING
        if self._stored.certificate is not None:
            return State.ENROLLED
        return State.CA_AUTHENTICATED if self._stored.ca_certificates else State.READY

    # --- what others may know ---------------------------------------------------------------------

    @property
    def credential(self) -> Credential | None:
        """The router certificate and what goes with it; None before enrollment."""
        certificate, label = self._stored.certificate, self._stored.key_label
        if certificate is None or label is None:
            return None
        return Credential(self.config.name, certificate, self._stored.ca_certificates, label)

    @property
    def anchors(self) -> tuple[bytes, ...]:
        """CA certificates held, DER: the one accepted first, then those above it."""
        return self._stored.ca_certificates

    @property
    def waiting(self) -> RequestSent | None:
        """The request the CA has not decided on, also if it was sent before a restart."""
        pending = self._stored.pending
        return None if pending is None else _announcement(self.config.name, pending)

    @property
    def offered(self) -> bytes | None:
        """The CA certificate (DER) that waits for `AcceptCa`."""
        return None if self._offered is None else self._offered.ca.der

    @property
    def renew_date(self) -> datetime | None:
        """Start + `auto-enroll` per cent of the certificate's life, as the guide's dates show.

        Never sooner than a retry period: near the CA's own end each certificate is shorter than the
        one before, and renewals would follow each other without a pause.
        """
        if self._stored.certificate is None or self.config.auto_enroll is None:
            return None
        certificate = load_certificate(self._stored.certificate)
        life = certificate.not_after - certificate.not_before
        pause = timedelta(seconds=self.config.retry_period)
        return certificate.not_before + max(life * self.config.auto_enroll / 100, pause)

    def key(self, label: str) -> RSAPrivateKey | None:
        """A key pair of this router's nvram."""
        return self._nvram.load_key(label)

    # --- the machine ------------------------------------------------------------------------------

    def next_timer(self) -> Timer | None:
        """When a poll, a repetition, an automatic enrollment or a renewal is due."""
        if self.state in (State.PENDING, State.REQUEST_RETRY, State.FAILED):
            return self._elapsed_timer("poll")
        renew = self.renew_date
        if self.state is State.ENROLLED and renew is not None:
            return Timer.at(renew, f"{self.config.name}: renewal")
        if self.config.auto_enroll is None:
            return None
        if self.state is State.CA_AUTHENTICATED:
            return self._elapsed_timer("automatic enrollment")
        if self.state is State.READY and self.config.fingerprint and self.config.enrollment_url:
            return self._elapsed_timer("automatic authentication")
        return None

    def _elapsed_timer(self, what: str) -> Timer | None:
        if self._retry_at is None:
            return None
        label = f"{self.config.name}: {what}"
        return Timer(TimeBase.ELAPSED, self._retry_at, label, routine=True)

    def handle(self, event: TrustpointEvent, now: Now) -> list[TrustpointAction]:
        """One event. Raises PkiError only for a command that cannot be carried out now."""
        match event:
            case Authenticate():
                return self._input(Input.AUTHENTICATE, now)
            case AcceptCa(yes):
                return self._input(Input.ACCEPT if yes else Input.DECLINE, now)
            case Enroll(password):
                self._password = password
                try:
                    return self._input(Input.ENROLL, now)
                finally:
                    self._password = None
            case TimerFired():
                timer = self.next_timer()
                due = timer is not None and timer.remaining(now) <= 0
                return self._input(Input.TIMER, now) if due else []
            case HttpReply() | HttpFailed():
                return self._replied(event, now)
            case PastedCa() | PastedCertificate():
                raise PkiError(
                    "not-terminal", f"trustpoint {self.config.name} has no `enrollment terminal`"
                )

    def _replied(self, event: HttpReply | HttpFailed, now: Now) -> list[TrustpointAction]:
        """Only the answer to the request that is out; an older one changes nothing."""
        if self._request is None or event.handle != self._request.handle:
            return []
        self._request = None
        return self._input(self._classify(event, now), now)

    def _classify(self, event: HttpReply | HttpFailed, now: Now) -> Input:
        """What an answer amounts to in the present state; why, if it is bad, is kept for it."""
        if isinstance(event, HttpFailed):
            self._fault = PkiError("no-answer", event.reason)
            return Input.NO_REPLY
        try:
            if self.state is State.CAPS_SENT and event.status < 500:
                return self._read_capabilities(event)
            if event.status != 200:
                self._fault = PkiError("no-answer", f"the CA answered HTTP status {event.status}")
                return Input.NO_REPLY
            if self.state is State.CA_SENT:
                return self._read_ca(event, now)
            return self._read_cert_rep(event, now)
        except PkiError as error:
            self._fault = error
            return Input.CA_UNFIT if self.state in _AUTHENTICATING else Input.REFUSED

    def _read_capabilities(self, event: HttpReply) -> Input:
        """A CA that knows no GetCACaps has no keyword at all (RFC 8894 section 3.5.2)."""
        found = parse_capabilities(event.body) if event.status == 200 else ()
        self._client.check_capabilities(found)
        self._stored = replace(self._stored, capabilities=found)
        return Input.CAPABILITIES

    def _read_ca(self, event: HttpReply, now: Now) -> Input:
        return self._offer(read_ca_certificates(event.body, now.wall, legacy=self._legacy))

    def _offer(self, bundle: CaBundle) -> Input:
        """Known by the configured fingerprint, or for somebody to look at."""
        self._offered = bundle
        wanted = self.config.fingerprint
        if wanted is None:
            return Input.CA_UNKNOWN
        found = fingerprint(bundle.ca.der, _FINGERPRINTS.get(len(wanted), "sha256"))
        if found == wanted.upper():
            return Input.CA_KNOWN
        raise PkiError(
            "wrong-fingerprint",
            f"the CA certificate has the fingerprint {found}, configured is {wanted}",
        )

    def _read_cert_rep(self, event: HttpReply, now: Now) -> Input:
        assert self._sent is not None
        bundle = self._bundle()
        self._granted = self._client.read_cert_rep(event.body, self._sent, bundle, now.wall)
        if self._granted is not None:
            return Input.GRANTED
        self._fault = PkiError("pending", "the CA has not decided")
        return Input.PENDING

    def _input(self, happened: Input, now: Now) -> list[TrustpointAction]:
        """One row of the table. A step nobody commanded that cannot be taken ends in FAILED."""
        row = self._table.get((self.state, happened))
        if row is None:
            raise PkiError(
                "trustpoint-state",
                f"trustpoint {self.config.name}: no {happened.value!r} now ({self.state.value})",
            )
        step, new_state = row
        if step == "wait" and self._tries > self.config.retry_count:
            step, new_state = "give_up", State.FAILED
            self._fault = PkiError(
                "worn-out", f"no certificate after {self._tries - 1} retries ({self._fault.detail})"
            )
        try:
            actions = self._steps[step](now)
        except PkiError as error:
            if happened in _COMMANDS:
                raise
            self._fault, new_state = error, State.FAILED
            actions = self._give_up(now)
        self.state = new_state
        return actions

    # --- steps: the CA certificate ----------------------------------------------------------------

    def _ask_capabilities(self, now: Now) -> list[TrustpointAction]:
        return [self._send(self._client.get("GetCACaps"))]

    def _ask_ca(self, now: Now) -> list[TrustpointAction]:
        return [self._send(self._client.get("GetCACert"))]

    def _offer_ca(self, now: Now) -> list[TrustpointAction]:
        assert self._offered is not None
        ca = self._offered.ca
        return [
            CaCertificateOffered(
                trustpoint=self.config.name,
                subject=format_name(ca.subject),
                fingerprint_md5=fingerprint(ca.der, "md5"),
                fingerprint_sha1=fingerprint(ca.der, "sha1"),
                subordinate=not names_match(ca.subject, ca.issuer),
            )
        ]

    def _hold_ca(self, now: Now) -> list[TrustpointAction]:
        assert self._offered is not None
        bundle, self._offered = self._offered, None
        self._stored = replace(
            self._stored,
            ca_certificates=tuple(item.der for item in (bundle.ca, *bundle.upper)),
            ra_certificates=tuple(item.der for item in bundle.ra),
        )
        self._nvram.save_trustpoint(self._stored)
        self._retry_at = now.elapsed
        digest = fingerprint(bundle.ca.der, "sha256")
        return [CaCertificateAccepted(self.config.name, format_name(bundle.ca.subject), digest)]

    def _drop_ca(self, now: Now) -> list[TrustpointAction]:
        """Somebody looked and said no: not again without a command."""
        self._fault = PkiError("not-accepted", "the CA certificate was not accepted")
        return self._give_up_ca(now)

    def _give_up_ca(self, now: Now) -> list[TrustpointAction]:
        """No answer is asked for again (the CA may not be up yet); a bad one is not."""
        again = self._fault.reason == "no-answer"
        self._retry_at = now.elapsed + self.config.retry_period if again else None
        self._offered = None
        self._stored = StoredTrustpoint(self.config.name)
        return [AuthenticationFailed(self.config.name, self._fault.reason, self._fault.detail)]

    # --- steps: the router's certificate ----------------------------------------------------------

    def _enroll(self, now: Now) -> list[TrustpointAction]:
        """A first request, signed by a certificate the router makes for its own key."""
        label = self._stored.key_label or self.config.rsakeypair or self.config.name
        key, made = self._pairs.load_or_make(label)
        signer = self._client.self_signed(key, now.wall)
        return made + self._request_certificate(signer, key, label, renews=False)

    def _enroll_again(self, now: Now) -> list[TrustpointAction]:
        """`crypto pki enroll` while a request waits: what has become of it?

        IOS too has the command typed again after a restart, and the CA knows the request by its
        transactionID. With another password or under another name it is another request.
        """
        pending = self._stored.pending
        key = None if pending is None else self._nvram.load_key(pending.key_label)
        if pending is None or key is None:
            return self._enroll(now)
        if fingerprint(self._new_request(key, pending.renews), "md5") != pending.fingerprint_md5:
            return self._enroll(now)
        self._tries = 0
        return self._poll(now)

    def _new_request(self, key: RSAPrivateKey, renews: bool) -> bytes:
        """PKCS #10, the same octets every time; only a first one has the challenge password."""
        password = None if renews else self._password or self.config.password
        return self._client.build_request(key, password)

    def _renew(self, now: Now) -> list[TrustpointAction]:
        """A request signed by the certificate it is to replace, while that one holds.

        A request the CA has not decided on is polled for again, not followed by another.
        """
        if self._stored.pending is not None:
            self._tries = 0
            return self._poll(now)
        signer = self._pairs.holder(self._stored, now.wall)
        if signer is None:
            return self._enroll(now)
        key, label = signer.key, self._stored.key_label or ""
        made: list[TrustpointAction] = []
        if self.config.regenerate:
            label, key, made = self._pairs.regenerate(label)
        sent = self._request_certificate(signer, key, label, renews=True)
        return [RenewalStarted(self.config.name), *made, *sent]

    def _request_certificate(
        self, signer: Signer, key: RSAPrivateKey, label: str, *, renews: bool
    ) -> list[TrustpointAction]:
        """Save what a restart needs, then send. The challenge password is gone with the request."""
        request = self._new_request(key, renews)
        pending = self._client.begin(request, label, renews=renews)
        self._sent = self._client.pkcs_req(
            pending, request, signer, key, self._bundle(), self._stored.capabilities
        )
        self._stored = replace(self._stored, pending=pending)
        self._nvram.save_trustpoint(self._stored)
        self._tries = 1
        notice = _announcement(self.config.name, pending)
        return [notice, self._post(self._sent.octets)]

    def _send_again(self, now: Now) -> list[TrustpointAction]:
        """The same octets: whatever the CA has seen of them, its answer is the same."""
        assert self._sent is not None
        self._tries += 1
        return [self._post(self._sent.octets)]

    def _poll(self, now: Now) -> list[TrustpointAction]:
        pending = self._stored.pending
        key = None if pending is None else self._nvram.load_key(pending.key_label)
        if pending is None or key is None:
            raise PkiError("no-key", "the key pair of the pending request is not there any more")
        signer = self._pairs.holder(self._stored, now.wall) if pending.renews else None
        self._sent = self._client.cert_poll(
            pending,
            signer or self._client.self_signed(key, now.wall),
            key,
            self._bundle(),
            self._stored.capabilities,
        )
        self._tries += 1
        return [self._post(self._sent.octets)]

    def _wait(self, now: Now) -> list[TrustpointAction]:
        self._retry_at = now.elapsed + self.config.retry_period
        return [EnrollmentPending(self.config.name, float(self.config.retry_period))]

    def _install(self, now: Now) -> list[TrustpointAction]:
        """Certificate and key change places in one transaction of nvram."""
        pending, der = self._stored.pending, self._granted
        assert pending is not None and der is not None
        label, moved = self._pairs.final_label(self._stored, pending.key_label)
        self._stored = replace(self._stored, certificate=der, key_label=label, pending=None)
        self._nvram.save_trustpoint(self._stored, moved)
        if moved is not None:
            self._nvram.delete_key(pending.key_label)
        certificate = load_certificate(der)
        return [
            CertificateInstalled(
                self.config.name,
                certificate.serial,
                format_name(certificate.issuer),
                format_name(certificate.subject),
            )
        ]

    def _give_up(self, now: Now) -> list[TrustpointAction]:
        """A certificate that was there before stays in use. `auto-enroll` tries again, later."""
        self._retry_at = None
        if self.config.auto_enroll is not None:
            self._retry_at = now.elapsed + self.config.retry_period * self.config.retry_count
        if self.config.auto_enroll is None or self._fault.reason != "worn-out":
            self._stored = replace(self._stored, pending=None)
            self._nvram.save_trustpoint(self._stored)
        rejected = self._fault.reason == "refused-by-ca"
        reason = self._fault.detail or self._fault.reason
        return [EnrollmentFailed(self.config.name, reason, rejected)]

    # --- messages ------------------------------------------------------------------------

    def _bundle(self) -> CaBundle:
        ca, *upper = (load_certificate(der) for der in self._stored.ca_certificates)
        ra = (load_certificate(der) for der in self._stored.ra_certificates)
        return CaBundle(ca, tuple(upper), tuple(ra))

    def _post(self, octets: bytes) -> HttpRequest:
        return self._send(self._client.pki_operation(octets, self._stored.capabilities))

    def _send(self, request: HttpRequest) -> HttpRequest:
        """Number it, so that only its own answer counts."""
        self._count += 1
        self._request = replace(request, handle=f"{self.config.name} {self._count}")
        return self._request
