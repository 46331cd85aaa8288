"""A router's CRL cache: fetched only for verified chains, never older, never foreign, bounded."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from ikelab.pki.algorithms import key_identifier, public_key_info
from ikelab.pki.crl import build_crl
from ikelab.pki.enrollment_events import Trust
from ikelab.pki.events import CrlInstalled, CrlRefused, HttpFailed, HttpReply, HttpRequest
from ikelab.pki.name import parse_dn
from ikelab.pki.revocation import (
    CACHE_LIMIT,
    PathAccepted,
    PathRefused,
    RevocationAction,
    RevocationChecker,
)
from ikelab.pki.x509 import build_certificate
from ikelab.types import Now
from tests.pki_scene import START, pool_key

DAY = timedelta(days=1)
WHOLE = START.replace(microsecond=0)
ROOT_URL = "http://192.0.2.9/root-ca.crl"
DU_URL = "http://192.0.2.9/du-subca.crl"
CA_USAGE = frozenset({"keyCertSign", "cRLSign", "digitalSignature"})
ROUTER_USAGE = frozenset({"digitalSignature", "keyEncipherment"})
ROOT, DU, SPOKE = parse_dn("cn=root-ca"), parse_dn("cn=du-subca"), parse_dn("hostname=r35-3-1022")
KEYS = {ROOT: 200, DU: 201, SPOKE: 202}


def certify(
    subject: bytes,
    issuer: bytes,
    serial: int,
    *,
    url: str | None = None,
    key: int | None = None,
    issuer_key: int | None = None,
    start: timedelta = timedelta(0),
    life: timedelta = 365 * DAY,
) -> bytes:
    is_ca = subject in (ROOT, DU)
    return build_certificate(
        serial=serial,
        issuer=issuer,
        subject=subject,
        public_key_info=public_key_info(pool_key(1024, KEYS[subject] if key is None else key)),
        not_before=WHOLE + start,
        not_after=WHOLE + start + life,
        issuer_key=pool_key(1024, KEYS[issuer] if issuer_key is None else issuer_key),
        digest="sha256",
        ca=is_ca,
        key_usage=CA_USAGE if is_ca else ROUTER_USAGE,
        crl_url=url,
    )


def list_of(
    issuer: bytes,
    *revoked: int,
    number: int | None = 1,
    start: timedelta = timedelta(0),
    life: timedelta = timedelta(hours=6),
    key: int | None = None,
) -> bytes:
    signer = pool_key(1024, KEYS[issuer] if key is None else key)
    return build_crl(
        issuer=issuer,
        this_update=WHOLE + start,
        next_update=WHOLE + start + life,
        number=number,
        revoked=[(serial, WHOLE + start, None) for serial in revoked],
        key=signer,
        digest="sha256",
        authority_key_id=None if number is None else key_identifier(public_key_info(signer)),
        version=1 if number is None else 2,
    )


ROOT_CERTIFICATE = certify(ROOT, ROOT, 1)
DU_CERTIFICATE = certify(DU, ROOT, 9, url=ROOT_URL)
SPOKE_CERTIFICATE = certify(SPOKE, DU, 4, url=DU_URL)
BY_DU = Trust("du", (DU_CERTIFICATE, ROOT_CERTIFICATE))
BY_ROOT = Trust("root", (ROOT_CERTIFICATE,))


@dataclass
class Hub:
    """A checker, its clock, and the web: what lies under an URL, or nothing."""

    checker: RevocationChecker = field(default_factory=RevocationChecker)
    web: dict[str, bytes] = field(default_factory=dict)
    elapsed: timedelta = timedelta(seconds=10)
    fetched: list[str] = field(default_factory=list)
    handles: int = 0

    @property
    def now(self) -> Now:
        return Now(self.elapsed.total_seconds(), START + self.elapsed)

    def check(
        self, *certificates: bytes, trusts: tuple[Trust, ...] = (BY_DU,)
    ) -> list[RevocationAction]:
        """All that a check leads to."""
        self.handles += 1
        given = certificates or (SPOKE_CERTIFICATE,)
        return self.carry(self.checker.check(self.handles, given, trusts, self.now))

    def carry(self, actions: list[RevocationAction]) -> list[RevocationAction]:
        done: list[RevocationAction] = []
        for action in actions:
            if isinstance(action, HttpRequest):
                assert (action.method, action.body) == ("GET", b"")
                self.fetched.append(action.url)
                done += self.carry(self.checker.handle(self.answer(action), self.now))
            else:
                done.append(action)
        return done

    def answer(self, request: HttpRequest) -> HttpReply | HttpFailed:
        if request.url not in self.web:
            return HttpFailed(request.handle, "connection refused")
        return HttpReply(request.handle, 200, "application/pkix-crl", self.web[request.url])


def verdict(actions: list[RevocationAction]) -> PathAccepted | PathRefused:
    [found] = [item for item in actions if isinstance(item, PathAccepted | PathRefused)]
    return found


def reason(actions: list[RevocationAction]) -> str:
    found = verdict(actions)
    return found.reason if isinstance(found, PathRefused) else "accepted"


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


# --- the cache ------------------------------------------------------------------------------------


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
