"""What a router believes of a CA's answers: the signature below, the key inside, and no more."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from ikelab.errors import PkiError
from ikelab.pki import scep
from ikelab.pki.algorithms import key_identifier, public_key_info
from ikelab.pki.cert_rep import UnsignedCertRep
from ikelab.pki.cms import build_degenerate
from ikelab.pki.enrollment_events import Authenticate, Enroll
from ikelab.pki.events import EnrollmentFailed, HttpReply, HttpRequest
from ikelab.pki.name import parse_dn
from ikelab.pki.scep import PkiStatus
from ikelab.pki.scep_client import parse_capabilities, read_ca_certificates
from ikelab.pki.trustpoint import State, Trustpoint
from ikelab.pki.x509 import build_certificate, fingerprint, load_certificate
from tests.pki_scene import START, Scene, SeededRng, pool_key

WHOLE = START.replace(microsecond=0)
CA_USAGE = frozenset({"keyCertSign", "cRLSign", "digitalSignature"})
ROUTER_USAGE = frozenset({"digitalSignature", "keyEncipherment"})
ROOT, SUB = parse_dn("cn=root-ca"), parse_dn("cn=ra-subca")


def key_id(index: int) -> bytes:
    return key_identifier(public_key_info(pool_key(1024, index)))


def ca(subject: bytes, issuer: bytes, key: int, signed_by: int, names: int | None = None) -> bytes:
    """A CA certificate. names: whose key the authorityKeyIdentifier is of, if not the signer's."""
    return certificate(subject, issuer, key, signed_by, names=names, is_ca=True)


def certificate(
    subject: bytes,
    issuer: bytes,
    key: int,
    signed_by: int,
    *,
    names: int | None = None,
    is_ca: bool = False,
    usage: frozenset[str] = ROUTER_USAGE,
) -> bytes:
    return build_certificate(
        serial=5,
        issuer=issuer,
        subject=subject,
        public_key_info=public_key_info(pool_key(1024, key)),
        not_before=WHOLE,
        not_after=WHOLE + timedelta(days=1),
        issuer_key=pool_key(1024, signed_by),
        digest="sha256",
        ca=is_ca,
        key_usage=CA_USAGE if is_ca else usage,
        authority_key_id=key_id(signed_by if names is None else names),
    )


def read(*certificates: bytes) -> tuple[bytes, list[bytes], list[bytes]]:
    """The CA, those above it and its RAs, as a router sorts a GetCACert reply."""
    bundle = read_ca_certificates(build_degenerate(certificates), START, legacy=False)
    return bundle.ca.der, [item.der for item in bundle.upper], [item.der for item in bundle.ra]


# --- GetCACert ------------------------------------------------------------------------------------


def test_the_chain_above_a_sub_ca_is_followed_in_any_order() -> None:
    root, middle = ca(ROOT, ROOT, 0, 0), ca(parse_dn("cn=middle"), ROOT, 1, 0)
    sub = ca(SUB, parse_dn("cn=middle"), 2, 1)
    assert read(root, sub, middle) == (sub, [middle, root], [])
    assert read(sub, middle) == (sub, [middle], [])


def test_a_root_that_did_not_sign_is_not_held_whatever_the_key_identifier_says() -> None:
    sub = ca(SUB, ROOT, 1, signed_by=7, names=0)
    assert read(sub, ca(ROOT, ROOT, 0, 0)) == (sub, [], [])


def test_a_root_whose_key_the_sub_ca_does_not_name_is_not_held_whatever_it_signed() -> None:
    # For one signature an RSA key can be made that verifies it; no key can be made for an
    # identifier.
    sub = ca(SUB, ROOT, 1, signed_by=0, names=7)
    assert read(sub, ca(ROOT, ROOT, 0, 0)) == (sub, [], [])


def test_two_cas_that_could_be_meant_are_none() -> None:
    with pytest.raises(PkiError, match="2 of 2"):
        read(ca(ROOT, ROOT, 0, 0), ca(SUB, SUB, 1, 1))


def test_an_ra_is_only_one_the_ca_has_certified() -> None:
    root = ca(ROOT, ROOT, 0, 0)
    ra = certificate(parse_dn("cn=ra"), ROOT, 1, signed_by=0)
    false = certificate(parse_dn("cn=false-ra"), ROOT, 2, signed_by=7)
    assert read(ra, false, root) == (root, [], [ra])


def test_requests_are_for_the_ra_that_may_decipher_else_for_the_ca() -> None:
    root = ca(ROOT, ROOT, 0, 0)
    signing = certificate(parse_dn("cn=ra-sign"), ROOT, 1, 0, usage=frozenset({"digitalSignature"}))
    enciphering = certificate(
        parse_dn("cn=ra-encr"), ROOT, 2, 0, usage=frozenset({"keyEncipherment"})
    )
    both = read_ca_certificates(build_degenerate((signing, enciphering, root)), START, legacy=False)
    assert both.recipient.der == enciphering
    one = read_ca_certificates(build_degenerate((signing, root)), START, legacy=False)
    assert one.recipient.der == root


