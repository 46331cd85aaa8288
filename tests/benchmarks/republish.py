"""A CRL of 100,000 entries published anew, beside signing and writing the same octets.

The certificate server and its store are the daemon's, on a file. "Signing" is the one signature
over what a CRL says; "writing" is the store's transaction that keeps the CRL and queues its file,
with the disk waited for. Neither can be left out. The first publication of a process reads and
encodes every entry, the later ones only what was revoked since.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from ikelab.pki import der
from ikelab.pki.algorithms import sign
from ikelab.pki.cert_server import CertificateServer
from ikelab.pki.config import CertServerConfig
from ikelab.runtime.keys import OsRng, OsRsaKeys
from ikelab.runtime.store import SqliteCaStore
from ikelab.types import Now

ENTRIES = 100_000
_NAME = "root-ca"


@dataclass(frozen=True, slots=True)
class Publishing:
    """Milliseconds. first: of a server just started. again: after one more revocation."""

    first: float
    again: float
    signing: float
    writing: float
    octets: int

    @property
    def floor(self) -> float:
        """What cannot be avoided."""
        return self.signing + self.writing


class RepublishBench:
    """A root CA with that many revocations; a context manager."""

    def __init__(self, entries: int = ENTRIES) -> None:
        self._entries = entries
        self._folder = tempfile.TemporaryDirectory(prefix="ikelab-b-")
        self._store = SqliteCaStore(str(Path(self._folder.name) / f"{_NAME}.db"))

    def __enter__(self) -> Self:
        server = self._server()
        server.no_shut(_now())
        self._store.raise_last_serial(2 * self._entries + 1000)
        with self._store.deferred():
            for number in range(self._entries):
                self._store.revoke(2 + number, _now().wall - timedelta(days=number % 30), 1)
        self._next = self._entries + 2
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._store.close()
        self._folder.cleanup()

    def measure(self) -> Publishing:
        """One run: start, publish, revoke one more."""
        server = self._server()
        first = _timed(lambda: server.no_shut(_now()))
        serial, self._next = self._next, self._next + 1
        again = _timed(lambda: server.revoke(serial, _now()))
        crl, authority = self._store.load_crl(), self._store.load_authority()
        assert crl is not None and authority is not None
        said = der.parse(crl.crl).children()[0].raw
        signing = _timed(lambda: sign(authority.key, said, "sha256"))
        following = replace(crl, number=crl.number + 1)
        writing = _timed(lambda: self._store.save_crl(following, [(f"{_NAME}.crl", crl.crl)]))
        return Publishing(first, again, signing, writing, len(crl.crl))

    def _server(self) -> CertificateServer:
        return CertificateServer(CertServerConfig(_NAME), self._store, OsRng(), OsRsaKeys())


def _now() -> Now:
    return Now(time.monotonic(), datetime.now(UTC), True)


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1000
