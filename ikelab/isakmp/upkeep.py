"""What time asks for: resending, giving up, renewing before the end, asking whether the peer lives.

Rekeying (RFC 2409 section 5.5): the side that initiated an SA asks for the next one shortly before
its end, the other side half as early in case the first has failed, or thinks that the SA lives
longer: in phase 1 a shorter lifetime of the responder is told by nobody. The old pair stays until
its own end, so no packet is lost. Dead peer detection is in `dpd.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ikelab.errors import ProtocolError
from ikelab.isakmp import dpd, fragmentation, informational, retransmit
from ikelab.isakmp.context import Context
from ikelab.isakmp.events import Action, SendDatagram, SendKeepalive, Trace
from ikelab.isakmp.nat_t import destination, has_floated
from ikelab.isakmp.policy import IpsecFlow
from ikelab.isakmp.sa import IpsecPair, IsakmpSa, QuickModeNode
from ikelab.types import Endpoint, Now
from ikelab.wire.numbers import NAT_T_PORT

RequestSa = Callable[[IpsecFlow, Now], list[Action]]
StartMainMode = Callable[[Endpoint, Endpoint, str | None, Now], list[Action]]


class Upkeep:
    """The timers of all SAs. request, start: the engine's ways to ask for a new pair or SA.

    is_wanted: whether flows wait for a peer, so that a main mode that died is tried again.
    """

    def __init__(
        self,
        context: Context,
        request: RequestSa,
        start: StartMainMode,
        is_wanted: Callable[[Endpoint], bool],
    ) -> None:
        self._context = context
        self._table = context.table
        self._request = request
        self._start = start
        self._is_wanted = is_wanted

    def fire(self, now: Now) -> list[Action]:
        """Everything that is due."""
        actions: list[Action] = []
        for pair in list(self._table.pairs.values()):
            actions += self._pair_timer(pair, now)
        for node in list(self._table.nodes.values()):
            actions += self._node_timer(node, now)
        for sa in list(self._table.sas.values()):
            actions += [*fragmentation.expire(self._context, sa, now), *self._sa_timer(sa, now)]
        return actions

    # --- phase 2 ------------------------------------------------------------------------------

    def _pair_timer(self, pair: IpsecPair, now: Now) -> list[Action]:
        if pair.expires <= now.elapsed:
            return self._context.end_pair(pair, now, "lifetime ended")
        if pair.rekey_at is None or pair.rekey_at > now.elapsed:
            return []
        self._table.pairs[pair.inbound_spi] = replace(pair, rekey_at=None)
        if self._table.is_superseded(pair):
            return []
        told = Trace(pair.remote, 0, "rekeying-ipsec", (("flow", pair.flow.name),))
        return [told, *self._request(pair.flow, now)]

    def _node_timer(self, node: QuickModeNode, now: Now) -> list[Action]:
        if node.purge_at is not None and node.purge_at <= now.elapsed:
            del self._table.nodes[node.handle]
            sa, told = self._table.sas[node.sa_handle], (("message_id", str(node.message_id)),)
            return [Trace(sa.remote, sa.conn_id, "node-purged", told)]
        waiting = node.retransmission
        if waiting is None or waiting.deadline > now.elapsed:
            return []
        if not waiting.is_spent:
            node.retransmission = waiting.again(now.elapsed)
            return [_resend(waiting)]
        return self._phase2_died(node, waiting, now)

    def _phase2_died(
        self, node: QuickModeNode, waiting: retransmit.Retransmission, now: Now
    ) -> list[Action]:
        del self._table.nodes[node.handle]
        sa = self._table.sas[node.sa_handle]
        actions = self._no_answer(sa, waiting)
        if node.initiator and node.flow is not None:
            # The peer may have lost the ISAKMP SA: start afresh with a new main mode.
            actions += self._context.drop_sa(sa, "Death by retransmission P2")
            actions += self._request(node.flow, now)
        elif node.inbound_spi in self._table.pairs:
            pair = self._table.pairs[node.inbound_spi]
            actions += self._context.delete_pairs(sa, [pair], now)
        return actions

    # --- phase 1 ------------------------------------------------------------------------------

    def _sa_timer(self, sa: IsakmpSa, now: Now) -> list[Action]:
        if sa.expires is not None and sa.expires <= now.elapsed:
            told = self._context.inform(sa, [informational.delete_isakmp(sa)], now)
            return [*told, *self._context.drop_sa(sa, "lifetime ended")]
        if sa.is_complete:
            return [
                *self._rekey(sa, now),
                *self._keep_alive(sa, now),
                *dpd.probe(self._context, sa, now),
            ]
        waiting = sa.retransmission
        if waiting is not None and waiting.deadline <= now.elapsed:
            if not waiting.is_spent:
                sa.retransmission = waiting.again(now.elapsed)
                return [_resend(waiting)]
            return self._phase1_died(sa, waiting, now)
        if not sa.initiator and sa.created + sa.patience <= now.elapsed:
            error = ProtocolError(
                "half-open-timeout",
                f"no progress in {sa.patience:.0f} s",
                seen="nothing",
                wanted=f"the peer's next message in {sa.patience:.0f} s",
            )
            return [
                self._context.refused(sa.remote, sa.conn_id, sa.shown, error),
                *self._context.drop_sa(sa, "half-open timeout"),
            ]
        return []

    def _phase1_died(
        self, sa: IsakmpSa, waiting: retransmit.Retransmission, now: Now
    ) -> list[Action]:
        actions = self._no_answer(sa, waiting)
        actions += self._context.drop_sa(sa, "Death by retransmission P1")
        if sa.initiator and self._is_wanted(sa.remote):
            # A new phase 1 begins at port 500, wherever the one that died had gone.
            local, remote = destination(sa.local), destination(sa.remote)
            actions += self._start(local, remote, sa.requested_profile, now)
        return actions

    def _rekey(self, sa: IsakmpSa, now: Now) -> list[Action]:
        """A new main mode before the old SA ends, where there is something to protect with it."""
        if sa.rekey_at is None or sa.rekey_at > now.elapsed:
            return []
        sa.rekey_at = None
        if self._table.is_renewed(sa) or not any(self._table.pairs_with(sa.remote)):
            return []
        told = Trace(sa.remote, sa.conn_id, "rekeying-isakmp", ())
        profile = sa.requested_profile or sa.profile
        return [told, *self._start(sa.local, sa.remote, profile, now)]

    def _keep_alive(self, sa: IsakmpSa, now: Now) -> list[Action]:
        """The NAT in front of us must not forget our port (RFC 3948 section 4)."""
        if sa.nat_keepalive_at is None or sa.nat_keepalive_at > now.elapsed:
            return []
        interval = self._context.config.nat_keepalive
        if interval is None or self._table.established_with(sa.remote) is not sa:
            sa.nat_keepalive_at = None
            return []
        sa.nat_keepalive_at = now.elapsed + interval
        comment = f"{self._context.config.name} ({sa.role}) sends a NAT keepalive"
        return [SendKeepalive(sa.local, sa.remote, comment)]

    def _no_answer(self, sa: IsakmpSa, waiting: retransmit.Retransmission) -> list[Action]:
        detail = f"{waiting.name} was sent {retransmit.ATTEMPTS + 1} times"
        if not sa.is_complete and has_floated(sa):
            detail += f" to UDP port {NAT_T_PORT}, which a NAT or a filter may hold back"
        error = ProtocolError(
            "no-answer",
            detail,
            seen="no answer",
            wanted=f"an answer to {waiting.name}",
        )
        return [self._context.refused(sa.remote, sa.conn_id, waiting.name, error)]


def _resend(waiting: retransmit.Retransmission) -> SendDatagram:
    message = waiting.message
    note = f"{message.comment} (attempt {waiting.attempt + 1} of {retransmit.ATTEMPTS})"
    return replace(message, comment=note)
