"""Five years of the lab `rollover` in seconds: swaps, renewals, and the tunnel after each."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

import pytest

from ikelab.isakmp.events import Clear, PlainMessage, Refused
from ikelab.node.console import Console
from ikelab.pki.ca_events import CaNotice, CrlPublished, RolloverAvailable, RolloverDone
from ikelab.pki.crl import load_crl, verify_crl
from ikelab.pki.enrollment_events import RenewalStarted
from ikelab.pki.events import (
    CertificateInstalled,
    EnrollmentFailed,
    GenerationSwapped,
    NextCertificateHeld,
)
from ikelab.pki.x509 import Certificate, load_certificate
from tests.simnet.first_tunnel import trust
from tests.simnet.labs import boot_lab, enroll
from tests.simnet.network import START, Simnet, SimNode

DAY = timedelta(days=1)
NAMES = ("root-ca", "ra-subca", "hub", "spoke1")
YEARS = 5 * 365


def enrolled() -> Simnet:
    """Everybody has a certificate; the sub-CA's was granted by hand, as a new CA's is."""
    net = boot_lab("rollover", *NAMES)
    subca = trust(net, "ra-subca", "ra-subca", "root-ca")
    root = net.nodes["root-ca"].router
    assert net.run(60, lambda: bool(root.servers["root-ca"].requests()))
    net.do(net.nodes["root-ca"], root.servers["root-ca"].grant(None, net.now))
    point = subca.router.trustpoints["ra-subca"]
    assert net.run(90, lambda: point.credential is not None)
    for name in ("hub", "spoke1"):
        enroll(net, name, "ra", "ra-subca")
    return net


def own(net: Simnet, name: str) -> Certificate:
    point = net.nodes[name].router.trustpoints["ra"]
    assert point.credential is not None, f"{name} has no certificate at {net.now.wall}"
    return load_certificate(point.credential.certificate)


def ca(net: Simnet, name: str) -> Certificate:
    der = net.nodes[name].router.servers[name].certificates[0]
    assert der is not None
    return load_certificate(der)


def go_to(net: Simnet, day: float) -> None:
    """To a day after the start."""
    net.run(day * 86400 - net.elapsed)


def authenticated(net: Simnet) -> tuple[int, int]:
    """Bring the tunnel up afresh; the serials of the certificates in messages 5 and 6."""
    hub, spoke = net.nodes["hub"], net.nodes["spoke1"]
    for node in (hub, spoke):
        net.give(node, Clear())
    net.run(60)
    mark = len(spoke.log)
    net.acquire(spoke)
    up = net.run(20, lambda: bool(spoke.installed) and spoke.keys() == hub.keys())
    assert up, [(node.name, node.of(Refused)[-1:]) for node in (hub, spoke)]
    plain = [item for item in spoke.log[mark:] if isinstance(item, PlainMessage)]
    serials = []
    for message, name in (("MM5", "spoke1"), ("MM6", "hub")):
        [octets] = [item.plaintext for item in plain if item.message == message]
        assert own(net, name).der in octets
        serials.append(own(net, name).serial)
    for node in (hub, spoke):
        net.give(node, Clear())
    net.run(60)
    return serials[0], serials[1]


@cache
def five_years() -> tuple[Simnet, list[tuple[datetime, tuple[int, int]]]]:
    """The tunnel is looked at every 45 days, and right before and after each swap of a CA."""
    net = enrolled()
    swaps = (730, 1460, 1825)
    days = sorted({*range(1, YEARS + 60, 45), *swaps, *(day - 2 for day in swaps)})
    seen = []
    for day in days:
        go_to(net, day + 0.001)
        seen.append((net.now.wall, authenticated(net)))
        if day in swaps:
            cached = net.nodes["hub"].router.revocation.entries(net.now.wall)
            CACHED.append([entry.issuer.serial for entry in cached if not entry.superseded])
    return net, seen


# Serials of the CA certificates whose CRLs the hub has, after each swap.
CACHED: list[list[int]] = []


def told(net: Simnet, name: str, kind: type) -> list:
    return net.nodes[name].of(kind)


def test_the_root_swaps_after_five_years_and_the_sub_ca_after_two_each() -> None:
    net, _ = five_years()
    [root] = told(net, "root-ca", RolloverDone)
    assert root.end - ca(net, "root-ca").not_before == 1825 * DAY
    [available] = told(net, "root-ca", RolloverAvailable)
    assert available.start == ca(net, "root-ca").not_before
    subca = told(net, "ra-subca", RolloverDone)
    ends = [round((item.end - START) / DAY) for item in subca]
    assert ends == [1460, 1825, 1825 + 730]  # the third is cut at the end of its root
    assert ca(net, "ra-subca").is_signed_by(ca(net, "root-ca").public_key)
    held = [item.start for item in told(net, "ra-subca", NextCertificateHeld)]
    swapped = [item.serial for item in told(net, "ra-subca", GenerationSwapped)]
    assert len(held) == len(swapped) == 3


def test_routers_renew_unasked_and_never_lack_a_certificate() -> None:
    net, _ = five_years()
    for name in ("hub", "spoke1"):
        assert told(net, name, EnrollmentFailed) == []
        renewals = len(told(net, name, RenewalStarted))
        came = told(net, name, CertificateInstalled) + told(net, name, NextCertificateHeld)
        assert renewals == len(came) - 1 and renewals >= 13
        assert len(told(net, name, GenerationSwapped)) == 3
        labels = net.nodes[name].router.nvram.key_labels()
        assert [label for label in labels if not label.endswith("#")] in (
            ["hub-keys"],
            ["spoke-keys"],
        )


def test_the_tunnel_authenticates_with_the_serials_of_the_day() -> None:
    _, seen = five_years()
    spokes = [serials[0] for _, serials in seen]
    hubs = [serials[1] for _, serials in seen]
    assert spokes == sorted(spokes) and hubs == sorted(hubs)
    assert len(set(spokes)) >= 12 and len(set(hubs)) >= 12


def test_the_hub_keeps_the_crls_of_both_generations_as_long_as_they_hold() -> None:
    net, _ = five_years()
    held = [item.serial for item in told(net, "ra-subca", NextCertificateHeld)]
    assert all(new in cached for new, cached in zip(held, CACHED, strict=True))
    assert [len(cached) for cached in CACHED[:2]] == [2, 2]  # the third time the old one had ended


def test_crls_are_reissued_by_the_key_in_force_and_the_last_one_lies_in_the_storage() -> None:
    net, _ = five_years()
    for name in ("root-ca", "ra-subca"):
        numbers = [item.number for item in told(net, name, CrlPublished)]
        assert numbers == list(range(1, len(numbers) + 1)) and len(numbers) > YEARS / 14
        verify_crl(load_crl(net.files[f"{name}.crl"]), ca(net, name))
    archives = sorted(file for file in net.files if file.endswith(".p12"))
    assert archives == [
        *(f"ra-subca_{n:05d}.p12" for n in (2, 3, 4, 5)),
        *(f"root-ca_{n:05d}.p12" for n in (2, 3)),
    ]


@pytest.mark.interop
def test_openssl_verifies_the_routers_of_five_years_later(
    need: Callable[[str], str], tmp_path: Path
) -> None:
    net, _ = five_years()
    openssl = need("openssl")
    parts = {
        "root": ("x509", ca(net, "root-ca").der),
        "sub": ("x509", ca(net, "ra-subca").der),
        "router": ("x509", own(net, "spoke1").der),
        "rootcrl": ("crl", net.files["root-ca.crl"]),
        "subcrl": ("crl", net.files["ra-subca.crl"]),
    }
    for name, (kind, der) in parts.items():
        (tmp_path / f"{name}.der").write_bytes(der)
        convert = [openssl, kind, "-inform", "DER", "-in", f"{name}.der", "-out", f"{name}.pem"]
        subprocess.run(convert, cwd=tmp_path, check=True)
    pems = [(tmp_path / f"{name}crl.pem").read_text() for name in ("root", "sub")]
    (tmp_path / "crls.pem").write_text("".join(pems))
    verify = [openssl, "verify", "-crl_check_all", "-CAfile", "root.pem", "-CRLfile", "crls.pem"]
    verify += ["-untrusted", "sub.pem", "-attime", str(int(net.now.wall.timestamp()))]
    done = subprocess.run(
        [*verify, "router.pem"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "router.pem: OK\n"), done.stderr


def shown(net: Simnet, node: SimNode, command: str) -> str:
    return Console(node.router, lambda: []).exec(command, net.now).text


def test_what_is_shown_while_the_next_generation_waits() -> None:
    net = enrolled()
    root, subca = net.nodes["root-ca"], net.nodes["ra-subca"]
    before = shown(net, subca, "show crypto pki server")
    assert "Rollover status" not in before
    assert "Auto-Rollover configured, overlap period 90 days" in before
    assert "Autorollover timer: " in before
    go_to(net, 700)
    text = shown(net, subca, "show crypto pki server")
    assert "Rollover status: available for rollover" in text
    assert "Rollover CA certificate fingerprint: " in text
    assert "Rollover CA certificate expiration time: " in text
    assert "Autorollover timer" not in text
    certificates = shown(net, subca, "show crypto pki certificates")
    assert certificates.startswith("Certificate (subordinate CA certificate, Rollover)\n")
    assert "\nCertificate (subordinate CA certificate)\n" in certificates
    go_to(net, 1800)
    certificates = shown(net, root, "show crypto pki certificates")
    assert certificates.startswith("CA Certificate (Rollover)\n")
    spoke = shown(net, net.nodes["spoke1"], "show crypto pki certificates")
    assert "CA Certificate (Rollover)\n" in spoke and "Certificate (Rollover)\n" in spoke


def test_a_tunnel_that_is_up_stays_up_across_the_swap_and_authenticates_with_the_new_one() -> None:
    net = enrolled()
    hub, spoke = net.nodes["hub"], net.nodes["spoke1"]
    go_to(net, 729.7)
    net.acquire(spoke)
    assert net.run(20, lambda: bool(spoke.installed) and spoke.keys() == hub.keys())
    before = own(net, "spoke1")
    for _ in range(24 * 6):  # a main mode lasts a day, a quick mode an hour
        net.run(600)
        assert spoke.installed and spoke.keys() & hub.keys(), net.now.wall
    after = own(net, "spoke1")
    assert before.not_after == after.not_before < net.now.wall
    sent = [item.plaintext for item in spoke.of(PlainMessage) if item.message in ("MM5", "MM6")]
    assert any(before.der in octets for octets in sent)
    assert any(after.der in octets for octets in sent)
    assert [item for node in (hub, spoke) for item in node.of(Refused)] == []


def test_a_sub_ca_killed_before_it_heard_of_its_next_certificate_hears_of_it_afterwards() -> None:
    net = enrolled()
    node = net.nodes["ra-subca"]
    server = node.router.servers["ra-subca"]
    go_to(net, 630)

    def killed(*_: object) -> list[CaNotice]:
        raise ZeroDivisionError

    server.install_certificate = killed  # type: ignore[method-assign]
    with pytest.raises(ZeroDivisionError):
        go_to(net, 660)
    assert server.certificates[1] is None
    again = net.add(node.router.config, nvram=node.router.nvram, stores={"ra-subca": server.store})
    net.run(10)
    assert again.router.servers["ra-subca"].certificates[1] is not None
    go_to(net, 731)
    assert ca(net, "ra-subca").not_before <= net.now.wall
    authenticated(net)


def test_a_root_that_grants_nothing_unasked_is_asked_by_hand_for_the_next_sub_ca() -> None:
    net = enrolled()
    node, root = net.nodes["root-ca"], net.nodes["root-ca"].router
    servers = {
        name: replace(server, grant_auto_rollover_ca_cert=False)
        for name, server in root.config.servers.items()
    }
    net.do(node, root.configure(replace(root.config, servers=servers), net.now))
    go_to(net, 641)
    server = net.nodes["ra-subca"].router.servers["ra-subca"]
    assert server.certificates[1] is None
    listed = shown(net, node, "crypto pki server root-ca info requests")
    assert "Subordinate CA certificate requests:" in listed and "pending" in listed
    net.do(node, root.servers["root-ca"].grant(None, net.now))
    go_to(net, 642)
    assert server.certificates[1] is not None
    go_to(net, 731)
    assert ca(net, "ra-subca").not_before <= net.now.wall
    authenticated(net)


def test_clocks_that_jump_years_and_back_leave_everything_in_order() -> None:
    net = enrolled()
    go_to(net, 700)  # the sub-CA's next certificate is there already
    before = [own(net, name) for name in ("hub", "spoke1")], ca(net, "ra-subca")
    for years in (2, 10, 40, 2):
        jump(net, years * 365 * DAY)
        jump(net, -years * 365 * DAY)
    assert before == ([own(net, name) for name in ("hub", "spoke1")], ca(net, "ra-subca"))
    made = [told(net, name, RolloverAvailable) for name in ("root-ca", "ra-subca")]
    assert len(made[0]) <= 1 and len(made[1]) <= 2  # one a generation, however often it is visited
    net.run(86400)
    authenticated(net)
    go_to(net, 731)
    assert ca(net, "ra-subca").not_before <= net.now.wall
    authenticated(net)


def test_routers_certified_by_clocks_that_were_wrong_are_certified_anew() -> None:
    net = enrolled()
    go_to(net, 100)
    jump(net, 365 * DAY)  # within the life of the CA: the routers' certificates have ended
    assert own(net, "hub").not_before > START + 400 * DAY
    jump(net, -365 * DAY)
    assert own(net, "hub").not_before < net.now.wall < own(net, "hub").not_after
    authenticated(net)
    issued = net.nodes["ra-subca"].router.servers["ra-subca"].store.last_serial()
    assert issued < 12


def jump(net: Simnet, span: timedelta) -> None:
    """All clocks are set at once, and an hour goes by."""
    for node in net.nodes.values():
        net.set_clock(node, net.wrong.get(node.name, timedelta()) + span)
    net.run(3600)
