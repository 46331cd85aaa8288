"""A certificate server's own key and certificate, brought back from its archive.

They go into the trustpoint of the server's name; `no shutdown` of the server finds them there
(`pki/recovery.py`), as in the guide's recovery of a root and of a subordinate CA.
"""

from __future__ import annotations

from collections.abc import Sequence

from ikelab.errors import PkiError
from ikelab.node.events import NodeAction
from ikelab.node.identities import (
    assumed_capabilities,
    configure_imported,
    import_identity,
    refuse_where_enrolled,
)
from ikelab.node.router import Router
from ikelab.pki.algorithms import public_key_info
from ikelab.pki.config import TrustpointConfig
from ikelab.pki.pkcs12 import Identity
from ikelab.pki.store import Nvram, StoredTrustpoint
from ikelab.pki.x509 import format_name, load_certificate
from ikelab.types import Now


def import_pkcs12(router: Router, name: str, identity: Identity, now: Now) -> Sequence[NodeAction]:
    """`crypto pki import NAME pkcs12`: a CA for its server, a router for its trustpoint."""
    if load_certificate(identity.certificate).is_ca:
        return import_authority(router, name, identity, now)
    return import_identity(router, name, identity, now)


def import_authority(
    router: Router, name: str, identity: Identity, now: Now
) -> Sequence[NodeAction]:
    """Make the trustpoint, if it is not there, and keep the CA in it.

    The key pair takes the place of one that `crypto key generate` made for the purpose. Nothing is
    changed if this raises PkiError("has-certificates", "key-exists", "no-ca-certificate").
    """
    server = router.servers.get(name)
    if server is not None and server.store.load_authority() is not None:
        raise PkiError(
            "has-certificates",
            f"certificate server {name} has its key: `no crypto pki server {name}` destroys it",
        )
    refuse_where_enrolled(router, name)
    certificate = load_certificate(identity.certificate)
    if not certificate.is_self_issued and not identity.chain:
        raise PkiError(
            "no-ca-certificate",
            f"the CA above {format_name(certificate.subject)} is not in the file",
        )
    known = router.config.trustpoints.get(name, TrustpointConfig(name))
    label = known.rsakeypair or name
    _refuse_other_key(router.nvram, label, identity)
    stored = StoredTrustpoint(
        name,
        capabilities=assumed_capabilities(router),
        ca_certificates=identity.chain or (identity.certificate,),
        certificate=None if certificate.is_self_issued else identity.certificate,
        key_label=label,
    )
    router.nvram.save_trustpoint(stored, (label, identity.key))
    return configure_imported(router, name, label, now)


def _refuse_other_key(nvram: Nvram, label: str, identity: Identity) -> None:
    held, users = nvram.load_key(label), nvram.key_users(label)
    if held is None or not users or public_key_info(held) == public_key_info(identity.key):
        return
    raise PkiError(
        "key-exists",
        f"You already have RSA keys named {label}, and trustpoint {users[0]} uses them",
    )
