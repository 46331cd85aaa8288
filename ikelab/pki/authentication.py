"""How a trustpoint comes to its CA certificate: `crypto pki authenticate`.

GetCACaps and GetCACert are not signed. What they bring is believed for a fingerprint only: the one
that is configured, or the one that somebody looked at.
"""

from __future__ import annotations

from dataclasses import replace

from ikelab.errors import PkiError
from ikelab.pki.enrollment_events import (
    AuthenticationFailed,
    CaCertificateOffered,
    TrustpointAction,
)
from ikelab.pki.events import CaCertificateAccepted, HttpReply
from ikelab.pki.scep_client import CaBundle, parse_capabilities, read_ca_certificates
from ikelab.pki.store import StoredTrustpoint
from ikelab.pki.trustpoint_core import TrustpointCore
from ikelab.pki.trustpoint_state import Input, State
from ikelab.pki.x509 import fingerprint, format_name, names_match
from ikelab.types import Now

_FINGERPRINTS = {32: "md5", 40: "sha1", 64: "sha256"}  # by hexadecimal digits


class Authentication(TrustpointCore):
    """The part of a trustpoint that accepts a CA."""

    _offered: CaBundle | None

    def wants_ca(self, now: Now) -> bool:
        """Whether `authenticate` has something to do: no CA yet, or one that has ended for good."""
        if self.state is State.FAILED and self._stored.ca_certificates:
            return not self._ca_holds(now.wall)
        return self.state is State.READY

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

    def _begin_anew(self, now: Now) -> list[TrustpointAction]:
        """A CA that has ended without a next one that we know of is accepted like a new one."""
        if self._ca_holds(now.wall):
            raise PkiError("has-ca", f"trustpoint {self.config.name} has a CA certificate")
        self._stored = StoredTrustpoint(self.config.name, key_label=self._stored.key_label)
        return self._ask_capabilities(now)

    def _give_up_ca(self, now: Now) -> list[TrustpointAction]:
        """No answer is asked for again (the CA may not be up yet); a bad one is not."""
        again = self._fault.reason == "no-answer"
        self._retry_at = now.elapsed + self.config.retry_period if again else None
        self._offered = None
        self._stored = StoredTrustpoint(self.config.name)
        return [AuthenticationFailed(self.config.name, self._fault.reason, self._fault.detail)]
