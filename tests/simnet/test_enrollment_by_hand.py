"""Terminal, PEM and PKCS #12 enrollment up to a tunnel, with the web servers of both CAs off.

Nobody here speaks SCEP: text is carried from console to console, as an administrator would.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ikelab.errors import ConfigError
from ikelab.ios.config_text import parse_config
from ikelab.ios.log import NodeLog
from ikelab.ios.typed import AnswerKind, Unanswered
from ikelab.node.console import Console
from ikelab.pki import pem
from ikelab.pki.events import CertificateInstalled, CrlInstalled, HttpRequest
from ikelab.pki.x509 import load_certificate
from tests.openssl_files import PASSPHRASE, Openssl
from tests.simnet.network import START, Simnet, SimNode

CONFIGS = Path(__file__).parents[2] / "netns" / "first-tunnel-manual" / "configs"
_PEM = re.compile(r"-----BEGIN [^-]+-----.*?-----END [^-]+-----\n", re.DOTALL)


class Office:
    """The lab with its CAs' web servers off, and a console at each node."""

    def __init__(self, form: str = "pem") -> None:
        self.net = Simnet()
        self.net.storage = "10.254.0.99"
        self.consoles: dict[str, Console] = {}
        for name in ("root-ca", "ra-subca", "hub", "spoke1"):
            text = (CONFIGS / f"{name}.cfg").read_text()
            node = self.net.add(parse_config(text, file=f"{name}.cfg"))
            self.consoles[name] = Console(node.router, lambda: [])
        for ca in ("root-ca", "ra-subca"):
            self.configure(ca, "no ip http server")
        for name, trustpoint in (("ra-subca", "ra-subca"), ("hub", "ra"), ("spoke1", "ra")):
            method = "enrollment terminal pem" if form == "pem" else "enrollment terminal"
            self.configure(name, f"crypto pki trustpoint {trustpoint}", method)
        self.net.run(1)

    def node(self, name: str) -> SimNode:
        return self.net.nodes[name]

    def type(self, name: str, *lines: str) -> str:
        """A command, and what is typed below it."""
        answer = self.consoles[name].exec("\n".join(lines), self.net.now)
        self.net.do(self.node(name), answer.actions)
        return answer.text

    def configure(self, name: str, *lines: str) -> str:
        answer = self.consoles[name].configure(lines, self.net.now)
        self.net.do(self.node(name), answer.actions)
        return answer.text

    def enable_sub_ca(self) -> str:
        """`no shutdown`, then text between the consoles of sub-CA and root; the CA's PEM."""
        root = pasted_part(self.type("root-ca", "crypto pki export root-ca pem terminal"), 0)
        said = self.type("ra-subca", "crypto pki authenticate ra-subca", root, "yes")
        assert "Trustpoint CA certificate accepted." in said
        self.configure("ra-subca", "crypto pki server ra-subca", "no shutdown")
        self.net.run(1)
        request = pasted_part(self.type("ra-subca", "crypto pki enroll ra-subca"), 0)
        signed = self.sign("root-ca", request)
        self.type("ra-subca", "crypto pki import ra-subca certificate", signed)
        self.net.run(1)
        assert "Status: enabled" in self.type("ra-subca", "show crypto pki server")
        exported = self.type("ra-subca", "crypto pki export ra-subca pem terminal")
        return pasted_part(exported, -1)

    def sign(self, ca: str, request: str) -> str:
        """Paste a request at a CA, grant it; the certificate as it is printed."""
        server = f"crypto pki server {ca}"
        said = self.type(ca, f"{server} request pkcs10 terminal", request, "quit")
        if "reqId=" in said:
            number = re.search(r"reqId=(\d+)", said)[1]  # type: ignore[index]
            said = self.type(ca, f"{server} grant {number}")
        assert said.startswith("% Granted certificate:\n")
        return said.removeprefix("% Granted certificate:\n")

    def enroll(self, name: str, ca: str) -> None:
        """A router by cut and paste."""
        self.type(name, "crypto pki authenticate ra", ca, "quit", "yes")
        said = self.type(name, "crypto pki enroll ra")
        request = said.split("Certificate Request follows:\n")[1].split("---End -")[0]
        signed = self.sign("ra-subca", request)
        said = self.type(name, "crypto pki import ra certificate", signed, "quit")
        assert said == "% Router Certificate successfully imported\n"

    def tunnel_comes_up(self) -> bool:
        hub, spoke = self.node("hub"), self.node("spoke1")
        self.net.acquire(spoke)
        return self.net.run(5, lambda: bool(spoke.installed) and spoke.keys() == hub.keys())

    def nobody_asked_a_ca(self) -> bool:
        asked = [r.url for n in self.net.nodes.values() for r in n.of(HttpRequest)]
        return all(url.startswith("http://10.254.0.99/") for url in asked)


