"""What an administrator does after a lab is up, and what must then hold: `trust:` and `checks:`.

Plain data and its reading from `lab.yaml`; `steps.py` carries it out on a running lab. `checks:` is
a list that is gone through once, from top to bottom. What must hold:

    wait           {node, for, of?, within?}     a condition, within seconds (30)
    ping           {from, to, source?, count?}   every echo request (5) is answered
    unreachable    {from, to, source?}           an echo request is not
    show-contains  {node, command, text}         a show or info command prints the text
    refused        {node, reason}                the node has refused a peer's message: `revoked`

What is done in between; it holds if the node takes it:

    exec           {node, command}               a command at the node's console
    configure      {node, lines}                 lines typed after `configure terminal`
    trust          {node, trustpoint, ca, grant?, enroll?}   as an entry of `trust:`
    power-off      {node}                        its links go down, its process ends without goodbye
    forget-clock   {node, date}                  its date is lost, as when the battery is empty
    advance        90d                           the lab's clock, with all that is due on the way
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from ikelab.ios.config import RunningConfig
from ikelab.isakmp.reasons import REASONS
from ikelab.lab.dates import date_of, span_of
from ikelab.lab.yaml_reader import Value, address_of
from ikelab.runtime.nodespec import NodeKind, NodeSpec

CONDITIONS = (
    *("ready", "ca-enabled", "storage-lost", "storage-waits"),
    *("authenticated", "pending", "enrolled", "answered", "fetched", "tunnel-up"),
    "time-followed",
)
"""What every router or certificate server can be waited for (`runtime/control.py`).

fetched: all its web requests, for CRLs and by SCEP, have had their answers. storage-lost: a server
is disabled, since its storage cannot be read; storage-waits: files could not be written yet.
answered: all that a registration authority there has granted was signed by its CA. time-followed:
an NTP server, of that address, sets the clock.
"""

_CHECKS = 1000
_SHOWS = re.compile(r"show |crypto pki server \S+ info ")
_WAIT_SECONDS = 30
_PINGS = 5  # as IOS's ping sends


@dataclass(frozen=True, slots=True)
class Trust:
    """The administrator of `node` reads the fingerprint of trustpoint's CA on the console of `ca`,
    enters it, authenticates the trustpoint and enrolls.

    grant: where the request then waits and is granted, None where the CA does that by itself.
    enroll: False: only authenticate, the node is to enroll later or never.
    """

    node: str
    trustpoint: str
    ca: str
    grant: str | None = None
    enroll: bool = True


@dataclass(frozen=True, slots=True)
class Wait:
    """The condition holds within seconds. of: what it is about, such as "Tunnel1"; None: any."""

    node: str
    condition: str
    of: str | None
    within: int


@dataclass(frozen=True, slots=True)
class Ping:
    """`count` echo requests from a node are all answered; with `reachable` False, none is."""

    node: str
    to: str
    source: str | None
    count: int
    reachable: bool = True


@dataclass(frozen=True, slots=True)
class ShowContains:
    """A command of the exec mode prints this text."""

    node: str
    command: str
    text: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The node has refused some message of a peer for this reason. reason: as its counters name it
    (`show crypto isakmp drops`), such as "revoked" or "untrusted-issuer".
    """

    node: str
    reason: str


@dataclass(frozen=True, slots=True)
class Exec:
    """A command of the exec mode is taken by the node."""

    node: str
    command: str


@dataclass(frozen=True, slots=True)
class Configure:
    """Lines typed after `configure terminal` are taken by the node, all of them."""

    node: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PowerOff:
    """A node of any kind is gone: its peers hear no goodbye, its links are down. For good."""

    node: str


@dataclass(frozen=True, slots=True)
class ForgetClock:
    """A node's date is this one, and not believed: as after a restart with an empty battery."""

    node: str
    date: datetime


@dataclass(frozen=True, slots=True)
class Advance:
    """All clocks are moved forward, from one thing that is due to the next."""

    seconds: int


Check = (
    Wait
    | Ping
    | ShowContains
    | Refused
    | Exec
    | Configure
    | Trust
    | PowerOff
    | Advance
    | ForgetClock
)


