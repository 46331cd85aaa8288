"""NAT traversal between two engines (RFC 3947): agreed on, found, floated, kept, moved."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from ikelab.crypto.oakley import nat_d_hash
from ikelab.isakmp import identity, nat_t
from ikelab.isakmp.events import (
    Clear,
    DatagramReceived,
    InstallIpsecSa,
    MoveIpsecSa,
    PeerMoved,
    PlainMessage,
    SaRequested,
    SendDatagram,
    Trace,
)
from ikelab.isakmp.policy import (
    AggressivePeer,
    IdentityMatch,
    IsakmpProfile,
    Keepalive,
    Keyring,
    PreSharedKey,
)
from ikelab.isakmp.work import Work
from ikelab.types import Endpoint
from ikelab.wire import vendor_id
from ikelab.wire.isakmp import parse_header, parse_payloads
from ikelab.wire.layer import Layer
from ikelab.wire.numbers import EncapsulationMode, IdType, PayloadType
from ikelab.wire.payloads import ID
from tests.dialogue.natpair import PUBLIC, NatPair, behind_nat
from tests.dialogue.playbook import (
    AES_SHA256,
    I_END,
    PSK,
    R_END,
    Pair,
    Side,
    config,
    esp_keys,
    gre_flow,
)

UDP_MODES = (EncapsulationMode.UDP_TUNNEL, EncapsulationMode.UDP_TRANSPORT)


def payloads_of(side: Side, message: str) -> tuple[str, ...]:
    return next(
        plain.payloads
        for plain in side.of(PlainMessage)
        if plain.sent and f"sends {message} " in plain.comment
    )


def vendor_ids(octets: bytes) -> list[bytes]:
    header = parse_header(octets)
    payloads = parse_payloads(header.next_payload, octets[28:])
    return [p.body for p in payloads if p.type == PayloadType.VENDOR_ID]


def traces(side: Side) -> list[str]:
    return [trace.name for trace in side.of(Trace)]


# --- agreeing -------------------------------------------------------------------------------------


def test_the_initiator_offers_four_vendor_ids_and_the_responder_answers_with_one() -> None:
    pair = Pair()
    pair.request()
    offered = vendor_ids(pair.i.outbox[0].octets)
    assert offered == list(vendor_id.NAT_T_VENDOR_IDS)
    pair.deliver(pair.i)
    assert vendor_ids(pair.r.outbox[0].octets) == [vendor_id.NAT_T_RFC_3947]
    told = [dict(t.values)["variant"] for t in pair.i.of(Trace) if t.name == "constructed-nat-t"]
    assert told == ["rfc3947", "07", "03", "02"]


def test_nobody_behind_a_nat_stays_at_port_500() -> None:
    pair = NatPair(nat=False)
    pair.establish()
    assert all(way.count(":500") == 2 for way in pair.ways)
    assert traces(pair.r).count("no-nat-found") == 1
    assert pair.i.of(InstallIpsecSa)[0].transform.mode is EncapsulationMode.TRANSPORT
    assert "NAT-OA" not in payloads_of(pair.i, "QM1")


@pytest.mark.parametrize("off", ["initiator", "responder"])
def test_without_agreement_there_is_no_nat_d_and_no_float(off: str) -> None:
    initiator = config("spoke1", I_END, R_END, nat_traversal=off != "initiator")
    pair = NatPair(initiator, behind_nat(nat_traversal=off != "responder"))
    pair.request()
    pair.run()
    assert "NAT-D" not in payloads_of(pair.i, "MM3")
    assert all(":4500" not in way for way in pair.ways)


# --- a NAT ----------------------------------------------------------------------------------------


def test_the_spoke_floats_with_message_5_and_everything_follows_there() -> None:
    pair = NatPair()
    pair.establish()
    assert pair.ways[:4] == [
        "192.0.2.1:500 -> 192.0.2.2:500",
        "192.0.2.2:500 -> 192.0.2.1:500",
        "192.0.2.1:500 -> 192.0.2.2:500",
        "192.0.2.2:500 -> 192.0.2.1:500",
    ]
    assert all(way.count(":4500") == 2 for way in pair.ways[4:])
    assert pair.i.states == pair.r.states == ["IKE_P1_COMPLETE"]
    assert esp_keys(pair.i) == esp_keys(pair.r)
    nat = pair.i.sa.nat, pair.r.sa.nat
    assert nat[0] is not None and (nat[0].inside, nat[0].peer_inside) == (True, False)
    assert nat[1] is not None and (nat[1].inside, nat[1].peer_inside) == (False, True)


def test_esp_goes_through_udp_and_transport_mode_names_the_original_addresses() -> None:
    pair = NatPair()
    pair.establish()
    mine, hubs = pair.i.of(InstallIpsecSa)[0], pair.r.of(InstallIpsecSa)[0]
    assert mine.transform.mode is hubs.transform.mode is EncapsulationMode.UDP_TRANSPORT
    assert (mine.local, mine.remote) == (Endpoint("192.0.2.1", 4500), Endpoint("192.0.2.2", 4500))
    assert hubs.remote == Endpoint(PUBLIC, 20002) and hubs.peer_moves and not mine.peer_moves
    assert hubs.remote_proxy.address == PUBLIC
    for side, message in ((pair.i, "QM1"), (pair.r, "QM2")):
        assert payloads_of(side, message)[-2:] == ("NAT-OA", "NAT-OA")


def test_tunnel_mode_keeps_the_addresses_behind_the_nat_as_proxies() -> None:
    tunnel = replace(AES_SHA256, mode=EncapsulationMode.TUNNEL)
    spoke = config("spoke1", I_END, R_END)
    spoke = replace(spoke, flows=(gre_flow(I_END, R_END, transform_sets=(tunnel,)),))
    public = Endpoint(PUBLIC, 500)
    hub = behind_nat(flows=(gre_flow(R_END, public, transform_sets=(tunnel,)),))
    pair = NatPair(spoke, hub)
    pair.establish()
    installed = pair.r.of(InstallIpsecSa)[0]
    assert installed.transform.mode is EncapsulationMode.UDP_TUNNEL
    assert installed.remote_proxy.address == I_END.address
    assert "NAT-OA" not in payloads_of(pair.i, "QM1")
    assert esp_keys(pair.i) == esp_keys(pair.r)


@pytest.mark.parametrize("policy", [None, PSK], ids=["rsa-sig", "pre-share"])
def test_both_authentication_methods_float(policy: object) -> None:
    changes = {"policies": (policy,), "credentials": ()} if policy else {}
    pair = NatPair(config("spoke1", I_END, R_END, **changes), behind_nat(**changes))
    pair.establish()
    assert pair.i.states == pair.r.states == ["IKE_P1_COMPLETE"]
    assert pair.r.sa.remote.port == 20002


@pytest.mark.parametrize(
    ("variant", "nat_d", "nat_oa", "mode"),
    [
        (vendor_id.NAT_T_DRAFT_07, "NAT-D(15)", "NAT-OA(16)", 4),
        (vendor_id.NAT_T_DRAFT_03, "NAT-D(130)", "NAT-OA(131)", 61444),
        (vendor_id.NAT_T_DRAFT_02, "NAT-D(130)", "NAT-OA(131)", 61444),
        (vendor_id.NAT_T_DRAFT_02_NO_NEWLINE, "NAT-D(130)", "NAT-OA(131)", 61444),
    ],
)
def test_the_drafts_have_numbers_of_their_own(
    monkeypatch: pytest.MonkeyPatch, variant: bytes, nat_d: str, nat_oa: str, mode: int
) -> None:
    only = tuple(known for known in nat_t.VARIANTS if known.vendor_id == variant)
    monkeypatch.setattr(nat_t, "OFFER", only)
    pair = NatPair()
    pair.request()
    pair.deliver(pair.i)
    assert vendor_ids(pair.r.outbox[0].octets) == [variant]
    pair.run()
    assert payloads_of(pair.i, "MM3").count(nat_d) == 2
    assert payloads_of(pair.i, "QM1").count(nat_oa) == 2
    assert nat_t.modes(pair.r.sa)[EncapsulationMode.TRANSPORT] == mode
    assert pair.r.of(InstallIpsecSa)[0].transform.mode in UDP_MODES
    assert pair.r.sa.remote == Endpoint(PUBLIC, 20002)


def test_a_port_forwarded_responder_is_inside() -> None:
    """The hub is behind a NAT too: both sides see that it is."""
    outside = Endpoint("198.51.100.9", 500)
    spoke = config("spoke1", I_END, outside)
    hub = config("hub", R_END, I_END)
    pair = Pair(spoke, hub)
    pair.request()
    for side, local, remote in [(pair.r, R_END, I_END), (pair.i, I_END, outside)] * 2:
        sent = pair.other(side).outbox.pop(0)
        pair.give(side, DatagramReceived(local, remote, sent.octets))
    floated = pair.i.outbox.pop(0)
    assert (floated.local.port, floated.remote) == (4500, Endpoint("198.51.100.9", 4500))
    assert pair.r.sa.nat is not None and pair.r.sa.nat.inside and not pair.r.sa.nat.peer_inside


def aggressive_pair() -> NatPair:
    peer = AggressivePeer(R_END.address, IdType.ID_FQDN, "spoke1.cisco.example")
    shared = {"policies": (PSK,), "credentials": (), "aggressive_mode": True}
    spoke = config("spoke1", I_END, R_END, aggressive_peers=(peer,), **shared)
    return NatPair(spoke, behind_nat(**shared))


def test_aggressive_mode_floats_with_message_3() -> None:
    pair = aggressive_pair()
    pair.establish()
    assert [way.count(":4500") for way in pair.ways[:3]] == [0, 0, 2]
    assert pair.i.states == pair.r.states == ["IKE_P1_COMPLETE"]
    assert pair.r.of(InstallIpsecSa)[0].transform.mode is EncapsulationMode.UDP_TRANSPORT


def test_message_3_of_aggressive_mode_has_the_hashes_of_port_4500() -> None:
    """It goes there, and charon and pluto compare NAT-D with the datagram that it came in."""
    pair = aggressive_pair()
    pair.establish()
    spoke, hub = pair.i.sa, pair.r.sa.nat
    assert hub is not None and (hub.inside, hub.peer_inside) == (False, True)
    here = IPv4Address(I_END.address).packed
    cookies = (spoke.cky_i, spoke.cky_r)
    assert hub.peer_hashes == (nat_d_hash(PSK.hash, *cookies, here, 4500),)


def test_message_3_of_aggressive_mode_may_have_the_hashes_of_port_500(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """pluto's has, the ports of its message 1: that is no NAT in front of the hub."""

    def as_pluto(work: Work) -> list[Layer]:
        floated = work.sa
        ends = (Endpoint(end.address, 500) for end in (floated.local, floated.remote))
        local, remote = ends if floated.initiator else (floated.local, floated.remote)
        work.sa = replace(floated, local=local, remote=remote)
        layers = true(work)
        work.sa = floated
        return layers

    true = nat_t.nat_d
    monkeypatch.setattr(nat_t, "nat_d", as_pluto)
    pair = aggressive_pair()
    pair.establish()
    hub = pair.r.sa.nat
    assert hub is not None and (hub.inside, hub.peer_inside) == (False, True)
    assert "both-inside-nat" not in traces(pair.r)


