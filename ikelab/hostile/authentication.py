"""Family C: keys that are none, proofs that prove nothing, names of others."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from ikelab.crypto import dh, oakley
from ikelab.hostile.hub import SILENCE, Assault
from ikelab.hostile.machine import first_iv, wrong_proof
from ikelab.hostile.registry import Shot, case
from ikelab.isakmp.events import PlainMessage
from ikelab.isakmp.state import PayloadRule
from ikelab.script import MM1, MM2, MM3, MM5, MM6, Message, Peer
from ikelab.script.message import patched
from ikelab.wire.isakmp import HEADER_LENGTH, body_of, parse_header, parse_payloads
from ikelab.wire.layer import Layer
from ikelab.wire.numbers import (
    AuthMethod,
    EncryptionAlgorithm,
    Group,
    HashAlgorithm,
    IdType,
    IkeAttribute,
)

BAD_ID, BAD_SIG = "id-not-in-certificate", "bad-signature"


def message_5(peer: Peer, octets: bytes) -> Message:
    """A peer's unsent message 5, in clear, to be changed."""
    return Message.read(octets, peer.keys, first_iv(peer))


def sealed_5(peer: Peer, message: Message) -> bytes:
    """Message 5 as it goes out."""
    return message.seal(peer.keys, first_iv(peer))


def hash_i(peer: Peer, id_b: bytes) -> bytes:
    """What an initiator proves itself with (RFC 2409 section 5)."""
    sa, keys = peer.sa, peer.keys
    ends = (sa.g_xi, sa.g_xr, sa.cky_i, sa.cky_r)
    return oakley.hash_i(keys.hash, keys.skeyids.skeyid, *ends, sa.sai_b, id_b)


# --- the key exchange -----------------------------------------------------------------------------


@case(
    "C01",
    "public-values",
    precedent="libreswan CVE-2015-3240; RFC 6989; charon-tkm CVE-2023-41913",
    expected="refused before any key is made",
)
def public_values(attack: Assault) -> Iterator[Shot]:
    """g^x outside of the group, of other lengths, or not there."""
    peer, octets = attack.before(MM3)
    assert peer.sa.policy is not None
    p = dh.prime(peer.sa.policy.group)
    size = dh.public_length(peer.sa.policy.group)
    for what, value in (
        *((f"g^x = {name}", number.to_bytes(size, "big")) for name, number in _edges(p)),
        ("g^x of no octets", b""),
        ("g^x of one octet", b"\2"),
        ("an octet short", b"\2" * (size - 1)),
        ("an octet long", b"\0" + b"\2" * size),
        ("zeros in front of a good one", bytes(64) + b"\2" * size),
    ):
        yield attack.shot(what, _with_ke(octets, value), reason="bad-key-exchange", peer=peer)
    for what, keys in (("no KE", 0), ("two KE", 2)):
        message = Message.read(octets)
        good = message.one("ke")
        message.payloads.remove(good)
        message.payloads += [good] * keys
        yield attack.shot(what, message.build(), reason="payload-missing", peer=peer)
    yield attack.shot("a good one", octets, "MM4", peer=peer)


def _edges(p: int) -> list[tuple[str, int]]:
    return [("0", 0), ("1", 1), ("p-1", p - 1), ("p", p), ("p+1", p + 1)]


def _with_ke(octets: bytes, value: bytes) -> bytes:
    message = Message.read(octets)
    message.change("ke", value)
    return message.build()


@case(
    "C02",
    "nonces",
    precedent="RFC 2409 section 5: 8 to 256 octets",
    expected="refused",
)
def nonces(attack: Assault) -> Iterator[Shot]:
    """Nonces that are too short, too long, or missing."""
    peer, octets = attack.before(MM3)
    for length in (0, 1, 7, 257, 4000):
        message = Message.read(octets)
        message.change("nonce", bytes(length))
        built = message.build()
        yield attack.shot(f"a nonce of {length} octets", built, reason="bad-nonce", peer=peer)
    message = Message.read(octets)
    message.change("nonce", None)
    yield attack.shot("no nonce", message.build(), reason="payload-missing", peer=peer)