@dataclass(frozen=True, slots=True)
class Names:
    """What the lab has, for the entries that name it. configs: of nodes whose file was read."""

    nodes: Mapping[str, NodeSpec]
    configs: Mapping[str, RunningConfig]

    def node(self, value: Value) -> str | None:
        """The node that is named here: one with a configuration, so no storage and no NAT."""
        node = self.any_node(value)
        if node is not None and not node.has_console:
            value.complain(f"{node.name} is a {node.kind.value} node, it has no console")
            return None
        return node.name if node else None

    def commanded(self, value: Value) -> str | None:
        """The node that is named here: one that takes commands, which a NAT does too."""
        name = value.text()
        node = self.nodes.get(name or "")
        return name if node is not None and node.kind is NodeKind.NAT else self.node(value)

    def any_node(self, value: Value) -> NodeSpec | None:
        """The node of any kind that is named here."""
        name = value.text()
        return None if name is None else value.one_of(name, self.nodes, "node")


def read_trust(value: Value, names: Names) -> Iterator[Trust]:
    """The entries of `trust:`, checked against both nodes' configurations."""
    for item in value.items():
        trust = _read_trust(item, names)
        if trust is not None:
            yield trust


def _read_trust(value: Value, names: Names) -> Trust | None:
    keys = ("node", "trustpoint", "ca")
    fields = value.fields((*keys, "grant", "enroll"), required=keys)
    if any(key not in fields for key in keys):
        return None
    node, ca = names.node(fields["node"]), names.node(fields["ca"])
    trustpoint = fields["trustpoint"].text()
    config, server = names.configs.get(node or ""), names.configs.get(ca or "")
    if config is not None and trustpoint:
        fields["trustpoint"].one_of(trustpoint, config.trustpoints, f"trustpoint on {node}")
    own = config.servers.get(trustpoint or "") if config is not None else None
    is_ra = own is not None and own.mode == "ra"
    if server is not None and not server.servers:
        fields["ca"].complain(f"{ca} has no `crypto pki server`")
    grant = _read_grant(fields["grant"], ca, server, is_ra) if "grant" in fields else None
    enroll = fields["enroll"].choice(("yes", "no")) if "enroll" in fields else "yes"
    if enroll == "no":
        _complain_of_enrolling(fields, config, trustpoint)
    if node is None or ca is None or not trustpoint or enroll is None:
        return None
    return Trust(node, trustpoint, ca, grant, enroll == "yes")


def _complain_of_enrolling(
    fields: Mapping[str, Value], config: RunningConfig | None, trustpoint: str | None
) -> None:
    """What would enroll although `enroll: no` stands there."""
    if "grant" in fields:
        fields["grant"].complain("nothing is granted without a request", "leave `grant:` out")
    points = config.trustpoints if config is not None else {}
    point = points.get(trustpoint or "")
    stands_by = any(other.fallback == trustpoint for other in points.values())
    if point is not None and point.auto_enroll is not None and not stands_by:
        hint = f"leave one of the two out; trustpoint {trustpoint} enrolls as soon as it can"
        fields["enroll"].complain("`enroll: no` and `auto-enroll`", hint)


def _read_grant(
    value: Value, ca: str | None, config: RunningConfig | None, is_ra: bool
) -> str | None:
    """The node that grants: the CA itself, and one that does not do so unasked.

    is_ra: the request is for a registration authority, which no CA grants unasked.
    """
    name = value.text()
    if ca is not None and name is not None and name != ca:
        value.complain(f"requests to {ca} wait at {ca}, not at {name}", f"write `grant: {ca}`")
        return name
    servers = config.servers.values() if config is not None and not is_ra else ()
    if any(server.grant == "auto" for server in servers):
        hint = "leave `grant:` out, or `grant auto` out of its configuration"
        value.complain(f"{ca} has `grant auto`: nothing waits there to be granted", hint)
    return name


def read_checks(value: Value, names: Names) -> Iterator[Check]:
    """The entries of `checks:`, one key each, which says what kind it is."""
    items = list(value.items())
    if len(items) > _CHECKS:
        value.complain(f"{len(items)} checks; at most {_CHECKS} are possible")
        return
    for item in items:
        fields = item.fields(CHECKS)
        if len(fields) > 1:
            item.complain(f"two checks in one item: {', '.join(fields)}", "begin with a hyphen")
        for kind, inner in fields.items():
            check = _READERS[kind](inner, names)
            if check is not None:
                yield check


