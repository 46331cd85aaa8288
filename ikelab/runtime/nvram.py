"""A router's nvram (`pki.store.Nvram`) in SQLite: key pairs and trustpoints."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from ikelab.pki.algorithms import public_key_info
from ikelab.pki.store import Generation, PendingEnrollment, StoredTrustpoint
from ikelab.runtime.sqlite import Database, join_ders, key_der, load_key, split_ders

_NVRAM_SCHEMA = """
CREATE TABLE IF NOT EXISTS key_pair (label TEXT PRIMARY KEY, key BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS exportable (label TEXT PRIMARY KEY) STRICT;
CREATE TABLE IF NOT EXISTS key_made (digest BLOB PRIMARY KEY, at INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS trustpoint (
    name TEXT PRIMARY KEY, capabilities TEXT NOT NULL, ca TEXT NOT NULL, ra TEXT NOT NULL,
    certificate BLOB, key_label TEXT, pending TEXT) STRICT;
CREATE TABLE IF NOT EXISTS beside (
    name TEXT PRIMARY KEY, ca TEXT NOT NULL, ra TEXT NOT NULL, certificate BLOB,
    key_label TEXT) STRICT;
"""


class SqliteNvram(Database):
    """A router's key pairs and certificates (`pki.store.Nvram`). path: a file, or ":memory:"."""

    def __init__(self, path: str) -> None:
        super().__init__(path, _NVRAM_SCHEMA)

    def load_key(self, label: str) -> RSAPrivateKey | None:
        """None if there is none."""
        row = self.connection.execute(
            "SELECT key FROM key_pair WHERE label = ?", (label,)
        ).fetchone()
        return None if row is None else load_key(row[0])

    def save_key(
        self, label: str, key: RSAPrivateKey, made: datetime | None, *, exportable: bool = False
    ) -> None:
        """Replaces."""
        with self.transaction() as connection:
            _insert_key(connection, label, key)
            if made is not None:
                row = (_digest(key), int(made.timestamp()))
                connection.execute("INSERT OR IGNORE INTO key_made VALUES (?, ?)", row)
            if exportable:
                connection.execute("INSERT OR IGNORE INTO exportable VALUES (?)", (label,))

    def key_made(self, key: RSAPrivateKey) -> datetime | None:
        """It stays with the pair when that gets another label."""
        row = self.connection.execute(
            "SELECT at FROM key_made WHERE digest = ?", (_digest(key),)
        ).fetchone()
        return None if row is None else datetime.fromtimestamp(row[0], UTC)

    def is_exportable(self, label: str) -> bool:
        """A mark of the label."""
        row = self.connection.execute(
            "SELECT 1 FROM exportable WHERE label = ?", (label,)
        ).fetchone()
        return row is not None

    def delete_key(self, label: str) -> None:
        """Forgets."""
        with self.transaction() as connection:
            connection.execute("DELETE FROM key_pair WHERE label = ?", (label,))
            connection.execute("DELETE FROM exportable WHERE label = ?", (label,))

    def key_labels(self) -> tuple[str, ...]:
        """In alphabetical order."""
        rows = self.connection.execute("SELECT label FROM key_pair ORDER BY label")
        return tuple(row[0] for row in rows)

    def key_users(self, label: str) -> tuple[str, ...]:
        """In alphabetical order."""
        rows = self.connection.execute(
            "SELECT name FROM trustpoint WHERE key_label = ?1"
            " UNION SELECT name FROM beside WHERE key_label = ?1 ORDER BY name",
            (label,),
        )
        return tuple(row[0] for row in rows)

    def load_trustpoint(self, name: str) -> StoredTrustpoint | None:
        """None if nothing was saved."""
        row = self.connection.execute(
            "SELECT name, capabilities, ca, ra, certificate, key_label, pending FROM trustpoint"
            " WHERE name = ?",
            (name,),
        ).fetchone()
        if row is None:
            return None
        return StoredTrustpoint(
            name=row[0],
            capabilities=tuple(json.loads(row[1])),
            ca_certificates=split_ders(row[2]),
            ra_certificates=split_ders(row[3]),
            certificate=row[4],
            key_label=row[5],
            pending=None if row[6] is None else _load_pending(row[6]),
            beside=self._load_beside(name),
        )

    def _load_beside(self, name: str) -> Generation | None:
        row = self.connection.execute(
            "SELECT ca, ra, certificate, key_label FROM beside WHERE name = ?", (name,)
        ).fetchone()
        if row is None:
            return None
        return Generation(split_ders(row[0]), split_ders(row[1]), row[2], row[3])

    def save_trustpoint(self, stored: StoredTrustpoint, *keys: tuple[str, RSAPrivateKey]) -> None:
        """A renewed key and its certificate change places in one transaction."""
        row = (
            stored.name,
            json.dumps(stored.capabilities),
            join_ders(stored.ca_certificates),
            join_ders(stored.ra_certificates),
            stored.certificate,
            stored.key_label,
            None if stored.pending is None else _dump_pending(stored.pending),
        )
        with self.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO trustpoint VALUES (?, ?, ?, ?, ?, ?, ?)", row
            )
            connection.execute("DELETE FROM beside WHERE name = ?", (stored.name,))
            if stored.beside is not None:
                _insert_beside(connection, stored.name, stored.beside)
            for label, key in keys:
                _insert_key(connection, label, key)

    def delete_trustpoint(self, name: str) -> None:
        """Its key pairs stay."""
        with self.transaction() as connection:
            connection.execute("DELETE FROM trustpoint WHERE name = ?", (name,))
            connection.execute("DELETE FROM beside WHERE name = ?", (name,))


def _insert_beside(connection: sqlite3.Connection, name: str, beside: Generation) -> None:
    connection.execute(
        "INSERT INTO beside VALUES (?, ?, ?, ?, ?)",
        (
            name,
            join_ders(beside.ca_certificates),
            join_ders(beside.ra_certificates),
            beside.certificate,
            beside.key_label,
        ),
    )


def _insert_key(connection: sqlite3.Connection, label: str, key: RSAPrivateKey) -> None:
    connection.execute("INSERT OR REPLACE INTO key_pair VALUES (?, ?)", (label, key_der(key)))


def _digest(key: RSAPrivateKey) -> bytes:
    return hashlib.sha256(public_key_info(key)).digest()


def _dump_pending(pending: PendingEnrollment) -> str:
    return json.dumps(
        [
            pending.transaction_id,
            pending.subject.hex(),
            pending.key_label,
            pending.renews,
            pending.fingerprint_md5,
            pending.fingerprint_sha1,
            pending.under_next,
        ]
    )


def _load_pending(text: str) -> PendingEnrollment:
    transaction_id, subject, *others = json.loads(text)
    return PendingEnrollment(transaction_id, bytes.fromhex(subject), *others)
