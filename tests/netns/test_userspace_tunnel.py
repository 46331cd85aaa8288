"""The tunnel's device of a user-space data plane: made, used as a link, shut, and taken away."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from scapy.layers.inet import IP

from ikelab.errors import LabError
from ikelab.runtime.dataplane.base import DataPlane, TunnelConfig
from ikelab.runtime.namespace import inside
from ikelab.wire.numbers import AuthAlgorithm, EspTransform
from tests.netns.segment import ip
from tests.netns.two_planes import (
    FIVE_OF_FIVE,
    HUB,
    INSIDE_HUB,
    MALLORY,
    SPOKE,
    TUNNEL,
    Lab,
    counts,
    joined,
    request,
)

pytestmark = pytest.mark.needs_root


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with joined(Lab, tmp_path) as made:
        yield made


def test_a_data_plane_is_a_data_plane(lab: Lab) -> None:
    plane: DataPlane = lab.spoke.plane  # what mypy checks; here: it can be made and closed
    plane.close()
    plane.close()


def test_the_mtu_is_the_tunnels_and_larger_packets_are_fragmented_inside(lab: Lab) -> None:
    async def play() -> None:
        lab.create_tunnels()
        lab.install(request(1, EspTransform.ESP_AES, 256, AuthAlgorithm.HMAC_SHA2_256, TUNNEL))
        whole = ("-M", "do", "-c5", "-i0.01", "-W2")
        assert await lab.spoke.ping(*whole, "-s1372", INSIDE_HUB) == FIVE_OF_FIVE
        assert "0 received" in await lab.spoke.ping(*whole, "-s1373", INSIDE_HUB)
        assert await lab.spoke.ping("-c5", "-i0.01", "-W2", "-s5000", INSIDE_HUB) == FIVE_OF_FIVE

    lab.run(play)
    flags = {(frame[IP].flags.MF, frame[IP].flags.DF, frame[IP].frag) for frame in lab.seen()}
    assert flags == {(False, False, 0)}  # 1500 octets outside are enough for every packet
    assert max(frame[IP].len for frame in lab.seen()) <= 1500


def test_esp_that_does_not_fit_the_link_is_fragmented_outside(lab: Lab) -> None:
    async def play() -> None:
        lab.create_tunnels(mtu=1480)
        lab.install(request())
        sizes = ("-M", "do", "-s1452", "-c5", "-i0.01", "-W2")
        assert await lab.spoke.ping(*sizes, INSIDE_HUB) == FIVE_OF_FIVE

    lab.run(play)
    assert len([frame for frame in lab.seen() if frame[IP].flags.MF]) == 10


def test_any_next_hop_of_the_tunnel_is_its_far_end(lab: Lab) -> None:
    async def play() -> None:
        lab.create_tunnels()
        lab.install(request())
        hub, spoke = lab.wan.namespace("hub"), lab.wan.namespace("spoke")
        ip("-n", hub, "addr", "add", "10.77.0.1/32", "dev", "lo")
        ip("-n", spoke, "route", "add", "10.77.0.1", "via", "20.0.0.99", "dev", "tunnel1")
        assert await lab.spoke.ping("-c5", "-i0.01", "-W2", "10.77.0.1") == FIVE_OF_FIVE
        neighbours = (await lab.spoke.run("ip", "neigh", "show", "dev", "tunnel1")).stdout
        assert "20.0.0.99 lladdr 02:00:c0:00:02:02" in neighbours

    lab.run(play)


def test_the_device_has_no_ipv6_and_an_address_of_its_own(lab: Lab) -> None:
    async def play() -> None:
        with inside(lab.wan.namespace("spoke")):
            with open("/proc/sys/net/ipv6/conf/default/disable_ipv6", "w") as switch:
                switch.write("0")
        lab.create_tunnels()
        shown = (await lab.spoke.run("ip", "addr", "show", "dev", "tunnel1")).stdout
        assert "inet 20.0.0.1/24" in shown
        assert "mtu 1400" in shown
        assert "link/ether 02:00:c0:00:02:01" in shown
        assert "inet6" not in shown

    lab.run(play)


def test_a_route_to_the_far_end_through_the_tunnel_makes_no_loop(lab: Lab) -> None:
    async def play() -> None:
        lab.create_tunnels()
        lab.install(request())
        spoke = lab.wan.namespace("spoke")
        ip("-n", spoke, "route", "add", HUB, "dev", "tunnel1")
        assert "0 received" in await lab.spoke.ping("-c2", "-i0.01", "-W0.2", INSIDE_HUB)
        ip("-n", spoke, "route", "del", HUB, "dev", "tunnel1")
        assert await lab.spoke.ping("-c5", "-i0.01", "-W2", INSIDE_HUB) == FIVE_OF_FIVE

    lab.run(play)
    assert counts(lab.spoke.plane.tunnels()[0].drops) == {"tunnel-recursion": 2}


def test_a_shut_tunnel_takes_nothing_and_comes_back(lab: Lab) -> None:
    async def play() -> None:
        lab.create_tunnels()
        lab.install(request())
        assert await lab.spoke.ping("-c5", "-i0.01", "-W2", INSIDE_HUB) == FIVE_OF_FIVE
        with inside(lab.wan.namespace("hub")):
            lab.hub.plane.set_up("Tunnel1", False)
        assert not lab.hub.plane.tunnels()[0].up
        assert "0 received" in await lab.spoke.ping("-c2", "-i0.01", "-W0.2", INSIDE_HUB)
        assert counts(lab.hub.plane.tunnels()[0].drops) == {"tunnel-down": 2}
        with inside(lab.wan.namespace("hub")):
            lab.hub.plane.set_up("Tunnel1", True)
        assert await lab.spoke.ping("-c5", "-i0.01", "-W2", INSIDE_HUB) == FIVE_OF_FIVE

    lab.run(play)


def test_a_tunnel_that_cannot_be_made_leaves_nothing_behind(lab: Lab) -> None:
    lab.create_tunnels()
    good = TunnelConfig("Tunnel2", "tunnel2", "20.0.1.1/24", SPOKE, HUB)
    for bad, message in (
        (replace(good, name="Tunnel1"), "is there already"),
        (replace(good, ifname="tunnel1"), "cannot make the device tunnel1"),
        (replace(good, ifname="tunnel-with-a-long-name"), "too long"),
        (replace(good, local="198.51.100.1"), "cannot bind ESP to 198.51.100.1"),
        (replace(good, mtu=1), "cannot configure tunnel2"),
    ):
        with inside(lab.wan.namespace("spoke")), pytest.raises(LabError, match=message):
            lab.spoke.plane.create_tunnel(bad)
    assert [tunnel.config.name for tunnel in lab.spoke.plane.tunnels()] == ["Tunnel1"]
    assert "tunnel2" not in lab.wan.run("spoke", "ip", "link").stdout
    lab.spoke.create(good)


def test_close_takes_devices_and_sockets_away(lab: Lab) -> None:
    lab.create_tunnels()
    lab.install(request())
    lab.spoke.plane.close()
    lab.spoke.plane.close()
    assert lab.spoke.plane.tunnels() == lab.spoke.plane.sas() == ()
    assert lab.wan.run("spoke", "ip", "link", "show", "tunnel1").returncode != 0
    with inside(lab.wan.namespace("spoke")):
        raw_sockets = Path("/proc/thread-self/net/raw").read_text().splitlines()
    assert len(raw_sockets) == 1  # the heading


def test_removing_one_tunnel_leaves_the_other_with_the_same_source(lab: Lab) -> None:
    async def play() -> None:
        lab.create_tunnels()
        lab.spoke.create(TunnelConfig("Tunnel2", "tunnel2", "20.0.1.1/24", SPOKE, MALLORY))
        lab.install(request())
        lab.spoke.plane.remove_tunnel("Tunnel2")
        assert await lab.spoke.ping("-c5", "-i0.01", "-W2", INSIDE_HUB) == FIVE_OF_FIVE

    lab.run(play)
    with pytest.raises(LabError, match="no tunnel Tunnel2"):
        lab.spoke.plane.remove_tunnel("Tunnel2")
