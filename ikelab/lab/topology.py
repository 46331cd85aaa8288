"""A lab as its files say it: `lab.yaml` and the configurations it names, checked as a whole.

`load` returns one canonical `Topology`, or raises `ConfigErrors` with every error of every file
at its line and column. Nothing of a lab is executed, and no path leads out of its folder.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path
from typing import cast, get_args

from ikelab.errors import ConfigError
from ikelab.ios import debugging
from ikelab.ios.config import InterfaceConfig, LabMode, RunningConfig, interface_name, linux_ifname
from ikelab.ios.config_text import read_config
from ikelab.ios.log_isakmp import Dialect
from ikelab.lab.checks import Check, Names, Trust, read_checks, read_trust
from ikelab.lab.dates import clock_of, date_of
from ikelab.lab.yaml_reader import Complaints, Value, address_of, compose, nearest, read_text
from ikelab.runtime.nodespec import Attachment, FtpUser, NodeKind, NodeSpec, NtpService, Route

LAB_FILE = "lab.yaml"
DEBUGGING = (debugging.ISAKMP,)
"""What nodes print where lab.yaml has no `debug:`: the log of a capture is worth nothing without.

Each node prints it from its start, as if somebody had typed `debug crypto isakmp`.
"""
NODES = 1000  # a bridge has 1,023 ports (BR_PORT_BITS), and each segment is one bridge
_SEGMENTS = 100

# A lab's and a node's name together name a namespace, a log and a control socket, whose path may
# have 107 octets; a segment's is a Linux device.
LAB_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
"""What a lab may be called, and a node too."""
_SEGMENT_NAME = re.compile(r"[a-z][a-z0-9-]{0,14}")
_USER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,30}")
_RESERVED_NODES = {"switch", "supervisor"}  # our own namespace, our own socket
_RESERVED_SEGMENTS = re.compile(r"lo|all|default|port\d+")
_NAME_RULE = "a name has lower-case letters, digits and hyphens, a letter first, at most {}"


@dataclass(frozen=True, slots=True)
class Segment:
    """One Ethernet: a bridge in the lab's switch namespace. prefix: dotted with length."""

    name: str
    prefix: str


@dataclass(frozen=True, slots=True)
class Topology:
    """A whole lab. Nodes in the file's order: they are started in it, and stopped backwards.

    clock: the date when it is deployed; None: the machine's.
    """

    name: str
    title: str
    mode: LabMode
    folder: Path
    segments: tuple[Segment, ...]
    nodes: tuple[NodeSpec, ...]
    trust: tuple[Trust, ...]
    checks: tuple[Check, ...]
    clock: datetime | None = None

    def node(self, name: str) -> NodeSpec:
        """The node of this name. ConfigError if there is none."""
        for node in self.nodes:
            if node.name == name:
                return node
        names = [node.name for node in self.nodes]
        hint = nearest(name, names) or f"there are: {', '.join(names)}"
        raise ConfigError(f"no node {name!r} in {self.name}", hint=hint)


def load(folder: Path) -> Topology:
    """The lab in a folder. Raises ConfigErrors with all that is wrong in its files."""
    path = folder / LAB_FILE
    complaints = Complaints(str(path))
    root = compose(read_text(path, str(path)), complaints)
    reader = _Reader(folder, complaints)
    topology = reader.read(root) if root is not None else None
    complaints.raise_any()
    assert topology is not None  # nothing is left out without a complaint
    return topology


