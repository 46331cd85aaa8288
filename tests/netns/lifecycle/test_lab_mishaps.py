"""Nodes that fall over, killed processes, lost files and interruptions: nothing stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ikelab.errors import LabError
from ikelab.lab import cli, lifecycle, netns, state, supervisor
from ikelab.lab.topology import Topology, load
from ikelab.runtime.control import ControlClient
from ikelab.runtime.namespace import NAMED
from tests.netns.lifecycle.lab_state import SECONDS, gone, leftovers, pids, quiet, status
from tests.unit.lab_files import ROUTER

pytestmark = pytest.mark.needs_root


# --- what goes wrong ------------------------------------------------------------------------------


def test_a_node_that_falls_over_while_starting_is_told_with_its_last_words(
    folder: Path, name: str
) -> None:
    (folder / "configs/r1.cfg").write_text(
        ROUTER.format(name="r1", address="192.0.2.2", more="! CRASH")
    )
    with pytest.raises(LabError, match="r1 exited with code 1 while starting") as caught:
        lifecycle.deploy(load(folder), quiet)
    assert "this node falls over" in str(caught.value)
    assert leftovers(name) == []


def test_a_node_that_dies_later_is_shown_and_the_others_go_on(topology: Topology) -> None:
    lifecycle.deploy(topology, quiet)
    with ControlClient(topology.node("r1").control_path) as client:
        with pytest.raises(LabError, match="hung up"):
            client.exec("die")
    assert gone(int(str(status(topology.name)["r1"]["pid"])))
    states = {node: row["state"] for node, row in status(topology.name).items()}
    assert states == {"disk": "running", "ca": "running", "r1": "exited with code 3"}


def test_a_node_that_does_not_stop_is_killed(
    folder: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "_STOP_SECONDS", 0.2)
    (folder / "configs/r1.cfg").write_text(
        ROUTER.format(name="r1", address="192.0.2.2", more="! HANG")
    )
    lifecycle.deploy(load(folder), quiet)
    victim = pids(name)["r1"]
    lifecycle.stop(name)
    assert gone(victim)


@pytest.mark.parametrize("victim", ["disk", "r1", "supervisor"])
def test_kill_9_of_any_process_leaves_nothing_after_destroy(
    topology: Topology, victim: str
) -> None:
    lifecycle.deploy(topology, quiet)
    everybody = pids(topology.name)
    os.kill(everybody[victim], signal.SIGKILL)
    assert gone(everybody[victim])
    assert lifecycle.destroy(topology.name)
    assert all(gone(pid) for pid in everybody.values())
    assert leftovers(topology.name) == []


def test_nodes_die_with_their_supervisor(topology: Topology) -> None:
    lifecycle.deploy(topology, quiet)
    everybody = pids(topology.name)
    os.kill(everybody["supervisor"], signal.SIGKILL)
    assert all(gone(pid) for pid in everybody.values())


def test_a_killed_lab_can_be_deployed_again(topology: Topology) -> None:
    lifecycle.deploy(topology, quiet)
    first = pids(topology.name)
    os.kill(first["supervisor"], signal.SIGKILL)
    assert gone(first["supervisor"])
    lifecycle.deploy(topology, quiet)
    assert set(pids(topology.name).values()).isdisjoint(first.values())


def test_destroy_goes_by_the_names_when_the_state_file_is_lost(topology: Topology) -> None:
    lifecycle.deploy(topology, quiet)
    everybody = pids(topology.name)
    state.forget(topology.name)
    assert lifecycle.destroy(topology.name)
    assert all(gone(pid) for pid in everybody.values())
    assert leftovers(topology.name) == []


def test_a_foreign_process_in_a_namespace_is_ended_too(topology: Topology) -> None:
    lifecycle.deploy(topology, quiet)
    command = ["ip", "netns", "exec", topology.node("r1").namespace, "sleep", "1000"]
    with subprocess.Popen(command) as sleeper:
        # It is in the namespace as soon as it is no longer `ip` in ours.
        wait_until(lambda: netns.processes_in([topology.node("r1").namespace]), sleeper.pid)
        lifecycle.destroy(topology.name)
        assert sleeper.wait(SECONDS) == -signal.SIGTERM


def wait_until(listed: Callable[[], tuple[int, ...]], pid: int) -> None:
    """Until a process is listed."""
    deadline = time.monotonic() + SECONDS
    while pid not in listed():
        assert time.monotonic() < deadline
        os.sched_yield()


def test_half_a_name_left_by_a_crash_is_removed(topology: Topology) -> None:
    """`ip netns add` makes the file first and mounts the namespace on it later."""
    NAMED.mkdir(exist_ok=True)
    (NAMED / topology.node("r1").namespace).touch()
    lifecycle.deploy(topology, quiet)
    assert status(topology.name)["r1"]["state"] == "running"


def test_without_rights_one_is_told_to_use_sudo(
    topology: Topology, capfd: pytest.CaptureFixture[str]
) -> None:
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.setuid(65534)
            lifecycle.deploy(topology, quiet)
        except LabError as error:
            os.write(2, str(error).encode())
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0
    assert "start it with sudo" in capfd.readouterr().err


# --- interruptions --------------------------------------------------------------------------------


def run_cli(folder: Path, arguments: list[str], *, until: str) -> int:
    """Fork the command line; return its id when its progress has said `until`."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            os.close(reading)
            sys.stdout = sys.stderr = open(writing, "w", buffering=1)
            os.chdir(folder)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            cli.main(arguments)
        except SystemExit as leaving:
            code = leaving.code if isinstance(leaving.code, int) else 98
        finally:
            os._exit(code)
    os.close(writing)
    with open(reading, encoding="utf-8") as stream:
        said = []
        while until not in (line := stream.readline()):
            said.append(line)
            assert line, f"it ended: {said}"
    return pid


def slow_checks(folder: Path) -> None:
    """A check that waits for what never comes, so that an interruption finds it at work."""
    lab = (folder / "lab.yaml").read_text().partition("trust:")[0]
    wait = "checks:\n  - wait: {node: disk, for: ready}\n"
    (folder / "lab.yaml").write_text(lab + wait.replace("disk, for: ready", "r1, for: enrolled"))


@pytest.mark.parametrize("until", ["wired", "answer"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_an_interrupted_run_leaves_nothing(
    folder: Path, name: str, until: str, number: signal.Signals
) -> None:
    slow_checks(folder)
    pid = run_cli(folder, ["run"], until=until)
    known = state.read(name)
    os.kill(pid, number)
    assert gone(pid)
    os.waitpid(pid, 0)
    if known is not None and known.supervisor is not None:
        assert gone(known.supervisor.pid)  # where nobody else could, it removes the lab itself
    assert leftovers(name) == []


def test_two_interruptions_do_not_break_the_cleaning(folder: Path, name: str) -> None:
    slow_checks(folder)
    pid = run_cli(folder, ["run"], until="answer")
    for _ in range(5):
        os.kill(pid, signal.SIGINT)
    assert gone(pid)
    os.waitpid(pid, 0)
    assert leftovers(name) == []
