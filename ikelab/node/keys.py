"""Where a node's key pairs come from: fresh ones, and those that nvram holds."""

from __future__ import annotations

from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from ikelab.crypto.dh import DhKey
from ikelab.errors import PkiError
from ikelab.pki.store import Nvram
from ikelab.wire.numbers import Group


class NodeKeys(Protocol):
    """Fresh key pairs: libcrypto in the runtime, a pool in tests."""

    def dh_key(self, group: Group) -> DhKey:
        """A Diffie-Hellman key."""
        ...

    def rsa_key(self, label: str, bits: int) -> RSAPrivateKey:
        """An RSA key pair."""
        ...


class EngineKeys:
    """The IKE engine's KeySource: fresh DH keys, and the RSA pairs that nvram holds."""

    def __init__(self, keys: NodeKeys, nvram: Nvram) -> None:
        self._keys = keys
        self._nvram = nvram

    def dh_key(self, group: Group) -> DhKey:
        """A fresh key."""
        return self._keys.dh_key(group)

    def signing_key(self, label: str) -> RSAPrivateKey:
        """The pair of that label; it is there, because a certificate for it is."""
        key = self._nvram.load_key(label)
        if key is None:
            raise PkiError("no-key", f"the key pair {label} is not in nvram")
        return key
