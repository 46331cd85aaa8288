"""What authentic notifies and deletes do, and what those in clear do not."""

from dataclasses import replace

import pytest

from ikelab.isakmp import informational
from ikelab.isakmp.events import Clear, DeleteIpsecSa, InstallIpsecSa, PlainMessage, SaRequested
from ikelab.script import QM1
from ikelab.wire import vendor_id
from ikelab.wire.fields import build_attributes
from ikelab.wire.isakmp import Header, build_message, build_payloads
from ikelab.wire.numbers import (
    Doi,
    ExchangeType,
    Group,
    IpsecAttribute,
    LifeType,
    NotifyType,
    ProtocolId,
)
from ikelab.wire.payloads import DELETE_WITH_REASON
from tests.dialogue.playbook import I_END, PSK, R_END, Pair, config, gre_flow


def established(*, of_spoke=None, of_hub=None, policy=PSK, **of_both):
    flows = (gre_flow(I_END, R_END, **(of_spoke or {})), gre_flow(R_END, I_END, **(of_hub or {})))
    pair = Pair(
        config("spoke1", I_END, R_END, policies=(policy,), flows=flows[:1], **of_both),
        config("hub", R_END, I_END, policies=(policy,), flows=flows[1:], **of_both),
    )
    pair.establish()
    return pair


def sa_of(side):
    (sa,) = side.engine.table.sas.values()
    return sa


def tell(pair, side, *packets):
    """An authentic informational message of one side."""
    side.log.extend(side.engine._context.inform(sa_of(side), list(packets), pair.now))
    (sent,) = [a for a in side.log if isinstance(a, PlainMessage) and a.sent][-1:]
    pair.hand_over(side, sent.datagram)


def in_clear(pair, side, *packets):
    first, body = build_payloads(packets)
    sa = sa_of(side)
    header = Header(sa.cky_i, sa.cky_r, first, ExchangeType.INFORMATIONAL, 0, 77)
    pair.hand_over(side, build_message(header, body))


def cookies(side):
    return sa_of(side).cky_i + sa_of(side).cky_r


# --- RESPONDER-LIFETIME ---------------------------------------------------------------------------


def test_a_responder_that_cuts_the_lifetimes_says_so_and_both_have_the_same():
    pair = established(
        of_spoke={"lifetime_seconds": 3600, "lifetime_kilobytes": 4608000},
        of_hub={"lifetime_seconds": 600, "lifetime_kilobytes": 2560},
    )
    installed = [side.of(InstallIpsecSa)[0] for side in (pair.i, pair.r)]
    assert {(one.lifetime_seconds, one.lifetime_kilobytes) for one in installed} == {(600, 2560)}
    (qm2,) = [m.payloads for m in pair.r.of(PlainMessage) if m.sent and "QM2" in m.comment]
    assert qm2[-1] == "N"
    pairs = [next(iter(side.engine.table.pairs.values())) for side in (pair.i, pair.r)]
    assert pairs[0].expires == pairs[1].expires


def test_nothing_is_said_where_nothing_is_cut():
    pair = established(of_hub={"lifetime_seconds": 86400})
    (qm2,) = [m.payloads for m in pair.r.of(PlainMessage) if m.sent and "QM2" in m.comment]
    assert "N" not in qm2
    assert pair.r.of(InstallIpsecSa)[0].lifetime_seconds == 3600


@pytest.mark.parametrize(("seconds", "lives"), [(300, 300), (999999, 86400), (0, 86400)])
def test_the_isakmp_sa_lives_as_long_as_the_responder_says_but_never_longer(seconds, lives):
    pair = established()
    attributes = [
        (IpsecAttribute.SA_LIFE_TYPE, int(LifeType.SECONDS)),
        (IpsecAttribute.SA_LIFE_DURATION, seconds.to_bytes(4, "big")),
    ]
    notify = informational.notify(
        NotifyType.RESPONDER_LIFETIME,
        ProtocolId.ISAKMP,
        cookies(pair.r),
        build_attributes(attributes),
    )
    tell(pair, pair.r, notify)
    assert sa_of(pair.i).expires == lives
    assert sa_of(pair.i).rekey_at == lives - 30


# --- INITIAL-CONTACT ------------------------------------------------------------------------------


