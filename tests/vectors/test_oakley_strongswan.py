"""Our key derivation gives what two strongSwan daemons computed (tests/vectors/strongswan/)."""

from __future__ import annotations

import ipaddress
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import load_der_x509_certificate

from ikelab.crypto import oakley
from ikelab.crypto.cipher import CbcCipher, cipher_for
from ikelab.crypto.rsa import verify_hash
from ikelab.wire.numbers import EncryptionAlgorithm, HashAlgorithm, PayloadType
from tests.vectors.payload_walk import payload_bodies

FILES = sorted((Path(__file__).parent / "strongswan").glob("*.json"))
HEADER = 28


class Vector:
    """One recorded run; hexadecimal strings are given as octets."""

    def __init__(self, path: Path) -> None:
        self.json: dict[str, Any] = json.loads(path.read_text())
        suite = self.json["suite"]
        self.hash = HashAlgorithm(suite["hash"])
        encryption = EncryptionAlgorithm(suite["encryption"])
        bits = suite["key_length"] * 8 if encryption is EncryptionAlgorithm.AES_CBC else None
        self.cipher: CbcCipher = cipher_for(encryption, bits)
        self.quick: dict[str, Any] = self.json["quick_mode"]

    def __getattr__(self, name: str) -> bytes:
        return bytes.fromhex(self.json[name])

    def quick_octets(self, name: str) -> bytes:
        return bytes.fromhex(self.quick[name])

    def plain_quick_mode(self, number: int) -> bytes:
        """Decrypted body of quick mode message 1, 2 or 3, with padding."""
        return bytes.fromhex(self.quick["messages"][number - 1]["plain"])

    def payloads(self, number: int) -> list[tuple[int, bytes]]:
        """(type, body) of the payloads of main mode message 1 to 6."""
        entry = self.json["main_mode"][number - 1]
        message = bytes.fromhex(entry["message"])
        body = bytes.fromhex(entry["plain"]) if "plain" in entry else message[HEADER:]
        return payload_bodies(message[16], body)


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def vector(request: pytest.FixtureRequest) -> Vector:
    return Vector(request.param)


def after_hash(octets: bytes) -> bytes:
    """What follows the HASH payload in a decrypted body, without the padding."""
    kept = octets[int.from_bytes(octets[2:4], "big") :]
    length = sum(4 + len(body) for _, body in payload_bodies(octets[0], kept))
    return kept[:length]


def test_all_recordings_are_here():
    # A lost file would otherwise make the tests below pass by testing nothing.
    assert len(FILES) == 6


def test_skeyid(vector):
    if vector.json["pre_shared_key"] is None:
        skeyid = oakley.skeyid_for_signatures(
            vector.hash, vector.nonce_i, vector.nonce_r, vector.g_xy
        )
    else:
        skeyid = oakley.skeyid_for_pre_shared_key(
            vector.hash, vector.pre_shared_key, vector.nonce_i, vector.nonce_r
        )
    assert skeyid == vector.skeyid


def test_skeyid_d_a_and_e(vector):
    keys = oakley.derive_skeyids(
        vector.hash, vector.skeyid, vector.g_xy, vector.cky_i, vector.cky_r
    )
    assert (keys.skeyid_d, keys.skeyid_a, keys.skeyid_e) == (
        vector.skeyid_d,
        vector.skeyid_a,
        vector.skeyid_e,
    )


def test_encryption_key_and_first_iv(vector):
    cipher = vector.cipher
    key = oakley.derive_encryption_key(vector.hash, vector.skeyid_e, cipher.key_length)
    assert key == vector.encryption_key
    assert oakley.first_iv(vector.hash, vector.g_xi, vector.g_xr, cipher.block) == vector.iv


def test_hash_i_and_hash_r(vector):
    common = (vector.hash, vector.skeyid, vector.g_xi, vector.g_xr, vector.cky_i, vector.cky_r)
    assert oakley.hash_i(*common, vector.sai_b, vector.idii_b) == vector.hash_i
    assert oakley.hash_r(*common, vector.sai_b, vector.idir_b) == vector.hash_r


@pytest.mark.parametrize(("number", "name"), [(5, "hash_i"), (6, "hash_r")])
def test_message_5_and_6_prove_the_hash(vector, number, name):
    bodies = dict(vector.payloads(number))
    expected = getattr(vector, name)
    if vector.json["pre_shared_key"] is not None:
        assert bodies[PayloadType.HASH] == expected
        return
    certificate = load_der_x509_certificate(bodies[PayloadType.CERT][1:])
    info = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert verify_hash(info, bodies[PayloadType.SIG], expected)
    assert not verify_hash(info, bodies[PayloadType.SIG], expected[::-1])


