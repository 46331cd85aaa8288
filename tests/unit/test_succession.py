"""A trustpoint across the generations of its CA: what it holds and when it changes over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from ikelab.errors import PkiError
from ikelab.pki import scep
from ikelab.pki.algorithms import public_key_info
from ikelab.pki.ca_events import HttpIn
from ikelab.pki.cert_server import CertificateServer
from ikelab.pki.config import CertServerConfig
from ikelab.pki.enrollment_events import Authenticate, Enroll, RenewalStarted, TimerFired
from ikelab.pki.events import (
    CaRenewed,
    CertificateInstalled,
    EnrollmentFailed,
    GenerationSwapped,
    HttpReply,
    HttpRequest,
    NextCaHeld,
    NextCaMissing,
    NextCertificateHeld,
)
from ikelab.pki.issuer import sign_ca_certificate
from ikelab.pki.trustpoint import State, Trustpoint
from ikelab.pki.trustpoint_state import SUCCESSION, Input
from ikelab.pki.x509 import Certificate, build_certificate, fingerprint, load_certificate
from ikelab.runtime.store import SqliteNvram
from tests.pki_scene import Scene, pool_key

DAY = timedelta(days=1)
EST, EDT = timedelta(hours=5), timedelta(hours=4)


def with_root(**config: object) -> Scene:
    """A CA of a year with a month of overlap, certificates of half a year."""
    scene = Scene()
    wanted: dict[str, object] = {
        "grant": "auto",
        "lifetime_ca_certificate": 365 * DAY,
        "lifetime_certificate": 180 * DAY,
        "lifetime_crl": timedelta(days=14),
        "auto_rollover": 30 * DAY,
    }
    scene.server("root-ca", **(wanted | config))
    scene.start("root-ca")
    return scene


def with_router(
    scene: Scene, name: str = "ra", ca: str = "root-ca", **config: object
) -> Trustpoint:
    der = scene.servers[ca].certificates[0]
    assert der is not None
    wanted: dict[str, object] = {
        "fingerprint": fingerprint(der, "sha256"),
        "auto_enroll": 80,
        "regenerate": True,
        "rsakeypair": "spoke-keys",
    }
    made = scene.trustpoint(name, ca, **(wanted | config))
    if made.config.auto_enroll is None:
        scene.enroll(name)
    else:
        scene.advance(seconds=1)
    assert made.credential is not None
    return made


def own(point: Trustpoint) -> Certificate:
    assert point.credential is not None
    return load_certificate(point.credential.certificate)


def ca_of(point: Trustpoint) -> Certificate:
    return load_certificate(point.anchors[0])


def present(scene: Scene, name: str = "root-ca") -> Certificate:
    der = scene.servers[name].certificates[0]
    assert der is not None
    return load_certificate(der)


def operations(scene: Scene) -> list[str]:
    return [request.url.partition("operation=")[2].split("&")[0] for request in scene.requests]


def sleep_until(scene: Scene, moment: datetime) -> None:
    """A time in which nothing is done, as by a router that is busy elsewhere."""
    scene._step((moment - scene.wall).total_seconds())


def go_to(scene: Scene, moment: datetime) -> None:
    scene.advance(seconds=(moment - scene.wall).total_seconds())


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


def manual_until_the_renewal() -> tuple[Scene, Trustpoint]:
    """Enrolled with a CA that grants by hand, and a rollover request that waits there."""
    scene = with_root()
    point = with_router(scene, auto_enroll=95)
    scene.advance(days=363)
    server = scene.servers["root-ca"]
    server.config = replace(server.config, grant="manual")
    scene.advance(hours=21)
    return scene, point


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


# --- the same CA key with a new certificate -------------------------------------------------------


def with_sub_ca(scene: Scene, life: timedelta) -> CertificateServer:
    server = scene.server("ra-subca", mode="sub-cs", grant="auto", lifetime_certificate=60 * DAY)
    scene.start("ra-subca")
    certify(scene, server, 8, life)
    return server


def certify(scene: Scene, server: CertificateServer, serial: int, life: timedelta) -> None:
    """The root signs a certificate for the sub-CA's one key."""
    root = scene.servers["root-ca"].store.load_authority()
    assert root is not None
    key = pool_key(2048, 60)
    start = scene.wall.replace(microsecond=0)
    der = build_certificate(
        serial=serial,
        issuer=present(scene).subject,
        subject=load_certificate(self_named(key)).subject,
        public_key_info=public_key_info(key),
        not_before=start,
        not_after=start + life,
        issuer_key=root.key,
        digest="sha256",
        ca=True,
        key_usage=frozenset({"keyCertSign", "cRLSign", "digitalSignature"}),
        crl_url=None,
        authority_key_id=present(scene).subject_key_id,
    )
    scene.ca_notices += server.install_certificate(der, [root.certificate], key, scene.now())


def self_named(key: RSAPrivateKey) -> bytes:
    at = datetime(2009, 1, 1, tzinfo=UTC)
    return sign_ca_certificate(CertServerConfig("ra-subca"), key, 1, at)


