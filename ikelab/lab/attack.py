"""A hostile case played against a router of a deployed lab, from inside the lab.

The attackers stand where an honest peer of the router stands: in that peer's namespace, with its
credentials, at another port; and as a stranger at an address of their own on the same segment. What
the router has recorded is read at its console, before and after each shot, which is also how one
knows that it is done with a datagram: nothing sleeps.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from ipaddress import IPv4Interface

from ikelab.errors import ConfigError, LabError
from ikelab.hostile.hub import Assault, NotHere, without_notifies
from ikelab.ios.config import RunningConfig
from ikelab.ios.config_text import parse_config
from ikelab.isakmp.events import Clear
from ikelab.isakmp.policy import IsakmpConfig
from ikelab.lab import state
from ikelab.lab.topology import Topology
from ikelab.node import flows
from ikelab.runtime.control import ControlClient
from ikelab.runtime.nodespec import NodeKind, NodeSpec
from ikelab.runtime.station import Station, identity_of
from ikelab.script import MM5, Identity, Peer
from ikelab.types import Endpoint, Now
from ikelab.wire.layer import Layer
from ikelab.wire.numbers import AuthMethod, ProtocolId
from ikelab.wire.payloads import DELETE

PORT = 5500  # where the attackers send from at the honest peer's address: 500 is its own
_METHODS = {"rsa": AuthMethod.RSA_SIG, "psk": AuthMethod.PRE_SHARED_KEY}
_FETCH_SECONDS = 5.0  # for a CRL that the router asks for
_SECONDS = 30.0
_RATE = re.compile(r"\((\d+)/(\d+)\)")


@dataclass(frozen=True, slots=True)
class Place:
    """Who is attacked from where. tunnel: inner addresses, the router's and the peer's."""

    hub: NodeSpec
    peer: NodeSpec
    hub_address: str
    peer_address: str
    tunnel: tuple[str, str]


def find_place(topology: Topology, node: str | None) -> Place:
    """The router that is attacked, or the first with a tunnel. Raises ConfigError, LabError."""
    routers = [spec for spec in topology.nodes if spec.kind is NodeKind.ROUTER]
    wanted = topology.node(node) if node is not None else None
    candidates = [wanted] if wanted is not None else sorted(routers, key=_hubs_first)
    for hub in candidates:
        for place in _places(hub, routers):
            return place
    who = node or "no router"
    raise LabError(
        f"{who} of {topology.name} has {'no' if node else 'a'} tunnel with another router of it",
        hint="attacks need a router and an honest peer of it, without a NAT between them",
    )


def _hubs_first(spec: NodeSpec) -> bool:
    return spec.name != "hub"


def _places(hub: NodeSpec, routers: list[NodeSpec]) -> Iterator[Place]:
    config = _config(hub)
    for interface in flows.protected_tunnels(config):
        tunnel = interface.tunnel
        source = flows.source_address(config, tunnel) if tunnel is not None else None
        for peer in routers:
            if tunnel is None or source is None or interface.address is None or peer is hub:
                continue
            if tunnel.destination in _addresses(peer):
                inner = _inner(peer, source)
                if inner:
                    yield Place(hub, peer, source, tunnel.destination, (interface.address, inner))


def _config(spec: NodeSpec) -> RunningConfig:
    return parse_config(spec.config, file=spec.config_file, mode=spec.mode)


def _addresses(spec: NodeSpec) -> set[str]:
    return {a.address.partition("/")[0] for a in spec.attachments if a.address is not None}


def _inner(peer: NodeSpec, remote: str) -> str:
    """The peer's own address in its tunnel with an end, "" where it has none: behind a NAT."""
    for interface in flows.protected_tunnels(_config(peer)):
        if interface.tunnel is not None and interface.tunnel.destination == remote:
            return interface.address or ""
    return ""


