"""Power fails in the middle of a write: the log is cut at every frame and inside every frame.

What is read back must be exactly what one of the transactions left, the last one whose frames are
all there. The layout of the log is SQLite's own (https://www.sqlite.org/walformat.html).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from ikelab.pki.x509 import load_certificate
from ikelab.runtime.store import SqliteCaStore
from tests.pki_scene import Scene
from tests.scep_requester import Requester

_WAL_HEADER, _FRAME_HEADER = 32, 24


class RecordingStore(SqliteCaStore):
    """Remembers the whole database as each transaction leaves it."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.connection.execute("PRAGMA wal_autocheckpoint=0")  # the log keeps everything
        self.states = [dump(self)]

    @contextmanager
    def transaction(self) -> Iterator[object]:  # type: ignore[override]
        with super().transaction() as connection:
            yield connection
        self.states.append(dump(self))


def dump(store: SqliteCaStore) -> str:
    return "\n".join(store.connection.iterdump())


@dataclass
class Recorded:
    """A day of a CA. states: after each transaction. log: with frames of `frame` octets."""

    database: bytes
    log: bytes
    frame: int
    states: list[str]

    @property
    def frames(self) -> int:
        return (len(self.log) - _WAL_HEADER) // self.frame

    def commits(self, frames: int) -> int:
        """Transactions that are whole in the first frames: a last frame has the file's size."""
        starts = (_WAL_HEADER + number * self.frame for number in range(frames))
        return sum(self.log[start + 4 : start + 8] != bytes(4) for start in starts)

    def expected(self, frames: int) -> str:
        """The first transaction is the schema's, which opening makes again where it is lost."""
        return self.states[max(self.commits(frames) - 1, 0)]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    path = tmp_path_factory.mktemp("wal") / "ca.db"
    store, scene = RecordingStore(str(path)), Scene()
    server = scene.server("root-ca", store, database_level="complete", archive_password="cisco123")
    scene.start("root-ca")
    first = Requester(scene, server)
    first.enroll()
    server.grant(1, scene.now())
    serial = load_certificate(first.poll().certificates[0]).serial
    second = Requester(scene, server, key_index=101, transaction_id="C3D4")
    second.enroll(challenge=server.generate_password(scene.now()))
    server.revoke(serial, scene.now())
    for file in store.outbox():
        store.acknowledge_file(file.order)
    page = store.connection.execute("PRAGMA page_size").fetchone()[0]
    log = path.with_name("ca.db-wal").read_bytes()  # the process is still there: nothing is closed
    database = path.read_bytes()
    store.close()
    return Recorded(database, log, _FRAME_HEADER + page, store.states)


def reopened(folder: Path, database: bytes, log: bytes) -> str:
    (folder / "ca.db").write_bytes(database)
    (folder / "ca.db-wal").write_bytes(log)
    store = SqliteCaStore(str(folder / "ca.db"))
    try:
        assert store.connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return dump(store)
    finally:
        store.close()
        (folder / "ca.db-wal").unlink(missing_ok=True)


def test_the_recording_holds_a_commit_for_each_state(recorded: Recorded) -> None:
    assert recorded.commits(recorded.frames) == len(recorded.states) > 15
    assert recorded.frames > 40
    assert len(set(recorded.states)) == len(recorded.states)


@pytest.mark.parametrize(
    "torn", [0, 1, _FRAME_HEADER, _FRAME_HEADER + 512, -1], ids=lambda octets: f"{octets:+d} octets"
)
def test_a_log_cut_at_or_inside_any_frame_gives_the_last_whole_transaction(
    recorded: Recorded, tmp_path: Path, torn: int
) -> None:
    for frames in range(recorded.frames):
        # -1: the next frame lacks its last octet.
        end = _WAL_HEADER + frames * recorded.frame + torn % recorded.frame
        found = reopened(tmp_path, recorded.database, recorded.log[:end])
        assert found == recorded.expected(frames), f"{frames} frames and {torn} octets"


def test_a_frame_with_a_wrong_octet_ends_the_log_before_it(
    recorded: Recorded, tmp_path: Path
) -> None:
    for frames in range(recorded.frames):
        log = bytearray(recorded.log)
        log[_WAL_HEADER + frames * recorded.frame + _FRAME_HEADER + 7] ^= 1
        found = reopened(tmp_path, recorded.database, bytes(log))
        assert found == recorded.expected(frames), f"frame {frames}"


@pytest.mark.parametrize("octets", [0, 16, _WAL_HEADER])
def test_a_log_without_a_frame_is_an_empty_store(
    recorded: Recorded, tmp_path: Path, octets: int
) -> None:
    assert reopened(tmp_path, recorded.database, recorded.log[:octets]) == recorded.states[0]


def test_the_whole_log_gives_the_whole_day(recorded: Recorded, tmp_path: Path) -> None:
    assert reopened(tmp_path, recorded.database, recorded.log) == recorded.states[-1]
