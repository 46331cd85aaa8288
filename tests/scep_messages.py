"""Many SCEP requests made beforehand, for whoever wants to send them at once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key

from ikelab.pki import scep
from ikelab.pki.name import parse_dn
from ikelab.pki.scep import PkiStatus, Transaction
from ikelab.pki.x509 import build_request, load_certificate
from ikelab.runtime.keys import OsRng

BITS = 2048


class Client:
    """Makes messages for a CA (its certificate, DER) and opens the answers; one key for all."""

    def __init__(self, ca: bytes) -> None:
        self._ca = load_certificate(ca)
        self._key: RSAPrivateKey = generate_private_key(65537, BITS)
        self._rng = OsRng()
        self._made = 0
        start = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=5)
        self._signer = load_certificate(
            scep.build_self_signed(
                subject=parse_dn("cn=bench"),
                key=self._key,
                digest="sha256",
                serial=1,
                not_before=start,
                not_after=start + timedelta(days=1),
            )
        )

    def prepare(self, number: int) -> list[bytes]:
        """That many requests, each another one."""
        return [self._request() for _ in range(number)]

    def _request(self) -> bytes:
        self._made += 1
        name = f"r{self._made}.example.com"
        csr = build_request(
            subject=parse_dn(f"cn={name}"), key=self._key, digest="sha256", challenge=None
        )
        nonce = self._made.to_bytes(scep.NONCE_LENGTH, "big")
        return scep.build_pkcs_req(self._transaction(name), csr, sender_nonce=nonce, rng=self._rng)

    def _transaction(self, name: str) -> Transaction:
        return Transaction(self._ca, self._signer, self._key, name, "sha256", "aes128")

    def read(self, replies: Sequence[bytes], first: int) -> list[int]:
        """Serial numbers of the certificates in the answers; a FAILURE has none.

        AssertionError where one is not for the name that was asked for.
        """
        serials: list[int] = []
        for made, octets in enumerate(replies, start=first):
            name = f"r{made}.example.com"
            nonce = made.to_bytes(scep.NONCE_LENGTH, "big")
            reply = scep.read_cert_rep(
                octets, self._transaction(name), sender_nonce=nonce, legacy=True
            )
            if reply.status is PkiStatus.SUCCESS:
                found = [x509.load_der_x509_certificate(der) for der in reply.certificates]
                [own] = [item for item in found if item.subject.rfc4514_string() == f"CN={name}"]
                serials.append(own.serial_number)
        return serials

    @property
    def made(self) -> int:
        """How many requests there are so far."""
        return self._made
