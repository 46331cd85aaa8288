"""The certificate server: what it signs, what it refuses, and what a crash cannot undo."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography import x509

from ikelab.errors import LabError, PkiError
from ikelab.pki.ca_events import (
    CertificateRevoked,
    CrlPublished,
    RequestGranted,
    RequestQueued,
    RequestRefused,
    RequestRejected,
    RequestRemoved,
    ServerDisabled,
    ServerEnabled,
)
from ikelab.pki.cert_server import (
    REQUEST_LIFETIME,
    TABLE,
    ServerInput,
    ServerState,
)
from ikelab.pki.crl import load_crl, verify_crl
from ikelab.pki.name import parse_dn
from ikelab.pki.recovery import StorageContents
from ikelab.pki.scep import CertRep, FailInfo, PkiStatus
from ikelab.pki.store import RequestKind, RequestState
from ikelab.pki.x509 import Certificate, fingerprint, load_certificate
from ikelab.runtime.store import SqliteCaStore
from tests.pki_scene import Scene
from tests.scep_requester import Requester, certificates

DAY = timedelta(days=1)
SCEP_PATH = "/cgi-bin/pkiclient.exe"


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


# --- granting -------------------------------------------------------------------------------------


def test_manual_grant_is_the_default_and_keeps_the_request_until_it_is_granted() -> None:
    asker = enabled()
    assert asker.enroll().status is PkiStatus.PENDING
    [queued] = asker.scene.told(RequestQueued)
    digest = fingerprint(asker.csr(), "md5")
    assert queued == RequestQueued(
        "root-ca", 1, RequestKind.ROUTER, digest, "hostname=r1.example.com"
    )
    assert asker.poll().status is PkiStatus.PENDING
    asker.scene.ca_notices += asker.server.grant(1, asker.scene.now())
    assert asker.scene.told(RequestGranted)[-1].serial == 2
    assert issued(asker.poll()).serial == 2


def test_grant_auto_answers_in_the_same_exchange() -> None:
    asker = enabled(grant="auto")
    certificate = issued(asker.enroll())
    assert certificate.public_key.public_numbers() == asker.key.public_key().public_numbers()
    assert not certificate.is_ca
    assert certificate.key_usage == frozenset({"digitalSignature", "keyEncipherment"})
    assert not asker.scene.told(RequestQueued)


def test_a_certificate_starts_now_in_whole_seconds_and_ends_with_its_lifetime() -> None:
    asker = enabled(grant="auto", lifetime_certificate=timedelta(minutes=30))
    certificate = issued(asker.enroll())
    assert certificate.not_before == asker.scene.wall.replace(microsecond=0)
    assert certificate.not_after - certificate.not_before == timedelta(minutes=30)


def test_no_certificate_outlives_the_ca() -> None:
    asker = enabled(grant="auto", lifetime_ca_certificate=timedelta(hours=4))
    assert issued(asker.enroll()).not_after == asker.ca.not_after


def test_requests_are_granted_by_number_or_all_together() -> None:
    asker = enabled()
    askers = [asker, another(asker), another(asker, key_index=102, transaction_id="E5")]
    for each in askers:
        each.enroll()
    asker.server.grant(2, asker.scene.now())
    states = [request.state for request in asker.server.requests()]
    assert states == [RequestState.PENDING, RequestState.GRANTED, RequestState.PENDING]
    assert len(asker.server.grant(None, asker.scene.now())) == 2
    assert [issued(each.poll()).serial for each in askers] == [3, 2, 4]


def test_the_second_of_two_grants_is_told_that_it_lost() -> None:
    asker = enabled()
    asker.enroll()
    asker.server.grant(1, asker.scene.now())
    [notice] = asker.server.grant(1, asker.scene.now())
    assert isinstance(notice, RequestRefused)
    assert notice.reason == "not-pending"
    assert issued(asker.poll()).serial == 2


def test_a_rejected_request_stays_rejected() -> None:
    asker = enabled()
    asker.enroll()
    assert asker.server.reject(1) == [RequestRejected("root-ca", 1)]
    assert refusal(asker.poll()) is FailInfo.BAD_REQUEST
    assert refusal(asker.enroll()) is FailInfo.BAD_REQUEST
    [lost] = asker.server.grant(1, asker.scene.now())
    assert isinstance(lost, RequestRefused)
    [twice] = asker.server.reject(1)
    assert isinstance(twice, RequestRefused) and twice.reason == "not-pending"


def test_a_removed_request_is_as_if_it_had_never_come() -> None:
    asker = enabled()
    asker.enroll()
    assert asker.server.remove(1) == [RequestRemoved("root-ca", 1, False)]
    assert refusal(asker.poll()) is FailInfo.BAD_CERT_ID
    assert asker.enroll().status is PkiStatus.PENDING
    assert asker.server.remove(None) == [RequestRemoved("root-ca", 1, False)]


@pytest.mark.parametrize("command", ["grant", "reject", "remove"])
def test_a_number_nobody_has_is_an_error(command: str) -> None:
    asker = enabled()
    arguments = (5, asker.scene.now()) if command == "grant" else (5,)
    with pytest.raises(PkiError, match="no enrollment request 5"):
        getattr(asker.server, command)(*arguments)


def test_a_request_nobody_decides_on_is_removed_after_a_week() -> None:
    asker = enabled()
    asker.enroll()
    asker.scene.advance(days=6.9)
    assert len(asker.server.requests()) == 1
    asker.scene.advance(days=0.2)
    assert asker.scene.told(RequestRemoved) == [RequestRemoved("root-ca", 1, True)]
    assert REQUEST_LIFETIME == 7 * DAY
    assert refusal(asker.poll()) is FailInfo.BAD_CERT_ID


def test_a_sub_ca_says_in_its_request_what_it_is_and_has_its_own_table() -> None:
    asker = enabled(lifetime_certificate=730 * DAY)
    router = another(asker)
    asker.enroll(subject=parse_dn("cn=ra-subca"), ca=True)
    router.enroll()
    kinds = [request.kind for request in asker.server.requests()]
    assert kinds == [RequestKind.SUB_CA, RequestKind.ROUTER]
    asker.server.grant(None, asker.scene.now())
    sub_ca = issued(asker.poll())
    assert sub_ca.is_ca
    assert sub_ca.key_usage == frozenset({"digitalSignature", "keyCertSign", "cRLSign"})
    assert sub_ca.not_after - sub_ca.not_before == 730 * DAY


# --- the same request again -----------------------------------------------------------------------


def test_a_repeated_request_makes_no_second_one() -> None:
    asker = enabled()
    for _ in range(3):
        assert asker.enroll().status is PkiStatus.PENDING
    assert len(asker.server.requests()) == 1
    assert len(asker.scene.told(RequestQueued)) == 1


def test_a_replayed_request_gets_the_same_certificate() -> None:
    asker = enabled(grant="auto")
    octets = asker.pkcs_req()
    first = issued(asker.send(octets))
    asker.scene.advance(days=30)
    assert issued(asker.send(octets)) == first
    assert issued(asker.enroll()) == first
    asker.server.remove(None)
    assert issued(asker.enroll()) == first
    assert asker.server.store.last_serial() == 2


def test_the_same_transaction_with_another_request_is_refused_while_the_first_waits() -> None:
    asker = enabled()
    asker.enroll()
    before = asker.server.requests()
    other = asker.enroll(subject=parse_dn("hostname=r2.example.com"))
    assert refusal(other) is FailInfo.BAD_REQUEST
    assert why(asker) == "transaction-busy"
    assert asker.server.requests() == before


def test_two_clients_may_use_the_same_transaction_id() -> None:
    asker = enabled()
    other = another(asker, transaction_id=asker.transaction_id, name="hostname=r2.example.com")
    asker.enroll()
    other.enroll()
    asker.server.grant(None, asker.scene.now())
    assert issued(asker.poll()).serial == 2
    assert issued(other.poll()).serial == 3


def test_a_poll_with_another_key_learns_nothing() -> None:
    asker = enabled()
    asker.enroll()
    asker.server.grant(None, asker.scene.now())
    thief = another(asker, transaction_id=asker.transaction_id)
    assert refusal(thief.poll()) is FailInfo.BAD_MESSAGE_CHECK
    assert why(asker) == "other-key"


def test_a_poll_for_nothing_is_bad_cert_id() -> None:
    assert refusal(enabled().poll()) is FailInfo.BAD_CERT_ID


def test_a_failure_has_no_envelope_and_echoes_transaction_and_nonce() -> None:
    asker = replace(enabled(), transaction_id="so und so / + =", nonce=b"8 octets")
    for octets in (asker.pkcs_req(subject=asker.ca.subject), asker.pkcs_req()):
        message = asker.message(asker.post(octets).body)
        assert message.envelope is None
        assert message.transaction_id == "so und so / + ="
        assert message.recipient_nonce == b"8 octets"
        assert len(message.sender_nonce) == 16


def test_the_answer_uses_the_digest_and_cipher_of_the_request() -> None:
    asker = enabled(Scene(legacy=True), grant="auto")
    for digest, cipher in (("sha256", "aes128"), ("sha512", "aes256"), ("md5", "des3")):
        asker = replace(asker, digest=digest, cipher=cipher, transaction_id=digest)
        message = asker.message(asker.post(asker.pkcs_req()).body)
        assert (message.digest, message.cipher) == (digest, cipher)


# --- crashes --------------------------------------------------------------------------------------


class Crash(BaseException):
    """The process ends here."""


class CrashingStore(SqliteCaStore):
    """Ends the process before or after its n-th transaction, from when it is armed."""

    steps: int | None = None
    after: bool = False

    @contextmanager
    def transaction(self) -> Iterator[object]:  # type: ignore[override]
        if self.steps == 0 and not self.after:
            raise Crash
        with super().transaction() as connection:
            yield connection
        if self.steps == 0:
            raise Crash
        if self.steps is not None:
            self.steps -= 1


class Outcome(NamedTuple):
    """What a crash at one place led to."""

    crashed: bool
    certificate: Certificate
    serials: list[int]


def crash_and_ask_again(path: Path, step: int, after: bool) -> Outcome:
    """The server dies at a step of an enrollment, starts again, and the client repeats itself."""
    store = CrashingStore(str(path))
    asker = enabled(store=store, grant="auto", database_level="complete")
    octets = asker.pkcs_req()
    store.steps, store.after = step, after
    crashed = False
    try:
        asker.post(octets)
    except Crash:
        crashed = True
    store.close()
    store = CrashingStore(str(path))
    asker.scene.server("root-ca", store, grant="auto", database_level="complete")
    asker.server = asker.scene.start("root-ca")
    first = issued(asker.send(octets))
    assert issued(asker.send(octets)) == first
    second = issued(another(asker).enroll())
    rows = store.connection.execute("SELECT serial, certificate FROM issued").fetchall()
    store.close()
    assert all(load_certificate(der).serial == serial for serial, der in rows)
    assert {first.serial, second.serial} < {serial for serial, _ in rows}
    return Outcome(crashed, first, sorted(serial for serial, _ in rows))


@pytest.mark.parametrize("after", [False, True])
def test_a_crash_at_any_step_of_an_enrollment_loses_no_certificate_and_no_serial(
    tmp_path: Path, after: bool
) -> None:
    outcomes = []
    for step in range(20):
        outcomes.append(crash_and_ask_again(tmp_path / f"{step}.db", step, after))
        if not outcomes[-1].crashed:
            break
    assert len(outcomes) == 4  # queued, serial reserved, recorded; then nothing is left to crash
    assert not outcomes[-1].crashed
    serials = [outcome.serials for outcome in outcomes]
    # A number reserved by the server that died is skipped, and never given to anybody else.
    assert [1, 3, 4] in serials
    assert [1, 2, 3] in serials


def test_a_serial_reserved_before_a_crash_is_skipped() -> None:
    asker = enabled(grant="auto")
    asker.server.store.reserve_serial()
    assert issued(asker.enroll()).serial == 3


def test_a_store_that_fails_gives_no_answer_at_all(tmp_path: Path) -> None:
    store = SqliteCaStore(str(tmp_path / "ca.db"))
    asker = enabled(store=store, grant="auto")
    octets = asker.pkcs_req()
    pages = store.connection.execute("PRAGMA page_count").fetchone()[0]
    store.connection.execute(f"PRAGMA max_page_count = {pages}")
    asker.post(octets)
    with pytest.raises(LabError, match="full"):
        for count in range(40):  # until the pages that were there are used up
            another(asker, transaction_id=f"T{count}").enroll()
    store.close()


# --- who may ask ----------------------------------------------------------------------------------


def test_a_one_time_password_lets_one_router_in_unasked() -> None:
    asker = enabled()
    password = asker.server.generate_password(asker.scene.now())
    assert len(password) == 16
    assert issued(asker.enroll(challenge=password)).serial == 2
    assert issued(asker.enroll(challenge=password)).serial == 2  # the same request again
    other = another(asker)
    assert refusal(other.enroll(challenge=password)) is FailInfo.BAD_REQUEST
    assert why(asker) == "password-used"


def test_a_one_time_password_ends_after_its_minutes() -> None:
    asker = enabled()
    password = asker.server.generate_password(asker.scene.now(), minutes=10)
    asker.scene.advance(minutes=11)
    assert refusal(asker.enroll(challenge=password)) is FailInfo.BAD_REQUEST


def test_while_a_one_time_password_is_out_another_one_is_wrong() -> None:
    asker = enabled()
    asker.server.generate_password(asker.scene.now())
    assert refusal(asker.enroll(challenge="0123456789ABCDEF")) is FailInfo.BAD_REQUEST
    assert why(asker) == "wrong-password"
    assert another(asker).enroll().status is PkiStatus.PENDING  # none at all: the usual way


def test_an_ordinary_challenge_password_is_kept_for_the_revocation_it_is_meant_for() -> None:
    assert enabled().enroll(challenge="my word").status is PkiStatus.PENDING


def test_a_one_time_password_makes_nobody_a_ca() -> None:
    asker = enabled()
    password = asker.server.generate_password(asker.scene.now())
    assert asker.enroll(challenge=password, ca=True).status is PkiStatus.PENDING


def test_no_notice_and_no_status_has_the_password() -> None:
    asker = enabled()
    password = asker.server.generate_password(asker.scene.now())
    another(asker).enroll(challenge=password + "x")
    asker.enroll(challenge=password)
    assert password not in repr(asker.scene.ca_notices)
    assert password not in repr(asker.server.status())
    digests = asker.server.store.connection.execute("SELECT * FROM password")  # type: ignore[attr-defined]
    assert password not in repr(digests.fetchall())


def test_a_signer_who_is_neither_the_key_nor_certified_is_refused() -> None:
    asker = enabled(grant="auto")
    stranger = another(asker)
    stranger.signer, stranger.signer_key = stranger.self_signed(), stranger.key
    stranger.key_index = asker.key_index
    assert refusal(stranger.enroll()) is FailInfo.BAD_MESSAGE_CHECK
    assert why(asker) == "unknown-signer"


def test_a_request_encrypted_for_another_ca_is_refused() -> None:
    asker, other = enabled(grant="auto"), Scene()
    for _ in range(5):
        other.keys.rsa_key("skip", 2048)
    foreign = enabled(other)
    octets = replace(foreign, key_index=asker.key_index).pkcs_req()
    message = asker.message(asker.post(octets).body)
    assert message.pki_status is PkiStatus.FAILURE
    assert message.fail_info is FailInfo.BAD_MESSAGE_CHECK


@pytest.mark.parametrize(
    "weak", [{"digest": "md5"}, {"digest": "sha1"}, {"cipher": "des"}, {"cipher": "des3"}], ids=str
)
def test_weak_algorithms_are_for_legacy_labs_only(weak: dict[str, str]) -> None:
    asker = replace(enabled(grant="auto"), **weak)
    for octets in (asker.pkcs_req(),):
        assert asker.message(asker.post(octets).body).fail_info is FailInfo.BAD_ALG
    legacy = replace(enabled(Scene(legacy=True), grant="auto"), **weak)
    assert issued(legacy.enroll())


def test_a_key_of_512_bits_is_for_legacy_labs_only() -> None:
    asker = replace(enabled(grant="auto"), bits=512)
    out = asker.post(asker.pkcs_req())
    assert asker.message(out.body).fail_info is FailInfo.BAD_ALG
    legacy = replace(enabled(Scene(legacy=True), grant="auto"), bits=512, digest="md5")
    assert issued(legacy.enroll()).public_key.key_size == 512


@pytest.mark.parametrize(
    "parts",
    [
        {"subject": parse_dn("cn=root-ca")},
        {"subject": parse_dn("CN=Root-CA"), "ca": True},
        {"subject": b"\x30\x00"},
        {"fqdns": ["*.example.com"]},
        {"fqdns": ["-.example.com"]},
        {"fqdns": ["a" * 64 + ".example.com"]},
        {"fqdns": ["../../etc/passwd"]},
    ],
    ids=str,
)
def test_names_that_no_router_should_have_are_not_signed(parts: dict[str, object]) -> None:
    asker = enabled(grant="auto")
    assert refusal(asker.enroll(**parts)) is FailInfo.BAD_REQUEST
    assert why(asker) == "bad-name"
    assert asker.server.requests() == ()


def test_a_name_with_a_line_break_is_not_signed() -> None:
    asker = enabled(grant="auto")
    plain, evil = b"r1.example.com", b"r1\nWriting 1.c"
    assert len(plain) == len(evil)
    subject = parse_dn("hostname=r1.example.com").replace(plain, evil)
    assert refusal(asker.enroll(subject=subject)) is FailInfo.BAD_REQUEST


def test_files_are_named_after_the_serial_number_whatever_the_requester_is_called() -> None:
    asker = enabled(grant="auto", database_level="complete")
    asker.enroll(subject=parse_dn("cn=../../x"))
    names = [file.name for file in asker.server.store.outbox()]
    assert names == ["1.crt", "1.cnm", "root-ca.crl", "2.crt", "2.cnm", "root-ca.ser"]


# --- renewal --------------------------------------------------------------------------------------


def renewing(asker: Requester, certificate: Certificate, **changes: object) -> Requester:
    """The holder of a certificate, asking for the next one with a new key."""
    return replace(
        asker,
        **({"key_index": 110, "transaction_id": "RENEW"} | changes),  # type: ignore[arg-type]
        signer=certificate,
        signer_key=asker.key,
    )


@pytest.mark.parametrize("renewal", [True, False], ids=["RenewalReq", "PKCSReq"])
def test_a_renewal_is_known_by_its_signer_not_by_its_message_type(renewal: bool) -> None:
    asker = enabled(grant="auto")
    first = issued(asker.enroll())
    second = issued(renewing(asker, first).enroll(renewal=renewal))
    assert (second.serial, second.subject) == (3, first.subject)
    assert asker.server.requests()[-1].key.renews == first.serial


def test_a_renewal_that_keeps_key_name_and_transaction_is_still_a_new_request() -> None:
    asker = enabled(grant="auto")
    first = issued(asker.enroll())
    same = renewing(asker, first, key_index=asker.key_index, transaction_id=asker.transaction_id)
    second = issued(same.enroll())
    assert second.serial == 3
    assert issued(same.enroll()) == second
    assert issued(asker.enroll()) == first


def test_a_renewal_signed_by_a_revoked_certificate_is_refused() -> None:
    asker = enabled(grant="auto")
    first = issued(asker.enroll())
    asker.server.revoke(first.serial, asker.scene.now())
    assert refusal(renewing(asker, first).enroll()) is FailInfo.BAD_REQUEST
    assert why(asker) == "renewal-revoked"


def test_a_renewal_signed_by_an_expired_certificate_is_refused() -> None:
    asker = enabled(grant="auto")
    first = issued(asker.enroll())
    asker.scene.advance(days=366)
    assert refusal(renewing(asker, first).enroll()) is FailInfo.BAD_REQUEST
    assert why(asker) == "renewal-expired"


@pytest.mark.parametrize(
    "parts",
    [
        {"subject": parse_dn("hostname=hub.example.com")},
        {"fqdns": ["hub.example.com"]},
        {"addresses": ["192.0.2.1"]},
        {"ca": True},
    ],
    ids=str,
)
def test_a_renewal_changes_no_name_and_no_rank(parts: dict[str, object]) -> None:
    asker = enabled(grant="auto")
    first = issued(asker.enroll())
    assert refusal(renewing(asker, first).enroll(**parts)) is FailInfo.BAD_REQUEST
    assert why(asker) == "renewal-changed"


def test_a_renewal_waits_like_any_request_when_grants_are_manual() -> None:
    asker = enabled()
    asker.enroll()
    asker.server.grant(None, asker.scene.now())
    first = issued(asker.poll())
    assert renewing(asker, first).enroll().status is PkiStatus.PENDING


def test_grant_auto_rollover_renews_a_sub_ca_but_no_router_and_no_new_sub_ca() -> None:
    asker = enabled(grant_auto_rollover_ca_cert=True)
    asker.name = "cn=ra-subca"
    assert asker.enroll(ca=True).status is PkiStatus.PENDING
    asker.server.grant(None, asker.scene.now())
    first = issued(asker.poll())
    assert issued(renewing(asker, first).enroll(ca=True)).is_ca
    router = another(asker, name="hostname=r1.example.com")
    router.enroll()
    asker.server.grant(None, asker.scene.now())
    certificate = issued(router.poll())
    assert renewing(router, certificate).enroll().status is PkiStatus.PENDING


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


# --- revocation and CRLs --------------------------------------------------------------------------


def present_crl(asker: Requester) -> x509.CertificateRevocationList:
    crl = x509.load_der_x509_crl(asker.http("GET", "/root-ca.crl").body)
    assert crl.is_signature_valid(asker.ca_key)  # type: ignore[attr-defined]
    return crl


@pytest.fixture(autouse=True)
def _ca_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """The CA's public key as the library has it."""

    def ca_key(self: Requester) -> object:
        return x509.load_der_x509_certificate(self.ca.der).public_key()

    monkeypatch.setattr(Requester, "ca_key", property(ca_key), raising=False)