def pasted_part(text: str, which: int) -> str:
    """One of the PEM blocks of what a console printed."""
    return _PEM.findall(text)[which]


@pytest.fixture
def elsewhere(tmp_path: Path, need) -> Openssl:
    """openssl, with a key and a request for spoke1."""
    made = Openssl(need("openssl"), tmp_path)
    made.run(
        *("req", "-newkey", "rsa:2048", "-nodes", "-keyout", "s.key", "-out", "s.csr"),
        *("-subj", "/CN=spoke1", "-addext", "subjectAltName=DNS:spoke1.cisco.example"),
    )
    return made


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


# --- what goes out again --------------------------------------------------------------------------


def imported(office: Office, elsewhere: Openssl, kind: str = "pem exportable") -> str:
    ca = office.enable_sub_ca()
    cert = office.sign("ra-subca", elsewhere.text("s.csr"))
    command = f"crypto pki import ra {kind} terminal x"
    office.type("spoke1", command, ca, elsewhere.text("s.key"), cert)
    elsewhere.write("ca.pem", ca)
    elsewhere.write("s.pem", cert)
    return ca


def test_an_exportable_identity_goes_out_as_pkcs12_and_openssl_opens_it(elsewhere: Openssl) -> None:
    office = Office()
    imported(office, elsewhere)
    said = office.type("spoke1", "crypto pki export ra pkcs12 terminal our word")
    [octets] = pem.read_pasted(said.partition("follows:\n")[2], pem.PKCS12)
    elsewhere.write("out.p12", octets)
    shown = elsewhere.run("pkcs12", "-in", "out.p12", "-nodes", "-passin", "pass:our word").stdout
    elsewhere.write("out.pem", shown)
    moduli = [
        elsewhere.run("rsa", "-in", name, "-noout", "-modulus").stdout
        for name in ("out.pem", "s.key")
    ]
    assert moduli[0] == moduli[1]


def test_an_exportable_identity_goes_out_as_pem_and_in_again_elsewhere(elsewhere: Openssl) -> None:
    office = Office()
    imported(office, elsewhere)
    said = office.type("spoke1", "crypto pki export ra pem terminal aes our word")
    assert "% Key name: ra\n   Usage: General Purpose Key\n" in said
    ca, key, cert = (block.text for block in pem.read_pem(said))
    office.configure("hub", "no crypto pki trustpoint ra")
    office.type("hub", "crypto pki import copy pem terminal our word", ca, key, cert)
    old, new = (
        office.node(name).router.trustpoints[point].credential
        for name, point in (("spoke1", "ra"), ("hub", "copy"))
    )
    assert old is not None and new is not None and old.certificate == new.certificate


def test_a_key_that_is_not_exportable_stays(elsewhere: Openssl) -> None:
    office = Office()
    imported(office, elsewhere, "pem")
    for command in ("pkcs12 terminal x", "pem terminal aes x"):
        with pytest.raises(ConfigError, match="not-exportable"):
            office.type("spoke1", f"crypto pki export ra {command}")
    assert "PRIVATE" not in office.type("spoke1", "crypto pki export ra pem terminal")


def test_a_key_pair_made_exportable_is_and_is_shown_to_be() -> None:
    office = Office()
    office.configure("spoke1", "crypto key generate rsa label away exportable modulus 2048")
    shown = office.type("spoke1", "show crypto key mypubkey rsa away")
    assert "Key is exportable." in shown
    assert "Key is not exportable." in office.type(
        "spoke1", "show crypto key mypubkey rsa spoke-keys"
    )


def test_3des_for_the_exported_key_is_for_legacy_labs(elsewhere: Openssl) -> None:
    office = Office()
    imported(office, elsewhere)
    with pytest.raises(ConfigError, match="legacy"):
        office.type("spoke1", "crypto pki export ra pem terminal 3des word")


