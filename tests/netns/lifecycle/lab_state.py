"""What is left of a lab, what its supervisor says of it, and whether a process ends."""

from __future__ import annotations

import os
import select

from ikelab.lab import netns, state
from ikelab.runtime.control import ControlClient

SECONDS = 20.0  # no step of these tests takes a tenth of it


def quiet(text: str) -> None:
    """Progress that nobody reads."""


def leftovers(name: str) -> list[str]:
    """Namespaces, directory, locks and processes of a lab."""
    found = list(netns.lab_namespaces(name))
    found += [str(path) for path in (state.run_dir(name),) if path.exists()]
    found += [str(path) for path in state.run_dir(name).parent.glob(f".{name}*")]
    return found


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
