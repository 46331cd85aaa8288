"""PKCS #12 (RFC 7292) and private keys in PEM: a key with its certificate and the CAs above it.

The one place where such files are read and written: a router's import and export, and the archive
and the recovery of a certificate server. A file is believed nothing: the key must fit its
certificate, and each certificate above must have signed the one below.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from cryptography import x509 as library_x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
    load_pem_private_key,
)
from cryptography.hazmat.primitives.serialization import pkcs12 as library_pkcs12

from ikelab.errors import PkiError
from ikelab.pki import der
from ikelab.pki.algorithms import (
    hash_octets,
    key_identifier,
    public_key_info,
    read_digest_algorithm,
    refuse_weak,
)
from ikelab.pki.name import names_match
from ikelab.pki.password_encryption import check_encryption, check_iterations, refuse_traditional
from ikelab.pki.pem import PemBlock
from ikelab.pki.x509 import Certificate, format_name, load_certificate

_MAX_FILE = 1 << 18
# Each may ask for the most iterations: together they stay under two seconds. Real files have two.
_MAX_ENCRYPTED = 4
_DATA = "1.2.840.113549.1.7.1"
_ENCRYPTED_DATA = "1.2.840.113549.1.7.6"
_SHROUDED_KEY = "1.2.840.113549.1.12.10.1.2"
_KEY_LABELS = ("RSA PRIVATE KEY", "PRIVATE KEY", "ENCRYPTED PRIVATE KEY")
# Of PBKDF2 (RFC 8018 section 4.2 has a thousand as the least); openssl opens what it makes.
_ITERATIONS = 20_000


@dataclass(frozen=True, slots=True)
class Identity:
    """A key pair with its certificate. chain: DER of the CAs above, the issuer first.

    The chain goes as far as the file leads; it is empty for a self-signed certificate.
    """

    key: RSAPrivateKey = field(repr=False)
    certificate: bytes
    chain: tuple[bytes, ...] = ()


def load_pkcs12(octets: bytes, password: str, *, legacy: bool) -> Identity:
    """Open a PKCS #12 file.

    Raises PkiError: "malformed-pkcs12", "wrong-password", "weak-algorithm" for an encryption that
    only `mode: legacy` takes, "no-key", "no-certificate", "not-our-key", "bad-signature".
    """
    if len(octets) > _MAX_FILE:
        raise PkiError("malformed-pkcs12", f"{len(octets)} octets, at most {_MAX_FILE}")
    with der.reading("pkcs12"):
        _check_protection(octets, legacy)
    try:
        opened = library_pkcs12.load_pkcs12(octets, password.encode())
    except UnsupportedAlgorithm as error:
        raise PkiError("unsupported-algorithm", f"the PKCS #12 file: {error}") from None
    except ValueError:
        # The library says "invalid password or data" for both; the structure was read above.
        raise PkiError("wrong-password", "the passphrase does not open the PKCS #12 file") from None
    if not isinstance(opened.key, RSAPrivateKey):
        raise PkiError("no-key", "the PKCS #12 file holds no RSA private key")
    if opened.cert is None:
        raise PkiError("no-certificate", "no certificate of the PKCS #12 file fits its private key")
    others = (item.certificate.public_bytes(Encoding.DER) for item in opened.additional_certs)
    own = opened.cert.certificate.public_bytes(Encoding.DER)
    return join_identity(opened.key, own, others, legacy=legacy)


def dump_pkcs12(identity: Identity, name: str, password: str, *, legacy: bool) -> bytes:
    """A PKCS #12 file. legacy: 3DES and SHA-1, what IOS of 2009 can read back; else AES-256."""
    builder = PrivateFormat.PKCS12.encryption_builder()
    if legacy:
        builder = builder.key_cert_algorithm(
            library_pkcs12.PBES.PBESv1SHA1And3KeyTripleDESCBC
        ).hmac_hash(SHA1())
    else:
        builder = (
            builder.kdf_rounds(_ITERATIONS)
            .key_cert_algorithm(library_pkcs12.PBES.PBESv2SHA256AndAES256CBC)
            .hmac_hash(SHA256())
        )
    return library_pkcs12.serialize_key_and_certificates(
        name.encode(),
        identity.key,
        library_x509.load_der_x509_certificate(identity.certificate),
        [library_x509.load_der_x509_certificate(upper) for upper in identity.chain],
        builder.build(password.encode()),
    )