# --- signatures -----------------------------------------------------------------------------------


@case(
    "C03",
    "forged-padding",
    precedent="Bleichenbacher 2006; strongSwan CVE-2018-16151, libreswan CVE-2026-50721",
    expected="the whole padded block is compared: nothing inside is parsed",
)
def forged_padding(attack: Assault) -> Iterator[Shot]:
    """Blocks that a lenient verifier takes, signed with the true key."""
    for what in _blocks(b"", 256):
        peer, octets = attack.before(MM5, "rsa")
        message = message_5(peer, octets)
        proof = hash_i(peer, body_of(message.one("id")))
        key = _key(peer)
        block = _blocks(proof, key.key_size // 8)[what]
        message.change("sig", _raw(key, block))
        yield attack.shot(what, sealed_5(peer, message), reason=BAD_SIG, peer=peer)


def _key(peer: Peer) -> RSAPrivateKey:
    return peer.keys_held.signing_key("")


def _raw(key: RSAPrivateKey, block: bytes) -> bytes:
    """RSA without any padding."""
    numbers = key.private_numbers()
    value = pow(int.from_bytes(block, "big"), numbers.d, numbers.public_numbers.n)
    return value.to_bytes(key.key_size // 8, "big")


_SHA256_INFO = bytes.fromhex("3031300d060960864801650304020105000420")


def _blocks(proof: bytes, size: int) -> dict[str, bytes]:
    """What stands under a signature: 00 01 FF .. FF 00 HASH where all is well."""

    def padded(kind: int, content: bytes, filler: bytes = b"\xff") -> bytes:
        return bytes([0, kind]) + filler * (size - 3 - len(content)) + b"\0" + content

    short = b"\0\1" + b"\xff" * 8 + b"\0" + proof
    return {
        "a DigestInfo inside": padded(1, _SHA256_INFO + proof),
        "short padding, garbage behind": short + b"\xaa" * (size - len(short)),
        "short padding, zeros behind": short + bytes(size - len(short)),
        "half of the HASH": padded(1, proof[:16]),
        "no HASH": padded(1, b""),
        "HASH and one octet": padded(1, proof + b"\0"),
        "block type 2": padded(2, proof),
        "block type 0": padded(0, proof, b"\0"),
        "padding of other octets": padded(1, proof, b"\xfe"),
        "no padding": proof.rjust(size, b"\0"),
    }


@case(
    "C04",
    "odd-signatures",
    precedent="strongSwan CVE-2017-9022, libreswan CVE-2026-14957",
    expected="refused",
)
def odd_signatures(attack: Assault) -> Iterator[Shot]:
    """SIG of values and lengths that no signature has."""
    names = ("zero", "one", "the modulus", "above it", "an octet short", "an octet long", "empty")
    for what in names:
        peer, octets = attack.before(MM5, "rsa")
        message = message_5(peer, octets)
        message.change("sig", _odd(_key(peer), bytes(message.one("sig").data))[what])
        yield attack.shot(f"SIG: {what}", sealed_5(peer, message), reason=BAD_SIG, peer=peer)


def _odd(key: RSAPrivateKey, good: bytes) -> dict[str, bytes]:
    n, size = key.public_key().public_numbers().n, key.key_size // 8
    return {
        "zero": bytes(size),
        "one": (1).to_bytes(size, "big"),
        "the modulus": n.to_bytes(size, "big"),
        "above it": (n + int.from_bytes(good, "big")).to_bytes(size + 1, "big"),
        "an octet short": good[1:],
        "an octet long": b"\0" + good,
        "empty": b"",
    }


@case(
    "C05",
    "signature-status",
    precedent="strongSwan CVE-2013-2944: an error was taken for success",
    expected="only a valid signature authenticates, not an invalid one, not an error",
)
def signature_status(attack: Assault) -> Iterator[Shot]:
    """A valid signature, an invalid one, and one that makes the verifier fail."""
    for what, answer, reason in (
        ("invalid", SILENCE, BAD_SIG),
        ("an error", SILENCE, BAD_SIG),
        ("valid", "MM6 sealed", ""),
    ):
        peer, octets = attack.before(MM5, "rsa")
        message = message_5(peer, octets)
        good = bytes(message.one("sig").data)
        forms = {"invalid": bytes([good[0] ^ 1]) + good[1:], "an error": good * 3, "valid": good}
        message.change("sig", forms[what])
        yield attack.shot(what, sealed_5(peer, message), answer, reason, peer=peer)


# --- identities -----------------------------------------------------------------------------------


def _as(attack: Assault, method: str, **identity: object) -> tuple[Peer, bytes]:
    """A member that calls itself something else, and proves that it means it."""
    peer = attack.member(method)
    peer.on(MM5).mutate(id=identity).prove().keep()
    attack.establish(peer)
    return peer, peer.kept[-1].octets


@case(
    "C06",
    "another-name",
    precedent="RFC 4945 section 3.1",
    expected="what the ID says must stand in the certificate; no profile by the ID alone",
)
def another_name(attack: Assault) -> Iterator[Shot]:
    """A good certificate and key under the name of somebody else."""
    for what, kind, data in (
        ("the hub's name", IdType.ID_FQDN, b"hub.cisco.example"),
        ("an address of another", IdType.ID_IPV4_ADDR, bytes([192, 0, 2, 99])),
        ("a mailbox", IdType.ID_USER_FQDN, b"root@cisco.example"),
        ("no name at all", IdType.ID_FQDN, b""),
        ("another DN", IdType.ID_DER_ASN1_DN, bytes.fromhex("300d310b300906035504060c024445")),
        ("a key ID", IdType.ID_KEY_ID, b"sesame"),
    ):
        peer, octets = _as(attack, "rsa", id_type=kind, data=data)
        reason = "id-syntax" if not data else BAD_ID
        yield attack.shot(what, octets, reason=reason, peer=peer)


@case(
    "C07",
    "impostor",
    precedent="the guide's impostor: a key without the certificate",
    expected="the signature does not fit the certificate",
)
def impostor(attack: Assault) -> Iterator[Shot]:
    """The certificate of another, whose key is elsewhere."""
    other = attack.establish(attack.member("rsa"))
    *_, seen = _taken(other, MM6)
    stolen, theirs = bytes(seen.one("cert").data), seen.one("id")
    peer = attack.member("rsa")
    peer.on(MM5).mutate(
        cert=stolen, id={"id_type": int(theirs.id_type), "data": bytes(theirs.data)}
    ).prove().keep()
    attack.establish(peer)
    yield attack.shot("the hub's own certificate", peer.kept[-1].octets, reason=BAD_SIG, peer=peer)
    peer, octets = attack.before(MM5, "rsa")
    message = message_5(peer, octets)
    message.change("cert", None)
    yield attack.shot(
        "no certificate", sealed_5(peer, message), reason="no-certificate-from-peer", peer=peer
    )


def _taken(peer: Peer, rule: PayloadRule) -> Iterator[Message]:
    """Messages of a name that a peer took, in clear."""
    for action in peer.of(PlainMessage):
        if action.message == rule.message and not action.sent:
            body = action.plaintext[HEADER_LENGTH:]
            found = parse_payloads(parse_header(action.datagram).next_payload, body)
            yield Message(parse_header(action.datagram), [payload.packet for payload in found])


@case(
    "C08",
    "odd-identities",
    precedent="strongSwan CVE-2013-6075",
    expected="refused, and printed escaped and short",
)
def odd_identities(attack: Assault) -> Iterator[Shot]:
    """IDs of no type, of no length, and with more than letters in them."""
    for what, kind, data, reason in (
        ("type 0", 0, b"x", "id-type"),
        ("type 255", 255, b"x", "id-type"),
        ("an address of 3 octets", 1, b"abc", "id-length"),
        ("an address of 16 octets", 1, bytes(16), "id-length"),
        ("a name of 60,000 octets", 2, b"a" * 60_000, "id-length"),
        ("an escape sequence", 2, b"\x1b[2Jspoke", "id-syntax"),
        ("a line of its own", 2, b"spoke\n%SYS-5-CONFIG_I: Configured", "id-syntax"),
        ("a NUL in the middle", 2, b"spoke1.example.com\0.evil.example", "id-syntax"),
        ("octets above 127", 2, "spöke".encode(), "id-syntax"),
    ):
        peer, octets = _as(attack, "", id_type=kind, data=data)
        yield attack.shot(what, octets, reason=reason, peer=peer)
    if not attack.takes("rsa"):
        return
    nested = b"\x30\x80" * 500
    for what, data in (("a DN cut off", b"\x30\x82\xff\xff\x31"), ("a nested DN", nested)):
        peer, octets = _as(attack, "rsa", id_type=9, data=data)
        yield attack.shot(what, octets, reason=BAD_ID, peer=peer)


# --- the encryption -------------------------------------------------------------------------------


@case(
    "C09",
    "broken-encryption",
    precedent="padding oracles",
    expected="silence, whatever is wrong",
)
def broken_encryption(attack: Assault) -> Iterator[Shot]:
    """Message 5 with everything wrong that can be."""
    peer, octets = attack.before(MM5)
    for what, changed in (
        ("no whole block", _resized(octets + b"\0")),
        ("no block at all", _resized(octets[:28])),
        ("the first block changed", patched(octets, 28, bytes(16))),
        ("the IV of another message", _sealed_with(peer, octets, bytes(16))),
    ):
        yield attack.shot(what, changed, reason="undecryptable", peer=peer)
    peer, octets = attack.before(MM5)
    message = message_5(peer, octets)
    body = message.body()
    long = message.seal(peer.keys, first_iv(peer), body + bytes(320))
    yield attack.shot("320 octets of padding", long, reason="undecryptable", peer=peer)
    reason = BAD_SIG if message.all("sig") else "bad-hash"
    yield attack.shot("a wrong proof", wrong_proof(peer, octets), reason=reason, peer=peer)
    yield attack.shot("a good one", octets, "MM6 sealed", peer=peer)


def _resized(octets: bytes) -> bytes:
    return patched(octets, 24, len(octets).to_bytes(4, "big"))


def _sealed_with(peer: Peer, octets: bytes, iv: bytes) -> bytes:
    return message_5(peer, octets).seal(peer.keys, iv)


@case(
    "C09b",
    "no-oracle",
    precedent="Vaudenay 2002",
    expected="who waits sees the same after a wrong proof as after what does not decrypt",
)
def no_oracle(attack: Assault) -> Iterator[Shot]:
    """Two kinds of wrong message 5, and the minute after each."""
    stories = []
    for what in ("undecryptable", "a wrong proof"):
        peer, octets = attack.before(MM5)
        wrong = wrong_proof(peer, octets)
        if what == "undecryptable":
            wrong = patched(octets, 28, bytes(16))
        stories.append(_minute_after(attack, peer, wrong))
    yield attack.deed(
        "both look the same",
        lambda: "the same" if stories[0] == stories[1] else f"{stories}",
        "the same",
    )


def _minute_after(attack: Assault, peer: Peer, octets: bytes) -> list[int]:
    """How many octets come in each second after a message was sent six times."""
    seen = []
    attack.hub.inbox(peer.end)
    for _ in range(6):
        attack.hub.send(octets, peer.end)
        for _ in range(10):
            attack.hub.advance(1.0)
            seen.append(sum(map(len, attack.hub.inbox(peer.end))))
    return seen


@case(
    "C10",
    "rsa-encryption",
    precedent="Cisco CVE-2018-0131 and its kin",
    expected="never negotiated",
)
def rsa_encryption(attack: Assault) -> Iterator[Shot]:
    """Authentication methods that are an oracle, or none of ours."""
    for method in (AuthMethod.RSA_ENC, 5, 2, 0, 65001):
        peer = attack.member()
        change = partial(_offer, kind=IkeAttribute.AUTHENTICATION_METHOD, value=int(method))
        peer.on(MM1).mutate(sa=change).keep()
        attack.establish(peer)
        yield attack.shot(
            f"method {int(method)}",
            peer.kept[-1].octets,
            "N NO-PROPOSAL-CHOSEN",
            "no-proposal-chosen",
            peer=peer,
        )


def _offer(sa: Layer, kind: int, value: int | bytes) -> None:
    for proposal in sa.proposals:
        for transform in proposal.transforms:
            transform.attributes = [
                (number, value if number == kind else old) for number, old in transform.attributes
            ]


# --- men in the middle ----------------------------------------------------------------------------


@case(
    "C12",
    "reflection",
    precedent="RFC 2409 section 5: the roles stand in HASH_I and HASH_R",
    expected="refused",
)
def reflection(attack: Assault) -> Iterator[Shot]:
    """The hub's own messages sent back to it."""
    peer = attack.member()
    attack.hub.provoke(peer)
    [opening] = attack.hub.inbox(peer.end)
    chosen = Message.read(opening)
    proposal = chosen.one("sa").proposals[0]
    proposal.transforms = proposal.transforms[-1:]
    answer = chosen.build()
    yield attack.shot("its message 1", answer, reason="zero-responder-cookie", peer=peer)
    ours = patched(answer, 8, answer[:8])
    yield attack.shot("under its own cookie", ours, reason="reflected", peer=peer)
    peer.receive(opening, attack.hub.now(), attack.hub.end)
    attack.hub.send(peer.outbox.pop(0).octets, peer.end)
    [exchange] = attack.hub.inbox(peer.end)
    yield attack.shot("its message 3", exchange, reason="reflected", peer=peer)
    forged = Message.read(exchange)
    forged.change("ke", _other_value(forged))
    yield attack.shot("its nonce", forged.build(), reason="reflected", peer=peer)


def _other_value(message: Message) -> bytes:
    value = bytearray(message.one("ke").data)
    value[-1] ^= 1
    return bytes(value)


@case(
    "C13",
    "downgrade",
    precedent="HASH_I covers SAi_b",
    expected="weak transforms are not taken; a changed offer ends in a wrong proof",
)
def downgrade(attack: Assault) -> Iterator[Shot]:
    """A man in the middle who changes what is offered."""
    for what, kind, value in (
        ("DES", IkeAttribute.ENCRYPTION_ALGORITHM, EncryptionAlgorithm.DES_CBC),
        ("MD5", IkeAttribute.HASH_ALGORITHM, HashAlgorithm.MD5),
        ("group 1", IkeAttribute.GROUP_DESCRIPTION, Group.MODP_768),
    ):
        peer = attack.member()
        peer.on(MM1).mutate(sa=partial(_offer, kind=kind, value=int(value))).keep()
        attack.establish(peer)
        yield attack.shot(
            f"{what} for what was offered",
            peer.kept[-1].octets,
            "N NO-PROPOSAL-CHOSEN",
            "no-proposal-chosen",
            peer=peer,
        )
    peer = attack.member()
    duration = partial(_offer, kind=IkeAttribute.LIFE_DURATION)
    peer.on(MM1).mutate(sa=partial(duration, value=(60).to_bytes(4, "big")))
    peer.on_receipt(MM2).mutate(sa=partial(duration, value=(86400).to_bytes(4, "big")))
    peer.on(MM5).keep()
    attack.establish(peer)
    reason = BAD_SIG if peer.engine.config.credentials else "bad-hash"
    yield attack.shot("a short life for a long one", peer.kept[-1].octets, reason=reason, peer=peer)
