"""CRLs of another key of the CA: who may sign them, and who vouches for that key."""

from __future__ import annotations

import pytest

from ikelab.errors import PkiError
from ikelab.pki import der
from ikelab.pki.chain import find_crl_signer, validate
from ikelab.pki.extensions import DIRECTORY_NAME
from ikelab.pki.x509 import Certificate
from tests.pki_samples import CA_USAGE, NOW, authority, crl_of, name_of, rsa_key
from tests.unit.crl_scene import (
    CRL_SIGN,
    HOUR,
    LEAF,
    ROOT,
    SUB,
    A,
    crl_signer,
    idp,
    leaf,
    make_crl,
    place,
    url,
    verdict,
)

# --- CRLs of another key of the CA ----------------------------------------------------------------

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


# --- hostile --------------------------------------------------------------------------------------


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
