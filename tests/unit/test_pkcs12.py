"""PKCS #12 and PEM against openssl, in both directions; what is weak, broken or foreign."""

from __future__ import annotations

import base64
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from ikelab.errors import PkiError
from ikelab.pki import pem
from ikelab.pki.algorithms import public_key_info
from ikelab.pki.password_encryption import MAX_ITERATIONS
from ikelab.pki.pkcs12 import (
    Identity,
    dump_pkcs12,
    dump_private_key,
    dump_traditional_key,
    join_identity,
    load_pkcs12,
    load_private_key,
)
from ikelab.pki.x509 import format_name, load_certificate
from tests.openssl_files import PASSPHRASE, Openssl

pytestmark = pytest.mark.interop
NAME = "r1.example.com"


@pytest.fixture(scope="module")
def openssl(tmp_path_factory: pytest.TempPathFactory) -> Openssl:
    import shutil

    from tests.conftest import REQUIRE_PEERS, missing

    program = shutil.which("openssl")
    if program is None:
        missing("openssl is not installed", required=REQUIRE_PEERS)
    made = Openssl(program or "", tmp_path_factory.mktemp("openssl"))
    made.authority()
    made.router(NAME)
    return made


def reason_of(deed: Callable[[], object]) -> str:
    with pytest.raises(PkiError) as raised:
        deed()
    return raised.value.reason


# --- PKCS #12 -------------------------------------------------------------------------------------


def test_openssls_file_gives_key_certificate_and_ca(openssl: Openssl) -> None:
    found = load_pkcs12(openssl.pkcs12(NAME), PASSPHRASE, legacy=False)
    certificate = load_certificate(found.certificate)
    assert format_name(certificate.subject) == f"cn={NAME}"
    assert public_key_info(found.key) == certificate.public_key_info
    assert [format_name(load_certificate(ca).subject) for ca in found.chain] == ["cn=their-root"]
    assert "key" not in repr(found)


@pytest.mark.parametrize(
    "options",
    [
        ("-legacy",),
        ("-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-3DES"),
        ("-macalg", "sha1"),
        ("-keypbe", "PBE-SHA1-3DES"),
        ("-certpbe", "PBE-SHA1-3DES"),
        ("-keypbe", "des-ede3-cbc"),
    ],
)
def test_files_of_2009_open_in_legacy_labs_only(openssl: Openssl, options: tuple[str, ...]) -> None:
    octets = openssl.pkcs12(NAME, *options)
    assert reason_of(lambda: load_pkcs12(octets, PASSPHRASE, legacy=False)) == "weak-algorithm"
    assert load_pkcs12(octets, PASSPHRASE, legacy=True).chain


def test_a_wrong_passphrase_is_said_to_be_one(openssl: Openssl) -> None:
    octets = openssl.pkcs12(NAME)
    with pytest.raises(PkiError) as raised:
        load_pkcs12(octets, "another", legacy=False)
    assert raised.value.reason == "wrong-password"
    assert "another" not in str(raised.value)


def test_a_file_without_a_mac_is_refused(openssl: Openssl) -> None:
    octets = openssl.pkcs12(NAME, "-nomac")
    assert reason_of(lambda: load_pkcs12(octets, PASSPHRASE, legacy=True)) == (
        "unsupported-algorithm"
    )


@pytest.mark.parametrize("part", [("-nocerts",), ("-nokeys",)])
def test_a_file_with_half_of_it_is_refused(openssl: Openssl, part: tuple[str, ...]) -> None:
    if part == ("-nokeys",):
        openssl.run(
            *("pkcs12", "-export", "-nokeys", "-in", f"{NAME}.pem", "-out", "half.p12"),
            *("-passout", f"pass:{PASSPHRASE}"),
        )
        wanted = "no-key"
    else:
        openssl.run(
            *("pkcs12", "-export", "-nocerts", "-inkey", f"{NAME}.key", "-out", "half.p12"),
            *("-passout", f"pass:{PASSPHRASE}"),
        )
        wanted = "no-certificate"
    octets = openssl.octets("half.p12")
    assert reason_of(lambda: load_pkcs12(octets, PASSPHRASE, legacy=False)) == wanted


def test_a_file_that_asks_for_endless_iterations_is_not_begun(openssl: Openssl) -> None:
    octets = openssl.pkcs12(NAME, "-iter", str(MAX_ITERATIONS + 1))
    assert reason_of(lambda: load_pkcs12(octets, PASSPHRASE, legacy=True)) == (
        "unsupported-algorithm"
    )


