"""Where the lab's clock stops next, and how nodes are brought to rest there."""

from __future__ import annotations

import asyncio
import fcntl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ikelab.errors import LabError
from ikelab.lab.advance import Due, Progress, Rest, Stop, advance, next_stop
from ikelab.runtime import nodespec
from ikelab.runtime.clock import LabClock
from ikelab.runtime.control import ControlServer, Json, Request

HOUR = 3600.0


def rest(due: float | None = None, routine: float | None = None) -> Rest:
    return Rest(
        None if due is None else Due(due, "r1", "ra: renewal"),
        None if routine is None else Due(routine, "ca", "ca: CRL"),
        (),
    )


@pytest.mark.parametrize(
    ("due", "routine", "stop"),
    [
        (None, None, Stop(100.0)),  # the end
        (50.0, None, Stop(50.0, "r1: ra: renewal")),
        (150.0, None, Stop(100.0)),  # not before the end
        (None, 60.0, Stop(60.0)),
        (None, 3.0, Stop(10.0)),  # put off: a grain after the last stop
        (9.0, 9.5, Stop(9.0, "r1: ra: renewal")),
        (9.0, 3.0, Stop(8.0)),  # made up for, a second before
        (50.0, 3.0, Stop(10.0)),
        (None, 95.0, Stop(95.0)),
        (-5.0, None, Stop(0.0, "r1: ra: renewal")),  # overdue is due now
    ],
)
def test_the_next_stop(due: float | None, routine: float | None, stop: Stop) -> None:
    assert next_stop(rest(due, routine), last=0.0, target=100.0, grain=10.0) == stop


def test_without_a_grain_each_timer_is_met() -> None:
    assert next_stop(rest(50.0, 3.0), last=0.0, target=100.0, grain=0.0) == Stop(3.0)


def test_routine_just_made_up_for_does_not_delay_what_is_due() -> None:
    stop = next_stop(rest(9.0, 8.5), last=8.0, target=100.0, grain=10.0)
    assert stop == Stop(9.0, "r1: ra: renewal")


# --- nodes that only pretend ---------------------------------------------------------------------


@dataclass
class Pretender:
    """A node with timers at given elapsed seconds. repeats: one it sets anew each time."""

    clock: LabClock
    dues: list[float] = field(default_factory=list)
    repeats: float | None = None
    stuck: bool = False
    fired: list[float] = field(default_factory=list)
    routines: list[float] = field(default_factory=list)
    traffic: int = 0
    patience: list[float] = field(default_factory=list)
    unanswered: bool = False
    _next: float | None = None

    def turn(self, request: Request) -> Json:
        now = self.clock.elapsed()
        self.patience.append(float(str(request["patience"])))
        if self.repeats is not None and self._next is None:
            self._next = now + self.repeats
        while self.dues and self.dues[0] <= now and not self.stuck:
            self.fired.append(self.dues.pop(0))
            self.traffic += 2
        if self._next is not None and self._next <= now:
            self.routines.append(now)
            self._next = now + (self.repeats or 0)
        return {
            "due": [self.dues[0] - now, "ra: renewal"] if self.dues else None,
            "routine": None if self._next is None else [self._next - now, "ca: CRL"],
            "busy": False,
            "unanswered": self.unanswered,
            "traffic": self.traffic,
        }


def _close(server: ControlServer, loop: asyncio.AbstractEventLoop) -> None:
    asyncio.run_coroutine_threadsafe(server.close(), loop).result(5)


