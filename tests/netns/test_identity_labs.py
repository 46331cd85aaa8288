"""The labs revocation, migration and strangers as a user runs them, and what each leaves behind."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.netns.test_ca_models import Ran, Run, run  # noqa: F401  (run is a fixture)

pytestmark = pytest.mark.needs_root
LABS = ("revocation", "migration", "strangers")
HUB, SPOKE1 = "192.168.159.242", "192.168.159.250"


def lines_with(ran: Ran, node: str, text: str) -> list[str]:
    return [line for line in ran.log(node).splitlines() if text in line]


@pytest.mark.parametrize("lab", LABS)
def test_every_step_and_check_of_the_lab_holds(run: Run, lab: str) -> None:  # noqa: F811
    checks = run(lab).facts["checks"]
    assert len(checks) > 8 and all(check["passed"] for check in checks)
    assert not (Path("/run/ikelab") / lab).exists()


# --- revocation -----------------------------------------------------------------------------------


def test_a_revoked_spoke_is_refused_at_message_5_as_often_as_it_comes(run: Run) -> None:  # noqa: F811
    ran = run("revocation")
    bad = lines_with(ran, "hub", f"%CRYPTO-5-IKMP_INVAL_CERT: Certificate received from {SPOKE1}")
    again = lines_with(ran, "hub", "%CRYPTO-3-IKMP_QUERY_KEY: Querying key pair failed.")
    told = lines_with(ran, "hub", "IKELAB-REFUSED: MM5")
    # Two main modes, and in each of them the same message 5 again and again.
    assert len(bad) == 2 and len(again) >= 2 and len(told) == len(bad) + len(again)
    assert all("revoked: serialNumber=" in line and "(serial 0x3)" in line for line in told)
    # After the first refusal nothing comes up until the spoke has another certificate.
    log = ran.log("hub")
    refused = log[log.index(told[0]) : log.index(told[-1])]
    assert "Old State = IKE_R_MM5  New State = IKE_R_MM4" in refused
    assert "IKE_P1_COMPLETE" not in re.sub("Old State = IKE_P1_COMPLETE", "", refused)


def test_after_it_enrolled_anew_the_spoke_comes_in_with_another_serial(run: Run) -> None:  # noqa: F811
    serials = {row["node"]: row["serial"] for row in run("revocation").facts["enrollments"]}
    assert serials["spoke1"] == "04"


@pytest.mark.interop
def test_the_hub_fetched_the_list_twice_and_got_the_guides_octets(
    run: Run,  # noqa: F811
    need: Callable[[str], str],
) -> None:
    need("tshark")
    ran = run("revocation")
    answers = ran.fields(
        "http.response && ip.dst == 10.254.0.4 && http.content_length", "http.content_length"
    )
    assert [row[0] for row in answers] == ["218", "240"]


# --- migration ------------------------------------------------------------------------------------


def test_the_spoke_that_moves_offers_a_signature_after_a_key(run: Run) -> None:  # noqa: F811
    ran = run("migration")
    methods = re.findall(
        r"SA is doing ([a-zA-Z -]+) authentication using id type (\w+)", ran.log("spoke1")
    )
    assert methods[0] == ("pre-shared key", "ID_IPV4_ADDR")
    assert set(methods[1:]) == {("RSA signature", "ID_FQDN")}
    assert lines_with(ran, "spoke1", "My ID configured as IPv4 Addr, but Addr not in Cert!")
    assert lines_with(ran, "spoke1", "Using FQDN as My ID")
    assert lines_with(ran, "spoke1", "SA request profile is hub-profile")


def test_the_hub_walks_past_its_policy_for_keys_where_a_signature_is_offered(run: Run) -> None:  # noqa: F811
    log = run("migration").log("hub")
    assert "Authentication method offered does not match policy!" in log
    assert "against priority 2 policy" in log


@pytest.mark.interop
def test_the_others_stay_up_with_the_sas_they_began_with(
    run: Run,  # noqa: F811
    need: Callable[[str], str],
) -> None:
    need("tshark")
    ran = run("migration")
    cookies: dict[str, set[str]] = {}
    for peer, cookie in ran.fields("isakmp.exchangetype == 2 && !icmp", "ip.src", "isakmp.ispi"):
        cookies.setdefault(peer, set()).add(cookie)
    assert len(cookies["192.168.159.251"]) == len(cookies["192.168.159.252"]) == 1
    assert len(cookies[SPOKE1]) == 3  # key, certificate, certificate without the key at the hub


# --- strangers ------------------------------------------------------------------------------------


def test_the_impostor_is_refused_at_message_5_and_her_ca_is_never_asked(
    run: Run,  # noqa: F811
    need: Callable[[str], str],
) -> None:
    ran = run("strangers")
    [first, *_] = lines_with(ran, "hub", "IKELAB-REFUSED: MM5 from 192.168.159.66:500")
    assert "certificate-bad-signature: " in first
    need("tshark")
    asked = ran.fields(f"http.request && ip.src == {HUB}", "ip.dst")
    assert {row[0] for row in asked} == {"192.168.159.243"}
    assert not ran.fields("esp && ip.addr == 192.168.159.66", "frame.number")


def test_the_stranger_with_the_common_key_is_in_until_the_key_is_gone(run: Run) -> None:  # noqa: F811
    log = run("strangers").log("hub")
    assert "SA has been authenticated with 192.168.159.251" in log
    last = log.rindex("SA has been authenticated with 192.168.159.251")
    assert "no-proposal-chosen" in log[last:]
