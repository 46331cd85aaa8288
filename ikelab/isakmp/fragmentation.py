"""When IKE fragments are used: agreed on by vendor ID, cut on the way out, joined on the way in.

Both sides must have sent the vendor ID FRAGMENTATION; nothing else makes a fragment be looked at.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ikelab.isakmp import faults, nat_t
from ikelab.isakmp.events import Action, DatagramReceived, PlainMessage, SendDatagram
from ikelab.isakmp.fragment import SECONDS, collect, is_large, refusal, split
from ikelab.wire import vendor_id
from ikelab.wire.payloads import VENDOR_ID

if TYPE_CHECKING:
    from ikelab.isakmp.context import Context
    from ikelab.isakmp.sa import IsakmpSa
    from ikelab.isakmp.work import Work
    from ikelab.types import Now
    from ikelab.wire.isakmp import Header
    from ikelab.wire.layer import Layer

CAPABILITIES = bytes.fromhex("80000000")  # what IOS sends behind the vendor ID
NAME = "FRAG"
"""What `PlainMessage.message` says of a fragment."""


# --- agreeing -------------------------------------------------------------------------------------


def offer(work: Work) -> list[Layer]:
    """Initiator, message 1: the vendor ID, where `crypto isakmp fragmentation` is configured."""
    if not work.config.fragmentation:
        return []
    return [VENDOR_ID(data=vendor_id.FRAGMENTATION + CAPABILITIES)]


def answer(work: Work) -> list[Layer]:
    """Responder, message 2: the vendor ID, if the initiator has sent it."""
    return offer(work) if is_said_by(work.sa) else []


def is_said_by(sa: IsakmpSa) -> bool:
    """Whether the peer has sent the vendor ID, whatever capabilities follow it."""
    return any(octets.startswith(vendor_id.FRAGMENTATION) for octets in sa.peer_vendor_ids)


def is_agreed(context: Context, sa: IsakmpSa) -> bool:
    """Whether fragments may go both ways: each side has sent its vendor ID.

    The answer to our message 1 may come in fragments: its sender has read that we know them.
    """
    is_answer = sa.initiator and sa.cky_r == bytes(8)
    return context.config.fragmentation and (is_answer or is_said_by(sa))


# --- sending --------------------------------------------------------------------------------------


def split_large(context: Context, actions: list[Action]) -> list[Action]:
    """The actions with each large message in fragments, where its SA has agreed on them.

    What the engine stores and sends again is the whole message; it is cut on its way out only.
    """
    if not context.config.fragmentation:
        return actions
    done: list[Action] = []
    for action in actions:
        if isinstance(action, SendDatagram) and is_large(action.octets, action.local.port):
            done += _split(context, action)
        else:
            done.append(action)
    return done


def _split(context: Context, action: SendDatagram) -> list[Action]:
    sa = context.table.find(action.octets[:8], action.octets[8:16])
    if sa is None or not is_said_by(sa):
        return [action]
    fragments = list(split(action.octets, action.local.port))
    return [
        replace(
            action, octets=octets, comment=f"Fragment {n} of {len(fragments)}: {action.comment}"
        )
        for n, octets in enumerate(fragments, start=1)
    ]


# --- taking ---------------------------------------------------------------------------------------


def take(
    context: Context, header: Header, event: DatagramReceived, now: Now
) -> tuple[list[Action], DatagramReceived | None]:
    """A fragment came in: what to tell of it, and the whole message if this was all of it.

    Raises WireError and ProtocolError.
    """
    table = context.table
    sa = table.find(header.cky_i, header.cky_r)
    sa = sa or table.find_half_open(header.cky_i, initiator=True)
    if sa is None:
        raise faults.unknown_cookies(header)
    may_take = nat_t.may_take if sa.is_complete else nat_t.may_take_phase1
    if not may_take(sa, event.local, event.remote):
        raise faults.wrong_peer(event, sa)
    if not is_agreed(context, sa):
        raise refusal("fragment-not-agreed", "the vendor ID FRAGMENTATION from both", "a fragment")
    number, whole = collect(sa, header, event.octets, now.elapsed)
    comment = f"{context.config.name} ({sa.role}) takes fragment {number}"
    told = PlainMessage(
        False, event.local, event.remote, event.octets, event.octets, comment, ("FRAG",), NAME
    )
    return [told], None if whole is None else replace(event, octets=whole)


def expire(context: Context, sa: IsakmpSa, now: Now) -> list[Action]:
    """Give up a message whose other fragments do not come."""
    pieces = sa.pieces
    if pieces is None or pieces.deadline > now.elapsed:
        return []
    sa.pieces = None
    last = "?" if pieces.last is None else pieces.last
    error = refusal("fragment-timeout", f"{last} in {SECONDS:.0f} s", len(pieces.found))
    return [context.refused(sa.remote, sa.conn_id, "fragments", error)]
