"""A CA that names no place for its CRL (no `cdp-url`): the routers ask it by SCEP, as IOS does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ikelab.node.console import Console
from ikelab.pki.events import CrlInstalled, CrlRefused, HttpRequest
from ikelab.pki.scep import MessageType, read_message
from ikelab.pki.x509 import load_certificate
from tests.simnet.first_tunnel import enroll_all, load
from tests.simnet.labs import tunnel_comes_up
from tests.simnet.network import Simnet, SimNode


def network(*, without_cdp: bool = True) -> Simnet:
    """The first lab with a subordinate CA that names no place; everybody enrolled."""
    net = Simnet()
    net.storage = "10.254.0.99"
    for name in ("root-ca", "ra-subca", "hub", "spoke1"):
        config = load(name)
        if name == "ra-subca" and without_cdp:
            server = replace(config.servers[name], cdp_url=None)
            config = replace(config, servers={name: server})
        net.add(config)
    enroll_all(net)
    return net


def comes_up(net: Simnet) -> bool:
    return tunnel_comes_up(net, net.nodes["spoke1"], net.nodes["hub"])


def asked_crls(node: SimNode) -> list[HttpRequest]:
    """The GetCRL messages a node has sent."""
    posted = [item for item in node.of(HttpRequest) if item.method == "POST"]
    kinds = [read_message(item.body).message_type for item in posted]
    return [item for item, kind in zip(posted, kinds, strict=True) if kind is MessageType.GET_CRL]


def test_a_hub_asks_the_ca_of_its_trustpoint_and_lets_the_spoke_in() -> None:
    net = network()
    hub = net.nodes["hub"]
    held = hub.router.trustpoints["ra"].credential
    assert held is not None and load_certificate(held.certificate).crl_points == ()
    assert comes_up(net)
    [request] = asked_crls(hub)
    assert request.url.startswith("http://192.168.159.243:12345/cgi-bin/pkiclient.exe?")
    [crl] = hub.of(CrlInstalled)
    assert crl.url == "scep:ra"


def test_a_revoked_spoke_is_refused_by_the_crl_that_came_by_scep() -> None:
    net = network()
    held = net.nodes["spoke1"].router.trustpoints["ra"].credential
    assert held is not None
    serial = load_certificate(held.certificate).serial
    subca = net.nodes["ra-subca"]
    net.do(subca, subca.router.servers["ra-subca"].revoke(serial, net.now))
    assert not comes_up(net)
    assert net.nodes["hub"].router.last_refusal["revoked"]


def test_crl_request_at_the_console_asks_by_scep() -> None:
    net = network()
    hub = net.nodes["hub"]
    answer = Console(hub.router, lambda: []).exec("crypto pki crl request ra", net.now)
    net.do(hub, answer.actions)
    net.run(5)
    assert len(asked_crls(hub)) == 1
    shown = Console(hub.router, lambda: []).exec("show crypto pki crls", net.now).text
    assert "cn=ra-subca" in shown


def test_where_a_certificate_names_a_place_the_ca_is_not_asked() -> None:
    net = network(without_cdp=False)
    assert comes_up(net)
    assert asked_crls(net.nodes["hub"]) == []


@pytest.mark.parametrize("status", [500, 200])
def test_a_ca_that_gives_no_crl_leaves_the_spoke_outside(
    status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = network()
    subca = net.nodes["ra-subca"].router
    plain = subca.serve

    def serve(request, now):  # type: ignore[no-untyped-def]
        answer, actions = plain(request, now)
        if request.method == "POST" and status == 200:
            answer = replace(answer, body=b"no CMS", unsigned=None)
        return replace(answer, status=status), actions

    monkeypatch.setattr(subca, "serve", serve)
    assert not comes_up(net)
    hub = net.nodes["hub"]
    assert hub.of(CrlRefused)
    assert "scep:ra: " in str(hub.router.last_refusal["crl-unavailable"])
