"""A router's UDP sockets: IKE at port 500, IKE and ESP together at port 4500 (RFC 3948).

One pair a local address. Both ports' messages look alike to the router; the marker in front of
those at 4500 is put on and taken off here.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Collection
from dataclasses import dataclass

from ikelab.errors import LabError
from ikelab.ipsec import udp_encap
from ikelab.ipsec.udp_encap import Kind
from ikelab.types import Endpoint
from ikelab.wire.numbers import ISAKMP_PORT, NAT_T_PORT

_DATAGRAMS_PER_TURN = 64  # then the loop's other readers have their turn
_LARGEST = 65535
_IP_MTU_DISCOVER = 10  # linux/in.h
_IP_PMTUDISC_DONT = 0

Received = Callable[[Endpoint, Endpoint, bytes], None]
"""Called with our end, the peer's end and the octets."""


@dataclass(frozen=True, slots=True)
class Receivers:
    """Who takes what. short: what is too short to be anything at port 4500."""

    ike: Received
    esp: Received
    keepalive: Received
    short: Received


class UdpSockets:
    """The sockets of one router. Make it inside its namespace."""

    def __init__(self, loop: asyncio.AbstractEventLoop, receivers: Receivers) -> None:
        self._loop = loop
        self._take = {
            Kind.IKE: receivers.ike,
            Kind.ESP: receivers.esp,
            Kind.KEEPALIVE: receivers.keepalive,
            Kind.SHORT: receivers.short,
        }
        self._open: dict[Endpoint, socket.socket] = {}

    def apply(self, addresses: Collection[str], *, nat_t: bool) -> None:
        """Listen on these addresses and no others. LabError where one cannot be had."""
        ports = (ISAKMP_PORT, NAT_T_PORT) if nat_t else (ISAKMP_PORT,)
        wanted = {Endpoint(address, port) for address in addresses for port in ports}
        for end in set(self._open) - wanted:
            self._close(end)
        for end in wanted - set(self._open):
            self._listen(end)

    def send(self, local: Endpoint, remote: Endpoint, payload: bytes) -> str:
        """Send a UDP payload ; what went wrong, or nothing."""
        udp = self._open.get(local)
        if udp is None:
            return f"no socket at {local}"
        try:
            udp.sendto(payload, (remote.address, remote.port))
        except OSError as error:
            return error.strerror or str(error)
        return ""

    def close(self) -> None:
        """Close all."""
        for end in list(self._open):
            self._close(end)

    def _listen(self, end: Endpoint) -> None:
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        # DF clear: what does not fit the link, ESP too, is fragmented (dataplane/base.py).
        udp.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _IP_PMTUDISC_DONT)
        try:
            udp.bind((end.address, end.port))
        except OSError as error:
            udp.close()
            raise LabError(f"cannot listen on {end}: {error.strerror}") from error
        self._open[end] = udp
        self._loop.add_reader(udp, self._read, end, udp)

    def _close(self, end: Endpoint) -> None:
        udp = self._open.pop(end)
        self._loop.remove_reader(udp)
        udp.close()

    def _read(self, local: Endpoint, udp: socket.socket) -> None:
        for _ in range(_DATAGRAMS_PER_TURN):
            try:
                octets, (host, port) = udp.recvfrom(_LARGEST)
            except BlockingIOError:
                return
            except OSError:  # an ICMP error for something sent earlier
                continue
            kind, inside = Kind.IKE, octets
            if local.port == NAT_T_PORT:
                kind, inside = udp_encap.split(octets)
            self._take[kind](local, Endpoint(host, port), inside)
            if self._open.get(local) is not udp:  # what came closed this socket
                return
