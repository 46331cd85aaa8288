"""A NAT of the simulated network: ports are made up, and forgotten when nobody uses them."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from itertools import count

from ikelab.types import Endpoint


@dataclass
class NatBox:
    """One public address in front of a network. idle: seconds after which a port is forgotten.

    forwards: ports of the public address that somebody inside has for good.
    """

    public: str
    inside: IPv4Network
    idle: float = 30.0
    forwards: dict[int, Endpoint] = field(default_factory=dict)
    _mapped: dict[Endpoint, tuple[Endpoint, float]] = field(default_factory=dict)
    _ports: count[int] = field(default_factory=lambda: count(20001))

    def is_inside(self, address: str) -> bool:
        """Whether an address is behind it."""
        return IPv4Address(address) in self.inside

    def outwards(self, end: Endpoint, now: float) -> Endpoint:
        """The public end of an inside one, a new one where there is none any more."""
        for port, inside in self.forwards.items():
            if inside == end:
                return Endpoint(self.public, port)
        public, used = self._mapped.get(end, (None, 0.0))
        if public is None or now - used > self.idle:
            public = Endpoint(self.public, next(self._ports))
        self._mapped[end] = (public, now)
        return public

    def inwards(self, public: Endpoint, now: float) -> Endpoint | None:
        """The inside end of a public one; None where nobody has used it lately."""
        if public.port in self.forwards:
            return self.forwards[public.port]
        for end, (seen, used) in self._mapped.items():
            if seen == public and now - used <= self.idle:
                return end
        return None

    def forget(self) -> None:
        """What a restart does."""
        self._mapped.clear()
