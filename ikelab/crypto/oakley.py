"""Key derivation and hashes of IKEv1 (RFC 2409 sections 5, 5.5 and appendix B).

Pure functions over octets. The argument order is the RFC's. Group arithmetic is in `dh.py`,
ciphers in `cipher.py`, signatures in `rsa.py`.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

from ikelab.wire.numbers import HashAlgorithm

_HASHLIB_NAMES = {
    HashAlgorithm.MD5: "md5",
    HashAlgorithm.SHA: "sha1",
    HashAlgorithm.SHA2_256: "sha256",
    HashAlgorithm.SHA2_384: "sha384",
    HashAlgorithm.SHA2_512: "sha512",
}


@dataclass(frozen=True, slots=True)
class SkeyidSet:
    """SKEYID and what is derived from it. Never shown by repr."""

    skeyid: bytes
    skeyid_d: bytes
    skeyid_a: bytes
    skeyid_e: bytes

    def __repr__(self) -> str:
        """No octets: repr ends in logs."""
        return "SkeyidSet(...)"


def digest(hash_algorithm: HashAlgorithm, data: bytes) -> bytes:
    """The negotiated hash of data."""
    return hashlib.new(_HASHLIB_NAMES[hash_algorithm], data).digest()


def prf(hash_algorithm: HashAlgorithm, key: bytes, data: bytes) -> bytes:
    """The pseudo-random function: HMAC of the negotiated hash (RFC 2409 section 4)."""
    return hmac.digest(key, data, _HASHLIB_NAMES[hash_algorithm])


def skeyid_for_signatures(
    hash_algorithm: HashAlgorithm, nonce_i: bytes, nonce_r: bytes, g_xy: bytes
) -> bytes:
    """SKEYID = prf(Ni_b | Nr_b, g^xy)."""
    return prf(hash_algorithm, nonce_i + nonce_r, g_xy)


def skeyid_for_pre_shared_key(
    hash_algorithm: HashAlgorithm, pre_shared_key: bytes, nonce_i: bytes, nonce_r: bytes
) -> bytes:
    """SKEYID = prf(pre-shared-key, Ni_b | Nr_b)."""
    return prf(hash_algorithm, pre_shared_key, nonce_i + nonce_r)


def derive_skeyids(
    hash_algorithm: HashAlgorithm, skeyid: bytes, g_xy: bytes, cky_i: bytes, cky_r: bytes
) -> SkeyidSet:
    """SKEYID_d, _a and _e (RFC 2409 section 5)."""
    cookies = cky_i + cky_r
    # SKEYID_d = prf(SKEYID, g^xy | CKY-I | CKY-R | 0)
    skeyid_d = prf(hash_algorithm, skeyid, g_xy + cookies + b"\0")
    # SKEYID_a = prf(SKEYID, SKEYID_d | g^xy | CKY-I | CKY-R | 1)
    skeyid_a = prf(hash_algorithm, skeyid, skeyid_d + g_xy + cookies + b"\1")
    # SKEYID_e = prf(SKEYID, SKEYID_a | g^xy | CKY-I | CKY-R | 2)
    skeyid_e = prf(hash_algorithm, skeyid, skeyid_a + g_xy + cookies + b"\2")
    return SkeyidSet(skeyid, skeyid_d, skeyid_a, skeyid_e)


def expand(
    hash_algorithm: HashAlgorithm, key: bytes, seed: bytes, first: bytes, length: int
) -> bytes:
    """K1 = prf(key, first | seed), K2 = prf(key, K1 | seed), ... cut to length octets."""
    output = block = prf(hash_algorithm, key, first + seed)
    while len(output) < length:
        block = prf(hash_algorithm, key, block + seed)
        output += block
    return output[:length]


def derive_encryption_key(hash_algorithm: HashAlgorithm, skeyid_e: bytes, length: int) -> bytes:
    """Ka, the phase 1 cipher key (RFC 2409 appendix B). length: the cipher's key, octets.

    SKEYID_e itself is cut when it is long enough, and stretched with prf(SKEYID_e, 0) otherwise.
    """
    if len(skeyid_e) >= length:
        return skeyid_e[:length]
    return expand(hash_algorithm, skeyid_e, b"", b"\0", length)


def first_iv(hash_algorithm: HashAlgorithm, g_xi: bytes, g_xr: bytes, block: int) -> bytes:
    """IV of the first encrypted message: hash(g^xi | g^xr), cut to the block (appendix B)."""
    return digest(hash_algorithm, g_xi + g_xr)[:block]


def phase2_iv(
    hash_algorithm: HashAlgorithm, last_phase1_block: bytes, message_id: int, block: int
) -> bytes:
    """IV of a new phase 2 or informational exchange: hash(last CBC block | M-ID)."""
    return digest(hash_algorithm, last_phase1_block + message_id.to_bytes(4, "big"))[:block]


def hash_i(
    hash_algorithm: HashAlgorithm,
    skeyid: bytes,
    g_xi: bytes,
    g_xr: bytes,
    cky_i: bytes,
    cky_r: bytes,
    sai_b: bytes,
    idii_b: bytes,
) -> bytes:
    """HASH_I = prf(SKEYID, g^xi | g^xr | CKY-I | CKY-R | SAi_b | IDii_b)."""
    return prf(hash_algorithm, skeyid, g_xi + g_xr + cky_i + cky_r + sai_b + idii_b)


def hash_r(
    hash_algorithm: HashAlgorithm,
    skeyid: bytes,
    g_xi: bytes,
    g_xr: bytes,
    cky_i: bytes,
    cky_r: bytes,
    sai_b: bytes,
    idir_b: bytes,
) -> bytes:
    """HASH_R = prf(SKEYID, g^xr | g^xi | CKY-R | CKY-I | SAi_b | IDir_b)."""
    return prf(hash_algorithm, skeyid, g_xr + g_xi + cky_r + cky_i + sai_b + idir_b)


def _message_id(message_id: int) -> bytes:
    return message_id.to_bytes(4, "big")


def hash_1(
    hash_algorithm: HashAlgorithm, skeyid_a: bytes, message_id: int, after_hash: bytes
) -> bytes:
    """HASH(1) = prf(SKEYID_a, M-ID | everything after the HASH payload).

    Also the hash of informational exchanges (RFC 2409 section 5.7).
    """
    return prf(hash_algorithm, skeyid_a, _message_id(message_id) + after_hash)


def hash_2(
    hash_algorithm: HashAlgorithm,
    skeyid_a: bytes,
    message_id: int,
    nonce_i: bytes,
    after_hash: bytes,
) -> bytes:
    """HASH(2) = prf(SKEYID_a, M-ID | Ni_b | everything after the HASH payload)."""
    return prf(hash_algorithm, skeyid_a, _message_id(message_id) + nonce_i + after_hash)


def hash_3(
    hash_algorithm: HashAlgorithm, skeyid_a: bytes, message_id: int, nonce_i: bytes, nonce_r: bytes
) -> bytes:
    """HASH(3) = prf(SKEYID_a, 0 | M-ID | Ni_b | Nr_b)."""
    return prf(hash_algorithm, skeyid_a, b"\0" + _message_id(message_id) + nonce_i + nonce_r)


def derive_keymat(
    hash_algorithm: HashAlgorithm,
    skeyid_d: bytes,
    protocol_id: int,
    spi: bytes,
    nonce_i: bytes,
    nonce_r: bytes,
    length: int,
    g_qm_xy: bytes = b"",
) -> bytes:
    """KEYMAT for one direction (RFC 2409 section 5.5). length: octets; spi: the receiver's.

    g_qm_xy: the quick mode's own shared secret with PFS, else empty. Raises ValueError if
    length < 1.
    """
    if length < 1:
        raise ValueError("KEYMAT of no octets")
    # KEYMAT = prf(SKEYID_d, [g(qm)^xy |] protocol | SPI | Ni_b | Nr_b)
    seed = g_qm_xy + bytes([protocol_id]) + spi + nonce_i + nonce_r
    return expand(hash_algorithm, skeyid_d, seed, b"", length)


def nat_d_hash(
    hash_algorithm: HashAlgorithm, cky_i: bytes, cky_r: bytes, address: bytes, port: int
) -> bytes:
    """NAT-D: HASH(CKY-I | CKY-R | IP | Port) (RFC 3947 section 3.2). address: packed octets."""
    return digest(hash_algorithm, cky_i + cky_r + address + port.to_bytes(2, "big"))
