"""What moves a node's clock: `clock set` at its console, and NTP on UDP port 123."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

from ikelab.errors import LabError, WireError
from ikelab.ios.config import RunningConfig
from ikelab.ios.log_line import ClockUpdated
from ikelab.node.events import ClockSet, ClockStepped, NodeEvent
from ikelab.node.router import Router
from ikelab.ntp import packet, server
from ikelab.ntp.client import Answered, Ask, LoseClock, SetClock
from ikelab.runtime.clock import NodeClock
from ikelab.runtime.control import Json, Request, text_of

TimeAction = ClockSet | Ask | SetClock | LoseClock

_TURN = 64  # datagrams; then the loop's other readers have their turn


class NodeTime:
    """A router's clock and its NTP socket, which is open while it has an `ntp server`.

    feed: takes what comes in. A router answers clients too, as IOS does once it runs NTP.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        router: Router,
        clock: NodeClock,
        feed: Callable[[NodeEvent], None],
    ) -> None:
        self._loop = loop
        self._router = router
        self._clock = clock
        self._feed = feed
        self._socket: socket.socket | None = None
        self.traffic = 0  # messages to servers and from them

    def apply(self, config: RunningConfig) -> None:
        """Open or close the socket as the configuration wants it. Raises LabError."""
        if config.ntp_servers and self._socket is None:
            self._socket = open_socket()
            self._loop.add_reader(self._socket, self._read, self._socket)
        elif not config.ntp_servers:
            self.close()

    def close(self) -> None:
        """Give the socket back."""
        if self._socket is not None:
            self._loop.remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    def carry_out(self, action: TimeAction) -> ClockStepped | None:
        """Do what the router asks for; what it is to be told then."""
        match action:
            case ClockSet(date):
                shift = (date - self._clock.now().wall).total_seconds()
                self._clock.set(date)
                return ClockStepped(shift)
            case SetClock(seconds):
                self._clock.shift(seconds)
                return ClockStepped(0.0)
            case LoseClock():
                self._clock.lose()
            case Ask(address, octets):
                self.traffic += 1
                with suppress(OSError):  # no route: as if nobody answered
                    if self._socket is not None:
                        self._socket.sendto(octets, (address, packet.PORT))
        return None

    def forget(self, request: Request) -> Json:
        """The operation `forget-clock`: the date is `date` (ISO 8601), and not believed."""
        try:
            date = datetime.fromisoformat(text_of(request, "date"))
        except ValueError as error:
            raise LabError(f"forget-clock needs a date: {error}") from error
        if date.tzinfo is None:
            raise LabError("forget-clock needs a date with its zone")
        shift = (date - self._clock.now().wall).total_seconds()
        self._clock.forget(date)
        self._feed(ClockStepped(shift))
        return None

    def _read(self, udp: socket.socket) -> None:
        for _ in range(_TURN):
            try:
                octets, (host, port) = udp.recvfrom(1024)
            except BlockingIOError:
                return
            except OSError:  # an ICMP error for something sent earlier
                continue
            if octets and octets[0] & 7 == packet.Mode.CLIENT:
                self._answer(udp, octets, (host, port))
            elif port == packet.PORT:
                self.traffic += 1
                self._feed(Answered(host, octets))

    def _answer(self, udp: socket.socket, octets: bytes, client: tuple[str, int]) -> None:
        now = self._clock.now()
        source = self._router.ntp.source(now.elapsed)
        try:
            reply = server.answer(octets, source, now.wall, self._clock.now().wall)
        except WireError:
            self._router.ntp.drops["ntp-malformed"] += 1  # a line each would fill the disk
            return
        with suppress(OSError):
            if reply is not None:
                udp.sendto(reply, client)


def fact_of(action: TimeAction) -> object:
    """What the log says of it."""
    if isinstance(action, ClockSet):
        return ClockUpdated(action.before, action.date, "console by console")
    return action


def open_socket() -> socket.socket:
    """UDP port 123 of all addresses of this namespace. Raises LabError."""
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    udp.setblocking(False)
    try:
        udp.bind(("0.0.0.0", packet.PORT))
    except OSError as error:
        udp.close()
        raise LabError(f"cannot listen on port {packet.PORT}: {error.strerror}") from error
    return udp
