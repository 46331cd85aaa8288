"""Long life: rekeying before the end, one pair at a time, dead peers, silence where all is well."""

from dataclasses import replace

import pytest

from ikelab.isakmp.events import (
    CheckPeerCert,
    ConfigChanged,
    DeleteIpsecSa,
    InstallIpsecSa,
    PlainMessage,
    Refused,
    SaRequested,
)
from ikelab.isakmp.policy import Keepalive
from ikelab.wire.numbers import Group
from tests.dialogue.playbook import I_END, PSK, R_END, Pair, config, deleted, esp_keys, gre_flow


def established(**changes):
    pair = Pair(config("spoke1", I_END, R_END, **changes), config("hub", R_END, I_END, **changes))
    pair.establish()
    return pair


def sent(side, message):
    return [m for m in side.of(PlainMessage) if m.sent and f"sends {message}" in m.comment]


def test_the_next_pair_is_there_thirty_seconds_before_the_old_one_ends():
    pair = established()
    pair.live(3569.0)
    assert len(pair.i.engine.table.pairs) == 1
    pair.live(2.0)
    assert len(pair.i.engine.table.pairs) == len(pair.r.engine.table.pairs) == 2
    assert esp_keys(pair.i) == esp_keys(pair.r) and len(set(esp_keys(pair.i))) == 4


def test_the_old_pair_goes_at_its_end_and_not_before():
    pair = established()
    first = pair.i.of(InstallIpsecSa)[0].inbound.spi
    pair.live(3599.0)
    assert not pair.i.of(DeleteIpsecSa) and first in pair.i.engine.table.pairs
    pair.live(2.0)
    assert [d.inbound_spi for d in pair.i.of(DeleteIpsecSa)] == [first]
    assert len(pair.i.engine.table.pairs) == len(pair.r.engine.table.pairs) == 1


def test_a_day_of_rekeying_never_leaves_the_flow_without_a_pair():
    pair = established()
    gaps = []
    for _ in range(24 * 6):
        pair.live(600.0)
        gaps += [side.name for side in (pair.i, pair.r) if not side.engine.table.pairs]
    assert gaps == []
    assert 23 <= len(pair.i.of(InstallIpsecSa)) <= 26, "one pair an hour, not two"
    # Both delete the old ISAKMP SA at the same moment: the second DELETE meets no SA any more.
    assert set(pair.i.refusals) | set(pair.r.refusals) <= {"unknown-cookies"}


def test_the_next_pair_is_what_is_configured_by_then():
    pair = established()
    for side in (pair.i, pair.r):
        flow = replace(side.engine.config.flows[0], pfs=Group.MODP_2048, lifetime_seconds=600)
        pair.give(side, ConfigChanged(replace(side.engine.config, flows=(flow,))))
    pair.live(3599.0)
    assert pair.i.refusals == pair.r.refusals == []
    for side in (pair.i, pair.r):
        newest = side.of(InstallIpsecSa)[-1]
        assert newest.lifetime_seconds == 600
        assert side.engine.table.pairs[newest.inbound.spi].flow.pfs is Group.MODP_2048


def test_what_waits_for_phase_1_is_asked_for_as_it_is_configured_by_then():
    pair = Pair()
    pair.request()
    for side in (pair.i, pair.r):
        flow = replace(side.engine.config.flows[0], pfs=Group.MODP_2048)
        pair.give(side, ConfigChanged(replace(side.engine.config, flows=(flow,))))
    pair.run()
    assert esp_keys(pair.i) == esp_keys(pair.r) != []


def test_the_isakmp_sa_is_renewed_before_its_end_and_the_old_one_deleted():
    pair = established()
    old = pair.i.engine.table.established_with(R_END).conn_id
    pair.live(86400.0 + 5)
    assert pair.i.states == pair.r.states == ["IKE_P1_COMPLETE"]
    assert pair.i.engine.table.established_with(R_END).conn_id != old


def test_a_responder_whose_isakmp_sa_lives_less_long_renews_it():
    short = replace(PSK, lifetime=600)
    pair = Pair(
        config("spoke1", I_END, R_END, policies=(PSK,)),
        config("hub", R_END, I_END, policies=(short,)),
    )
    pair.establish()
    for _ in range(5):
        pair.live(600.0)
        assert pair.r.states, "at every moment there is an SA to ask under"
        assert pair.i.engine.table.established_with(R_END) is not None
    assert sent(pair.r, "MM1")
    # Once both know the end, both delete the old SA at it: the second DELETE meets none.
    assert set(pair.r.refusals) <= {"unknown-cookies"}


def test_a_responder_lets_the_initiator_renew_where_both_know_the_end():
    pair = established(policies=(replace(PSK, lifetime=600),))
    pair.live(6000.0)
    assert len(sent(pair.i, "MM1")) >= 10 and sent(pair.r, "MM1") == []


def test_the_responder_renews_when_the_initiator_does_not():
    pair = established()
    only = next(iter(pair.i.engine.table.pairs.values()))
    pair.i.engine.table.pairs.clear()  # the initiator forgot
    pair.live(3590.0)
    assert len(pair.r.of(InstallIpsecSa)) == 2
    assert len(sent(pair.r, "QM1")) == 1 and only.rekey_at is not None