def test_a_revoked_certificate_is_in_the_next_crl_at_once() -> None:
    asker = enabled(grant="auto")
    first = issued(asker.enroll())
    before = present_crl(asker)
    notices = asker.server.revoke(first.serial, asker.scene.now(), reason=1)
    assert isinstance(notices[0], CertificateRevoked)
    assert isinstance(notices[1], CrlPublished)
    after = present_crl(asker)
    assert before.get_revoked_certificate_by_serial_number(first.serial) is None
    entry = after.get_revoked_certificate_by_serial_number(first.serial)
    assert entry is not None
    assert entry.extensions.get_extension_for_class(x509.CRLReason).value.reason == (
        x509.ReasonFlags.key_compromise
    )


def test_revocations_of_before_and_after_a_restart_are_all_in_the_crl(tmp_path: Path) -> None:
    path = str(tmp_path / "ca.db")
    asker = enabled(store=SqliteCaStore(path), grant="auto")
    asker.server.store.raise_last_serial(20)
    for serial in (9, 4, 12):
        asker.server.revoke(serial, asker.scene.now(), reason=1)
    before = present_crl(asker)
    asker.server.store.close()  # type: ignore[attr-defined]
    asker.scene.server("root-ca", SqliteCaStore(path))
    asker.server = asker.scene.start("root-ca")
    asker.server.revoke(7, asker.scene.now())
    assert [entry.serial_number for entry in before] == [9, 4, 12]
    assert [entry.serial_number for entry in present_crl(asker)] == [9, 4, 12, 7]


