"""`ikelab doctor`: what is missing is named with its remedy, and the exit code follows."""

from __future__ import annotations

import json
import os

import pytest
from click.testing import CliRunner

from ikelab.lab import doctor
from ikelab.lab.cli import cli


def findings(**changes: object) -> dict[str, doctor.Finding]:
    return {found.name: found for found in doctor.examine()}


def test_ordinary_users_are_told_to_use_sudo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    found = findings()
    assert found["root"].mark == "MISSING" and found["root"].remedy == "start with sudo"
    assert not doctor.is_able(list(found.values()))


def test_a_program_that_is_not_there_is_no_obstacle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name, path=None: None)
    tshark = findings()["tshark"]
    assert tshark.mark == "-" and tshark.remedy == "apt-get install tshark"


def test_an_import_that_fails_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> None:
        raise AttributeError("module 'lib' has no attribute 'GEN_EMAIL'")

    monkeypatch.setattr("importlib.import_module", broken)
    found = findings()["daemons"]
    assert found.mark == "MISSING" and "GEN_EMAIL" in found.detail


def test_missing_means_exit_code_3(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    done = CliRunner().invoke(cli, ["doctor", "--format", "json"])
    assert done.exit_code == 3
    assert json.loads(done.output)["able"] is False


@pytest.mark.needs_root
def test_every_probe_tries_the_thing_and_leaves_nothing() -> None:
    before = os.listdir("/sys/class/net")
    found = findings()
    assert found["veth links"].present and found["TAP devices"].present
    assert os.listdir("/sys/class/net") == before
    assert doctor.is_able(list(found.values()))


@pytest.mark.needs_root
def test_a_probe_that_fails_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    row = ("veth links", doctor._make_link("nonsense"), True, "modprobe nonsense")
    monkeypatch.setattr(doctor, "_KERNEL", (row,))
    veth = findings()["veth links"]
    assert veth.mark == "MISSING" and veth.remedy == "modprobe nonsense"
    assert veth.detail == "Operation not supported"
