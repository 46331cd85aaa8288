"""An NTP client: its servers, which of them it follows, and when it sets the clock (RFC 5905).

Selection (section 11.2.1) finds those whose measured intervals have a point in common, the
truechimers, and drops the rest; the one nearest to a primary clock is followed. The clock is put
right at once by what is measured: a node's clock here has no oscillator of its own to discipline.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from ipaddress import IPv4Address

from ikelab.errors import ProtocolError
from ikelab.ntp.association import Association, Sample
from ikelab.ntp.packet import stamp
from ikelab.ntp.server import NO_SOURCE, Source
from ikelab.types import Now, TimeBase, Timer

STEP_SECONDS = 0.128  # RFC 5905 section 11.3, STEPT: from here on the log speaks of it
_BELOW_MICROSECOND = 12  # bits of a stamp that our clock leaves free


class Standing(Enum):
    """What selection made of a server; the value is IOS's mark for it."""

    NOT_USED = " "
    FALSETICKER = "x"
    CANDIDATE = "+"
    FOLLOWED = "*"


@dataclass(frozen=True, slots=True)
class Ask:
    """Action: send this to a server, from port 123 to port 123."""

    server: str
    octets: bytes


@dataclass(frozen=True, slots=True)
class Answered:
    """Event: this came from port 123 of an address."""

    server: str
    octets: bytes


@dataclass(frozen=True, slots=True)
class SetClock:
    """Action: move the node's clock by seconds, from `before`. server: who says so. step: it is
    worth a word: more than a trifle, or the clock was not set before.
    """

    seconds: float
    before: datetime
    server: str
    step: bool

    @property
    def date(self) -> datetime:
        """What the clock shows then."""
        return self.before + timedelta(seconds=self.seconds)


@dataclass(frozen=True, slots=True)
class LoseClock:
    """Action: no server is left to follow. server: the one that was."""

    server: str


@dataclass(frozen=True, slots=True)
class NtpSynced:
    """Notice: this server is followed from now on."""

    server: str


@dataclass(frozen=True, slots=True)
class NtpRefused:
    """Notice: an answer was not taken. reason: `ntp-bogus` or the like."""

    server: str
    reason: str
    detail: str


NtpAction = Ask | SetClock | LoseClock | NtpSynced | NtpRefused


