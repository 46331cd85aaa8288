"""Requests pasted at the CA's console: the same database, the same rules, no HTTP."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from ikelab.errors import PkiError
from ikelab.pki import pem
from ikelab.pki.ca_events import RequestGranted, RequestQueued
from ikelab.pki.cert_server import CertificateServer
from ikelab.pki.name import parse_dn
from ikelab.pki.pasted_request import printed_certificate
from ikelab.pki.store import RequestKind, RequestState
from ikelab.pki.x509 import build_request, load_certificate
from tests.pki_scene import Scene, pool_key
from tests.scep_requester import Requester


def enabled(**config: object) -> tuple[Scene, CertificateServer]:
    scene = Scene()
    scene.server("root-ca", **config)
    return scene, scene.start("root-ca")


def csr(name: str = "hostname=r1.example.com", key: int = 100, **parts: object) -> bytes:
    made = {"subject": parse_dn(name), "key": pool_key(2048, key), "digest": "sha256"} | parts
    return build_request(**made)  # type: ignore[arg-type]


def reason_of(deed: Callable[[], object]) -> str:
    with pytest.raises(PkiError) as raised:
        deed()
    return raised.value.reason


def test_a_pasted_request_waits_and_is_printed_when_it_is_granted() -> None:
    scene, server = enabled()
    row, notices = server.paste_request(csr(), "pem", scene.now())
    assert isinstance(notices[0], RequestQueued) and notices[0].request_id == row.request_id == 1
    assert printed_certificate(row) is None
    [granted] = server.grant(1, scene.now())
    assert isinstance(granted, RequestGranted)
    text = printed_certificate(server.requests()[0])
    assert text is not None
    [der] = pem.read_pasted(text, pem.CERTIFICATE)
    assert load_certificate(der).serial == granted.serial


def test_grant_auto_answers_at_once_in_the_form_that_was_asked_for() -> None:
    scene, server = enabled(grant="auto")
    row, [granted] = server.paste_request(csr(), "base64", scene.now())
    assert isinstance(granted, RequestGranted) and row.state is RequestState.GRANTED
    text = printed_certificate(row)
    assert text is not None and "BEGIN" not in text
    assert pem.read_pasted(text, pem.CERTIFICATE) == (row.certificate,)


def test_the_same_request_pasted_twice_waits_once() -> None:
    scene, server = enabled()
    first, _ = server.paste_request(csr(), "pem", scene.now())
    again, _ = server.paste_request(csr(), "pem", scene.now())
    assert again == first and len(server.requests()) == 1


def test_after_its_answer_the_same_request_is_a_renewal() -> None:
    scene, server = enabled(grant="auto")
    first, _ = server.paste_request(csr(), "pem", scene.now())
    scene.advance(days=1)
    second, _ = server.paste_request(csr(), "pem", scene.now())
    assert first.certificate is not None and second.certificate is not None
    old, new = load_certificate(first.certificate), load_certificate(second.certificate)
    assert new.serial == old.serial + 1
    assert new.not_before - old.not_before == timedelta(days=1)


def test_what_came_by_scep_is_not_printed_and_cannot_pretend_to_be_pasted() -> None:
    scene, server = enabled(grant="auto")
    Requester(scene, server).enroll()
    assert printed_certificate(server.requests()[0]) is None
    forger = Requester(scene, server, transaction_id="\npasted pem 00", key_index=101)
    assert forger.post(forger.pkcs_req()).status == 400
    assert len(server.requests()) == 1


def test_a_pasted_request_for_a_ca_stands_in_its_own_table() -> None:
    scene, server = enabled()
    row, _ = server.paste_request(csr("cn=ra-subca", ca=True), "pem", scene.now())
    assert row.kind is RequestKind.SUB_CA
    server.grant(row.request_id, scene.now())
    certificate = server.requests()[0].certificate
    assert certificate is not None and load_certificate(certificate).is_ca


@pytest.mark.parametrize(
    ("request_der", "wanted"),
    [
        (b"", "malformed-request"),
        (b"\x30\x03\x02\x01\x00", "malformed-request"),
        (csr("cn=root-ca"), "bad-name"),
        (csr(digest="md5"), "weak-algorithm"),
    ],
    ids=["nothing", "another structure", "the name of the CA", "MD5"],
)
def test_what_is_no_request_for_us_is_refused_and_not_kept(request_der: bytes, wanted: str) -> None:
    scene, server = enabled()
    assert reason_of(lambda: server.paste_request(request_der, "pem", scene.now())) == wanted
    assert server.requests() == ()


def test_a_request_whose_key_did_not_sign_it_is_refused() -> None:
    scene, server = enabled()
    changed = bytearray(csr())
    changed[-1] ^= 1
    assert reason_of(lambda: server.paste_request(bytes(changed), "pem", scene.now())) == (
        "bad-signature"
    )


def test_a_one_time_password_in_a_pasted_request_is_not_spent() -> None:
    scene, server = enabled()
    password = server.generate_password(scene.now())
    row, _ = server.paste_request(csr(challenge=password), "pem", scene.now())
    assert row.state is RequestState.PENDING
    asker = replace(Requester(scene, server), key_index=102)
    assert asker.enroll(challenge=password).certificates


def test_a_server_that_is_shut_takes_no_request() -> None:
    scene, server = enabled()
    server.shut(scene.now())
    assert reason_of(lambda: server.paste_request(csr(), "pem", scene.now())) == "server-state"


@pytest.mark.interop
def test_openssl_makes_the_request_and_verifies_the_certificate(
    need: Callable[[str], str], tmp_path: Path
) -> None:
    openssl = need("openssl")
    words = ["req", "-newkey", "rsa:2048", "-nodes", "-keyout", "k.pem", "-out", "r.pem"]
    words += ["-subj", "/CN=r9.example.com"]
    subprocess.run([openssl, *words], cwd=tmp_path, check=True, capture_output=True)
    scene, server = enabled(grant="auto")
    [request] = pem.read_pasted((tmp_path / "r.pem").read_text(), pem.REQUEST)
    row, _ = server.paste_request(request, "pem", scene.now())
    (tmp_path / "c.pem").write_text(printed_certificate(row) or "")
    authority = server.store.load_authority()
    assert authority is not None
    (tmp_path / "ca.pem").write_text(pem.to_pem(pem.CERTIFICATE, authority.certificate))
    verify = [openssl, "verify", "-x509_strict", "-CAfile", "ca.pem", "-attime"]
    verify += [str(int(scene.wall.timestamp())), "c.pem"]
    assert subprocess.run(verify, cwd=tmp_path, capture_output=True).returncode == 0
