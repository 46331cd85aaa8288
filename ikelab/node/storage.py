"""The files of a certificate server: read when it starts, written in order, one at a time.

The store is the truth, the files are a projection of it: an outage delays them and loses nothing.
A server starts only after its storage was read, as IOS has it: what cannot be read may know of
serial numbers that the store does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ikelab.errors import PkiError
from ikelab.node.events import (
    FileNotStored,
    FileStored,
    NodeAction,
    ReadStorage,
    StorageNotRead,
    StorageRead,
    StorageUnreachable,
    StoreFile,
)
from ikelab.pki.algorithms import public_key_info
from ikelab.pki.ca_events import FileLoaded, FileWritten, ServerNotStarted, StorageUnreadable
from ikelab.pki.cert_server import CertificateServer, ServerState
from ikelab.pki.pkcs12 import Identity
from ikelab.pki.recovery import wanted_files
from ikelab.pki.store import Nvram, StorageFile
from ikelab.pki.trustpoint import Trustpoint
from ikelab.pki.x509 import load_certificate
from ikelab.types import Now, TimeBase, Timer

RETRY_SECONDS = 10.0

# By the reason of PkiError: which file of the server.
_UNREADABLE = {"storage-unreadable": ".ser", "crl-unreadable": ".crl"}


@dataclass(slots=True)
class StorageQueue:
    """One server's storage.

    tickets: numbers for the files on their way, of the whole router: a late answer to a server
    that was removed is none to the next of its name. ticket, sent: the file under way. retry_at:
    after a failure. opening: handle of the reading of a start. serial: the .ser file as it was read
    or written last: where it has become another, two servers of this name give away numbers.
    """

    server: CertificateServer
    tickets: Iterator[int]
    ticket: int = 0
    sent: StorageFile | None = None
    retry_at: float | None = None
    opening: str | None = None
    serial: bytes | None = None

    # --- the start ----------------------------------------------------------------------------

    def open(self) -> list[NodeAction]:
        """`no shutdown`: ask for what a start needs to know."""
        config = self.server.config
        self.opening = f"{config.name} {next(self.tickets)}"
        is_new = self.server.store.load_authority() is None
        return [
            ReadStorage(self.opening, config.database_url, wanted_files(config.name, is_new=is_new))
        ]

    def close(self) -> None:
        """`shutdown`: the answer to an older question does not start the server any more."""
        self.opening = None

    def opened(
        self, event: StorageRead | StorageNotRead, identity: Identity | None, now: Now
    ) -> list[NodeAction]:
        """The storage was read, or not: the server starts, or says why it cannot.

        identity: what the trustpoint of the server's name holds.
        """
        if event.handle != self.opening:
            return []
        self.opening = None
        name = self.server.config.name
        if isinstance(event, StorageNotRead):
            return self._lose(f"{name}.ser", event.reason, now)
        self.retry_at = None
        self.serial = event.contents.files.get(f"{name}.ser")
        loaded: list[NodeAction] = [
            FileLoaded(name, file, len(octets))
            for file, octets in sorted(event.contents.files.items(), reverse=True)
            if not file.endswith(".crt")
        ]
        try:
            self.server.resume(event.contents, identity)
            started = self.server.no_shut(now)
        except PkiError as error:
            if error.reason in _UNREADABLE:
                return [*loaded, *self._lose(name + _UNREADABLE[error.reason], error.detail, now)]
            return [*loaded, ServerNotStarted(name, error.reason, error.detail)]
        return [*loaded, *started, *self.pump()]

    def _lose(self, file: str, reason: str, now: Now) -> list[NodeAction]:
        server = self.server
        unreadable = StorageUnreadable(server.config.name, file, reason)
        return [unreadable, *server.lose_storage(now)]

    # --- the outbox ---------------------------------------------------------------------------

    def pump(self) -> list[NodeAction]:
        """The next file, if none is under way and no retry is waited for."""
        if self.sent is not None or self.retry_at is not None:
            return []
        waiting = self.server.store.outbox()
        if not waiting:
            return []
        file, config = waiting[0], self.server.config
        self.sent, self.ticket = file, next(self.tickets)
        url, replaces = config.database_url, self._replaces(file)
        return [StoreFile(config.name, self.ticket, url, file.name, file.octets, replaces)]

    def _replaces(self, file: StorageFile) -> bytes | None:
        """What may be there: of a number's own files only the same."""
        if self._is_serial(file):
            return self.serial
        return file.octets if file.name.endswith((".crt", ".cnm")) else None

    def _is_serial(self, file: StorageFile) -> bool:
        return file.name == f"{self.server.config.name}.ser"

    def handle(self, event: FileStored | FileNotStored, now: Now) -> list[NodeAction]:
        """What became of the file under way."""
        file = self.sent
        if file is None or event.order != self.ticket:
            return []
        self.sent = None
        if isinstance(event, FileStored):
            self.server.store.acknowledge_file(file.order)
            if self._is_serial(file):
                self.serial = file.octets
            return [FileWritten(event.server, file.name, len(file.octets)), *self.pump()]
        if event.is_others and self.server.state is ServerState.ENABLED:
            return self._lose(file.name, event.reason, now)
        self.retry_at = now.elapsed + RETRY_SECONDS
        url = self.server.config.database_url or "nvram:"
        return [StorageUnreachable(event.server, url, event.reason, RETRY_SECONDS)]

    def tick(self, now: Now) -> list[NodeAction]:
        """Try again when it is time."""
        if self.retry_at is None or self.retry_at > now.elapsed:
            return []
        self.retry_at = None
        return self.pump()

    def next_timer(self) -> Timer | None:
        """The next try."""
        if self.retry_at is None:
            return None
        return Timer(TimeBase.ELAPSED, self.retry_at, "storage", routine=True)


def held_authority(trustpoint: Trustpoint | None, nvram: Nvram) -> Identity | None:
    """What a trustpoint holds for its server: a sub-CA's certificate, or an imported root."""
    if trustpoint is None:
        return None
    held = trustpoint.credential
    if held is not None:
        key = nvram.load_key(held.key_label)
        return None if key is None else Identity(key, held.certificate, held.chain)
    key = nvram.load_key(trustpoint.config.rsakeypair or trustpoint.config.name)
    anchor = load_certificate(trustpoint.anchors[0]) if trustpoint.anchors else None
    if key is None or anchor is None or anchor.public_key_info != public_key_info(key):
        return None
    return Identity(key, anchor.der)
