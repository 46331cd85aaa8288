"""The process of a router, hub or CA: a `node.router.Router` with real sockets, files and time.

It runs inside the node's network namespace, in one asyncio loop. Actions of the router are carried
out in order; what they bring back (an SPI, a web page, a stored file) goes in as events.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import warnings
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import cast

from cryptography.utils import CryptographyDeprecationWarning

from ikelab.errors import IkelabError, LabError, ProtocolError
from ikelab.ios.config import RunningConfig
from ikelab.ios.config_text import parse_config
from ikelab.ios.log_line import Remark, WebRefused
from ikelab.ipsec import udp_encap
from ikelab.isakmp import events as isakmp
from ikelab.node.console import Answer, Console
from ikelab.node.events import (
    AcquireSa,
    NodeAction,
    NodeEvent,
    ReadStorage,
    StorageUnreachable,
    StoreFile,
)
from ikelab.node.router import Router
from ikelab.pki.ca_events import HttpIn, HttpOut
from ikelab.pki.events import HttpRequest
from ikelab.runtime.clock import LabClock, NodeClock
from ikelab.runtime.conditions import router_conditions
from ikelab.runtime.control import Conditions, ControlServer, Json, Request, lines_of, text_of
from ikelab.runtime.dataplane import drops
from ikelab.runtime.dataplane.base import TunnelConfig
from ikelab.runtime.dataplane.userspace import UserspaceDataPlane
from ikelab.runtime.files import NodeFiles
from ikelab.runtime.http import HttpServer, fetch
from ikelab.runtime.keys import OsDhKeys, OsRng, OsRsaKeys
from ikelab.runtime.links import Links
from ikelab.runtime.node_time import NodeTime, TimeAction, fact_of
from ikelab.runtime.nodespec import NodeKind, NodeSpec
from ikelab.runtime.ping import ping
from ikelab.runtime.signing import Signer
from ikelab.runtime.store import SqliteCaStore, SqliteNvram
from ikelab.runtime.trace import TraceWriter
from ikelab.runtime.tunnels import TunnelFacts, plane_counters, protected_tunnels
from ikelab.runtime.turns import Turns
from ikelab.runtime.udp import Receivers, UdpSockets
from ikelab.runtime.web_answers import WebAnswers
from ikelab.types import Endpoint

_LOG = logging.getLogger(__name__)

_GOODBYE_SECONDS = 1.0


class OsKeys(OsRsaKeys, OsDhKeys):
    """All key pairs a router makes, from libcrypto."""


class RouterProcess:
    """One router with everything it touches. Make it inside its namespace, in the running loop.

    signer: of what its certificate server answers; by default this process.
    """

    def __init__(self, spec: NodeSpec, signer: Signer | None = None) -> None:
        self.spec = spec
        self._loop = asyncio.get_running_loop()
        lab_clock = LabClock.of(spec.lab_clock_path)
        self._clock = NodeClock(lab_clock, spec.clock)
        rng = OsRng()
        spec.data_dir.mkdir(mode=0o700, exist_ok=True)
        config = parse_config(spec.config, file=spec.config_file, mode=spec.mode)
        self.router = Router(
            config,
            spec.mode,
            rng=rng,
            keys=OsKeys(),
            nvram=SqliteNvram(str(spec.data_dir / "nvram.db")),
            open_store=lambda name: SqliteCaStore(str(spec.data_dir / f"{name}.db")),
        )
        self._udp = UdpSockets(
            self._loop,
            Receivers(self._take_ike, self._take_esp, self._take_keepalive, self._take_short),
        )
        self.plane = UserspaceDataPlane(
            self._loop,
            rng,
            on_acquire=self._acquire,
            on_drop=self._esp_dropped,
            on_move=self._peer_moved,
            send_udp=self._udp.send,
            clock=self._clock.elapsed,
        )
        self.console = Console(
            self.router, partial(plane_counters, self.plane), spec.debugging, spec.dialect
        )
        self.stopping = asyncio.Event()
        self._files = NodeFiles(spec.data_dir)
        self._links = Links(spec)
        self._trace = TraceWriter(spec.trace_path, lab_clock)
        self._tunnel_facts = TunnelFacts()
        self._tunnels: dict[str, TunnelConfig] = {}
        self._web: HttpServer | None = None
        sign = (signer or Signer()).sign
        self._answers = WebAnswers(self.router, self._clock.now, self._perform, self._settle, sign)
        self._events: deque[NodeEvent] = deque()
        self._busy = False
        self._dropped: dict[str, float] = {}  # when a drop was told last, by reason
        self._told: list[object] = []  # facts that are not printed yet
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._fetching = 0  # web requests without their answer
        self._bringing = 0  # these, and files on their way
        self._traffic = 0  # messages to other nodes and from them
        self._ready = False
        self.conditions = Conditions(
            {
                "ready": lambda of: self._ready,
                "fetched": lambda of: self._fetching == 0,
                "idle": lambda of: self._bringing == 0 and not self._answers.waiting,
                "answered-by-peers": lambda of: not self.router.awaits_answer,
                **router_conditions(self.router),
            }
        )
        self._time = NodeTime(self._loop, self.router, self._clock, self._feed)
        turns = Turns(self.router, self._clock, self.conditions, self._fire, self._count_traffic)
        self._control = ControlServer(
            spec.control_path,
            {
                "exec": self._exec,
                "configure": self._configure,
                "snapshot": self._snapshot,
                "wait": self.conditions.serve,
                "turn": turns.serve,
                "forget-clock": self._time.forget,
                "stop": self._stop,
            },
        )

    # --- life ---------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open everything, boot the router, answer at the control socket."""
        await self._control.start()
        await self._apply(self.router.config)
        self._perform(self.router.start(self._clock.now()))
        self._ready = True
        self._settle()

    async def close(self) -> None:
        """Tell the peers (DELETE), let transfers end that soon do, then give everything back."""
        self._perform(self.router.handle(isakmp.Clear(), self._clock.now()))
        await self.conditions.wait("idle", None, _GOODBYE_SECONDS)  # cut off, they end in a RST
        if self._timer is not None:
            self._timer.cancel()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._web is not None:
            await self._web.close()
        self._udp.close()
        self._time.close()
        self.plane.close()
        await self._control.close()
        self._trace.close()

    async def _stop(self, request: Request) -> Json:
        self.stopping.set()
        return None

    # --- configuration ------------------------------------------------------------------------

    async def _apply(self, config: RunningConfig) -> None:
        """Links, sockets, tunnels and the web server as the configuration has them."""
        for fact in self._links.apply(config):
            self._say(fact)
        wanted = {
            interface.address
            for interface in config.interfaces.values()
            if interface.address and interface.tunnel is None and not interface.shutdown
        }
        self._udp.apply(wanted, nat_t=config.nat_transparency)
        self._apply_tunnels(config)
        self._time.apply(config)
        await self._apply_web(config)

    def _apply_tunnels(self, config: RunningConfig) -> None:
        for fact in self._tunnel_facts.configured(config):
            self._say(fact)
        wanted = dict(protected_tunnels(config))
        for name in [name for name in self._tunnels if wanted.get(name) != self._tunnels[name]]:
            self.plane.remove_tunnel(name)
            del self._tunnels[name]
        for name, tunnel in wanted.items():
            if name not in self._tunnels:
                self.plane.create_tunnel(tunnel)
                self._tunnels[name] = tunnel
            self.plane.set_up(name, not config.interfaces[name].shutdown)

    async def _apply_web(self, config: RunningConfig) -> None:
        running = self._web.port if self._web is not None else None
        wanted = config.http_port if config.http_server else None
        if running == wanted:
            return
        if self._web is not None:
            await self._web.close()
            self._web = None
        if wanted is not None:
            self._web = HttpServer(self._serve, on_refused=self._web_refused)
            await self._web.start("0.0.0.0", wanted)

    # --- what comes in ------------------------------------------------------------------------

    def _take_ike(self, local: Endpoint, remote: Endpoint, octets: bytes) -> None:
        self._traffic += 1
        self._feed(isakmp.DatagramReceived(local, remote, octets))

    def _take_esp(self, local: Endpoint, remote: Endpoint, octets: bytes) -> None:
        self.plane.take_udp_esp(local, remote, octets)

    def _take_keepalive(self, local: Endpoint, remote: Endpoint, _: bytes) -> None:
        comment = f"{self.router.config.hostname} took a NAT keepalive"
        self._trace.message(udp_encap.KEEPALIVE, comment, sent=False)

    def _take_short(self, local: Endpoint, remote: Endpoint, octets: bytes) -> None:
        self._esp_dropped(remote.address, drops.short_udp(octets, remote, local))

    def _peer_moved(self, inbound_spi: bytes, remote: Endpoint) -> None:
        self._feed(isakmp.PeerMoved(inbound_spi, remote))

    def _acquire(self, flow: str) -> None:
        self._feed(AcquireSa(flow))

    def _esp_dropped(self, peer: str, error: ProtocolError) -> None:
        """Every drop is counted; told is the first of its kind in a second."""
        now = self._loop.time()
        if now - self._dropped.get(error.reason, float("-inf")) < 1.0:
            self.router.isakmp.drops[error.reason] += 1
            return
        self._dropped[error.reason] = now
        self._feed(isakmp.PacketDropped(Endpoint(peer, 0), error))

    async def _serve(self, request: HttpIn) -> HttpOut:
        self._traffic += 1
        return await self._answers.serve(request)

    def _web_refused(self, peer: str, reason: str, detail: str) -> None:
        self._say(WebRefused(peer, reason, detail))
        self._print()

    async def _exec(self, request: Request) -> Json:
        command = text_of(request, "command")
        answer = self.console.exec(command, self._clock.now())
        self._perform(answer.actions)
        self._settle()
        if answer.ping is not None:
            asked = answer.ping
            result = await ping(
                asked.target, source=asked.source, count=asked.count, size=asked.size
            )
            return str(result)
        return answer.text + await self._finish(answer)

    async def _finish(self, answer: Answer) -> str:
        """The transfer that a command waits for, and what it comes to."""
        if answer.order is None:
            return ""
        outcome = await self._files.carry_out(answer.order.action)
        rest = self.console.then(answer.order, outcome, self._clock.now())
        await self._apply(self.router.config)
        self._perform(rest.actions)
        self._settle()
        return rest.text

    def _snapshot(self, request: Request) -> Json:
        # JSON passes through both modules' types unchanged; mypy keeps their aliases apart.
        return cast(Json, self.console.snapshot(self._clock.now()))

    async def _configure(self, request: Request) -> Json:
        answer = self.console.configure(lines_of(request), self._clock.now())
        await self._apply(self.router.config)
        self._perform(answer.actions)
        self._settle()
        return answer.text + await self._finish(answer)

    def _count_traffic(self) -> int:
        return self._traffic + self._time.traffic

    def _fire(self) -> None:
        self._timer = None
        self._feed(isakmp.TimerFired())

    # --- the loop of events and actions -------------------------------------------------------

    def _feed(self, event: NodeEvent) -> None:
        """Give an event to the router and carry out what it asks for."""
        self._events.append(event)
        if self._busy:
            return  # an action of an event being handled brought this one
        self._busy = True
        try:
            while self._events:
                event = self._events.popleft()
                actions = self.router.handle(event, self._clock.now())
                self._note(event, actions)
                for action in actions:
                    self._carry_out(action)
        finally:
            self._busy = False
            self._print()
        self._settle()

    def _perform(self, actions: list[NodeAction]) -> None:
        try:
            for action in actions:
                self._carry_out(action)
        finally:
            self._print()

    def _settle(self) -> None:
        """Print, re-arm the timer and look whether somebody's wait is over."""
        self._print()
        now = self._clock.now()
        timer = self.router.next_timer(now)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if timer is not None:
            # A wall clock may step: look again at least every minute.
            self._timer = self._loop.call_later(
                min(max(timer.remaining(now), 0.0), 60.0), self._fire
            )
        self.conditions.changed()

    def _carry_out(self, action: NodeAction) -> None:
        if isinstance(action, TimeAction):
            self._print()  # what was said before has the date of then
            changed = self._time.carry_out(action)
            self._say(fact_of(action))  # with the new date
            if changed is not None:
                self._feed(changed)
            return
        self._say(action)
        match action:
            case isakmp.SendDatagram():
                self._send(action)
            case isakmp.SendKeepalive():
                self._keep_alive(action)
            case isakmp.MoveIpsecSa(inbound_spi, remote):
                self.plane.move(inbound_spi, remote)
            case isakmp.CountTraffic(handle, flows):
                pairs = [pair for pair in self.plane.sas() if pair.flow in flows]
                sent, came = sum(p.encaps for p in pairs), sum(p.decaps for p in pairs)
                self._feed(isakmp.TrafficCounted(handle, sent, came))
            case isakmp.AllocateSpi(handle):
                self._feed(isakmp.SpiAllocated(handle, self.plane.alloc_spi()))
            case isakmp.InstallIpsecSa():
                self._install(action)
            case isakmp.ActivateIpsecSa():
                self.plane.activate(action.inbound_spi)
            case isakmp.DeleteIpsecSa():
                self.plane.remove(action.inbound_spi)
                for fact in self._tunnel_facts.removed(action.flow):
                    self._say(fact)
            case isakmp.KeyMaterial():
                self._trace.action(action)
            case HttpRequest():
                self._fetching += 1
                self._traffic += 1
                self._bring(partial(self._fetch, action))
            case StoreFile() | ReadStorage():
                self._bring(partial(self._files.carry_out, action))
            case StorageUnreachable():
                # Without the URL: it may hold the storage's password.
                text = (
                    f"files of {action.server} wait: {action.reason}; again in {action.retry:.0f} s"
                )
                self._say(Remark("STORAGE", text))
            case _:
                pass  # a fact for the log only

    def _say(self, fact: object) -> None:
        """For the console and debug.txt; `_print` prints what it comes to."""
        self._told.append(fact)

    def _print(self) -> None:
        told, self._told = self._told, []
        said = self.console.printed(told, self._clock.now()) if told else ""
        if said:
            print(said, end="", flush=True)

    def _send(self, action: isakmp.SendDatagram) -> None:
        self._trace.sent(action)
        on_wire = udp_encap.on_wire(action.local, action.octets)
        self._transmit(action.local, action.remote, on_wire, action.comment)

    def _keep_alive(self, action: isakmp.SendKeepalive) -> None:
        self._trace.message(udp_encap.KEEPALIVE, action.comment, sent=True)
        self._transmit(action.local, action.remote, udp_encap.KEEPALIVE, action.comment)

    def _transmit(self, local: Endpoint, remote: Endpoint, payload: bytes, comment: str) -> None:
        self._traffic += 1
        problem = self._udp.send(local, remote, payload)
        if problem:
            _LOG.warning("%s to %s is lost: %s", comment, remote, problem)

    def _install(self, action: isakmp.InstallIpsecSa) -> None:
        self._trace.action(action)
        try:
            self.plane.install(action)
        except (LabError, ProtocolError) as error:
            self._feed(isakmp.IpsecInstallFailed(action.handle, str(error)))
        else:
            self._feed(isakmp.IpsecInstallDone(action.handle))
            for fact in self._tunnel_facts.installed(action.flow):
                self._say(fact)

    async def _fetch(self, request: HttpRequest) -> NodeEvent:
        try:
            return await fetch(request)
        finally:
            self._fetching -= 1

    def _bring(self, work: Callable[[], Awaitable[NodeEvent]]) -> None:
        """Feed in what a request, or a file, comes to."""
        self._bringing += 1
        self._spawn(self._brought(work))

    async def _brought(self, work: Callable[[], Awaitable[NodeEvent]]) -> None:
        try:
            event = await work()  # begun here: a task that is cancelled at once leaves nothing
        finally:
            self._bringing -= 1
        self._feed(event)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _note(self, event: NodeEvent, actions: list[NodeAction]) -> None:
        """For the comment of the frame, and for `explain`."""
        if isinstance(event, isakmp.DatagramReceived):
            self._trace.received(self.router.config.hostname, event, actions)
        else:
            self._trace.refused(actions)


async def _run(spec: NodeSpec, ready_fd: int, signer: Signer) -> None:
    process = RouterProcess(spec, signer)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, process.stopping.set)
    try:
        await process.start()
        os.write(ready_fd, b"1")
        os.close(ready_fd)
        await process.stopping.wait()
    finally:
        await process.close()


def main(spec: NodeSpec, ready_fd: int) -> int:
    """Run a router until it is told to stop. ready_fd: gets one octet once it answers.

    Called in a forked child that is already inside the node's namespace. Exit code 1 where the
    configuration or the surroundings do not allow a start; the log says why.
    """
    # libcrypto's Python library announces the end of finite-field Diffie-Hellman and 3DES, which
    # IKEv1 is made of; the log is for what happens in the lab.
    warnings.filterwarnings("ignore", category=CryptographyDeprecationWarning)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    signer = Signer()
    if spec.kind is NodeKind.CA:
        signer.fork(ready_fd)
    try:
        asyncio.run(_run(spec, ready_fd, signer))
    except IkelabError as error:
        print(error, flush=True)
        return 1
    finally:
        signer.close()
    return 0
