"""`crypto call admission limit ike`: who is turned away, and who is served all the same.

And what a peer that is served may leave behind.
"""

from dataclasses import replace

from ikelab.isakmp import admission
from ikelab.isakmp.admission import PAIRS_OF_FLOW, SAS_OF_PEER
from ikelab.isakmp.events import DeleteIpsecSa, InstallIpsecSa, PlainMessage, SaRequested
from ikelab.isakmp.policy import AdmissionLimits
from ikelab.script import MM5
from ikelab.types import Endpoint
from ikelab.wire.numbers import IdType
from tests.dialogue.playbook import I_END, PSK, R_END, Pair, config, deleted, gre_flow

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


def asking_for_ever(times):
    """A spoke that wants a new pair again and again, and keeps none of the old ones itself."""
    pair = Pair(config("spoke1", I_END, R_END, policies=(PSK,)), hub(AdmissionLimits()))
    for _ in range(times):
        pair.establish()
        pair.i.engine.table.pairs.clear()
        pair.elapsed += 0.1
    return pair


def test_a_tunnel_has_few_pairs_at_a_time_and_the_oldest_give_way():
    pair = asking_for_ever(PAIRS_OF_FLOW + 12)
    made = [install.inbound.spi for install in pair.r.of(InstallIpsecSa)]
    assert list(pair.r.engine.table.pairs) == made[-PAIRS_OF_FLOW:]
    assert [gone.inbound_spi for gone in pair.r.of(DeleteIpsecSa)] == made[:12]
    assert pair.r.refusals == ["ipsec-pair-limit"] * 12
    assert len(pair.r.engine.table.nodes) == PAIRS_OF_FLOW, "their quick modes are forgotten, too"


def test_the_peer_is_told_which_pair_has_given_way():
    pair = asking_for_ever(PAIRS_OF_FLOW)
    oldest = pair.r.of(InstallIpsecSa)[0].inbound.spi
    assert not pair.r.of(DeleteIpsecSa)
    pair.request()
    pair.run()
    told = [taken for taken in pair.i.story if "takes INFO" in taken]
    assert told and told[-1].endswith("HASH D"), told
    assert oldest not in pair.r.engine.table.pairs


def ip_in_ip(local, remote):
    """A second tunnel between the same ends."""
    flow = gre_flow(local, remote, name="Tunnel2")
    ours, theirs = (replace(end, protocol=4) for end in (flow.local_proxy, flow.remote_proxy))
    return replace(flow, local_proxy=ours, remote_proxy=theirs)


def with_both_tunnels(given, local, remote):
    return replace(given, flows=(*given.flows, ip_in_ip(local, remote)))


def test_other_tunnels_keep_their_pairs():
    spoke = config("spoke1", I_END, R_END, policies=(PSK,))
    pair = Pair(
        with_both_tunnels(spoke, I_END, R_END),
        with_both_tunnels(hub(AdmissionLimits()), R_END, I_END),
    )
    pair.give(pair.i, SaRequested(ip_in_ip(I_END, R_END)))
    pair.run()
    [first] = pair.r.engine.table.pairs
    for _ in range(PAIRS_OF_FLOW + 3):
        pair.establish()
    assert first in pair.r.engine.table.pairs
    assert len(pair.r.engine.table.pairs) == PAIRS_OF_FLOW + 1


def begin_for_ever(pair, times, name_of=lambda number: "spoke1", port_of=lambda number: 500):
    """Spokes that have always just restarted, and do not say INITIAL-CONTACT."""
    for number in range(times):
        named = config(name_of(number), I_END, R_END, policies=(PSK,), identity=IdType.ID_FQDN)
        spoke = Pair(named, seed=f"again at {pair.elapsed}").i
        spoke.on(MM5).mutate(notify=None)
        spoke.request(pair.now)
        behind = Endpoint(I_END.address, port_of(number))
        while spoke.outbox:
            pair.r.receive(spoke.outbox.pop(0).octets, pair.now, behind)
            while pair.r.outbox:
                spoke.receive(pair.r.outbox.pop(0).octets, pair.now)
        pair.elapsed += 1.0


def any_spoke():
    return Pair(config("spoke1", I_END, R_END, policies=(PSK,)), hub(AdmissionLimits()))


def established(side):
    return [sa.established for sa in side.engine.table.sas.values()]


def test_a_peer_has_few_isakmp_sas_at_a_time_and_the_oldest_give_way():
    pair = any_spoke()
    begin_for_ever(pair, SAS_OF_PEER + 5)
    assert established(pair.r) == [5.0 + number for number in range(SAS_OF_PEER)]
    assert pair.r.refusals.count("peer-sa-limit") == 5


def test_an_end_that_loses_its_last_isakmp_sa_is_told_of_its_pairs_too():
    named = config("spoke1", I_END, R_END, policies=(PSK,), identity=IdType.ID_FQDN)
    pair = Pair(named, hub(AdmissionLimits()))
    pair.establish()
    begin_for_ever(pair, SAS_OF_PEER, port_of=lambda number: 5500)
    said = [m.comment for m in pair.r.of(PlainMessage) if m.sent and m.remote == I_END]
    assert [one.rpartition(": ")[2] for one in said[-2:]] == ["HASH D", "HASH D"]
    table = pair.r.engine.table
    assert {p.remote for p in table.pairs.values()} <= {sa.remote for sa in table.sas.values()}
    assert "limit of SAs" in deleted(pair.r)


def test_peers_behind_one_address_are_counted_apart_up_to_a_limit(monkeypatch):
    monkeypatch.setattr(admission, "SAS_OF_ADDRESS", 12)
    pair = any_spoke()
    begin_for_ever(pair, 12, "spoke{}".format, lambda number: 10_000 + number)
    assert pair.r.refusals == [], "twelve peers of one address"
    begin_for_ever(pair, 3, "other{}".format, lambda number: 20_000 + number)
    assert established(pair.r) == [3.0 + number for number in range(12)]
    assert pair.r.refusals == ["peer-sa-limit"] * 3
