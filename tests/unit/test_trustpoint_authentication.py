"""What a router believes of a CA: its certificate before, its answers after."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from ikelab.errors import PkiError
from ikelab.pki.cms import build_degenerate
from ikelab.pki.config import TrustpointConfig
from ikelab.pki.enrollment_events import (
    AcceptCa,
    Authenticate,
    AuthenticationFailed,
    CaCertificateOffered,
    Device,
    Enroll,
)
from ikelab.pki.events import CaCertificateAccepted, EnrollmentFailed, HttpReply, HttpRequest
from ikelab.pki.trustpoint import State, Trustpoint
from ikelab.pki.x509 import fingerprint, load_certificate
from ikelab.runtime.store import SqliteNvram
from tests.pki_scene import Scene
from tests.unit.trustpoint_scene import ca_fingerprint, with_root, with_router, with_sub_ca

DAY = timedelta(days=1)


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


def test_a_modern_router_does_not_enroll_at_a_ca_that_signs_with_md5() -> None:
    scene = with_root(legacy=True, hash="md5")
    scene.legacy = False
    trustpoint = with_router(scene)
    scene.send("ra", Authenticate())
    assert trustpoint.state is State.READY
    assert scene.told(AuthenticationFailed)[0].reason == "weak-algorithm"
