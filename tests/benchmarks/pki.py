"""A root CA, a CA below it, routers' certificates and both CRLs, made by ikelab itself.

The same files serve all ends of a benchmark: our routers in memory and as processes, and charon.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ikelab.pki.algorithms import public_key_info
from ikelab.pki.crl import build_crl
from ikelab.pki.x509 import build_certificate, build_name, key_identifier
from tests.interop.pki_files import IssuedCertificate

BITS = 2048
WEB = "http://192.0.2.254"
_CA_USAGE = frozenset({"keyCertSign", "cRLSign", "digitalSignature"})
_ROUTER_USAGE = frozenset({"digitalSignature", "keyEncipherment"})


@dataclass(frozen=True, slots=True)
class _Ca:
    name: str
    subject: bytes
    key: RSAPrivateKey
    certificate: bytes

    @property
    def crl_url(self) -> str:
        return f"{WEB}/{self.name}.crl"


class BenchPki:
    """The hierarchy, in memory and as PEM and DER files below `directory`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.web = directory / "web"
        self.web.mkdir(parents=True)
        self._serial = 0
        self._start = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
        self._end = self._start + timedelta(days=30)
        self._root_ca = self._make_ca("root-ca", None)
        self._sub_ca = self._make_ca("ra-subca", self._root_ca)
        self.root, self.sub_ca = (directory / f"{n}.pem" for n in ("root-ca", "ra-subca"))
        self.crls = {ca.crl_url: self._crl(ca) for ca in (self._root_ca, self._sub_ca)}
        for url, octets in self.crls.items():
            (self.web / url.rpartition("/")[2]).write_bytes(octets)

    @property
    def authorities(self) -> tuple[bytes, bytes]:
        """Certificates of the CA that issues for routers, and of the root."""
        return self._sub_ca.certificate, self._root_ca.certificate

    def issue(self, name: str) -> tuple[IssuedCertificate, RSAPrivateKey, bytes]:
        """A router's certificate: its files, its key pair, its DER."""
        key = generate_private_key(65537, BITS)
        fqdn = f"{name}.example.net"
        octets = self._sign(
            build_name([[("o", "ikelab")], [("cn", name)]]), key, self._sub_ca, fqdns=(fqdn,)
        )
        self._write(name, octets)
        file = self.directory / f"{name}.key"
        file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        subject = f"O=ikelab, CN={name}"
        issued = IssuedCertificate(name, subject, fqdn, self.directory / f"{name}.pem", file)
        return issued, key, octets

    def _make_ca(self, name: str, above: _Ca | None) -> _Ca:
        key = generate_private_key(65537, BITS)
        subject = build_name([[("o", "ikelab")], [("cn", name)]])
        issuer = above or _Ca(name, subject, key, b"")
        octets = self._sign(subject, key, issuer, with_crl=above is not None)
        self._write(name, octets)
        return _Ca(name, subject, key, octets)

    def _sign(
        self,
        subject: bytes,
        key: RSAPrivateKey,
        issuer: _Ca,
        *,
        fqdns: tuple[str, ...] = (),
        with_crl: bool = True,
    ) -> bytes:
        self._serial += 1
        return build_certificate(
            serial=self._serial,
            issuer=issuer.subject,
            subject=subject,
            public_key_info=public_key_info(key),
            not_before=self._start,
            not_after=self._end,
            issuer_key=issuer.key,
            digest="sha256",
            ca=not fqdns,
            key_usage=_ROUTER_USAGE if fqdns else _CA_USAGE,
            crl_url=issuer.crl_url if with_crl else None,
            fqdns=fqdns,
        )

    def _crl(self, ca: _Ca) -> bytes:
        return build_crl(
            issuer=ca.subject,
            this_update=self._start,
            next_update=self._end,
            number=1,
            revoked=[(1000 + n, self._start, 1) for n in range(10)],
            key=ca.key,
            digest="sha256",
            authority_key_id=key_identifier(public_key_info(ca.key)),
        )

    def _write(self, name: str, octets: bytes) -> None:
        pem = x509.load_der_x509_certificate(octets).public_bytes(Encoding.PEM)
        (self.directory / f"{name}.pem").write_bytes(pem)
