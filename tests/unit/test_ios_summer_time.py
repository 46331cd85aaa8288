"""`clock summer-time`: every form, against the time zone database, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ikelab.errors import ConfigError
from ikelab.ios.arguments import Command
from ikelab.ios.config import RunningConfig
from ikelab.ios.config_text import format_config, parse_config
from ikelab.ios.session import Said, Session
from ikelab.ios.show import show
from ikelab.ios.snapshot import NodeSnapshot
from ikelab.ios.text import date
from ikelab.ios.zone import LAST, Summer, Turn, Zone

MARCH, APRIL, OCTOBER, SUNDAY = 3, 4, 10, 6
EUROPE = (
    "clock timezone CET 1",
    "clock summer-time CEST recurring last Sun Mar 2:00 last Sun Oct 3:00",
)
SYDNEY = (
    "clock timezone AEST 10",
    "clock summer-time AEDT recurring 1 Sun Oct 2:00 1 Sun Apr 3:00",
)
ONCE = ("clock timezone CET 1", "clock summer-time CEST date 30 Mar 2014 2:00 26 Oct 2014 3:00")
ZONES = {
    "America/New_York": ("clock timezone EST -5", "clock summer-time EDT recurring"),
    "Europe/Berlin": EUROPE,
    "Europe/London": ("clock summer-time BST recurring last Sun Mar 1:00 last Sun Oct 2:00",),
    "Australia/Sydney": SYDNEY,
    "Pacific/Auckland": (
        "clock timezone NZST 12",
        "clock summer-time NZDT recurring last Sun Sep 2:00 1 Sun Apr 3:00",
    ),
    # Half an hour is as far as it goes there.
    "Australia/Lord_Howe": (
        "clock timezone LHST 10 30",
        "clock summer-time LHDT recurring 1 Sun Oct 2:00 1 Sun Apr 2:00 30",
    ),
}


def zone(*lines: str) -> Zone:
    return parse_config("\n".join(lines) + "\n").times.zone


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


# --- the rule ---------------------------------------------------------------------------------


def moments(ours: Zone) -> Iterator[datetime]:
    """Around every change that our rule sees, and the middle of every month."""
    assert ours.summer is not None
    for year in range(2008, 2025):  # the rules of all these zones are of 2008 or older
        start, end = ours.summer.of(year)
        for change in (start, end - timedelta(minutes=ours.summer.minutes)):
            for second in (-1, 0, 1):
                yield change - timedelta(minutes=ours.minutes) + timedelta(seconds=second)
        yield from (datetime(year, month, 15, 12, tzinfo=UTC) for month in range(1, 13))


@pytest.mark.parametrize("name", ZONES)
def test_the_clock_shows_what_the_time_zone_database_says(name: str) -> None:
    try:
        wanted = ZoneInfo(name)
    except ZoneInfoNotFoundError:
        pytest.skip("no time zone database here (Debian: tzdata)")
    ours = zone(*ZONES[name])
    for moment in moments(ours):
        shown, _ = ours.local(moment)
        assert shown.replace(tzinfo=None) == moment.astimezone(wanted).replace(tzinfo=None), moment


@pytest.mark.parametrize(
    ("lines", "moment", "wanted"),
    [
        (EUROPE, "2009-03-29T00:59:59", "01:59:59 CET Mar 29 2009"),
        (EUROPE, "2009-03-29T01:00:00", "03:00:00 CEST Mar 29 2009"),
        (EUROPE, "2009-10-25T00:59:59", "02:59:59 CEST Oct 25 2009"),
        (EUROPE, "2009-10-25T01:00:00", "02:00:00 CET Oct 25 2009"),
        (SYDNEY, "2009-12-31T13:00:00", "00:00:00 AEDT Jan 1 2010"),
        (SYDNEY, "2010-07-01T00:00:00", "10:00:00 AEST Jul 1 2010"),
        (ONCE, "2013-07-01T00:00:00", "01:00:00 CET Jul 1 2013"),
        (ONCE, "2014-03-30T00:59:59", "01:59:59 CET Mar 30 2014"),
        (ONCE, "2014-03-30T01:00:00", "03:00:00 CEST Mar 30 2014"),
        (ONCE, "2014-10-26T01:00:00", "02:00:00 CET Oct 26 2014"),
        (ONCE, "2015-07-01T00:00:00", "01:00:00 CET Jul 1 2015"),
    ],
)
def test_dates_are_printed_in_summer_time_between_its_turns(
    lines: tuple[str, ...], moment: str, wanted: str
) -> None:
    assert date(at(moment), zone(*lines)) == wanted


def test_summer_time_that_ends_in_the_first_minutes_of_a_year() -> None:
    """Its end is in the old year by standard time."""
    ours = zone("clock summer-time X recurring 1 Sun Oct 2:00 1 Sun Jan 0:30")
    assert date(at("2016-12-31T23:29:59"), ours) == "00:29:59 X Jan 1 2017"  # a Sunday
    assert date(at("2016-12-31T23:30:00"), ours) == "23:30:00 UTC Dec 31 2016"


@given(
    st.datetimes(datetime(1993, 1, 1), datetime(2135, 1, 1)),
    st.sampled_from([*ZONES.values(), ONCE]),
)
def test_a_date_that_is_shown_can_be_set_again(moment: datetime, lines: tuple[str, ...]) -> None:
    ours, utc = zone(*lines), moment.replace(tzinfo=UTC)
    assert ours.summer is not None
    back = ours.utc(ours.local(utc)[0])
    assert back in (utc, utc - timedelta(minutes=ours.summer.minutes))
    if back != utc:  # what comes twice: the first is meant
        assert ours.local(back)[1] == ours.summer.name and ours.local(utc)[1] == ours.name


def test_the_edges_of_all_dates_are_printed_in_utc() -> None:
    for lines in (EUROPE, SYDNEY, ONCE):
        assert date(at("9999-12-31T23:59:59"), zone(*lines)) == "23:59:59 UTC Dec 31 9999"
        assert "Jan 1 1" in date(at("0001-01-01T00:00:00"), zone(*lines))


# --- the command ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "printed", "summer"),
    [
        (
            "CEST recurring last sunday march 2:00 LAST Sun octob 03:00 60",
            "CEST recurring last Sun Mar 2:00 last Sun Oct 3:00",
            Summer("CEST", Turn(LAST, SUNDAY, MARCH, 120), Turn(LAST, SUNDAY, OCTOBER, 180)),
        ),
        (
            "LHDT recurring first sun oct 2:00 1 sun apr 2:00 30",
            "LHDT recurring 1 Sun Oct 2:00 1 Sun Apr 2:00 30",
            Summer("LHDT", Turn(1, SUNDAY, OCTOBER, 120), Turn(1, SUNDAY, APRIL, 120), 30),
        ),
        (
            "CEST date 30 march 2014 2:00 26 october 2014 3:00",
            "CEST date 30 Mar 2014 2:00 26 Oct 2014 3:00",
            Summer("CEST", at("2014-03-30T02:00"), at("2014-10-26T03:00")),
        ),
        (
            "CEST date mar 30 2014 02:00 oct 26 2014 03:05 120",
            "CEST date 30 Mar 2014 2:00 26 Oct 2014 3:05 120",
            Summer("CEST", at("2014-03-30T02:00"), at("2014-10-26T03:05"), 120),
        ),
        ("EDT recurring", "EDT recurring", Summer("EDT")),
        ("EDT recurring 2 Sun Mar 2:00 1 Sun Nov 2:00", "EDT recurring", Summer("EDT")),
    ],
)
def test_each_form_is_read_printed_and_removed(typed: str, printed: str, summer: Summer) -> None:
    config = parse_config(f"clock summer-time {typed}\n")
    assert config.times.zone == Zone(summer=summer)
    assert f"\nclock summer-time {printed}\n" in format_config(config)
    assert parse_config(format_config(config)) == config
    for undo in (f"no clock summer-time {typed}", "no clock summer-time"):
        assert parse_config(f"clock summer-time {typed}\n{undo}\n") == RunningConfig()


def entered(line: str) -> str:
    """What the console says to a line of the configuration mode."""
    session = Session(RunningConfig())
    session.enter("configure terminal")
    said = session.enter(line)
    assert isinstance(said, Said) and said.failed, said
    return said.text


PROMPT = len("Router(config)#")


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("recurring 5 sun mar 2:00 1 sun oct 3:00", "5 sun"),
        ("recurring last su mar 2:00 last sun oct 3:00", "su mar"),
        ("recurring last sun ma 2:00 last sun oct 3:00", "ma 2"),
        ("recurring last sun mar 24:00 last sun oct 3:00", "24:00"),
        ("recurring last sun mar 2:60 last sun oct 3:00", "2:60"),
        ("recurring last sun mar 2:00 last sun oct 3:00 0", "0"),
        ("recurring last sun mar 2:00 last sun oct 3:00 1441", "1441"),
        ("date 0 mar 2014 2:00 26 oct 2014 3:00", "0 mar"),
        ("date 30 mar 1992 2:00 26 oct 2014 3:00", "1992"),
        ("date mar 30 2014 2:00 26 oct 2014 3:00", "26 oct"),
        ("never", "never"),
    ],
)
def test_a_word_that_does_not_fit_is_marked_with_a_caret(line: str, word: str) -> None:
    whole = f"clock summer-time CEST {line}"
    mark, text = entered(whole).splitlines()
    assert text == "% Invalid input detected at '^' marker."
    assert mark.index("^") == PROMPT + whole.rindex(word)


@pytest.mark.parametrize(
    "line",
    ["recurring last sun mar 2:00", "recurring last", "date 30 mar 2014 2:00 26 oct", "date"],
)
def test_half_a_rule_is_incomplete(line: str) -> None:
    assert entered(f"clock summer-time CEST {line}") == "% Incomplete command.\n"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("date 31 feb 2014 2:00 26 oct 2014 3:00", "Invalid date: day is out of range for month"),
        ("date 26 oct 2014 3:00 30 mar 2014 2:00", "Summer time ends before it begins"),
    ],
)
def test_dates_that_cannot_be_are_refused(line: str, words: str) -> None:
    assert entered(f"clock summer-time CEST {line}").startswith(f"% {words}")
    with pytest.raises(ConfigError, match=words):
        parse_config(f"clock summer-time CEST {line}\n")


def test_the_console_offers_what_may_follow() -> None:
    session = Session(RunningConfig())
    session.enter("configure terminal")
    assert session.help("clock summer-time CEST ") == (
        "  date       Configure absolute summer time\n"
        "  recurring  Configure recurring summer time\n"
    )
    assert "  last   Last week of the month\n  <cr>\n" in session.help(
        "clock summer-time CEST recurring "
    )
    assert session.help("clock summer-time CEST recurring last ") == "  DAY  Weekday to start\n"
    assert session.help("clock summer-time CEST date ") == (
        "  <1-31>  Date to start\n  MONTH   Month to start\n"
    )


@pytest.mark.parametrize(
    ("lines", "wanted"),
    [
        (EUROPE, ("02:00:00 CET Sun Mar 29 2009", "03:00:00 CEST Sun Oct 25 2009")),
        (SYDNEY, ("02:00:00 AEST Sun Oct 4 2009", "03:00:00 AEDT Sun Apr 5 2009")),
        (ONCE, ("02:00:00 CET Sun Mar 30 2014", "03:00:00 CEST Sun Oct 26 2014")),
    ],
)
def test_show_clock_detail_says_when_it_begins_and_ends(
    lines: tuple[str, ...], wanted: tuple[str, str]
) -> None:
    config = parse_config("\n".join(lines) + "\n")
    found = Session(RunningConfig()).enter("show clock detail")
    assert isinstance(found, Command)
    said = show(found, NodeSnapshot(config, at("2009-06-02T18:58:59")))
    start, end = wanted
    assert said.endswith(f"Summer time starts {start}\nSummer time ends {end}\n")
