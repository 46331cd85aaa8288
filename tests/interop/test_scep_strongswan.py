"""strongSwan's `pki --scepca` and `pki --scep` against our subordinate CA; openssl is the judge.

What 5.9.8 does on the wire: POST, transactionID is the SHA-1 of the key, attributes of a PKCS #10
out of order, CertPoll (20) while pending, RenewalReq (17) unless told to send PKCSReq (19).
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509

from tests.interop.scep_authority import URL, Authorities

pytestmark = [pytest.mark.needs_root, pytest.mark.interop]

CIPHERS = ("aes", "des3")
NAME = "r1.example.com"


class Client:
    """`pki` in a folder of its own, with the CA certificates in root.pem and subca.pem."""

    def __init__(self, authorities: Authorities, folder: Path, pki: str, openssl: str) -> None:
        self.authorities = authorities
        self.folder = folder
        self._pki = pki
        self._openssl = openssl
        self.ca_output = self._fetch_ca_certificates()

    def _fetch_ca_certificates(self) -> str:
        """It writes the root to the file named, what is below it to files with a number."""
        words = (self._pki, "--scepca", "--url", URL, "--caout", "root.pem", "--outform", "pem")
        done = self.authorities.run(*words, cwd=self.folder)
        assert done.returncode == 0, done.stderr
        (self.folder / "root-1.pem").rename(self.folder / "subca.pem")
        return done.stderr

    def make_key(self, name: str) -> None:
        words = [self._openssl, "genrsa", "-out", f"{name}.key", "2048"]
        subprocess.run(words, cwd=self.folder, check=True, capture_output=True)

    def words(self, key: str, *more: str) -> list[str]:
        """The command line of an enrollment with a fresh key. It polls each second."""
        self.make_key(key)
        return [
            *(self._pki, "--scep", "--url", URL, "--in", f"{key}.key", "--outform", "pem"),
            *("--dn", "C=US, O=cisco, CN=r1", "--san", NAME, "--password", "revoke me"),
            *("--cacert", "root.pem", "--cacert-enc", "subca.pem", "--cacert-sig", "subca.pem"),
            *("--interval", "1", "--maxpolltime", "9", *more),
        ]

    def enroll(self, key: str, *more: str) -> subprocess.CompletedProcess[str]:
        """Enroll with a fresh key; the certificate goes to KEY.pem."""
        done = self.authorities.run(*self.words(key, *more), cwd=self.folder)
        (self.folder / f"{key}.pem").write_text(done.stdout)
        return done

    def enroll_beside(self, key: str) -> subprocess.Popen[str]:
        """The same, not waited for; returns once the request waits at the CA."""
        mark = len(self.authorities.subca.log)
        process = subprocess.Popen(
            self.authorities.command(*self.words(key)),
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            self.authorities.wait_for_log(" waits: ", mark)
        except BaseException:
            process.kill()
            process.communicate()
            raise
        return process

    def certificate(self, key: str) -> x509.Certificate:
        return x509.load_pem_x509_certificate((self.folder / f"{key}.pem").read_bytes())

    def verify(self, key: str) -> str:
        """`openssl verify` with both CRLs."""
        return self.authorities.verify(self._openssl, self.folder / f"{key}.pem")


@pytest.fixture
def start(tmp_path: Path, need: Callable[[str], str]) -> Callable[[Authorities], Client]:
    return lambda authorities: Client(authorities, tmp_path, need("pki"), need("openssl"))


def names(certificate: x509.Certificate) -> list[str]:
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return found.get_values_for_type(x509.DNSName)


Start = Callable[[Authorities], Client]


def test_scepca_reads_both_certificates_and_finds_the_path(
    modern: Authorities, start: Start
) -> None:
    said = start(modern).ca_output
    assert 'Root CA cert "CN=root-ca"' in said
    assert 'Sub CA cert "CN=ra-subca"' in said and "Sub CA cert is trusted" in said


@pytest.mark.parametrize("digest", ["sha224", "sha256", "sha384", "sha512"])
def test_it_enrolls_with_everything_modern_mode_allows(
    modern: Authorities, start: Start, digest: str
) -> None:
    client = start(modern)
    done = client.enroll("k", "--cipher", "aes", "--digest", digest)
    assert done.returncode == 0, done.stderr
    assert "Issued certificate is trusted" in done.stderr
    assert names(client.certificate("k")) == [NAME]
    assert client.verify("k").endswith("k.pem: OK")


@pytest.mark.parametrize("digest", ["sha1", "sha256", "sha384", "sha512"])
@pytest.mark.parametrize("cipher", CIPHERS)
def test_it_enrolls_with_all_eight_pairs_in_legacy_mode(
    legacy: Authorities, start: Start, cipher: str, digest: str
) -> None:
    client = start(legacy)
    done = client.enroll("k", "--cipher", cipher, "--digest", digest)
    assert done.returncode == 0, done.stderr
    assert client.verify("k").endswith("k.pem: OK")


def test_sha1_is_refused_in_words_in_modern_mode(modern: Authorities, start: Start) -> None:
    client, mark = start(modern), len(modern.subca.log)
    done = client.enroll("k", "--cipher", "aes", "--digest", "sha1")
    assert done.returncode != 0 and done.stdout == ""
    assert "badAlg" in done.stderr
    told = modern.wait_for_log("refused", mark)
    assert "weak-algorithm: the message is signed with sha1; only mode: legacy takes it" in told


def test_3des_is_refused_in_words_in_modern_mode(modern: Authorities, start: Start) -> None:
    client, mark = start(modern), len(modern.subca.log)
    done = client.enroll("k", "--cipher", "des3", "--digest", "sha256")
    assert done.returncode != 0 and done.stdout == ""
    assert "weak-algorithm" in modern.wait_for_log("refused", mark)


@pytest.mark.parametrize("as_pkcs_req", [False, True])
def test_it_renews_with_a_new_key_and_the_old_certificate(
    modern: Authorities, start: Start, as_pkcs_req: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = start(modern)
    assert client.enroll("old").returncode == 0
    if as_pkcs_req:
        options = client.folder / "strongswan.conf"
        options.write_text("pki { scep { renewal_via_pkcs_req = yes } }\n")
        monkeypatch.setenv("STRONGSWAN_CONF", str(options))
    done = client.enroll("new", "--cert", "old.pem", "--key", "old.key")
    assert done.returncode == 0, done.stderr
    old, new = client.certificate("old"), client.certificate("new")
    assert (new.subject, names(new)) == (old.subject, names(old))
    assert new.serial_number > old.serial_number and new.public_key() != old.public_key()
    assert client.verify("new").endswith("new.pem: OK")


def test_a_revoked_certificate_is_not_renewed_and_openssl_sees_it_in_the_crl(
    modern: Authorities, start: Start
) -> None:
    client = start(modern)
    client.enroll("old")
    modern.decide(f"revoke {client.certificate('old').serial_number:X}")
    mark = len(modern.subca.log)
    done = client.enroll("new", "--cert", "old.pem", "--key", "old.key")
    assert done.returncode != 0 and "badRequest" in done.stderr
    assert "renewal-revoked" in modern.wait_for_log("refused", mark)
    assert "certificate revoked" in client.verify("old")


def test_it_polls_until_its_request_is_granted(modern: Authorities, start: Start) -> None:
    client = start(modern)
    with modern.granting_by_hand():
        before = len(modern.requests())
        process = client.enroll_beside("k")
        [number] = modern.pending()
        modern.decide(f"grant {number}")
        certificate, said = process.communicate(timeout=10)
        assert len(modern.requests()) == before + 1
    assert process.returncode == 0, said
    assert "SCEP request pending, polling every 1 seconds" in said
    (client.folder / "k.pem").write_text(certificate)
    assert client.verify("k").endswith("k.pem: OK")


def test_it_is_told_when_its_request_is_rejected(modern: Authorities, start: Start) -> None:
    client = start(modern)
    with modern.granting_by_hand():
        process = client.enroll_beside("k")
        modern.decide("reject all")
        certificate, said = process.communicate(timeout=10)
    assert process.returncode != 0 and certificate == ""
    assert "badRequest" in said
