"""Dead peer detection (RFC 3706): asking whether a silent peer lives, and answering.

Periodic, the peer is asked whenever it has been silent for the interval. On demand, IOS's default,
only when packets went to it in that time and none came back: what the data plane counted decides.
"""

from __future__ import annotations

from ikelab.errors import ProtocolError
from ikelab.isakmp import informational
from ikelab.isakmp.context import Context
from ikelab.isakmp.events import Action, CountTraffic, TrafficCounted
from ikelab.isakmp.remap import move_peer
from ikelab.isakmp.sa import IsakmpSa
from ikelab.types import Now
from ikelab.wire import vendor_id
from ikelab.wire.numbers import NotifyType, ProtocolId

PROBES_A_SECOND = 10  # R-U-THEREs of a peer that are answered
DPD_TRIES = 5  # R-U-THERE without an answer, then the peer is dead (IOS)


def heard(context: Context, sa: IsakmpSa, now: Now) -> None:
    """An authentic message of the peer: it lives (RFC 3706 section 5.5)."""
    sa.probes = 0
    if context.config.keepalive is not None:
        sa.probe_at = now.elapsed + context.config.keepalive.interval


def probe(context: Context, sa: IsakmpSa, now: Now) -> list[Action]:
    """What is due when the peer has been silent for the interval, and then after each retry."""
    if sa.probe_at is None or sa.probe_at > now.elapsed:
        return []
    keepalive = context.config.keepalive
    if keepalive is None or vendor_id.DPD not in sa.peer_vendor_ids:
        sa.probe_at = None
        return []
    if keepalive.periodic:
        return _ask(context, sa, now)
    sa.probe_at = now.elapsed + keepalive.interval  # should nobody count
    flows = tuple(pair.flow.name for pair in context.table.pairs_with(sa.remote))
    return [CountTraffic(sa.handle, flows)]


def counted(context: Context, event: TrafficCounted, now: Now) -> list[Action]:
    """On demand: ask where packets were sent and none came."""
    sa, keepalive = context.table.sas.get(event.handle), context.config.keepalive
    if sa is None or keepalive is None or not sa.is_complete:
        return []
    sent, received = event.sent > sa.traffic[0], event.received > sa.traffic[1]
    sa.traffic = (event.sent, event.received)
    if received:
        heard(context, sa, now)
        return []
    return _ask(context, sa, now) if sent or sa.probes else []


def _ask(context: Context, sa: IsakmpSa, now: Now) -> list[Action]:
    """R-U-THERE once more, or the end of the patience."""
    keepalive = context.config.keepalive
    assert keepalive is not None, "nothing is due without it"
    if sa.probes >= DPD_TRIES:
        return _peer_is_dead(context, sa)
    if sa.dpd_sequence == 0:  # RFC 3706 section 6.3: a random start below 2^31
        drawn = context.rng.draw("dpd_sequence", 4)
        sa.dpd_sequence = int.from_bytes(drawn, "big") & 0x3FFFFFFF
    sa.dpd_sequence += 1
    sa.probes += 1
    sa.probe_at = now.elapsed + keepalive.retry
    payload = informational.notify(
        NotifyType.R_U_THERE,
        ProtocolId.ISAKMP,
        sa.cky_i + sa.cky_r,
        sa.dpd_sequence.to_bytes(4, "big"),
    )
    return context.inform(sa, [payload], now)


def answer(context: Context, sa: IsakmpSa, sequence: bytes, now: Now) -> list[Action]:
    """R-U-THERE-ACK, unless the number has been heard or too many are asked for.

    The number is there against replays (RFC 3706 section 6.2), so it also shows where the
    peer is now; peers ask every few seconds.
    """
    heard, holder = int.from_bytes(sequence, "big"), context.table.sas[sa.handle]
    lately = [moment for moment in holder.probes_answered if moment > now.elapsed - 1.0]
    try:
        if len(sequence) != 4 or heard <= holder.probe_heard:
            raise ProtocolError(
                "dpd-sequence",
                f"R-U-THERE number {sequence[:8].hex()} after {holder.probe_heard}",
                seen=sequence[:8].hex(),
                wanted=f"4 octets, more than {holder.probe_heard}",
            )
        if len(lately) >= PROBES_A_SECOND:
            raise ProtocolError(
                "dpd-rate",
                f"{len(lately)} R-U-THERE were answered in the last second",
                seen=len(lately) + 1,
                wanted=f"at most {PROBES_A_SECOND} a second",
            )
    except ProtocolError as error:
        return [context.refused(sa.remote, sa.conn_id, "INFO", error)]
    holder.probe_heard, holder.probes_answered = heard, (*lately, now.elapsed)
    reply = informational.notify(
        NotifyType.R_U_THERE_ACK, ProtocolId.ISAKMP, sa.cky_i + sa.cky_r, sequence
    )
    moved = move_peer(context, holder, sa.remote)
    return [*moved, *context.inform(sa, [reply], now)]


def _peer_is_dead(context: Context, sa: IsakmpSa) -> list[Action]:
    error = ProtocolError(
        "peer-dead",
        f"{DPD_TRIES} R-U-THERE without an answer (RFC 3706)",
        seen="no answer",
        wanted="R-U-THERE-ACK",
        config="crypto isakmp keepalive",
    )
    actions: list[Action] = [context.refused(sa.remote, sa.conn_id, "INFO", error)]
    for pair in context.table.pairs_with(sa.remote):
        actions.append(context.remove_pair(pair, "peer dead"))
    return actions + context.drop_sa(sa, "DPD failure")
