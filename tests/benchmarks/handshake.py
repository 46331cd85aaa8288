"""Nine messages from nothing to a pair of ESP SAs, between two routers in memory, and their cost.

The OpenSSL operations alone are what no implementation can do without: on each side two
exponentiations of group 14 (our g^x, then g^xy), one RSA signature and three verifications (the
peer's signature, its certificate, its CA's certificate). The CRLs' signatures are not counted:
they could be verified once a day.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dh
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from ikelab.crypto.dh import GENERATOR, prime
from ikelab.wire.numbers import Group
from tests.benchmarks.pki import BITS, BenchPki
from tests.benchmarks.routers import BenchRouter
from tests.benchmarks.stopwatch import CRYPTOGRAPHY, PARTS, Stopwatch

SPOKE, HUB = "192.0.2.11", "192.0.2.1"
MESSAGES = 9
MILLISECOND = 1_000_000


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU milliseconds of one side a handshake. parts: every part of `stopwatch`."""

    whole: float
    parts: dict[str, float]

    @property
    def outside_cryptography(self) -> float:
        """What is our own work."""
        return self.whole - self.parts[CRYPTOGRAPHY]


class HandshakeBench:
    """Two routers that come up with each other again and again; CRLs are cached after the first."""

    def __init__(self, pki: BenchPki) -> None:
        self._initiator = BenchRouter(pki, "spoke", SPOKE, HUB)
        self._responder = BenchRouter(pki, "hub", HUB, SPOKE)
        self.sides = (self._initiator, self._responder)
        self._handshake()
        self._tear_down()

    def measure(self, handshakes: int) -> tuple[Cost, Cost]:
        """(initiator, responder), the mean of `handshakes`.

        The whole is measured without the stopwatch's wrappers around our functions, the parts in
        as many handshakes with them: together they are a little more than the whole.
        """
        wholes = self._repeat(handshakes)
        with self._split():
            self._repeat(handshakes)
        initiator, responder = (
            _cost(whole, side, handshakes) for whole, side in zip(wholes, self.sides, strict=True)
        )
        return initiator, responder

    def _repeat(self, handshakes: int) -> list[int]:
        """Nanoseconds of each side in handshakes; what follows each of them does not count."""
        wholes = [0, 0]
        for _ in range(handshakes):
            before = [(side.spent, side.parts.copy()) for side in self.sides]
            self._handshake()
            after = [(side.spent, side.parts.copy()) for side in self.sides]
            self._tear_down()
            for index, side in enumerate(self.sides):
                wholes[index] += after[index][0] - before[index][0]
                side.parts = after[index][1]
        return wholes

    @contextmanager
    def _split(self) -> Iterator[None]:
        """Time by part from here on."""
        stopwatch = Stopwatch()
        for side in self.sides:
            side.parts.clear()
            side.stopwatch = stopwatch
        try:
            with stopwatch.watching():
                yield
        finally:
            for side in self.sides:
                side.stopwatch = None

    def _handshake(self) -> None:
        installed = [len(side.installed) for side in self.sides]
        self._initiator.acquire()
        messages = self._carry()
        came_up = [len(side.installed) for side in self.sides] == [n + 1 for n in installed]
        if messages != MESSAGES or not came_up:
            told = [str(refused) for side in self.sides for refused in side.refused]
            raise AssertionError(f"no handshake after {messages} messages: {told}")

    def _tear_down(self) -> None:
        self._initiator.clear()
        self._carry()
        self._responder.clear()
        self._carry()
        assert all(side.is_idle for side in self.sides)

    def _carry(self) -> int:
        """Datagrams both ways until nobody has any; how many there were."""
        carried = 0
        pairs = ((self._initiator, self._responder, SPOKE), (self._responder, self._initiator, HUB))
        while any(side.outbox for side in self.sides):
            for sender, receiver, address in pairs:
                while sender.outbox:
                    receiver.receive(sender.outbox.popleft().octets, address)
                    carried += 1
        return carried


def _cost(whole: int, side: BenchRouter, handshakes: int) -> Cost:
    unit = handshakes * MILLISECOND
    return Cost(whole / unit, {part: side.parts[part] / unit for part in PARTS})


class OpensslAlone:
    """The same public-key operations through the cryptography library, and nothing else."""

    def __init__(self) -> None:
        group = dh.DHParameterNumbers(prime(Group.MODP_2048), GENERATOR)
        self._parameters = group.parameters()
        self._peer = self._parameters.generate_private_key().public_key()
        self._key = generate_private_key(65537, BITS)
        self._public = self._key.public_key()
        self._data = bytes(600)  # a certificate's length
        self._signature = self._key.sign(self._data, PKCS1v15(), hashes.SHA256())

    def measure(self, handshakes: int) -> float:
        """CPU milliseconds of one side a handshake, the mean of `handshakes`."""
        start = time.thread_time_ns()
        for _ in range(handshakes):
            self._parameters.generate_private_key().exchange(self._peer)
            self._key.sign(self._data, PKCS1v15(), hashes.SHA256())
            for _ in range(3):
                self._public.verify(self._signature, self._data, PKCS1v15(), hashes.SHA256())
        return (time.thread_time_ns() - start) / handshakes / MILLISECOND
