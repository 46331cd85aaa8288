"""A lab's life with real namespaces and forked nodes; a stand-in plays the routers."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ikelab.capture import pcapng
from ikelab.errors import LabError
from ikelab.lab import cli, lifecycle, netns, state, supervisor
from ikelab.lab.topology import Topology, load
from ikelab.runtime.control import ControlClient
from ikelab.runtime.namespace import NAMED, inside
from ikelab.runtime.nodespec import namespace_name
from tests.netns import stand_in
from tests.unit.lab_files import CA, LAB, ROUTER, write_lab

pytestmark = pytest.mark.needs_root

SECONDS = 20.0  # no step of these tests takes a tenth of it


def quiet(text: str) -> None:
    """Progress that nobody reads."""


@pytest.fixture
def name() -> str:
    """A lab's name that no other run of the tests has."""
    return f"life-{os.getpid()}"


@pytest.fixture
def folder(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The small lab under that name, with stand-ins; whatever a test leaves is removed."""
    monkeypatch.setattr(supervisor, "load_mains", stand_in.mains)
    yield write_lab(tmp_path / "lab", LAB.replace("name: small", f"name: {name}"))
    lifecycle.destroy(name)
    assert leftovers(name) == []


@pytest.fixture
def topology(folder: Path) -> Topology:
    return load(folder)


def leftovers(name: str) -> list[str]:
    """Namespaces, directory, locks and processes of a lab."""
    found = list(netns.lab_namespaces(name))
    found += [str(path) for path in (state.run_dir(name),) if path.exists()]
    found += [str(path) for path in state.run_dir(name).parent.glob(f".{name}*")]
    return found


def host_state() -> str:
    """The host's own links, addresses, routes, rules, packet filter and sysctls."""
    commands = ["ip -d link", "ip addr", "ip route show table all", "ip rule", "ip neigh"]
    shown = [
        subprocess.run(command.split(), capture_output=True, text=True, check=True).stdout
        for command in commands
    ]
    if Path("/usr/sbin/nft").exists():
        rules = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True)
        shown.append(rules.stdout)
    for path in sorted(Path("/proc/sys/net/ipv4").rglob("*")):
        if path.is_file() and os.access(path, os.R_OK) and "stat" not in path.name:
            shown.append(f"{path} {path.read_text()}")
    return "\n".join(shown)


def gone(pid: int) -> bool:
    """Whether a process ends (or has ended) in time."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], SECONDS)[0])
    finally:
        os.close(descriptor)


def status(name: str) -> dict[str, dict[str, object]]:
    """The supervisor's word on each node."""
    with ControlClient(state.control_path(name)) as client:
        answer = client.call("status")
    assert isinstance(answer, dict)
    nodes = answer["nodes"]
    assert isinstance(nodes, list)
    return {str(node["name"]): node for node in nodes if isinstance(node, dict)}


def pids(name: str) -> dict[str, int]:
    found = {node: int(str(row["pid"])) for node, row in status(name).items()}
    known = state.read(name)
    assert known is not None and known.supervisor is not None
    return {**found, "supervisor": known.supervisor.pid}


# --- deploy and destroy --------------------------------------------------------------------------


def test_deployed_nodes_answer_and_run_in_their_own_namespaces(topology: Topology) -> None:
    lifecycle.deploy(topology, quiet)
    for node in topology.nodes:
        row = status(topology.name)[node.name]
        assert row["state"] == "running"
        there = os.stat(f"/proc/{row['pid']}/ns/net")
        assert os.path.samestat(there, os.stat(NAMED / node.namespace))
    with ControlClient(topology.node("r1").control_path) as client:
        assert client.exec("show clock") == "r1# show clock"


def test_the_host_is_as_before_while_a_lab_runs_and_after(topology: Topology) -> None:
    before = host_state()
    lifecycle.deploy(topology, quiet)
    assert host_state() == before
    lifecycle.destroy(topology.name)
    assert host_state() == before


