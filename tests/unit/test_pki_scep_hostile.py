"""SCEP messages that are odd, damaged or made to deceive."""

from __future__ import annotations

import pytest

from ikelab.errors import PkiError
from ikelab.pki import cms, der, envelope, scep
from ikelab.pki.scep import FailInfo, MessageType, PkiStatus
from ikelab.pki.x509 import load_certificate, load_request
from tests.pki_samples import SampleRng, refused, router, survives
from tests.unit.scep_exchange import (
    CA,
    CA_KEY,
    NONCE,
    SPOKE_KEY,
    cert_rep,
    pkcs10,
    pkcs_req,
    read,
    transaction,
)


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
