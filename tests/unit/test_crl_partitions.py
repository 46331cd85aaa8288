"""CRLs for some certificates or some reasons only: partitions, and who may use them."""

from __future__ import annotations

import pytest

from ikelab.pki import der
from ikelab.pki.crl import CERTIFICATE_HOLD
from ikelab.pki.distribution_point import ISSUING_DISTRIBUTION_POINT
from ikelab.pki.extensions import BASIC_CONSTRAINTS, DIRECTORY_NAME, build_basic_constraints
from ikelab.pki.x509 import build_name
from tests.pki_samples import NOW, name_of
from tests.unit.crl_scene import (
    COMPROMISE,
    HOUR,
    INDIRECT,
    KEY_COMPROMISE,
    ONLY_ATTRIBUTES,
    ONLY_CAS,
    ONLY_USERS,
    THE_REST,
    A,
    B,
    for_reasons,
    idp,
    leaf,
    make_crl,
    place,
    reason_flags,
    relative,
    verdict,
)

# --- partitions -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("point", "scope", "expected"),
    [
        ([place(A)], [place(A)], "accepted"),
        ([place(A)], [place(B)], "crl-unavailable"),
        ([place(B, A)], [place(A)], "accepted"),
        ([place(A), place(B)], [place(B)], "accepted"),
        ([], [place(A)], "crl-unavailable"),
        ([relative("part 1")], [relative("part 1")], "accepted"),
        ([relative("part 1")], [relative("part 2")], "crl-unavailable"),
        (
            [relative("part 1")],
            [place(der.tlv(DIRECTORY_NAME, build_name([[("cn", "SUB-CA")], [("cn", "Part  1")]])))],
            "accepted",
        ),
        ([place(A)], [place(der.tlv(DIRECTORY_NAME, name_of("sub-ca")))], "accepted"),
        ([place(A)], [ONLY_USERS], "accepted"),
        ([place(A)], [place(A), ONLY_USERS], "accepted"),
        ([place(A)], [ONLY_CAS], "crl-unavailable"),
        ([place(A)], [ONLY_ATTRIBUTES], "crl-unavailable"),
        ([place(A)], [INDIRECT], "crl-unavailable"),
    ],
)
def test_a_crl_counts_for_the_certificates_it_is_for(
    point: list[bytes], scope: list[bytes], expected: str
) -> None:
    certificate = leaf(*point)
    extra = [idp(*scope)]
    assert verdict(make_crl(extra=extra), certificate=certificate) == expected
    if expected == "accepted":
        assert verdict(make_crl((4, None), extra=extra), certificate=certificate) == "revoked"


def test_a_crl_for_cas_only_is_for_cas() -> None:
    ca = leaf(extra=[build_basic_constraints(None)])
    assert ca.is_ca and BASIC_CONSTRAINTS in {item.oid for item in ca.extensions}
    assert verdict(make_crl(extra=[idp(ONLY_CAS)]), certificate=ca) == "accepted"
    assert verdict(make_crl(extra=[idp(ONLY_USERS)]), certificate=ca) == "crl-unavailable"


def test_an_indirect_crl_is_never_used() -> None:
    crl = make_crl(extra=[idp(place(A), INDIRECT)])
    assert crl.unknown_critical == (ISSUING_DISTRIBUTION_POINT,)
    assert verdict(crl, certificate=leaf(place(A))) == "crl-unavailable"
    elsewhere = der.explicit(2, der.tlv(DIRECTORY_NAME, name_of("elsewhere")))
    pointing = leaf(place(A) + elsewhere)
    assert pointing.crl_urls == ()
    assert verdict(make_crl(extra=[idp(place(A))]), certificate=pointing) == "crl-unavailable"


def test_every_partition_that_holds_the_certificate_may_revoke_it() -> None:
    certificate = leaf(place(A), place(B))
    good = make_crl(extra=[idp(place(A))])
    revoking = make_crl((4, None), extra=[idp(place(B))], start=NOW - 2 * HOUR)
    assert verdict(good, revoking, certificate=certificate) == "revoked"


# --- reasons --------------------------------------------------------------------------------------


def test_crls_for_some_reasons_must_cover_all_of_them_together() -> None:
    assert verdict(for_reasons(*COMPROMISE)) == "crl-unavailable"
    assert verdict(for_reasons(*COMPROMISE), for_reasons(*THE_REST[:-1])) == "crl-unavailable"
    assert verdict(for_reasons(*COMPROMISE), for_reasons(*THE_REST)) == "accepted"
    assert verdict(for_reasons(*COMPROMISE), for_reasons()) == "crl-unavailable"
    at_a = make_crl(extra=[idp(place(A), reason_flags(3, *COMPROMISE))])
    assert verdict(at_a, certificate=leaf(place(A))) == "crl-unavailable"
    assert verdict(at_a, for_reasons(*THE_REST), certificate=leaf(place(A))) == "accepted"


@pytest.mark.parametrize("first", [True, False])
def test_either_of_two_crls_for_some_reasons_may_revoke(first: bool) -> None:
    entries = ([(4, KEY_COMPROMISE)], []) if first else ([], [(4, CERTIFICATE_HOLD)])
    crls = (
        for_reasons(*COMPROMISE, revoked=entries[0]),
        for_reasons(*THE_REST, revoked=entries[1]),
    )
    assert verdict(*crls) == "revoked"


def test_a_revocation_counts_before_all_reasons_are_covered() -> None:
    assert verdict(for_reasons(*COMPROMISE, revoked=[(4, KEY_COMPROMISE)])) == "revoked"


def test_a_point_for_some_reasons_covers_no_others() -> None:
    certificate = leaf(place(A) + reason_flags(1, *COMPROMISE), place(B))
    at_a = make_crl(extra=[idp(place(A))])
    at_b = make_crl(extra=[idp(place(B))])
    assert certificate.crl_urls == ("http://192.0.2.9/b.crl",)
    assert verdict(at_a, certificate=certificate) == "crl-unavailable"
    assert verdict(at_b, certificate=certificate) == "accepted"
