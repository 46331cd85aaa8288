"""The steps of main mode (RFC 2409 section 5.1), named by the rows of `state.py`.

Each takes the desk, checks what came in, changes the draft and sends what the row promises. A step
that returns False waits: its row's follow-up comes with a later event. Message 1 to 6, from the
top, initiator and responder side by side; what aggressive mode does alike is in `phase1.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ikelab.isakmp import fragmentation, nat_t, phase1, proof, state
from ikelab.isakmp.work import Work

if TYPE_CHECKING:
    from ikelab.wire.layer import Layer

# --- messages 1 and 2: the proposal --------------------------------------------------------------


def send_mm1(work: Work) -> bool:
    """Initiator: offer all policies that can be used with this peer."""
    work.trace("aggressive-mode-not-started")
    offer = phase1.begin(work, phase1.usable_policies(work))
    vendor_ids = nat_t.offer(work)
    work.trace("beginning-main-mode")
    work.send_phase1(state.MM1, [offer, *vendor_ids, *fragmentation.offer(work)])
    work.start_retransmission(state.MM1)
    return True


def process_mm1(work: Work) -> bool:
    """Responder: walk the offer and choose."""
    phase1.choose(work, work.config.policies)
    return True


def send_mm2(work: Work) -> bool:
    """Responder: the chosen transform exactly as offered, and no vendor ID that was not offered."""
    packets: list[Layer] = [work.reply]
    work.send_phase1(state.MM2, [*packets, *nat_t.answer(work), *fragmentation.answer(work)])
    return True


def process_mm2(work: Work) -> bool:
    """Initiator: the answer must be one of our own transforms."""
    phase1.accept(work, phase1.usable_policies(work))
    return True


# --- messages 3 and 4: the key exchange ----------------------------------------------------------


def send_mm3(work: Work) -> bool:
    """Initiator: our half of the key exchange."""
    work.send_phase1(state.MM3, phase1.key_exchange(work))
    work.start_retransmission(state.MM3)
    return True


def process_mm3(work: Work) -> bool:
    """Responder: the initiator's half and ours, and with both the keys."""
    phase1.take_half(work)
    phase1.own_half(work, phase1.chosen_policy(work).group)
    phase1.derive_keys(work)
    phase1.take_rest(work)
    return True


def send_mm4(work: Work) -> bool:
    """Responder: our half of the key exchange, drawn with message 3."""
    work.send_phase1(state.MM4, phase1.key_exchange_of(work))
    return True


def process_mm4(work: Work) -> bool:
    """Initiator: the responder's half, and with both the keys."""
    phase1.take_half(work)
    phase1.derive_keys(work)
    phase1.take_rest(work)
    return True


# --- messages 5 and 6: who we are ----------------------------------------------------------------


def send_mm5(work: Work) -> bool:
    """Initiator: identity and proof, encrypted."""
    nat_t.float_ports(work)
    work.send_phase1(state.MM5, proof.identify(work))
    work.start_retransmission(state.MM5)
    return True


def send_mm6(work: Work) -> bool:
    """Responder: identity and proof, encrypted."""
    work.send_phase1(state.MM6, proof.identify(work))
    return True


def take_mm5(work: Work) -> bool:
    """Responder: read identity and proof; with certificates, wait for their check."""
    return proof.take_identity(work)


def take_mm6(work: Work) -> bool:
    """Initiator: the same."""
    return proof.take_identity(work)
