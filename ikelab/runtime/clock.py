"""The time of a lab and of each node in it. The only place of the package that reads a clock.

A lab has one clock, which runs as the machine's does and is moved forward by `ikelab clock
advance`. It lies in a page that all processes of the lab share, so that one store moves all of
them at the same moment, and whoever moves it may be killed at any point without leaving them apart.

    0       8        16       24        32      40
    | magic | start  | epoch  | machine | ahead |    start: CLOCK_MONOTONIC when the lab began
                                                     epoch: the lab's date then, since 1970
                                                     machine: the machine's date then
                                                     ahead: how far the lab was advanced since
                                                     all in nanoseconds

A node's date is the lab's but for what `lab.yaml`, `clock set` or NTP have made of it.
"""

from __future__ import annotations

import mmap
import os
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ikelab.errors import LabError
from ikelab.types import Now

NANOSECONDS = 1_000_000_000
_MICROSECOND = timedelta(microseconds=1)
_UNIX = datetime(1970, 1, 1, tzinfo=UTC)
_MAGIC = int.from_bytes(b"ikeclock", "little")
_OCTETS = 40
_START, _EPOCH, _MACHINE, _AHEAD = 1, 2, 3, 4  # which of the page's integers

LAST = datetime(9000, 1, 1, tzinfo=UTC)
"""No clock goes past it: dates of certificates end with the year 9999."""


@dataclass(frozen=True, slots=True)
class ClockSetting:
    """How a node's clock stands when it is switched on. date: None: the lab's.

    is_set: whether the node believes it; if not, it waits for `clock set` or NTP.
    """

    date: datetime | None = None
    is_set: bool = True


class LabClock:
    """The clock of a lab; by itself one of this process alone, which is that of the machine."""

    def __init__(self, page: memoryview | None = None) -> None:
        if page is None:
            page = memoryview(bytearray(_OCTETS)).cast("q")
            _begin(page, None)
        self._page = page

    @classmethod
    def create(cls, path: Path, epoch: datetime | None) -> LabClock:
        """A new one, in a file for its owner only. epoch: None: the machine's date."""
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            descriptor = os.open(path, flags, 0o600)
            os.ftruncate(descriptor, _OCTETS)
        except OSError as error:
            raise LabError(f"cannot make {path}: {error.strerror}") from error
        page = _mapped(descriptor)
        _begin(page, epoch)
        return cls(page)

    @classmethod
    def open(cls, path: Path) -> LabClock:
        """The one of a lab that is there. Raises LabError."""
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as error:
            raise LabError(f"the lab's clock {path} cannot be read: {error.strerror}") from error
        if os.fstat(descriptor).st_size != _OCTETS:
            os.close(descriptor)
            raise LabError(f"{path} is no clock of a lab")
        page = _mapped(descriptor)
        if page[0] != _MAGIC:
            raise LabError(f"{path} is no clock of a lab")
        return cls(page)

    @classmethod
    def of(cls, path: Path) -> LabClock:
        """That of a lab if there is one; a node alone has the machine's."""
        return cls.open(path) if path.exists() else cls()

    def elapsed(self) -> float:
        """Seconds since the lab began; grows only."""
        return (time.monotonic_ns() - self._page[_START] + self._page[_AHEAD]) / NANOSECONDS

    def date(self) -> datetime:
        """What it shows."""
        return _date(self._page[_EPOCH]) + timedelta(seconds=self.elapsed())

    @property
    def ahead(self) -> float:
        """Seconds that it was advanced so far."""
        return self._page[_AHEAD] / NANOSECONDS

    def ahead_of_machine_ns(self) -> int:
        """Nanoseconds from the machine's date to this clock's, the same between two advances."""
        return self._page[_EPOCH] - self._page[_MACHINE] + self._page[_AHEAD]

    def advance(self, seconds: float) -> None:
        """Move it forward for every process at once. Raises LabError past the year 9000."""
        if seconds < 0:
            raise ValueError("time does not go back")
        ahead = self._page[_AHEAD] + round(seconds * NANOSECONDS)
        if self.date() + timedelta(seconds=seconds) > LAST:
            raise LabError(f"no clock goes past the year {LAST.year}")
        self._page[_AHEAD] = ahead


@dataclass(slots=True)
class NodeClock:
    """One node's clock. Its elapsed time is the lab's since the node was switched on."""

    lab: LabClock = field(default_factory=LabClock)
    setting: ClockSetting = ClockSetting()
    _synced: bool = field(init=False)
    _drifting: bool = field(init=False, default=False)
    _start: float = field(init=False)
    _base: datetime = field(init=False)  # the date when the node was switched on, as of now

    def __post_init__(self) -> None:
        self._start = self.lab.elapsed()
        self._base = self.setting.date or self.lab.date()
        self._synced = self.setting.is_set

    def elapsed(self) -> float:
        """Seconds since the node was switched on; never steps but with the whole lab."""
        return self.lab.elapsed() - self._start

    def now(self) -> Now:
        """Both clocks at this moment."""
        elapsed = self.elapsed()
        wall = self._base + timedelta(seconds=elapsed)
        return Now(elapsed, wall, self._synced, self._drifting)

    def set(self, date: datetime) -> None:
        """The date is now this one, and believed."""
        self._base = date - timedelta(seconds=self.elapsed())
        self._synced, self._drifting = True, False

    def shift(self, seconds: float) -> None:
        """The date is now later by seconds, or earlier, and believed."""
        self._base += timedelta(seconds=seconds)
        self._synced, self._drifting = True, False

    def forget(self, date: datetime) -> None:
        """As after a restart with an empty battery: some date, and nobody believes it."""
        self._base = date - timedelta(seconds=self.elapsed())
        self._synced, self._drifting = False, False

    def lose(self) -> None:
        """The server that the date came from is gone: it is believed on, but marked."""
        self._drifting = self._synced


def _begin(page: memoryview, epoch: datetime | None) -> None:
    page[_START], page[_MACHINE] = time.monotonic_ns(), time.time_ns()
    page[_EPOCH] = page[_MACHINE] if epoch is None else (epoch - _UNIX) // _MICROSECOND * 1000
    page[_AHEAD] = 0
    page[0] = _MAGIC  # last: what is read before is no clock yet


def _mapped(descriptor: int) -> memoryview:
    """A file as integers of 64 bits, shared with whoever maps it too; closes the descriptor."""
    try:
        return memoryview(mmap.mmap(descriptor, _OCTETS)).cast("q")
    finally:
        os.close(descriptor)


def _date(nanoseconds: int) -> datetime:
    return _UNIX + timedelta(microseconds=nanoseconds // 1000)
