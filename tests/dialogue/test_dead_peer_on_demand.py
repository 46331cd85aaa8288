"""Dead peer detection on demand (RFC 3706 section 5.4): only a peer that owes packets is asked."""

from ikelab.isakmp.events import CountTraffic, DeleteIpsecSa, PlainMessage, TrafficCounted
from ikelab.isakmp.policy import Keepalive
from tests.dialogue.playbook import I_END, PSK, R_END, Pair, config


class Traffic(Pair):
    """A pair whose spoke has a data plane that counts. sent, received: packets so far."""

    def __init__(self, keepalive):
        super().__init__(
            config("spoke1", I_END, R_END, policies=(PSK,), keepalive=keepalive),
            config("hub", R_END, I_END, policies=(PSK,)),
        )
        self.sent = self.received = 0
        self.establish()

    def pass_time(self, seconds, *, lossless=True):
        """Second by second; every question about the traffic is answered."""
        for _ in range(seconds):
            done = len(self.i.log)
            (self.live if lossless else self.advance)(1)
            for asked in [a for a in self.i.log[done:] if isinstance(a, CountTraffic)]:
                self.give(self.i, TrafficCounted(asked.handle, self.sent, self.received))
            if lossless:
                self.run()
            else:
                self.i.outbox.clear()

    @property
    def asked(self):
        sent = [m for m in self.i.of(PlainMessage) if m.sent and "INFO" in m.comment]
        return sum(m.payloads == ("HASH", "N") for m in sent)


def test_an_idle_tunnel_is_never_asked_about():
    pair = Traffic(Keepalive(10, 2, periodic=False))
    pair.pass_time(100)
    assert pair.asked == 0
    assert [action.flows for action in pair.i.of(CountTraffic)][:1] == [("Tunnel1",)]


def test_traffic_both_ways_shows_that_the_peer_lives():
    pair = Traffic(Keepalive(10, 2, periodic=False))
    for _ in range(10):
        pair.sent, pair.received = pair.sent + 5, pair.received + 1
        pair.pass_time(10)
    assert pair.asked == 0


def test_packets_without_any_back_make_us_ask_and_the_answer_is_enough():
    pair = Traffic(Keepalive(10, 2, periodic=False))
    pair.sent += 5
    pair.pass_time(12)
    assert pair.asked == 1
    pair.pass_time(60)
    assert pair.asked == 1, "it has answered, and nothing was sent since"
    assert pair.i.states == ["IKE_P1_COMPLETE"]


def test_a_peer_that_answers_nothing_is_dead_after_five():
    pair = Traffic(Keepalive(10, 2, periodic=False))
    pair.sent += 5
    pair.pass_time(40, lossless=False)
    assert pair.asked == 5
    assert pair.i.refusals == ["peer-dead"]
    assert [gone.reason for gone in pair.i.of(DeleteIpsecSa)] == ["peer dead"]
    assert pair.i.states == []


def test_packets_that_come_end_the_asking():
    pair = Traffic(Keepalive(10, 2, periodic=False))
    pair.sent += 5
    pair.pass_time(15, lossless=False)
    assert pair.asked >= 2
    pair.received += 1
    pair.pass_time(40, lossless=False)
    assert pair.i.refusals == []


def test_periodic_asks_an_idle_peer_too():
    pair = Traffic(Keepalive(10, 2, periodic=True))
    pair.pass_time(55)
    assert pair.asked == 5
    assert pair.i.of(CountTraffic) == []