def test_crls_of_version_1_are_written_on_request_and_numbers_go_on_afterwards() -> None:
    asker = enabled(grant="auto")
    asker.server.revoke(issued(asker.enroll()).serial, asker.scene.now(), reason=1)
    newest = load_crl(asker.server.store.load_crl().crl)
    assert (newest.version, newest.number) == (2, 2)
    for version, number in ((1, None), (2, 4)):
        asker.server.config = replace(asker.server.config, crl_version=version)
        asker.server.publish_crl(asker.scene.now())
        written = load_crl(asker.server.store.load_crl().crl)
        assert (written.version, written.number) == (version, number)
        assert written.revoked.keys() == newest.revoked.keys()


def test_revoking_twice_changes_nothing() -> None:
    asker = enabled(grant="auto")
    serial = issued(asker.enroll()).serial
    asker.server.revoke(serial, asker.scene.now())
    before = asker.server.store.load_crl()
    [notice] = asker.server.revoke(serial, asker.scene.now())
    assert notice == CertificateRevoked("root-ca", serial, again=True)
    assert asker.server.store.load_crl() == before


@pytest.mark.parametrize("serial", [0, 1, 3, 0xFFFFFFFF, -2, 1 << 70])
def test_only_certificates_given_away_can_be_revoked(serial: int) -> None:
    asker = enabled(grant="auto")
    asker.enroll()
    with pytest.raises(PkiError, match="unknown-serial"):
        asker.server.revoke(serial, asker.scene.now())


