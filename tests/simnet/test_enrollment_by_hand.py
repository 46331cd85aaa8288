"""Terminal, PEM and PKCS #12 enrollment up to a tunnel, with the web servers of both CAs off.

Nobody here speaks SCEP: text is carried from console to console, as an administrator would.
"""

from __future__ import annotations

import pytest

from ikelab.errors import ConfigError
from ikelab.ios.log import NodeLog
from ikelab.ios.typed import AnswerKind, Unanswered
from ikelab.pki import pem
from ikelab.pki.events import CrlInstalled
from tests.openssl_files import PASSPHRASE, Openssl
from tests.simnet.office import Office, imported, pasted_part

# --- the three methods ----------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["pem", "base64"])
def test_cut_and_paste_up_to_the_tunnel(form: str) -> None:
    office = Office(form)
    ca = office.enable_sub_ca() if form == "pem" else bare_sub_ca(office)
    office.enroll("hub", ca)
    office.enroll("spoke1", ca)
    assert office.tunnel_comes_up()
    assert office.nobody_asked_a_ca()
    assert office.node("hub").of(CrlInstalled), "the CRL is the storage's, not the CA's"


def bare_sub_ca(office: Office) -> str:
    """The same without PEM anywhere: base64 as IOS prints it by default."""
    root = unarmoured(office.type("root-ca", "crypto pki export root-ca pem terminal"))
    office.type("ra-subca", "crypto pki authenticate ra-subca", root, "quit", "yes")
    office.configure("ra-subca", "crypto pki server ra-subca", "no shutdown")
    office.net.run(1)
    said = office.type("ra-subca", "crypto pki enroll ra-subca")
    request = said.split("Certificate Request follows:\n")[1].split("---End -")[0]
    assert "BEGIN" not in request
    office.type(
        "ra-subca", "crypto pki import ra-subca certificate", office.sign("root-ca", request)
    )
    office.net.run(1)
    return unarmoured(office.type("ra-subca", "crypto pki export ra-subca pem terminal"))


def unarmoured(text: str) -> str:
    [*_, last] = pem.read_pem(text)
    return pem.to_base64(last.der)


def test_pkcs12_made_elsewhere_up_to_the_tunnel(elsewhere: Openssl) -> None:
    office = Office()
    ca = office.enable_sub_ca()
    office.enroll("hub", ca)
    elsewhere.write("ca.pem", ca)
    elsewhere.write("s.pem", office.sign("ra-subca", elsewhere.text("s.csr")))
    octets = elsewhere.pkcs12("s")
    command = f"crypto pki import ra pkcs12 terminal {PASSPHRASE}"
    said = office.configure("spoke1", "\n".join([command, pem.to_base64(octets), "quit"]))
    assert said == "CRYPTO_PKI: Imported PKCS12 file successfully.\n"
    assert "rsakeypair ra\n" in office.type("spoke1", "show running-config")
    assert office.tunnel_comes_up() and office.nobody_asked_a_ca()


@pytest.mark.parametrize("encrypted", [True, False])
def test_pem_files_made_elsewhere_up_to_the_tunnel(elsewhere: Openssl, encrypted: bool) -> None:
    office = Office()
    ca = office.enable_sub_ca()
    office.enroll("hub", ca)
    cert = office.sign("ra-subca", elsewhere.text("s.csr"))
    key = elsewhere.text("s.key")
    if encrypted:
        elsewhere.run(
            *("pkey", "-aes256", "-in", "s.key", "-out", "e.key"),
            *("-passout", f"pass:{PASSPHRASE}"),
        )
        key = elsewhere.text("e.key")
    command = f"crypto pki import ra pem exportable terminal {PASSPHRASE}"
    said = office.type("spoke1", command, ca, "quit", key, "quit", cert, "quit")
    assert said == "% PEM files import succeeded.\n"
    assert office.tunnel_comes_up() and office.nobody_asked_a_ca()


