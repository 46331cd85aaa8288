"""From a topology to the list of things to make: pure, so a lab can be read before it is built.

Each node is a network namespace; one more, the switch, holds a bridge per segment. A veth pair
joins each interface to its bridge. Nothing is made in the host's own namespace: links die with
their namespaces, so undoing a plan is deleting those it names.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Interface

from ikelab.lab.topology import Topology
from ikelab.runtime.nodespec import Attachment, NodeKind, NodeSpec, namespace_name

SWITCH = "switch"

# Sysctls of every namespace, written before it has a link. A new namespace takes some of the
# host's IPv4 settings over, so what matters is always said. IPv6 off: a lab of the guide has none,
# and its neighbour discovery would fill captures.
_EVERYWHERE = (
    ("net.ipv6.conf.all.disable_ipv6", "1"),
    ("net.ipv6.conf.default.disable_ipv6", "1"),
    ("net.ipv4.conf.all.rp_filter", "0"),
    ("net.ipv4.conf.default.rp_filter", "0"),
    ("net.ipv4.conf.all.accept_redirects", "0"),
    ("net.ipv4.conf.default.accept_redirects", "0"),
    ("net.ipv4.conf.all.send_redirects", "0"),
    ("net.ipv4.conf.default.send_redirects", "0"),
    # On a busy machine TCP takes a late acknowledgement for a loss, sends again, and the capture
    # shows a duplicate SACK as a warning, on links that lose nothing.
    ("net.ipv4.tcp_dsack", "0"),
    ("net.ipv4.tcp_early_retrans", "0"),
)
# With the module br_netfilter on the host, bridged frames would pass through netfilter.
_SWITCH_ONLY = (
    ("net.bridge.bridge-nf-call-iptables", "0"),
    ("net.bridge.bridge-nf-call-arptables", "0"),
)


@dataclass(frozen=True, slots=True)
class CreateNamespace:
    """A named network namespace, as `ip netns add` makes it."""

    namespace: str

    def __str__(self) -> str:
        """One line of a plan."""
        return f"namespace {self.namespace}"


@dataclass(frozen=True, slots=True)
class SetSysctl:
    """A value under /proc/sys/net of a namespace; skipped where the kernel has no such key."""

    namespace: str
    key: str
    value: str

    def __str__(self) -> str:
        """One line of a plan."""
        return f"  sysctl {self.key} = {self.value}"


@dataclass(frozen=True, slots=True)
class CreateBridge:
    """A bridge that forwards at once: no spanning tree, no delay, no multicast snooping."""

    namespace: str
    name: str
    mac: str

    def __str__(self) -> str:
        """One line of a plan."""
        return f"  bridge {self.name} {self.mac}"


@dataclass(frozen=True, slots=True)
class CreateVeth:
    """A pair: `port` on a bridge of the switch, `ifname` in the node, both without offloads.

    alias: what `ip link` shows at the port. up: the node's end; the port is always up.
    """

    switch: str
    port: str
    bridge: str
    namespace: str
    ifname: str
    mac: str
    alias: str
    up: bool

    def __str__(self) -> str:
        """One line of a plan."""
        state = "" if self.up else " down"
        return f"  link {self.ifname} {self.mac}{state} to {self.port} of {self.bridge}"


@dataclass(frozen=True, slots=True)
class AddAddress:
    """An IPv4 address. address: dotted with prefix length."""

    namespace: str
    ifname: str
    address: str

    def __str__(self) -> str:
        """One line of a plan."""
        return f"  address {self.address} on {self.ifname}"


@dataclass(frozen=True, slots=True)
class LoopbackUp:
    """Bring `lo` up."""

    namespace: str

    def __str__(self) -> str:
        """One line of a plan."""
        return "  link lo up"


@dataclass(frozen=True, slots=True)
class AddRoute:
    """A static route over a segment. prefix: dotted with length."""

    namespace: str
    prefix: str
    next_hop: str

    def __str__(self) -> str:
        """One line of a plan."""
        return f"  route {self.prefix} via {self.next_hop}"


@dataclass(frozen=True, slots=True)
class Masquerade:
    """Whatever goes out of `ifname` has its address, and UDP one of `ports`: a port translator.

    ports: so that nobody keeps the one he had, as with most of the NATs between homes and hubs.
    """

    namespace: str
    ifname: str
    ports: range = range(20000, 30000)

    def __str__(self) -> str:
        """One line of a plan."""
        return f"  masquerade on {self.ifname}, UDP from {self.ports.start} to {self.ports[-1]}"


Op = (
    CreateNamespace
    | SetSysctl
    | CreateBridge
    | CreateVeth
    | AddAddress
    | LoopbackUp
    | AddRoute
    | Masquerade
)


def make_plan(topology: Topology) -> list[Op]:
    """Everything to make for a topology, in order; the same list for the same topology."""
    return [*_switch(topology), *_nodes(topology)]


def namespaces_of(topology: Topology) -> tuple[str, ...]:
    """The namespaces of a lab, the switch's first."""
    return (
        namespace_name(topology.name, SWITCH),
        *(node.namespace for node in topology.nodes),
    )


def format_plan(ops: list[Op]) -> str:
    """The plan as text for a person."""
    return "".join(f"{op}\n" for op in ops)


def _switch(topology: Topology) -> Iterator[Op]:
    """The switch: one bridge a segment."""
    namespace = namespace_name(topology.name, SWITCH)
    yield CreateNamespace(namespace)
    for key, value in (*_EVERYWHERE, *_SWITCH_ONLY, ("net.ipv4.ip_forward", "0")):
        yield SetSysctl(namespace, key, value)
    for number, segment in enumerate(topology.segments, start=1):
        yield CreateBridge(namespace, segment.name, f"06:ff:00:00:00:{number:02x}")


def _nodes(topology: Topology) -> Iterator[Op]:
    """The nodes and their links; ports are counted through the whole lab."""
    switch = namespace_name(topology.name, SWITCH)
    port = 0
    for node in topology.nodes:
        yield CreateNamespace(node.namespace)
        # A certificate server with two interfaces is no way around the hub.
        forward = "1" if node.kind in (NodeKind.ROUTER, NodeKind.NAT) else "0"
        for key, value in (*_EVERYWHERE, ("net.ipv4.ip_forward", forward)):
            yield SetSysctl(node.namespace, key, value)
        yield LoopbackUp(node.namespace)
        for at in node.attachments:
            port += 1
            yield _veth(switch, port, node, at)
            if at.address is not None:
                yield AddAddress(node.namespace, at.ifname, at.address)
        if node.outside is not None:
            yield Masquerade(node.namespace, node.outside)
        for route in node.routes:
            yield AddRoute(node.namespace, route.prefix, route.next_hop)


def _veth(switch: str, port: int, node: NodeSpec, at: Attachment) -> CreateVeth:
    return CreateVeth(
        switch=switch,
        port=f"port{port}",
        bridge=at.segment,
        namespace=node.namespace,
        ifname=at.ifname,
        mac=_mac(at, port),
        alias=f"{node.name} {at.interface}",
        up=at.up,
    )


def _mac(at: Attachment, port: int) -> str:
    """A locally administered address that can be read: 06:00 and the IPv4 address.

    So a lab's captures are the same from run to run, and an ARP entry names its owner.
    """
    if at.address is None:
        octets = b"\x06\x01" + port.to_bytes(4, "big")
    else:
        octets = b"\x06\x00" + IPv4Interface(at.address).packed
    return octets.hex(":")
