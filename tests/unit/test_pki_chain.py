"""Certification paths; witness: `openssl verify` (and PKITS, in tests/vectors)."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from ikelab.errors import PkiError
from ikelab.pki import der, extensions
from ikelab.pki.algorithms import public_key_info, sign, signature_algorithm
from ikelab.pki.chain import MAX_PATH, build_path, build_paths, validate
from ikelab.pki.crl import Crl
from ikelab.pki.x509 import Certificate, build_name, load_certificate
from tests.pki_samples import (
    CA_USAGE,
    DAY,
    NOW,
    authority,
    crl_of,
    name_of,
    refused,
    router,
    rsa_key,
)

ROOT = authority("root-ca")
SUB = authority("sub-ca", issuer="root-ca", serial=2)
SPOKE = router(issuer="sub-ca")
PATH = (SPOKE, SUB, ROOT)


def crls(*revoked_by_sub: int, root: Iterable[int] = ()) -> dict[bytes, Crl]:
    return {
        SUB.subject: crl_of(SUB, *revoked_by_sub, name="sub-ca"),
        ROOT.subject: crl_of(ROOT, *root),
    }


def check(
    path: tuple[Certificate, ...] = PATH,
    lists: Mapping[bytes, Crl] | None = None,
    *,
    at: datetime = NOW,
    legacy: bool = False,
    key_usage: frozenset[str] | None = frozenset({"digitalSignature"}),
) -> None:
    """Validate with CRLs."""
    given = crls() if lists is None else lists
    validate(path, path[-1:], at, given.values(), "crl", legacy=legacy, key_usage=key_usage)


def plain(*path: Certificate, at: datetime = NOW, key_usage: frozenset[str] | None = None) -> None:
    """Validate without CRLs."""
    validate(path, path[-1:], at, (), "none", key_usage=key_usage)


# --- finding a path -------------------------------------------------------------------------------


def test_path_is_found_whatever_the_order_of_the_candidates() -> None:
    other = authority("other-ca")
    for candidates in ([SUB, other], [other, SUB], [ROOT, SUB, other]):
        assert build_path(SPOKE, candidates, [other, ROOT]) == PATH


def test_path_ends_at_the_first_anchor() -> None:
    assert build_path(SPOKE, [ROOT], [SUB, ROOT]) == (SPOKE, SUB)


def test_leaf_without_a_known_issuer_is_refused() -> None:
    assert refused(lambda: build_path(SPOKE, [], [ROOT])) == "untrusted-issuer"
    assert refused(lambda: build_path(SPOKE, [SUB], [authority("other-ca")])) == "untrusted-issuer"


def test_issuer_with_the_right_name_and_another_key_is_told_apart() -> None:
    impostor = authority("sub-ca", issuer="root-ca", key=rsa_key("impostor"))
    assert refused(lambda: build_path(SPOKE, [impostor], [ROOT])) == "bad-signature"
    assert build_path(SPOKE, [impostor, SUB], [ROOT]) == PATH


def test_certificates_that_certify_each_other_do_not_loop() -> None:
    """strongSwan's multi-CA scenario: two CAs with cross certificates and no way up."""
    one = authority("one", issuer="two")
    two = authority("two", issuer="one")
    leaf = router(issuer="one")
    assert refused(lambda: build_path(leaf, [one, two], [ROOT])) == "untrusted-issuer"


def test_search_among_many_cas_of_one_name_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    count = 0
    honest = Certificate.is_signed_by

    def counted(self: Certificate, key: object) -> bool:
        nonlocal count
        count += 1
        return honest(self, key)  # type: ignore[arg-type]

    monkeypatch.setattr(Certificate, "is_signed_by", counted)
    same_key = [
        authority("sub-ca", issuer="sub-ca", key=rsa_key("sub-ca"), serial=serial)
        for serial in range(10, 40)
    ]
    others = [
        authority("sub-ca", issuer="root-ca", key=rsa_key(f"k{serial % 5}"), serial=serial)
        for serial in range(50, 150)
    ]
    with pytest.raises(PkiError):
        build_path(SPOKE, [*same_key, *others], [authority("other-ca")])
    assert count <= 64


def test_twenty_levels_are_refused() -> None:
    names = [f"level-{n}" for n in range(20)]
    cas = [authority(names[0])]
    cas += [authority(low, issuer=high) for high, low in zip(names, names[1:], strict=False)]
    leaf = router(issuer=names[-1])
    assert refused(lambda: build_path(leaf, cas, cas[:1])) == "untrusted-issuer"
    whole = (leaf, *reversed(cas))
    assert refused(lambda: plain(*whole)) == "path-too-long"
    short = (router(issuer=names[MAX_PATH - 2]), *reversed(cas[: MAX_PATH - 1]))
    assert build_path(short[0], cas, cas[:1]) == short
    plain(*short)


