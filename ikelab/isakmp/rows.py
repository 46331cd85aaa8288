"""Running the rows of `state.py`: on a draft, checked, then committed or refused as a whole."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

from ikelab.errors import ProtocolError, WireError
from ikelab.isakmp import (
    aggressive,
    faults,
    informational,
    main_mode,
    proof,
    quick_mode,
    retransmit,
)
from ikelab.isakmp.context import Context, transition
from ikelab.isakmp.events import Action, PlainMessage, SendDatagram, Trace, Transition
from ikelab.isakmp.message import Opened, check_rule, open_clear, open_encrypted
from ikelab.isakmp.sa import IsakmpSa, QuickModeNode
from ikelab.isakmp.state import (
    Input,
    Major,
    Minor,
    PayloadRule,
    QmState,
    Row,
    State,
    phase1_row,
    quick_mode_row,
)
from ikelab.isakmp.work import Work
from ikelab.types import Endpoint, Now
from ikelab.wire.isakmp import Header
from ikelab.wire.numbers import ExchangeType, Flags, PayloadType, ProtocolId

NODE_LINGERS = 60.0  # seconds: a finished quick mode still answers repeats of its last message
REMEMBERED = 3  # taken datagrams whose answer is kept for repeats
Datagram = tuple[Header, bytes]
Path = tuple[Endpoint, Endpoint]

STEPS: dict[str, Callable[[Work], bool]] = {
    step.__name__: step
    for step in (
        main_mode.send_mm1,
        main_mode.process_mm1,
        main_mode.send_mm2,
        main_mode.process_mm2,
        main_mode.send_mm3,
        main_mode.process_mm3,
        main_mode.send_mm4,
        main_mode.process_mm4,
        main_mode.send_mm5,
        main_mode.take_mm5,
        main_mode.send_mm6,
        main_mode.take_mm6,
        aggressive.send_am1,
        aggressive.process_am1,
        aggressive.send_am2,
        aggressive.take_am2,
        aggressive.send_am3,
        aggressive.take_am3,
        proof.authenticate,
        proof.phase1_complete,
        quick_mode.send_qm1,
        quick_mode.process_qm1,
        quick_mode.install_as_responder,
        quick_mode.send_qm2,
        quick_mode.process_qm2,
        quick_mode.send_qm3,
        quick_mode.process_qm3,
    )
}


def run_phase1(
    context: Context,
    sa: IsakmpSa,
    given: Input,
    now: Now,
    datagram: Datagram | None = None,
    path: Path | None = None,
) -> list[Action]:
    """Run the rows that an input sets off, on a draft; commit it or refuse.

    path: our and the peer's end that the datagram came by; the SA goes that way once it is taken.
    """
    work = context.work(now, sa.draft())
    if path is not None:
        work.sa.local, work.sa.remote = path
    asked = 0 if datagram is None else len(datagram[1])
    try:
        follow: Input | None = given
        while follow is not None:
            follow = _phase1_row(context, work, follow, datagram)
    except ProtocolError as error:
        return refuse_phase1(context, sa, work, error, asked)
    except WireError as error:
        return refuse_phase1(context, sa, work, faults.malformed(error), asked)
    return _commit_phase1(context, sa, work)


def _phase1_row(
    context: Context, work: Work, given: Input, datagram: Datagram | None
) -> Input | None:
    draft = work.sa
    row = phase1_row(draft.state, given)
    if row is None:
        raise _unexpected(given, draft.state.value)
    work.row = row
    from_peer = row.takes is not None
    if row.takes is not None:
        assert datagram is not None
        work.opened = _open(context, draft, draft.iv, row.takes, datagram)
        work.actions.append(
            context.taken(draft, work.opened, datagram[1], row.takes.message, draft.state.value)
        )
        draft.retransmission = None
        draft.answered = (*draft.answered, (_digest(datagram[1]), None))[-REMEMBERED:]
        _move_phase1(context, work, given, row)
    goes_on = STEPS[row.step](work) if row.step else True
    if not from_peer:
        _move_phase1(context, work, given, row)
    return row.then if goes_on else None


def _move_phase1(context: Context, work: Work, given: Input, row: Row) -> None:
    draft = work.sa
    assert isinstance(row.new_state, State)
    work.actions.append(transition(draft, 0, given, draft.state, row.new_state))
    draft.state, draft.shown = row.new_state, row.shown


def _open(
    context: Context, sa: IsakmpSa, iv: bytes, rule: PayloadRule, datagram: Datagram
) -> Opened:
    header, octets = datagram
    encrypted = bool(header.flags & Flags.ENCRYPTION)
    if encrypted is not rule.encrypted:
        check_rule(rule, (), encrypted=encrypted)
    if encrypted:
        assert sa.cipher is not None
        opened = open_encrypted(header, octets, sa.cipher, sa.encryption_key, iv)
    else:
        opened = open_clear(header, octets)
    check_rule(rule, [payload.type for payload in opened.payloads], encrypted=encrypted)
    return opened


def _commit_phase1(context: Context, sa: IsakmpSa, work: Work) -> list[Action]:
    draft = work.sa
    if draft.awaiting_cert and sa.checkpoint is None:
        draft.checkpoint = sa  # what a refused certificate falls back to
    if draft.last_sent is not sa.last_sent and draft.answered:
        draft.answered = (*draft.answered[:-1], (draft.answered[-1][0], draft.last_sent))
    draft.created = work.now.elapsed if not draft.is_complete else draft.created
    context.table.sas[sa.handle] = draft
    return work.actions


def refuse_phase1(
    context: Context, sa: IsakmpSa, work: Work, error: ProtocolError, asked: int = 0
) -> list[Action]:
    """Nothing of the draft stays. What was noted is told; what would have been sent is not.

    asked: octets of the message that is refused, 0 where none is.
    """
    actions: list[Action] = [action for action in work.actions if is_told(action)]
    moved = work.sa.state is not sa.state or sa.checkpoint is not None
    base = sa.checkpoint or sa
    message = _message_of(work)
    actions.append(context.refused(sa.remote, work.sa.conn_id, message, error))
    if moved:
        row = phase1_row(work.sa.state, (Major.INTERNAL, Minor.PROCESS_ERROR))
        assert row is not None and isinstance(row.new_state, State), work.sa.state
        given = (Major.INTERNAL, Minor.PROCESS_ERROR)
        actions.append(transition(work.sa, 0, given, work.sa.state, row.new_state))
    # Before keys exist anybody could spend the budget. With them, what does not decrypt counts like
    # a wrong HASH or SIG: whoever sent it must not see a difference.
    is_error = moved or error.reason == "undecryptable"
    if is_error and base.keys is not None and not base.is_complete:
        base = _count_error(context, base, work.now)
    context.table.sas[sa.handle] = base
    if sa.state is State.IKE_READY and not sa.initiator:
        actions += context.notify_in_clear(sa, error, asked)
    if base.errors > retransmit.ATTEMPTS:
        actions += context.drop_sa(base, "error budget spent")
    return actions


def is_told(action: Action) -> bool:
    """Whether an action of a refused draft is a fact: what came in, and what was seen in it."""
    return isinstance(action, Trace | Transition) or (
        isinstance(action, PlainMessage) and not action.sent
    )


def _count_error(context: Context, sa: IsakmpSa, now: Now) -> IsakmpSa:
    """IOS: count, and send our last message again one second later (guide, D2)."""
    counted = sa.draft()
    counted.errors += 1
    if counted.last_sent is not None:
        counted.retransmission = retransmit.Retransmission(
            counted.last_sent,
            "after an error",
            now.elapsed + retransmit.INTERVAL_AFTER_ERROR,
            counted.errors - 1,
        )
    return counted


def run_quick_mode(
    context: Context,
    sa: IsakmpSa,
    node: QuickModeNode,
    given: Input,
    now: Now,
    datagram: Datagram | None = None,
) -> list[Action]:
    """Run the row that an input sets off, on a draft of the node; commit it or refuse."""
    work = context.work(now, sa.draft())
    work.node = node.draft()
    draft = work.quick_mode
    draft.remote = sa.remote
    try:
        row = quick_mode_row(draft.state, given, initiator=draft.initiator)
        if row is None:
            raise _unexpected(given, draft.state.value)
        work.row = row
        if row.takes is not None:
            assert datagram is not None
            work.opened = _open(context, sa, draft.iv, row.takes, datagram)
            work.actions.append(
                context.taken(sa, work.opened, datagram[1], row.takes.message, draft.state.value)
            )
            draft.answered = (*draft.answered, (_digest(datagram[1]), None))[-REMEMBERED:]
        STEPS[row.step](work)
    except ProtocolError as error:
        return _quick_mode_refused(context, sa, node, work, error)
    except WireError as error:
        return _quick_mode_refused(context, sa, node, work, faults.malformed(error))
    return _commit_quick_mode(context, node, work, given, row)


def _commit_quick_mode(
    context: Context, node: QuickModeNode, work: Work, given: Input, row: Row
) -> list[Action]:
    draft = work.quick_mode
    assert isinstance(row.new_state, QmState)
    work.actions.append(transition(work.sa, draft.message_id, given, draft.state, row.new_state))
    draft.state = row.new_state
    if draft.last_sent is not node.last_sent and draft.answered:
        draft.answered = (*draft.answered[:-1], (draft.answered[-1][0], draft.last_sent))
    if draft.is_over:
        draft.purge_at = work.now.elapsed + NODE_LINGERS
    context.table.nodes[node.handle] = draft
    return work.actions


def _quick_mode_refused(
    context: Context, sa: IsakmpSa, node: QuickModeNode, work: Work, error: ProtocolError
) -> list[Action]:
    message = work.row.takes.message if work.row and work.row.takes else "quick mode"
    actions: list[Action] = [action for action in work.actions if is_told(action)]
    actions.append(context.refused(sa.remote, sa.conn_id, message, error))
    if work.opened is not None and error.notify is not None and error.reason != "bad-hash":
        # The message was authentic: say why it was refused, under the same keys.
        payload = informational.notify(error.notify, ProtocolId.ESP, _offered_spi(work.opened))
        actions += context.inform(sa, [payload], work.now)
    return actions


def _offered_spi(opened: Opened) -> bytes:
    """The SPI of the peer's quick mode: by it the peer knows which one is refused."""
    for payload in opened.of_type(PayloadType.SA):
        for proposal in payload.packet.proposals:
            return bytes(proposal.spi)
    return b""


