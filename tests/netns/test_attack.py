"""`ikelab attack`: cases against a deployed lab, what is printed, the capture, and no harm done."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command_line import ikelab

pytestmark = [pytest.mark.needs_root, pytest.mark.hostile]
LAB = "first-tunnel"


@pytest.fixture(scope="module")
def lab() -> Iterator[None]:
    ikelab("deploy", LAB)
    yield
    ikelab("destroy", LAB)


def attack(name: str, out: Path) -> dict[str, object]:
    return json.loads(ikelab("attack", "-l", LAB, name, "--out", out, "--format", "json").stdout)


# One of each family, and those that touch the honest peer's tunnel most.
@pytest.mark.parametrize("name", ["B01", "B09", "B12c", "C06", "C11", "D03"])
def test_an_attack_on_a_deployed_lab_is_refused_and_does_no_harm(
    lab: None, name: str, tmp_path: Path
) -> None:
    told = attack(name, tmp_path)
    missed = [step for step in told["steps"] if not step["as_expected"]]
    assert not missed and not told["harm"] and told["steps"]
    assert Path(str(told["capture"])).stat().st_size > 10_000


def test_what_is_printed(lab: None, tmp_path: Path) -> None:
    said = ikelab("attack", "-l", LAB, "short-datagrams", "--out", tmp_path).stdout
    assert "against hub (192.168.159.242:500) of first-tunnel, from spoke1 and a stranger" in said
    assert "ok      27 octets: silence (malformed)" in said
    assert "ok      the honest tunnel carries packets" in said
    assert "Counters raised: malformed 4" in said
    assert "WIRESHARK_CONFIG_DIR=" in said


def test_what_a_deployed_lab_cannot_show_is_left_out_and_said(lab: None, tmp_path: Path) -> None:
    assert "clock" in str(attack("B02", tmp_path)["left_out"])


def test_mistakes_are_told() -> None:
    assert "no attack is called 'A99'" in ikelab("attack", "A99", code=2).stderr
    assert "cannot be played" in ikelab("attack", "F06", code=2).stderr
    assert "which attack?" in ikelab("attack", code=2).stderr


def test_the_list_names_every_case_without_a_lab() -> None:
    listed = json.loads(ikelab("attack", "--list", "--format", "json").stdout)
    assert {"A01", "B14", "C13", "D03", "F06"} <= {row["id"] for row in listed}
    assert all(row["what is sent"] and row["precedent"] for row in listed)