def test_a_router_takes_the_new_certificate_of_the_same_ca_key() -> None:
    scene = with_root(lifetime_ca_certificate=1825 * DAY)
    server = with_sub_ca(scene, 100 * DAY)
    point = with_router(scene, ca="ra-subca")
    old = ca_of(point)
    scene.advance(days=40)
    certify(scene, server, 9, 300 * DAY)
    scene.advance(days=50)  # the renewal outlives the CA certificate that is held
    assert [item.serial for item in scene.told(CaRenewed)] == [9]
    assert ca_of(point) == present(scene, "ra-subca") != old
    assert point.credential is not None
    assert point.credential.chain[1] == present(scene).der
    scene.advance(days=60)
    assert own(point).not_before > old.not_after
    assert scene.told(EnrollmentFailed) == []


def test_a_new_ca_certificate_from_a_stranger_above_is_not_taken() -> None:
    scene = with_root(lifetime_ca_certificate=1825 * DAY)
    server = with_sub_ca(scene, 100 * DAY)
    point = with_router(scene, ca="ra-subca")
    before = point.anchors
    stranger = Scene()
    stranger.keys.asked.append(("", 0))
    stranger.keys._next[2048] = 60
    stranger.server("root-ca", lifetime_ca_certificate=1825 * DAY)
    stranger.start("root-ca")
    stranger.wall = scene.wall + 40 * DAY
    scene.advance(days=40)
    forged = stranger.server("ra-subca", mode="sub-cs")
    stranger.start("ra-subca")
    certify(stranger, forged, 9, 300 * DAY)
    certify(scene, server, 9, 300 * DAY)
    body = forged.answer(HttpIn("GET", "/?operation=GetCACert"), stranger.now()).body

    def impostor(request: HttpRequest, reply: HttpReply) -> HttpReply:
        return replace(reply, body=body) if "GetCACert" in request.url else reply

    scene.tamper = impostor
    scene.advance(days=50)
    assert point.anchors == before and scene.told(CaRenewed) == []


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


# --- the table ------------------------------------------------------------------------------------


def _failed_when_only_the_next_ca_can_help() -> None:
    """Somebody types `enroll` for a certificate that ends with its CA, and is refused."""
    scene = with_root(auto_rollover=None)
    point = with_router(scene)
    scene.advance(days=349)
    scene.servers["root-ca"].config = replace(scene.servers["root-ca"].config, grant="manual")
    scene.send("ra", Enroll())
    scene.servers["root-ca"].reject(None)
    scene.advance(minutes=2)
    assert point.state is State.FAILED
    scene.down.add("root-ca")
    sleep_until(scene, scene.wall + DAY)
    scene.advance(minutes=1)
    assert scene.told(NextCaMissing)


def _failed_across_the_swap() -> None:
    scene, point = manual_until_the_renewal()
    scene.servers["root-ca"].reject(None)
    scene.advance(minutes=2)
    assert point.state is State.FAILED
    end = present(scene).not_after
    sleep_until(scene, end - timedelta(minutes=20))
    scene.servers["root-ca"].config = replace(scene.servers["root-ca"].config, grant="auto")
    scene.tamper = lambda request, reply: (
        replace(reply, body=b"0\x00") if "PKIOperation" in request.url else reply
    )
    scene.advance(minutes=30)
    assert ca_of(point) == present(scene) and present(scene).not_before == end


def _user_enrolls_beside_a_held_certificate() -> None:
    """`enroll` typed while the next certificate waits: what comes of it meets the swap."""
    for deed in ("pending", "refused", "silent"):
        scene = with_root()
        point = with_router(scene)
        scene.advance(days=355)
        server = scene.servers["root-ca"]
        server.config = replace(server.config, grant="manual")
        go_to(scene, present(scene).not_after - timedelta(seconds=90))
        if deed == "silent":
            scene.down.add("root-ca")
        scene.send("ra", Enroll())
        if deed == "refused":
            server.reject(None)
        scene.advance(seconds=95)
        scene.down.clear()
        scene.advance(minutes=30)
        assert ca_of(point) == present(scene), deed


STORIES: tuple[Callable[[], object], ...] = (
    test_a_certificate_that_ends_with_its_ca_is_followed_by_one_of_the_next_ca,
    test_a_next_ca_that_is_late_is_asked_for_again,
    test_a_router_without_auto_enroll_goes_over_to_the_next_ca_and_must_be_enrolled,
    test_a_ca_without_a_next_one_is_left_when_it_ends_and_accepted_anew_by_command,
    test_a_rollover_request_that_is_granted_after_the_swap_is_installed_at_once,
    test_a_ca_that_is_down_across_its_swap_gets_the_same_request_again,
    test_a_router_takes_the_new_certificate_of_the_same_ca_key,
    test_a_router_that_gave_up_in_the_future_goes_on_in_the_present,
    test_the_present_ca_announced_as_its_own_next_one_is_not_taken,
    _failed_when_only_the_next_ca_can_help,
    _failed_across_the_swap,
    test_a_router_that_went_over_with_a_wrong_clock_comes_back_with_its_certificate,
    _user_enrolls_beside_a_held_certificate,
)


def test_every_row_of_the_table_is_taken_by_some_test_of_this_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken: set[tuple[State, Input]] = set()
    plain = Trustpoint._input

    def watched(self: Trustpoint, happened: Input, now: object) -> object:
        taken.add((self.state, happened))
        return plain(self, happened, now)  # type: ignore[arg-type]

    monkeypatch.setattr(Trustpoint, "_input", watched)
    for story in STORIES:
        story()
    assert set(SUCCESSION) - taken == set()


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
