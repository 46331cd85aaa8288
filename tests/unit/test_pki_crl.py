"""Revocation lists; witnesses: openssl, cryptography, the sizes IOS prints."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509 as library

from ikelab.errors import PkiError
from ikelab.pki import der
from ikelab.pki.algorithms import sign, signature_algorithm
from ikelab.pki.crl import CRL_NUMBER, RevokedEntries, build_crl, load_crl, verify_crl
from ikelab.pki.extensions import build_extension
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

HOURS = timedelta(hours=1)


# --- building and reading -------------------------------------------------------------------------


@pytest.mark.parametrize(("revoked", "size"), [((), 218), ((4,), 240)])
def test_version_1_has_the_sizes_ios_shows(revoked: tuple[int, ...], size: int) -> None:
    """`show crypto pki crls` of the guide: 218 octets empty, 240 with serial number 4."""
    octets = build_crl(
        issuer=name_of("du-subca"),
        this_update=NOW,
        next_update=NOW + 6 * HOURS,
        number=None,
        revoked=[(serial, NOW, None) for serial in revoked],
        key=rsa_key("du-subca"),
        digest="md5",
        authority_key_id=None,
        version=1,
    )
    assert len(octets) == size
    crl = load_crl(octets)
    assert (crl.version, crl.number, set(crl.revoked)) == (1, None, set(revoked))


def test_entries_encoded_before_give_the_same_crl() -> None:
    revoked = [(serial, NOW - DAY, serial % 3 or None) for serial in (300, 4, 2**80)]

    def built(entries: object, version: int = 2) -> bytes:
        return build_crl(
            issuer=name_of("root-ca"),
            this_update=NOW,
            next_update=NOW + 6 * HOURS,
            number=None,
            revoked=entries,  # type: ignore[arg-type]
            key=rsa_key("root-ca"),
            digest="sha256",
            authority_key_id=None,
            version=version,
        )

    entries = RevokedEntries(2, revoked[:1])
    entries.add(revoked[1:])
    assert len(entries) == 3 and built(entries) == built(revoked)
    assert refused(lambda: built(entries, version=1)) == "bad-crl"
    assert refused(lambda: entries.add([(1, NOW, 7)])) == "bad-crl"  # RFC 5280 leaves 7 out
    assert len(entries) == 3


def test_version_2_reads_back_with_number_dates_and_reasons() -> None:
    ca = authority("root-ca")
    octets = build_crl(
        issuer=ca.subject,
        this_update=NOW,
        next_update=NOW + 6 * HOURS,
        number=0x1234,
        revoked=[(4, NOW - DAY, 1), (5, NOW, None), (6, NOW, 0), (2**159 - 1, NOW, 6)],
        key=rsa_key("root-ca"),
        digest="sha256",
        authority_key_id=ca.subject_key_id,
    )
    crl = load_crl(octets)
    assert (crl.version, crl.number, crl.authority_key_id) == (2, 0x1234, ca.subject_key_id)
    assert (crl.this_update, crl.next_update) == (NOW, NOW + 6 * HOURS)
    assert dict(crl.revoked) == {
        4: (NOW - DAY, 1),
        5: (NOW, None),
        6: (NOW, None),
        2**159 - 1: (NOW, 6),
    }
    assert crl.unknown_critical == ()
    verify_crl(crl, ca)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("digest", ["md5", "sha256"])
def test_cryptography_reads_our_crls(version: int, digest: str) -> None:
    ca = authority("root-ca")
    crl = crl_of(ca, 4, 0x1D0, version=version, digest=digest)
    theirs = library.load_der_x509_crl(crl.der)
    assert theirs.next_update_utc == crl.next_update
    assert [entry.serial_number for entry in theirs] == [4, 0x1D0]
    if digest != "md5":  # which cryptography verifies no more
        assert theirs.is_signature_valid(ca.public_key)
    if version == 2:
        number = theirs.extensions.get_extension_for_class(library.CRLNumber).value
        assert number.crl_number == 7
        key_id = theirs.extensions.get_extension_for_class(library.AuthorityKeyIdentifier).value
        assert key_id.key_identifier == ca.subject_key_id


@pytest.mark.interop
@pytest.mark.parametrize("version", [1, 2])
def test_openssl_verifies_our_crls(
    need: Callable[[str], str], tmp_path: Path, version: int
) -> None:
    ca = authority("root-ca")
    _write_pem(tmp_path / "ca.pem", need, "x509", ca.der)
    crl = crl_of(ca, 4, version=version, digest="sha256")
    result = subprocess.run(
        [need("openssl"), "crl", "-inform", "DER", "-noout", "-text", "-CAfile"]
        + [str(tmp_path / "ca.pem")],
        input=crl.der,
        capture_output=True,
        check=True,
    )
    assert b"verify OK" in result.stdout + result.stderr
    assert b"Serial Number: 04" in result.stdout
    if version == 2:
        assert b"Key Compromise" in result.stdout


def _write_pem(path: Path, need: Callable[[str], str], kind: str, octets: bytes) -> None:
    subprocess.run(
        [need("openssl"), kind, "-inform", "DER", "-out", str(path)],
        input=octets,
        capture_output=True,
        check=True,
    )


@pytest.mark.interop
def test_reads_a_crl_of_openssl(need: Callable[[str], str], tmp_path: Path) -> None:
    openssl = need("openssl")
    (tmp_path / "index").write_text(
        "R\t360101000000Z\t260303000000Z,keyCompromise\t01D0\tunknown\t/CN=a\n"
        "R\t360101000000Z\t260303000000Z,CAkeyTime,20260301000000Z\t01D1\tunknown\t/CN=b\n"
    )
    (tmp_path / "number").write_text("0A\n")
    config = tmp_path / "ca.cnf"
    config.write_text(
        f"[ca]\ndefault_ca=x\n[x]\ndatabase={tmp_path}/index\ncrlnumber={tmp_path}/number\n"
        "default_md=sha256\ncrl_extensions=e\n[e]\nauthorityKeyIdentifier=keyid:always\n"
    )
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", tmp_path / "k.pem"]
        + ["-out", tmp_path / "c.pem", "-subj", "/CN=x", "-days", "9"],
        capture_output=True,
        check=True,
    )
    subprocess.run(
        [openssl, "ca", "-gencrl", "-config", config, "-keyfile", tmp_path / "k.pem"]
        + ["-cert", tmp_path / "c.pem", "-crldays", "3", "-out", tmp_path / "crl.pem"],
        capture_output=True,
        check=True,
    )
    octets = subprocess.run(
        [openssl, "crl", "-in", tmp_path / "crl.pem", "-outform", "DER"],
        capture_output=True,
        check=True,
    ).stdout
    crl = load_crl(octets)
    assert crl.number == 10
    assert {serial: reason for serial, (_, reason) in crl.revoked.items()} == {0x1D0: 1, 0x1D1: 2}


def test_version_1_with_what_it_cannot_carry_is_not_built() -> None:
    def build(number: int | None, key_id: bytes | None) -> bytes:
        return build_crl(
            issuer=name_of("x"),
            this_update=NOW,
            next_update=NOW,
            number=number,
            revoked=(),
            key=rsa_key("x"),
            digest="sha256",
            authority_key_id=key_id,
            version=1,
        )

    assert refused(lambda: build(1, None)) == "bad-crl"
    assert refused(lambda: build(None, b"x")) == "bad-crl"


def test_ten_thousand_entries_are_found_by_serial_number() -> None:
    crl = crl_of(authority("root-ca"), *range(1, 10_001))
    assert len(crl.revoked) == 10_000
    assert crl.revoked[9_999] == (NOW - DAY, 1)
    assert 10_001 not in crl.revoked


# --- hostile --------------------------------------------------------------------------------------

ENTRY = der.sequence(der.integer(4), der.time(NOW))


def crafted(
    *,
    version: bytes = b"\x02\x01\x01",
    inner: bytes | None = None,
    issuer: bytes = name_of("root-ca"),
    dates: bytes = der.time(NOW) + der.time(NOW + DAY),
    entries: bytes = der.sequence(ENTRY),
    tail: bytes = b"",
) -> bytes:
    """A CRL of any parts, signed by root-ca."""
    algorithm = signature_algorithm("sha256")
    tbs = der.sequence(version, inner or algorithm, issuer, dates, entries, tail)
    return der.sequence(tbs, algorithm, der.bit_string(sign(rsa_key("root-ca"), tbs, "sha256")))


def extended(*entries: bytes) -> bytes:
    return der.explicit(0, der.sequence(*entries))


NUMBER = build_extension(CRL_NUMBER, der.integer(1))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"version": b"\x02\x01\x02"}, "version 3"),
        ({"version": b"\x02\x01\x00"}, "version 1 written out"),
        ({"version": b"", "tail": extended(NUMBER)}, "extensions in version 1"),
        ({"inner": signature_algorithm("sha1")}, "two algorithms"),
        ({"issuer": der.sequence()}, "no issuer"),
        ({"dates": b""}, "no date"),
        ({"entries": der.sequence(der.sequence(der.integer(4)))}, "entry without a date"),
        ({"entries": der.sequence(der.sequence(b"\x02\x00", der.time(NOW)))}, "empty serial"),
        ({"entries": der.sequence(der.sequence(der.null(), der.time(NOW)))}, "serial of NULL"),
        ({"entries": der.sequence(b"\x30\x30" + ENTRY[2:])}, "entry longer than the list"),
        ({"entries": der.sequence(ENTRY + b"\x30")}, "half an entry"),
        ({"entries": der.sequence(der.sequence(ENTRY[2:], der.null()))}, "NULL as extensions"),
        ({"tail": extended(NUMBER, NUMBER)}, "number twice"),
        ({"tail": extended(build_extension(CRL_NUMBER, der.integer(-1)))}, "negative number"),
        ({"tail": extended(build_extension(CRL_NUMBER, der.integer(1 << 161)))}, "21 octets"),
        ({"tail": extended()}, "no extension"),
    ],
)
def test_malformed_crls_are_refused(changes: dict[str, bytes], why: str) -> None:
    octets = crafted(**changes)
    assert refused(lambda: load_crl(octets)) == "malformed-crl", why


def test_crafted_crl_is_sound_without_changes() -> None:
    verify_crl(load_crl(crafted()), authority("root-ca"))


@pytest.mark.parametrize(
    ("tail", "entries"),
    [
        (extended(build_extension("2.5.29.28", b"\x30\x03\x84\x01\xff", critical=True)), b""),
        (
            b"",
            der.sequence(
                der.sequence(
                    ENTRY[2:],
                    der.sequence(build_extension("2.5.29.29", b"\x30\x00", critical=True)),
                )
            ),
        ),
    ],
    ids=["list", "entry"],
)
def test_indirect_crls_are_never_used(tail: bytes, entries: bytes) -> None:
    crl = load_crl(crafted(tail=tail, entries=entries))
    assert refused(lambda: verify_crl(crl, authority("root-ca"))) == (
        "crl-unknown-critical-extension"
    )


def test_first_of_two_entries_for_one_serial_number_stays() -> None:
    twice = der.sequence(ENTRY, der.sequence(der.integer(4), der.time(NOW - DAY)))
    assert load_crl(crafted(entries=twice)).revoked == {4: (NOW, None)}


def test_damaged_crls_raise_nothing_else() -> None:
    crl = crl_of(authority("root-ca"), 4, 5)
    assert survives(load_crl, crl.der) > len(crl.der)


# --- verifying ------------------------------------------------------------------------------------


def test_crl_of_another_ca_is_refused() -> None:
    crl = crl_of(authority("other-ca"), name="other-ca")
    assert refused(lambda: verify_crl(crl, authority("root-ca"))) == "crl-wrong-issuer"


def test_crl_for_another_key_of_the_same_name_is_refused() -> None:
    renewed = authority("root-ca", key=rsa_key("next key"), issuer_key=rsa_key("next key"))
    assert refused(
        lambda: verify_crl(crl_of(renewed, key=rsa_key("next key")), authority("root-ca"))
    ) == ("crl-wrong-issuer")


@pytest.mark.parametrize("version", [1, 2])
def test_crl_signed_by_an_impostor_is_refused(version: int) -> None:
    crl = crl_of(authority("root-ca"), key=rsa_key("impostor"), version=version)
    assert refused(lambda: verify_crl(crl, authority("root-ca"))) == "crl-bad-signature"


def test_ca_without_the_right_to_sign_crls_is_refused() -> None:
    ca = authority("root-ca", usage=CA_USAGE - {"cRLSign"})
    assert refused(lambda: verify_crl(crl_of(ca), ca)) == "key-usage"


@pytest.mark.parametrize("digest", ["md5", "sha1"])
def test_weak_crls_are_for_legacy_mode_only(digest: str) -> None:
    ca = authority("root-ca")
    crl = crl_of(ca, digest=digest)
    assert refused(lambda: verify_crl(crl, ca)) == "weak-algorithm"
    verify_crl(crl, ca, legacy=True)


def test_every_changed_octet_of_a_crl_is_noticed() -> None:
    ca = authority("root-ca")
    octets = crl_of(ca, 4).der
    for at in range(len(octets)):
        changed = octets[:at] + bytes((octets[at] ^ 0x01,)) + octets[at + 1 :]
        with pytest.raises(PkiError):
            verify_crl(load_crl(changed), ca)
