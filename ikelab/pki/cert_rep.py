"""SCEP's CertRep (RFC 8894 section 3.3.2): what a CA has decided, before and after it is signed.

To decide takes the store; to encrypt and sign takes a quarter of the time, and of the CA only its
key. `UnsignedCertRep` stands between the two: plain data, which another process may sign.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from ikelab.errors import PkiError
from ikelab.pki import cms, der, envelope
from ikelab.pki.scep import NONCE_LENGTH, ScepMessage, attributes, numeric_attribute
from ikelab.pki.scep_numbers import Attribute, FailInfo, MessageType, PkiStatus
from ikelab.pki.x509 import Certificate
from ikelab.types import Rng


@dataclass(frozen=True, slots=True)
class UnsignedCertRep:
    """What an answer is to say, and to whom.

    SUCCESS carries certificates or crls (DER); FAILURE a fail_info; PENDING neither. receiver: whom
    it is encrypted for, the signer of the request. recipient_nonce: the request's senderNonce.
    digest, cipher: the request's own; cipher None where it had no envelope.
    """

    status: PkiStatus
    receiver: Certificate
    transaction_id: str
    recipient_nonce: bytes
    digest: str
    cipher: str | None
    certificates: tuple[bytes, ...] = field(default=(), repr=False)
    crls: tuple[bytes, ...] = field(default=(), repr=False)
    fail_info: FailInfo | None = None
    fail_info_text: str = ""

    @classmethod
    def to(
        cls,
        request: ScepMessage,
        status: PkiStatus,
        *,
        certificates: tuple[bytes, ...] = (),
        crls: tuple[bytes, ...] = (),
        fail_info: FailInfo | None = None,
        fail_info_text: str = "",
    ) -> Self:
        """The answer to a request, in its own digest and cipher."""
        return cls(
            status=status,
            receiver=request.signer,
            transaction_id=request.transaction_id,
            recipient_nonce=request.sender_nonce,
            digest=request.digest,
            cipher=request.cipher,
            certificates=certificates,
            crls=crls,
            fail_info=fail_info,
            fail_info_text=fail_info_text,
        )

    def sign(self, ca: Certificate, key: RSAPrivateKey, rng: Rng, *, with_ca: bool = True) -> bytes:
        """The pkiMessage, encrypted for its receiver and signed by the CA; DER.

        with_ca: put the CA's certificate beside the signature (strongSwan looks for it there).
        Raises PkiError("key-too-short", "bad-key", "no-content").
        """
        nonce = rng.draw("scep_nonce", NONCE_LENGTH)
        return cms.build_signed(
            self._content(rng),
            signer=ca,
            key=key,
            digest=self.digest,
            attributes=self._attributes(nonce),
            certificates=(ca.der,) if with_ca else (),
        )

    def _content(self, rng: Rng) -> bytes | None:
        if self.status is not PkiStatus.SUCCESS:
            return None
        if self.cipher is None:
            raise PkiError("no-content", "a request without an envelope has no SUCCESS")
        inner = cms.build_degenerate(self.certificates, self.crls)
        return envelope.build_envelope(inner, self.receiver, self.cipher, rng)

    def _attributes(self, sender_nonce: bytes) -> list[bytes]:
        found = attributes(MessageType.CERT_REP, self.transaction_id, sender_nonce)
        found.append(numeric_attribute(Attribute.PKI_STATUS, self.status))
        if self.recipient_nonce:
            nonce = der.octet_string(self.recipient_nonce)
            found.append(cms.attribute(Attribute.RECIPIENT_NONCE, nonce))
        if self.status is PkiStatus.FAILURE:
            reason = FailInfo.BAD_REQUEST if self.fail_info is None else self.fail_info
            found.append(numeric_attribute(Attribute.FAIL_INFO, reason))
            if self.fail_info_text:
                text = der.tlv(der.UTF8_STRING, self.fail_info_text.encode())
                found.append(cms.attribute(Attribute.FAIL_INFO_TEXT, text))
        return found


@dataclass(frozen=True, slots=True)
class ToSign:
    """A CertRep with what signs it. server: the certificate server whose answer it is."""

    server: str
    reply: UnsignedCertRep
    ca: Certificate
    key: RSAPrivateKey = field(repr=False)

    def sign(self, rng: Rng) -> bytes:
        """The pkiMessage; DER. Raises what `UnsignedCertRep.sign` raises."""
        return self.reply.sign(self.ca, self.key, rng)
