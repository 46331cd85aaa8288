"""The machine's clocks as a node's `Now`. The only place of the package that reads them."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from ikelab.types import Now


class SystemClock:
    """Elapsed time counts from the making of this object and never steps; the date is the host's.

    The host's date counts as set: a router on it is never "unsynchronised".
    """

    def __init__(self) -> None:
        self._start = time.monotonic()

    def now(self) -> Now:
        """Both clocks at this moment."""
        return Now(elapsed=time.monotonic() - self._start, wall=datetime.now(UTC), synced=True)