def number_of(crl: x509.CertificateRevocationList) -> int:
    return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def test_a_crl_is_followed_by_the_next_before_it_ends() -> None:
    asker = enabled(lifetime_crl=timedelta(hours=6))
    first = present_crl(asker)
    assert first.next_update_utc is not None
    assert first.next_update_utc - first.last_update_utc == timedelta(hours=6)
    for _ in range(3):
        asker.scene.advance(hours=6)
        crl = present_crl(asker)
        assert crl.next_update_utc is not None and crl.next_update_utc > asker.scene.wall
    assert number_of(present_crl(asker)) == number_of(first) + 3


def test_crl_numbers_and_dates_go_on_over_restarts_and_clocks_set_back(tmp_path: Path) -> None:
    path = str(tmp_path / "ca.db")
    asker = enabled(store=SqliteCaStore(path))
    crls = [present_crl(asker)]
    for step in (timedelta(hours=1), -2 * DAY, timedelta(0), timedelta(minutes=1)):
        asker.server.store.close()  # type: ignore[attr-defined]
        asker.scene.wall += step
        asker.scene.server("root-ca", SqliteCaStore(path))
        asker.server = asker.scene.start("root-ca")
        crls.append(present_crl(asker))
    numbers = [number_of(crl) for crl in crls]
    dates = [crl.last_update_utc for crl in crls]
    assert numbers == sorted(set(numbers))
    assert dates == sorted(dates)
    asker.server.store.close()  # type: ignore[attr-defined]


