"""The texts of `show ntp associations` and `show ntp status`: the columns of IOS 15."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from ikelab.ios.arguments import Arguments
from ikelab.ios.snapshot import NodeSnapshot, NtpRow
from ikelab.ios.text import clock
from ikelab.ntp.packet import UNSYNCHRONIZED, stamp

_HEAD = "  address         ref clock       st   when   poll reach  delay  offset   disp"
_LEGEND = " * sys.peer, # selected, + candidate, - outlyer, x falseticker, ~ configured"
_NEVER = datetime(1900, 1, 1, tzinfo=UTC)


def show_associations(snapshot: NodeSnapshot, _: Arguments) -> Iterator[str]:
    """A row a server. reach is octal: eight polls, the newest in the lowest bit."""
    if not snapshot.ntp:
        return
    yield _HEAD
    for row in snapshot.ntp:
        when = "-" if row.when is None else str(row.when)
        numbers = f"{_milliseconds(row.delay, 6):>7}{_milliseconds(row.offset, 7):>8}"
        yield (
            f"{row.mark}~{row.address:<16}{row.reference:<16}{row.stratum:2d}{when:>7}"
            f"{row.poll:7d}{row.reach:6o}{numbers}{_milliseconds(row.dispersion, 6):>7}"
        )
    yield _LEGEND


def show_status(snapshot: NodeSnapshot, _: Arguments) -> Iterator[str]:
    """Whether the clock follows somebody, and how well."""
    row = followed(snapshot)
    if row is None:
        yield f"Clock is unsynchronized, stratum {UNSYNCHRONIZED}, no reference clock"
    else:
        yield f"Clock is synchronized, stratum {row.stratum + 1}, reference is {row.address}"
    # No oscillator drifts in a lab: the actual frequency is the nominal one.
    yield "nominal freq is 250.0000 Hz, actual freq is 250.0000 Hz, precision is 2**20"
    updated = snapshot.ntp_updated or _NEVER
    raw = stamp(updated) if snapshot.ntp_updated else 0
    words = clock(updated, snapshot.zone, synced=True)
    yield f"reference time is {raw >> 32:08X}.{raw & 0xFFFFFFFF:08X} ({words})"
    offset, delay, root, peer = (
        (row.offset, row.root_delay, row.root_dispersion, row.dispersion) if row else (0, 0, 0, 0)
    )
    yield f"clock offset is {offset / 1000:.4f} msec, root delay is {delay / 1000:.2f} msec"
    yield (f"root dispersion is {root / 1000:.2f} msec, peer dispersion is {peer / 1000:.2f} msec")


def followed(snapshot: NodeSnapshot) -> NtpRow | None:
    """The server that sets the clock, if one does."""
    return next((row for row in snapshot.ntp if row.mark == "*"), None)


def _milliseconds(microseconds: int, width: int) -> str:
    """As many digits as fit: `0.012`, `15937.`; what stands before the point always does."""
    text = f"{microseconds / 1000:.3f}"
    return text[: max(width, text.index(".") + 1)]