def test_a_ca_that_is_not_enrolled_exports_its_own_certificate_only() -> None:
    office = Office()
    said = office.type("root-ca", "crypto pki export root-ca pem terminal")
    assert said.startswith(
        "% The specified trustpoint is not enrolled (root-ca).\n"
        "% Only export the CA certificate in PEM format.\n"
        "% CA certificate:\n-----BEGIN CERTIFICATE-----\n"
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


# --- the certificate server's list ----------------------------------------------------------------


def test_requests_are_removed_by_number_or_all_together() -> None:
    office = Office()
    ca = office.enable_sub_ca()
    server = "crypto pki server ra-subca"
    for name in ("hub", "spoke1"):
        office.type(name, "crypto pki authenticate ra", ca, "yes")
        request = pasted_part(office.type(name, "crypto pki enroll ra"), 0)
        office.type("ra-subca", f"{server} request pkcs10 terminal", request)
    assert office.type("ra-subca", f"{server} info requests").count("pending") == 2
    office.type("ra-subca", f"{server} remove 1")
    assert office.type("ra-subca", f"{server} info requests").count("pending") == 1
    office.type("ra-subca", f"{server} remove all")
    assert "pending" not in office.type("ra-subca", f"{server} info requests")
    with pytest.raises(ConfigError, match="unknown-request"):
        office.type("ra-subca", f"{server} remove 1")


def test_the_crl_is_shown_with_what_is_revoked() -> None:
    office = Office()
    office.enroll("hub", office.enable_sub_ca())
    credential = office.node("hub").router.trustpoints["ra"].credential
    assert credential is not None
    serial = load_certificate(credential.certificate).serial
    server = "crypto pki server ra-subca"
    assert "Number of CRL entries: 0\n" in office.type("ra-subca", f"{server} info crl")
    office.type("ra-subca", f"{server} revoke 0x{serial:X}")
    shown = office.type("ra-subca", f"{server} info crl")
    assert "Issuer: cn=ra-subca\n" in shown and "Number of CRL entries: 1\n" in shown
    assert f"Serial Number (hex): {serial:02X}\n" in shown


def test_the_form_of_the_printed_certificate_can_be_chosen() -> None:
    office = Office()
    office.configure(
        "root-ca", "crypto pki server root-ca", "shutdown", "grant auto", "no shutdown"
    )
    ca = office.enable_sub_ca()
    office.type("hub", "crypto pki authenticate ra", ca, "yes")
    request = pasted_part(office.type("hub", "crypto pki enroll ra"), 0)
    command = "crypto pki server root-ca request pkcs10 terminal"
    assert "BEGIN" not in office.type("root-ca", f"{command} base64", request)
    [block] = pem.read_pem(request)
    assert "BEGIN" in office.type("root-ca", f"{command} pem", pem.to_base64(block.der), "quit")


def test_grant_auto_warns() -> None:
    office = Office()
    office.configure("ra-subca", "crypto pki server ra-subca", "shutdown")
    said = office.configure("ra-subca", "crypto pki server ra-subca", "grant auto")
    assert "%PKI-6-CS_GRANT_AUTO: All enrollment requests will be automatically granted.\n" in said


@pytest.mark.parametrize(
    ("place", "typed", "word"),
    [
        ("crypto pki import ra ", "exec", "certificate"),
        ("crypto pki import ra ", "exec", "pkcs12"),
        ("crypto pki import ra ", "exec", "pem"),
        ("crypto pki export ra ", "exec", "pkcs12"),
        ("crypto pki server ra-subca ", "exec", "remove"),
        ("crypto pki server ra-subca ", "exec", "request"),
        ("crypto pki server ra-subca info ", "exec", "crl"),
        ("crypto pki server ra-subca password ", "exec", "generate"),
    ],
)
def test_the_question_mark_knows_the_words(place: str, typed: str, word: str) -> None:
    office = Office()
    shown = office.consoles["hub"]._session.help(place)
    assert f"  {word} " in shown


def test_an_installed_certificate_is_told_once() -> None:
    office = Office()
    office.enroll("hub", office.enable_sub_ca())
    assert len(office.node("hub").of(CertificateInstalled)) == 1


# --- the same console over SCEP -------------------------------------------------------------------


def over_scep() -> Office:
    """The CAs' web servers on; the sub-CA is enrolled, the hub knows no fingerprint."""
    office = Office()
    office.enable_sub_ca()
    office.configure("ra-subca", "ip http server")
    url = "enrollment url http://192.168.159.243:12345"
    office.configure("hub", "crypto pki trustpoint ra", url)
    return office


def test_an_offered_ca_certificate_is_answered_by_the_same_command() -> None:
    office = over_scep()
    point = office.node("hub").router.trustpoints["ra"]
    assert office.type("hub", "crypto pki authenticate ra") == ""
    office.net.run(1)
    shown = NodeLog().text(office.node("hub").log, office.net.now)
    assert "Trustpoint 'ra' is a subordinate CA and holds a non self signed cert" in shown
    assert "% Do you accept this certificate? [yes/no]:" in shown
    assert "not accepted" in office.type("hub", "crypto pki authenticate ra", "no")
    assert point.anchors == ()
    office.type("hub", "crypto pki authenticate ra")
    office.net.run(1)
    assert "accepted." in office.type("hub", "crypto pki authenticate ra", "yes")
    assert point.anchors


def test_an_answer_before_the_question_is_refused() -> None:
    office = over_scep()
    with pytest.raises(ConfigError, match="too many"):
        office.type("hub", "crypto pki authenticate ra", "yes")
    assert not office.node("hub").of(HttpRequest)


def test_enroll_says_what_it_sent_and_where_the_fingerprint_is() -> None:
    office = over_scep()
    office.type("hub", "crypto pki authenticate ra")
    office.net.run(1)
    office.type("hub", "crypto pki authenticate ra", "yes")
    said = office.type("hub", "crypto pki enroll ra", "chal lenge", "chal lenge")
    assert said.startswith("% Start certificate enrollment ..\n")
    assert "will include: " in said and "hub.cisco.example" in said and "chal" not in said
    office.net.run(1)
    [waiting] = office.node("ra-subca").router.servers["ra-subca"].requests()
    assert b"chal lenge" in waiting.request
    shown = office.type("hub", "show crypto pki certificate ra verbose")
    assert "Fingerprint MD5" in shown and "Status: Pending" in shown


def test_certificates_are_stored_under_issuer_and_serial_number() -> None:
    office = over_scep()
    office.type("hub", "crypto pki authenticate ra")
    office.net.run(1)
    office.type("hub", "crypto pki authenticate ra", "yes")
    office.type("hub", "crypto pki enroll ra")
    office.net.run(1)
    office.type("ra-subca", "crypto pki server ra-subca grant all")
    office.net.run(120)
    shown = office.type("hub", "show crypto pki certificates ra verbose")
    assert "  Storage: nvram:ra-subca#2.cer\n" in shown
    assert "  Storage: nvram:root-ca#2CA.cer\n" in shown
    assert "Fingerprint SHA1: " in shown


# --- algorithms of 2009 ---------------------------------------------------------------------------


def lone_router(mode: str) -> Office:
    """One router at the date of this machine, for files that openssl has just dated."""
    office = Office.__new__(Office)
    office.net = Simnet()
    office.net.elapsed = max((datetime.now(UTC) - START).total_seconds(), 0.0) + 1
    node = office.net.add(parse_config("hostname r1\nend\n"), mode)
    office.consoles = {"r1": Console(node.router, lambda: [])}
    return office


def test_a_file_of_2009_is_for_legacy_labs_and_goes_out_as_ios_wrote_it(elsewhere: Openssl) -> None:
    elsewhere.authority()
    elsewhere.router("r1")
    octets = pem.to_base64(elsewhere.pkcs12("r1", "-legacy"))
    command = f"crypto pki import ra pkcs12 terminal {PASSPHRASE}"
    with pytest.raises(ConfigError, match="weak-algorithm"):
        lone_router("modern").type("r1", command, octets)
    office = lone_router("legacy")
    assert "successfully" in office.type("r1", command, octets)
    elsewhere.run(
        *("rsa", "-traditional", "-des3", "-in", "r1.key", "-out", "e.key"),
        *("-passout", f"pass:{PASSPHRASE}"),
    )
    parts = (elsewhere.text("ca.pem"), elsewhere.text("e.key"), elsewhere.text("r1.pem"))
    office.type("r1", f"crypto pki import rb pem exportable terminal {PASSPHRASE}", *parts)
    said = office.type("r1", "crypto pki export rb pem terminal 3des our word")
    assert "DEK-Info: DES-EDE3-CBC," in said
    elsewhere.write("out.pem", pasted_part(said, 1))
    elsewhere.run("rsa", "-in", "out.pem", "-passin", "pass:our word", "-check", "-noout")
    exported = office.type("r1", "crypto pki export rb pkcs12 terminal our word")
    elsewhere.write("out.p12", pem.read_pem(exported)[0].der)
    shown = elsewhere.run("pkcs12", "-in", "out.p12", "-info", "-noout", "-passin", "pass:our word")
    assert "3-KeyTripleDES" in shown.stderr
