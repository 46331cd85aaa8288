"""A LAN segment for a test: hosts in network namespaces on one bridge, and the frames they sent.

Names start with `ikelab-t-` and carry the process id, so that two runs never meet. Everything goes
away when the `with` block ends, also by an exception.
"""

from __future__ import annotations

import ipaddress
import itertools
import os
import socket
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

from ikelab.lab import netns
from ikelab.lab.plan import Masquerade, SetSysctl
from ikelab.runtime.namespace import inside

PREFIX_LENGTH = 24
_SERIAL = itertools.count(1)
_ETH_P_ALL = 3
_RECEIVE_BUFFER = 4 << 20  # a whole test's frames wait in the socket until they are asked for


def ip(*words: str) -> None:
    """Run `ip`; its own words are the error."""
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(words)}: {done.stderr.strip()}")


@dataclass(frozen=True, slots=True)
class Datagram:
    """One UDP datagram as a frame carried it. source, destination: (address, port)."""

    source: tuple[str, int]
    destination: tuple[str, int]
    octets: bytes


class Segment:
    """A bridge in a namespace of its own, with an address, and hosts attached to it.

    mtu: 9000 keeps a main mode with certificates in whole datagrams, 1500 is the real thing.
    """

    def __init__(self, address: str = "192.0.2.254", mtu: int = 1500) -> None:
        self.address = address
        self.namespaces: list[str] = []
        self._mtu = str(mtu)
        self._stem = f"ikelab-t-{os.getpid()}-{next(_SERIAL)}"
        self._tap: socket.socket | None = None
        self._web: list[tuple[ThreadingHTTPServer, threading.Thread]] = []

    def __enter__(self) -> Self:
        try:
            self.switch = self._namespace("switch")
            ip("-n", self.switch, "link", "add", "br0", "type", "bridge", "stp_state", "0")
            ip("-n", self.switch, "addr", "add", f"{self.address}/{PREFIX_LENGTH}", "dev", "br0")
            # Promiscuous, so that the tap on the bridge sees what passes between two ports.
            ip("-n", self.switch, "link", "set", "br0", "promisc", "on", "up")
            self._tap = self._open_tap()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add_host(self, role: str, address: str) -> str:
        """A namespace with one interface, `gi0-0`, on the segment; its name is returned."""
        namespace = self._namespace(role)
        port = f"p{len(self.namespaces)}"
        ends = ("link", "add", port, "mtu", self._mtu, "type", "veth", "peer", "name", "gi0-0")
        ip("-n", self.switch, *ends, "mtu", self._mtu, "netns", namespace)
        ip("-n", self.switch, "link", "set", port, "master", "br0", "up")
        ip("-n", namespace, "addr", "add", f"{address}/{PREFIX_LENGTH}", "dev", "gi0-0")
        ip("-n", namespace, "link", "set", "gi0-0", "up")
        return namespace

    def add_host_behind_nat(self, role: str, address: str, *, outside: str) -> str:
        """A host whose one interface, `gi0-0`, leads to a NAT with the address `outside`."""
        nat = self.add_host(f"{role}-nat", outside)
        namespace = self._namespace(role)
        gateway = f"{address.rpartition('.')[0]}.254"
        ip("-n", nat, "link", "add", "inside", "type", "veth", "peer", "gi0-0", "netns", namespace)
        ip("-n", nat, "addr", "add", f"{gateway}/{PREFIX_LENGTH}", "dev", "inside")
        ip("-n", namespace, "addr", "add", f"{address}/{PREFIX_LENGTH}", "dev", "gi0-0")
        ip("-n", nat, "link", "set", "inside", "up")
        ip("-n", namespace, "link", "set", "gi0-0", "up")
        ip("-n", namespace, "route", "add", "default", "via", gateway)
        netns.apply([SetSysctl(nat, "net.ipv4.ip_forward", "1"), Masquerade(nat, "gi0-0")])
        return namespace

    def serve(self, directory: Path, port: int = 80) -> list[str]:
        """Serve a directory by HTTP at the segment's address; the list grows by each path asked."""
        asked: list[str] = []
        handler = partial(_Files, asked, directory=str(directory))
        with inside(self.switch):
            server = ThreadingHTTPServer((self.address, port), handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        self._web.append((server, thread))
        return asked

    def datagrams(self, ports: Sequence[int] = (500, 4500)) -> list[Datagram]:
        """The UDP datagrams seen since the last call, from or to one of the ports, in order.

        A datagram in IP fragments counts as absent: give the segment a larger mtu.
        """
        assert self._tap is not None
        found: list[Datagram] = []
        while True:
            try:
                frame = self._tap.recv(65535)
            except BlockingIOError:
                return found
            datagram = _parse_udp(frame)
            if datagram and {datagram.source[1], datagram.destination[1]} & set(ports):
                found.append(datagram)

    def close(self) -> None:
        """End the servers and remove the namespaces; safe to call twice."""
        while self._web:
            server, thread = self._web.pop()
            server.shutdown()
            server.server_close()
            thread.join()
        if self._tap is not None:
            self._tap.close()
            self._tap = None
        while self.namespaces:
            ip("netns", "del", self.namespaces.pop())

    def _namespace(self, role: str) -> str:
        name = f"{self._stem}-{role}"
        ip("netns", "add", name)
        self.namespaces.append(name)
        with inside(name):
            # IKE alone shall be on the segment: no router solicitations, no duplicate detection.
            for scope in ("all", "default"):
                Path(f"/proc/sys/net/ipv6/conf/{scope}/disable_ipv6").write_text("1")
        ip("-n", name, "link", "set", "lo", "up")
        return name

    def _open_tap(self) -> socket.socket:
        with inside(self.switch):
            tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
        tap.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        tap.bind(("br0", 0))
        tap.setblocking(False)
        return tap


class _Files(SimpleHTTPRequestHandler):
    """A directory, with a list of what was asked for in place of lines on stderr."""

    def __init__(self, asked: list[str], *arguments: object, **options: object) -> None:
        self._asked = asked
        super().__init__(*arguments, **options)  # type: ignore[arg-type]

    def log_request(self, code: object = "-", size: object = "-") -> None:
        self._asked.append(self.path)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        pass


def _parse_udp(frame: bytes) -> Datagram | None:
    """The UDP datagram of an Ethernet frame, None for all else and for IP fragments."""
    packet = frame[14:]
    is_ipv4_udp = frame[12:14] == b"\x08\x00" and packet[9] == socket.IPPROTO_UDP
    if not is_ipv4_udp or int.from_bytes(packet[6:8], "big") & 0x3FFF:
        return None
    segment = packet[(packet[0] & 15) * 4 : int.from_bytes(packet[2:4], "big")]
    source, destination = (str(ipaddress.IPv4Address(packet[n : n + 4])) for n in (12, 16))
    ports = [int.from_bytes(segment[n : n + 2], "big") for n in (0, 2)]
    return Datagram((source, ports[0]), (destination, ports[1]), segment[8:])
