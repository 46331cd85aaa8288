"""Randomness and RSA key pairs, those of 2009 too."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from ikelab.runtime.keys import OsRng, OsRsaKeys, generate_rsa_key


def test_draws_have_the_length_asked_for_and_differ() -> None:
    rng = OsRng()
    assert rng.draw("nonce", 0) == b""
    assert len(rng.draw("nonce", 20)) == 20
    assert rng.draw("cky_i", 8) != rng.draw("cky_i", 8)


@pytest.mark.parametrize("bits", [360, 361, 512, 768, 1023, 1024, 2048])
def test_key_has_exactly_the_bits_asked_for_and_works(bits: int) -> None:
    key = OsRsaKeys().rsa_key("label", bits)
    assert key.key_size == bits
    assert key.public_key().public_numbers().e == 65537
    signature = key.sign(b"m", PKCS1v15(), hashes.MD5())
    key.public_key().verify(signature, b"m", PKCS1v15(), hashes.MD5())


def test_two_keys_differ() -> None:
    first, second = generate_rsa_key(512), generate_rsa_key(512)
    assert first.public_key() != second.public_key()


def test_less_than_ios_offers_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 360 bits, not 359"):
        generate_rsa_key(359)


@pytest.mark.interop
def test_openssl_finds_our_short_key_consistent(need: Callable[[str], str], tmp_path: Path) -> None:
    pem = tmp_path / "key.pem"
    key = generate_rsa_key(512)
    pem.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    command = [need("openssl"), "rsa", "-in", str(pem), "-check", "-noout"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "RSA key ok" in done.stdout + done.stderr
