"""RSA signatures of IKEv1: PKCS#1 v1.5 over the bare HASH, without a DigestInfo (RFC 2409 §5.1)."""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.utils import NoDigestInfo
from cryptography.hazmat.primitives.serialization import load_der_public_key

PADDING = 11
"""Octets of a modulus that a signature cannot use (RFC 2437 section 9.2.1)."""


def sign_hash(key: RSAPrivateKey, hash_value: bytes) -> bytes:
    """SIG payload body: as long as the modulus. Raises ValueError if the key is too short."""
    return key.sign(hash_value, PKCS1v15(), NoDigestInfo())


def verify_hash(public_key_info: bytes, signature: bytes, hash_value: bytes) -> bool:
    """Whether signature is the key's over hash_value. public_key_info: SubjectPublicKeyInfo, DER.

    libcrypto compares the whole padded block, so short padding, trailing octets or a DigestInfo
    inside do not pass. It takes a signature without its leading zeros for the same number; RFC 8017
    section 8.2.2 does not.
    """
    try:
        key = load_der_public_key(public_key_info)
        if not isinstance(key, RSAPublicKey):
            return False
        if len(signature) != (key.key_size + 7) // 8:
            return False
        # The library's type hints leave NoDigestInfo out for verify; its documentation has it.
        key.verify(signature, hash_value, PKCS1v15(), NoDigestInfo())  # type: ignore[arg-type]
    except (InvalidSignature, ValueError, UnsupportedAlgorithm):
        return False
    return True