def test_a_self_signed_ca_must_have_signed_itself() -> None:
    with pytest.raises(PkiError, match="bad-signature"):
        read(ca(ROOT, ROOT, 0, signed_by=7))


def test_a_huge_answer_is_not_read() -> None:
    with pytest.raises(PkiError, match="octets of CA certificates"):
        read_ca_certificates(bytes(65537), START, legacy=False)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"AES\nSHA-256\n", ("AES", "SHA-256")),
        (b"AES\r\n\r\nSHA-256", ("AES", "SHA-256")),
        (b"\xff\x00\x1b[31m\nAES", ("AES",)),
        (b"", ()),
        (b"A\n" * 5000, ("A",) * 64),
    ],
)
def test_capabilities_are_printable_words_and_not_many(body: bytes, words: tuple[str]) -> None:
    found = parse_capabilities(body)
    assert found[-len(words) :] == words if words else found == ()
    assert all(word.isprintable() for word in found)
    assert len(found) <= 64


# --- CertRep --------------------------------------------------------------------------------------


def enrolling() -> tuple[Scene, Trustpoint]:
    scene = Scene()
    scene.server("root-ca", grant="auto")
    authority = scene.start("root-ca").store.load_authority()
    assert authority is not None
    known = fingerprint(authority.certificate, "sha256")
    trustpoint = scene.trustpoint("ra", "root-ca", fingerprint=known)
    scene.send("ra", Authenticate())
    return scene, trustpoint


def answering_with(scene: Scene, *certificates: bytes) -> None:
    """The CA itself, with its own key, puts something else into its answer."""
    authority = scene.servers["root-ca"].store.load_authority()
    assert authority is not None

    def answer(request: HttpRequest, reply: HttpReply) -> HttpReply:
        other = UnsignedCertRep.to(
            scep.read_message(request.body), PkiStatus.SUCCESS, certificates=certificates
        )
        ca = load_certificate(authority.certificate)
        return replace(reply, body=other.sign(ca, authority.key, SeededRng("other answer")))

    scene.tamper = answer


def test_a_certificate_for_another_key_is_not_installed() -> None:
    scene, trustpoint = enrolling()
    answering_with(scene, certificate(parse_dn("hostname=r1.example.com"), ROOT, 1, signed_by=0))
    scene.send("ra", Enroll())
    assert (trustpoint.state, trustpoint.credential) == (State.FAILED, None)
    assert "no certificate for our key" in scene.told(EnrollmentFailed)[0].reason


def test_a_certificate_for_our_key_by_another_issuer_is_not_installed() -> None:
    scene, trustpoint = enrolling()
    # The router has the second key of the pool, the CA the first.
    foreign = build_certificate(
        serial=5,
        issuer=ROOT,
        subject=parse_dn("hostname=r1.example.com"),
        public_key_info=public_key_info(pool_key(2048, 1)),
        not_before=WHOLE,
        not_after=WHOLE + timedelta(days=1),
        issuer_key=pool_key(1024, 7),
        digest="sha256",
        ca=False,
        key_usage=ROUTER_USAGE,
    )
    answering_with(scene, foreign)
    scene.send("ra", Enroll())
    assert (trustpoint.state, trustpoint.credential) == (State.FAILED, None)
    assert "not signed by cn=root-ca" in scene.told(EnrollmentFailed)[0].reason


def test_the_router_finds_its_certificate_among_others() -> None:
    scene, trustpoint = enrolling()
    plain = scene.tamper
    scene.send("ra", Enroll())
    assert trustpoint.credential is not None
    own = trustpoint.credential.certificate
    scene.tamper = plain
    authority = scene.servers["root-ca"].store.load_authority()
    assert authority is not None
    answering_with(scene, authority.certificate, own)
    scene.send("ra", Enroll())
    assert trustpoint.state is State.ENROLLED
    assert trustpoint.credential.certificate == own


def test_the_answer_to_an_earlier_question_does_not_count_for_the_present_one() -> None:
    scene, trustpoint = enrolling()
    [*_, request] = trustpoint.handle(Enroll(), scene.now())
    assert isinstance(request, HttpRequest)
    for handle in (scene.requests[-1].handle, "", request.handle + "0"):
        assert trustpoint.handle(HttpReply(handle, 200, "", b"late"), scene.now()) == []
    assert trustpoint.state is State.REQUEST_SENT
    reply = scene.http(request)
    trustpoint.handle(reply, scene.now())
    assert trustpoint.state is State.ENROLLED
    assert trustpoint.handle(reply, scene.now()) == []
