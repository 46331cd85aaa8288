"""Whether a certificate is revoked, by all CRLs at hand (RFC 5280 section 6.3).

Complete CRLs, those for some places, kinds or reasons only, and deltas are put together. It fails
closed: every reason must be covered by a current CRL whose signer is proven, and one revocation
found anywhere counts. A delta always counts when it revokes; it ends a hold only if it is current
and continues the complete CRL. That a delta exists (FreshestCRL) makes it wanted, not needed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta

from ikelab.errors import PkiError
from ikelab.pki.crl import CERTIFICATE_HOLD, REASONS, REMOVE_FROM_CRL, Crl
from ikelab.pki.distribution_point import ALL_REASONS, covered_reasons
from ikelab.pki.name import brief_name, names_match
from ikelab.pki.x509 import Certificate

# The certificate whose key signed a CRL; raises PkiError where none may sign it.
FindSigner = Callable[[Crl], Certificate]

_Entry = tuple[datetime, int | None]

_WRONG_CLOCK = timedelta(days=30)


def check_status(
    certificate: Certificate, crls: Collection[Crl], at: datetime, find_signer: FindSigner
) -> None:
    """Accept a certificate that is not revoked, or raise PkiError.

    crls: of any issuers, trusted for nothing. Reasons: "revoked", "crl-unavailable" where CRLs do
    not cover every reason, else what `find_signer` and `check_crl_dates` found at fault with them.
    """
    named = [crl for crl in crls if names_match(crl.issuer, certificate.issuer)]
    missing = ALL_REASONS
    fault: PkiError | None = None
    seen = set()
    for crl in _newest_first(named):
        reasons = _covered(crl, certificate)
        if not reasons:
            continue
        try:
            signer = find_signer(crl)
            check_crl_dates(crl, at)
        except PkiError as error:
            fault = fault or error
            continue
        # An older CRL of the same kind says nothing more.
        if (kind := (crl.scope, signer.public_key_info)) in seen:
            continue
        seen.add(kind)
        deltas = [delta for delta in named if _continues(delta, crl)]
        entry = _changed(certificate, crl, _proven(deltas, signer, find_signer), at)
        if entry is not None:
            raise _revoked(certificate, entry)
        missing -= reasons
    if missing:
        raise fault or _unavailable(certificate, partly=missing != ALL_REASONS)


def _newest_first(crls: Sequence[Crl]) -> Sequence[Crl]:
    complete = [crl for crl in crls if not crl.is_delta]
    if len(complete) > 1:
        complete.sort(key=lambda crl: (crl.this_update, crl.number or 0), reverse=True)
    return complete


def _covered(crl: Crl, certificate: Certificate) -> frozenset[int]:
    return covered_reasons(
        crl.scope, certificate.crl_points, certificate.issuer, is_ca=certificate.is_ca
    )


def _continues(delta: Crl, crl: Crl) -> bool:
    """Whether a delta is for the same certificates, and newer (RFC 5280 section 5.2.4)."""
    return (
        delta.is_delta
        and delta.scope == crl.scope
        and (crl.number is None or (delta.number or 0) > crl.number)
    )


def _proven(deltas: Sequence[Crl], signer: Certificate, find_signer: FindSigner) -> Sequence[Crl]:
    """Those signed with the key of the complete CRL, the oldest first."""
    proven = []
    for delta in sorted(deltas, key=lambda delta: delta.number or 0):
        try:
            if find_signer(delta).public_key_info == signer.public_key_info:
                proven.append(delta)
        except PkiError:
            continue  # as if it were not there: the complete CRL stands
    return proven


def _changed(
    certificate: Certificate, crl: Crl, deltas: Sequence[Crl], at: datetime
) -> _Entry | None:
    """The certificate's entry in a complete CRL, as changed by deltas."""
    entry = crl.revoked.get(certificate.serial)
    for delta in deltas:
        change = delta.revoked.get(certificate.serial)
        if change is None:
            continue
        if change[1] != REMOVE_FROM_CRL:
            entry = change
        elif entry is not None and entry[1] == CERTIFICATE_HOLD and _may_lift(delta, crl, at):
            entry = None
    return entry


def _may_lift(delta: Crl, crl: Crl, at: datetime) -> bool:
    """Whether a delta is current and starts no later than where the complete CRL ends."""
    try:
        check_crl_dates(delta, at)
    except PkiError:
        return False
    if crl.number is None or delta.base_number is None:
        return False
    return delta.base_number <= crl.number


def is_of_wrong_clock(this_update: datetime, at: datetime) -> bool:
    """Whether a CRL that is dated ahead was made by a clock that was wrong, and has been set right.

    Clocks of a lab jump by years; one that is late by days catches up, and the dates of a CA's CRLs
    never fall for that.
    """
    return this_update - at > _WRONG_CLOCK


def check_crl_dates(crl: Crl, at: datetime) -> None:
    """Whether a CRL is the current one. Raises PkiError("crl-not-yet-valid", "crl-expired")."""
    if crl.next_update is not None and crl.this_update <= at < crl.next_update:
        return
    who = f"the CRL of {brief_name(crl.issuer)}"
    if at < crl.this_update:
        raise PkiError(
            "crl-not-yet-valid",
            f"{who} was published {crl.this_update:%Y-%m-%d %H:%M:%S}, the clock says"
            f" {at:%Y-%m-%d %H:%M:%S} (is it synchronized with the CA's?)",
        )
    if crl.next_update is None:
        raise PkiError("crl-expired", f"{who} has no nextUpdate (RFC 5280 section 5.1.2.5)")
    raise PkiError(
        "crl-expired",
        f"{who} was to be replaced {crl.next_update:%Y-%m-%d %H:%M:%S}, the clock says"
        f" {at:%Y-%m-%d %H:%M:%S}",
    )


def _revoked(certificate: Certificate, entry: _Entry) -> PkiError:
    date, reason = entry
    why = "" if reason is None else f" ({REASONS.get(reason, str(reason))})"
    return PkiError(
        "revoked",
        f"{brief_name(certificate.subject)} (serial 0x{certificate.serial:X}) was revoked"
        f" {date:%Y-%m-%d %H:%M:%S}{why}",
    )


def _unavailable(certificate: Certificate, *, partly: bool) -> PkiError:
    issuer = brief_name(certificate.issuer)
    if partly:
        return PkiError(
            "crl-unavailable", f"the CRLs of {issuer} at hand leave out some reasons (RFC 5280)"
        )
    return PkiError("crl-unavailable", f"no CRL of {issuer} for this certificate is at hand")
