"""The lab's clock, which all processes share, and the nodes' own."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ikelab.errors import LabError
from ikelab.runtime.clock import ClockSetting, LabClock, NodeClock

APRIL = datetime(2009, 4, 2, 14, 58, 59, tzinfo=UTC)
SECOND = timedelta(seconds=1)
DAY = 86400


def test_a_lab_without_a_date_has_the_machines(tmp_path: Path) -> None:
    clock = LabClock.create(tmp_path / "clock", None)
    assert abs(clock.date() - datetime.now(UTC)) < SECOND
    assert clock.ahead_of_machine_ns() == 0


def test_a_lab_begins_at_its_own_date(tmp_path: Path) -> None:
    clock = LabClock.create(tmp_path / "clock", APRIL)
    assert APRIL <= clock.date() < APRIL + SECOND
    machine = time.time_ns() + clock.ahead_of_machine_ns()
    assert abs(machine / 1e9 - APRIL.timestamp()) < 1


def test_an_advance_reaches_every_process_that_has_the_page(tmp_path: Path) -> None:
    mine = LabClock.create(tmp_path / "clock", APRIL)
    others = LabClock.open(tmp_path / "clock")
    before = others.elapsed()
    mine.advance(90 * DAY)
    assert 90 * DAY <= others.elapsed() - before < 90 * DAY + 1
    assert others.date() - APRIL < timedelta(days=90) + SECOND
    assert others.ahead == 90 * DAY


def test_the_page_is_for_its_owner_only(tmp_path: Path) -> None:
    LabClock.create(tmp_path / "clock", None)
    assert os.stat(tmp_path / "clock").st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", [b"", b"x" * 40, b"x" * 4000])
def test_what_is_no_clock_is_not_taken_for_one(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "clock").write_bytes(content)
    with pytest.raises(LabError, match="is no clock of a lab"):
        LabClock.open(tmp_path / "clock")


def test_a_clock_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="cannot be read: No such file"):
        LabClock.open(tmp_path / "clock")


def test_time_goes_neither_back_nor_past_all_certificates() -> None:
    clock = LabClock()
    with pytest.raises(ValueError, match="does not go back"):
        clock.advance(-1)
    with pytest.raises(LabError, match="no clock goes past the year 9000"):
        clock.advance(7500 * 366 * DAY)
    assert clock.ahead == 0


def test_a_node_begins_with_the_date_of_its_lab(tmp_path: Path) -> None:
    lab = LabClock.create(tmp_path / "clock", APRIL)
    now = NodeClock(lab).now()
    assert APRIL <= now.wall < APRIL + SECOND
    assert now.elapsed < 1
    assert (now.synced, now.drifting) == (True, False)


def test_a_node_may_have_a_date_of_its_own_and_not_believe_it(tmp_path: Path) -> None:
    lab = LabClock.create(tmp_path / "clock", APRIL)
    february = datetime(2002, 2, 1, 6, 20, tzinfo=UTC)
    clock = NodeClock(lab, ClockSetting(february, is_set=False))
    lab.advance(DAY)
    now = clock.now()
    assert february + timedelta(days=1) <= now.wall < february + timedelta(days=1) + SECOND
    assert now.synced is False


def test_setting_the_date_moves_no_elapsed_time() -> None:
    clock = NodeClock(LabClock(), ClockSetting(APRIL, is_set=False))
    before = clock.now().elapsed
    for year in (2030, 2002, 2099, 1993):
        moment = datetime(year, 1, 1, tzinfo=UTC)
        clock.set(moment)
        now = clock.now()
        assert moment <= now.wall < moment + SECOND
        assert before <= now.elapsed < before + 1
        assert now.synced


def test_a_clock_that_lost_its_server_is_believed_on_but_marked() -> None:
    clock = NodeClock(LabClock())
    clock.lose()
    assert (clock.now().synced, clock.now().drifting) == (True, True)
    clock.set(APRIL)
    assert clock.now().drifting is False


def test_a_clock_that_was_never_set_has_nothing_to_lose() -> None:
    clock = NodeClock(LabClock(), ClockSetting(is_set=False))
    clock.lose()
    assert clock.now().drifting is False