def test_the_directory_and_all_in_it_are_private(topology: Topology) -> None:
    lifecycle.deploy(topology, quiet)
    directory = state.run_dir(topology.name)
    assert directory.stat().st_mode & 0o777 == 0o700
    for path in directory.rglob("*"):
        allowed = 0o700 if path.is_dir() else 0o600
        assert path.stat().st_mode & 0o777 == allowed, path


def test_links_have_no_offloads_that_a_capture_would_show(topology: Topology) -> None:
    """A TCP segment larger than the link, or without a checksum, never reaches the bridge."""
    lifecycle.deploy(topology, quiet)
    with ControlClient(state.control_path(topology.name)) as client:
        with inside(namespace_name(topology.name, "r1")):
            subprocess.run(
                ["curl", "-sS", "-T", "-", "ftp://ca:secret-word@192.0.2.9/big.crl"],
                input=os.urandom(100_000),
                check=True,
            )
        client.call("stop")
    path = state.run_dir(topology.name) / "frames/lan.pcapng"
    frames = pcapng.parse(path.read_bytes()).frames
    assert len(frames) > 60
    assert max(len(frame.octets) for frame in frames) == 1514


def test_nothing_but_ipv4_is_on_the_segments(topology: Topology) -> None:
    lifecycle.deploy(topology, quiet)
    lifecycle.stop(topology.name)
    path = state.run_dir(topology.name) / "frames/lan.pcapng"
    kinds = {frame.octets[12:14] for frame in pcapng.parse(path.read_bytes()).frames}
    assert kinds == {b"\x08\x00"}


def test_goodbyes_are_captured_the_last_node_first(topology: Topology) -> None:
    lifecycle.deploy(topology, quiet)
    counts = lifecycle.stop(topology.name)
    path = state.run_dir(topology.name) / "frames/lan.pcapng"
    frames = pcapng.parse(path.read_bytes()).frames
    goodbyes = [frame.octets.rpartition(b" ")[2] for frame in frames if b"goodbye" in frame.octets]
    assert goodbyes == [b"r1", b"ca"]
    assert counts == {"lan": {"frames": len(frames), "dropped": 0}}


def test_destroy_may_be_repeated(topology: Topology) -> None:
    lifecycle.deploy(topology, quiet)
    assert lifecycle.destroy(topology.name) is True
    assert lifecycle.destroy(topology.name) is False


def test_a_lab_is_deployed_once(topology: Topology) -> None:
    lifecycle.deploy(topology, quiet)
    before = pids(topology.name)
    with pytest.raises(LabError, match="is deployed already"):
        lifecycle.deploy(topology, quiet)
    assert pids(topology.name) == before


def test_two_at_once_do_not_deploy_one_lab(topology: Topology) -> None:
    with state.locked([topology.name]):
        with pytest.raises(LabError, match="another ikelab"):
            lifecycle.deploy(topology, quiet)


def test_a_namespace_of_somebody_else_is_not_taken(topology: Topology) -> None:
    """Lab "a-b" with node "c" and lab "a" with node "b-c" would share a name."""
    foreign = f"{topology.name}-x"
    state.write(state.LabState(foreign, "/", (namespace_name(topology.name, "x-y"),)))
    try:
        with netns_named(namespace_name(topology.name, "x-y")) as taken:
            lifecycle.deploy(topology, quiet)
            lifecycle.destroy(topology.name)
            assert (NAMED / taken).exists()
    finally:
        state.forget(foreign)


class netns_named:  # noqa: N801 (reads as a statement)
    """A named namespace for the time of a block."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> str:
        subprocess.run(["ip", "netns", "add", self.name], check=True)
        return self.name

    def __exit__(self, *_: object) -> None:
        subprocess.run(["ip", "netns", "del", self.name], check=True)


# --- what goes wrong -----------------------------------------------------------------------------


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


# --- interruptions -------------------------------------------------------------------------------


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


# --- the command line ----------------------------------------------------------------------------


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
