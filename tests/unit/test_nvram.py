"""What a router keeps over a restart: key pairs and trustpoints."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from ikelab.pki.store import PendingEnrollment, StoredTrustpoint
from ikelab.runtime.store import SqliteNvram


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 1024)


def test_nvram_keeps_keys_and_trustpoints_over_a_restart(
    tmp_path: Path, key: rsa.RSAPrivateKey
) -> None:
    path = str(tmp_path / "nvram.db")
    stored = StoredTrustpoint(
        name="ra",
        capabilities=("AES", "SHA-256"),
        ca_certificates=(b"sub", b"root"),
        ra_certificates=(b"ra",),
        certificate=b"router",
        key_label="spoke-keys",
        pending=PendingEnrollment("AB12", b"name", "spoke-keys", True, "5D" * 16, "A1" * 20),
    )
    nvram = SqliteNvram(path)
    nvram.save_trustpoint(stored, ("spoke-keys", key))
    nvram.save_key("hub-keys", key, None)
    nvram.close()
    nvram = SqliteNvram(path)
    assert nvram.load_trustpoint("ra") == stored
    assert nvram.load_trustpoint("du") is None
    assert nvram.key_labels() == ("hub-keys", "spoke-keys")
    loaded = nvram.load_key("spoke-keys")
    assert loaded is not None and loaded.private_numbers() == key.private_numbers()
    nvram.close()


def test_a_trustpoint_without_certificates_is_kept_as_such(tmp_path: Path) -> None:
    nvram = SqliteNvram(":memory:")
    nvram.save_trustpoint(StoredTrustpoint("ra"))
    assert nvram.load_trustpoint("ra") == StoredTrustpoint("ra")
    nvram.close()


def test_deleting_a_trustpoint_leaves_its_keys(key: rsa.RSAPrivateKey) -> None:
    nvram = SqliteNvram(":memory:")
    nvram.save_trustpoint(StoredTrustpoint("ra", key_label="ra"), ("ra", key))
    nvram.delete_trustpoint("ra")
    assert nvram.load_trustpoint("ra") is None
    assert nvram.key_labels() == ("ra",)
    nvram.delete_key("ra")
    assert nvram.load_key("ra") is None
    nvram.close()