def test_initial_contact_in_a_message_of_its_own_ends_the_older_sa():
    pair = established()
    pair.r.engine.table.pairs.clear()  # what is left of the first: its SA
    pair.give(pair.i, SaRequested(pair.i.engine.config.flows[0]))
    pair.run()
    kept = sa_of(pair.r)
    older = replace(kept, handle=99, cky_i=b"another1", established=kept.begun - 1.0)
    pair.r.engine.table.sas[99] = older
    notify = informational.notify(NotifyType.INITIAL_CONTACT, ProtocolId.ISAKMP, cookies_of(kept))
    octets = pair.i.engine._context.inform(sa_of(pair.i), [notify], pair.now)
    (sent,) = [a for a in octets if isinstance(a, PlainMessage)]
    pair.hand_over(pair.i, sent.datagram)
    assert list(pair.r.engine.table.sas) == [kept.handle]
    assert [a.reason for a in pair.r.of(DeleteIpsecSa)] == ["initial contact"]


def cookies_of(sa):
    return sa.cky_i + sa.cky_r


# --- refused quick modes --------------------------------------------------------------------------


def refused_in_quick_mode():
    """Phase 2 does not fit: the hub wants PFS."""
    return established(of_hub={"pfs": Group.MODP_2048})


def test_a_refused_quick_mode_is_over_at_once_and_the_isakmp_sa_stays():
    pair = refused_in_quick_mode()
    assert pair.r.refusals == ["pfs-mismatch"]
    assert pair.i.refusals == ["refused-by-peer"]
    assert pair.i.engine.table.nodes == {}
    before = len([m for m in pair.i.of(PlainMessage) if m.sent])
    pair.live(120)
    assert len([m for m in pair.i.of(PlainMessage) if m.sent]) == before, "nothing is sent again"
    assert pair.i.states == pair.r.states == ["IKE_P1_COMPLETE"]


def test_another_packet_asks_again():
    pair = refused_in_quick_mode()
    pair.request()
    pair.run()
    assert pair.i.refusals == ["refused-by-peer"] * 2


def test_a_refusal_names_the_quick_mode_that_it_is_of():
    pair = established()
    flow = replace(pair.i.engine.config.flows[0], name="Tunnel2")
    third = replace(flow, name="Tunnel3")
    pair.give(pair.i, SaRequested(flow), SaRequested(third))
    pair.i.outbox.clear()
    first, second = list(pair.i.engine.table.nodes.values())[-2:]
    for spi in (b"\0\0\0\0", b"", b"none"):  # which of the two? neither
        refusal = informational.notify(NotifyType.NO_PROPOSAL_CHOSEN, ProtocolId.ESP, spi)
        tell(pair, pair.r, refusal)
    assert {first.handle, second.handle} <= set(pair.i.engine.table.nodes)
    tell(
        pair,
        pair.r,
        informational.notify(NotifyType.NO_PROPOSAL_CHOSEN, ProtocolId.ESP, second.inbound_spi),
    )
    assert first.handle in pair.i.engine.table.nodes
    assert second.handle not in pair.i.engine.table.nodes


# --- in clear, and deletes ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "notify_type",
    [NotifyType.INITIAL_CONTACT, NotifyType.RESPONDER_LIFETIME, NotifyType.NO_PROPOSAL_CHOSEN],
)
def test_a_notify_in_clear_is_counted_and_does_nothing(notify_type):
    pair = established()
    pair.i.on(QM1).drop()
    pair.request()
    nodes, expires = set(pair.i.engine.table.nodes), sa_of(pair.i).expires
    in_clear(pair, pair.r, informational.notify(notify_type, ProtocolId.ISAKMP, cookies(pair.r)))
    assert pair.i.refusals == ["unauthenticated-informational"]
    assert set(pair.i.engine.table.nodes) == nodes
    assert sa_of(pair.i).expires == expires
    assert len(pair.i.engine.table.pairs) == 1


def test_ciscos_delete_with_reason_ends_the_isakmp_sa():
    pair = established()
    packet = DELETE_WITH_REASON(
        doi=Doi.IPSEC,
        protocol_id=ProtocolId.ISAKMP,
        spi_size=16,
        reason=6,
        spis=[cookies(pair.r)],
    )
    tell(pair, pair.r, packet)
    assert pair.i.states == []
    assert len(pair.i.engine.table.pairs) == 1, "the pair outlives it, as on IOS"


def test_only_a_router_of_our_kind_is_told_the_reason_and_only_where_that_is_configured():
    pair = established()
    pair.give(pair.r, Clear())
    assert [m.payloads for m in pair.r.of(PlainMessage) if m.sent][-1] == ("HASH", "D")
    pair = established(delete_with_reason=True)
    sa_of(pair.r).peer_vendor_ids = (vendor_id.DPD,)
    pair.give(pair.r, Clear())
    assert [m.payloads for m in pair.r.of(PlainMessage) if m.sent][-1] == ("HASH", "D")
    pair = established(delete_with_reason=True)
    pair.give(pair.r, Clear())
    assert [m.payloads for m in pair.r.of(PlainMessage) if m.sent][-1] == ("HASH", "DWR")
    pair.run()
    assert pair.i.states == []
