"""CMS SignedData (RFC 5652 section 5) as SCEP needs it, and its degenerate form, a list.

Written as DER, read as BER: jscep sends indefinite lengths. Signature and digest are checked over
the octets as they came. One signer, RSA with PKCS #1 version 1.5; no counter signatures.
EnvelopedData is in `envelope.py`.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from ikelab.errors import PkiError
from ikelab.pki import der
from ikelab.pki.algorithms import (
    RSA_ENCRYPTION,
    digest_algorithm,
    hash_octets,
    is_signed_by,
    read_algorithm,
    read_digest_algorithm,
    read_signature_algorithm,
    refuse_weak,
    rsa_encryption,
    sign,
)
from ikelab.pki.name import names_match
from ikelab.pki.x509 import Certificate, load_certificate

DATA = "1.2.840.113549.1.7.1"
SIGNED_DATA = "1.2.840.113549.1.7.2"
_CONTENT_TYPE = "1.2.840.113549.1.9.3"
_MESSAGE_DIGEST = "1.2.840.113549.1.9.4"

# A CertRep with a CRL is the longest message there is; the cache of a router has 64 kB.
MAX_MESSAGE = 1 << 20
MAX_CERTIFICATES = 16
_MAX_ATTRIBUTES = 32


@dataclass(frozen=True, slots=True)
class EntityId:
    """Whom a signer or recipient info means: issuer and serial number, or a key identifier."""

    issuer: bytes = b""
    serial: int = 0
    key_id: bytes | None = None

    def means(self, certificate: Certificate) -> bool:
        """Whether it is this certificate."""
        if self.key_id is not None:
            return self.key_id == certificate.subject_key_id
        return self.serial == certificate.serial and names_match(self.issuer, certificate.issuer)


@dataclass(frozen=True, slots=True)
class SignerInfo:
    """The one signer of a SignedData.

    attributes: the only value of each signed attribute, by OID. signed: what the signature may be
    over, the likeliest first.
    """

    sid: EntityId
    digest: str
    attributes: Mapping[str, der.Element] = field(repr=False)
    signed: tuple[bytes, ...] = field(repr=False)
    signature: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SignedData:
    """A SignedData that was read, not verified.

    content: None where eContent is absent. certificates, crls: as they came, in any order, not
    read. signer: None in a degenerate one.
    """

    content_type: str
    content: bytes | None = field(repr=False)
    certificates: tuple[bytes, ...] = field(repr=False)
    crls: tuple[bytes, ...] = field(repr=False)
    signer: SignerInfo | None


def content_info(content_type: str, content: bytes) -> bytes:
    """ContentInfo, DER."""
    return der.sequence(der.oid(content_type), der.explicit(0, content))


def read_content_info(octets: bytes, content_type: str) -> der.Element:
    """The content of a ContentInfo of that type: a SEQUENCE, read as BER."""
    if len(octets) > MAX_MESSAGE:
        raise der.malformed(f"{len(octets)} octets, at most {MAX_MESSAGE}")
    fields = der.parse(octets, strict=False).fields()
    dotted = fields.take().oid()
    if dotted != content_type:
        raise der.malformed(f"content type {dotted}, not {content_type}")
    content = fields.take(0xA0).only(der.SEQUENCE)
    fields.finish()
    return content


# --- SignedData: writing --------------------------------------------------------------------------


def attribute(dotted: str, value: bytes) -> bytes:
    """Attribute with one value, given in DER."""
    return der.sequence(der.oid(dotted), der.set_of(value))


def build_signed(
    content: bytes | None,
    *,
    signer: Certificate,
    key: RSAPrivateKey,
    digest: str,
    attributes: Sequence[bytes] = (),
    certificates: Sequence[bytes] = (),
) -> bytes:
    """ContentInfo of a SignedData over `data`, with signed attributes; DER.

    content: None leaves eContent out. attributes: more of them, by `attribute`. certificates: to be
    carried along, DER. signatureAlgorithm is rsaEncryption, as SCEP's clients expect it. Raises
    PkiError("key-too-short", "unsupported-algorithm").
    """
    message_digest = hash_octets(digest, content or b"")
    own = (
        attribute(_CONTENT_TYPE, der.oid(DATA)),
        attribute(_MESSAGE_DIGEST, der.octet_string(message_digest)),
    )
    signed = der.set_of(*own, *attributes)
    signer_info = der.sequence(
        der.integer(1),
        issuer_and_serial(signer.issuer, signer.serial),
        digest_algorithm(digest),
        b"\xa0" + signed[1:],  # [0] IMPLICIT; what is signed has the tag of a SET
        rsa_encryption(),
        der.octet_string(sign(key, signed, digest)),
    )
    wrapped = b"" if content is None else der.explicit(0, der.octet_string(content))
    return content_info(
        SIGNED_DATA,
        der.sequence(
            der.integer(1),
            der.set_of(digest_algorithm(digest)),
            der.sequence(der.oid(DATA), wrapped),
            der.explicit(0, *sorted(certificates)) if certificates else b"",
            der.set_of(signer_info),
        ),
    )


def build_degenerate(certificates: Sequence[bytes] = (), crls: Sequence[bytes] = ()) -> bytes:
    """ContentInfo of a SignedData without content and signers (RFC 8894 section 3.4); DER."""
    return content_info(
        SIGNED_DATA,
        der.sequence(
            der.integer(1),
            der.set_of(),
            der.sequence(der.oid(DATA)),
            der.explicit(0, *sorted(certificates)) if certificates else b"",
            der.explicit(1, *sorted(crls)) if crls else b"",
            der.set_of(),
        ),
    )


def issuer_and_serial(issuer: bytes, serial: int) -> bytes:
    """IssuerAndSerialNumber, DER."""
    return der.sequence(issuer, der.integer(serial))


# --- SignedData: reading --------------------------------------------------------------------------


def read_signed(octets: bytes) -> SignedData:
    """Read a SignedData with one signer or none. Nothing is verified.

    Raises PkiError("malformed-cms", "unsupported-algorithm").
    """
    with der.reading("cms"):
        fields = read_content_info(octets, SIGNED_DATA).fields()
        fields.take(der.INTEGER)
        fields.take(der.SET)
        content_type, content = _read_content(fields.take(der.SEQUENCE))
        certificates, crls = fields.take_if(0xA0), fields.take_if(0xA1)
        signers = fields.take(der.SET).children()
        fields.finish()
        if len(signers) > 1:
            raise der.malformed(f"{len(signers)} signers, at most one")
        return SignedData(
            content_type=content_type,
            content=content,
            certificates=_read_set(certificates),
            crls=_read_set(crls),
            signer=_read_signer_info(signers[0]) if signers else None,
        )


def _read_content(element: der.Element) -> tuple[str, bytes | None]:
    fields = element.fields()
    content_type = fields.take().oid()
    wrapped = fields.take_if(0xA0)
    fields.finish()
    return content_type, None if wrapped is None else wrapped.only().octets()


def _read_set(element: der.Element | None) -> tuple[bytes, ...]:
    """Certificates or CRLs; those of other kinds ([n] tagged) are passed over."""
    if element is None:
        return ()
    found = tuple(item.raw for item in element.children() if item.tag == der.SEQUENCE)
    if len(found) > MAX_CERTIFICATES:
        raise der.malformed(f"{len(found)} certificates or CRLs, at most {MAX_CERTIFICATES}")
    return found


def _read_signer_info(element: der.Element) -> SignerInfo:
    fields = element.fields()
    fields.take(der.INTEGER)
    sid = read_entity_id(fields.take())
    digest = read_digest_algorithm(fields.take(der.SEQUENCE))
    attributes = fields.take(0xA0)
    _check_signature_algorithm(fields.take(der.SEQUENCE), digest)
    signature = fields.take().octets()
    fields.take_if(0xA1)
    fields.finish()
    parts = attributes.children()
    as_sent = der.tlv(der.SET, attributes.content)
    sorted_set = der.set_of(*(part.raw for part in parts))
    return SignerInfo(
        sid=sid,
        digest=digest,
        attributes=_read_attributes(parts),
        # DER sorts the set before it is signed, but some sign it as they send it.
        signed=(as_sent,) if as_sent == sorted_set else (as_sent, sorted_set),
        signature=signature,
    )


def read_entity_id(element: der.Element) -> EntityId:
    """SignerIdentifier or RecipientIdentifier."""
    if element.tag in (0x80, 0xA0):
        return EntityId(key_id=element.octets(0x80))
    fields = element.fields()
    issuer, serial = fields.take(der.SEQUENCE).raw, fields.take().integer()
    fields.finish()
    return EntityId(issuer, serial)


def _check_signature_algorithm(element: der.Element, digest: str) -> None:
    dotted, parameters = read_algorithm(element)
    if dotted == RSA_ENCRYPTION and parameters is None:
        return
    if read_signature_algorithm(element) != digest:
        raise PkiError("unsupported-algorithm", f"signed with another digest than {digest}")


def _read_attributes(parts: Sequence[der.Element]) -> dict[str, der.Element]:
    if len(parts) > _MAX_ATTRIBUTES:
        raise der.malformed(f"{len(parts)} signed attributes, at most {_MAX_ATTRIBUTES}")
    found: dict[str, der.Element] = {}
    for part in parts:
        fields = part.fields()
        dotted = fields.take().oid()
        value = fields.take(der.SET).only()
        fields.finish()
        if dotted in found:
            raise der.malformed(f"signed attribute {dotted} twice")
        found[dotted] = value
    return found


def find_signer(signed: SignedData, known: Sequence[Certificate] = ()) -> Certificate:
    """The signer's certificate, of those known beforehand and those inside.

    It is what the message says of itself: whether to trust it is the caller's question. Others
    inside that cannot be read (another algorithm) are passed over. Raises PkiError("no-signer"),
    or what was wrong with the last of those.
    """
    if signed.signer is None:
        raise PkiError("no-signer", "the message is not signed")
    fault = PkiError("no-signer", "the signer's certificate is neither in the message nor known")
    with der.reading("cms"):
        for certificate in known:
            if signed.signer.sid.means(certificate):
                return certificate
        for octets in signed.certificates:
            try:
                certificate = load_certificate(octets, any_serial=True)
            except PkiError as error:
                fault = error
                continue
            if signed.signer.sid.means(certificate):
                return certificate
    raise fault


def verify_signed(signed: SignedData, signer: Certificate, *, legacy: bool = False) -> None:
    """Whether content and attributes are signed with that certificate's key.

    Raises PkiError("no-signer", "weak-algorithm", "bad-signature", "malformed-cms").
    """
    info = signed.signer
    if info is None:
        raise PkiError("no-signer", "the message is not signed")
    refuse_weak("the message", legacy=legacy, digest=info.digest, key=signer.public_key)
    with der.reading("cms"):
        content_type = info.attributes.get(_CONTENT_TYPE)
        claimed = info.attributes.get(_MESSAGE_DIGEST)
        if content_type is None or content_type.oid() != signed.content_type or claimed is None:
            raise der.malformed("signed attributes without contentType and messageDigest")
        digest = hash_octets(info.digest, signed.content or b"")
        if not hmac.compare_digest(claimed.octets(), digest):
            raise PkiError("bad-signature", "messageDigest is not the digest of the content")
    if not any(
        is_signed_by(signer.public_key, info.signature, octets, info.digest)
        for octets in info.signed
    ):
        raise PkiError("bad-signature", "the message is not signed with its signer's key")


def read_degenerate(octets: bytes) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """Certificates and CRLs of a SignedData, not read or verified, in no meaningful order.

    Raises PkiError("malformed-cms").
    """
    signed = read_signed(octets)
    return signed.certificates, signed.crls
