"""The CBC ciphers of ISAKMP messages (RFC 2409 appendix B, RFC 3602); the caller keeps the IV."""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES

from ikelab.wire.numbers import EncryptionAlgorithm


@dataclass(frozen=True, slots=True)
class CbcCipher:
    """One phase 1 cipher. key_length and block: octets."""

    algorithm: EncryptionAlgorithm
    key_length: int
    block: int

    def encrypt(self, key: bytes, iv: bytes, plaintext: bytes) -> bytes:
        """CBC; plaintext must be whole blocks. The next IV is the last block returned."""
        context = Cipher(self._primitive(key), modes.CBC(iv)).encryptor()
        return context.update(plaintext) + context.finalize()

    def decrypt(self, key: bytes, iv: bytes, ciphertext: bytes) -> bytes:
        """CBC; ciphertext must be whole blocks. The next IV is the last block given."""
        context = Cipher(self._primitive(key), modes.CBC(iv)).decryptor()
        return context.update(ciphertext) + context.finalize()

    def pad(self, plaintext: bytes) -> bytes:
        """Zeros up to whole blocks; none where it is whole already."""
        return plaintext + bytes(-len(plaintext) % self.block)

    def _primitive(self, key: bytes) -> AES | TripleDES:
        if self.algorithm is EncryptionAlgorithm.AES_CBC:
            return AES(key)
        # Single DES is triple DES with the same key three times.
        return TripleDES(key * 3 if self.algorithm is EncryptionAlgorithm.DES_CBC else key)


def cipher_for(algorithm: EncryptionAlgorithm, key_length_bits: int | None) -> CbcCipher:
    """The cipher of a negotiated transform. key_length_bits: AES only."""
    match algorithm:
        case EncryptionAlgorithm.AES_CBC:
            return CbcCipher(algorithm, (key_length_bits or 128) // 8, 16)
        case EncryptionAlgorithm.TRIPLE_DES_CBC:
            return CbcCipher(algorithm, 24, 8)
        case EncryptionAlgorithm.DES_CBC:
            return CbcCipher(algorithm, 8, 8)
