"""Digests, RSA signatures and RSA keys of X.509 and CMS, and which of them are weak.

The one rule of weakness, for certificates, CRLs, requests and CMS alike: outside `mode: legacy`
MD5 and SHA-1 signatures, RSA moduli under 1024 bits, DES and 3DES are refused.
"""

from __future__ import annotations

import hashlib
from functools import cache

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import (
    RSAPrivateKey,
    RSAPublicKey,
    RSAPublicNumbers,
)
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ikelab.errors import PkiError
from ikelab.pki import der

RSA_ENCRYPTION = "1.2.840.113549.1.1.1"

_HASHES: dict[str, hashes.HashAlgorithm] = {
    "md5": hashes.MD5(),
    "sha1": hashes.SHA1(),
    "sha224": hashes.SHA224(),
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}
_DIGEST_OIDS = {
    "md5": "1.2.840.113549.2.5",
    "sha1": "1.3.14.3.2.26",
    "sha224": "2.16.840.1.101.3.4.2.4",
    "sha256": "2.16.840.1.101.3.4.2.1",
    "sha384": "2.16.840.1.101.3.4.2.2",
    "sha512": "2.16.840.1.101.3.4.2.3",
}
_SIGNATURE_OIDS = {
    "md5": "1.2.840.113549.1.1.4",
    "sha1": "1.2.840.113549.1.1.5",
    "sha224": "1.2.840.113549.1.1.14",
    "sha256": "1.2.840.113549.1.1.11",
    "sha384": "1.2.840.113549.1.1.12",
    "sha512": "1.2.840.113549.1.1.13",
}
_DIGEST_NAMES = {dotted: name for name, dotted in _DIGEST_OIDS.items()}
_SIGNATURE_NAMES = {dotted: name for name, dotted in _SIGNATURE_OIDS.items()}
# `crypto key generate rsa` takes 360 and more; a smaller modulus carries no digest at all.
_LEAST_BITS = 360
_LEAST_BITS_MODERN = 1024
# A verification with 16384 bits takes about a millisecond; more would be a way to stall a router.
_MOST_BITS = 16384
_MOST_EXPONENT = 1 << 64

_WEAK_DIGESTS = frozenset({"md5", "sha1"})
_WEAK_CIPHERS = frozenset({"des", "des3"})


def hash_octets(digest: str, octets: bytes) -> bytes:
    """The digest of octets. digest: "md5", "sha1", "sha224", "sha256", "sha384", "sha512"."""
    if digest not in _HASHES:
        raise PkiError("unsupported-algorithm", f"digest {digest!r}; known: {', '.join(_HASHES)}")
    return hashlib.new(digest, octets, usedforsecurity=False).digest()


def sign(key: RSAPrivateKey, octets: bytes, digest: str) -> bytes:
    """RSASSA-PKCS1-v1_5. Raises PkiError("key-too-short") where the digest does not fit."""
    if digest not in _HASHES:
        raise PkiError("unsupported-algorithm", f"digest {digest!r}; known: {', '.join(_HASHES)}")
    try:
        return key.sign(octets, PKCS1v15(), _HASHES[digest])
    except ValueError:
        raise PkiError(
            "key-too-short", f"an RSA key of {key.key_size} bits cannot sign with {digest}"
        ) from None


def is_signed_by(key: RSAPublicKey, signature: bytes, octets: bytes, digest: str) -> bool:
    """Whether signature is the key's over octets. digest: one this module has read."""
    try:
        key.verify(signature, octets, PKCS1v15(), _HASHES[digest])
    except (InvalidSignature, ValueError, UnsupportedAlgorithm):
        return False
    return True


@cache
def digest_algorithm(digest: str) -> bytes:
    """AlgorithmIdentifier of a digest, with NULL as OpenSSL and IOS write it."""
    return der.sequence(der.oid(_DIGEST_OIDS[digest]), der.null())


@cache
def signature_algorithm(digest: str) -> bytes:
    """AlgorithmIdentifier of RSA with a digest (RFC 4055 section 5)."""
    if digest not in _SIGNATURE_OIDS:
        raise PkiError("unsupported-algorithm", f"digest {digest!r}; known: {', '.join(_HASHES)}")
    return der.sequence(der.oid(_SIGNATURE_OIDS[digest]), der.null())