def test_valid_issuer_is_preferred_at_a_date() -> None:
    old = authority("sub-ca", issuer="root-ca", serial=8, end=NOW - timedelta(hours=1))
    assert build_path(SPOKE, [old, SUB], [ROOT], at=NOW) == PATH
    paths = list(build_paths(SPOKE, [old, SUB], [ROOT], at=NOW))
    assert paths == [PATH, (SPOKE, old, ROOT)]


# --- accepting and refusing -----------------------------------------------------------------------


def test_sound_path_with_fresh_crls_is_accepted() -> None:
    check()


def test_path_that_ends_elsewhere_is_refused() -> None:
    lists = crls().values()
    assert refused(lambda: validate(PATH, [authority("other-ca")], NOW, lists, "crl")) == (
        "untrusted-issuer"
    )
    assert refused(lambda: validate((), [ROOT], NOW, lists, "crl")) == "untrusted-issuer"


def test_names_must_chain() -> None:
    assert refused(lambda: plain(SPOKE, ROOT)) == "untrusted-issuer"


def test_forged_certificate_is_refused() -> None:
    forged = authority("sub-ca", issuer="root-ca", issuer_key=rsa_key("impostor"))
    assert refused(lambda: plain(SPOKE, forged, ROOT)) == "bad-signature"


@pytest.mark.parametrize("position", [0, 1, 2])
@pytest.mark.parametrize(
    ("start", "end", "reason"),
    [
        (NOW - 2 * DAY, NOW - timedelta(seconds=1), "expired"),
        (NOW + timedelta(seconds=1), NOW + DAY, "not-yet-valid"),
        (NOW, NOW, None),
    ],
)
def test_dates_of_every_certificate_count_to_the_second(
    position: int, start: datetime, end: datetime, reason: str | None
) -> None:
    path = list(PATH)
    path[position] = (
        router(issuer="sub-ca", start=start, end=end),
        authority("sub-ca", issuer="root-ca", start=start, end=end),
        authority("root-ca", start=start, end=end),
    )[position]
    if reason is None:
        plain(*path)
    else:
        assert refused(lambda: plain(*path)) == reason


def test_router_cannot_issue_certificates() -> None:
    not_a_ca = authority("sub-ca", issuer="root-ca", ca=False)
    assert refused(lambda: plain(SPOKE, not_a_ca, ROOT)) == "not-a-ca"


def test_ca_without_key_cert_sign_cannot_issue_certificates() -> None:
    weak = authority("sub-ca", issuer="root-ca", usage=CA_USAGE - {"keyCertSign"})
    assert refused(lambda: plain(SPOKE, weak, ROOT)) == "key-usage"


def test_path_length_counts_the_cas_below() -> None:
    lower = authority("lower-ca", issuer="sub-ca")
    leaf = router(issuer="lower-ca")
    for limit, accepted in ((0, False), (1, False), (2, True), (None, True)):
        path = (leaf, lower, SUB, authority("root-ca", path_length=limit))
        if accepted:
            plain(*path)
        else:
            assert refused(lambda path=path: plain(*path)) == "path-length"
    plain(SPOKE, authority("sub-ca", issuer="root-ca", path_length=0), ROOT)


def test_self_issued_certificate_of_a_rollover_does_not_count_as_a_level() -> None:
    """New key of the same name, certified by the old one."""
    bridge = authority("root-ca", key=rsa_key("next key"), serial=9)
    new_sub = authority("sub-ca", issuer="root-ca", issuer_key=rsa_key("next key"))
    limited = authority("root-ca", path_length=1)
    plain(SPOKE, new_sub, bridge, limited)


def test_leaf_must_be_allowed_to_sign() -> None:
    leaf = router(issuer="sub-ca", usage=frozenset({"keyEncipherment"}))
    assert refused(lambda: check((leaf, SUB, ROOT))) == "key-usage"
    check((leaf, SUB, ROOT), key_usage=None)


@pytest.mark.parametrize(
    ("purpose", "accepted"),
    [("1.3.6.1.5.5.7.3.17", True), ("2.5.29.37.0", True), ("1.3.6.1.5.5.7.3.4", False)],
    ids=["ipsecIKE", "any", "e-mail"],
)
def test_extended_key_usage_must_fit_ike(purpose: str, accepted: bool) -> None:
    value = der.sequence(der.oid(purpose))
    leaf = crafted(extensions.build_extension("2.5.29.37", value))
    if accepted:
        check((leaf, SUB, ROOT))
    else:
        assert refused(lambda: check((leaf, SUB, ROOT))) == "key-usage"


