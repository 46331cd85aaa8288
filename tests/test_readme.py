"""The README is true: its commands exist, its labs and links are there, its output is a run's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest
from click.testing import CliRunner

from ikelab.ios.log_isakmp import Dialect
from ikelab.lab.checks import CHECKS, CONDITIONS
from ikelab.lab.cli import cli
from ikelab.runtime.nodespec import NodeKind
from tests.hostile.registry import cases

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
LABS = (ROOT / "netns" / "README.md").read_text()
COMMANDS = re.findall(r"^    sudo \./netns/lab (.+)$", README, re.MULTILINE)
SCRIPT_VERBS = {"test", "bench", "python"}  # netns/lab's own


def test_the_two_commands_lead() -> None:
    assert COMMANDS[:2] == ["run first-tunnel", "test"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_shown_is_one(command: str) -> None:
    verb = command.split()[0]
    if verb in SCRIPT_VERBS:
        assert f"  {verb} " in (ROOT / "netns" / "lab").read_text()
        return
    assert CliRunner().invoke(cli, [verb, "--help"]).exit_code == 0


def test_every_lab_is_in_the_table_and_every_row_is_a_lab() -> None:
    rows = set(re.findall(r"^\| \[`([\w-]+)`\]\(netns/", README, re.MULTILINE))
    assert rows == {path.parent.name for path in (ROOT / "netns").glob("*/lab.yaml")}


def test_every_link_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if "://" not in target:
            assert (ROOT / target).exists(), target


def test_every_place_that_is_named_is_there() -> None:
    """Files and folders of the project in code quotes, in both READMEs."""
    named = set(re.findall(r"`((?:ikelab|netns|tests|captures)/[\w./-]+)`", README + LABS))
    assert len(named) > 10
    for path in named:
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize(
    "words",
    [
        *(f"`{name}: " for name in CHECKS),
        *(f"`{name}`" for name in CONDITIONS),
        *(f"`{kind.value}`" for kind in NodeKind),
        *(f'"{dialect}"' for dialect in get_args(Dialect)),
    ],
)
def test_the_labs_readme_has_what_a_lab_file_may_hold(words: str) -> None:
    assert words in LABS


@pytest.mark.parametrize(
    "line",
    [
        "hub     192.168.159.250  responder  QM_IDLE  1001",
        "ok  spoke1 reaches 20.0.0.4 from 20.0.0.5                5 of 5 answered",
        "Open it decrypted:",
    ],
)
def test_the_output_shown_has_the_lines_a_run_prints(line: str) -> None:
    assert line in README


def test_top_level_holds_what_the_project_is_made_of() -> None:
    there = {
        path.name
        for path in ROOT.iterdir()
        if not path.name.startswith(".") and not path.name.endswith(".egg-info")
    }
    assert there == {
        "pyproject.toml",
        "ikelab",
        "netns",
        "captures",
        "tests",
        "README.md",
        "LICENSE",
    }


def test_it_counts_the_hostile_cases() -> None:
    found = cases()
    on_ike = [case for case in found if case.target is None]  # they take any hub
    assert f"{len(found)} hostile cases" in README
    assert f"any of the {len(on_ike)} on IKE" in README
