"""E17: clocks that jump by years, forth and back, at a CA, a hub, a spoke, or at all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from ikelab.isakmp.events import Clear, Refused
from ikelab.pki.ca_events import RolloverAvailable
from ikelab.pki.cert_server import ServerState
from ikelab.pki.x509 import load_certificate
from tests.hostile.registry import Seen, Shot, case
from tests.simnet.network import Simnet
from tests.simnet.test_rollover import NAMES, enrolled

YEAR = timedelta(days=365)
JUMPS = 10
"""Times that each clock is set to another year and back."""


@dataclass
class ClockTarget:
    """Root, subordinate CA, hub and spoke of the lab `rollover`, in a simulated network."""

    net: Simnet = field(default_factory=enrolled)
    told: dict[str, int] = field(default_factory=dict)
    set: int = 0

    def __post_init__(self) -> None:
        self.net.run(86400)

    def setting(self, years: float, *names: str) -> Callable[[], Seen]:
        """A shot: these clocks are so many years ahead for an hour; does the tunnel come up?"""

        def fire() -> Seen:
            for name in names:
                self.net.set_clock(self.net.nodes[name], years * YEAR)
            self.net.run(3600)
            return self.knock()

        return fire

    def jumping(self, years: float, *names: str) -> Callable[[], Seen]:
        """A shot: forth and back, again and again, and then the tunnel."""

        def fire() -> Seen:
            for _ in range(JUMPS):
                for ahead in (years * YEAR, timedelta()):
                    for name in names:
                        self.net.set_clock(self.net.nodes[name], ahead)
                    self.set += 1
                    self.net.run(60)
            self.net.run(3600)
            return self.knock()

        return fire

    def knock(self) -> Seen:
        """A main mode from the beginning, and what the two ends recorded of it."""
        hub, spoke = self.net.nodes["hub"], self.net.nodes["spoke1"]
        for node in (hub, spoke):
            self.net.give(node, Clear())
        self.net.run(60)
        self._reasons()
        self.net.acquire(spoke)
        self.net.run(10)
        up = bool(spoke.installed) and spoke.keys() == hub.keys()
        return Seen("a tunnel" if up else "no tunnel", self._reasons())

    def _reasons(self) -> tuple[str, ...]:
        reasons: list[str] = []
        for name in ("hub", "spoke1"):
            refused = self.net.nodes[name].of(Refused)
            reasons += [item.reason for item in refused[self.told.get(name, 0) :]]
            self.told[name] = len(refused)
        return tuple(reasons)

    def check(self) -> None:
        """No shadow was made for a date that was not true, nor certificates without number."""
        for name in ("root-ca", "ra-subca"):
            server = self.net.nodes[name].router.servers[name]
            assert server.state is ServerState.ENABLED
            assert load_certificate(server.certificates[0] or b"").not_before <= self.net.now.wall
            assert len(self.net.nodes[name].of(RolloverAvailable)) <= 2
            assert server.store.last_serial() < self.set, "less than one for each time"
        assert self.knock().answer == "a tunnel"


@contextmanager
def simulated_pki() -> Iterator[ClockTarget]:
    yield ClockTarget()


@case(
    "E17",
    "clock-jumps",
    precedent="the guide's clock case: a router in 2002 among certificates of 2009",
    expected="refused while a clock is wrong, well when it is right; no storm of certificates",
    target=simulated_pki,
)
def clock_jumps(target: ClockTarget) -> Iterator[Shot]:
    yield Shot("all clocks right", target.knock, "a tunnel")
    yield Shot("the hub ten years ahead", target.setting(10, "hub"), "no tunnel", "expired")
    yield Shot("the hub set right", target.setting(0, "hub"), "a tunnel")
    yield Shot("the hub in 2002", target.setting(-24, "hub"), "no tunnel", "not-yet-valid")
    yield Shot("the hub set right again", target.setting(0, "hub"), "a tunnel")
    yield Shot("the spoke a year ahead", target.setting(1, "spoke1"), "no tunnel", "expired")
    yield Shot("the spoke set right", target.setting(0, "spoke1"), "a tunnel")
    cas = ("root-ca", "ra-subca")
    yield Shot("the CAs ten years ahead", target.setting(10, *cas), "a tunnel")
    yield Shot("the CAs set right", target.setting(0, *cas), "a tunnel")
    for years in (1.9, 3, 40, -24):
        for names in (cas, ("hub",), ("spoke1",), NAMES):
            what = f"{' and '.join(names)} {years:+} years and back, {JUMPS} times"
            yield Shot(what, target.jumping(years, *names), "a tunnel")
