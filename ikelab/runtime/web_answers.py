"""What a router's web server answers: requests that come together wait for the disk together.

First all is decided and on the disk, then it is signed; so nobody holds an answer that a CA which
is killed would not know of.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from ikelab.errors import IkelabError
from ikelab.node.events import NodeAction
from ikelab.node.router import Router
from ikelab.pki.ca_events import HttpIn, HttpOut
from ikelab.types import Now

_Outcome = tuple[HttpOut, list[NodeAction]] | Exception


class WebAnswers:
    """Answers for one router. Make it in the running loop.

    now: the router's clock. perform: carries out what the router asks for. settle: called when all
    that came together is decided. sign: makes the bodies that are still to be made.
    """

    def __init__(
        self,
        router: Router,
        now: Callable[[], Now],
        perform: Callable[[list[NodeAction]], None],
        settle: Callable[[], None],
        sign: Callable[[HttpOut], Awaitable[HttpOut]],
    ) -> None:
        self._router = router
        self._now = now
        self._perform = perform
        self._settle = settle
        self._sign = sign
        self._loop = asyncio.get_running_loop()
        self._asked: list[tuple[HttpIn, asyncio.Future[HttpOut]]] = []

    async def serve(self, request: HttpIn) -> HttpOut:
        """Answer with the others that have come in meanwhile: the disk is asked once for all.

        Raises what the store raises; then nobody is answered.
        """
        answer: asyncio.Future[HttpOut] = self._loop.create_future()
        if not self._asked:
            self._loop.call_soon(self._serve_asked)
        self._asked.append((request, answer))
        decided = await answer
        signed = await self._sign(decided)
        self._perform(list(signed.notices[len(decided.notices) :]))
        return signed

    def _serve_asked(self) -> None:
        asked, self._asked = self._asked, []
        outcomes: list[_Outcome] = []
        try:
            with self._router.group():
                for request, _ in asked:
                    outcomes.append(self._try_to_serve(request))
        except IkelabError as error:  # the disk: nothing of all this counts
            outcomes = [error] * len(asked)
        done = [outcome for outcome in outcomes if not isinstance(outcome, Exception)]
        self._perform([action for _, actions in done for action in actions])
        for (_, future), outcome in zip(asked, outcomes, strict=True):
            if future.done():  # the client has hung up
                continue
            if isinstance(outcome, Exception):
                future.set_exception(outcome)
            else:
                future.set_result(outcome[0])
        self._settle()

    @property
    def waiting(self) -> bool:
        """Whether somebody has asked and nothing was decided yet."""
        return bool(self._asked)

    def _try_to_serve(self, request: HttpIn) -> _Outcome:
        """A bug that one request finds is that request's alone."""
        try:
            return self._router.serve(request, self._now())
        except Exception as error:
            return error
