"""IKE fragmentation between two engines: agreed on by vendor ID, both ways, against all odds."""

from __future__ import annotations

import random
import time
from dataclasses import replace

import pytest

from ikelab.isakmp import fragment, fragmentation
from ikelab.isakmp.events import PlainMessage, SendDatagram
from ikelab.wire import vendor_id
from ikelab.wire.isakmp import Header, build_message, build_payloads, parse_header, parse_payloads
from ikelab.wire.numbers import PayloadType
from ikelab.wire.payloads import FRAGMENT, VENDOR_ID
from tests.dialogue.natpair import NatPair, behind_nat
from tests.dialogue.playbook import I_END, R_END, Pair, Side, config

ON = {"fragmentation": True}


def pair_with(initiator: bool = True, responder: bool = True) -> Pair:
    return Pair(
        config("spoke1", I_END, R_END, fragmentation=initiator),
        config("hub", R_END, I_END, fragmentation=responder),
    )


def before_mm5(pair: Pair) -> Pair:
    """Up to where message 5 lies in the spoke's outbox, in fragments."""
    pair.request()
    for side in (pair.i, pair.r, pair.i, pair.r):
        pair.deliver(side)
    return pair


def fragments_of(side: Side) -> list[SendDatagram]:
    return [s for s in side.of(SendDatagram) if s.octets[16] == PayloadType.FRAGMENT]


def says_fragmentation(octets: bytes) -> bool:
    payloads = parse_payloads(parse_header(octets).next_payload, octets[28:])
    wanted = vendor_id.FRAGMENTATION + bytes.fromhex("80000000")
    return wanted in [p.body for p in payloads if p.type == PayloadType.VENDOR_ID]


# --- agreeing -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("initiator", "responder"), [(False, True), (True, False), (False, False)])
def test_one_side_alone_starts_no_fragments(initiator: bool, responder: bool) -> None:
    pair = pair_with(initiator, responder)
    pair.establish()
    assert pair.i.states == ["IKE_P1_COMPLETE"]
    assert not fragments_of(pair.i) and not fragments_of(pair.r)


def test_both_say_it_and_both_cut_their_large_messages() -> None:
    pair = pair_with()
    pair.request()
    assert says_fragmentation(pair.i.outbox[0].octets)
    pair.deliver(pair.i)
    assert says_fragmentation(pair.r.outbox[0].octets)
    pair.run()
    assert pair.i.states == pair.r.states == ["IKE_P1_COMPLETE"]
    for side, message in ((pair.i, "MM5"), (pair.r, "MM6")):
        sent = fragments_of(side)
        assert len(sent) >= 2
        assert all(28 + len(one.octets) <= 576 for one in sent)
        assert [f"Fragment {n} of {len(sent)}" in s.comment for n, s in enumerate(sent, 1)]
        assert all(f"sends {message} " in one.comment for one in sent)


def test_each_fragment_that_came_is_told_of() -> None:
    pair = pair_with()
    pair.establish()
    told = [p.comment for p in pair.r.of(PlainMessage) if p.message == fragmentation.NAME]
    assert told == [f"hub (R) takes fragment {n}" for n in range(1, len(told) + 1)]
    assert len(told) == len(fragments_of(pair.i))


def test_behind_a_nat_the_marker_is_counted_too() -> None:
    pair = NatPair(config("spoke1", I_END, R_END, **ON), behind_nat(**ON))
    pair.establish()
    assert pair.r.states == ["IKE_P1_COMPLETE"]
    large = [len(s.octets) for s in fragments_of(pair.i) if s.local.port == 4500]
    assert max(large) + 28 + 4 == 576


def test_what_is_sent_again_is_cut_again() -> None:
    pair = before_mm5(pair_with())
    first = [sent.octets for sent in pair.i.outbox]
    pair.i.outbox.clear()
    pair.advance(10)
    assert [sent.octets for sent in pair.i.outbox] == first
    pair.run()
    assert pair.r.states == ["IKE_P1_COMPLETE"]


def test_a_repeated_message_5_in_fragments_brings_the_stored_message_6() -> None:
    pair = before_mm5(pair_with())
    again = list(pair.i.outbox)
    while pair.i.outbox:
        pair.deliver(pair.i)
    answer = [sent.octets for sent in pair.r.outbox]
    pair.r.outbox.clear()
    for sent in again:
        pair.hand_over(pair.i, sent.octets)
    assert [sent.octets for sent in pair.r.outbox] == answer


# --- any order, any loss --------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_order_and_repetition_do_not_matter(seed: int) -> None:
    pair = before_mm5(pair_with())
    sent = list(pair.i.outbox) * 2
    pair.i.outbox.clear()
    random.Random(seed).shuffle(sent)
    for one in sent:
        pair.hand_over(pair.i, one.octets)
    pair.run()
    assert pair.i.states == pair.r.states == ["IKE_P1_COMPLETE"]


