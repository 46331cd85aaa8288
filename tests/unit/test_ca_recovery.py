"""What a certificate server takes over from its storage, and what it does not believe."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest

from ikelab.errors import PkiError
from ikelab.pki.cert_server import CertificateServer
from ikelab.pki.crl import load_crl
from ikelab.pki.pkcs12 import Identity, load_pkcs12
from ikelab.pki.recovery import StorageContents, latest_archive, wanted_files
from ikelab.pki.x509 import load_certificate
from ikelab.runtime.store import SqliteCaStore
from tests.pki_scene import Scene
from tests.scep_requester import Requester

PASSWORD = "cisco123"


def day(scene: Scene, **config: object) -> tuple[CertificateServer, StorageContents, Identity]:
    """A root that issued 2 and 3 and revoked 2: server, its storage, its archive."""
    wanted = {"grant": "auto", "database_level": "complete", "archive_password": PASSWORD}
    server = scene.server("root-ca", **(wanted | config))
    scene.start("root-ca")
    for index in (100, 101):
        Requester(scene, server, key_index=index, transaction_id=str(index)).enroll()
    written = {file.name: file.octets for file in server.store.outbox()}
    server.revoke(2, scene.now())
    written |= {file.name: file.octets for file in server.store.outbox()}
    identity = load_pkcs12(written["root-ca_00002.p12"], PASSWORD, legacy=scene.legacy)
    return server, StorageContents(tuple(written), written), identity


def new(scene: Scene, store: SqliteCaStore | None = None, **config: object) -> CertificateServer:
    """The server of that name on a new router, which has its configuration only."""
    wanted = {"grant": "auto", "database_level": "complete"}
    return scene.server("root-ca", store, **(wanted | config))


def without(contents: StorageContents, *names: str) -> StorageContents:
    left = {name: octets for name, octets in contents.files.items() if name not in names}
    return StorageContents(tuple(left), left)


@pytest.mark.parametrize("legacy", [False, True])
def test_certificates_revocations_and_numbers_come_back(legacy: bool) -> None:
    scene = Scene(legacy=legacy)
    old, contents, identity = day(scene)
    server = new(scene)
    scene.wall -= timedelta(seconds=30)  # the new router's clock is behind
    server.resume(contents, identity)
    scene.start("root-ca")
    status, before = server.status(), old.status()
    assert (status.fingerprint, status.last_serial) == (before.fingerprint, 3)
    for serial in (1, 2, 3):
        assert server.store.issued(serial) == old.store.issued(serial)
    was, now = old.store.load_crl(), server.store.load_crl()
    assert was is not None and now is not None
    assert now.this_update >= was.this_update and set(load_crl(now.crl).revoked) == {2}
    assert legacy or now.number == was.number + 1
    scene.wall += timedelta(seconds=60)
    again = Requester(scene, server, key_index=102, transaction_id="new").enroll()
    assert load_certificate(again.certificates[0]).serial == 4


@pytest.mark.parametrize("level", ["minimum", "names", "complete"])
def test_no_serial_number_is_given_twice_whatever_the_database_level(level: str) -> None:
    scene = Scene()
    _, contents, identity = day(scene, database_level=level)
    server = new(scene, database_level=level)
    server.resume(contents, identity)
    scene.start("root-ca")
    assert server.status().last_serial == 3


def test_a_storage_that_broke_off_before_its_serial_file_does_not_bring_a_number_back() -> None:
    scene = Scene()
    _, contents, identity = day(scene)
    files = {**contents.files, "root-ca.ser": b"db_version = 1\nlast_serial = 0x1"}
    server = new(scene)
    server.resume(StorageContents(contents.names, files), identity)
    assert server.status().last_serial == 3
    server = new(scene)
    server.resume(without(contents, "root-ca.ser", "2.cnm", "3.cnm", "3.crt"), identity)
    assert server.status().last_serial == 2


def test_a_database_that_is_older_than_its_storage_catches_up() -> None:
    """A backup was put back: the storage knows of what came after."""
    scene = Scene()
    old, contents, _ = day(scene)
    crl = old.store.load_crl()
    assert crl is not None
    store = SqliteCaStore(":memory:")
    authority = old.store.load_authority()
    assert authority is not None
    store.save_authority(authority, [])
    store.raise_last_serial(1)
    server = new(scene, store)
    server.resume(contents)
    assert store.last_serial() == 3
    assert [serial for serial, _, _ in store.revocations()] == [2]
    assert store.load_crl() == crl


def test_a_new_server_does_not_write_over_the_database_of_another() -> None:
    scene = Scene()
    _, contents, _ = day(scene)
    for left in (contents, without(contents, "root-ca_00002.p12")):
        with pytest.raises(PkiError, match="crypto pki import root-ca pkcs12") as raised:
            new(scene).resume(left)
        assert raised.value.reason == "storage-in-use"
    archive_only = StorageContents(("root-ca_00002.p12",))
    with pytest.raises(PkiError, match="another root-ca: root-ca_00002"):
        new(scene).resume(archive_only)
    new(scene).resume(StorageContents(("other_00002.p12", "notes.txt")))


def test_a_crl_that_is_not_ours_stops_the_server_that_knows_no_better() -> None:
    scene, other = Scene(), Scene()
    _, contents, identity = day(scene)
    _, foreign, _ = day(other, lifetime_ca_certificate=timedelta(days=9))
    server = new(scene)
    for octets in (b"", b"\x30\x00", foreign.files["root-ca.crl"][:-1]):
        files = {**contents.files, "root-ca.crl": octets}
        with pytest.raises(PkiError) as raised:
            server.resume(StorageContents(contents.names, files), identity)
        assert raised.value.reason == "crl-unreadable"
    server.resume(contents, identity)
    scene.start("root-ca")
    # It has a CRL of its own now, which the next replaces in the storage.
    server.resume(StorageContents(("root-ca.crl",), {"root-ca.crl": b"\x30\x00"}))


def test_certificates_that_this_ca_did_not_sign_are_not_taken_for_its_own() -> None:
    scene = Scene()
    _, contents, identity = day(scene)
    other = Scene()
    other.server("other", grant="auto", database_level="complete")
    asker = Requester(other, other.start("other"), key_index=103)
    foreign = asker.enroll().certificates[0]
    files = {**contents.files, "3.crt": foreign, "4.crt": b"\x30", "5.crt": b""}
    server = new(scene)
    server.resume(StorageContents((*contents.names, "4.crt", "5.crt"), files), identity)
    assert server.store.issued(3) is None and server.store.issued(4) is None
    assert server.status().last_serial == 5, "their numbers are taken all the same"


def test_an_identity_that_is_not_the_servers_is_refused() -> None:
    scene = Scene()
    _, contents, identity = day(scene)
    for config, why in (
        ({"issuer_name": "cn=somebody-else"}, "import its own archive"),
        ({"mode": "sub-cs"}, "not issued by a CA above"),
    ):
        with pytest.raises(PkiError, match=why):
            new(scene, **config).resume(contents, identity)
    router = Identity(identity.key, contents.files["3.crt"])
    with pytest.raises(PkiError, match="no CA's"):
        new(scene).resume(contents, router)


class Crash(BaseException):
    """The process ends here."""


class CrashingStore(SqliteCaStore):
    """Ends the process before its n-th transaction."""

    left = 0

    @contextmanager
    def transaction(self) -> Iterator[object]:  # type: ignore[override]
        if self.left == 0:
            raise Crash
        self.left -= 1
        with super().transaction() as connection:
            yield connection


def test_a_recovery_that_is_interrupted_is_begun_again() -> None:
    scene = Scene()
    _, contents, identity = day(scene)
    whole = SqliteCaStore(":memory:")
    new(scene, whole).resume(contents, identity)
    wanted = list(whole.connection.iterdump())
    for steps in range(20):
        store = CrashingStore(":memory:")
        store.left = steps
        try:
            new(scene, store).resume(contents, identity)
        except Crash:
            store.left = 1000
            new(scene, store).resume(contents, identity)
            assert list(store.connection.iterdump()) == wanted, steps
        else:
            break
    assert steps > 5


def test_the_generation_goes_on_after_the_latest_archive() -> None:
    scene = Scene()
    _, contents, identity = day(scene)
    server = new(scene)
    server.resume(StorageContents((*contents.names, "root-ca_00237.p12"), contents.files), identity)
    authority = server.store.load_authority()
    assert authority is not None and authority.generation == 236
    names = ("root-ca_00002.p12", "root-ca_00237.p12", "root-ca_99999.p12.tmp", "root-ca_1.p12")
    assert latest_archive("root-ca", names) == "root-ca_00237.p12"
    assert latest_archive("root.ca", names) is None


def test_only_a_new_server_reads_all_certificates() -> None:
    assert "crt" in wanted_files("ca", is_new=True)
    assert "crt" not in wanted_files("ca", is_new=False)
