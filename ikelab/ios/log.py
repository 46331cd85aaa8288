"""What a node's console and debug.txt print: engine actions and notices as IOS's lines.

Rendering only: nothing is decided here. Whatever a peer may have put into a line is escaped where
the line is made, so that none can be forged or coloured. Debug lines are made only where their
debugging is switched on.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import get_args

from ikelab.ios import debugging as switches
from ikelab.ios.log_ipsec import IpsecLog
from ikelab.ios.log_isakmp import Dialect, IsakmpLog
from ikelab.ios.log_line import LogLine, system_lines
from ikelab.ios.log_ntp import ntp_lines
from ikelab.ios.log_pki import pki_lines
from ikelab.ios.log_validation import ValidationLog
from ikelab.ios.text import timestamp
from ikelab.ios.zone import PLAIN_TIMES, UTC_ZONE, Times, Zone
from ikelab.isakmp.events import (
    Action,
    ActivateIpsecSa,
    AllocateSpi,
    KeyMaterial,
    PlainMessage,
    SendDatagram,
)
from ikelab.types import Now

_ISAKMP_ACTIONS = get_args(Action)
# Most of what the engine tells: nothing of it is printed, or needed later, without debugging.
_SILENT = {PlainMessage, SendDatagram, KeyMaterial, AllocateSpi, ActivateIpsecSa}


class NodeLog:
    """One node's log. It remembers what IOS's lines need from the actions before."""

    def __init__(self, dialect: Dialect = "12.4") -> None:
        self._isakmp = IsakmpLog(dialect)
        self._ipsec = IpsecLog()
        self._validation = ValidationLog()

    def lines(
        self,
        actions: Iterable[object],
        debugging: Collection[str] = switches.NAMES,
        zone: Zone = UTC_ZONE,
    ) -> list[LogLine]:
        """The lines of actions, notices and happenings, in order; others say nothing.

        zone: of the dates that lines speak of.
        """
        quiet = switches.ISAKMP not in debugging
        pki = any(name in debugging for name in switches.PKI_NAMES)
        found: list[LogLine] = []
        for action in actions:
            if quiet and not pki and type(action) in _SILENT:
                continue
            if pki:
                found += self._validation.lines(action, debugging)
            if isinstance(action, _ISAKMP_ACTIONS):
                found += self._isakmp.messages(action) if quiet else self._isakmp.lines(action)
                found += self._ipsec.lines(action, switched_on=switches.IPSEC in debugging)
            else:
                found += _others(action, debugging, zone)
        found += self._isakmp.flush()
        return found

    def text(
        self,
        actions: Iterable[object],
        now: Now,
        debugging: Collection[str] = switches.NAMES,
        times: Times = PLAIN_TIMES,
    ) -> str:
        """The lines with their time. debugging: what is switched on, everything if not given."""
        lines = self.lines(actions, debugging, times.zone)
        return "".join(stamp(line, now, times) for line in lines)


def _others(fact: object, debugging: Collection[str], zone: Zone) -> Iterator[LogLine]:
    """The lines of what is not IKE's."""
    for line in (*pki_lines(fact, zone), *ntp_lines(fact, zone), *system_lines(fact, zone)):
        if not line.debug or line.debug in debugging:
            yield line


def stamp(line: LogLine, now: Now, times: Times = PLAIN_TIMES) -> str:
    """A line as it is printed, behind `*Mar  1 00:00:01.000: `; no star where synchronized."""
    stamps = times.log if line.is_message else times.debug
    if not (line.stamped and stamps.on):
        return f"{line.text}\n"
    head = timestamp(now.wall, times.zone, stamps, synced=now.synced, drifting=now.drifting)
    return f"{head}{line.text}\n"
