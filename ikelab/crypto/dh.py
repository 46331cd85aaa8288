"""Diffie-Hellman groups of IKEv1 and the check of a peer's public value.

The MODP primes are computed from the formula that RFC 2409 section 6 and RFC 3526 print beside
their digits, so that there is one short line a group to compare with the RFC. Making a private key
needs randomness and is the KeySource's business (`runtime/keys.py`); `DhKey` fixes what one is.
"""

from __future__ import annotations

from functools import cache
from typing import Protocol

from ikelab.errors import ProtocolError
from ikelab.wire.numbers import Group, NotifyType

# prime = 2^n - 2^(n-64) - 1 + 2^64 * ([2^(n-130) pi] + c)
_MODP = {
    Group.MODP_768: (768, 149686),  # RFC 2409 section 6.1
    Group.MODP_1024: (1024, 129093),  # RFC 2409 section 6.2
    Group.MODP_1536: (1536, 741804),  # RFC 3526 section 2
    Group.MODP_2048: (2048, 124476),  # RFC 3526 section 3
    Group.MODP_3072: (3072, 1690314),  # RFC 3526 section 4
    Group.MODP_4096: (4096, 240904),  # RFC 3526 section 5
}
GENERATOR = 2
SUPPORTED_GROUPS = frozenset(_MODP)


class DhKey(Protocol):
    """A private key of one exchange."""

    @property
    def public(self) -> bytes:
        """g^x, big-endian, exactly as long as the prime: the body of the KE payload."""
        ...

    def exchange(self, peer_public: bytes) -> bytes:
        """g^xy, as long as the prime. Raises ProtocolError for a value outside 2..p-2."""
        ...


@cache
def prime(group: Group) -> int:
    """The prime of a MODP group."""
    bits, offset = _MODP[group]
    pi = _floor_of_pi(bits - 130)
    return int(2**bits - 2 ** (bits - 64) - 1 + 2**64 * (pi + offset))


def public_length(group: Group) -> int:
    """Octets of g^x and g^xy."""
    return _MODP[group][0] // 8


def check_public_value(group: Group, peer_public: bytes) -> int:
    """The peer's g^x as an integer (RFC 6989 section 2: 2 <= y <= p-2, of the prime's length)."""
    wanted = public_length(group)
    if len(peer_public) != wanted:
        raise ProtocolError(
            "bad-key-exchange",
            f"KE of {len(peer_public)} octets, group {group.value} has {wanted}",
            seen=f"{len(peer_public)} octets",
            wanted=f"{wanted} octets",
            notify=NotifyType.INVALID_KEY_INFORMATION,
        )
    value = int.from_bytes(peer_public, "big")
    if not 2 <= value <= prime(group) - 2:
        raise ProtocolError(
            "bad-key-exchange",
            f"KE outside 2..p-2 of group {group.value} (RFC 6989)",
            seen="a value outside",
            wanted=f"2 to p-2 of group {group.value}",
            notify=NotifyType.INVALID_KEY_INFORMATION,
        )
    return value


class ExponentKey:
    """A key from a given exponent, by plain modular arithmetic: for tests and replays.

    About ten times slower than libcrypto (3 ms for group 14).
    """

    def __init__(self, group: Group, exponent: int) -> None:
        self._group = group
        self._exponent = exponent
        self._length = public_length(group)

    @property
    def public(self) -> bytes:
        """g^x."""
        return pow(GENERATOR, self._exponent, prime(self._group)).to_bytes(self._length, "big")

    def exchange(self, peer_public: bytes) -> bytes:
        """g^xy."""
        peer = check_public_value(self._group, peer_public)
        return pow(peer, self._exponent, prime(self._group)).to_bytes(self._length, "big")


def _floor_of_pi(bits: int) -> int:
    """[2^bits * pi], by Machin's formula with 64 guard bits."""
    guard = 64
    one = 1 << (bits + guard)
    pi = 4 * (4 * _arctan_of_inverse(5, one) - _arctan_of_inverse(239, one))
    return pi >> guard


def _arctan_of_inverse(x: int, one: int) -> int:
    term = total = one // x
    square, divisor, sign = x * x, 3, -1
    while term:
        term //= square
        total += sign * (term // divisor)
        divisor, sign = divisor + 2, -sign
    return total
