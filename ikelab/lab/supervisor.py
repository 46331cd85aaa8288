"""The process that a deployed lab lives in: it captures the segments and forks the nodes.

It imports what the nodes need once and then forks them, so that a router costs a few megabytes.
It is single-threaded, and forks before its event loop runs. When it ends, however it ends, the
kernel ends the nodes (PR_SET_PDEATHSIG).

Its own control socket knows: status, flush, stop (`runtime/control.py`), and power-off of a node.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import json
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from ikelab.errors import IkelabError, LabError
from ikelab.lab import state
from ikelab.lab.plan import SWITCH
from ikelab.lab.topology import Topology
from ikelab.runtime.clock import LabClock
from ikelab.runtime.control import ControlClient, ControlServer, Json, Request, text_of
from ikelab.runtime.dataplane.tap import set_link
from ikelab.runtime.namespace import enter, inside
from ikelab.runtime.nodespec import CLOCK_FILE, NodeKind, NodeSpec, namespace_name
from ikelab.runtime.sniffer import Sniffer

Main = Callable[[NodeSpec, int], int]
"""A daemon: runs until it is told to stop, returns an exit code.

The second argument is a descriptor: it writes one octet to it, and closes it, as soon as its
control socket answers.
"""

START_SECONDS = 30.0  # for all nodes of a stage to answer; the slowest work is an RSA key
_STOP_SECONDS = 5.0  # for one node between SIGTERM and SIGKILL: its DELETEs take milliseconds
_LOG_TAIL = 12  # lines of a dead node's log that are worth showing

SWITCHED_OFF = "switched off"
"""State of a node that was ended on purpose, by power-off."""

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_LIBC = ctypes.CDLL(None, use_errno=True)


def load_mains() -> Mapping[NodeKind, Main]:
    """The daemons, by kind of node: this import is what the forked nodes share."""
    from ikelab.runtime import natd, ntpd, routerd, storaged

    return {
        NodeKind.ROUTER: routerd.main,
        NodeKind.CA: routerd.main,
        NodeKind.STORAGE: storaged.main,
        NodeKind.NAT: natd.main,
        NodeKind.NTP: ntpd.main,
    }


@dataclass(slots=True)
class Node:
    """A forked node. ready: read end of its pipe. ended: how, for a person; "" while it runs."""

    spec: NodeSpec
    pid: int
    pidfd: int
    ready: int
    ended: str = ""


@dataclass(slots=True)
class Supervisor:
    """One lab at work."""

    topology: Topology
    mains: Mapping[NodeKind, Main]
    clock: LabClock = field(default_factory=LabClock)
    sniffers: list[Sniffer] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    # --- before the loop ------------------------------------------------------------------------

    def open_sniffers(self) -> None:
        """Capture every segment from before its first frame. Raises LabError."""
        frames = state.run_dir(self.topology.name) / "frames"
        frames.mkdir(mode=0o700, exist_ok=True)
        for segment in self.topology.segments:
            self.sniffers.append(
                Sniffer(
                    segment.name,
                    frames / f"{segment.name}.pcapng",
                    name=segment.name,
                    description=segment.prefix,
                    namespace=namespace_name(self.topology.name, SWITCH),
                    clock=self.clock,
                )
            )

    def start_nodes(self) -> None:
        """Fork all, IOS boxes last: a certificate server wants storage and time at once.

        Raises LabError where a node dies or does not answer.
        """
        boxes = [node for node in self.topology.nodes if node.has_console]
        others = [node for node in self.topology.nodes if not node.has_console]
        for stage in (others, boxes):
            started = [self._fork(spec) for spec in stage]
            _wait_for_octet(started)
            for node in started:
                with ControlClient(node.spec.control_path) as client:
                    if not client.wait("ready", timeout=START_SECONDS):
                        raise LabError(
                            f"{node.spec.name} is not ready after {START_SECONDS:g} s",
                            hint=f"its log is {node.spec.log_path}",
                        )

    def _fork(self, spec: NodeSpec) -> Node:
        reading, writing = os.pipe()
        parent = os.getpid()
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            self._run_node(spec, writing, parent)
        os.close(writing)
        node = Node(spec, pid, os.pidfd_open(pid), reading)
        self.nodes.append(node)
        return node

    def _run_node(self, spec: NodeSpec, ready: int, parent: int) -> NoReturn:
        """The forked child: never returns, whatever happens."""
        code = 1
        try:
            _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() == parent:  # else it died before the kernel knew our wish
                os.umask(0o077)  # keys and stores of a node are nobody else's
                self._let_go(ready)
                _log_to(spec.log_path)
                enter(spec.namespace)
                code = self.mains[spec.kind](spec, ready)
        except IkelabError as error:
            print(f"% {error}", file=sys.stderr)
        except BaseException:
            traceback.print_exc()
        finally:
            try:
                sys.stdout.flush()
                sys.stderr.flush()
            finally:
                os._exit(code)

    def _let_go(self, ready: int) -> None:
        """In a child: give up what is the supervisor's, and its signal handlers."""
        close_all_but(0, 1, 2, ready)
        for number in (signal.SIGHUP, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        # SIGPIPE: whoever asked at our control socket may hang up before he is answered.
        for number in (signal.SIGINT, signal.SIGPIPE):
            signal.signal(number, signal.SIG_IGN)

    # --- the loop -------------------------------------------------------------------------------

    async def run(self, ready: int, lifeline: int | None) -> bool:
        """Look after the lab until it is stopped; True if by losing its lifeline.

        ready: descriptor told when all is well. lifeline: closed by its holder's end.
        """
        loop = asyncio.get_running_loop()
        stop = self.stopping
        done = asyncio.Event()
        lost = False

        def lose(descriptor: int) -> None:
            nonlocal lost
            loop.remove_reader(descriptor)
            lost = True
            stop.set()

        async def stop_and_count(request: Request) -> Json:
            stop.set()
            await done.wait()
            return self._counts()

        loop.add_signal_handler(signal.SIGTERM, stop.set)
        for sniffer in self.sniffers:
            loop.add_reader(sniffer, self._take_frames, sniffer)
        for node in self.nodes:
            loop.add_reader(node.pidfd, self._reap, node)
        if lifeline is not None:
            loop.add_reader(lifeline, lose, lifeline)
        server = ControlServer(
            state.control_path(self.topology.name),
            {
                "status": self._status,
                "flush": self._flush,
                "power-off": self._power_off,
                "stop": stop_and_count,
            },
        )
        await server.start()
        tell(ready, None)
        await stop.wait()
        await self.stop_nodes()
        for sniffer in self.sniffers:
            loop.remove_reader(sniffer)
            self._close(sniffer)
        done.set()
        await asyncio.sleep(0)  # those who asked for the stop are answered
        await server.close()
        return lost

    async def stop_nodes(self) -> None:
        """SIGTERM to one after the other, the last started first, so that peers hear goodbyes."""
        for node in reversed(self.nodes):
            for number in (signal.SIGTERM, signal.SIGKILL):
                if not node.ended:
                    signal.pidfd_send_signal(node.pidfd, number)
                    await self._ended(node, _STOP_SECONDS)

    async def _ended(self, node: Node, seconds: float) -> None:
        """Until a node has ended, or the time is over."""
        loop = asyncio.get_running_loop()
        gone = asyncio.Event()

        def reap() -> None:
            self._reap(node)
            gone.set()

        loop.add_reader(node.pidfd, reap)  # in place of the reader that reports a crash
        try:
            async with asyncio.timeout(seconds):
                await gone.wait()
        except TimeoutError:
            self.faults.append(f"{node.spec.name} did not end in {seconds:g} s")

    def _reap(self, node: Node) -> None:
        """Take the exit status of a node that has ended."""
        asyncio.get_running_loop().remove_reader(node.pidfd)
        node.ended = describe_status(os.waitpid(node.pid, 0)[1])
        print(f"{_stamp()} {node.spec.name} {node.ended}", flush=True)
        if all(one.ended for one in self.nodes) and state.read(self.topology.name) is None:
            self.stopping.set()  # the lab was removed by somebody who did not know of us

    def _take_frames(self, sniffer: Sniffer) -> None:
        try:
            sniffer.on_readable()
        except (LabError, OSError) as error:
            asyncio.get_running_loop().remove_reader(sniffer)
            self._blame(sniffer, error)

    def _close(self, sniffer: Sniffer) -> None:
        try:
            sniffer.stop()
        except (LabError, OSError) as error:
            self._blame(sniffer, error)

    def _blame(self, sniffer: Sniffer, error: Exception) -> None:
        """The lab goes on without a capture of this segment, and says so."""
        self.faults.append(f"the capture of {sniffer.interface.name} ended: {error}")
        print(f"{_stamp()} {self.faults[-1]}", flush=True)

    # --- operations -----------------------------------------------------------------------------

    def _status(self, request: Request) -> Json:
        nodes: list[Json] = [
            {
                "name": node.spec.name,
                "kind": node.spec.kind.value,
                "pid": node.pid,
                "state": node.ended or "running",
                "namespace": node.spec.namespace,
                "addresses": [at.address for at in node.spec.attachments if at.address],
                "log": str(node.spec.log_path),
            }
            for node in self.nodes
        ]
        faults: list[Json] = list(self.faults)
        return {"nodes": nodes, "frames": self._counts(), "faults": faults}

    async def _power_off(self, request: Request) -> Json:
        """One node is gone as by a power cut: first its links, so that no goodbye gets out."""
        name = text_of(request, "node")
        node = next((one for one in self.nodes if one.spec.name == name), None)
        if node is None or node.ended:
            raise LabError(f"there is no node {name} that runs")
        with inside(node.spec.namespace):
            for attachment in node.spec.attachments:
                set_link(attachment.ifname, False)
        signal.pidfd_send_signal(node.pidfd, signal.SIGKILL)
        await self._ended(node, _STOP_SECONDS)
        node.ended = SWITCHED_OFF
        return None

    def _flush(self, request: Request) -> Json:
        """Write down what is queued now; the counters."""
        for sniffer in self.sniffers:
            self._take_frames(sniffer)
        return self._counts()

    def _counts(self) -> Json:
        """Frames and drops, by segment."""
        return {
            sniffer.interface.name: {"frames": sniffer.frames, "dropped": sniffer.dropped}
            for sniffer in self.sniffers
        }


def serve(
    topology: Topology, built: int, ready: int, lifeline: int | None, undo: Callable[[], None]
) -> None:
    """The supervisor's whole life, in a forked child of the deploying process.

    built: descriptor that says when the namespaces are there; meanwhile modules are imported.
    ready: told when the nodes are. undo: removes the lab when nobody else can.
    """
    supervisor = Supervisor(topology, load_mains())
    gc.collect()
    gc.freeze()  # the collector touches no shared page any more, so that they stay shared
    if not os.read(built, 1):
        undo()  # the deploying process was killed in the middle of it
        return
    try:
        clock_path = state.run_dir(topology.name) / CLOCK_FILE
        supervisor.clock = LabClock.create(clock_path, topology.clock)
        supervisor.open_sniffers()
        supervisor.start_nodes()
        lost = asyncio.run(supervisor.run(ready, lifeline))
    except IkelabError as error:
        tell(ready, error)
        _kill(supervisor.nodes)
        return
    if lost:
        undo()


def tell(ready: int, error: IkelabError | None) -> None:
    """Say to the deploying process how it went, and close: it may be gone already."""
    reason = "" if error is None else getattr(error, "reason", str(error))
    answer = {"ok": error is None, "reason": reason, "hint": getattr(error, "hint", "")}
    try:
        os.write(ready, json.dumps(answer).encode())
        os.close(ready)
    except BrokenPipeError:
        pass


def _wait_for_octet(nodes: Sequence[Node]) -> None:
    """Until every node has said that it answers. LabError, with the end of its log, if one dies."""
    poll = select.poll()
    waiting = {node.ready: node for node in nodes}
    for descriptor in waiting:
        poll.register(descriptor, select.POLLIN)
    deadline = time.monotonic() + START_SECONDS
    while waiting:
        events = poll.poll(max(deadline - time.monotonic(), 0) * 1000)
        if not events:
            names = ", ".join(node.spec.name for node in waiting.values())
            raise LabError(f"no sign of life from {names} in {START_SECONDS:g} s")
        for descriptor, _ in events:
            node = waiting.pop(descriptor)
            poll.unregister(descriptor)
            octet = os.read(descriptor, 1)
            os.close(descriptor)
            if not octet:
                raise _death(node)


def _death(node: Node) -> LabError:
    """What a node said before it died."""
    node.ended = describe_status(os.waitpid(node.pid, 0)[1])
    lines = node.spec.log_path.read_text(errors="replace").splitlines()
    said = "\n    ".join(lines[-_LOG_TAIL:]) or "nothing"
    return LabError(f"{node.spec.name} {node.ended} while starting", hint=f"it said:\n    {said}")


def _kill(nodes: Sequence[Node]) -> None:
    """End nodes at once; the lab did not come up."""
    for node in nodes:
        if not node.ended:
            signal.pidfd_send_signal(node.pidfd, signal.SIGKILL)
            os.waitpid(node.pid, 0)


def describe_status(status: int) -> str:
    """How a process ended: "exited with code 1", "killed by SIGKILL"."""
    code = os.waitstatus_to_exitcode(status)
    return f"exited with code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"


def _log_to(path: Path) -> None:
    """Standard output and error to a private file, input from nowhere."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
    descriptor = os.open(path, flags, 0o600)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(null)
    os.close(descriptor)
    # Whatever the names meant in the process that we were forked from.
    sys.stdout = open(1, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False)
    sys.stderr = open(2, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False)


def close_all_but(*keep: int) -> None:
    """In a forked child: let go of what the parent had open: locks, sockets, ends of pipes."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) not in keep:
            with suppress(OSError):  # the descriptor of this listing
                os.close(int(name))


def detach(log: Path, *keep: int) -> None:
    """In a forked child: a session of its own, so that Ctrl-C of the terminal is not for us.

    keep: the descriptors that are still wanted.
    """
    close_all_but(0, 1, 2, *keep)
    os.setsid()
    os.chdir("/")
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _log_to(log)


def _stamp() -> str:
    return time.strftime("%H:%M:%S")
