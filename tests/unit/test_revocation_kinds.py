"""A router that meets CAs with deltas, partitioned CRLs and keys of their own for CRLs."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ikelab.pki import der
from ikelab.pki.crl import CERTIFICATE_HOLD, REMOVE_FROM_CRL
from ikelab.pki.distribution_point import FRESHEST_CRL
from ikelab.pki.enrollment_events import Trust
from ikelab.pki.events import CrlInstalled, CrlRefused, HttpFailed, HttpReply, HttpRequest
from ikelab.pki.extensions import build_extension
from ikelab.pki.revocation import PathAccepted, PathRefused, RevocationAction, RevocationChecker
from ikelab.pki.x509 import Certificate
from ikelab.types import Now
from tests.pki_samples import NOW
from tests.unit.crl_scene import (
    COMPROMISE,
    CRL_SIGN,
    HOUR,
    KEY_COMPROMISE,
    SUB,
    THE_REST,
    A,
    B,
    crl_signer,
    for_reasons,
    idp,
    leaf,
    make_crl,
    place,
    reason_flags,
    url,
)

BASE, DELTA, MIRROR = (f"http://192.0.2.9/{name}.crl" for name in ("a", "delta", "b"))
FRESH = build_extension(FRESHEST_CRL, der.sequence(der.sequence(place(url(DELTA)))))
TRUST = Trust("sub", (SUB.der,))


class Hub:
    """A checker and the web: what lies under an URL, or nothing."""

    def __init__(self, **web: bytes) -> None:
        self.checker = RevocationChecker()
        self.web = {f"http://192.0.2.9/{name}.crl": octets for name, octets in web.items()}
        self.fetched: list[str] = []
        self.now = Now(0.0, NOW)

    def check(self, certificate: Certificate, *others: Certificate) -> str:
        """The reason of a refusal, or "accepted"."""
        octets = [item.der for item in (certificate, *others)]
        return self.carry(self.checker.check(1, octets, [TRUST], self.now))

    def carry(self, actions: Sequence[RevocationAction]) -> str:
        [action] = [item for item in actions if not isinstance(item, CrlInstalled | CrlRefused)]
        if isinstance(action, HttpRequest):
            self.fetched.append(action.url)
            reply: HttpReply | HttpFailed = HttpFailed(action.handle, "connection refused")
            if action.url in self.web:
                reply = HttpReply(action.handle, 200, "", self.web[action.url])
            return self.carry(self.checker.handle(reply, self.now))
        assert isinstance(action, PathAccepted | PathRefused)
        return action.reason if isinstance(action, PathRefused) else "accepted"


def test_the_next_place_is_tried_where_one_fails() -> None:
    hub = Hub(b=make_crl().der)
    assert hub.check(leaf(place(A, B))) == "accepted"
    assert hub.fetched == [BASE, MIRROR]


@pytest.mark.parametrize(("reason", "expected"), [(None, "accepted"), (4, "revoked")])
def test_crls_for_some_reasons_are_fetched_from_every_place(
    reason: int | None, expected: str
) -> None:
    certificate = leaf(
        place(A) + reason_flags(1, *COMPROMISE), place(B) + reason_flags(1, *THE_REST)
    )
    rest = for_reasons(*THE_REST, revoked=[(4, reason)] if reason else [])
    hub = Hub(a=for_reasons(*COMPROMISE).der, b=rest.der)
    assert hub.check(certificate) == expected
    assert hub.fetched == [BASE, MIRROR]
    assert hub.check(certificate) == expected
    assert len(hub.fetched) == 2
    assert Hub(a=for_reasons(*COMPROMISE).der).check(certificate) == "crl-unavailable"


def test_partitions_of_one_ca_lie_in_the_cache_side_by_side() -> None:
    parts = [make_crl((4, None), extra=[idp(place(A))]), make_crl(extra=[idp(place(B))])]
    hub = Hub(a=parts[0].der, b=parts[1].der)
    assert hub.check(leaf(place(B), serial=5)) == "accepted"
    assert hub.check(leaf(place(A))) == "revoked"
    assert hub.check(leaf(place(B), serial=5)) == "accepted"
    assert hub.fetched == [MIRROR, BASE]
    assert hub.check(leaf(place(url("http://192.0.2.9/c.crl")))) == "crl-unavailable"


def test_a_superseded_crl_that_lasts_longer_does_not_come_back() -> None:
    hub = Hub(a=make_crl(number=7, end=NOW + 9 * HOUR).der)
    assert hub.check(leaf(place(A))) == "accepted"
    revoking = make_crl((4, None), number=8, start=NOW - HOUR / 2)
    [request] = hub.checker.request(BASE, SUB.der)
    assert isinstance(request, HttpRequest)
    hub.checker.handle(HttpReply(request.handle, 200, "", revoking.der), hub.now)
    assert hub.check(leaf(place(A))) == "revoked"
    hub.now = Now(7200.0, NOW + 2 * HOUR)
    assert hub.check(leaf(place(A))) == "crl-unavailable"  # also where the old one is served again


# --- deltas ---------------------------------------------------------------------------------------

COMPLETE = make_crl((5, CERTIFICATE_HOLD), extra=[FRESH]).der
NEWS = make_crl((4, KEY_COMPROMISE), (5, REMOVE_FROM_CRL), number=8, base=7)


def test_the_delta_that_a_crl_announces_is_fetched_once_and_used() -> None:
    hub = Hub(a=COMPLETE, delta=NEWS.der)
    assert hub.check(leaf(place(A))) == "revoked"
    assert hub.check(leaf(place(A), serial=5)) == "accepted"
    assert hub.fetched == [BASE, DELTA]


def test_the_delta_that_a_certificate_announces_is_fetched() -> None:
    hub = Hub(a=make_crl().der, delta=NEWS.der)
    assert hub.check(leaf(place(A), extra=[FRESH])) == "revoked"
    assert hub.fetched == [BASE, DELTA]


@pytest.mark.parametrize(
    "delta",
    [
        None,
        b"",
        make_crl((4, KEY_COMPROMISE), number=8, base=7, key="impostor").der,
        make_crl(number=8, base=7, start=NOW - 2 * HOUR, end=NOW).der,
    ],
    ids=["none", "empty", "impostor", "expired"],
)
def test_without_a_delta_the_complete_crl_stands(delta: bytes | None) -> None:
    hub = Hub(a=COMPLETE) if delta is None else Hub(a=COMPLETE, delta=delta)
    assert hub.check(leaf(place(A))) == "accepted"
    assert hub.check(leaf(place(A), serial=5)) == "revoked"
    assert hub.fetched == [BASE, DELTA, DELTA]


def test_an_older_delta_is_refused_like_an_older_crl() -> None:
    hub = Hub(a=COMPLETE, delta=NEWS.der)
    hub.check(leaf(place(A)))
    replayed = make_crl(number=7, base=7, start=NOW - 2 * HOUR, end=NOW + 9 * HOUR)
    [request] = hub.checker.request(DELTA, SUB.der)
    assert isinstance(request, HttpRequest)
    [answer] = hub.checker.handle(HttpReply(request.handle, 200, "", replayed.der), hub.now)
    assert isinstance(answer, CrlRefused) and answer.reason.startswith("crl-older")
    assert hub.check(leaf(place(A))) == "revoked"


# --- another key of the CA ------------------------------------------------------------------------


def test_a_crl_of_another_key_counts_once_the_status_of_that_key_is_known() -> None:
    """The CA certified its CRL key itself; a CRL of its own key tells the status of that."""
    signer = leaf(place(B), serial=9, name="crl key", extra=[CRL_SIGN])
    own = make_crl(extra=[idp(place(B))])
    hub = Hub(a=make_crl((4, None), key="crl key").der, b=own.der)
    assert hub.check(leaf(place(A)), signer) == "crl-unavailable"
    assert hub.check(leaf(place(B), serial=6)) == "accepted"
    assert hub.check(leaf(place(A)), signer) == "revoked"
    assert hub.check(leaf(place(A), serial=5), signer) == "accepted"
    assert hub.check(leaf(place(A), serial=5)) == "crl-unavailable"


def test_a_crl_of_a_stranger_with_the_cas_name_does_not_enter_the_cache() -> None:
    stranger = crl_signer(issuer="sub-ca", issuer_key="impostor")
    hub = Hub(a=make_crl(key="crl key").der)
    assert hub.check(leaf(place(A)), stranger) == "crl-unavailable"
    assert hub.checker.entries(NOW) == ()
    assert hub.check(leaf(place(A)), crl_signer()) == "crl-unavailable"  # root-ca is no anchor
    assert hub.checker.entries(NOW) == ()
