"""What all parts of the engine share: configuration, sources, the table, and how things are told.

Building an informational message, refusing with a reason and taking SAs out of the table are used
by rows, timers and commands alike, so they live here, once.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ikelab.crypto import oakley
from ikelab.errors import ProtocolError
from ikelab.isakmp import faults, informational, phase1
from ikelab.isakmp.events import (
    Action,
    DeleteIpsecSa,
    PlainMessage,
    Refused,
    SendDatagram,
    Trace,
    Transition,
)
from ikelab.isakmp.message import Opened
from ikelab.isakmp.policy import IsakmpConfig
from ikelab.isakmp.reasons import REASONS, UNKNOWN
from ikelab.isakmp.sa import IpsecPair, IsakmpSa, SaTable
from ikelab.isakmp.state import Input, Major, Minor, QmState, State, phase1_row
from ikelab.isakmp.work import KeySource, Work
from ikelab.types import Endpoint, Now, Rng
from ikelab.wire.isakmp import Header, build_message, build_payloads
from ikelab.wire.numbers import ExchangeType, ProtocolId

if TYPE_CHECKING:
    from ikelab.wire.layer import Layer


TOLD = 1000  # characters of a refusal's sentence: ten reasons of a refused proposal


@dataclass(slots=True)
class Context:
    """The engine's memory and sources. drops: how often each reason refused something.
    admissions: requests for an ISAKMP SA by direction and fate, "incoming accepted"."""

    config: IsakmpConfig
    rng: Rng
    keys: KeySource
    table: SaTable = field(default_factory=SaTable)
    drops: Counter[str] = field(default_factory=Counter)
    admissions: Counter[str] = field(default_factory=Counter)

    def work(self, now: Now, sa: IsakmpSa) -> Work:
        """A desk for one step on this draft."""
        return Work(self.config, self.rng, self.keys, now, sa, peers=self.table.peers)

    def new_message_id(self) -> int:
        """A message ID; never zero, which is phase 1's (RFC 2408 section 3.1)."""
        return int.from_bytes(self.rng.draw("message_id", 4), "big") or 1

    def taken(
        self, sa: IsakmpSa, opened: Opened, octets: bytes, message: str, state: str
    ) -> PlainMessage:
        """Tell of a message of the peer, decrypted: the comment of its frame."""
        names = opened.names
        comment = f"{self.config.name} ({sa.role}) in {state} takes {message}: {' '.join(names)}"
        clear = opened.plaintext
        return PlainMessage(False, sa.local, sa.remote, octets, clear, comment, names, message)

    def refused(self, peer: Endpoint, conn_id: int, message: str, error: ProtocolError) -> Refused:
        """Count a refusal and say it."""
        self.drops[error.reason] += 1
        known = REASONS.get(error.reason, UNKNOWN)
        return Refused(
            peer,
            conn_id,
            message,
            error.reason,
            _short(error.detail),
            error.payload or known.payload,
            known.rule,
            _short(error.seen),
            _short(error.wanted),
            error.config or known.config,
        )

    def inform(self, sa: IsakmpSa, packets: list[Layer], now: Now) -> list[Action]:
        """Send an informational message under phase 1 keys."""
        assert sa.policy is not None and sa.cipher is not None
        message_id = self.new_message_id()
        iv = oakley.phase2_iv(sa.policy.hash, sa.iv, message_id, sa.cipher.block)
        work = self.work(now, sa)
        covered = informational.behind_hash(sa, message_id, packets)
        work.send_informational(informational.INFO, message_id, iv, covered)
        return work.actions

    def notify_in_clear(self, sa: IsakmpSa, error: ProtocolError, asked: int) -> list[Action]:
        """Before keys exist a refused message 1 is answered in clear, never longer than it was.

        asked: octets of that message. Its sender has not shown that the address is its own.
        """
        if error.notify is None:
            return []
        payload = informational.notify(error.notify, ProtocolId.ISAKMP)
        first, body = build_payloads([payload])
        message_id = self.new_message_id()
        cky_r = self.rng.draw("cky_r", phase1.COOKIE_LENGTH)
        header = Header(sa.cky_i, cky_r, first, ExchangeType.INFORMATIONAL, 0, message_id)
        comment = f"{self.config.name} (R) sends INFO: N {informational.notify_name(error.notify)}"
        answer = build_message(header, body)
        if len(answer) > asked:
            return []
        return [SendDatagram(sa.local, sa.remote, answer, comment)]

    def delete_pairs(
        self, sa: IsakmpSa, pairs: list[IpsecPair], now: Now, reason: str = "deleted"
    ) -> list[Action]:
        """Take pairs out and tell the peer, by the SPIs we receive on."""
        if not pairs:
            return []
        payload = informational.delete_esp([pair.inbound_spi for pair in pairs])
        actions = self.inform(sa, [payload], now)
        return actions + [self.remove_pair(pair, reason) for pair in pairs]

    def end_pair(self, pair: IpsecPair, now: Now, reason: str) -> list[Action]:
        """Take one pair out; the peer is told where there is an ISAKMP SA to tell it under."""
        sa = self.table.established_with(pair.remote)
        if sa is None:
            return [self.remove_pair(pair, reason)]
        return self.delete_pairs(sa, [pair], now, reason)

    def remove_pair(self, pair: IpsecPair, reason: str) -> DeleteIpsecSa:
        """Take a pair out of the table and the data plane.

        With it goes its quick mode, if it is over: nobody asks for a message of it any more.
        """
        self.table.pairs.pop(pair.inbound_spi, None)
        self.table.forget_quick_mode(pair)
        return DeleteIpsecSa(pair.flow.name, pair.inbound_spi, pair.outbound_spi, reason)

    def unborn(self, sa: IsakmpSa) -> list[Action]:
        """An SA whose first message failed is none."""
        if self.table.sas[sa.handle].state is not State.IKE_READY:
            return []
        return [*filter(None, [self.table.remove(sa)])]

    def drop_sa(self, sa: IsakmpSa, reason: str) -> list[Action]:
        """Out of the table, with its nodes. IPsec SAs outlive it, as on IOS."""
        removed = self.table.remove(sa)
        for node in self.table.nodes_of(sa):
            del self.table.nodes[node.handle]
        actions: list[Action] = [
            Trace(sa.remote, sa.conn_id, "deleting-sa", (("reason", reason), ("state", sa.shown)))
        ]
        given = (Major.INTERNAL, Minor.PHASE1_DEL)
        row = phase1_row(sa.state, given)
        if row is not None:
            assert isinstance(row.new_state, State)
            actions.append(transition(sa, 0, given, sa.state, row.new_state))
        for event in sa.early:  # it has waited in vain
            actions.append(self.refused(event.remote, 0, "datagram", faults.phase1_incomplete(sa)))
        return [*actions, *filter(None, [removed])]


def _short(text: str) -> str:
    """What a peer's octets have a part in stays short: it is kept, logged and shown."""
    return text if len(text) <= TOLD else f"{text[:TOLD]}... ({len(text)} characters)"


def transition(
    sa: IsakmpSa, message_id: int, given: Input, old: State | QmState, new: State | QmState
) -> Transition:
    """The action that tells of a taken row."""
    major, minor = given
    return Transition(
        sa.remote, sa.conn_id, message_id, major.value, minor.value, old.value, new.value
    )
