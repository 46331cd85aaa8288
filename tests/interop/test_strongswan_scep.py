"""strongSwan's `pki` enrolls, polls and renews at our certificate server over our web server."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ikelab.pki.ca_events import HttpIn, HttpOut, RequestQueued
from ikelab.pki.cert_server import CertificateServer
from ikelab.pki.name import parse_dn
from ikelab.pki.scep import PkiStatus
from ikelab.runtime.http import HttpServer
from ikelab.types import Now
from tests.pki_scene import Scene, pool_key
from tests.scep_requester import Requester


@dataclass
class StrongSwan:
    """`pki` of strongSwan beside our web server on 127.0.0.1, in one thread."""

    program: str
    directory: Path
    scene: Scene

    def run(self, server: CertificateServer, *arguments: str) -> tuple[int, bytes, str]:
        """Exit status, standard output, standard error. "URL" in the arguments becomes ours."""

        async def beside() -> tuple[int, bytes, str]:
            # Not the machine's own configuration; /dev/null is not a file to strongSwan.
            (self.directory / "strongswan.conf").touch()
            web = HttpServer(self._answer(server))
            await web.start("127.0.0.1", 0)
            url = f"http://127.0.0.1:{web.port}/scep"
            process = await asyncio.create_subprocess_exec(
                self.program,
                *(url if word == "URL" else word for word in arguments),
                cwd=self.directory,
                env=os.environ | {"STRONGSWAN_CONF": "strongswan.conf"},
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            output, errors = await asyncio.wait_for(process.communicate(), 60)
            await web.close()
            assert process.returncode is not None
            return process.returncode, output, errors.decode() + repr(self.scene.ca_notices)

        return asyncio.run(beside())

    def _answer(self, server: CertificateServer) -> Callable[[HttpIn], HttpOut]:
        def answer(request: HttpIn) -> HttpOut:
            out = server.answer(request, self.scene.now()).sign(self.scene.rng)
            self.scene.ca_notices += out.notices
            return out

        return answer


def real_time_chain() -> tuple[Scene, CertificateServer, CertificateServer]:
    """root-ca and ra-subca that live now: a foreign program has no other clock."""
    scene = Scene(wall=datetime.now().astimezone())
    scene.server("root-ca", grant="auto")
    asker = Requester(scene, scene.start("root-ca"))
    sub_ca = scene.server("ra-subca", mode="sub-cs", grant="auto")
    scene.start("ra-subca")
    reply = asker.enroll(subject=parse_dn("cn=ra-subca"), ca=True)
    assert reply.status is PkiStatus.SUCCESS
    [certificate] = reply.certificates
    sub_ca.install_certificate(certificate, [asker.ca.der], asker.key, scene.now())
    return scene, asker.server, sub_ca


def write_key(path: Path, index: int) -> None:
    key = pool_key(2048, index)
    octets = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    path.write_bytes(octets)


@pytest.mark.interop
@pytest.mark.parametrize("tier", ["root", "sub-ca"])
def test_strongswan_enrolls_and_renews(
    tier: str, tmp_path: Path, need: Callable[[str], str]
) -> None:
    scene, root, sub_ca = real_time_chain()
    server = root if tier == "root" else sub_ca
    pki = StrongSwan(need("pki"), tmp_path, scene)
    write_key(tmp_path / "key.pem", 120)
    write_key(tmp_path / "next.pem", 121)
    pem = ("--outform", "pem")
    status, _, errors = pki.run(server, "--scepca", "--url", "URL", "--caout", "ca.pem", *pem)
    assert status == 0, errors
    # The root is in ca.pem; a sub-CA is in ca-1.pem, and is who is asked.
    issuer = "ca.pem" if tier == "root" else "ca-1.pem"
    common = ["--url", "URL", "--cacert-enc", issuer, "--cacert-sig", issuer]
    common += ["--cacert", "ca.pem", *pem]
    common += ["--dn", "C=CH, O=lab, CN=r1.example.com", "--san", "r1.example.com"]
    status, output, errors = pki.run(
        server, "--scep", "--in", "key.pem", "--password", "my word", *common
    )
    assert status == 0, errors
    (tmp_path / "cert.pem").write_bytes(output)
    first = x509.load_pem_x509_certificate(output)
    status, output, errors = pki.run(
        *(server, "--scep", "--in", "next.pem", "--cert", "cert.pem", "--key", "key.pem"), *common
    )
    assert status == 0, errors
    second = x509.load_pem_x509_certificate(output)
    assert second.serial_number == first.serial_number + 1
    assert second.subject == first.subject
    assert second.public_key() == pool_key(2048, 121).public_key()
    assert server.requests()[-1].key.renews == first.serial_number


@pytest.mark.interop
def test_strongswan_polls_until_the_request_is_granted(
    tmp_path: Path, need: Callable[[str], str]
) -> None:
    scene, root, _ = real_time_chain()
    root.config = replace(root.config, grant="manual")
    pki = StrongSwan(need("pki"), tmp_path, scene)
    write_key(tmp_path / "key.pem", 120)
    plain = root.answer

    def grant_when_queued(request: HttpIn, now: Now) -> HttpOut:
        out = plain(request, now)
        if any(isinstance(notice, RequestQueued) for notice in out.notices):
            root.grant(None, scene.now())
        return out

    root.answer = grant_when_queued  # type: ignore[method-assign]
    pem = ("--outform", "pem")
    pki.run(root, "--scepca", "--url", "URL", "--caout", "ca.pem", *pem)
    status, output, errors = pki.run(
        *(root, "--scep", "--url", "URL", "--in", "key.pem", "--dn", "CN=r1.example.com"),
        *("--cacert-enc", "ca.pem", "--cacert-sig", "ca.pem", "--cacert", "ca.pem"),
        *("--interval", "1", "--maxpolltime", "20", *pem),
    )
    assert status == 0, errors
    certificate = x509.load_pem_x509_certificate(output)
    assert certificate.public_key() == pool_key(2048, 120).public_key()
