"""What can be waited for at a router: names, and how each is seen from its engines."""

from __future__ import annotations

from collections.abc import Mapping

from ikelab.node.router import Router
from ikelab.pki.cert_server import ServerState
from ikelab.pki.trustpoint import State, Trustpoint
from ikelab.runtime.control import Predicate


def router_conditions(router: Router) -> Mapping[str, Predicate]:
    """Predicates of a server, a trustpoint or a tunnel by name; None asks for all, or for any."""
    return {
        "ca-enabled": lambda of: _is_ca_enabled(router, of),
        "storage-lost": lambda of: _is_storage_lost(router, of),
        "storage-waits": lambda of: _is_storage_waiting(router, of),
        "answered": lambda of: _is_answered(router, of),
        "authenticated": lambda of: _is_authenticated(router, of),
        "pending": lambda of: _is_pending(router, of),
        "enrolled": lambda of: _is_enrolled(router, of),
        "time-followed": lambda of: (
            router.ntp.followed is not None and of in (None, router.ntp.followed)
        ),
        "tunnel-up": lambda of: _is_tunnel_up(router, of),
    }


def _is_ca_enabled(router: Router, of: str | None) -> bool:
    """The server issues, and all its files have reached their storage."""
    servers = [s for name, s in router.servers.items() if of in (None, name)]
    return bool(servers) and all(
        server.state is ServerState.ENABLED and not server.store.outbox() for server in servers
    )


def _is_storage_lost(router: Router, of: str | None) -> bool:
    """The server is disabled, since its storage cannot be read."""
    servers = (s for name, s in router.servers.items() if of in (None, name))
    return any(server.state is ServerState.STORAGE_LOST for server in servers)


def _is_storage_waiting(router: Router, of: str | None) -> bool:
    """Files could not be written and are to be tried again."""
    queues = (q for name, q in router.queues.items() if of in (None, name))
    return any(queue.retry_at is not None for queue in queues)


def _is_answered(router: Router, of: str | None) -> bool:
    """No request that was granted waits for the CA above, as those at an RA do."""
    servers = (s for name, s in router.servers.items() if of in (None, name))
    return not any(server.store.authorized_requests() for server in servers)


def _is_authenticated(router: Router, of: str | None) -> bool:
    points = _points(router, of)
    return bool(points) and all(point.anchors for point in points)


def _is_pending(router: Router, of: str | None) -> bool:
    """The CA, or whoever carries it there, has the request and nobody has decided on it."""
    waits = (State.PENDING, State.REQUEST_PRINTED)
    return any(point.state in waits for point in _points(router, of))


def _is_enrolled(router: Router, of: str | None) -> bool:
    points = _points(router, of)
    return bool(points) and all(point.credential is not None for point in points)


def _points(router: Router, of: str | None) -> list[Trustpoint]:
    return [point for name, point in router.trustpoints.items() if of in (None, name)]


def _is_tunnel_up(router: Router, of: str | None) -> bool:
    flows_up = {pair.flow.name for pair in router.isakmp.table.pairs.values()}
    return of in flows_up if of is not None else bool(flows_up)
