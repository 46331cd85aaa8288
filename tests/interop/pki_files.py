"""A certificate chain made by openssl: root CA, sub-CA, leaves, and the CRLs of both CAs.

The second opinion to our own certificates: nothing here uses ikelab. The CRLs lie in `web/`, which
`Segment.serve` can serve; `crl_base` is the URL it has there.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

# Enough for `openssl ca` to keep the list of revoked certificates and to sign CRLs.
_CA_CONFIG = """\
[ca]
default_ca = this
[this]
database = {stem}.index
crlnumber = {stem}.crlnumber
certificate = {stem}.pem
private_key = {stem}.key
default_md = {digest}
default_crl_days = 1
unique_subject = no
"""


@dataclass(frozen=True, slots=True)
class IssuedCertificate:
    """One end's certificate and key, PEM files. subject: as strongSwan writes a DN."""

    name: str
    subject: str
    fqdn: str
    certificate: Path
    key: Path


def openssl(*words: str, cwd: Path) -> str:
    """Run openssl; its own words are the error."""
    done = subprocess.run(["openssl", *words], cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"openssl {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


class PkiFiles:
    """Root CA `root-ca`, sub-CA `ra-subca` below it, and what the sub-CA issued."""

    def __init__(
        self,
        directory: Path,
        *,
        bits: int = 2048,
        digest: str = "sha256",
        crl_base: str = "http://192.0.2.254",
    ) -> None:
        self.directory = directory
        self.web = directory / "web"
        self.web.mkdir(parents=True)
        self.root = directory / "root-ca.pem"
        self.sub_ca = directory / "ra-subca.pem"
        self._bits = str(bits)
        self._digest = digest
        self._crl_base = crl_base
        self._make_root()
        self._make_sub_ca()
        self.write_crls()

    def issue(
        self, name: str, *, fqdn: str = "", address: str = "", mailbox: str = ""
    ) -> IssuedCertificate:
        """A leaf of the sub-CA for `name`, with subjectAltName and the sub-CA's CRL as CDP."""
        fqdn = fqdn or f"{name}.example.net"
        names = f"DNS:{fqdn}" + (f",IP:{address}" if address else "")
        names += f",email:{mailbox}" if mailbox else ""
        extensions = (
            "basicConstraints = critical,CA:FALSE",
            "keyUsage = critical,digitalSignature,keyEncipherment",
            f"subjectAltName = {names}",
            "authorityKeyIdentifier = keyid",
            f"crlDistributionPoints = URI:{self._crl_base}/ra-subca.crl",
        )
        self._request(name, f"/O=ikelab/CN={name}")
        self._sign(name, issuer="ra-subca", extensions=extensions)
        return IssuedCertificate(
            name=name,
            subject=f"O=ikelab, CN={name}",
            fqdn=fqdn,
            certificate=self.directory / f"{name}.pem",
            key=self.directory / f"{name}.key",
        )

    def revoke(self, leaf: IssuedCertificate) -> None:
        """Put the leaf on the sub-CA's CRL."""
        self._ca("ra-subca", "-revoke", leaf.certificate.name, "-crl_reason", "keyCompromise")
        self.write_crls()

    def redate(self, leaf: IssuedCertificate, start: datetime, end: datetime) -> None:
        """The same leaf, signed again with other dates (openssl's x509 -req cannot say a start)."""
        old = x509.load_pem_x509_certificate(leaf.certificate.read_bytes())
        builder = (
            x509.CertificateBuilder()
            .subject_name(old.subject)
            .issuer_name(old.issuer)
            .public_key(old.public_key())
            .serial_number(old.serial_number)
            .not_valid_before(start)
            .not_valid_after(end)
        )
        for extension in old.extensions:
            builder = builder.add_extension(extension.value, extension.critical)
        key = load_pem_private_key((self.directory / "ra-subca.key").read_bytes(), None)
        signed = builder.sign(key, hashes.SHA256())
        leaf.certificate.write_bytes(signed.public_bytes(Encoding.PEM))

    def write_crls(self) -> None:
        """New CRLs of both CAs, DER, with the next CRL number."""
        for stem in ("root-ca", "ra-subca"):
            self._ca(stem, "-gencrl", "-out", f"{stem}.crl.pem")
            crl = ("crl", "-in", f"{stem}.crl.pem", "-outform", "DER", "-out", f"web/{stem}.crl")
            openssl(*crl, cwd=self.directory)

    def _make_root(self) -> None:
        self._prepare_ca("root-ca")
        self._request("root-ca", "/O=ikelab/CN=root-ca")
        self._sign("root-ca", issuer=None, extensions=_ca_extensions())

    def _make_sub_ca(self) -> None:
        self._prepare_ca("ra-subca")
        self._request("ra-subca", "/O=ikelab/CN=ra-subca")
        point = f"crlDistributionPoints = URI:{self._crl_base}/root-ca.crl"
        self._sign("ra-subca", issuer="root-ca", extensions=(*_ca_extensions(), point))

    def _prepare_ca(self, stem: str) -> None:
        config = _CA_CONFIG.format(stem=stem, digest=self._digest)
        (self.directory / f"{stem}.cnf").write_text(config)
        (self.directory / f"{stem}.index").write_text("")
        (self.directory / f"{stem}.crlnumber").write_text("01\n")

    def _ca(self, stem: str, *words: str) -> None:
        openssl("ca", "-batch", "-config", f"{stem}.cnf", *words, cwd=self.directory)

    def _request(self, stem: str, subject: str) -> None:
        # strongSwan reads PKCS#1 and PKCS#8 alike; `req -newkey` writes PKCS#8.
        key = ("-newkey", f"rsa:{self._bits}", "-nodes", "-keyout", f"{stem}.key")
        request = ("-new", "-subj", subject, f"-{self._digest}", "-out", f"{stem}.req")
        openssl("req", *key, *request, cwd=self.directory)

    def _sign(self, stem: str, *, issuer: str | None, extensions: tuple[str, ...]) -> None:
        (self.directory / f"{stem}.ext").write_text("\n".join(extensions) + "\n")
        signer: tuple[str, ...] = ("-signkey", f"{stem}.key")
        if issuer is not None:
            signer = ("-CA", f"{issuer}.pem", "-CAkey", f"{issuer}.key", "-CAcreateserial")
        files = ("-in", f"{stem}.req", "-out", f"{stem}.pem", "-extfile", f"{stem}.ext")
        what = ("-req", "-days", "30", f"-{self._digest}")
        openssl("x509", *what, *files, *signer, cwd=self.directory)


def _ca_extensions() -> tuple[str, ...]:
    return (
        "basicConstraints = critical,CA:TRUE",
        "keyUsage = critical,keyCertSign,cRLSign,digitalSignature",
        "subjectKeyIdentifier = hash",
        "authorityKeyIdentifier = keyid",
    )
