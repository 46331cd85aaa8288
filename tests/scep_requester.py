"""A SCEP client without manners: every part of a message can be chosen. And a CA to ask."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field, replace
from datetime import timedelta
from urllib.parse import quote

from cryptography.hazmat.primitives.asymmetric import rsa

from ikelab.pki import scep
from ikelab.pki.ca_events import HttpIn, HttpOut, RequestRefused
from ikelab.pki.cert_server import CertificateServer
from ikelab.pki.name import parse_dn
from ikelab.pki.scep import CertRep, FailInfo, PkiStatus, ScepMessage, Transaction
from ikelab.pki.x509 import Certificate, build_request, load_certificate
from ikelab.runtime.store import SqliteCaStore
from tests.pki_scene import Scene, SeededRng, pool_key

SCEP_PATH = "/cgi-bin/pkiclient.exe"


@dataclass
class Requester:
    """Asks one server; the answer is kept as read, with its content if it is ours to open."""

    scene: Scene
    server: CertificateServer
    name: str = "hostname=r1.example.com"
    key_index: int = 100
    bits: int = 2048
    transaction_id: str = "A1B2"
    digest: str = "sha256"
    cipher: str = "aes128"
    nonce: bytes = b"nonce of request"
    signer: Certificate | None = None
    signer_key: rsa.RSAPrivateKey | None = None
    rng: SeededRng = field(default_factory=lambda: SeededRng("requester"))

    @property
    def key(self) -> rsa.RSAPrivateKey:
        return pool_key(self.bits, self.key_index)

    @property
    def ca(self) -> Certificate:
        authority = self.server.store.load_authority()
        assert authority is not None
        return load_certificate(authority.certificate)

    def self_signed(self) -> Certificate:
        at = self.scene.wall.replace(microsecond=0)
        return load_certificate(
            scep.build_self_signed(
                subject=parse_dn("cn=SCEP"),
                key=self.key,
                digest="sha256" if self.bits > 512 else "md5",
                serial=7,
                not_before=at,
                not_after=at + timedelta(days=1),
            )
        )

    def transaction(self) -> Transaction:
        return Transaction(
            ca=self.ca,
            signer=self.signer or self.self_signed(),
            key=self.signer_key or self.key,
            transaction_id=self.transaction_id,
            digest=self.digest,
            cipher=self.cipher,
        )

    def csr(self, **parts: object) -> bytes:
        wanted: dict[str, object] = {
            "subject": parse_dn(self.name),
            "key": self.key,
            "digest": "sha256" if self.bits > 512 else "md5",
        }
        return build_request(**(wanted | parts))  # type: ignore[arg-type]

    def pkcs_req(
        self, csr: bytes | None = None, *, renewal: bool = False, **parts: object
    ) -> bytes:
        return scep.build_pkcs_req(
            self.transaction(),
            csr or self.csr(**parts),
            sender_nonce=self.nonce,
            rng=self.rng,
            renewal=renewal,
        )

    def enroll(
        self, csr: bytes | None = None, *, renewal: bool = False, **parts: object
    ) -> CertRep:
        return self.send(self.pkcs_req(csr, renewal=renewal, **parts))

    def poll(self) -> CertRep:
        octets = scep.build_cert_poll(
            self.transaction(),
            issuer=self.ca.subject,
            subject=parse_dn(self.name),
            sender_nonce=self.nonce,
            rng=self.rng,
        )
        return self.send(octets)

    def get_cert(self, serial: int, issuer: bytes | None = None) -> CertRep:
        octets = scep.build_get_cert(
            self.transaction(),
            issuer=issuer or self.ca.subject,
            serial=serial,
            sender_nonce=self.nonce,
            rng=self.rng,
        )
        return self.send(octets)

    def get_crl(self, issuer: bytes | None = None) -> CertRep:
        octets = scep.build_get_crl(
            self.transaction(),
            issuer=issuer or self.ca.subject,
            serial=1,
            sender_nonce=self.nonce,
            rng=self.rng,
        )
        return self.send(octets)

    def post(self, octets: bytes) -> HttpOut:
        return self.http("POST", f"{SCEP_PATH}?operation=PKIOperation", octets)

    def get(self, octets: bytes) -> HttpOut:
        message = quote(base64.encodebytes(octets).decode(), safe="")
        return self.http("GET", f"{SCEP_PATH}?operation=PKIOperation&message={message}")

    def http(self, method: str, target: str, body: bytes = b"") -> HttpOut:
        out = self.server.answer(HttpIn(method, target, body), self.scene.now())
        out = out.sign(self.scene.rng)
        self.scene.ca_notices += out.notices
        return out

    def send(self, octets: bytes) -> CertRep:
        out = self.post(octets)
        assert (out.status, out.content_type) == (200, "application/x-pki-message"), out
        return self.read(out.body)

    def read(self, body: bytes) -> CertRep:
        return scep.read_cert_rep(
            body, self.transaction(), sender_nonce=self.nonce, legacy=self.scene.legacy
        )

    def message(self, body: bytes) -> ScepMessage:
        return scep.read_message(body, [self.ca])


def certificates(out: HttpOut) -> list[Certificate]:
    """Of a GetCACert answer."""
    return [load_certificate(der) for der in scep.read_certificates(out.body)]


def enabled(
    scene: Scene | None = None, store: SqliteCaStore | None = None, **config: object
) -> Requester:
    """A root CA that runs, and somebody who asks it."""
    scene = scene or Scene()
    scene.server("root-ca", store, **config)
    return Requester(scene, scene.start("root-ca"))


def another(asker: Requester, **changes: object) -> Requester:
    """A second client of the same server, with a key of its own."""
    wanted: dict[str, object] = {"key_index": asker.key_index + 1, "transaction_id": "C3D4"}
    return replace(asker, **(wanted | changes))  # type: ignore[arg-type]


def issued(reply: CertRep) -> Certificate:
    assert reply.status is PkiStatus.SUCCESS, reply
    [certificate] = reply.certificates
    return load_certificate(certificate)


def refusal(reply: CertRep) -> FailInfo | None:
    assert reply.status is PkiStatus.FAILURE, reply
    assert reply.certificates == ()
    return reply.fail_info


def why(asker: Requester) -> str:
    """The reason of the last refusal in the audit trail."""
    return asker.scene.told(RequestRefused)[-1].reason
