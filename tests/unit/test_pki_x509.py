"""Certificates and their fingerprints; witnesses: openssl, cryptography, sizes printed by IOS."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509 as library
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers

from ikelab.errors import PkiError
from ikelab.pki import der, extensions
from ikelab.pki.algorithms import key_identifier, public_key_info, sign, signature_algorithm
from ikelab.pki.x509 import (
    build_certificate,
    build_name,
    build_request,
    fingerprint,
    format_fingerprint,
    format_name,
    load_certificate,
    load_request,
)
from tests.pki_samples import (
    CA_USAGE,
    DAY,
    NOW,
    ROUTER_USAGE,
    authority,
    name_of,
    refused,
    router,
    rsa_key,
    survives,
)

SPOKE = build_name(
    [
        [
            ("hostname", "r35-3-1022"),
            ("ipaddress", "192.168.187.194"),
            ("serialNumber", "FTX1048A6DW"),
        ]
    ]
)


# --- certificates ---------------------------------------------------------------------------------


def test_guides_spoke_certificate_has_539_octets() -> None:
    """IOS prints "Added x509 peer certificate - (539) bytes" for r35-3-1022."""
    certificate = build_certificate(
        serial=4,
        issuer=name_of("du-subca"),
        subject=SPOKE,
        public_key_info=public_key_info(rsa_key("r35-3", 512)),
        not_before=NOW,
        not_after=NOW + 180 * DAY,
        issuer_key=rsa_key("du-subca"),
        digest="md5",
        ca=False,
        key_usage=ROUTER_USAGE,
        crl_url="http://192.26.185.99/du-subca.crl",
    )
    assert len(certificate) == 539


def test_router_certificate_reads_back_with_its_profile() -> None:
    spoke = router()
    assert (spoke.serial, spoke.digest, spoke.is_ca) == (0x1D0, "sha256", False)
    assert spoke.key_usage == ROUTER_USAGE
    assert spoke.fqdns == ("spoke.example.com",)
    assert spoke.crl_urls == ("http://198.51.100.9/root-ca.crl",)
    assert spoke.authority_key_id == authority("root-ca").subject_key_id
    assert spoke.subject_key_id == key_identifier(spoke.public_key_info)
    assert (spoke.not_before, spoke.not_after) == (NOW - DAY, NOW + 90 * DAY)
    assert not any(item.critical for item in spoke.extensions)
    assert spoke.is_signed_by(authority("root-ca").public_key)
    assert repr(spoke) == "<Certificate hostname=spoke.example.com 0x1D0>"


def test_ca_certificate_has_its_critical_extensions() -> None:
    ca = authority("root-ca", path_length=1)
    assert (ca.is_ca, ca.path_length, ca.key_usage) == (True, 1, CA_USAGE)
    critical = {item.oid for item in ca.extensions if item.critical}
    assert critical == {extensions.BASIC_CONSTRAINTS, extensions.KEY_USAGE}
    assert ca.authority_key_id == ca.subject_key_id
    assert ca.is_self_issued


def test_names_of_the_subject_count_as_host_name_and_address() -> None:
    request = load_request(
        build_request(
            subject=SPOKE,
            key=rsa_key("a"),
            digest="sha256",
            fqdns=("R35-3-1022", "other.example.com"),
            addresses=("198.51.100.1", "2001:db8::1"),
        )
    )
    assert request.fqdns == ("R35-3-1022", "other.example.com")
    assert request.addresses == ("198.51.100.1", "2001:db8::1", "192.168.187.194")


@pytest.mark.parametrize("digest", ["md5", "sha1", "sha256", "sha384", "sha512"])
def test_cryptography_reads_and_verifies_our_certificates(digest: str) -> None:
    ca = authority("root-ca", digest=digest)
    spoke = router(digest=digest)
    theirs = library.load_der_x509_certificate(spoke.der)
    assert theirs.serial_number == spoke.serial
    assert theirs.not_valid_after_utc == spoke.not_after
    assert theirs.subject.public_bytes() == spoke.subject
    usage = theirs.extensions.get_extension_for_class(library.KeyUsage).value
    assert (usage.digital_signature, usage.key_encipherment, usage.key_cert_sign) == (1, 1, 0)
    names = theirs.extensions.get_extension_for_class(library.SubjectAlternativeName).value
    assert names.get_values_for_type(library.DNSName) == ["spoke.example.com"]
    own = theirs.extensions.get_extension_for_class(library.SubjectKeyIdentifier).value.digest
    assert own == library.SubjectKeyIdentifier.from_public_key(spoke.public_key).digest
    if digest not in ("md5", "sha1"):  # which cryptography verifies no more
        theirs.verify_directly_issued_by(library.load_der_x509_certificate(ca.der))


@pytest.mark.interop
def test_openssl_prints_and_verifies_our_certificates(
    need: Callable[[str], str], tmp_path: Path
) -> None:
    ca, spoke = authority("root-ca", path_length=0), router()
    (tmp_path / "ca.pem").write_bytes(_pem(ca.der))
    (tmp_path / "spoke.pem").write_bytes(_pem(spoke.der))
    command = [need("openssl"), "x509", "-noout", "-text", "-in"]
    text = subprocess.run(
        [*command, tmp_path / "spoke.pem"], capture_output=True, check=True
    ).stdout.decode()
    for expected in (
        "Serial Number: 464 (0x1d0)",
        "Issuer: CN = root-ca",
        "Subject: unstructuredName = spoke.example.com",
        "Digital Signature, Key Encipherment",
        "URI:http://198.51.100.9/root-ca.crl",
        "DNS:spoke.example.com",
        "sha256WithRSAEncryption",
    ):
        assert expected in text
    text = subprocess.run(
        [*command, tmp_path / "ca.pem"], capture_output=True, check=True
    ).stdout.decode()
    assert re.search(r"Basic Constraints: critical\s+CA:TRUE, pathlen:0", text)
    assert re.search(r"Key Usage: critical\s+Digital Signature, Certificate Sign, CRL Sign", text)
    verify = [need("openssl"), "verify", "-attime", str(int(NOW.timestamp())), "-auth_level", "1"]
    subprocess.run(
        [*verify, "-x509_strict", "-CAfile", tmp_path / "ca.pem", tmp_path / "spoke.pem"],
        capture_output=True,
        check=True,
    )


@pytest.mark.interop
def test_reads_what_openssl_makes(need: Callable[[str], str], tmp_path: Path) -> None:
    subprocess.run(
        [need("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "/dev/null"]
        + ["-outform", "DER", "-out", tmp_path / "c.der", "-subj", "/C=US/O=K\u00f6ln/CN=x"]
        + ["-utf8", "-addext", "subjectAltName=DNS:x.example.com,IP:192.0.2.1"]
        + ["-addext", "extendedKeyUsage=serverAuth", "-days", "1"],
        capture_output=True,
        check=True,
    )
    certificate = load_certificate((tmp_path / "c.der").read_bytes())
    assert format_name(certificate.subject) == "cn=x,o=K\u00f6ln,c=US"
    assert (certificate.fqdns, certificate.addresses) == (("x.example.com",), ("192.0.2.1",))
    assert certificate.extended_key_usage == {"1.3.6.1.5.5.7.3.1"}
    assert certificate.is_ca
    assert certificate.is_signed_by(certificate.public_key)


def _pem(octets: bytes) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return library.load_der_x509_certificate(octets).public_bytes(Encoding.PEM)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"serial": 0}, "bad-certificate"),
        ({"serial": 1 << 159}, "bad-certificate"),
        ({"not_after": NOW - DAY}, "bad-certificate"),
        ({"crl_url": "http://k\u00f6ln/"}, "bad-certificate"),
        ({"addresses": ("example.com",)}, "bad-certificate"),
        ({"key_usage": frozenset({"signing"})}, "bad-certificate"),
        ({"digest": "md4"}, "unsupported-algorithm"),
        ({"issuer_key": "short", "digest": "sha512"}, "key-too-short"),
    ],
)
def test_builder_refuses_what_would_be_unsound(changes: dict[str, object], reason: str) -> None:
    arguments: dict[str, object] = {
        "serial": 1,
        "issuer": name_of("ca"),
        "subject": name_of("x"),
        "public_key_info": public_key_info(rsa_key("x")),
        "not_before": NOW,
        "not_after": NOW + DAY,
        "issuer_key": rsa_key("ca"),
        "digest": "sha256",
        "ca": False,
        "key_usage": ROUTER_USAGE,
    } | changes
    if arguments["issuer_key"] == "short":
        arguments["issuer_key"] = rsa_key("short", 512)
    assert refused(lambda: build_certificate(**arguments)) == reason  # type: ignore[arg-type]


def test_largest_serial_number_has_twenty_octets() -> None:
    certificate = router(serial=(1 << 159) - 1)
    assert certificate.serial == (1 << 159) - 1


# --- hostile certificates -------------------------------------------------------------------------


def crafted(
    *,
    serial: bytes = b"\x02\x01\x05",
    version: bytes = b"\xa0\x03\x02\x01\x02",
    inner: bytes | None = None,
    outer: bytes | None = None,
    issuer: bytes = name_of("x"),
    subject: bytes = name_of("x"),
    info: bytes | None = None,
    tail: bytes = b"",
    validity: bytes | None = None,
) -> bytes:
    """A self-signed certificate of any parts."""
    algorithm = signature_algorithm("sha256")
    key = rsa_key("crafted")
    tbs = der.sequence(
        version,
        serial,
        algorithm if inner is None else inner,
        issuer,
        validity or der.sequence(der.time(NOW), der.time(NOW + DAY)),
        subject,
        info or public_key_info(key),
        tail,
    )
    return der.sequence(tbs, outer or algorithm, der.bit_string(sign(key, tbs, "sha256")))


def wrapped(*entries: bytes) -> bytes:
    return der.explicit(3, der.sequence(*entries))


def spki(modulus: int, exponent: int) -> bytes:
    key = der.sequence(der.integer(modulus), der.integer(exponent))
    algorithm = der.sequence(der.oid("1.2.840.113549.1.1.1"), der.null())
    return der.sequence(algorithm, der.bit_string(key))


def test_crafted_certificate_is_sound_without_changes() -> None:
    assert load_certificate(crafted()).serial == 5


USAGE = extensions.build_key_usage(frozenset({"digitalSignature"}), critical=False)
MODULUS = rsa_key("crafted").public_key().public_numbers().n


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"serial": b"\x02\x01\xff"}, "negative serial number"),
        ({"serial": b"\x02\x01\x00"}, "serial number zero"),
        ({"serial": der.integer(1 << 160)}, "serial number of 21 octets"),
        ({"serial": b"\x02\x02\x00\x05"}, "padded serial number"),
        ({"version": b"\xa0\x03\x02\x01\x03"}, "version 4"),
        ({"version": b"", "tail": wrapped(USAGE)}, "extensions in version 1"),
        ({"version": b"", "tail": b"\x81\x02\x00\x01"}, "unique identifier in version 1"),
        ({"inner": signature_algorithm("sha1")}, "two signature algorithms"),
        ({"inner": der.sequence(der.oid("1.2.840.113549.1.1.11"))}, "parameters that differ"),
        ({"issuer": der.sequence()}, "no issuer"),
        ({"issuer": der.sequence(der.tlv(der.SET))}, "empty RDN"),
        ({"subject": name_of("x")[:-2] + b"\x05\x00"}, "a name cut short"),
        ({"subject": der.tlv(0x30, b"\x00" * 5000)}, "a name of 5,000 octets"),
        ({"tail": wrapped(USAGE, USAGE)}, "the same extension twice"),
        ({"tail": wrapped()}, "no extension"),
        (
            {"tail": wrapped(*(der.sequence(der.oid(f"1.3.{n}"), b"\x04\x00") for n in range(33)))},
            "33",
        ),
        ({"tail": wrapped(USAGE) + wrapped(USAGE)}, "extensions twice"),
        (
            {"tail": wrapped(extensions.build_extension("2.5.29.19", b"\x30\x03\x02\x01\x01"))},
            "path",
        ),
        ({"tail": wrapped(extensions.build_extension("2.5.29.17", b"\x30\x00"))}, "no name"),
        (
            {"tail": wrapped(extensions.build_extension("2.5.29.17", b"\x30\x06\x82\x04a\x00.b"))},
            "NUL",
        ),
        ({"tail": wrapped(extensions.build_extension("2.5.29.17", b"\x30\x05\x87\x03abc"))}, "IP"),
        ({"tail": wrapped(extensions.build_extension("2.5.29.15", b"\x03\x02\x09\x80"))}, "bits"),
        ({"validity": der.sequence(der.time(NOW))}, "one date"),
        ({"info": der.sequence()}, "no key"),
        ({"serial": b"\x02\x84\x7f\xff\xff\xff\x01"}, "a serial number of two gigabytes"),
    ],
)
def test_malformed_certificates_are_refused(changes: dict[str, bytes], why: str) -> None:
    octets = crafted(**changes)
    assert refused(lambda: load_certificate(octets)) == "malformed-certificate", why


@pytest.mark.parametrize(
    ("modulus", "exponent"),
    [
        (MODULUS, 1),
        (MODULUS, 2),
        (MODULUS, 65536),
        (MODULUS, -65537),
        (MODULUS, (1 << 80) + 1),
        (MODULUS & ~1, 65537),
        (-MODULUS, 65537),
        (0, 65537),
        ((1 << 128) + 51, 65537),
        ((1 << 16384) + 1, 65537),
    ],
    ids=["e=1", "e=2", "even e", "e<0", "long e", "even n", "n<0", "n=0", "129 bits", "16385 bits"],
)
def test_unsound_keys_are_refused(modulus: int, exponent: int) -> None:
    assert refused(lambda: load_certificate(crafted(info=spki(modulus, exponent)))) == "bad-key"


def test_other_algorithms_are_refused_by_name() -> None:
    algorithm = der.sequence(der.oid("1.2.840.113549.1.1.10"), der.null())
    octets = crafted(inner=algorithm, outer=algorithm)
    with pytest.raises(PkiError, match=r"1\.2\.840\.113549\.1\.1\.10") as caught:
        load_certificate(octets)
    assert caught.value.reason == "unsupported-algorithm"


@pytest.mark.parametrize("number", [-56, 0, 1 << 255], ids=["negative", "zero", "32 octets"])
def test_odd_serial_numbers_are_taken_from_requesters(number: int) -> None:
    """sscep signs its requests with certificates of 32-octet serials, IOS with negative ones."""
    octets = crafted(serial=der.integer(number))
    assert load_certificate(octets, any_serial=True).serial == number
    assert refused(lambda: load_certificate(octets)) == "malformed-certificate"


def test_critical_extension_that_nobody_knows_is_kept_in_mind() -> None:
    entry = extensions.build_extension("1.3.6.1.4.1.99999.1", b"\x05\x00", critical=True)
    assert load_certificate(crafted(tail=wrapped(entry))).unknown_critical == (
        "1.3.6.1.4.1.99999.1",
    )


def test_indefinite_lengths_are_refused_in_certificates() -> None:
    octets = crafted()
    inside = octets[4:]
    assert refused(lambda: load_certificate(b"\x30\x80" + inside + b"\0\0")) == (
        "malformed-certificate"
    )


def test_certificate_of_a_megabyte_is_refused_unread() -> None:
    assert refused(lambda: load_certificate(bytes(1 << 20))) == "malformed-certificate"


def test_damaged_certificates_raise_nothing_else() -> None:
    assert survives(load_certificate, router().der) > 700


def test_every_changed_octet_breaks_the_signature_or_the_certificate() -> None:
    ca, spoke = authority("root-ca"), router()
    for at in range(0, len(spoke.der), 3):
        octets = spoke.der[:at] + bytes((spoke.der[at] ^ 0x01,)) + spoke.der[at + 1 :]
        try:
            changed = load_certificate(octets)
        except PkiError:
            continue
        assert not changed.is_signed_by(ca.public_key), at


# --- fingerprints ---------------------------------------------------------------------------------


def test_fingerprint_is_printed_in_groups_of_eight() -> None:
    assert fingerprint(b"abc", "md5") == "900150983CD24FB0D6963F7D28E17F72"
    assert format_fingerprint(fingerprint(b"abc", "sha1")) == (
        "A9993E36 4706816A BA3E2571 7850C26C 9CD0D89D"
    )


def test_public_numbers_come_through_unchanged() -> None:
    numbers = load_certificate(crafted()).public_key.public_numbers()
    assert numbers == RSAPublicNumbers(65537, MODULUS)
