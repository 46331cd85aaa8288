"""A lab deployed and destroyed: real namespaces, forked nodes, and the host as it was."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from ikelab.capture import pcapng
from ikelab.errors import LabError
from ikelab.lab import lifecycle, state
from ikelab.lab.topology import Topology
from ikelab.runtime.control import ControlClient
from ikelab.runtime.namespace import NAMED, inside
from ikelab.runtime.nodespec import namespace_name
from tests.netns.lifecycle.lab_state import pids, quiet, status

pytestmark = pytest.mark.needs_root


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
