"""What an NTP server answers to a client: mode 3 in, mode 4 out (RFC 5905 section 8)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ikelab.ntp.packet import UNSYNCHRONIZED, Leap, Mode, NtpPacket, stamp

PRECISION = -20  # 2^-20 s, a microsecond: what our clocks resolve


@dataclass(frozen=True, slots=True)
class Source:
    """What a server says of its clock. reference_id: what it is set by, 4 octets. reference: when
    it was last set. root_delay, root_dispersion: seconds to its own source.
    """

    stratum: int
    reference_id: bytes
    reference: datetime | None
    root_delay: float = 0.0
    root_dispersion: float = 0.0


NO_SOURCE = Source(UNSYNCHRONIZED, b"INIT", None)


def answer(octets: bytes, source: Source, received: datetime, sent: datetime) -> bytes | None:
    """The reply to a request; None for what no server answers. Raises WireError.

    received, sent: on the server's clock. Nothing is kept of the client, and the reply is no
    longer than the request, so the server is no amplifier.
    """
    request = NtpPacket.parse(octets)
    if request.mode is not Mode.CLIENT:
        return None
    unsynchronized = source.stratum >= UNSYNCHRONIZED
    return NtpPacket(
        mode=Mode.SERVER,
        # On the wire, stratum 0 is what 16 is inside (RFC 5905 section 7.3, figure 11).
        stratum=0 if unsynchronized else source.stratum,
        leap=Leap.ALARM if unsynchronized else Leap.NONE,
        version=request.version,
        poll=request.poll,
        precision=PRECISION,
        root_delay=source.root_delay,
        root_dispersion=source.root_dispersion,
        reference_id=source.reference_id.ljust(4, b"\0"),
        reference=stamp(source.reference) if source.reference is not None else 0,
        origin=request.transmit,
        receive=stamp(received),
        transmit=stamp(sent),
    ).build()
