"""Certification paths: found among certificates at hand, validated as RFC 5280 section 6 has it.

Checked are names, signatures, dates, basicConstraints with path lengths, key usages, name
constraints, critical extensions and revocation by CRLs, also those a CA signs with another key of
its own. Not processed, and therefore refused where critical: policies and indirect CRLs. A trust
anchor is trusted because it is configured: its own signature and revocation are nobody's business
here, but its dates count, as on IOS.

Revocation fails closed: without a fresh CRL of every issuer in the path, nothing is accepted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from itertools import pairwise
from typing import Literal

from ikelab.errors import PkiError
from ikelab.pki.algorithms import refuse_weak
from ikelab.pki.constraints import check_names
from ikelab.pki.crl import Crl, verify_crl
from ikelab.pki.crl_status import check_status
from ikelab.pki.extensions import NameConstraints
from ikelab.pki.name import brief_name, names_match
from ikelab.pki.x509 import Certificate

# Leaf to anchor. The guide has three; twenty are an attack (each is a signature to verify).
MAX_PATH = 10
# Signatures tried while looking for a path: many CAs of one name must not stall a router.
_MAX_TRIES = 64
# Signers of CRLs whose certificates need CRLs of other signers, and so on.
_MAX_SIGNERS = 3

# RFC 4945 section 5.1.3.2: a certificate for IKE has one of these, if it has keyUsage at all.
IKE_USAGE = frozenset({"digitalSignature", "nonRepudiation"})
# RFC 4945 section 5.1.3.12: any, ipsecIKE and the older iKEIntermediate; and those of TLS, since
# many CAs issue no other.
_IKE_PURPOSES = frozenset(
    {
        "2.5.29.37.0",
        "1.3.6.1.5.5.7.3.17",
        "1.3.6.1.5.5.8.2.2",
        "1.3.6.1.5.5.7.3.1",
        "1.3.6.1.5.5.7.3.2",
    }
)


# --- finding --------------------------------------------------------------------------------------


def build_path(
    leaf: Certificate,
    candidates: Collection[Certificate],
    anchors: Collection[Certificate],
    *,
    at: datetime | None = None,
) -> tuple[Certificate, ...]:
    """The first path of `build_paths`: leaf first, anchor last; a leaf that is an anchor is alone.

    Raises PkiError("untrusted-issuer"), or "bad-signature" where issuers of the right name were
    there, but none with the key that signed.
    """
    tries = _Tries()
    for path in _paths((leaf,), candidates, anchors, at, tries):
        return path
    issuer = brief_name(leaf.issuer)
    if tries.failed:
        raise PkiError("bad-signature", f"no certificate of {tries.failed} has the key that signed")
    raise PkiError("untrusted-issuer", f"no path from a certificate of {issuer} to a trusted one")


def build_paths(
    leaf: Certificate,
    candidates: Collection[Certificate],
    anchors: Collection[Certificate],
    *,
    at: datetime | None = None,
) -> Iterator[tuple[Certificate, ...]]:
    """Every path of verified signatures from the leaf to an anchor, within the limits.

    candidates: in any order, trusted for nothing. at: certificates valid then are tried first.
    """
    return _paths((leaf,), candidates, anchors, at, _Tries())


class _Tries:
    """How many signatures were verified, and whose key was none that had signed."""

    def __init__(self) -> None:
        self.count = 0
        self.failed = ""


def _paths(
    path: tuple[Certificate, ...],
    candidates: Collection[Certificate],
    anchors: Collection[Certificate],
    at: datetime | None,
    tries: _Tries,
) -> Iterator[tuple[Certificate, ...]]:
    last = path[-1]
    if last in anchors:
        yield path
        return
    if len(path) == MAX_PATH:
        return
    for issuer in _possible_issuers(path, candidates, anchors, at):
        if tries.count == _MAX_TRIES:
            return
        tries.count += 1
        if last.is_issued_by(issuer):
            yield from _paths((*path, issuer), candidates, anchors, at, tries)
        else:
            tries.failed = brief_name(issuer.subject)


def _possible_issuers(
    path: Sequence[Certificate],
    candidates: Collection[Certificate],
    anchors: Collection[Certificate],
    at: datetime | None,
) -> list[Certificate]:
    """By name: anchors first, then what the key identifier and the dates speak for."""
    last = path[-1]
    seen = {(item.subject, item.public_key_info) for item in path}
    found = [
        item
        for item in dict.fromkeys((*anchors, *candidates))
        if names_match(item.subject, last.issuer)
        and (item.subject, item.public_key_info) not in seen
    ]
    return sorted(
        found,
        key=lambda item: (
            item not in anchors,
            None not in (ids := (item.subject_key_id, last.authority_key_id)) and ids[0] != ids[1],
            at is not None and not item.not_before <= at <= item.not_after,
        ),
    )


# --- validating -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Terms:
    """What a validation goes by. signers: of CRLs that are being verified: none proves itself."""

    at: datetime
    crls: Collection[Crl]
    others: Collection[Certificate]
    legacy: bool
    signers: tuple[Certificate, ...] = ()


def validate(
    path: Sequence[Certificate],
    anchors: Collection[Certificate],
    at: datetime,
    crls: Collection[Crl],
    revocation: Literal["crl", "none"],
    *,
    others: Collection[Certificate] = (),
    legacy: bool = False,
    key_usage: frozenset[str] | None = IKE_USAGE,
) -> None:
    """Accept a path (leaf first, anchor last) at a moment, or raise PkiError.

    crls: of any issuers. others: certificates that may have signed a CRL, trusted for nothing.
    key_usage: the leaf must be allowed one of these; None: any leaf will do (a CA's own
    certificate). legacy: take MD5, SHA-1 and short RSA keys. Reasons: "untrusted-issuer",
    "path-too-long", "weak-algorithm", "bad-signature", "not-yet-valid", "expired", "not-a-ca",
    "path-length", "key-usage", "name-constraints", "unknown-critical-extension", "crl-unavailable",
    "crl-not-yet-valid", "crl-expired", "revoked", and those of `verify_crl`.
    """
    if not path or path[-1] not in anchors:
        raise PkiError("untrusted-issuer", "the path does not end at a trusted certificate")
    terms = _Terms(at, crls, others, legacy)
    _check_path(path, terms)
    if key_usage is not None:
        _check_leaf(path[0], key_usage)
    if revocation != "none":
        _check_revocation(path, terms)


def _check_path(path: Sequence[Certificate], terms: _Terms) -> None:
    """Everything but the leaf's purpose and revocation."""
    if len(path) > MAX_PATH:
        raise PkiError("path-too-long", f"{len(path)} certificates, at most {MAX_PATH}")
    _check_signatures(path, terms.legacy)
    for certificate in reversed(path):
        _check_dates(certificate, terms.at)
        _check_extensions(certificate)
    for issuer in path[1:]:
        _check_issuer(issuer)
    _check_path_lengths(path)
    _check_name_constraints(path)