def load_private_key(block: PemBlock, password: str | None, *, legacy: bool) -> RSAPrivateKey:
    """An RSA key of a PEM block, encrypted or not.

    Raises PkiError("no-key", "wrong-password", "weak-algorithm", "malformed-key").
    """
    if block.label not in _KEY_LABELS:
        raise PkiError("no-key", f"a {block.label} was pasted where a private key is wanted")
    refuse_traditional("the private key", block.headers, legacy=legacy)
    encrypted = bool(block.headers) or block.label == "ENCRYPTED PRIVATE KEY"
    if block.label == "ENCRYPTED PRIVATE KEY":
        with der.reading("key"):
            algorithm = der.parse(block.der, strict=False).fields().take(der.SEQUENCE)
            check_encryption("the private key", algorithm, legacy=legacy)
    try:
        if encrypted:
            key = load_pem_private_key(block.text.encode(), (password or "").encode())
        else:
            key = load_der_private_key(block.der, None)
    except UnsupportedAlgorithm as error:
        raise PkiError("unsupported-algorithm", f"the private key: {error}") from None
    except (ValueError, TypeError):
        if encrypted:
            raise PkiError("wrong-password", "the passphrase does not open the key") from None
        raise PkiError("malformed-key", "what was pasted is no private key") from None
    if not isinstance(key, RSAPrivateKey):
        raise PkiError("no-key", "the private key is not for RSA")
    return key


def dump_private_key(key: RSAPrivateKey, password: str) -> str:
    """PKCS #8 in PEM, encrypted with AES-256; `openssl pkey` opens it."""
    encryption = BestAvailableEncryption(password.encode())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption).decode()


def dump_traditional_key(key: RSAPrivateKey, password: str, salt: bytes) -> str:
    """RFC 1421's encryption with 3DES, as IOS's `export ... pem terminal 3des` writes it.

    The cipher's key is one round of MD5 over password and salt (OpenSSL's EVP_BytesToKey): for
    legacy labs. salt: 8 octets.
    """
    digest, derived = b"", b""
    while len(derived) < 24:
        digest = hash_octets("md5", digest + password.encode() + salt)
        derived += digest
    plain = key.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    pad = 8 - len(plain) % 8
    encryptor = Cipher(TripleDES(derived[:24]), CBC(salt)).encryptor()
    octets = encryptor.update(plain + bytes([pad]) * pad) + encryptor.finalize()
    headers = ("Proc-Type: 4,ENCRYPTED", f"DEK-Info: DES-EDE3-CBC,{salt.hex().upper()}")
    return PemBlock("RSA PRIVATE KEY", octets, headers).text


def join_identity(
    key: RSAPrivateKey, own: bytes, others: Iterable[bytes], *, legacy: bool
) -> Identity:
    """Put together what belongs together; certificates that lead nowhere are left out.

    Raises PkiError("not-our-key", "weak-algorithm", "malformed-certificate").
    """
    certificate = load_certificate(own)
    if certificate.public_key_info != public_key_info(key):
        raise PkiError(
            "not-our-key",
            f"the certificate {format_name(certificate.subject)} is for another key",
        )
    chain = _chain(certificate, [load_certificate(other) for other in others])
    for item in (certificate, *chain):
        what = f"the certificate {format_name(item.subject)}"
        refuse_weak(what, legacy=legacy, digest=item.digest, key=item.public_key)
    return Identity(key, own, tuple(item.der for item in chain))


