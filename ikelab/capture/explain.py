"""What a signature of phase 1 signs: HASH_I or HASH_R computed again, and the block in the SIG.

Takes the messages of a capture and the secrets of the run. Of the messages before it come g^xi and
g^xr, the cookies and SAi_b, of the message itself, decrypted, the ID (RFC 2409 section 5); the
initiator's ID in aggressive mode stands in message 1.

    HASH_I = prf(SKEYID, g^xi | g^xr | CKY-I | CKY-R | SAi_b | IDii_b)
    HASH_R = prf(SKEYID, g^xr | g^xi | CKY-R | CKY-I | SAi_b | IDir_b)

SIG is the RSA private-key operation on that hash, padded (RFC 2409 section 5.1: PKCS #1 type 1
without a DigestInfo); the public key of the CERT brings the padded block back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

from ikelab.crypto import oakley
from ikelab.crypto.cipher import cipher_for
from ikelab.errors import PkiError, WireError
from ikelab.pki.x509 import format_name, load_certificate
from ikelab.wire.isakmp import HEADER_LENGTH, Header, Payload, parse_header, parse_payloads
from ikelab.wire.numbers import (
    AuthMethod,
    EncryptionAlgorithm,
    ExchangeType,
    Flags,
    HashAlgorithm,
    IkeAttribute,
    PayloadType,
)

_OF_INITIATOR = ("MM5", "AM3")


@dataclass(frozen=True, slots=True)
class PhaseOneSecrets:
    """What the run wrote down of one SA. encryption_key: Ka."""

    encryption_key: bytes
    skeyid: bytes


@dataclass(frozen=True, slots=True)
class Proof:
    """A SIG or HASH taken apart. name: "HASH_I" or "HASH_R". computed: the hash, computed again.

    sent: the payload's octets. padded: the block that a signature of `computed` would hold;
    recovered: the block that is in it (both empty without a signature). signer: the subject of the
    certificate. holds: whether the peer has proved itself.
    """

    frame: int
    message: str
    name: str
    hash_algorithm: str
    method: str
    identity: str
    computed: bytes
    sent: bytes
    padded: bytes
    recovered: bytes
    signer: str
    holds: bool


@dataclass(slots=True)
class _Exchange:
    """What the clear messages of one SA have shown so far. encrypted: those that were not clear."""

    sai_b: bytes = b""
    chosen: Mapping[int, int] = field(default_factory=dict)
    g_xi: bytes = b""
    g_xr: bytes = b""
    id_i: Payload | None = None
    encrypted: list[bytes] = field(default_factory=list)


def explain_proof(
    datagrams: Sequence[tuple[int, bytes]], frame: int, secrets: Mapping[bytes, PhaseOneSecrets]
) -> Proof:
    """The proof in one frame's message of phase 1. datagrams: (frame, IKE message), in order; IKE
    fragments put together as `IkeFragments` does.

    secrets: by initiator cookie. Raises WireError with a sentence where there is no such proof.
    """
    octets = dict(datagrams).get(frame)
    if octets is None:
        raise WireError(f"frame {frame} carries no UDP datagram")
    header = parse_header(octets)
    if header.next_payload == PayloadType.FRAGMENT:
        raise WireError(
            f"frame {frame} holds an IKE fragment: the message is whole in the frame of its last"
        )
    is_main = header.exchange_type == ExchangeType.IDENTITY_PROTECTION
    if (
        not (is_main and header.flags & Flags.ENCRYPTION)
        and header.exchange_type != ExchangeType.AGGRESSIVE
    ):
        raise WireError(
            f"frame {frame} is no message 5 or 6 of main mode, nor 2 or 3 of aggressive mode"
        )
    if not any(header.cky_r):
        raise WireError(f"frame {frame} is message 1 of aggressive mode: it proves nothing")
    known = secrets.get(header.cky_i)
    if known is None or not known.skeyid:
        raise WireError(f"the capture's keys have none of the SA of frame {frame}")
    exchange = _read_before(datagrams, frame, header)
    return _explain(frame, header, octets, exchange, known)


def _read_before(datagrams: Sequence[tuple[int, bytes]], frame: int, header: Header) -> _Exchange:
    """The exchange up to a frame; with that frame, where it is clear."""
    exchange = _Exchange()
    for number, octets in datagrams:
        if number > frame or octets[:8] != header.cky_i or len(octets) < HEADER_LENGTH:
            continue
        before = parse_header(octets)
        if before.exchange_type != header.exchange_type:
            continue
        if not before.flags & Flags.ENCRYPTION:
            _read_clear(exchange, before, octets)
        elif number < frame:
            exchange.encrypted.append(octets)
    return exchange


def _read_clear(exchange: _Exchange, header: Header, octets: bytes) -> None:
    if header.next_payload == PayloadType.FRAGMENT:
        return
    payloads = parse_payloads(header.next_payload, octets[HEADER_LENGTH:], offset=HEADER_LENGTH)
    first = not any(header.cky_r)
    for payload in payloads:
        if payload.type == PayloadType.SA and first:
            exchange.sai_b = payload.body
        elif payload.type == PayloadType.SA:
            transform = payload.packet.proposals[0].transforms[0]
            exchange.chosen = {
                int(kind): value if isinstance(value, int) else int.from_bytes(value, "big")
                for kind, value in transform.attributes
            }
        elif payload.type == PayloadType.ID and first:
            exchange.id_i = payload
        elif payload.type == PayloadType.KE and not exchange.g_xi:
            exchange.g_xi = bytes(payload.packet.data)
        elif payload.type == PayloadType.KE and bytes(payload.packet.data) != exchange.g_xi:
            exchange.g_xr = bytes(payload.packet.data)


def _explain(
    frame: int, header: Header, octets: bytes, exchange: _Exchange, known: PhaseOneSecrets
) -> Proof:
    if not exchange.chosen or not exchange.g_xr or not exchange.sai_b:
        raise WireError("the messages before it, which agree on the keys, are not in the capture")
    algorithm = HashAlgorithm(exchange.chosen[IkeAttribute.HASH_ALGORITHM])
    message, payloads = _open(frame, header, octets, exchange, known.encryption_key)
    by_initiator = message in _OF_INITIATOR
    identity = exchange.id_i if message == "AM3" else _one(payloads, PayloadType.ID)
    if identity is None:
        raise WireError("message 1, which has the initiator's ID, is not in the capture")
    function = oakley.hash_i if by_initiator else oakley.hash_r
    computed = function(
        algorithm,
        known.skeyid,
        exchange.g_xi,
        exchange.g_xr,
        header.cky_i,
        header.cky_r,
        exchange.sai_b,
        identity.body,
    )
    method = AuthMethod(exchange.chosen[IkeAttribute.AUTHENTICATION_METHOD])
    return _compare(frame, message, payloads, identity, computed, algorithm, method)


def _open(
    frame: int, header: Header, octets: bytes, exchange: _Exchange, key: bytes
) -> tuple[str, Sequence[Payload]]:
    """Which message it is, and its payloads, decrypted.

    Message 5 begins the chain of IVs; of several (a wrong one and a right one, one sent again)
    message 6 goes on from the one that the responder took.
    """
    body, first = octets[HEADER_LENGTH:], header.next_payload
    is_main = header.exchange_type == ExchangeType.IDENTITY_PROTECTION
    if not header.flags & Flags.ENCRYPTION:
        payloads = parse_payloads(first, body, offset=HEADER_LENGTH)
        has_sa = any(payload.type == PayloadType.SA for payload in payloads)
        return ("AM2" if has_sa else "AM3"), payloads
    cipher = cipher_for(
        EncryptionAlgorithm(exchange.chosen[IkeAttribute.ENCRYPTION_ALGORITHM]),
        exchange.chosen.get(IkeAttribute.KEY_LENGTH),
    )
    algorithm = HashAlgorithm(exchange.chosen[IkeAttribute.HASH_ALGORITHM])
    first_iv = oakley.first_iv(algorithm, exchange.g_xi, exchange.g_xr, cipher.block)
    ivs = [("MM5" if is_main else "AM3", first_iv)]
    ivs += [("MM6", one[-cipher.block :]) for one in reversed(exchange.encrypted) if is_main]
    for message, iv in ivs:
        try:
            body = cipher.decrypt(key, iv, octets[HEADER_LENGTH:])
            found = parse_payloads(first, body, offset=HEADER_LENGTH, padding=True)
        except WireError:
            continue
        return message, found
    raise WireError(f"frame {frame} does not decrypt with the keys of its SA")


def _one(payloads: Sequence[Payload], kind: PayloadType) -> Payload:
    found = [payload for payload in payloads if payload.type == kind]
    if not found:
        raise WireError(f"the message has no {kind.name} payload")
    return found[0]


def _compare(
    frame: int,
    message: str,
    payloads: Sequence[Payload],
    identity: Payload,
    computed: bytes,
    algorithm: HashAlgorithm,
    method: AuthMethod,
) -> Proof:
    data = bytes(identity.packet.data)
    told = ".".join(map(str, data)) if len(data) == 4 else data.decode("ascii", "backslashreplace")
    padded = recovered = b""
    signer = ""
    if method is AuthMethod.RSA_SIG:
        sent = bytes(_one(payloads, PayloadType.SIG).packet.data)
        padded, recovered, signer = _open_signature(payloads, sent, computed)
        holds = bool(recovered) and recovered == padded
    else:
        sent = bytes(_one(payloads, PayloadType.HASH).packet.data)
        holds = sent == computed
    return Proof(
        frame,
        message,
        "HASH_I" if message in _OF_INITIATOR else "HASH_R",
        algorithm.name,
        method.name,
        told,
        computed,
        sent,
        padded,
        recovered,
        signer,
        holds,
    )


def _open_signature(
    payloads: Sequence[Payload], sent: bytes, computed: bytes
) -> tuple[bytes, bytes, str]:
    """The block as it should be, as it is, and whose certificate it was."""
    der = bytes(_one(payloads, PayloadType.CERT).packet.data)
    try:
        certificate = load_certificate(der)
        key = load_der_public_key(certificate.public_key_info)
    except (PkiError, ValueError) as error:
        raise WireError(f"the CERT payload cannot be read: {error}") from error
    if not isinstance(key, RSAPublicKey):
        raise WireError("the certificate has no RSA key")
    numbers = key.public_numbers()
    length = (numbers.n.bit_length() + 7) // 8
    block = pow(int.from_bytes(sent, "big"), numbers.e, numbers.n).to_bytes(length, "big")
    # 00 | 01 | FF ... FF | 00 | HASH (RFC 2313 section 8.1)
    padding = b"\xff" * (length - len(computed) - 3)
    return b"\0\1" + padding + b"\0" + computed, block, format_name(certificate.subject)


def lines(proof: Proof) -> list[str]:
    """The proof for a person: what was computed, what was sent, whether they agree."""
    found = [
        f"frame {proof.frame}, {proof.message}: {proof.method}, prf {proof.hash_algorithm}",
        f"identity: {proof.identity}",
        f"{proof.name}, computed from SKEYID: {proof.computed.hex()}",
    ]
    if not proof.padded:
        verdict = "the same: the peer has the key" if proof.holds else "another: the keys differ"
        return [*found, f"HASH payload: {proof.sent.hex()}", verdict]
    found.append(f"SIG payload, {len(proof.sent)} octets: {proof.sent.hex()}")
    found.append(f"signed with the key of: {proof.signer}")
    found.append(f"padded block: {_block(proof.padded)}")
    found.append(f"recovered block: {_block(proof.recovered)}")
    if proof.holds:
        return [*found, f"the same: whoever signed has the private key and knows {proof.name}"]
    return [*found, "not the same: the signature is not of this hash, or not of this key"]


def _block(block: bytes) -> str:
    """A padded block with its long run of FF counted; whole where it has none."""
    rest = block[2:].lstrip(b"\xff")
    filling = len(block) - 2 - len(rest)
    if block[:2] != b"\0\1" or rest[:1] != b"\0":
        return block.hex()
    return f"00 01 | ff x {filling} | 00 | {rest[1:].hex()}"
