"""Dates and spans of time as people write them: in `lab.yaml` and on the command line."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from ikelab.lab.yaml_reader import Value
from ikelab.runtime.clock import LAST, ClockSetting

_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_SPAN = re.compile(r"(?:(\d{1,7})d)?(?:(\d{1,9})h)?(?:(\d{1,10})m)?(?:(\d{1,12})s)?")
_FIRST = datetime(1970, 1, 1, tzinfo=UTC)

DATE_HINT = "write it as 2009-04-02T14:58:59Z"
SPAN_HINT = "write it as 90d, 12h, 30m, 45s or 1d12h"


def parse_date(text: str) -> datetime | None:
    """A date of ISO 8601, UTC where it names no zone; None if it is none, or out of all bounds."""
    try:
        date = datetime.fromisoformat(text)
        date = date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return date if _FIRST <= date < LAST else None


def parse_span(text: str) -> int | None:
    """Seconds of `90d`, `1d12h` or the like; None if it is nothing of the kind, or nothing."""
    found = _SPAN.fullmatch(text)
    if found is None:
        return None
    return (
        sum(int(n or 0) * unit for n, unit in zip(found.groups(), _UNITS.values(), strict=True))
        or None
    )


def format_span(seconds: float) -> str:
    """`90d`, `1d12h`, `0.4s`: the same way, in whole seconds from ten on."""
    if seconds < 10:
        return f"{seconds:.3g}s"
    left, words = round(seconds), ""
    for unit, length in _UNITS.items():
        count, left = divmod(left, length)
        words += f"{count}{unit}" if count else ""
    return words


def date_of(value: Value) -> datetime | None:
    """A date in a file."""
    text = value.text()
    date = parse_date(text) if text else None
    if text and date is None:
        value.complain(f"{text!r} is no date from 1970 to {LAST.year - 1}", DATE_HINT)
    return date


def span_of(value: Value) -> int | None:
    """A span of time in a file, in seconds."""
    text = value.text()
    seconds = parse_span(text) if text else None
    if text and seconds is None:
        value.complain(f"{text!r} is no span of time", SPAN_HINT)
    return seconds


def clock_of(value: Value) -> ClockSetting:
    """`clock:` of a node: a date, or `{date?, set: yes|no}`; without a date it is the lab's."""
    if value.is_scalar:
        return ClockSetting(date_of(value))
    fields = value.fields(("date", "set"))
    date = date_of(fields["date"]) if "date" in fields else None
    is_set = fields["set"].choice(("yes", "no")) if "set" in fields else "yes"
    return ClockSetting(date, is_set != "no")