def _chain(leaf: Certificate, candidates: Sequence[Certificate]) -> list[Certificate]:
    """The CAs above, as far as name, key identifier and signature lead."""
    found: list[Certificate] = []
    below = leaf
    while not below.is_self_issued:
        above = next((item for item in candidates if _has_issued(item, below)), None)
        if above is None or above in found:
            break
        found.append(above)
        below = above
    return found


def _has_issued(above: Certificate, below: Certificate) -> bool:
    if not (above.is_ca and names_match(below.issuer, above.subject)):
        return False
    named = below.authority_key_id
    if named is not None and named not in (
        above.subject_key_id,
        key_identifier(above.public_key_info),
    ):
        return False
    return below.is_signed_by(above.public_key)


# --- what protects a file -------------------------------------------------------------------------


def _check_protection(octets: bytes, legacy: bool) -> None:
    """Walk a PFX as far as it is readable without its password (RFC 7292 section 4)."""
    fields = der.parse(octets, strict=False).fields()
    if fields.take().integer() != 3:
        raise der.malformed("not version 3 of PFX")
    content = _content(fields.take(der.SEQUENCE), _DATA).octets()
    mac = fields.take_if(der.SEQUENCE)
    fields.finish()
    if mac is None:
        raise PkiError("unsupported-algorithm", "a PKCS #12 file without a MAC proves no password")
    _check_mac(mac, legacy)
    encrypted_parts = 0
    for part in der.parse(content, strict=False).expect(der.SEQUENCE).children():
        kind = part.fields().take(der.OBJECT_IDENTIFIER).oid()
        if kind == _ENCRYPTED_DATA:
            inside = _content(part, _ENCRYPTED_DATA).fields()
            inside.take()  # version
            encrypted = inside.take(der.SEQUENCE).fields()
            encrypted.take(der.OBJECT_IDENTIFIER)
            check_encryption("the PKCS #12 file", encrypted.take(der.SEQUENCE), legacy=legacy)
            encrypted_parts += 1
        elif kind == _DATA:
            encrypted_parts += _check_bags(_content(part, _DATA).octets(), legacy)
        else:
            raise PkiError("unsupported-algorithm", f"a PKCS #12 file with a part of kind {kind}")
        if encrypted_parts > _MAX_ENCRYPTED:
            raise der.malformed(f"more than {_MAX_ENCRYPTED} encrypted parts")


def _check_bags(octets: bytes, legacy: bool) -> int:
    """How many keys are inside."""
    count = 0
    for bag in der.parse(octets, strict=False).expect(der.SEQUENCE).children():
        fields = bag.fields()
        if fields.take(der.OBJECT_IDENTIFIER).oid() == _SHROUDED_KEY:
            key = fields.take(der.explicit(0)[0]).only(der.SEQUENCE).fields()
            check_encryption("the private key", key.take(der.SEQUENCE), legacy=legacy)
            count += 1
    return count


def _check_mac(mac: der.Element, legacy: bool) -> None:
    fields = mac.fields()
    digest = read_digest_algorithm(fields.take(der.SEQUENCE).fields().take(der.SEQUENCE))
    fields.take(der.OCTET_STRING)
    count = fields.take_if(der.INTEGER)
    if count is not None:
        check_iterations("the PKCS #12 file", count.integer())
    if digest in ("md5", "sha1") and not legacy:
        raise PkiError(
            "weak-algorithm",
            f"the PKCS #12 file is protected with {digest}; only mode: legacy takes it",
        )


def _content(info: der.Element, kind: str) -> der.Element:
    """What a ContentInfo of that kind holds."""
    fields = info.fields()
    found = fields.take(der.OBJECT_IDENTIFIER).oid()
    if found != kind:
        raise der.malformed(f"content of kind {found}, not {kind}")
    inside = fields.take(der.explicit(0)[0]).only()
    fields.finish()
    return inside
