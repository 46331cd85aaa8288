"""A node's certificate servers: made with the key pair that waits for them, and their way up."""

from __future__ import annotations

from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from ikelab.ios.config import RunningConfig
from ikelab.node.askers import upstream_of
from ikelab.node.keys import NodeKeys
from ikelab.pki.cert_server import CertificateServer, ServerState
from ikelab.pki.config import CertServerConfig
from ikelab.pki.enrollment_events import AuthenticationFailed
from ikelab.pki.registration_authority import RegistrationAuthority
from ikelab.pki.store import CaStore, Nvram
from ikelab.pki.trustpoint import Trustpoint
from ikelab.types import Rng


def make_server(
    wanted: CertServerConfig,
    store: CaStore,
    running: Callable[[], RunningConfig],
    *,
    rng: Rng,
    keys: NodeKeys,
    nvram: Nvram,
    legacy: bool,
) -> CertificateServer:
    """A server with what it asks of its node. running: the configuration in force."""

    def prepared() -> RSAPrivateKey | None:
        return nvram.load_key(server_key_label(running(), wanted.name))

    if wanted.mode != "ra":
        return CertificateServer(wanted, store, rng, keys, legacy, prepared)
    return RegistrationAuthority(
        wanted,
        store,
        rng,
        keys,
        lambda: upstream_of(running(), nvram, wanted.name, rng, legacy=legacy),
        legacy,
    )


def server_key_label(config: RunningConfig, server: str) -> str:
    """Of the key pair that a root takes where `crypto key generate` made it: the server's own name
    (guide, Step 5), unless its trustpoint names another."""
    point = config.trustpoints.get(server)
    return server if point is None else point.rsakeypair or server


def no_way_up(server: CertificateServer, point: Trustpoint | None) -> list[AuthenticationFailed]:
    """A subordinate server that waits for a certificate nobody can ask for (guide, "Subordinate CA
    trustpoint and enrollment names").

    point: the trustpoint of its name.
    """
    if server.state is not ServerState.REQUEST_PENDING:
        return []
    if point is not None and (point.config.enrollment_url or point.config.terminal):
        return []
    name = server.config.name
    detail = f"certificate server {name} enrolls by `crypto pki trustpoint {name}`"
    what = "there is none" if point is None else "it has no `enrollment url`"
    return [AuthenticationFailed(name, "no-url", f"{detail}, and {what}")]
