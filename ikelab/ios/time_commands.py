"""Rows of the command table: the zone of time, and what log lines begin with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from ikelab.ios.arguments import Arguments
from ikelab.ios.row import Mode, Row, Section, Shown, shown, with_attribute
from ikelab.ios.zone import PLAIN_STAMPS, UTC_ZONE, Stamps, Times, Zone

TIMES: Section[Times] = Section(
    Mode.CONFIG,
    lambda config, _: config.times,
    lambda config, _, new: replace(config, times=new),
)


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


def _show_summer(times: Times) -> list[Shown]:
    summer = times.zone.summer
    return [] if summer is None else [shown(name=summer)]


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
    TIMES.row(
        "clock summer-time LABEL:name recurring",
        "Configure summer (daylight savings) time | name of time zone in summer"
        " | Configure recurring summer time",
        _zone(lambda zone, arguments: replace(zone, summer=arguments.text("name"))),
        _zone(lambda zone, _: replace(zone, summer=None)),
        _show_summer,
    ),
)