@pytest.mark.parametrize("mode", [EncapsulationMode.TRANSPORT, EncapsulationMode.TUNNEL])
def test_the_hub_may_begin_the_next_quick_mode(mode: EncapsulationMode) -> None:
    sets = (replace(AES_SHA256, mode=mode),)
    spoke = config("spoke1", I_END, R_END, flows=(gre_flow(I_END, R_END, transform_sets=sets),))
    flow = gre_flow(R_END, Endpoint(PUBLIC, 500), transform_sets=sets)
    pair = NatPair(spoke, behind_nat(flows=(flow,)))
    pair.establish()
    pair.request(pair.r)
    pair.run()
    assert len(pair.i.of(InstallIpsecSa)) == len(pair.r.of(InstallIpsecSa)) == 2
    assert esp_keys(pair.i) == esp_keys(pair.r)
    assert not pair.i.refusals


def test_message_2_may_name_the_ends_as_its_sender_sees_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """charon puts the NAT's address into IDci of message 2; without a NAT that is refused."""

    def as_charon(bodies: tuple[bytes, ...]) -> list[ID]:
        seen = [bodies[0][:4] + IPv4Address(PUBLIC).packed, bodies[1]]
        return true(seen)

    true = identity.same_ids
    monkeypatch.setattr(identity, "same_ids", as_charon)
    pair = NatPair()
    pair.establish()
    assert esp_keys(pair.i) == esp_keys(pair.r) and not pair.i.refusals
    plain = NatPair(nat=False)
    plain.establish()
    assert plain.i.refusals == ["proxy-identity"]


