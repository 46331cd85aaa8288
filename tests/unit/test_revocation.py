"""Whom a hub accepts when CRLs are fetched: for verified chains only, never older ones."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ikelab.pki.enrollment_events import Trust
from ikelab.pki.events import CrlInstalled, CrlRefused, HttpReply, HttpRequest
from ikelab.pki.revocation import PathAccepted, PathRefused, RevocationChecker
from tests.unit.crl_cache_scene import (
    BY_DU,
    BY_ROOT,
    DU,
    DU_CERTIFICATE,
    DU_URL,
    ROOT,
    ROOT_CERTIFICATE,
    ROOT_URL,
    SPOKE,
    SPOKE_CERTIFICATE,
    Hub,
    certify,
    list_of,
    reason,
    verdict,
)

DAY = timedelta(days=1)


# --- verdicts -------------------------------------------------------------------------------------


def test_a_good_peer_is_accepted_after_the_crl_was_fetched() -> None:
    hub = Hub(web={DU_URL: list_of(DU)})
    actions = hub.check()
    assert actions == [
        CrlInstalled("cn=du-subca", DU_URL, len(hub.web[DU_URL])),
        PathAccepted(1, "du", (SPOKE_CERTIFICATE, DU_CERTIFICATE)),
    ]


def test_the_crl_is_not_fetched_again_before_its_next_update() -> None:
    hub = Hub(web={DU_URL: list_of(DU)})
    hub.check()
    assert reason(hub.check()) == "accepted"
    assert hub.fetched == [DU_URL]
    hub.elapsed += timedelta(hours=6)
    hub.web[DU_URL] = list_of(DU, number=2, start=timedelta(hours=6))
    assert reason(hub.check()) == "accepted"
    assert hub.fetched == [DU_URL, DU_URL]


def test_a_revoked_peer_is_refused_every_time_also_after_it_was_once_accepted() -> None:
    hub = Hub(web={DU_URL: list_of(DU)})
    assert reason(hub.check()) == "accepted"
    hub.web[DU_URL] = list_of(DU, 4, number=2, start=timedelta(seconds=10))
    assert reason(hub.check()) == "accepted"  # revoked, but not known here until nextUpdate
    hub.carry(hub.checker.request(DU_URL, DU_CERTIFICATE))
    assert [reason(hub.check()) for _ in range(3)] == ["revoked"] * 3


def test_without_a_crl_nobody_is_accepted() -> None:
    hub = Hub()
    actions = hub.check()
    assert isinstance(actions[0], CrlRefused)
    assert reason(actions) == "crl-unavailable"
    assert "connection refused" in verdict(actions).detail  # type: ignore[union-attr]


def test_revocation_check_none_fetches_nothing() -> None:
    hub = Hub(web={DU_URL: list_of(DU, 4)})
    trust = Trust("du", (DU_CERTIFICATE,), ("none",))
    assert reason(hub.check(trusts=(trust,))) == "accepted"
    assert hub.fetched == []


def test_crl_none_goes_on_without_a_crl_but_not_against_one() -> None:
    trust = Trust("du", (DU_CERTIFICATE,), ("crl", "none"))
    assert reason(Hub().check(trusts=(trust,))) == "accepted"
    revoking = Hub(web={DU_URL: list_of(DU, 4)})
    assert reason(revoking.check(trusts=(trust,))) == "revoked"


def test_every_ca_below_the_anchor_is_looked_up() -> None:
    hub = Hub(web={DU_URL: list_of(DU), ROOT_URL: list_of(ROOT, 9)})
    peer = (SPOKE_CERTIFICATE, DU_CERTIFICATE)
    assert reason(hub.check(*peer, trusts=(BY_ROOT,))) == "revoked"
    assert hub.fetched == [DU_URL, ROOT_URL]
    hub = Hub(web={DU_URL: list_of(DU), ROOT_URL: list_of(ROOT)})
    accepted = verdict(hub.check(*peer, trusts=(BY_ROOT,)))
    assert accepted == PathAccepted(1, "root", (*peer, ROOT_CERTIFICATE))


def test_a_revoked_subordinate_ca_goes_unnoticed_where_the_path_stops_at_it() -> None:
    """`chain-validation stop`, IOS's default: what was authenticated is trusted."""
    hub = Hub(web={DU_URL: list_of(DU), ROOT_URL: list_of(ROOT, 9)})
    assert reason(hub.check(trusts=(Trust("du", (DU_CERTIFICATE,)),))) == "accepted"
    assert hub.fetched == [DU_URL]


