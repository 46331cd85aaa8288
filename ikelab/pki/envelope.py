"""CMS EnvelopedData (RFC 5652 section 6): a content for one RSA key, as SCEP wraps its messages.

Key transport is PKCS #1 version 1.5, the cipher CBC. Written as DER, read as BER: micromdm sends
the encryptedContent in pieces.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES

from ikelab.errors import PkiError
from ikelab.pki import der
from ikelab.pki.algorithms import RSA_ENCRYPTION, read_algorithm, refuse_weak, rsa_encryption
from ikelab.pki.cms import (
    DATA,
    MAX_CERTIFICATES,
    EntityId,
    content_info,
    issuer_and_serial,
    read_content_info,
    read_entity_id,
)
from ikelab.pki.x509 import Certificate
from ikelab.types import Rng

ENVELOPED_DATA = "1.2.840.113549.1.7.3"


@dataclass(frozen=True, slots=True)
class _ContentCipher:
    """A content encryption algorithm, CBC. key, block: octets."""

    oid: str
    key: int
    block: int


_CIPHERS = {
    "aes128": _ContentCipher("2.16.840.1.101.3.4.1.2", 16, 16),
    "aes192": _ContentCipher("2.16.840.1.101.3.4.1.22", 24, 16),
    "aes256": _ContentCipher("2.16.840.1.101.3.4.1.42", 32, 16),
    "des3": _ContentCipher("1.2.840.113549.3.7", 24, 8),
    "des": _ContentCipher("1.3.14.3.2.7", 8, 8),
}
_CIPHER_NAMES = {cipher.oid: name for name, cipher in _CIPHERS.items()}


@dataclass(frozen=True, slots=True)
class Recipient:
    """One RSA recipient of an EnvelopedData."""

    rid: EntityId
    encrypted_key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class EnvelopedData:
    """An EnvelopedData that was read. cipher: "aes128", "aes192", "aes256", "des3" or "des"."""

    recipients: tuple[Recipient, ...]
    cipher: str
    iv: bytes = field(repr=False)
    ciphertext: bytes = field(repr=False)


def build_envelope(content: bytes, recipient: Certificate, cipher: str, rng: Rng) -> bytes:
    """ContentInfo of an EnvelopedData for one RSA key; DER.

    cipher: "aes128", "aes192", "aes256", "des3" or "des". Raises PkiError("key-too-short",
    "bad-key", "unsupported-algorithm").
    """
    algorithm = _CIPHERS.get(cipher)
    if algorithm is None:
        raise PkiError("unsupported-algorithm", f"cipher {cipher!r}; known: {', '.join(_CIPHERS)}")
    content_key = rng.draw("content_key", algorithm.key)
    iv = rng.draw("content_iv", algorithm.block)
    pad = algorithm.block - len(content) % algorithm.block
    encryptor = Cipher(_primitive(cipher, content_key), modes.CBC(iv)).encryptor()
    ciphertext = encryptor.update(content + bytes((pad,)) * pad) + encryptor.finalize()
    recipient_info = der.sequence(
        der.integer(0),
        issuer_and_serial(recipient.issuer, recipient.serial),
        rsa_encryption(),
        der.octet_string(_encrypt_key(content_key, recipient.public_key)),
    )
    return content_info(
        ENVELOPED_DATA,
        der.sequence(
            der.integer(0),
            der.set_of(recipient_info),
            der.sequence(
                der.oid(DATA),
                der.sequence(der.oid(algorithm.oid), der.octet_string(iv)),
                der.implicit(0, ciphertext),
            ),
        ),
    )


def _encrypt_key(content_key: bytes, public_key: RSAPublicKey) -> bytes:
    """RSAES-PKCS1-v1_5 (RFC 8017 section 7.2.1).

    The padding is libcrypto's, not the node's Rng's: the power in Python's own integers is nine
    times dearer, a tenth of what a CA spends on a certificate.
    """
    size = (public_key.key_size + 7) // 8
    # EM = 00 | 02 | PS, 8 octets or more | 00 | M
    if size < 11 + len(content_key):
        raise PkiError(
            "key-too-short",
            f"an RSA key of {public_key.key_size} bits cannot carry {len(content_key)} octets",
        )
    try:
        return public_key.encrypt(content_key, PKCS1v15())
    except ValueError as error:
        raise PkiError("bad-key", f"an RSA key that does not encrypt: {error}") from None


def _primitive(cipher: str, key: bytes) -> AES | TripleDES:
    if cipher.startswith("aes"):
        return AES(key)
    # Single DES is triple DES with the same key three times.
    return TripleDES(key * 3 if cipher == "des" else key)


def read_envelope(octets: bytes) -> EnvelopedData:
    """Read an EnvelopedData. Raises PkiError("malformed-cms", "unsupported-algorithm")."""
    with der.reading("cms"):
        fields = read_content_info(octets, ENVELOPED_DATA).fields()
        fields.take(der.INTEGER)
        fields.take_if(0xA0)
        infos = fields.take(der.SET).children()
        encrypted = fields.take(der.SEQUENCE).fields()
        fields.take_if(0xA1)
        fields.finish()
        encrypted.take(der.OBJECT_IDENTIFIER)
        dotted, parameters = read_algorithm(encrypted.take(der.SEQUENCE))
        ciphertext = encrypted.take().octets(0x80)
        encrypted.finish()
        if len(infos) > MAX_CERTIFICATES:
            raise der.malformed(f"{len(infos)} recipients, at most {MAX_CERTIFICATES}")
        if dotted not in _CIPHER_NAMES:
            raise PkiError("unsupported-algorithm", f"content encryption {dotted}")
        name = _CIPHER_NAMES[dotted]
        iv = b"" if parameters is None else parameters.octets()
        block = _CIPHERS[name].block
        if len(iv) != block or not ciphertext or len(ciphertext) % block:
            raise der.malformed(f"IV or encrypted content that is not in blocks of {block} octets")
        recipients = tuple(_read_recipient(info) for info in infos if info.tag == der.SEQUENCE)
        return EnvelopedData(recipients, name, iv, ciphertext)


def _read_recipient(element: der.Element) -> Recipient:
    fields = element.fields()
    fields.take(der.INTEGER)
    rid = read_entity_id(fields.take())
    dotted, _ = read_algorithm(fields.take(der.SEQUENCE))
    encrypted_key = fields.take().octets()
    fields.finish()
    if dotted != RSA_ENCRYPTION:
        raise PkiError("unsupported-algorithm", f"key transport {dotted}; PKCS #1 v1.5 is known")
    return Recipient(rid, encrypted_key)


def find_recipient(envelope: EnvelopedData, certificate: Certificate) -> Recipient | None:
    """The recipient info that means a certificate."""
    with der.reading("cms"):
        return next((item for item in envelope.recipients if item.rid.means(certificate)), None)


def check_recipient(
    envelope: EnvelopedData, certificate: Certificate, *, legacy: bool = False
) -> Recipient:
    """The recipient info that means a certificate, where the envelope may be opened at all.

    Raises PkiError("wrong-recipient", "weak-algorithm").
    """
    recipient = find_recipient(envelope, certificate)
    if recipient is None:
        raise PkiError("wrong-recipient", f"not encrypted for {certificate!r}")
    refuse_weak("the message", legacy=legacy, cipher=envelope.cipher, key=certificate.public_key)
    return recipient


def open_envelope(
    envelope: EnvelopedData, certificate: Certificate, key: RSAPrivateKey, *, legacy: bool = False
) -> bytes:
    """The content, decrypted for one certificate.

    Whatever is wrong behind the RSA block gives the same PkiError("undecryptable"): which padding
    failed is what Bleichenbacher's and Vaudenay's attacks ask for. Also raises
    PkiError("wrong-recipient", "weak-algorithm").
    """
    recipient = check_recipient(envelope, certificate, legacy=legacy)
    length = _CIPHERS[envelope.cipher].key
    try:
        content_key = key.decrypt(recipient.encrypted_key, PKCS1v15())
    except ValueError:
        content_key = b""
    sound = len(content_key) == length
    # Go on with some key, so that a wrong one takes as long as a right one.
    cipher = Cipher(
        _primitive(envelope.cipher, content_key if sound else bytes(range(length))),
        modes.CBC(envelope.iv),
    )
    decryptor = cipher.decryptor()
    padded = decryptor.update(envelope.ciphertext) + decryptor.finalize()
    pad = padded[-1]
    block = _CIPHERS[envelope.cipher].block
    if not sound or not 1 <= pad <= block or padded[-pad:] != bytes((pad,)) * pad:
        raise undecryptable()
    return padded[:-pad]


def undecryptable() -> PkiError:
    """The one error for everything that may be wrong with an encrypted content."""
    return PkiError("undecryptable", "the encrypted content cannot be read with this key")