# --- life behind a NAT ----------------------------------------------------------------------------


def test_the_inside_end_alone_sends_a_keepalive_every_20_seconds() -> None:
    pair = NatPair()
    pair.establish()
    pair.live(65)
    assert len(pair.keepalives) == 3
    assert pair.keepalives[0].remote == Endpoint("192.0.2.2", 4500)
    assert "SendKeepalive" not in {type(action).__name__ for action in pair.r.log}


@pytest.mark.parametrize(("interval", "sent"), [(10, 6), (None, 0)])
def test_the_interval_of_keepalives_is_configured(interval: int | None, sent: int) -> None:
    pair = NatPair(config("spoke1", I_END, R_END, nat_keepalive=interval))
    pair.establish()
    pair.live(65)
    assert len(pair.keepalives) == sent


def test_a_new_isakmp_sa_begins_at_port_4500() -> None:
    short = replace(PSK, lifetime=120)
    changes = {"policies": (short,), "credentials": ()}
    pair = NatPair(config("spoke1", I_END, R_END, **changes), behind_nat(**changes))
    pair.establish()
    pair.ways.clear()
    pair.live(100)
    assert len({way for way in pair.ways if ":500" in way}) == 0
    assert len([plain for plain in pair.i.of(PlainMessage) if "sends MM1" in plain.comment]) == 2
    pair.live(60)
    assert pair.i.states == ["IKE_P1_COMPLETE"]