class NtpClient:
    """The associations of one node. draw: octets of chance, for the low bits of our stamps."""

    def __init__(self, draw: Callable[[str, int], bytes]) -> None:
        self.associations: dict[str, Association] = {}
        self.followed: str | None = None
        self.updated: datetime | None = None  # when the clock was last set by it
        self.drops: Counter[str] = Counter()
        self._draw = draw
        self._logging = False

    def configure(
        self, servers: Iterable[str], now: Now, *, logging: bool = False
    ) -> list[NtpAction]:
        """`ntp server` and `no ntp server`. logging: `ntp logging`, off in IOS by default: whom
        it follows is told. That the clock was set is told in any case.
        """
        self._logging = logging
        wanted = list(servers)
        self.associations = {
            server: self.associations.get(server) or Association(server, next_poll=now.elapsed)
            for server in wanted
        }
        if self.followed is not None and self.followed not in wanted:
            return self._lose()
        return []

    def next_timer(self) -> Timer | None:
        """When the next question is to be asked."""
        due = min((one.next_poll for one in self.associations.values()), default=float("inf"))
        if due == float("inf"):
            return None
        return Timer(TimeBase.ELAPSED, due, "NTP poll", routine=True)

    @property
    def awaits_answer(self) -> bool:
        """Whether a server was asked that has not answered."""
        return any(one.awaits_answer for one in self.associations.values())

    def poll(self, now: Now) -> list[NtpAction]:
        """Ask every server whose time has come; who has answered none of eight is given up."""
        actions: list[NtpAction] = []
        for one in self.associations.values():
            if one.next_poll <= now.elapsed:
                actions.append(Ask(one.address, one.ask(now.elapsed, self._stamp(now))))
        return actions + (self._select(now, fresh=None) if actions else [])

    def take(self, event: Answered, now: Now) -> list[NtpAction]:
        """An answer, if it is one."""
        one = self.associations.get(event.server)
        if one is None:
            self.drops["ntp-unknown-server"] += 1
            return [NtpRefused(event.server, "ntp-unknown-server", "it is no server of ours")]
        try:
            one.take(event.octets, now.elapsed, stamp(now.wall))
        except ProtocolError as error:
            self.drops[error.reason] += 1
            refused = NtpRefused(event.server, error.reason, error.detail)
            return [refused, *self._select(now, fresh=None)]
        return self._select(now, fresh=one)

    def shift(self, seconds: float) -> None:
        """Somebody has moved the node's clock."""
        for one in self.associations.values():
            one.shift(seconds)

    def standing(self, server: str, now: float) -> Standing:
        """The mark of a server."""
        if server == self.followed:
            return Standing.FOLLOWED
        one = self.associations[server]
        if one.best(now) is None:
            return Standing.NOT_USED
        true = truechimers(self._measured(now), now)
        return Standing.CANDIDATE if server in true else Standing.FALSETICKER

    def source(self, now: float) -> Source:
        """What we are as a server to others: one stratum below the one that we follow."""
        one = self.associations.get(self.followed or "")
        if one is None or one.peer is None:
            return NO_SOURCE
        delay = min(sample.delay for sample in one.samples)
        return Source(
            one.stratum + 1,
            IPv4Address(one.address).packed,
            self.updated,
            one.peer.root_delay + delay,
            one.peer.root_dispersion + one.dispersion(now),
        )

    # --- selection ----------------------------------------------------------------------------

    def _measured(self, now: float) -> list[tuple[Association, Sample]]:
        found = ((one, one.best(now)) for one in self.associations.values())
        return [(one, sample) for one, sample in found if sample is not None]

    def _select(self, now: Now, fresh: Association | None) -> list[NtpAction]:
        measured = self._measured(now.elapsed)
        true = truechimers(measured, now.elapsed)
        chosen = min(
            ((one, sample) for one, sample in measured if one.address in true),
            key=lambda pair: (pair[0].stratum, pair[0].address != self.followed, pair[1].delay),
            default=None,
        )
        if chosen is None:
            return self._lose() if self.followed is not None else []
        one, sample = chosen
        actions: list[NtpAction] = []
        if one.address != self.followed:
            self.followed = one.address
            actions += [NtpSynced(one.address)] if self._logging else []
        elif one is not fresh:
            return []
        return [self._set(one.address, sample.offset, now), *actions]

    def _set(self, server: str, offset: float, now: Now) -> SetClock:
        self.shift(offset)
        step = abs(offset) >= STEP_SECONDS or not now.synced
        action = SetClock(offset, now.wall, server, step)
        self.updated = action.date
        return action

    def _lose(self) -> list[NtpAction]:
        server, self.followed = self.followed, None
        return [LoseClock(server or "")]

    def _stamp(self, now: Now) -> int:
        """Nobody off the path can guess it, which is all that guards an answer."""
        below = int.from_bytes(self._draw("ntp", 2), "big") % (1 << _BELOW_MICROSECOND)
        return stamp(now.wall, below)


def truechimers(measured: list[tuple[Association, Sample]], now: float) -> set[str]:
    """Those of a majority whose intervals have a point in common; none where there is no majority.

    The interval: offset +- root distance, that of the server's own clock and of the way to it.
    """
    intervals = {}
    for one, sample in measured:
        distance = one.distance(sample, now)
        intervals[one.address] = (sample.offset - distance, sample.offset + distance)
    agreeing: set[str] = set()
    for low, _ in intervals.values():  # the most overlap is reached where some interval begins
        here = {name for name, (start, end) in intervals.items() if start <= low <= end}
        agreeing = here if len(here) > len(agreeing) else agreeing
    return agreeing if 2 * len(agreeing) > len(intervals) else set()