def test_with_chain_validation_continue_a_revoked_subordinate_ca_is_out() -> None:
    upwards = Trust("du", (ROOT_CERTIFICATE,), below=(DU_CERTIFICATE,))
    hub = Hub(web={DU_URL: list_of(DU), ROOT_URL: list_of(ROOT)})
    assert reason(hub.check(trusts=(upwards,))) == "accepted"
    assert set(hub.fetched) == {DU_URL, ROOT_URL}
    hub.web[ROOT_URL] = list_of(ROOT, 9, number=2, start=timedelta(seconds=5))
    hub.checker.clear()
    found = verdict(hub.check(trusts=(upwards,)))
    assert isinstance(found, PathRefused) and found.reason == "revoked"
    assert "cn=du-subca (serial 0x9)" in found.detail


def test_with_chain_validation_continue_but_no_root_nobody_is_trusted() -> None:
    nowhere = Trust("du", (), below=(DU_CERTIFICATE,))
    assert reason(Hub(web={DU_URL: list_of(DU)}).check(trusts=(nowhere,))) == "untrusted-issuer"


def test_the_trustpoint_that_knows_the_issuer_vouches() -> None:
    hub = Hub(web={DU_URL: list_of(DU)})
    elsewhere = Trust("ra", (certify(ROOT, ROOT, 1, key=203, issuer_key=203),))
    assert verdict(hub.check(trusts=(elsewhere, BY_DU))).trustpoint == "du"  # type: ignore[union-attr]


def test_a_ca_that_was_an_anchor_once_vouches_for_nobody_afterwards() -> None:
    hub = Hub(web={DU_URL: list_of(DU)})
    chain = (SPOKE_CERTIFICATE, DU_CERTIFICATE)
    assert reason(hub.check(*chain)) == "accepted"
    stranger = certify(ROOT, ROOT, 1, key=209, issuer_key=209)
    assert reason(hub.check(*chain, trusts=(Trust("other", (stranger,)),))) == "bad-signature"


def test_an_impostor_makes_nobody_fetch_anything() -> None:
    hub = Hub(web={DU_URL: list_of(DU)})
    forged = certify(SPOKE, DU, 4, url="http://192.0.2.66/trap", issuer_key=205)
    assert reason(hub.check(forged)) == "bad-signature"
    stranger = certify(SPOKE, SPOKE, 4, url="http://192.0.2.66/trap")
    assert reason(hub.check(stranger)) == "untrusted-issuer"
    assert hub.fetched == []


@pytest.mark.parametrize(
    ("start", "life", "expected"),
    [(DAY, DAY, "not-yet-valid"), (-2 * DAY, DAY, "expired")],
)
def test_dates_are_checked_before_anything_is_fetched(
    start: timedelta, life: timedelta, expected: str
) -> None:
    hub = Hub(web={DU_URL: list_of(DU)})
    assert reason(hub.check(certify(SPOKE, DU, 4, url=DU_URL, start=start, life=life))) == expected
    assert hub.fetched == []


@pytest.mark.parametrize(
    "certificates",
    [(b"",), (b"\x30\x03\x02\x01",), (SPOKE_CERTIFICATE[:-1],), (SPOKE_CERTIFICATE,) * 17],
    ids=["empty", "cut", "short", "many"],
)
def test_what_is_no_certificate_is_refused(certificates: tuple[bytes, ...]) -> None:
    assert isinstance(verdict(Hub().check(*certificates)), PathRefused)


def test_a_peer_without_certificates_is_refused() -> None:
    [refused] = RevocationChecker().check(1, [], [BY_DU], Hub().now)
    assert isinstance(refused, PathRefused) and refused.reason == "no-certificate"


def test_a_router_without_trustpoints_trusts_nobody() -> None:
    hub = Hub()
    assert reason(hub.check(trusts=())) == "untrusted-issuer"


# --- what is fetched ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/x.crl",
        "http://localhost/x.crl",
        "http://127.1/x.crl",
        "http://2130706433/x.crl",
        "http://0x7f.0.0.0x1./x.crl",
        "http://169.254.169.254/latest/meta-data",
        "http://0.0.0.0/x.crl",
        "http://224.0.0.1/x.crl",
        "http://[::1]/x.crl",
        "file:///etc/passwd",
        "ftp://192.0.2.9/x.crl",
        "https://192.0.2.9/x.crl",
        "http://user:secret@192.0.2.9/x.crl",
        "http://192.0.2.9:0/x.crl",
        "http://192.0.2.9:99999/x.crl",
        "http:///x.crl",
        "http://192.0.2.9/" + "x" * 1024,
    ],
)
def test_an_url_that_is_no_place_for_a_crl_is_not_fetched(url: str) -> None:
    hub = Hub()
    assert reason(hub.check(certify(SPOKE, DU, 4, url=url))) == "crl-unavailable"
    [refused] = hub.carry(hub.checker.request(url, DU_CERTIFICATE))
    assert isinstance(refused, CrlRefused)
    assert hub.fetched == []