def test_clock_jumps_of_years_make_one_crl_each() -> None:
    asker = enabled(lifetime_ca_certificate=3650 * DAY)
    for step in (5 * 365, -5 * 365, 3):
        before = number_of(present_crl(asker))
        asker.scene.wall += step * DAY
        asker.scene.advance(seconds=1)
        assert number_of(present_crl(asker)) <= before + 1


# --- life of a server -----------------------------------------------------------------------------


def test_a_server_without_a_clock_starts_as_soon_as_it_has_one() -> None:
    scene = Scene(synced=False)
    asker = enabled(scene)
    assert asker.server.state is ServerState.CLOCK_NOT_SET
    assert asker.http("GET", f"{SCEP_PATH}?operation=GetCACert").status == 503
    scene.advance(seconds=30)
    assert asker.server.store.load_authority() is None
    scene.synced = True
    scene.advance(seconds=30)
    assert asker.server.state is ServerState.ENABLED


def test_a_server_that_is_shut_answers_nothing_and_comes_back_the_same() -> None:
    asker = enabled(grant="auto")
    octets = asker.pkcs_req()
    first = issued(asker.send(octets))
    assert asker.server.shut(asker.scene.now()) == [ServerDisabled("root-ca", "disabled")]
    assert asker.post(octets).status == 503
    assert asker.server.next_timer() is None
    assert ServerEnabled("root-ca") in asker.server.no_shut(asker.scene.now())
    assert issued(asker.send(octets)) == first


