"""SCEP messages of both sides; witnesses: openssl, and the clients of strongSwan and micromdm."""

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
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from ikelab.errors import PkiError
from ikelab.pki import cms, der, envelope, scep
from ikelab.pki.algorithms import public_key_info
from ikelab.pki.scep import FailInfo, MessageType, PkiStatus
from ikelab.pki.x509 import (
    Certificate,
    build_certificate,
    build_name,
    build_request,
    load_certificate,
    load_request,
)
from tests.pki_samples import (
    CA_USAGE,
    DAY,
    NOW,
    ROUTER_USAGE,
    SampleRng,
    authority,
    crl_of,
    name_of,
    pem_key,
    refused,
    router,
    rsa_key,
    survives,
)

CA = authority("root-ca")
CA_KEY = rsa_key("root-ca")
SPOKE = "spoke.example.com"
SPOKE_KEY = rsa_key(SPOKE)
SUBJECT = build_name([[("hostname", SPOKE)]])
NONCE = bytes(range(16))
CA_NONCE = bytes(range(16, 32))


def transaction(
    *,
    digest: str = "sha256",
    cipher: str = "aes128",
    key: RSAPrivateKey = SPOKE_KEY,
    ca: Certificate = CA,
) -> scep.Transaction:
    signer = scep.build_self_signed(
        subject=SUBJECT,
        key=key,
        digest=digest,
        serial=1,
        not_before=NOW,
        not_after=NOW + DAY,
    )
    identifier = scep.transaction_id_for(public_key_info(key), "md5")
    return scep.Transaction(ca, load_certificate(signer), key, identifier, digest, cipher)


def pkcs10(key: RSAPrivateKey = SPOKE_KEY, digest: str = "sha256") -> bytes:
    return build_request(subject=SUBJECT, key=key, digest=digest, challenge="secret")


def pkcs_req(ours: scep.Transaction, *, renewal: bool = False) -> bytes:
    request = pkcs10(ours.key, ours.digest)
    return scep.build_pkcs_req(ours, request, sender_nonce=NONCE, rng=SampleRng(), renewal=renewal)


def cert_rep(
    octets: bytes,
    status: PkiStatus,
    *,
    key: RSAPrivateKey = CA_KEY,
    ca: Certificate = CA,
    **more: object,
) -> bytes:
    return scep.build_cert_rep(
        scep.parse_message(octets, legacy=True),
        status,
        ca=ca,
        key=key,
        sender_nonce=CA_NONCE,
        rng=SampleRng(),
        **more,  # type: ignore[arg-type]
    )


def read(octets: bytes, ours: scep.Transaction, **more: object) -> scep.CertRep:
    arguments = {"sender_nonce": NONCE} | more
    return scep.read_cert_rep(octets, ours, **arguments)  # type: ignore[arg-type]


# --- requests -------------------------------------------------------------------------------------


@pytest.mark.parametrize("digest", ["md5", "sha1", "sha256", "sha512"])
@pytest.mark.parametrize("cipher", ["aes128", "aes256", "des3", "des"])
def test_request_and_answer_in_any_algorithms(digest: str, cipher: str) -> None:
    ours = transaction(digest=digest, cipher=cipher)
    message = scep.parse_message(pkcs_req(ours), legacy=True)
    assert (message.message_type, message.transaction_id) == (
        MessageType.PKCS_REQ,
        ours.transaction_id,
    )
    assert (message.sender_nonce, message.recipient_nonce) == (NONCE, b"")
    assert (message.digest, message.cipher, message.signer) == (digest, cipher, ours.signer)
    recipient, content = scep.open_content(message, [(CA, CA_KEY)], legacy=True)
    assert recipient == CA
    assert load_request(content, legacy=True).challenge == "secret"
    answer = cert_rep(message.der, PkiStatus.SUCCESS, certificates=[router().der])
    answered = scep.read_message(answer)
    assert (answered.digest, answered.cipher) == (digest, cipher)
    assert answered.recipient_nonce == NONCE
    assert read(answer, ours, legacy=True).certificates == (router().der,)


