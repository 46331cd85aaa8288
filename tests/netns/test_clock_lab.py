"""The lab clock as a user runs it: the guide's clock case, its lines, and what mends it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.netns.test_ca_models import Run, run  # noqa: F401  (run is a fixture)

pytestmark = pytest.mark.needs_root

GUIDE = (  # "Certificate Is Not Yet Valid", with the lab's own dates; the order of the guide
    "CRYPTO_PKI: New CRL Not Yet Valid (router time not synched to CA?)",
    "CRL published: 14:46:4",
    "Router time: 06:20:0",
    '%PKI-4-CRLINSERTFAIL: Trustpoint "ra" unknown'
    " (error 1804:E_VALIDITY : validity period start later than end)",
    "%PKI-3-CERTIFICATE_INVALID_NOT_YET_VALID: Certificate chain validation has failed.",
)


def test_every_step_and_check_of_the_lab_holds(run: Run) -> None:  # noqa: F811
    checks = run("clock").facts["checks"]
    assert len(checks) > 30 and all(check["passed"] for check in checks)
    assert not Path("/run/ikelab/clock").exists()


def test_the_hub_of_2002_logs_the_lines_of_the_guide_behind_a_star(run: Run) -> None:  # noqa: F811
    lines = run("clock").log("hub").splitlines()
    places = [next(n for n, line in enumerate(lines) if text in line) for text in GUIDE]
    assert places == sorted(places)
    assert all(lines[n].startswith("*Feb  1 06:20:0") for n in places)


def test_the_capture_says_whose_time_its_frames_have(run: Run) -> None:  # noqa: F811
    capture = (run("clock").folder / "clock.pcapng").read_bytes()
    assert b"the time of the lab's clock, which began on 2009-04-02 14:46:41 UTC" in capture
    assert re.search(rb"and was advanced by (39m5\ds|40m) in all", capture)


def test_no_ca_starts_before_it_has_the_date(run: Run) -> None:  # noqa: F811
    for ca in ("root-ca", "ra-subca"):
        log = run("clock").log(ca)
        assert log.index("configured from NTP by 10.254.0.98.") < log.index("CS_ENABLED")


def test_a_clock_without_its_server_is_marked_with_a_dot(run: Run) -> None:  # noqa: F811
    for node in ("root-ca", "ra-subca", "hub", "spoke1"):
        lines = run("clock").log(node).splitlines()
        [lost] = [line for line in lines if "is no source any more" in line]
        assert lost.startswith(".Apr  2 15:")
