"""Revocation by several CRLs: deltas, partitions, reasons, and CRLs of another key of the CA."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest

from ikelab.errors import PkiError
from ikelab.pki import der
from ikelab.pki.algorithms import public_key_info, sign, signature_algorithm
from ikelab.pki.chain import find_crl_signer, first_unknown, validate
from ikelab.pki.crl import (
    CERTIFICATE_HOLD,
    CRL_NUMBER,
    DELTA_CRL_INDICATOR,
    REMOVE_FROM_CRL,
    Crl,
    load_crl,
)
from ikelab.pki.distribution_point import FRESHEST_CRL, ISSUING_DISTRIBUTION_POINT
from ikelab.pki.extensions import (
    BASIC_CONSTRAINTS,
    CRL_DISTRIBUTION_POINTS,
    DIRECTORY_NAME,
    URI,
    build_authority_key_identifier,
    build_basic_constraints,
    build_extension,
    build_key_usage,
)
from ikelab.pki.x509 import Certificate, build_name, load_certificate
from tests.pki_samples import (
    CA_USAGE,
    DAY,
    NOW,
    authority,
    crl_of,
    name_of,
    refused,
    rsa_key,
    survives,
)

HOUR = timedelta(hours=1)
ROOT = authority("root-ca")
SUB = authority("sub-ca", issuer="root-ca", serial=2)
ROOT_CRL = crl_of(ROOT)
KEY_COMPROMISE, CA_COMPROMISE = 1, 2
Entry = tuple[int, int | None]


# --- material -------------------------------------------------------------------------------------


def url(text: str) -> bytes:
    return der.tlv(URI, text.encode())


def place(*names: bytes) -> bytes:
    """DistributionPointName, full."""
    return der.explicit(0, der.explicit(0, *names))


def relative(text: str) -> bytes:
    """DistributionPointName, relative to the issuer."""
    [rdn] = der.parse(name_of(text)).children()
    return der.explicit(0, der.explicit(1, rdn.content))


def reason_flags(number: int, *bits: int) -> bytes:
    octets = bytearray(2)
    for bit in bits:
        octets[bit // 8] |= 0x80 >> bit % 8
    return der.implicit(number, b"\x07" + bytes(octets))


def idp(*parts: bytes) -> bytes:
    return build_extension(ISSUING_DISTRIBUTION_POINT, der.sequence(*parts), critical=True)


ONLY_USERS, ONLY_CAS, INDIRECT, ONLY_ATTRIBUTES = (
    der.implicit(number, b"\xff") for number in (1, 2, 4, 5)
)


def leaf(
    *points: bytes, serial: int = 4, extra: Sequence[bytes] = (), name: str = "leaf"
) -> Certificate:
    """A certificate of sub-ca, its key being rsa_key(name). points: DistributionPoints."""
    subject = "sub-ca" if name.startswith("crl key") else name
    entries = list(extra)
    if points:
        value = der.sequence(*(der.sequence(point) for point in points))
        entries.append(build_extension(CRL_DISTRIBUTION_POINTS, value))
    tbs = der.sequence(
        der.explicit(0, der.integer(2)),
        der.integer(serial),
        signature_algorithm("sha256"),
        SUB.subject,
        der.sequence(der.time(NOW - DAY), der.time(NOW + DAY)),
        name_of(subject),
        public_key_info(rsa_key(name)),
        der.explicit(3, der.sequence(*entries)) if entries else b"",
    )
    signature = der.bit_string(sign(rsa_key("sub-ca"), tbs, "sha256"))
    return load_certificate(der.sequence(tbs, signature_algorithm("sha256"), signature))


def make_crl(
    *revoked: Entry,
    extra: Sequence[bytes] = (),
    number: int | None = 7,
    base: int | None = None,
    start: datetime = NOW - HOUR,
    end: datetime = NOW + HOUR,
    key: str = "sub-ca",
    issuer: bytes = SUB.subject,
    key_id: bytes | None = None,
) -> Crl:
    """A CRL of sub-ca with any extensions. base: it is a delta of that number."""
    parts = list(extra)
    if key_id is not None:
        parts.append(build_authority_key_identifier(key_id))
    if number is not None:
        parts.append(build_extension(CRL_NUMBER, der.integer(number)))
    if base is not None:
        parts.append(build_extension(DELTA_CRL_INDICATOR, der.integer(base), critical=True))
    tbs = der.sequence(
        der.integer(1),
        signature_algorithm("sha256"),
        issuer,
        der.time(start),
        der.time(end),
        der.sequence(*(entry(*item) for item in revoked)) if revoked else b"",
        der.explicit(0, der.sequence(*parts)) if parts else b"",
    )
    signature = der.bit_string(sign(rsa_key(key), tbs, "sha256"))
    return load_crl(der.sequence(tbs, signature_algorithm("sha256"), signature))


def entry(serial: int, reason: int | None) -> bytes:
    extensions = b""
    if reason is not None:
        code = der.integer(reason, der.ENUMERATED)
        extensions = der.sequence(build_extension("2.5.29.21", code))
    return der.sequence(der.integer(serial), der.time(NOW - DAY), extensions)


LEAF = leaf()
CRL_SIGN = build_key_usage(frozenset({"cRLSign"}), critical=True)


def verdict(
    *crls: Crl,
    certificate: Certificate = LEAF,
    ca: Certificate = SUB,
    others: Sequence[Certificate] = (),
    at: datetime = NOW,
) -> str:
    """The reason of a refusal, or "accepted"; root-ca's CRL is always at hand."""
    path = (certificate, ca, ROOT)
    try:
        validate(path, [ROOT], at, (*crls, ROOT_CRL), "crl", others=others, key_usage=None)
    except PkiError as error:
        return error.reason
    return "accepted"


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