def test_renewal_is_signed_with_the_old_certificate() -> None:
    ours = scep.Transaction(CA, router(), SPOKE_KEY, "t", "sha256", "aes128")
    message = scep.parse_message(pkcs_req(ours, renewal=True))
    assert (message.message_type, message.signer) == (MessageType.RENEWAL_REQ, router())


def test_poll_get_cert_and_get_crl_carry_names_and_numbers() -> None:
    ours = transaction()
    poll = scep.build_cert_poll(
        ours, issuer=CA.subject, subject=SUBJECT, sender_nonce=NONCE, rng=SampleRng()
    )
    message = scep.parse_message(poll)
    assert message.message_type is MessageType.CERT_POLL
    content = scep.open_content(message, [(CA, CA_KEY)])[1]
    assert scep.read_issuer_and_subject(content) == (CA.subject, SUBJECT)
    for build, kind in (
        (scep.build_get_cert, MessageType.GET_CERT),
        (scep.build_get_crl, MessageType.GET_CRL),
    ):
        octets = build(ours, issuer=CA.subject, serial=0x1D0, sender_nonce=NONCE, rng=SampleRng())
        message = scep.parse_message(octets)
        assert message.message_type is kind
        content = scep.open_content(message, [(CA, CA_KEY)])[1]
        assert scep.read_issuer_and_serial(content) == (CA.subject, 0x1D0)


def test_ca_with_a_shadow_learns_for_which_key_a_request_is() -> None:
    shadow = authority("root-ca", key=rsa_key("shadow"), issuer_key=rsa_key("shadow"), serial=160)
    message = scep.parse_message(pkcs_req(transaction(ca=shadow)))
    both = [(CA, CA_KEY), (shadow, rsa_key("shadow"))]
    assert scep.open_content(message, both)[0] == shadow
    assert refused(lambda: scep.open_content(message, both[:1])) == "wrong-recipient"


@pytest.mark.parametrize(
    ("digest", "cipher", "reason"),
    [("md5", "aes128", "weak"), ("sha1", "aes128", "weak"), ("sha256", "des", "weak")],
)
def test_weak_requests_are_for_legacy_mode_only(digest: str, cipher: str, reason: str) -> None:
    octets = pkcs_req(transaction(digest=digest, cipher=cipher))

    def take(legacy: bool) -> None:
        message = scep.parse_message(octets, legacy=legacy)
        scep.open_content(message, [(CA, CA_KEY)], legacy=legacy)

    assert refused(lambda: take(False)) == "weak-algorithm"
    take(True)


def test_weak_request_can_still_be_read_to_be_refused_in_words() -> None:
    message = scep.read_message(pkcs_req(transaction(digest="md5", cipher="des")))
    with pytest.raises(PkiError) as caught:
        scep.verify_message(message)
    assert scep.fail_info_of(caught.value) is FailInfo.BAD_ALG
    answer = scep.build_cert_rep(
        message,
        PkiStatus.FAILURE,
        ca=CA,
        key=CA_KEY,
        sender_nonce=CA_NONCE,
        rng=SampleRng(),
        fail_info=scep.fail_info_of(caught.value),
    )
    assert scep.read_message(answer).fail_info is FailInfo.BAD_ALG


def test_transaction_id_of_one_key_stays_the_same() -> None:
    info = public_key_info(SPOKE_KEY)
    assert scep.transaction_id_for(info, "md5") == scep.transaction_id_for(info, "md5")
    assert len(scep.transaction_id_for(info, "md5")) == 32
    assert len(scep.transaction_id_for(info)) == 64


# --- answers --------------------------------------------------------------------------------------


def test_pending_carries_nothing() -> None:
    ours = transaction()
    answer = cert_rep(pkcs_req(ours), PkiStatus.PENDING)
    assert scep.read_message(answer).envelope is None
    assert read(answer, ours) == scep.CertRep(PkiStatus.PENDING)


