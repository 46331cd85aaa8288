"""Keys and certificates that leave a router as PEM or PKCS #12; openssl opens them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ikelab.errors import ConfigError
from ikelab.ios.config_text import parse_config
from ikelab.node.console import Console
from ikelab.pki import pem
from tests.openssl_files import PASSPHRASE, Openssl
from tests.simnet.network import START, Simnet
from tests.simnet.office import Office, imported, pasted_part

# --- what goes out again --------------------------------------------------------------------------


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
