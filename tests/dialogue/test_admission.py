"""`crypto call admission limit ike`: who is turned away, and who is served all the same."""

from dataclasses import replace

from ikelab.isakmp.events import SaRequested
from ikelab.isakmp.policy import AdmissionLimits
from ikelab.types import Endpoint
from tests.dialogue.playbook import I_END, PSK, R_END, Pair, config, gre_flow

ELSEWHERE = Endpoint("192.0.2.77", 500)


def hub(limits):
    return config("hub", R_END, I_END, policies=(PSK,), admission=limits)


def stranger(pair):
    """Message 1 from an address that has no SA yet."""
    other = Pair(config("x", I_END, R_END, policies=(PSK,)), seed="x")
    other.request()
    pair.r.receive(other.i.outbox.pop(0).octets, pair.now, ELSEWHERE)


def pair_with(limits):
    pair = Pair(config("spoke1", I_END, R_END, policies=(PSK,)), hub(limits))
    pair.establish()
    return pair


def test_a_newcomer_beyond_the_limit_of_sas_is_turned_away_and_told_of():
    pair = pair_with(AdmissionLimits(sas=1))
    stranger(pair)
    assert pair.r.refusals == ["ike-sa-limit"]
    assert pair.r.states == ["IKE_P1_COMPLETE"]
    assert pair.r.engine.admissions == {"incoming accepted": 1, "incoming rejected": 1}


def test_a_peer_that_has_an_sa_may_renew_it():
    pair = pair_with(AdmissionLimits(sas=1))
    pair.i.engine.table.sas.clear()  # it has restarted
    pair.request()
    pair.run()
    assert pair.r.refusals == []
    assert pair.r.engine.admissions == {"incoming accepted": 2}


def test_negotiations_are_counted_apart():
    pair = Pair(
        config("spoke1", I_END, R_END, policies=(PSK,)), hub(AdmissionLimits(in_negotiation=1))
    )
    pair.request()
    pair.deliver(pair.i)
    stranger(pair)
    assert pair.r.refusals == ["in-negotiation-limit"]
    pair.run()
    stranger(pair)  # there is room now: it is refused for having no key
    assert pair.r.refusals == ["in-negotiation-limit", "no-proposal-chosen"]


def test_our_own_requests_count_and_are_limited():
    spoke = config("spoke1", I_END, R_END, policies=(PSK,), admission=AdmissionLimits(sas=1))
    other = replace(gre_flow(I_END, ELSEWHERE), name="Tunnel2")
    pair = Pair(replace(spoke, flows=(*spoke.flows, other)), hub(AdmissionLimits()))
    pair.establish()
    pair.give(pair.i, SaRequested(other))
    assert pair.i.refusals == ["ike-sa-limit"]
    assert pair.i.engine.admissions == {"outgoing accepted": 1, "outgoing rejected": 1}