def _read_wait(value: Value, names: Names) -> Check | None:
    required = ("node", "for")
    fields = value.fields(("node", "for", "of", "within"), required=required)
    if any(key not in fields for key in required):
        return None
    node = names.node(fields["node"])
    condition = fields["for"].choice(CONDITIONS)
    of = fields["of"].text() if "of" in fields else None
    within = fields["within"].number(1, 3600) if "within" in fields else _WAIT_SECONDS
    if node is None or condition is None or within is None:
        return None
    return Wait(node, condition, of, within)


def _read_ping(value: Value, names: Names) -> Check | None:
    fields = value.fields(("from", "to", "source", "count"), required=("from", "to"))
    return _echo(fields, names, reachable=True)


def _read_unreachable(value: Value, names: Names) -> Check | None:
    fields = value.fields(("from", "to", "source"), required=("from", "to"))
    return _echo(fields, names, reachable=False)


def _echo(fields: Mapping[str, Value], names: Names, *, reachable: bool) -> Check | None:
    if "from" not in fields or "to" not in fields:
        return None
    node, to = names.node(fields["from"]), address_of(fields["to"])
    source = address_of(fields["source"]) if "source" in fields else None
    default = _PINGS if reachable else 1
    count = fields["count"].number(1, 1000) if "count" in fields else default
    if node is None or to is None or count is None:
        return None
    return Ping(node, to, source, count, reachable)


def _read_show(value: Value, names: Names) -> Check | None:
    keys = ("node", "command", "text")
    fields = value.fields(keys, required=keys)
    if len(fields) < len(keys):
        return None
    node = names.commanded(fields["node"])
    command, text = fields["command"].text(), fields["text"].text()
    if node is None or not command or not text:
        return None
    if not _SHOWS.match(command):
        hint = "write a command that begins `show`, or `crypto pki server NAME info`"
        fields["command"].complain("a check only shows", hint)
    return ShowContains(node, command, text)


def _read_refused(value: Value, names: Names) -> Check | None:
    required = ("node", "reason")
    fields = value.fields(required, required=required)
    if len(fields) < len(required):
        return None
    node, reason = names.node(fields["node"]), fields["reason"].text()
    if node is None or not reason or fields["reason"].one_of(reason, REASONS, "reason") is None:
        return None
    return Refused(node, reason)


def _read_exec(value: Value, names: Names) -> Check | None:
    fields = value.fields(("node", "command"), required=("node", "command"))
    if len(fields) < 2:
        return None
    node, command = names.commanded(fields["node"]), fields["command"].text()
    return Exec(node, command) if node is not None and command else None


def _read_configure(value: Value, names: Names) -> Check | None:
    keys = ("node", "lines")
    fields = value.fields(keys, required=keys)
    if len(fields) < len(keys):
        return None
    node = names.node(fields["node"])
    lines = tuple(line for item in fields["lines"].items() if (line := item.text()))
    return Configure(node, lines) if node is not None and lines else None


def _read_power_off(value: Value, names: Names) -> Check | None:
    fields = value.fields(("node",), required=("node",))
    node = names.any_node(fields["node"]) if "node" in fields else None
    return PowerOff(node.name) if node else None


def _read_forget_clock(value: Value, names: Names) -> Check | None:
    fields = value.fields(("node", "date"), required=("node", "date"))
    if len(fields) < 2:
        return None
    node, date = names.node(fields["node"]), date_of(fields["date"])
    return ForgetClock(node, date) if node is not None and date is not None else None


def _read_advance(value: Value, names: Names) -> Check | None:
    seconds = span_of(value)
    return Advance(seconds) if seconds else None


_READERS: Mapping[str, Callable[[Value, Names], Check | None]] = {
    "wait": _read_wait,
    "ping": _read_ping,
    "unreachable": _read_unreachable,
    "show-contains": _read_show,
    "refused": _read_refused,
    "exec": _read_exec,
    "configure": _read_configure,
    "trust": _read_trust,
    "power-off": _read_power_off,
    "advance": _read_advance,
    "forget-clock": _read_forget_clock,
}
CHECKS = tuple(_READERS)
"""What may stand in `checks:`."""