def test_failure_carries_its_reason_and_text() -> None:
    ours = transaction()
    answer = cert_rep(
        pkcs_req(ours),
        PkiStatus.FAILURE,
        fail_info=FailInfo.BAD_CERT_ID,
        fail_info_text="no such K\u00f6nig",
    )
    assert scep.read_message(answer).envelope is None
    assert read(answer, ours) == scep.CertRep(
        PkiStatus.FAILURE, FailInfo.BAD_CERT_ID, "no such K\u00f6nig"
    )


def test_text_of_a_failure_is_safe_for_a_terminal() -> None:
    ours = transaction()
    answer = cert_rep(pkcs_req(ours), PkiStatus.FAILURE, fail_info_text="a\x1b[2J\n%SYS-5\u202e")
    assert read(answer, ours).fail_info_text == "a?[2J?%SYS-5?"


def test_get_crl_is_answered_with_the_crl_only() -> None:
    ours = transaction()
    answer = cert_rep(pkcs_req(ours), PkiStatus.SUCCESS, crls=[crl_of(CA, 4).der])
    assert read(answer, ours) == scep.CertRep(PkiStatus.SUCCESS, crls=(crl_of(CA, 4).der,))


def test_ca_certificate_beside_the_signature_is_optional() -> None:
    ours = transaction()
    answer = cert_rep(pkcs_req(ours), PkiStatus.PENDING, with_ca=False)
    assert CA.der not in answer
    assert read(answer, ours).status is PkiStatus.PENDING


def test_answer_to_another_request_is_refused() -> None:
    ours = transaction()
    answer = cert_rep(pkcs_req(ours), PkiStatus.PENDING)
    assert refused(lambda: read(answer, ours, sender_nonce=bytes(16))) == "wrong-transaction"
    other = transaction(key=rsa_key("other"))
    assert refused(lambda: read(answer, other)) == "wrong-transaction"


def test_answer_signed_by_somebody_else_is_refused() -> None:
    """Also where the impostor puts his own certificate of the CA's name into it."""
    ours = transaction()
    impostor = authority("root-ca", key=rsa_key("impostor"), issuer_key=rsa_key("impostor"))
    answer = cert_rep(pkcs_req(ours), PkiStatus.PENDING, ca=impostor, key=rsa_key("impostor"))
    assert refused(lambda: read(answer, ours)) == "bad-signature"
    stranger = authority("stranger")
    answer = cert_rep(pkcs_req(ours), PkiStatus.PENDING, ca=stranger, key=rsa_key("stranger"))
    assert refused(lambda: read(answer, ours)) == "wrong-signer"
    assert read(answer, ours, signers=[stranger]).status is PkiStatus.PENDING


def test_request_is_no_answer() -> None:
    ours = transaction()
    forged = scep.Transaction(
        transaction().signer, CA, CA_KEY, ours.transaction_id, "sha256", "aes128"
    )
    octets = scep.build_pkcs_req(forged, pkcs10(), sender_nonce=NONCE, rng=SampleRng())
    assert refused(lambda: read(octets, ours)) == "unexpected-message"


def test_next_ca_certificate_is_believed_when_this_ca_announces_it() -> None:
    shadow = authority("root-ca", key=rsa_key("shadow"), issuer_key=rsa_key("shadow"), serial=160)
    reply = scep.build_next_ca([shadow.der], CA, CA_KEY, "sha256")
    assert scep.read_next_ca(reply, CA) == (shadow.der,)
    assert refused(lambda: scep.read_next_ca(reply, shadow)) == "wrong-signer"
    forged = scep.build_next_ca([shadow.der], CA, rsa_key("impostor"), "sha256")
    assert refused(lambda: scep.read_next_ca(forged, CA)) == "bad-signature"


