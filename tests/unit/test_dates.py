"""Dates and spans of time as people write them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ikelab.lab.dates import format_span, parse_date, parse_span


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90d", 90 * 86400),
        ("12h", 43200),
        ("30m", 1800),
        ("45s", 45),
        ("1d12h", 129600),
        ("1d1s", 86401),
    ],
)
def test_spans_are_read_and_written_alike(text: str, seconds: int) -> None:
    assert parse_span(text) == seconds
    assert parse_span(format_span(seconds)) == seconds


@pytest.mark.parametrize("text", ["", "90", "d", "0s", "-1d", "1w", "1h1d", "1.5h", "9" * 99 + "d"])
def test_what_is_no_span_is_none(text: str) -> None:
    assert parse_span(text) is None


def test_short_spans_are_written_with_their_parts() -> None:
    assert format_span(0.4) == "0.4s"
    assert format_span(1825 * 86400 + 3600) == "1825d1h"


@pytest.mark.parametrize(
    "text", ["2009-04-02T14:58:59Z", "2009-04-02 14:58:59", "2009-04-02T10:58:59-04:00"]
)
def test_dates_are_read_in_utc(text: str) -> None:
    assert parse_date(text) == datetime(2009, 4, 2, 14, 58, 59, tzinfo=UTC)


def test_a_day_begins_at_midnight() -> None:
    assert parse_date("2009-04-02") == datetime(2009, 4, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2009-13-01", "1969-12-31", "9999-12-31", "0001-01-01T00:00:00+14:00"]
)
def test_what_is_no_date_or_out_of_bounds_is_none(text: str) -> None:
    assert parse_date(text) is None
