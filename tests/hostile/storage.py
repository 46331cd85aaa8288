"""E14, E16: a certificate server whose storage lies, fails, or is somebody else's too."""

from __future__ import annotations

import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import ikelab.runtime.ftp
from ikelab.errors import LabError
from ikelab.node.events import StorageUnreachable
from ikelab.pki.ca_events import ServerNotStarted, StorageUnreadable
from ikelab.pki.cert_server import ServerState
from ikelab.pki.x509 import load_certificate
from ikelab.runtime.store import SqliteCaStore
from tests.crash_scene import NAME, SCEP, Host, certificate_of
from tests.hostile.faulty_ftp import FaultyFtp, faulty_ftp
from tests.hostile.registry import Seen, Shot, case
from tests.scep_requester import Requester

ENABLED, LOST = ServerState.ENABLED.value, ServerState.STORAGE_LOST.value
_SERIAL = f"{NAME}.ser"
_LAST = re.compile(rb"last_serial = 0x([0-9A-F]+)")


class StorageTarget:
    """A CA with real files, its storage on the loopback, two certificates issued so far."""

    def __init__(self, folder: Path, ftp: FaultyFtp) -> None:
        self.folder, self.ftp = folder, ftp
        self.host = Host(folder, ftp.url)
        self.host.boot()
        self.serials = [1]  # its own
        self._asked = 0
        for _ in range(2):
            self.enroll()
            self.host.pump()

    def enroll(self) -> None:
        """A router with a one-time password; its number must be a new one."""
        self._asked += 1
        password = self.host.server.generate_password(self.host.now)
        asker = Requester(
            self.host.scene,
            self.host.server,
            f"hostname=r{self._asked}.example.com",
            key_index=101,
            transaction_id=f"T{self._asked}",
        )
        body = self.host.ask(SCEP + "PKIOperation", asker.pkcs_req(challenge=password))
        serial = load_certificate(certificate_of(asker, body)).serial
        assert serial > max(self.serials), f"number {serial} was given away before"
        self.serials.append(serial)

    # --- a storage that lies --------------------------------------------------------------------

    def starting_with(self, octets: bytes | None) -> Callable[[], Seen]:
        """A shot: the .ser file has these octets, or is gone, when the CA is started again."""

        def fire() -> Seen:
            file = self.ftp.root / _SERIAL
            before = file.read_bytes()
            file.unlink()
            if octets is not None:
                file.write_bytes(octets)
            seen = self._restart()
            if seen.answer == ENABLED:
                self.enroll()
                self.host.pump()
            else:
                file.write_bytes(before)
                assert self._restart() == Seen(ENABLED), "it does not heal"
            return seen

        return fire

    def _restart(self) -> Seen:
        self.host.close()
        minutes = self.host.minutes + 1
        self.host = Host(self.folder, self.ftp.url, minutes=minutes)
        self.host.boot()
        return Seen(self.host.server.state.value, self._reasons())

    def _reasons(self) -> tuple[str, ...]:
        kinds = (StorageUnreadable, StorageUnreachable, ServerNotStarted)
        told, self.host.notices = self.host.notices, []
        return tuple(type(notice).__name__ for notice in told if isinstance(notice, kinds))

    # --- a storage that fails -------------------------------------------------------------------

    def failing_with(self, fault: str) -> Callable[[], Seen]:
        """A shot: a router enrolls while the storage does this; then the storage comes back."""

        def fire() -> Seen:
            self.ftp.fault = fault
            start = time.monotonic()
            self.enroll()
            issued = time.monotonic() - start
            self.host.pump()
            waiting = self._waiting()
            reasons = self._reasons()
            self._look_at_files()
            self.ftp.fault = ""
            self._retry()
            assert not self._waiting(), "the files did not arrive afterwards"
            return Seen(f"certificate {'at once' if issued < 5 else 'late'}, {waiting}", reasons)

        return fire

    def _waiting(self) -> str:
        names = [file.name for file in self.host.server.store.outbox()]
        return f"{len(names)} files wait" if names else ""

    def _retry(self) -> None:
        """The time between two tries goes by."""
        self.host.minutes += 1
        queue = self.host.router.queues[NAME]
        self.host.perform(queue.tick(self.host.now))

    def _look_at_files(self) -> None:
        """Nothing under a final name is half a file."""
        for file in self.ftp.root.iterdir():
            octets = file.read_bytes()
            match file.suffix:
                case ".crt":
                    load_certificate(octets)
                case ".ser":
                    assert _LAST.search(octets), octets
                case ".cnm":
                    assert octets.endswith(b"\n"), octets

    def check(self) -> None:
        """Everything is there once, in the order of issue, and numbers go on."""
        self.ftp.fault = ""
        self.enroll()
        self.host.pump()
        assert self._restart() == Seen(ENABLED)
        self._look_at_files()
        self._look_at_order()
        found = _LAST.search((self.ftp.root / _SERIAL).read_bytes())
        assert found is not None and int(found[1], 16) >= max(self.serials)

    def _look_at_order(self) -> None:
        stored = [int(name[:-4], 16) for name in self.ftp.renamed if name.endswith(".crt")]
        assert stored == self.serials


