"""Deploying a lab and removing it: the only place that does either.

`deploy` forks the supervisor first, so that it imports while the namespaces are made. Whatever
goes wrong on the way, and whoever interrupts it, everything made so far is removed again.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import FrameType

from ikelab.errors import LabError
from ikelab.lab import state, supervisor
from ikelab.lab.plan import make_plan, namespaces_of
from ikelab.lab.state import LabState, Process
from ikelab.lab.topology import Topology
from ikelab.runtime.control import ControlClient, Json

Progress = Callable[[str], None]

_CAP_SYS_ADMIN = 21  # linux/capability.h: making and entering namespaces
_CAP_NET_ADMIN = 12
_STOP_SECONDS = 120.0  # for a whole lab to say goodbye; each node is killed after its own 5


def deploy(topology: Topology, progress: Progress) -> None:
    """Make and start a lab that stays. Raises LabError, with nothing left behind."""
    with deployed(topology, progress):
        pass


@contextmanager
def deployed(topology: Topology, progress: Progress, *, tied: bool = False) -> Iterator[None]:
    """A block with the lab at work. It stays afterwards, but when the block ends by an exception,
    an interruption too, nothing of it does. Raises LabError where it cannot be made.

    tied: the lab is also removed when this process is killed, by its supervisor.
    """
    check_rights()
    ours = False
    try:
        with state.locked([topology.name]):
            known = state.read(topology.name)
            if known is not None and known.is_running:
                raise LabError(
                    f"{topology.name} is deployed already",
                    hint=f"`ikelab inspect {topology.name}` shows it, `ikelab destroy` removes it",
                )
            ours = True
            _remove(topology.name)  # what a killed process may have left
            _build(topology, progress, tied)
        yield
    except BaseException:
        if ours:
            with _unbroken(), state.locked([topology.name], wait=True):
                _remove(topology.name)
        raise


def _build(topology: Topology, progress: Progress, tied: bool) -> None:
    from ikelab.lab import netns  # pyroute2: after the fork it loads beside the supervisor's scapy

    folder = str(topology.folder.resolve())
    known = LabState(topology.name, folder, namespaces_of(topology))
    state.write(known)
    state.check_room()
    started = time.monotonic()
    built, ready, pid = _fork_supervisor(topology, known, tied)
    netns.apply(make_plan(topology))
    progress(f"{len(topology.nodes)} nodes on {len(topology.segments)} segments are wired")
    os.write(built, b"\n")
    os.close(built)
    _await(ready, pid)
    progress(f"all nodes answer after {time.monotonic() - started:.1f} s")


def _fork_supervisor(topology: Topology, known: LabState, tied: bool) -> tuple[int, int, int]:
    """(descriptor to say "built" on, descriptor to hear "ready" on, process id)."""
    built_read, built_write = os.pipe()
    ready_read, ready_write = os.pipe()
    lifeline_read, lifeline_write = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    # A Ctrl-C must find the child in a session of its own, and its id in the state file.
    held = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            log = state.run_dir(topology.name) / f"{state.SUPERVISOR}.log"
            supervisor.detach(log, built_read, ready_write, lifeline_read)
            signal.pthread_sigmask(signal.SIG_SETMASK, held)
            lifeline = lifeline_read if tied else None
            supervisor.serve(
                topology, built_read, ready_write, lifeline, lambda: _undo(topology.name)
            )
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    for descriptor in (built_read, ready_write, lifeline_read):
        os.close(descriptor)
    state.write(replace(known, supervisor=Process.of(pid)))
    signal.pthread_sigmask(signal.SIG_SETMASK, held)
    if not tied:
        os.close(lifeline_write)  # else it stays open, unused, until this process ends
    return built_write, ready_read, pid


def _await(ready: int, pid: int) -> None:
    """Until the supervisor says that all is well. LabError if not."""
    answer = b""
    while chunk := os.read(ready, 65536):
        answer += chunk
    os.close(ready)
    try:
        said = json.loads(answer)
    except ValueError as error:
        status = supervisor.describe_status(os.waitpid(pid, 0)[1])
        raise LabError(f"the supervisor {status} while starting") from error
    if not said["ok"]:
        raise LabError(said["reason"], hint=said["hint"])


def flush(lab: str) -> Json:
    """Have what was captured so far written down. The counters, by segment."""
    with ControlClient(state.control_path(lab)) as client:
        return client.call("flush")


def stop(lab: str) -> Json:
    """Stop the nodes, the last one first, and the capture. The counters, by segment."""
    with ControlClient(state.control_path(lab), timeout=_STOP_SECONDS) as client:
        return client.call("stop")


def destroy(lab: str) -> bool:
    """Remove a lab or what is left of it; False where there was nothing. LabError if it cannot."""
    check_rights()
    with state.locked([lab]), _unbroken():
        return _remove(lab)


def _undo(lab: str) -> None:
    """What a supervisor does when the process that wanted the lab is gone.

    A killed process closes its pipes a moment before it gives its lock back: so this waits.
    """
    with state.locked([lab], wait=True):
        _remove(lab)


def _remove(lab: str) -> bool:
    """End its processes, delete its namespaces, then forget it. May be repeated at any point."""
    from ikelab.lab import netns

    known = state.read(lab)
    others = _claimed_by_others(lab)
    namespaces = dict.fromkeys(known.namespaces if known else ())
    namespaces |= dict.fromkeys(netns.lab_namespaces(lab))
    if known and known.is_running and known.supervisor and known.supervisor.pid != os.getpid():
        netns.end_processes([known.supervisor.pid], grace=_STOP_SECONDS)
        with suppress(ChildProcessError):  # it is ours to reap only where we forked it
            os.waitpid(known.supervisor.pid, 0)
    there = netns.remove([name for name in namespaces if name not in others])
    existed = state.run_dir(lab).exists()
    state.forget(lab)
    return bool(there) or existed


def _claimed_by_others(lab: str) -> set[str]:
    """Namespaces of other labs: "a-b" of a lab "a" would else be taken for one of lab "a-b"."""
    states = (state.read(name) for name in state.labs() if name != lab)
    return {namespace for known in states if known for namespace in known.namespaces}


def everything() -> tuple[str, ...]:
    """All labs there are, with or without a state file."""
    from ikelab.lab import netns

    names = set(state.labs())
    claimed = {ns for name in names if (known := state.read(name)) for ns in known.namespaces}
    for namespace in netns.lab_namespaces():
        if namespace not in claimed and namespace.endswith("-switch"):
            names.add(namespace.removeprefix("ikelab-").removesuffix("-switch"))
    return tuple(sorted(names))


@contextmanager
def _unbroken() -> Iterator[None]:
    """Ctrl-C and SIGTERM wait until this block is through; it takes seconds at most."""
    pending: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        pending.append(number)

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, note) for number in numbers}
    try:
        yield
    finally:
        for kept, handler in before.items():
            signal.signal(kept, handler)
        for number in pending:
            os.kill(os.getpid(), number)


def check_rights() -> None:
    """Raise LabError unless this process may make network namespaces."""
    line = next(
        line for line in Path("/proc/self/status").read_text().splitlines() if "CapEff" in line
    )
    capabilities = int(line.split()[1], 16)
    wanted = (1 << _CAP_SYS_ADMIN) | (1 << _CAP_NET_ADMIN)
    if capabilities & wanted != wanted or os.geteuid() != 0:
        raise LabError(
            "network namespaces need root",
            hint="start it with sudo; in a container, with --privileged",
        )