class DeployedHub:
    """`hostile.hub.Hub` of a deployed lab. Made by `attacked`."""

    def __init__(self, place: Place, stack: ExitStack) -> None:
        self.place = place
        self.end = Endpoint(place.hub_address, 500)
        self._console = stack.enter_context(ControlClient(place.hub.control_path, timeout=_SECONDS))
        self._honest = stack.enter_context(ControlClient(place.peer.control_path, timeout=_SECONDS))
        namespace = place.peer.namespace
        self._inside = stack.enter_context(
            Station(place.peer_address, namespace=namespace, port=PORT)
        )
        self._outside = stack.enter_context(
            Station(_free_address(place), namespace=namespace, lodge=True)
        )
        self.stranger = self._outside.end
        self._members: list[Peer] = []
        self._secrets = _secrets(place)
        self._log_read = self._log_size()

    # --- what a case needs --------------------------------------------------------------------

    def now(self) -> Now:
        """The attackers' clock."""
        return self._inside.now()

    def send(self, octets: bytes, source: Endpoint) -> None:
        """Send, and return when the router is done with it, a CRL that it fetches included."""
        for station in (self._inside, self._outside):
            if station.end == source:
                station.send(octets, self.end)
                break
        else:
            self._outside.spoof(source, octets, self.end)
        self._console.wait("fetched", timeout=_FETCH_SECONDS)

    def inbox(self, at: Endpoint) -> list[bytes]:
        """What has come to one of our sockets; nothing comes to an address that is not there."""
        found: list[bytes] = []
        for station in (self._inside, self._outside):
            while station.end == at and (came := station.receive()) is not None:
                found.append(came[0])
        return found

    def recorded(self) -> Counter[str]:
        """`show crypto isakmp drops`."""
        shown = json.loads(self._console.exec("show crypto isakmp drops | json"))
        return Counter({row["reason"]: int(row["count"]) for row in shown["drops"]})

    def member(self, method: str = "") -> Peer:
        """The honest peer's double: its configuration, its credentials, another port."""
        for name in (method,) if method else _METHODS:
            config, identity = self._member_config(name)
            if config is not None:
                peer = self._inside.peer(self.end.address, config=config, identity=identity)
                peer.on(MM5).edit(without_notifies)
                self._members.append(peer)
                return peer
        raise NotHere(f"{self.place.peer.name} does not authenticate by {method or 'any method'}")

    def _member_config(self, method: str) -> tuple[IsakmpConfig | None, Identity | None]:
        running = _config(self.place.peer)
        policies = {
            number: policy
            for number, policy in running.policies.items()
            if policy.authentication is _METHODS[method]
        }
        if not policies:
            return None, None
        identity = self._identity(running) if method == "rsa" else None
        config = flows.to_isakmp_config(
            replace(running, policies=policies),
            () if identity is None else (identity.credential,),
            () if identity is None else identity.authorities,
            mode=self.place.peer.mode,
        )
        ours = [flow for flow in config.flows if flow.remote.address == self.end.address]
        flow = replace(ours[0], local=self._inside.end, remote=self.end)
        return replace(config, flows=(flow,), keepalive=None), identity

    def _identity(self, running: RunningConfig) -> Identity:
        names = [name for name in running.trustpoints if name not in running.servers]
        if not names:
            raise NotHere(f"{self.place.peer.name} has no trustpoint")
        peer = self.place.peer
        return identity_of(peer.lab, peer.name, names[0], root=peer.run_root)

    def advance(self, seconds: float) -> None:
        """The lab's time is everybody's."""
        raise NotHere("this takes a clock that can be turned: `pytest -m hostile` plays it")

    def provoke(self, peer: Peer) -> None:
        """The router calls its honest peer, not us."""
        raise NotHere("the router calls its honest peer: `pytest -m hostile` plays this")

    def allow_aggressive_mode(self) -> None:
        """Only where the router's configuration does already."""
        if not _config(self.place.hub).aggressive_mode:
            line = "no crypto isakmp aggressive-mode disable"
            raise NotHere(f"{self.place.hub.name} has no `{line}`: `pytest -m hostile` plays this")

    def sas(self) -> int:
        """`show crypto isakmp sa`."""
        shown = json.loads(self._console.exec("show crypto isakmp sa | json"))
        return len(shown["isakmp_sas"])

    # --- what must hold afterwards --------------------------------------------------------------

    def check(self) -> None:
        """The honest tunnel carries packets, the log tells of no error and no secret."""
        self._leave()
        self.ping()
        log = self.place.hub.log_path.read_text(errors="replace")[self._log_read :]
        assert "Traceback" not in log, f"{self.place.hub.name} has an error in its log"
        assert not [one for one in self._secrets if one in log], "a secret stands in the log"

    def _leave(self) -> None:
        """Take down what the doubles have brought up: the router sends with the newest pair."""
        for peer in self._members:
            if peer.states and peer.sa.is_complete and peer.spis_drawn:
                peer.send(peer.phase2([_delete(peer.spis_drawn)]), self.end)
            peer.give(self.now(), Clear())
            while peer.outbox:
                self.send(peer.outbox.pop(0).octets, peer.end)
        self._members.clear()

    def mend(self) -> None:
        """Let both ends of the honest tunnel begin anew."""
        for console in (self._console, self._honest):
            console.exec("clear crypto isakmp")

    def ping(self) -> None:
        """Packets through the honest tunnel, both ways. Raises AssertionError."""
        inner, outer = self.place.tunnel
        said = self._honest.exec(f"ping {inner} source {outer} repeat 5")
        rate = _RATE.search(said)
        passed = int(rate[1]) if rate is not None else 0
        assert passed >= 4, f"the honest tunnel: {said.strip() or 'no answer'}"

    def _log_size(self) -> int:
        path = self.place.hub.log_path
        return len(path.read_text(errors="replace")) if path.exists() else 0


def _delete(spis: list[bytes]) -> Layer:
    """Of ESP SAs, those too that only one message of a quick mode has made."""
    return DELETE(protocol_id=ProtocolId.ESP, spi_size=4, spis=list(spis))


def _free_address(place: Place) -> str:
    """An address of the peer's segment that no node has: the highest."""
    for attachment in place.peer.attachments:
        if attachment.address and attachment.address.partition("/")[0] == place.peer_address:
            network = IPv4Interface(attachment.address).network
            return str(network.broadcast_address - 1)
    raise ConfigError(f"{place.peer.name} has {place.peer_address} on no segment")


def _secrets(place: Place) -> list[str]:
    return [
        key.key
        for spec in (place.hub, place.peer)
        for keyring in _config(spec).keyrings.values()
        for key in keyring.keys
    ]


def _ping_at_last(hub: DeployedHub) -> None:
    try:
        hub.ping()
    except AssertionError as error:
        raise LabError(str(error), hint="attacks begin with a tunnel that works") from error


@contextmanager
def attacked(topology: Topology, node: str | None) -> Iterator[tuple[DeployedHub, Assault]]:
    """A block in which a router of the deployed lab can be attacked; its tunnel is up. LabError."""
    place = find_place(topology, node)
    known = state.read(topology.name)
    if known is None or not known.is_running:
        raise LabError(f"{topology.name} is not deployed", hint=f"`ikelab deploy {topology.name}`")
    with ExitStack() as stack:
        hub = DeployedHub(place, stack)
        try:
            hub.ping()
        except AssertionError:
            hub.mend()
            _ping_at_last(hub)
        yield hub, Assault(hub)
