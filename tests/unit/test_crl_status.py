"""Revocation by several complete CRLs, deltas, and CRLs whose marks are malformed."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ikelab.pki import der
from ikelab.pki.chain import first_unknown
from ikelab.pki.crl import CERTIFICATE_HOLD, DELTA_CRL_INDICATOR, REMOVE_FROM_CRL, Crl, load_crl
from ikelab.pki.distribution_point import FRESHEST_CRL, ISSUING_DISTRIBUTION_POINT
from ikelab.pki.extensions import build_extension
from ikelab.pki.x509 import load_certificate
from tests.pki_samples import NOW, name_of, refused, survives
from tests.unit.crl_scene import (
    HOUR,
    KEY_COMPROMISE,
    LEAF,
    ONLY_ATTRIBUTES,
    ONLY_CAS,
    ONLY_USERS,
    ROOT,
    ROOT_CRL,
    SUB,
    A,
    crl_signer,
    idp,
    leaf,
    make_crl,
    place,
    reason_flags,
    relative,
    url,
    verdict,
)

# --- several complete CRLs ------------------------------------------------------------------------


def test_the_newest_of_two_crls_counts_in_whatever_order_they_come() -> None:
    old = make_crl((4, CERTIFICATE_HOLD), number=6, start=NOW - 2 * HOUR)
    new = make_crl(number=7)
    assert verdict(old, new) == verdict(new, old) == "accepted"
    revoking = make_crl((4, KEY_COMPROMISE), number=8, start=NOW - timedelta(minutes=1))
    assert verdict(revoking, new) == verdict(new, revoking) == "revoked"


def test_a_replayed_older_crl_beside_the_newer_one_does_not_bring_a_peer_back() -> None:
    replayed = make_crl(number=6, start=NOW - 2 * HOUR, end=NOW + 24 * HOUR)
    assert verdict(replayed, make_crl((4, KEY_COMPROMISE))) == "revoked"


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (make_crl(key="impostor"), "crl-bad-signature"),
        (make_crl(key_id=b"another"), "crl-wrong-issuer"),
        (make_crl(start=NOW + HOUR, end=NOW + 2 * HOUR), "crl-not-yet-valid"),
        (make_crl(start=NOW - 2 * HOUR, end=NOW), "crl-expired"),
        (
            make_crl(extra=[build_extension("1.2.3.4", b"\x05\x00", critical=True)]),
            "crl-unknown-critical-extension",
        ),
        (make_crl(issuer=name_of("elsewhere")), "crl-unavailable"),
    ],
    ids=["impostor", "key identifier", "future", "expired", "critical", "issuer"],
)
def test_a_bad_crl_alone_is_none_and_beside_a_good_one_changes_nothing(
    bad: Crl, reason: str
) -> None:
    assert verdict(bad) == reason
    assert verdict(bad, make_crl()) == "accepted"
    assert verdict(make_crl((4, None)), bad) == "revoked"


# --- deltas ---------------------------------------------------------------------------------------

HELD = make_crl((4, CERTIFICATE_HOLD))


@pytest.mark.parametrize(
    ("complete", "delta", "expected"),
    [
        (make_crl(), make_crl((4, KEY_COMPROMISE), number=8, base=7), "revoked"),
        (make_crl(), make_crl((5, KEY_COMPROMISE), number=8, base=7), "accepted"),
        (make_crl((4, KEY_COMPROMISE)), make_crl(number=8, base=7), "revoked"),
        (HELD, make_crl((4, REMOVE_FROM_CRL), number=8, base=7), "accepted"),
        (HELD, make_crl((4, REMOVE_FROM_CRL), number=8, base=3), "accepted"),
        (HELD, make_crl((4, KEY_COMPROMISE), number=8, base=7), "revoked"),
        (HELD, make_crl((5, REMOVE_FROM_CRL), number=8, base=7), "revoked"),
        (make_crl(), make_crl((4, REMOVE_FROM_CRL), number=8, base=7), "accepted"),
        # Only a hold ends (RFC 5280 section 5.3.1).
        (
            make_crl((4, KEY_COMPROMISE)),
            make_crl((4, REMOVE_FROM_CRL), number=8, base=7),
            "revoked",
        ),
        # removeFromCRL has no meaning in a complete CRL: it is an entry there.
        (make_crl((4, REMOVE_FROM_CRL)), make_crl(number=8, base=7), "revoked"),
    ],
)
def test_a_delta_changes_what_the_complete_crl_says(
    complete: Crl, delta: Crl, expected: str
) -> None:
    assert verdict(complete, delta) == verdict(delta, complete) == expected


def test_a_delta_alone_tells_nothing() -> None:
    assert verdict(make_crl(number=8, base=7)) == "crl-unavailable"


@pytest.mark.parametrize(
    "delta",
    [
        make_crl((4, REMOVE_FROM_CRL), number=9, base=8),
        make_crl((4, REMOVE_FROM_CRL), number=7, base=6),
        make_crl((4, REMOVE_FROM_CRL), number=8, base=7, start=NOW - 2 * HOUR, end=NOW),
        make_crl((4, REMOVE_FROM_CRL), number=8, base=7, start=NOW + HOUR, end=NOW + 2 * HOUR),
        make_crl((4, REMOVE_FROM_CRL), number=8, base=7, key="impostor"),
        make_crl((4, REMOVE_FROM_CRL), number=8, base=7, extra=[idp(ONLY_USERS)]),
    ],
    ids=["gap", "not newer", "expired", "future", "impostor", "another scope"],
)
def test_a_delta_that_does_not_continue_the_crl_ends_no_hold(delta: Crl) -> None:
    assert verdict(HELD, delta) == "revoked"


@pytest.mark.parametrize(
    "delta",
    [
        make_crl((4, KEY_COMPROMISE), number=9, base=8),
        make_crl((4, KEY_COMPROMISE), number=8, base=7, start=NOW - 2 * HOUR, end=NOW),
    ],
    ids=["gap", "expired"],
)
def test_a_delta_that_revokes_counts_even_if_it_does_not_continue_the_crl(delta: Crl) -> None:
    assert verdict(make_crl(), delta) == "revoked"
    assert verdict(make_crl(number=None), delta) == "revoked"


def test_a_delta_of_an_impostor_revokes_nobody() -> None:
    delta = make_crl((4, KEY_COMPROMISE), number=8, base=7, key="impostor")
    assert verdict(make_crl(), delta) == "accepted"


def test_a_delta_of_another_key_of_the_ca_does_not_continue_the_crl() -> None:
    delta = make_crl((4, REMOVE_FROM_CRL), number=8, base=7, key="crl key")
    assert verdict(HELD, delta, others=[crl_signer()]) == "revoked"
    held = make_crl((4, CERTIFICATE_HOLD), key="crl key")
    assert verdict(held, delta, others=[crl_signer()]) == "accepted"


def test_of_two_deltas_the_newer_one_has_the_last_word() -> None:
    hold = make_crl((4, CERTIFICATE_HOLD), number=8, base=7)
    lift = make_crl((4, REMOVE_FROM_CRL), number=9, base=7)
    again = make_crl((4, KEY_COMPROMISE), number=10, base=7)
    assert verdict(make_crl(), lift, hold) == "accepted"
    assert verdict(make_crl(), again, hold, lift) == "revoked"


def test_a_newer_complete_crl_makes_a_delta_obsolete() -> None:
    delta = make_crl((4, CERTIFICATE_HOLD), number=8, base=7)
    assert verdict(make_crl(number=8), delta) == "accepted"


# --- what is missing ------------------------------------------------------------------------------


def test_the_first_certificate_of_unknown_status_is_named() -> None:
    path = (LEAF, SUB, ROOT)
    found = first_unknown(path, NOW, [])
    assert found is not None and (found[0], found[1].reason) == (0, "crl-unavailable")
    found = first_unknown(path, NOW, [make_crl()])
    assert found is not None and found[0] == 1
    assert first_unknown(path, NOW, [make_crl((4, None)), ROOT_CRL]) is None


# --- hostile --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "extra",
    [
        [build_extension(ISSUING_DISTRIBUTION_POINT, b"", critical=True)],
        [idp()],
        [idp(ONLY_USERS, ONLY_CAS)],
        [idp(ONLY_CAS, ONLY_ATTRIBUTES)],
        [idp(ONLY_CAS, ONLY_USERS)],
        [idp(der.implicit(1, b"\x01"))],
        [idp(der.explicit(0))],
        [idp(der.explicit(0, der.explicit(0)))],
        [idp(der.explicit(0, der.explicit(1)))],
        [idp(der.explicit(0, der.explicit(2, A)))],
        [idp(place(url("http://192.0.2.9/\x00")))],
        [idp(der.implicit(3, b"\x09\x00"))],
        [build_extension(FRESHEST_CRL, der.sequence())],
        [build_extension(FRESHEST_CRL, der.sequence(*[der.sequence(place(A))] * 65))],
        [build_extension(DELTA_CRL_INDICATOR, der.integer(-1), critical=True)],
    ],
)
def test_malformed_marks_of_a_crl_are_refused(extra: list[bytes]) -> None:
    assert refused(lambda: make_crl(extra=extra)) == "malformed-crl"


def test_damaged_marks_raise_nothing_else() -> None:
    point = der.sequence(place(A) + reason_flags(1, 1, 2))
    fresh = build_extension(FRESHEST_CRL, der.sequence(point))
    scope = idp(relative("part 1"), ONLY_USERS, reason_flags(3, 1, 2))
    crl = make_crl((4, 6), extra=[scope, fresh])
    assert survives(load_crl, crl.der) > len(crl.der)
    assert survives(load_certificate, leaf(relative("p"), place(A), extra=[fresh]).der) > 400


def test_a_delta_has_a_number_and_no_delta_of_its_own() -> None:
    assert refused(lambda: make_crl(number=None, base=7)) == "malformed-crl"
    fresh = build_extension(FRESHEST_CRL, der.sequence(der.sequence(place(A))))
    assert refused(lambda: make_crl(number=8, base=7, extra=[fresh])) == "malformed-crl"
    assert make_crl(extra=[fresh]).fresh_points[0].urls == ("http://192.0.2.9/a.crl",)