class _Reader:
    """Reads one lab, top to bottom."""

    def __init__(self, folder: Path, complaints: Complaints) -> None:
        self.folder = folder
        self.complaints = complaints
        self.segments: dict[str, Segment] = {}
        self.nodes: dict[str, NodeSpec] = {}
        self.configs: dict[str, RunningConfig] = {}
        self.debugging: tuple[str, ...] = DEBUGGING
        self.dialect: Dialect = "12.4"
        self.taken: dict[tuple[str, str], str] = {}  # (segment, address) -> node

    def read(self, root: Value) -> Topology | None:
        """The topology; None where it could not even be put together."""
        known = ("name", "title", "mode", "clock", "debug", "dialect", "segments", "nodes")
        fields = root.fields((*known, "trust", "checks"), required=("name", "segments", "nodes"))
        name = _name(fields["name"]) if "name" in fields else None
        mode = fields["mode"].choice(("modern", "legacy")) if "mode" in fields else "modern"
        self.debugging = _debugging(fields["debug"]) if "debug" in fields else DEBUGGING
        dialect = fields["dialect"].choice(get_args(Dialect)) if "dialect" in fields else "12.4"
        self.dialect = cast(Dialect, dialect or "12.4")
        title = fields["title"].text() if "title" in fields else name
        if "segments" in fields:
            self._read_segments(fields["segments"])
        if "nodes" in fields:
            self._read_nodes(fields["nodes"], name or "", cast(LabMode, mode or "modern"))
        names = Names(self.nodes, self.configs)
        trust = tuple(read_trust(fields["trust"], names)) if "trust" in fields else ()
        checks = tuple(read_checks(fields["checks"], names)) if "checks" in fields else ()
        return Topology(
            name or "",
            title or "",
            cast(LabMode, mode or "modern"),
            self.folder,
            tuple(self.segments.values()),
            tuple(self.nodes.values()),
            trust,
            checks,
            date_of(fields["clock"]) if "clock" in fields else None,
        )

    # --- segments -------------------------------------------------------------------------------

    def _read_segments(self, value: Value) -> None:
        for key, entry in value.entries():
            name = _name(key, _SEGMENT_NAME, 15)
            fields = entry.fields(("prefix",), required=("prefix",))
            if name is not None and _RESERVED_SEGMENTS.fullmatch(name):
                key.complain(f"a segment cannot be called {name!r}", "Linux or the lab uses it")
            prefix = _prefix(fields["prefix"]) if "prefix" in fields else None
            if name is not None:
                # A segment without a good prefix is known by name: one error is enough.
                self.segments[name] = Segment(name, prefix or "0.0.0.0/0")
        if len(self.segments) > _SEGMENTS:
            value.complain(f"{len(self.segments)} segments; at most {_SEGMENTS} are possible")

    # --- nodes ----------------------------------------------------------------------------------

    def _read_nodes(self, value: Value, lab: str, mode: LabMode) -> None:
        entries = list(value.entries())
        if len(entries) > NODES:
            value.complain(f"{len(entries)} nodes; at most {NODES} are possible")
            return
        for key, entry in entries:
            name = _name(key)
            if name in _RESERVED_NODES:
                key.complain(f"a node cannot be called {name!r}", "the lab itself uses the name")
            kind = _kind_of(entry)
            if name is not None and kind is not None:
                node = NodeSpec(
                    lab, name, kind, mode, debugging=self.debugging, dialect=self.dialect
                )
                self.nodes[name] = self._read_kind(kind)(node, entry)
            elif name is not None:
                self.nodes[name] = NodeSpec(lab, name, NodeKind.ROUTER, mode)

    def _read_kind(self, kind: NodeKind) -> Callable[[NodeSpec, Value], NodeSpec]:
        """How a node of this kind is read."""
        match kind:
            case NodeKind.STORAGE:
                return self._read_storage
            case NodeKind.NAT:
                return self._read_nat
            case NodeKind.NTP:
                return self._read_ntp
            case _:
                return self._read_router

    def _read_router(self, node: NodeSpec, entry: Value) -> NodeSpec:
        keys = ("kind", "config", "interfaces", "clock")
        fields = entry.fields(keys, required=("config", "interfaces"))
        if "clock" in fields:
            node = replace(node, clock=clock_of(fields["clock"]))
        if "config" in fields:
            node = self._read_config(node, fields["config"])
        config = self.configs.get(node.name)
        attachments: list[Attachment] = []
        for key, segment in fields["interfaces"].entries() if "interfaces" in fields else ():
            found = self._attach(node, key, segment, config)
            if found is not None:
                attachments.append(found)
        if config is None or "interfaces" not in fields:
            return replace(node, attachments=tuple(attachments))
        _complain_of_loose(fields["interfaces"], config, attachments)
        return replace(
            node,
            attachments=tuple(attachments),
            routes=tuple(self._segment_routes(config, attachments)),
        )

    def _read_config(self, node: NodeSpec, value: Value) -> NodeSpec:
        """The node with its configuration's text; the text's own errors are complained of."""
        name = value.text()
        path = self._inside(name, value) if name else None
        if path is None:
            return node
        try:
            text = read_text(path, str(path))
        except ConfigError as error:
            value.complain(f"{name} {error.reason}")
            return node
        read = read_config(text, file=str(path), mode=node.mode)
        self.complaints.errors.extend(read.errors)
        self.configs[node.name] = read.config
        return replace(node, config=text, config_file=str(path))

    def _inside(self, name: str, value: Value) -> Path | None:
        """The path of a file that really lies in the lab's folder, symbolic links followed."""
        path = self.folder / name
        if "\0" in name or not path.resolve().is_relative_to(self.folder.resolve()):
            value.complain(f"{name!r} leads out of the lab's folder")
            return None
        return path

    def _attach(
        self, node: NodeSpec, key: Value, value: Value, config: RunningConfig | None
    ) -> Attachment | None:
        text = key.text() or ""
        name = interface_name(text)
        if name is None or name.startswith("Tunnel"):
            key.complain(f"no interface {text!r}", "write it as GigabitEthernet0/0")
            return None
        segment = self._segment(value)
        if config is None or segment is None:
            return None
        if name not in config.interfaces:
            hint = nearest(name, config.interfaces) or f"add `interface {name}` to it"
            key.complain(f"the configuration of {node.name} has no {name}", hint)
            return None
        interface = config.interfaces[name]
        return Attachment(
            name,
            linux_ifname(name),
            segment.name,
            self._address(node.name, interface, segment, value),
            up=not interface.shutdown,
        )

    def _address(
        self, node: str, interface: InterfaceConfig, segment: Segment, value: Value
    ) -> str | None:
        """The interface's address with length, checked against its segment."""
        if interface.address is None or interface.mask is None:
            return None
        address = IPv4Interface(f"{interface.address}/{interface.mask}")
        if str(address.network) != segment.prefix:
            value.complain(
                f"{node} has {address} on {interface.name}, outside {segment.name}"
                f" ({segment.prefix})",
                "mend the address or the mask, or attach it to another segment",
            )
        self._take(node, str(address.ip), segment, value)
        return str(address)

    def _take(self, node: str, address: str, segment: Segment, value: Value) -> None:
        """Note an address; two nodes cannot have the same one."""
        owner = self.taken.setdefault((segment.name, address), node)
        if owner != node:
            value.complain(f"{address} of {node} is already {owner}'s on {segment.name}")

    def _segment_routes(
        self, config: RunningConfig, attachments: list[Attachment]
    ) -> Iterator[Route]:
        """The static routes with a next hop on a segment: those through tunnels are the node's."""
        networks = [IPv4Interface(at.address).network for at in attachments if at.address and at.up]
        for route in config.routes:
            if any(IPv4Address(route.next_hop) in network for network in networks):
                prefix = str(IPv4Network(f"{route.prefix}/{route.mask}"))
                yield Route(prefix, route.next_hop)

    def _read_storage(self, node: NodeSpec, entry: Value) -> NodeSpec:
        fields = entry.fields(("kind", "addresses", "ftp"), required=("addresses", "ftp"))
        attachments = self._read_addresses(node, fields)
        users: list[FtpUser] = []
        for key, value in fields["ftp"].entries() if "ftp" in fields else ():
            user = _name(key, _USER_NAME, 31)
            password = value.text()
            if user and password:
                users.append(FtpUser(user, password))
        return replace(node, attachments=tuple(attachments), ftp_users=tuple(users))

    def _read_ntp(self, node: NodeSpec, entry: Value) -> NodeSpec:
        keys = ("kind", "addresses", "stratum", "reference", "clock")
        fields = entry.fields(keys, required=("addresses",))
        attachments = self._read_addresses(node, fields)
        stratum = fields["stratum"].number(1, 15) if "stratum" in fields else 1
        reference = "LOCL" if stratum == 1 else "127.127.1.1"
        if "reference" in fields:
            reference = _reference(fields["reference"], stratum or 1) or reference
        clock = clock_of(fields["clock"]) if "clock" in fields else node.clock
        service = NtpService(stratum or 1, reference)
        return replace(node, attachments=tuple(attachments), ntp=service, clock=clock)

    def _read_addresses(self, node: NodeSpec, fields: Mapping[str, Value]) -> list[Attachment]:
        """`addresses:` of a node without IOS, by segment."""
        attachments: list[Attachment] = []
        for number, (key, value) in enumerate(
            fields["addresses"].entries() if "addresses" in fields else ()
        ):
            segment = self._segment(key)
            address = self._host_address(node.name, value, segment) if segment else None
            if segment is not None and address is not None:
                ifname = f"eth{number}"
                attachments.append(Attachment(ifname, ifname, segment.name, address))
        return attachments

    def _host_address(self, node: str, value: Value, segment: Segment) -> str | None:
        address = address_of(value)
        if address is None:
            return None
        network = IPv4Network(segment.prefix)
        if IPv4Address(address) not in network:
            value.complain(f"{address} is outside {segment.name} ({segment.prefix})")
        self._take(node, address, segment, value)
        return f"{address}/{network.prefixlen}"

    def _read_nat(self, node: NodeSpec, entry: Value) -> NodeSpec:
        """A NAT: one address outside, which stands for every host of the segments inside."""
        sides = ("outside", "inside")
        fields = entry.fields(("kind", *sides), required=sides)
        attachments: list[Attachment] = []
        for side in sides:
            entries = list(fields[side].entries()) if side in fields else []
            if side == "outside" and len(entries) > 1:
                entries[1][0].complain("a NAT has one segment outside", "put this one `inside`")
            for key, value in entries:
                segment = self._segment(key)
                if segment is not None and any(at.segment == segment.name for at in attachments):
                    key.complain(f"{node.name} is on {segment.name} already")
                    continue
                address = self._host_address(node.name, value, segment) if segment else None
                if segment is not None and address is not None:
                    ifname = f"eth{len(attachments)}"
                    attachments.append(Attachment(ifname, ifname, segment.name, address))
        return replace(node, attachments=tuple(attachments), outside="eth0")

    # --- names ----------------------------------------------------------------------------------

    def _segment(self, value: Value) -> Segment | None:
        """The segment that is named here."""
        name = value.text()
        return None if name is None else value.one_of(name, self.segments, "segment")


