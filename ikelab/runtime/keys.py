"""Randomness, RSA key pairs and Diffie-Hellman keys from the operating system and libcrypto.

libcrypto makes no RSA key under 1024 bits; the guide's routers of 2009 have 512. Those are made
here, from two random primes; whoever asks must have checked that the lab is in `mode: legacy`.
"""

from __future__ import annotations

import math
import os
import secrets
from functools import cache

from cryptography.hazmat.primitives.asymmetric import dh, ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ikelab.crypto.dh import GENERATOR, check_public_value, prime, public_length
from ikelab.wire.numbers import Group

_EXPONENT = 65537
_UNCOMPRESSED = b"\x04"  # SEC 1 section 2.3.3
_LIBRARY_MINIMUM = 1024  # rsa.generate_private_key refuses less since cryptography 43
_IOS_MINIMUM = 360  # "Choose the size of the key modulus in the range of 360 to 2048"
# Miller-Rabin with random bases: under 4**-40 that a composite number passes.
_ROUNDS = 40
_SMALL_PRIMES = tuple(n for n in range(3, 1000, 2) if all(n % d for d in range(3, 32, 2) if d < n))


class OsRng:
    """`types.Rng` from the kernel. The label is for tests that pin a value; here it is ignored."""

    def draw(self, label: str, length: int) -> bytes:
        """`length` random octets."""
        return os.urandom(length)


class OsRsaKeys:
    """`pki.store.RsaKeys` from libcrypto."""

    def rsa_key(self, label: str, bits: int) -> rsa.RSAPrivateKey:
        """A fresh key pair with a modulus of exactly `bits`."""
        return generate_rsa_key(bits)


def generate_rsa_key(bits: int) -> rsa.RSAPrivateKey:
    """A fresh RSA key pair, public exponent 65537. Raises ValueError under 360 bits."""
    if bits >= _LIBRARY_MINIMUM:
        return rsa.generate_private_key(_EXPONENT, bits)
    if bits < _IOS_MINIMUM:
        raise ValueError(f"an RSA modulus has at least {_IOS_MINIMUM} bits, not {bits}")
    return _short_key(bits)


def _short_key(bits: int) -> rsa.RSAPrivateKey:
    """A key pair that libcrypto would not make (FIPS 186-4 appendix B.3.1, primes by trial)."""
    p = _prime(bits - bits // 2)
    q = _prime(bits // 2)
    while q == p:
        q = _prime(bits // 2)
    p, q = max(p, q), min(p, q)
    d = pow(_EXPONENT, -1, math.lcm(p - 1, q - 1))
    return rsa.RSAPrivateNumbers(
        p=p,
        q=q,
        d=d,
        dmp1=d % (p - 1),
        dmq1=d % (q - 1),
        iqmp=pow(q, -1, p),
        public_numbers=rsa.RSAPublicNumbers(_EXPONENT, p * q),
    ).private_key()


def _prime(bits: int) -> int:
    """A random prime with its two highest bits set: a product of two has all the bits of both."""
    while True:
        candidate = secrets.randbits(bits) | (0b11 << (bits - 2)) | 1
        if math.gcd(candidate - 1, _EXPONENT) == 1 and _is_prime(candidate):
            return candidate


def _is_prime(number: int) -> bool:
    """Trial division, then Miller-Rabin (FIPS 186-4 appendix C.3.1). number: odd, large."""
    if any(number % prime == 0 for prime in _SMALL_PRIMES):
        return False
    shift = ((number - 1) & -(number - 1)).bit_length() - 1
    odd = (number - 1) >> shift
    return all(
        _passes(number, secrets.randbelow(number - 3) + 2, odd, shift) for _ in range(_ROUNDS)
    )


def _passes(number: int, base: int, odd: int, shift: int) -> bool:
    """One round: number - 1 = odd * 2**shift; False proves that number is composite."""
    power = pow(base, odd, number)
    if power in (1, number - 1):
        return True
    for _ in range(shift - 1):
        power = power * power % number
        if power == number - 1:
            return True
    return False


class OsDhKeys:
    """Diffie-Hellman keys from libcrypto."""

    def dh_key(self, group: Group) -> LibcryptoDhKey | LibcryptoEcKey:
        """A fresh key of the group."""
        return LibcryptoEcKey(group) if group in _CURVES else LibcryptoDhKey(group)


class LibcryptoDhKey:
    """`crypto.dh.DhKey` with libcrypto's arithmetic: 0.3 ms for group 14, a tenth of Python's."""

    def __init__(self, group: Group) -> None:
        self._group = group
        self._length = public_length(group)
        self._key = _parameters(group).generate_private_key()

    @property
    def public(self) -> bytes:
        """g^x."""
        return self._key.public_key().public_numbers().y.to_bytes(self._length, "big")

    def exchange(self, peer_public: bytes) -> bytes:
        """g^xy."""
        check_public_value(self._group, peer_public)
        value = int.from_bytes(peer_public, "big")
        numbers = dh.DHPublicNumbers(value, dh.DHParameterNumbers(prime(self._group), GENERATOR))
        return self._key.exchange(numbers.public_key()).rjust(self._length, b"\0")


_CURVES: dict[Group, ec.EllipticCurve] = {
    Group.ECP_256: ec.SECP256R1(),
    Group.ECP_384: ec.SECP384R1(),
    Group.ECP_521: ec.SECP521R1(),
}


class LibcryptoEcKey:
    """`crypto.dh.DhKey` on a curve. libcrypto checks the peer's point once more."""

    def __init__(self, group: Group) -> None:
        self._group = group
        self._key = ec.generate_private_key(_CURVES[group])

    @property
    def public(self) -> bytes:
        """Both coordinates (RFC 5903 section 7): the uncompressed point without its first octet."""
        point = self._key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return point[1:]

    def exchange(self, peer_public: bytes) -> bytes:
        """g^xy: x alone."""
        check_public_value(self._group, peer_public)
        peer = ec.EllipticCurvePublicKey.from_encoded_point(
            _CURVES[self._group], _UNCOMPRESSED + peer_public
        )
        return self._key.exchange(ec.ECDH(), peer)


@cache
def _parameters(group: Group) -> dh.DHParameters:
    return dh.DHParameterNumbers(prime(group), GENERATOR).parameters()