def test_an_import_makes_the_trustpoint_that_is_not_there(elsewhere: Openssl) -> None:
    office = Office()
    ca = office.enable_sub_ca()
    elsewhere.write("ca.pem", ca)
    elsewhere.write("s.pem", office.sign("ra-subca", elsewhere.text("s.csr")))
    octets = pem.to_pem(pem.PKCS12, elsewhere.pkcs12("s"))
    office.type("spoke1", f"crypto pki import fresh pkcs12 terminal {PASSPHRASE}", octets)
    shown = office.type("spoke1", "show running-config")
    assert "crypto pki trustpoint fresh\n" in shown and PASSPHRASE not in shown
    assert "Associated Trustpoints: fresh" in office.type(
        "spoke1", "show crypto pki certificates fresh"
    )


# --- questions and refusals -----------------------------------------------------------------------


def test_a_question_without_an_answer_is_asked_and_nothing_is_done() -> None:
    office = Office()
    for lines, kind in (
        (["crypto pki authenticate ra"], AnswerKind.BLOCK),
        (["crypto pki import ra certificate"], AnswerKind.BLOCK),
        (["crypto pki import ra pkcs12 terminal x"], AnswerKind.BLOCK),
        (["crypto pki import ra pem terminal x", "AAAA", "quit"], AnswerKind.BLOCK),
        (["crypto pki enroll ra", "challenge"], AnswerKind.SECRET),
        (["no crypto pki certificate chain ra"], AnswerKind.YES_OR_NO),
    ):
        with pytest.raises(Unanswered) as asked:
            if lines[0].startswith("no "):
                office.configure("hub", *lines)
            else:
                office.type("hub", *lines)
        assert asked.value.kind is kind
    assert not office.node("hub").router.trustpoints["ra"].anchors


def test_the_ca_certificate_may_be_answered_in_a_second_step() -> None:
    office = Office()
    root = pasted_part(office.type("root-ca", "crypto pki export root-ca pem terminal"), 0)
    said = office.type("hub", "crypto pki authenticate ra", root)
    assert "Fingerprint MD5:" in said and said.endswith("[yes/no]:\n")
    assert "not accepted" in office.type("hub", "crypto pki authenticate ra", "no")
    assert not office.node("hub").router.trustpoints["ra"].anchors
    office.type("hub", "crypto pki authenticate ra", root)
    assert "accepted" in office.type("hub", "crypto pki authenticate ra", "yes")
    assert office.node("hub").router.trustpoints["ra"].anchors


def test_a_challenge_is_typed_twice_and_reaches_the_request_only() -> None:
    office = Office()
    ca = office.enable_sub_ca()
    office.type("hub", "crypto pki authenticate ra", ca, "yes")
    with pytest.raises(ConfigError, match="not the same"):
        office.type("hub", "crypto pki enroll ra", "one", "other")
    said = office.type("hub", "crypto pki enroll ra", "my-challenge", "my-challenge")
    assert b"my-challenge" in pem.read_pem(said)[0].der
    logged = NodeLog().text(office.node("hub").log, office.net.now)
    assert "my-challenge" not in logged and "my-challenge" not in repr(office.node("hub").log)
    assert "my-challenge" not in office.type("hub", "show running-config")
    assert "Certificate Request Fingerprint MD5" in logged


def test_lines_that_nothing_asks_for_are_refused_and_not_repeated() -> None:
    office = Office()
    for command in (
        "show clock",
        "crypto pki server ra-subca grant all",
        "crypto pki enroll ra\na",
    ):
        with pytest.raises(ConfigError) as refused:
            office.type("ra-subca", command, "a", "a secret")
        assert "secret" not in str(refused.value)
    with pytest.raises(ConfigError):
        office.configure("hub", "interface Tunnel1\nsecret")


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("crypto pki import nobody certificate", "unknown-trustpoint"),
        ("crypto pki export nobody pem terminal", "unknown-trustpoint"),
        ("crypto pki server nobody request pkcs10 terminal", "unknown-server"),
        ("crypto pki server nobody remove all", "unknown-server"),
        ("crypto pki export ra pem terminal", "no-ca-certificate"),
        ("crypto pki export ra pkcs12 terminal x", "not-enrolled"),
        ("crypto pki crl request nobody", "unknown-trustpoint"),
    ],
)
def test_what_is_not_there_is_said_to_be_missing(command: str, reason: str) -> None:
    office = Office()
    root = pasted_part(office.type("root-ca", "crypto pki export root-ca pem terminal"), 0)
    with pytest.raises(ConfigError, match=reason):
        office.type("hub", *([command, root] if "import" in command else [command]))


