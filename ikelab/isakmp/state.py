"""The transition tables of IKEv1: the only place where a state may change into another.

Theory. Three machines run here. *Main mode* (RFC 2409 section 5.1) has one instance an ISAKMP SA;
its states carry the names that IOS prints in `debug crypto isakmp`, IKE_I_MMn for the initiator and
IKE_R_MMn for the responder, n being the last message sent or taken. *Aggressive mode* (the same
section) takes its place where the configuration says so: IOS's public traces name its waiting
states IKE_I_AM1 and IKE_R_AM2, those in between have plain names here and no line in the debug log.
*Quick mode* (section 5.5) has one instance a message ID ("Node" in IOS). Informational exchanges
have one message and no state.

A row says: in this state, on this input (major, minor), run this step, go to this state. A
message of the peer is one FROM_PEER row, which names the payloads it may hold, followed by
INTERNAL rows that do the work; all of them run on a draft of the SA, and only when every step has
passed does the draft replace the SA. A step that refuses sends the draft back by the
IKE_PROCESS_ERROR row: no bad datagram moves a state. A missing key is the protocol error
`unexpected-message`.

A step is named, not referenced: this module knows no code. `rows.py` binds the names to the
functions of `main_mode.py`, `aggressive.py`, `phase1.py` and `quick_mode.py`; a test holds that
every name is bound and every row reached. The debug log prints the rows that were taken; the
diagrams are drawn from the tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from ikelab.wire.numbers import PayloadType as P


class State(Enum):
    """Phase 1 states, by the names IOS prints; AGGRESSIVE_* are ours: IOS prints none for them."""

    IKE_READY = "IKE_READY"
    IKE_I_MM1 = "IKE_I_MM1"
    IKE_I_MM2 = "IKE_I_MM2"
    IKE_I_MM3 = "IKE_I_MM3"
    IKE_I_MM4 = "IKE_I_MM4"
    IKE_I_MM5 = "IKE_I_MM5"
    IKE_I_MM6 = "IKE_I_MM6"
    IKE_R_MM1 = "IKE_R_MM1"
    IKE_R_MM2 = "IKE_R_MM2"
    IKE_R_MM3 = "IKE_R_MM3"
    IKE_R_MM4 = "IKE_R_MM4"
    IKE_R_MM5 = "IKE_R_MM5"
    IKE_I_AM1 = "IKE_I_AM1"
    AGGRESSIVE_I_AUTH = "AGGRESSIVE_I_AUTH"
    AGGRESSIVE_R_SETUP = "AGGRESSIVE_R_SETUP"
    IKE_R_AM2 = "IKE_R_AM2"
    AGGRESSIVE_R_AUTH = "AGGRESSIVE_R_AUTH"
    IKE_P1_COMPLETE = "IKE_P1_COMPLETE"
    IKE_DEST_SA = "IKE_DEST_SA"


class QmState(Enum):
    """Quick mode states, by the names IOS prints."""

    IKE_QM_READY = "IKE_QM_READY"
    IKE_QM_I_QM1 = "IKE_QM_I_QM1"
    IKE_QM_IPSEC_INSTALL_AWAIT = "IKE_QM_IPSEC_INSTALL_AWAIT"
    IKE_QM_SPI_STARVE = "IKE_QM_SPI_STARVE"
    IKE_QM_R_QM2 = "IKE_QM_R_QM2"
    IKE_QM_PHASE2_COMPLETE = "IKE_QM_PHASE2_COMPLETE"


class Major(Enum):
    """Where an input comes from."""

    FROM_IPSEC = "IKE_MESG_FROM_IPSEC"
    FROM_PEER = "IKE_MESG_FROM_PEER"
    INTERNAL = "IKE_MESG_INTERNAL"


class Minor(Enum):
    """What the input is."""

    SA_REQ_MM = "IKE_SA_REQ_MM"
    MM_EXCH = "IKE_MM_EXCH"
    SA_REQ_AM = "IKE_SA_REQ_AM"
    AM_EXCH = "IKE_AM_EXCH"
    PROCESS_MAIN_MODE = "IKE_PROCESS_MAIN_MODE"
    PROCESS_AGGRESSIVE_MODE = "PROCESS_AGGRESSIVE_MODE"  # ours
    PROCESS_COMPLETE = "IKE_PROCESS_COMPLETE"
    PROCESS_ERROR = "IKE_PROCESS_ERROR"
    PHASE1_COMPLETE = "IKE_PHASE1_COMPLETE"
    PHASE1_DEL = "IKE_PHASE1_DEL"
    INIT_QM = "IKE_INIT_QM"
    QM_EXCH = "IKE_QM_EXCH"
    GOT_SPI = "IKE_GOT_SPI"
    IPSEC_INSTALL_DONE = "IPSEC_INSTALL_DONE"


Input = tuple[Major, Minor]


@dataclass(frozen=True, slots=True)
class PayloadRule:
    """Which payloads a message holds. Checked for messages that come in and that we build.

    message: the name people use. required: exactly these must be there, each exactly as often as
    named. optional: may be there, any number of times. first: what must lead, if anything.
    clear_too: an encrypted message that is taken in clear as well.
    """

    message: str
    required: tuple[P, ...]
    optional: tuple[P, ...] = ()
    encrypted: bool = False
    first: P | None = None
    clear_too: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table.

    step: name of the function that runs before the transition, or "". takes, sends: the messages.
    then: the input that follows by itself once the step says "go on".
    shown: the state `show crypto isakmp sa` prints afterwards.
    """

    step: str
    new_state: State | QmState
    shown: str
    takes: PayloadRule | None = None
    sends: PayloadRule | None = None
    then: Input | None = None