def test_a_restarted_server_keeps_key_certificate_and_serial_numbers(tmp_path: Path) -> None:
    path = str(tmp_path / "ca.db")
    asker = enabled(store=SqliteCaStore(path), grant="auto")
    before, first = asker.ca, issued(asker.enroll())
    asker.server.store.close()  # type: ignore[attr-defined]
    asker.scene.server("root-ca", SqliteCaStore(path), grant="auto")
    asker.server = asker.scene.start("root-ca")
    assert asker.ca == before
    assert issued(another(asker).enroll()).serial == first.serial + 1
    asker.server.store.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("state", ServerState)
def test_what_a_state_does_not_know_is_refused(state: ServerState) -> None:
    asker = enabled()
    asker.server.state = state
    for happened in set(ServerInput) - set(TABLE[state]):
        with pytest.raises(PkiError, match="server-state"):
            asker.server._input(happened, asker.scene.now())
        assert asker.server.state is state


def test_a_root_past_its_end_stops_issuing_and_publishing() -> None:
    asker = enabled(grant="auto", lifetime_ca_certificate=timedelta(hours=4))
    octets = asker.pkcs_req()
    asker.scene.advance(hours=5)
    assert asker.server.state is ServerState.EXPIRED
    assert asker.post(octets).status == 503
    assert asker.server.next_timer() is None
    published = len(asker.scene.told(CrlPublished))
    asker.scene.advance(days=1)
    assert len(asker.scene.told(CrlPublished)) == published