def test_unknown_critical_extension_is_refused_at_any_level() -> None:
    entry = extensions.build_extension("1.3.6.1.4.1.99999.1", b"\x05\x00", critical=True)
    assert refused(lambda: check((crafted(entry), SUB, ROOT))) == "unknown-critical-extension"
    harmless = extensions.build_extension("1.3.6.1.4.1.99999.1", b"\x05\x00")
    check((crafted(harmless), SUB, ROOT))


def test_policy_constraints_are_refused_even_where_they_are_not_critical() -> None:
    """They must be critical; policies are not processed, and ignoring a demand accepts too much."""
    demand = der.sequence(der.implicit(0, b"\x00"))
    for critical in (True, False):
        entry = extensions.build_extension("2.5.29.36", demand, critical=critical)
        path = (crafted(entry), SUB, ROOT)
        assert refused(lambda path=path: check(path)) == "unknown-critical-extension"


def crafted(
    *entries: bytes,
    subject: bytes = name_of("leaf"),
    issuer: str = "sub-ca",
    key: str = "spoke.example.com",
) -> Certificate:
    """A certificate of an issuer with any extensions."""
    tbs = der.sequence(
        der.explicit(0, der.integer(2)),
        der.integer(77),
        signature_algorithm("sha256"),
        name_of(issuer),
        der.sequence(der.time(NOW - DAY), der.time(NOW + DAY)),
        subject,
        public_key_info(rsa_key(key)),
        der.explicit(3, der.sequence(*entries)),
    )
    signature = der.bit_string(sign(rsa_key(issuer), tbs, "sha256"))
    return load_certificate(der.sequence(tbs, signature_algorithm("sha256"), signature))


def test_long_name_of_an_attacker_is_cut_in_the_message() -> None:
    subject = build_name([[("o", "\u00e9" * 64)]] * 20)
    with pytest.raises(PkiError, match=r"\.\.\. \(serial 0x4D\)") as caught:
        leaf = crafted(extensions.build_key_usage(CA_USAGE, critical=True), subject=subject)
        check((leaf, SUB, ROOT), at=NOW + 2 * DAY)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("digest", ["md5", "sha1"])
def test_weak_signatures_are_for_legacy_mode_only(digest: str) -> None:
    path = (router(issuer="sub-ca", digest=digest), SUB, ROOT)
    assert refused(lambda: check(path)) == "weak-algorithm"
    check(path, legacy=True)


def test_short_keys_are_for_legacy_mode_only() -> None:
    path = (router(issuer="sub-ca", bits=512), SUB, ROOT)
    assert refused(lambda: check(path)) == "weak-algorithm"
    check(path, legacy=True)


def test_weak_signature_of_the_anchor_itself_does_not_matter() -> None:
    root = authority("root-ca", digest="sha1")
    plain(SPOKE, SUB, root)


# --- revocation -----------------------------------------------------------------------------------


def test_revoked_router_is_refused_with_date_and_reason() -> None:
    with pytest.raises(PkiError, match="2026-03-03 10:03:28 .keyCompromise.") as caught:
        check(PATH, crls(SPOKE.serial))
    assert caught.value.reason == "revoked"


def test_revoked_sub_ca_takes_its_routers_along() -> None:
    assert refused(lambda: check(PATH, crls(root=[SUB.serial]))) == "revoked"


def test_serial_number_revoked_by_another_ca_does_not_count() -> None:
    check(PATH, crls(SUB.serial, root=[SPOKE.serial]))


@pytest.mark.parametrize("missing", [SUB, ROOT], ids=["sub-ca", "root-ca"])
def test_missing_crl_of_any_issuer_is_a_refusal(missing: Certificate) -> None:
    lists = crls()
    del lists[missing.subject]
    assert refused(lambda: check(PATH, lists)) == "crl-unavailable"


@pytest.mark.parametrize(
    ("start", "life", "reason"),
    [
        (NOW - 6 * timedelta(hours=1), timedelta(hours=6), "crl-expired"),
        (NOW + timedelta(seconds=1), timedelta(hours=6), "crl-not-yet-valid"),
        (NOW, timedelta(seconds=1), None),
    ],
)
def test_crl_must_be_the_current_one(start: datetime, life: timedelta, reason: str | None) -> None:
    lists = crls() | {SUB.subject: crl_of(SUB, name="sub-ca", start=start, life=life)}
    if reason is None:
        check(PATH, lists)
    else:
        assert refused(lambda: check(PATH, lists)) == reason


@pytest.mark.parametrize(
    ("crl", "reason"),
    [
        (crl_of(SUB, name="sub-ca", key=rsa_key("impostor")), "crl-bad-signature"),
        (crl_of(ROOT), "crl-unavailable"),
        (crl_of(SUB, name="sub-ca", digest="md5"), "weak-algorithm"),
    ],
    ids=["another key", "another CA", "MD5"],
)
def test_crl_that_is_not_the_issuers_is_no_crl(crl: Crl, reason: str) -> None:
    assert refused(lambda: check(PATH, crls() | {SUB.subject: crl})) == reason


