"""`chain-validation`: whether a subordinate CA that a trustpoint holds is itself looked up."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ikelab.errors import ConfigError
from ikelab.isakmp.events import Refused
from ikelab.pki.config import TrustpointConfig
from ikelab.pki.events import CrlInstalled
from ikelab.pki.x509 import load_certificate
from tests.simnet.labs import boot_lab, configure, enroll, tunnel_comes_up
from tests.simnet.network import Simnet, SimNode


def lab() -> Simnet:
    net = boot_lab("root-offline", "root-ca", "ra-subca", "hub", "spoke1")
    enroll(net, "ra-subca", "ra-subca", "root-ca")
    enroll(net, "hub", "ra", "ra-subca")
    enroll(net, "spoke1", "ra", "ra-subca")
    return net


def set_chain_validation(net: Simnet, node: SimNode, **changes: object) -> None:
    points = node.router.config.trustpoints
    changed = replace(points["ra"], **changes)  # type: ignore[arg-type]
    configure(net, node, trustpoints={**points, "ra": changed})


def revoke_sub_ca(net: Simnet) -> None:
    root, sub = net.nodes["root-ca"], net.nodes["ra-subca"]
    held = sub.router.trustpoints["ra-subca"].credential
    serial = load_certificate(held.certificate).serial
    net.do(root, root.router.servers["root-ca"].revoke(serial, net.now))
    net.do(root, root.router.queues["root-ca"].pump())
    net.run(1)


def test_by_default_the_ca_that_was_authenticated_is_trusted_whatever_its_root_says():
    net = lab()
    revoke_sub_ca(net)
    assert tunnel_comes_up(net, net.nodes["spoke1"], net.nodes["hub"])
    assert {crl.issuer for crl in net.nodes["hub"].of(CrlInstalled)} == {"cn=ra-subca"}


def test_with_continue_it_is_checked_against_the_crl_of_its_root():
    net = lab()
    hub = net.nodes["hub"]
    set_chain_validation(net, hub, chain_validation="continue")
    assert tunnel_comes_up(net, net.nodes["spoke1"], hub)
    assert {crl.issuer for crl in hub.of(CrlInstalled)} == {"cn=ra-subca", "cn=root-ca"}


def test_with_continue_a_revoked_subordinate_ca_is_out_with_all_its_routers():
    net = lab()
    hub = net.nodes["hub"]
    set_chain_validation(net, hub, chain_validation="continue")
    revoke_sub_ca(net)
    assert not tunnel_comes_up(net, net.nodes["spoke1"], hub)
    first = hub.of(Refused)[0]
    assert (first.message, first.reason) == ("MM5", "revoked") and "cn=ra-subca" in first.detail


def test_crl_request_fetches_the_roots_list_too_where_the_path_goes_on_to_it():
    net = lab()
    hub = net.nodes["hub"]
    set_chain_validation(net, hub, chain_validation="continue")
    assert tunnel_comes_up(net, net.nodes["spoke1"], hub)
    revoke_sub_ca(net)
    net.do(hub, hub.router.request_crl("ra", net.now))
    net.run(1)
    sizes = [crl.size for crl in hub.of(CrlInstalled) if crl.issuer == "cn=root-ca"]
    assert len(sizes) == 2 and sizes[1] > sizes[0]


def test_the_root_may_be_that_of_another_trustpoint():
    net = lab()
    hub = net.nodes["hub"]
    above = TrustpointConfig("root", enrollment_url="http://10.254.0.14:80")
    configure(net, hub, trustpoints={**hub.router.config.trustpoints, "root": above})
    net.do(hub, hub.router.authenticate("root", net.now))
    net.run(1)
    net.do(hub, hub.router.accept("root", True, net.now))
    set_chain_validation(net, hub, chain_validation="continue", parent="root")
    assert tunnel_comes_up(net, net.nodes["spoke1"], hub)


def test_a_parent_that_was_not_authenticated_vouches_for_nobody():
    net = lab()
    hub = net.nodes["hub"]
    above = TrustpointConfig("root", enrollment_url="http://10.254.0.14:80")
    configure(net, hub, trustpoints={**hub.router.config.trustpoints, "root": above})
    set_chain_validation(net, hub, chain_validation="continue", parent="root")
    assert not tunnel_comes_up(net, net.nodes["spoke1"], hub)
    assert hub.of(Refused)[0].reason == "untrusted-issuer"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"parent": "nobody"}, "`chain-validation continue nobody`, which does not exist"),
        ({"parent": "ra"}, "the way up leads back to ra"),
    ],
)
def test_a_way_up_that_leads_nowhere_is_told(changes, words):
    net = boot_lab("root-offline", "hub")
    with pytest.raises(ConfigError, match=words):
        set_chain_validation(net, net.nodes["hub"], chain_validation="continue", **changes)


def test_the_cache_is_as_large_as_configured():
    net = boot_lab("root-offline", "hub")
    hub = net.nodes["hub"]
    assert hub.router.revocation.limit == 65536
    configure(net, hub, crl_cache=1)
    assert hub.router.revocation.limit == 1024
