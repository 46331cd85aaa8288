"""Octets and Diffie-Hellman keys from a seed: every run of a script is the same.

For scripts and tests only, and for no secret: whoever knows the seed knows it all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from ikelab.crypto.dh import ExponentKey
from ikelab.wire.numbers import Group


class Seeded:
    """`types.Rng`, and a source of DH keys. pins: label -> octets that are drawn instead."""

    def __init__(self, seed: str, pins: Mapping[str, bytes] | None = None) -> None:
        self._seed = seed
        self._pins = dict(pins or {})
        self._turn = 0

    def draw(self, label: str, length: int) -> bytes:
        """Octets that depend on the seed, the label and how often it was drawn."""
        if label in self._pins:
            return self._pins[label][:length]
        self._turn += 1
        told = f"{self._seed}/{label}/{self._turn}".encode()
        return hashlib.shake_256(told).digest(length)

    def dh_key(self, group: Group) -> ExponentKey:
        """A key of the group with an exponent of 256 bits."""
        return ExponentKey(group, int.from_bytes(self.draw("dh", 32), "big"))
