"""How a trustpoint comes from one generation of its CA to the next.

When a renewal by the CA it holds would bring nothing, since CA and certificate end together, the
trustpoint learns the next CA certificate (GetNextCACert) and is certified below that one, ahead of
its time; a certificate server's trustpoint gets its next certificate in the same way. Where the CA
has no next key but a new certificate for the present one, that takes the old one's place.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from ikelab.errors import PkiError
from ikelab.pki import generations
from ikelab.pki.enrollment_events import TrustpointAction
from ikelab.pki.events import (
    CaRenewed,
    GenerationSwapped,
    HttpReply,
    NextCaHeld,
    NextCaMissing,
    NextCertificateHeld,
)
from ikelab.pki.key_pairs import REGENERATED
from ikelab.pki.scep_client import (
    CaBundle,
    read_ca_certificates,
    read_next_ca_certificates,
)
from ikelab.pki.store import Generation, PendingEnrollment
from ikelab.pki.trustpoint_core import TrustpointCore
from ikelab.pki.trustpoint_state import Input, State
from ikelab.pki.x509 import format_name, load_certificate
from ikelab.types import Now, TimeBase, Timer

# Between two requests, where no answer is on its way that would meet another generation.
_SWAPPING = frozenset(
    {State.ENROLLED, State.PENDING, State.REQUEST_RETRY, State.FAILED, State.CA_AUTHENTICATED}
)


class Succession(TrustpointCore):
    """The part of a trustpoint that looks ahead.

    overlap: of a certificate server's trustpoint, how long before the end of its certificate the
    next one is asked for; its key is then always a new one.
    """

    overlap: timedelta | None = None
    _look_at: float | None = None  # when to look again for a next CA that was not there
    _looked: bool = False

    # --- what others may know ---------------------------------------------------------------------

    @property
    def renews_itself(self) -> bool:
        """Whether nobody has to type anything for the next certificate."""
        return self.config.auto_enroll is not None or self.overlap is not None

    @property
    def renew_date(self) -> datetime | None:
        """Start + `auto-enroll` per cent of the certificate's life, as the guide's dates show.

        Of a certificate server: the end less the overlap. Never sooner than a retry period:
        renewals of very short certificates would follow each other without a pause.
        """
        if self._stored.certificate is None or not self.renews_itself:
            return None
        certificate = load_certificate(self._stored.certificate)
        life = certificate.not_after - certificate.not_before
        if self.overlap is not None:
            after = life - self.overlap
        else:
            after = life * (self.config.auto_enroll or 0) / 100
        return certificate.not_before + max(after, timedelta(seconds=self.config.retry_period))

    # --- time -------------------------------------------------------------------------------------

    def _succession_timer(self) -> Timer | None:
        """When an enrolled trustpoint renews or looks for the next CA."""
        name, after = self.config.name, self.following
        if not self._looked and self._wants_look():
            return Timer(TimeBase.ELAPSED, 0.0, f"{name}: next CA certificate")
        if self._look_at is not None and after is None:
            label = f"{name}: next CA certificate"
            return Timer(TimeBase.ELAPSED, self._look_at, label, routine=True)
        renew = None if after is not None and after.certificate is not None else self.renew_date
        return None if renew is None else Timer.at(renew, f"{name}: renewal")

    @property
    def swap_timer(self) -> Timer | None:
        """When the generation held beside takes over, whatever is asked for meanwhile."""
        date = generations.swap_date(self._stored)
        if date is None or self.state not in _SWAPPING:
            return None
        return Timer.at(date, f"{self.config.name}: next CA certificate in force")

    def _wants_look(self) -> bool:
        """Whether the CA has let us know that it has another certificate than the one we hold.

        Without a URL nobody can be asked (certificates that were brought in or pasted).
        """
        if self.config.enrollment_url is None:
            return False
        if generations.outlives_its_ca(self._stored):
            return True
        return "GetNextCACert" in self._stored.capabilities and self._stored.beside is None

    def _swap_due(self, now: Now) -> Input | None:
        if self.state not in _SWAPPING or not generations.is_swap_due(self._stored, now.wall):
            return None
        beside = self._stored.beside
        assert beside is not None, "it is due"
        return Input.SWAP if self._is_usable(beside, now) else Input.SWAP_CA

    def _succession_due(self, now: Now) -> Input | None:
        """What an enrolled trustpoint, or one whose last request failed, has to do now."""
        after = self.following
        if after is not None and after.certificate is not None:
            return None
        if self._look_at is not None and now.elapsed < self._look_at:
            return None
        self._look_at = None
        if self._is_from_the_future(now):
            return Input.TIMER
        renew = self.renew_date
        if renew is not None and renew <= now.wall:
            ends = generations.ends_with_its_ca(self._stored) and self._ca_holds(now.wall)
            return Input.ASK_NEXT if ends and after is None else Input.TIMER
        if not self._looked and self._wants_look():
            return Input.ASK_NEXT
        return None

    def _is_from_the_future(self, now: Now) -> bool:
        """Whether our certificate was made by a clock that was wrong, and ours too: it is of no use
        for long. A CA's clock that is a little ahead of ours is no reason.
        """
        present = generations.present_of(self._stored)
        if present.certificate is None or not self.renews_itself:
            return False
        return not self._is_usable(present, now) and self._ca_holds(now.wall)

    def _is_usable(self, generation: Generation, now: Now) -> bool:
        """Whether there is a certificate of ours that has begun, or does in a moment."""
        if generation.certificate is None:
            return False
        pause = timedelta(seconds=self.config.retry_period * self.config.retry_count)
        return load_certificate(generation.certificate).not_before <= now.wall + pause

    # --- steps ------------------------------------------------------------------------------------

    def _ask_next_ca(self, now: Now) -> list[TrustpointAction]:
        self._looked = True
        return [self._send(self._client.get("GetNextCACert"))]

    def _read_next_ca(self, event: HttpReply, now: Now) -> Input:
        bundle = self._bundle()
        found = read_next_ca_certificates(event.body, bundle, now.wall, legacy=self._legacy)
        if found.ca.not_before <= bundle.ca.not_before:
            raise PkiError("not-the-next", "the CA certificate announced is none that follows")
        self._found = found
        return Input.NEXT_CA

    def _hold_next_ca(self, now: Now) -> list[TrustpointAction]:
        """Beside the present one, in place of a former one. The renewal, if due, comes next."""
        assert self._found is not None
        bundle, self._found = self._found, None
        held = Generation(
            tuple(item.der for item in (bundle.ca, *bundle.upper)),
            tuple(item.der for item in bundle.ra),
        )
        self._keep(replace(self._stored, beside=held))
        subject = format_name(bundle.ca.subject)
        return [NextCaHeld(self.config.name, subject, bundle.ca.serial, bundle.ca.not_before)]

    def _ask_ca_again(self, now: Now) -> list[TrustpointAction]:
        return [self._send(self._client.get("GetCACert"))]

    def _read_ca_again(self, event: HttpReply, now: Now) -> Input:
        """A later certificate for the key we know; who signed it must be known as well."""
        found = read_ca_certificates(event.body, now.wall, legacy=self._legacy)
        held = self._bundle()
        signed = found.ca.is_self_issued or any(
            found.ca.is_signed_by(above.public_key) for above in held.upper[:1]
        )
        if not generations.renews(found.ca, held.ca) or not signed:
            raise PkiError("no-next-ca", "the CA has no other certificate than the one held")
        self._found = CaBundle(found.ca, held.upper, found.ra)
        return Input.CA_RENEWED

    def _renew_ca(self, now: Now) -> list[TrustpointAction]:
        assert self._found is not None
        bundle, self._found = self._found, None
        kept = replace(
            self._stored,
            ca_certificates=tuple(item.der for item in (bundle.ca, *bundle.upper)),
            ra_certificates=tuple(item.der for item in bundle.ra),
        )
        self._keep(kept)
        ca = bundle.ca
        return [CaRenewed(self.config.name, format_name(ca.subject), ca.serial, ca.not_after)]

    def _look_later(self, now: Now) -> list[TrustpointAction]:
        """As long as the CA has not made it; nobody needs to know before the renewal is due.

        The pause is a tenth of the time that is left, so that the looks become more frequent.
        """
        renew = self.renew_date
        if renew is None or renew > now.wall:
            return []
        end = load_certificate(self._stored.ca_certificates[0]).not_after
        left = (end - now.wall).total_seconds()
        pause = max(float(self.config.retry_period * self.config.retry_count), left // 10)
        self._look_at = now.elapsed + pause
        return [NextCaMissing(self.config.name, self._fault.detail or self._fault.reason, pause)]

    def _hold_next_certificate(
        self, pending: PendingEnrollment, der: bytes
    ) -> list[TrustpointAction]:
        """A certificate whose time is not yet, with its key, beside the one in use."""
        stored, after, label = self._stored, self.following, pending.key_label
        moved = None
        if label != f"{stored.key_label}{REGENERATED}":
            label, moved = self._pairs.final_label(stored, label)
        same_ca = Generation(stored.ca_certificates, stored.ra_certificates)
        held = after if pending.under_next and after is not None else same_ca
        held = replace(held, certificate=der, key_label=label)
        self._keep(replace(stored, beside=held, pending=None), *filter(None, (moved,)))
        if moved is not None:
            self._nvram.delete_key(pending.key_label)
        certificate = load_certificate(der)
        return [
            NextCertificateHeld(
                self.config.name,
                certificate.serial,
                format_name(certificate.issuer),
                format_name(certificate.subject),
                certificate.not_before,
            )
        ]

    def _swap(self, now: Now) -> list[TrustpointAction]:
        stored, beside = self._stored, self._stored.beside
        assert beside is not None, "it is due"
        if not self._is_usable(beside, now):
            stored = replace(stored, beside=replace(beside, certificate=None))
        self._stored = generations.swap(stored, self._nvram)
        self._look_at, self._retry_at = None, now.elapsed
        own = self._stored.certificate
        return [
            GenerationSwapped(
                self.config.name,
                None if own is None else load_certificate(own).serial,
                load_certificate(self._stored.ca_certificates[0]).serial,
            )
        ]

    def _rest(self, now: Now) -> list[TrustpointAction]:
        """Nothing to do: what failed is not needed any more."""
        return []
