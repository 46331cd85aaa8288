"""Family C: a pre-shared key guessed offline, from what its owner sends to anyone.

Nothing here is refused and nothing can be: an initiator in main mode proves itself to whoever
answers (CVE-2018-5389), and a responder in aggressive mode to whoever asks. With either proof a key
can be tried by arithmetic alone, as often as one likes. What decides is whether it can be guessed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial

from ikelab.crypto import oakley
from ikelab.crypto.cipher import cipher_for
from ikelab.errors import IkelabError
from ikelab.hostile.hub import SILENCE, Assault
from ikelab.hostile.registry import Shot, case
from ikelab.isakmp.events import KeyMaterial
from ikelab.isakmp.policy import AggressivePeer, IsakmpPolicy
from ikelab.isakmp.sa import IsakmpSa
from ikelab.script import AM1, MM5, IdentityKeys, Message, Peer, Seeded, settings
from ikelab.script.keys import Keys
from ikelab.script.settings import POLICY
from ikelab.types import Endpoint, Now
from ikelab.wire.isakmp import body_of, parse_header
from ikelab.wire.numbers import ExchangeType, Flags, HashAlgorithm, IdType

WORDS = ("secret", "password", "cisco", "Cisco", "CISCO", "cisco123", "letmein")
WEAK, STRONG = "CISCO", "q7Vd-x2Kz9-mRw4tB-61"
NOT_FOUND = "no word of the list is the key"

_OWNER, _THIEF = Endpoint("192.0.2.201", 500), Endpoint("192.0.2.202", 500)


def found(word: str | None) -> str:
    """What the attacker knows then."""
    return NOT_FOUND if word is None else f"the key is {word}"


# --- the arithmetic -------------------------------------------------------------------------------


def guess_main_mode(
    sa: IsakmpSa, g_xy: bytes, message_5: bytes, words: Iterable[str]
) -> str | None:
    """The word under which message 5 opens and holds the right HASH_I (RFC 2409 section 5.4).

    sa: of the attacker, who has answered messages 1 and 3 with a Diffie-Hellman half of its own:
    g_xy is then known to it, and of SKEYID = prf(pre-shared-key, Ni_b | Nr_b) only the key is not.
    """
    assert sa.policy is not None
    algorithm = sa.policy.hash
    ends = (sa.g_xi, sa.g_xr, sa.cky_i, sa.cky_r)
    for word in words:
        keys = _keys(sa, sa.policy, g_xy, word)
        try:
            opened = Message.read(message_5, keys, keys.last_block)
            id_b, proof = body_of(opened.one("id")), bytes(opened.one("hash").data)
        except IkelabError:
            continue
        if proof == oakley.hash_i(algorithm, keys.skeyids.skeyid, *ends, sa.sai_b, id_b):
            return word
    return None


def _keys(sa: IsakmpSa, policy: IsakmpPolicy, g_xy: bytes, word: str) -> Keys:
    cipher = cipher_for(policy.encryption, policy.key_length)
    skeyid = _skeyid(policy.hash, word, sa.nonce_i, sa.nonce_r)
    skeyids = oakley.derive_skeyids(policy.hash, skeyid, g_xy, sa.cky_i, sa.cky_r)
    key = oakley.derive_encryption_key(policy.hash, skeyids.skeyid_e, cipher.key_length)
    iv = oakley.first_iv(policy.hash, sa.g_xi, sa.g_xr, cipher.block)
    return Keys(policy.hash, cipher, key, skeyids, iv)


def _skeyid(algorithm: HashAlgorithm, word: str, nonce_i: bytes, nonce_r: bytes) -> bytes:
    return oakley.skeyid_for_pre_shared_key(algorithm, word.encode(), nonce_i, nonce_r)


def guess_aggressive_mode(
    algorithm: HashAlgorithm, asked: bytes, answered: bytes, words: Iterable[str]
) -> str | None:
    """The word that makes HASH_R of message 2. asked, answered: messages 1 and 2, as they were.

    Both are in clear, and no Diffie-Hellman secret is in HASH_R: who listens can do it, too.
    """
    first, second = Message.read(asked), Message.read(answered)
    nonces = bytes(first.one("nonce").data), bytes(second.one("nonce").data)
    publics = bytes(first.one("ke").data), bytes(second.one("ke").data)
    cookies = second.header.cky_i, second.header.cky_r
    bodies = body_of(first.one("sa")), body_of(second.one("id"))
    proof = bytes(second.one("hash").data)
    for word in words:
        skeyid = _skeyid(algorithm, word, *nonces)
        if proof == oakley.hash_r(algorithm, skeyid, *publics, *cookies, *bodies):
            return word
    return None


# --- the attacker ---------------------------------------------------------------------------------


def _peer(label: str, local: Endpoint, remote: Endpoint, key: str) -> Peer:
    source = Seeded(label)
    return Peer(settings(local, remote, pre_shared_key=key), source, IdentityKeys(source))


def _with_aggressive_mode(peer: Peer, now: Now) -> Peer:
    config = peer.engine.config
    other = AggressivePeer(config.flows[0].remote.address, IdType.ID_FQDN, config.hostname)
    peer.configure(replace(config, aggressive_mode=True, aggressive_peers=(other,)), now)
    return peer


def _secret(thief: Peer) -> bytes:
    """g^xy of the exchange that the attacker has answered."""
    return dict(thief.of(KeyMaterial)[-1].others)["g_xy"]


def _main_mode_with(key: str, now: Now) -> str:
    """An initiator that has this key calls; the attacker has answered in its peer's place."""
    owner = _peer("owner of a key", _OWNER, _THIEF, key)
    thief = _peer("thief", _THIEF, _OWNER, "none of the words")
    owner.on(MM5).keep()
    owner.request(now)
    for one, other in ((owner, thief), (thief, owner)) * 2:
        other.receive(one.outbox.pop(0).octets, now, one.end)
    return found(guess_main_mode(thief.sa, _secret(thief), owner.kept[-1].octets, WORDS))


