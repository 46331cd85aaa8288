"""Revocation at the certificate server, and the CRLs that follow one another."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from ikelab.errors import PkiError
from ikelab.pki.ca_events import CertificateRevoked, CrlPublished
from ikelab.pki.crl import load_crl
from ikelab.runtime.store import SqliteCaStore
from tests.scep_requester import Requester, enabled, issued

DAY = timedelta(days=1)


def present_crl(asker: Requester) -> x509.CertificateRevocationList:
    crl = x509.load_der_x509_crl(asker.http("GET", "/root-ca.crl").body)
    key = x509.load_der_x509_certificate(asker.ca.der).public_key()
    assert crl.is_signature_valid(key)  # type: ignore[arg-type]
    return crl


def test_a_revoked_certificate_is_in_the_next_crl_at_once() -> None:
    asker = enabled(grant="auto")
    first = issued(asker.enroll())
    before = present_crl(asker)
    notices = asker.server.revoke(first.serial, asker.scene.now(), reason=1)
    assert isinstance(notices[0], CertificateRevoked)
    assert isinstance(notices[1], CrlPublished)
    after = present_crl(asker)
    assert before.get_revoked_certificate_by_serial_number(first.serial) is None
    entry = after.get_revoked_certificate_by_serial_number(first.serial)
    assert entry is not None
    assert entry.extensions.get_extension_for_class(x509.CRLReason).value.reason == (
        x509.ReasonFlags.key_compromise
    )


def test_revocations_of_before_and_after_a_restart_are_all_in_the_crl(tmp_path: Path) -> None:
    path = str(tmp_path / "ca.db")
    asker = enabled(store=SqliteCaStore(path), grant="auto")
    asker.server.store.raise_last_serial(20)
    for serial in (9, 4, 12):
        asker.server.revoke(serial, asker.scene.now(), reason=1)
    before = present_crl(asker)
    asker.server.store.close()  # type: ignore[attr-defined]
    asker.scene.server("root-ca", SqliteCaStore(path))
    asker.server = asker.scene.start("root-ca")
    asker.server.revoke(7, asker.scene.now())
    assert [entry.serial_number for entry in before] == [9, 4, 12]
    assert [entry.serial_number for entry in present_crl(asker)] == [9, 4, 12, 7]


def test_crls_of_version_1_are_written_on_request_and_numbers_go_on_afterwards() -> None:
    asker = enabled(grant="auto")
    asker.server.revoke(issued(asker.enroll()).serial, asker.scene.now(), reason=1)
    newest = load_crl(asker.server.store.load_crl().crl)
    assert (newest.version, newest.number) == (2, 2)
    for version, number in ((1, None), (2, 4)):
        asker.server.config = replace(asker.server.config, crl_version=version)
        asker.server.publish_crl(asker.scene.now())
        written = load_crl(asker.server.store.load_crl().crl)
        assert (written.version, written.number) == (version, number)
        assert written.revoked.keys() == newest.revoked.keys()


def test_revoking_twice_changes_nothing() -> None:
    asker = enabled(grant="auto")
    serial = issued(asker.enroll()).serial
    asker.server.revoke(serial, asker.scene.now())
    before = asker.server.store.load_crl()
    [notice] = asker.server.revoke(serial, asker.scene.now())
    assert notice == CertificateRevoked("root-ca", serial, again=True)
    assert asker.server.store.load_crl() == before


@pytest.mark.parametrize("serial", [0, 1, 3, 0xFFFFFFFF, -2, 1 << 70])
def test_only_certificates_given_away_can_be_revoked(serial: int) -> None:
    asker = enabled(grant="auto")
    asker.enroll()
    with pytest.raises(PkiError, match="unknown-serial"):
        asker.server.revoke(serial, asker.scene.now())


def number_of(crl: x509.CertificateRevocationList) -> int:
    return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def test_a_crl_is_followed_by_the_next_before_it_ends() -> None:
    asker = enabled(lifetime_crl=timedelta(hours=6))
    first = present_crl(asker)
    assert first.next_update_utc is not None
    assert first.next_update_utc - first.last_update_utc == timedelta(hours=6)
    for _ in range(3):
        asker.scene.advance(hours=6)
        crl = present_crl(asker)
        assert crl.next_update_utc is not None and crl.next_update_utc > asker.scene.wall
    assert number_of(present_crl(asker)) == number_of(first) + 3


def test_crl_numbers_and_dates_go_on_over_restarts_and_clocks_set_back(tmp_path: Path) -> None:
    path = str(tmp_path / "ca.db")
    asker = enabled(store=SqliteCaStore(path))
    crls = [present_crl(asker)]
    for step in (timedelta(hours=1), -2 * DAY, timedelta(0), timedelta(minutes=1)):
        asker.server.store.close()  # type: ignore[attr-defined]
        asker.scene.wall += step
        asker.scene.server("root-ca", SqliteCaStore(path))
        asker.server = asker.scene.start("root-ca")
        crls.append(present_crl(asker))
    numbers = [number_of(crl) for crl in crls]
    dates = [crl.last_update_utc for crl in crls]
    assert numbers == sorted(set(numbers))
    assert dates == sorted(dates)
    asker.server.store.close()  # type: ignore[attr-defined]


def test_clock_jumps_of_years_make_one_crl_each() -> None:
    asker = enabled(lifetime_ca_certificate=3650 * DAY)
    for step in (5 * 365, -5 * 365, 3):
        before = number_of(present_crl(asker))
        asker.scene.wall += step * DAY
        asker.scene.advance(seconds=1)
        assert number_of(present_crl(asker)) <= before + 1
