"""`ping`: ICMP echo from a node's own namespace, told as IOS tells it (guide, "Step 3")."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import time
from dataclasses import dataclass

from ikelab.errors import LabError

TIMEOUT = 2.0  # seconds for each echo, as IOS has it
_ECHO_REQUEST, _ECHO_REPLY = 8, 0
_HEADER = struct.Struct("!BBHHH")
_IP_HEADER = 20
_LEAST = _IP_HEADER + _HEADER.size


@dataclass(frozen=True, slots=True)
class PingResult:
    """What came back. times: milliseconds, one per answered echo; None: lost."""

    target: str
    size: int
    times: tuple[float | None, ...]

    @property
    def received(self) -> int:
        """Answered echoes."""
        return sum(time is not None for time in self.times)

    def __str__(self) -> str:
        """IOS's text: an exclamation mark an answer, a dot a loss."""
        marks = "".join("." if time is None else "!" for time in self.times)
        sent, got = len(self.times), self.received
        lines = [
            "Type escape sequence to abort.",
            f"Sending {sent}, {self.size}-byte ICMP Echos to {self.target},"
            f" timeout is {TIMEOUT:.0f} seconds:",
            marks,
            f"Success rate is {100 * got // sent} percent ({got}/{sent})",
        ]
        answered = [time for time in self.times if time is not None]
        if answered:
            mean = sum(answered) / got
            lines[-1] += (
                f", round-trip min/avg/max = {min(answered):.0f}/{mean:.0f}/{max(answered):.0f} ms"
            )
        return "\n".join(lines) + "\n"


async def ping(target: str, *, source: str | None, count: int, size: int) -> PingResult:
    """Echo requests one after the other. source: a local address; size: octets with IP header.

    Raises LabError where the source is not ours.
    """
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as icmp:
        icmp.setblocking(False)
        try:
            if source is not None:
                icmp.bind((source, 0))
        except OSError as error:
            raise LabError(f"% Invalid source address {source}: {error.strerror}") from error
        identifier = int.from_bytes(os.urandom(2), "big")
        times = [
            await _echo(loop, icmp, target, identifier, number, size) for number in range(count)
        ]
    return PingResult(target, size, tuple(times))


async def _echo(
    loop: asyncio.AbstractEventLoop,
    icmp: socket.socket,
    target: str,
    identifier: int,
    number: int,
    size: int,
) -> float | None:
    payload = b"\xab\xcd" * ((max(size, _LEAST) - _LEAST + 1) // 2)  # IOS's own pattern
    packet = _with_checksum(identifier, number & 0xFFFF, payload[: max(size, _LEAST) - _LEAST])
    begun = time.perf_counter()
    try:
        async with asyncio.timeout(TIMEOUT):
            await loop.sock_sendto(icmp, packet, (target, 0))
            while True:
                answer, (sender, _) = await loop.sock_recvfrom(icmp, 65535)
                if sender == target and _answers(answer, identifier, number & 0xFFFF):
                    return (time.perf_counter() - begun) * 1000
    except TimeoutError:
        return None
    except OSError:  # no route, or the kernel was told that the target is unreachable
        return None


def _with_checksum(identifier: int, number: int, payload: bytes) -> bytes:
    head = _HEADER.pack(_ECHO_REQUEST, 0, 0, identifier, number)
    octets = head + payload + b"\0" * (len(payload) % 2)
    total = sum(struct.unpack(f"!{len(octets) // 2}H", octets))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return _HEADER.pack(_ECHO_REQUEST, 0, ~total & 0xFFFF, identifier, number) + payload


def _answers(packet: bytes, identifier: int, number: int) -> bool:
    offset = (packet[0] & 15) * 4
    if len(packet) < offset + _HEADER.size:
        return False
    kind, _, _, seen, sequence = _HEADER.unpack_from(packet, offset)
    return (kind, seen, sequence) == (_ECHO_REPLY, identifier, number)
