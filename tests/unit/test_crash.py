"""Nothing is lost: the CA is killed at every step of issuing and of writing its storage.

After each death it starts again and finishes its day; then all that ever left the process, its
database and its storage must tell one story.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ikelab.pki.crl import load_crl, verify_crl
from ikelab.pki.issuer import serial_file
from ikelab.pki.pkcs12 import load_pkcs12
from ikelab.pki.scep import PkiStatus
from ikelab.pki.x509 import load_certificate
from ikelab.runtime.store import SqliteCaStore
from tests.crash_scene import (
    NAME,
    PASSWORD,
    SCEP,
    Died,
    Host,
    certificate_of,
    run_and_kill,
    storage_process,
)
from tests.pki_scene import pool_key
from tests.scep_requester import Requester

SHARDS = 8


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    root = tmp_path_factory.mktemp("storage")
    for index in (0, 1, 100, 101):
        pool_key(2048, index)  # before any fork, so that all processes have the same
    with storage_process(root) as url:
        yield root / "ca", url


def crash(storage: tuple[Path, str], tmp_path: Path, at: int) -> Died:
    """Kill at one step, look at what is there, start again, finish, compare everything."""
    home, url = storage
    folder, files = tmp_path / str(at), home / f"{tmp_path.name}-{at}"
    folder.mkdir()
    files.mkdir()
    host = Host(folder, f"{url}/{files.name}")
    died = run_and_kill(host, at)
    whole(files)
    seen = {path.name: path.read_bytes() for path in _in_place(files)}
    host = Host(folder, host.url, minutes=1, key_index=1)
    host.boot()
    try:
        finish(host, dict(died.said), seen, files)
    finally:
        host.close()
    return died


def _in_place(files: Path) -> list[Path]:
    """Files under their final names: the FTP server may still be at the others of a killed CA."""
    return [path for path in files.iterdir() if path.suffix != ".tmp"]


def whole(files: Path) -> None:
    """What has its final name is a whole file, whenever one looks."""
    for path in _in_place(files):
        match path.suffix:
            case ".crt":
                assert path.name == f"{load_certificate(path.read_bytes()).serial:X}.crt"
            case ".crl":
                load_crl(path.read_bytes())
            case ".ser":
                assert path.read_bytes().startswith(b"db_version = 1\nlast_serial = 0x")
            case ".p12":
                load_pkcs12(path.read_bytes(), PASSWORD, legacy=False)


def finish(host: Host, said: dict[str, bytes], seen: dict[str, bytes], files: Path) -> None:
    """The day goes on where it ended, and nothing that was said is taken back."""
    server, store = host.server, host.server.store
    assert isinstance(store, SqliteCaStore)
    assert store.settings() == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
    ca = host.ask(SCEP + "GetCACert")
    assert said.get("ca", ca) == ca, "the CA that was shown is the CA that is"
    waits = Requester(host.scene, server, key_index=100, transaction_id="A1")
    asked = said.get("ask waits") or waits.pkcs_req()
    if waits.read(host.ask(SCEP + "PKIOperation", asked)).status is PkiStatus.PENDING:
        assert "answer waits" not in said
        host.command(server.grant(None, host.now))
    first = certificate_of(waits, host.ask(SCEP + "PKIOperation", asked))
    assert said.get("answer waits", first) == first, "the same request, the same certificate"
    second = said.get("answer password", b"")
    if "ask password" in said:
        other = Requester(
            host.scene, server, "hostname=r2.example.com", key_index=101, transaction_id="B2"
        )
        again = certificate_of(other, host.ask(SCEP + "PKIOperation", said["ask password"]))
        assert second in (b"", again)
        second = again
    host.pump()
    host.command(server.revoke(load_certificate(first).serial, host.now))
    rows = dict(store.connection.execute("SELECT serial, certificate FROM issued").fetchall())
    for der in (first, *filter(None, (second,))):
        assert rows[load_certificate(der).serial] == der, "no certificate is lost"
    assert all(load_certificate(der).serial == serial for serial, der in rows.items())
    assert max(rows) <= store.last_serial()
    compare(host, rows, seen, {path.name: path.read_bytes() for path in files.iterdir()})


def compare(
    host: Host, rows: dict[int, bytes], seen: dict[str, bytes], files: dict[str, bytes]
) -> None:
    """The storage is what the database says; numbers seen in it before still mean the same."""
    server, store = host.server, host.server.store
    assert store.outbox() == ()
    issued = {f"{serial:X}.crt": der for serial, der in rows.items()}
    assert {name: octets for name, octets in files.items() if name.endswith(".crt")} == issued
    assert {name: octets for name, octets in seen.items() if name.endswith(".crt")}.items() <= (
        issued.items()
    )
    name, octets = serial_file(NAME, store.last_serial())
    assert files[name] == octets
    crl = load_crl(files[f"{NAME}.crl"])
    authority = store.load_authority()
    assert authority is not None
    verify_crl(crl, load_certificate(authority.certificate))
    kept = store.load_crl()
    assert kept is not None and crl.der == kept.crl and len(crl.revoked) == 1
    if f"{NAME}.crl" in seen:
        before = load_crl(seen[f"{NAME}.crl"])
        assert before.number is not None and crl.number is not None
        assert before.number < crl.number and before.this_update <= crl.this_update
    archive = load_pkcs12(files[f"{NAME}_00002.p12"], PASSWORD, legacy=False)
    assert archive.certificate == authority.certificate
    assert not [name for name in files if name.endswith(".tmp")]
    assert server.status().last_serial == store.last_serial()


@pytest.mark.parametrize("shard", range(SHARDS))
def test_the_ca_is_killed_at_every_step_and_nothing_is_lost(
    storage: tuple[Path, str], tmp_path: Path, shard: int
) -> None:
    steps, at = [], shard
    while not steps or steps[-1]:
        steps.append(crash(storage, tmp_path, at).step)
        at += SHARDS
    kinds = {step.split()[0] for step in steps if step}
    assert len(steps) > 20 and {"SQL", "FTP"} <= kinds