def test_without_revocation_check_a_revoked_router_is_accepted() -> None:
    """`revocation-check none`, which the guide's spokes have."""
    validate(PATH, [ROOT], NOW, crls(SPOKE.serial).values(), "none")


# --- name constraints -----------------------------------------------------------------------------


def constrained(permitted: list[bytes], excluded: list[bytes]) -> Certificate:
    """sub-ca with nameConstraints."""
    parts = [
        der.explicit(number, *(der.sequence(base) for base in bases))
        for number, bases in enumerate((permitted, excluded))
        if bases
    ]
    return crafted(
        extensions.build_basic_constraints(None),
        extensions.build_key_usage(CA_USAGE, critical=True),
        extensions.build_extension("2.5.29.30", der.sequence(*parts), critical=True),
        subject=name_of("sub-ca"),
        issuer="root-ca",
        key="sub-ca",
    )


def dns(text: str) -> bytes:
    return der.tlv(extensions.DNS_NAME, text.encode())


def directory(name: bytes) -> bytes:
    return der.tlv(extensions.DIRECTORY_NAME, name)


@pytest.mark.parametrize(
    ("permitted", "excluded", "accepted"),
    [
        ([dns("example.com")], [], True),
        ([dns("EXAMPLE.com"), dns("example.net")], [], True),
        ([dns("ample.com")], [], False),
        ([dns("example.net")], [], False),
        ([], [dns("example.com")], False),
        ([], [dns("spoke.example.com")], False),
        ([], [dns("example.net")], True),
        ([directory(name_of("x"))], [], False),
        ([directory(build_name([[("hostname", "spoke.example.com")]]))], [], True),
        ([der.tlv(extensions.IP_ADDRESS, bytes(8))], [], True),
        ([], [der.tlv(0x88, b"\x2a")], True),
    ],
)
def test_names_stay_within_the_issuers_subtrees(
    permitted: list[bytes], excluded: list[bytes], accepted: bool
) -> None:
    path = (SPOKE, constrained(permitted, excluded), ROOT)
    if accepted:
        plain(*path)
    else:
        assert refused(lambda: plain(*path)) == "name-constraints"


@pytest.mark.parametrize(
    ("address", "accepted"), [("192.0.2.7", True), ("192.0.3.7", False), ("2001:db8::1", False)]
)
def test_addresses_stay_within_the_issuers_networks(address: str, accepted: bool) -> None:
    subtree = der.tlv(extensions.IP_ADDRESS, bytes((192, 0, 2, 0, 255, 255, 255, 0)))
    leaf = crafted(extensions.build_alternative_names((), (address,)))
    path = (leaf, constrained([subtree], []), ROOT)
    if accepted:
        plain(*path)
    else:
        assert refused(lambda: plain(*path)) == "name-constraints"


def test_name_of_a_kind_that_cannot_be_compared_is_refused_where_constrained() -> None:
    registered = der.tlv(0x88, b"\x2a\x03")
    leaf = crafted(extensions.build_extension("2.5.29.17", der.sequence(registered)))
    for permitted, excluded in (([registered], []), ([], [registered])):
        path = (leaf, constrained(permitted, excluded), ROOT)
        assert refused(lambda path=path: plain(*path)) == "name-constraints"


# --- witnesses ------------------------------------------------------------------------------------


@pytest.mark.interop
@pytest.mark.parametrize("revoked", [(), (SPOKE.serial,)], ids=["good", "revoked"])
def test_openssl_agrees(
    need: Callable[[str], str], tmp_path: Path, revoked: tuple[int, ...]
) -> None:
    lists = crls(*revoked)
    for name, kind, octets in (
        ("root", "x509", ROOT.der),
        ("sub", "x509", SUB.der),
        ("spoke", "x509", SPOKE.der),
        ("sub.crl", "crl", lists[SUB.subject].der),
        ("root.crl", "crl", lists[ROOT.subject].der),
    ):
        subprocess.run(
            [need("openssl"), kind, "-inform", "DER", "-out", str(tmp_path / f"{name}.pem")],
            input=octets,
            capture_output=True,
            check=True,
        )
    result = subprocess.run(
        [need("openssl"), "verify", "-attime", str(int(NOW.timestamp())), "-auth_level", "1"]
        + ["-x509_strict", "-crl_check_all", "-CAfile", "root.pem", "-untrusted", "sub.pem"]
        + ["-CRLfile", "root.crl.pem", "-CRLfile", "sub.crl.pem", "spoke.pem"],
        cwd=tmp_path,
        capture_output=True,
    )
    try:
        check(PATH, lists)
        accepted = True
    except PkiError as error:
        assert error.reason == "revoked"
        accepted = False
    assert (result.returncode == 0) is accepted is (not revoked)
