"""`run`, `deploy`, `exec`, `list`, `destroy` at the command line, and the captures they leave."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ikelab.capture import pcapng
from ikelab.lab import cli
from tests.netns.lifecycle.lab_state import leftovers, status
from tests.unit.lab_files import CA

pytestmark = pytest.mark.needs_root


@pytest.fixture
def ikelab(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """`ikelab(...)` in the lab's folder, as a function that returns the exit code."""
    monkeypatch.chdir(folder)
    lab = (
        (folder / "lab.yaml")
        .read_text()
        .replace("trust:\n  - {node: r1, trustpoint: ra, ca: ca}\n", "")
    )
    (folder / "lab.yaml").write_text(lab)
    return lambda *arguments: cli._main(arguments)


def test_run_checks_captures_and_removes(
    ikelab: Callable[..., int], folder: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ikelab("run", "--format", "json") == 0
    out = folder / f"captures/{name}/latest"
    summary = json.loads(capsys.readouterr().out)
    assert summary["passed"] is True
    assert [check["detail"] for check in summary["checks"]] == ["5 of 5 answered"]
    assert summary["capture"]["path"] == str(out / f"{name}.pcapng")
    assert b"goodbye from r1" in (out / f"{name}.pcapng").read_bytes()
    assert (out / "logs/r1.log").exists()
    assert leftovers(name) == []


def test_run_with_a_failed_check_says_so_and_returns_1(
    ikelab: Callable[..., int], folder: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with (folder / "lab.yaml").open("a") as lab:
        lab.write("  - show-contains: {node: r1, command: show crypto isakmp sa, text: QM_IDLE}\n")
    assert ikelab("run", "--out", "there") == 1
    printed = capsys.readouterr()
    assert "FAILED" in printed.out
    assert (
        f"WIRESHARK_CONFIG_DIR=there/{name}.wireshark wireshark there/{name}.pcapng" in printed.out
    )
    assert leftovers(name) == []


def test_kept_lab_stays_and_can_be_looked_at(
    ikelab: Callable[..., int], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ikelab("run", "--keep") == 0
    capsys.readouterr()
    assert ikelab("inspect", name, "--format", "json") == 0
    nodes = json.loads(capsys.readouterr().out)["nodes"]
    assert [(node["name"], node["state"]) for node in nodes] == [
        ("disk", "running"),
        ("ca", "running"),
        ("r1", "running"),
    ]
    assert nodes[2]["reached"] == ["tunnel-up"]
    assert nodes[2]["addresses"] == ["192.0.2.2/24"]
    assert ikelab("exec", "--lab", name, "r1", "show", "clock") == 0
    assert capsys.readouterr().out == "r1# show clock\n"
    assert ikelab("exec", "--lab", name, "r9", "show", "clock") == 2
    assert "no node 'r9'" in capsys.readouterr().err
    assert ikelab("destroy", name) == 0
    assert ikelab("inspect", name) == 3


def test_deploy_then_list_then_destroy(
    ikelab: Callable[..., int], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ikelab("deploy") == 0
    assert ikelab("list", "--format", "json") == 0
    rows = {row["name"]: row["state"] for row in json.loads(capsys.readouterr().out)}
    assert rows[name] == "deployed"
    assert ikelab("destroy", ".") == 0
    assert leftovers(name) == []


def test_deploy_whose_enrollment_fails_stays_to_be_looked_at(
    ikelab: Callable[..., int],
    folder: Path,
    name: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with (folder / "lab.yaml").open("a") as lab:
        lab.write("trust:\n  - {node: r1, trustpoint: ra, ca: ca}\n")
    assert ikelab("deploy") == 1
    told = capsys.readouterr().err
    assert "ca shows no CA certificate fingerprint" in told
    assert "The lab stays deployed" in told
    assert status(name)["r1"]["state"] == "running"


def test_captures_belong_to_the_user_behind_sudo(
    ikelab: Callable[..., int], folder: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUDO_UID", "65534")
    monkeypatch.setenv("SUDO_GID", "65533")
    assert ikelab("run") == 0
    captures = folder / "captures"
    for path in (captures, *captures.rglob("*")):
        assert (path.stat().st_uid, path.stat().st_gid) == (65534, 65533), path
        if path.is_file():
            assert path.stat().st_mode & 0o777 == 0o600


def test_an_older_capture_is_replaced_and_a_link_is_not_followed(
    ikelab: Callable[..., int], folder: Path, name: str
) -> None:
    out = folder / "out"
    out.mkdir()
    (folder / "victim").write_text("mine")
    (out / f"{name}.pcapng").symlink_to(folder / "victim")
    assert ikelab("run", "--out", "out") == 0
    assert ikelab("run", "--out", "out") == 0
    assert (folder / "victim").read_text() == "mine"
    assert pcapng.parse((out / f"{name}.pcapng").read_bytes()).frames


def test_capture_of_a_lab_opens_without_a_warning(
    ikelab: Callable[..., int], folder: Path, name: str, need: Callable[[str], str]
) -> None:
    assert ikelab("run", "--out", "out") == 0
    command = [need("tshark"), "-r", f"out/{name}.pcapng", "-T", "fields", "-e", "frame.number"]
    environment = {**os.environ, "WIRESHARK_CONFIG_DIR": str(folder / f"out/{name}.wireshark")}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)
    assert done.returncode == 0
    assert "Warn" not in done.stderr and "error" not in done.stderr.lower()
    assert len(done.stdout.split()) > 1


def test_configuration_that_is_wrong_is_told_before_anything_is_made(
    ikelab: Callable[..., int], folder: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "configs/ca.cfg").write_text(CA.replace("hostname", "frobnicate"))
    assert ikelab("run") == 2
    assert "configs/ca.cfg:1:1:" in capsys.readouterr().err
    assert leftovers(name) == []