# CERT, SIG or HASH: which of them is required depends on the authentication method that was
# negotiated; the steps of messages 5 and 6 look.
_AUTH = (P.CERT, P.SIG, P.HASH, P.NOTIFY, P.VENDOR_ID, P.CERT_REQ)

MM1 = PayloadRule("MM1", (P.SA,), (P.VENDOR_ID,), first=P.SA)
MM2 = PayloadRule("MM2", (P.SA,), (P.VENDOR_ID,), first=P.SA)
# Of the three types of NAT-D and NAT-OA the peers use the one of the version they agreed on.
_NAT_D = (P.NAT_D, P.NAT_D_DRAFT, P.NAT_D_DRAFT_07)
_KE_OPTIONAL = (P.CERT_REQ, P.VENDOR_ID, *_NAT_D)
MM3 = PayloadRule("MM3", (P.KE, P.NONCE), _KE_OPTIONAL)
MM4 = PayloadRule("MM4", (P.KE, P.NONCE), _KE_OPTIONAL)
MM5 = PayloadRule("MM5", (P.ID,), _AUTH, encrypted=True)
MM6 = PayloadRule("MM6", (P.ID,), _AUTH, encrypted=True)
AM1 = PayloadRule("AM1", (P.SA, P.KE, P.NONCE, P.ID), (P.VENDOR_ID, P.CERT_REQ), first=P.SA)
AM2 = PayloadRule("AM2", (P.SA, P.KE, P.NONCE, P.ID), (*_AUTH, *_NAT_D), first=P.SA)
AM3 = PayloadRule("AM3", (), (*_AUTH, *_NAT_D), encrypted=True, clear_too=True)
_QM_OPTIONAL = (P.KE, P.ID, P.NOTIFY, P.NAT_OA, P.NAT_OA_DRAFT, P.NAT_OA_DRAFT_07)
QM1 = PayloadRule("QM1", (P.HASH, P.SA, P.NONCE), _QM_OPTIONAL, True, P.HASH)
QM2 = PayloadRule("QM2", (P.HASH, P.SA, P.NONCE), _QM_OPTIONAL, True, P.HASH)
QM3 = PayloadRule("QM3", (P.HASH,), (P.NOTIFY,), True, P.HASH)

_IPSEC, _PEER, _INTERNAL = Major.FROM_IPSEC, Major.FROM_PEER, Major.INTERNAL
_PROCESS = (_INTERNAL, Minor.PROCESS_MAIN_MODE)
_COMPLETE = (_INTERNAL, Minor.PROCESS_COMPLETE)
_ERROR = (_INTERNAL, Minor.PROCESS_ERROR)
_S, _Q = State, QmState

