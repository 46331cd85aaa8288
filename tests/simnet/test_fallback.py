"""`enrollment fallback`: which CA a spoke ends up with when one of two gives no answer."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from ikelab.errors import ConfigError
from ikelab.ios.config_text import format_config, parse_config
from ikelab.node.flows import find_faults
from ikelab.pki.enrollment_events import CaCertificateOffered, FallbackStarted
from ikelab.pki.events import CertificateInstalled
from ikelab.pki.x509 import fingerprint, format_name, load_certificate
from tests.simnet.first_tunnel import trust
from tests.simnet.labs import LABS, boot_lab, configure, enroll, issuer_of
from tests.simnet.network import Simnet, SimNode

MINUTE = 60.0


def two_subcas() -> tuple[Simnet, SimNode]:
    """Both subordinate CAs issue by themselves; the new spoke knows neither."""
    net = boot_lab("redundant-subcas", "root-ca", "ra-subca", "du-subca", "spoke2")
    for name in ("ra-subca", "du-subca"):
        enroll(net, name, name, "root-ca")
        node = net.nodes[name]
        servers = {name: replace(node.router.config.servers[name], grant="auto")}
        configure(net, node, servers=servers)
    return net, net.nodes["spoke2"]


def know(net: Simnet, *names: str) -> None:
    """The spoke has the CA certificates of these trustpoints."""
    for name in names:
        trust(net, "spoke2", name, f"{name}-subca")
        net.run(1)


def certified_by(spoke: SimNode) -> dict[str, str]:
    """Trustpoint -> issuer, of those that are enrolled."""
    points = spoke.router.trustpoints.items()
    held = [name for name, point in points if point.credential is not None]
    return {name: format_name(issuer_of(spoke, name)) for name in held}


def switch_off(net: Simnet, name: str) -> SimNode:
    return net.nodes.pop(name)


def test_with_its_own_ca_alive_nothing_is_asked_of_the_other():
    net, spoke = two_subcas()
    know(net, "ra", "du")
    net.do(spoke, spoke.router.enroll("ra", net.now))
    net.run(60 * MINUTE)
    assert certified_by(spoke) == {"ra": "cn=ra-subca"}
    assert spoke.of(FallbackStarted) == []


def test_without_an_answer_to_the_request_the_other_ca_certifies():
    net, spoke = two_subcas()
    know(net, "ra", "du")
    switch_off(net, "ra-subca")
    net.do(spoke, spoke.router.enroll("ra", net.now))
    net.run(1)
    assert certified_by(spoke) == {"du": "cn=du-subca"}
    assert spoke.of(FallbackStarted) == [FallbackStarted("ra", "du")]


def test_a_ca_that_was_dead_from_the_beginning_is_not_waited_for():
    net, spoke = two_subcas()
    point = spoke.router.config.trustpoints["ra"]
    know_fingerprint_only(net, spoke, "du")
    configure(
        net,
        spoke,
        trustpoints={
            **spoke.router.config.trustpoints,
            "ra": replace(point, fingerprint="00" * 20, auto_enroll=70),
        },
    )
    switch_off(net, "ra-subca")
    net.run(5)
    assert certified_by(spoke) == {"du": "cn=du-subca"}


def know_fingerprint_only(net: Simnet, spoke: SimNode, name: str) -> None:
    """The fingerprint is configured; the CA itself was never asked."""
    ca = f"{name}-subca"
    authority = net.nodes[ca].router.servers[ca].store.load_authority()
    points = spoke.router.config.trustpoints
    known = replace(points[name], fingerprint=fingerprint(authority.certificate, "sha256"))
    configure(net, spoke, trustpoints={**points, name: known})


def test_while_it_stands_by_auto_enroll_of_the_other_trustpoint_waits():
    net, spoke = two_subcas()
    know(net, "du")
    assert spoke.router.config.trustpoints["du"].auto_enroll == 70
    net.run(60 * MINUTE)
    assert certified_by(spoke) == {}


def test_what_the_other_ca_has_issued_is_renewed_as_any():
    net, spoke = two_subcas()
    know(net, "ra", "du")
    switch_off(net, "ra-subca")
    net.do(spoke, spoke.router.enroll("ra", net.now))
    net.run(timedelta(days=130).total_seconds())  # 70 % of 180 days are 126
    serials = [notice.serial for notice in spoke.of(CertificateInstalled)]
    assert len(serials) == 2 and certified_by(spoke) == {"du": "cn=du-subca"}


def test_a_ca_nobody_has_accepted_certifies_nothing():
    net, spoke = two_subcas()
    know(net, "ra")
    switch_off(net, "ra-subca")
    net.do(spoke, spoke.router.enroll("ra", net.now))
    net.run(10 * MINUTE)
    assert certified_by(spoke) == {}
    assert {offer.trustpoint for offer in spoke.of(CaCertificateOffered)} == {"du"}


def test_its_own_ca_certifies_it_too_when_it_is_back():
    net, spoke = two_subcas()
    know(net, "ra", "du")
    away = switch_off(net, "ra-subca")
    net.do(spoke, spoke.router.enroll("ra", net.now))
    net.run(1)
    net.nodes["ra-subca"] = away
    net.run(2 * MINUTE)  # `enrollment retry period`
    assert certified_by(spoke) == {"ra": "cn=ra-subca", "du": "cn=du-subca"}


def test_with_both_dead_each_is_asked_once_a_minute_and_the_first_one_back_certifies():
    net, spoke = two_subcas()
    know(net, "ra", "du")
    switch_off(net, "ra-subca")
    away = switch_off(net, "du-subca")
    net.do(spoke, spoke.router.enroll("ra", net.now))
    net.run(3.5 * MINUTE)
    assert certified_by(spoke) == {} and len(spoke.of(FallbackStarted)) == 1
    net.nodes["du-subca"] = away
    net.run(MINUTE)
    assert certified_by(spoke) == {"du": "cn=du-subca"}


def test_a_router_that_starts_again_keeps_to_the_ca_it_has():
    net, spoke = two_subcas()
    know(net, "ra", "du")
    switch_off(net, "ra-subca")
    net.do(spoke, spoke.router.enroll("ra", net.now))
    net.run(1)
    held = load_certificate(spoke.router.trustpoints["du"].credential.certificate)
    spoke.router.trustpoints.clear()
    net.do(spoke, spoke.router.configure(spoke.router.config, net.now))
    point = spoke.router.trustpoints["du"]
    assert point.renew_date == held.not_before + 0.7 * (held.not_after - held.not_before)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("enrollment fallback nobody", "which does not exist"),
        ("enrollment fallback ra", "another trustpoint with an `enrollment url`"),
    ],
)
def test_a_fallback_that_cannot_be_is_told(line: str, said: str):
    text = (LABS / "redundant-subcas" / "configs" / "spoke2.cfg").read_text()
    config = parse_config(text.replace("enrollment fallback du", line), file="spoke2.cfg")
    assert any(said in fault for fault in find_faults(config))
    with pytest.raises(ConfigError, match="fallback"):
        Simnet().add(config)


def test_the_line_is_in_the_running_config():
    text = (LABS / "redundant-subcas" / "configs" / "spoke2.cfg").read_text()
    config = parse_config(text, file="spoke2.cfg")
    assert "\n enrollment fallback du\n" in format_config(config)
    assert parse_config(format_config(config), file="again") == config
