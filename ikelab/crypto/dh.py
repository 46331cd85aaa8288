"""Diffie-Hellman groups of IKEv1 and the check of a peer's public value.

Groups are of integers modulo a prime (MODP) or of points of a curve (ECP, `ecp.py`). The MODP
primes are computed from the formula that RFC 2409 section 6 and RFC 3526 print beside
their digits, so that there is one short line a group to compare with the RFC. Making a private key
needs randomness and is the KeySource's business (`runtime/keys.py`); `DhKey` fixes what one is.
"""

from __future__ import annotations

from functools import cache
from typing import Protocol

from ikelab.crypto.ecp import CURVES
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
MODP_GROUPS = frozenset(_MODP)
SUPPORTED_GROUPS = MODP_GROUPS | frozenset(CURVES)


class DhKey(Protocol):
    """A private key of one exchange."""

    @property
    def public(self) -> bytes:
        """g^x, of the group's exact length: the body of the KE payload."""
        ...

    def exchange(self, peer_public: bytes) -> bytes:
        """g^xy, as long as the prime. Raises ProtocolError for a value outside the group."""
        ...


@cache
def prime(group: Group) -> int:
    """The prime of a MODP group."""
    bits, offset = _MODP[group]
    pi = _floor_of_pi(bits - 130)
    return int(2**bits - 2 ** (bits - 64) - 1 + 2**64 * (pi + offset))


def public_length(group: Group) -> int:
    """Octets of g^x: of a number, or of both coordinates of a point."""
    return 2 * CURVES[group].octets if group in CURVES else _MODP[group][0] // 8


def check_public_value(group: Group, peer_public: bytes) -> None:
    """The peer's g^x: of the right length, and of the group (RFC 6989 section 2).

    A number must be in 2..p-2 (the primes are safe), a point must be on the curve: with its
    coordinates the point at infinity cannot be written, and the curves' cofactor is 1.
    """
    wanted = public_length(group)
    if len(peer_public) != wanted:
        raise ProtocolError(
            "bad-key-exchange",
            f"KE of {len(peer_public)} octets, group {group.value} has {wanted}",
            seen=f"{len(peer_public)} octets",
            wanted=f"{wanted} octets",
            notify=NotifyType.INVALID_KEY_INFORMATION,
        )
    if group in CURVES:
        curve = CURVES[group]
        fits, where = curve.holds(*curve.decode(peer_public)), "a point of the curve"
    else:
        fits = 2 <= int.from_bytes(peer_public, "big") <= prime(group) - 2
        where = "2 to p-2"
    if not fits:
        raise ProtocolError(
            "bad-key-exchange",
            f"KE is not {where} of group {group.value} (RFC 6989)",
            seen="a value outside",
            wanted=f"{where} of group {group.value}",
            notify=NotifyType.INVALID_KEY_INFORMATION,
        )


class ExponentKey:
    """A key from a given exponent, by plain arithmetic: for tests, scripts and replays.

    About ten times slower than libcrypto (3 ms for group 14).
    """

    def __init__(self, group: Group, exponent: int) -> None:
        self._group = group
        self._exponent = exponent

    @property
    def public(self) -> bytes:
        """g^x."""
        if self._group in CURVES:
            curve = CURVES[self._group]
            point = curve.multiply(self._exponent, curve.g)
            assert point is not None, "a multiple of the order is no exponent"
            return curve.encode(point)
        value = pow(GENERATOR, self._exponent, prime(self._group))
        return value.to_bytes(public_length(self._group), "big")

    def exchange(self, peer_public: bytes) -> bytes:
        """g^xy."""
        check_public_value(self._group, peer_public)
        if self._group in CURVES:
            curve = CURVES[self._group]
            point = curve.multiply(self._exponent, curve.decode(peer_public))
            assert point is not None, "the order is prime"
            return point[0].to_bytes(curve.octets, "big")  # RFC 5903 section 7: x alone
        value = pow(int.from_bytes(peer_public, "big"), self._exponent, prime(self._group))
        return value.to_bytes(public_length(self._group), "big")


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
