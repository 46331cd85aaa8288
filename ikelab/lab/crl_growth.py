"""`ikelab crl-growth`: how large the CRLs of a network become, with one CA or several.

Every size is that of a CRL which a certificate server has signed: the engine of the labs with a key
of its own, its store in memory. The revoked certificates are spread evenly over the CAs that issue
to routers; their serial numbers are the first ones after the CA's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from ikelab.pki.cert_server import CertificateServer
from ikelab.pki.config import CertServerConfig
from ikelab.pki.revocation import CACHE_LIMIT
from ikelab.runtime.keys import OsRng, OsRsaKeys
from ikelab.runtime.store import SqliteCaStore
from ikelab.types import Now

CACHE_OCTETS = CACHE_LIMIT
"""The largest CRL a router takes: IOS's cache ("Parsed CRL cache maximum size is 65536 bytes")."""

MOST_REVOKED = 100_000  # 4 MB of CRL and seconds of work
_ENTRY_OCTETS = 23  # more than any with a serial number of two octets has
_NAME = "ra-subca"


@dataclass(frozen=True, slots=True)
class Growth:
    """revoked: in the whole network. sizes: octets of the largest CRL of each model, in order."""

    revoked: int
    sizes: tuple[int, ...]


@dataclass
class RevokingCa:
    """A certificate server that only revokes. legacy: RSA 1024, MD5, CRLs of version 1."""

    legacy: bool = False
    _now: Now = field(default_factory=lambda: Now(0.0, datetime.now(UTC), True))
    _revoked: int = 0

    def __post_init__(self) -> None:
        config = CertServerConfig(_NAME, hash="md5" if self.legacy else "sha256")
        self._store = SqliteCaStore(":memory:")
        self._server = CertificateServer(config, self._store, OsRng(), OsRsaKeys(), self.legacy)
        self._server.no_shut(self._now)

    @property
    def certificate(self) -> bytes:
        """The CA's own certificate, DER."""
        authority = self._store.load_authority()
        assert authority is not None, "it is enabled since it was made"
        return authority.certificate

    def crl(self, revoked: int) -> bytes:
        """The CRL (DER) with this many certificates on it, or more if there were more before."""
        for serial in range(self._revoked + 2, revoked + 2):
            self._store.revoke(serial, self._now.wall, None)
        self._revoked = max(self._revoked, revoked)
        self._store.raise_last_serial(self._revoked + 1)
        self._now = Now(0.0, self._now.wall + timedelta(seconds=1), True)
        self._server.publish_crl(self._now)
        issued = self._store.load_crl()
        assert issued is not None
        return issued.crl


def measure(revoked: Sequence[int], cas: Sequence[int], *, legacy: bool = False) -> list[Growth]:
    """A row for each number of revoked certificates. cas: how many CAs issue, a model each."""
    sizes = _sizes({_share(total, count) for total in revoked for count in cas}, legacy)
    return [Growth(total, tuple(sizes[_share(total, count)] for count in cas)) for total in revoked]


def fitting(cas: Sequence[int], *, legacy: bool = False) -> tuple[int, ...]:
    """How many revoked certificates each model bears before a CRL outgrows a router's cache."""
    ca = RevokingCa(legacy)
    count = 0
    while step := (CACHE_OCTETS - len(ca.crl(count))) // _ENTRY_OCTETS:
        count += step
    while len(ca.crl(count + 1)) <= CACHE_OCTETS:
        count += 1
    return tuple(count * each for each in cas)


def _share(revoked: int, cas: int) -> int:
    """What the CA has that got most of them."""
    return -(-revoked // cas)


def _sizes(counts: set[int], legacy: bool) -> dict[int, int]:
    """Octets of one CA's CRL, by entries: the same CA revokes more and more."""
    ca = RevokingCa(legacy)
    return {count: len(ca.crl(count)) for count in sorted(counts)}