def test_an_import_over_certificates_that_are_there_is_refused(elsewhere: Openssl) -> None:
    office = Office()
    ca = imported(office, elsewhere)
    again = ["crypto pki import ra pem terminal x", ca, elsewhere.text("s.key")]
    with pytest.raises(ConfigError, match="has-certificates"):
        office.type("spoke1", *again, elsewhere.text("s.pem"))
    with pytest.raises(ConfigError, match="is-server"):
        again[0] = "crypto pki import ra-subca pem terminal x"
        office.type("ra-subca", *again, elsewhere.text("s.pem"))


def test_an_import_whose_parts_do_not_fit_leaves_nothing(elsewhere: Openssl) -> None:
    office = Office()
    ca = office.enable_sub_ca()
    cert = office.sign("ra-subca", elsewhere.text("s.csr"))
    elsewhere.run("genrsa", "-out", "other.key", "2048")
    elsewhere.authority()
    key, before = elsewhere.text("s.key"), office.node("spoke1").router.nvram.key_labels()
    for parts, reason in (
        ((ca, elsewhere.text("other.key"), cert), "not-our-key"),
        ((elsewhere.text("ca.pem"), key, cert), "no-ca-certificate"),
        ((ca, cert, cert), "no-key"),
        ((ca, key, key), "malformed-pem"),
    ):
        with pytest.raises(ConfigError, match=reason):
            office.type("spoke1", "crypto pki import new pem terminal x", *parts)
    assert office.node("spoke1").router.nvram.key_labels() == before
    assert "new" not in office.node("spoke1").router.trustpoints


def test_an_identity_that_has_ended_is_not_imported(elsewhere: Openssl) -> None:
    office = Office()
    ca = office.enable_sub_ca()
    cert = office.sign("ra-subca", elsewhere.text("s.csr"))
    office.net.run(86400 * 181)
    with pytest.raises(ConfigError, match="expired"):
        office.type(
            "spoke1", "crypto pki import ra pem terminal x", ca, elsewhere.text("s.key"), cert
        )


def test_removing_the_certificate_chain_asks_and_then_leaves_the_key_only() -> None:
    office = Office()
    office.enroll("hub", office.enable_sub_ca())
    router = office.node("hub").router
    office.configure("hub", "no crypto pki certificate chain ra\nno")
    assert router.trustpoints["ra"].credential is not None
    office.configure("hub", "no crypto pki certificate chain ra\nyes")
    assert router.trustpoints["ra"].credential is None and not router.trustpoints["ra"].anchors
    assert router.nvram.load_trustpoint("ra") is None and "hub-keys" in router.nvram.key_labels()


def test_a_trustpoint_that_is_removed_takes_its_certificates_along() -> None:
    office = Office()
    office.enroll("hub", office.enable_sub_ca())
    office.configure("hub", "no crypto pki trustpoint ra")
    office.configure("hub", "crypto pki trustpoint ra", "enrollment terminal")
    assert office.node("hub").router.trustpoints["ra"].credential is None


def test_auto_enroll_and_terminal_exclude_each_other_and_the_last_method_holds() -> None:
    office = Office()
    with pytest.raises(ConfigError, match="nobody is there to paste"):
        office.configure("hub", "crypto pki trustpoint ra", "auto-enroll 70")
    office.configure("hub", "crypto pki trustpoint ra", "enrollment url http://10.0.0.1")
    shown = office.type("hub", "show running-config")
    assert " enrollment url http://10.0.0.1\n" in shown and "enrollment terminal" not in shown
