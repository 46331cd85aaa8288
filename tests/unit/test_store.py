"""The certificate server's SQLite store: durable, private, one owner, every race has one winner."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from ikelab.errors import LabError, PkiError
from ikelab.pki.store import (
    MAX_REQUEST_ID,
    Authority,
    CaStore,
    IssuedCertificate,
    IssuedCrl,
    NewRequest,
    Nvram,
    PasswordState,
    RequestKey,
    RequestKind,
    RequestState,
)
from ikelab.runtime.store import SqliteCaStore, SqliteNvram

NOON = datetime(2009, 4, 2, 12, 0, 0, tzinfo=UTC)


@pytest.fixture
def store() -> Iterator[SqliteCaStore]:
    store = SqliteCaStore(":memory:")
    yield store
    store.close()


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 1024)


def new_request(transaction_id: str = "A1", digest: bytes = b"d", **changes: object) -> NewRequest:
    values: dict[str, object] = {
        "key": RequestKey(1, transaction_id, digest, b"signer"),
        "kind": RequestKind.ROUTER,
        "request": b"pkcs10",
        "subject": b"name",
        "received": NOON,
        "automatic": False,
    }
    return NewRequest(**(values | changes))  # type: ignore[arg-type]


def test_both_stores_are_what_the_engines_ask_for(store: SqliteCaStore) -> None:
    ca: CaStore = store
    nvram: Nvram = SqliteNvram(":memory:")
    assert ca.last_serial() == 0
    assert nvram.key_labels() == ()
    nvram.close()  # type: ignore[attr-defined]


def test_durability_is_read_back_from_the_live_connection(tmp_path: Path) -> None:
    store = SqliteCaStore(str(tmp_path / "ca.db"))
    assert store.settings() == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
    store.close()


def test_all_files_of_the_storage_are_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        store = SqliteCaStore(str(tmp_path / "ca.db"))
        store.reserve_serial()
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
        store.close()
    finally:
        os.umask(before)
    assert "ca.db" in modes
    assert set(modes.values()) == {0o600}


def test_a_file_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    path = tmp_path / "ca.db"
    path.touch(0o644)
    SqliteCaStore(str(path)).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_link_in_place_of_the_storage_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").touch()
    (tmp_path / "ca.db").symlink_to(tmp_path / "real")
    with pytest.raises(LabError):
        SqliteCaStore(str(tmp_path / "ca.db"))


def test_a_second_server_on_the_same_storage_is_refused(tmp_path: Path) -> None:
    first = SqliteCaStore(str(tmp_path / "ca.db"))
    with pytest.raises(LabError, match="locked"):
        SqliteCaStore(str(tmp_path / "ca.db"))
    first.close()
    SqliteCaStore(str(tmp_path / "ca.db")).close()


def test_a_file_that_is_no_database_is_refused_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "ca.db").write_bytes(b"last_serial = 0x3" * 100)
    with pytest.raises(LabError, match=r"ca\.db"):
        SqliteCaStore(str(tmp_path / "ca.db"))


def test_a_missing_directory_is_refused_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="directory"):
        SqliteCaStore(str(tmp_path / "none" / "ca.db"))


def test_serial_numbers_survive_kill_9_and_are_never_given_twice(tmp_path: Path) -> None:
    path = str(tmp_path / "ca.db")
    read, write = os.pipe()
    child = os.fork()
    if child == 0:  # the server: reserves, says so, and is killed before it signs
        store = SqliteCaStore(path)
        os.write(write, bytes([store.reserve_serial(), store.reserve_serial()]))
        signal.pause()
        os._exit(1)
    given = os.read(read, 2)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(read)
    os.close(write)
    store = SqliteCaStore(path)
    assert given == b"\x01\x02"
    assert store.reserve_serial() == 3
    store.close()


def test_a_restore_never_lowers_the_serial_number(store: SqliteCaStore) -> None:
    store.raise_last_serial(237)
    store.raise_last_serial(4)
    assert store.reserve_serial() == 238


def test_a_certificate_recorded_for_a_serial_cannot_be_replaced(store: SqliteCaStore) -> None:
    store.record_issued(IssuedCertificate(1, b"one"), ())
    with pytest.raises(sqlite3.IntegrityError):
        store.record_issued(IssuedCertificate(1, b"two"), [("1.crt", b"two")])
    assert store.issued(1) == IssuedCertificate(1, b"one")
    assert store.outbox() == ()


def test_serials_beyond_the_database_are_unknown(store: SqliteCaStore) -> None:
    assert store.issued(1 << 63) is None
    assert store.issued(-1) is None


def test_a_request_is_found_by_every_part_of_its_key(store: SqliteCaStore) -> None:
    added = store.add_request(new_request())
    key = RequestKey(1, "A1", b"d", b"signer")
    assert store.find_request(key) == added
    for other in (
        RequestKey(2, "A1", b"d", b"signer"),
        RequestKey(1, "A2", b"d", b"signer"),
        RequestKey(1, "A1", b"e", b"signer"),
        RequestKey(1, "A1", b"d", b"other"),
        RequestKey(1, "A1", b"d", b"signer", renews=7),
    ):
        assert store.find_request(other) is None


def test_transactions_are_found_the_latest_first(store: SqliteCaStore) -> None:
    first = store.add_request(new_request(digest=b"1"))
    second = store.add_request(new_request(digest=b"2"))
    assert store.find_transaction(1, "A1") == (second, first)
    assert store.find_transaction(2, "A1") == ()


def test_of_two_grants_the_second_is_told_and_changes_nothing(store: SqliteCaStore) -> None:
    added = store.add_request(new_request())
    assert added is not None
    assert store.grant_request(added.number, IssuedCertificate(1, b"one"), [("1.crt", b"one")])
    assert not store.grant_request(added.number, IssuedCertificate(2, b"two"), [("2.crt", b"two")])
    found = store.find_request(added.key)
    assert found is not None
    assert (found.state, found.certificate) == (RequestState.GRANTED, b"one")
    assert store.issued(2) is None
    assert [file.name for file in store.outbox()] == ["1.crt"]


def test_a_rejected_request_cannot_be_granted_nor_a_granted_one_rejected(
    store: SqliteCaStore,
) -> None:
    rejected = store.add_request(new_request("A1"))
    granted = store.add_request(new_request("A2"))
    assert rejected is not None and granted is not None
    assert store.reject_request(rejected.number)
    assert store.grant_request(granted.number, IssuedCertificate(1, b"one"), ())
    assert not store.grant_request(rejected.number, IssuedCertificate(2, b"two"), ())
    assert not store.reject_request(granted.number)
    assert [request.state for request in store.requests()] == [
        RequestState.REJECTED,
        RequestState.GRANTED,
    ]


def test_removing_a_granted_request_keeps_the_answer_to_its_repeat(store: SqliteCaStore) -> None:
    added = store.add_request(new_request())
    assert added is not None
    store.grant_request(added.number, IssuedCertificate(1, b"one"), ())
    assert store.remove_request(added.number)
    assert not store.remove_request(added.number)
    assert store.requests() == ()
    found = store.find_request(added.key)
    assert found is not None and found.certificate == b"one"


def test_removing_a_pending_request_forgets_it(store: SqliteCaStore) -> None:
    added = store.add_request(new_request())
    assert added is not None
    assert store.remove_request(added.number)
    assert store.find_request(added.key) is None
    assert not store.grant_request(added.number, IssuedCertificate(1, b"one"), ())


def test_request_ids_run_from_1_to_999_and_then_take_the_place_of_the_oldest_finished(
    store: SqliteCaStore,
) -> None:
    numbers = []
    for count in range(1, MAX_REQUEST_ID + 1):
        added = store.add_request(new_request(f"T{count}"))
        assert added is not None and added.request_id == count
        numbers.append(added.number)
    with pytest.raises(PkiError, match="999"):
        store.add_request(new_request("full"))
    store.reject_request(numbers[6])
    store.reject_request(numbers[2])
    reused = store.add_request(new_request("again"))
    assert reused is not None and reused.request_id == 3
    assert store.request(3) == reused


def test_a_request_that_waits_for_nobody_needs_no_id_when_all_are_held(
    store: SqliteCaStore,
) -> None:
    for count in range(1, MAX_REQUEST_ID + 1):
        store.add_request(new_request(f"T{count}"))
    added = store.add_request(new_request("invited", automatic=True))
    assert added is not None and added.request_id is None
    assert store.find_request(added.key) == added
    assert store.grant_request(added.number, IssuedCertificate(1, b"one"), ())
    assert len(store.requests()) == MAX_REQUEST_ID


def test_only_listed_requests_have_an_end_to_wait_for(store: SqliteCaStore) -> None:
    for count in range(1, MAX_REQUEST_ID + 1):
        store.add_request(new_request(f"T{count}", received=NOON + timedelta(hours=1)))
    store.add_request(new_request("invited", automatic=True))
    assert store.oldest_pending() == NOON + timedelta(hours=1)


def test_a_removed_id_is_not_given_to_the_next_request_at_once(store: SqliteCaStore) -> None:
    for name in ("T1", "T2"):
        store.add_request(new_request(name))
    first = store.request(1)
    assert first is not None
    store.remove_request(first.number)
    third = store.add_request(new_request("T3"))
    assert third is not None and third.request_id == 3


def test_a_one_time_password_lets_one_of_two_requests_in(store: SqliteCaStore) -> None:
    store.add_password(b"hash", NOON + timedelta(minutes=60))
    assert store.password_state(b"hash", NOON) is PasswordState.OPEN
    assert store.add_request(new_request("T1"), b"hash") is not None
    assert store.add_request(new_request("T2"), b"hash") is None
    assert store.password_state(b"hash", NOON) is PasswordState.SPENT
    assert not store.is_password_open(NOON)
    assert len(store.requests()) == 1


def test_a_one_time_password_is_not_spent_by_a_request_that_is_not_taken(
    store: SqliteCaStore,
) -> None:
    for count in range(MAX_REQUEST_ID):
        store.add_request(new_request(f"T{count}"))
    store.add_password(b"hash", NOON + timedelta(minutes=60))
    with pytest.raises(PkiError):
        store.add_request(new_request("full"), b"hash")
    assert store.is_password_open(NOON)


def test_a_one_time_password_ends_with_its_minutes_and_with_the_next(store: SqliteCaStore) -> None:
    end = NOON + timedelta(minutes=60)
    store.add_password(b"first", end)
    assert store.password_state(b"first", end) is PasswordState.SPENT
    store.add_password(b"second", end)
    assert store.password_state(b"first", NOON) is PasswordState.SPENT
    assert store.password_state(b"second", NOON) is PasswordState.OPEN
    assert store.password_state(b"third", NOON) is PasswordState.UNKNOWN


def test_the_first_revocation_of_a_serial_stands(store: SqliteCaStore) -> None:
    store.record_issued(IssuedCertificate(4, b"four"), ())
    assert store.revoke(4, NOON, None)
    assert not store.revoke(4, NOON + timedelta(days=1), 1)
    assert store.revoke(9, NOON, 1)  # never recorded, as after a restore: still revoked
    assert store.revocations() == ((4, NOON, None), (9, NOON, 1))
    assert store.issued(4) == IssuedCertificate(4, b"four", NOON, None)


def test_revocations_are_told_in_the_order_they_came_also_from_some_point_on(
    store: SqliteCaStore,
) -> None:
    for serial in (9, 4, 7):
        store.revoke(serial, NOON, None)
    assert [serial for serial, _, _ in store.revocations()] == [9, 4, 7]
    assert store.revocations(after=2) == ((7, NOON, None),)
    assert store.revocations(after=3) == ()


def test_crl_numbers_rise_and_dates_do_not_fall(store: SqliteCaStore) -> None:
    later = NOON + timedelta(hours=6)
    store.save_crl(IssuedCrl(2, NOON, later, b"two"), [("ca.crl", b"two")])
    with pytest.raises(PkiError, match="crl-order"):
        store.save_crl(IssuedCrl(2, later, later, b"x"), ())
    with pytest.raises(PkiError, match="crl-order"):
        store.save_crl(IssuedCrl(3, NOON - timedelta(seconds=1), later, b"x"), ())
    assert store.load_crl() == IssuedCrl(2, NOON, later, b"two")
    store.save_crl(IssuedCrl(3, NOON, later, b"three"), [("ca.crl", b"three")])
    assert store.load_crl() == IssuedCrl(3, NOON, later, b"three")


def test_a_crl_of_a_clock_that_was_years_ahead_is_followed_by_one_of_today(
    store: SqliteCaStore,
) -> None:
    ahead, life = NOON + timedelta(days=4000), timedelta(hours=6)
    store.save_crl(IssuedCrl(2, ahead, ahead + life, b"two"), ())
    with pytest.raises(PkiError, match="crl-order"):
        store.save_crl(IssuedCrl(3, ahead - life, ahead, b"x"), ())
    with pytest.raises(PkiError, match="crl-order"):
        store.save_crl(IssuedCrl(2, NOON, NOON + life, b"x"), ())
    store.save_crl(IssuedCrl(3, NOON, NOON + life, b"three"), ())
    assert store.load_crl() == IssuedCrl(3, NOON, NOON + life, b"three")


def test_the_outbox_keeps_order_and_the_last_content_of_a_name(store: SqliteCaStore) -> None:
    store.record_issued(IssuedCertificate(1, b"1"), [("1.crt", b"1"), ("ca.ser", b"old")])
    store.record_issued(IssuedCertificate(2, b"2"), [("2.crt", b"2"), ("ca.ser", b"new")])
    files = store.outbox()
    assert [(file.name, file.octets) for file in files] == [
        ("1.crt", b"1"),
        ("2.crt", b"2"),
        ("ca.ser", b"new"),
    ]
    store.acknowledge_file(files[0].order)
    store.acknowledge_file(files[0].order)
    assert store.outbox() == files[1:]


def test_acknowledging_old_content_does_not_lose_the_new(store: SqliteCaStore) -> None:
    store.record_issued(IssuedCertificate(1, b"1"), [("ca.ser", b"old")])
    being_written = store.outbox()[0]
    store.record_issued(IssuedCertificate(2, b"2"), [("ca.ser", b"new")])
    store.acknowledge_file(being_written.order)
    assert [file.octets for file in store.outbox()] == [b"new"]


def test_the_ca_key_comes_back_after_a_restart_and_stays_out_of_the_repr(
    tmp_path: Path, key: rsa.RSAPrivateKey
) -> None:
    path = str(tmp_path / "ca.db")
    store = SqliteCaStore(path)
    assert store.load_authority() is None
    store.save_authority(Authority(1, key, b"certificate", (b"root",)), [("ca.crt", b"x")])
    store.close()
    store = SqliteCaStore(path)
    loaded = store.load_authority()
    store.close()
    assert loaded is not None
    assert loaded.key.private_numbers() == key.private_numbers()
    assert (loaded.generation, loaded.certificate, loaded.chain) == (1, b"certificate", (b"root",))
    assert "key" not in repr(loaded)


def test_the_newest_generation_is_the_present_authority(
    store: SqliteCaStore, key: rsa.RSAPrivateKey
) -> None:
    store.save_authority(Authority(2, key, b"second"), ())
    store.save_authority(Authority(1, key, b"first"), ())
    loaded = store.load_authority()
    assert loaded is not None and loaded.certificate == b"second"


def test_a_full_disk_is_an_error_for_people_and_nothing_is_half_done(
    store: SqliteCaStore,
) -> None:
    pages = store.connection.execute("PRAGMA page_count").fetchone()[0]
    store.connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(LabError, match="full"):
        store.record_issued(IssuedCertificate(1, bytes(100_000)), [("1.crt", b"1")])
    assert store.issued(1) is None
    assert store.outbox() == ()
    assert store.reserve_serial() == 1


def commits(store: SqliteCaStore) -> list[str]:
    """From here on, how each commit is made: "FULL" waits for the disk, "NORMAL" does not."""
    made: list[str] = []
    setting = ["FULL"]

    def note(statement: str) -> None:
        if statement.startswith("PRAGMA synchronous="):
            setting[0] = statement.partition("=")[2]
        if statement == "COMMIT":
            made.append(setting[0])

    store.connection.set_trace_callback(note)
    return made


def test_every_transaction_alone_waits_for_the_disk(store: SqliteCaStore) -> None:
    made = commits(store)
    store.reserve_serial()
    store.add_request(new_request())
    store.queue_files([("1.crt", b"one")])
    assert made == ["FULL"] * 3


def test_a_request_that_waits_for_nobody_is_on_the_disk_with_its_serial_number(
    store: SqliteCaStore,
) -> None:
    made = commits(store)
    store.add_request(new_request(automatic=True))
    store.reserve_serial()
    assert made == ["NORMAL", "FULL"]


def test_an_acknowledged_file_is_not_waited_for(store: SqliteCaStore) -> None:
    store.queue_files([("1.crt", b"one")])
    made = commits(store)
    store.acknowledge_file(store.outbox()[0].order)
    assert made == ["NORMAL"]
    assert store.outbox() == ()


def test_a_group_waits_for_the_disk_once_and_at_its_end(store: SqliteCaStore) -> None:
    made = commits(store)
    with store.group():
        for name in ("T1", "T2"):
            store.add_request(new_request(name, automatic=True))
            store.reserve_serial()
    assert made == ["NORMAL"] * 4 + ["FULL"]
    assert store.settings()["synchronous"] == 2
    store.reserve_serial()
    assert made[-1] == "FULL"


def test_a_group_that_wrote_nothing_does_not_wait(store: SqliteCaStore) -> None:
    made = commits(store)
    with store.group():
        store.load_crl()
    assert made == []


def test_a_group_that_fails_leaves_the_store_durable(store: SqliteCaStore) -> None:
    made = commits(store)
    with pytest.raises(ZeroDivisionError), store.group():
        store.reserve_serial()
        raise ZeroDivisionError
    assert store.settings()["synchronous"] == 2
    with store.group():
        pass
    assert made == ["NORMAL", "FULL"]  # what the failed one left behind is flushed by the next


def test_a_killed_process_loses_nothing_of_a_group(tmp_path: Path) -> None:
    path = tmp_path / "ca.db"
    pid = os.fork()
    if pid == 0:
        store = SqliteCaStore(str(path))
        with store.group():
            store.reserve_serial()
            os.kill(os.getpid(), 9)
    os.waitpid(pid, 0)
    again = SqliteCaStore(str(path))
    assert again.last_serial() == 1
    again.close()
