"""A whole lab in one process: real routers and CAs, a simulated network, virtual time, no root.

Nodes are the `Router` that the lab's daemons run, with their own configuration files. What is
simulated is the wire (delay, loss, duplication, reordering, all from one seed), the web (a call),
the storage host (a dictionary) and the data plane (it remembers what was installed).
"""

from __future__ import annotations

import hashlib
import heapq
import itertools
import random
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from types import MappingProxyType
from typing import TypeVar
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key

from ikelab.crypto.dh import DhKey, ExponentKey
from ikelab.ios.config import RunningConfig
from ikelab.isakmp import events as isakmp
from ikelab.node.events import (
    AcquireSa,
    ClockStepped,
    FileNotStored,
    FileStored,
    NodeAction,
    NodeEvent,
    ReadStorage,
    StorageNotRead,
    StorageRead,
    StoreFile,
)
from ikelab.node.router import Router
from ikelab.pki.ca_events import HttpIn
from ikelab.pki.events import HttpFailed, HttpReply, HttpRequest
from ikelab.pki.recovery import StorageContents
from ikelab.pki.store import CaStore, Nvram
from ikelab.runtime.store import SqliteCaStore, SqliteNvram
from ikelab.types import Endpoint, Now
from ikelab.wire.numbers import Group
from tests.simnet.nat import NatBox

T = TypeVar("T")
START = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
WIRE_SECONDS = 0.001


class SimRng:
    """Octets from a seed."""

    def __init__(self, seed: str) -> None:
        self._seed, self._count = seed, 0

    def draw(self, label: str, length: int) -> bytes:
        self._count += 1
        return hashlib.shake_256(f"{self._seed}/{label}/{self._count}".encode()).digest(length)


# Keys of one label: enough for a key to follow another, few enough for years of renewals.
_POOL = 4


@cache
def _pooled_rsa_key(label: str, bits: int, number: int) -> RSAPrivateKey:
    return generate_private_key(65537, bits)


class SimKeys:
    """RSA keys from a pool that lasts the test run, DH keys from short seeded exponents."""

    def __init__(self, seed: str) -> None:
        self._rng, self._seed = SimRng(seed), seed
        self._made: Counter[str] = Counter()

    def rsa_key(self, label: str, bits: int) -> RSAPrivateKey:
        name = f"{self._seed.split('/')[-1]}/{label}"
        self._made[name] += 1
        return _pooled_rsa_key(name, max(bits, 1024), self._made[name] % _POOL)

    def dh_key(self, group: Group) -> DhKey:
        return ExponentKey(group, int.from_bytes(self._rng.draw("dh", 32), "big"))


@dataclass
class Faults:
    """What the wire does to a datagram, as probabilities."""

    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0


@dataclass
class SimNode:
    """A router with what the network knows of it."""

    name: str
    router: Router
    log: list[NodeAction] = field(default_factory=list)
    spis: itertools.count[int] = field(default_factory=lambda: itertools.count(0x100))
    installed: dict[bytes, isakmp.InstallIpsecSa] = field(default_factory=dict)
    wake: float | None = None

    @property
    def addresses(self) -> set[str]:
        """Its addresses on segments."""
        interfaces = self.router.config.interfaces.values()
        return {i.address for i in interfaces if i.address and i.tunnel is None}

    def of(self, kind: type[T]) -> list[T]:
        """All actions of one type so far."""
        return [action for action in self.log if isinstance(action, kind)]

    @property
    def states(self) -> list[str]:
        """States of the ISAKMP SAs."""
        return [sa.state.value for sa in self.router.isakmp.table.sas.values()]

    def keys(self) -> set[tuple[bytes, bytes, bytes]]:
        """(SPI, cipher key, integrity key) of all installed directions."""
        return {
            (keys.spi, keys.encryption_key, keys.authentication_key)
            for pair in self.installed.values()
            for keys in (pair.inbound, pair.outbound)
        }


