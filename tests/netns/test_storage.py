"""The storage of a CA as real machines have it: written by FTP, read by HTTP, unplugged, back."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from ikelab.errors import ConfigError
from ikelab.pki.crl import load_crl
from ikelab.pki.x509 import load_certificate
from ikelab.runtime.namespace import inside
from ikelab.runtime.nodespec import namespace_name
from tests.netns.pki_lab import Lab, deployed

pytestmark = pytest.mark.needs_root
URL = "ftp://root-ca:rootca-lab@10.254.0.99"
LAB = """
segments:
  inside: {prefix: 10.254.0.0/24}
nodes:
  storage:
    kind: storage
    addresses: {inside: 10.254.0.99}
    ftp: {root-ca: rootca-lab}
  root-ca:
    kind: ca
    config: root-ca.cfg
    interfaces: {GigabitEthernet0/0: inside}
  r1:
    kind: router
    config: r1.cfg
    interfaces: {GigabitEthernet0/0: inside}
"""
ROOT_CA = f"""
hostname root-ca
crypto pki server root-ca
 database level complete
 database archive pkcs12 password cisco123
 grant auto
 cdp-url http://10.254.0.99/root-ca.crl
 database url {URL}
 no shutdown
interface GigabitEthernet0/0
 ip address 10.254.0.14 255.255.255.0
ip route 192.0.2.0 255.255.255.0 10.254.0.1
ip http server
end
"""
R1 = """
hostname r1
crypto pki trustpoint ra
 enrollment url http://10.254.0.14:80
 revocation-check crl
 fingerprint 00000000000000000000000000000000
interface GigabitEthernet0/0
 ip address 10.254.0.4 255.255.255.0
