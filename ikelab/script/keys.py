"""The keys of one ISAKMP SA, as a script uses them: to seal, to open, to prove (RFC 2409)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ikelab.crypto import oakley
from ikelab.crypto.cipher import CbcCipher
from ikelab.crypto.oakley import SkeyidSet
from ikelab.errors import ConfigError
from ikelab.isakmp.sa import IsakmpSa
from ikelab.wire.isakmp import build_payloads
from ikelab.wire.layer import Layer
from ikelab.wire.numbers import HashAlgorithm
from ikelab.wire.payloads import HASH


@dataclass(frozen=True, slots=True)
class Keys:
    """Keys of phase 1. last_block: of the last main mode message, where all other IVs come from."""

    hash: HashAlgorithm
    cipher: CbcCipher
    key: bytes
    skeyids: SkeyidSet
    last_block: bytes

    @classmethod
    def of(cls, sa: IsakmpSa) -> Keys:
        """Those of an SA; ConfigError before messages 3 and 4 were exchanged."""
        if sa.keys is None or sa.policy is None or sa.cipher is None:
            raise ConfigError(f"there are no keys yet in {sa.state.value}")
        return cls(sa.policy.hash, sa.cipher, sa.encryption_key, sa.keys, sa.iv)

    def __repr__(self) -> str:
        """No octets: repr ends in logs."""
        return f"Keys({self.cipher.algorithm.name}, {self.hash.name})"

    def iv(self, message_id: int) -> bytes:
        """Of the first message of an exchange after phase 1 (RFC 2409 appendix B)."""
        return oakley.phase2_iv(self.hash, self.last_block, message_id, self.cipher.block)

    def hash_1(self, message_id: int, payloads: Sequence[Layer]) -> bytes:
        """HASH(1), also of informational exchanges, over the payloads behind it."""
        covered = build_payloads(payloads)[1]
        return oakley.hash_1(self.hash, self.skeyids.skeyid_a, message_id, covered)

    def hash_2(self, message_id: int, nonce_i: bytes, payloads: Sequence[Layer]) -> bytes:
        """HASH(2), of quick mode's second message."""
        covered = build_payloads(payloads)[1]
        return oakley.hash_2(self.hash, self.skeyids.skeyid_a, message_id, nonce_i, covered)

    def behind_hash(self, message_id: int, payloads: Sequence[Layer]) -> list[Layer]:
        """Payloads with their HASH(1) in front."""
        return [HASH(data=self.hash_1(message_id, payloads)), *payloads]
