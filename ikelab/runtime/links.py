"""A router's interfaces on its segments, as `shutdown` and `no shutdown` have them.

A link that goes down takes the static routes over it along: the kernel forgets them, so they are
made again when it comes up. By ioctl: a node is not worth a netlink library's megabytes.
"""

from __future__ import annotations

import errno
import fcntl
import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network

from ikelab.errors import LabError
from ikelab.ios.config import RunningConfig, linux_ifname
from ikelab.ios.log_line import LineProtocolChanged, LinkChanged
from ikelab.runtime.dataplane.tap import set_link
from ikelab.runtime.nodespec import NodeSpec, Route

# linux/sockios.h, linux/route.h
_SIOCADDRT = 0x890B
_RTF_UP_GATEWAY = 0x0003
_RTENTRY = struct.Struct("@L16s16s16sHhLPhPLLH0L")

LinkFact = LinkChanged | LineProtocolChanged


class Links:
    """The interfaces that the lab made for one node, in whose namespace this runs."""

    def __init__(self, spec: NodeSpec) -> None:
        self._routes = spec.routes
        self._up = {attachment.ifname: attachment.up for attachment in spec.attachments}

    def apply(self, config: RunningConfig) -> Iterator[LinkFact]:
        """Bring links up and down; what the console prints of it. Raises LabError."""
        for name, interface in config.interfaces.items():
            ifname, up = linux_ifname(name), not interface.shutdown
            if self._up.get(ifname, up) == up:
                continue  # as it is, or none of the lab's: a tunnel, a loopback
            try:
                set_link(ifname, up)
                if up:
                    self._make_routes()
            except OSError as error:
                raise LabError(f"{name}: {error.strerror}") from error
            self._up[ifname] = up
            yield LinkChanged(name, "up" if up else "administratively down")
            yield LineProtocolChanged(name, up)

    def _make_routes(self) -> None:
        """All of them: those that are there stay, those over a link that is down cannot be yet."""
        for route in self._routes:
            try:
                _add_route(route)
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENETUNREACH, errno.ENETDOWN):
                    raise


def _add_route(route: Route) -> None:
    network = IPv4Network(route.prefix)
    octets = _RTENTRY.pack(
        0,
        _sockaddr(network.network_address),
        _sockaddr(IPv4Address(route.next_hop)),
        _sockaddr(network.netmask),
        _RTF_UP_GATEWAY,
        *(0, 0, 0, 0, 0, 0, 0, 0),
    )
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SIOCADDRT, octets)


def _sockaddr(address: IPv4Address) -> bytes:
    return struct.pack("=HH4s8x", socket.AF_INET, 0, address.packed)
