"""The warning of `grant auto`: who gets a certificate, and what would mend it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ikelab.ios.config_text import parse_config
from ikelab.ios.granting import grant_warnings
from ikelab.lab import cli

SERVER = "ip http port 12345\ncrypto pki server ra-subca\n mode sub-cs\n"


def test_who_grants_by_itself_is_warned_of() -> None:
    [said] = grant_warnings(parse_config(f"{SERVER} grant auto\n"))
    assert said.startswith("crypto pki server ra-subca has `grant auto`: whoever reaches its port")
    assert "12345" in said and "`no grant auto`" in said


@pytest.mark.parametrize("line", ["", " grant auto rollover ca-cert\n"])
def test_who_grants_by_hand_is_not(line: str) -> None:
    assert list(grant_warnings(parse_config(SERVER + line))) == []


def test_deploy_tells_it(capsys: pytest.CaptureFixture[str]) -> None:
    lab = Path(__file__).parents[2] / "netns" / "first-tunnel-manual"
    assert cli._main(["deploy", str(lab), "--dry-run"]) == 0
    warned = [line for line in capsys.readouterr().err.splitlines() if "Warning" in line]
    assert len(warned) == 1 and warned[0].startswith(
        "% Warning: root-ca: crypto pki server root-ca"
    )
