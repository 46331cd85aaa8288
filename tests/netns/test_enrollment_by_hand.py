"""A real lab whose CAs run no web server: text carried between consoles ends in a tunnel."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ikelab.pki import pem
from ikelab.runtime.control import ControlClient
from ikelab.runtime.namespace import inside
from tests.command_line import copied_lab, ikelab
from tests.openssl_files import PASSPHRASE, Openssl

pytestmark = [pytest.mark.needs_root, pytest.mark.interop]
NAME = "enroll-by-hand"
RUN = Path("/run/ikelab") / NAME
_PEM = re.compile(r"-----BEGIN [^-]+-----.*?-----END [^-]+-----\n", re.DOTALL)


def write_lab(folder: Path) -> Path:
    """The shipped lab: no web server at the CAs, nobody enrolled, routers enroll by hand."""
    file = copied_lab("first-tunnel-manual", folder / NAME) / "lab.yaml"
    text = re.sub(r"\n# The administrator.*?\ntrust:\n.*?\n\n", "\n", file.read_text(), flags=re.S)
    assert "trust:" not in text
    file.write_text(text)
    for name in ("root-ca", "ra-subca", "hub", "spoke1"):
        config = folder / NAME / "configs" / f"{name}.cfg"
        lines = config.read_text().replace("\nip http server\n", "\n")
        config.write_text(re.sub(r"enrollment url \S+", "enrollment terminal pem", lines))
    return folder / NAME


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[None]:
    try:
        ikelab("deploy", write_lab(tmp_path))
        yield
    finally:
        ikelab("destroy", NAME)


def console(node: str, *lines: str) -> str:
    with ControlClient(RUN / f"{node}.sock", timeout=20) as client:
        return client.exec("\n".join(lines))


def configure(node: str, *lines: str) -> None:
    with ControlClient(RUN / f"{node}.sock", timeout=20) as client:
        client.configure(lines)


def wait(node: str, condition: str, of: str | None = None) -> bool:
    with ControlClient(RUN / f"{node}.sock") as client:
        return client.wait(condition, of=of, timeout=20)


def block(text: str, which: int) -> str:
    return _PEM.findall(text)[which]


def sign(ca: str, request: str) -> str:
    said = console(ca, f"crypto pki server {ca} request pkcs10 terminal pem", request)
    if found := re.search(r"reqId=(\d+)", said):
        said = console(ca, f"crypto pki server {ca} grant {found[1]}")
    return block(said, 0)


def refuses(namespace: str, address: str, port: int) -> bool:
    with inside(f"ikelab-{NAME}-{namespace}"), socket.socket() as tcp:
        tcp.settimeout(2)
        try:
            tcp.connect((address, port))
        except ConnectionRefusedError:
            return True
        return False


def test_terminal_and_pkcs12_enrollment_without_a_web_server(
    lab: None, tmp_path: Path, need: Callable[[str], str]
) -> None:
    assert wait("root-ca", "ca-enabled")
    assert refuses("ra-subca", "10.254.0.14", 80)

    root = block(console("root-ca", "crypto pki export root-ca pem terminal"), 0)
    console("ra-subca", "crypto pki authenticate ra-subca", root, "yes")
    configure("ra-subca", "crypto pki server ra-subca", "no shutdown")
    assert wait("ra-subca", "pending", "ra-subca")
    request = block(console("ra-subca", "crypto pki enroll ra-subca"), 0)
    signed = sign("root-ca", request)
    console("ra-subca", "crypto pki import ra-subca certificate", signed)
    assert wait("ra-subca", "ca-enabled") and refuses("spoke1", "192.168.159.243", 12345)
    ca = block(console("ra-subca", "crypto pki export ra-subca pem terminal"), -1)

    # The hub by cut and paste, through the command line as a user would.
    ikelab("exec", "--lab", NAME, "hub", f"crypto pki authenticate ra\n{ca}\nyes")
    request = block(ikelab("exec", "--lab", NAME, "hub", "crypto pki enroll ra").stdout, 0)
    ikelab(
        "exec",
        "--lab",
        NAME,
        "hub",
        f"crypto pki import ra certificate\n{sign('ra-subca', request)}",
    )
    assert wait("hub", "enrolled", "ra")

    # The spoke with a file that openssl made.
    openssl = Openssl(need("openssl"), tmp_path)
    openssl.run(
        *("req", "-newkey", "rsa:2048", "-nodes", "-keyout", "s.key", "-out", "s.csr"),
        *("-subj", "/CN=spoke1", "-addext", "subjectAltName=DNS:spoke1.cisco.example"),
    )
    openssl.write("ca.pem", ca)
    openssl.write("s.pem", sign("ra-subca", openssl.text("s.csr")))
    octets = pem.to_base64(openssl.pkcs12("s"))
    console("spoke1", f"crypto pki import ra pkcs12 terminal {PASSPHRASE}", octets, "quit")
    assert wait("spoke1", "enrolled", "ra")

    assert "(5/5)" in console("spoke1", "ping 20.0.0.4 source 20.0.0.5 repeat 5")
    assert wait("spoke1", "tunnel-up", "Tunnel1") and wait("hub", "tunnel-up", "Tunnel1")
    for node in ("hub", "spoke1", "root-ca", "ra-subca"):
        log = (RUN / f"{node}.log").read_text()
        assert PASSPHRASE not in log and "BEGIN" not in log and "MII" not in log
