"""What a node's console and debug.txt print: engine actions and notices as IOS's lines.

Rendering only: nothing is decided here. Whatever a peer may have put into a line is escaped where
the line is made, so that none can be forged or coloured.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from ikelab.ios.log_isakmp import Dialect, IsakmpLog
from ikelab.ios.log_line import LogLine, system_lines
from ikelab.ios.log_pki import pki_lines
from ikelab.ios.text import timestamp
from ikelab.types import Now


class NodeLog:
    """One node's log. It remembers what IOS's lines need from the actions before."""

    def __init__(self, dialect: Dialect = "12.4") -> None:
        self._isakmp = IsakmpLog(dialect)

    def lines(self, actions: Iterable[object]) -> list[LogLine]:
        """The lines of actions, notices and happenings, in order; others say nothing."""
        return [
            line
            for action in actions
            for line in (*self._isakmp.lines(action), *pki_lines(action), *system_lines(action))
        ]

    def text(
        self, actions: Iterable[object], now: Now, debugging: Collection[str] | None = None
    ) -> str:
        """The lines with their time. debugging: what is switched on; None: everything."""
        return "".join(
            stamp(line, now)
            for line in self.lines(actions)
            if not line.debug or debugging is None or line.debug in debugging
        )


def stamp(line: LogLine, now: Now) -> str:
    """A line as it is printed, behind `*Mar  1 00:00:01.000: `; no star where synchronized."""
    head = timestamp(now.wall, synced=now.synced) if line.stamped else ""
    return f"{head}{line.text}\n"
