"""A bridge with a few nodes on it, each in a network namespace of its own, for one test."""

from __future__ import annotations

import itertools
import os
import socket
import subprocess

from ikelab.runtime.namespace import inside

_NUMBERS = itertools.count(1)


class Segment:
    """`with Segment({"hub": "192.0.2.1", "spoke": "192.0.2.2"}) as wan:`; /24, device eth0.

    IPv6 and multicast snooping are off, so that a silent segment is silent.
    """

    def __init__(self, nodes: dict[str, str]) -> None:
        self.nodes = nodes
        self._prefix = f"ikelab-test-{os.getpid()}-{next(_NUMBERS)}"
        self.switch = f"{self._prefix}-switch"

    def namespace(self, node: str) -> str:
        return f"{self._prefix}-{node}"

    def __enter__(self) -> Segment:
        try:
            self._build()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _build(self) -> None:
        self._add_namespace(self.switch)
        ip("-n", self.switch, "link", "add", "br0", "type", "bridge", "mcast_snooping", "0")
        ip("-n", self.switch, "link", "set", "br0", "up")
        for number, (node, address) in enumerate(self.nodes.items()):
            namespace, port = self.namespace(node), f"port{number}"
            self._add_namespace(namespace)
            peer = ("type", "veth", "peer", "name", "eth0", "netns", namespace)
            ip("-n", self.switch, "link", "add", port, *peer)
            ip("-n", self.switch, "link", "set", port, "master", "br0", "up")
            ip("-n", namespace, "addr", "add", f"{address}/24", "dev", "eth0")
            ip("-n", namespace, "link", "set", "eth0", "up")
            ip("-n", namespace, "link", "set", "lo", "up")

    def _add_namespace(self, name: str) -> None:
        ip("netns", "add", name)
        with inside(name):
            for scope in ("all", "default"):
                with open(f"/proc/sys/net/ipv6/conf/{scope}/disable_ipv6", "w") as switch:
                    switch.write("1")

    def run(self, node: str, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in a node; its exit code is the caller's business."""
        return subprocess.run(
            ["ip", "netns", "exec", self.namespace(node), *command],
            capture_output=True,
            text=True,
            timeout=60,
        )

    def raw_socket(self, node: str, protocol: int) -> socket.socket:
        """A raw IP socket in a node that gives its own IP header."""
        with inside(self.namespace(node)):
            raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, protocol)
            raw.setsockopt(socket.IPPROTO_IP, socket.IP_HDRINCL, 1)
        return raw

    def __exit__(self, *_: object) -> None:
        for name in (self.switch, *(self.namespace(node) for node in self.nodes)):
            subprocess.run(["ip", "netns", "del", name], capture_output=True)


def ip(*arguments: str) -> None:
    """iproute2; an error is an error."""
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr}"