@cache
def rsa_encryption() -> bytes:
    """AlgorithmIdentifier rsaEncryption."""
    return der.sequence(der.oid(RSA_ENCRYPTION), der.null())


def read_algorithm(element: der.Element) -> tuple[str, der.Element | None]:
    """OID of an AlgorithmIdentifier, and its parameters unless absent or NULL."""
    fields = element.fields()
    dotted = fields.take(der.OBJECT_IDENTIFIER).oid()
    parameters = fields.rest()
    if len(parameters) > 1:
        raise der.malformed("an algorithm with two parameters")
    if not parameters or parameters[0].raw == der.null():
        return dotted, None
    return dotted, parameters[0]


def read_signature_algorithm(element: der.Element) -> str:
    """Digest of an RSA signature algorithm; parameters NULL or absent (RFC 4055 section 5)."""
    dotted, parameters = read_algorithm(element)
    if parameters is not None or dotted not in _SIGNATURE_NAMES:
        raise PkiError("unsupported-algorithm", f"signature algorithm {dotted}; RSA v1.5 is known")
    return _SIGNATURE_NAMES[dotted]


def read_digest_algorithm(element: der.Element) -> str:
    """Name of a digest algorithm."""
    dotted, parameters = read_algorithm(element)
    if parameters is not None or dotted not in _DIGEST_NAMES:
        raise PkiError("unsupported-algorithm", f"digest algorithm {dotted}")
    return _DIGEST_NAMES[dotted]


def read_public_key(element: der.Element) -> RSAPublicKey:
    """RSA key of a SubjectPublicKeyInfo. Raises PkiError("unsupported-algorithm", "bad-key")."""
    fields = element.fields()
    dotted, parameters = read_algorithm(fields.take(der.SEQUENCE))
    if dotted != RSA_ENCRYPTION or parameters is not None:
        raise PkiError("unsupported-algorithm", f"public key algorithm {dotted}; RSA is known")
    key = der.parse(fields.take(der.BIT_STRING).whole_octets(), strict=element.strict).fields()
    fields.finish()
    modulus, exponent = key.take().integer(), key.take().integer()
    key.finish()
    _refuse_unsound(modulus, exponent)
    try:
        return RSAPublicNumbers(exponent, modulus).public_key()
    except ValueError as error:
        raise PkiError("bad-key", str(error)) from None


def _refuse_unsound(modulus: int, exponent: int) -> None:
    """Numbers that are no RSA key, in any mode."""
    bits = modulus.bit_length()
    if modulus <= 0 or not modulus & 1:
        raise PkiError("bad-key", "the RSA modulus is not odd and positive")
    if not _LEAST_BITS <= bits <= _MOST_BITS:
        raise PkiError("bad-key", f"RSA modulus of {bits} bits, not {_LEAST_BITS} to {_MOST_BITS}")
    if not exponent & 1 or not 3 <= exponent < _MOST_EXPONENT:
        raise PkiError("bad-key", "the RSA exponent is not odd and from 3 to 2^64")


def public_key_info(key: RSAPublicKey | RSAPrivateKey) -> bytes:
    """SubjectPublicKeyInfo, DER."""
    public = key.public_key() if isinstance(key, RSAPrivateKey) else key
    return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def key_identifier(info: bytes) -> bytes:
    """SHA-1 of the key's BIT STRING (RFC 5280 section 4.2.1.2, method 1). info: SPKI, DER."""
    bits = der.parse(info).children()[1].whole_octets()
    return hash_octets("sha1", bits)


def refuse_weak(
    what: str,
    *,
    legacy: bool,
    digest: str | None = None,
    key: RSAPublicKey | None = None,
    cipher: str | None = None,
) -> None:
    """Raise PkiError("weak-algorithm") for what only `mode: legacy` takes. what: "the CRL"."""
    if legacy:
        return
    fault = ""
    if digest in _WEAK_DIGESTS:
        fault = f"is signed with {digest}"
    elif key is not None and key.key_size < _LEAST_BITS_MODERN:
        fault = f"has an RSA key of {key.key_size} bits, under {_LEAST_BITS_MODERN}"
    elif cipher in _WEAK_CIPHERS:
        fault = f"is encrypted with {cipher}"
    if fault:
        raise PkiError("weak-algorithm", f"{what} {fault}; only mode: legacy takes it")
