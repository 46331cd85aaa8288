"""Key pairs of a trustpoint: which one a request is for, and where a regenerated one ends."""

from __future__ import annotations

from datetime import datetime

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from ikelab.pki.enrollment_events import KeyPairGenerated, TrustpointAction
from ikelab.pki.scep_client import Signer
from ikelab.pki.store import Nvram, RsaKeys, StoredTrustpoint
from ikelab.pki.x509 import load_certificate

# IOS keeps the key pair of a certificate that is not there yet under the label with this mark.
REGENERATED = "#"


def key_bits(legacy: bool, ca: bool) -> int:
    """The guide's routers make 512 bits ("%CRYPTO-6-AUTOGEN"), its CA servers 1024."""
    if legacy:
        return 1024 if ca else 512
    return 2048


class KeyPairs:
    """nvram's key pairs as a trustpoint uses them. bits: of the moduli it makes."""

    def __init__(self, nvram: Nvram, keys: RsaKeys, bits: int) -> None:
        self._nvram = nvram
        self._keys = keys
        self._bits = bits

    def load_or_make(
        self, label: str, now: datetime
    ) -> tuple[RSAPrivateKey, list[TrustpointAction]]:
        """The key pair of that label, made if it is not there."""
        key = self._nvram.load_key(label)
        if key is not None:
            return key, []
        key = self._keys.rsa_key(label, self._bits)
        self._nvram.save_key(label, key, now)
        return key, [KeyPairGenerated(label, key.key_size)]

    def regenerate(
        self, stored: StoredTrustpoint, now: datetime
    ) -> tuple[str, RSAPrivateKey, list[TrustpointAction]]:
        """A fresh pair beside the one in use: its label, itself, and the notice of it.

        Two trustpoints that share a pair make each its own: one may keep it for months.
        """
        label = stored.key_label or stored.name
        shared = set(self._nvram.key_users(label)) - {stored.name}
        beside = (f"{label}.{stored.name}" if shared else label) + REGENERATED
        self._nvram.delete_key(beside)
        return beside, *self.load_or_make(beside, now)

    def final_label(
        self, stored: StoredTrustpoint, label: str
    ) -> tuple[str, tuple[str, RSAPrivateKey] | None]:
        """Where a key pair ends once its certificate is there, and (label, key) if it must move.

        A regenerated one takes the place of the old, unless another trustpoint uses that. The
        guide's hub has one key pair under two trustpoints: replacing it at the renewal of one would
        leave the other with a certificate and no key.
        """
        if label == stored.key_label or not label.endswith(REGENERATED):
            return label, None
        key = self._nvram.load_key(label)
        assert key is not None, "a pending request keeps its key"
        base = label.removesuffix(REGENERATED)
        others = set(self._nvram.key_users(base)) - {stored.name}
        final = f"{base}.{stored.name}" if others else base
        return final, (final, key)

    def signer_of_pending(self, stored: StoredTrustpoint) -> Signer | None:
        """Who signed the request that waits, and signs the polls for it, whatever has ended since;
        None for a first enrollment.
        """
        if stored.pending is None or not stored.pending.renews:
            return None
        held = (stored, stored.beside) if stored.beside is not None else (stored,)
        for generation in held:
            certificate, label = generation.certificate, generation.key_label
            key = None if label is None else self._nvram.load_key(label)
            if certificate is not None and key is not None:
                return Signer(load_certificate(certificate), key)
        return None

    def holder(self, stored: StoredTrustpoint, at: datetime) -> Signer | None:
        """The trustpoint's certificate with its key, as long as it holds."""
        if stored.certificate is None or stored.key_label is None:
            return None
        certificate = load_certificate(stored.certificate)
        key = self._nvram.load_key(stored.key_label)
        if key is None or not certificate.not_before <= at <= certificate.not_after:
            return None
        return Signer(certificate, key)
