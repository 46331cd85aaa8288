"""What a certificate server gives by HTTP: capabilities, certificates, CRLs, or a status."""

from __future__ import annotations

import base64

import pytest
from cryptography import x509

from ikelab.pki.ca_events import RequestRefused
from ikelab.pki.crl import load_crl, verify_crl
from ikelab.pki.name import parse_dn
from ikelab.pki.scep import FailInfo
from tests.pki_scene import Scene
from tests.scep_requester import SCEP_PATH, another, enabled, issued, refusal

# --- HTTP -----------------------------------------------------------------------------------------


def test_capabilities_name_what_the_mode_allows() -> None:
    out = enabled().http("GET", f"{SCEP_PATH}?operation=GetCACaps&message=root-ca")
    words = out.body.decode().split()
    assert (out.status, out.content_type) == (200, "text/plain")
    assert {"AES", "POSTPKIOperation", "Renewal", "SHA-256", "SHA-384"} <= set(words)
    assert not {"SHA-1", "DES3", "GetNextCACert"} & set(words)
    legacy = enabled(Scene(legacy=True)).http("GET", f"{SCEP_PATH}?operation=GetCACaps")
    assert {"SHA-1", "DES3"} <= set(legacy.body.decode().split())


def test_a_root_gives_its_certificate_alone() -> None:
    asker = enabled()
    out = asker.http("GET", f"{SCEP_PATH}?operation=GetCACert")
    assert out.content_type == "application/x-x509-ca-cert"
    root = x509.load_der_x509_certificate(out.body)
    root.verify_directly_issued_by(root)
    assert root.serial_number == 1
    usage = root.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.key_cert_sign and usage.crl_sign and not usage.key_encipherment


@pytest.mark.parametrize(
    ("method", "target", "body", "status"),
    [
        ("GET", "/", b"", 404),
        ("GET", "/other.crl", b"", 404),
        ("GET", "/../../etc/passwd", b"", 404),
        ("GET", f"{SCEP_PATH}?operation=GetNextCACert", b"", 404),
        ("GET", f"{SCEP_PATH}?operation=getcacert", b"", 404),
        ("GET", f"{SCEP_PATH}?operation=PKIOperation", b"", 400),
        ("GET", f"{SCEP_PATH}?operation=PKIOperation&message=", b"", 400),
        ("GET", f"{SCEP_PATH}?operation=PKIOperation&message=%00%ff!!", b"", 400),
        ("GET", f"{SCEP_PATH}?operation=PKIOperation&message=QUJD", b"", 400),
        ("GET", f"{SCEP_PATH}?{'a&' * 5000}operation=GetCACert", b"", 404),
        ("GET", "/" + "a" * 16384, b"", 400),
        ("POST", f"{SCEP_PATH}?operation=PKIOperation", b"", 400),
        ("POST", f"{SCEP_PATH}?operation=PKIOperation", b"\x30\x80" * 1000, 400),
        ("POST", f"{SCEP_PATH}?operation=PKIOperation", bytes(65537), 400),
        ("POST", f"{SCEP_PATH}?operation=GetCACert", b"", 400),
        ("PUT", f"{SCEP_PATH}?operation=PKIOperation", b"x", 400),
    ],
)
def test_what_is_no_request_gets_a_status_and_a_notice(
    method: str, target: str, body: bytes, status: int
) -> None:
    out = enabled().http(method, target, body)
    assert out.status == status
    [refused] = out.notices
    assert isinstance(refused, RequestRefused)
    assert refused.message == "HTTP"


@pytest.mark.parametrize("path", ["/root-ca.crl", "/pki/root-ca.crl", "/lists/latest"])
def test_the_crl_is_served_by_name_and_at_the_path_of_the_cdp(path: str) -> None:
    asker = enabled(cdp_url="http://crl.example.com/lists/latest")
    out = asker.http("GET", path)
    assert (out.status, out.content_type) == (200, "application/pkix-crl")
    verify_crl(load_crl(out.body), asker.ca)


def test_a_get_with_wrapped_lines_or_the_url_safe_alphabet_is_taken() -> None:
    asker = enabled(grant="auto")
    octets = asker.pkcs_req()
    first = issued(asker.read(asker.get(octets).body))
    message = base64.urlsafe_b64encode(octets).decode().rstrip("=")
    out = asker.http("GET", f"/?operation=PKIOperation&message={message}")
    assert issued(asker.read(out.body)) == first
    unescaped = base64.b64encode(octets).decode()
    assert "+" in unescaped
    out = asker.http("GET", f"/?operation=PKIOperation&message={unescaped}")
    assert issued(asker.read(out.body)) == first


# --- GetCert, GetCRL ------------------------------------------------------------------------------


def test_get_cert_is_for_the_owner_of_the_key_and_for_certified_routers() -> None:
    asker = enabled(grant="auto")
    first = issued(asker.enroll())
    assert issued(asker.get_cert(first.serial)) == first
    stranger = another(asker)
    assert refusal(stranger.get_cert(first.serial)) is FailInfo.BAD_CERT_ID
    assert refusal(stranger.get_cert(99)) is FailInfo.BAD_CERT_ID
    known = issued(stranger.enroll())
    stranger.signer, stranger.signer_key = known, stranger.key
    assert issued(stranger.get_cert(first.serial)) == first
    asker.server.revoke(known.serial, asker.scene.now())
    assert refusal(stranger.get_cert(first.serial)) is FailInfo.BAD_CERT_ID


def test_get_crl_is_for_everybody_and_gives_what_the_file_holds() -> None:
    asker = enabled()
    reply = asker.get_crl()
    assert reply.certificates == ()
    assert reply.crls == (asker.http("GET", "/root-ca.crl").body,)


def test_what_another_issuer_made_is_unknown_here() -> None:
    asker = enabled(grant="auto")
    foreign = parse_dn("cn=other-ca")
    assert refusal(asker.get_crl(issuer=foreign)) is FailInfo.BAD_CERT_ID
    assert refusal(asker.get_cert(1, issuer=foreign)) is FailInfo.BAD_CERT_ID