# --- partitions -----------------------------------------------------------------------------------

A, B = url("http://192.0.2.9/a.crl"), url("http://192.0.2.9/b.crl")


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

COMPROMISE = (KEY_COMPROMISE, CA_COMPROMISE)
THE_REST = (3, 4, 5, 6, 7, 8)


def for_reasons(*reasons: int, revoked: Sequence[Entry] = ()) -> Crl:
    return make_crl(*revoked, extra=[idp(reason_flags(3, *reasons))])


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


# --- CRLs of another key of the CA ----------------------------------------------------------------


def crl_signer(
    name: str = "sub-ca",
    *,
    issuer: str = "root-ca",
    key: str = "crl key",
    usage: frozenset[str] = frozenset({"cRLSign"}),
    issuer_key: str | None = None,
    serial: int = 20,
    start: datetime = NOW - DAY,
) -> Certificate:
    return authority(
        name,
        issuer=issuer,
        key=rsa_key(key),
        usage=usage,
        ca=False,
        issuer_key=None if issuer_key is None else rsa_key(issuer_key),
        serial=serial,
        start=start,
    )


BY_CRL_KEY = make_crl(key="crl key")


def test_a_crl_signed_with_another_key_of_the_ca_counts() -> None:
    signer = crl_signer()
    assert verdict(BY_CRL_KEY) == "crl-bad-signature"
    assert verdict(BY_CRL_KEY, others=[signer]) == "accepted"
    assert verdict(make_crl((4, None), key="crl key"), others=[signer]) == "revoked"
    assert find_crl_signer(BY_CRL_KEY, (SUB, ROOT), NOW, others=[signer]) == signer
    assert find_crl_signer(make_crl(), (SUB, ROOT), NOW, others=[signer]) == SUB


def test_a_ca_certificate_without_crl_sign_leaves_crls_to_the_other_key() -> None:
    ca = authority("sub-ca", issuer="root-ca", serial=2, usage=frozenset({"keyCertSign"}))
    assert verdict(make_crl(), ca=ca) == "key-usage"
    assert verdict(BY_CRL_KEY, ca=ca, others=[crl_signer()]) == "accepted"


