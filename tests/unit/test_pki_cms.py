"""CMS SignedData and EnvelopedData; witness: `openssl cms` in both directions."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES

from ikelab.errors import PkiError
from ikelab.pki import cms, der, envelope
from ikelab.pki.algorithms import digest_algorithm, hash_octets, rsa_encryption, sign
from ikelab.pki.x509 import Certificate
from tests.pki_samples import (
    SampleRng,
    authority,
    crl_of,
    pem_key,
    refused,
    router,
    rsa_key,
    survives,
)

CA = authority("root-ca")
CA_KEY = rsa_key("root-ca")
CONTENT = b"content of the message, longer than a block"
DIGESTS = ["md5", "sha1", "sha256", "sha384", "sha512"]
CIPHERS = ["aes128", "aes192", "aes256", "des3", "des"]


def signed(digest: str = "sha256", content: bytes | None = CONTENT) -> bytes:
    return cms.build_signed(
        content,
        signer=CA,
        key=CA_KEY,
        digest=digest,
        attributes=(cms.attribute("1.2.3.4", der.null()),),
        certificates=(CA.der, router().der),
    )


def verify(octets: bytes, *, legacy: bool = False) -> cms.SignedData:
    read = cms.read_signed(octets)
    cms.verify_signed(read, cms.find_signer(read), legacy=legacy)
    return read


def enveloped(cipher: str = "aes128", content: bytes = CONTENT) -> bytes:
    return envelope.build_envelope(content, CA, cipher, SampleRng())


def opened(octets: bytes, *, legacy: bool = False) -> bytes:
    return envelope.open_envelope(envelope.read_envelope(octets), CA, CA_KEY, legacy=legacy)


# --- SignedData -----------------------------------------------------------------------------------


@pytest.mark.parametrize("digest", DIGESTS)
def test_signed_data_reads_back(digest: str) -> None:
    read = verify(signed(digest), legacy=True)
    assert read.content == CONTENT
    assert set(read.certificates) == {CA.der, router().der}
    assert read.signer is not None
    assert read.signer.digest == digest
    assert read.signer.attributes["1.2.3.4"].tag == der.NULL


def test_signature_algorithm_is_plain_rsa() -> None:
    assert rsa_encryption() in signed()


@pytest.mark.parametrize("digest", ["md5", "sha1"])
def test_weak_digests_are_for_legacy_mode_only(digest: str) -> None:
    assert refused(lambda: verify(signed(digest))) == "weak-algorithm"


def test_signed_data_without_content_is_signed_over_nothing() -> None:
    assert verify(signed(content=None)).content is None


@pytest.mark.interop
@pytest.mark.parametrize("digest", DIGESTS)
def test_openssl_verifies_our_signatures(
    need: Callable[[str], str], tmp_path: Path, digest: str
) -> None:
    (tmp_path / "message").write_bytes(signed(digest))
    result = subprocess.run(
        [need("openssl"), "cms", "-verify", "-inform", "DER", "-noverify", "-binary"]
        + ["-in", tmp_path / "message"],
        capture_output=True,
        check=True,
    )
    assert result.stdout == CONTENT


@pytest.fixture
def files(tmp_path: Path, need: Callable[[str], str]) -> Path:
    """ca.pem, ca.key and content, for openssl."""
    subprocess.run(
        [need("openssl"), "x509", "-inform", "DER", "-out", tmp_path / "ca.pem"],
        input=CA.der,
        check=True,
    )
    (tmp_path / "ca.key").write_bytes(pem_key(CA_KEY))
    (tmp_path / "content").write_bytes(CONTENT)
    return tmp_path


@pytest.mark.interop
@pytest.mark.parametrize("options", [[], ["-stream"], ["-keyid"], ["-stream", "-nocerts"]])
def test_verifies_signatures_of_openssl_in_der_and_ber(
    need: Callable[[str], str], files: Path, options: list[str]
) -> None:
    """-stream writes indefinite lengths and the content in pieces."""
    octets = subprocess.run(
        [need("openssl"), "cms", "-sign", "-nodetach", "-binary", "-outform", "DER", *options]
        + ["-signer", "ca.pem", "-inkey", "ca.key", "-md", "sha256", "-in", "content"],
        cwd=files,
        capture_output=True,
        check=True,
    ).stdout
    assert (octets[1] == 0x80) is ("-stream" in options)
    read = cms.read_signed(octets)
    cms.verify_signed(read, cms.find_signer(read, [CA]))
    assert read.content == CONTENT


@pytest.mark.parametrize("at", ["content", "attribute", "signature"])
def test_changed_octets_are_noticed(at: str) -> None:
    octets = signed()
    read = cms.read_signed(octets)
    assert read.signer is not None
    where = {
        "content": octets.index(CONTENT),
        "attribute": octets.index(der.oid("1.2.3.4")) + 3,
        "signature": octets.index(read.signer.signature) + 5,
    }[at]
    changed = octets[:where] + bytes((octets[where] ^ 1,)) + octets[where + 1 :]
    assert refused(lambda: verify(changed)) == "bad-signature"


def test_signature_of_another_key_is_noticed() -> None:
    read = cms.read_signed(signed())
    impostor = authority("root-ca", key=rsa_key("impostor"))
    assert refused(lambda: cms.verify_signed(read, impostor)) == "bad-signature"


def crafted(
    *,
    parts: list[bytes] | None = None,
    order: Callable[[list[bytes]], list[bytes]] = sorted,
    signers: int = 1,
    over: Callable[[list[bytes]], bytes] | None = None,
    unsigned: bytes = b"",
    algorithm: bytes | None = None,
) -> bytes:
    """A SignedData of any parts; `order`: of the signed attributes on the wire."""
    if parts is None:
        parts = [
            cms.attribute("1.2.840.113549.1.9.3", der.oid(cms.DATA)),
            cms.attribute("1.2.840.113549.1.9.4", der.octet_string(hash_octets("sha256", CONTENT))),
        ]
    sent = order(parts)
    to_sign = der.tlv(der.SET, *sent) if over is None else over(sent)
    info = der.sequence(
        der.integer(1),
        cms.issuer_and_serial(CA.issuer, CA.serial),
        digest_algorithm("sha256"),
        der.explicit(0, *sent),
        algorithm or rsa_encryption(),
        der.octet_string(sign(CA_KEY, to_sign, "sha256")),
        unsigned,
    )
    content = der.sequence(der.oid(cms.DATA), der.explicit(0, der.octet_string(CONTENT)))
    return cms.content_info(
        cms.SIGNED_DATA,
        der.sequence(
            der.integer(1),
            der.set_of(digest_algorithm("sha256")),
            content,
            der.explicit(0, CA.der),
            der.tlv(der.SET, *[info] * signers),
        ),
    )


def test_attributes_out_of_order_are_taken_signed_as_sent_or_as_sorted() -> None:
    def backwards(parts: list[bytes]) -> list[bytes]:
        return sorted(parts, reverse=True)

    verify(crafted(order=backwards))
    verify(crafted(order=backwards, over=lambda sent: der.set_of(*sent)))


def test_unsigned_attributes_are_passed_over() -> None:
    verify(crafted(unsigned=der.explicit(1, cms.attribute("1.2.3", der.null()))))


def test_two_signers_and_none_are_refused() -> None:
    assert refused(lambda: verify(crafted(signers=2))) == "malformed-cms"
    assert refused(lambda: verify(crafted(signers=0))) == "no-signer"
    assert refused(lambda: verify(cms.build_degenerate([CA.der]))) == "no-signer"


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [cms.attribute("1.2.840.113549.1.9.3", der.oid(cms.DATA))],
        [
            cms.attribute("1.2.840.113549.1.9.3", der.oid(cms.SIGNED_DATA)),
            cms.attribute("1.2.840.113549.1.9.4", der.octet_string(hash_octets("sha256", CONTENT))),
        ],
        [cms.attribute("1.2.3", der.null())] * 2,
        [cms.attribute(f"1.2.{n}", der.null()) for n in range(33)],
        [der.sequence(der.oid("1.2.3"), der.set_of(der.null(), der.null()))],
    ],
    ids=["none", "no digest", "other content type", "twice", "33", "two values"],
)
def test_unsound_signed_attributes_are_refused(parts: list[bytes]) -> None:
    assert refused(lambda: verify(crafted(parts=parts))) == "malformed-cms"


def test_wrong_message_digest_is_refused() -> None:
    parts = [
        cms.attribute("1.2.840.113549.1.9.3", der.oid(cms.DATA)),
        cms.attribute("1.2.840.113549.1.9.4", der.octet_string(bytes(32))),
    ]
    assert refused(lambda: verify(crafted(parts=parts))) == "bad-signature"


def test_other_signature_algorithms_are_refused() -> None:
    pss = der.sequence(der.oid("1.2.840.113549.1.1.10"), der.sequence())
    assert refused(lambda: verify(crafted(algorithm=pss))) == "unsupported-algorithm"
    other_digest = der.sequence(der.oid("1.2.840.113549.1.1.13"), der.null())
    assert refused(lambda: verify(crafted(algorithm=other_digest))) == "unsupported-algorithm"
    same_digest = der.sequence(der.oid("1.2.840.113549.1.1.11"), der.null())
    verify(crafted(algorithm=same_digest))


def test_damaged_signed_data_raises_nothing_else() -> None:
    octets = signed()
    assert survives(verify, octets) > len(octets)


# --- degenerate -----------------------------------------------------------------------------------


@pytest.mark.parametrize("with_crl", [False, True])
def test_degenerate_list_reads_back(with_crl: bool) -> None:
    lists = (crl_of(CA).der,) if with_crl else ()
    octets = cms.build_degenerate((CA.der, router().der), lists)
    certificates, found = cms.read_degenerate(octets)
    assert (set(certificates), found) == ({CA.der, router().der}, lists)


@pytest.mark.interop
def test_openssl_reads_our_degenerate_lists(need: Callable[[str], str]) -> None:
    octets = cms.build_degenerate((CA.der, router().der), (crl_of(CA, 4).der,))
    text = subprocess.run(
        [need("openssl"), "pkcs7", "-inform", "DER", "-print_certs", "-noout"],
        input=octets,
        capture_output=True,
        check=True,
    ).stdout
    assert b"CN = root-ca" in text
    assert b"spoke.example.com" in text


@pytest.mark.interop
def test_reads_degenerate_lists_of_openssl(need: Callable[[str], str], files: Path) -> None:
    octets = subprocess.run(
        [need("openssl"), "crl2pkcs7", "-nocrl", "-certfile", "ca.pem", "-outform", "DER"],
        cwd=files,
        capture_output=True,
        check=True,
    ).stdout
    assert cms.read_degenerate(octets) == ((CA.der,), ())


def test_seventeen_certificates_are_refused() -> None:
    octets = cms.build_degenerate([router(serial=n + 1).der for n in range(17)])
    assert refused(lambda: cms.read_degenerate(octets)) == "malformed-cms"


# --- EnvelopedData --------------------------------------------------------------------------------


@pytest.mark.parametrize("cipher", CIPHERS)
@pytest.mark.parametrize("length", [0, 1, 15, 16, 17, 1000])
def test_envelope_opens(cipher: str, length: int) -> None:
    assert opened(enveloped(cipher, bytes(length)), legacy=True) == bytes(length)


@pytest.mark.parametrize("cipher", ["des", "des3"])
def test_des_and_triple_des_are_for_legacy_mode_only(cipher: str) -> None:
    assert refused(lambda: opened(enveloped(cipher))) == "weak-algorithm"
    assert opened(enveloped(cipher), legacy=True) == CONTENT


def test_same_random_octets_give_the_same_envelope_but_for_the_padding_of_its_key() -> None:
    """The key's padding is libcrypto's: as random, and of the same content once it is opened."""
    one, other = (envelope.read_envelope(enveloped()) for _ in range(2))
    assert (one.iv, one.ciphertext) == (other.iv, other.ciphertext)
    keys = [item.recipients[0].encrypted_key for item in (one, other)]
    assert keys[0] != keys[1]
    assert len({CA_KEY.decrypt(key, PKCS1v15()) for key in keys}) == 1


@pytest.mark.interop
@pytest.mark.parametrize("cipher", ["aes128", "aes192", "aes256", "des3"])
def test_openssl_opens_our_envelopes(need: Callable[[str], str], files: Path, cipher: str) -> None:
    result = subprocess.run(
        [need("openssl"), "cms", "-decrypt", "-inform", "DER", "-binary"]
        + ["-recip", "ca.pem", "-inkey", "ca.key"],
        input=enveloped(cipher),
        cwd=files,
        capture_output=True,
        check=True,
    )
    assert result.stdout == CONTENT


@pytest.mark.interop
@pytest.mark.parametrize("cipher", ["-aes128", "-aes256", "-des3"])
@pytest.mark.parametrize("options", [[], ["-stream"], ["-keyid"]])
def test_opens_envelopes_of_openssl_in_der_and_ber(
    need: Callable[[str], str], files: Path, cipher: str, options: list[str]
) -> None:
    """-stream writes indefinite lengths and a constructed encryptedContent, as micromdm does."""
    octets = subprocess.run(
        [need("openssl"), "cms", "-encrypt", "-binary", "-outform", "DER", cipher, *options]
        + ["-in", "content", "-recip", "ca.pem"],
        cwd=files,
        capture_output=True,
        check=True,
    ).stdout
    assert (b"\xa0\x80" in octets) is ("-stream" in options)
    assert opened(octets, legacy=True) == CONTENT


def test_recipient_is_found_by_issuer_and_serial_number() -> None:
    read = envelope.read_envelope(enveloped())
    assert envelope.find_recipient(read, CA) is not None
    other = authority("root-ca", serial=2)
    assert envelope.find_recipient(read, other) is None
    assert refused(lambda: envelope.open_envelope(read, other, CA_KEY)) == "wrong-recipient"


def test_whatever_is_wrong_with_key_and_padding_is_one_error() -> None:
    """Neither Bleichenbacher nor Vaudenay learn which padding failed."""
    read = envelope.read_envelope(enveloped())
    recipient = read.recipients[0]

    def attempt(encrypted_key: bytes, ciphertext: bytes) -> str:
        changed = envelope.EnvelopedData(
            (envelope.Recipient(recipient.rid, encrypted_key),), read.cipher, read.iv, ciphertext
        )
        with pytest.raises(PkiError) as caught:
            envelope.open_envelope(changed, CA, CA_KEY)
        return str(caught.value)

    other_length = envelope._encrypt_key(bytes(5), CA.public_key)
    last = read.ciphertext[:-1] + bytes((read.ciphertext[-1] ^ 0x80,))
    answers = {
        attempt(bytes(128), read.ciphertext),
        attempt(b"\x00" * 127 + b"\x02", read.ciphertext),
        attempt(bytes(7), read.ciphertext),
        attempt(other_length, read.ciphertext),
        attempt(recipient.encrypted_key, last),
    }
    assert answers == {"undecryptable: the encrypted content cannot be read with this key"}


def test_key_that_stands_in_for_a_wrong_one_opens_nothing() -> None:
    """It is no secret: whoever encrypts with it and sends any RSA block must not get through."""
    iv, padding = bytes(16), bytes((16,)) * 16
    encryptor = Cipher(AES(bytes(range(16))), modes.CBC(iv)).encryptor()
    ciphertext = encryptor.update(CONTENT[:32] + padding) + encryptor.finalize()
    rid = envelope.read_envelope(enveloped()).recipients[0].rid
    wrong = envelope._encrypt_key(bytes(5), CA.public_key)
    read = envelope.EnvelopedData((envelope.Recipient(rid, wrong),), "aes128", iv, ciphertext)
    assert refused(lambda: envelope.open_envelope(read, CA, CA_KEY)) == "undecryptable"


def test_key_too_short_for_the_content_key_is_refused() -> None:
    short = router("short.example.com", bits=360)
    assert len(envelope.build_envelope(b"x", short, "aes256", SampleRng())) > 0
    assert refused(lambda: envelope._encrypt_key(bytes(40), short.public_key)) == ("key-too-short")


def test_512_bit_keys_open_their_envelopes_in_legacy_mode() -> None:
    spoke = router("r35.example.com", bits=512)
    key = rsa_key("r35.example.com", 512)
    read = envelope.read_envelope(envelope.build_envelope(CONTENT, spoke, "des", SampleRng()))
    assert envelope.open_envelope(read, spoke, key, legacy=True) == CONTENT
    assert refused(lambda: envelope.open_envelope(read, spoke, key)) == "weak-algorithm"


@pytest.mark.parametrize(
    ("iv", "ciphertext"), [(bytes(8), bytes(16)), (bytes(16), b""), (bytes(16), bytes(17))]
)
def test_unsound_blocks_are_refused(iv: bytes, ciphertext: bytes) -> None:
    algorithm = der.sequence(der.oid("2.16.840.1.101.3.4.1.2"), der.octet_string(iv))
    octets = cms.content_info(
        envelope.ENVELOPED_DATA,
        der.sequence(
            der.integer(0),
            der.set_of(),
            der.sequence(der.oid(cms.DATA), algorithm, der.implicit(0, ciphertext)),
        ),
    )
    assert refused(lambda: envelope.read_envelope(octets)) == "malformed-cms"


def test_damaged_envelopes_raise_nothing_else() -> None:
    octets = enveloped()
    assert survives(lambda damaged: opened(damaged), octets) > len(octets)


def test_message_of_two_megabytes_is_refused_unread() -> None:
    for read in (cms.read_signed, envelope.read_envelope):
        assert refused(lambda read=read: read(bytes(2 << 20))) == "malformed-cms"


def test_signer_may_be_known_beforehand() -> None:
    octets = cms.build_signed(CONTENT, signer=CA, key=CA_KEY, digest="sha256")
    read = cms.read_signed(octets)
    assert refused(lambda: cms.find_signer(read)) == "no-signer"
    found: Certificate = cms.find_signer(read, [router(), CA])
    assert found == CA


def test_certificates_inside_that_cannot_be_read_do_not_matter_beside_the_signers() -> None:
    unreadable = der.sequence(der.integer(1))
    for certificates, reason in (((unreadable, CA.der), None), ((unreadable,), "malformed")):
        octets = cms.build_signed(
            CONTENT, signer=CA, key=CA_KEY, digest="sha256", certificates=certificates
        )
        if reason is None:
            verify(octets)
        else:
            assert refused(lambda octets=octets: verify(octets)) == "malformed-certificate"
