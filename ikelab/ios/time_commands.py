"""Rows of the command table: the zone of time, and what log lines begin with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Literal

from ikelab.errors import ConfigError
from ikelab.ios.arguments import Arguments, Value
from ikelab.ios.parameters import MONTHS, WEEKDAYS, number_of
from ikelab.ios.row import Mode, Row, Section, Shown, shown, with_attribute
from ikelab.ios.zone import PLAIN_STAMPS, UTC_ZONE, Stamps, Summer, Times, Turn, Zone

TIMES: Section[Times] = Section(
    Mode.CONFIG,
    lambda config, _: config.times,
    lambda config, _, new: replace(config, times=new),
)

_HOUR = 60
_DAY, _YEAR = "<1-31>", "<1993-2135>"  # as `clock set` has them
_OFFSET = "[<1-1440>:offset]"


def _zone(change: Callable[[Zone, Arguments], Zone]) -> Callable[[Times, Arguments], Times]:
    return lambda times, arguments: replace(times, zone=change(times.zone, arguments))


def _set_zone(zone: Zone, arguments: Arguments) -> Zone:
    """The minutes go the way of the hours: `-3 30` is three hours and a half behind."""
    hours, minutes = arguments.number("hours"), arguments.number("minutes")
    offset = 60 * hours + (-minutes if hours < 0 else minutes)
    return replace(zone, name=arguments.text("name"), minutes=offset)


def _show_zone(times: Times) -> list[Shown]:
    name, offset = times.zone.name, times.zone.minutes
    if (name, offset) == (UTC_ZONE.name, UTC_ZONE.minutes):
        return []
    hours, minutes = divmod(abs(offset), 60)
    signed = -hours if offset < 0 else hours
    return [shown(name=name, hours=signed, **({"minutes": minutes} if minutes else {}))]


# --- summer time: `_1` is when it begins, `_2` when it ends ---------------------------------


def _set_recurring(zone: Zone, arguments: Arguments) -> Zone:
    name = arguments.text("name")
    if "week_1" not in arguments:
        return replace(zone, summer=Summer(name))
    start, end = _turn(arguments, "_1"), _turn(arguments, "_2")
    return replace(zone, summer=Summer(name, start, end, arguments.number("offset", _HOUR)))


def _turn(arguments: Arguments, which: str) -> Turn:
    weekday = _index(WEEKDAYS, arguments.text(f"weekday{which}"))
    month = _index(MONTHS, arguments.text(f"month{which}")) + 1
    hour, minute = map(int, arguments.text(f"time{which}").split(":"))
    return Turn(arguments.number(f"week{which}"), weekday, month, 60 * hour + minute)


def _index(names: Sequence[str], text: str) -> int:
    found = number_of(names, text)
    assert found is not None, text  # the grammar has seen it
    return found


def _set_dates(zone: Zone, arguments: Arguments) -> Zone:
    start, end = _date(arguments, "_1"), _date(arguments, "_2")
    if start >= end:
        raise ConfigError("Summer time ends before it begins", hint="give the earlier date first")
    name, offset = arguments.text("name"), arguments.number("offset", _HOUR)
    return replace(zone, summer=Summer(name, start, end, offset))


def _date(arguments: Arguments, which: str) -> datetime:
    year, day = arguments.number(f"year{which}"), arguments.number(f"day{which}")
    month = _index(MONTHS, arguments.text(f"month{which}")) + 1
    hour, minute = map(int, arguments.text(f"time{which}").split(":"))
    try:
        return datetime(year, month, day, hour, minute, tzinfo=UTC)
    except ValueError as error:
        raise ConfigError(f"Invalid date: {error}") from error


def _show_recurring(times: Times) -> list[Shown]:
    summer = times.zone.summer
    if summer is None or not isinstance(summer.start, Turn) or not isinstance(summer.end, Turn):
        return []
    if summer == Summer(summer.name):
        return [shown(name=summer.name)]
    given = {"name": summer.name, **_of_turn(summer.start, "_1"), **_of_turn(summer.end, "_2")}
    return [shown(**given, offset=_offset(summer))]


def _of_turn(turn: Turn, which: str) -> dict[str, Value]:
    return {
        f"week{which}": turn.week,
        f"weekday{which}": _short(WEEKDAYS[turn.weekday]),
        f"month{which}": _short(MONTHS[turn.month - 1]),
        f"time{which}": f"{turn.minutes // 60}:{turn.minutes % 60:02d}",
    }


def _short(name: str) -> str:
    return name[:3].capitalize()


def _offset(summer: Summer) -> int | None:
    return None if summer.minutes == _HOUR else summer.minutes


def _show_dates(times: Times) -> list[Shown]:
    summer = times.zone.summer
    if summer is None or isinstance(summer.start, Turn) or isinstance(summer.end, Turn):
        return []
    given = {"name": summer.name, **_of_date(summer.start, "_1"), **_of_date(summer.end, "_2")}
    return [shown(**given, offset=_offset(summer))]


def _of_date(moment: datetime, which: str) -> dict[str, Value]:
    return {
        f"day{which}": moment.day,
        f"month{which}": _short(MONTHS[moment.month - 1]),
        f"year{which}": moment.year,
        f"time{which}": f"{moment.hour}:{moment.minute:02d}",
    }


def _summer_row(
    grammar: str,
    help_text: str,
    change: Callable[[Zone, Arguments], Zone],
    read: Callable[[Times], list[Shown]],
) -> Row:
    return TIMES.row(
        f"clock summer-time LABEL:name {grammar}",
        f"Configure summer (daylight savings) time | name of time zone in summer | {help_text}"
        " | Offset to add in minutes",
        _zone(change),
        _zone(lambda zone, _: replace(zone, summer=None)),
        read,
    )


def _stamps_row(which: Literal["debug", "log"], help_text: str) -> Row:
    """`service timestamps debug` or `... log`; its `no` form leaves the lines without a time."""

    def write(times: Times, arguments: Arguments) -> Times:
        local, named = "localtime" in arguments, "show_timezone" in arguments
        return with_attribute(times, which, Stamps(local, named))

    def read(times: Times) -> list[Shown]:
        stamps: Stamps = getattr(times, which)
        if stamps == PLAIN_STAMPS:
            return []
        if not stamps.on:
            return [Shown(Arguments(), negative=True)]
        local = {"localtime": "localtime"} if stamps.localtime else {}
        named = {"show_timezone": "show-timezone"} if stamps.show_timezone else {}
        return [shown(by="datetime", **local, **named)]

    return TIMES.row(
        f"service timestamps {which} datetime:by msec"
        " {[localtime:localtime] [show-timezone:show_timezone]}",
        f"Modify use of network based services | Timestamp debug/log messages | {help_text}"
        " | Timestamp with date and time | Include milliseconds in timestamp"
        " | Use local time zone for timestamps | Add time zone information to timestamp",
        write,
        lambda times, _: with_attribute(times, which, Stamps(on=False)),
        read,
    )


STAMP_ROWS = (
    _stamps_row("debug", "Timestamp debug messages"),
    _stamps_row("log", "Timestamp log messages"),
)

CLOCK_ROWS = (
    TIMES.row(
        "clock timezone LABEL:name HOURS:hours [<0-59>:minutes]",
        "Configure time-of-day clock | Configure time zone | name of time zone"
        " | Hours offset from UTC | Minutes offset from UTC",
        _zone(_set_zone),
        _zone(lambda zone, _: Zone(summer=zone.summer)),
        _show_zone,
    ),
    _summer_row(
        "recurring [WEEK:week_1 WEEKDAY:weekday_1 MONTH:month_1 HHMM:time_1"
        f" WEEK:week_2 WEEKDAY:weekday_2 MONTH:month_2 HHMM:time_2 {_OFFSET}]",
        "Configure recurring summer time | Weekday to start | Month to start"
        " | Time to start (hh:mm) | Weekday to end | Month to end | Time to end (hh:mm)",
        _set_recurring,
        _show_recurring,
    ),
    _summer_row(
        f"date {_DAY}:day_1 MONTH:month_1 {_YEAR}:year_1 HHMM:time_1"
        f" {_DAY}:day_2 MONTH:month_2 {_YEAR}:year_2 HHMM:time_2 {_OFFSET}",
        "Configure absolute summer time | Date to start | Month to start | Year to start"
        " | Time to start (hh:mm) | Date to end | Month to end | Year to end"
        " | Time to end (hh:mm)",
        _set_dates,
        _show_dates,
    ),
    _summer_row(
        f"date MONTH:month_1 {_DAY}:day_1 {_YEAR}:year_1 HHMM:time_1"
        f" MONTH:month_2 {_DAY}:day_2 {_YEAR}:year_2 HHMM:time_2 {_OFFSET}",
        "Configure absolute summer time | Month to start | Date to start | Year to start"
        " | Time to start (hh:mm) | Month to end | Date to end | Year to end"
        " | Time to end (hh:mm)",
        _set_dates,
        lambda times: [],  # as the row before
    ),
)