def test_a_ca_that_certified_its_new_key_itself_may_sign_with_it() -> None:
    """Rollover: the old key certifies the new one, which signs the CRL of both."""
    new = crl_signer(issuer="sub-ca", issuer_key="sub-ca", usage=CA_USAGE)
    # Its own status is told by a CRL of the old key, for example one of its own place.
    old_crl = make_crl(extra=[idp(place(der.tlv(DIRECTORY_NAME, name_of("sub-ca"))))])
    assert verdict(BY_CRL_KEY, old_crl, others=[new]) == "accepted"


@pytest.mark.parametrize(
    ("signer", "reason"),
    [
        (crl_signer(issuer_key="impostor"), "crl-untrusted-signer"),
        (crl_signer(usage=frozenset({"digitalSignature"})), "crl-bad-signature"),
        (crl_signer("other-ca"), "crl-bad-signature"),
        (crl_signer(start=NOW + HOUR), "not-yet-valid"),
        (crl_signer(key="third key"), "crl-bad-signature"),
    ],
    ids=["impostor", "usage", "name", "not yet", "key"],
)
def test_a_signer_that_is_not_proven_makes_no_crl(signer: Certificate, reason: str) -> None:
    assert verdict(BY_CRL_KEY, others=[signer]) == reason


def test_a_revoked_signer_makes_no_crl() -> None:
    path, revoking = (LEAF, SUB, ROOT), crl_of(ROOT, 20)
    with pytest.raises(PkiError) as caught:
        validate(
            path,
            [ROOT],
            NOW,
            (BY_CRL_KEY, revoking),
            "crl",
            others=[crl_signer()],
            key_usage=None,
        )
    assert (caught.value.reason, "0x14" in caught.value.detail) == ("revoked", True)


def test_a_signer_does_not_vouch_for_itself() -> None:
    """Its own CRL is the only one that tells whether it is revoked: a circle."""
    own = crl_signer(issuer="sub-ca", issuer_key="sub-ca", usage=CA_USAGE)
    assert verdict(BY_CRL_KEY, others=[own]) == "crl-bad-signature"


def test_two_signers_do_not_vouch_for_each_other() -> None:
    one = crl_signer(issuer="sub-ca", issuer_key="sub-ca", key="one", serial=21)
    two = crl_signer(issuer="sub-ca", issuer_key="sub-ca", key="two", serial=22)
    lists = (make_crl(key="one"), make_crl(key="two", number=8))
    assert verdict(*lists, others=[one, two]) != "accepted"


def test_a_ca_of_the_same_name_elsewhere_below_the_anchor_signs_no_crl_for_this_one() -> None:
    branch = authority("branch", issuer="root-ca", serial=30)
    namesake = authority("sub-ca", issuer="branch", key=rsa_key("crl key"), serial=31)
    branch_crl = crl_of(branch, name="branch")
    assert verdict(BY_CRL_KEY, branch_crl, others=[branch, namesake]) == "crl-untrusted-signer"


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


@pytest.mark.parametrize(("length", "expected"), [(3, "accepted"), (4, "crl-untrusted-signer")])
def test_signers_that_hang_together_in_a_long_row_are_refused(length: int, expected: str) -> None:
    """The CRL that tells a signer's status is signed by the next one, the last one's by the CA."""
    places = [place(url(f"http://192.0.2.9/{n}")) for n in range(length)]
    names = [f"crl key {n}" for n in range(length)]
    signers = [
        leaf(places[n], serial=40 + n, name=names[n], extra=[CRL_SIGN]) for n in range(length)
    ]
    lists = [make_crl(key=names[0], extra=[idp(place(A))])]
    lists += [
        make_crl(key=key, extra=[idp(where)])
        for key, where in zip([*names[1:], "sub-ca"], places, strict=True)
    ]
    assert verdict(*lists, certificate=leaf(place(A)), others=signers) == expected