MAIN_MODE: dict[tuple[State, Input], Row] = {
    # Initiator
    (_S.IKE_READY, (_IPSEC, Minor.SA_REQ_MM)): Row(
        "send_mm1", _S.IKE_I_MM1, "MM_NO_STATE", sends=MM1
    ),
    (_S.IKE_I_MM1, (_PEER, Minor.MM_EXCH)): Row(
        "", _S.IKE_I_MM2, "MM_NO_STATE", takes=MM2, then=_PROCESS
    ),
    (_S.IKE_I_MM2, _PROCESS): Row("process_mm2", _S.IKE_I_MM2, "MM_SA_SETUP", then=_COMPLETE),
    (_S.IKE_I_MM2, _COMPLETE): Row("send_mm3", _S.IKE_I_MM3, "MM_SA_SETUP", sends=MM3),
    (_S.IKE_I_MM2, _ERROR): Row("", _S.IKE_I_MM1, "MM_NO_STATE"),
    (_S.IKE_I_MM3, (_PEER, Minor.MM_EXCH)): Row(
        "", _S.IKE_I_MM4, "MM_SA_SETUP", takes=MM4, then=_PROCESS
    ),
    (_S.IKE_I_MM4, _PROCESS): Row("process_mm4", _S.IKE_I_MM4, "MM_KEY_EXCH", then=_COMPLETE),
    (_S.IKE_I_MM4, _COMPLETE): Row("send_mm5", _S.IKE_I_MM5, "MM_KEY_EXCH", sends=MM5),
    (_S.IKE_I_MM4, _ERROR): Row("", _S.IKE_I_MM3, "MM_SA_SETUP"),
    (_S.IKE_I_MM5, (_PEER, Minor.MM_EXCH)): Row(
        "take_mm6", _S.IKE_I_MM6, "MM_KEY_EXCH", takes=MM6, then=_PROCESS
    ),
    (_S.IKE_I_MM6, _PROCESS): Row("authenticate", _S.IKE_I_MM6, "MM_KEY_EXCH", then=_COMPLETE),
    (_S.IKE_I_MM6, _COMPLETE): Row(
        "", _S.IKE_P1_COMPLETE, "QM_IDLE", then=(_INTERNAL, Minor.PHASE1_COMPLETE)
    ),
    (_S.IKE_I_MM6, _ERROR): Row("", _S.IKE_I_MM5, "MM_KEY_EXCH"),
    # Responder
    (_S.IKE_READY, (_PEER, Minor.MM_EXCH)): Row(
        "", _S.IKE_R_MM1, "MM_NO_STATE", takes=MM1, then=_PROCESS
    ),
    (_S.IKE_R_MM1, _PROCESS): Row("process_mm1", _S.IKE_R_MM1, "MM_NO_STATE", then=_COMPLETE),
    (_S.IKE_R_MM1, _COMPLETE): Row("send_mm2", _S.IKE_R_MM2, "MM_SA_SETUP", sends=MM2),
    (_S.IKE_R_MM1, _ERROR): Row("", _S.IKE_READY, "MM_NO_STATE"),
    (_S.IKE_R_MM2, (_PEER, Minor.MM_EXCH)): Row(
        "", _S.IKE_R_MM3, "MM_SA_SETUP", takes=MM3, then=_PROCESS
    ),
    (_S.IKE_R_MM3, _PROCESS): Row("process_mm3", _S.IKE_R_MM3, "MM_KEY_EXCH", then=_COMPLETE),
    (_S.IKE_R_MM3, _COMPLETE): Row("send_mm4", _S.IKE_R_MM4, "MM_KEY_EXCH", sends=MM4),
    (_S.IKE_R_MM3, _ERROR): Row("", _S.IKE_R_MM2, "MM_SA_SETUP"),
    (_S.IKE_R_MM4, (_PEER, Minor.MM_EXCH)): Row(
        "take_mm5", _S.IKE_R_MM5, "MM_KEY_EXCH", takes=MM5, then=_PROCESS
    ),
    (_S.IKE_R_MM5, _PROCESS): Row("authenticate", _S.IKE_R_MM5, "MM_KEY_EXCH", then=_COMPLETE),
    (_S.IKE_R_MM5, _COMPLETE): Row(
        "send_mm6",
        _S.IKE_P1_COMPLETE,
        "QM_IDLE",
        sends=MM6,
        then=(_INTERNAL, Minor.PHASE1_COMPLETE),
    ),
    (_S.IKE_R_MM5, _ERROR): Row("", _S.IKE_R_MM4, "MM_KEY_EXCH"),
    # Both
    (_S.IKE_P1_COMPLETE, (_INTERNAL, Minor.PHASE1_COMPLETE)): Row(
        "phase1_complete", _S.IKE_P1_COMPLETE, "QM_IDLE"
    ),
    (_S.IKE_P1_COMPLETE, (_INTERNAL, Minor.PHASE1_DEL)): Row("", _S.IKE_DEST_SA, "MM_NO_STATE"),
}

