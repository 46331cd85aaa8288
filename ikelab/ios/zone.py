"""A node's zone of time, and how its log lines are stamped: `clock ...`, `service timestamps ...`.

Everything inside keeps UTC; a zone is applied where a date is printed (`text.py`), and backwards
where one is typed (`clock set`). Summer time is that of `recurring` without dates: from the second
Sunday of March to the first of November, each at 02:00 of the time until then (United States,
Energy Policy Act of 2005; IOS's own default since), one hour ahead.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_MARCH, _NOVEMBER, _SUNDAY = 3, 11, 6
_AHEAD = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Zone:
    """`clock timezone NAME HOURS [MINUTES]`. minutes: east of Greenwich, negative to the west.

    summer: the name of `clock summer-time NAME recurring`, None for the same time all the year.
    """

    name: str = "UTC"
    minutes: int = 0
    summer: str | None = None

    def local(self, moment: datetime) -> tuple[datetime, str]:
        """What the clock on the wall shows, and the name to print with it.

        A date at the edge of all dates, as a certificate without end has it, stays in UTC.
        """
        try:
            standard = moment + timedelta(minutes=self.minutes)
            if self.summer is None or not _is_summer(standard):
                return standard, self.name
            return standard + _AHEAD, self.summer
        except OverflowError:
            return moment, "UTC"

    def utc(self, wall: datetime) -> datetime:
        """The moment that such a clock means. Of the hour that comes twice in November, the first;
        in the hour that March leaves out, what standard time would have said."""
        standard = wall - timedelta(minutes=self.minutes)
        if self.summer is not None and _is_summer(wall - _AHEAD):
            return standard - _AHEAD
        return standard


def summer_of(year: int) -> tuple[datetime, datetime]:
    """When summer time begins, in standard time, and when it ends, in summer time."""
    return _sunday(year, _MARCH, 2), _sunday(year, _NOVEMBER, 1)


def _is_summer(standard: datetime) -> bool:
    start, end = summer_of(standard.year)
    return start <= standard < end - _AHEAD


def _sunday(year: int, month: int, number: int) -> datetime:
    """02:00 of a month's first, second ... Sunday."""
    first = datetime(year, month, 1, 2, tzinfo=UTC)
    return first + timedelta(days=_SUNDAY - first.weekday(), weeks=number - 1)


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
