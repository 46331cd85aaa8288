"""The lab `nat` with a NAT more: two in series before the spoke, or one before the hub as well."""

from __future__ import annotations

from ipaddress import IPv4Network

import pytest

from ikelab.ios.config_text import parse_config
from ikelab.isakmp import events as isakmp
from ikelab.types import Endpoint
from ikelab.wire.numbers import EncapsulationMode
from tests.simnet.labs import LABS, boot_lab, enroll, tunnel_comes_up
from tests.simnet.nat import NatBox
from tests.simnet.network import Simnet

HUB, NAT = "192.168.159.242", "192.168.159.250"  # as everybody outside knows them
HUB_INSIDE = "10.2.2.2"
BRANCH, PROVIDER = IPv4Network("10.1.1.0/24"), IPv4Network("100.64.0.0/10")


def lab(*nats: NatBox, hub: str = HUB) -> Simnet:
    """hub: the address that the hub itself has; a NAT has the one that the spoke knows."""
    net = boot_lab("nat", "root-ca")
    for name in ("hub", "spoke1"):
        text = (LABS / "nat" / "configs" / f"{name}.cfg").read_text()
        own = text.replace(HUB, hub) if name == "hub" else text
        net.add(parse_config(own, file=f"{name}.cfg"))
    net.storage = "192.168.159.99"
    net.nats = list(nats)
    for name in ("hub", "spoke1"):
        enroll(net, name, "root", "root-ca")
    return net


def before_hub(*ports: int) -> NatBox:
    """A NAT with the hub's public address, and the ports that it passes on to the hub."""
    forwards = {port: Endpoint(HUB_INSIDE, port) for port in ports}
    return NatBox(HUB, IPv4Network("10.2.2.0/24"), forwards=forwards)


def check_tunnel(net: Simnet) -> None:
    hub, spoke = net.nodes["hub"], net.nodes["spoke1"]
    assert tunnel_comes_up(net, spoke, hub)
    assert hub.states == spoke.states == ["IKE_P1_COMPLETE"]
    assert hub.keys() == spoke.keys()
    for node in (hub, spoke):
        (pair,) = node.installed.values()
        assert pair.transform.mode is EncapsulationMode.UDP_TRANSPORT
        assert pair.local.port == 4500
        assert not node.of(isakmp.Refused)


def test_two_nats_in_series_are_as_one() -> None:
    inner, outer = NatBox("100.64.0.7", BRANCH), NatBox(NAT, PROVIDER)
    net = lab(inner, outer)
    check_tunnel(net)
    (seen,) = net.nodes["hub"].installed.values()
    assert seen.remote.address == NAT and seen.remote.port > 20000
    net.run(3700)  # keepalives hold both ports, renewals go through them
    assert len(net.nodes["spoke1"].installed) == 1
    assert net.nodes["hub"].keys() == net.nodes["spoke1"].keys()


@pytest.mark.parametrize("forgets", ["inner", "outer"])
def test_the_hub_follows_whichever_of_two_nats_forgets(forgets: str) -> None:
    nats = {"inner": NatBox("100.64.0.7", BRANCH), "outer": NatBox(NAT, PROVIDER)}
    net = lab(*nats.values())
    check_tunnel(net)
    nats[forgets].forget()
    assert tunnel_comes_up(net, net.nodes["spoke1"], net.nodes["hub"])
    ends = {pair.remote for pair in net.nodes["hub"].installed.values()}
    assert len(ends) == 1


def test_both_ends_behind_nats_one_of_which_passes_two_ports_on() -> None:
    net = lab(NatBox(NAT, BRANCH), before_hub(500, 4500), hub=HUB_INSIDE)
    check_tunnel(net)
    hub, spoke = net.nodes["hub"], net.nodes["spoke1"]
    for node in (hub, spoke):
        (sa,) = node.router.isakmp.table.sas.values()
        assert sa.nat is not None and sa.nat.inside and sa.nat.peer_inside
    (ours,), (theirs,) = hub.installed.values(), spoke.installed.values()
    assert (ours.local.address, ours.remote.address) == (HUB_INSIDE, NAT)
    assert (theirs.local.address, theirs.remote.address) == ("10.1.1.2", HUB)
    net.run(3700)
    assert hub.of(isakmp.SendKeepalive) and spoke.of(isakmp.SendKeepalive)
    assert hub.keys() == spoke.keys()


@pytest.mark.parametrize(
    ("forwarded", "unanswered"),
    [
        ((), "MM1 was sent 6 times"),
        ((500,), "MM5 was sent 6 times to UDP port 4500, which a NAT or a filter may hold back"),
    ],
)
def test_without_both_ports_the_spoke_says_which_message_has_no_answer(
    forwarded: tuple[int, ...], unanswered: str
) -> None:
    nat = before_hub(*forwarded)
    net = lab(NatBox(NAT, BRANCH), nat, hub=HUB_INSIDE)
    hub, spoke = net.nodes["hub"], net.nodes["spoke1"]
    net.acquire(spoke)
    assert net.run(120, lambda: bool(spoke.of(isakmp.Refused)))
    (refused,) = spoke.of(isakmp.Refused)
    assert (refused.reason, refused.detail) == ("no-answer", unanswered)
    assert not spoke.installed and not hub.installed
    nat.forwards |= before_hub(500, 4500).forwards
    assert net.run(120, lambda: bool(spoke.installed) and spoke.keys() == hub.keys())
