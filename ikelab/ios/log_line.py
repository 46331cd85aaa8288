"""A line of the log, and the happenings that no engine reports but the console prints."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ikelab.ios.text import moment_text, visible
from ikelab.ios.zone import UTC_ZONE, Zone


@dataclass(frozen=True, slots=True)
class LogLine:
    """What is printed. debug: the debugging it belongs to, "" for messages that always come.

    stamped: with the time before it; console dialogue has none. A line feed inside separates
    lines that IOS prints under one time.
    """

    text: str
    debug: str = ""
    stamped: bool = True

    @property
    def is_message(self) -> bool:
        """Syslog; all else is stamped as debug output, even if it always comes: the guide's
        `CRYPTO_PKI:  Certificate Request Fingerprint` is in UTC beside a message in EST."""
        return not self.debug and self.text.startswith(("%", "IKELAB-"))


@dataclass(frozen=True, slots=True)
class Configured:
    """Somebody left configuration mode. by: "console", "vty1 (192.0.2.7)"."""

    by: str = "console"


@dataclass(frozen=True, slots=True)
class LinkChanged:
    """An interface's link. state: "up", "down", "reset" or "administratively down"."""

    interface: str
    state: str


@dataclass(frozen=True, slots=True)
class LineProtocolChanged:
    """What runs over the link; IOS says so one second after the link."""

    interface: str
    up: bool


@dataclass(frozen=True, slots=True)
class IsakmpSwitched:
    """The first protected tunnel came or the last one went."""

    on: bool


@dataclass(frozen=True, slots=True)
class ClockUpdated:
    """The clock was set. by: "console by console", "NTP by 192.0.2.1"."""

    before: datetime
    after: datetime
    by: str


@dataclass(frozen=True, slots=True)
class Remark:
    """A line of our own on anything else: IKELAB-`name`: text."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class WebRefused:
    """A request that the web server did not pass on. peer: an address."""

    peer: str
    reason: str
    detail: str


def system_lines(happening: object, zone: Zone = UTC_ZONE) -> list[LogLine]:
    """The syslog line of one of the above; none for anything else."""
    match happening:
        case Configured(by):
            return [LogLine(f"%SYS-5-CONFIG_I: Configured from console by {by}")]
        case LinkChanged(interface, state):
            kind = "LINK-3-UPDOWN" if state in ("up", "down") else "LINK-5-CHANGED"
            return [LogLine(f"%{kind}: Interface {interface}, changed state to {state}")]
        case LineProtocolChanged(interface, up):
            text = f"Line protocol on Interface {interface}, changed state to"
            return [LogLine(f"%LINEPROTO-5-UPDOWN: {text} {'up' if up else 'down'}")]
        case IsakmpSwitched(on):
            return [LogLine(f"%CRYPTO-6-ISAKMP_ON_OFF: ISAKMP is {'ON' if on else 'OFF'}")]
        case WebRefused(peer, reason, detail):
            return [own("HTTP", f"{peer} refused: {reason}: {detail}")]
        case ClockUpdated(before, after, by):
            span = f"from {moment_text(before, zone)} to {moment_text(after, zone)}"
            text = f"System clock has been updated {span}, configured from {by}."
            return [LogLine(f"%SYS-6-CLOCKUPDATE: {text}")]
        case Remark(name, text):
            return [own(name, text)]
        case _:
            return []


def own(name: str, text: str, debug: str = "") -> LogLine:
    """A line in our own words, marked as such: IOS has none for it. What it quotes is escaped."""
    return LogLine(f"IKELAB-{name}: {visible(text)}", debug)
