"""A client's association with one server: when to ask, what an answer is worth (RFC 5905).

Poll process (section 13), the tests of a packet (section 9.2), the clock filter (section 10).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from ikelab.errors import ProtocolError, WireError
from ikelab.ntp.packet import (
    UNSYNCHRONIZED,
    Leap,
    Mode,
    NtpPacket,
    difference,
    reference_name,
)

MIN_POLL, MAX_POLL = 6, 10  # 64 s and 1024 s, as IOS polls
STAGES = 8  # of the clock filter, and of the reach register
MAX_DISPERSION = 16.0  # seconds: that of a sample that is not there
MAX_DISTANCE = 1.5  # seconds from the true time: beyond it, a server is of no use
_SCHEDULING = 0.001  # seconds that a process may wait for its turn, between the wire and its clock
PHI = 15e-6  # seconds a second: how much a clock may drift
_ROUND_TRIP = 5.0  # seconds: an answer that took longer says nothing of the present
_PRECISION = 2.0**-20


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement. offset: seconds that the server is ahead; at: `Now.elapsed`."""

    offset: float
    delay: float
    dispersion: float
    at: float


@dataclass(slots=True)
class Association:
    """One `ntp server`. reach: eight bits, the newest poll lowest. heard: elapsed, None: never."""

    address: str
    reach: int = 0
    poll: int = MIN_POLL
    next_poll: float = 0.0
    samples: deque[Sample] = field(default_factory=lambda: deque(maxlen=STAGES))
    peer: NtpPacket | None = None
    heard: float | None = None
    last_offset: float = 0.0  # of the newest answer, before the clock was set by it
    kiss: str = ""  # what the server wrote in place of an answer, such as DENY
    _asked: int = 0  # transmit stamp of the question that is out
    _asked_at: float = 0.0
    _good: int = 0  # answers in a row at this interval

    @property
    def awaits_answer(self) -> bool:
        """Whether a question is out."""
        return self._asked != 0

    @property
    def stratum(self) -> int:
        """The server's, 16 while none is known."""
        return self.peer.stratum if self.peer is not None and self.peer.stratum else UNSYNCHRONIZED

    @property
    def reference(self) -> str:
        """What the server itself is set by."""
        if self.kiss:
            return f".{self.kiss}."
        if self.peer is None:
            return ".INIT."
        return reference_name(self.peer.reference_id, self.peer.stratum)

    def ask(self, now: float, transmit: int) -> bytes:
        """The next question. transmit: our date as a stamp; the answer must repeat it."""
        self.reach = self.reach << 1 & 0xFF
        if not self.reach and self.samples:
            self.samples.clear()  # eight polls without an answer
            self.poll, self._good = MIN_POLL, 0
        self._asked, self._asked_at = transmit, now
        self.next_poll = now + 2**self.poll
        return NtpPacket(Mode.CLIENT, poll=self.poll, transmit=transmit).build()

    def take(self, octets: bytes, now: float, received: int) -> None:
        """An answer, received at this stamp. Raises ProtocolError with what is wrong with it."""
        try:
            packet = NtpPacket.parse(octets)
        except WireError as error:
            raise ProtocolError("ntp-malformed", str(error)) from error
        if packet.mode is not Mode.SERVER:
            raise ProtocolError("ntp-mode", f"mode {int(packet.mode)}, an answer has {Mode.SERVER}")
        if not self._asked or packet.origin != self._asked:
            # TEST2: it repeats a stamp that we have not sent: forged, late, or a second one.
            raise ProtocolError("ntp-bogus", "it answers no question of ours")
        self._asked = 0
        if packet.stratum == 0 and packet.leap is not Leap.ALARM:
            self._kissed(packet)
        if packet.leap is Leap.ALARM or not 0 < packet.stratum < UNSYNCHRONIZED:
            self.peer = None
            raise ProtocolError("ntp-unsynchronized", "the server's clock is not set")
        if not packet.receive or not packet.transmit or now - self._asked_at > _ROUND_TRIP:
            raise ProtocolError("ntp-late", f"the answer took {now - self._asked_at:.1f} s")
        self.kiss, self.peer, self.heard = "", packet, now
        sample = self._measure(packet, received, now)
        self.samples.append(sample)
        self.last_offset = sample.offset
        self.reach |= 1
        self._settle()

    def _kissed(self, packet: NtpPacket) -> None:
        """Kiss-o'-death (section 7.4): DENY and RSTR end the questions, RATE slows them."""
        name = packet.reference_id.rstrip(b"\0").decode("ascii", "replace")
        self.kiss = name if name.isalnum() else "????"
        if self.kiss == "RATE":
            self.poll = min(self.poll + 1, MAX_POLL)
        elif self.kiss in ("DENY", "RSTR"):
            self.next_poll = float("inf")
        raise ProtocolError("ntp-kiss", f"the server says {self.kiss}")

    def _measure(self, packet: NtpPacket, received: int, now: float) -> Sample:
        """Section 8: offset ((T2 - T1) + (T3 - T4)) / 2, delay (T4 - T1) - (T3 - T2)."""
        there = difference(packet.receive, packet.origin)
        back = difference(packet.transmit, received)
        offset, delay = (there + back) / 2, max(there - back, _PRECISION)
        dispersion = _PRECISION + float(2.0**packet.precision) + PHI * (now - self._asked_at)
        return Sample(offset, delay, dispersion, now)

    def _settle(self) -> None:
        """Ask less often once eight answers came in a row at this interval."""
        self._good += 1
        if self._good >= STAGES and self.reach == 0xFF and self.poll < MAX_POLL:
            self.poll, self._good = self.poll + 1, 0

    # --- the clock filter ---------------------------------------------------------------------

    def best(self, now: float) -> Sample | None:
        """The sample with the shortest way there and back; None where the server is no source."""
        if not self.reach or not self.samples or self.peer is None:
            return None
        best = min(self.samples, key=lambda sample: sample.delay)
        return best if self.distance(best, now) <= MAX_DISTANCE else None

    def dispersion(self, now: float) -> float:
        """Seconds: that of all eight stages, those of short delay most."""
        ordered = sorted(self.samples, key=lambda sample: sample.delay)
        each = [sample.dispersion + PHI * (now - sample.at) for sample in ordered]
        each += [MAX_DISPERSION] * (STAGES - len(each))
        return sum(one / (2 << stage) for stage, one in enumerate(each))

    def distance(self, sample: Sample, now: float) -> float:
        """Root distance: how far from the true time a sample may be, at most (section 11.2).

        The stages that are still empty do not count, else no clock is set in the first minutes.
        """
        root = self.peer.root_delay / 2 + self.peer.root_dispersion if self.peer else 0.0
        return root + sample.delay / 2 + sample.dispersion + PHI * (now - sample.at) + _SCHEDULING

    def shift(self, offset: float) -> None:
        """Our own clock was moved by this much: what was measured is nearer or farther by it."""
        moved = [
            Sample(one.offset - offset, one.delay, one.dispersion, one.at) for one in self.samples
        ]
        self.samples.clear()
        self.samples.extend(moved)
        self._asked = 0
