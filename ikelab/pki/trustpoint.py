"""The router's side of enrollment: `crypto pki trustpoint`, authenticate, enroll, poll, renew.

Sans-IO: `handle(event, now)` returns actions, `next_timer()` says when it wants to be called. The
table below is the machine: state and input give a step and the next state; a pair that is not
there is refused. What is on the wire is in `scep_client.py`. Certificates are saved before they
are used, so that a router that starts again goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from enum import Enum

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
    KeyPairGenerated,
    RenewalStarted,
    TimerFired,
    Trust,
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
from ikelab.pki.scep_client import (
    CaBundle,
    ScepClient,
    SentMessage,
    Signer,
    parse_capabilities,
    read_ca_certificates,
)
from ikelab.pki.store import Nvram, PendingEnrollment, RsaKeys, StoredTrustpoint
from ikelab.pki.x509 import (
    fingerprint,
    format_name,
    load_certificate,
    load_request,
    names_match,
)
from ikelab.types import Now, Rng, TimeBase, Timer


class State(Enum):
    """Where a trustpoint is."""

    READY = "no CA certificate"
    CAPS_SENT = "GetCACaps sent"
    CA_SENT = "GetCACert sent"
    CA_OFFERED = "waits for acceptance of the CA certificate"
    CA_AUTHENTICATED = "CA certificate accepted"
    REQUEST_SENT = "request sent"
    REQUEST_RETRY = "waits to send the request again"
    PENDING = "waits to poll"
    POLL_SENT = "poll sent"
    ENROLLED = "enrolled"
    FAILED = "enrollment failed"


class Input(Enum):
    """What can happen to it: commands, time, and what the CA's answers amount to."""

    AUTHENTICATE = "authenticate"
    ACCEPT = "yes"
    DECLINE = "no"
    ENROLL = "enroll"
    TIMER = "timer"
    NO_REPLY = "no reply"
    CAPABILITIES = "capabilities that suffice"
    CA_KNOWN = "CA certificate with the configured fingerprint"
    CA_UNKNOWN = "CA certificate somebody must look at"
    CA_UNFIT = "CA certificate or capabilities that cannot be taken"
    GRANTED = "granted"
    PENDING = "pending"
    REFUSED = "refused"


_S = State
_I = Input
_AUTHENTICATING = frozenset({_S.CAPS_SENT, _S.CA_SENT})
_FINGERPRINTS = {32: "md5", 40: "sha1", 64: "sha256"}  # by hexadecimal digits
_COMMANDS = frozenset({_I.AUTHENTICATE, _I.ACCEPT, _I.DECLINE, _I.ENROLL})

# (state, input) -> (step, next state)
TABLE: Mapping[tuple[State, Input], tuple[str, State]] = {
    (_S.READY, _I.AUTHENTICATE): ("ask_capabilities", _S.CAPS_SENT),
    (_S.READY, _I.TIMER): ("ask_capabilities", _S.CAPS_SENT),
    (_S.CAPS_SENT, _I.CAPABILITIES): ("ask_ca", _S.CA_SENT),
    (_S.CAPS_SENT, _I.CA_UNFIT): ("give_up_ca", _S.READY),
    (_S.CAPS_SENT, _I.NO_REPLY): ("give_up_ca", _S.READY),
    (_S.CA_SENT, _I.CA_KNOWN): ("hold_ca", _S.CA_AUTHENTICATED),
    (_S.CA_SENT, _I.CA_UNKNOWN): ("offer_ca", _S.CA_OFFERED),
    (_S.CA_SENT, _I.CA_UNFIT): ("give_up_ca", _S.READY),
    (_S.CA_SENT, _I.NO_REPLY): ("give_up_ca", _S.READY),
    (_S.CA_OFFERED, _I.ACCEPT): ("hold_ca", _S.CA_AUTHENTICATED),
    (_S.CA_OFFERED, _I.DECLINE): ("drop_ca", _S.READY),
    (_S.CA_AUTHENTICATED, _I.ENROLL): ("enroll", _S.REQUEST_SENT),
    (_S.CA_AUTHENTICATED, _I.TIMER): ("enroll", _S.REQUEST_SENT),
    (_S.REQUEST_SENT, _I.GRANTED): ("install", _S.ENROLLED),
    (_S.REQUEST_SENT, _I.PENDING): ("wait", _S.PENDING),
    (_S.REQUEST_SENT, _I.REFUSED): ("give_up", _S.FAILED),
    (_S.REQUEST_SENT, _I.NO_REPLY): ("wait", _S.REQUEST_RETRY),
    (_S.REQUEST_RETRY, _I.TIMER): ("send_again", _S.REQUEST_SENT),
    (_S.REQUEST_RETRY, _I.ENROLL): ("enroll", _S.REQUEST_SENT),
    (_S.PENDING, _I.TIMER): ("poll", _S.POLL_SENT),
    (_S.PENDING, _I.ENROLL): ("enroll", _S.REQUEST_SENT),
    (_S.POLL_SENT, _I.GRANTED): ("install", _S.ENROLLED),
    (_S.POLL_SENT, _I.PENDING): ("wait", _S.PENDING),
    (_S.POLL_SENT, _I.REFUSED): ("give_up", _S.FAILED),
    (_S.POLL_SENT, _I.NO_REPLY): ("wait", _S.PENDING),
    (_S.ENROLLED, _I.ENROLL): ("enroll", _S.REQUEST_SENT),
    (_S.ENROLLED, _I.TIMER): ("renew", _S.REQUEST_SENT),
    (_S.FAILED, _I.ENROLL): ("enroll", _S.REQUEST_SENT),
    (_S.FAILED, _I.TIMER): ("renew", _S.REQUEST_SENT),
}


