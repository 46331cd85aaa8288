"""Who may begin something, and how much of it: main modes, quick modes, probes.

Anybody can send message 1, from any address. So half-open SAs are few for one address and bounded
in all, the oldest giving way, and a router may set limits of its own (`crypto call admission limit
ike`), behind which newcomers are turned away while peers that have an SA are served. What a peer
may begin under an SA is bounded as well, and so is what it leaves behind: no message ID begins two
exchanges, a peer has few ISAKMP SAs at a time and a tunnel few pairs of IPsec SAs.
"""

from __future__ import annotations

from typing import TypeVar

from ikelab.errors import ProtocolError
from ikelab.isakmp import informational
from ikelab.isakmp.context import Context
from ikelab.isakmp.events import Action, DatagramReceived, Trace
from ikelab.isakmp.policy import IpsecFlow
from ikelab.isakmp.sa import IpsecPair, IsakmpSa
from ikelab.isakmp.state import State
from ikelab.types import Endpoint, Now
from ikelab.wire.isakmp import Header
from ikelab.wire.numbers import ExchangeType

HALF_OPEN_IN_ALL = 256  # main modes that others began and have not finished
EARLY_MESSAGES = 3  # of phase 2, before the peer is authenticated
HALF_OPEN_OF_ADDRESS = 5  # of them from one address: strongSwan's number, too
# Messages 2 of aggressive mode to an address that has shown our cookie in none of them, repeats
# included, in UNVERIFIED_SECONDS. Each may be larger than its question: it holds a proof, and the
# certificates, that message 1 lacks (RFC 2409 section 5.1). An honest peer asks every ten seconds.
AGGRESSIVE_ANSWERS_OF_ADDRESS = 5
# Quick modes that a peer began under one SA and has not finished. A peer has one a tunnel, and
# strongSwan counts three; IOS spokes may open several at once after a reload.
QUICK_MODES_OF_SA = 16
# Pairs of IPsec SAs that carry one flow. Where both ends rekey at once there are four for a while;
# more are left by a peer that restarts and does not say INITIAL-CONTACT, or that asks and asks.
PAIRS_OF_FLOW = 8
# Complete ISAKMP SAs. A peer has two while it renews one. Behind one address many may stand.
SAS_OF_PEER = 8
SAS_OF_ADDRESS = 256
REMEMBERED_IDS = 1024  # message IDs of an SA: a rekeying peer uses a few hundred in a day
# The largest message in clear: 256 transforms take 10,240 octets. Half-open SAs keep parts of it.
CLEAR_OCTETS = 16384


_Made = TypeVar("_Made", IsakmpSa, IpsecPair)


def check_length(octets: bytes) -> None:
    """What is not encrypted comes from anybody: it may not be large. Raises ProtocolError."""
    if len(octets) > CLEAR_OCTETS:
        raise ProtocolError(
            "message-too-long",
            f"{len(octets)} octets in clear, at most {CLEAR_OCTETS} are taken",
            seen=f"{len(octets)} octets",
            wanted=f"at most {CLEAR_OCTETS} octets",
        )


def admit(context: Context, remote: Endpoint) -> list[Action]:
    """Make room for a phase 1 that a peer begins. Raises ProtocolError if it is turned away."""
    _count(context, remote, "incoming")
    return _make_room(context, remote)


def check_answers(context: Context, remote: Endpoint) -> None:
    """Whether one more message 2 of aggressive mode may go to an address. Raises ProtocolError.

    Newcomers are turned away and nobody gives way: each answer is one that a victim may get who
    has asked for nothing.
    """
    unproven = sum(
        1 + sa.repeats
        for sa in context.table.sas.values()
        if _is_unproven(sa) and sa.remote.address == remote.address
    )
    if unproven >= AGGRESSIVE_ANSWERS_OF_ADDRESS:
        raise ProtocolError(
            "aggressive-answer-limit",
            f"{unproven} messages 2 of aggressive mode went to {remote.address}, to no avail",
            seen=unproven + 1,
            wanted=f"at most {AGGRESSIVE_ANSWERS_OF_ADDRESS}",
        )


