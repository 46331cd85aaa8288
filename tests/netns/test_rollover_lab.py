"""The lab rollover as a user runs it: five years of certificates, and a tunnel in each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.netns.test_ca_models import Run, run  # noqa: F401  (run is a fixture)

pytestmark = pytest.mark.needs_root


def test_every_step_and_check_of_the_lab_holds(run: Run) -> None:  # noqa: F811
    checks = run("rollover").facts["checks"]
    assert len(checks) > 20 and all(check["passed"] for check in checks)
    assert not (Path("/run/ikelab") / "rollover").exists()


def test_each_ca_took_over_with_what_it_had_held(run: Run) -> None:  # noqa: F811
    ran = run("rollover")
    for node, times in (("root-ca", 1), ("ra-subca", 3)):
        log = ran.log(node)
        assert log.count("takes over") == log.count(" is in force, until ") == times
    spoke = ran.log("spoke1")
    assert spoke.count("in force now: CA certificate") == 3
    assert spoke.count("%PKI-6-CERTRENEWAUTO: Renewing the router certificate") >= 12
    assert "%PKI-6-CERTFAIL" not in spoke and "%PKI-6-CERTREJECT" not in spoke


@pytest.mark.interop
def test_messages_5_and_6_carry_the_serial_numbers_of_the_day(
    run: Run,  # noqa: F811
    need: Callable[[str], str],
) -> None:
    need("tshark")
    ran = run("rollover")
    for address in ("192.168.159.250", "192.168.159.242"):
        found = ran.fields(
            f"isakmp.exchangetype == 2 && ip.src == {address} && x509af.serialNumber",
            "x509af.serialNumber",
        )
        serials = [int(row[0].split(",")[0], 16) for row in found]
        assert len(set(serials)) >= 4 and serials == sorted(serials)
    announced = ran.fields('http.request.uri contains "GetNextCACert"', "http.request.uri")
    assert len(announced) >= 7  # two routers three times, the subordinate CA at its root's end


@pytest.mark.interop
def test_tshark_reads_all_of_it(run: Run, need: Callable[[str], str]) -> None:  # noqa: F811
    need("tshark")
    assert run("rollover").fields("_ws.malformed", "frame.number") == []
