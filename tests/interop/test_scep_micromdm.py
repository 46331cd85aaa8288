"""micromdm's scepclient with our subordinate CA, and a router of ours with its scepserver.

scepclient 2.1.0 signs with SHA-1, encrypts with single DES into pieces (BER) and, while it waits,
sends its PKCSReq again every 30 seconds in place of a CertPoll. scepserver answers with SHA-1 and
DES too, knows no PENDING, and takes from a subject only the attributes Go knows.
"""

from __future__ import annotations

import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from ikelab.ios.config import LabMode
from ikelab.runtime.namespace import inside
from tests.interop.our_router import OurRouter, start_our_router
from tests.interop.scep_authority import URL, Authorities
from tests.interop.segment import Segment

pytestmark = [pytest.mark.needs_root, pytest.mark.interop]

NAME = "r1.example.com"


# --- scepclient -------------------------------------------------------------------------------


class Client:
    """`scepclient` in a folder, where it keeps its key, request and certificate."""

    def __init__(self, authorities: Authorities, folder: Path, program: str) -> None:
        self.authorities = authorities
        self.folder = folder
        authorities.write_ca_certificates(folder)
        subca = x509.load_pem_x509_certificate((folder / "subca.pem").read_bytes())
        self._words = [
            *(program, "-server-url", URL, "-cn", NAME, "-challenge", "secret"),
            *("-private-key", "k.pem", "-certificate", "c.pem"),
            *("-ca-fingerprint", subca.fingerprint(SHA256()).hex()),
        ]

    def run(self) -> subprocess.CompletedProcess[str]:
        """Enroll; with a certificate in the folder, renew it."""
        return self.authorities.run(*self._words, cwd=self.folder)

    def run_until(self, said: str) -> str:
        """The same, ended when the CA's log has a text; what the log had since."""
        mark = len(self.authorities.subca.log)
        process = subprocess.Popen(
            self.authorities.command(*self._words),
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            return self.authorities.wait_for_log(said, mark)
        finally:
            process.terminate()
            process.wait(timeout=5)

    def certificate(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate((self.folder / "c.pem").read_bytes())


@pytest.fixture
def start(tmp_path: Path, need: Callable[[str], str]) -> Callable[[Authorities], Client]:
    return lambda authorities: Client(authorities, tmp_path, need("scepclient"))


Start = Callable[[Authorities], Client]


def test_scepclient_enrolls_and_renews_in_legacy_mode(
    legacy: Authorities, start: Start, need: Callable[[str], str]
) -> None:
    client = start(legacy)
    done = client.run()
    assert done.returncode == 0, done.stdout + done.stderr
    first = client.certificate()
    assert legacy.verify(need("openssl"), client.folder / "c.pem").endswith("c.pem: OK")
    done = client.run()
    assert done.returncode == 0, done.stdout + done.stderr
    renewed = client.certificate()
    assert renewed.subject == first.subject and renewed.serial_number > first.serial_number


def test_scepclient_waits_until_its_request_is_granted(legacy: Authorities, start: Start) -> None:
    """It would send the request again after 30 s; here it is ended and started again instead."""
    client = start(legacy)
    with legacy.granting_by_hand():
        client.run_until(" waits: ")
        assert not (client.folder / "c.pem").exists()
        before = legacy.requests()
        [number] = legacy.pending()
        legacy.decide(f"grant {number}")
        done = client.run()
        assert done.returncode == 0, done.stdout + done.stderr
        assert len(legacy.requests()) == len(before)
    assert client.certificate().subject.rfc4514_string().startswith(f"CN={NAME}")


def test_scepclient_is_told_when_its_request_is_rejected(legacy: Authorities, start: Start) -> None:
    client = start(legacy)
    with legacy.granting_by_hand():
        client.run_until(" waits: ")
        legacy.decide("reject all")
        done = client.run()
    assert done.returncode != 0 and "failInfo: badRequest" in done.stdout


def test_scepclient_is_refused_in_words_in_modern_mode(modern: Authorities, start: Start) -> None:
    client, mark = start(modern), len(modern.subca.log)
    done = client.run()
    assert done.returncode != 0 and "failInfo: badAlg" in done.stdout
    told = modern.wait_for_log("refused", mark)
    assert "weak-algorithm: the message is signed with sha1; only mode: legacy takes it" in told
    assert not (client.folder / "c.pem").exists()


# --- scepserver -------------------------------------------------------------------------------

SERVER_ADDRESS, ROUTER_ADDRESS = "192.0.2.30", "192.0.2.60"
PORT = 8080
CHALLENGE = "let-me-in"
ROUTER = f"""
hostname r1
ip domain name example.com
crypto key generate rsa label r1 modulus 2048
crypto pki trustpoint mdm
 enrollment url http://{SERVER_ADDRESS}:{PORT}/scep
 subject-name cn={NAME},o=cisco
 revocation-check none
 rsakeypair r1
interface GigabitEthernet0/0
 ip address {ROUTER_ADDRESS} 255.255.255.0
end
"""


@contextmanager
def scepserver(program: str, segment: Segment, folder: Path, *options: str) -> Iterator[Path]:
    """A running server; its CA certificate."""
    init = [program, "ca", "-init", "-keySize", "2048", "-depot", "depot"]
    subprocess.run(init, cwd=folder, check=True, capture_output=True)
    namespace = segment.add_host("mdm", SERVER_ADDRESS)
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            ["ip", "netns", "exec", namespace, program, "-depot", "depot", "-port", str(PORT)]
            + list(options),
            cwd=folder,
            stdout=log,
            stderr=log,
        )
    try:
        _wait_for_port(namespace)
        yield folder / "depot" / "ca.pem"
    finally:
        process.terminate()
        process.wait(timeout=5)


def _wait_for_port(namespace: str) -> None:
    deadline = time.monotonic() + 5
    while True:
        with inside(namespace), socket.socket() as probe:
            if probe.connect_ex((SERVER_ADDRESS, PORT)) == 0:
                return
        assert time.monotonic() < deadline, "scepserver does not listen"
        time.sleep(0.02)


@contextmanager
def router_beside_scepserver(
    need: Callable[[str], str], folder: Path, mode: LabMode, *options: str, lines: str = ""
) -> Iterator[tuple[OurRouter, x509.Certificate]]:
    """A router that knows the server's fingerprint, and the server's CA certificate."""
    config = ROUTER.replace(" rsakeypair r1\n", f" rsakeypair r1\n{lines}")
    with (
        tempfile.TemporaryDirectory(prefix="ikelab-t-") as directory,
        Segment() as segment,
        scepserver(need("scepserver"), segment, folder, *options) as ca_file,
        start_our_router(
            segment.add_host("r1", ROUTER_ADDRESS), Path(directory), config, mode=mode
        ) as router,
    ):
        ca = x509.load_pem_x509_certificate(ca_file.read_bytes())
        fingerprint = ca.fingerprint(SHA256()).hex()
        router.console.configure(["crypto pki trustpoint mdm", f"fingerprint {fingerprint}"])
        router.console.exec("crypto pki authenticate mdm")
        assert router.console.wait("authenticated", of="mdm", timeout=5), router.log
        yield router, ca


def test_our_router_enrolls_with_scepserver_in_legacy_mode(
    need: Callable[[str], str], tmp_path: Path
) -> None:
    with router_beside_scepserver(need, tmp_path, "legacy") as (router, ca):
        router.console.exec("crypto pki enroll mdm")
        assert router.console.wait("enrolled", of="mdm", timeout=5), router.log
        shown = router.console.exec("show crypto pki certificates mdm")
        assert f"cn={NAME}" in shown and "ou=SCEP CA" in shown
        [issued] = (tmp_path / "depot").glob(f"{NAME}*.pem")
    certificate = x509.load_pem_x509_certificate(issued.read_bytes())
    certificate.verify_directly_issued_by(ca)


def test_our_router_does_not_take_sha1_from_scepserver_in_modern_mode(
    need: Callable[[str], str], tmp_path: Path
) -> None:
    with router_beside_scepserver(need, tmp_path, "modern") as (router, _):
        router.console.exec("crypto pki enroll mdm")
        router.wait_for(lambda: "%PKI-6-CERTFAIL" in router.log, "refusal")
        assert "the message is signed with sha1; only mode: legacy takes it" in router.log
        assert not router.console.wait("enrolled", of="mdm", timeout=0)


@pytest.mark.parametrize(
    ("lines", "enrolled"),
    [(f" password {CHALLENGE}\n", True), (" password wrong-word\n", False), ("", False)],
)
def test_scepserver_asks_for_the_challenge_password_of_the_trustpoint(
    need: Callable[[str], str], tmp_path: Path, lines: str, enrolled: bool
) -> None:
    with router_beside_scepserver(
        need, tmp_path, "legacy", "-challenge", CHALLENGE, lines=lines
    ) as (router, _):
        router.console.exec("crypto pki enroll mdm")
        if enrolled:
            assert router.console.wait("enrolled", of="mdm", timeout=5), router.log
        else:
            router.wait_for(lambda: "%PKI-6-CERTREJECT" in router.log, "rejection")
        assert router.console.wait("enrolled", of="mdm", timeout=0) is enrolled
        assert CHALLENGE not in router.log + router.console.exec("show running-config")
