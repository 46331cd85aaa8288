"""How often the log says the same of what strangers send: enough to be noticed, not to fill a disk.

Anybody who reaches a port can make a node refuse a thousand times a second. Of each kind of refusal
`BURST` are printed in `WINDOW` seconds, then they are counted, and the count is printed before the
first thing said after the window.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ikelab.ios.log_line import Remark, WebRefused
from ikelab.isakmp.events import Refused
from ikelab.ntp.client import NtpRefused
from ikelab.pki.ca_events import RequestRefused
from ikelab.types import Now

BURST = 20
WINDOW = 10.0  # seconds
_MAX_KINDS = 64  # reasons are ours, so there are few; this is for the day when one is not


@dataclass(slots=True)
class _Window:
    """Of one kind: when it began, in elapsed seconds, how many were said and how many were not."""

    began: float
    said: int = 0
    kept: int = 0


class LogLimit:
    """Lets facts through to the log, refusals within bounds."""

    def __init__(self) -> None:
        self._windows: dict[str, _Window] = {}

    def admit(self, facts: Iterable[object], now: Now) -> Iterator[object]:
        """The facts to print, in order, and what was held back before them."""
        yield from self._ended(now.elapsed)
        for fact in facts:
            kind = _kind(fact)
            if not kind:
                yield fact
                continue
            window = self._windows.setdefault(kind, _Window(now.elapsed))
            if window.said < BURST and len(self._windows) <= _MAX_KINDS:
                window.said += 1
                yield fact
            else:
                window.kept += 1

    def _ended(self, elapsed: float) -> Iterator[object]:
        for kind, window in list(self._windows.items()):
            if elapsed - window.began >= WINDOW:
                del self._windows[kind]
                if window.kept:
                    yield Remark("LOG", f"suppressed {window.kept} more: {kind}")


def _kind(fact: object) -> str:
    """The refusals that are alike; "" for what is always printed."""
    match fact:
        case RequestRefused(server, message, _, reason):
            return f"{server}: {message} refused: {reason}"
        case Refused():
            return f"IKE messages refused: {fact.reason}"
        case NtpRefused(_, reason):
            return f"NTP answers refused: {reason}"
        case WebRefused(_, reason):
            return f"HTTP refused: {reason}"
        case _:
            return ""