def test_a_certificate_without_a_cdp_needs_a_cached_crl() -> None:
    bare = certify(SPOKE, DU, 5)
    hub = Hub(web={DU_URL: list_of(DU)})
    assert reason(hub.check(bare)) == "crl-unavailable"
    hub.check()
    assert reason(hub.check(bare)) == "accepted"


def test_one_fetch_serves_all_who_wait_for_it() -> None:
    checker, now = RevocationChecker(), Hub().now
    [request] = checker.check(1, [SPOKE_CERTIFICATE], [BY_DU], now)
    assert isinstance(request, HttpRequest)
    assert checker.check(2, [SPOKE_CERTIFICATE], [BY_DU], now) == []
    assert checker.request(DU_URL, DU_CERTIFICATE) == []
    actions = checker.handle(HttpReply(request.handle, 200, "", list_of(DU, 4)), now)
    assert [item.handle for item in actions if isinstance(item, PathRefused)] == [1, 2]
    assert checker.handle(HttpReply(request.handle, 200, "", list_of(DU)), now) == []


def test_only_so_many_checks_wait_at_a_time() -> None:
    checker, now = RevocationChecker(), Hub().now
    for handle in range(256):
        checker.check(handle, [SPOKE_CERTIFICATE], [BY_DU], now)
    [refused] = checker.check(256, [SPOKE_CERTIFICATE], [BY_DU], now)
    assert isinstance(refused, PathRefused)
    assert "256 checks" in refused.detail


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", "malformed-crl"),
        (b"<html>404 but 200</html>", "malformed-crl"),
        (list_of(DU)[:-1], "malformed-crl"),
        (list_of(DU, key=205), "crl-wrong-issuer"),
        (list_of(DU, key=205, number=None), "crl-bad-signature"),
        (list_of(ROOT), "crl-wrong-issuer"),
        (list_of(DU, start=timedelta(hours=1)), "crl-not-yet-valid"),
        (list_of(DU, start=-DAY), "crl-expired"),
        (list_of(DU, *range(1 << 40, (1 << 40) + 3000)), "crl-too-large"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_crl_that_cannot_be_used_is_refused_and_the_cached_one_stays(
    body: bytes, expected: str
) -> None:
    hub = Hub(web={DU_URL: body})
    assert reason(hub.check()) == "crl-unavailable"
    hub.web[DU_URL] = list_of(DU)
    assert reason(hub.check()) == "accepted"
    hub.web[DU_URL] = body
    [refused] = hub.carry(hub.checker.request(DU_URL, DU_CERTIFICATE))
    assert isinstance(refused, CrlRefused)
    assert refused.reason.startswith(expected)
    assert reason(hub.check()) == "accepted"


def test_a_crl_of_the_future_is_refused_with_both_dates() -> None:
    hub = Hub(web={DU_URL: list_of(DU, start=timedelta(hours=1))})
    [refused] = hub.carry(hub.checker.request(DU_URL, DU_CERTIFICATE, "du"))
    assert isinstance(refused, CrlRefused)
    assert (refused.trustpoint, refused.clock) == ("du", hub.now.wall)
    assert refused.published is not None and refused.published > hub.now.wall


def test_a_status_other_than_200_is_no_crl() -> None:
    checker, now = RevocationChecker(), Hub().now
    [request] = checker.check(1, [SPOKE_CERTIFICATE], [BY_DU], now)
    assert isinstance(request, HttpRequest)
    actions = checker.handle(HttpReply(request.handle, 302, "", list_of(DU)), now)
    assert "302" in actions[0].reason  # type: ignore[union-attr]
    assert reason(actions) == "crl-unavailable"


@pytest.mark.parametrize(
    "replayed",
    [
        list_of(DU, number=1),
        list_of(DU, number=1, start=timedelta(seconds=5)),
        list_of(DU, number=2, start=timedelta(seconds=5)),
        list_of(DU, number=9, start=timedelta(seconds=-1)),
        list_of(DU, number=None, start=timedelta(seconds=-1)),
    ],
    ids=["older", "number", "same number", "date", "version 1"],
)
def test_a_crl_that_goes_back_does_not_bring_a_revoked_peer_in(replayed: bytes) -> None:
    hub = Hub(web={DU_URL: list_of(DU, 4, number=2)})
    assert reason(hub.check()) == "revoked"
    hub.web[DU_URL] = replayed
    [refused] = hub.carry(hub.checker.request(DU_URL, DU_CERTIFICATE))
    assert isinstance(refused, CrlRefused)
    assert refused.reason.startswith("crl-older")
    assert reason(hub.check()) == "revoked"


def test_the_same_crl_again_is_no_fault() -> None:
    hub = Hub(web={DU_URL: list_of(DU)})
    hub.check()
    [installed] = hub.carry(hub.checker.request(DU_URL, DU_CERTIFICATE))
    assert isinstance(installed, CrlInstalled)
    assert len(hub.checker.entries(hub.now.wall)) == 1
