"""A router authenticates, enrolls, polls and renews; nobody between it and the CA changes that."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from ikelab.errors import PkiError
from ikelab.pki.cert_server import CertificateServer
from ikelab.pki.cms import build_degenerate
from ikelab.pki.config import TrustpointConfig
from ikelab.pki.enrollment_events import (
    AcceptCa,
    Authenticate,
    AuthenticationFailed,
    CaCertificateOffered,
    Device,
    Enroll,
    KeyPairGenerated,
    RenewalStarted,
    TimerFired,
)
from ikelab.pki.events import (
    CaCertificateAccepted,
    CertificateInstalled,
    EnrollmentFailed,
    EnrollmentPending,
    HttpReply,
    HttpRequest,
    NextCaMissing,
    RequestSent,
)
from ikelab.pki.trustpoint import State, Trustpoint
from ikelab.pki.trustpoint_state import SUCCESSION, TABLE, Input
from ikelab.pki.x509 import fingerprint, load_certificate, load_request
from ikelab.runtime.store import SqliteNvram
from tests.pki_scene import Scene, pool_key

DAY = timedelta(days=1)


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


# --- the CA certificate ---------------------------------------------------------------------------


def test_a_ca_certificate_without_a_known_fingerprint_waits_for_somebody_to_look() -> None:
    scene = with_root()
    trustpoint = scene.trustpoint("ra", "root-ca")
    scene.send("ra", Authenticate())
    root = scene.servers["root-ca"]
    assert trustpoint.state is State.CA_OFFERED
    assert scene.notices == [
        CaCertificateOffered(
            "ra", "cn=root-ca", ca_fingerprint(root, "md5"), ca_fingerprint(root, "sha1"), False
        )
    ]
    assert trustpoint.anchors == ()
    scene.send("ra", AcceptCa(True))
    assert trustpoint.state is State.CA_AUTHENTICATED
    assert fingerprint(trustpoint.anchors[0], "sha256") == ca_fingerprint(root)


def test_a_ca_certificate_that_is_not_accepted_leaves_nothing() -> None:
    scene = with_root()
    nvram = SqliteNvram(":memory:")
    trustpoint = scene.trustpoint("ra", "root-ca", nvram=nvram)
    scene.send("ra", Authenticate())
    scene.send("ra", AcceptCa(False))
    assert trustpoint.state is State.READY
    assert trustpoint.anchors == ()
    assert trustpoint.offered is None
    assert nvram.load_trustpoint("ra") is None


@pytest.mark.parametrize("digest", ["md5", "sha1", "sha256"])
def test_a_configured_fingerprint_accepts_without_a_question(digest: str) -> None:
    scene = with_root()
    known = ca_fingerprint(scene.servers["root-ca"], digest)
    trustpoint = scene.trustpoint("ra", "root-ca", fingerprint=known)
    scene.send("ra", Authenticate())
    assert trustpoint.state is State.CA_AUTHENTICATED
    assert scene.told(CaCertificateAccepted)


def test_a_wrong_fingerprint_is_refused_and_not_asked_about_again() -> None:
    scene = with_root()
    trustpoint = scene.trustpoint("ra", "root-ca", fingerprint="AB" * 32, auto_enroll=70)
    scene.send("ra", Authenticate())
    [failed] = scene.told(AuthenticationFailed)
    assert failed.reason == "wrong-fingerprint"
    assert ca_fingerprint(scene.servers["root-ca"]) in failed.detail
    assert trustpoint.state is State.READY
    assert trustpoint.next_timer() is None


def test_capabilities_stripped_on_the_way_do_not_talk_a_router_down() -> None:
    scene = with_root()
    trustpoint = with_router(scene)

    def strip(request: HttpRequest, reply: HttpReply) -> HttpReply:
        return replace(reply, body=b"DES3\nSHA-1\n") if "GetCACaps" in request.url else reply

    scene.tamper = strip
    scene.send("ra", Authenticate())
    [failed] = scene.told(AuthenticationFailed)
    assert failed.reason == "downgrade"
    assert trustpoint.state is State.READY
    assert not any("GetCACert" in request.url for request in scene.requests)


def test_a_ca_without_get_ca_caps_is_refused_unless_the_lab_is_legacy() -> None:
    for legacy, state in ((False, State.READY), (True, State.CA_AUTHENTICATED)):
        scene = with_root(legacy=legacy)
        trustpoint = with_router(scene)
        scene.tamper = lambda request, reply: (
            replace(reply, status=404, body=b"") if "GetCACaps" in request.url else reply
        )
        scene.send("ra", Authenticate())
        assert trustpoint.state is state


def test_a_ca_that_is_not_up_yet_is_asked_again() -> None:
    scene = with_root()
    with_router(scene, auto_enroll=70)
    scene.servers["root-ca"].shut(scene.now())
    scene.advance(seconds=1)
    assert scene.told(AuthenticationFailed)[0].reason == "no-answer"
    scene.start("root-ca")
    scene.advance(seconds=120)
    assert scene.trustpoints["ra"].state is State.ENROLLED


def test_a_trustpoint_without_an_url_says_what_the_guide_says() -> None:
    scene = Scene()
    nvram = SqliteNvram(":memory:")
    config = TrustpointConfig("ra", enrollment_url=None)
    bare = Trustpoint(config, Device("r1"), scene.rng, scene.keys, nvram)
    with pytest.raises(PkiError, match="You must specify an enrollment URL for this CA before"):
        bare.handle(Authenticate(), scene.now())
    assert bare.state is State.READY


def test_a_sub_ca_gives_its_chain_and_only_a_verified_root_is_held() -> None:
    scene = with_root()
    sub_ca = with_sub_ca(scene)
    trustpoint = scene.trustpoint("ra", "ra-subca", fingerprint=ca_fingerprint(sub_ca))
    scene.send("ra", Authenticate())
    subjects = [load_certificate(der).subject for der in trustpoint.anchors]
    root = scene.servers["root-ca"].store.load_authority()
    assert root is not None
    assert trustpoint.anchors[1] == root.certificate
    assert len(subjects) == 2
    assert scene.told(CaCertificateAccepted)[-1].subject == "cn=ra-subca"


def test_an_offered_sub_ca_is_said_to_be_subordinate() -> None:
    scene = with_root()
    with_sub_ca(scene)
    scene.trustpoint("ra", "ra-subca")
    scene.send("ra", Authenticate())
    assert scene.told(CaCertificateOffered)[-1].subordinate


def test_a_foreign_root_of_the_same_name_above_the_real_sub_ca_is_not_held() -> None:
    scene = with_root()
    sub_ca = with_sub_ca(scene)
    impostor = Scene()
    impostor.keys.rsa_key("other", 2048)
    impostor.keys.rsa_key("other", 2048)
    false_root = impostor.server("root-ca")
    impostor.start("root-ca")
    real, false = sub_ca.store.load_authority(), false_root.store.load_authority()
    assert real is not None and false is not None
    chain = build_degenerate((false.certificate, real.certificate))
    scene.tamper = lambda request, reply: (
        replace(reply, body=chain) if "GetCACert" in request.url else reply
    )
    trustpoint = scene.trustpoint("ra", "ra-subca", fingerprint=ca_fingerprint(sub_ca))
    scene.send("ra", Authenticate())
    assert trustpoint.anchors == (real.certificate,)


@pytest.mark.parametrize("body", [b"", b"\x30\x00", b"<html>no CA here</html>", b"\x30\x80" * 200])
def test_what_is_no_ca_certificate_is_refused(body: bytes) -> None:
    scene = with_root()
    trustpoint = with_router(scene)
    scene.tamper = lambda request, reply: (
        replace(reply, body=body) if "GetCACert" in request.url else reply
    )
    scene.send("ra", Authenticate())
    assert trustpoint.state is State.READY
    assert len(scene.told(AuthenticationFailed)) == 1


def test_a_ca_certificate_from_the_future_is_refused() -> None:
    scene = with_root()
    trustpoint = with_router(scene)
    scene.wall -= 30 * DAY
    scene.send("ra", Authenticate())
    assert scene.told(AuthenticationFailed)[0].reason == "not-yet-valid"
    assert trustpoint.state is State.READY


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


# --- answers that are not to be believed ----------------------------------------------------------


def test_the_answer_to_an_earlier_request_is_not_taken() -> None:
    scene = with_root(grant="manual")
    trustpoint = with_router(scene)
    scene.enroll("ra")
    earlier = scene.replies[-1]
    scene.tamper = lambda request, reply: replace(reply, body=earlier)
    scene.advance(seconds=61)
    assert trustpoint.state is State.FAILED
    assert "recipientNonce" in scene.told(EnrollmentFailed)[0].reason


def test_the_answer_to_another_router_is_not_taken() -> None:
    scene = with_root()
    with_router(scene)
    scene.enroll("ra")
    stolen = scene.replies[-1]
    known = ca_fingerprint(scene.servers["root-ca"])
    other = scene.trustpoint("r2", "root-ca", hostname="r2.example.com", fingerprint=known)
    scene.send("r2", Authenticate())
    scene.tamper = lambda request, reply: replace(reply, body=stolen)
    scene.send("r2", Enroll())
    assert other.state is State.FAILED
    assert other.credential is None
    assert "transactionID" in scene.told(EnrollmentFailed)[0].reason


def test_an_answer_signed_by_a_ca_of_the_same_name_is_not_taken() -> None:
    scene = with_root()
    trustpoint = with_router(scene)
    scene.send("ra", Authenticate())
    scene.server("impostor", grant="auto", issuer_name="cn=root-ca")
    scene.start("impostor")
    scene.servers["root-ca"] = scene.servers["impostor"]
    scene.send("ra", Enroll())
    assert trustpoint.state is State.FAILED
    assert trustpoint.credential is None


@pytest.mark.parametrize("position", [400, 900, -40, -300])
def test_a_changed_octet_in_the_answer_is_noticed(position: int) -> None:
    scene = with_root()
    trustpoint = with_router(scene)
    scene.send("ra", Authenticate())

    def flip(request: HttpRequest, reply: HttpReply) -> HttpReply:
        body = bytearray(reply.body)
        body[position] ^= 0x01
        return replace(reply, body=bytes(body))

    scene.tamper = flip
    scene.send("ra", Enroll())
    assert trustpoint.state is State.FAILED
    assert trustpoint.credential is None


def test_a_router_that_gets_a_ca_certificate_refuses_it() -> None:
    scene = with_root()
    trustpoint = with_router(scene)
    trustpoint._client._ca_subject = "cn=r1"  # asks for a CA certificate ...
    scene.send("ra", Authenticate())
    read = trustpoint._client.read_cert_rep

    def forget(*arguments: object) -> bytes | None:
        trustpoint._client._ca_subject = None  # ... and is a router again when it comes
        return read(*arguments)  # type: ignore[arg-type]

    trustpoint._client.read_cert_rep = forget  # type: ignore[method-assign]
    scene.send("ra", Enroll())
    assert trustpoint.state is State.FAILED
    assert "another kind" in scene.told(EnrollmentFailed)[0].reason


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


# --- renewal --------------------------------------------------------------------------------------


def test_the_renew_date_is_start_plus_percentage_of_life_to_the_second() -> None:
    scene = with_root(lifetime_certificate=timedelta(days=180))
    trustpoint = with_router(scene, auto_enroll=70)
    scene.advance(seconds=1)
    start = certificate_of(trustpoint).not_valid_before_utc
    assert trustpoint.renew_date == start + 126 * DAY


def test_a_renewal_is_signed_by_the_old_certificate_and_gives_a_new_one() -> None:
    scene = with_root()
    trustpoint = with_router(scene, auto_enroll=70)
    scene.advance(seconds=1)
    first = certificate_of(trustpoint)
    scene.advance(days=256)
    second = certificate_of(trustpoint)
    assert scene.told(RenewalStarted) == [RenewalStarted("ra")]
    assert second.serial_number == first.serial_number + 1
    assert second.public_key() == first.public_key()
    assert second.not_valid_before_utc > first.not_valid_before_utc
    [row] = [row for row in scene.servers["root-ca"].requests() if row.key.renews]
    assert row.key.renews == first.serial_number


def test_regenerate_makes_a_new_key_that_takes_the_place_of_the_old() -> None:
    scene = with_root()
    nvram = SqliteNvram(":memory:")
    trustpoint = with_router(
        scene, nvram=nvram, auto_enroll=70, regenerate=True, rsakeypair="spoke-keys"
    )
    scene.advance(seconds=1)
    first = certificate_of(trustpoint)
    scene.advance(days=256)
    second = certificate_of(trustpoint)
    assert second.public_key() != first.public_key()
    assert nvram.key_labels() == ("spoke-keys",)
    key = nvram.load_key("spoke-keys")
    assert key is not None and key.public_key() == second.public_key()


def test_regenerating_a_key_two_trustpoints_share_leaves_the_other_its_own() -> None:
    scene = with_root()
    scene.server("du", grant="auto")
    scene.start("du")
    nvram = SqliteNvram(":memory:")
    for name, ca in (("ra", "root-ca"), ("du", "du")):
        scene.trustpoint(
            name,
            ca,
            nvram=nvram,
            fingerprint=ca_fingerprint(scene.servers[ca]),
            rsakeypair="hub-keys",
            auto_enroll=70 if name == "ra" else None,
            regenerate=True,
        )
        scene.enroll(name)
    scene.advance(days=256)
    for name in ("ra", "du"):
        trustpoint = scene.trustpoints[name]
        assert trustpoint.credential is not None
        key = nvram.load_key(trustpoint.credential.key_label)
        assert key is not None
        assert key.public_key() == certificate_of(trustpoint).public_key()
    assert certificate_of(scene.trustpoints["ra"]).public_key() != (
        certificate_of(scene.trustpoints["du"]).public_key()
    )


def test_a_renewal_that_fails_leaves_the_old_certificate_in_use_and_is_tried_again() -> None:
    scene = with_root()
    trustpoint = with_router(scene, auto_enroll=70, retry_count=1)
    scene.advance(seconds=1)
    first = trustpoint.credential
    scene.advance(days=255)
    scene.down.add("root-ca")
    scene.advance(days=1)
    assert scene.told(EnrollmentFailed)
    assert trustpoint.credential == first
    scene.down.clear()
    scene.advance(minutes=5)
    assert trustpoint.credential != first


def test_a_renewal_nobody_grants_stays_one_request() -> None:
    scene = with_root()
    with_router(scene, auto_enroll=70, regenerate=True)
    scene.advance(seconds=1)
    root = scene.servers["root-ca"]
    root.config = replace(root.config, grant="manual")
    scene.advance(days=257)
    assert len(scene.told(EnrollmentFailed)) > 10
    assert len(root.requests()) == 2
    assert len(scene.keys.asked) == 3  # CA, router, router again


def test_an_expired_certificate_cannot_renew_so_the_router_enrolls_anew() -> None:
    scene = with_root()
    trustpoint = with_router(scene, auto_enroll=70)
    scene.advance(seconds=1)
    scene.wall += 366 * DAY  # switched off for a year
    scene.advance(seconds=1)
    assert not scene.told(RenewalStarted)
    assert certificate_of(trustpoint).serial_number == 3
    assert [row.key.renews for row in scene.servers["root-ca"].requests()] == [0, 0]


def test_a_revoked_router_gets_in_again_by_enrolling_anew_not_by_renewing() -> None:
    scene = with_root()
    trustpoint = with_router(scene, auto_enroll=70)
    scene.advance(seconds=1)
    root = scene.servers["root-ca"]
    root.revoke(2, scene.now())
    scene.advance(days=256)
    assert certificate_of(trustpoint).serial_number == 2
    assert scene.told(EnrollmentFailed)
    scene.send("ra", Enroll())
    renewed = certificate_of(trustpoint).serial_number
    assert renewed > 2
    assert root.store.issued(renewed).revoked_at is None  # type: ignore[union-attr]


def test_a_certificate_that_ends_with_its_ca_is_not_renewed_without_a_next_one() -> None:
    scene = with_root(lifetime_ca_certificate=timedelta(hours=4))
    with_router(scene, auto_enroll=70)
    scene.advance(hours=4)
    assert scene.told(RenewalStarted) == []
    assert 3 <= len(scene.told(NextCaMissing)) <= 12


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


def test_a_modern_router_does_not_enroll_at_a_ca_that_signs_with_md5() -> None:
    scene = with_root(legacy=True, hash="md5")
    scene.legacy = False
    trustpoint = with_router(scene)
    scene.send("ra", Authenticate())
    assert trustpoint.state is State.READY
    assert scene.told(AuthenticationFailed)[0].reason == "weak-algorithm"


def test_every_row_of_the_table_is_taken_by_some_test_of_this_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken: set[tuple[State, Input]] = set()
    plain = Trustpoint._input

    def watched(self: Trustpoint, happened: Input, now: object) -> object:
        taken.add((self.state, happened))
        return plain(self, happened, now)  # type: ignore[arg-type]

    monkeypatch.setattr(Trustpoint, "_input", watched)
    for story in STORIES:
        story()
    assert set(TABLE) - set(SUCCESSION) - taken == set()  # the rest: test_succession.py


def _impatient_operator() -> None:
    """`enroll` again while pending, while waiting to send, after a failure, when enrolled."""
    scene = with_root(grant="manual")
    trustpoint = with_router(scene, retry_count=1)
    scene.send("ra", Authenticate())
    scene.down.add("root-ca")
    scene.send("ra", Enroll())
    scene.send("ra", Enroll())
    scene.down.clear()
    scene.send("ra", Enroll())
    scene.send("ra", Enroll())
    scene.down.add("root-ca")
    scene.advance(seconds=61)  # a poll without an answer
    scene.advance(minutes=5)
    assert trustpoint.state is State.FAILED
    scene.down.clear()
    scene.send("ra", Enroll())
    scene.servers["root-ca"].grant(None, scene.now())
    scene.advance(minutes=5)
    assert trustpoint.state is State.ENROLLED
    scene.send("ra", Enroll())
    assert trustpoint.state is State.PENDING


def _ca_that_vanishes_between_two_questions() -> None:
    scene = with_root()
    trustpoint = with_router(scene)
    scene.tamper = lambda request, reply: (
        replace(reply, status=500) if "GetCACert" in request.url else reply
    )
    scene.send("ra", Authenticate())
    assert trustpoint.state is State.READY


STORIES: tuple[Callable[[], None], ...] = (
    _impatient_operator,
    _ca_that_vanishes_between_two_questions,
    test_a_ca_certificate_without_a_known_fingerprint_waits_for_somebody_to_look,
    test_a_ca_certificate_that_is_not_accepted_leaves_nothing,
    test_capabilities_stripped_on_the_way_do_not_talk_a_router_down,
    test_a_ca_that_is_not_up_yet_is_asked_again,
    test_a_wrong_fingerprint_is_refused_and_not_asked_about_again,
    test_a_pending_request_is_polled_until_it_is_granted,
    test_a_rejected_request_ends_the_enrollment,
    test_a_lost_answer_is_asked_for_with_the_same_octets_and_gives_the_same_certificate,
    test_an_answer_signed_by_a_ca_of_the_same_name_is_not_taken,
    test_a_renewal_that_fails_leaves_the_old_certificate_in_use_and_is_tried_again,
)


def test_keys_of_the_pool_are_kept_apart() -> None:
    assert pool_key(1024, 0) is pool_key(1024, 0)
    assert pool_key(1024, 0) is not pool_key(1024, 1)