def _is_unproven(sa: IsakmpSa) -> bool:
    return sa.state is State.IKE_R_AM2


def admit_own(context: Context, remote: Endpoint) -> None:
    """Whether we may begin a phase 1. Raises ProtocolError."""
    _count(context, remote, "outgoing")


def _count(context: Context, remote: Endpoint, direction: str) -> None:
    """The numbers of `show crypto call admission statistics`."""
    try:
        _check_limits(context, remote)
    except ProtocolError:
        context.admissions[f"{direction} rejected"] += 1
        raise
    context.admissions[f"{direction} accepted"] += 1


def _check_limits(context: Context, remote: Endpoint) -> None:
    """`crypto call admission limit ike`, for SAs in either direction. Raises ProtocolError.

    Only for peers without an SA: those that have one may renew it.
    """
    config, sas = context.config, context.table.sas.values()
    if any(sa.is_complete and sa.remote == remote for sa in sas):
        return
    negotiating = sum(not sa.is_complete for sa in sas)
    for reason, count, limit, word in (
        ("ike-sa-limit", len(sas), config.admission.sas, "sa"),
        (
            "in-negotiation-limit",
            negotiating,
            config.admission.in_negotiation,
            "in-negotiation-sa",
        ),
    ):
        if limit and count >= limit:
            line = f"crypto call admission limit ike {word} {limit}"
            raise ProtocolError(
                reason,
                f"{count} SAs there are already, `{line}`",
                seen=count + 1,
                wanted=f"at most {limit}",
                config=line,
            )


def _make_room(context: Context, remote: Endpoint) -> list[Action]:
    """The oldest half-open SAs give way, complete ones never do.

    Those of `check_answers` do it last: by them it is known how many answers went out.
    """
    half_open = [sa for sa in context.table.sas.values() if not sa.initiator and not sa.is_complete]
    same = [sa for sa in half_open if sa.remote.address == remote.address and not _is_unproven(sa)]
    actions: list[Action] = []
    for found, limit in ((same, HALF_OPEN_OF_ADDRESS), (half_open, HALF_OPEN_IN_ALL)):
        if len(found) >= limit:
            oldest = min(found, key=lambda sa: (_is_unproven(sa), sa.created))
            error = ProtocolError(
                "half-open-limit",
                f"more than {limit} half-open SAs",
                seen=len(found) + 1,
                wanted=f"at most {limit}",
            )
            actions.append(context.refused(oldest.remote, 0, "MM1", error))
            actions += context.drop_sa(oldest, "half-open limit")
            half_open = [sa for sa in half_open if sa is not oldest]
    return actions


def check_message_id(sa: IsakmpSa, message_id: int) -> None:
    """A message ID begins one exchange (RFC 2409 section 5.5: "unique"). Raises ProtocolError."""
    if message_id in sa.used_message_ids:
        raise ProtocolError(
            "message-id-reused",
            f"message ID 0x{message_id:08x} has begun an exchange of this SA before",
            seen=f"0x{message_id:08x}",
            wanted="a message ID that was not used",
        )


def check_quick_mode(context: Context, sa: IsakmpSa, message_id: int) -> None:
    """Whether a peer may begin one more quick mode. Raises ProtocolError."""
    check_message_id(sa, message_id)
    open_now = sum(not node.initiator and not node.is_over for node in context.table.nodes_of(sa))
    if open_now >= QUICK_MODES_OF_SA:
        raise ProtocolError(
            "quick-mode-limit",
            f"{open_now} quick modes of this SA are unfinished",
            seen=open_now + 1,
            wanted=f"at most {QUICK_MODES_OF_SA}",
        )


