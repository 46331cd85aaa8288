"""The elliptic curve groups 19, 20 and 21 (RFC 5903): points as octets, and their check.

y^2 = x^3 - 3x + b over a prime field. A public value is both coordinates, x then y, each as long as
the prime; the shared secret is x alone (section 7). Plain arithmetic, for the check of a peer's
point and for keys of given scalars; fresh keys come from libcrypto (`runtime/keys.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

from ikelab.wire.numbers import Group

Point = tuple[int, int] | None
"""None is the point at infinity."""


@dataclass(frozen=True, slots=True)
class Curve:
    """One group. octets: of a coordinate. g: the generator; n: its order; b: of the equation."""

    octets: int
    p: int
    b: int
    n: int
    g: tuple[int, int]

    def holds(self, x: int, y: int) -> bool:
        """Whether (x, y) is a point of the curve (RFC 6989 section 2.3)."""
        in_field = 0 <= x < self.p and 0 <= y < self.p
        return in_field and (y * y - (x * x * x - 3 * x + self.b)) % self.p == 0

    def add(self, one: Point, other: Point) -> Point:
        """The sum of two points."""
        if one is None or other is None:
            return one or other
        (x1, y1), (x2, y2), p = one, other, self.p
        if x1 == x2 and (y1 + y2) % p == 0:
            return None
        rise, run = (3 * x1 * x1 - 3, 2 * y1) if one == other else (y2 - y1, x2 - x1)
        slope = rise * pow(run, -1, p) % p
        x = (slope * slope - x1 - x2) % p
        return x, (slope * (x1 - x) - y1) % p

    def multiply(self, scalar: int, point: Point) -> Point:
        """A point added to itself `scalar` times; not in constant time."""
        total: Point = None
        while scalar:
            if scalar & 1:
                total = self.add(total, point)
            point, scalar = self.add(point, point), scalar >> 1
        return total

    def encode(self, point: tuple[int, int]) -> bytes:
        """x, then y."""
        return b"".join(value.to_bytes(self.octets, "big") for value in point)

    def decode(self, octets: bytes) -> tuple[int, int]:
        """Both coordinates of octets of the right length; whether they hold is not asked here."""
        x, y = octets[: self.octets], octets[self.octets :]
        return int.from_bytes(x, "big"), int.from_bytes(y, "big")


def _hex(text: str) -> int:
    return int(text.replace(" ", ""), 16)


CURVES = {
    Group.ECP_256: Curve(  # RFC 5903 section 3.1
        32,
        2**256 - 2**224 + 2**192 + 2**96 - 1,
        _hex("5AC635D8 AA3A93E7 B3EBBD55 769886BC 651D06B0 CC53B0F6 3BCE3C3E 27D2604B"),
        _hex("FFFFFFFF 00000000 FFFFFFFF FFFFFFFF BCE6FAAD A7179E84 F3B9CAC2 FC632551"),
        (
            _hex("6B17D1F2 E12C4247 F8BCE6E5 63A440F2 77037D81 2DEB33A0 F4A13945 D898C296"),
            _hex("4FE342E2 FE1A7F9B 8EE7EB4A 7C0F9E16 2BCE3357 6B315ECE CBB64068 37BF51F5"),
        ),
    ),
    Group.ECP_384: Curve(  # section 3.2
        48,
        2**384 - 2**128 - 2**96 + 2**32 - 1,
        _hex(
            "B3312FA7 E23EE7E4 988E056B E3F82D19 181D9C6E FE814112 0314088F 5013875A C656398D"
            " 8A2ED19D 2A85C8ED D3EC2AEF"
        ),
        _hex(
            "FFFFFFFF FFFFFFFF FFFFFFFF FFFFFFFF FFFFFFFF FFFFFFFF C7634D81 F4372DDF 581A0DB2"
            " 48B0A77A ECEC196A CCC52973"
        ),
        (
            _hex(
                "AA87CA22 BE8B0537 8EB1C71E F320AD74 6E1D3B62 8BA79B98 59F741E0 82542A38 5502F25D"
                " BF55296C 3A545E38 72760AB7"
            ),
            _hex(
                "3617DE4A 96262C6F 5D9E98BF 9292DC29 F8F41DBD 289A147C E9DA3113 B5F0B8C0 0A60B1CE"
                " 1D7E819D 7A431D7C 90EA0E5F"
            ),
        ),
    ),
    Group.ECP_521: Curve(  # section 3.3
        66,
        2**521 - 1,
        _hex(
            "0051 953EB961 8E1C9A1F 929A21A0 B68540EE A2DA725B 99B315F3 B8B48991 8EF109E1 56193951"
            " EC7E937B 1652C0BD 3BB1BF07 3573DF88 3D2C34F1 EF451FD4 6B503F00"
        ),
        _hex(
            "01FF FFFFFFFF FFFFFFFF FFFFFFFF FFFFFFFF FFFFFFFF FFFFFFFF FFFFFFFF FFFFFFFA 51868783"
            " BF2F966B 7FCC0148 F709A5D0 3BB5C9B8 899C47AE BB6FB71E 91386409"
        ),
        (
            _hex(
                "00C6 858E06B7 0404E9CD 9E3ECB66 2395B442 9C648139 053FB521 F828AF60 6B4D3DBA"
                " A14B5E77 EFE75928 FE1DC127 A2FFA8DE 3348B3C1 856A429B F97E7E31 C2E5BD66"
            ),
            _hex(
                "0118 39296A78 9A3BC004 5C8A5FB4 2C7D1BD9 98F54449 579B4468 17AFBD17 273E662C"
                " 97EE7299 5EF42640 C550B901 3FAD0761 353C7086 A272C240 88BE9476 9FD16650"
            ),
        ),
    ),
}
