"""When a message is sent again, and when to give up.

IOS resends a phase 1 or phase 2 message every ten seconds and gives up after five attempts; after
an error it resends one second later (guide, "Revocation Checking": "attempt 2 of 5: retransmit
phase 1", 1.000 s after the error). An initiator whose peer repeats its last message sends its own
again after half a second (the same listing: +0.500 s). What is resent are the stored octets, never
a rebuilt message.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ikelab.isakmp.events import SendDatagram

INTERVAL = 10.0
INTERVAL_AFTER_ERROR = 1.0
INTERVAL_BEHIND_AM3 = 1.0  # nobody answers message 3, and quick mode may have overtaken it
INTERVAL_AFTER_REPEAT = 0.5
ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Retransmission:
    """A message that waits for its answer. deadline: seconds of `Now.elapsed`."""

    message: SendDatagram
    name: str
    deadline: float
    attempt: int = 0

    @property
    def is_spent(self) -> bool:
        """All attempts were made: when the deadline passes again, give up."""
        return self.attempt >= ATTEMPTS

    def again(self, now: float) -> Retransmission:
        """The next attempt is made now."""
        return replace(self, attempt=self.attempt + 1, deadline=now + INTERVAL)

    def soon(self, now: float) -> Retransmission:
        """The peer repeats itself, so it has not heard this message."""
        return replace(self, deadline=min(self.deadline, now + INTERVAL_AFTER_REPEAT))


def start(
    message: SendDatagram, name: str, now: float, interval: float = INTERVAL
) -> Retransmission:
    """A message was just sent for the first time. interval: seconds until the second."""
    return Retransmission(message, name, now + interval)
