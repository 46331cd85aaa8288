"""SCEP (RFC 8894): its messages for both sides, capabilities, and what GetCACert carries.

A router makes a `Transaction`, sends what `build_pkcs_req` and its kin give and reads the answer
with `read_cert_rep`. A CA reads in three steps, so that it can answer whatever fails after the
first: `read_message` (structure only), `verify_message`, `open_content`; its answer is made in
`cert_rep.py`. HTTP, queues and decisions are elsewhere.

Weak algorithms: outside `mode: legacy` a message signed with MD5 or SHA-1, an RSA key under 1024
bits and DES are refused with PkiError("weak-algorithm"); see `algorithms.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from ikelab.errors import PkiError
from ikelab.pki import cms, der, envelope
from ikelab.pki.algorithms import hash_octets, public_key_info
from ikelab.pki.name import is_printable, read_name
from ikelab.pki.scep_numbers import Attribute, FailInfo, MessageType, PkiStatus, fail_info_of
from ikelab.pki.x509 import Certificate, build_certificate
from ikelab.types import Rng

__all__ = [
    "Attribute",
    "CA_CERTIFICATE_TYPE",
    "CA_RA_CERTIFICATES_TYPE",
    "CAPABILITIES_TYPE",
    "CertRep",
    "FailInfo",
    "MessageType",
    "NEXT_CA_CERTIFICATE_TYPE",
    "NONCE_LENGTH",
    "PKI_MESSAGE_TYPE",
    "PkiStatus",
    "ScepMessage",
    "Transaction",
    "attributes",
    "build_cert_poll",
    "build_get_cert",
    "build_get_crl",
    "build_next_ca",
    "build_pkcs_req",
    "build_self_signed",
    "fail_info_of",
    "numeric_attribute",
    "open_content",
    "parse_message",
    "read_cert_rep",
    "read_certificates",
    "read_issuer_and_serial",
    "read_issuer_and_subject",
    "read_message",
    "read_next_ca",
    "transaction_id_for",
    "verify_message",
]

NONCE_LENGTH = 16

# Content types (RFC 8894 section 4).
CA_CERTIFICATE_TYPE = "application/x-x509-ca-cert"
CA_RA_CERTIFICATES_TYPE = "application/x-x509-ca-ra-cert"
NEXT_CA_CERTIFICATE_TYPE = "application/x-x509-next-ca-cert"
PKI_MESSAGE_TYPE = "application/x-pki-message"
CAPABILITIES_TYPE = "text/plain"

_MAX_TRANSACTION_ID = 256
_MAX_NONCE = 64  # Apple's agent has 8 octets, RFC 8894 has 16
_MAX_TEXT = 512


@dataclass(frozen=True, slots=True)
class ScepMessage:
    """A pkiMessage that was read; trustworthy only after `verify_message`.

    sender_nonce, recipient_nonce: empty where absent. signer: what signed it, by its own word.
    envelope: None where it has no content (PENDING, FAILURE).
    """

    der: bytes = field(repr=False)
    message_type: MessageType
    transaction_id: str
    sender_nonce: bytes
    recipient_nonce: bytes
    pki_status: PkiStatus | None
    fail_info: FailInfo | None
    fail_info_text: str
    digest: str
    signer: Certificate
    envelope: envelope.EnvelopedData | None
    signed: cms.SignedData = field(repr=False)

    @property
    def cipher(self) -> str | None:
        """The content cipher it was sent with; an answer uses the same."""
        return None if self.envelope is None else self.envelope.cipher


# --- reading --------------------------------------------------------------------------------------


def read_message(octets: bytes, known: Sequence[Certificate] = ()) -> ScepMessage:
    """Read a pkiMessage without verifying or decrypting anything.

    known: certificates that may have signed it without being inside. Raises
    PkiError("malformed-cms", "no-signer", "malformed-certificate", "unsupported-algorithm",
    "bad-key").
    """
    signed = cms.read_signed(octets)
    signer = cms.find_signer(signed, known)
    info = signed.signer
    assert info is not None  # find_signer has refused it
    values = info.attributes
    with der.reading("cms"):
        status, failure, kind = (
            _number(values.get(name))
            for name in (Attribute.PKI_STATUS, Attribute.FAIL_INFO, Attribute.MESSAGE_TYPE)
        )
        try:
            message_type = MessageType(-1 if kind is None else kind)
            pki_status = None if status is None else PkiStatus(status)
            fail_info = None if failure is None else FailInfo(failure)
        except ValueError:
            raise der.malformed(
                f"messageType {kind}, pkiStatus {status}, failInfo {failure}"
            ) from None
        return ScepMessage(
            der=octets,
            message_type=message_type,
            transaction_id=_transaction_id(values.get(Attribute.TRANSACTION_ID)),
            sender_nonce=_nonce(values.get(Attribute.SENDER_NONCE)),
            recipient_nonce=_nonce(values.get(Attribute.RECIPIENT_NONCE)),
            pki_status=pki_status,
            fail_info=fail_info,
            fail_info_text=_text(values.get(Attribute.FAIL_INFO_TEXT)),
            digest=info.digest,
            signer=signer,
            envelope=envelope.read_envelope(signed.content) if signed.content else None,
            signed=signed,
        )


def _number(element: der.Element | None) -> int | None:
    """A number in decimal digits."""
    if element is None:
        return None
    text = element.text()
    if not (text.isascii() and text.isdigit()) or len(text) > 3:
        raise der.malformed(f"{text[:20]!r} is not a number of SCEP")
    return int(text)


def _transaction_id(element: der.Element | None) -> str:
    """Any printable text: a hash in hexadecimal or base64, a counter, words."""
    text = "" if element is None else element.text()
    if not 0 < len(text) <= _MAX_TRANSACTION_ID or not text.isprintable():
        raise der.malformed(f"{text[:40]!r} as a transactionID")
    return text


def _nonce(element: der.Element | None) -> bytes:
    octets = b"" if element is None else element.octets()
    if len(octets) > _MAX_NONCE:
        raise der.malformed(f"a nonce of {len(octets)} octets, at most {_MAX_NONCE}")
    return octets


def _text(element: der.Element | None) -> str:
    """Words for a person, safe for one line of a terminal."""
    text = "" if element is None else element.text()[:_MAX_TEXT]
    return "".join(char if char.isprintable() else "?" for char in text)


def verify_message(message: ScepMessage, *, legacy: bool = False) -> None:
    """Whether it is signed with its signer's key. Raises PkiError("bad-signature", ...)."""
    cms.verify_signed(message.signed, message.signer, legacy=legacy)


