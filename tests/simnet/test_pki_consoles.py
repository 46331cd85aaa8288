"""What the consoles of CA and router say: the CA's lists, and a router's questions over SCEP."""

from __future__ import annotations

import pytest

from ikelab.errors import ConfigError
from ikelab.ios.log import NodeLog
from ikelab.pki import pem
from ikelab.pki.events import CertificateInstalled, HttpRequest
from ikelab.pki.x509 import load_certificate
from tests.simnet.office import Office, pasted_part

# --- both -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["hub", "ra-subca"])
def test_the_caret_stands_under_the_line_that_was_typed(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Office().type(name, "show frob")
    shown, caret, marker = str(caught.value).splitlines()
    assert shown == f" {name}#show frob" and shown[caret.index("^") :] == "frob"
    assert marker == "% Invalid input detected at '^' marker."


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


def test_a_ca_that_is_authenticated_is_not_asked_in_silence() -> None:
    office = over_scep()
    office.type("hub", "crypto pki authenticate ra")
    office.net.run(1)
    office.type("hub", "crypto pki authenticate ra", "yes")
    said = office.type("hub", "crypto pki authenticate ra")
    assert said.startswith("% Trustpoint ra has its CA certificate: ")
    assert "`no crypto pki certificate chain ra` removes it" in said


def test_show_knows_verbose_without_a_trustpoint_and_names_one_that_is_none() -> None:
    office = over_scep()
    shown = office.type("ra-subca", "show crypto pki certificates verbose")
    assert "Fingerprint MD5: " in shown and "Fingerprint SHA1: " in shown
    for what in ("certificates", "trustpoints"):
        said = office.type("hub", f"show crypto pki {what} nosuch")
        assert said == "% Can't find trustpoint nosuch\n"


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


def test_configuration_mode_does_not_stay_for_whoever_asks_next() -> None:
    office = Office()
    for line in ("configure terminal", "conf t"):
        with pytest.raises(ConfigError, match="give its lines to `ikelab configure`"):
            office.type("hub", line)
        assert "Crypto session current status" in office.type("hub", "show crypto session")
