"""How IOS writes dates, spans, fingerprints, and what a peer says, in show and log lines alike."""

from __future__ import annotations

import re
from datetime import datetime

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def visible(text: str) -> str:
    """Text of a peer, safe on a terminal: control, bidirectional and other unprintable characters
    become escapes, so that none can forge a line or colour it."""
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def _escape(char: str) -> str:
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def date(moment: datetime) -> str:
    """`16:43:30 UTC Mar 19 2009`. Nodes have no time zone; names of months follow no locale."""
    return f"{moment:%H:%M:%S} UTC {_MONTHS[moment.month - 1]} {moment.day} {moment.year}"


def moment_text(moment: datetime) -> str:
    """`16:43:30 UTC Thu Mar 19 2009`, as the log has dates that were set."""
    return f"{moment:%H:%M:%S} UTC {_day(moment)}"


def clock(moment: datetime, *, synced: bool, drifting: bool = False) -> str:
    """`show clock`: `*16:43:30.123 UTC Thu Mar 19 2009`; the mark: see `clock_mark`."""
    thousandths = moment.microsecond // 1000
    mark = clock_mark(synced=synced, drifting=drifting)
    return f"{mark}{moment:%H:%M:%S}.{thousandths:03d} UTC {_day(moment)}"


def _day(moment: datetime) -> str:
    month = _MONTHS[moment.month - 1]
    return f"{_DAYS[moment.weekday()]} {month} {moment.day} {moment.year}"


def clock_mark(*, synced: bool, drifting: bool) -> str:
    """`*`: nobody has set the clock; `.`: it was, but its NTP server is lost; else nothing."""
    if not synced:
        return "*"
    return "." if drifting else ""


def timestamp(moment: datetime, *, synced: bool, drifting: bool = False) -> str:
    """What a log line begins with: `*Mar 19 16:43:30.123: `; day of the month in two columns."""
    mark = clock_mark(synced=synced, drifting=drifting)
    thousandths = moment.microsecond // 1000
    month = _MONTHS[moment.month - 1]
    return f"{mark}{month} {moment.day:2d} {moment:%H:%M:%S}.{thousandths:03d}: "


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
