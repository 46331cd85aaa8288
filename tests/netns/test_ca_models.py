"""One lab a server model, as a user runs it; then what each capture and console has of it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from tests.command_line import captured_fields, ikelab

pytestmark = pytest.mark.needs_root
LABS = (
    *("standalone-root", "three-tiers", "root-offline"),
    *("redundant-subcas", "registration-authority"),
)


@dataclass(frozen=True)
class Ran:
    """One run: what it found, and where its capture is."""

    lab: str
    facts: dict[str, list[dict[str, str]]]
    folder: Path

    def issuers(self) -> dict[str, str]:
        """Node and trustpoint -> who certified it."""
        rows = self.facts["enrollments"]
        return {f"{row['node']} {row['trustpoint']}": row["issuer"] for row in rows}

    def log(self, node: str) -> str:
        return (self.folder / "logs" / f"{node}.log").read_text()

    def fields(self, display_filter: str, *names: str) -> list[list[str]]:
        return captured_fields(self.folder, self.lab, display_filter, *names)


Run = Callable[[str], Ran]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """`run(LAB)`: each lab is run once for all tests."""

    @cache
    def once(lab: str) -> Ran:
        folder = tmp_path_factory.mktemp(lab)
        done = ikelab("run", lab, "--out", folder, "--format", "json", seconds=180)
        return Ran(lab, json.loads(done.stdout), folder)

    return once


@pytest.mark.parametrize("lab", LABS)
def test_every_step_and_check_of_the_lab_holds(run: Run, lab: str) -> None:
    checks = run(lab).facts["checks"]
    assert len(checks) > 8 and all(check["passed"] for check in checks)


@pytest.mark.parametrize("lab", LABS)
def test_nothing_of_a_lab_is_left(run: Run, lab: str) -> None:
    run(lab)
    assert not list(Path("/run/netns").glob(f"ikelab-{lab}-*"))
    assert not (Path("/run/ikelab") / lab).exists()


def test_after_the_change_of_roots_both_routers_have_a_certificate_of_the_new_one(run: Run) -> None:
    issuers = run("standalone-root").issuers()
    assert issuers == {"hub new-root": "cn=new-root", "spoke1 new-root": "cn=new-root"}


def test_each_tier_is_certified_by_the_one_above(run: Run) -> None:
    assert run("three-tiers").issuers() == {
        "region-ca region-ca": "cn=root-ca",
        "site-ca site-ca": "cn=region-ca",
        "hub region": "cn=region-ca",
        "spoke1 site": "cn=site-ca",
    }


@pytest.mark.interop
def test_the_spoke_sends_the_certificate_of_its_sites_ca_along(
    run: Run, need: Callable[[str], str]
) -> None:
    need("tshark")
    ran = run("three-tiers")
    first = 'frame.comment contains "sends MM5" && !(frame.comment contains "repeated")'
    rows = ran.fields(first, "isakmp.typepayload")
    assert rows[0] == ["5,6,6,9,11"]
    answers = ran.fields('frame.comment contains "sends MM6"', "isakmp.typepayload")
    assert answers == [["5,6,9"]]


def test_the_new_spoke_is_certified_by_the_subordinate_ca_that_lives(run: Run) -> None:
    ran = run("redundant-subcas")
    issuers = ran.issuers()
    assert (issuers["hub ra"], issuers["hub du"]) == ("cn=ra-subca", "cn=du-subca")
    assert (issuers["spoke1 ra"], issuers["spoke2 du"]) == ("cn=ra-subca", "cn=du-subca")
    assert "spoke2 ra" not in issuers
    turned = "trustpoint ra: no answer from the CA, the router turns to that of trustpoint du"
    assert turned in ran.log("spoke2")
    assert "request 2 waits" in ran.log("du-subca") and "waits" not in ran.log("ra-subca")


@pytest.mark.interop
def test_the_hub_asks_for_either_ca_and_both_spokes_come_in(
    run: Run, need: Callable[[str], str]
) -> None:
    need("tshark")
    ran = run("redundant-subcas")
    asked = ran.fields('frame.comment contains "sends MM4"', "isakmp.typepayload", "ip.dst")
    assert {row[1] for row in asked} == {"192.168.159.250", "192.168.159.251"}
    assert {row[0].split(",").count("7") for row in asked} == {2}
    icmp = ran.fields("esp && icmp.type == 0", "esp.icv_good", "gre.key")
    assert {tuple(row) for row in icmp} == {("1", "0x000004d2"), ("1", "0x000004d3")}


def test_behind_a_registration_authority_the_root_still_is_the_issuer(run: Run) -> None:
    ran = run("registration-authority")
    assert set(ran.issuers().values()) == {"cn=root-ca"}
    for number, node in ((1, "hub"), (2, "spoke1")):
        assert re.search(rf"request {number} authorized: .*{node}", ran.log("reg-auth"))
        assert re.search(rf"request {number} granted: .*{node}", ran.log("reg-auth"))
    queued = re.findall(r"request \d+ waits: (.*)", ran.log("root-ca"))
    assert len(queued) == 1 and "ou=ioscs RA" in queued[0]


@pytest.mark.interop
def test_only_the_registration_authority_speaks_to_the_ca(
    run: Run, need: Callable[[str], str]
) -> None:
    need("tshark")
    ran = run("registration-authority")
    to_ca = ran.fields("http.request && ip.dst == 10.254.0.14", "ip.src")
    to_ra = ran.fields("http.request && ip.dst == 192.168.159.243", "ip.src")
    assert {row[0] for row in to_ca} == {"10.254.0.20"}
    assert {row[0] for row in to_ra} == {"192.168.159.242", "192.168.159.250"}
    kinds = ran.fields("ip.src == 192.168.159.243 && http.response", "http.content_type")
    assert ["application/x-x509-ca-ra-cert"] in kinds


@pytest.mark.interop
def test_the_root_that_is_switched_off_hears_and_says_nothing_more(
    run: Run, need: Callable[[str], str]
) -> None:
    need("tshark")
    ran = run("root-offline")
    assert "%PKI-6-CS_DISABLED" not in ran.log("root-ca"), "it went without a goodbye"
    sent = ran.fields("ip.src == 10.254.0.14", "frame.number")
    enrolled = ran.fields("ip.dst == 192.168.159.243 && http.request", "frame.number")
    assert sent and int(sent[-1][0]) < int(enrolled[0][0])
    fetched = ran.fields('http.request.uri contains ".crl"', "http.request.uri")
    assert {row[0] for row in fetched} == {"/ra-subca.crl"}