def open_content(
    message: ScepMessage,
    recipients: Iterable[tuple[Certificate, RSAPrivateKey]],
    *,
    legacy: bool = False,
) -> tuple[Certificate, bytes]:
    """Decrypt messageData: for which of the recipients it was, and the content.

    A CA with a shadow certificate learns from the recipient which of its keys is to sign. The
    content is one DER SEQUENCE, or it counts as undecryptable. Raises PkiError("no-content",
    "wrong-recipient", "undecryptable", "weak-algorithm").
    """
    if message.envelope is None:
        raise PkiError("no-content", "the message has no envelope")
    for certificate, key in recipients:
        if envelope.find_recipient(message.envelope, certificate) is None:
            continue
        content = envelope.open_envelope(message.envelope, certificate, key, legacy=legacy)
        try:
            der.parse(content, strict=False).expect(der.SEQUENCE)
        except PkiError:
            raise envelope.undecryptable() from None
        return certificate, content
    raise PkiError("wrong-recipient", "the message is encrypted for none of this node's keys")


def parse_message(
    octets: bytes, known: Sequence[Certificate] = (), *, legacy: bool = False
) -> ScepMessage:
    """Read and verify in one step. Raises what `read_message` and `verify_message` raise."""
    message = read_message(octets, known)
    verify_message(message, legacy=legacy)
    return message


