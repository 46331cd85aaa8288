"""A router's CRL cache: what it keeps, what it drops, and what it fetches again."""

from __future__ import annotations

from datetime import timedelta

from ikelab.pki.enrollment_events import Trust
from ikelab.pki.events import CrlRefused, HttpFailed, HttpRequest
from ikelab.pki.revocation import CACHE_LIMIT, PathAccepted, RevocationChecker
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


def test_the_old_crl_counts_until_it_ends_as_in_the_guide() -> None:
    first = list_of(DU, number=None)
    second = list_of(DU, 4, number=None, start=timedelta(seconds=5), life=timedelta(hours=7))
    hub = Hub(web={DU_URL: first})
    hub.check()
    assert hub.checker.size(hub.now.wall) == len(first)
    hub.web[DU_URL] = second
    hub.carry(hub.checker.request(DU_URL, DU_CERTIFICATE))
    assert hub.checker.size(hub.now.wall) == len(first) + len(second)
    hub.elapsed = timedelta(hours=6, minutes=1)
    assert hub.checker.size(hub.now.wall) == len(second)
    assert reason(hub.check()) == "revoked"


def test_the_cache_stays_within_its_limit_and_drops_superseded_lists_first() -> None:
    def large(issuer: bytes, number: int) -> bytes:
        return list_of(issuer, *range(1 << 40, (1 << 40) + 950), number=number)

    hub = Hub(web={ROOT_URL: list_of(ROOT), DU_URL: large(DU, 1)})
    hub.carry(hub.checker.request(ROOT_URL, ROOT_CERTIFICATE))
    hub.check()
    for number in (2, 3):
        hub.web[DU_URL] = large(DU, number)
        hub.carry(hub.checker.request(DU_URL, DU_CERTIFICATE))
        assert hub.checker.size(hub.now.wall) <= CACHE_LIMIT
    numbers = [(entry.crl.issuer, entry.crl.number) for entry in hub.checker.entries(hub.now.wall)]
    assert numbers == [(ROOT, 1), (DU, 2), (DU, 3)]


def test_a_smaller_cache_drops_what_has_no_room_and_fetches_no_larger_list() -> None:
    hub = Hub(web={DU_URL: list_of(DU), ROOT_URL: list_of(ROOT)})
    hub.check()
    hub.carry(hub.checker.request(ROOT_URL, ROOT_CERTIFICATE))
    hub.checker.set_limit(len(hub.web[ROOT_URL]))
    assert [entry.crl.issuer for entry in hub.checker.entries(hub.now.wall)] == [ROOT]
    hub.web[DU_URL] = list_of(DU, *range(1000, 1010))
    actions = hub.check()
    [refused] = [item for item in actions if isinstance(item, CrlRefused)]
    room = f"the cache has room for {hub.checker.limit}"
    assert refused.reason.startswith("crl-too-large: ") and room in refused.reason
    assert reason(actions) == "crl-unavailable"


def test_a_larger_cache_fetches_what_was_too_large() -> None:
    """The size goes with the request, so that no more is read off the wire than may be kept."""
    hub = Hub(web={DU_URL: list_of(DU, *range(1 << 60, (1 << 60) + 3000))})
    assert len(hub.web[DU_URL]) > CACHE_LIMIT
    assert reason(hub.check()) == "crl-unavailable"
    hub.checker.set_limit(128 * 1024)
    [asked] = hub.checker.check(99, (SPOKE_CERTIFICATE,), (BY_DU,), hub.now)
    assert isinstance(asked, HttpRequest) and asked.limit == 128 * 1024
    assert isinstance(verdict(hub.carry([asked])), PathAccepted)


def test_what_a_web_server_cuts_off_at_the_limit_is_too_large() -> None:
    hub = Hub(web={})
    [asked] = hub.checker.check(1, (SPOKE_CERTIFICATE,), (BY_DU,), hub.now)
    assert isinstance(asked, HttpRequest)
    failed = HttpFailed(asked.handle, "the answer has more than 65536 octets", too_large=True)
    [refused, _] = hub.checker.handle(failed, hub.now)
    assert isinstance(refused, CrlRefused) and refused.reason.startswith("crl-too-large: ")


def test_two_lists_that_do_not_fit_together_do_not_chase_each_other_for_ever() -> None:
    hub = Hub(web={DU_URL: list_of(DU), ROOT_URL: list_of(ROOT)})
    hub.checker = RevocationChecker(limit=len(hub.web[DU_URL]) + 10)
    actions = hub.check(SPOKE_CERTIFICATE, DU_CERTIFICATE, trusts=(BY_ROOT,))
    assert reason(actions) == "crl-unavailable"
    assert "too small" in verdict(actions).detail  # type: ignore[union-attr]
    assert hub.fetched == [DU_URL, ROOT_URL]


def test_cas_of_one_name_do_not_share_a_crl() -> None:
    other_root = certify(ROOT, ROOT, 1, key=206, issuer_key=206)
    other_du = certify(DU, ROOT, 9, key=207, issuer_key=206)
    spoke = certify(SPOKE, DU, 4, url="http://192.0.2.10/du-subca.crl", issuer_key=207)
    hub = Hub(web={DU_URL: list_of(DU), "http://192.0.2.10/du-subca.crl": list_of(DU, 4, key=207)})
    assert reason(hub.check()) == "accepted"
    foreign = Trust("other", (other_du, other_root))
    assert reason(hub.check(spoke, trusts=(BY_DU, foreign))) == "revoked"
    assert reason(hub.check()) == "accepted"


def test_clearing_the_cache_makes_the_next_check_fetch() -> None:
    hub = Hub(web={DU_URL: list_of(DU)})
    hub.check()
    hub.checker.clear()
    assert hub.checker.entries(hub.now.wall) == ()
    hub.check()
    assert hub.fetched == [DU_URL, DU_URL]


def test_a_router_whose_clock_is_years_behind_says_what_is_wrong() -> None:
    hub = Hub(web={DU_URL: list_of(DU)})
    hub.elapsed = -7 * 365 * DAY
    assert reason(hub.check()) == "not-yet-valid"
    hub.elapsed = timedelta(seconds=10)
    assert reason(hub.check()) == "accepted"
