"""The router's side of enrollment: `crypto pki trustpoint`, authenticate, enroll, poll, renew.

Sans-IO: `handle(event, now)` returns actions, `next_timer()` says when it wants to be called. The
machine is the table of `trustpoint_state.py`, the wire is `scep_client.py`. Certificates are saved
before they are used, so that a router that starts again goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from ikelab.errors import PkiError
from ikelab.pki.authentication import Authentication
from ikelab.pki.config import TrustpointConfig
from ikelab.pki.enrollment_events import (
    AcceptCa,
    Authenticate,
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
    CertificateInstalled,
    EnrollmentFailed,
    EnrollmentPending,
    HttpFailed,
    HttpReply,
    HttpRequest,
    RequestSent,
)
from ikelab.pki.generations import ends_with_its_ca, outlives_its_ca
from ikelab.pki.key_pairs import KeyPairs, key_bits
from ikelab.pki.scep_client import (
    CaBundle,
    ScepClient,
    SentMessage,
    Signer,
)
from ikelab.pki.store import Nvram, PendingEnrollment, RsaKeys, StoredTrustpoint
from ikelab.pki.succession import Succession
from ikelab.pki.trustpoint_state import TABLE, Input, State
from ikelab.pki.x509 import (
    fingerprint,
    format_name,
    load_certificate,
)
from ikelab.types import Now, Rng, TimeBase, Timer

__all__ = ["State", "Trustpoint"]

_AUTHENTICATING = frozenset({State.CAPS_SENT, State.CA_SENT})
_COMMANDS = frozenset({Input.AUTHENTICATE, Input.ACCEPT, Input.DECLINE, Input.ENROLL})
# The CA's own dates say no: nothing is asked until the clock or a person says otherwise.
_CA_ENDED = "ca-ended"


def _announcement(trustpoint: str, pending: PendingEnrollment) -> RequestSent:
    return RequestSent(
        trustpoint,
        format_name(pending.subject),
        pending.fingerprint_md5,
        pending.fingerprint_sha1,
    )


class Trustpoint(Authentication, Succession):
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
            "begin_anew": self._begin_anew,
            "ask_next_ca": self._ask_next_ca,
            "hold_next_ca": self._hold_next_ca,
            "ask_ca_again": self._ask_ca_again,
            "renew_ca": self._renew_ca,
            "look_later": self._look_later,
            "swap": self._swap,
            "rest": self._rest,
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
        """CA certificates held, DER: the one accepted first, then those above it, then those of
        the generation that is held beside. Each has its own dates.
        """
        beside = self._stored.beside
        others = () if beside is None else beside.ca_certificates
        return tuple(dict.fromkeys((*self._stored.ca_certificates, *others)))

    @property
    def issuing_cas(self) -> tuple[bytes, ...]:
        """Of these the CA itself, without those above: the one in force and the one beside."""
        beside = self._stored.beside
        others = () if beside is None else beside.ca_certificates[:1]
        return tuple(dict.fromkeys((*self._stored.ca_certificates[:1], *others)))

    @property
    def waiting(self) -> RequestSent | None:
        """The request the CA has not decided on, also if it was sent before a restart."""
        pending = self._stored.pending
        return None if pending is None else _announcement(self.config.name, pending)

    @property
    def offered(self) -> bytes | None:
        """The CA certificate (DER) that waits for `AcceptCa`."""
        return None if self._offered is None else self._offered.ca.der

    def key(self, label: str) -> RSAPrivateKey | None:
        """A key pair of this router's nvram."""
        return self._nvram.load_key(label)

    # --- the machine ------------------------------------------------------------------------------

    def next_timer(self) -> Timer | None:
        """When a poll, a repetition, an automatic enrollment or a renewal is due."""
        if self.state in (State.PENDING, State.REQUEST_RETRY, State.FAILED):
            return self._elapsed_timer("poll")
        if self.state is State.ENROLLED:
            return self._succession_timer()
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
                happened = self._due(now)
                return [] if happened is None else self._input(happened, now)
            case HttpReply() | HttpFailed():
                return self._replied(event, now)
            case PastedCa() | PastedCertificate():
                raise PkiError(
                    "not-terminal", f"trustpoint {self.config.name} has no `enrollment terminal`"
                )

    def _due(self, now: Now) -> Input | None:
        """What time has brought. Also asked where the clock was set, with no timer due."""
        swap = self._swap_due(now)
        if swap is not None:
            return swap
        if self.state is State.ENROLLED:
            return self._succession_due(now)
        timer = self.next_timer()
        is_due = timer is not None and timer.remaining(now) <= 0
        if self.state is State.FAILED and self._stored.certificate is not None:
            if not is_due and not self._is_back_in_time(now):
                return None
            if self._stored.pending is not None:
                return Input.TIMER
            return self._succession_due(now) or Input.SETTLED
        return Input.TIMER if is_due else None

    def _is_back_in_time(self, now: Now) -> bool:
        """Whether a CA that had ended by our clock, so that nothing was tried any more, holds."""
        return self._fault.reason == _CA_ENDED and self._ca_holds(now.wall)

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
            if self.state is State.NEXT_CA_SENT:
                return self._read_next_ca(event, now)
            if self.state is State.CA_AGAIN_SENT:
                return self._read_ca_again(event, now)
            return self._read_cert_rep(event, now)
        except PkiError as error:
            self._fault = error
            return Input.CA_UNFIT if self.state in _AUTHENTICATING else Input.REFUSED

    def _read_cert_rep(self, event: HttpReply, now: Now) -> Input:
        assert self._sent is not None
        pending = self._stored.pending
        bundle = self._bundle(under_next=pending is not None and pending.under_next)
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

    # --- steps: the router's certificate ----------------------------------------------------------

    def _enroll(self, now: Now) -> list[TrustpointAction]:
        """A first request, signed by a certificate the router makes for its own key."""
        label = self._stored.key_label or self.config.rsakeypair or self.config.name
        key, made = self._pairs.load_or_make(label, now.wall)
        signer = self._client.self_signed(key, now.wall)
        return made + self._request_certificate(signer, key, label, now, renews=False)

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
        under_next = ends_with_its_ca(self._stored) and self.following is not None
        if self.config.regenerate or self.overlap is not None:
            if self.following is None:  # a former generation has no key any more
                self._stored = replace(self._stored, beside=None)
            label, key, made = self._pairs.regenerate(self._stored, now.wall)
        sent = self._request_certificate(
            signer, key, label, now, renews=True, under_next=under_next
        )
        return [RenewalStarted(self.config.name), *made, *sent]

    def _request_certificate(
        self,
        signer: Signer,
        key: RSAPrivateKey,
        label: str,
        now: Now,
        *,
        renews: bool,
        under_next: bool = False,
    ) -> list[TrustpointAction]:
        """Save what a restart needs, then send. The challenge password is gone with the request."""
        if not under_next and not self._ca_holds(now.wall):
            raise PkiError(_CA_ENDED, "the CA certificate does not hold at this date")
        request = self._new_request(key, renews)
        pending = self._client.begin(request, label, renews=renews, under_next=under_next)
        bundle = self._bundle(under_next=under_next)
        self._sent = self._client.pkcs_req(
            pending, request, signer, key, bundle, self._stored.capabilities
        )
        self._keep(replace(self._stored, pending=pending))
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
        signer = self._pairs.signer_of_pending(self._stored)
        self._sent = self._client.cert_poll(
            pending,
            signer or self._client.self_signed(key, now.wall),
            key,
            self._bundle(under_next=pending.under_next),
            self._stored.capabilities,
        )
        self._tries += 1
        return [self._post(self._sent.octets)]

    def _wait(self, now: Now) -> list[TrustpointAction]:
        self._retry_at = now.elapsed + self.config.retry_period
        unanswered = self._fault.detail if self._fault.reason == "no-answer" else ""
        return [EnrollmentPending(self.config.name, float(self.config.retry_period), unanswered)]

    def _install(self, now: Now) -> list[TrustpointAction]:
        """Certificate and key change places in one transaction of nvram."""
        pending, der = self._stored.pending, self._granted
        assert pending is not None and der is not None
        certificate = load_certificate(der)
        if self._stored.certificate is not None and certificate.not_before > now.wall:
            return self._hold_next_certificate(pending, der)
        label, moved = self._pairs.final_label(self._stored, pending.key_label)
        kept = replace(self._stored, certificate=der, key_label=label, pending=None)
        self._keep(kept, *filter(None, (moved,)))
        if moved is not None:
            self._nvram.delete_key(pending.key_label)
        self._looked = self._looked and not outlives_its_ca(self._stored)
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
        if self.renews_itself and self._fault.reason != _CA_ENDED:
            self._retry_at = now.elapsed + self.config.retry_period * self.config.retry_count
        if not self.renews_itself or self._fault.reason != "worn-out":
            self._keep(replace(self._stored, pending=None))
        rejected = self._fault.reason == "refused-by-ca"
        reason = self._fault.detail or self._fault.reason
        return [EnrollmentFailed(self.config.name, reason, rejected)]

    # --- messages ------------------------------------------------------------------------

    def _post(self, octets: bytes) -> HttpRequest:
        return self._send(self._client.pki_operation(octets, self._stored.capabilities))

    def _send(self, request: HttpRequest) -> HttpRequest:
        """Number it, so that only its own answer counts."""
        self._count += 1
        self._request = replace(request, handle=f"{self.config.name} {self._count}")
        return self._request
