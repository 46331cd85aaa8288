"""Nodes of one lab in different zones: each prints the same dates in its own, and keeps UTC."""

from __future__ import annotations

from datetime import UTC, datetime

from ikelab.ios.config_text import format_config, parse_config
from ikelab.node.console import Console
from ikelab.node.events import ClockSet
from ikelab.pki.events import CertificateInstalled
from ikelab.pki.x509 import load_certificate
from tests.simnet.labs import boot_lab, enroll
from tests.simnet.network import Simnet

EASTERN = ("clock timezone EST -5", "clock summer-time EDT recurring")
STAMPED = "service timestamps log datetime msec localtime show-timezone"
APRIL = datetime(2009, 4, 2, 18, 58, 59, tzinfo=UTC)


def enrolled() -> tuple[Simnet, dict[str, Console]]:
    """The first lab on the guide's day: the routers in New York's zone, the CAs in none."""
    net = boot_lab("first-tunnel", "root-ca", "ra-subca", "hub", "spoke1")
    consoles = {name: Console(node.router, lambda: []) for name, node in net.nodes.items()}
    enroll(net, "ra-subca", "ra-subca", "root-ca")
    answer = consoles["hub"].configure([*EASTERN, STAMPED], net.now)
    net.do(net.nodes["hub"], answer.actions)
    for name in ("hub", "spoke1"):
        enroll(net, name, "ra", "ra-subca")
    return net, consoles


def test_a_router_shows_the_dates_of_its_certificate_in_its_zone():
    net, consoles = enrolled()
    held = net.nodes["hub"].router.trustpoints["ra"].credential
    start = load_certificate(held.certificate).not_before
    said = consoles["hub"].exec("show crypto pki certificates ra", net.now).text
    summer = start.month in range(4, 11)
    local = datetime.fromtimestamp(start.timestamp() - (4 if summer else 5) * 3600, UTC)
    name = "EDT" if summer else "EST"
    assert f"start date: {local:%H:%M:%S} {name} {local:%b} {local.day} {local.year}\n" in said
    other = consoles["spoke1"].exec("show crypto pki certificates ra", net.now).text
    assert " UTC " in other and name not in other


def test_the_clock_is_set_and_shown_in_the_zone_and_kept_in_utc():
    net, consoles = enrolled()
    hub = consoles["hub"]
    (action,) = hub.exec("clock set 14:58:59 2 april 2009", net.now).actions
    assert isinstance(action, ClockSet) and action.date == APRIL
    (action,) = consoles["spoke1"].exec("clock set 14:58:59 2 april 2009", net.now).actions
    assert action.date == APRIL.replace(hour=14)


def test_messages_have_the_zone_only_where_they_were_told_to():
    net, consoles = enrolled()
    installed = net.nodes["hub"].of(CertificateInstalled)
    local = consoles["hub"].printed(installed, net.now)
    plain = consoles["spoke1"].printed(installed, net.now)
    assert " EST: %PKI-6-CERTRET" in local or " EDT: %PKI-6-CERTRET" in local
    assert f"{net.now.wall:%H:%M:%S}" in plain and "EST" not in plain and "EDT" not in plain
    text = format_config(consoles["hub"].config)
    assert all(f"\n{line}\n" in text for line in (*EASTERN, STAMPED))
    assert parse_config(text) == consoles["hub"].config


def test_the_zone_is_removed_again():
    net, consoles = enrolled()
    hub = consoles["hub"]
    undone = ["no clock timezone", "no clock summer-time", STAMPED.removesuffix(" show-timezone")]
    net.do(net.nodes["hub"], hub.configure(undone, net.now).actions)
    assert " UTC " in hub.exec("show clock", net.now).text
    assert "clock" not in hub.exec("show running-config", net.now).text


def test_a_crl_at_its_ca_is_local():
    net, consoles = enrolled()
    ca = consoles["ra-subca"]
    command = "crypto pki server ra-subca info crl"
    assert " UTC " in ca.exec(command, net.now).text
    net.do(net.nodes["ra-subca"], ca.configure(["clock timezone EST -5"], net.now).actions)
    assert " EST " in ca.exec(command, net.now).text
    assert " EST " in ca.exec("show crypto pki server", net.now).text
