"""Who gets a certificate: one-time passwords, signers, algorithms, names, renewals."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ikelab.pki.name import parse_dn
from ikelab.pki.scep import FailInfo, PkiStatus
from ikelab.pki.x509 import Certificate
from tests.pki_scene import Scene
from tests.scep_requester import Requester, another, enabled, issued, refusal, why

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


@pytest.mark.parametrize("name", ["r1.example.com", "R1.example.COM", "FTX1048A6QA"])
def test_a_one_time_password_for_one_router_lets_no_other_in(name: str) -> None:
    asker = enabled()
    password = asker.server.generate_password(asker.scene.now(), name=name)
    stranger = replace(another(asker), name="cn=stranger.example.com")
    assert refusal(stranger.enroll(challenge=password)) is FailInfo.BAD_REQUEST
    assert why(asker) == "wrong-password"
    meant = replace(asker, name="serialNumber=FTX1048A6QA,hostname=r1.example.com")
    assert issued(meant.enroll(challenge=password)).serial == 2
    again = replace(another(asker), name=meant.name, transaction_id="AGAIN")
    assert refusal(again.enroll(challenge=password)) is FailInfo.BAD_REQUEST
    assert why(asker) == "password-used"


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