def test_clear_finds_the_peer_at_its_port() -> None:
    pair = NatPair()
    pair.establish()
    pair.give(pair.r, Clear())
    pair.run()
    assert pair.i.states == pair.r.states == []
    assert not pair.i.engine.table.pairs and not pair.r.engine.table.pairs


def test_initial_contact_from_a_new_port_ends_the_old_sas_of_that_peer() -> None:
    pair = NatPair()
    pair.establish()
    pair.nat.forget()
    pair.i.engine.table.sas.clear()
    pair.i.engine.table.pairs.clear()
    pair.establish()
    assert pair.r.states == ["IKE_P1_COMPLETE"]
    assert [p.remote.port for p in pair.r.engine.table.pairs.values()] == [20004]


# --- the port moves -------------------------------------------------------------------------------


def test_an_authentic_esp_packet_moves_the_peer_to_its_new_port() -> None:
    pair = NatPair()
    pair.establish()
    spi = pair.r.of(InstallIpsecSa)[0].inbound.spi
    new = Endpoint(PUBLIC, 33333)
    actions = pair.give(pair.r, PeerMoved(spi, new))
    assert MoveIpsecSa(spi, new) in actions
    assert pair.r.sa.remote == new
    assert next(iter(pair.r.engine.table.pairs.values())).remote == new


def test_quick_mode_from_a_new_port_is_answered_there_and_moves_the_peer() -> None:
    pair = NatPair()
    pair.establish()
    pair.nat.forget()
    pair.request()
    pair.run()
    assert pair.r.sa.remote == Endpoint(PUBLIC, 20003)
    assert {p.remote.port for p in pair.r.engine.table.pairs.values()} == {20003}
    assert len(pair.r.of(InstallIpsecSa)) == 2


def test_a_new_r_u_there_from_a_new_port_moves_the_peer_and_an_old_one_does_not() -> None:
    asks = Keepalive(10, 2, periodic=True)
    pair = NatPair(config("spoke1", I_END, R_END, keepalive=asks), behind_nat())
    pair.establish()
    pair.live(11)
    old = pair.i.of(SendDatagram)[-1]
    pair.nat.forget()
    pair.live(11)
    moved = pair.r.sa.remote
    assert moved == Endpoint(PUBLIC, 20003)
    pair.give(pair.r, DatagramReceived(old.remote, Endpoint(PUBLIC, 40000), old.octets))
    assert pair.r.sa.remote == moved


def test_a_copied_message_from_another_port_moves_nothing() -> None:
    pair = NatPair()
    pair.establish()
    copied = [send for send in pair.i.of(SendDatagram) if send.local.port == 4500]
    before = pair.r.sa.remote
    for send in copied:
        pair.give(pair.r, DatagramReceived(send.remote, Endpoint(PUBLIC, 40000), send.octets))
    assert pair.r.sa.remote == before
    assert all(p.remote == before for p in pair.r.engine.table.pairs.values())
    late = [send for send in pair.r.of(SendDatagram) if send.remote.port == 40000]
    assert late == []


