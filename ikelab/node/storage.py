"""The files of a certificate server on their way to storage: in order, one at a time, until there.

The store is the truth, the files are a projection of it: an outage delays them and loses nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from ikelab.node.events import FileNotStored, FileStored, NodeAction, StorageUnreachable, StoreFile
from ikelab.pki.cert_server import CertificateServer
from ikelab.types import Now, TimeBase, Timer

RETRY_SECONDS = 10.0


@dataclass(slots=True)
class StorageQueue:
    """One server's outbox. sent: the file that is under way. retry_at: after a failure."""

    server: CertificateServer
    sent: int | None = None
    retry_at: float | None = None

    def pump(self) -> list[NodeAction]:
        """The next file, if none is under way and no retry is waited for."""
        if self.sent is not None or self.retry_at is not None:
            return []
        waiting = self.server.store.outbox()
        if not waiting:
            return []
        file, config = waiting[0], self.server.config
        self.sent = file.order
        return [StoreFile(config.name, file.order, config.database_url, file.name, file.octets)]

    def handle(self, event: FileStored | FileNotStored, now: Now) -> list[NodeAction]:
        """What became of the file under way."""
        if event.order != self.sent:
            return []
        self.sent = None
        if isinstance(event, FileStored):
            self.server.store.acknowledge_file(event.order)
            return self.pump()
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
        return Timer(TimeBase.ELAPSED, self.retry_at, "storage")
