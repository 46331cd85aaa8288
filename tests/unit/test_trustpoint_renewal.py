"""A certificate is renewed before its end, or given up."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from ikelab.pki.enrollment_events import Enroll, RenewalStarted
from ikelab.pki.events import EnrollmentFailed, NextCaMissing
from ikelab.runtime.store import SqliteNvram
from tests.unit.trustpoint_scene import ca_fingerprint, certificate_of, with_root, with_router

DAY = timedelta(days=1)


def test_the_renew_date_is_start_plus_percentage_of_life_to_the_second() -> None:
    scene = with_root(lifetime_certificate=timedelta(days=180))
    trustpoint = with_router(scene, auto_enroll=70)
    scene.advance(seconds=1)
    start = certificate_of(trustpoint).not_valid_before_utc
    assert trustpoint.renew_date == start + 126 * DAY


def test_a_renewal_is_signed_by_the_old_certificate_and_gives_a_new_one() -> None:
    scene = with_root()
    trustpoint = with_router(scene, auto_enroll=70)
    scene.advance(seconds=1)
    first = certificate_of(trustpoint)
    scene.advance(days=256)
    second = certificate_of(trustpoint)
    assert scene.told(RenewalStarted) == [RenewalStarted("ra")]
    assert second.serial_number == first.serial_number + 1
    assert second.public_key() == first.public_key()
    assert second.not_valid_before_utc > first.not_valid_before_utc
    [row] = [row for row in scene.servers["root-ca"].requests() if row.key.renews]
    assert row.key.renews == first.serial_number


def test_regenerate_makes_a_new_key_that_takes_the_place_of_the_old() -> None:
    scene = with_root()
    nvram = SqliteNvram(":memory:")
    trustpoint = with_router(
        scene, nvram=nvram, auto_enroll=70, regenerate=True, rsakeypair="spoke-keys"
    )
    scene.advance(seconds=1)
    first = certificate_of(trustpoint)
    scene.advance(days=256)
    second = certificate_of(trustpoint)
    assert second.public_key() != first.public_key()
    assert nvram.key_labels() == ("spoke-keys",)
    key = nvram.load_key("spoke-keys")
    assert key is not None and key.public_key() == second.public_key()


def test_regenerating_a_key_two_trustpoints_share_leaves_the_other_its_own() -> None:
    scene = with_root()
    scene.server("du", grant="auto")
    scene.start("du")
    nvram = SqliteNvram(":memory:")
    for name, ca in (("ra", "root-ca"), ("du", "du")):
        scene.trustpoint(
            name,
            ca,
            nvram=nvram,
            fingerprint=ca_fingerprint(scene.servers[ca]),
            rsakeypair="hub-keys",
            auto_enroll=70 if name == "ra" else None,
            regenerate=True,
        )
        scene.enroll(name)
    scene.advance(days=256)
    for name in ("ra", "du"):
        trustpoint = scene.trustpoints[name]
        assert trustpoint.credential is not None
        key = nvram.load_key(trustpoint.credential.key_label)
        assert key is not None
        assert key.public_key() == certificate_of(trustpoint).public_key()
    assert certificate_of(scene.trustpoints["ra"]).public_key() != (
        certificate_of(scene.trustpoints["du"]).public_key()
    )


def test_a_renewal_that_fails_leaves_the_old_certificate_in_use_and_is_tried_again() -> None:
    scene = with_root()
    trustpoint = with_router(scene, auto_enroll=70, retry_count=1)
    scene.advance(seconds=1)
    first = trustpoint.credential
    scene.advance(days=255)
    scene.down.add("root-ca")
    scene.advance(days=1)
    assert scene.told(EnrollmentFailed)
    assert trustpoint.credential == first
    scene.down.clear()
    scene.advance(minutes=5)
    assert trustpoint.credential != first


def test_a_renewal_nobody_grants_stays_one_request() -> None:
    scene = with_root()
    with_router(scene, auto_enroll=70, regenerate=True)
    scene.advance(seconds=1)
    root = scene.servers["root-ca"]
    root.config = replace(root.config, grant="manual")
    scene.advance(days=257)
    assert len(scene.told(EnrollmentFailed)) > 10
    assert len(root.requests()) == 2
    assert len(scene.keys.asked) == 3  # CA, router, router again


def test_an_expired_certificate_cannot_renew_so_the_router_enrolls_anew() -> None:
    scene = with_root()
    trustpoint = with_router(scene, auto_enroll=70)
    scene.advance(seconds=1)
    scene.wall += 366 * DAY  # switched off for a year
    scene.advance(seconds=1)
    assert not scene.told(RenewalStarted)
    assert certificate_of(trustpoint).serial_number == 3
    assert [row.key.renews for row in scene.servers["root-ca"].requests()] == [0, 0]


def test_a_revoked_router_gets_in_again_by_enrolling_anew_not_by_renewing() -> None:
    scene = with_root()
    trustpoint = with_router(scene, auto_enroll=70)
    scene.advance(seconds=1)
    root = scene.servers["root-ca"]
    root.revoke(2, scene.now())
    scene.advance(days=256)
    assert certificate_of(trustpoint).serial_number == 2
    assert scene.told(EnrollmentFailed)
    scene.send("ra", Enroll())
    renewed = certificate_of(trustpoint).serial_number
    assert renewed > 2
    assert root.store.issued(renewed).revoked_at is None  # type: ignore[union-attr]


def test_a_certificate_that_ends_with_its_ca_is_not_renewed_without_a_next_one() -> None:
    scene = with_root(lifetime_ca_certificate=timedelta(hours=4))
    with_router(scene, auto_enroll=70)
    scene.advance(hours=4)
    assert scene.told(RenewalStarted) == []
    assert 3 <= len(scene.told(NextCaMissing)) <= 12