def test_get_ca_cert_reply_is_one_certificate_or_a_list() -> None:
    assert scep.read_certificates(CA.der) == (CA.der,)
    sub = authority("sub-ca", issuer="root-ca")
    reply = cms.build_degenerate([CA.der, sub.der])
    assert set(scep.read_certificates(reply)) == {CA.der, sub.der}
    assert refused(lambda: scep.read_certificates(b"<html>")) == "malformed-cms"


# --- hostile --------------------------------------------------------------------------------------


def attributes(**changes: bytes | None) -> list[bytes]:
    """The attributes of a PKCSReq with some replaced (by DER) or left out."""
    values: dict[str, bytes | None] = {
        "2": der.tlv(der.PRINTABLE_STRING, b"19"),
        "7": der.tlv(der.PRINTABLE_STRING, b"id"),
        "5": der.octet_string(NONCE),
    } | {key.removeprefix("a"): value for key, value in changes.items()}
    return [
        cms.attribute(f"2.16.840.1.113733.1.9.{arc}", value)
        for arc, value in values.items()
        if value is not None
    ]


def crafted(content: bytes | None = b"", **changes: bytes | None) -> bytes:
    ours = transaction()
    return cms.build_signed(
        envelope.build_envelope(pkcs10(), CA, "aes128", SampleRng()) if content == b"" else content,
        signer=ours.signer,
        key=SPOKE_KEY,
        digest="sha256",
        attributes=attributes(**changes),
        certificates=[ours.signer.der],
    )


def test_crafted_message_is_sound_without_changes() -> None:
    assert scep.parse_message(crafted()).transaction_id == "id"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"a2": None}, "no messageType"),
        ({"a2": der.tlv(der.PRINTABLE_STRING, b"99")}, "messageType 99"),
        ({"a2": der.tlv(der.PRINTABLE_STRING, b"-19")}, "messageType -19"),
        ({"a2": der.tlv(der.PRINTABLE_STRING, b"1" * 5000)}, "messageType of 5,000 digits"),
        ({"a2": der.tlv(der.UTF8_STRING, "\u00b9\u2079".encode())}, "digits that are not ASCII"),
        ({"a2": der.integer(19)}, "a number as INTEGER"),
        ({"a3": der.tlv(der.PRINTABLE_STRING, b"1")}, "pkiStatus 1"),
        ({"a4": der.tlv(der.PRINTABLE_STRING, b"7")}, "failInfo 7"),
        ({"a7": None}, "no transactionID"),
        ({"a7": der.tlv(der.PRINTABLE_STRING, b"")}, "empty transactionID"),
        ({"a7": der.tlv(der.PRINTABLE_STRING, b"a\n%SYS-5")}, "line break in transactionID"),
        ({"a7": der.tlv(der.PRINTABLE_STRING, b"a" * 257)}, "transactionID of 257 characters"),
        ({"a5": der.octet_string(bytes(65))}, "nonce of 65 octets"),
        ({"a5": der.tlv(der.PRINTABLE_STRING, b"1")}, "nonce as text"),
        ({"content": b"\x30\x00"}, "content that is no ContentInfo"),
    ],
)
def test_unsound_messages_are_refused(changes: dict[str, bytes | None], why: str) -> None:
    octets = crafted(**changes)
    assert refused(lambda: scep.read_message(octets)) == "malformed-cms", why


@pytest.mark.parametrize(
    "identifier", ["0", "SSCEP transactionId", "QbzHiQHDS+M537+Aha35+m9xKyc=", "K\u00f6ln"]
)
def test_transaction_ids_of_other_clients_come_back_as_they_were(identifier: str) -> None:
    tag = der.PRINTABLE_STRING if identifier.isascii() else der.UTF8_STRING
    octets = crafted(a7=der.tlv(tag, identifier.encode()))
    answer = cert_rep(octets, PkiStatus.PENDING)
    assert scep.read_message(answer).transaction_id == identifier


def test_short_and_missing_nonces_are_copied_as_they_are() -> None:
    short = cert_rep(crafted(a5=der.octet_string(b"8 octets")), PkiStatus.PENDING)
    assert scep.read_message(short).recipient_nonce == b"8 octets"
    none = cert_rep(crafted(a5=None), PkiStatus.PENDING)
    assert scep.read_message(none).recipient_nonce == b""