end
"""
FLAP = ("crypto pki server root-ca", "shutdown", "no shutdown")
UNREADABLE = (
    "% There was a problem reading the file 'root-ca.ser'\n%from certificate storage.\n"
    "% Please verify storage accessibility\n% and enable the server again.\n"
)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """A root CA with its storage, and a router that could ask for a certificate."""
    with deployed(tmp_path / "storage-lab", LAB, {"root-ca": ROOT_CA, "r1": R1}) as lab:
        assert lab.reached("root-ca", "ca-enabled")
        yield lab


def enroll(lab: Lab) -> None:
    """The administrator enters the fingerprint, the router asks and gets its certificate."""
    shown = lab.console("root-ca", "show crypto pki server")
    line = next(line for line in shown.splitlines() if "CA cert fingerprint" in line)
    lab.configure("r1", "crypto pki trustpoint ra", f"fingerprint {line.partition(':')[2]}")
    lab.console("r1", "crypto pki authenticate ra")
    assert lab.reached("r1", "authenticated")
    lab.console("r1", "crypto pki enroll ra")
    assert lab.reached("r1", "enrolled")


def status(lab: Lab) -> str:
    shown = lab.console("root-ca", "show crypto pki server")
    return next(line for line in shown.splitlines() if "Status:" in line).strip()


def until_disabled(lab: Lab) -> None:
    """The kernel takes three seconds to find that a neighbour is not there."""
    assert lab.reached("root-ca", "storage-lost", "root-ca")


def test_files_of_every_kind_are_there_and_openssl_reads_them(
    lab: Lab, tmp_path: Path, need: Callable[[str], str]
) -> None:
    enroll(lab)
    assert lab.reached("root-ca", "ca-enabled")
    files = lab.files("root-ca")
    assert set(files) == {
        *("1.crt", "1.cnm", "2.crt", "2.cnm"),
        *("root-ca.ser", "root-ca.crl", "root-ca_00002.p12"),
    }
    assert len(files["root-ca.ser"]) == 32 and files["root-ca.ser"].endswith(b"= 0x2")
    assert files["2.cnm"].startswith(b"subjectname_str = hostname=r1")
    said = lab.log("root-ca")
    for line in ("Writing 2.crt !", "Writing 2.cnm !", "Writing root-ca.ser !"):
        assert line in said
    assert said.index("Writing 2.crt !") < said.index("Writing 2.cnm !")
    assert "% Exporting Certificate Server signing certificate and keys..." in said
    with inside(namespace_name(lab.name, "r1")), urlopen("http://10.254.0.99/root-ca.crl") as web:
        assert web.read() == files["root-ca.crl"], "what was put by FTP is what is got by HTTP"
    for name in ("root-ca_00002.p12", "root-ca.crl", "1.crt", "2.crt"):
        (tmp_path / name).write_bytes(files[name])
    opened = _openssl(need, tmp_path, "pkcs12 -in root-ca_00002.p12 -nodes -passin pass:cisco123")
    assert "PRIVATE KEY" in opened and "CN = root-ca" in opened.replace("CN=", "CN = ")
    wrong = _openssl(need, tmp_path, "pkcs12 -in root-ca_00002.p12 -nodes -passin pass:cisco124")
    assert "PRIVATE KEY" not in wrong and "invalid password" in wrong
    for name in ("1.crt", "2.crt"):
        _openssl(need, tmp_path, f"x509 -inform DER -in {name} -out {name}.pem")
    _openssl(need, tmp_path, "crl -inform DER -in root-ca.crl -out crl.pem")
    checked = "verify -crl_check -CAfile 1.crt.pem -CRLfile crl.pem 2.crt.pem"
    assert "2.crt.pem: OK" in _openssl(need, tmp_path, checked)


def _openssl(need: Callable[[str], str], folder: Path, arguments: str) -> str:
    done = subprocess.run(
        [need("openssl"), *arguments.split()], cwd=folder, capture_output=True, text=True
    )
    return done.stdout + done.stderr


def test_the_guides_outage_disables_the_server_and_a_flap_heals_it(lab: Lab) -> None:
    assert status(lab) == "Status: enabled"
    before = lab.console("root-ca", "show crypto pki server")
    with lab.storage_unplugged():
        lab.configure("root-ca", *FLAP)
        until_disabled(lab)
        assert status(lab) == "Status: disabled, Storage not accessible"
        assert UNREADABLE in lab.log("root-ca")
        lab.console("r1", "crypto pki authenticate ra")
        assert not lab.reached("r1", "authenticated", within=0.5)
    assert status(lab) == "Status: disabled, Storage not accessible", "nobody flapped it"
    lab.configure("root-ca", *FLAP)
    assert lab.reached("root-ca", "ca-enabled")
    said = lab.log("root-ca").rpartition(UNREADABLE)[2]
    assert "Loading root-ca.ser[OK - 32/4096 bytes]\nLoading root-ca.crl[OK - " in said
    assert "%PKI-6-CS_ENABLED: Certificate server now enabled." in said
    after = lab.console("root-ca", "show crypto pki server")
    for words in ("CA cert fingerprint", "Last certificate issued"):
        assert _line(before, words) == _line(after, words)


def _line(text: str, words: str) -> str:
    return next(line for line in text.splitlines() if words in line)


def test_the_cas_own_interface_shut_down_does_the_same(lab: Lab) -> None:
    """As the guide types it, with the static routes that a link takes along."""
    namespace = namespace_name(lab.name, "root-ca")
    before = _routes(namespace)
    assert "192.0.2.0/24 via 10.254.0.1" in before
    lab.configure("root-ca", "interface GigabitEthernet0/0", "shutdown")
    assert "changed state to administratively down" in lab.log("root-ca")
    assert _routes(namespace) == ""
    lab.configure("root-ca", *FLAP)
    until_disabled(lab)
    assert status(lab) == "Status: disabled, Storage not accessible"
    lab.configure("root-ca", "interface GigabitEthernet0/0", "no shutdown")
    assert _routes(namespace) == before
    lab.configure("root-ca", *FLAP)
    assert lab.reached("root-ca", "ca-enabled")
    assert status(lab) == "Status: enabled"


def _routes(namespace: str) -> str:
    """Without the word for who made a route."""
    with inside(namespace):
        done = subprocess.run(["ip", "-4", "route"], capture_output=True, text=True, check=True)
    return done.stdout.replace(" proto static", "")


def test_a_running_server_issues_on_through_an_outage_and_the_storage_catches_up(lab: Lab) -> None:
    before = lab.files("root-ca")
    with lab.storage_unplugged():
        enroll(lab)
        lab.console("root-ca", "crypto pki server root-ca revoke 0x2")
        assert lab.reached("root-ca", "storage-waits", "root-ca", within=15)
        assert lab.files("root-ca") == before
    assert lab.reached("root-ca", "ca-enabled", within=20)
    files = lab.files("root-ca")
    own = lab.console("root-ca", "show crypto pki server")
    assert "serial number (hex): 2" in own
    assert load_certificate(files["2.crt"]).serial == 2
    assert set(load_crl(files["root-ca.crl"]).revoked) == {2}
    said = lab.log("root-ca")
    written = [line for line in said.splitlines() if line.startswith("Writing ")]
    tail = [f"Writing {name} !" for name in ("2.crt", "2.cnm", "root-ca.ser", "root-ca.crl")]
    assert written[-4:] == tail, "in order, nothing twice"
    assert "files of root-ca wait: " in said and "rootca-lab" not in said


def test_an_archive_that_cannot_be_fetched_is_told_at_the_console(lab: Lab) -> None:
    with pytest.raises(ConfigError, match=r"root-ca_00002\.p12|wrong-password|has its key"):
        lab.configure("root-ca", f"crypto pki import root-ca pkcs12 {URL} cisco123")
    with pytest.raises(ConfigError, match="No such file or directory"):
        lab.configure("r1", f"crypto pki import other pkcs12 {URL} cisco123")
    with pytest.raises(ConfigError, match="logging in as nobody"):
        lab.configure("r1", "crypto pki import other pkcs12 ftp://nobody@10.254.0.99 cisco123")
