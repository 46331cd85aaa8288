"""SCEP against openssl and the clients of strongSwan and micromdm."""

from __future__ import annotations

import base64
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from ikelab.pki import scep
from ikelab.pki.cert_rep import UnsignedCertRep
from ikelab.pki.scep import FailInfo, MessageType, PkiStatus
from ikelab.pki.x509 import build_certificate, load_certificate, load_request
from tests.pki_samples import (
    CA_USAGE,
    DAY,
    ROUTER_USAGE,
    SampleRng,
    authority,
    name_of,
    pem_key,
    rsa_key,
)
from tests.unit.scep_exchange import CA_KEY, pkcs_req, transaction


@pytest.mark.interop
def test_openssl_takes_a_request_apart(need: Callable[[str], str], tmp_path: Path) -> None:
    openssl = need("openssl")
    (tmp_path / "message").write_bytes(pkcs_req(transaction()))
    (tmp_path / "ca.key").write_bytes(pem_key(CA_KEY))

    def run(*command: str, octets: bytes = b"") -> bytes:
        return subprocess.run(
            [openssl, *command], input=octets, cwd=tmp_path, capture_output=True, check=True
        ).stdout

    inner = run("cms", "-verify", "-inform", "DER", "-noverify", "-binary", "-in", "message")
    request = run("cms", "-decrypt", "-inform", "DER", "-inkey", "ca.key", octets=inner)
    text = run("req", "-inform", "DER", "-noout", "-text", octets=request)
    assert b"unstructuredName = spoke.example.com" in text
    assert b"challengePassword" in text
    tree = run("asn1parse", "-inform", "DER", "-in", "message")
    assert b"2.16.840.1.113733.1.9.7" in tree


class _Server(ThreadingHTTPServer):
    """A CA that answers with `status` once, then with SUCCESS."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        start = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
        self.key = rsa_key("live-ca", 2048)
        self.start = start
        self.status = PkiStatus.SUCCESS
        self.seen: list[MessageType] = []
        self.request = b""
        self.ca = authority(
            "live-ca",
            key=self.key,
            issuer_key=self.key,
            start=start,
            end=start + 9 * DAY,
            usage=CA_USAGE | {"keyEncipherment"},
        )

    def issue(self) -> bytes:
        request = load_request(self.request, legacy=True)
        return build_certificate(
            serial=5,
            issuer=name_of("live-ca"),
            subject=request.subject,
            public_key_info=request.public_key_info,
            not_before=self.start,
            not_after=self.start + DAY,
            issuer_key=self.key,
            digest="sha256",
            ca=False,
            key_usage=ROUTER_USAGE,
            fqdns=request.fqdns,
        )

    def answer(self, octets: bytes) -> bytes:
        message = scep.parse_message(octets, legacy=True)
        self.seen.append(message.message_type)
        content = scep.open_content(message, [(self.ca, self.key)], legacy=True)[1]
        if message.message_type in (MessageType.PKCS_REQ, MessageType.RENEWAL_REQ):
            self.request = content
        status, self.status = self.status, PkiStatus.SUCCESS
        reply = UnsignedCertRep.to(
            message,
            status,
            certificates=(self.issue(),) if status is PkiStatus.SUCCESS else (),
            fail_info=FailInfo.BAD_TIME if status is PkiStatus.FAILURE else None,
        )
        return reply.sign(self.ca, self.key, SampleRng())


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        if query["operation"] == ["GetCACaps"]:
            self._send(b"AES\nPOSTPKIOperation\nRenewal\nSHA-256\nSHA-384\nSHA-512\n")
        elif query["operation"] == ["GetCACert"]:
            self._send(self.server.ca.der, scep.CA_CERTIFICATE_TYPE)
        else:
            octets = base64.b64decode(query["message"][0])
            self._send(self.server.answer(octets), scep.PKI_MESSAGE_TYPE)

    def do_POST(self) -> None:
        octets = self.rfile.read(int(self.headers["Content-Length"]))
        self._send(self.server.answer(octets), scep.PKI_MESSAGE_TYPE)

    def _send(self, body: bytes, content_type: str = "text/plain") -> None:
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def serving() -> Iterator[tuple[_Server, str]]:
    """A CA on loopback and its URL."""
    with _Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server, f"http://127.0.0.1:{server.server_port}/cgi-bin/pkiclient.exe"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.interop
@pytest.mark.parametrize("status", list(PkiStatus))
@pytest.mark.parametrize(("cipher", "digest"), [("aes", "sha256"), ("des3", "sha1")])
def test_strongswan_enrolls(
    need: Callable[[str], str], tmp_path: Path, status: PkiStatus, cipher: str, digest: str
) -> None:
    """Enrollment at once, after one poll, or refused with a reason it prints."""
    with serving() as (server, url):
        server.status = status
        openssl = need("openssl")
        (tmp_path / "k.pem").write_bytes(pem_key(rsa_key("client", 2048)))
        subprocess.run(
            [openssl, "x509", "-inform", "DER", "-out", tmp_path / "ca.pem"],
            input=server.ca.der,
            check=True,
        )
        result = subprocess.run(
            [need("pki"), "--scep", "--url", url, "--in", "k.pem", "--dn", "C=US, CN=r1"]
            + ["--san", "r1.example.com", "--password", "hello", "--cacert", "ca.pem"]
            + ["--cacert-enc", "ca.pem", "--cacert-sig", "ca.pem", "--interval", "1"]
            + ["--maxpolltime", "9", "--cipher", cipher, "--digest", digest],
            cwd=tmp_path,
            capture_output=True,
            timeout=60,
        )
    if status is PkiStatus.FAILURE:
        assert result.returncode != 0
        assert b"badTime" in result.stderr
        return
    certificate = load_certificate(result.stdout)
    assert certificate.fqdns == ("r1.example.com",)
    assert certificate.is_signed_by(server.ca.public_key)
    assert load_request(server.request, legacy=True).challenge == "hello"
    polled = [MessageType.CERT_POLL] if status is PkiStatus.PENDING else []
    assert server.seen == [MessageType.PKCS_REQ, *polled]


@pytest.mark.interop
def test_micromdm_enrolls(need: Callable[[str], str], tmp_path: Path) -> None:
    """It signs with SHA-1, encrypts with DES and sends its encryptedContent in pieces."""
    with serving() as (server, url):
        subprocess.run(
            [need("scepclient"), "-private-key", "k.pem", "-server-url", url, "-keySize", "2048"]
            + ["-challenge", "secret", "-cn", "r1.example.com", "-certificate", "c.pem"],
            cwd=tmp_path,
            capture_output=True,
            timeout=60,
            check=True,
        )
    assert (tmp_path / "c.pem").read_bytes().startswith(b"-----BEGIN CERTIFICATE")
    assert load_request(server.request, legacy=True).challenge == "secret"