def _unexpected(given: Input, state: str) -> ProtocolError:
    return ProtocolError(
        "unexpected-message",
        f"{given[1].value} has no row in state {state}",
        seen=given[1].value,
        wanted=f"what state {state} waits for",
    )


def _digest(octets: bytes) -> bytes:
    return sha256(octets).digest()


def stored_answer(
    answered: tuple[tuple[bytes, SendDatagram | None], ...], octets: bytes
) -> tuple[SendDatagram | None] | None:
    """The answer to an exact repeat, wrapped; None when these octets were not taken before."""
    digest = _digest(octets)
    for taken, answer in answered:
        if taken == digest:
            return (answer,)
    return None


def _message_of(work: Work) -> str:
    """The name of the message that a refusal is about: taken, or of our first, not to be built."""
    for action in reversed(work.actions):
        if isinstance(action, PlainMessage) and not action.sent:
            return action.message
    if work.row is not None:
        # With an answer that waited for the PKI's verdict, it is about what was to be answered.
        rule = work.row.takes or (None if work.sa.answered else work.row.sends)
        if rule is not None:
            return rule.message
    return _last_message(work)


def _last_message(work: Work) -> str:
    """The name of the message that an asynchronous refusal is about."""
    if work.sa.exchange is ExchangeType.AGGRESSIVE:
        return "AM2" if work.sa.initiator else "AM3"
    return "MM6" if work.sa.initiator else "MM5"