def test_a_ca_that_has_ended_signs_nothing_even_if_its_timer_is_late() -> None:
    asker = enabled(grant="auto", lifetime_ca_certificate=timedelta(hours=4))
    asker.scene.wall += timedelta(hours=5)
    assert refusal(asker.enroll()) is FailInfo.BAD_REQUEST
    assert why(asker) == "ca-expired"
    assert asker.server.store.last_serial() == 1


def test_a_sub_ca_waits_for_its_certificate_and_then_serves_its_chain() -> None:
    asker = enabled(grant="auto")
    sub_ca = asker.scene.server("ra-subca", mode="sub-cs", database_level="complete")
    asker.scene.start("ra-subca")
    assert sub_ca.state is ServerState.REQUEST_PENDING
    assert sub_ca.state.value == "disabled, CA Certificate request is pending"
    status = sub_ca.status()
    assert (status.fingerprint, status.last_serial, status.crl_next_update) == (None, 0, None)
    with pytest.raises(PkiError):
        sub_ca.publish_crl(asker.scene.now())
    certificate = issued(asker.enroll(subject=parse_dn("cn=ra-subca"), ca=True))
    notices = sub_ca.install_certificate(
        certificate.der, [asker.ca.der], asker.key, asker.scene.now()
    )
    assert ServerEnabled("ra-subca") in notices
    below = Requester(asker.scene, sub_ca, key_index=105)
    out = below.http("GET", f"{SCEP_PATH}?operation=GetCACert")
    assert out.content_type == "application/x-x509-ca-ra-cert"
    assert set(certificates(out)) == {certificate, asker.ca}
    below.enroll()
    sub_ca.grant(None, asker.scene.now())
    assert issued(below.poll()).serial == 2  # the guide's sub-CAs start after 0x1
    assert sub_ca.status().upper_fingerprint == fingerprint(asker.ca.der, "md5")


