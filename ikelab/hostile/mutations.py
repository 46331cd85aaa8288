"""Real messages, changed in the ways that break parsers; the same ones for the same seed."""

from __future__ import annotations

from collections.abc import Iterator

from ikelab.script import Seeded
from ikelab.script.message import patched
from ikelab.wire.isakmp import HEADER_LENGTH

_LENGTH = 24  # of the header's length field


def mutations(octets: bytes, count: int, *, seed: str) -> Iterator[bytes]:
    """`count` mutations of a message."""
    dice = _Dice(seed)
    for _ in range(count):
        changed = octets
        for _ in range(1 + dice.below(3)):
            changed = _mutate(changed, dice)
        if dice.below(10) < 7 and len(changed) >= HEADER_LENGTH:  # else most die at the header
            changed = patched(changed, _LENGTH, len(changed).to_bytes(4, "big"))
        yield changed


class _Dice:
    def __init__(self, seed: str) -> None:
        self._source = Seeded(seed)

    def below(self, end: int) -> int:
        return int.from_bytes(self._source.draw("dice", 4), "big") % max(end, 1)

    def octets(self, length: int) -> bytes:
        return self._source.draw("octets", length)


def _mutate(octets: bytes, dice: _Dice) -> bytes:
    place = dice.below(len(octets))
    match dice.below(6):
        case 0 if octets:
            return patched(octets, place, bytes([octets[place] ^ (1 << dice.below(8))]))
        case 1 if octets:
            return patched(octets, place, bytes([(0, 1, 0x7F, 0x80, 0xFF)[dice.below(5)]]))
        case 2:
            return octets[:place] + octets[place + 1 + dice.below(32) :]
        case 3:
            return octets[:place] + dice.octets(1 + dice.below(32)) + octets[place:]
        case 4 if len(octets) > HEADER_LENGTH:  # a length field, most likely
            return patched(octets, place, dice.octets(2))[: len(octets)]
        case _:
            return octets[:place]