def read_issuer_and_serial(content: bytes) -> tuple[bytes, int]:
    """Content of GetCert and GetCRL: issuer's Name, DER, and serial number."""
    with der.reading("request"):
        fields = der.parse(content, strict=False).fields()
        issuer, serial = fields.take(der.SEQUENCE).raw, fields.take().integer()
        fields.finish()
        read_name(issuer)
        return issuer, serial


def read_issuer_and_subject(content: bytes) -> tuple[bytes, bytes]:
    """Content of CertPoll: the Names of issuer and subject, DER."""
    with der.reading("request"):
        fields = der.parse(content, strict=False).fields()
        issuer, subject = fields.take(der.SEQUENCE).raw, fields.take(der.SEQUENCE).raw
        fields.finish()
        read_name(issuer)
        read_name(subject)
        return issuer, subject


def read_certificates(body: bytes) -> tuple[bytes, ...]:
    """Certificates of a GetCACert reply, one or a degenerate PKCS #7; DER, in no meaningful order.

    Nothing is verified, and what is inside is not read. Raises PkiError("malformed-cms").
    """
    with der.reading("cms"):
        first = der.parse(body, strict=False).fields().take()
    # A certificate begins with its tbsCertificate, a ContentInfo with its content type.
    return (body,) if first.tag == der.SEQUENCE else cms.read_degenerate(body)[0]


def build_next_ca(
    certificates: Sequence[bytes], ca: Certificate, key: RSAPrivateKey, digest: str
) -> bytes:
    """GetNextCACert reply: the next certificates, signed by the CA of today (section 4.7); DER."""
    return cms.build_signed(
        cms.build_degenerate(certificates),
        signer=ca,
        key=key,
        digest=digest,
        certificates=(ca.der,),
    )


def read_next_ca(body: bytes, ca: Certificate, *, legacy: bool = False) -> tuple[bytes, ...]:
    """Certificates of a GetNextCACert reply that the CA of today has signed.

    Raises PkiError("wrong-signer", "bad-signature", "weak-algorithm", "malformed-cms").
    """
    signed = cms.read_signed(body)
    if cms.find_signer(signed, (ca,)) != ca:
        raise PkiError("wrong-signer", "the next CA certificate is not announced by this CA")
    cms.verify_signed(signed, ca, legacy=legacy)
    return cms.read_degenerate(signed.content or b"")[0]


# --- the requester --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Transaction:
    """What stays the same from a request to its last poll.

    ca: whom the requests are encrypted for. signer: self-signed, or the certificate being renewed;
    key: its private key. digest, cipher: from `choose_algorithms`.
    """

    ca: Certificate
    signer: Certificate
    key: RSAPrivateKey = field(repr=False)
    transaction_id: str
    digest: str
    cipher: str


@dataclass(frozen=True, slots=True)
class CertRep:
    """An answer that belongs to our request. certificates, crls: DER, in no meaningful order."""

    status: PkiStatus
    fail_info: FailInfo | None = None
    fail_info_text: str = ""
    certificates: tuple[bytes, ...] = ()
    crls: tuple[bytes, ...] = ()


def transaction_id_for(info: bytes, digest: str = "sha256") -> str:
    """A transactionID: hash of the public key, in hexadecimal. info: SubjectPublicKeyInfo.

    One key has one such identifier, so a repeated request is recognised (IOS: digest "md5").
    """
    return hash_octets(digest, info).hex().upper()


def build_self_signed(
    *,
    subject: bytes,
    key: RSAPrivateKey,
    digest: str,
    serial: int,
    not_before: datetime,
    not_after: datetime,
) -> bytes:
    """The certificate a first request is signed with (RFC 8894 section 2.3); DER."""
    return build_certificate(
        serial=serial,
        issuer=subject,
        subject=subject,
        public_key_info=public_key_info(key),
        not_before=not_before,
        not_after=not_after,
        issuer_key=key,
        digest=digest,
        ca=False,
        key_usage=frozenset({"digitalSignature", "keyEncipherment"}),
    )


def build_pkcs_req(
    transaction: Transaction,
    request: bytes,
    *,
    sender_nonce: bytes,
    rng: Rng,
    renewal: bool = False,
) -> bytes:
    """PKCSReq, or RenewalReq, around a PKCS #10 request."""
    kind = MessageType.RENEWAL_REQ if renewal else MessageType.PKCS_REQ
    return _build(transaction, kind, request, sender_nonce, rng)


