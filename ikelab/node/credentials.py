"""Certificates as the IKE engine is told of them: a peer's that holds, our own, and whose hold."""

from __future__ import annotations

from ikelab.errors import PkiError
from ikelab.isakmp import events as isakmp
from ikelab.isakmp.policy import Credential
from ikelab.pki.enrollment_events import Trust
from ikelab.pki.name import names_match
from ikelab.pki.trustpoint import Trustpoint
from ikelab.pki.x509 import load_certificate
from ikelab.wire.numbers import IdType


def accepted(
    handle: int, trustpoint: str, leaf: bytes, peer_id: tuple[int, bytes] | None
) -> isakmp.PeerCertAccepted:
    """What the IKE engine needs of a peer's certificate that was accepted. leaf: DER.

    peer_id: type and data of the peer's ID payload: names are compared here.
    """
    certificate = load_certificate(leaf)
    return isakmp.PeerCertAccepted(
        handle,
        trustpoint,
        certificate.public_key_info,
        certificate.subject,
        certificate.fqdns,
        certificate.addresses,
        certificate.serial,
        certificate.mailboxes,
        is_subject=peer_id is not None and _names_subject(peer_id, certificate.subject),
    )


def _names_subject(peer_id: tuple[int, bytes], subject: bytes) -> bool:
    id_type, data = peer_id
    try:
        return id_type == IdType.ID_DER_ASN1_DN and names_match(data, subject)
    except PkiError:  # the peer's octets are no Name
        return False


def trust_of(trustpoint: Trustpoint, parent: Trust | None = None) -> Trust:
    """What peers are checked against: the CA accepted (and the one that follows it), or with
    `chain-validation continue` the roots above it. parent: of the trustpoint that is named there,
    None where none is.
    """
    name, methods = trustpoint.config.name, trustpoint.config.revocation_check
    is_known = trustpoint.config.enrollment_url is not None and trustpoint.credential is not None
    by_scep = trustpoint.issuing_cas if is_known else ()
    if trustpoint.config.chain_validation == "stop":
        return Trust(name, trustpoint.issuing_cas, methods, by_scep=by_scep)
    held = [load_certificate(der) for der in trustpoint.anchors]
    roots = tuple(item.der for item in held if item.is_self_issued)
    below = tuple(item.der for item in held if not item.is_self_issued)
    if parent is not None:
        roots, below = parent.anchors, (*below, *parent.below)
    return Trust(name, roots, methods, below, by_scep)


def credential_of(trustpoint: Trustpoint) -> Credential | None:
    """An enrolled trustpoint for the IKE engine."""
    held = trustpoint.credential
    if held is None:
        return None
    leaf = load_certificate(held.certificate)
    above = [load_certificate(der) for der in held.chain]
    names = [leaf.issuer, *(ca.issuer for ca in above)]
    return Credential(
        trustpoint=held.trustpoint,
        certificate=held.certificate,
        chain=held.chain,
        authorities=tuple(dict.fromkeys(names)),
        subject=leaf.subject,
        fqdns=leaf.fqdns,
        addresses=leaf.addresses,
        key_label=held.key_label,
    )
