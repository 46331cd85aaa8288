"""Both sides begin at once, in either phase: nothing is lost, in the end one of each is left."""

from dataclasses import replace

import pytest

from ikelab.isakmp.events import Clear, SendDatagram
from ikelab.wire.numbers import ExchangeType
from ikelab.wire.payloads import NOTIFY
from tests.dialogue.playbook import I_END, PSK, R_END, Pair, config, gre_flow


def crossed(seed, *, phase1=86400, phase2=3600):
    policy = replace(PSK, lifetime=phase1)
    pair = Pair(
        config(
            "spoke1",
            I_END,
            R_END,
            policies=(policy,),
            flows=(gre_flow(I_END, R_END, lifetime_seconds=phase2),),
        ),
        config(
            "hub",
            R_END,
            I_END,
            policies=(policy,),
            flows=(gre_flow(R_END, I_END, lifetime_seconds=phase2),),
        ),
        seed=seed,
    )
    pair.request(pair.i)
    pair.request(pair.r)
    pair.run()
    return pair


def spis(side):
    pairs = side.engine.table.pairs.values()
    return {frozenset((pair.inbound_spi, pair.outbound_spi)) for pair in pairs}


def count(pair):
    return sum(len(side.of(SendDatagram)) for side in (pair.i, pair.r))


SEEDS = pytest.mark.parametrize("seed", ["a", "b", "c", "d"])


@SEEDS
def test_both_have_what_the_other_has_and_then_it_is_quiet(seed):
    pair = crossed(seed)
    assert spis(pair.i) == spis(pair.r) != set()
    assert pair.i.states == pair.r.states
    before = count(pair)
    pair.live(600)
    assert count(pair) == before


@SEEDS
def test_of_two_pairs_that_crossed_one_has_a_successor(seed):
    pair = crossed(seed, phase2=400)
    assert len(spis(pair.i)) == 2
    for _ in range(60):
        pair.live(20)
        assert spis(pair.i) & spis(pair.r), "at every moment there is a pair to use"
    assert len(spis(pair.i)) == len(spis(pair.r)) <= 2
    pair.live(65)
    pair.live(400)
    assert spis(pair.i) == spis(pair.r)
    assert len([p for p in pair.i.engine.table.pairs.values() if p.rekey_at is not None]) == 1


@SEEDS
def test_of_two_isakmp_sas_that_crossed_one_has_a_successor(seed):
    pair = crossed(seed, phase1=400)
    assert len(pair.i.states) == 2
    pair.live(395)
    pair.live(10)
    assert pair.i.states == pair.r.states == ["IKE_P1_COMPLETE"]
    pair.live(2000)
    assert len(pair.i.states) == len(pair.r.states) <= 2


@SEEDS
def test_rekeyings_that_cross_do_not_multiply(seed):
    pair = crossed(seed, phase2=400)
    for _ in range(5):
        pair.live(300)
        pair.request(pair.i)
        pair.request(pair.r)
        pair.run()
    pair.live(900)
    assert len(spis(pair.i)) <= 2
    assert spis(pair.i) == spis(pair.r) != set()


def before_message_5():
    pair = Pair(
        config("spoke1", I_END, R_END, policies=(PSK,)),
        config("hub", R_END, I_END, policies=(PSK,)),
    )
    pair.request(pair.i)
    for side in (pair.i, pair.r, pair.i, pair.r):
        pair.deliver(side)
    return pair


def test_a_quick_mode_that_overtakes_message_6_waits_for_it():
    pair = before_message_5()
    pair.request(pair.r)  # it waits for this phase 1 as well
    pair.r.outbox.clear()  # but begins none of its own
    pair.deliver(pair.i)
    sixth, first = pair.r.outbox
    pair.r.outbox[:] = [first, sixth]
    pair.run()
    assert spis(pair.i) == spis(pair.r) != set()
    assert pair.i.refusals == pair.r.refusals == []


def test_a_quick_mode_that_waits_for_message_6_in_vain_is_counted():
    pair = before_message_5()
    early = pair.r.phase2([NOTIFY(notify_type=1)], exchange=ExchangeType.QUICK)
    pair.hand_over(pair.r, early)
    assert pair.i.refusals == []
    pair.i.give(pair.now, Clear())
    assert pair.i.refusals == ["phase1-incomplete"]
