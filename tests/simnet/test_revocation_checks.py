"""`revocation-check` at both ends of a tunnel: when a revocation is heard of, and where not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ikelab.isakmp.events import Clear, Refused
from ikelab.pki.crl import load_crl
from ikelab.pki.events import CrlInstalled
from ikelab.pki.x509 import load_certificate
from tests.simnet.labs import boot_lab, configure, enroll, tunnel_comes_up
from tests.simnet.network import Simnet

SIX_HOURS = 6 * 3600


@pytest.fixture
def net() -> Simnet:
    net = boot_lab("root-offline", "root-ca", "ra-subca", "hub", "spoke1")
    enroll(net, "ra-subca", "ra-subca", "root-ca")
    enroll(net, "hub", "ra", "ra-subca")
    enroll(net, "spoke1", "ra", "ra-subca")
    return net


def revoke(net: Simnet, name: str) -> None:
    ca, held = net.nodes["ra-subca"], net.nodes[name].router.trustpoints["ra"].credential
    serial = load_certificate(held.certificate).serial
    net.do(ca, ca.router.servers["ra-subca"].revoke(serial, net.now))
    net.do(ca, ca.router.queues["ra-subca"].pump())
    net.run(1)


def methods(net: Simnet, name: str, *revocation_check: str) -> None:
    node = net.nodes[name]
    points = node.router.config.trustpoints
    changed = replace(points["ra"], revocation_check=revocation_check)
    configure(net, node, trustpoints={**points, "ra": changed})


def comes_up_anew(net: Simnet) -> bool:
    hub, spoke = net.nodes["hub"], net.nodes["spoke1"]
    for node in (spoke, hub):
        net.give(node, Clear())
    net.run(1)
    return tunnel_comes_up(net, spoke, hub)


def test_lists_are_of_version_2_and_numbered_upwards(net: Simnet) -> None:
    first = load_crl(net.files["ra-subca.crl"])
    revoke(net, "spoke1")
    second = load_crl(net.files["ra-subca.crl"])
    assert (first.version, second.version) == (2, 2)
    assert first.number is not None and second.number == first.number + 1
    assert len(second.revoked) == len(first.revoked) + 1


def test_the_hub_goes_by_its_list_until_the_next_update_and_then_refuses(net: Simnet) -> None:
    assert comes_up_anew(net)
    revoke(net, "spoke1")
    assert comes_up_anew(net) and len(net.nodes["hub"].of(CrlInstalled)) == 1
    net.run(SIX_HOURS)
    assert not comes_up_anew(net)
    assert len(net.nodes["hub"].of(CrlInstalled)) == 2
    [*_, last] = [r for r in net.nodes["hub"].of(Refused) if r.message == "MM5"]
    assert last.reason == "revoked" and "hostname=spoke1.cisco.example" in last.detail


def test_a_spoke_that_checks_refuses_a_revoked_hub_at_message_6(net: Simnet) -> None:
    revoke(net, "hub")
    assert comes_up_anew(net)  # `revocation-check none` asks nobody
    methods(net, "spoke1", "crl")
    assert not comes_up_anew(net)
    first, *_ = [r for r in net.nodes["spoke1"].of(Refused) if r.message == "MM6"]
    assert first.reason == "revoked"
    assert "hostname=hub.cisco.example" in first.detail


def test_crl_none_goes_on_without_a_list_and_not_against_one(net: Simnet) -> None:
    net.storage_up = False
    assert not comes_up_anew(net)
    assert net.nodes["hub"].of(Refused)[0].reason == "crl-unavailable"
    methods(net, "hub", "crl", "none")
    assert comes_up_anew(net)
    net.storage_up = True
    revoke(net, "spoke1")
    assert not comes_up_anew(net)
    assert net.nodes["hub"].of(Refused)[-1].reason == "revoked"