def test_without_a_nat_no_port_but_the_peers_is_heard() -> None:
    pair = NatPair(nat=False)
    pair.establish()
    pair.request()
    sent = pair.i.outbox.pop(0)
    pair.give(pair.r, DatagramReceived(R_END, Endpoint(I_END.address, 501), sent.octets))
    assert pair.r.refusals[-1] == "wrong-peer"


def test_message_5_may_not_come_from_another_address() -> None:
    pair = NatPair()
    pair.request()
    for side in (pair.i, pair.r, pair.i, pair.r):
        pair.deliver(side)
    sent = pair.i.outbox.pop(0)
    stranger = Endpoint("203.0.113.66", 4500)
    pair.give(pair.r, DatagramReceived(sent.remote, stranger, sent.octets))
    assert pair.r.refusals == ["wrong-peer"]
    pair.carry(pair.i, sent)
    assert pair.r.states == ["IKE_P1_COMPLETE"]


def test_a_refused_message_5_leaves_the_responder_at_port_500() -> None:
    pair = NatPair()
    pair.request()
    for side in (pair.i, pair.r, pair.i, pair.r):
        pair.deliver(side)
    good = pair.i.outbox[0]
    pair.deliver(pair.i, lambda octets: octets[:40] + bytes([octets[40] ^ 1]) + octets[41:])
    assert pair.r.refusals and pair.r.sa.remote == Endpoint(PUBLIC, 20001)
    pair.carry(pair.i, good)
    assert pair.r.states == ["IKE_P1_COMPLETE"]


@pytest.mark.parametrize("keep", [0, 1])
def test_nat_d_that_is_absent_or_half_there_starts_no_float(
    monkeypatch: pytest.MonkeyPatch, keep: int
) -> None:
    true = nat_t.nat_d
    monkeypatch.setattr(nat_t, "nat_d", lambda work: true(work)[:keep])
    pair = NatPair()
    pair.establish()
    assert all(":4500" not in way for way in pair.ways)
    assert pair.i.states == ["IKE_P1_COMPLETE"]


def test_forged_nat_d_only_costs_udp_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    """What strongSwan's `encap = yes` does: a NAT is claimed that is not there."""
    true = nat_t.nat_d

    def forged(work: object) -> list[object]:
        found = true(work)  # type: ignore[arg-type]
        return [found[0], type(found[1])(data=bytes(32))] if work.sa.initiator else found  # type: ignore[attr-defined]

    monkeypatch.setattr(nat_t, "nat_d", forged)
    pair = NatPair(nat=False)
    pair.request()
    pair.deliver(pair.i)
    pair.deliver(pair.r)
    pair.deliver(pair.i)
    assert pair.r.sa.nat is not None and pair.r.sa.nat.peer_inside


# --- two spokes behind one NAT --------------------------------------------------------------------


def test_two_spokes_behind_one_nat_are_told_apart_by_their_profiles() -> None:
    second_end = Endpoint("192.0.2.3", 500)
    matches = {"one": I_END.address, "two": second_end.address}
    public = Endpoint(PUBLIC, 500)
    hub = behind_nat(
        policies=(PSK,),
        credentials=(),
        profiles=tuple(
            IsakmpProfile(name, (IdentityMatch("address", address),))
            for name, address in matches.items()
        ),
        flows=(
            gre_flow(R_END, public, name="Tunnel1", isakmp_profile="one"),
            gre_flow(R_END, public, name="Tunnel2", isakmp_profile="two"),
        ),
        keyrings=(Keyring("default", (PreSharedKey(PUBLIC, "255.255.255.255", "sesame"),)),),
    )
    changes = {"policies": (PSK,), "credentials": ()}
    pair = NatPair(config("spoke1", I_END, R_END, **changes), hub)
    second = NatPair(config("spoke2", second_end, R_END, **changes), hub)
    second.r, second.nat = pair.r, pair.nat
    second.i = Side(config("spoke2", second_end, R_END, **changes), second_end, "second")
    pair.establish()
    second.establish()
    assert pair.r.states == ["IKE_P1_COMPLETE"] * 2
    flows = {i.flow: i.remote.port for i in pair.r.of(InstallIpsecSa)}
    assert flows == {"Tunnel1": 20002, "Tunnel2": 20004}
    # The hub's own request for the second tunnel goes to the spoke behind it.
    pair.give(pair.r, SaRequested(hub.flows[1]))
    assert pair.r.outbox[-1].remote.port == 20004
