"""ESP packets a second, one core: our SAs, beside bare AES-CBC and HMAC on the same octets.

AES-256 and HMAC-SHA-256 with packets that carry 1400 octets, as a full-sized GRE packet does. The
bare operations are what one packet cannot do without: encrypt it and compute the HMAC, or check the
HMAC and decrypt. They are called in the cheapest way there is: the cipher and the HMAC are keyed
once, and nothing is put together, counted or checked.
"""

from __future__ import annotations

import hmac as stdlib_hmac
import os
import time
from dataclasses import dataclass

from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES

from ikelab.ipsec.esp import HEADER, InboundSa, OutboundSa
from ikelab.isakmp.events import EspKeys
from ikelab.isakmp.policy import TransformSet
from ikelab.wire.numbers import AuthAlgorithm, EncapsulationMode, EspTransform

PAYLOAD = 1400
BLOCK, ICV = 16, 16
MICROSECOND = 1000

_TRANSFORM = TransformSet(
    "AES256_SHA256",
    EspTransform.ESP_AES,
    256,
    AuthAlgorithm.HMAC_SHA2_256,
    EncapsulationMode.TRANSPORT,
)


@dataclass(frozen=True, slots=True)
class EspCost:
    """CPU microseconds a packet: ours, and bare cryptography."""

    protect: float
    open: float
    bare_encrypt: float
    bare_decrypt: float


class EspBench:
    """A sender and a receiver with the same keys."""

    def __init__(self) -> None:
        self._keys = EspKeys(b"\xc0\xff\xee\x01", os.urandom(32), os.urandom(32))
        self._payload = os.urandom(PAYLOAD)
        self._mac = hmac.HMAC(self._keys.authentication_key, hashes.SHA256())
        cipher = Cipher(AES(self._keys.encryption_key), modes.CBC(bytes(BLOCK)))
        self._encryptor, self._decryptor = cipher.encryptor(), cipher.decryptor()

    def measure(self, packets: int) -> EspCost:
        """The mean of `packets`, each of which is protected, opened and compared."""
        outbound = OutboundSa(_TRANSFORM, self._keys, os.urandom(BLOCK))
        inbound = InboundSa(_TRANSFORM, self._keys)
        start = time.thread_time_ns()
        sealed = [outbound.protect(self._payload) for _ in range(packets)]
        sent = time.thread_time_ns()
        opened = [inbound.open(packet)[1] for packet in sealed]
        taken = time.thread_time_ns()
        assert opened == [self._payload] * packets
        cut = [(p[HEADER:-ICV], p[:HEADER], p[:-ICV], p[-ICV:]) for p in sealed]
        bare = time.thread_time_ns()
        for body, header, _, _ in cut:
            self._encrypt(body, header)
        encrypted = time.thread_time_ns()
        for body, _, covered, icv in cut:
            self._decrypt(body, covered, icv)
        decrypted = time.thread_time_ns()
        unit = packets * MICROSECOND
        return EspCost(
            (sent - start) / unit,
            (taken - sent) / unit,
            (encrypted - bare) / unit,
            (decrypted - encrypted) / unit,
        )

    def _encrypt(self, body: bytes, header: bytes) -> bytes:
        sealed = self._encryptor.update(body)
        mac = self._mac.copy()
        mac.update(header)
        mac.update(sealed)
        mac.finalize()
        return sealed

    def _decrypt(self, body: bytes, covered: bytes, icv: bytes) -> bytes:
        mac = self._mac.copy()
        mac.update(covered)
        assert stdlib_hmac.compare_digest(mac.finalize()[:ICV], icv)
        return self._decryptor.update(body)
