"""What authentic informational messages make us do (RFC 2408 section 3.14, 2407 section 4.6.3).

Only what the peer's own SAs are concerned with: its DELETEs, its R-U-THEREs, that it knows no older
SA, that it lets an SA live less long than we offered, that it refuses our quick mode. All other
notifies are told and change nothing.
"""

from __future__ import annotations

from typing import assert_never

from ikelab.errors import ProtocolError
from ikelab.isakmp import dpd, informational, teardown
from ikelab.isakmp.context import Context
from ikelab.isakmp.events import Action, Trace
from ikelab.isakmp.sa import IsakmpSa, QuickModeNode, rekey_margin
from ikelab.isakmp.state import QmState
from ikelab.types import Now
from ikelab.wire.numbers import NotifyType


def obey(
    context: Context,
    sa: IsakmpSa,
    meaning: informational.Meaning,
    message_id: int,
    now: Now,
) -> list[Action]:
    """Carry out one meaning of a message under this SA."""
    holder = context.table.sas[sa.handle]
    match meaning:
        case informational.IsakmpDeleted(with_reason):
            first, *rest = context.drop_sa(sa, "P1 delete notify (in)")
            answer: list[Action] = []
            if with_reason:  # IOS answers its own kind (guide, D2); nobody else expects it
                answer = context.inform(sa, [informational.delete_isakmp(sa)], now)
            return [first, informational.node_deleted(sa, message_id), *answer, *rest]
        case informational.EspDeleted(spis):
            gone = [p for p in context.table.pairs_with(holder.remote) if p.outbound_spi in spis]
            for pair in gone:  # with its quick mode, whose message 3 will not come either
                context.table.forget_quick_mode(pair, even_open=True)
            return [context.remove_pair(pair, "delete notify (in)") for pair in gone]
        case informational.AreYouThere(sequence):
            return dpd.answer(context, sa, sequence, now)
        case informational.InitialContact():
            return teardown.forget_older(context, holder, now)
        case informational.ResponderLifetime(seconds):
            return _shorten(holder, seconds, now)
        case informational.Notified(NotifyType.R_U_THERE_ACK, _):
            return []  # that it came is what counts
        case informational.Notified(notify_type, spi):
            told = (("type", informational.notify_name(notify_type)), ("spi", spi.hex()))
            notified = Trace(sa.remote, sa.conn_id, "notify", told)
            return [notified, *_refused(context, sa, notify_type, spi)]
        case _:
            assert_never(meaning)


def _shorten(sa: IsakmpSa, seconds: int, now: Now) -> list[Action]:
    """RESPONDER-LIFETIME for the ISAKMP SA: it ends earlier, never later, than we thought."""
    if sa.established is None or sa.expires is None:
        return []
    end = max(sa.established + seconds, now.elapsed)
    if seconds < 1 or end >= sa.expires:
        return []
    sa.lifetime, sa.expires = seconds, end
    if sa.rekey_at is not None:
        sa.rekey_at = end - rekey_margin(seconds, sa.initiator)
    return [Trace(sa.remote, sa.conn_id, "responder-lifetime", (("seconds", str(seconds)),))]


def _refused(context: Context, sa: IsakmpSa, notify_type: int, spi: bytes) -> list[Action]:
    """The peer refuses a quick mode of ours: it is over, and need not die by silence.

    Which one, its SPI says; where it says none, the only one that waits is meant.
    """
    if notify_type not in informational.ERRORS:
        return []
    waiting = [
        node
        for node in context.table.nodes_of(sa)
        if node.initiator and node.state is QmState.IKE_QM_I_QM1
    ]
    named = [node for node in waiting if node.inbound_spi == spi]
    meant = named or (waiting if len(waiting) == 1 and not any(spi) else [])
    return [action for node in meant for action in _end(context, sa, node, notify_type)]


def _end(context: Context, sa: IsakmpSa, node: QuickModeNode, notify_type: int) -> list[Action]:
    del context.table.nodes[node.handle]
    name = informational.notify_name(notify_type)
    error = ProtocolError(
        "refused-by-peer",
        f"the peer answers our quick mode with {name}",
        seen=name,
        wanted="QM2",
    )
    return [context.refused(sa.remote, sa.conn_id, "QM1", error)]
