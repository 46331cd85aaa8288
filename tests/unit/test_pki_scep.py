"""SCEP messages of both sides: what is asked, what is answered, and whom each believes."""

from __future__ import annotations

import pytest

from ikelab.errors import PkiError
from ikelab.pki import cms, scep
from ikelab.pki.algorithms import public_key_info
from ikelab.pki.cert_rep import UnsignedCertRep
from ikelab.pki.scep import FailInfo, MessageType, PkiStatus
from ikelab.pki.x509 import load_request
from tests.pki_samples import SampleRng, authority, crl_of, refused, router, rsa_key
from tests.unit.scep_exchange import (
    CA,
    CA_KEY,
    NONCE,
    SPOKE_KEY,
    SUBJECT,
    cert_rep,
    pkcs10,
    pkcs_req,
    read,
    transaction,
)

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
    reply = UnsignedCertRep.to(
        message, PkiStatus.FAILURE, fail_info=scep.fail_info_of(caught.value)
    )
    answer = reply.sign(CA, CA_KEY, SampleRng())
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
