"""Which addresses belong to a lab: the only ones that scripts and attacks may send to.

A lab's nodes live in named namespaces `ikelab-...`; what is wired inside them is the lab's. On
loopback only 127.0.0.0/8 is anybody's own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from pyroute2 import IPRoute

from ikelab.errors import LabError
from ikelab.runtime.namespace import NAMED, inside

PREFIX = "ikelab-"
_HOST = Path("/proc/1/ns/net")


def check_place(namespace: str | None, address: str) -> None:
    """Raise LabError unless a socket may be opened there."""
    if namespace is None:
        if not IPv4Address(address).is_loopback:
            raise LabError(
                f"{address} belongs to the host, not to a lab",
                hint="name a namespace of a lab (`ip netns list`), or use 127.0.0.1",
            )
        return
    name = Path(namespace).name
    if not name.startswith(PREFIX):
        raise LabError(
            f"the namespace {name} belongs to no lab",
            hint=f"those of labs are called {PREFIX}LAB-NODE; `ikelab inspect` lists them",
        )
    if (NAMED / name).exists() and _is_host(NAMED / name):
        raise LabError(f"{name} is the host's own namespace under another name")


def _is_host(path: Path) -> bool:
    try:
        return os.path.samestat(path.stat(), _HOST.stat())
    except OSError:
        return False  # not ours to look at: then it is not ours


class Owned:
    """The addresses that a script in this place may send to; looked up again when one is new."""

    def __init__(self, namespace: str | None) -> None:
        self._namespace = namespace
        self._known: frozenset[str] = frozenset()

    def check(self, address: str) -> None:
        """Raise LabError for an address that no lab owns."""
        if self._namespace is None:
            if IPv4Address(address).is_loopback:
                return
            raise LabError(
                f"{address} is not sent to: from loopback only 127.0.0.0/8 can be reached",
                hint="name the namespace of a lab that has this address",
            )
        if address in self._known:
            return
        self._known = frozenset(owned_addresses())
        if address not in self._known:
            there = ", ".join(sorted(self._known)) or "none"
            raise LabError(
                f"{address} is not sent to: no lab on this machine owns it",
                hint=f"addresses of labs: {there}",
            )


@contextmanager
def lodged(namespace: str, address: str) -> Iterator[None]:
    """A block with one more address on the segment of a lab's namespace that it belongs to."""
    with inside(namespace), IPRoute() as route:
        index, length = _segment_of(route, namespace, address)
        route.addr("add", index=index, address=address, prefixlen=length)
    try:
        yield
    finally:
        with inside(namespace), IPRoute() as route:
            route.addr("delete", index=index, address=address, prefixlen=length)


def _segment_of(route: IPRoute, namespace: str, address: str) -> tuple[int, int]:
    """(index of the interface, prefix length)."""
    for message in route.get_addr(family=2):
        there, length = message.get_attr("IFA_LOCAL"), int(message["prefixlen"])
        if there == address:
            raise LabError(f"{namespace} has the address {address} already")
        if there and IPv4Address(address) in IPv4Network(f"{there}/{length}", strict=False):
            return int(message["index"]), length
    raise LabError(
        f"no segment of {namespace} has room for {address}",
        hint="take an address of one of its networks (`ip -n NAMESPACE addr`)",
    )


def owned_addresses() -> Iterator[str]:
    """All IPv4 addresses in the namespaces of labs, loopback's left out."""
    if not NAMED.is_dir():
        return
    for path in sorted(NAMED.iterdir()):
        if path.name.startswith(PREFIX) and not _is_host(path):
            yield from _addresses_in(path.name)


def _addresses_in(namespace: str) -> Iterator[str]:
    try:
        with inside(namespace), IPRoute() as route:
            messages = list(route.get_addr(family=2))  # AF_INET
    except LabError:
        return  # it went away meanwhile
    for message in messages:
        address = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
        if address and not IPv4Address(address).is_loopback:
            yield str(address)
