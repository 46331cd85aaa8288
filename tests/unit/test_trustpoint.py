"""A router enrolls and polls, across restarts, up to a chain that openssl verifies."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509

from ikelab.errors import PkiError
from ikelab.pki.enrollment_events import Authenticate, Device, Enroll, KeyPairGenerated, TimerFired
from ikelab.pki.events import (
    CertificateInstalled,
    EnrollmentFailed,
    EnrollmentPending,
    HttpReply,
    RequestSent,
)
from ikelab.pki.trustpoint import State, Trustpoint
from ikelab.pki.x509 import fingerprint, load_request
from ikelab.runtime.store import SqliteNvram
from tests.pki_scene import Scene, pool_key
from tests.unit.trustpoint_scene import (
    ca_fingerprint,
    certificate_of,
    with_root,
    with_router,
    with_sub_ca,
)

# --- enrollment -----------------------------------------------------------------------------------


def test_grant_auto_enrolls_in_one_exchange() -> None:
    scene = with_root()
    trustpoint = with_router(scene, rsakeypair="spoke-keys")
    scene.enroll("ra")
    assert trustpoint.state is State.ENROLLED
    assert [request.method for request in scene.requests] == ["GET", "GET", "POST"]
    certificate = certificate_of(trustpoint)
    assert certificate.serial_number == 2
    assert certificate.issuer.rfc4514_string() == "CN=root-ca"
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["r1.example.com"]
    assert trustpoint.credential is not None
    key = trustpoint.key(trustpoint.credential.key_label)
    assert key is not None and key.public_key() == certificate.public_key()
    assert scene.told(KeyPairGenerated) == [KeyPairGenerated("spoke-keys", 2048)]


def test_the_subject_is_serial_number_address_and_host_name_in_one_rdn() -> None:
    scene = with_root()
    with_router(
        scene, serial_number=True, ip_address="192.168.159.243", subject_name="ou=vpn,o=cisco"
    )
    scene.enroll("ra")
    [installed] = scene.told(CertificateInstalled)
    # DER's order of a SET: by octets, so the shorter name comes before the longer address.
    assert installed.subject == (
        "serialNumber=FTX1048A6QA+hostname=r1.example.com+ipaddress=192.168.159.243,ou=vpn,o=cisco"
    )


def test_the_fingerprints_announced_are_those_of_the_request_the_ca_lists() -> None:
    scene = with_root(grant="manual")
    with_router(scene)
    scene.enroll("ra")
    [sent] = scene.told(RequestSent)
    [listed] = scene.servers["root-ca"].requests()
    assert sent.fingerprint_md5 == fingerprint(listed.request, "md5")
    assert sent.fingerprint_sha1 == fingerprint(listed.request, "sha1")


def test_one_key_and_name_give_one_request_at_two_cas() -> None:
    scene = with_root(grant="manual")
    scene.server("du", grant="manual")
    scene.start("du")
    nvram = SqliteNvram(":memory:")
    for name, ca in (("ra", "root-ca"), ("du", "du")):
        known = ca_fingerprint(scene.servers[ca])
        scene.trustpoint(name, ca, nvram=nvram, fingerprint=known, rsakeypair="hub-keys")
        scene.enroll(name)
    first, second = scene.told(RequestSent)
    assert first.fingerprint_md5 == second.fingerprint_md5


def test_a_pending_request_is_polled_until_it_is_granted() -> None:
    scene = with_root(grant="manual")
    trustpoint = with_router(scene, retry_period=60)
    scene.enroll("ra")
    assert trustpoint.state is State.PENDING
    assert scene.told(EnrollmentPending) == [EnrollmentPending("ra", 60.0)]
    scene.advance(seconds=130)
    assert len(scene.told(EnrollmentPending)) == 3
    scene.servers["root-ca"].grant(1, scene.now())
    scene.advance(seconds=60)
    assert trustpoint.state is State.ENROLLED


def test_enroll_again_asks_at_once_what_became_of_the_request_that_waits() -> None:
    scene = with_root(grant="manual")
    trustpoint = with_router(scene)
    scene.enroll("ra")
    scene.send("ra", Enroll())
    assert trustpoint.state is State.PENDING
    scene.servers["root-ca"].grant(None, scene.now())
    scene.send("ra", Enroll())
    assert trustpoint.state is State.ENROLLED
    assert len(scene.servers["root-ca"].requests()) == len(scene.told(RequestSent)) == 1


def test_enroll_again_with_a_password_is_another_request() -> None:
    scene = with_root(grant="manual")
    trustpoint = with_router(scene)
    scene.enroll("ra")
    password = scene.servers["root-ca"].generate_password(scene.now())
    scene.send("ra", Enroll(password))
    assert trustpoint.state is State.ENROLLED
    assert len(scene.servers["root-ca"].requests()) == 2


def test_enroll_again_under_another_name_is_another_request() -> None:
    scene = with_root(grant="manual")
    nvram = SqliteNvram(":memory:")
    with_router(scene, nvram=nvram)
    scene.enroll("ra")
    renamed = with_router(scene, nvram=nvram, subject_name="cn=other")
    assert renamed.state is State.PENDING
    scene.send("ra", Enroll())
    assert [request.request_id for request in scene.servers["root-ca"].requests()] == [1, 2]


def test_polling_ends_after_the_retry_count() -> None:
    scene = with_root(grant="manual")
    trustpoint = with_router(scene, retry_count=3)
    scene.enroll("ra")
    scene.advance(minutes=30)
    assert trustpoint.state is State.FAILED
    [failed] = scene.told(EnrollmentFailed)
    assert not failed.rejected and "3 retries" in failed.reason
    polls = [request for request in scene.requests if "PKIOperation" in request.url]
    assert len(polls) == 1 + 3
    assert trustpoint.next_timer() is None


def test_a_rejected_request_ends_the_enrollment() -> None:
    scene = with_root(grant="manual")
    trustpoint = with_router(scene)
    scene.enroll("ra")
    scene.servers["root-ca"].reject(1)
    scene.advance(seconds=61)
    assert trustpoint.state is State.FAILED
    [failed] = scene.told(EnrollmentFailed)
    assert failed.rejected and "refuses" in failed.reason
    assert trustpoint.credential is None


def test_a_lost_answer_is_asked_for_with_the_same_octets_and_gives_the_same_certificate() -> None:
    scene = with_root()
    trustpoint = with_router(scene)
    scene.send("ra", Authenticate())
    answer = scene.tamper
    scene.tamper = lambda request, reply: replace(reply, status=502)
    scene.send("ra", Enroll())
    assert trustpoint.state is State.REQUEST_RETRY
    scene.tamper = answer
    scene.advance(seconds=61)
    assert trustpoint.state is State.ENROLLED
    first, second = [request for request in scene.requests if request.method == "POST"]
    assert first.body == second.body
    assert scene.servers["root-ca"].store.last_serial() == 2


def test_a_ca_that_cannot_be_reached_is_tried_as_often_as_configured() -> None:
    scene = with_root()
    trustpoint = with_router(scene, retry_count=2)
    scene.send("ra", Authenticate())
    scene.down.add("root-ca")
    scene.send("ra", Enroll())
    scene.advance(minutes=10)
    assert trustpoint.state is State.FAILED
    assert "connection refused" in scene.told(EnrollmentFailed)[0].reason


def test_a_ca_without_post_is_asked_by_get() -> None:
    scene = with_root()
    trustpoint = with_router(scene)
    scene.tamper = lambda request, reply: (
        replace(reply, body=b"AES\r\nSHA-256\r\n") if "GetCACaps" in request.url else reply
    )
    scene.enroll("ra")
    assert trustpoint.state is State.ENROLLED
    assert {request.method for request in scene.requests} == {"GET"}


def test_enrolling_needs_an_accepted_ca() -> None:
    scene = with_root()
    trustpoint = with_router(scene)
    with pytest.raises(PkiError, match="no CA certificate"):
        trustpoint.handle(Enroll("secret"), scene.now())
    assert trustpoint._password is None


def test_events_that_do_not_belong_change_nothing() -> None:
    scene = with_root(grant="manual")
    trustpoint = with_router(scene)
    assert trustpoint.handle(TimerFired(), scene.now()) == []
    assert trustpoint.handle(HttpReply("ra 1", 200, "", b""), scene.now()) == []
    scene.enroll("ra")
    old = HttpReply(scene.requests[0].handle, 200, "text/plain", b"AES")
    assert trustpoint.handle(old, scene.now()) == []
    assert trustpoint.handle(TimerFired(), scene.now()) == []
    assert trustpoint.state is State.PENDING


def test_the_challenge_password_is_in_the_request_and_nowhere_else(tmp_path: Path) -> None:
    scene = with_root(grant="manual")
    nvram = SqliteNvram(str(tmp_path / "nvram.db"))
    trustpoint = with_router(scene, nvram=nvram)
    scene.enroll("ra", password="Hush-Hush-2009")
    [listed] = scene.servers["root-ca"].requests()
    assert load_request(listed.request).challenge == "Hush-Hush-2009"
    nvram.close()
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"Hush-Hush-2009" not in stored
    assert "Hush-Hush-2009" not in repr(vars(trustpoint)) + repr(Enroll("Hush-Hush-2009"))


# --- restarts -------------------------------------------------------------------------------------


def restarted(scene: Scene, old: Trustpoint, nvram: SqliteNvram) -> Trustpoint:
    """The same trustpoint after the router was switched off and on."""
    device = Device("r1.example.com", "FTX1048A6QA")
    new = Trustpoint(old.config, device, scene.rng, scene.keys, nvram, legacy=scene.legacy)
    scene.trustpoints[old.config.name] = new
    return new


def test_a_restarted_router_keeps_its_certificate_and_does_not_enroll_again() -> None:
    scene = with_root()
    nvram = SqliteNvram(":memory:")
    old = with_router(scene, nvram=nvram, auto_enroll=70)
    scene.advance(seconds=1)
    new = restarted(scene, old, nvram)
    sent = len(scene.requests)
    scene.advance(hours=1)
    assert new.state is State.ENROLLED
    assert new.credential == old.credential
    assert new.anchors == old.anchors
    assert len(scene.requests) == sent


def test_a_restarted_router_goes_on_polling() -> None:
    scene = with_root(grant="manual")
    nvram = SqliteNvram(":memory:")
    old = with_router(scene, nvram=nvram)
    scene.enroll("ra", password="x")
    new = restarted(scene, old, nvram)
    assert new.state is State.PENDING
    assert [new.waiting] == scene.told(RequestSent)
    scene.servers["root-ca"].grant(None, scene.now())
    scene.advance(seconds=1)
    assert new.state is State.ENROLLED
    assert len(scene.servers["root-ca"].requests()) == 1
    assert len({label for label, _ in scene.keys.asked}) == 2  # the CA's key and one of ours


def test_a_restarted_router_that_waited_for_a_renewal_still_has_the_old_certificate() -> None:
    scene = with_root()
    nvram = SqliteNvram(":memory:")
    old = with_router(scene, nvram=nvram, auto_enroll=70, regenerate=True)
    scene.advance(seconds=1)
    server = scene.servers["root-ca"]
    server.config = replace(server.config, grant="manual")
    scene.advance(days=256)
    assert old.state is State.PENDING
    new = restarted(scene, old, nvram)
    assert new.credential == old.credential is not None
    server.grant(None, scene.now())
    scene.advance(seconds=1)
    assert new.state is State.ENROLLED
    assert certificate_of(new).serial_number == 3


def test_a_pending_request_whose_key_is_gone_fails_with_that_reason() -> None:
    scene = with_root(grant="manual")
    nvram = SqliteNvram(":memory:")
    trustpoint = with_router(scene, nvram=nvram)
    scene.enroll("ra")
    nvram.delete_key("ra")
    scene.advance(seconds=61)
    assert trustpoint.state is State.FAILED
    assert "key pair" in scene.told(EnrollmentFailed)[0].reason


# --- the whole ------------------------------------------------------------------------------------


@pytest.mark.interop
@pytest.mark.parametrize("legacy", [False, True])
def test_openssl_verifies_a_router_below_sub_ca_and_root_with_both_crls(
    legacy: bool, tmp_path: Path, need: Callable[[str], str]
) -> None:
    digest = "md5" if legacy else "sha256"
    scene = with_root(legacy=legacy, hash=digest, cdp_url="http://root-ca/root-ca.crl")
    sub_ca = with_sub_ca(scene, hash=digest, cdp_url="http://ra-subca/ra-subca.crl")
    spokes = []
    for name in ("r1", "r2"):
        spoke = scene.trustpoint(
            name,
            "ra-subca",
            hostname=f"{name}.example.com",
            fingerprint=ca_fingerprint(sub_ca),
            hash=digest,
        )
        scene.enroll(name)
        spokes.append(spoke)
    scene.ca_notices += sub_ca.grant(None, scene.now())
    scene.advance(seconds=61)
    sub_ca.revoke(certificate_of(spokes[1]).serial_number, scene.now())

    def pem(kind: str, der: bytes) -> str:
        command = [need("openssl"), kind, "-inform", "DER", "-outform", "PEM"]
        return subprocess.run(command, input=der, capture_output=True, check=True).stdout.decode()

    def verify(spoke: Trustpoint) -> str:
        credential = spoke.credential
        assert credential is not None
        (tmp_path / "leaf.pem").write_text(pem("x509", credential.certificate))
        (tmp_path / "sub.pem").write_text(pem("x509", credential.chain[0]))
        (tmp_path / "root.pem").write_text(pem("x509", credential.chain[1]))
        servers = [scene.servers[name] for name in ("root-ca", "ra-subca")]
        crls = [server.store.load_crl() for server in servers]
        (tmp_path / "crls.pem").write_text("".join(pem("crl", crl.crl) for crl in crls if crl))
        command = [need("openssl"), "verify", "-crl_check_all", "-x509_strict"]
        if legacy:  # version 1 CRLs and MD5 are what strict refuses
            command = [need("openssl"), "verify", "-crl_check_all", "-auth_level", "0"]
        command += ["-attime", str(int(scene.wall.timestamp())), "-CAfile", "root.pem"]
        command += ["-untrusted", "sub.pem", "-CRLfile", "crls.pem", "leaf.pem"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    assert "leaf.pem: OK" in verify(spokes[0])
    assert "certificate revoked" in verify(spokes[1])


def test_the_2009_profile_enrolls_with_512_bits_md5_and_a_crl_of_218_octets() -> None:
    scene = with_root(legacy=True, hash="md5")
    sub_ca = with_sub_ca(scene, hash="md5", grant="auto")
    trustpoint = scene.trustpoint(
        "r1", "ra-subca", fingerprint=ca_fingerprint(sub_ca, "md5"), hash="md5"
    )
    scene.enroll("r1")
    certificate = certificate_of(trustpoint)
    assert certificate.public_key().key_size == 512  # type: ignore[union-attr]
    assert certificate.signature_hash_algorithm is not None
    assert certificate.signature_hash_algorithm.name == "md5"
    empty = sub_ca.store.load_crl()
    sub_ca.revoke(certificate.serial_number, scene.now())
    full = sub_ca.store.load_crl()
    assert empty is not None and full is not None
    assert (len(empty.crl), len(full.crl)) == (218, 240)


def test_keys_of_the_pool_are_kept_apart() -> None:
    assert pool_key(1024, 0) is pool_key(1024, 0)
    assert pool_key(1024, 0) is not pool_key(1024, 1)
