"""E11: messages of SCEP that are broken on purpose, and what their answers give away."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15

from ikelab.pki import cms, der, envelope
from ikelab.pki.algorithms import rsa_encryption
from ikelab.pki.scep import MessageType
from tests.hostile.ca_target import CaTarget, ca
from tests.hostile.registry import Seen, Shot, case
from tests.scep_requester import Requester

BAD_CHECK, BAD_ID, BAD_ALG = "FAILURE badMessageCheck", "FAILURE badCertId", "FAILURE badAlg"
TURNED_AWAY = "HTTP 400"

_MESSAGE_TYPE, _TRANSACTION = "2.16.840.1.113733.1.9.2", "2.16.840.1.113733.1.9.7"
_SENDER_NONCE = "2.16.840.1.113733.1.9.5"
_COMPRESSED_DATA = "1.2.840.113549.1.9.16.1.9"
_OIDS = {"aes128": "2.16.840.1.101.3.4.1.2", "des3": "1.2.840.113549.3.7", "des": "1.3.14.3.2.7"}


@dataclass(frozen=True, slots=True)
class Envelope:
    """The parts of an EnvelopedData for the CA. cipher: dotted."""

    issuer: bytes
    serial: int
    encrypted_key: bytes
    iv: bytes
    ciphertext: bytes
    cipher: str

    @classmethod
    def of(cls, target: CaTarget, octets: bytes) -> Envelope:
        """Of a captured message."""
        content = cms.read_signed(octets).content
        assert content is not None
        read = envelope.read_envelope(content)
        own = target.victim.ca
        key = read.recipients[0].encrypted_key
        return cls(own.issuer, own.serial, key, read.iv, read.ciphertext, _OIDS[read.cipher])

    def build(self) -> bytes:
        recipient = der.sequence(
            der.integer(0),
            cms.issuer_and_serial(self.issuer, self.serial),
            rsa_encryption(),
            der.octet_string(self.encrypted_key),
        )
        encrypted = der.sequence(
            der.oid(cms.DATA),
            der.sequence(der.oid(self.cipher), der.octet_string(self.iv)),
            der.implicit(0, self.ciphertext),
        )
        content = der.sequence(der.integer(0), der.set_of(recipient), encrypted)
        return cms.content_info(envelope.ENVELOPED_DATA, content)

    def flipped(self, block: int, bits: int = 0x80) -> Envelope:
        """The last octet of a block changed, counted from the end: -1 is the last one."""
        octets = bytearray(self.ciphertext)
        octets[len(octets) + (block + 1) * len(self.iv) - 1] ^= bits
        return replace(self, ciphertext=bytes(octets))


def signed(asker: Requester, content: bytes | None, kind: int = MessageType.PKCS_REQ) -> bytes:
    """A pkiMessage around anything, well signed."""

    def text(value: str) -> bytes:
        return der.tlv(der.PRINTABLE_STRING, value.encode())

    signer = asker.self_signed()
    return cms.build_signed(
        content,
        signer=signer,
        key=asker.key,
        digest="sha256",
        attributes=[
            cms.attribute(_MESSAGE_TYPE, text(str(int(kind)))),
            cms.attribute(_TRANSACTION, text(asker.transaction_id)),
            cms.attribute(_SENDER_NONCE, der.octet_string(asker.nonce)),
        ],
        certificates=(signer.der,),
    )


# --- oracles --------------------------------------------------------------------------------------


@case(
    "E11",
    "decryption-oracle",
    precedent="Bleichenbacher 1998, Vaudenay 2002; a PKCS #10 may hold a one-time password",
    expected="whatever a captured ciphertext decrypts to, the answer is the same",
    target=ca(),
)
def decryption_oracle(target: CaTarget) -> Iterator[Shot]:
    victim, evil = target.victim, target.evil
    captured = Envelope.of(target, victim.pkcs_req(challenge="0123456789ABCDEF"))
    target.secrets.append("0123456789ABCDEF")
    waiting = replace(evil, transaction_id="MINE")
    yield Shot("a request of its own", target.posting(waiting.pkcs_req()), "PENDING", "queued")
    forms = _forms(target, captured)
    for kind, asker, answer in (
        (MessageType.PKCS_REQ, evil, BAD_CHECK),
        (MessageType.RENEWAL_REQ, evil, BAD_CHECK),
        (MessageType.CERT_POLL, evil, BAD_ID),
        (MessageType.CERT_POLL, waiting, "PENDING"),
        (MessageType.GET_CERT, evil, BAD_ID),
        (MessageType.GET_CRL, evil, BAD_ID),
    ):
        lengths: set[int] = set()
        for what, form in forms:
            octets = signed(asker, form.build(), kind)
            fire = _measured(target, octets, lengths)
            yield Shot(f"{kind.name} with {what}", fire, answer)
        assert len(lengths) == 1, f"{kind.name}: answers of {sorted(lengths)} octets"


class OldCaTarget(CaTarget):
    """A CA of `mode: legacy`, whose clients encrypt with DES and sign with SHA-1 or MD5."""

    legacy = True


@case(
    "E11c",
    "decryption-oracle-of-2009",
    precedent="the same in 3DES, whose blocks of 8 octets are read in half the tries",
    expected="whatever a captured ciphertext decrypts to, the answer is the same",
    target=ca(OldCaTarget),
)
def decryption_oracle_of_2009(target: CaTarget) -> Iterator[Shot]:
    for cipher in ("des3", "des"):
        victim = replace(target.victim, cipher=cipher, transaction_id=f"VICTIM {cipher}")
        captured = Envelope.of(target, victim.pkcs_req(challenge="0123456789ABCDEF"))
        lengths: set[int] = set()
        for what, form in _forms(target, captured):
            octets = signed(target.evil, form.build())
            yield Shot(f"{cipher} with {what}", _measured(target, octets, lengths), BAD_CHECK)
        assert len(lengths) == 1, f"{cipher}: answers of {sorted(lengths)} octets"
    target.secrets.append("0123456789ABCDEF")


def _forms(target: CaTarget, captured: Envelope) -> list[tuple[str, Envelope]]:
    public = target.victim.ca.public_key
    size = public.key_size // 8
    block = len(captured.iv)
    return [
        ("the captured ciphertext as it is", captured),
        ("another recipient", replace(captured, serial=7)),
        ("its padding broken", captured.flipped(-2)),
        ("its padding of another length", captured.flipped(-2, 0x01)),
        ("good padding, garbage inside", captured.flipped(-5)),
        ("garbage in front", replace(captured, iv=bytes(block))),
        ("fewer blocks", replace(captured, ciphertext=captured.ciphertext[:-block])),
        ("an RSA block that is none", replace(captured, encrypted_key=b"\x01" * size)),
        ("an RSA block of one octet", replace(captured, encrypted_key=b"\x01")),
        ("an RSA block above the modulus", replace(captured, encrypted_key=b"\xff" * size)),
        *(
            (
                f"a key of {n} octets",
                replace(captured, encrypted_key=public.encrypt(bytes(n), _V15)),
            )
            for n in (0, 7, 8, 15, 16, 24)
        ),
    ]


_V15 = PKCS1v15()


def _measured(target: CaTarget, octets: bytes, lengths: set[int]) -> Callable[[], Seen]:
    def fire() -> Seen:
        out = target.evil.post(octets)
        lengths.add(len(out.body))
        return target.seen(out)

    return fire


# --- broken messages ------------------------------------------------------------------------------


@case(
    "E11b",
    "broken-cms",
    precedent="smallstep #2100 and kin, strongSwan CVE-2026-35329",
    expected="no answer that costs more than the question, and none that helps to ask better",
    target=ca(),
    repeats=200,
)
def broken_cms(target: CaTarget) -> Iterator[Shot]:
    evil = target.evil
    good = Envelope.of(target, evil.pkcs_req())
    for what, octets, reason in (
        ("an empty body", b"", "malformed-cms"),
        ("no CMS", b"GET / HTTP/1.0\r\n\r\n", "malformed-cms"),
        ("no signer", cms.build_degenerate([evil.self_signed().der]), "no-signer"),
        ("two signers", _two_signers(evil, good), "malformed-cms"),
        ("20,000 indefinite lengths", b"\x30\x80" * 20_000, "malformed-cms"),
        ("20,000 nested sequences", _nested(20_000), "malformed-cms"),
        ("a length of 4 GB", b"\x30\x84\xff\xff\xff\xff", "malformed-cms"),
        ("a length of 126 octets", b"\x30\xfe" + b"\xff" * 126, "malformed-cms"),
        ("a zip of 10 MB", _zip(), "malformed-cms"),
        ("65,537 octets", bytes(65_537), "request-too-large"),
    ):
        yield Shot(what, target.posting(octets), TURNED_AWAY, reason)
    wrong_digest = signed(evil, good.build()).replace(evil.nonce, bytes(len(evil.nonce)))
    yield Shot("a changed attribute", target.posting(wrong_digest), BAD_CHECK, "bad-signature")
    for what, content, answer, reason in (
        ("no envelope", None, "FAILURE badRequest", "no-content"),
        ("another recipient", replace(good, serial=7).build(), BAD_CHECK, "wrong-recipient"),
        ("single DES", _single_des(good).build(), BAD_ALG, "weak-algorithm"),
        (
            "triple DES",
            replace(_single_des(good), cipher=_OIDS["des3"]).build(),
            BAD_ALG,
            "weak-algorithm",
        ),
    ):
        yield Shot(what, target.posting(signed(evil, content)), answer, reason)
    for what, content, reason in (
        ("an IV of 8 octets for AES", replace(good, iv=bytes(8)).build(), "malformed-cms"),
        ("a ciphertext of 15 octets", replace(good, ciphertext=bytes(15)).build(), "malformed-cms"),
        ("no ciphertext", replace(good, ciphertext=b"").build(), "malformed-cms"),
        ("RC4", replace(good, cipher="1.2.840.113549.3.4").build(), "unsupported-algorithm"),
    ):
        yield Shot(what, target.posting(signed(evil, content)), TURNED_AWAY, reason)
    for number in (3, 18):
        octets = signed(evil, good.build(), number)
        yield Shot(
            f"message type {number}", target.posting(octets), "FAILURE badRequest", "message-type"
        )
    octets = signed(evil, good.build(), 99)
    yield Shot("message type 99", target.posting(octets), TURNED_AWAY, "malformed-cms")


def _two_signers(asker: Requester, good: Envelope) -> bytes:
    """The last SET of a message, its signers, with the only one twice."""
    outer = der.parse(signed(asker, good.build()))
    fields = outer.children()[1].children()[0].children()
    [signer] = fields[-1].children()
    parts = [field.raw for field in fields[:-1]]
    return cms.content_info(cms.SIGNED_DATA, der.sequence(*parts, der.tlv(der.SET, signer.raw * 2)))


def _nested(depth: int) -> bytes:
    octets = b""
    while len(octets) < min(depth * 2, 60_000):
        octets = der.sequence(octets)
    return octets


def _zip() -> bytes:
    """CompressedData (RFC 3274): the one form of CMS that grows."""
    squeezed = zlib.compress(bytes(10_000_000), 9)
    inner = der.sequence(der.oid(cms.DATA), der.explicit(0, der.octet_string(squeezed)))
    return cms.content_info(_COMPRESSED_DATA, der.sequence(der.integer(0), inner))


def _single_des(good: Envelope, cipher: str = "des") -> Envelope:
    return replace(good, cipher=_OIDS[cipher], iv=bytes(8))
