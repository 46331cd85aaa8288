"""Cut and paste (`enrollment terminal`): a trustpoint that asks nobody, over no network.

The CA certificate is pasted, the request is printed, the certificate that somebody brings back is
pasted. Everything else - what is accepted, kept and used - is the trustpoint's as with SCEP; its
states are the manual table of `trustpoint_state.py`.
"""

from __future__ import annotations

from dataclasses import replace

from ikelab.errors import PkiError
from ikelab.pki.algorithms import public_key_info
from ikelab.pki.cms import build_degenerate
from ikelab.pki.enrollment_events import (
    AcceptCa,
    Enroll,
    PastedCa,
    PastedCertificate,
    RequestPrinted,
    TrustpointAction,
    TrustpointEvent,
)
from ikelab.pki.events import RequestSent
from ikelab.pki.scep_client import read_ca_certificates
from ikelab.pki.trustpoint import State, Trustpoint
from ikelab.pki.trustpoint_state import MANUAL_TABLE, Input
from ikelab.pki.x509 import format_name
from ikelab.types import Now, Timer


class TerminalTrustpoint(Trustpoint):
    """A trustpoint of `enrollment terminal`; its constructor is Trustpoint's."""

    _table = MANUAL_TABLE

    def _state_found(self) -> State:
        """A request printed before a restart still waits for its certificate."""
        found = super()._state_found()
        return State.REQUEST_PRINTED if self._stored.pending is not None else found

    def next_timer(self) -> Timer | None:
        """None: whoever pastes keeps the time."""
        return None

    def handle(self, event: TrustpointEvent, now: Now) -> list[TrustpointAction]:
        """One event. Raises PkiError for what cannot be done, or was pasted and cannot be taken."""
        match event:
            case PastedCa(certificates):
                return self._take_ca(certificates, now)
            case PastedCertificate(der):
                return self._take_certificate(der, now)
            case AcceptCa() | Enroll():
                return super().handle(event, now)
            case _:
                return []  # no answer of a web server is waited for, no timer is set

    def _take_ca(self, certificates: tuple[bytes, ...], now: Now) -> list[TrustpointAction]:
        if self.state not in (State.READY, State.CA_OFFERED):
            raise PkiError(
                "has-ca",
                "Please delete your existing CA certificate first:"
                f" `no crypto pki trustpoint {self.config.name}`",
            )
        before = self._offered
        body = certificates[0] if len(certificates) == 1 else build_degenerate(certificates)
        try:
            known = self._offer(read_ca_certificates(body, now.wall, legacy=self._legacy))
        except PkiError:
            self._offered = before
            raise
        return self._input(known, now)

    def _take_certificate(self, der: bytes, now: Now) -> list[TrustpointAction]:
        pending = self._stored.pending
        if pending is None:
            raise PkiError(
                "no-request",
                f"no request of trustpoint {self.config.name} waits for a certificate:"
                f" `crypto pki enroll {self.config.name}` prints one",
            )
        key = self._nvram.load_key(pending.key_label)
        if key is None:
            raise PkiError("no-key", "the key pair of the printed request is not there any more")
        self._granted = self._client.check_certificate(
            (der,), public_key_info(key), self._bundle().ca, now.wall
        )
        return self._input(Input.GRANTED, now)

    def _enroll(self, now: Now) -> list[TrustpointAction]:
        """Print a request; the same octets each time, so it may be printed again."""
        label = self._stored.key_label or self.config.rsakeypair or self.config.name
        key, made = self._pairs.load_or_make(label, now.wall)
        request = self._new_request(key, renews=False)
        pending = replace(self._client.begin(request, label, renews=False), transaction_id="")
        self._stored = replace(self._stored, pending=pending)
        self._nvram.save_trustpoint(self._stored)
        name, subject = self.config.name, format_name(pending.subject)
        sent = RequestSent(name, subject, pending.fingerprint_md5, pending.fingerprint_sha1)
        return [*made, sent, RequestPrinted(name, subject, request, self.config.terminal == "pem")]
