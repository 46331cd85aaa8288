"""One durable, private SQLite file: what every store of the runtime is built on.

`journal_mode=WAL` with `synchronous=FULL` makes every committed transaction durable; both are
read back from the live connection, because SQLite answers a setting it cannot take with silence.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from ikelab.errors import LabError

MEMORY = ":memory:"
_SYNCHRONOUS_FULL = 2


class Database:
    """One SQLite file, durable and private to its one owner.

    Raises LabError when the file cannot be opened, is not durable or belongs to a live process.
    """

    def __init__(self, path: str, schema: str) -> None:
        self._path = path
        self._deferring = self._flushes = 0
        self._unflushed = False
        if path != MEMORY:
            _create_private(path)
        try:
            self.connection = sqlite3.connect(path, isolation_level=None, timeout=0.2)
        except sqlite3.Error as error:
            raise self._failed(error) from None
        try:
            self._prepare(schema)
        except sqlite3.Error as error:
            self.connection.close()
            raise self._failed(error) from None
        except LabError:
            self.connection.close()
            raise

    def _prepare(self, schema: str) -> None:
        run = self.connection.execute
        # EXCLUSIVE: a second server started on the same storage is refused instead of handing
        # out the same serial numbers; the lock goes with the process, however it ends.
        run("PRAGMA locking_mode=EXCLUSIVE")
        run("PRAGMA journal_mode=WAL")
        run("PRAGMA synchronous=FULL")
        run("PRAGMA foreign_keys=ON")
        self.connection.executescript("BEGIN IMMEDIATE;" + schema + "COMMIT;")
        wanted = {
            "journal_mode": "memory" if self._path == MEMORY else "wal",
            "synchronous": _SYNCHRONOUS_FULL,
            "foreign_keys": 1,
        }
        found = self.settings()
        if found != wanted:
            raise LabError(
                f"{self._path}: SQLite runs with {found}, durable storage needs {wanted}",
                hint="put the state directory on a local file system that allows write-ahead logs",
            )

    def settings(self) -> dict[str, str | int]:
        """The settings that durability rests on, read from the live connection."""
        names = ("journal_mode", "synchronous", "foreign_keys")
        return {name: self.connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names}

    def close(self) -> None:
        """Give the file back. The store is of no use afterwards."""
        self.connection.close()

    def destroy(self) -> None:
        """Close, and remove the files. A crash in between leaves a log that SQLite discards."""
        self.connection.close()
        if self._path != MEMORY:
            for suffix in ("", "-wal", "-shm", "-journal"):
                Path(self._path + suffix).unlink(missing_ok=True)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing, on the disk when the block is left."""
        try:
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield self.connection
            except BaseException:
                if self.connection.in_transaction:  # a full disk rolls back by itself
                    self.connection.execute("ROLLBACK")
                raise
            self.connection.execute("COMMIT")
            self._unflushed = self._deferring > 0
        except sqlite3.OperationalError as error:
            raise self._failed(error) from None

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Transactions in this block are atomic and in order, but reach the disk with the next one.

        For what nobody is told of before that, or what can be done again. Killing the process
        loses nothing: SQLite's log is written, only not flushed.
        """
        if not self._deferring:
            self.connection.execute("PRAGMA synchronous=NORMAL")
        self._deferring += 1
        try:
            yield
        finally:
            self._deferring -= 1
            if not self._deferring:
                self.connection.execute("PRAGMA synchronous=FULL")

    @contextmanager
    def group(self) -> Iterator[None]:
        """Transactions in this block reach the disk together when it is left: one flush for all."""
        with self.deferred():
            yield
        if self._unflushed and not self._deferring:
            with self.transaction() as connection:
                # Any write will do: a durable commit flushes the log with all that is in it.
                self._flushes = (self._flushes + 1) & 0xFFFF
                connection.execute(f"PRAGMA user_version={self._flushes}")

    def _failed(self, error: sqlite3.Error) -> LabError:
        return LabError(
            f"{self._path}: {error}",
            hint="is another process using this storage, or is the disk full or read-only?",
        )


def _create_private(path: str) -> None:
    """An empty file that only its owner may read: it will hold private keys."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise LabError(f"{path}: {error.strerror}", hint="is the directory there?") from None
    try:
        os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)


def key_der(key: RSAPrivateKey) -> bytes:
    """PKCS#8 without a password: the file is 0600, and a lab has nobody to ask at start."""
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def load_key(der: bytes) -> RSAPrivateKey:
    """The inverse of `key_der`."""
    # unsafe_skip_rsa_key_validation: the file is ours and 0600; the check costs 35 ms at 2048 bits.
    key = load_der_private_key(der, None, unsafe_skip_rsa_key_validation=True)
    assert isinstance(key, RSAPrivateKey)
    return key


def join_ders(ders: Sequence[bytes]) -> str:
    """Several DER values in one column."""
    return json.dumps([der.hex() for der in ders])


def split_ders(text: str) -> tuple[bytes, ...]:
    """The inverse of `join_ders`."""
    return tuple(bytes.fromhex(item) for item in json.loads(text))
