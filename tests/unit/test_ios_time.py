"""A router's time at its console: marks, `clock set`, the columns of NTP."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ikelab.errors import ConfigError
from ikelab.ios.arguments import Command
from ikelab.ios.config import RunningConfig
from ikelab.ios.log_limit import BURST, LogLimit
from ikelab.ios.log_line import ClockUpdated, system_lines
from ikelab.ios.log_ntp import ntp_lines
from ikelab.ios.log_pki import pki_lines
from ikelab.ios.session import Said, Session
from ikelab.ios.show import show
from ikelab.ios.snapshot import NodeSnapshot, NtpRow
from ikelab.ios.text import timestamp
from ikelab.ios.zone import Zone
from ikelab.ntp.client import LoseClock, NtpRefused, SetClock
from ikelab.pki.events import CrlRefused
from ikelab.types import Now

MARCH = datetime(2009, 3, 19, 15, 53, 40, 863000, tzinfo=UTC)
GUIDE = (  # the guide's S-2851-gm1-s-128
    NtpRow("10.26.156.10", "+", "10.81.254.202", 2, 439, 1024, 0o377, 0, 905, 18685),
    NtpRow("10.26.129.252", "*", "10.81.254.202", 2, 456, 1024, 0o377, 0, 857, 18673),
)


def shown(command: str, snapshot: NodeSnapshot) -> str:
    found = Session(RunningConfig()).enter(command)
    assert isinstance(found, Command), found
    return show(found, snapshot)


@pytest.mark.parametrize(
    ("synced", "drifting", "mark"), [(False, False, "*"), (True, True, "."), (True, False, "")]
)
def test_clock_and_log_are_marked_alike(synced: bool, drifting: bool, mark: str) -> None:
    snapshot = NodeSnapshot(RunningConfig(), MARCH, synced, drifting)
    assert shown("show clock", snapshot) == f"{mark}15:53:40.863 UTC Thu Mar 19 2009\n"
    assert timestamp(MARCH, synced=synced, drifting=drifting) == f"{mark}Mar 19 15:53:40.863: "


@pytest.mark.parametrize(
    ("snapshot", "source"),
    [
        (NodeSnapshot(RunningConfig(), MARCH, synced=False), "hardware calendar"),
        (NodeSnapshot(RunningConfig(), MARCH), "user configuration"),
        (NodeSnapshot(RunningConfig(), MARCH, ntp=GUIDE), "NTP"),
        (NodeSnapshot(RunningConfig(), MARCH, drifting=True), "NTP"),
    ],
)
def test_detail_says_where_the_time_comes_from(snapshot: NodeSnapshot, source: str) -> None:
    assert shown("show clock detail", snapshot).splitlines()[1] == f"Time source is {source}"


def test_associations_have_the_columns_of_the_guide() -> None:
    unheard = NtpRow("10.0.0.1", " ", ".INIT.", 16, None, 64, 0, dispersion=15_937_500)
    snapshot = NodeSnapshot(RunningConfig(), MARCH, ntp=(*GUIDE, unheard))
    assert shown("show ntp associations", snapshot) == (
        "  address         ref clock       st   when   poll reach  delay  offset   disp\n"
        "+~10.26.156.10    10.81.254.202    2    439   1024   377  0.000   0.905 18.685\n"
        "*~10.26.129.252   10.81.254.202    2    456   1024   377  0.000   0.857 18.673\n"
        " ~10.0.0.1        .INIT.          16      -     64     0  0.000   0.000 15937.\n"
        " * sys.peer, # selected, + candidate, - outlyer, x falseticker, ~ configured\n"
    )


def test_without_servers_there_are_no_associations() -> None:
    assert shown("show ntp associations", NodeSnapshot(RunningConfig(), MARCH)) == ""


def test_status_of_a_clock_that_follows_a_server() -> None:
    snapshot = NodeSnapshot(RunningConfig(), MARCH, ntp=GUIDE, ntp_updated=MARCH)
    lines = shown("show ntp status", snapshot).splitlines()
    assert lines[0] == "Clock is synchronized, stratum 3, reference is 10.26.129.252"
    assert lines[2] == "reference time is CD6CE904.DCED9168 (15:53:40.863 UTC Thu Mar 19 2009)"
    assert lines[3] == "clock offset is 0.8570 msec, root delay is 0.00 msec"


def test_status_of_a_clock_that_follows_nobody() -> None:
    lines = shown("show ntp status", NodeSnapshot(RunningConfig(), MARCH)).splitlines()
    assert lines[0] == "Clock is unsynchronized, stratum 16, no reference clock"
    assert lines[2] == "reference time is 00000000.00000000 (00:00:00.000 UTC Mon Jan 1 1900)"


@pytest.mark.parametrize(
    "line",
    [
        "clock set 14:58:59 2 april 2009",
        "clock set 14:58:59 apr 2 2009",
        "clo set 1:2:3 2 Apr 2009",
    ],
)
def test_the_clock_is_set_in_either_order(line: str) -> None:
    found = Session(RunningConfig()).enter(line)
    assert isinstance(found, Command)
    assert (found.name, found.arguments.number("day")) == ("clock set", 2)


@pytest.mark.parametrize(
    "line",
    [
        "clock set 25:00:00 2 april 2009",
        "clock set 14:58:59 2 foo 2009",
        "clock set 1:1:1 32 may 2009",
    ],
)
def test_what_is_no_time_is_marked(line: str) -> None:
    found = Session(RunningConfig()).enter(line)
    assert isinstance(found, Said) and "% Invalid input detected" in found.text


def test_servers_are_configured_and_removed() -> None:
    session = Session(RunningConfig())
    for line in ("configure terminal", "ntp server 10.0.0.1", "ntp server 10.0.0.2", "ntp logging"):
        session.enter(line)
    assert session.config.ntp_servers == ("10.0.0.1", "10.0.0.2")
    text = shown("show running-config", NodeSnapshot(session.config, MARCH))
    assert "ntp logging\nntp server 10.0.0.1\nntp server 10.0.0.2\n" in text
    session.enter("no ntp server 10.0.0.1")
    session.enter("no ntp logging")
    assert (session.config.ntp_servers, session.config.ntp_logging) == (("10.0.0.2",), False)


def test_a_clock_that_was_set_is_told_in_ios_words() -> None:
    before = datetime(2002, 2, 1, 6, 20, tzinfo=UTC)
    (line,) = system_lines(ClockUpdated(before, MARCH, "console by console"))
    assert line.text == (
        "%SYS-6-CLOCKUPDATE: System clock has been updated from 06:20:00 UTC Fri Feb 1 2002"
        " to 15:53:40 UTC Thu Mar 19 2009, configured from console by console."
    )


def test_ntp_tells_of_steps_and_losses_but_not_of_trifles() -> None:
    step = SetClock(86400.0, MARCH, "10.0.0.1", step=True)
    (line,) = ntp_lines(step)
    assert line.text.endswith("UTC Fri Mar 20 2009, configured from NTP by 10.0.0.1.")
    assert step.date - MARCH == timedelta(days=1)
    assert ntp_lines(SetClock(0.001, MARCH, "10.0.0.1", step=False)) == []
    assert "10.0.0.1 is no source any more" in ntp_lines(LoseClock("10.0.0.1"))[0].text
    refused = NtpRefused("10.0.0.1", "ntp-kiss", "the server says \x1b[2J")
    assert "\x1b" not in ntp_lines(refused)[0].text


def test_a_day_that_no_month_has_is_refused() -> None:
    from ikelab.node.console import _set_clock

    found = Session(RunningConfig()).enter("clock set 10:00:00 31 feb 2009")
    assert isinstance(found, Command)
    with pytest.raises(ConfigError, match="Invalid date"):
        _set_clock(found, Now(0.0, MARCH), Zone())


def test_a_crl_of_the_future_is_told_as_in_the_guide() -> None:
    published = datetime(2009, 4, 2, 10, 46, 41, tzinfo=UTC)
    clock = datetime(2002, 2, 1, 1, 20, tzinfo=UTC)
    refused = CrlRefused("cn=ra-subca", "http://a/ra.crl", "...", "ra", published, clock)
    lines = [line.text for line in pki_lines(refused)][:-1]  # the last is our own
    assert lines == [
        "CRYPTO_PKI: New CRL Not Yet Valid (router time not synched to CA?)",
        "CRL published: 10:46:41 UTC Apr 2 2009",
        "Router time: 01:20:00 UTC Feb 1 2002",
        '%PKI-4-CRLINSERTFAIL: Trustpoint "ra" unknown'
        " (error 1804:E_VALIDITY : validity period start later than end)",
    ]


def test_a_flood_of_forged_answers_takes_a_few_lines() -> None:
    limit, forged = LogLimit(), NtpRefused("10.0.0.1", "ntp-bogus", "it answers no question")
    assert len(list(limit.admit([forged] * 1000, Now(0.0, MARCH)))) == BURST