def build_cert_poll(
    transaction: Transaction, *, issuer: bytes, subject: bytes, sender_nonce: bytes, rng: Rng
) -> bytes:
    """CertPoll: ask again for what was answered with PENDING. issuer, subject: Name, DER."""
    content = der.sequence(issuer, subject)
    return _build(transaction, MessageType.CERT_POLL, content, sender_nonce, rng)


def build_get_cert(
    transaction: Transaction, *, issuer: bytes, serial: int, sender_nonce: bytes, rng: Rng
) -> bytes:
    """GetCert: fetch a certificate by its number."""
    content = cms.issuer_and_serial(issuer, serial)
    return _build(transaction, MessageType.GET_CERT, content, sender_nonce, rng)


def build_get_crl(
    transaction: Transaction, *, issuer: bytes, serial: int, sender_nonce: bytes, rng: Rng
) -> bytes:
    """GetCRL: fetch the CRL that covers a certificate."""
    content = cms.issuer_and_serial(issuer, serial)
    return _build(transaction, MessageType.GET_CRL, content, sender_nonce, rng)


def _build(
    transaction: Transaction, kind: MessageType, content: bytes, sender_nonce: bytes, rng: Rng
) -> bytes:
    return cms.build_signed(
        envelope.build_envelope(content, transaction.ca, transaction.cipher, rng),
        signer=transaction.signer,
        key=transaction.key,
        digest=transaction.digest,
        attributes=attributes(kind, transaction.transaction_id, sender_nonce),
        certificates=(transaction.signer.der,),
    )


def attributes(kind: MessageType, transaction_id: str, sender_nonce: bytes) -> list[bytes]:
    """The signed attributes that every message has."""
    tag = der.PRINTABLE_STRING if is_printable(transaction_id) else der.UTF8_STRING
    return [
        numeric_attribute(Attribute.MESSAGE_TYPE, kind),
        cms.attribute(Attribute.TRANSACTION_ID, der.tlv(tag, transaction_id.encode())),
        cms.attribute(Attribute.SENDER_NONCE, der.octet_string(sender_nonce)),
    ]


def numeric_attribute(dotted: str, number: int) -> bytes:
    """A signed attribute with a number, which SCEP writes in decimal digits."""
    return cms.attribute(dotted, der.tlv(der.PRINTABLE_STRING, str(number).encode()))


def read_cert_rep(
    octets: bytes,
    transaction: Transaction,
    *,
    sender_nonce: bytes,
    signers: Sequence[Certificate] = (),
    legacy: bool = False,
) -> CertRep:
    """Read and verify the answer to the request with that senderNonce.

    signers: who may sign besides transaction.ca (an RA). A certificate inside is not believed to be
    the one asked for: find it by its key, and validate it. Raises PkiError("wrong-signer",
    "wrong-transaction", "bad-signature", "undecryptable", ...).
    """
    trusted = (transaction.ca, *signers)
    message = read_message(octets, trusted)
    if message.signer not in trusted:
        raise PkiError("wrong-signer", f"the answer is signed by {message.signer!r}, not by the CA")
    verify_message(message, legacy=legacy)
    status = message.pki_status
    if message.message_type != MessageType.CERT_REP or status is None:
        raise PkiError("unexpected-message", f"messageType {message.message_type}, not CertRep")
    if message.transaction_id != transaction.transaction_id:
        raise PkiError("wrong-transaction", "the answer's transactionID is not the request's")
    if message.recipient_nonce != sender_nonce:
        raise PkiError("wrong-transaction", "the answer's recipientNonce is not our senderNonce")
    if status is not PkiStatus.SUCCESS:
        return CertRep(status, message.fail_info, message.fail_info_text)
    _, content = open_content(message, [(transaction.signer, transaction.key)], legacy=legacy)
    certificates, crls = cms.read_degenerate(content)
    return CertRep(status, certificates=certificates, crls=crls)
