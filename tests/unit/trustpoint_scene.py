"""A router's trustpoint at a root CA or at a subordinate one, and what it was given."""

from __future__ import annotations

from cryptography import x509

from ikelab.pki.cert_server import CertificateServer
from ikelab.pki.trustpoint import Trustpoint
from ikelab.pki.x509 import fingerprint
from tests.pki_scene import Scene


def ca_fingerprint(server: CertificateServer, digest: str = "sha256") -> str:
    authority = server.store.load_authority()
    assert authority is not None
    return fingerprint(authority.certificate, digest)


def with_root(*, legacy: bool = False, **config: object) -> Scene:
    scene = Scene(legacy=legacy)
    scene.server("root-ca", **({"grant": "auto"} | config))
    scene.start("root-ca")
    return scene


def with_router(scene: Scene, **config: object) -> Trustpoint:
    known = ca_fingerprint(scene.servers["root-ca"])
    return scene.trustpoint("ra", "root-ca", **({"fingerprint": known} | config))


def with_sub_ca(scene: Scene, **config: object) -> CertificateServer:
    """ra-subca under root-ca, enabled."""
    sub_ca = scene.server("ra-subca", mode="sub-cs", **config)
    scene.start("ra-subca")
    trustpoint = scene.trustpoint(
        "ra-subca",
        "root-ca",
        ca_subject="cn=ra-subca",
        fingerprint=ca_fingerprint(scene.servers["root-ca"]),
    )
    scene.enroll("ra-subca")
    credential = trustpoint.credential
    assert credential is not None
    key = trustpoint.key(credential.key_label)
    assert key is not None
    scene.ca_notices += sub_ca.install_certificate(
        credential.certificate, credential.chain, key, scene.now()
    )
    return sub_ca


def certificate_of(trustpoint: Trustpoint) -> x509.Certificate:
    assert trustpoint.credential is not None
    return x509.load_der_x509_certificate(trustpoint.credential.certificate)
