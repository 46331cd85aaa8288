"""A node's part in `ikelab clock advance`: do what is due, come to rest, say what is due next.

The operation `turn` of the control socket. Whoever advances the lab moves its clock, gives every
node a turn, and goes on from what they answer (`lab/advance.py`):

    -> {"op": "turn", "patience": 0}
    <- {"due": [7776000.0, "ra: renewal"], "routine": [1800.0, "ra-subca: CRL"],
        "busy": false, "unanswered": false, "traffic": 17}

due, routine: seconds until the first timer of either kind, and its label; null: there is none.
busy: a file or web page did not come in the time that was given. unanswered: a peer of an IKE
exchange or an NTP server has not answered yet; `patience`: seconds to wait for that. traffic:
messages that this node has sent to other nodes or had from them so far, of all kinds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ikelab.errors import LabError
from ikelab.node.router import Router
from ikelab.runtime.clock import NodeClock
from ikelab.runtime.control import Conditions, Json, Request
from ikelab.types import Now, Timer, earliest

REST_SECONDS = 15.0  # for files and web pages that are on their way: longer than any of them takes
_ROUNDS = 100  # timers that fire one after the other at one moment
_PATIENCE = 10.0  # the most anybody may ask for


class Turns:
    """Answers `turn`. fire: gives the router `TimerFired`. traffic: messages so far.

    conditions: has "idle", no transfer is under way, and "answered-by-peers", none is waited for.
    """

    def __init__(
        self,
        router: Router,
        clock: NodeClock,
        conditions: Conditions,
        fire: Callable[[], None],
        traffic: Callable[[], int],
    ) -> None:
        self._router = router
        self._clock = clock
        self._conditions = conditions
        self._fire = fire
        self._traffic = traffic

    async def serve(self, request: Request) -> Json:
        """One turn."""
        patience = request.get("patience", 0)
        if not isinstance(patience, int | float) or not 0 <= patience <= _PATIENCE:
            raise LabError(f"patience is 0 to {_PATIENCE:g} seconds")
        for _ in range(_ROUNDS):
            if not self._is_anything_due():
                break
            self._fire()
            await asyncio.sleep(0)
        idle = await self._conditions.wait("idle", None, REST_SECONDS)
        answered = await self._conditions.wait("answered-by-peers", None, patience)
        # What has reached our sockets meanwhile is read before we say how things stand.
        for _ in range(2):
            await asyncio.sleep(0)
        return self._report(idle, answered)

    def _is_anything_due(self) -> bool:
        now = self._clock.now()
        timer = self._router.next_timer(now)
        return timer is not None and timer.remaining(now) <= 0

    def _report(self, idle: bool, answered: bool) -> Json:
        now = self._clock.now()
        timers = self._router.timers()
        return {
            "due": _first([timer for timer in timers if not timer.routine], now),
            "routine": _first([timer for timer in timers if timer.routine], now),
            "busy": not idle,
            "unanswered": not answered,
            "traffic": self._traffic(),
        }


def _first(timers: list[Timer], now: Now) -> Json:
    timer = earliest(timers, now)
    return None if timer is None else [timer.remaining(now), timer.label]
