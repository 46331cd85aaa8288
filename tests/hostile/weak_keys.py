"""C04, its other half: certificates whose keys are none, signed by the CA all the same."""

from __future__ import annotations

from collections.abc import Iterator

from ikelab.pki import der
from tests.hostile.certificates import RouterTarget, quiet_hub, with_field
from tests.hostile.registry import Shot, case
from tests.pki_samples import rsa_key

_PUBLIC_KEY = 6  # its place in a tbsCertificate


def key_info(modulus: int, exponent: int) -> bytes:
    """SubjectPublicKeyInfo of any two numbers."""
    numbers = der.sequence(der.integer(modulus), der.integer(exponent))
    algorithm = der.sequence(der.oid("1.2.840.113549.1.1.1"), der.null())
    return der.sequence(algorithm, der.bit_string(numbers))


@case(
    "C04b",
    "odd-keys",
    precedent="strongSwan CVE-2017-9022, libreswan CVE-2026-14957",
    expected="refused at the certificate's check, before any signature is looked at",
    target=quiet_hub,
)
def odd_keys(target: RouterTarget) -> Iterator[Shot]:
    """Moduli and exponents that anybody can sign with, or nobody."""
    good = rsa_key("spoke").public_key().public_numbers()
    for what, modulus, exponent, reasons in (
        ("e = 1", good.n, 1, "bad-key"),
        ("e = 0", good.n, 0, "bad-key"),
        ("e = 2", good.n, 2, "bad-key"),
        ("e = n", good.n, good.n, "bad-key"),
        ("an even modulus", good.n - 1, 65537, "bad-key"),
        ("modulus 0", 0, 65537, "bad-key"),
        ("modulus 1", 1, 65537, "bad-key"),
        ("a modulus of 64 bits", (1 << 63) + 1, 65537, "bad-key"),
        ("a modulus of 20000 bits", (1 << 19999) + 1, 65537, "bad-key"),
        ("a modulus of 512 bits", (1 << 511) + 1, 65537, "weak-algorithm"),
    ):
        octets = with_field(_PUBLIC_KEY, key_info(modulus, exponent))
        yield Shot(what, target.showing(octets), "refused", reasons)