def _aggressive_mode_with(key: str, now: Now) -> str:
    """A responder that has this key is asked by somebody who has none."""
    owner = _with_aggressive_mode(_peer("owner of a key", _OWNER, _THIEF, key), now)
    thief = _with_aggressive_mode(_peer("thief", _THIEF, _OWNER, "none of the words"), now)
    thief.request(now)
    asked = thief.outbox.pop(0).octets
    owner.receive(asked, now, thief.end)
    answered = owner.outbox.pop(0).octets
    return found(guess_aggressive_mode(POLICY.hash, asked, answered, WORDS))


# --- the case -------------------------------------------------------------------------------------


@case(
    "C11",
    "guessed-key",
    precedent="CVE-2018-5389; CVE-2002-1623",
    expected="a word falls in main mode and in aggressive mode, a long random key in neither",
)
def guessed_key(attack: Assault) -> Iterator[Shot]:
    """A list of words against proofs that routers send: two of the attacker's own, then the hub."""
    now = attack.hub.now()
    for what, key, outcome in (
        ("a key that is a word", WEAK, found(WEAK)),
        ("a long random key", STRONG, NOT_FOUND),
    ):
        for mode, play in (
            ("main mode", _main_mode_with),
            ("aggressive mode", _aggressive_mode_with),
        ):
            yield attack.deed(f"{what}, in {mode}", partial(play, key, now), outcome)
    thief = attack.aggressive("psk")
    yield attack.deed("the hub, asked", partial(_ask, attack, thief), NOT_FOUND)
    peer = attack.member("psk")
    yield attack.deed("the hub, calling", partial(_answer, attack, peer), NOT_FOUND)
    yield attack.deed("a member afterwards", attack.tunnel, "a tunnel")


def _ask(attack: Assault, thief: Peer) -> str:
    """Aggressive mode with the hub; the key that the asking peer has is not made use of."""
    thief.on(AM1).keep()
    thief.request(attack.hub.now())
    asked = thief.kept[-1].octets
    attack.hub.send(asked, thief.end)
    answers = attack.hub.inbox(thief.end)
    if not answers:  # five in half a minute is all that an address gets
        return SILENCE
    policy = thief.engine.config.policies[0]
    return found(guess_aggressive_mode(policy.hash, asked, answers[0], WORDS))


def _answer(attack: Assault, peer: Peer) -> str:
    """The hub calls, and somebody without its key answers in the place of a member."""
    thief = _peer("thief", peer.end, attack.hub.end, "none of the words")
    attack.hub.inbox(peer.end)  # what an earlier call of the hub's repeats
    attack.hub.provoke(peer)
    while answers := attack.hub.inbox(peer.end):
        octets = answers[-1]
        if parse_header(octets).exchange_type != ExchangeType.IDENTITY_PROTECTION:
            break  # the hub has an SA with the member and needs no other
        if parse_header(octets).flags & Flags.ENCRYPTION and thief.states:
            return found(guess_main_mode(thief.sa, _secret(thief), octets, WORDS))
        thief.receive(octets, attack.hub.now(), attack.hub.end)
        attack.hub.send(thief.outbox.pop(0).octets, peer.end)
    return "no main mode"
