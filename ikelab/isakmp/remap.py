"""The peer's new port: a NAT has forgotten the old one, or was started anew (RFC 3947 section 6).

Called with proof only: a message of quick mode that holds our own nonce, or an authentic ESP
packet that is newer than any before it. Whoever copies a datagram has neither.
"""

from __future__ import annotations

from dataclasses import replace

from ikelab.isakmp.context import Context
from ikelab.isakmp.events import Action, MoveIpsecSa, Trace
from ikelab.isakmp.sa import IsakmpSa
from ikelab.types import Endpoint


def move_peer(context: Context, sa: IsakmpSa, remote: Endpoint) -> list[Action]:
    """All SAs and pairs with the peer at `sa.remote` go to another port from now on."""
    old, table = sa.remote, context.table
    if old == remote:
        return []
    told = (("old", str(old)), ("new", str(remote)))
    actions: list[Action] = [Trace(remote, sa.conn_id, "peer-moved", told)]
    for other in table.sas.values():
        if other.remote == old and other.local == sa.local:
            other.remote = remote
            for node in table.nodes_of(other):
                node.remote = remote
                if node.retransmission is not None:
                    message = replace(node.retransmission.message, remote=remote)
                    node.retransmission = replace(node.retransmission, message=message)
    for pair in table.pairs_with(old):
        table.pairs[pair.inbound_spi] = replace(pair, remote=remote)
        actions.append(MoveIpsecSa(pair.inbound_spi, remote))
    return actions


def follow_esp(context: Context, inbound_spi: bytes, remote: Endpoint) -> list[Action]:
    """The data plane has seen the peer of a pair at another port."""
    pair = context.table.pairs.get(inbound_spi)
    if pair is None or pair.remote == remote:
        return []
    sa = context.table.established_with(pair.remote)
    if sa is not None:
        return move_peer(context, sa, remote)
    context.table.pairs[inbound_spi] = replace(pair, remote=remote)
    return [MoveIpsecSa(inbound_spi, remote)]