class Simnet:
    """The network and its clock."""

    def __init__(self, seed: int = 1, faults: Faults | None = None) -> None:
        self.elapsed = 0.0
        self.wrong: dict[str, timedelta] = {}  # whose clock was set, by how much
        self.nodes: dict[str, SimNode] = {}
        self.files: dict[str, bytes] = {}
        self.homes: dict[str | None, dict[str, bytes]] = {}
        self.storage: str | None = None
        self.storage_up = True
        self.faults = faults or Faults()
        self.datagrams = 0
        self.nats: list[NatBox] = []  # of two in series the one that is further inside is first
        self._random = random.Random(seed)
        self._seed = seed
        self._added: Counter[str] = Counter()
        self._signing = SimRng(f"{seed}/answers")
        self._order = itertools.count()
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []

    @property
    def now(self) -> Now:
        """What the clocks say of all nodes but those that are set to another date."""
        return Now(self.elapsed, START + timedelta(seconds=self.elapsed), True)

    def now_of(self, node: SimNode) -> Now:
        """What a node's own clocks say."""
        return replace(self.now, wall=self.now.wall + self.wrong.get(node.name, timedelta()))

    def set_clock(self, node: SimNode, ahead: timedelta) -> None:
        """A node's date is so far ahead of the others' from now on."""
        self.wrong[node.name] = ahead
        self.give(node, ClockStepped())

    def add(
        self,
        config: RunningConfig,
        mode: str = "modern",
        nvram: Nvram | None = None,
        stores: Mapping[str, CaStore] = MappingProxyType({}),
    ) -> SimNode:
        """Boot a node. nvram, stores: what it and its servers knew before."""
        name = config.hostname
        seed = f"{self._seed}/{name}"
        self._added[name] += 1  # a node that takes another's place draws other octets
        router = Router(
            config,
            mode,  # type: ignore[arg-type]
            rng=SimRng(f"{seed}/{self._added[name]}"),
            keys=SimKeys(seed),
            nvram=nvram or SqliteNvram(":memory:"),
            open_store=lambda server: stores.get(server) or SqliteCaStore(":memory:"),
        )
        node = self.nodes[name] = SimNode(name, router)
        self._carry_out(node, router.start(self.now_of(node)))
        return node

    # --- time ---------------------------------------------------------------------------------

    def after(self, seconds: float, deed: Callable[[], None]) -> None:
        """Do something later."""
        heapq.heappush(self._agenda, (self.elapsed + seconds, next(self._order), deed))

    def run(self, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        """Let virtual time pass, at most this long; whether `until` came true."""
        end = self.elapsed + seconds
        while not until():
            if not self._agenda or self._agenda[0][0] > end:
                self.elapsed = end
                return until()
            moment, _, deed = heapq.heappop(self._agenda)
            self.elapsed = max(self.elapsed, moment)
            deed()
        return True

    def _set_timer(self, node: SimNode) -> None:
        now = self.now_of(node)
        timer = node.router.next_timer(now)
        if timer is None:
            node.wake = None
            return
        wake = self.elapsed + max(timer.remaining(now), 0.0)
        if node.wake == wake:
            return
        node.wake = wake
        self.after(wake - self.elapsed, lambda: self._fire(node, wake))

    def _fire(self, node: SimNode, wake: float) -> None:
        if node.wake == wake:
            node.wake = None
            self.give(node, isakmp.TimerFired())

    # --- events and actions -------------------------------------------------------------------

    def give(self, node: SimNode, event: NodeEvent) -> None:
        """An event for a node, and all that follows at once."""
        self._carry_out(node, node.router.handle(event, self.now_of(node)))

    def do(self, node: SimNode, actions: list[NodeAction]) -> None:
        """Carry out what a command of the console brought."""
        self._carry_out(node, actions)

    def acquire(self, node: SimNode, tunnel: str = "Tunnel1") -> None:
        """A packet waits for an SA of a tunnel."""
        self.give(node, AcquireSa(tunnel))

    def _carry_out(self, node: SimNode, actions: list[NodeAction]) -> None:
        """What an action brings back comes after the others, as in the daemon."""
        brought: list[NodeEvent] = []
        for action in actions:
            node.log.append(action)
            match action:
                case isakmp.SendDatagram():
                    self._send(action)
                case isakmp.SendKeepalive():
                    self.after(WIRE_SECONDS, lambda a=action: self._arrive(a))
                case isakmp.MoveIpsecSa(inbound_spi, remote) if inbound_spi in node.installed:
                    moved = replace(node.installed[inbound_spi], remote=remote)
                    node.installed[inbound_spi] = moved
                case isakmp.AllocateSpi(handle):
                    spi = next(node.spis).to_bytes(4, "big")
                    brought.append(isakmp.SpiAllocated(handle, spi))
                case isakmp.InstallIpsecSa():
                    node.installed[action.inbound.spi] = action
                    brought.append(isakmp.IpsecInstallDone(action.handle))
                case isakmp.DeleteIpsecSa():
                    node.installed.pop(action.inbound_spi, None)
                case HttpRequest():
                    self.after(WIRE_SECONDS, lambda a=action: self._ask(node, a))
                case StoreFile():
                    self.after(WIRE_SECONDS, lambda a=action: self._store(node, a))
                case ReadStorage():
                    brought.append(self._read(action))
                case _:
                    pass
        for event in brought:
            self.give(node, event)
        self._set_timer(node)

    def _send(self, action: isakmp.SendDatagram) -> None:
        self.datagrams += 1
        if self._random.random() < self.faults.loss:
            return
        copies = 2 if self._random.random() < self.faults.duplicate else 1
        for _ in range(copies):
            late = self._random.random() < self.faults.reorder
            delay = WIRE_SECONDS * (1 + self._random.random() + (50 if late else 0))
            self.after(delay, lambda: self._arrive(action))

    def _arrive(self, action: isakmp.SendDatagram | isakmp.SendKeepalive) -> None:
        """At the node that has the address, the addresses as the NATs on the way make them."""
        local, remote = action.local, action.remote
        for nat in self.nats:
            if nat.is_inside(local.address) and not nat.is_inside(remote.address):
                local = nat.outwards(local, self.elapsed)
            elif nat.is_inside(remote.address) and not nat.is_inside(local.address):
                return  # nobody outside has a route to an address inside
        for nat in reversed(self.nats):
            if remote.address == nat.public:
                found = nat.inwards(remote, self.elapsed)
                if found is None:
                    return
                remote = found
        if isinstance(action, isakmp.SendKeepalive):
            return  # it has done its work at the NATs
        self._deliver(isakmp.DatagramReceived(remote, local, action.octets))

    def _deliver(self, event: isakmp.DatagramReceived) -> None:
        for node in self.nodes.values():
            if event.local.address in node.addresses:
                self.give(node, event)

    # --- web and storage ----------------------------------------------------------------------

    def _ask(self, asker: SimNode, request: HttpRequest) -> None:
        self.give(asker, self._answer(request))

    def _answer(self, request: HttpRequest) -> HttpReply | HttpFailed:
        url = urlsplit(request.url)
        host, port = url.hostname or "", url.port or 80
        if host == self.storage and port == 80 and self.storage_up:
            octets = self.files.get(url.path.removeprefix("/"))
            if octets is None:
                return HttpReply(request.handle, 404, "text/plain", b"")
            return HttpReply(request.handle, 200, "application/pkix-crl", octets)
        for node in self.nodes.values():
            config = node.router.config
            if host in node.addresses and config.http_server and config.http_port == port:
                target = url.path + (f"?{url.query}" if url.query else "")
                given = HttpIn(request.method, target, request.body)
                answer, actions = node.router.serve(given, self.now_of(node))
                answer = answer.sign(self._signing)
                self._carry_out(node, actions)
                return HttpReply(request.handle, answer.status, answer.content_type, answer.body)
        return HttpFailed(request.handle, "connection refused")

    def _store(self, node: SimNode, action: StoreFile) -> None:
        if not self.storage_up:
            self.give(node, FileNotStored(action.server, action.order, "no route to host"))
            return
        self.files[action.name] = action.octets
        self.homes.setdefault(action.url, {})[action.name] = action.octets
        self.give(node, FileStored(action.server, action.order))

    def _read(self, action: ReadStorage) -> StorageRead | StorageNotRead:
        """At once: the time of a start is nothing that a test here looks at."""
        if not self.storage_up:
            return StorageNotRead(action.handle, "no route to host")
        home = self.homes.get(action.url, {})
        files = {name: home[name] for name in home if re.fullmatch(action.pattern, name)}
        return StorageRead(action.handle, StorageContents(tuple(home), files))


def udp(address: str) -> Endpoint:
    """The IKE end of an address."""
    return Endpoint(address, 500)
