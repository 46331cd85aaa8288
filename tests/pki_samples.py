"""Keys, certificates and messages for the PKI tests, made once a run; dates are those of 2026."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ikelab.errors import PkiError
from ikelab.pki.algorithms import public_key_info
from ikelab.pki.crl import Crl, build_crl, load_crl
from ikelab.pki.x509 import Certificate, build_certificate, build_name, load_certificate
from ikelab.runtime.keys import generate_rsa_key

NOW = datetime(2026, 3, 4, 10, 3, 28, tzinfo=UTC)
DAY = timedelta(days=1)
CA_USAGE = frozenset({"digitalSignature", "keyCertSign", "cRLSign"})
ROUTER_USAGE = frozenset({"digitalSignature", "keyEncipherment"})


class SampleRng:
    """The same octets for the same label and turn in every run."""

    def __init__(self) -> None:
        self.turn = 0

    def draw(self, label: str, length: int) -> bytes:
        self.turn += 1
        return hashlib.shake_256(f"{label} {self.turn}".encode()).digest(length)


def rsa_key(name: str, bits: int = 1024) -> RSAPrivateKey:
    """One key for each name and size."""
    return _rsa_key(name, bits)


@lru_cache
def _rsa_key(name: str, bits: int) -> RSAPrivateKey:
    return generate_rsa_key(bits)


def pem_key(key: RSAPrivateKey) -> bytes:
    """For openssl."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())


def name_of(text: str) -> bytes:
    """A name of one cn."""
    return build_name([[("cn", text)]])


def authority(
    name: str,
    *,
    issuer: str | None = None,
    key: RSAPrivateKey | None = None,
    serial: int = 1,
    digest: str = "sha256",
    path_length: int | None = None,
    ca: bool = True,
    usage: frozenset[str] = CA_USAGE,
    start: datetime = NOW - DAY,
    end: datetime = NOW + 365 * DAY,
    issuer_key: RSAPrivateKey | None = None,
) -> Certificate:
    """A CA's certificate; keys are those of `rsa_key` by the names of the CAs."""
    above = issuer or name
    return load_certificate(
        build_certificate(
            serial=serial,
            issuer=name_of(above),
            subject=name_of(name),
            public_key_info=public_key_info(key or rsa_key(name)),
            not_before=start,
            not_after=end,
            issuer_key=issuer_key or rsa_key(above),
            digest=digest,
            ca=ca,
            path_length=path_length,
            key_usage=usage,
        )
    )


def router(
    fqdn: str = "spoke.example.com",
    *,
    issuer: str = "root-ca",
    serial: int = 0x1D0,
    digest: str = "sha256",
    bits: int = 1024,
    usage: frozenset[str] = ROUTER_USAGE,
    start: datetime = NOW - DAY,
    end: datetime = NOW + 90 * DAY,
    crl_url: str | None = "http://198.51.100.9/root-ca.crl",
) -> Certificate:
    """A router's certificate, its key being rsa_key(fqdn, bits)."""
    return load_certificate(
        build_certificate(
            serial=serial,
            issuer=name_of(issuer),
            subject=build_name([[("hostname", fqdn)]]),
            public_key_info=public_key_info(rsa_key(fqdn, bits)),
            not_before=start,
            not_after=end,
            issuer_key=rsa_key(issuer),
            digest=digest,
            ca=False,
            key_usage=usage,
            crl_url=crl_url,
            fqdns=(fqdn,),
        )
    )


def crl_of(
    issuer: Certificate,
    *revoked: int,
    key: RSAPrivateKey | None = None,
    name: str = "root-ca",
    number: int | None = 7,
    version: int = 2,
    digest: str = "sha256",
    start: datetime = NOW - timedelta(hours=1),
    life: timedelta = timedelta(hours=6),
) -> Crl:
    """A CRL of the CA `name`, whose certificate is `issuer`."""
    return load_crl(
        build_crl(
            issuer=issuer.subject,
            this_update=start,
            next_update=start + life,
            number=number if version == 2 else None,
            revoked=[(serial, NOW - DAY, 1) for serial in revoked],
            key=key or rsa_key(name),
            digest=digest,
            authority_key_id=issuer.subject_key_id if version == 2 else None,
            version=version,
        )
    )


def refused(call: Callable[[], object]) -> str:
    """The reason for which a call raises PkiError."""
    with pytest.raises(PkiError) as caught:
        call()
    return caught.value.reason


def survives(read: Callable[[bytes], object], octets: bytes, *, whole: bool = True) -> int:
    """How many damaged forms of octets are refused with PkiError; anything else raised fails.

    Damage: cut at every octet, an octet more, and every octet changed. whole: every cut must be
    refused.
    """
    count = 0
    damaged = [octets[:end] for end in range(len(octets))] + [octets + b"\x00"]
    damaged += [
        octets[:at] + bytes((octets[at] ^ 0x41,)) + octets[at + 1 :] for at in range(len(octets))
    ]
    for position, form in enumerate(damaged):
        try:
            read(form)
        except PkiError as error:
            assert str(error)
            count += 1
        else:
            assert position > len(octets) or not whole, f"cut at {position} was accepted"
    return count
