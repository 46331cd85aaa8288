"""A trustpoint across the generations of its CA: what it holds and when it changes over."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ikelab.errors import PkiError
from ikelab.pki import scep
from ikelab.pki.algorithms import public_key_info
from ikelab.pki.enrollment_events import Authenticate, Enroll, RenewalStarted, TimerFired
from ikelab.pki.events import (
    CertificateInstalled,
    EnrollmentFailed,
    GenerationSwapped,
    NextCaHeld,
    NextCaMissing,
    NextCertificateHeld,
)
from ikelab.pki.trustpoint import State, Trustpoint
from ikelab.pki.x509 import fingerprint, load_certificate
from ikelab.runtime.store import SqliteNvram
from tests.pki_scene import Scene
from tests.unit.succession_scene import (
    ca_of,
    go_to,
    manual_until_the_renewal,
    own,
    present,
    sleep_until,
    with_root,
    with_router,
)

DAY = timedelta(days=1)
EST, EDT = timedelta(hours=5), timedelta(hours=4)


def operations(scene: Scene) -> list[str]:
    return [request.url.partition("operation=")[2].split("&")[0] for request in scene.requests]


# --- renew dates ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "behind", "percent", "renew", "renew_behind"),
    [
        ("16:43:30 Mar 19 2009", EST, 70, "16:43:30 Jul 23 2009", EST),
        ("10:58:07 Mar 20 2009", EST, 70, "10:58:07 Jul 24 2009", EST),
        ("10:42:35 Mar 27 2009", EST, 70, "10:42:35 Jul 31 2009", EST),
        ("12:39:56 Mar 27 2009", EDT, 70, "12:39:56 Jul 31 2009", EDT),
        ("10:44:55 Mar 6 2009", EST, 80, "11:44:55 Jul 28 2009", EDT),
        ("10:16:36 Apr 5 2009", EDT, 70, "10:16:36 Aug 9 2009", EDT),
    ],
)
def test_the_renew_dates_of_the_guide(
    start: str, behind: timedelta, percent: int, renew: str, renew_behind: timedelta
) -> None:
    form = "%H:%M:%S %b %d %Y"
    begin = datetime.strptime(start, form).replace(tzinfo=UTC) + behind
    scene = Scene(wall=begin)
    scene.server("root-ca", grant="auto", lifetime_certificate=180 * DAY)
    scene.start("root-ca")
    point = with_router(scene, auto_enroll=percent)
    assert own(point).not_before == begin
    date = datetime.strptime(renew, form).replace(tzinfo=UTC) + renew_behind
    assert point.renew_date == date
    go_to(scene, date - timedelta(seconds=1))
    assert scene.told(RenewalStarted) == []
    scene.advance(seconds=1)
    assert scene.told(RenewalStarted) == [RenewalStarted("ra")]
    assert own(point).not_before == date


# --- the next CA ----------------------------------------------------------------------------------


def test_a_certificate_that_ends_with_its_ca_is_followed_by_one_of_the_next_ca() -> None:
    scene = with_root()
    point = with_router(scene)
    end = present(scene).not_after
    scene.advance(days=348)
    before = own(point)
    assert before.not_after == end  # cut: renewing once more would bring nothing
    assert "GetNextCACert" not in operations(scene)
    scene.advance(days=3)
    shadow = scene.servers["root-ca"].certificates[1]
    assert shadow is not None
    assert own(point) == before and point.following is not None
    assert point.following.ca_certificates == (shadow,)
    [held] = scene.told(NextCertificateHeld)
    assert held.start == end
    assert set(point.anchors) == {present(scene).der, shadow}  # it holds both (V03)
    go_to(scene, end - timedelta(seconds=1))
    assert own(point) == before
    scene.advance(seconds=1)
    after = own(point)
    assert after.serial == held.serial and after.not_before == end
    assert ca_of(point).der == shadow and after.is_signed_by(ca_of(point).public_key)
    assert after.public_key_info != before.public_key_info
    credential = point.credential
    assert credential is not None and credential.key_label == "spoke-keys"
    key = point.key("spoke-keys")
    assert key is not None and public_key_info(key) == after.public_key_info
    ca_serial = load_certificate(shadow).serial
    assert scene.told(GenerationSwapped) == [GenerationSwapped("ra", after.serial, ca_serial)]
    assert scene.told(EnrollmentFailed) == []


def test_five_generations_pass_without_a_word_of_anybody() -> None:
    scene = with_root()
    point = with_router(scene)
    for year in range(1, 6):
        go_to(scene, datetime(2009, 2, 12, 15, 0, 1, tzinfo=UTC) + year * 365 * DAY)
        assert ca_of(point) == present(scene)
        assert own(point).not_before <= scene.wall <= own(point).not_after
        assert own(point).is_signed_by(present(scene).public_key)
    assert scene.told(EnrollmentFailed) == []
    assert len(scene.told(GenerationSwapped)) == 5


def test_two_trustpoints_that_share_a_key_pair_go_over_each_with_its_own() -> None:
    scene = with_root()
    scene.server(
        "du",
        grant="auto",
        lifetime_ca_certificate=365 * DAY,
        lifetime_certificate=180 * DAY,
        lifetime_crl=timedelta(days=14),
        auto_rollover=30 * DAY,
    )
    scene.start("du")
    nvram = SqliteNvram(":memory:")
    points = {
        ca: with_router(scene, name, ca, nvram=nvram, rsakeypair="hub-keys")
        for name, ca in (("ra", "root-ca"), ("du", "du"))
    }
    for _ in range(3):
        for _ in range(73):
            scene.advance(days=5)
            for ca, point in points.items():
                credential = point.credential
                assert credential is not None
                key = nvram.load_key(credential.key_label)
                assert key is not None and public_key_info(key) == own(point).public_key_info, ca
        assert [ca_of(point) for point in points.values()] == [present(scene, ca) for ca in points]


def test_a_key_that_is_kept_is_certified_by_the_next_ca_too() -> None:
    scene = with_root()
    point = with_router(scene, regenerate=False)
    key = own(point).public_key_info
    scene.advance(days=400)
    assert own(point).public_key_info == key and ca_of(point) == present(scene)


def test_a_router_restarted_between_the_two_goes_on_with_both() -> None:
    scene = with_root()
    nvram = SqliteNvram(":memory:")
    point = with_router(scene, nvram=nvram)
    scene.advance(days=355)
    held = point.following
    config = {"fingerprint": point.config.fingerprint, "auto_enroll": 80, "regenerate": True}
    again = scene.trustpoint("ra", "root-ca", nvram=nvram, **config)
    assert again.following == held and again.state is State.ENROLLED
    go_to(scene, present(scene).not_after)
    assert held is not None and again.credential is not None
    assert again.credential.certificate == held.certificate


def test_a_next_ca_that_is_late_is_asked_for_again() -> None:
    scene = with_root(auto_rollover=2 * DAY)
    point = with_router(scene)
    scene.advance(days=352)
    assert point.following is None and point.state is State.ENROLLED
    missing = scene.told(NextCaMissing)
    assert missing and 86400 < missing[0].retry < 2 * 86400
    assert "404" in missing[0].reason or "no other" in missing[0].reason
    go_to(scene, present(scene).not_after)
    assert ca_of(point) == present(scene) and own(point).not_before <= scene.wall


def test_a_router_that_enrolls_while_there_is_a_next_ca_holds_both_at_once() -> None:
    scene = with_root()
    scene.advance(days=340)
    point = with_router(scene, auto_enroll=None)
    shadow = scene.servers["root-ca"].certificates[1]
    assert shadow is not None
    scene.advance(seconds=1)
    assert scene.told(NextCaHeld)[0].serial == load_certificate(shadow).serial
    assert set(point.anchors) == {present(scene).der, shadow}


def test_a_router_without_auto_enroll_goes_over_to_the_next_ca_and_must_be_enrolled() -> None:
    scene = with_root()
    scene.advance(days=340)
    point = with_router(scene, auto_enroll=None)
    go_to(scene, present(scene).not_after)
    assert point.state is State.CA_AUTHENTICATED and point.credential is None
    assert ca_of(point) == present(scene)
    scene.send("ra", Enroll())
    assert own(point).is_signed_by(present(scene).public_key)


def test_a_ca_without_a_next_one_is_left_when_it_ends_and_accepted_anew_by_command() -> None:
    scene = with_root(auto_rollover=None)
    point = with_router(scene)
    with pytest.raises(PkiError, match="trustpoint-state"):
        scene.send("ra", Authenticate())
    assert not point.wants_ca(scene.now())
    scene.advance(days=366)
    assert point.state is State.FAILED and point.next_timer() is None
    assert point.wants_ca(scene.now())
    assert "does not hold" in scene.told(EnrollmentFailed)[-1].reason
    asked = len(scene.requests)
    scene.advance(days=30)
    assert len(scene.requests) == asked  # nobody to ask
    scene.server("root-ca", grant="auto")
    scene.start("root-ca")
    point.config = replace(point.config, fingerprint=fingerprint(present(scene).der, "sha256"))
    scene.send("ra", Authenticate())
    scene.advance(seconds=1)
    assert own(point).is_signed_by(present(scene).public_key)


def test_begin_anew_is_for_a_ca_that_has_ended_only() -> None:
    scene = with_root(grant="manual")
    point = with_pending(scene)
    scene.servers["root-ca"].reject(None)
    scene.advance(seconds=61)
    assert point.state is State.FAILED
    with pytest.raises(PkiError, match="has-ca"):
        scene.send("ra", Authenticate())


def with_pending(scene: Scene) -> Trustpoint:
    point = scene.trustpoint("ra", "root-ca", fingerprint=fingerprint(present(scene).der, "sha256"))
    scene.enroll("ra")
    return point


def test_a_rollover_request_waits_for_a_person_and_the_old_certificate_stays() -> None:
    scene, point = manual_until_the_renewal()
    before = own(point)
    assert point.waiting is not None and own(point) == before
    scene.ca_notices += scene.servers["root-ca"].grant(None, scene.now())
    scene.advance(minutes=30)
    assert own(point) == before and point.following is not None
    assert point.following.certificate is not None


def test_a_rollover_request_that_is_granted_after_the_swap_is_installed_at_once() -> None:
    scene, point = manual_until_the_renewal()
    sleep_until(scene, present(scene).not_after - timedelta(minutes=2))
    scene.advance(minutes=4)
    assert point.credential is None and ca_of(point) == present(scene)
    scene.ca_notices += scene.servers["root-ca"].grant(None, scene.now())
    scene.advance(minutes=30)
    assert own(point).is_signed_by(present(scene).public_key)
    assert scene.told(CertificateInstalled)[-1].serial == own(point).serial


def test_a_ca_that_is_down_across_its_swap_gets_the_same_request_again() -> None:
    scene = with_root()
    point = with_router(scene, retry_count=200)
    scene.advance(days=349, hours=13)
    scene.tamper = lambda request, reply: (
        replace(reply, status=500) if "PKIOperation" in request.url else reply
    )
    scene.advance(hours=2)
    assert point.state is State.REQUEST_RETRY
    sleep_until(scene, present(scene).not_after - timedelta(minutes=2))
    scene.advance(minutes=4)
    assert point.state is State.REQUEST_RETRY and ca_of(point) == present(scene)
    scene.tamper = lambda request, reply: reply
    scene.advance(hours=4)  # refused, since it is signed by what has ended; then a new one
    assert own(point).is_signed_by(present(scene).public_key)


@pytest.mark.parametrize("forged", [b"", b"\x30\x00"])
def test_an_answer_that_is_no_next_ca_changes_nothing(forged: bytes) -> None:
    scene = with_root()
    point = with_router(scene)
    scene.tamper = lambda request, reply: (
        replace(reply, body=forged) if "GetNextCACert" in request.url else reply
    )
    scene.advance(days=355)
    assert point.following is None and ca_of(point) == present(scene)
    assert scene.told(NextCaMissing)


def test_the_present_ca_announced_as_its_own_next_one_is_not_taken() -> None:
    scene = with_root()
    point = with_router(scene)
    authority = scene.servers["root-ca"].store.load_authority()
    assert authority is not None
    again = scep.build_next_ca([authority.certificate], present(scene), authority.key, "sha256")
    scene.tamper = lambda request, reply: (
        replace(reply, body=again) if "GetNextCACert" in request.url else reply
    )
    scene.advance(days=355)
    assert point.following is None


# --- expired --------------------------------------------------------------------------------------


def test_an_expired_certificate_is_not_renewed_but_enrolled_anew() -> None:
    scene = with_root()
    point = with_router(scene)
    before = own(point)
    scene.down.add("root-ca")
    scene.advance(days=144, hours=1)
    sleep_until(scene, before.not_after + DAY)
    scene.down.clear()
    scene.advance(minutes=30)
    [row] = [
        row for row in scene.servers["root-ca"].requests() if row.certificate == own(point).der
    ]
    assert row.key.renews == 0  # signed by its own key, as a stranger's
    assert own(point).serial > before.serial


# --- clocks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("years", [1, 3, 100])
def test_a_router_whose_clock_jumps_years_forth_and_back_finds_its_certificate_again(
    years: int,
) -> None:
    scene = with_root()
    point = with_router(scene)
    scene.advance(days=355)
    before, held = own(point), point.following
    scene.down.add("root-ca")
    for _ in range(10):
        scene.wall += years * 365 * DAY
        scene.send("ra", TimerFired())
        assert ca_of(point) != present(scene)
        scene.wall -= years * 365 * DAY
        scene.send("ra", TimerFired())
        scene.elapsed += 3600
        scene.send("ra", TimerFired())
        assert own(point) == before and point.following == held
    scene.down.clear()
    go_to(scene, present(scene).not_after)
    assert ca_of(point) == present(scene)


def test_a_router_that_went_over_with_a_wrong_clock_comes_back_with_its_certificate() -> None:
    scene = with_root()
    scene.advance(days=340)
    point = with_router(scene, auto_enroll=None)
    scene.advance(seconds=1)
    before = own(point)
    scene.wall += 60 * DAY
    scene.send("ra", TimerFired())
    assert point.credential is None and point.state is State.CA_AUTHENTICATED
    scene.wall -= 60 * DAY
    scene.send("ra", TimerFired())
    assert own(point) == before and point.state is State.ENROLLED


def test_a_router_that_gave_up_in_the_future_goes_on_in_the_present() -> None:
    scene = with_root()
    point = with_router(scene)
    before = own(point)
    scene.wall += 50 * 365 * DAY
    scene.send("ra", TimerFired())
    assert point.state is State.FAILED
    asked = len(scene.requests)
    scene.wall -= 50 * 365 * DAY
    scene.send("ra", TimerFired())
    assert point.state is State.ENROLLED and own(point) == before
    assert len(scene.requests) == asked


# --- restarts -------------------------------------------------------------------------------------


def test_nvram_keeps_what_is_held_beside(tmp_path: Path) -> None:
    path = str(tmp_path / "nvram.db")
    scene = with_root()
    nvram = SqliteNvram(path)
    point = with_router(scene, nvram=nvram)
    scene.advance(days=355)
    held = point.following
    nvram.close()
    again = SqliteNvram(path)
    stored = again.load_trustpoint("ra")
    assert stored is not None and stored.beside == held
    assert again.key_users("spoke-keys#") == ("ra",)
    again.delete_trustpoint("ra")
    assert again.load_trustpoint("ra") is None and again.key_users("spoke-keys#") == ()
    again.close()
