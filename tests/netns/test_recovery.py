"""CAs that are killed and start again, and CAs that are lost and recovered from their archives."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ikelab.errors import ConfigError
from ikelab.pki.crl import load_crl
from ikelab.pki.x509 import load_certificate
from tests.netns.pki_lab import Lab, deployed

pytestmark = pytest.mark.needs_root
ROOT_URL = "ftp://root-ca:rootca-lab@10.254.0.99"
SUBCA_URL = "ftp://ra-subca:rasubca-lab@10.254.0.99"
LAB = """
segments:
  inside: {prefix: 10.254.0.0/24}
nodes:
  storage:
    kind: storage
    addresses: {inside: 10.254.0.99}
    ftp: {root-ca: rootca-lab, ra-subca: rasubca-lab}
  root-ca:
    kind: ca
    config: root-ca.cfg
    interfaces: {GigabitEthernet0/0: inside}
  ra-subca:
    kind: ca
    config: ra-subca.cfg
    interfaces: {GigabitEthernet0/0: inside}
  r1:
    kind: router
    config: r1.cfg
    interfaces: {GigabitEthernet0/0: inside}
trust:
  - {node: ra-subca, trustpoint: ra-subca, ca: root-ca}
  - {node: r1, trustpoint: ra, ca: ra-subca}
"""
ROOT_SERVER = f"""crypto pki server root-ca
 database level complete
 database archive pkcs12 password cisco123
 grant auto
 lifetime certificate 730
 lifetime ca-certificate 1825
 cdp-url http://10.254.0.99/root-ca.crl
 database url {ROOT_URL}
"""
SUBCA_SERVER = f"""crypto pki server ra-subca
 database level complete
 database archive pkcs12 password cisco123
 grant auto
 cdp-url http://10.254.0.99/ra-subca.crl
 mode sub-cs
 database url {SUBCA_URL}
"""
SUBCA_TRUSTPOINT = """crypto pki trustpoint ra-subca
 revocation-check crl none
 rsakeypair ra-subca
"""
SUBCA_ENROLLMENT = ("crypto pki trustpoint ra-subca", "enrollment url http://10.254.0.14:80")
CONFIGS = {
    "root-ca": f"""hostname root-ca
{ROOT_SERVER} no shutdown
interface GigabitEthernet0/0
 ip address 10.254.0.14 255.255.255.0
ip http server
end
""",
    "ra-subca": f"""hostname ra-subca
{SUBCA_SERVER}
{SUBCA_TRUSTPOINT} enrollment url http://10.254.0.14:80
interface GigabitEthernet0/0
 ip address 10.254.0.20 255.255.255.0
ip http server
ip http port 12345
end
""",
    "r1": """hostname r1
crypto pki trustpoint ra
 enrollment url http://10.254.0.20:12345
 revocation-check crl
interface GigabitEthernet0/0
 ip address 10.254.0.4 255.255.255.0
