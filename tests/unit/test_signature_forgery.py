"""Signatures that a lenient verifier takes, by a key that invites them (e = 3), and odd lengths."""

from __future__ import annotations

import hashlib

from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ikelab.crypto.rsa import sign_hash, verify_hash
from tests.pki_samples import rsa_key


def info(key):
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def cube_root(number):
    """The largest integer whose cube is not above number."""
    low, high = 0, 1 << (number.bit_length() // 3 + 1)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if middle**3 <= number else (low, middle - 1)
    return low


def test_bleichenbachers_forgery_against_e_3_does_not_verify():
    """00 01 FF .. FF 00 HASH and garbage behind it: a cube, found without the key."""
    key = generate_private_key(3, 3072)
    size = key.key_size // 8
    proof = hashlib.sha256(b"HASH_I").digest()
    head = b"\0\1" + b"\xff" * 8 + b"\0" + proof
    forged = cube_root(int.from_bytes(head + b"\xff" * (size - len(head)), "big"))
    block = (forged**3).to_bytes(size, "big")
    assert block.startswith(head), "the forgery is what a lenient verifier looks for"
    assert not verify_hash(info(key), forged.to_bytes(size, "big"), proof)
    assert verify_hash(info(key), sign_hash(key, proof), proof)


def test_a_signature_has_as_many_octets_as_the_modulus():
    key = rsa_key("spoke")
    for number in range(5000):
        proof = hashlib.sha256(number.to_bytes(2, "big")).digest()
        signature = sign_hash(key, proof)
        if signature[0] == 0:
            break
    assert signature[0] == 0, "one in 256 begins with a zero"
    assert verify_hash(info(key), signature, proof)
    assert not verify_hash(info(key), signature[1:], proof)
    assert not verify_hash(info(key), b"\0" + signature, proof)
