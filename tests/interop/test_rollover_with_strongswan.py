"""strongSwan's `pki` asks for the next CA's certificates, and by a former one of the present CA."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ikelab.pki.cert_server import CertificateServer
from ikelab.pki.x509 import load_certificate
from tests.interop.test_strongswan_scep import StrongSwan, real_time_chain, write_key
from tests.pki_scene import Scene

YEAR = timedelta(days=365)
PEM = ("--outform", "pem")


def write_certificate(path: Path, der: bytes | None) -> None:
    assert der is not None
    path.write_bytes(x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM))


def rolling_root() -> tuple[Scene, CertificateServer]:
    """A root that lives now and has its next certificate already."""
    scene = Scene(wall=datetime.now().astimezone())
    scene.server("root-ca", grant="auto", lifetime_ca_certificate=YEAR, auto_rollover=YEAR)
    server = scene.start("root-ca")
    scene.ca_notices += server.tick(scene.now())
    assert server.certificates[1] is not None
    return scene, server


@pytest.mark.interop
def test_strongswan_renews_below_the_next_ca(tmp_path: Path, need: Callable[[str], str]) -> None:
    scene, server = rolling_root()
    pki = StrongSwan(need("pki"), tmp_path, scene)
    for name, der in zip(("ca.pem", "next.pem"), server.certificates, strict=True):
        write_certificate(tmp_path / name, der)
    write_key(tmp_path / "key.pem", 120)
    write_key(tmp_path / "newkey.pem", 121)
    common = ("--url", "URL", "--dn", "CN=r1.example.com", *PEM)
    trust = ("--cacert-enc", "ca.pem", "--cacert-sig", "ca.pem", "--cacert", "ca.pem")
    status, output, errors = pki.run(server, "--scep", "--in", "key.pem", *trust, *common)
    assert status == 0, errors
    (tmp_path / "cert.pem").write_bytes(output)
    trust = ("--cacert-enc", "next.pem", "--cacert-sig", "next.pem", "--cacert", "next.pem")
    old = ("--cert", "cert.pem", "--key", "key.pem")
    status, output, errors = pki.run(server, "--scep", "--in", "newkey.pem", *old, *trust, *common)
    assert status == 0, errors
    issued = x509.load_pem_x509_certificate(output)
    following = load_certificate(server.certificates[1] or b"")
    assert issued.not_valid_before_utc == following.not_before
    assert load_certificate(issued.public_bytes(Encoding.DER)).is_signed_by(following.public_key)


@pytest.mark.interop
def test_strongswan_is_answered_by_the_certificate_of_the_ca_that_it_knows(
    tmp_path: Path, need: Callable[[str], str]
) -> None:
    scene, root, server = real_time_chain()
    write_certificate(tmp_path / "root.pem", root.certificates[0])
    write_certificate(tmp_path / "old.pem", server.certificates[0])
    authority, above = server.store.load_authority(), root.store.load_authority()
    assert authority is not None and above is not None
    start = scene.wall.replace(microsecond=0)
    renewed = scene.sub_ca_certificate(authority.key, 99, start, YEAR)
    scene.ca_notices += server.install_certificate(
        renewed, [above.certificate], authority.key, scene.now()
    )
    assert server.certificates[0] == renewed
    pki = StrongSwan(need("pki"), tmp_path, scene)
    write_key(tmp_path / "key.pem", 120)
    trust = ("--cacert-enc", "old.pem", "--cacert-sig", "old.pem", "--cacert", "root.pem")
    status, output, errors = pki.run(
        *(server, "--scep", "--in", "key.pem", "--url", "URL", "--dn", "CN=r1.example.com"),
        *(*trust, *PEM),
    )
    assert status == 0, errors
    issued = load_certificate(x509.load_pem_x509_certificate(output).public_bytes(Encoding.DER))
    assert issued.is_signed_by(load_certificate(renewed).public_key)
