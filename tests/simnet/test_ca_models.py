"""Server models on virtual time: a stolen root key, tiers, a root that is gone."""

from __future__ import annotations

from datetime import timedelta

from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from ikelab.isakmp import events as isakmp
from ikelab.isakmp.events import Refused
from ikelab.pki.algorithms import public_key_info
from ikelab.pki.events import CrlInstalled
from ikelab.pki.issuer import ROUTER_USAGE
from ikelab.pki.store import StoredTrustpoint
from ikelab.pki.x509 import build_certificate, load_certificate, parse_dn
from tests.simnet.labs import boot_lab, configure, enroll, tunnel_comes_up
from tests.simnet.network import Simnet, SimNode

MORE = 0x7777  # a serial number that the root has never given away


def standalone() -> Simnet:
    """Hub and spoke certified by one root, and the root that will take its place."""
    net = boot_lab("standalone-root", "root-ca", "new-root", "hub", "spoke1")
    enroll(net, "hub", "root", "root-ca")
    enroll(net, "spoke1", "root", "root-ca")
    return net


def impostor(net: Simnet) -> SimNode:
    """A router at the spoke's address, with its name, a key of its own and a certificate made with
    the stolen key of the root."""
    spoke = net.nodes.pop("spoke1")
    authority = net.nodes["root-ca"].router.servers["root-ca"].store.load_authority()
    assert authority is not None
    root, key = load_certificate(authority.certificate), generate_private_key(65537, 2048)
    forged = build_certificate(
        serial=MORE,
        issuer=root.subject,
        subject=parse_dn("hostname=spoke1.cisco.example"),
        public_key_info=public_key_info(key),
        not_before=net.now.wall,
        not_after=net.now.wall + timedelta(days=3650),
        issuer_key=authority.key,
        digest="sha256",
        ca=False,
        key_usage=ROUTER_USAGE,
        crl_url="http://10.254.0.99/root-ca.crl",
        authority_key_id=root.subject_key_id,
        fqdns=("spoke1.cisco.example",),
    )
    node = net.add(spoke.router.config)
    nvram = node.router.nvram
    stored = StoredTrustpoint(
        "root", ca_certificates=(root.der,), certificate=forged, key_label="spoke-keys"
    )
    nvram.save_trustpoint(stored, ("spoke-keys", key))
    del node.router.trustpoints["root"]  # it starts again with what is in nvram now
    net.do(node, node.router.configure(node.router.config, net.now))
    return node


def test_whoever_has_the_roots_key_is_let_in_by_the_hub():
    net = standalone()
    attacker, hub = impostor(net), net.nodes["hub"]
    assert tunnel_comes_up(net, attacker, hub)
    assert hub.of(CrlInstalled), "it was looked up on the CRL, which cannot know it"


def test_no_revocation_takes_back_what_the_root_does_not_know_of():
    net = standalone()
    attacker, hub, root = impostor(net), net.nodes["hub"], net.nodes["root-ca"]
    server = root.router.servers["root-ca"]
    assert server.store.issued(MORE) is None
    for serial in range(2, server.store.last_serial() + 1):  # all it has given away but its own
        net.do(root, server.revoke(serial, net.now))
    net.do(root, root.router.queues["root-ca"].pump())
    net.run(1)
    assert tunnel_comes_up(net, attacker, hub)


def test_after_the_root_is_replaced_every_router_must_enroll_again():
    net = standalone()
    hub, spoke = net.nodes["hub"], net.nodes["spoke1"]
    assert tunnel_comes_up(net, spoke, hub)
    enroll(net, "hub", "new-root", "new-root")
    forget_old_root(net, hub)
    net.give(hub, isakmp.Clear())
    net.run(1)
    assert not spoke.installed
    assert not tunnel_comes_up(net, spoke, hub)
    assert spoke.of(Refused)[-1].reason == "no-certificate-for-request"

    enroll(net, "spoke1", "new-root", "new-root")
    forget_old_root(net, spoke)
    net.give(spoke, isakmp.Clear())
    assert tunnel_comes_up(net, spoke, hub)


def test_after_the_root_is_replaced_the_stolen_key_opens_nothing():
    net = standalone()
    hub = net.nodes["hub"]
    enroll(net, "hub", "new-root", "new-root")
    forget_old_root(net, hub)
    attacker = impostor(net)
    assert not tunnel_comes_up(net, attacker, hub)
    assert not hub.installed


def forget_old_root(net: Simnet, node: SimNode) -> None:
    points = node.router.config.trustpoints
    configure(net, node, trustpoints={name: p for name, p in points.items() if name != "root"})


def three_tiers() -> Simnet:
    net = boot_lab("three-tiers", "root-ca", "region-ca", "site-ca", "hub", "spoke1")
    enroll(net, "region-ca", "region-ca", "root-ca")
    enroll(net, "site-ca", "site-ca", "region-ca")
    enroll(net, "hub", "region", "region-ca")
    enroll(net, "spoke1", "site", "site-ca")
    return net


def test_a_path_of_three_tiers_is_checked_at_each_of_them():
    net = three_tiers()
    hub, spoke = net.nodes["hub"], net.nodes["spoke1"]
    knows_region(net, spoke)
    assert tunnel_comes_up(net, spoke, hub)
    assert {crl.issuer for crl in hub.of(CrlInstalled)} == {"cn=site-ca", "cn=region-ca"}


def test_a_site_whose_ca_is_revoked_is_out_with_all_its_routers():
    net = three_tiers()
    hub, spoke, region = net.nodes["hub"], net.nodes["spoke1"], net.nodes["region-ca"]
    knows_region(net, spoke)
    site = net.nodes["site-ca"].router.trustpoints["site-ca"].credential
    serial = load_certificate(site.certificate).serial
    net.do(region, region.router.servers["region-ca"].revoke(serial, net.now))
    net.do(region, region.router.queues["region-ca"].pump())
    net.run(1)
    assert not tunnel_comes_up(net, spoke, hub)
    [first, *_] = hub.of(Refused)
    assert first.reason == "revoked" and "cn=site-ca" in first.detail


def knows_region(net: Simnet, spoke: SimNode) -> None:
    """The spoke authenticates region-ca, to ask its peer for a certificate of it."""
    net.do(spoke, spoke.router.authenticate("region", net.now))
    net.run(1)
    net.do(spoke, spoke.router.accept("region", True, net.now))
    assert spoke.router.trustpoints["region"].anchors


def test_without_its_root_a_subordinate_ca_goes_on_for_the_life_of_its_certificate():
    net = boot_lab("root-offline", "root-ca", "ra-subca", "hub", "spoke1")
    enroll(net, "ra-subca", "ra-subca", "root-ca")
    del net.nodes["root-ca"]
    enroll(net, "hub", "ra", "ra-subca")
    enroll(net, "spoke1", "ra", "ra-subca")
    hub, spoke = net.nodes["hub"], net.nodes["spoke1"]
    first = load_certificate(spoke.router.trustpoints["ra"].credential.certificate)
    net.run(timedelta(days=400).total_seconds())
    renewed = load_certificate(spoke.router.trustpoints["ra"].credential.certificate)
    assert renewed.serial != first.serial and renewed.not_after > net.now.wall
    assert tunnel_comes_up(net, spoke, hub)
    assert hub.of(CrlInstalled)[-1].issuer == "cn=ra-subca"
