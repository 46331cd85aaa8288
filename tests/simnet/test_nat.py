"""The lab `nat` without root: two spokes behind a simulated NAT that forgets, on virtual time."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network

import pytest

from ikelab.isakmp import events as isakmp
from ikelab.wire.numbers import EncapsulationMode
from tests.simnet.labs import boot_lab, configure, enroll
from tests.simnet.nat import NatBox
from tests.simnet.network import Faults, Simnet

HUB, NAT = "192.168.159.242", "192.168.159.250"


def lab(faults: Faults | None = None) -> Simnet:
    net = boot_lab("nat", "root-ca", "hub", "spoke1", "spoke2")
    net.storage = "192.168.159.99"
    net.nats = [NatBox(NAT, IPv4Network("10.1.1.0/24"))]
    for name in ("hub", "spoke1", "spoke2"):
        enroll(net, name, "root", "root-ca")
    net.faults = faults or Faults()
    return net


def up(net: Simnet, *spokes: str, seconds: float = 5) -> bool:
    """Whether each spoke's first packet brings SAs with the hub's keys."""
    hub = net.nodes["hub"]
    for name in spokes:
        net.acquire(net.nodes[name])
    return net.run(
        seconds,
        lambda: all(
            net.nodes[name].installed and net.nodes[name].keys() <= hub.keys() for name in spokes
        ),
    )


def ports_at_hub(net: Simnet) -> dict[str, int]:
    """Where the hub sends each tunnel's ESP."""
    return {i.flow: i.remote.port for i in net.nodes["hub"].installed.values()}


def test_two_spokes_behind_one_nat_come_up_through_udp() -> None:
    net = lab()
    assert up(net, "spoke1", "spoke2")
    assert sorted(ports_at_hub(net)) == ["Tunnel1", "Tunnel2"]
    assert len(set(ports_at_hub(net).values())) == 2
    for node in net.nodes.values():
        modes = {pair.transform.mode for pair in node.installed.values()}
        assert modes <= {EncapsulationMode.UDP_TRANSPORT}
    fragments = [
        send
        for send in net.nodes["spoke1"].of(isakmp.SendDatagram)
        if send.comment.startswith("Fragment")
    ]
    assert len(fragments) >= 2


@pytest.mark.parametrize("faults", [Faults(loss=0.2), Faults(duplicate=0.3, reorder=0.3)])
def test_a_bad_wire_only_delays_it(faults: Faults) -> None:
    assert up(lab(faults), "spoke1", "spoke2", seconds=120)


def test_keepalives_keep_the_ports_for_an_hour() -> None:
    net = lab()
    assert up(net, "spoke1")
    hub = net.nodes["hub"]
    before = {sa.remote for sa in hub.router.isakmp.table.sas.values()}
    net.run(3700)
    assert {sa.remote for sa in hub.router.isakmp.table.sas.values()} == before
    assert len(hub.of(isakmp.InstallIpsecSa)) == 2  # renewed meanwhile, through the same port
    assert len(net.nodes["spoke1"].of(isakmp.SendKeepalive)) == 3700 // 20


def test_without_keepalives_the_nat_forgets_and_the_hub_is_cut_off() -> None:
    net = lab()
    configure(net, net.nodes["spoke1"], nat_keepalive=None)
    assert up(net, "spoke1")
    hub_end = next(iter(net.nodes["hub"].installed.values())).remote
    net.run(60)
    assert net.nats[0].inwards(hub_end, net.elapsed) is None


def test_after_a_restart_of_the_nat_the_hub_follows_the_next_quick_mode() -> None:
    net = lab()
    assert up(net, "spoke1")
    before = ports_at_hub(net)["Tunnel1"]
    net.nats[0].forget()
    net.acquire(net.nodes["spoke1"])
    net.run(5)
    hub = net.nodes["hub"]
    assert len(hub.installed) == 2
    assert set(ports_at_hub(net).values()) != {before}
    assert len({pair.remote for pair in hub.installed.values()}) == 1
    assert [sa.remote.port for sa in hub.router.isakmp.table.sas.values()] == [
        ports_at_hub(net)["Tunnel1"]
    ]


def test_tunnel_mode_goes_through_too() -> None:
    net = lab()
    for name in ("hub", "spoke1"):
        node = net.nodes[name]
        sets = {
            key: replace(one, mode=EncapsulationMode.TUNNEL)
            for key, one in node.router.config.transform_sets.items()
        }
        configure(net, node, transform_sets=sets)
    assert up(net, "spoke1")
    (pair,) = net.nodes["hub"].installed.values()
    assert pair.transform.mode is EncapsulationMode.UDP_TUNNEL
    assert pair.remote_proxy.address == "10.1.1.2"
