"""The raw IP sockets of one local NBMA address: ESP both ways, and GRE to notice what is in clear.

While they are open the kernel answers neither protocol with an ICMP "protocol unreachable".
"""

from __future__ import annotations

import os
import socket
from typing import cast

from ikelab.errors import LabError
from ikelab.wire.numbers import IpProtocol

_RECEIVE_BUFFER = 4 << 20  # octets: a second of 3DES work, so that a burst is not lost
_DATAGRAM = 65535
_SO_RCVBUFFORCE = 33  # asm-generic/socket.h
_IP_MTU_DISCOVER = 10  # linux/in.h
_IP_PMTUDISC_DONT = 0


class NbmaSocket:
    """Sockets bound to an address of this namespace. users: how many tunnels share them.

    Raises LabError without the right to raw sockets, or where the address is not ours.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.users = 0
        self.esp = _open(IpProtocol.ESP, address)
        try:
            self.gre = _open(IpProtocol.GRE, address)
        except LabError:
            self.esp.close()
            raise
        _enlarge(self.esp)
        # DF clear: a packet too large for the link is fragmented here, not lost (base.py).
        self.esp.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _IP_PMTUDISC_DONT)

    def send(self, packet: bytes, remote: str) -> str:
        """Send an ESP packet; what went wrong, or nothing."""
        try:
            self.esp.sendto(packet, (remote, 0))
        except OSError as error:
            return error.strerror or str(error)
        return ""

    def receive_esp(self) -> tuple[str, bytes] | None:
        """(source address, ESP packet without its IP header), or None when there is none."""
        try:
            datagram, source = self.esp.recvfrom(_DATAGRAM)
        except OSError:  # nothing there, or an ICMP error of an earlier packet
            return None
        return cast(str, source[0]), datagram[(datagram[0] & 0x0F) * 4 :]

    def receive_clear_gre(self) -> str | None:
        """Source address of a GRE packet that came without ESP, or None when there is none."""
        try:
            return cast(str, self.gre.recvfrom(0)[1][0])
        except OSError:
            return None

    def close(self) -> None:
        """Close both sockets."""
        self.esp.close()
        self.gre.close()


def _open(protocol: IpProtocol, address: str) -> socket.socket:
    """A raw socket that sees this protocol's packets to one address."""
    try:
        raw = socket.socket(
            socket.AF_INET,
            socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC,
            protocol,
        )
    except PermissionError as error:
        raise LabError(
            f"no right to a raw socket for {protocol.name}",
            hint="it needs CAP_NET_RAW in the namespace (start with sudo)",
        ) from error
    try:
        raw.bind((address, 0))
    except OSError as error:
        raw.close()
        raise LabError(
            f"cannot bind {protocol.name} to {address}: {os.strerror(error.errno or 0)}",
            hint="the tunnel source must be an address of an interface of this node",
        ) from error
    return raw


def _enlarge(raw: socket.socket) -> None:
    """A large receive buffer, as far as this process may."""
    try:
        raw.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER)
    except PermissionError:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
