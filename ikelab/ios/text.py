"""How IOS writes dates, spans, fingerprints, and what a peer says, in show and log lines alike."""

from __future__ import annotations

import re
from datetime import datetime

from ikelab.ios.zone import PLAIN_STAMPS, UTC_ZONE, Stamps, Zone

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def visible(text: str) -> str:
    """Text of a peer, safe on a terminal: control, bidirectional and other unprintable characters
    become escapes, so that none can forge a line or colour it."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def _escape(char: str) -> str:
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


# moment: UTC, everywhere in here; printed in the zone that the node was given.


def date(moment: datetime, zone: Zone) -> str:
    """`16:43:30 EST Mar 19 2009`; names of months follow no locale."""
    wall, name = zone.local(moment)
    return f"{wall:%H:%M:%S} {name} {MONTHS[wall.month - 1]} {wall.day} {wall.year}"


def moment_text(moment: datetime, zone: Zone) -> str:
    """`16:43:30 EST Thu Mar 19 2009`, as the log has dates that were set."""
    wall, name = zone.local(moment)
    return f"{wall:%H:%M:%S} {name} {_day(wall)}"


def clock(moment: datetime, zone: Zone, *, synced: bool, drifting: bool = False) -> str:
    """`show clock`: `*16:43:30.123 EST Thu Mar 19 2009`; the mark: see `clock_mark`."""
    wall, name = zone.local(moment)
    mark = clock_mark(synced=synced, drifting=drifting)
    return f"{mark}{wall:%H:%M:%S}.{wall.microsecond // 1000:03d} {name} {_day(wall)}"


def _day(moment: datetime) -> str:
    month = MONTHS[moment.month - 1]
    return f"{_DAYS[moment.weekday()]} {month} {moment.day} {moment.year}"


def clock_mark(*, synced: bool, drifting: bool) -> str:
    """`*`: nobody has set the clock; `.`: it was, but its NTP server is lost; else nothing."""
    if not synced:
        return "*"
    return "." if drifting else ""


def timestamp(
    moment: datetime,
    zone: Zone = UTC_ZONE,
    stamps: Stamps = PLAIN_STAMPS,
    *,
    synced: bool,
    drifting: bool = False,
) -> str:
    """What a log line begins with: `*Mar 19 16:43:30.123: `; day of the month in two columns.

    In UTC unless stamps says otherwise: `Apr  2 17:36:29.192 EDT: `.
    """
    wall, name = (zone if stamps.localtime else UTC_ZONE).local(moment)
    mark = clock_mark(synced=synced, drifting=drifting)
    thousandths, month = wall.microsecond // 1000, MONTHS[wall.month - 1]
    shown = f" {name}" if stamps.show_timezone else ""
    return f"{mark}{month} {wall.day:2d} {wall:%H:%M:%S}.{thousandths:03d}{shown}: "


def span(seconds: int) -> str:
    """`23:51:08`; hours go on past 24."""
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def grouped(hexadecimal: str) -> str:
    """A fingerprint in groups of eight digits."""
    return " ".join(hexadecimal[i : i + 8] for i in range(0, len(hexadecimal), 8))


def serial_number(serial: int) -> str:
    """A certificate's serial number in whole octets: `0A`, `01D0`."""
    digits = f"{serial:X}"
    return digits.zfill(len(digits) + len(digits) % 2)


def without_user(url: str) -> str:
    """A URL without the user and password that may stand before its host."""
    return re.sub(r"(?<=//)[^@/]*@", "", url)