def _who(certificate: Certificate) -> str:
    return f"{brief_name(certificate.subject)} (serial 0x{certificate.serial:X})"


def _check_signatures(path: Sequence[Certificate], legacy: bool) -> None:
    """Names chain and signatures hold. An anchor's own signature is not part of the path."""
    for certificate, issuer in pairwise(path):
        if not names_match(certificate.issuer, issuer.subject):
            raise PkiError(
                "untrusted-issuer",
                f"{_who(certificate)} is issued by {brief_name(certificate.issuer)}, not by"
                f" {brief_name(issuer.subject)}",
            )
        refuse_weak(_who(certificate), legacy=legacy, digest=certificate.digest)
        refuse_weak(_who(issuer), legacy=legacy, key=issuer.public_key)
        if not certificate.is_issued_by(issuer):
            raise PkiError("bad-signature", f"{_who(certificate)} is not signed by {_who(issuer)}")
    refuse_weak(_who(path[0]), legacy=legacy, key=path[0].public_key)


def _check_dates(certificate: Certificate, at: datetime) -> None:
    if at < certificate.not_before:
        raise PkiError(
            "not-yet-valid",
            f"{_who(certificate)} starts {certificate.not_before:%Y-%m-%d %H:%M:%S}, the clock"
            f" says {at:%Y-%m-%d %H:%M:%S}",
        )
    if at > certificate.not_after:
        raise PkiError(
            "expired",
            f"{_who(certificate)} ended {certificate.not_after:%Y-%m-%d %H:%M:%S}, the clock"
            f" says {at:%Y-%m-%d %H:%M:%S}",
        )


def _check_extensions(certificate: Certificate) -> None:
    if certificate.unknown_critical:
        raise PkiError(
            "unknown-critical-extension",
            f"{_who(certificate)} has {', '.join(certificate.unknown_critical)}",
        )


def _check_issuer(issuer: Certificate) -> None:
    if not issuer.is_ca:
        raise PkiError("not-a-ca", f"{_who(issuer)} has no basicConstraints CA:TRUE")
    if issuer.key_usage is not None and "keyCertSign" not in issuer.key_usage:
        raise PkiError("key-usage", f"{_who(issuer)} may not sign certificates")


def _check_path_lengths(path: Sequence[Certificate]) -> None:
    """RFC 5280 section 6.1.4 (l), (m): CAs below a CA, those issued by itself not counted."""
    below = 0
    for position, issuer in enumerate(path[1:], start=1):
        if position > 1 and not path[position - 1].is_self_issued:
            below += 1
        if issuer.path_length is not None and below > issuer.path_length:
            raise PkiError(
                "path-length",
                f"{below} CAs below {_who(issuer)}, which allows {issuer.path_length}",
            )