def _name(value: Value, pattern: re.Pattern[str] = LAB_NAME, most: int = 31) -> str | None:
    """A name of the user's own, fit for a namespace, a device and a file."""
    name = value.text()
    if name is None or pattern.fullmatch(name):
        return name
    value.complain(f"{name!r} cannot be a name here", _NAME_RULE.format(most))
    return None


def _debugging(value: Value) -> tuple[str, ...]:
    """`debug:`, a list of what follows the word at the console, such as `crypto isakmp`."""
    known = {name: name for name in debugging.NAMES}
    named = [(item, item.text()) for item in value.items()]
    found = [item.one_of(name, known, "debugging") for item, name in named if name]
    return tuple(name for name in found if name)


def _kind_of(entry: Value) -> NodeKind | None:
    """`kind:` of a node, looked at before its other keys are."""
    kind = entry.field("kind")
    word = kind.choice([kind.value for kind in NodeKind]) if kind else None
    return NodeKind(word) if word else None


def _reference(value: Value, stratum: int) -> str | None:
    """What a time server is set by: a kind of clock at stratum 1, else the address of another."""
    if stratum > 1:
        return address_of(value)
    text = value.text()
    if text is None or re.fullmatch("[A-Z0-9]{1,4}", text):
        return text
    value.complain(f"{text!r} is no clock", "write GPS, LOCL or another of at most four capitals")
    return None


def _prefix(value: Value) -> str | None:
    """A network of hosts, dotted with length."""
    text = value.text()
    if text is None:
        return None
    try:
        network = IPv4Network(text)
    except ValueError as error:
        value.complain(f"{text!r} is no IPv4 prefix: {error}", "write it as 10.0.0.0/24")
        return None
    if not 8 <= network.prefixlen <= 30 or "/" not in text:
        value.complain(f"{text!r} is no network of hosts", "write it as 10.0.0.0/24")
        return None
    return str(network)


def _complain_of_loose(value: Value, config: RunningConfig, attachments: list[Attachment]) -> None:
    """An address in the configuration on an interface that no segment is given for."""
    attached = {at.interface for at in attachments}
    for interface in config.interfaces.values():
        if interface.address and not interface.tunnel and interface.name not in attached:
            value.complain(
                f"{interface.name} has {interface.address} but no segment",
                f"add `{interface.name}: SEGMENT` here",
            )