def test_a_changed_or_cut_file_raises_our_error_and_never_opens_to_another_key(
    openssl: Openssl,
) -> None:
    octets = openssl.pkcs12(NAME, "-iter", "1")
    whole = load_pkcs12(octets, PASSPHRASE, legacy=True)
    chance = random.Random(12)
    for turn in range(300):
        at = chance.randrange(len(octets))
        changed = octets[:at] if turn % 3 == 0 else bytearray(octets)
        if isinstance(changed, bytearray):
            changed[at] ^= 1 << chance.randrange(8)
        try:
            found = load_pkcs12(bytes(changed), PASSPHRASE, legacy=True)
        except PkiError:
            continue
        assert public_key_info(found.key) == public_key_info(whole.key)
        assert found.certificate == whole.certificate


@pytest.mark.parametrize("legacy", [False, True])
def test_openssl_opens_our_file(openssl: Openssl, legacy: bool) -> None:
    identity = load_pkcs12(openssl.pkcs12(NAME), PASSPHRASE, legacy=False)
    openssl.write("ours.p12", dump_pkcs12(identity, "ra", "our word", legacy=legacy))
    shown = openssl.run("pkcs12", "-in", "ours.p12", "-info", "-nodes", "-passin", "pass:our word")
    assert ("3DES" in shown.stdout + shown.stderr or "TripleDES" in shown.stderr) is legacy
    assert ("AES-256-CBC" in shown.stderr) is not legacy
    labels = [block.label for block in pem.read_pem(shown.stdout)]
    assert labels == ["CERTIFICATE", "CERTIFICATE", "PRIVATE KEY"]
    openssl.write("ours.pem", shown.stdout)
    assert "OK" in openssl.run("verify", "-CAfile", "ca.pem", "ours.pem").stdout


def test_our_own_file_comes_back_as_it_was(openssl: Openssl) -> None:
    identity = load_pkcs12(openssl.pkcs12(NAME), PASSPHRASE, legacy=False)
    again = load_pkcs12(dump_pkcs12(identity, "ra", "x", legacy=False), "x", legacy=False)
    assert (again.certificate, again.chain) == (identity.certificate, identity.chain)


def test_a_certificate_for_another_key_is_refused(openssl: Openssl) -> None:
    openssl.router("r2.example.com")
    [other] = pem.read_pem(openssl.text("r2.example.com.key"))
    key = load_private_key(other, None, legacy=False)
    [own] = pem.read_pasted(openssl.text(f"{NAME}.pem"), pem.CERTIFICATE)
    assert reason_of(lambda: join_identity(key, own, [], legacy=False)) == "not-our-key"


def test_a_ca_of_the_same_name_with_another_key_is_not_taken_for_the_issuer(
    openssl: Openssl, tmp_path: Path
) -> None:
    impostor = Openssl(openssl.program, tmp_path)
    impostor.authority()
    [false_ca] = pem.read_pasted(impostor.text("ca.pem"), pem.CERTIFICATE)
    found = load_pkcs12(openssl.pkcs12(NAME), PASSPHRASE, legacy=False)
    assert join_identity(found.key, found.certificate, [false_ca], legacy=False) == Identity(
        found.key, found.certificate
    )


# --- private keys ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "weak"),
    [
        (("pkey", "-aes256"), False),
        (("rsa", "-traditional", "-aes256"), True),
        (("rsa", "-traditional", "-des3"), True),
        (("pkcs8", "-topk8", "-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA1"), True),
        (("pkcs8", "-topk8", "-v1", "PBE-SHA1-3DES"), True),
    ],
)
def test_an_encrypted_key_opens_and_old_encryption_is_for_legacy(
    openssl: Openssl, command: tuple[str, ...], weak: bool
) -> None:
    openssl.run(*command, "-in", f"{NAME}.key", "-out", "k.pem", "-passout", f"pass:{PASSPHRASE}")
    [block] = pem.read_pem(openssl.text("k.pem"))
    [plain] = pem.read_pem(openssl.text(f"{NAME}.key"))
    wanted = public_key_info(load_private_key(plain, None, legacy=False))
    assert public_key_info(load_private_key(block, PASSPHRASE, legacy=True)) == wanted
    assert reason_of(lambda: load_private_key(block, "wrong", legacy=True)) == "wrong-password"
    assert reason_of(lambda: load_private_key(block, None, legacy=True)) == "wrong-password"
    if weak:
        assert reason_of(lambda: load_private_key(block, PASSPHRASE, legacy=False)) == (
            "weak-algorithm"
        )
    else:
        assert public_key_info(load_private_key(block, PASSPHRASE, legacy=False)) == wanted


