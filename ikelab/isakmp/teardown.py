"""Ending SAs: because the user says so, and because the peer knows of none."""

from __future__ import annotations

from collections.abc import Sequence

from ikelab.isakmp import informational
from ikelab.isakmp.context import Context
from ikelab.isakmp.events import Action, Clear
from ikelab.isakmp.policy import IpsecFlow
from ikelab.isakmp.sa import IsakmpSa, QuickModeNode
from ikelab.types import Now


def clear(context: Context, event: Clear, now: Now) -> list[Action]:
    """`clear crypto isakmp` and `clear crypto sa`: the peer is told where keys exist to do so."""
    table = context.table
    actions: list[Action] = []
    for remote in list(table.waiting):
        if event.peer in (None, remote.address) and not event.phase2_only:
            del table.waiting[remote]
    for sa in list(table.sas.values()):
        if event.peer not in (None, sa.remote.address):
            continue
        if sa.is_complete and sa is table.established_with(sa.remote):
            actions += context.delete_pairs(sa, list(table.pairs_with(sa.remote)), now)
        if event.phase2_only:
            continue
        if sa.is_complete:
            actions += context.inform(sa, [informational.farewell(sa, context.config)], now)
        actions += context.drop_sa(sa, "cleared by the user")
    for pair in list(table.pairs.values()):  # whose ISAKMP SA is gone already
        if event.peer in (None, pair.remote.address):
            actions.append(context.remove_pair(pair, "cleared by the user"))
    return actions


def flows_gone(before: Sequence[IpsecFlow], after: Sequence[IpsecFlow]) -> list[IpsecFlow]:
    """The flows that are no more: their tunnel is shut down, unprotected, or has other ends."""
    kept = {(flow.name, flow.local, flow.remote) for flow in after}
    return [flow for flow in before if (flow.name, flow.local, flow.remote) not in kept]


def end_flow(context: Context, flow: IpsecFlow, now: Now) -> list[Action]:
    """Nothing protects it any more, and the peer is told (guide, D2: a flap begins with DELETE).

    With the last flow to a peer the ISAKMP SAs go, too.
    """
    table, address = context.table, flow.remote.address
    table.waiting.get(flow.remote, {}).pop(flow.name, None)
    actions: list[Action] = []
    for pair in list(table.pairs.values()):
        if pair.flow.name != flow.name or pair.remote.address != address:
            continue
        actions += context.end_pair(pair, now, "the tunnel is shut down")
    for node in list(table.nodes.values()):
        if node.flow is not None and node.flow.name == flow.name and not node.is_over:
            actions += _end_quick_mode(context, node, now)
    if any(other.remote.address == address for other in context.config.flows):
        return actions
    for sa in list(table.sas.values()):
        if sa.remote.address == address:
            if sa.is_complete:
                actions += context.inform(sa, [informational.farewell(sa, context.config)], now)
            actions += context.drop_sa(sa, "the tunnel is shut down")
    return actions


def _end_quick_mode(context: Context, node: QuickModeNode, now: Now) -> list[Action]:
    """It leads nowhere any more; the peer may have its half of the pair already, and is told."""
    sa = context.table.sas[node.sa_handle]
    del context.table.nodes[node.handle]
    if not node.inbound_spi:
        return []
    return context.inform(sa, [informational.delete_esp([node.inbound_spi])], now)


def forget_older(context: Context, sa: IsakmpSa, now: Now) -> list[Action]:
    """INITIAL-CONTACT (RFC 2407 section 4.6.3.3): the peer knows of no SA older than this one.

    Older is what was there when this SA began: what came up since is of an exchange that crossed
    it, and the peer knows of that, too. IOS deletes the older IPsec SAs under the new SA all the
    same (guide, D1: a DELETE inside MM6).
    """
    table = context.table
    older = [
        other
        for other in table.sas.values()
        if other is not sa and _was_there(other.established, sa) and sa.has_peer_of(other)
    ]
    actions: list[Action] = []
    for remote in dict.fromkeys([sa.remote, *(other.remote for other in older)]):
        pairs = [pair for pair in table.pairs_with(remote) if _was_there(pair.established, sa)]
        actions += context.delete_pairs(sa, pairs, now, "initial contact")
    for other in older:
        actions += context.drop_sa(other, "initial contact")
    return actions


def _was_there(established: float | None, sa: IsakmpSa) -> bool:
    return established is not None and established <= sa.begun