_PROCESS_AM = (_INTERNAL, Minor.PROCESS_AGGRESSIVE_MODE)
_PHASE1_COMPLETE = (_INTERNAL, Minor.PHASE1_COMPLETE)
AGGRESSIVE_MODE: dict[tuple[State, Input], Row] = {
    # Initiator
    (_S.IKE_READY, (_IPSEC, Minor.SA_REQ_AM)): Row(
        "send_am1", _S.IKE_I_AM1, "AG_INIT_EXCH", sends=AM1
    ),
    (_S.IKE_I_AM1, (_PEER, Minor.AM_EXCH)): Row(
        "take_am2", _S.AGGRESSIVE_I_AUTH, "AG_INIT_EXCH", takes=AM2, then=_PROCESS_AM
    ),
    (_S.AGGRESSIVE_I_AUTH, _PROCESS_AM): Row(
        "authenticate", _S.AGGRESSIVE_I_AUTH, "AG_AUTH", then=_COMPLETE
    ),
    (_S.AGGRESSIVE_I_AUTH, _COMPLETE): Row(
        "send_am3", _S.IKE_P1_COMPLETE, "QM_IDLE", sends=AM3, then=_PHASE1_COMPLETE
    ),
    (_S.AGGRESSIVE_I_AUTH, _ERROR): Row("", _S.IKE_I_AM1, "AG_INIT_EXCH"),
    # Responder
    (_S.IKE_READY, (_PEER, Minor.AM_EXCH)): Row(
        "process_am1", _S.AGGRESSIVE_R_SETUP, "AG_NO_STATE", takes=AM1, then=_COMPLETE
    ),
    (_S.AGGRESSIVE_R_SETUP, _COMPLETE): Row("send_am2", _S.IKE_R_AM2, "AG_INIT_EXCH", sends=AM2),
    (_S.AGGRESSIVE_R_SETUP, _ERROR): Row("", _S.IKE_READY, "AG_NO_STATE"),
    (_S.IKE_R_AM2, (_PEER, Minor.AM_EXCH)): Row(
        "take_am3", _S.AGGRESSIVE_R_AUTH, "AG_INIT_EXCH", takes=AM3, then=_PROCESS_AM
    ),
    (_S.AGGRESSIVE_R_AUTH, _PROCESS_AM): Row(
        "authenticate", _S.AGGRESSIVE_R_AUTH, "AG_AUTH", then=_COMPLETE
    ),
    (_S.AGGRESSIVE_R_AUTH, _COMPLETE): Row(
        "", _S.IKE_P1_COMPLETE, "QM_IDLE", then=_PHASE1_COMPLETE
    ),
    (_S.AGGRESSIVE_R_AUTH, _ERROR): Row("", _S.IKE_R_AM2, "AG_INIT_EXCH"),
}
# What follows from phase 1 is one part of both tables: the rows of IKE_P1_COMPLETE above.
_PHASE1 = MAIN_MODE | AGGRESSIVE_MODE

_GOT_SPI = (_INTERNAL, Minor.GOT_SPI)
_INSTALLED = (_IPSEC, Minor.IPSEC_INSTALL_DONE)
# The install wait is one state in IOS's words for both roles, but they leave it differently: the
# initiator sends message 3 and is through, the responder sends message 2 and waits. So quick mode
# has one table a role.
QUICK_MODE_INITIATOR: dict[tuple[QmState, Input], Row] = {
    (_Q.IKE_QM_READY, (_INTERNAL, Minor.INIT_QM)): Row(
        "send_qm1", _Q.IKE_QM_I_QM1, "QM_IDLE", sends=QM1
    ),
    (_Q.IKE_QM_I_QM1, (_PEER, Minor.QM_EXCH)): Row(
        "process_qm2", _Q.IKE_QM_IPSEC_INSTALL_AWAIT, "QM_IDLE", takes=QM2
    ),
    (_Q.IKE_QM_IPSEC_INSTALL_AWAIT, _INSTALLED): Row(
        "send_qm3", _Q.IKE_QM_PHASE2_COMPLETE, "QM_IDLE", sends=QM3
    ),
}
QUICK_MODE_RESPONDER: dict[tuple[QmState, Input], Row] = {
    (_Q.IKE_QM_READY, (_PEER, Minor.QM_EXCH)): Row(
        "process_qm1", _Q.IKE_QM_SPI_STARVE, "QM_IDLE", takes=QM1
    ),
    (_Q.IKE_QM_SPI_STARVE, _GOT_SPI): Row(
        "install_as_responder", _Q.IKE_QM_IPSEC_INSTALL_AWAIT, "QM_IDLE"
    ),
    (_Q.IKE_QM_IPSEC_INSTALL_AWAIT, _INSTALLED): Row(
        "send_qm2", _Q.IKE_QM_R_QM2, "QM_IDLE", sends=QM2
    ),
    (_Q.IKE_QM_R_QM2, (_PEER, Minor.QM_EXCH)): Row(
        "process_qm3", _Q.IKE_QM_PHASE2_COMPLETE, "QM_IDLE", takes=QM3
    ),
}


def phase1_row(state: State, given: Input) -> Row | None:
    """The row for an input in a state, or None: that input is not legal here."""
    return _PHASE1.get((state, given))


def quick_mode_row(state: QmState, given: Input, *, initiator: bool) -> Row | None:
    """The row for an input in a state, or None: that input is not legal here."""
    table = QUICK_MODE_INITIATOR if initiator else QUICK_MODE_RESPONDER
    return table.get((state, given))