def test_a_certificate_that_is_no_ca_or_for_another_key_is_not_installed() -> None:
    asker = enabled(grant="auto")
    sub_ca = asker.scene.server("ra-subca", mode="sub-cs")
    asker.scene.start("ra-subca")
    router = issued(asker.enroll())
    below = another(asker)
    authority = issued(below.enroll(subject=parse_dn("cn=ra-subca"), ca=True))
    for certificate, key in ((router, asker.key), (authority, asker.key)):
        with pytest.raises(PkiError, match="not-a-ca"):
            sub_ca.install_certificate(certificate.der, [], key, asker.scene.now())
    assert sub_ca.state is ServerState.REQUEST_PENDING


# --- storage --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("level", "names"),
    [
        ("minimum", ["root-ca.crl", "root-ca.ser"]),
        ("names", ["1.cnm", "root-ca.crl", "2.cnm", "root-ca.ser"]),
        ("complete", ["1.crt", "1.cnm", "root-ca.crl", "2.crt", "2.cnm", "root-ca.ser"]),
    ],
)
def test_the_database_level_says_which_files_are_written(level: str, names: list[str]) -> None:
    asker = enabled(grant="auto", database_level=level)
    certificate = issued(asker.enroll())
    files = {file.name: file.octets for file in asker.server.store.outbox()}
    assert list(files) == names
    assert files["root-ca.ser"] == b"db_version = 1\nlast_serial = 0x2"
    assert len(files["root-ca.ser"]) == 32  # "[OK - 32/4096 bytes]"
    if level == "complete":
        assert files["2.crt"] == certificate.der
    if level != "minimum":
        assert files["2.cnm"].startswith(b"subjectname_str = hostname=r1.example.com\n")


@pytest.mark.parametrize(
    ("octets", "names", "last"),
    [
        (b"db_version = 1\nlast_serial = 0x3", [], 3),
        (b"version = 1\r\nlast_serial = 0x3\r\n", ["2.crt"], 3),
        (b"db_version = 1\nlast_serial = 0x3", ["3.crt", "4.crt", "root-ca.crl"], 4),
        (b"db_version = 1\nlast_serial = 0x1", ["ED.cnm", "x.crt", "12.crt.bak"], 0xED),
        (None, ["1D0.crt"], 0x1D0),
        (None, [], 1),
    ],
)
def test_a_restored_server_goes_on_after_the_highest_number_the_storage_knows(
    octets: bytes | None, names: list[str], last: int
) -> None:
    asker = enabled(grant="auto")
    files = {} if octets is None else {"root-ca.ser": octets}
    asker.server.resume(StorageContents(tuple(names), files))
    assert asker.server.status().last_serial == last
    assert issued(asker.enroll()).serial == last + 1


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"db_version = 1\nlast_seri",
        b"db_version = 1\nlast_serial = 0x",
        b"last_serial = three",
    ],
)
def test_a_broken_serial_file_stops_the_server(octets: bytes) -> None:
    asker = enabled()
    with pytest.raises(PkiError, match="There was a problem reading the file 'root-ca.ser'"):
        asker.server.resume(StorageContents(("9.crt",), {"root-ca.ser": octets}))
    assert asker.server.lose_storage(asker.scene.now()) == [
        ServerDisabled("root-ca", "disabled, Storage not accessible")
    ]
    assert asker.http("GET", "/root-ca.crl").status == 503


@pytest.mark.interop
@pytest.mark.parametrize("legacy", [False, True])
def test_the_archive_opens_with_the_password_only(
    legacy: bool, tmp_path: Path, need: Callable[[str], str]
) -> None:
    asker = enabled(Scene(legacy=legacy), archive_password="cisco123")
    [file] = [file for file in asker.server.store.outbox() if file.name.endswith(".p12")]
    assert file.name == "root-ca_00002.p12"
    (tmp_path / "ca.p12").write_bytes(file.octets)

    def open_with(password: str) -> subprocess.CompletedProcess[str]:
        command = [need("openssl"), "pkcs12", "-in", "ca.p12", "-nodes"]
        command += ["-passin", f"pass:{password}", *(["-legacy"] if legacy else [])]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    text = open_with("cisco123").stdout
    assert "PRIVATE KEY" in text
    assert x509.load_pem_x509_certificate(text[text.index("-----BEGIN CERT") :].encode())
    assert open_with("cisco124").returncode != 0
