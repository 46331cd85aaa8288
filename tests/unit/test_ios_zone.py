"""A node's zone: what its commands say, and the guide's dates as they print them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ikelab.errors import ConfigError
from ikelab.ios.arguments import Command
from ikelab.ios.config import RunningConfig
from ikelab.ios.config_text import format_config, parse_config
from ikelab.ios.enrollment_text import crl_text
from ikelab.ios.log import NodeLog
from ikelab.ios.log_line import ClockUpdated, Configured
from ikelab.ios.session import Session
from ikelab.ios.show import show
from ikelab.ios.snapshot import CertificateKind, CertificateRow, CrlRow, KeyRow, NodeSnapshot
from ikelab.ios.snapshot import ServerRow as Server
from ikelab.ios.text import date
from ikelab.ios.zone import Summer, Times, Zone
from ikelab.node.console import _set_clock
from ikelab.pki.crl import Crl
from ikelab.pki.events import CrlRefused, RequestSent
from ikelab.types import Now

EAST = ("clock timezone EST -5", "clock summer-time EDT recurring")
EASTERN = Zone("EST", -300, Summer("EDT"))


def configured(*lines: str) -> RunningConfig:
    return parse_config("\n".join(lines) + "\n")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def shown(command: str, snapshot: NodeSnapshot) -> str:
    found = Session(RunningConfig()).enter(command)
    assert isinstance(found, Command), found
    return show(found, snapshot)


# --- the rule ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("moment", "wanted"),
    [
        ("2009-04-02T18:58:59", "14:58:59 EDT Apr 2 2009"),
        ("2009-02-12T21:06:24", "16:06:24 EST Feb 12 2009"),
        ("2009-03-08T06:59:59", "01:59:59 EST Mar 8 2009"),
        ("2009-03-08T07:00:00", "03:00:00 EDT Mar 8 2009"),
        ("2009-11-01T05:59:59", "01:59:59 EDT Nov 1 2009"),
        ("2009-11-01T06:00:00", "01:00:00 EST Nov 1 2009"),
        ("2015-03-08T07:00:00", "03:00:00 EDT Mar 8 2015"),
        ("2010-01-01T04:59:59", "23:59:59 EST Dec 31 2009"),
        # The guide has 20:00:00 EST here, which is the offset of EDT: summer time in December.
        ("1970-01-01T00:00:00", "19:00:00 EST Dec 31 1969"),
    ],
)
def test_us_summer_time_begins_in_march_and_ends_in_november(moment: str, wanted: str) -> None:
    assert date(at(moment), EASTERN) == wanted


def test_the_edges_of_all_dates_are_printed_in_utc() -> None:
    """Certificates without end have the last second of 9999 (RFC 5280 section 4.1.2.5)."""
    assert date(at("9999-12-31T23:59:59"), Zone("JST", 540)) == "23:59:59 UTC Dec 31 9999"
    assert date(at("0001-01-01T00:00:00"), EASTERN) == "00:00:00 UTC Jan 1 1"


@given(st.datetimes(datetime(1993, 1, 1), datetime(2135, 1, 1)), st.integers(-1439, 1439))
def test_a_date_that_is_shown_can_be_set_again(moment: datetime, minutes: int) -> None:
    zone = Zone("A", minutes, Summer("B"))
    utc = moment.replace(tzinfo=UTC)
    back = zone.utc(zone.local(utc)[0])
    assert back in (utc, utc - timedelta(hours=1))
    if back != utc:  # the hour that comes twice: the first is meant
        assert zone.local(back)[1] == "B" and zone.local(utc)[1] == "A"


# --- the commands -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "zone"),
    [
        ("clock timezone EST -5", Zone("EST", -300)),
        ("clock timezone NST -3 30", Zone("NST", -210)),
        ("clock timezone IST 5 30", Zone("IST", 330)),
        ("clock timezone GMT 0", Zone("GMT", 0)),
        ("clock summer-time EDT recurring", Zone("UTC", 0, Summer("EDT"))),
    ],
)
def test_a_zone_is_read_printed_and_removed(line: str, zone: Zone) -> None:
    config = configured(line)
    assert config.times.zone == zone
    assert f"\n{line}\n" in format_config(config)
    assert configured(line, f"no {line}") == RunningConfig()
    assert configured(line, "no " + " ".join(line.split()[:2])) == RunningConfig()


def test_zone_and_summer_time_are_removed_apart() -> None:
    assert configured(*EAST, "no clock timezone").times.zone == Zone(summer=Summer("EDT"))
    assert configured(*EAST, "no clock summer-time").times.zone == Zone("EST", -300)
    assert "clock" not in format_config(RunningConfig())


@pytest.mark.parametrize(
    "line",
    [
        "clock timezone EST",
        "clock timezone EST -24",
        "clock timezone EST 24",
        "clock timezone EST -0",
        "clock timezone EST --5",
        "clock timezone EST -5 60",
        "clock timezone E\x1bT -5",
        "clock summer-time EDT",
        "clock summer-time EDT date",
        "service timestamps debug",
        "service timestamps debug datetime",
        "service timestamps debug uptime",
    ],
)
def test_what_has_no_effect_here_is_refused(line: str) -> None:
    with pytest.raises(ConfigError):
        configured(line)


def test_the_console_offers_what_may_follow() -> None:
    session = Session(RunningConfig())
    session.enter("configure terminal")
    assert session.help("clock ") == (
        "  summer-time  Configure summer (daylight savings) time\n"
        "  timezone     Configure time zone\n"
    )
    assert session.help("clock timezone EST ") == "  <-23 - 23>  Hours offset from UTC\n"
    assert session.help("service timestamps debug datetime msec ") == (
        "  localtime      Use local time zone for timestamps\n"
        "  show-timezone  Add time zone information to timestamp\n"
        "  <cr>\n"
    )


# --- show -------------------------------------------------------------------------------------


def test_show_clock_is_local() -> None:
    snapshot = NodeSnapshot(configured(*EAST), at("2009-04-02T18:58:59"))
    assert shown("show clock", snapshot) == "14:58:59.000 EDT Thu Apr 2 2009\n"
    assert shown("show clock detail", snapshot) == (
        "14:58:59.000 EDT Thu Apr 2 2009\n"
        "Time source is user configuration\n"
        "Summer time starts 02:00:00 EST Sun Mar 8 2009\n"
        "Summer time ends 02:00:00 EDT Sun Nov 1 2009\n"
    )
    assert '"2009-04-02T18:58:59+00:00"' in shown("show clock | json", snapshot)


def test_without_summer_time_the_guides_root_is_in_est() -> None:
    snapshot = NodeSnapshot(configured(EAST[0]), at("2008-05-27T15:19:36.955"))
    assert shown("show clock", snapshot) == "10:19:36.955 EST Tue May 27 2008\n"


def test_the_guides_certificates_have_their_dates() -> None:
    """Guide, "show crypto pki certificates" of r35-3-1022: issued in summer by a CA of winter."""
    ra = ("cn=du-subca",)
    own = CertificateRow(
        CertificateKind.ROUTER,
        4,
        "General Purpose",
        ra,
        (),
        at("2009-04-05T14:16:36"),
        at("2009-10-02T14:16:36"),
        ("du",),
        renew=at("2009-08-09T14:16:36"),
    )
    ca = replace(
        own,
        kind=CertificateKind.CA,
        start=at("2009-02-12T21:06:24"),
        end=at("2011-02-12T21:06:24"),
        renew=None,
    )
    snapshot = NodeSnapshot(configured(*EAST), at("2009-04-05T14:20:00"), certificates=(own, ca))
    lines = shown("show crypto pki certificates", snapshot).splitlines()
    assert [line.strip() for line in lines if " date: " in line] == [
        "start date: 10:16:36 EDT Apr 5 2009",
        "end   date: 10:16:36 EDT Oct 2 2009",
        "renew date: 10:16:36 EDT Aug 9 2009",
        "start date: 16:06:24 EST Feb 12 2009",
        "end   date: 16:06:24 EST Feb 12 2011",
    ]


def test_servers_crls_keys_and_ntp_are_local_too() -> None:
    server = Server(
        "ra-subca",
        "enabled",
        True,
        "CN=ra-subca",
        "auto",
        8,
        "complete",
        expires=at("2011-01-28T17:21:19"),
        crl_next_update=at("2009-03-06T22:15:23"),
        rollover_expires=at("2013-01-28T17:21:19"),
        rollover_timer=at("2010-10-30T16:21:18"),
    )
    crl = CrlRow(
        ("cn=du-subca",), at("2009-04-05T15:03:28"), at("2009-04-05T21:03:28"), "http://x/y", 218
    )
    snapshot = NodeSnapshot(
        configured(*EAST),
        at("2009-03-06T20:00:00"),
        servers=(server, replace(server, name="new", expires=None)),
        crls=(crl,),
        keys=(KeyRow("k", b"\xab", at("2009-03-05T00:00:00")),),
        ntp_updated=at("2009-03-19T19:53:40.863"),
    )
    said = shown("show crypto pki server", snapshot)
    assert "CA certificate expiration timer: 12:21:19 EST Jan 28 2011\n" in said
    assert "CRL NextUpdate timer: 17:15:23 EST Mar 6 2009\n" in said
    assert "Rollover CA certificate expiration time: 12:21:19 EST Jan 28 2013\n" in said
    assert "Autorollover timer: 12:21:18 EDT Oct 30 2010\n" in said
    assert "CA certificate expiration timer: 19:00:00 EST Dec 31 1969\n" in said
    said = shown("show crypto pki crls", snapshot)
    assert "LastUpdate: 11:03:28 EDT Apr 5 2009\n" in said
    assert "NextUpdate: 17:03:28 EDT Apr 5 2009\n" in said
    said = shown("show crypto key mypubkey rsa", snapshot)
    assert "% Key pair was generated at: 19:00:00 EST Mar 4 2009\n" in said
    said = shown("show ntp status", snapshot)
    assert "reference time is CD6D2144.DCED9168 (15:53:40.863 EDT Thu Mar 19 2009)\n" in said


def test_a_crl_at_its_ca_is_local() -> None:
    days = at("2009-04-05T15:03:28"), at("2009-04-05T21:03:28")
    crl = Crl(b"", b"", b"", "sha256", 2, b"\x30\x00", *days, {7: (days[0], None)})
    text = crl_text(crl, EASTERN)
    assert "This Update: 11:03:28 EDT Apr 5 2009" in text
    assert "Next Update: 17:03:28 EDT Apr 5 2009" in text
    assert "Revocation Date: 11:03:28 EDT Apr 5 2009" in text


# --- clock set, log ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "utc"),
    [
        ("14:58:59 2 april 2009", "2009-04-02T18:58:59"),
        ("14:58:59 2 february 2009", "2009-02-02T19:58:59"),
        ("01:30:00 1 november 2009", "2009-11-01T05:30:00"),
        ("02:30:00 8 march 2009", "2009-03-08T07:30:00"),
    ],
)
def test_the_clock_is_set_in_local_time(typed: str, utc: str) -> None:
    found = Session(RunningConfig()).enter(f"clock set {typed}")
    assert isinstance(found, Command)
    assert _set_clock(found, Now(0.0, at("2002-02-01T06:20:00")), EASTERN).date == at(utc)


def logged(fact: object, now: Now, *lines: str) -> list[str]:
    return NodeLog().text([fact], now, times=configured(*lines).times).splitlines()


def test_log_lines_are_in_utc_but_what_they_speak_of_is_local() -> None:
    """Guide, "Certificate Is Not Yet Valid": *Feb 1 06:20:00.095, and 01:20:00 EST in the line."""
    lost = Now(0.0, at("2002-02-01T06:20:00.095"), synced=False)
    refused = CrlRefused(
        "cn=ra-subca", "http://a/b", "...", "ra", at("2009-04-02T14:46:41"), lost.wall
    )
    assert logged(refused, lost, EAST[0])[1:3] == [
        "*Feb  1 06:20:00.095: CRL published: 09:46:41 EST Apr 2 2009",
        "*Feb  1 06:20:00.095: Router time: 01:20:00 EST Feb 1 2002",
    ]
    (line,) = logged(ClockUpdated(lost.wall, at("2009-04-02T18:50:00"), "console"), lost, *EAST)
    assert "from 01:20:00 EST Fri Feb 1 2002 to 14:50:00 EDT Thu Apr 2 2009," in line


def test_messages_and_debug_lines_are_stamped_as_each_was_told() -> None:
    """Guide, renewal: %PKI-6-CERTRENEWAUTO in EST, the fingerprints of the request in UTC."""
    now = Now(0.0, at("2009-03-19T21:41:01.747"))
    lines = (EAST[0], "service timestamps log datetime msec localtime show-timezone")
    sent = RequestSent("ra", "x", "AB" * 16, "CD" * 20)
    assert logged(Configured(), now, *lines) == [
        "Mar 19 16:41:01.747 EST: %SYS-5-CONFIG_I: Configured from console by console"
    ]
    assert logged(sent, now, *lines)[0].startswith("Mar 19 21:41:01.747: CRYPTO_PKI:  Certificate")
    assert format_config(configured(*lines)).startswith(f"!\n{lines[1]}\n!\nclock")


@pytest.mark.parametrize(
    ("words", "head"),
    [
        ("", "Apr  2 21:36:29.192: "),
        ("localtime", "Apr  2 17:36:29.192: "),
        ("show-timezone", "Apr  2 21:36:29.192 UTC: "),
        ("localtime show-timezone", "Apr  2 17:36:29.192 EDT: "),
    ],
)
def test_stamps_of_debug_lines(words: str, head: str) -> None:
    now = Now(0.0, at("2009-04-02T21:36:29.192"))
    line = f"service timestamps debug datetime msec {words}".strip()
    sent = RequestSent("ra", "x", "AB" * 16, "CD" * 20)
    assert logged(sent, now, *EAST, line)[0].startswith(head + "CRYPTO_PKI")
    assert (f"{line}\n" in format_config(configured(line))) == bool(words)


def test_no_service_timestamps_leaves_the_lines_bare() -> None:
    now = Now(0.0, at("2009-04-02T21:36:29.192"))
    line = "no service timestamps log"
    assert logged(Configured(), now, line) == [
        "%SYS-5-CONFIG_I: Configured from console by console"
    ]
    assert f"{line}\n" in format_config(configured(line))
    back = configured(line, "service timestamps log datetime msec")
    assert back.times == Times()
