"""The certificate server's store (`pki.store.CaStore`) in SQLite, one file a server.

The same class on ":memory:" serves the simulated network. Durability is `runtime/sqlite.py`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import nullcontext
from datetime import UTC, datetime

from ikelab.errors import PkiError
from ikelab.pki.store import (
    MAX_REQUEST_ID,
    Authority,
    EnrollmentRequest,
    IssuedCertificate,
    IssuedCrl,
    NewFile,
    NewRequest,
    PasswordState,
    RequestKey,
    RequestKind,
    RequestState,
    StorageFile,
)
from ikelab.runtime.ca_schema import CA_SCHEMA
from ikelab.runtime.nvram import SqliteNvram
from ikelab.runtime.sqlite import Database, join_ders, key_der, load_key, split_ders

__all__ = ["SqliteCaStore", "SqliteNvram"]

_NO_SERIAL = 1 << 63  # an INTEGER of SQLite has 63 bits and a sign

_REQUEST = """
SELECT request.number, id, generation, transaction_id, request_digest, signer_key, renews, kind,
       state, request, subject, received, automatic, issued.certificate
FROM request LEFT JOIN issued ON request.serial = issued.serial
"""


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _queue_files(connection: sqlite3.Connection, files: Sequence[NewFile]) -> None:
    """Later content of a name replaces what waits: the storage sees each state once, in order."""
    for name, octets in files:
        connection.execute(
            "INSERT OR REPLACE INTO outbox (name, octets) VALUES (?, ?)", (name, octets)
        )


_RequestRow = tuple[
    int, int | None, int, str, bytes, bytes, int, str, str, bytes, bytes, int, int, bytes | None
]


def _request(row: _RequestRow) -> EnrollmentRequest:
    number, request_id, generation, transaction_id, digest, signer, renews = row[:7]
    kind, state, request, subject, received, automatic, certificate = row[7:]
    return EnrollmentRequest(
        number=number,
        request_id=request_id,
        key=RequestKey(generation, transaction_id, digest, signer, renews),
        kind=RequestKind[kind],
        state=RequestState(state),
        request=request,
        subject=subject,
        received=_moment(received),
        automatic=bool(automatic),
        certificate=certificate,
    )


class SqliteCaStore(Database):
    """A certificate server's memory (`pki.store.CaStore`). path: a file, or ":memory:"."""

    def __init__(self, path: str) -> None:
        super().__init__(path, CA_SCHEMA)
        self._generations: tuple[Authority, ...] | None = None

    def load_authority(self) -> Authority | None:
        """The newest generation."""
        row = self.connection.execute(
            "SELECT generation, key, certificate, chain FROM authority ORDER BY generation DESC"
        ).fetchone()
        return None if row is None else _authority(row)

    def save_authority(self, authority: Authority, files: Sequence[NewFile]) -> None:
        """Key and certificate together, or neither."""
        self._generations = None
        with self.transaction() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO former_certificate (generation, certificate)"
                " SELECT generation, certificate FROM authority"
                " WHERE generation = ? AND certificate != ?",
                (authority.generation, authority.certificate),
            )
            connection.execute(
                "INSERT OR REPLACE INTO authority VALUES (?, ?, ?, ?)", _authority_row(authority)
            )
            connection.execute(
                "DELETE FROM rollover WHERE generation <= ?", (authority.generation,)
            )
            _queue_files(connection, files)

    def generations(self) -> tuple[Authority, ...]:
        """Those that were in force, then the one that is to be. Read once: nobody else writes."""
        if self._generations is not None:
            return self._generations
        rows = self.connection.execute(
            "SELECT generation, key, certificate, chain FROM authority UNION ALL"
            " SELECT generation, key, certificate, chain FROM rollover ORDER BY generation"
        )
        self._generations = tuple(_authority(row) for row in rows)
        return self._generations

    def former_certificates(self, generation: int) -> tuple[bytes, ...]:
        """In the order they were replaced."""
        rows = self.connection.execute(
            "SELECT certificate FROM former_certificate WHERE generation = ? ORDER BY number",
            (generation,),
        )
        return tuple(row[0] for row in rows)

    def load_rollover(self) -> Authority | None:
        """There is one at most."""
        row = self.connection.execute(
            "SELECT generation, key, certificate, chain FROM rollover"
        ).fetchone()
        return None if row is None else _authority(row)

    def save_rollover(self, authority: Authority, files: Sequence[NewFile]) -> None:
        """Replaces."""
        self._generations = None
        with self.transaction() as connection:
            present = self.load_authority()
            if present is None or authority.generation <= present.generation:
                now = "none yet" if present is None else f"generation {present.generation}"
                raise PkiError(
                    "rollover-order", f"generation {authority.generation} cannot follow {now}"
                )
            connection.execute(
                "INSERT OR REPLACE INTO rollover VALUES (1, ?, ?, ?, ?)", _authority_row(authority)
            )
            _queue_files(connection, files)

    def reserve_serial(self) -> int:
        """One more than ever before."""
        with self.transaction() as connection:
            [row] = connection.execute("UPDATE serial SET last = last + 1 RETURNING last")
        serial: int = row[0]
        return serial

    def last_serial(self) -> int:
        """0 at the beginning."""
        last: int = self.connection.execute("SELECT last FROM serial").fetchone()[0]
        return last

    def raise_last_serial(self, serial: int) -> None:
        """Never lowers it."""
        with self.transaction() as connection:
            connection.execute("UPDATE serial SET last = max(last, ?)", (serial,))

    # --- requests -----------------------------------------------------------------------------

    def add_request(
        self, new: NewRequest, password: bytes | None = None
    ) -> EnrollmentRequest | None:
        """Password and row in one transaction: of two that race for it, one comes through.

        An automatic request is told to nobody before its serial number is reserved: the disk gets
        both at once.
        """
        with self.deferred() if new.automatic else nullcontext(), self.transaction() as connection:
            if password is not None:
                spent = connection.execute(
                    "UPDATE password SET open = 0 WHERE digest = ? AND open = 1 AND expires > ?",
                    (password, _seconds(new.received)),
                )
                if spent.rowcount != 1:
                    return None
            request_id = self._free_request_id(connection, new.automatic)
            key = new.key
            added = connection.execute(
                "INSERT INTO request (id, generation, transaction_id, request_digest, signer_key,"
                " renews, kind, state, request, subject, received, automatic)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, 'pending', ?, ?, ?, ?)",
                (
                    request_id,
                    key.generation,
                    key.transaction_id,
                    key.request_digest,
                    key.signer_key,
                    key.renews,
                    new.kind.name,
                    new.request,
                    new.subject,
                    _seconds(new.received),
                    int(new.automatic),
                ),
            )
        assert added.lastrowid is not None  # it was an INSERT
        return EnrollmentRequest(
            number=added.lastrowid,
            request_id=request_id,
            key=key,
            kind=new.kind,
            state=RequestState.PENDING,
            request=new.request,
            subject=new.subject,
            received=_moment(_seconds(new.received)),
            automatic=new.automatic,
            certificate=None,
        )

    def _free_request_id(self, connection: sqlite3.Connection, automatic: bool) -> int | None:
        """The next id that nobody holds, round the corner at 999.

        That of a request that was removed does not come back at once: whoever has seen the list
        before must not grant a stranger by it. When all are held, the oldest finished request
        gives up its own. Where all wait, a request that waits for nobody needs none: strangers who
        fill the list do not keep it out.
        """
        came = connection.execute(
            "SELECT seq FROM sqlite_sequence WHERE name = 'request'"
        ).fetchone()
        free = self._next_free_id(connection, came[0] if came else 0)
        if free is not None:
            return free
        finished = connection.execute(
            "SELECT number, id FROM request WHERE id IS NOT NULL"
            " AND state NOT IN ('pending', 'authorized')"
            " ORDER BY number LIMIT 1"
        ).fetchone()
        if finished is None and automatic:
            return None
        if finished is None:
            raise PkiError(
                "request-database-full",
                f"{MAX_REQUEST_ID} enrollment requests wait already; grant, reject or remove",
            )
        connection.execute("UPDATE request SET id = NULL WHERE number = ?", finished[:1])
        given_up: int = finished[1]
        return given_up

    @staticmethod
    def _next_free_id(connection: sqlite3.Connection, after: int) -> int | None:
        """None where all are held. Mostly the very next one is free, and nothing is counted."""
        candidate = after % MAX_REQUEST_ID + 1
        is_held = "SELECT 1 FROM request WHERE id = ?"
        if not connection.execute(is_held, (candidate,)).fetchone():
            return candidate
        [held] = connection.execute("SELECT count(*) FROM request WHERE id > 0").fetchone()
        while held < MAX_REQUEST_ID:
            candidate = candidate % MAX_REQUEST_ID + 1
            if not connection.execute(is_held, (candidate,)).fetchone():
                return candidate
        return None

    def find_request(self, key: RequestKey) -> EnrollmentRequest | None:
        """By all five parts of the key."""
        row = self.connection.execute(
            _REQUEST + "WHERE generation = ? AND transaction_id = ? AND request_digest = ?"
            " AND signer_key = ? AND renews = ?",
            (
                key.generation,
                key.transaction_id,
                key.request_digest,
                key.signer_key,
                key.renews,
            ),
        ).fetchone()
        return None if row is None else _request(row)

    def find_transaction(
        self, generation: int, transaction_id: str
    ) -> tuple[EnrollmentRequest, ...]:
        """The latest first."""
        rows = self.connection.execute(
            _REQUEST + "WHERE generation = ? AND transaction_id = ? ORDER BY request.number DESC",
            (generation, transaction_id),
        )
        return tuple(_request(row) for row in rows)

    def request(self, request_id: int) -> EnrollmentRequest | None:
        """By the id that is shown."""
        row = self.connection.execute(_REQUEST + "WHERE id = ?", (request_id,)).fetchone()
        return None if row is None else _request(row)

    def requests(self) -> tuple[EnrollmentRequest, ...]:
        """Those that have an id."""
        rows = self.connection.execute(_REQUEST + "WHERE id IS NOT NULL ORDER BY id")
        return tuple(_request(row) for row in rows)

    def oldest_pending(self) -> datetime | None:
        """None if nothing waits; a request without an id waits for nobody."""
        row = self.connection.execute(
            "SELECT min(received) FROM request WHERE state = 'pending' AND id IS NOT NULL"
        ).fetchone()
        return None if row[0] is None else _moment(row[0])

    def grant_request(
        self, number: int, issued: IssuedCertificate, files: Sequence[NewFile]
    ) -> bool:
        """Certificate, state and files together; the loser of a race changes nothing."""
        with self.transaction() as connection:
            row = connection.execute(
                "SELECT 1 FROM request WHERE number = ? AND state IN ('pending', 'authorized')",
                (number,),
            ).fetchone()
            if row is None:
                return False
            _insert_issued(connection, issued)
            connection.execute(
                "UPDATE request SET state = 'granted', serial = ? WHERE number = ?",
                (issued.serial, number),
            )
            _queue_files(connection, files)
        return True

    def authorize_request(self, number: int) -> bool:
        """Compare and swap."""
        return self._change(number, RequestState.PENDING, RequestState.AUTHORIZED)

    def authorized_requests(self) -> tuple[EnrollmentRequest, ...]:
        """By number, which is the order they came in."""
        rows = self.connection.execute(
            _REQUEST + "WHERE state = 'authorized' ORDER BY request.number"
        )
        return tuple(_request(row) for row in rows)

    def reject_request(self, number: int, state: RequestState = RequestState.PENDING) -> bool:
        """Compare and swap."""
        return self._change(number, state, RequestState.REJECTED)

    def _change(self, number: int, before: RequestState, after: RequestState) -> bool:
        with self.transaction() as connection:
            changed = connection.execute(
                "UPDATE request SET state = ? WHERE number = ? AND state = ?",
                (after.value, number, before.value),
            )
            return changed.rowcount == 1

    def remove_request(self, number: int) -> bool:
        """A granted row only loses its id: it is what answers a repeat with the same DER."""
        with self.transaction() as connection:
            hidden = connection.execute(
                "UPDATE request SET id = NULL WHERE number = ? AND state = 'granted'"
                " AND id IS NOT NULL",
                (number,),
            )
            gone = connection.execute(
                "DELETE FROM request WHERE number = ? AND state != 'granted'", (number,)
            )
            return hidden.rowcount + gone.rowcount == 1

    # --- certificates and CRLs ----------------------------------------------------------------

    def record_issued(self, issued: IssuedCertificate, files: Sequence[NewFile]) -> None:
        """A serial number can be recorded once only."""
        with self.transaction() as connection:
            _insert_issued(connection, issued)
            _queue_files(connection, files)

    def issued(self, serial: int) -> IssuedCertificate | None:
        """With its revocation, if there is one."""
        if not 0 <= serial < _NO_SERIAL:
            return None
        row = self.connection.execute(
            "SELECT issued.serial, certificate, at, reason FROM issued"
            " LEFT JOIN revoked ON issued.serial = revoked.serial WHERE issued.serial = ?",
            (serial,),
        ).fetchone()
        if row is None:
            return None
        at = None if row[2] is None else _moment(row[2])
        return IssuedCertificate(row[0], row[1], at, row[3])

    def revoke(self, serial: int, at: datetime, reason: int | None) -> bool:
        """The first revocation stands."""
        with self.transaction() as connection:
            added = connection.execute(
                "INSERT OR IGNORE INTO revoked (serial, at, reason) VALUES (?, ?, ?)",
                (serial, _seconds(at), reason),
            )
            return added.rowcount == 1

    def revocations(self, after: int = 0) -> tuple[tuple[int, datetime, int | None], ...]:
        """In the order of `revoke`."""
        rows = self.connection.execute(
            "SELECT serial, at, reason FROM revoked ORDER BY position LIMIT -1 OFFSET ?", (after,)
        )
        return tuple((serial, _moment(at), reason) for serial, at, reason in rows)

    def save_crl(self, crl: IssuedCrl, files: Sequence[NewFile]) -> None:
        """Older ones are dropped."""
        with self.transaction() as connection:
            last = self.load_crl()
            if last and not crl.follows(last):
                raise PkiError(
                    "crl-order",
                    f"CRL {crl.number} of {crl.this_update:%Y-%m-%d %H:%M:%S} cannot follow"
                    f" CRL {last.number} of {last.this_update:%Y-%m-%d %H:%M:%S}",
                )
            connection.execute("DELETE FROM crl")
            connection.execute(
                "INSERT INTO crl VALUES (?, ?, ?, ?)",
                (crl.number, _seconds(crl.this_update), _seconds(crl.next_update), crl.crl),
            )
            _queue_files(connection, files)

    def load_crl(self) -> IssuedCrl | None:
        """None before the first."""
        row = self.connection.execute("SELECT * FROM crl").fetchone()
        if row is None:
            return None
        return IssuedCrl(row[0], _moment(row[1]), _moment(row[2]), row[3])

    # --- one-time passwords -------------------------------------------------------------------

    def add_password(self, digest: bytes, expires: datetime) -> None:
        """The spent ones stay: using one again must be told from an ordinary challenge."""
        with self.transaction() as connection:
            connection.execute("UPDATE password SET open = 0")
            connection.execute(
                "INSERT OR REPLACE INTO password VALUES (?, ?, 1)", (digest, _seconds(expires))
            )

    def password_state(self, digest: bytes, at: datetime) -> PasswordState:
        """Open only before its end."""
        row = self.connection.execute(
            "SELECT open AND expires > ? FROM password WHERE digest = ?", (_seconds(at), digest)
        ).fetchone()
        if row is None:
            return PasswordState.UNKNOWN
        return PasswordState.OPEN if row[0] else PasswordState.SPENT

    def is_password_open(self, at: datetime) -> bool:
        """At most one is."""
        row = self.connection.execute(
            "SELECT 1 FROM password WHERE open = 1 AND expires > ?", (_seconds(at),)
        ).fetchone()
        return row is not None

    # --- outbox -------------------------------------------------------------------------------

    def queue_files(self, files: Sequence[NewFile]) -> None:
        """All of them, or none."""
        with self.transaction() as connection:
            _queue_files(connection, files)

    def outbox(self) -> tuple[StorageFile, ...]:
        """In the order they were queued."""
        rows = self.connection.execute(
            "SELECT position, name, octets FROM outbox ORDER BY position"
        )
        return tuple(StorageFile(*row) for row in rows)

    def acknowledge_file(self, order: int) -> None:
        """Newer content of the same name waits under its own order and stays.

        Where this is lost with the machine's power, the file is only written again.
        """
        with self.deferred(), self.transaction() as connection:
            connection.execute("DELETE FROM outbox WHERE position = ?", (order,))


def _authority_row(authority: Authority) -> tuple[int, bytes, bytes, str]:
    key = key_der(authority.key)
    return authority.generation, key, authority.certificate, join_ders(authority.chain)


def _authority(row: tuple[int, bytes, bytes, str]) -> Authority:
    return Authority(row[0], load_key(row[1]), row[2], split_ders(row[3]))


def _insert_issued(connection: sqlite3.Connection, issued: IssuedCertificate) -> None:
    row = (issued.serial, issued.certificate)
    connection.execute("INSERT INTO issued VALUES (?, ?)", row)
