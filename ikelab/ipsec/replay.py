"""The anti-replay window of an inbound SA (RFC 4303 section 3.4.3 and appendix A2.2).

The window only slides for packets whose ICV was verified: `is_fresh` asks, `accept` moves.
"""

from __future__ import annotations

WINDOW_SIZE = 64  # RFC 4303 section 3.4.3: "a window size of 64 is preferred"

_ALL_BITS = (1 << WINDOW_SIZE) - 1


class ReplayWindow:
    """Which sequence numbers were taken; bit n of the mask stands for `highest - n`."""

    __slots__ = ("highest", "_mask")

    def __init__(self) -> None:
        self.highest = 0
        self._mask = 0

    def is_fresh(self, sequence: int) -> bool:
        """Whether this number may still come: new, or inside the window and not seen.

        Number 0 is never sent (RFC 4303 section 3.3.3: the first packet has number 1).
        """
        if sequence > self.highest:
            return True
        age = self.highest - sequence
        return sequence != 0 and age < WINDOW_SIZE and not self._mask >> age & 1

    def accept(self, sequence: int) -> None:
        """Mark the number as taken, sliding the window when it is the highest so far."""
        step = sequence - self.highest
        if step <= 0:
            self._mask |= 1 << -step
            return
        self._mask = (self._mask << step | 1) & _ALL_BITS if step < WINDOW_SIZE else 1
        self.highest = sequence
