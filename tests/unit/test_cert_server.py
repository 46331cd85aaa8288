"""A certificate server's life: start, stop, crash and restart, its own certificate, its files."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography import x509

from ikelab.errors import LabError, PkiError
from ikelab.pki.ca_events import CrlPublished, ServerDisabled, ServerEnabled
from ikelab.pki.cert_server import TABLE, ServerInput, ServerState
from ikelab.pki.name import parse_dn
from ikelab.pki.recovery import StorageContents
from ikelab.pki.scep import FailInfo
from ikelab.pki.x509 import Certificate, fingerprint, load_certificate
from ikelab.runtime.store import SqliteCaStore
from tests.pki_scene import Scene
from tests.scep_requester import (
    SCEP_PATH,
    Requester,
    another,
    certificates,
    enabled,
    issued,
    refusal,
    why,
)

# --- crashes --------------------------------------------------------------------------------------


class Crash(BaseException):
    """The process ends here."""


class CrashingStore(SqliteCaStore):
    """Ends the process before or after its n-th transaction, from when it is armed."""

    steps: int | None = None
    after: bool = False

    @contextmanager
    def transaction(self) -> Iterator[object]:  # type: ignore[override]
        if self.steps == 0 and not self.after:
            raise Crash
        with super().transaction() as connection:
            yield connection
        if self.steps == 0:
            raise Crash
        if self.steps is not None:
            self.steps -= 1


class Outcome(NamedTuple):
    """What a crash at one place led to."""

    crashed: bool
    certificate: Certificate
    serials: list[int]


def crash_and_ask_again(path: Path, step: int, after: bool) -> Outcome:
    """The server dies at a step of an enrollment, starts again, and the client repeats itself."""
    store = CrashingStore(str(path))
    asker = enabled(store=store, grant="auto", database_level="complete")
    octets = asker.pkcs_req()
    store.steps, store.after = step, after
    crashed = False
    try:
        asker.post(octets)
    except Crash:
        crashed = True
    store.close()
    store = CrashingStore(str(path))
    asker.scene.server("root-ca", store, grant="auto", database_level="complete")
    asker.server = asker.scene.start("root-ca")
    first = issued(asker.send(octets))
    assert issued(asker.send(octets)) == first
    second = issued(another(asker).enroll())
    rows = store.connection.execute("SELECT serial, certificate FROM issued").fetchall()
    store.close()
    assert all(load_certificate(der).serial == serial for serial, der in rows)
    assert {first.serial, second.serial} < {serial for serial, _ in rows}
    return Outcome(crashed, first, sorted(serial for serial, _ in rows))


@pytest.mark.parametrize("after", [False, True])
def test_a_crash_at_any_step_of_an_enrollment_loses_no_certificate_and_no_serial(
    tmp_path: Path, after: bool
) -> None:
    outcomes = []
    for step in range(20):
        outcomes.append(crash_and_ask_again(tmp_path / f"{step}.db", step, after))
        if not outcomes[-1].crashed:
            break
    assert len(outcomes) == 4  # queued, serial reserved, recorded; then nothing is left to crash
    assert not outcomes[-1].crashed
    serials = [outcome.serials for outcome in outcomes]
    # A number reserved by the server that died is skipped, and never given to anybody else.
    assert [1, 3, 4] in serials
    assert [1, 2, 3] in serials


def test_a_serial_reserved_before_a_crash_is_skipped() -> None:
    asker = enabled(grant="auto")
    asker.server.store.reserve_serial()
    assert issued(asker.enroll()).serial == 3


def test_a_store_that_fails_gives_no_answer_at_all(tmp_path: Path) -> None:
    store = SqliteCaStore(str(tmp_path / "ca.db"))
    asker = enabled(store=store, grant="auto")
    octets = asker.pkcs_req()
    pages = store.connection.execute("PRAGMA page_count").fetchone()[0]
    store.connection.execute(f"PRAGMA max_page_count = {pages}")
    asker.post(octets)
    with pytest.raises(LabError, match="full"):
        for count in range(40):  # until the pages that were there are used up
            another(asker, transaction_id=f"T{count}").enroll()
    store.close()


# --- life of a server -----------------------------------------------------------------------------


def test_a_server_without_a_clock_starts_as_soon_as_it_has_one() -> None:
    scene = Scene(synced=False)
    asker = enabled(scene)
    assert asker.server.state is ServerState.CLOCK_NOT_SET
    assert asker.http("GET", f"{SCEP_PATH}?operation=GetCACert").status == 503
    scene.advance(seconds=30)
    assert asker.server.store.load_authority() is None
    scene.synced = True
    scene.advance(seconds=30)
    assert asker.server.state is ServerState.ENABLED


def test_a_server_that_is_shut_answers_nothing_and_comes_back_the_same() -> None:
    asker = enabled(grant="auto")
    octets = asker.pkcs_req()
    first = issued(asker.send(octets))
    assert asker.server.shut(asker.scene.now()) == [ServerDisabled("root-ca", "disabled")]
    assert asker.post(octets).status == 503
    assert asker.server.next_timer() is None
    assert ServerEnabled("root-ca") in asker.server.no_shut(asker.scene.now())
    assert issued(asker.send(octets)) == first


def test_a_restarted_server_keeps_key_certificate_and_serial_numbers(tmp_path: Path) -> None:
    path = str(tmp_path / "ca.db")
    asker = enabled(store=SqliteCaStore(path), grant="auto")
    before, first = asker.ca, issued(asker.enroll())
    asker.server.store.close()  # type: ignore[attr-defined]
    asker.scene.server("root-ca", SqliteCaStore(path), grant="auto")
    asker.server = asker.scene.start("root-ca")
    assert asker.ca == before
    assert issued(another(asker).enroll()).serial == first.serial + 1
    asker.server.store.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("state", ServerState)
def test_what_a_state_does_not_know_is_refused(state: ServerState) -> None:
    asker = enabled()
    asker.server.state = state
    for happened in set(ServerInput) - set(TABLE[state]):
        with pytest.raises(PkiError, match="server-state"):
            asker.server._input(happened, asker.scene.now())
        assert asker.server.state is state


def test_a_root_past_its_end_stops_issuing_and_publishing() -> None:
    asker = enabled(grant="auto", lifetime_ca_certificate=timedelta(hours=4))
    octets = asker.pkcs_req()
    asker.scene.advance(hours=5)
    assert asker.server.state is ServerState.EXPIRED
    assert asker.post(octets).status == 503
    assert asker.server.next_timer() is None
    published = len(asker.scene.told(CrlPublished))
    asker.scene.advance(days=1)
    assert len(asker.scene.told(CrlPublished)) == published


def test_a_ca_that_has_ended_signs_nothing_even_if_its_timer_is_late() -> None:
    asker = enabled(grant="auto", lifetime_ca_certificate=timedelta(hours=4))
    asker.scene.wall += timedelta(hours=5)
    assert refusal(asker.enroll()) is FailInfo.BAD_REQUEST
    assert why(asker) == "ca-expired"
    assert asker.server.store.last_serial() == 1


def test_a_sub_ca_waits_for_its_certificate_and_then_serves_its_chain() -> None:
    asker = enabled(grant="auto")
    sub_ca = asker.scene.server("ra-subca", mode="sub-cs", database_level="complete")
    asker.scene.start("ra-subca")
    assert sub_ca.state is ServerState.REQUEST_PENDING
    assert sub_ca.state.value == "disabled, CA Certificate request is pending"
    status = sub_ca.status()
    assert (status.fingerprint, status.last_serial, status.crl_next_update) == (None, 0, None)
    with pytest.raises(PkiError):
        sub_ca.publish_crl(asker.scene.now())
    certificate = issued(asker.enroll(subject=parse_dn("cn=ra-subca"), ca=True))
    notices = sub_ca.install_certificate(
        certificate.der, [asker.ca.der], asker.key, asker.scene.now()
    )
    assert ServerEnabled("ra-subca") in notices
    below = Requester(asker.scene, sub_ca, key_index=105)
    out = below.http("GET", f"{SCEP_PATH}?operation=GetCACert")
    assert out.content_type == "application/x-x509-ca-ra-cert"
    assert set(certificates(out)) == {certificate, asker.ca}
    below.enroll()
    sub_ca.grant(None, asker.scene.now())
    assert issued(below.poll()).serial == 2  # the guide's sub-CAs start after 0x1
    assert sub_ca.status().upper_fingerprint == fingerprint(asker.ca.der, "md5")


def test_a_certificate_that_is_no_ca_or_for_another_key_is_not_installed() -> None:
    asker = enabled(grant="auto")
    sub_ca = asker.scene.server("ra-subca", mode="sub-cs")
    asker.scene.start("ra-subca")
    router = issued(asker.enroll())
    below = another(asker)
    authority = issued(below.enroll(subject=parse_dn("cn=ra-subca"), ca=True))
    for certificate, key in ((router, asker.key), (authority, asker.key)):
        with pytest.raises(PkiError, match="not-a-ca"):
            sub_ca.install_certificate(certificate.der, [], key, asker.scene.now())
    assert sub_ca.state is ServerState.REQUEST_PENDING


# --- storage --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("level", "names"),
    [
        ("minimum", ["root-ca.crl", "root-ca.ser"]),
        ("names", ["1.cnm", "root-ca.crl", "2.cnm", "root-ca.ser"]),
        ("complete", ["1.crt", "1.cnm", "root-ca.crl", "2.crt", "2.cnm", "root-ca.ser"]),
    ],
)
def test_the_database_level_says_which_files_are_written(level: str, names: list[str]) -> None:
    asker = enabled(grant="auto", database_level=level)
    certificate = issued(asker.enroll())
    files = {file.name: file.octets for file in asker.server.store.outbox()}
    assert list(files) == names
    assert files["root-ca.ser"] == b"db_version = 1\nlast_serial = 0x2"
    assert len(files["root-ca.ser"]) == 32  # "[OK - 32/4096 bytes]"
    if level == "complete":
        assert files["2.crt"] == certificate.der
    if level != "minimum":
        assert files["2.cnm"].startswith(b"subjectname_str = hostname=r1.example.com\n")


@pytest.mark.parametrize(
    ("octets", "names", "last"),
    [
        (b"db_version = 1\nlast_serial = 0x3", [], 3),
        (b"version = 1\r\nlast_serial = 0x3\r\n", ["2.crt"], 3),
        (b"db_version = 1\nlast_serial = 0x3", ["3.crt", "4.crt", "root-ca.crl"], 4),
        (b"db_version = 1\nlast_serial = 0x1", ["ED.cnm", "x.crt", "12.crt.bak"], 0xED),
        (None, ["1D0.crt"], 0x1D0),
        (None, [], 1),
    ],
)
def test_a_restored_server_goes_on_after_the_highest_number_the_storage_knows(
    octets: bytes | None, names: list[str], last: int
) -> None:
    asker = enabled(grant="auto")
    files = {} if octets is None else {"root-ca.ser": octets}
    asker.server.resume(StorageContents(tuple(names), files))
    assert asker.server.status().last_serial == last
    assert issued(asker.enroll()).serial == last + 1


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"db_version = 1\nlast_seri",
        b"db_version = 1\nlast_serial = 0x",
        b"last_serial = three",
    ],
)
def test_a_broken_serial_file_stops_the_server(octets: bytes) -> None:
    asker = enabled()
    with pytest.raises(PkiError, match="There was a problem reading the file 'root-ca.ser'"):
        asker.server.resume(StorageContents(("9.crt",), {"root-ca.ser": octets}))
    assert asker.server.lose_storage(asker.scene.now()) == [
        ServerDisabled("root-ca", "disabled, Storage not accessible")
    ]
    assert asker.http("GET", "/root-ca.crl").status == 503


@pytest.mark.interop
@pytest.mark.parametrize("legacy", [False, True])
def test_the_archive_opens_with_the_password_only(
    legacy: bool, tmp_path: Path, need: Callable[[str], str]
) -> None:
    asker = enabled(Scene(legacy=legacy), archive_password="cisco123")
    [file] = [file for file in asker.server.store.outbox() if file.name.endswith(".p12")]
    assert file.name == "root-ca_00002.p12"
    (tmp_path / "ca.p12").write_bytes(file.octets)

    def open_with(password: str) -> subprocess.CompletedProcess[str]:
        command = [need("openssl"), "pkcs12", "-in", "ca.p12", "-nodes"]
        command += ["-passin", f"pass:{password}", *(["-legacy"] if legacy else [])]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    text = open_with("cisco123").stdout
    assert "PRIVATE KEY" in text
    assert x509.load_pem_x509_certificate(text[text.index("-----BEGIN CERT") :].encode())
    assert open_with("cisco124").returncode != 0
