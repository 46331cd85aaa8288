"""Small types that every layer shares: endpoints, time, randomness, timers.

Nothing here reads a clock or draws an octet; time and randomness come in as arguments.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Protocol


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """One end of a UDP conversation: dotted IPv4 address and port."""

    address: str
    port: int

    def __str__(self) -> str:
        """`192.0.2.1:500`."""
        return f"{self.address}:{self.port}"


@dataclass(frozen=True, slots=True)
class Now:
    """What a node's clocks say at one moment.

    elapsed: seconds since the node's start; never steps (retransmission, DPD, SA lifetimes).
    wall: the node's own date, aware, UTC; may step (certificates, CRLs, renewals).
    synced: whether the node believes its date (NTP, or set by hand). drifting: it believes it
    still, but the NTP server it had it from does not answer any more.
    """

    elapsed: float
    wall: datetime
    synced: bool = True
    drifting: bool = False


class TimeBase(Enum):
    """Which of a node's two clocks a timer runs on."""

    ELAPSED = "elapsed"
    WALL = "wall"


@dataclass(frozen=True, slots=True)
class Timer:
    """When an engine next wants to be called.

    deadline: seconds, of `Now.elapsed` or (base WALL) of the POSIX time of `Now.wall`.
    label: for people, such as "retransmit MM3 to 192.0.2.1". routine: what recurs for ever and may
    be done once for many times when years are passed over (`ikelab clock advance`).
    """

    base: TimeBase
    deadline: float
    label: str = ""
    routine: bool = False

    def remaining(self, now: Now) -> float:
        """Seconds until the deadline; zero or less when it is due."""
        clock = now.elapsed if self.base is TimeBase.ELAPSED else now.wall.timestamp()
        return self.deadline - clock

    @classmethod
    def at(cls, moment: datetime, label: str = "", *, routine: bool = False) -> Timer:
        """A timer on the wall clock."""
        return cls(TimeBase.WALL, moment.timestamp(), label, routine)


def is_due(timer: Timer | None, now: Now) -> bool:
    """Whether there is a timer whose time has come."""
    return timer is not None and timer.remaining(now) <= 0


def earliest(timers: Iterable[Timer | None], now: Now) -> Timer | None:
    """The timer that is due first, of those that are set."""
    running = [timer for timer in timers if timer is not None]
    return min(running, key=lambda timer: timer.remaining(now), default=None)


class Rng(Protocol):
    """Source of random octets. label names the use ("cky_i", "nonce"), so tests can pin one."""

    def draw(self, label: str, length: int) -> bytes:
        """`length` random octets."""
        ...
