"""The IKEv1 engine: `handle(event, now)` is the only way in, a list of actions the only way out.

It finds the SA that an event is for, opens the message, runs the rows of `state.py` on a draft and
commits it, keeps the timers, and turns whatever is refused into one `Refused` with its reason.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import assert_never

from ikelab.crypto import oakley
from ikelab.errors import ProtocolError, WireError
from ikelab.isakmp import (
    admission,
    dpd,
    faults,
    fragmentation,
    identity,
    informational,
    nat_t,
    remap,
    rows,
    teardown,
)
from ikelab.isakmp.context import Context
from ikelab.isakmp.events import (
    Action,
    AllocateSpi,
    Clear,
    ConfigChanged,
    DatagramReceived,
    Event,
    IpsecInstallDone,
    IpsecInstallFailed,
    PacketDropped,
    PeerCertAccepted,
    PeerCertRefused,
    PeerMoved,
    PlainMessage,
    SaRequested,
    SendDatagram,
    SpiAllocated,
    TimerFired,
    Trace,
    TrafficCounted,
)
from ikelab.isakmp.message import check_header, open_clear, open_encrypted
from ikelab.isakmp.obey import obey
from ikelab.isakmp.policy import IpsecFlow, IsakmpConfig
from ikelab.isakmp.sa import (
    NO_COOKIE,
    IpsecPair,
    IsakmpSa,
    QuickModeNode,
    SaTable,
    rekey_margin,
)
from ikelab.isakmp.state import (
    Input,
    Major,
    Minor,
    QmState,
    State,
)
from ikelab.isakmp.upkeep import Upkeep
from ikelab.isakmp.work import KeySource
from ikelab.types import Endpoint, Now, Rng, TimeBase, Timer
from ikelab.wire.isakmp import Header, parse_header
from ikelab.wire.numbers import ExchangeType, Flags, PayloadType


class IsakmpEngine:
    """All of one router's IKE. Deterministic: same events, time, octets and keys, same actions."""

    def __init__(self, config: IsakmpConfig, rng: Rng, keys: KeySource) -> None:
        self._context = Context(config, rng, keys)
        self._handles = 0
        self._upkeep = Upkeep(
            self._context,
            self._request,
            self._start_phase1,
            lambda remote: bool(self.table.waiting.get(nat_t.destination(remote))),
        )

    @property
    def config(self) -> IsakmpConfig:
        """The configuration in force."""
        return self._context.config

    @property
    def table(self) -> SaTable:
        """All SAs: for show commands and tests; only the engine changes it."""
        return self._context.table

    @property
    def drops(self) -> Counter[str]:
        """How often each reason refused something."""
        return self._context.drops

    @property
    def admissions(self) -> Counter[str]:
        """How often ISAKMP SAs were asked for, "incoming accepted" and so on."""
        return self._context.admissions

    # --- the contract -------------------------------------------------------------------------

    def handle(self, event: Event, now: Now) -> list[Action]:
        """Take one event; what must be done or told, in order."""
        return fragmentation.split_large(self._context, self._handle(event, now))

    def _handle(self, event: Event, now: Now) -> list[Action]:
        match event:
            case DatagramReceived():
                return self._receive(event, now)
            case TimerFired():
                return self._upkeep.fire(now)
            case SaRequested(flow):
                return self._request(flow, now)
            case SpiAllocated(handle, spi):
                return self._spi_allocated(handle, spi, now)
            case IpsecInstallDone(handle):
                return self._installed(handle, now)
            case IpsecInstallFailed(handle, reason):
                return self._install_failed(handle, reason)
            case PeerCertAccepted():
                return self._cert_accepted(event, now)
            case PeerCertRefused():
                return self._cert_refused(event, now)
            case PeerMoved(inbound_spi, remote):
                return remap.follow_esp(self._context, inbound_spi, remote)
            case TrafficCounted():
                return dpd.counted(self._context, event, now)
            case Clear():
                return teardown.clear(self._context, event, now)
            case PacketDropped(peer, error):
                return [self._context.refused(peer, 0, "ESP", error)]
            case ConfigChanged(config):
                gone = teardown.flows_gone(self.config.flows, config.flows)
                self._context.config = config
                return [a for flow in gone for a in teardown.end_flow(self._context, flow, now)]
            case _:
                assert_never(event)

    def next_timer(self) -> Timer | None:
        """When `TimerFired` is wanted next."""
        deadline, label = min(self.table.deadlines(), default=(None, ""))
        if deadline is None:
            return None
        return Timer(TimeBase.ELAPSED, deadline, label, routine=True)

    @property
    def awaits_answer(self) -> bool:
        """Whether a message was sent that the peer should answer at once."""
        return self.table.awaits_answer

    # --- datagrams ----------------------------------------------------------------------------

    def _receive(self, event: DatagramReceived, now: Now) -> list[Action]:
        try:
            header = parse_header(event.octets)
            check_header(header)
            if header.next_payload == PayloadType.FRAGMENT:
                told, whole = fragmentation.take(self._context, header, event, now)
                return told if whole is None else [*told, *self._receive(whole, now)]
            match header.exchange_type:
                case ExchangeType.IDENTITY_PROTECTION | ExchangeType.AGGRESSIVE:
                    return self._receive_phase1(header, event, now)
                case _ if header.flags & Flags.ENCRYPTION and (early := self._early(header, event)):
                    return [early]
                case ExchangeType.QUICK:
                    return self._receive_quick_mode(header, event, now)
                case _:
                    return self._receive_informational(header, event, now)
        except WireError as error:
            return [self._context.refused(event.remote, 0, "datagram", faults.malformed(error))]
        except ProtocolError as error:
            return [self._context.refused(event.remote, 0, "datagram", error)]

    def _receive_phase1(self, header: Header, event: DatagramReceived, now: Now) -> list[Action]:
        if not header.flags & Flags.ENCRYPTION:
            admission.check_length(event.octets)
        sa = self.table.find(header.cky_i, header.cky_r)
        if sa is None and header.cky_r == NO_COOKIE:
            sa = self.table.find_half_open(header.cky_i, initiator=False)
            if sa is None:
                return self._answer_new_sa(header, event, now)
        elif sa is None:
            sa = self.table.find_half_open(header.cky_i, initiator=True)
        if sa is None:
            raise faults.unknown_cookies(header)
        if not nat_t.may_take_phase1(sa, event.local, event.remote):
            raise faults.wrong_peer(event, sa)
        repeat = rows.stored_answer(sa.answered, event.octets)
        if repeat is not None:
            if sa.initiator and sa.retransmission is not None:
                sa.retransmission = sa.retransmission.soon(now.elapsed)
                return self._repeat(sa, 0, None)
            if sa.state is State.IKE_R_AM2:
                admission.check_answers(self._context, event.remote)
                sa.repeats += 1
            return self._repeat(sa, 0, repeat[0])
        if header.cky_r == NO_COOKIE and not sa.initiator:
            raise faults.changed_repeat()
        if sa.awaiting_cert:
            raise faults.busy()
        given, path = _phase1_message(header), (event.local, event.remote)
        return self._phase1(sa, given, now, (header, event.octets), path)

    def _answer_new_sa(self, header: Header, event: DatagramReceived, now: Now) -> list[Action]:
        if header.exchange_type == ExchangeType.AGGRESSIVE and not self.config.aggressive_mode:
            raise faults.aggressive_mode_disabled()
        if header.exchange_type == ExchangeType.AGGRESSIVE:
            admission.check_answers(self._context, event.remote)
        made_room = admission.admit(self._context, event.remote)
        sa = self._new_sa(event.local, event.remote, now, initiator=False, cky_i=header.cky_i)
        sa.exchange = ExchangeType(header.exchange_type)
        told = self.table.insert(sa)
        actions = self._phase1(sa, _phase1_message(header), now, (header, event.octets))
        taken = actions[:1] if isinstance(actions[0], PlainMessage) else []
        return [*made_room, *taken, told, *actions[len(taken) :], *self._context.unborn(sa)]

    def _receive_quick_mode(
        self, header: Header, event: DatagramReceived, now: Now
    ) -> list[Action]:
        asked = self._ask_for_am3(header, event)
        if asked:
            return asked
        known = self._complete_sa(header, event)
        sa = known.heard_at(event.remote)
        node = self.table.find_node(sa, header.message_id)
        if node is None:
            admission.check_quick_mode(self._context, known, header.message_id)
            node = self._new_node(sa, header.message_id, initiator=False)
        repeat = rows.stored_answer(node.answered, event.octets)
        if repeat is not None:
            return self._repeat(sa, header.message_id, repeat[0])
        actions = rows.run_quick_mode(
            self._context, sa, node, (Major.FROM_PEER, Minor.QM_EXCH), now, (header, event.octets)
        )
        taken = self.table.nodes[node.handle]
        if taken.state is QmState.IKE_QM_READY:
            del self.table.nodes[node.handle]
            return actions
        admission.use_message_id(known, header.message_id)
        if taken.state is not node.state is not QmState.IKE_QM_READY:
            # QM2 or QM3 verified: our nonce is in its hash, so the peer sent it just now.
            actions += remap.move_peer(self._context, known, event.remote)
        return actions

    def _receive_informational(
        self, header: Header, event: DatagramReceived, now: Now
    ) -> list[Action]:
        if not header.flags & Flags.ENCRYPTION:
            return self._clear_informational(header, event)
        known = self._complete_sa(header, event)
        sa = known.heard_at(event.remote)
        admission.check_message_id(known, header.message_id)
        assert sa.cipher is not None and sa.policy is not None
        iv = oakley.phase2_iv(sa.policy.hash, sa.iv, header.message_id, sa.cipher.block)
        opened = open_encrypted(header, event.octets, sa.cipher, sa.encryption_key, iv)
        meanings = informational.read(opened, sa)
        admission.use_message_id(known, header.message_id)
        dpd.heard(self._context, known, now)
        actions: list[Action] = [
            self._context.taken(sa, opened, event.octets, "INFO", sa.state.value)
        ]
        for payload in opened.payloads:
            actions.append(informational.tell(sa, header.message_id, payload))
        for meaning in meanings:
            if sa.handle in self.table.sas:  # behind a DELETE of the SA nothing is obeyed
                actions += obey(self._context, sa, meaning, header.message_id, now)
        if sa.handle in self.table.sas:
            actions.append(informational.node_deleted(sa, header.message_id))
        return actions

    def _early(self, header: Header, event: DatagramReceived) -> Trace | None:
        return admission.comes_early(self.table.find(header.cky_i, header.cky_r), header, event)

    def _complete_sa(self, header: Header, event: DatagramReceived) -> IsakmpSa:
        sa = self.table.find(header.cky_i, header.cky_r)
        if sa is None:
            raise faults.unknown_cookies(header)
        if not sa.is_complete:
            raise faults.phase1_incomplete(sa)
        if not nat_t.may_take(sa, event.local, event.remote):
            raise faults.wrong_peer(event, sa)
        return sa

    def _ask_for_am3(self, header: Header, event: DatagramReceived) -> list[Action]:
        """Quick mode before message 3 of aggressive mode came: it is lost. Message 2 fetches it.

        Nothing else asks for it. The sender knows our cookie, so message 2 goes to nobody new.
        """
        sa = self.table.find(header.cky_i, header.cky_r)
        if sa is None or event.remote.address != sa.remote.address:
            return []
        if sa.state is not State.IKE_R_AM2:
            return []
        assert sa.last_sent is not None
        told = self._context.refused(sa.remote, sa.conn_id, "QM1", faults.phase1_incomplete(sa))
        return [told, replace(sa.last_sent, comment=f"{sa.last_sent.comment} (repeated)")]

    def _clear_informational(self, header: Header, event: DatagramReceived) -> list[Action]:
        """Unauthenticated: told, counted, never obeyed (hostile networks forge these)."""
        error = faults.unauthenticated(informational.said(open_clear(header, event.octets)))
        return [self._context.refused(event.remote, 0, "INFO", error)]

    def _repeat(self, sa: IsakmpSa, message_id: int, answer: SendDatagram | None) -> list[Action]:
        """An exact repeat: the stored answer once more, no state, no IV, no key moves."""
        told = Trace(sa.remote, sa.conn_id, "repeat", (("message_id", str(message_id)),))
        if answer is None:
            return [told]
        return [told, replace(answer, comment=f"{answer.comment} (repeated on request)")]

    def _phase1(
        self,
        sa: IsakmpSa,
        given: Input,
        now: Now,
        datagram: rows.Datagram | None = None,
        path: rows.Path | None = None,
    ) -> list[Action]:
        """Run the rows; when they complete phase 1, go on with what waited for it."""
        actions = rows.run_phase1(self._context, sa, given, now, datagram, path)
        grown = self.table.sas.get(sa.handle)
        if grown is not None and grown.is_complete and not sa.is_complete:
            actions += self._phase1_up(grown, now)
        return actions

    # --- what follows from a finished phase 1 ---------------------------------------------------

    def _phase1_up(self, sa: IsakmpSa, now: Now) -> list[Action]:
        actions: list[Action] = []
        if sa.peer_initial_contact:
            actions += teardown.forget_older(self._context, sa, now)
        actions += admission.make_room_for_sa(self._context, sa, now)
        waiting = self.table.waiting.pop(nat_t.destination(sa.remote), {})
        for name, asked in waiting.items():
            flow = self.config.flow_now(asked)
            if flow.isakmp_profile in (None, sa.profile):
                actions += self._start_quick_mode(sa, flow)
            else:  # its own main mode is under way, for another profile
                self.table.waiting.setdefault(nat_t.destination(sa.remote), {})[name] = flow
        early, sa.early = sa.early, ()
        return actions + [action for event in early for action in self._receive(event, now)]

    # --- requests of the data plane ---------------------------------------------------------------

    def _request(self, flow: IpsecFlow, now: Now) -> list[Action]:
        flow = self.config.flow_now(flow)
        running = any(
            node.flow is not None and node.flow.name == flow.name and not node.is_over
            for node in self.table.nodes.values()
        )
        if running:
            return []
        sa = self.table.established_with(flow.remote, flow.isakmp_profile)
        if sa is not None:
            return self._start_quick_mode(sa, flow)
        self.table.waiting.setdefault(flow.remote, {})[flow.name] = flow
        if self.table.negotiating_with(flow.remote, flow.isakmp_profile) is not None:
            return []
        return self._start_phase1(flow.local, flow.remote, flow.isakmp_profile, now)

    def _start_phase1(
        self, local: Endpoint, remote: Endpoint, profile: str | None, now: Now
    ) -> list[Action]:
        try:
            admission.admit_own(self._context, remote)
        except ProtocolError as error:
            self.table.waiting.pop(nat_t.destination(remote), None)  # the next packet asks again
            return [self._context.refused(remote, 0, "MM1", error)]
        sa = self._new_sa(local, remote, now, initiator=True)
        sa.requested_profile = profile
        minor = Minor.SA_REQ_MM
        if identity.find_aggressive_peer(self.config, remote.address) is not None:
            sa.exchange, minor = ExchangeType.AGGRESSIVE, Minor.SA_REQ_AM
        asked = Trace(remote, 0, "sa-request-profile", (("profile", profile or "(NULL)"),))
        told = self.table.insert(sa)
        actions = self._phase1(sa, (Major.FROM_IPSEC, minor), now)
        unborn = self._context.unborn(sa)
        if unborn:
            self.table.waiting.pop(nat_t.destination(remote), None)  # the next packet asks again
        return [asked, told, *actions, *unborn]

    def _new_sa(
        self, local: Endpoint, remote: Endpoint, now: Now, *, initiator: bool, cky_i: bytes = b""
    ) -> IsakmpSa:
        self._handles += 1
        known = self.table.established_with(remote) is not None
        sa = IsakmpSa(self._handles, initiator, local, remote, cky_i, begun=now.elapsed)
        sa.created = now.elapsed
        sa.initial_contact = initiator and not known
        return sa

    def _start_quick_mode(self, sa: IsakmpSa, flow: IpsecFlow) -> list[Action]:
        message_id = self._context.new_message_id()
        node = self._new_node(sa, message_id, initiator=True, flow=flow)
        return [AllocateSpi(node.handle, flow.name, sa.remote)]

    def _new_node(
        self, sa: IsakmpSa, message_id: int, *, initiator: bool, flow: IpsecFlow | None = None
    ) -> QuickModeNode:
        assert sa.policy is not None and sa.cipher is not None
        self._handles += 1
        iv = oakley.phase2_iv(sa.policy.hash, sa.iv, message_id, sa.cipher.block)
        node = QuickModeNode(
            self._handles, sa.handle, initiator, message_id, sa.remote, flow, iv=iv
        )
        self.table.nodes[node.handle] = node
        return node

    def _spi_allocated(self, handle: int, spi: bytes, now: Now) -> list[Action]:
        found = self._node_and_sa(handle)
        if found is None:
            return []
        node, sa = found
        node.inbound_spi = spi
        minor = Minor.INIT_QM if node.initiator else Minor.GOT_SPI
        return rows.run_quick_mode(self._context, sa, node, (Major.INTERNAL, minor), now)

    def _installed(self, handle: int, now: Now) -> list[Action]:
        found = self._node_and_sa(handle)
        if found is None:
            return []
        node, sa = found
        assert node.flow is not None and node.transform is not None
        made_room = admission.make_room_for_pair(self._context, node.flow, now)
        self.table.pairs_made += 1
        self.table.pairs[node.inbound_spi] = IpsecPair(
            sa.handle,
            node.flow,
            sa.remote,
            node.inbound_spi,
            node.outbound_spi,
            replace(node.transform, mode=nat_t.agreed_mode(sa, node.transform.mode)),
            node.lifetime_seconds,
            node.lifetime_kilobytes,
            now.elapsed,
            self.table.pairs_made,
            now.elapsed
            + node.lifetime_seconds
            - rekey_margin(node.lifetime_seconds, node.initiator),
            node.installed_proxies,
        )
        given = (Major.FROM_IPSEC, Minor.IPSEC_INSTALL_DONE)
        return [*rows.run_quick_mode(self._context, sa, node, given, now), *made_room]

    def _install_failed(self, handle: int, reason: str) -> list[Action]:
        node = self.table.nodes.pop(handle, None)
        if node is None:
            return []
        sa = self.table.sas[node.sa_handle]
        error = faults.install_failed(reason)
        return [self._context.refused(sa.remote, sa.conn_id, "quick mode", error)]

    def _node_and_sa(self, handle: int) -> tuple[QuickModeNode, IsakmpSa] | None:
        """A node that may have been cleared while the data plane was working for it."""
        node = self.table.nodes.get(handle)
        sa = self.table.sas.get(node.sa_handle) if node is not None else None
        return None if node is None or sa is None else (node, sa.heard_at(node.remote))

    # --- the peer's certificate -------------------------------------------------------------------

    def _cert_accepted(self, event: PeerCertAccepted, now: Now) -> list[Action]:
        sa = self.table.sas.get(event.handle)
        if sa is None or not sa.awaiting_cert:
            return []
        ready = sa.draft()
        ready.peer_cert, ready.awaiting_cert = event, False
        is_main = sa.exchange is ExchangeType.IDENTITY_PROTECTION
        minor = Minor.PROCESS_MAIN_MODE if is_main else Minor.PROCESS_AGGRESSIVE_MODE
        return self._phase1(ready, (Major.INTERNAL, minor), now)

    def _cert_refused(self, event: PeerCertRefused, now: Now) -> list[Action]:
        sa = self.table.sas.get(event.handle)
        if sa is None or not sa.awaiting_cert:
            return []
        work = self._context.work(now, sa.draft())
        refusal = faults.cert_refused(event)
        return rows.refuse_phase1(self._context, sa, work, refusal)


def _phase1_message(header: Header) -> Input:
    is_main = header.exchange_type == ExchangeType.IDENTITY_PROTECTION
    return Major.FROM_PEER, Minor.MM_EXCH if is_main else Minor.AM_EXCH