def test_message_type_of_old_drafts_is_read_to_be_refused_in_words() -> None:
    octets = crafted(a2=der.tlv(der.PRINTABLE_STRING, b"18"))
    assert scep.read_message(octets).message_type is MessageType.UPDATE_REQ


def test_request_without_content_has_no_success() -> None:
    octets = crafted(content=None)
    message = scep.parse_message(octets)
    assert refused(lambda: scep.open_content(message, [(CA, CA_KEY)])) == "no-content"
    assert refused(lambda: cert_rep(octets, PkiStatus.SUCCESS)) == "no-content"


def test_plaintext_that_is_no_structure_looks_like_a_wrong_key() -> None:
    """Else the answer would tell how far the decryption of somebody else's message came."""
    for plaintext in (b"", b"text", b"\x30\x05\x00", der.octet_string(b"x")):
        message = scep.parse_message(
            crafted(content=envelope.build_envelope(plaintext, CA, "aes128", SampleRng()))
        )
        assert refused(lambda m=message: scep.open_content(m, [(CA, CA_KEY)])) == "undecryptable"


def test_negative_serial_number_of_an_ios_requester_is_taken() -> None:
    """IOS wrote serial numbers over 127 of its temporary certificates as negative ones."""
    theirs = transaction().signer
    negative = load_certificate(
        theirs.der.replace(
            b"\xa0\x03\x02\x01\x02\x02\x01\x01", b"\xa0\x03\x02\x01\x02\x02\x01\xc8"
        ),
        any_serial=True,
    )
    assert negative.serial == -56
    ours = scep.Transaction(CA, negative, SPOKE_KEY, "id", "sha256", "aes128")
    message = scep.parse_message(pkcs_req(ours))
    assert message.signer == negative
    answer = cert_rep(message.der, PkiStatus.SUCCESS, certificates=[router().der])
    assert read(answer, ours).certificates == (router().der,)


def test_damaged_requests_raise_nothing_else() -> None:
    octets = pkcs_req(transaction())

    def take(damaged: bytes) -> None:
        message = scep.parse_message(damaged)
        load_request(scep.open_content(message, [(CA, CA_KEY)])[1])

    assert survives(take, octets) > len(octets)


def test_damaged_answers_raise_nothing_else() -> None:
    ours = transaction()
    octets = cert_rep(pkcs_req(ours), PkiStatus.SUCCESS, certificates=[router().der])
    assert survives(lambda damaged: read(damaged, ours), octets) > len(octets)


def test_nothing_secret_is_in_a_repr() -> None:
    ours = transaction()
    message = scep.parse_message(pkcs_req(ours))
    assert "secret" not in repr(message)
    assert "key" not in repr(ours).lower().replace("transaction", "")


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("weak-algorithm", FailInfo.BAD_ALG),
        ("bad-key", FailInfo.BAD_ALG),
        ("undecryptable", FailInfo.BAD_MESSAGE_CHECK),
        ("bad-signature", FailInfo.BAD_MESSAGE_CHECK),
        ("malformed-request", FailInfo.BAD_REQUEST),
        ("whatever", FailInfo.BAD_REQUEST),
    ],
)
def test_every_error_has_its_fail_info(reason: str, expected: FailInfo) -> None:
    assert scep.fail_info_of(PkiError(reason)) is expected
    assert scep.fail_info_of(PkiError(reason, fail_info=3)) is FailInfo.BAD_TIME


# --- witnesses ------------------------------------------------------------------------------------


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
        return scep.build_cert_rep(
            message,
            status,
            ca=self.ca,
            key=self.key,
            sender_nonce=CA_NONCE,
            rng=SampleRng(),
            certificates=[self.issue()] if status is PkiStatus.SUCCESS else (),
            fail_info=FailInfo.BAD_TIME if status is PkiStatus.FAILURE else None,
        )


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
