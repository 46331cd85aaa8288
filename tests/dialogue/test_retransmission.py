"""Loss: stored octets go out again, exact repeats get the stored answer, and giving up is told."""

import pytest

from ikelab.isakmp.events import Refused, SendDatagram
from tests.dialogue.playbook import Pair, esp_keys


def carry(pair, count):
    for _ in range(count):
        pair.deliver(pair.i if pair.i.outbox else pair.r)


@pytest.mark.parametrize("lost", range(9))
def test_any_single_message_may_be_lost(lost):
    pair = Pair()
    pair.request()
    carry(pair, lost)
    sender = pair.i if pair.i.outbox else pair.r
    sender.outbox.clear()
    for _ in range(4):
        pair.advance(10.0)
        pair.run()
    assert esp_keys(pair.i) == esp_keys(pair.r) != []
    assert pair.i.states == pair.r.states == ["IKE_P1_COMPLETE"]
    assert not pair.i.refusals and not pair.r.refusals


@pytest.mark.parametrize("number", range(9))
def test_any_single_message_may_come_twice(number):
    pair = Pair()
    pair.request()
    carry(pair, number)
    sender = pair.i if pair.i.outbox else pair.r
    octets = sender.outbox[0].octets
    pair.deliver(sender)
    pair.hand_over(sender, octets)
    pair.run()
    assert esp_keys(pair.i) == esp_keys(pair.r) != []
    assert len(pair.i.states) == len(pair.r.states) == 1


def test_responder_resends_mm4_when_mm3_is_repeated_without_a_new_key():
    pair = Pair()
    pair.request()
    carry(pair, 2)
    repeated = pair.i.outbox[0].octets
    pair.deliver(pair.i)
    first = pair.r.outbox.pop()
    pair.hand_over(pair.i, repeated)
    assert pair.r.outbox.pop().octets == first.octets
    assert pair.r.states == ["IKE_R_MM4"]


def test_initiator_resends_every_ten_seconds_five_times_then_starts_anew():
    pair = Pair()
    pair.request()
    first = pair.i.outbox[0].octets
    pair.advance(59.9)
    sent = [message.octets for message in pair.i.of(SendDatagram)]
    assert sent == [first] * 6
    pair.advance(0.1)
    assert pair.i.of(Refused)[0].reason == "no-answer"
    assert pair.i.outbox[-1].octets[:8] != first[:8], "a new main mode has a new cookie"


def test_half_open_sa_is_gone_after_a_minute_without_progress():
    pair = Pair()
    pair.request()
    carry(pair, 1)
    assert pair.r.states == ["IKE_R_MM2"]
    pair.i.engine.table.sas.clear()
    pair.advance(60.0)
    assert pair.r.states == [] and pair.r.refusals == ["half-open-timeout"]


def test_responder_says_nothing_again_before_our_cookie_was_echoed():
    pair = Pair()
    pair.request()
    carry(pair, 1)
    pair.i.engine.table.sas.clear()
    pair.advance(59.0)
    assert len(pair.r.of(SendDatagram)) == 1


def test_changed_message_1_with_the_same_cookie_is_dropped():
    pair = Pair()
    pair.request()
    octets = pair.i.outbox[0].octets
    carry(pair, 1)
    pair.hand_over(pair.i, octets[:-1] + b"\0")
    assert pair.r.refusals == ["changed-repeat"] and pair.r.states == ["IKE_R_MM2"]


def test_quick_mode_that_dies_starts_a_new_main_mode():
    pair = Pair()
    pair.request()
    carry(pair, 6)
    assert pair.i.states == ["IKE_P1_COMPLETE"]
    pair.r.engine.table.sas.clear()  # the responder restarted
    for _ in range(8):
        pair.advance(10.0)
        pair.run()
    assert pair.i.states == pair.r.states == ["IKE_P1_COMPLETE"]
    assert esp_keys(pair.i) == esp_keys(pair.r) != []
