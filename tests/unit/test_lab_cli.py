"""The command line without a lab: help, exit codes, finding labs, what is printed where."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from ikelab.errors import ConfigError, LabError
from ikelab.lab import cli, find, lifecycle, netns, report, state
from ikelab.lab.deployed import deployed_lab
from ikelab.lab.record import Capture
from ikelab.lab.steps import Result
from ikelab.runtime import nodespec
from tests.unit.lab_files import CA, LAB, write_lab

REPOSITORY = Path(__file__).parents[2]
COMMANDS = ("deploy", "destroy", "run", "inspect", "exec", "configure", "list", "doctor")


@pytest.fixture(autouse=True)
def nothing_deployed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Labs that really run on this machine are none of these tests' business."""
    monkeypatch.setattr(nodespec, "RUN_DIRECTORY", tmp_path / "run")
    monkeypatch.setattr(lifecycle, "check_rights", lambda: None)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory to call from."""
    directory = tmp_path / "here"
    directory.mkdir()
    monkeypatch.chdir(directory)
    return directory


# --- usage ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], *([c, "--help"] for c in COMMANDS)])
def test_help_is_printed(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli._main(arguments) == 0
    printed = capsys.readouterr()
    assert "Usage: ikelab" in printed.out
    assert printed.err == ""


def test_every_command_has_help_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli._main(["--help"]) == 0
    shown = capsys.readouterr().out
    for command in cli.cli.commands:
        assert command in shown
        assert cli.cli.commands[command].help


@pytest.mark.parametrize(
    "arguments",
    [
        ["reboot"],
        ["run", "--nope"],
        ["run", "a", "b"],
        ["exec", "hub"],
        ["configure"],
        ["list", "--format", "xml"],
        ["destroy", "--all", "first-tunnel"],
        ["run", "no-such-lab"],
    ],
)
def test_mistakes_of_usage_are_told_on_stderr_with_code_2(
    arguments: list[str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli._main(arguments) == cli.USAGE
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err


@pytest.mark.parametrize(
    "arguments",
    [["inspect"], ["exec", "hub", "show", "clock"], ["configure", "hub", "hostname x"]],
)
def test_nothing_deployed_is_told_with_code_3(
    arguments: list[str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli._main(arguments) == cli.ENVIRONMENT
    assert "no lab is deployed\n  `ikelab deploy LAB` makes one" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["destroy"], ["destroy", "--all"]])
def test_destroying_may_be_repeated(
    arguments: list[str],
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(netns, "lab_namespaces", tuple)
    assert cli._main(arguments) == cli.OK
    assert capsys.readouterr().err == "there is nothing to remove\n"


def test_a_lab_that_was_not_there_is_told_with_those_that_are(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (nodespec.RUN_DIRECTORY / "first-tunnel").mkdir(parents=True)
    assert cli._main(["destroy", "first-tunel"]) == cli.OK
    assert capsys.readouterr().err == "first-tunel was not there (deployed: first-tunnel)\n"


def test_messages_name_commands_as_they_were_typed(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("IKELAB_STARTED_AS", "sudo ./netns/lab")
    assert cli._main(["inspect"]) == cli.ENVIRONMENT
    assert "\n  `sudo ./netns/lab deploy LAB` makes one" in capsys.readouterr().err
    assert cli._main(["inspect", "--help"]) == cli.OK
    assert "Usage: sudo ./netns/lab inspect [OPTIONS]" in capsys.readouterr().out
    assert cli._main(["--version"]) == cli.OK
    assert capsys.readouterr().out.startswith("ikelab, version ")


def test_errors_of_a_lab_are_told_one_a_line(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_lab(here, LAB.replace("192.0.2.9", "x"), ca=CA.replace("hostname", "frobnicate"))
    assert cli._main(["deploy"]) == cli.USAGE
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and all(line.startswith("% ") for line in lines)


def test_what_a_console_has_said_is_printed_as_it_said_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    cli.tell(" hub#frob\n     ^\n% Invalid input detected at '^' marker.")
    said = capsys.readouterr().err
    assert said == " hub#frob\n     ^\n% Invalid input detected at '^' marker.\n"


def test_terminal_escapes_in_a_file_are_not_printed(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_lab(here, LAB.replace("kind: router", 'kind: "\\e]0;owned\\a"'))
    assert cli._main(["deploy"]) == cli.USAGE
    assert "\x1b" not in capsys.readouterr().err


def test_ctrl_c_is_code_130(monkeypatch: pytest.MonkeyPatch, here: Path) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(find, "find", interrupt)
    assert cli._main(["run"]) == 130


LOADING = """
import os, signal, sys
class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == "ikelab.lab.cli":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupt())
from ikelab.lab.__main__ import main
main()
"""


def test_ctrl_c_while_the_program_loads_leaves_no_traceback() -> None:
    done = subprocess.run([sys.executable, "-c", LOADING], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")


def test_closed_pipe_is_no_error(here: Path) -> None:
    """`ikelab deploy --dry-run | head -1` ends quietly."""
    command = f"{sys.executable} -m ikelab.lab deploy --dry-run first-tunnel-psk | head -n 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, cwd=REPOSITORY)
    assert done.stdout == "namespace ikelab-first-tunnel-psk-switch\n"
    assert done.stderr == ""


def test_dry_run_prints_the_plan_and_makes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli._main(["deploy", "--dry-run", str(REPOSITORY / "netns/first-tunnel")]) == 0
    golden = (REPOSITORY / "tests/golden/plan/first-tunnel.txt").read_text()
    assert capsys.readouterr().out == golden


def test_options_can_be_given_by_the_environment(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], here: Path
) -> None:
    monkeypatch.setenv("IKELAB_DEPLOY_DRY_RUN", "1")
    monkeypatch.setenv("IKELAB_FORMAT", "json")
    assert cli._main(["deploy", "first-tunnel"]) == 0
    assert "namespace ikelab-first-tunnel-switch" in capsys.readouterr().out
    assert cli._main(["list"]) == 0
    listed = [row["name"] for row in json.loads(capsys.readouterr().out)]
    assert "first-tunnel" in listed


def test_a_lab_is_not_taken_for_a_leftover_by_whoever_may_not_look(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`list` needs no sudo, but the state of a lab is root's."""
    (nodespec.RUN_DIRECTORY / "first-tunnel").mkdir(parents=True)
    assert cli._main(["list"]) == cli.OK
    assert "left over" in capsys.readouterr().out
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert cli._main(["list"]) == cli.OK
    assert "seen by root" in capsys.readouterr().out


