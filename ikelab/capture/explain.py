"""What a signature of phase 1 signs: HASH_I or HASH_R computed again, and the block in the SIG.

Takes the datagrams of a capture and the secrets of the run. Of the messages before it come g^xi and
g^xr, the cookies and SAi_b, of the message itself, decrypted, the ID (RFC 2409 section 5):

    HASH_I = prf(SKEYID, g^xi | g^xr | CKY-I | CKY-R | SAi_b | IDii_b)
    HASH_R = prf(SKEYID, g^xr | g^xi | CKY-R | CKY-I | SAi_b | IDir_b)

SIG is the RSA private-key operation on that hash, padded (RFC 2409 section 5.1: PKCS #1 type 1
without a DigestInfo); the public key of the CERT brings the padded block back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

from ikelab.crypto import oakley
from ikelab.crypto.cipher import cipher_for
from ikelab.errors import PkiError, WireError
from ikelab.pki.x509 import format_name, load_certificate
from ikelab.wire.isakmp import Header, Payload, parse_header, parse_payloads
from ikelab.wire.numbers import (
    AuthMethod,
    EncryptionAlgorithm,
    ExchangeType,
    HashAlgorithm,
    IkeAttribute,
    PayloadType,
)

_HEADER = 28


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
    """What the messages of one SA have shown so far. last_block: of the newest encrypted one."""

    sai_b: bytes = b""
    chosen: Mapping[int, int] | None = None
    g_xi: bytes = b""
    g_xr: bytes = b""
    last_block: bytes = b""


def explain_proof(
    datagrams: Sequence[tuple[int, bytes]], frame: int, secrets: Mapping[bytes, PhaseOneSecrets]
) -> Proof:
    """The proof in one frame's main mode message. datagrams: (frame, UDP payload), in order.

    secrets: by initiator cookie. Raises WireError with a sentence where there is no such proof.
    """
    octets = dict(datagrams).get(frame)
    if octets is None:
        raise WireError(f"frame {frame} carries no UDP datagram")
    header = parse_header(octets)
    if header.exchange_type != ExchangeType.IDENTITY_PROTECTION or not header.flags & 1:
        raise WireError(f"frame {frame} is no message 5 or 6 of main mode")
    known = secrets.get(header.cky_i)
    if known is None or not known.skeyid:
        raise WireError(f"the capture's keys have none of the SA of frame {frame}")
    exchange, earlier = _read_before(datagrams, frame, header)
    return _explain(frame, header, octets, exchange, earlier, known)


def _read_before(
    datagrams: Sequence[tuple[int, bytes]], frame: int, header: Header
) -> tuple[_Exchange, bytes]:
    """The exchange up to a frame, and message 5 if this is another message, else nothing."""
    exchange, earlier = _Exchange(), b""
    wanted = dict(datagrams)[frame]
    for number, octets in datagrams:
        if number >= frame or octets[:8] != header.cky_i or len(octets) < _HEADER:
            continue
        before = parse_header(octets)
        if before.exchange_type != ExchangeType.IDENTITY_PROTECTION:
            continue
        if before.flags & 1:
            earlier = earlier or (octets if octets != wanted else b"")
        else:
            _read_clear(exchange, before, octets)
    return exchange, earlier


def _read_clear(exchange: _Exchange, header: Header, octets: bytes) -> None:
    payloads = parse_payloads(header.next_payload, octets[_HEADER:], offset=_HEADER)
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
        elif payload.type == PayloadType.KE and not exchange.g_xi:
            exchange.g_xi = bytes(payload.packet.data)
        elif payload.type == PayloadType.KE and bytes(payload.packet.data) != exchange.g_xi:
            exchange.g_xr = bytes(payload.packet.data)


def _explain(
    frame: int,
    header: Header,
    octets: bytes,
    exchange: _Exchange,
    earlier: bytes,
    known: PhaseOneSecrets,
) -> Proof:
    if exchange.chosen is None or not exchange.g_xr or not exchange.sai_b:
        raise WireError("messages 1 to 4 of this SA are not in the capture")
    chosen = exchange.chosen
    algorithm = HashAlgorithm(chosen[IkeAttribute.HASH_ALGORITHM])
    method = AuthMethod(chosen[IkeAttribute.AUTHENTICATION_METHOD])
    cipher = cipher_for(
        EncryptionAlgorithm(chosen[IkeAttribute.ENCRYPTION_ALGORITHM]),
        chosen.get(IkeAttribute.KEY_LENGTH),
    )
    by_initiator = not earlier
    iv = oakley.first_iv(algorithm, exchange.g_xi, exchange.g_xr, cipher.block)
    if not by_initiator:
        iv = earlier[-cipher.block :]
    body = cipher.decrypt(known.encryption_key, iv, octets[_HEADER:])
    payloads = parse_payloads(header.next_payload, body, offset=_HEADER, padding=True)
    function = oakley.hash_i if by_initiator else oakley.hash_r
    computed = function(
        algorithm,
        known.skeyid,
        exchange.g_xi,
        exchange.g_xr,
        header.cky_i,
        header.cky_r,
        exchange.sai_b,
        _one(payloads, PayloadType.ID).body,
    )
    return _compare(frame, payloads, computed, algorithm, method, by_initiator=by_initiator)


def _one(payloads: Sequence[Payload], kind: PayloadType) -> Payload:
    found = [payload for payload in payloads if payload.type == kind]
    if not found:
        raise WireError(f"the message has no {kind.name} payload")
    return found[0]


def _compare(
    frame: int,
    payloads: Sequence[Payload],
    computed: bytes,
    algorithm: HashAlgorithm,
    method: AuthMethod,
    *,
    by_initiator: bool,
) -> Proof:
    identity = _one(payloads, PayloadType.ID).packet
    data = bytes(identity.data)
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
        "MM5" if by_initiator else "MM6",
        "HASH_I" if by_initiator else "HASH_R",
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