def test_a_gap_waits_for_the_timer_and_then_for_the_peer() -> None:
    pair = before_mm5(pair_with())
    pair.i.outbox.pop(0)
    pair.run()
    assert pair.r.states == ["IKE_R_MM4"]
    pair.give(pair.r)
    pair.r.hold.add(SendDatagram)  # what the hub does meanwhile is not looked at
    pair.elapsed += 31
    pair.advance(0)
    assert "fragment-timeout" in pair.r.refusals
    assert pair.r.sa.pieces is None


# --- hostile fragments (family A13) ---------------------------------------------------------------


def forged(
    pair: Pair, number: int, data: bytes = b"x" * 100, last: int = 0, ident: int = 1
) -> bytes:
    sa = pair.r.sa
    outer = Header(sa.cky_i, sa.cky_r, PayloadType.FRAGMENT, 2, 0, 0)
    payload = FRAGMENT(id=ident, number=number, last=last, data=data)
    return build_message(outer, build_payloads([payload])[1])


def refusal(pair: Pair, *datagrams: bytes) -> str:
    for octets in datagrams:
        pair.hand_over(pair.i, octets)
    return pair.r.refusals[-1]


def test_without_agreement_a_fragment_is_refused() -> None:
    pair = before_mm5(pair_with(responder=False))
    assert refusal(pair, forged(pair, 1)) == "fragment-not-agreed"


def test_without_an_sa_a_fragment_is_refused() -> None:
    pair = before_mm5(pair_with())
    octets = forged(pair, 1)
    assert refusal(pair, bytes(range(1, 9)) + octets[8:]) == "unknown-cookies"


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        ([(0, b"x", 0)], "fragment-number"),
        ([(0, b"x", 1)], "fragment-number"),
        ([(255, b"x", 0)], "fragment-number"),
        ([(1, b"x", 7)], "fragment-last"),
        ([(1, b"", 0)], "fragment-empty"),
        ([(1, b"x", 0), (1, b"y", 0)], "fragment-conflict"),
        ([(1, b"x", 0), (1, b"x", 1)], "fragment-conflict"),
        ([(1, b"x", 0), (1, b"x", 0)], "fragment-repeated"),
        ([(2, b"x", 1), (3, b"y", 0)], "fragment-beyond-last"),
        ([(2, b"x", 1), (3, b"y", 1)], "fragment-beyond-last"),
        ([(5, b"x", 0), (2, b"y", 1)], "fragment-beyond-last"),
        ([(number, b"x" * 1000, 0) for number in range(1, 67)], "fragment-budget"),
    ],
)
def test_fragments_that_fit_nothing_are_refused(
    made: list[tuple[int, bytes, int]], reason: str
) -> None:
    pair = before_mm5(pair_with())
    assert refusal(pair, *(forged(pair, n, data, last) for n, data, last in made)) == reason
    pair.run()
    pair.live(12)  # the true ones still get through, at the latest when they are sent again
    assert pair.r.states == ["IKE_P1_COMPLETE"]


def test_a_fragment_in_fragments_is_refused() -> None:
    pair = before_mm5(pair_with())
    inner = forged(pair, 1)
    half = len(inner) // 2
    made = [forged(pair, 1, inner[:half]), forged(pair, 2, inner[half:], 1)]
    assert refusal(pair, *made) == "fragment-nested"


def test_the_whole_must_be_of_the_sa_that_its_fragments_named() -> None:
    pair = before_mm5(pair_with())
    other = bytearray(forged(pair, 1))
    other[0:8], other[16] = bytes(range(1, 9)), PayloadType.VENDOR_ID
    assert refusal(pair, forged(pair, 1, bytes(other), 1)) == "fragment-header"


def test_two_payloads_in_a_fragment_are_refused() -> None:
    pair = before_mm5(pair_with())
    sa = pair.r.sa
    outer = Header(sa.cky_i, sa.cky_r, PayloadType.FRAGMENT, 2, 0, 0)
    two = build_payloads([FRAGMENT(number=1, data=b"x"), VENDOR_ID(data=b"y")])[1]
    assert refusal(pair, build_message(outer, two)) == "fragment-not-alone"


def test_another_fragment_id_begins_anew() -> None:
    pair = before_mm5(pair_with())
    pair.hand_over(pair.i, forged(pair, 1, ident=2))
    pair.run()
    assert pair.r.states == ["IKE_P1_COMPLETE"]


def test_a_fragment_from_another_address_is_refused() -> None:
    pair = before_mm5(pair_with())
    octets = forged(pair, 1)
    pair.r.receive(octets, pair.now, replace(I_END, address="198.51.100.66"))
    assert pair.r.refusals == ["wrong-peer"]
    assert pair.r.sa.pieces is None


def test_what_is_kept_has_a_bound_and_the_work_is_linear() -> None:
    pair = before_mm5(pair_with())
    made = [forged(pair, number, b"x" * 500) for number in range(fragment.MAX_FRAGMENTS, 0, -1)]
    begun = time.process_time()
    for octets in made * 20:
        pair.hand_over(pair.i, octets)
    pieces = pair.r.sa.pieces
    assert pieces is not None and pieces.octets <= fragment.MAX_OCTETS
    assert len(pieces.found) <= fragment.MAX_FRAGMENTS
    assert time.process_time() - begun < 10
