"""`ikelab clock advance`: years in seconds, from one thing that is due to the next.

The discrete-event way: ask all nodes what they wait for, move the lab's clock to the first of it,
let every node do what is due there, wait until nothing is on its way between them any more, and
again. No timer is passed over, so renewals, rollovers and the ends of certificates come in their
order and at their second; timers of elapsed time (retransmission, dead peer detection, the lives
of SAs) move with the same clock.

Some timers recur for ever: CRLs are reissued each six hours, peers probed each ten seconds; five
years hold 7,300 of the one and fifteen million of the other. These are *routine*, and done at most
once in a `grain`, by default the thousandth part of the advance. Nobody sees the difference: a
second before anything else is due, what routine was put off is made up for, so that a router that
renews finds a fresh CRL. Only SAs may: one whose life ends inside a grain is not rekeyed, it ends,
and the next packet brings a new one. With a grain of 0 each timer is met.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

from ikelab.errors import LabError
from ikelab.lab import state
from ikelab.lab.deployed import listed
from ikelab.runtime.clock import LabClock
from ikelab.runtime.control import ControlClient, Json
from ikelab.runtime.nodespec import CLOCK_FILE, NodeKind
from ikelab.runtime.turns import REST_SECONDS

GRAINS = 1000  # routine stops of an advance, at most, unless told otherwise
LONGEST = 200 * 366 * 86400  # seconds; nothing that a lab has lives longer

_PATIENCE = 0.05  # seconds of real time for a peer that has not answered: it may be a foreign one
_EARLIER = 1.0  # seconds before something important that put-off routine is made up for
_ROUNDS = 1000  # of messages at one moment; an enrollment takes five
_STANDSTILL = 200  # stops at one moment


@dataclass(frozen=True, slots=True)
class Due:
    """What a node waits for. at: seconds of the lab's elapsed time."""

    at: float
    node: str
    what: str


@dataclass(frozen=True, slots=True)
class Rest:
    """How the nodes stand when all is quiet. due, routine: the first of each kind. busy: nodes
    whose transfer has not ended; unanswered: whether an IKE message is. traffic: of each node."""

    due: Due | None
    routine: Due | None
    traffic: tuple[int, ...]
    busy: tuple[str, ...] = ()
    unanswered: bool = False


@dataclass(frozen=True, slots=True)
class Stop:
    """Where the clock stops next. why: what is due there, in words; "" for routine, and the end."""

    at: float
    why: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """One stop that was made. left: seconds to go. date: of the lab, for people. busy: nodes whose
    transfer was given up waiting for."""

    stop: Stop
    left: float
    date: str
    busy: tuple[str, ...] = ()


def next_stop(rest: Rest, *, last: float, target: float, grain: float) -> Stop:
    """Where to go from a rest. last, target: elapsed times of the stop before, and of the end."""
    due, routine = rest.due, rest.routine
    stop = Stop(target)
    if due is not None and due.at < target:
        stop = Stop(max(due.at, last), f"{due.node}: {due.what}")
    if routine is None:
        return stop
    put_off = max(routine.at, last + grain)
    if put_off < stop.at:
        return Stop(put_off)
    early = stop.at - _EARLIER
    if routine.at < early and last < early:
        return Stop(early)
    return stop


def advance(
    lab: str,
    seconds: float,
    *,
    grain: float | None = None,
    tell: Callable[[Progress], None] = lambda progress: None,
) -> int:
    """Advance a deployed lab's clock; the number of stops. grain: see above, in seconds.

    May be broken off at any point: all clocks stand at the same stop then. Raises LabError where
    that is impossible or a node does not come to rest.
    """
    if not 0 < seconds <= LONGEST:
        raise LabError("a lab is advanced by one second to 200 years")
    grain = seconds / GRAINS if grain is None else grain
    with _alone(lab), ExitStack() as stack:
        clock = LabClock.open(state.run_dir(lab) / CLOCK_FILE)
        target = clock.elapsed() + seconds
        nodes = _Nodes(lab, clock, stack)
        rest = nodes.settle()
        stops = standing = 0
        last = clock.elapsed()
        while last < target:
            stop = next_stop(rest, last=last, target=target, grain=grain)
            standing = standing + 1 if stop.at <= last else 0
            if standing > _STANDSTILL:
                raise LabError(f"time stands still: {stop.why or 'routine'} is due again and again")
            clock.advance(max(stop.at - clock.elapsed(), 0))
            last = max(stop.at, last)
            rest = nodes.settle()
            stops += 1
            date = f"{clock.date():%Y-%m-%d %H:%M:%S}"
            tell(Progress(stop, target - last, date, rest.busy))
        return stops


class _Nodes:
    """The routers and CAs of a lab that run, each with a connection."""

    def __init__(self, lab: str, clock: LabClock, stack: ExitStack) -> None:
        self._clock = clock
        self._supervisor = stack.enter_context(ControlClient(state.control_path(lab)))
        self._clients = [
            (name, stack.enter_context(ControlClient(path, timeout=3 * REST_SECONDS)))
            for name in _running(self._supervisor.call("status"))
            if (path := state.run_dir(lab) / f"{name}.sock").exists()
        ]
        self._traffic: tuple[int, ...] = ()

    def settle(self) -> Rest:
        """Everybody does what is due, until nothing is on its way between them."""
        patient = False
        for _ in range(_ROUNDS):
            before = self._traffic
            rest = self._round(_PATIENCE if patient else 0.0)
            self._traffic = rest.traffic
            if rest.traffic != before:
                patient = False
            elif rest.unanswered and not patient:
                patient = True
            else:
                self._supervisor.call("flush")  # its frames belong to this moment
                return rest
        raise LabError(
            f"the nodes do not come to rest: {_ROUNDS} rounds of messages at one moment",
            hint="the logs of the nodes show what they tell one another",
        )

    def _round(self, patience: float) -> Rest:
        for _, client in self._clients:
            client.ask("turn", patience=patience)
        rest = Rest(None, None, ())
        for name, client in self._clients:
            answer = client.answer("turn")
            fields = answer if isinstance(answer, dict) else {}
            here = self._clock.elapsed()
            traffic = fields.get("traffic")
            rest = replace(
                rest,
                due=_earlier(rest.due, _due(name, here, fields.get("due"))),
                routine=_earlier(rest.routine, _due(name, here, fields.get("routine"))),
                traffic=(*rest.traffic, traffic if isinstance(traffic, int) else 0),
                busy=(*rest.busy, name) if fields.get("busy") is True else rest.busy,
                unanswered=rest.unanswered or fields.get("unanswered") is True,
            )
        return rest


def _running(status: Json) -> Iterator[str]:
    """Names of the nodes that run and have timers."""
    kinds = (NodeKind.ROUTER.value, NodeKind.CA.value)
    for node in listed(status, "nodes"):
        if isinstance(node, dict) and node.get("state") == "running" and node.get("kind") in kinds:
            yield str(node.get("name"))


def _due(node: str, here: float, field: Json) -> Due | None:
    match field:
        case [int() | float() as seconds, str(what)]:
            return Due(here + seconds, node, what)
        case _:
            return None


def _earlier(one: Due | None, other: Due | None) -> Due | None:
    found = [due for due in (one, other) if due is not None]
    return min(found, key=lambda due: due.at, default=None)


@contextmanager
def _alone(lab: str) -> Iterator[None]:
    """Two who advance one lab would each take the other's jumps for their own."""
    path = state.run_dir(lab) / CLOCK_FILE
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise LabError(f"the clock of {lab} cannot be moved: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise LabError(f"somebody else advances the clock of {lab}") from error
    finally:
        os.close(descriptor)
