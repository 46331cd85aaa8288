"""What becomes of a request: granted, rejected, removed, forgotten, or asked again."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from ikelab.errors import PkiError
from ikelab.pki.ca_events import (
    RequestGranted,
    RequestQueued,
    RequestRefused,
    RequestRejected,
    RequestRemoved,
)
from ikelab.pki.cert_server import REQUEST_LIFETIME
from ikelab.pki.name import parse_dn
from ikelab.pki.scep import FailInfo, PkiStatus
from ikelab.pki.store import RequestKind, RequestState
from ikelab.pki.x509 import fingerprint, load_certificate
from tests.pki_scene import Scene
from tests.scep_requester import another, enabled, issued, refusal, why

DAY = timedelta(days=1)


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


@pytest.mark.parametrize("with_ca", [False, True])
def test_the_ca_certificate_goes_with_the_issued_one_where_that_is_wanted(with_ca: bool) -> None:
    """Some Cisco clients need it, Juniper's do not take it (EJBCA's manual)."""
    asker = enabled(grant="auto", certrep_ca=with_ca)
    enrolled, polled = asker.enroll().certificates, asker.poll().certificates
    assert enrolled == polled and len(enrolled) == 1 + with_ca
    assert (asker.ca.der in enrolled) == with_ca
    [own] = set(enrolled) - {asker.ca.der}
    assert asker.get_cert(load_certificate(own).serial).certificates == (own,)


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


def test_a_grant_that_comes_too_late_spends_no_serial_number() -> None:
    asker = enabled()
    late = another(asker)
    asker.enroll()
    late.enroll()
    asker.server.reject(1)
    for request in (1, 2, 2, 1):
        asker.server.grant(request, asker.scene.now())
    assert issued(late.poll()).serial == 2
    assert asker.server.status().last_serial == 2


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
    assert asker.server.remove(None) == [RequestRemoved("root-ca", 2, False)]


def test_who_grants_a_removed_request_grants_nobody_else() -> None:
    asker = enabled()
    asker.enroll()
    asker.server.remove(1)
    another(asker).enroll()
    with pytest.raises(PkiError, match="no enrollment request 1"):
        asker.server.grant(1, asker.scene.now())


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