end
""",
}


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """Root, subordinate CA and a router it certified; both archives are in the storage."""
    with deployed(tmp_path / "recovery-lab", LAB, CONFIGS) as lab:
        for name in ("root-ca", "ra-subca"):
            assert lab.reached(name, "ca-enabled")
        yield lab


def line(lab: Lab, server: str, words: str) -> str:
    shown = lab.console(server, "show crypto pki server")
    return next(row.strip() for row in shown.splitlines() if words in row)


def fingerprint(lab: Lab, server: str) -> str:
    return line(lab, server, "CA cert fingerprint: ")


def newest(lab: Lab, user: str) -> int:
    """The highest serial number among the certificates in the storage."""
    return max(int(name[:-4], 16) for name in lab.files(user) if name.endswith(".crt"))


def enroll(lab: Lab) -> int:
    """The router asks once more; the serial number it gets."""
    before = set(lab.files("ra-subca"))
    lab.console("r1", "crypto pki enroll ra")
    assert lab.reached("r1", "fetched") and lab.reached("ra-subca", "ca-enabled")
    [name] = [name for name in set(lab.files("ra-subca")) - before if name.endswith(".crt")]
    assert load_certificate(lab.files("ra-subca")[name]).serial == int(name[:-4], 16)
    return int(name[:-4], 16)


def paste(lab: Lab, node: str, text: str, *more: str) -> str:
    return lab.configure(node, *(row for row in text.splitlines() if row), *more)


def test_a_killed_ca_goes_on_where_it_was(lab: Lab) -> None:
    seen, last = fingerprint(lab, "ra-subca"), newest(lab, "ra-subca")
    lab.console("ra-subca", "crypto pki server ra-subca revoke 0x2")
    assert lab.reached("ra-subca", "ca-enabled")
    crl = load_crl(lab.files("ra-subca")["ra-subca.crl"])
    lab.kill("ra-subca")
    lab.start("ra-subca")
    # Its configuration file has the server shut down, as IOS would after `reload` unsaved.
    lab.configure("ra-subca", "crypto pki server ra-subca", "no shutdown")
    assert lab.reached("ra-subca", "ca-enabled")
    assert fingerprint(lab, "ra-subca") == seen
    assert "Loading ra-subca.ser[OK - 32/4096 bytes]" in lab.log("ra-subca")
    after = load_crl(lab.files("ra-subca")["ra-subca.crl"])
    assert after.number is not None and crl.number is not None
    assert after.number > crl.number and after.this_update >= crl.this_update
    assert set(after.revoked) == {2}
    assert enroll(lab) == last + 1


def test_a_root_is_recovered_on_a_new_router(lab: Lab) -> None:
    seen, last = fingerprint(lab, "root-ca"), newest(lab, "root-ca")
    lab.kill("root-ca")
    lab.start("root-ca", empty=True)
    # Its own start found the storage of a server it is not.
    assert "root-ca is not started: storage-in-use" in _until(lab, "root-ca", "is not started")
    files = lab.files("root-ca")
    lab.configure("root-ca", "no crypto pki server root-ca")
    said = lab.configure("root-ca", f"crypto pki import root-ca pkcs12 {ROOT_URL} cisco123")
    size = len(files["root-ca_00002.p12"])
    assert f"Loading root-ca_00002.p12[OK - {size}/4096 bytes]" in said
    assert said.endswith("CRYPTO_PKI: Imported PKCS12 file successfully.\n")
    assert lab.files("root-ca") == files, "so far nothing was written"
    said = paste(lab, "root-ca", ROOT_SERVER, "no shutdown")
    assert "% Server database url was changed. You need to move the" in said
    assert lab.reached("root-ca", "ca-enabled")
    assert line(lab, "root-ca", "Status:") == "Status: enabled"
    assert fingerprint(lab, "root-ca") == seen
    assert f"(hex): {last:X}" in line(lab, "root-ca", "Last certificate issued")
    # The subordinate CA renews: a new number, under the CA it knows.
    lab.console("ra-subca", "crypto pki enroll ra-subca")
    assert lab.reached("ra-subca", "fetched") and lab.reached("root-ca", "ca-enabled")
    assert newest(lab, "root-ca") == last + 1


def _until(lab: Lab, node: str, words: str) -> str:
    """The log, once a storage was read: the console answers after what was before it."""
    for _ in range(100):
        if words in lab.log(node):
            break
        lab.reached(node, "storage-lost", within=0.1)
    return lab.log(node)


def test_a_subordinate_ca_is_recovered_on_a_new_router_the_url_comes_last(lab: Lab) -> None:
    seen, last = fingerprint(lab, "ra-subca"), newest(lab, "ra-subca")
    upper = line(lab, "ra-subca", "Upper CA cert fingerprint")
    lab.kill("ra-subca")
    lab.start("ra-subca", empty=True)
    lab.configure("ra-subca", "no crypto pki server ra-subca")
    assert "%Cannot find Certificate Server" in lab.console("ra-subca", "show crypto pki server")
    lab.configure("ra-subca", "no crypto pki trustpoint ra-subca")
    paste(lab, "ra-subca", SUBCA_SERVER)
    paste(lab, "ra-subca", SUBCA_TRUSTPOINT)
    with pytest.raises(ConfigError, match="wrong-password"):
        lab.configure("ra-subca", f"crypto pki import ra-subca pkcs12 {SUBCA_URL} cisco124")
    said = lab.configure("ra-subca", f"crypto pki import ra-subca pkcs12 {SUBCA_URL} cisco123")
    assert "Source filename [ra-subca]? ra-subca_00002.p12" in said
    lab.configure("ra-subca", *SUBCA_ENROLLMENT)
    lab.configure("ra-subca", "crypto pki server ra-subca", "no shutdown")
    assert lab.reached("ra-subca", "ca-enabled")
    assert fingerprint(lab, "ra-subca") == seen
    assert line(lab, "ra-subca", "Upper CA cert fingerprint") == upper
    assert enroll(lab) == last + 1
    # Step 10: the root, which grants by hand now, shows the request of the recovered CA.
    lab.configure("root-ca", "crypto pki server root-ca", "shutdown", "no grant auto")
    lab.configure("root-ca", "crypto pki server root-ca", "no shutdown")
    assert lab.reached("root-ca", "ca-enabled")
    lab.console("ra-subca", "crypto pki enroll ra-subca")
    assert lab.reached("ra-subca", "pending", "ra-subca")
    shown = lab.console("root-ca", "crypto pki server root-ca info requests")
    table = shown.partition("Subordinate CA certificate requests:")[2].partition("RA cert")[0]
    assert "pending" in table and "cn=ra-subca" in table
    lab.console("root-ca", "crypto pki server root-ca grant all")
    assert lab.reached("root-ca", "ca-enabled")
    lab.console("ra-subca", "crypto pki enroll ra-subca")
    assert lab.reached("ra-subca", "fetched") and lab.reached("ra-subca", "ca-enabled")
    assert fingerprint(lab, "ra-subca") != seen, "the certificate is new, its key is not"
