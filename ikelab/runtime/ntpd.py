"""The time server of a lab: a node of `kind: ntp`. It serves the lab's clock, or one of its own."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from ipaddress import AddressValueError, IPv4Address

from ikelab.errors import WireError
from ikelab.ntp.server import Source, answer
from ikelab.runtime.clock import LabClock, NodeClock
from ikelab.runtime.control import Conditions, Json, Request, serve_until_stopped
from ikelab.runtime.node_time import open_socket
from ikelab.runtime.nodespec import NodeSpec

_TURN = 64


def main(spec: NodeSpec, ready: int) -> int:
    """Serve until SIGTERM. Called in the forked child, inside the node's namespace."""
    asyncio.run(_serve(spec, ready))
    return 0


class TimeServer:
    """Answers on UDP port 123 of its namespace. Make it in the running loop."""

    def __init__(self, clock: NodeClock, stratum: int, reference: str) -> None:
        self.requests = 0
        self.refused = 0
        self._clock = clock
        self._stratum = stratum
        self._reference = _reference_id(reference)
        self._socket = open_socket()
        asyncio.get_running_loop().add_reader(self._socket, self._read)

    def close(self) -> None:
        """Serve no more."""
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()

    def _read(self) -> None:
        for _ in range(_TURN):
            try:
                octets, client = self._socket.recvfrom(1024)
            except BlockingIOError:
                return
            except OSError:
                continue
            self._answer(octets, client)

    def _answer(self, octets: bytes, client: tuple[str, int]) -> None:
        received = self._clock.now()
        # Its own source is asked each minute or so, like that of any server.
        source = Source(self._stratum, self._reference, received.wall.replace(second=0))
        try:
            reply = answer(octets, source, received.wall, self._clock.now().wall)
        except WireError:
            reply = None
        if reply is None:  # counted only: a line each would let anybody fill the disk
            self.refused += 1
            return
        self.requests += 1
        with suppress(OSError):
            self._socket.sendto(reply, client)


def _reference_id(reference: str) -> bytes:
    """An address as it is, the name of a clock in ASCII."""
    try:
        return IPv4Address(reference).packed
    except AddressValueError:
        return reference.encode("ascii")


async def _serve(spec: NodeSpec, ready: int) -> None:
    clock = NodeClock(LabClock.of(spec.lab_clock_path), spec.clock)
    server = TimeServer(clock, spec.ntp.stratum, spec.ntp.reference)

    def snapshot(request: Request) -> Json:
        date = f"{clock.now().wall:%Y-%m-%dT%H:%M:%SZ}"
        return {"date": date, "requests": server.requests, "refused": server.refused}

    wait = Conditions({"ready": lambda of: True}).serve
    await serve_until_stopped(spec.control_path, {"snapshot": snapshot, "wait": wait}, ready)
    server.close()
