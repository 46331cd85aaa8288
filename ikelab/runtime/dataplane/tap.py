"""A TAP device: the kernel's side of a tunnel interface, read and written as Ethernet frames.

TAP and not TUN, so that the kernel's own routes and neighbours choose the next hop, as on a GRE
device. On a point-to-point tunnel there is one next hop: whatever the kernel asks for by ARP is
answered with the same address. IPv6 is off: the tunnel carries IPv4.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Interface

from ikelab.errors import LabError

ETHERNET_HEADER = 14
ETHERTYPE_IPV4 = b"\x08\x00"
ETHERTYPE_ARP = b"\x08\x06"

_FRAME = 65535 + ETHERNET_HEADER

# linux/if_tun.h, linux/sockios.h, linux/if.h
_TUNSETIFF = 0x400454CA
_IFF_TAP = 0x0002
_IFF_NO_PI = 0x1000
_IFF_TUN_EXCL = 0x8000
_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_SIOCSIFADDR = 0x8916
_SIOCSIFNETMASK = 0x891C
_SIOCSIFMTU = 0x8922
_SIOCSIFHWADDR = 0x8924
_IFF_UP = 0x1
_ARPHRD_ETHER = 1
_NAME_OCTETS = 15  # IFNAMSIZ without its NUL

_ARP_REQUEST = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1)  # Ethernet, IPv4 (RFC 826)
_ARP_REPLY = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 2)


def hardware_address(nbma: str) -> bytes:
    """The locally administered MAC address that stands for a tunnel end: 02:00 and its NBMA IPv4.

    So a capture on the device and `ip neigh` show where a neighbour really is.
    """
    return b"\x02\x00" + IPv4Address(nbma).packed


class TapDevice:
    """A TAP device in the namespace of its making; it is gone when closed, or with the process.

    address: "10.0.0.1/30"; local, remote: NBMA addresses; mtu: octets of an IP packet. The device
    is down until `set_up`. Raises LabError where it cannot be made.
    """

    def __init__(self, ifname: str, address: str, *, local: str, remote: str, mtu: int) -> None:
        if len(ifname) > _NAME_OCTETS:
            raise LabError(f"{ifname} is too long for a Linux device, which has {_NAME_OCTETS}")
        self.ifname = ifname
        self.address = IPv4Interface(address)
        self.up = False
        self._own = hardware_address(local)
        self._peer = hardware_address(remote)
        self._to_kernel = self._own + self._peer + ETHERTYPE_IPV4
        self._fd = _open(ifname)
        try:
            self._configure(mtu)
        except OSError as error:
            os.close(self._fd)
            raise LabError(f"cannot configure {ifname}: {error.strerror}") from error

    def fileno(self) -> int:
        """The descriptor to wait on."""
        return self._fd

    def read(self) -> bytes | None:
        """The next Ethernet frame of the kernel, or None when there is none."""
        try:
            return os.read(self._fd, _FRAME)
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno == errno.EBADFD:  # the device was taken away from outside
                return None
            raise

    def deliver(self, packet: bytes) -> bool:
        """Give the kernel an IPv4 packet as if it came from the peer; False while down."""
        return self._write(self._to_kernel + packet)

    def answer_arp(self, frame: bytes) -> bool:
        """Answer an ARP request of the kernel with the peer's hardware address.

        False where there is nothing to answer: no request, or one for our own address (such as
        the gratuitous one when the device comes up).
        """
        body = frame[ETHERNET_HEADER : ETHERNET_HEADER + 28]
        if len(body) < 28 or body[:8] != _ARP_REQUEST or body[24:28] == self.address.packed:
            return False
        asker, wanted = body[8:18], body[24:28]
        reply = _ARP_REPLY + self._peer + wanted + asker
        return self._write(asker[:6] + self._peer + ETHERTYPE_ARP + reply)

    def set_up(self, up: bool) -> None:
        """IFF_UP on or off; the connected route comes and goes with it."""
        set_link(self.ifname, up)
        self.up = up

    def close(self) -> None:
        """Take the device away."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _write(self, frame: bytes) -> bool:
        try:
            os.write(self._fd, frame)
        except OSError as error:
            # EIO: the device is down. EINVAL: a frame the kernel would not take from a wire.
            if error.errno in (errno.EIO, errno.EINVAL, errno.EAGAIN, errno.EBADFD):
                return False
            raise
        return True

    def _configure(self, mtu: int) -> None:
        """Hardware address, MTU, IPv4 address; before the device is up."""
        _disable_ipv6(self.ifname)
        hardware = struct.pack("=H", _ARPHRD_ETHER) + self._own
        with _control_socket() as control:
            fcntl.ioctl(control, _SIOCSIFHWADDR, _ifreq(self.ifname, hardware))
            fcntl.ioctl(control, _SIOCSIFMTU, _ifreq(self.ifname, struct.pack("=i", mtu)))
            for number, value in (
                (_SIOCSIFADDR, self.address.packed),
                (_SIOCSIFNETMASK, self.address.netmask.packed),
            ):
                sockaddr = struct.pack("=HH4s", socket.AF_INET, 0, value)
                fcntl.ioctl(control, number, _ifreq(self.ifname, sockaddr))


def set_link(ifname: str, up: bool) -> None:
    """IFF_UP of any device of this namespace. Raises OSError where there is none."""
    request = _ifreq(ifname, bytes(2))
    with _control_socket() as control:
        flags = struct.unpack_from("=H", fcntl.ioctl(control, _SIOCGIFFLAGS, request), 16)[0]
        flags = flags | _IFF_UP if up else flags & ~_IFF_UP
        fcntl.ioctl(control, _SIOCSIFFLAGS, _ifreq(ifname, struct.pack("=H", flags)))


def _open(ifname: str) -> int:
    """A new TAP device of that name; its descriptor, not blocking."""
    try:
        descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise LabError(
            f"cannot open /dev/net/tun: {error.strerror}",
            hint="the kernel needs CONFIG_TUN; in a container pass --device /dev/net/tun",
        ) from error
    flags = struct.pack("=H", _IFF_TAP | _IFF_NO_PI | _IFF_TUN_EXCL)
    try:
        fcntl.ioctl(descriptor, _TUNSETIFF, _ifreq(ifname, flags))
    except OSError as error:
        os.close(descriptor)
        raise LabError(
            f"cannot make the device {ifname}: {error.strerror}",
            hint="it needs CAP_NET_ADMIN in the namespace, and a name not in use",
        ) from error
    return descriptor


def _ifreq(ifname: str, value: bytes) -> bytes:
    """struct ifreq of 40 octets: the name, then the request's own field."""
    return struct.pack("=16s24s", ifname.encode(), value)


@contextmanager
def _control_socket() -> Iterator[socket.socket]:
    """Any socket of this namespace takes interface requests."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as control:
        yield control


def _disable_ipv6(ifname: str) -> None:
    """No router solicitations into the tunnel. Where the switch cannot be written (kernel without
    IPv6, read-only /proc) the frames come and are dropped by their type."""
    try:
        with open(f"/proc/sys/net/ipv6/conf/{ifname}/disable_ipv6", "w") as switch:
            switch.write("1")
    except OSError:
        pass
