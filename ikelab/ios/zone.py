"""A node's zone of time, and how its log lines are stamped: `clock ...`, `service timestamps ...`.

Everything inside keeps UTC; a zone is applied where a date is printed (`text.py`), and backwards
where one is typed (`clock set`). Summer time begins by the clock of standard time and ends by its
own; where it begins later in the year than it ends, it lasts over New Year.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import MAXYEAR, MINYEAR, UTC, datetime, timedelta

LAST = 5
_MARCH, _NOVEMBER, _SUNDAY = 3, 11, 6
_TWO = 120


@dataclass(frozen=True, slots=True)
class Turn:
    """The same day of every year, as the second Sunday of March.

    week: 1 to 4, or LAST of the month. weekday: Monday is 0. minutes: of the day.
    """

    week: int
    weekday: int
    month: int
    minutes: int

    def of(self, year: int) -> datetime:
        """When it is in that year, by the clock on the wall."""
        first = datetime(year, self.month, 1, tzinfo=UTC) + timedelta(minutes=self.minutes)
        day = 1 + (self.weekday - first.weekday()) % 7 + 7 * (self.week - 1)
        try:
            return first.replace(day=day)
        except ValueError:  # a month without a fifth one
            return first.replace(day=day - 7)


@dataclass(frozen=True, slots=True)
class Summer:
    """`clock summer-time NAME recurring ...`, or `date ...` with dates instead of turns.

    start: by the clock of standard time; end: by that of summer time; minutes: how far ahead. What
    IOS takes for `recurring` alone is the rule of the United States (Energy Policy Act of 2005).
    """

    name: str
    start: Turn | datetime = Turn(2, _SUNDAY, _MARCH, _TWO)
    end: Turn | datetime = Turn(1, _SUNDAY, _NOVEMBER, _TWO)
    minutes: int = 60

    def of(self, year: int) -> tuple[datetime, datetime]:
        """When it begins in that year, in standard time, and when it ends, in summer time."""
        start, end = self.start, self.end
        return (
            start.of(year) if isinstance(start, Turn) else start,
            end.of(year) if isinstance(end, Turn) else end,
        )

    def holds(self, standard: datetime) -> bool:
        """Whether it is summer at a moment of standard time: what the last turn before it says."""
        turns: list[tuple[datetime, bool]] = []
        for year in range(max(MINYEAR, standard.year - 1), min(MAXYEAR, standard.year + 1) + 1):
            start, end = self.of(year)
            turns += [(start, True), (end - timedelta(minutes=self.minutes), False)]
        passed = [turn for turn in turns if turn[0] <= standard]
        return max(passed, default=(standard, False))[1]


@dataclass(frozen=True, slots=True)
class Zone:
    """`clock timezone NAME HOURS [MINUTES]`. minutes: east of Greenwich, negative to the west.

    summer: None for the same time all the year.
    """

    name: str = "UTC"
    minutes: int = 0
    summer: Summer | None = None

    def local(self, moment: datetime) -> tuple[datetime, str]:
        """What the clock on the wall shows, and the name to print with it.

        A date at the edge of all dates, as a certificate without end has it, stays in UTC.
        """
        try:
            standard = moment + timedelta(minutes=self.minutes)
            if self.summer is None or not self.summer.holds(standard):
                return standard, self.name
            return standard + timedelta(minutes=self.summer.minutes), self.summer.name
        except OverflowError:
            return moment, "UTC"

    def utc(self, wall: datetime) -> datetime:
        """The moment that such a clock means. Of the hour that comes twice in autumn, the first;
        in the hour that spring leaves out, what standard time would have said."""
        standard = wall - timedelta(minutes=self.minutes)
        if self.summer is not None:
            ahead = timedelta(minutes=self.summer.minutes)
            if self.summer.holds(wall - ahead):
                return standard - ahead
        return standard


@dataclass(frozen=True, slots=True)
class Stamps:
    """`service timestamps ... datetime msec [localtime] [show-timezone]`; on: its `no` form is not
    in force."""

    localtime: bool = False
    show_timezone: bool = False
    on: bool = True


@dataclass(frozen=True, slots=True)
class Times:
    """How one node tells the time. debug, log: what debug lines and messages begin with."""

    zone: Zone = Zone()
    debug: Stamps = Stamps()
    log: Stamps = Stamps()


# What is in force where nobody has said anything.
UTC_ZONE = Zone()
PLAIN_STAMPS = Stamps()
PLAIN_TIMES = Times()