def test_openssl_opens_the_key_we_write(openssl: Openssl) -> None:
    identity = load_pkcs12(openssl.pkcs12(NAME), PASSPHRASE, legacy=False)
    openssl.write("out.pem", dump_private_key(identity.key, "our word"))
    openssl.run("pkey", "-in", "out.pem", "-passin", "pass:our word", "-out", "plain.pem")
    modulus = openssl.run("rsa", "-in", "plain.pem", "-noout", "-modulus").stdout
    assert modulus == openssl.run("rsa", "-in", f"{NAME}.key", "-noout", "-modulus").stdout


def test_a_key_that_is_not_for_rsa_is_refused(openssl: Openssl) -> None:
    openssl.run("ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out", "ec.pem")
    [block] = pem.read_pem(openssl.text("ec.pem"))
    assert reason_of(lambda: load_private_key(block, None, legacy=True)) == "no-key"
    openssl.run("pkey", "-in", "ec.pem", "-out", "ec8.pem")
    [block] = pem.read_pem(openssl.text("ec8.pem"))
    assert reason_of(lambda: load_private_key(block, None, legacy=True)) == "no-key"


def test_a_certificate_pasted_as_a_key_is_refused(openssl: Openssl) -> None:
    [block] = pem.read_pem(openssl.text("ca.pem"))
    assert reason_of(lambda: load_private_key(block, None, legacy=True)) == "no-key"


def test_octets_that_are_no_key_are_refused() -> None:
    block = pem.PemBlock("PRIVATE KEY", b"\x30\x03\x02\x01\x00")
    assert reason_of(lambda: load_private_key(block, None, legacy=True)) == "malformed-key"


# --- PEM ------------------------------------------------------------------------------------------


def test_our_pem_is_openssls_to_the_octet(openssl: Openssl) -> None:
    openssl.run("x509", "-in", "ca.pem", "-out", "same.pem")
    [block] = pem.read_pem(openssl.text("same.pem"))
    assert block.text == openssl.text("same.pem")


def test_text_around_blocks_crlf_and_blanks_are_taken(openssl: Openssl) -> None:
    openssl.run("x509", "-in", "ca.pem", "-text", "-out", "wordy.pem")
    text = "\r\n".join("   " + line + "  " for line in openssl.text("wordy.pem").splitlines())
    [der] = pem.read_pasted(text, pem.CERTIFICATE)
    assert format_name(load_certificate(der).subject) == "cn=their-root"


def test_bare_base64_is_taken_as_ios_prints_it(openssl: Openssl) -> None:
    [der] = pem.read_pasted(openssl.text("ca.pem"), pem.CERTIFICATE)
    assert pem.read_pasted(pem.to_base64(der), pem.CERTIFICATE) == (der,)
    assert base64.b64decode(pem.to_base64(der)) == der


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   \n",
        "this is not base64!",
        "-----BEGIN CERTIFICATE-----\nAAAA\n",
        "-----BEGIN CERTIFICATE-----\n====\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
        "AAA",
        "A" * 300_000,
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" * 17,
    ],
)
def test_what_is_no_pasted_certificate_is_refused(text: str) -> None:
    assert reason_of(lambda: pem.read_pasted(text, pem.CERTIFICATE)) == "malformed-pem"


def test_a_private_key_is_not_in_the_repr_of_its_block() -> None:
    block = pem.PemBlock("PRIVATE KEY", b"secret octets")
    assert "secret" not in repr(block)


def test_openssl_opens_the_key_that_ios_of_2009_would_write(openssl: Openssl) -> None:
    identity = load_pkcs12(openssl.pkcs12(NAME), PASSPHRASE, legacy=False)
    text = dump_traditional_key(identity.key, "our word", b"8 octets")
    assert "DEK-Info: DES-EDE3-CBC,38206F6374657473" in text
    openssl.write("out.pem", text)
    openssl.run("rsa", "-in", "out.pem", "-passin", "pass:our word", "-out", "plain.pem")
    modulus = openssl.run("rsa", "-in", "plain.pem", "-noout", "-modulus").stdout
    assert modulus == openssl.run("rsa", "-in", f"{NAME}.key", "-noout", "-modulus").stdout
    [block] = pem.read_pem(text)
    assert public_key_info(load_private_key(block, "our word", legacy=True)) == public_key_info(
        identity.key
    )
