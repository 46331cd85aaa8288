"""What strangers cause does not fill the log."""

from __future__ import annotations

from datetime import UTC, datetime

from ikelab.ios.log_limit import BURST, WINDOW, LogLimit
from ikelab.ios.log_line import Configured, Remark, WebRefused
from ikelab.pki.ca_events import RequestRefused
from ikelab.types import Now

SLOW = WebRefused("192.0.2.1", "too-slow", "the request took too long")


def at(elapsed: float) -> Now:
    return Now(elapsed, datetime(2009, 2, 12, tzinfo=UTC))


def refused(reason: str) -> RequestRefused:
    return RequestRefused("root-ca", "PKCS_REQ", "T1", reason, "whatever was sent")


def test_a_flood_of_one_kind_is_said_so_often_and_then_counted() -> None:
    limit = LogLimit()
    assert list(limit.admit([SLOW] * (BURST + 480), at(0))) == [SLOW] * BURST
    assert list(limit.admit([SLOW], at(WINDOW - 1))) == []
    told = list(limit.admit([SLOW], at(WINDOW)))
    assert told == [Remark("LOG", "suppressed 481 more: HTTP refused: too-slow"), SLOW]


def test_other_kinds_and_everything_else_are_said_meanwhile() -> None:
    limit = LogLimit()
    list(limit.admit([refused("bad-signature")] * 1000, at(0)))
    others = [refused("wrong-recipient"), SLOW, Configured()]
    assert list(limit.admit(others, at(0))) == others


def test_a_kind_that_was_not_held_back_is_not_spoken_of() -> None:
    limit = LogLimit()
    list(limit.admit([SLOW], at(0)))
    assert list(limit.admit([], at(WINDOW))) == []


def test_what_a_stranger_writes_makes_no_kind_of_its_own() -> None:
    limit = LogLimit()
    flood = [RequestRefused("root-ca", "PKCS_REQ", str(n), "bad-name", str(n)) for n in range(99)]
    assert len(list(limit.admit(flood, at(0)))) == BURST
