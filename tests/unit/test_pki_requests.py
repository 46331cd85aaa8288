"""PKCS #10 requests; witnesses: openssl, cryptography."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509 as library

from ikelab.pki import der, extensions
from ikelab.pki.algorithms import public_key_info, sign, signature_algorithm
from ikelab.pki.x509 import build_name, build_request, fingerprint, load_request
from tests.pki_samples import name_of, refused, rsa_key, survives

SPOKE = build_name(
    [
        [
            ("hostname", "r35-3-1022"),
            ("ipaddress", "192.168.187.194"),
            ("serialNumber", "FTX1048A6DW"),
        ]
    ]
)


def test_request_reads_back_with_challenge_and_names() -> None:
    octets = build_request(
        subject=SPOKE, key=rsa_key("a"), digest="sha256", challenge="F00@bar", fqdns=("a.example",)
    )
    request = load_request(octets)
    assert request.challenge == "F00@bar"
    assert request.fqdns == ("a.example", "r35-3-1022")
    assert request.subject == SPOKE
    assert request.public_key_info == public_key_info(rsa_key("a"))
    assert not request.requests_ca
    assert "F00" not in repr(request)


def test_same_key_and_subject_give_the_same_request() -> None:
    """The guide's hub has one fingerprint at two CAs (A2FD052B...)."""
    first, second = (
        build_request(subject=SPOKE, key=rsa_key("a"), digest="md5", challenge="x") for _ in "ab"
    )
    assert fingerprint(first, "md5") == fingerprint(second, "md5")


def test_request_asks_for_a_ca_certificate_only_when_told() -> None:
    octets = build_request(subject=name_of("sub"), key=rsa_key("a"), digest="sha256", ca=True)
    assert load_request(octets).requests_ca


@pytest.mark.parametrize("challenge", [None, "secret", "pass word*_@"])
def test_cryptography_verifies_our_requests(challenge: str | None) -> None:
    octets = build_request(
        subject=SPOKE,
        key=rsa_key("a"),
        digest="sha256",
        challenge=challenge,
        fqdns=("a.example",),
        addresses=("192.0.2.1",),
    )
    theirs = library.load_der_x509_csr(octets)
    assert theirs.is_signature_valid
    names = theirs.extensions.get_extension_for_class(library.SubjectAlternativeName).value
    assert names.get_values_for_type(library.DNSName) == ["a.example"]
    if challenge:
        oid = library.oid.AttributeOID.CHALLENGE_PASSWORD
        assert theirs.attributes.get_attribute_for_oid(oid).value == challenge.encode()


@pytest.mark.interop
@pytest.mark.parametrize("digest", ["md5", "sha1", "sha256"])
def test_openssl_verifies_our_requests(need: Callable[[str], str], digest: str) -> None:
    octets = build_request(subject=SPOKE, key=rsa_key("a", 512), digest=digest, challenge="x")
    result = subprocess.run(
        [need("openssl"), "req", "-inform", "DER", "-noout", "-verify", "-text"],
        input=octets,
        capture_output=True,
        check=True,
    )
    assert b"verify OK" in result.stdout + result.stderr
    assert b"challengePassword" in result.stdout


@pytest.mark.interop
def test_reads_a_request_of_openssl(need: Callable[[str], str], tmp_path: Path) -> None:
    config = tmp_path / "req.cnf"
    config.write_text(
        "[req]\ndistinguished_name=dn\nattributes=at\nprompt=no\nreq_extensions=ext\n"
        "[dn]\nunstructuredName=spoke.example.com\n[at]\nchallengePassword=hello\n"
        "[ext]\nsubjectAltName=DNS:other.example.com\n"
    )
    octets = subprocess.run(
        [need("openssl"), "req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", "/dev/null"]
        + ["-config", str(config), "-outform", "DER"],
        capture_output=True,
        check=True,
    ).stdout
    request = load_request(octets)
    assert request.challenge == "hello"
    assert request.fqdns == ("other.example.com", "spoke.example.com")


def test_attributes_out_of_order_are_verified_over_the_octets_that_came() -> None:
    """strongSwan writes them so; cryptography raises InvalidSetOrdering."""
    key = rsa_key("a")
    password = der.sequence(
        der.oid("1.2.840.113549.1.9.7"), der.set_of(der.tlv(der.PRINTABLE_STRING, b"secret"))
    )
    names = extensions.build_alternative_names(("z.example",), ())
    wanted = der.sequence(der.oid("1.2.840.113549.1.9.14"), der.set_of(der.sequence(names)))
    assert password < wanted
    info = der.sequence(
        der.integer(0), SPOKE, public_key_info(key), der.explicit(0, wanted, password)
    )
    signature = der.bit_string(sign(key, info, "sha256"))
    request = load_request(der.sequence(info, signature_algorithm("sha256"), signature))
    assert (request.challenge, request.fqdns) == ("secret", ("z.example", "r35-3-1022"))


def test_request_signed_by_another_key_is_refused() -> None:
    octets = build_request(subject=SPOKE, key=rsa_key("a"), digest="sha256")
    info = der.parse(octets).children()[0].raw
    stolen = der.sequence(
        info, signature_algorithm("sha256"), der.bit_string(sign(rsa_key("b"), info, "sha256"))
    )
    assert refused(lambda: load_request(stolen)) == "bad-signature"


@pytest.mark.parametrize(("digest", "bits"), [("md5", 1024), ("sha1", 1024), ("sha256", 768)])
def test_weak_requests_are_for_legacy_mode_only(digest: str, bits: int) -> None:
    octets = build_request(subject=SPOKE, key=rsa_key("a", bits), digest=digest)
    assert refused(lambda: load_request(octets)) == "weak-algorithm"
    assert load_request(octets, legacy=True).digest == digest


def test_attribute_twice_is_refused() -> None:
    key = rsa_key("a")
    password = der.sequence(
        der.oid("1.2.840.113549.1.9.7"), der.set_of(der.tlv(der.PRINTABLE_STRING, b"secret"))
    )
    info = der.sequence(
        der.integer(0), SPOKE, public_key_info(key), der.explicit(0, password, password)
    )
    signature = der.bit_string(sign(key, info, "sha256"))
    octets = der.sequence(info, signature_algorithm("sha256"), signature)
    assert refused(lambda: load_request(octets)) == "malformed-request"


def test_damaged_requests_raise_nothing_else() -> None:
    octets = build_request(
        subject=SPOKE, key=rsa_key("a"), digest="sha256", challenge="x", fqdns=("a.example",)
    )
    assert survives(load_request, octets) == 2 * len(octets) + 1
