"""The lab `first-tunnel` on the simulated network, from its own configuration files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ikelab.ios.config_text import parse_config
from ikelab.pki.x509 import fingerprint
from tests.simnet.network import Faults, Simnet, SimNode

CONFIGS = Path(__file__).parents[2] / "netns" / "first-tunnel" / "configs"


def load(name: str):
    """The configuration of one node of the lab."""
    path = CONFIGS / f"{name}.cfg"
    return parse_config(path.read_text(), file=path.name)


def boot(faults: Faults | None = None, seed: int = 1, *names: str) -> Simnet:
    """Root CA, subordinate CA, hub and spoke, running; nobody trusts anybody yet."""
    net = Simnet(seed, faults)
    net.storage = "10.254.0.99"
    for name in names or ("root-ca", "ra-subca", "hub", "spoke1"):
        net.add(load(name))
    return net


def trust(net: Simnet, name: str, trustpoint: str, ca: str, digest: str = "") -> SimNode:
    """The administrator reads the fingerprint at the CA and enters it at the node."""
    node = net.nodes[name]
    authority = net.nodes[ca].router.servers[ca].store.load_authority()
    seen = digest or fingerprint(authority.certificate, "sha256")
    config = node.router.config
    point = replace(config.trustpoints[trustpoint], fingerprint=seen)
    servers = {key: replace(server, enabled=True) for key, server in config.servers.items()}
    changed = replace(
        config, trustpoints={**config.trustpoints, trustpoint: point}, servers=servers
    )
    net.do(node, node.router.configure(changed, net.now))
    if node.router.trustpoints[trustpoint].next_timer() is None:
        net.do(node, node.router.authenticate(trustpoint, net.now))
    return node


def enroll_all(net: Simnet) -> None:
    """Everybody enrolled, in the lab's order."""
    trust(net, "ra-subca", "ra-subca", "root-ca")
    subca = net.nodes["ra-subca"].router
    assert net.run(60, lambda: subca.trustpoints["ra-subca"].credential is not None)
    for name in ("hub", "spoke1"):
        node = trust(net, name, "ra", "ra-subca")
        point = node.router.trustpoints["ra"]
        assert net.run(60, lambda: point.credential is not None)  # noqa: B023
    assert net.run(60, lambda: "ra-subca.crl" in net.files)