def test_a_full_disk_is_told_before_anything_is_made(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=100 << 10))
    assert cli._main(["deploy", "first-tunnel-psk"]) == cli.ENVIRONMENT
    assert f"% {nodespec.RUN_DIRECTORY} has only 100 KB left\n" in capsys.readouterr().err
    assert state.labs() == ()


def test_explain_of_a_deployed_lab_needs_root(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse() -> None:
        raise LabError("network namespaces need root", hint="start it with sudo")

    (nodespec.RUN_DIRECTORY / "first-tunnel").mkdir(parents=True)
    monkeypatch.setattr(lifecycle, "check_rights", refuse)
    assert cli._main(["explain", "hub"]) == cli.ENVIRONMENT
    assert "start it with sudo" in capsys.readouterr().err


def test_list_shows_a_faulty_lab_as_faulty(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_lab(here / "netns/broken", "name: broken\n")
    assert cli._main(["list", "--format", "json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["broken"]["state"] == "faulty"
    assert rows["first-tunnel"]["state"] == "-"


# --- finding labs --------------------------------------------------------------------------------


def test_a_lab_is_found_by_name_path_file_or_place(here: Path) -> None:
    folder = write_lab(here / "netns/mine")
    assert find.find("mine", here) == folder
    assert find.find("netns/mine", here) == folder
    assert find.find("netns/mine/lab.yaml", here) == folder
    assert find.find(str(folder), Path("/")) == folder
    assert find.find(None, folder) == folder
    assert find.find(".", folder) == folder


def test_labs_of_the_project_are_found_from_anywhere() -> None:
    assert find.find("first-tunnel", Path("/")) == REPOSITORY / "netns/first-tunnel"


def test_a_lab_here_goes_before_one_of_the_project(here: Path) -> None:
    mine = write_lab(here / "netns/first-tunnel")
    assert find.find("first-tunnel", here) == mine


def test_unknown_lab_is_told_with_the_nearest(here: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"no lab 'first-tunel' \(did you mean 'first-tunnel'\?\)"
    ):
        find.find("first-tunel", here)
    with pytest.raises(ConfigError, match="there is no lab.yaml here .*first-tunnel"):
        find.find(None, here)
    (here / "mine").mkdir()
    with pytest.raises(ConfigError, match=r"there is no lab.yaml in \./mine$"):
        find.find("./mine", here)


def test_captures_go_beside_the_labs_or_here(here: Path) -> None:
    own = here / "elsewhere/lab"
    assert find.default_out(REPOSITORY / "netns/x", here, "x") == REPOSITORY / "captures/x/latest"
    assert find.default_out(own, here, "x") == here / "captures/x/latest"
    packaged = REPOSITORY / "ikelab/netns/x"
    assert find.default_out(packaged, here, "x") == here / "captures/x/latest"


# --- what is printed -----------------------------------------------------------------------------


SNAPSHOT: report.Snapshot = {
    "certificates": [
        {
            "kind": "ROUTER",
            "serial": 10,
            "subject": ["hostname=hub.example"],
            "issuer": ["cn=ra-subca"],
            "trustpoints": ["ra"],
        },
        {"kind": "CA", "serial": 2, "subject": [], "issuer": [], "trustpoints": ["ra"]},
    ],
    "isakmp_sas": [{"remote": "192.0.2.2", "initiator": True, "state": "QM_IDLE", "conn_id": 1001}],
    "ipsec_sas": [
        {
            "interface": "Tunnel1",
            "remote": "192.0.2.2",
            "transform": {"name": "AES_SHA256"},
            "inbound_spi": 0x1234,
            "outbound_spi": 0xFFFFFFFF,
            "encaps": 5,
            "decaps": 4,
        }
    ],
}


def summary(*results: Result) -> report.Summary:
    capture = Capture(
        path=Path("/tmp/a b/lab.pcapng"),
        wireshark=Path("/tmp/a b/lab.wireshark"),
        frames=7,
        dropped=1,
        ike_keys=1,
        esp_keys=2,
    )
    return report.Summary(
        "lab",
        "a title",
        tuple(report.enrollments("hub", SNAPSHOT)),
        tuple(report.phase1("hub", SNAPSHOT)),
        tuple(report.phase2("hub", SNAPSHOT)),
        results,
        capture,
    )


def printed(what: report.Summary) -> str:
    stream = io.StringIO()
    report.print_summary(what, report.stdout_console(stream))
    return stream.getvalue()


def test_summary_says_who_is_certified_by_whom_what_is_up_and_where_the_capture_is() -> None:
    text = printed(summary(Result("a check", True, "seen")))
    for part in (
        "0A",
        "hostname=hub.example",
        "cn=ra-subca",
        "QM_IDLE",
        "initiator",
        "0x00001234",
        "0xFFFFFFFF",
        "AES_SHA256",
        "7 frames, 1 LOST, keys of 1 IKE and 2 ESP SAs",
        "WIRESHARK_CONFIG_DIR='/tmp/a b/lab.wireshark' wireshark '/tmp/a b/lab.pcapng'",
    ):
        assert part in text
    assert "FAILED" not in text


def test_paths_below_here_are_shown_as_one_types_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir("/tmp")
    what = summary(Result("a check", True, "seen"))
    assert "WIRESHARK_CONFIG_DIR='a b/lab.wireshark' wireshark 'a b/lab.pcapng'" in printed(what)
    assert report.summary_json(what)["capture"]["path"] == "/tmp/a b/lab.pcapng"
    monkeypatch.chdir(REPOSITORY)
    assert cli._main(["list"]) == cli.OK
    assert f"{REPOSITORY}/netns" not in capsys.readouterr().out


def test_summary_for_programs_has_the_same() -> None:
    plain = json.loads(json.dumps(report.summary_json(summary(Result("a check", False, "seen")))))
    assert plain["passed"] is False
    assert plain["enrollments"][0]["serial"] == "0A"
    assert len(plain["enrollments"]) == 1  # the CA's own certificate was not issued to the hub
    assert plain["isakmp_sas"][0]["state"] == "QM_IDLE"
    assert plain["ipsec_sas"][0]["encaps"] == 5
    assert plain["checks"] == [{"title": "a check", "passed": False, "detail": "seen"}]
    assert plain["capture"]["frames"] == 7
    assert plain["capture"]["open"].startswith("WIRESHARK_CONFIG_DIR=")


def test_what_a_peer_wrote_cannot_drive_the_terminal() -> None:
    hostile = "\x1b[2J\x07[red]bold[/red]\u202eevil\r\x9b"
    text = printed(summary(Result(hostile, True, hostile)))
    assert "\x1b" not in text and "\x07" not in text and "\u202e" not in text and "\r" not in text
    assert "[red]bold[/red]" in text  # and it is no markup


def test_snapshot_of_another_shape_shows_dashes_rather_than_failing() -> None:
    odd: report.Snapshot = {"isakmp_sas": [{}, 3], "ipsec_sas": "none", "certificates": None}
    assert [row.peer for row in report.phase1("hub", odd)] == ["-"]
    assert list(report.phase2("hub", odd)) == list(report.enrollments("hub", odd)) == []


@pytest.mark.parametrize(
    ("arguments", "wanted"), [(["--version"], "ikelab"), (["run", "--help"], "captures/LAB/latest")]
)
def test_entry_point_runs_as_a_program(arguments: list[str], wanted: str) -> None:
    command = [sys.executable, "-m", "ikelab.lab", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY)
    assert done.returncode == 0
    assert wanted in done.stdout


def test_deployed_lab_must_be_named_when_there_are_several(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "labs", lambda: ("one", "two"))
    with pytest.raises(ConfigError, match="which lab.*name one, at a node with --lab"):
        deployed_lab(None)
    assert deployed_lab("two") == "two"
    with pytest.raises(LabError, match="three is not deployed"):
        deployed_lab("three")
