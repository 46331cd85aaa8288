"""Any shipped lab on the simulated network, from its own configuration files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ikelab.ios.config_text import parse_config
from ikelab.pki.x509 import load_certificate
from tests.simnet.first_tunnel import trust
from tests.simnet.network import Simnet, SimNode

LABS = Path(__file__).parents[2] / "netns"


def boot_lab(lab: str, *names: str) -> Simnet:
    """These nodes of a lab, running; nobody trusts anybody yet."""
    net = Simnet()
    net.storage = "10.254.0.99"
    for name in names:
        text = (LABS / lab / "configs" / f"{name}.cfg").read_text()
        net.add(parse_config(text, file=f"{name}.cfg"))
    return net


def enroll(net: Simnet, name: str, trustpoint: str, ca: str) -> None:
    """Trust the CA by its fingerprint and enroll; the certificate must be there in a minute."""
    node = trust(net, name, trustpoint, ca)
    point = node.router.trustpoints[trustpoint]
    assert net.run(60, lambda: bool(point.anchors))
    if point.config.auto_enroll is None and trustpoint not in node.router.servers:
        net.do(node, node.router.enroll(trustpoint, net.now))
    assert net.run(60, lambda: point.credential is not None)
    net.run(1)  # a CA's files reach their storage


def configure(net: Simnet, node: SimNode, **changes: object) -> None:
    """A changed configuration is put into force."""
    config = replace(node.router.config, **changes)  # type: ignore[arg-type]
    net.do(node, node.router.configure(config, net.now))


def tunnel_comes_up(net: Simnet, one: SimNode, other: SimNode, tunnel: str = "Tunnel1") -> bool:
    """Whether a packet for a tunnel of `one` brings SAs with the same keys at both ends."""
    net.acquire(one, tunnel)
    return net.run(5, lambda: bool(one.installed) and one.keys() <= other.keys())


def issuer_of(node: SimNode, trustpoint: str) -> bytes:
    """Who certified a router: the issuer's name, DER."""
    credential = node.router.trustpoints[trustpoint].credential
    assert credential is not None
    return load_certificate(credential.certificate).issuer