def _check_name_constraints(path: Sequence[Certificate]) -> None:
    """Every CA's constraints hold for all below it; self-issued ones only where they are leaf."""
    constraints: list[tuple[Certificate, NameConstraints]] = []
    for certificate in reversed(path):
        if certificate is path[0] or not certificate.is_self_issued:
            for issuer, subtrees in constraints:
                check_names(certificate, subtrees, _who(issuer))
        if certificate.name_constraints is not None:
            constraints.append((certificate, certificate.name_constraints))


def _check_leaf(leaf: Certificate, wanted: frozenset[str]) -> None:
    if leaf.key_usage is not None and not leaf.key_usage & wanted:
        raise PkiError("key-usage", f"{_who(leaf)} has none of {', '.join(sorted(wanted))}")
    purposes = leaf.extended_key_usage
    if purposes is not None and not purposes & _IKE_PURPOSES:
        raise PkiError("key-usage", f"{_who(leaf)} is for {', '.join(sorted(purposes))} only")


# --- revocation -----------------------------------------------------------------------------------


def first_unknown(
    path: Sequence[Certificate],
    at: datetime,
    crls: Collection[Crl],
    *,
    others: Collection[Certificate] = (),
    legacy: bool = False,
) -> tuple[int, PkiError] | None:
    """Position in the path of the first certificate whose status the CRLs do not tell, and why.

    The arguments are those of `validate`; the path must have passed it.
    """
    terms = _Terms(at, crls, others, legacy)
    for position in range(len(path) - 1):
        try:
            _check_status(path[position:], terms)
        except PkiError as error:
            if error.reason != "revoked":
                return position, error
    return None


def find_crl_signer(
    crl: Crl,
    path: Sequence[Certificate],
    at: datetime,
    *,
    others: Collection[Certificate] = (),
    legacy: bool = False,
) -> Certificate:
    """The certificate whose key signed a CRL of the CA path[0]: its own, or another of this CA.

    path: of the CA's certificate. That the other one is not revoked is for `validate` to find out.
    Raises what `verify_crl` and `validate` do.
    """
    return _find_signer(crl, path=path, terms=_Terms(at, (), others, legacy), revocation=False)


def _check_revocation(path: Sequence[Certificate], terms: _Terms) -> None:
    """From the anchor down: what a revoked CA says about those below it is worth nothing."""
    for position in range(len(path) - 2, -1, -1):
        _check_status(path[position:], terms)


def _check_status(path: Sequence[Certificate], terms: _Terms) -> None:
    """Revocation of path[0] alone."""
    check_status(path[0], terms.crls, terms.at, partial(_find_signer, path=path[1:], terms=terms))


def _find_signer(
    crl: Crl, *, path: Sequence[Certificate], terms: _Terms, revocation: bool = True
) -> Certificate:
    issuer = path[0]
    try:
        verify_crl(crl, issuer, legacy=terms.legacy)
        return issuer
    except PkiError as error:
        fault = error
    for signer in dict.fromkeys((*path, *terms.others)):
        if signer in terms.signers or not _is_signer(crl, signer, issuer, terms.legacy):
            continue
        try:
            _check_signer(signer, path, terms, revocation=revocation)
        except PkiError as error:
            fault = error
            continue
        return signer
    raise fault


def _is_signer(crl: Crl, signer: Certificate, issuer: Certificate, legacy: bool) -> bool:
    if not names_match(signer.subject, issuer.subject):
        return False
    try:
        verify_crl(crl, signer, legacy=legacy)
    except PkiError:
        return False
    return True


def _check_signer(
    signer: Certificate, path: Sequence[Certificate], terms: _Terms, *, revocation: bool
) -> None:
    """Whether a certificate of the name of path[0] is the same CA's, with another key.

    It is if it leads to the same anchor by way of the same CAs above: another CA of the same name
    elsewhere below the anchor must not speak for this one.
    """
    if len(terms.signers) == _MAX_SIGNERS:
        raise PkiError("crl-untrusted-signer", f"more than {_MAX_SIGNERS} signers hang together")
    terms = replace(terms, signers=(*terms.signers, signer))
    fault = PkiError("crl-untrusted-signer", f"{_who(signer)} is no certificate of this CA")
    for way in build_paths(signer, (*path, *terms.others), path[-1:], at=terms.at):
        if _above(way) != _above(path):
            continue
        try:
            _check_path(way, terms)
            if revocation:
                _check_revocation(way, terms)
        except PkiError as error:
            fault = error
            continue
        return
    raise fault


def _above(path: Sequence[Certificate]) -> list[tuple[bytes, bytes]]:
    """The CAs of a path above those that have the name of its first certificate."""
    return [
        (item.subject, item.public_key_info)
        for item in path
        if not names_match(item.subject, path[0].subject)
    ]
