"""A router's key with its certificate and CA, brought in or taken out whole (PKCS #12, PEM).

What comes in is checked as if it came by SCEP: it must hold now, hang on the CA certificate that
comes with it and be a router's, not a CA's. Whoever brings it vouches for that CA.
"""

from __future__ import annotations

from dataclasses import replace

from ikelab.errors import PkiError
from ikelab.node.events import NodeAction
from ikelab.node.router import Router
from ikelab.pki.algorithms import public_key_info
from ikelab.pki.config import TrustpointConfig
from ikelab.pki.pkcs12 import Identity
from ikelab.pki.store import StoredTrustpoint
from ikelab.pki.trustpoint import State
from ikelab.pki.x509 import Certificate, format_name, load_certificate
from ikelab.types import Now


def assumed_capabilities(router: Router) -> tuple[str, ...]:
    """What a CA is taken to know where GetCACaps was not asked; of 2009 it is nothing.

    Without it a renewal would fall to DES and MD5, which no CA of a modern lab takes.
    """
    return () if router.legacy else ("SCEPStandard",)


def import_identity(
    router: Router, name: str, identity: Identity, now: Now, *, exportable: bool = False
) -> list[NodeAction]:
    """Make the trustpoint, if it is not there, and enroll it with what was brought.

    The key pair gets the trustpoint's name as its label. Nothing is changed if this raises
    PkiError.
    """
    _check(identity, now)
    if name in router.config.servers:
        raise PkiError("is-server", f"{name} is a certificate server: recover it from its archive")
    refuse_where_enrolled(router, name)
    held = router.nvram.load_key(name)
    if held is not None and public_key_info(held) != public_key_info(identity.key):
        raise PkiError("key-exists", f"a key pair named {name} already exists, and it is another")
    if held is None:
        router.nvram.save_key(name, identity.key, now.wall, exportable=exportable)
    router.nvram.save_trustpoint(
        StoredTrustpoint(
            name,
            capabilities=assumed_capabilities(router),
            ca_certificates=identity.chain,
            certificate=identity.certificate,
            key_label=name,
        )
    )
    return configure_imported(router, name, name, now)


def refuse_where_enrolled(router: Router, name: str) -> None:
    """An import takes nothing away. Raises PkiError("has-certificates")."""
    point = router.trustpoints.get(name)
    if point is not None and point.state not in (State.READY, State.CA_OFFERED):
        raise PkiError(
            "has-certificates",
            f"trustpoint {name} has certificates or asks for one:"
            f" `no crypto pki certificate chain {name}` removes them",
        )


def configure_imported(router: Router, name: str, label: str, now: Now) -> list[NodeAction]:
    """Take over a trustpoint that was put into nvram. label: of its key pair."""
    known = router.config.trustpoints.get(name, TrustpointConfig(name))
    trustpoints = {**router.config.trustpoints, name: replace(known, rsakeypair=label)}
    router.forget(name)
    return router.configure(replace(router.config, trustpoints=trustpoints), now)


def remove_certificates(router: Router, name: str, now: Now) -> list[NodeAction]:
    """`no crypto pki certificate chain`: the trustpoint is as new, its key pair stays."""
    router.find_trustpoint(name)
    router.nvram.delete_trustpoint(name)
    router.forget(name)
    return router.configure(router.config, now)


def exported_identity(router: Router, name: str) -> Identity:
    """What a trustpoint holds, with its private key.

    Raises PkiError("unknown-trustpoint", "not-enrolled", "not-exportable").
    """
    credential = router.find_trustpoint(name).credential
    if credential is None:
        raise PkiError("not-enrolled", f"trustpoint {name} has no certificate")
    label = credential.key_label
    key = router.nvram.load_key(label)
    if key is None or not router.nvram.is_exportable(label):
        raise PkiError(
            "not-exportable",
            f"the key pair {label} may not leave this router:"
            " `crypto key generate rsa label ... exportable` makes one that may",
        )
    return Identity(key, credential.certificate, credential.chain)


def key_label(router: Router, name: str) -> str:
    """Of the key pair that an enrolled trustpoint's certificate is for."""
    credential = router.trustpoints[name].credential
    return name if credential is None else credential.key_label


def exported_certificates(router: Router, name: str) -> tuple[bytes, bytes | None]:
    """The CA certificate of a trustpoint or a root server, and its own if it has one; DER.

    Raises PkiError("unknown-trustpoint", "no-ca-certificate").
    """
    server = router.servers.get(name)
    point = router.find_trustpoint(name) if server is None else router.trustpoints.get(name)
    if point is not None and point.anchors:
        own = point.credential
        return point.anchors[0], None if own is None else own.certificate
    authority = None if server is None else server.store.load_authority()
    if authority is None:
        raise PkiError("no-ca-certificate", f"trustpoint {name} has no CA certificate")
    if authority.chain:
        return authority.chain[0], authority.certificate
    return authority.certificate, None


def _check(identity: Identity, now: Now) -> None:
    own = load_certificate(identity.certificate)
    if own.is_ca:
        raise PkiError("wrong-rank", f"{format_name(own.subject)} is a CA, not a router")
    if not identity.chain:
        raise PkiError(
            "no-ca-certificate",
            f"no certificate of the CA {format_name(own.issuer)} came with the router's",
        )
    for certificate in (own, *map(load_certificate, identity.chain)):
        _check_dates(certificate, now)


def _check_dates(certificate: Certificate, now: Now) -> None:
    start, end = certificate.not_before, certificate.not_after
    if not start <= now.wall <= end:
        raise PkiError(
            "expired" if now.wall > end else "not-yet-valid",
            f"{format_name(certificate.subject)} holds from {start:%Y-%m-%d %H:%M:%S}"
            f" to {end:%Y-%m-%d %H:%M:%S}, now is {now.wall:%Y-%m-%d %H:%M:%S}",
        )
