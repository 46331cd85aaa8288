"""Ciphers chain by the last block; signatures are the bare hash in PKCS#1 v1.5."""

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ikelab.crypto.cipher import cipher_for
from ikelab.crypto.rsa import sign_hash, verify_hash
from ikelab.wire.numbers import EncryptionAlgorithm

KEY = rsa.generate_private_key(65537, 2048)
INFO = KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def test_aes_256_cbc_is_nist_sp_800_38a_f_2_5():
    cipher = cipher_for(EncryptionAlgorithm.AES_CBC, 256)
    key = bytes.fromhex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4")
    plain = bytes.fromhex("6bc1bee22e409f96e93d7e117393172a")
    sealed = cipher.encrypt(key, bytes(range(16)), plain)
    assert sealed.hex() == "f58c4c04d6e5f1ba779eabfb5f7bfbd6"
    assert cipher.decrypt(key, bytes(range(16)), sealed) == plain


def test_single_des_is_the_classic_vector():
    # The worked example of "The DES Algorithm Illustrated": one block, so CBC with IV 0 is ECB
    cipher = cipher_for(EncryptionAlgorithm.DES_CBC, None)
    sealed = cipher.encrypt(
        bytes.fromhex("133457799BBCDFF1"), bytes(8), bytes.fromhex("0123456789ABCDEF")
    )
    assert sealed.hex().upper() == "85E813540F0AB405"


def test_messages_chain_by_the_last_cipher_block():
    cipher = cipher_for(EncryptionAlgorithm.TRIPLE_DES_CBC, None)
    key, iv, whole = bytes(range(24)), bytes(8), bytes(range(32))
    first = cipher.encrypt(key, iv, whole[:16])
    second = cipher.encrypt(key, first[-8:], whole[16:])
    assert first + second == cipher.encrypt(key, iv, whole)


@pytest.mark.parametrize(("length", "padded"), [(0, 0), (1, 16), (16, 16), (17, 32)])
def test_padding_fills_whole_blocks_only(length, padded):
    cipher = cipher_for(EncryptionAlgorithm.AES_CBC, 128)
    assert len(cipher.pad(b"x" * length)) == padded


def test_signature_recovers_to_the_bare_hash_with_padding():
    signature = sign_hash(KEY, b"H" * 32)
    n = KEY.public_key().public_numbers().n
    block = pow(int.from_bytes(signature, "big"), 65537, n).to_bytes(256, "big")
    assert block == b"\0\1" + b"\xff" * (256 - 3 - 32) + b"\0" + b"H" * 32
    assert verify_hash(INFO, signature, b"H" * 32)


def test_signature_with_a_digest_info_does_not_pass():
    assert not verify_hash(INFO, KEY.sign(b"data", PKCS1v15(), SHA256()), b"H" * 32)


@pytest.mark.parametrize(
    "twist", [lambda s: s[:-1], lambda s: s + b"\0", lambda s: bytes(256), lambda s: b""]
)
def test_signatures_of_another_shape_do_not_pass(twist):
    assert not verify_hash(INFO, twist(sign_hash(KEY, b"H" * 32)), b"H" * 32)


def test_a_key_that_is_none_does_not_pass():
    assert not verify_hash(b"not a key", bytes(256), b"H" * 32)
