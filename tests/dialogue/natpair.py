"""Two engines with a NAT between them: the initiator is inside, its address and ports are changed.

`forget()` makes the NAT give new ports, as after its restart. With `public=None` nothing is changed
and the wire only carries ports, which the plain playbook does not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

from ikelab.isakmp.events import Action, DatagramReceived, SendDatagram, SendKeepalive
from ikelab.isakmp.policy import IsakmpConfig, Keyring, PreSharedKey
from ikelab.types import Endpoint
from tests.dialogue.playbook import I_END, R_END, Pair, Side, config

PUBLIC = "203.0.113.7"


@dataclass
class Nat:
    """Address and port translation: inside endpoint <-> port of the public address."""

    public: str = PUBLIC
    mapped: dict[Endpoint, Endpoint] = field(default_factory=dict)
    ports: count[int] = field(default_factory=lambda: count(20001))

    def outwards(self, inside: Endpoint) -> Endpoint:
        """The public end that stands for an inside one."""
        if inside not in self.mapped:
            self.mapped[inside] = Endpoint(self.public, next(self.ports))
        return self.mapped[inside]

    def inwards(self, public: Endpoint) -> Endpoint | None:
        """The inside end behind a public one, None where nothing went out from it."""
        return next((end for end, seen in self.mapped.items() if seen == public), None)

    def forget(self) -> None:
        """All ports are new from now on."""
        self.mapped.clear()


def behind_nat(**changes: object) -> IsakmpConfig:
    """The hub's configuration for a spoke that it sees at the NAT's address."""
    key = PreSharedKey(PUBLIC, "255.255.255.255", "sesame")
    values: dict[str, object] = {"keyrings": (Keyring("default", (key,)),)}
    return config("hub", R_END, Endpoint(PUBLIC, 500), **{**values, **changes})


class NatPair(Pair):
    """spoke1 (initiator) - NAT - hub."""

    def __init__(
        self,
        initiator: IsakmpConfig | None = None,
        responder: IsakmpConfig | None = None,
        *,
        nat: bool = True,
    ) -> None:
        hub = responder or (behind_nat() if nat else None)
        super().__init__(initiator, hub)
        self.nat = Nat() if nat else Nat(public=I_END.address)
        if not nat:
            self.nat.mapped = {
                Endpoint(I_END.address, p): Endpoint(I_END.address, p) for p in PORTS
            }
        self.ways: list[str] = []

    def deliver(
        self, side: Side, change: Callable[[bytes], bytes] = lambda octets: octets
    ) -> list[Action]:
        return self.carry(side, side.outbox.pop(0), change)

    def carry(
        self,
        side: Side,
        sent: SendDatagram,
        change: Callable[[bytes], bytes] = lambda octets: octets,
    ) -> list[Action]:
        """Take one datagram through the NAT; nothing where the NAT has no port for it."""
        if side is self.i:
            seen = self.nat.outwards(sent.local)
            self.ways.append(f"{sent.local} -> {sent.remote}")
            return self.give(self.r, DatagramReceived(sent.remote, seen, change(sent.octets)))
        inside = self.nat.inwards(sent.remote)
        if inside is None:
            return []
        self.ways.append(f"{sent.local} -> {inside}")
        return self.give(self.i, DatagramReceived(inside, sent.local, change(sent.octets)))

    @property
    def keepalives(self) -> list[SendKeepalive]:
        """What the spoke has sent to keep its port."""
        return self.i.of(SendKeepalive)


PORTS = (500, 4500)