def test_nat_detection_hashes_name_the_other_end_first(vector):
    addresses = {
        side: ipaddress.IPv4Address(vector.json[f"address_{side}"]).packed for side in "ir"
    }
    hash_of = {
        side: oakley.nat_d_hash(vector.hash, vector.cky_i, vector.cky_r, address, 500)
        for side, address in addresses.items()
    }
    sent = [
        [body for kind, body in vector.payloads(number) if kind == PayloadType.NAT_D]
        for number in (3, 4)
    ]
    assert sent == [[hash_of["r"], hash_of["i"]], [hash_of["i"], hash_of["r"]]]


def test_main_mode_messages_chain_from_the_first_iv(vector):
    iv = vector.iv
    for entry in vector.json["main_mode"][4:]:
        body = bytes.fromhex(entry["message"])[HEADER:]
        plain = bytes.fromhex(entry["plain"])
        assert vector.cipher.decrypt(vector.encryption_key, iv, body) == plain
        assert vector.cipher.encrypt(vector.encryption_key, iv, plain) == body
        iv = body[-vector.cipher.block :]


def test_quick_mode_chains_from_the_last_block_of_main_mode(vector):
    last = vector.json["main_mode"][5]["message"]
    block = vector.cipher.block
    message_id = vector.quick["message_id"]
    iv = oakley.phase2_iv(vector.hash, bytes.fromhex(last)[-block:], message_id, block)
    assert iv == vector.quick_octets("iv")
    for entry in vector.quick["messages"]:
        body = bytes.fromhex(entry["message"])[HEADER:]
        plain = vector.cipher.decrypt(vector.encryption_key, iv, body)
        assert plain == bytes.fromhex(entry["plain"])
        iv = body[-block:]


def test_quick_mode_hashes(vector):
    message_id, nonce_i = vector.quick["message_id"], vector.quick_octets("nonce_i")
    plain = [vector.plain_quick_mode(number) for number in (1, 2, 3)]
    hashes = (
        oakley.hash_1(vector.hash, vector.skeyid_a, message_id, after_hash(plain[0])),
        oakley.hash_2(vector.hash, vector.skeyid_a, message_id, nonce_i, after_hash(plain[1])),
        oakley.hash_3(
            vector.hash, vector.skeyid_a, message_id, nonce_i, vector.quick_octets("nonce_r")
        ),
    )
    assert hashes == tuple(vector.quick_octets(f"hash_{number}") for number in (1, 2, 3))
    on_the_wire = tuple(payload_bodies(PayloadType.HASH, octets)[0][1] for octets in plain)
    assert hashes == on_the_wire


def test_keymat_of_both_directions(vector):
    # The direction's SPI is the receiver's; ESP's cipher key comes first (RFC 2409 section 5.5).
    for direction in vector.quick["keymat"]:
        keys = direction["encryption_key"] + direction["integrity_key"]
        keymat = oakley.derive_keymat(
            vector.hash,
            vector.skeyid_d,
            vector.quick["protocol_id"],
            bytes.fromhex(direction["spi"]),
            vector.quick_octets("nonce_i"),
            vector.quick_octets("nonce_r"),
            len(keys) // 2,
            vector.quick_octets("g_qm_xy"),
        )
        assert keymat.hex() == keys, direction["sender"]


def test_deletes_have_an_iv_and_a_hash_of_their_own(vector):
    block = vector.cipher.block
    last = bytes.fromhex(vector.json["main_mode"][5]["message"])[-block:]
    deletes = vector.json["informational"]
    assert len(deletes) == 2  # the child, then the ISAKMP SA
    for entry in deletes:
        iv = oakley.phase2_iv(vector.hash, last, entry["message_id"], block)
        assert iv.hex() == entry["iv"]
        body = bytes.fromhex(entry["message"])[HEADER:]
        plain = vector.cipher.decrypt(vector.encryption_key, iv, body)
        assert plain.hex() == entry["plain"]
        hash_1 = oakley.hash_1(vector.hash, vector.skeyid_a, entry["message_id"], after_hash(plain))
        assert hash_1.hex() == entry["hash_1"]


def test_pfs_is_among_the_recordings():
    assert [path.stem for path in FILES if Vector(path).quick["g_qm_xy"]] == [
        "psk-aes256-sha1-modp1536-pfs"
    ]