def make_room_for_sa(context: Context, sa: IsakmpSa, now: Now) -> list[Action]:
    """The oldest SAs of a peer, and of an address, give way to one that is complete now (DELETE).

    There are many of peers that begin again and again and never say INITIAL-CONTACT. With its last
    SA an end loses its pairs, too: later nobody could tell it that one of them is gone.
    """
    behind = [
        other
        for other in context.table.sas.values()
        if other.is_complete and other is not sa and other.remote.address == sa.remote.address
    ]
    of_peer = [other for other in behind if sa.has_peer_of(other)]
    actions: list[Action] = []
    for found, limit in ((of_peer, SAS_OF_PEER), (behind, SAS_OF_ADDRESS)):
        for oldest in _too_many(found, limit):
            if oldest.handle not in context.table.sas:  # one of the peer's, gone already
                continue
            error = _gives_way("peer-sa-limit", f"ISAKMP SAs with {sa.remote.address}", limit)
            actions.append(context.refused(oldest.remote, oldest.conn_id, "phase 1", error))
            stays = any(
                other.is_complete and other is not oldest and other.remote == oldest.remote
                for other in context.table.sas.values()
            )
            pairs = [] if stays else list(context.table.pairs_with(oldest.remote))
            actions += context.delete_pairs(oldest, pairs, now, "limit of SAs")
            actions += context.inform(oldest, [informational.delete_isakmp(oldest)], now)
            actions += context.drop_sa(oldest, "limit of SAs")
    return actions


def make_room_for_pair(context: Context, flow: IpsecFlow, now: Now) -> list[Action]:
    """The oldest pairs of a flow give way to a new one, and the peer is told (DELETE).

    Pairs of quick modes that go on stay: their number is bounded by `check_quick_mode`.
    """
    table = context.table
    open_now = {node.inbound_spi for node in table.nodes.values() if not node.is_over}
    finished = [
        pair
        for pair in table.pairs.values()
        if pair.flow.name == flow.name and pair.inbound_spi not in open_now
    ]
    actions: list[Action] = []
    for oldest in _too_many(finished, PAIRS_OF_FLOW):
        error = _gives_way("ipsec-pair-limit", f"pairs of IPsec SAs of {flow.name}", PAIRS_OF_FLOW)
        actions.append(context.refused(oldest.remote, 0, "quick mode", error))
        actions += context.end_pair(oldest, now, "limit of pairs")
    return actions


def _too_many(found: list[_Made], limit: int) -> list[_Made]:
    """The oldest, so that there is room for one more."""
    oldest = sorted(found, key=lambda made: made.established or 0.0)
    return oldest[: max(len(found) + 1 - limit, 0)]


def _gives_way(reason: str, what: str, limit: int) -> ProtocolError:
    return ProtocolError(
        reason,
        f"there are {limit} {what}, the oldest gives way",
        seen=f"one more than {limit}",
        wanted=f"at most {limit}",
    )


def comes_early(sa: IsakmpSa | None, header: Header, event: DatagramReceived) -> Trace | None:
    """What a responder sends right behind message 6 may arrive while its certificate is still being
    checked here: a DELETE (guide, D1), a quick mode of its own. A few such messages wait, unread,
    until the peer is authenticated; so does a quick mode that has overtaken message 6.
    """
    if sa is None or not sa.initiator or len(sa.early) >= EARLY_MESSAGES:
        return None
    overtakes = sa.state is State.IKE_I_MM5 and header.exchange_type == ExchangeType.QUICK
    if not sa.awaiting_cert and not overtakes:
        return None
    if (event.local, event.remote) != (sa.local, sa.remote):
        return None
    sa.early = (*sa.early, event)
    return Trace(sa.remote, sa.conn_id, "message-waits")


def use_message_id(sa: IsakmpSa, message_id: int) -> None:
    """Remember an ID whose message was authentic."""
    if message_id not in sa.used_message_ids:
        sa.used_message_ids = (*sa.used_message_ids, message_id)[-REMEMBERED_IDS:]