def test_dead_peer_detection_asks_when_the_peer_is_silent_and_is_answered():
    pair = established(keepalive=Keepalive(10, 3))
    pair.live(35.0)
    asked, answered = sent(pair.i, "INFO"), sent(pair.r, "INFO")
    assert len(asked) >= 3 and len(answered) >= 3
    assert pair.i.states == pair.r.states == ["IKE_P1_COMPLETE"]


def test_a_dead_peer_is_forgotten_after_five_questions():
    pair = established(keepalive=Keepalive(10, 3))
    pair.advance(10.0 + 5 * 3.0 - 0.1)
    assert pair.i.states == ["IKE_P1_COMPLETE"] and len(sent(pair.i, "INFO")) == 5
    pair.advance(0.2)
    assert pair.i.states == [] and not pair.i.engine.table.pairs
    assert pair.i.of(Refused)[-1].reason == "peer-dead" and deleted(pair.i) == ["peer dead"]


def test_after_a_dead_peer_the_next_packet_starts_main_mode_again():
    pair = established(keepalive=Keepalive(10, 3))
    pair.advance(30.0)
    pair.i.outbox.clear()
    pair.r.outbox.clear()
    pair.give(pair.i, SaRequested(pair.i.engine.config.flows[0]))
    pair.run()
    assert pair.i.states == pair.r.states == ["IKE_P1_COMPLETE"]


def test_without_keepalive_nobody_asks():
    pair = established()
    pair.live(600.0)
    assert sent(pair.i, "INFO") == sent(pair.r, "INFO") == []


def without_flows(side):
    return ConfigChanged(replace(side.engine.config, flows=()))


def test_a_tunnel_that_is_shut_down_takes_its_sas_along_at_both_ends():
    pair = Pair()
    pair.establish()
    pair.give(pair.i, without_flows(pair.i))
    assert pair.i.states == [] and not pair.i.engine.table.pairs
    pair.run()
    assert pair.r.states == [] and not pair.r.engine.table.pairs
    assert deleted(pair.r) == ["delete notify (in)"]


def test_another_tunnel_to_the_same_peer_keeps_its_pair_and_the_isakmp_sa():
    other = gre_flow(I_END, R_END, name="Tunnel2")
    pair = Pair(config("spoke1", I_END, R_END, flows=(gre_flow(I_END, R_END), other)))
    pair.establish()
    pair.give(pair.i, SaRequested(other))
    pair.run()
    pair.give(pair.i, ConfigChanged(replace(pair.i.engine.config, flows=(other,))))
    pair.run()
    assert pair.i.states == pair.r.states == ["IKE_P1_COMPLETE"]
    assert [p.flow.name for p in pair.i.engine.table.pairs.values()] == ["Tunnel2"]


@pytest.mark.parametrize("delivered", [0, 1])
def test_a_quick_mode_ends_with_its_tunnel_at_both_ends(delivered):
    other = gre_flow(I_END, R_END, name="Tunnel2")
    pair = Pair(config("spoke1", I_END, R_END, flows=(gre_flow(I_END, R_END), other)))
    pair.establish()
    pair.give(pair.i, SaRequested(other))
    for _ in range(delivered):
        pair.deliver(pair.i)  # the hub has its half, and message 2 is on its way
    pair.give(pair.i, ConfigChanged(replace(pair.i.engine.config, flows=(gre_flow(I_END, R_END),))))
    if delivered:
        pair.r.outbox.clear()
    pair.run()
    pair.live(120)
    assert [p.flow.name for p in pair.i.engine.table.pairs.values()] == ["Tunnel1"]
    assert len(pair.r.engine.table.pairs) == 1 and pair.r.states == pair.i.states
    assert all(node.is_over for node in pair.r.engine.table.nodes.values())


def test_a_flow_that_is_gone_is_not_asked_for_when_phase_1_comes_up():
    pair = Pair()
    pair.request()
    pair.give(pair.i, without_flows(pair.i))
    pair.run()
    assert pair.i.states == [] and pair.i.of(InstallIpsecSa) == []


def test_a_delete_behind_message_6_waits_until_the_responder_is_authenticated():
    """The hub deletes what it held of a peer that has lost everything (guide, D1, inside MM6)."""
    pair = Pair()
    pair.establish()
    old = next(iter(pair.r.engine.table.pairs))
    lost = pair.i.engine.table
    lost.sas.clear()
    lost.peers.clear()
    lost.pairs.clear()
    pair.i.hold.add(CheckPeerCert)
    pair.request()
    pair.run()
    assert pair.i.states == ["IKE_I_MM6"]
    assert pair.r.states == ["IKE_P1_COMPLETE"] * len(pair.r.states)
    assert old not in pair.r.engine.table.pairs
    (check,) = pair.i.held
    pair.give(pair.i, pair.i.judge(check.handle, check.certificates))
    pair.run()
    taken = [message.message for message in pair.i.of(PlainMessage) if not message.sent]
    assert taken.count("INFO") == 1
    assert pair.i.refusals == []
    assert len(pair.i.engine.table.pairs) == len(pair.r.engine.table.pairs) == 1