class Trustpoint:
    """One trustpoint of a router, or of a sub-CA for itself.

    device: how the router names itself. ca_subject: for the trustpoint of a certificate server in
    `mode sub-cs`: the DN to ask a CA certificate for. legacy: algorithms and key sizes of 2009.
    """

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
        self._keys = keys
        self._nvram = nvram
        self._legacy = legacy
        self._ca_subject = ca_subject
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
        if self._stored.pending is not None:
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
        """CA certificates trusted, DER: the one accepted first, then those above it."""
        return self._stored.ca_certificates

    @property
    def trust(self) -> Trust:
        """What peers are checked against."""
        return Trust(self.config.name, self.anchors, self.config.revocation_check)

    @property
    def offered(self) -> bytes | None:
        """The CA certificate (DER) that waits for `AcceptCa`."""
        return None if self._offered is None else self._offered.ca.der

    @property
    def renew_date(self) -> datetime | None:
        """Start + `auto-enroll` per cent of the certificate's life, as the guide's dates show."""
        if self._stored.certificate is None or self.config.auto_enroll is None:
            return None
        certificate = load_certificate(self._stored.certificate)
        life = certificate.not_after - certificate.not_before
        return certificate.not_before + life * self.config.auto_enroll / 100

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
        return Timer(TimeBase.ELAPSED, self._retry_at, f"{self.config.name}: {what}")

    def handle(self, event: TrustpointEvent, now: Now) -> list[TrustpointAction]:
        """One event. Raises PkiError only for a command that cannot be carried out now."""
        match event:
            case Authenticate():
                return self._input(Input.AUTHENTICATE, now)
            case AcceptCa(yes):
                return self._input(Input.ACCEPT if yes else Input.DECLINE, now)
            case Enroll(password):
                self._password = password
                return self._input(Input.ENROLL, now)
            case TimerFired():
                timer = self.next_timer()
                due = timer is not None and timer.remaining(now) <= 0
                return self._input(Input.TIMER, now) if due else []
            case HttpReply() | HttpFailed():
                return self._replied(event, now)

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
            if self.state is State.CAPS_SENT:
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
        """An error means no keyword at all (RFC 8894 section 3.5.2)."""
        found = parse_capabilities(event.body) if event.status == 200 else ()
        self._client.check_capabilities(found)
        self._stored = replace(self._stored, capabilities=found)
        return Input.CAPABILITIES

    def _read_ca(self, event: HttpReply, now: Now) -> Input:
        bundle = read_ca_certificates(event.body, now.wall, legacy=self._legacy)
        self._offered = bundle
        wanted = self.config.fingerprint
        if wanted is None:
            return Input.CA_UNKNOWN
        found = fingerprint(bundle.ca.der, _FINGERPRINTS[len(wanted)])
        if found == wanted:
            return Input.CA_KNOWN
        raise PkiError(
            "wrong-fingerprint",
            f"the CA certificate has the fingerprint {found}, configured is {wanted}",
        )

    def _read_cert_rep(self, event: HttpReply, now: Now) -> Input:
        assert self._sent is not None
        bundle = self._bundle()
        self._granted = self._client.read_cert_rep(event.body, self._sent, bundle, now.wall)
        return Input.PENDING if self._granted is None else Input.GRANTED

    def _input(self, happened: Input, now: Now) -> list[TrustpointAction]:
        """One row of the table. A step nobody commanded that cannot be taken ends in FAILED."""
        row = TABLE.get((self.state, happened))
        if row is None:
            raise PkiError(
                "trustpoint-state",
                f"trustpoint {self.config.name}: no {happened.value!r} now ({self.state.value})",
            )
        step, new_state = row
        try:
            actions = self._steps[step](now)
        except PkiError as error:
            if happened in _COMMANDS:
                raise
            self._fault, new_state = error, State.FAILED
            actions = self._give_up(now)
        self.state = new_state
        if self._is_worn_out():
            self.state = State.FAILED
            actions = self._give_up(now)
        return actions

    def _is_worn_out(self) -> bool:
        """`enrollment retry count` tries were for nothing."""
        waits = self.state in (State.PENDING, State.REQUEST_RETRY)
        return waits and self._tries > self.config.retry_count

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
        key, made = self._key_pair(label)
        signer = self._client.self_signed(key, now.wall)
        return made + self._request_certificate(signer, key, label, renews=False)

    def _renew(self, now: Now) -> list[TrustpointAction]:
        """A request signed by the certificate it is to replace, while that one holds."""
        old = self._stored.certificate
        signer = None if old is None else self._old_signer(now)
        if signer is None:
            return self._enroll(now)
        notices: list[TrustpointAction] = [RenewalStarted(self.config.name)]
        key, label = signer.key, self._stored.key_label or ""
        if self.config.regenerate:
            label = f"{label}#"
            self._nvram.delete_key(label)
            key, made = self._key_pair(label)
            notices += made
        return notices + self._request_certificate(signer, key, label, renews=True)

    def _request_certificate(
        self, signer: Signer, key: RSAPrivateKey, label: str, *, renews: bool
    ) -> list[TrustpointAction]:
        """Save what a restart needs, then send. The challenge password is gone with the request."""
        password, self._password = self._password, None
        request = self._client.build_request(key, password)
        pending = PendingEnrollment(
            self._client.new_transaction_id(),
            load_request(request, legacy=self._legacy).subject,
            label,
            renews,
        )
        self._sent = self._client.pkcs_req(
            pending, request, signer, key, self._bundle(), self._stored.capabilities
        )
        self._stored = replace(self._stored, pending=pending)
        self._nvram.save_trustpoint(self._stored)
        self._tries = 1
        notice = RequestSent(
            self.config.name,
            format_name(pending.subject),
            fingerprint(request, "md5"),
            fingerprint(request, "sha1"),
        )
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
        signer = self._old_signer(now) if pending.renews else None
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
        label, moved = self._final_label(pending.key_label)
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
        """A certificate that was there before stays in use."""
        automatic = self.config.auto_enroll is not None
        self._retry_at = now.elapsed + self.config.retry_period if automatic else None
        self._stored = replace(self._stored, pending=None)
        self._nvram.save_trustpoint(self._stored)
        return [EnrollmentFailed(self.config.name, self._fault.detail or self._fault.reason)]

    # --- keys and messages ------------------------------------------------------------------------

    def _key_pair(self, label: str) -> tuple[RSAPrivateKey, list[TrustpointAction]]:
        """The key pair of that label, made if it is not there."""
        key = self._nvram.load_key(label)
        if key is not None:
            return key, []
        key = self._keys.rsa_key(label, self._bits())
        self._nvram.save_key(label, key)
        return key, [KeyPairGenerated(label, key.key_size)]

    def _bits(self) -> int:
        """The guide's routers make 512 bits ("%CRYPTO-6-AUTOGEN"), its CA servers 1024."""
        if not self._legacy:
            return 2048
        return 512 if self._ca_subject is None else 1024

    def _final_label(self, label: str) -> tuple[str, tuple[str, RSAPrivateKey] | None]:
        """Where a regenerated key "LABEL#" ends: as LABEL, unless another trustpoint uses that.

        The guide's hub has one key pair under two trustpoints: replacing it at the renewal of one
        would leave the other with a certificate and no key.
        """
        if label == self._stored.key_label or not label.endswith("#"):
            return label, None
        key = self._nvram.load_key(label)
        assert key is not None
        base = label[:-1]
        users = set(self._nvram.key_users(base)) - {self.config.name}
        final = f"{base}.{self.config.name}" if users else base
        return final, (final, key)

    def _old_signer(self, now: Now) -> Signer | None:
        """The present certificate with its key, as long as it holds."""
        if self._stored.certificate is None or self._stored.key_label is None:
            return None
        certificate = load_certificate(self._stored.certificate)
        key = self._nvram.load_key(self._stored.key_label)
        if key is None or certificate.not_after <= now.wall:
            return None
        return Signer(certificate, key)

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