@contextmanager
def storing() -> Iterator[StorageTarget]:
    patience = ikelab.runtime.ftp._SECONDS
    ikelab.runtime.ftp._SECONDS = 0.5  # of a host that hangs
    try:
        with tempfile.TemporaryDirectory(prefix="ikelab-t-") as directory:
            root, folder = Path(directory) / "storage", Path(directory) / "ca"
            root.mkdir()
            folder.mkdir()
            with faulty_ftp(root) as ftp:
                target = StorageTarget(folder, ftp)
                yield target
                target.host.close()
    finally:
        ikelab.runtime.ftp._SECONDS = patience


@case(
    "E14",
    "serial-file",
    precedent="guide T01; IOS's recovered root shows last serial 0x1",
    expected="no start with a .ser that cannot be read; no number twice, whatever it says",
    target=storing,
)
def serial_file(target: StorageTarget) -> Iterator[Shot]:
    for what, octets in (
        ("empty", b""),
        ("cut", b"db_version = 1\nlast_ser"),
        ("no number", b"db_version = 1\nlast_serial = two"),
        ("a number below zero", b"db_version = 1\nlast_serial = 0x-2"),
        ("a number of 20 digits", b"db_version = 1\nlast_serial = 0x" + b"F" * 20),
        ("two numbers", b"db_version = 1\nlast_serial = 0x2\nlast_serial = 0x3"),
        ("binary", bytes(range(256)) * 100),
        ("another version", b"db_version = 2\nlast_serial = 0x2"),
    ):
        yield Shot(f"{what}", target.starting_with(octets), LOST, "StorageUnreadable")
    for what, rolled in (
        ("rolled back", b"db_version = 1\nlast_serial = 0x1"),
        ("at nothing", b"db_version = 1\nlast_serial = 0x0"),
        ("gone", None),
        ("far ahead", b"db_version = 1\nlast_serial = 0x100"),
    ):
        yield Shot(f"{what}", target.starting_with(rolled), ENABLED)


@case(
    "E14b",
    "failing-storage",
    precedent="guide T01: the storage is unplugged while certificates are issued",
    expected="certificates go out, files wait; none is half there; they arrive in order afterwards",
    target=storing,
)
def failing_storage(target: StorageTarget) -> Iterator[Shot]:
    for fault in ("read-only", "full", "hang", "half", "reset", "no-rename", "refuse"):
        wait = "certificate at once, 3 files wait"
        yield Shot(fault, target.failing_with(fault), wait, "StorageUnreachable")


# --- two CAs on one storage -----------------------------------------------------------------------


class SharedTarget(StorageTarget):
    """Somebody else starts a CA of the same name."""

    def _look_at_order(self) -> None:
        """Two have written."""

    def second_process(self) -> Seen:
        """On the same database: SQLite's lock is held."""
        try:
            SqliteCaStore(str(self.folder / f"{NAME}.db")).close()
        except LabError as error:
            assert "is another process using this storage" in str(error)
            return Seen("refused", ("locked",) if "locked" in str(error) else ())
        return Seen("opened")

    def copied_router(self) -> Seen:
        """On a copy of the database, as of a virtual machine that was cloned: both have the key.

        No lock can be seen over there; the first to write after the other is the one that notices.
        """
        with tempfile.TemporaryDirectory(prefix="ikelab-t-") as folder:
            for file in self.folder.iterdir():
                shutil.copy(file, folder)
            copy = StorageTarget.__new__(StorageTarget)
            copy.folder, copy.ftp, copy.serials, copy._asked = Path(folder), self.ftp, [1], 50
            copy.host = Host(copy.folder, self.ftp.url, minutes=self.host.minutes)
            copy.host.boot()
            copy.enroll()
            copy.host.pump()
            copy.host.close()
        self.enroll()
        self.host.pump()
        seen = Seen(self.host.server.state.value, self._reasons())
        assert self._restart().answer == LOST, "it goes on beside the other's certificate"
        for suffix in ("crt", "cnm"):  # as the message says
            (self.ftp.root / f"{self.serials[-1]:X}.{suffix}").unlink()
        assert self._restart() == Seen(ENABLED)
        self.serials.append(self.host.server.store.last_serial())  # all that anybody has used
        return seen

    def second_router(self) -> Seen:
        """On another router, without the first one's key, but with its storage."""
        with tempfile.TemporaryDirectory(prefix="ikelab-t-") as folder:
            other = Host(Path(folder), self.ftp.url, key_index=1)
            other.boot()
            state = other.server.state.value
            reasons = tuple(
                notice.reason for notice in other.notices if isinstance(notice, ServerNotStarted)
            )
            other.close()
        return Seen(state, reasons)


@contextmanager
def shared() -> Iterator[SharedTarget]:
    with tempfile.TemporaryDirectory(prefix="ikelab-t-") as directory:
        root, folder = Path(directory) / "storage", Path(directory) / "ca"
        root.mkdir()
        folder.mkdir()
        with faulty_ftp(root) as ftp:
            target = SharedTarget(folder, ftp)
            yield target
            target.host.close()


@case(
    "E16",
    "two-cas-one-storage",
    precedent="a recovery that went wrong: both give away the same serial numbers",
    expected="the second is refused, by the lock or by the files; with the same key, it is noticed",
    target=shared,
)
def two_cas(target: SharedTarget) -> Iterator[Shot]:
    yield Shot("a copy of the database", target.copied_router, LOST, "StorageUnreadable")
    yield Shot("the same database", target.second_process, "refused", "locked")
    before = {file.name: file.read_bytes() for file in target.ftp.root.iterdir()}
    yield Shot("another router", target.second_router, "disabled", "storage-in-use")
    assert {file.name: file.read_bytes() for file in target.ftp.root.iterdir()} == before
