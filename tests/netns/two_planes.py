"""Two user-space data planes on a bridge, a stranger, and a capture of all between them."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from scapy.layers.l2 import Ether

from ikelab.capture import pcapng
from ikelab.isakmp.events import InstallIpsecSa
from ikelab.runtime.dataplane.base import TunnelConfig
from ikelab.runtime.dataplane.userspace import UserspaceDataPlane
from ikelab.runtime.namespace import inside
from ikelab.runtime.sniffer import Sniffer
from ikelab.wire.numbers import AuthAlgorithm, EncapsulationMode, EspTransform
from tests.esp_samples import install_request, mirrored
from tests.netns.segment import Segment

SPOKE, HUB, MALLORY = "192.0.2.1", "192.0.2.2", "192.0.2.66"
INSIDE_SPOKE, INSIDE_HUB = "20.0.0.1", "20.0.0.4"
KEY = 1234
TRANSPORT, TUNNEL = EncapsulationMode.TRANSPORT, EncapsulationMode.TUNNEL


class SystemRng:
    def draw(self, label: str, length: int) -> bytes:
        return os.urandom(length)


class Clock:
    """Seconds that move when the test says so."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


class Node:
    """One data plane in its namespace, with all it reported."""

    def __init__(self, wan: Segment, name: str, loop: asyncio.AbstractEventLoop) -> None:
        self.wan, self.name = wan, name
        self.acquired: list[str] = []
        self.refused: list[str] = []
        self.clock = Clock()
        self.on_acquire: Callable[[], None] = lambda: None
        self.plane = UserspaceDataPlane(
            loop,
            SystemRng(),
            on_acquire=self._acquire,
            on_drop=lambda peer, error: self.refused.append(error.reason),
            clock=self.clock,
        )

    def _acquire(self, flow: str) -> None:
        self.acquired.append(flow)
        self.on_acquire()

    def create(self, tunnel: TunnelConfig) -> None:
        with inside(self.wan.namespace(self.name)):
            self.plane.create_tunnel(tunnel)
            self.plane.set_up(tunnel.name, True)

    async def ping(self, *arguments: str) -> str:
        """ping's summary line, such as "5 packets transmitted, 5 received, 0% packet loss"."""
        done = await self.run("ping", "-n", "-q", *arguments)
        lines = [line for line in done.stdout.splitlines() if "transmitted" in line]
        return lines[0].partition(", time")[0] if lines else done.stderr

    async def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return await asyncio.to_thread(self.wan.run, self.name, *command)


class Lab:
    """A spoke and a hub with a tunnel, a stranger, and a capture of everything between them."""

    def __init__(self, wan: Segment, directory: Path) -> None:
        self.wan = wan
        self.loop = asyncio.new_event_loop()
        self.spoke, self.hub = Node(wan, "spoke", self.loop), Node(wan, "hub", self.loop)
        self.sniffer = Sniffer("br0", directory / "wan.pcapng", name="wan", namespace=wan.switch)

    def create_tunnels(self, mtu: int = 1400) -> None:
        near = TunnelConfig("Tunnel1", "tunnel1", f"{INSIDE_SPOKE}/24", SPOKE, HUB, KEY, mtu)
        far = TunnelConfig("Tunnel1", "tunnel1", f"{INSIDE_HUB}/24", HUB, SPOKE, KEY, mtu)
        self.spoke.create(near)
        self.hub.create(far)

    def install(self, request: InstallIpsecSa) -> None:
        """Both halves, as quick mode would: the responder's first."""
        self.hub.plane.install(mirrored(request))
        self.spoke.plane.install(request)

    def run(self, play: Callable[[], Awaitable[None]]) -> None:
        self.loop.run_until_complete(asyncio.wait_for(play(), 60))

    def seen(self) -> list[Ether]:
        """Every IPv4 frame of the wire so far."""
        while self.sniffer.on_readable():
            pass
        section = pcapng.parse(self.sniffer.path.read_bytes())
        frames = [Ether(frame.octets) for frame in section.frames]
        return [frame for frame in frames if frame.type == 0x0800]

    def close(self) -> None:
        self.spoke.plane.close()
        self.hub.plane.close()
        self.sniffer.stop()
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()


@contextmanager
def joined(kind: type[Lab], directory: Path) -> Iterator[Lab]:
    """A lab of that kind for the time of a block."""
    with Segment({"spoke": SPOKE, "hub": HUB, "mallory": MALLORY}) as wan:
        made = kind(wan, directory)
        try:
            yield made
        finally:
            made.close()


def request(
    number: int = 1,
    encryption: EspTransform = EspTransform.ESP_AES,
    bits: int | None = 128,
    authentication: AuthAlgorithm = AuthAlgorithm.HMAC_SHA,
    mode: EncapsulationMode = TRANSPORT,
) -> InstallIpsecSa:
    """The spoke's half, as initiator; number makes its SPIs and keys its own."""
    suite = (encryption, bits, authentication, mode)
    return install_request(number, *suite, spoke=SPOKE, hub=HUB)


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until the condition holds; the test's own time limit ends it."""
    while not condition():
        await asyncio.sleep(0.002)


def counts(pairs: tuple[tuple[str, int], ...]) -> dict[str, int]:
    return dict(pairs)


FIVE_OF_FIVE = "5 packets transmitted, 5 received, 0% packet loss"