@contextmanager
def lab_of(folder: Path, **nodes: Pretender) -> Iterator[None]:
    """Control sockets of a supervisor and of nodes, served beside the test."""
    loop = asyncio.new_event_loop()
    status: Json = {
        "nodes": [
            *({"name": name, "kind": "router", "state": "running"} for name in nodes),
            {"name": "dead", "kind": "router", "state": "switched off"},
            {"name": "disk", "kind": "storage", "state": "running"},
        ]
    }
    handlers: dict[str, dict[str, Callable[[Request], Json]]] = {
        "supervisor": {"status": lambda request: status, "flush": lambda request: None}
    }
    handlers |= {name: {"turn": node.turn} for name, node in nodes.items()}
    servers = [ControlServer(folder / f"{name}.sock", known) for name, known in handlers.items()]
    for server in servers:
        loop.run_until_complete(server.start())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    with ExitStack() as stack:
        stack.callback(loop.close)
        stack.callback(thread.join)
        stack.callback(loop.call_soon_threadsafe, loop.stop)
        for server in servers:
            stack.callback(_close, server, loop)
        yield


@pytest.fixture
def clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LabClock:
    monkeypatch.setattr(nodespec, "RUN_DIRECTORY", tmp_path)
    (tmp_path / "lab").mkdir()
    return LabClock.create(tmp_path / "lab" / "clock", None)


def test_nodes_meet_their_timers_in_order_and_everybody_at_the_same_time(
    clock: LabClock, tmp_path: Path
) -> None:
    one, other = Pretender(clock, [HOUR, 3 * HOUR]), Pretender(clock, [2 * HOUR, 3 * HOUR])
    told: list[Progress] = []
    with lab_of(tmp_path / "lab", one=one, other=other):
        before = clock.elapsed()
        advance("lab", 4 * HOUR, tell=told.append)
    assert 4 * HOUR <= clock.elapsed() - before < 4 * HOUR + 5
    assert (one.fired, other.fired) == ([HOUR, 3 * HOUR], [2 * HOUR, 3 * HOUR])
    whys = [progress.stop.why for progress in told if progress.stop.why]
    assert whys[:2] == ["one: ra: renewal", "other: ra: renewal"]
    assert told[-1].left == 0


def test_what_recurs_for_ever_is_done_once_a_grain_and_before_all_that_is_due(
    clock: LabClock, tmp_path: Path
) -> None:
    ca = Pretender(clock, repeats=10.0)
    router = Pretender(clock, [5.5 * HOUR])
    with lab_of(tmp_path / "lab", ca=ca, router=router):
        advance("lab", 10 * HOUR, grain=HOUR)
    assert 10 <= len(ca.routines) <= 13
    assert any(0 <= 5.5 * HOUR - done <= 2 for done in ca.routines)


def test_five_years_have_a_thousand_routine_stops(clock: LabClock, tmp_path: Path) -> None:
    with lab_of(tmp_path / "lab", ca=Pretender(clock, repeats=6 * HOUR)):
        assert advance("lab", 1825 * 24 * HOUR) <= 1001


def test_a_peer_that_has_not_answered_is_given_a_moment(clock: LabClock, tmp_path: Path) -> None:
    node = Pretender(clock, unanswered=True)
    with lab_of(tmp_path / "lab", node=node):
        advance("lab", 1)
    assert 0.05 in node.patience


def test_a_timer_that_is_due_for_ever_is_named(clock: LabClock, tmp_path: Path) -> None:
    with (
        lab_of(tmp_path / "lab", node=Pretender(clock, [0.0], stuck=True)),
        pytest.raises(LabError, match="time stands still: node: ra: renewal is due again"),
    ):
        advance("lab", HOUR)


def test_a_lab_is_advanced_by_one_at_a_time(clock: LabClock, tmp_path: Path) -> None:
    with (
        lab_of(tmp_path / "lab"),
        open(tmp_path / "lab" / "clock", "rb") as other,
        pytest.raises(LabError, match="somebody else advances the clock of lab"),
    ):
        fcntl.flock(other, fcntl.LOCK_EX)
        advance("lab", HOUR)
    assert clock.ahead == 0


@pytest.mark.parametrize("seconds", [0, -1, 1e12])
def test_a_span_out_of_bounds_is_refused(clock: LabClock, seconds: float) -> None:
    with pytest.raises(LabError, match="one second to 200 years"):
        advance("lab", seconds)
