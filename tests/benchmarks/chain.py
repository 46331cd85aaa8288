"""A path of three certificates with cached CRLs of any size, beside the signatures alone.

The bare checks are the two RSA verifications that no validator can do without, called straight
through cryptography. Ours does these two anew each time; that the CRLs' own signatures hold is
remembered with the CRLs, as in a router's cache. pyhanko-certvalidator, where it is installed
(extra `pkits`), is given certificates and CRLs that were read before, in a context made anew each
time: it would otherwise answer from memory.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from typing import Any

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256

from ikelab.pki.algorithms import public_key_info
from ikelab.pki.chain import build_path, validate
from ikelab.pki.crl import build_crl, load_crl
from ikelab.pki.x509 import (
    Certificate,
    build_certificate,
    build_name,
    key_identifier,
    load_certificate,
)

SIZES = (10, 10_000, 100_000)
BITS = 2048
MICROSECOND = 1000
_BLOCKS = 10  # ours and the bare checks take turns this often in one measurement
_REASON = 1
_CA_USAGE = frozenset({"keyCertSign", "cRLSign", "digitalSignature"})
_ROUTER_USAGE = frozenset({"digitalSignature", "keyEncipherment"})


@dataclass(frozen=True, slots=True)
class ChainCost:
    """CPU microseconds a validation.

    ours: certificates read, CRLs cached. whole: the leaf read and its path built too. cold: the
    CRLs read and verified too. pyhanko: as ours; None where it is not installed.
    """

    bare: float
    ours: float
    whole: float
    cold: float
    pyhanko: float | None


class ChainBench:
    """Root, CA and router; the CA's CRL has as many entries as it is asked for."""

    def __init__(self) -> None:
        self._now = datetime.now(UTC).replace(microsecond=0)
        self._keys = {name: generate_private_key(65537, BITS) for name in ("root", "ca", "router")}
        self._root = self._certify("root", "root", 1)
        self._ca = self._certify("ca", "root", 2)
        self._leaf = self._certify("router", "ca", 3)
        self._path = (self._leaf, self._ca, self._root)

    def measure(self, entries: int, validations: int) -> ChainCost:
        """The mean of `validations`; of the slow ones, reading CRLs and pyhanko, of three."""
        crls = [load_crl(octets) for octets in self._crls(entries)]
        self._validate(crls)  # from now on they are cached
        ours = bare = 0.0
        for _ in range(_BLOCKS):
            count = max(1, validations // _BLOCKS)
            bare += _timed(self._verify_bare, count) / _BLOCKS
            ours += _timed(lambda: self._validate(crls), count) / _BLOCKS
        return ChainCost(
            bare,
            ours,
            _timed(lambda: self._validate_leaf(crls), validations),
            _timed(lambda: self._validate([load_crl(item.der) for item in crls]), 3),
            self._measure_pyhanko([item.der for item in crls]),
        )

    def _verify_bare(self) -> None:
        for below, above in zip(self._path, self._path[1:], strict=False):
            above.public_key.verify(below.signature, below.tbs, PKCS1v15(), SHA256())

    def _validate(self, crls: list[Any]) -> None:
        for certificate in self._path:
            certificate.verified_keys.clear()  # as if it had just been read
        validate(self._path, (self._root,), self._now, crls, "crl")

    def _validate_leaf(self, crls: list[Any]) -> None:
        """A router that meets a peer: its own CA's certificates were read long ago."""
        leaf = load_certificate(self._leaf.der)
        path = build_path(leaf, (self._ca,), (self._root,), at=self._now)
        validate(path, (self._root,), self._now, crls, "crl")

    def _measure_pyhanko(self, crls: list[bytes]) -> float | None:
        if find_spec("pyhanko_certvalidator") is None:
            return None
        from asn1crypto import crl, x509
        from pyhanko_certvalidator import CertificateValidator, ValidationContext

        root, ca, leaf = (
            x509.Certificate.load(item.der) for item in (self._root, self._ca, self._leaf)
        )
        lists = [crl.CertificateList.load(octets) for octets in crls]

        async def check() -> None:
            context = ValidationContext(
                trust_roots=[root],
                other_certs=[ca],
                crls=lists,
                moment=self._now,
                revocation_mode="require",
            )
            await CertificateValidator(leaf, validation_context=context).async_validate_path()

        return asyncio.run(_timed_async(check, 3))

    def _certify(self, name: str, above: str, serial: int) -> Certificate:
        is_ca = name != "router"
        return load_certificate(
            build_certificate(
                serial=serial,
                issuer=_name(above),
                subject=_name(name),
                public_key_info=public_key_info(self._keys[name]),
                not_before=self._now - timedelta(hours=1),
                not_after=self._now + timedelta(days=30),
                issuer_key=self._keys[above],
                digest="sha256",
                ca=is_ca,
                key_usage=_CA_USAGE if is_ca else _ROUTER_USAGE,
                crl_url=None if name == "root" else f"http://192.0.2.254/{above}.crl",
                fqdns=() if is_ca else ("router.example.net",),
            )
        )

    def _crls(self, entries: int) -> list[bytes]:
        return [self._crl("ca", entries), self._crl("root", SIZES[0])]

    def _crl(self, name: str, entries: int) -> bytes:
        key: RSAPrivateKey = self._keys[name]
        start = self._now - timedelta(hours=1)
        return build_crl(
            issuer=_name(name),
            this_update=start,
            next_update=self._now + timedelta(days=1),
            number=1,
            revoked=[(1000 + n, start, _REASON) for n in range(entries)],
            key=key,
            digest="sha256",
            authority_key_id=key_identifier(public_key_info(key)),
        )


def _name(text: str) -> bytes:
    return build_name([[("o", "ikelab")], [("cn", text)]])


def _timed(work: Callable[[], None], count: int) -> float:
    start = time.thread_time_ns()
    for _ in range(count):
        work()
    return (time.thread_time_ns() - start) / (count * MICROSECOND)


async def _timed_async(work: Callable[[], Coroutine[Any, Any, None]], count: int) -> float:
    await work()  # asn1crypto reads lazily: the first one is the cold one
    start = time.thread_time_ns()
    for _ in range(count):
        await work()
    return (time.thread_time_ns() - start) / (count * MICROSECOND)
