"""A message changed under way: opened, edited, proved again if wished, sealed with the same IV.

The chain of IVs then follows the wire: whoever sent a message goes on from its last cipher block as
it left, whoever took one from its last block as it came.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from ikelab.crypto import oakley
from ikelab.crypto.rsa import sign_hash
from ikelab.errors import ConfigError, WireError
from ikelab.isakmp.events import PlainMessage
from ikelab.isakmp.sa import IsakmpSa, SaTable
from ikelab.isakmp.state import (
    Input,
    Major,
    Minor,
    PayloadRule,
    phase1_row,
    quick_mode_row,
)
from ikelab.script.hooks import Edit, Hook
from ikelab.script.keys import Keys
from ikelab.script.message import Message
from ikelab.script.names import AM1, AM2, AM3, INFO, MM1, MM5, MM6, QM1, QM2
from ikelab.wire.isakmp import HEADER_LENGTH, Header, body_of, parse_header, parse_payloads
from ikelab.wire.numbers import ExchangeType, Flags
from ikelab.wire.payloads import HASH

if TYPE_CHECKING:
    from ikelab.script.peer import Peer

# The first message of each mode of phase 1, and the input that a later one is.
_PHASE_1: dict[int, tuple[PayloadRule, Input]] = {
    ExchangeType.IDENTITY_PROTECTION: (MM1, (Major.FROM_PEER, Minor.MM_EXCH)),
    ExchangeType.AGGRESSIVE: (AM1, (Major.FROM_PEER, Minor.AM_EXCH)),
}
_QUICK_MODE: Input = (Major.FROM_PEER, Minor.QM_EXCH)


def name_of(table: SaTable, octets: bytes) -> str:
    """What a datagram is to whoever has these SAs: "MM4"; "" where it fits nowhere."""
    try:
        header = parse_header(octets)
    except WireError:
        return ""
    sa = _sa_of(table, header)
    match header.exchange_type:
        case mode if mode in _PHASE_1:
            opening, given = _PHASE_1[mode]
            taken = phase1_row(sa.state, given) if sa is not None else None
            rule = taken.takes if taken is not None else (opening if sa is None else None)
        case ExchangeType.QUICK if sa is not None:
            node = table.find_node(sa, header.message_id)
            found = (
                quick_mode_row(node.state, _QUICK_MODE, initiator=node.initiator) if node else None
            )
            rule = found.takes if found is not None else (QM1 if node is None else None)
        case ExchangeType.INFORMATIONAL:
            rule = INFO
        case _:
            rule = None
    return rule.message if rule is not None else ""


def _sa_of(table: SaTable, header: Header) -> IsakmpSa | None:
    return table.find(header.cky_i, header.cky_r) or table.find_half_open(
        header.cky_i, initiator=True
    )


def outgoing(
    peer: Peer, hook: Hook, plain: PlainMessage, known: Mapping[tuple[bytes, bytes], Keys]
) -> bytes:
    """What goes out in place of what the engine built; the engine goes on from there."""
    header = parse_header(plain.plaintext)
    message = _from_clear(header, plain.plaintext[HEADER_LENGTH:])
    keys = known.get((header.cky_i, header.cky_r))
    encrypted = bool(header.flags & Flags.ENCRYPTION)
    iv = b""
    if encrypted:
        assert keys is not None, "an encrypted message was built with keys"
        iv = _iv_behind(keys, plain)
    _edit(hook, message, lambda: _prove(peer, hook.message, message))
    if hook.adopts:
        _adopt(peer, hook.message, message)
    octets = _closed(hook, message, keys if encrypted else None, iv)
    if encrypted:
        follow(peer.engine.table, plain.datagram, octets)
    return octets


def resealed(plain: PlainMessage, change: Edit, keys: Keys) -> bytes:
    """A message that was built under these keys, changed, with the IV that it had."""
    message = _from_clear(parse_header(plain.plaintext), plain.plaintext[HEADER_LENGTH:])
    change(message)
    return message.seal(keys, _iv_behind(keys, plain))


def incoming(table: SaTable, hook: Hook, octets: bytes) -> bytes:
    """What the engine is given in place of what came. Raises WireError if that cannot be read."""
    header = parse_header(octets)
    sa = _sa_of(table, header)
    if not header.flags & Flags.ENCRYPTION:
        message = Message.read(octets)
        _edit(hook, message, None)
        return _closed(hook, message, None, b"")
    if sa is None:
        raise WireError("no SA has the keys of this message")
    keys = Keys.of(sa)
    node = table.find_node(sa, header.message_id)
    iv = node.iv if node else keys.iv(header.message_id) if header.message_id else sa.iv
    message = Message.read(octets, keys, iv)
    _edit(hook, message, None)
    return _closed(hook, message, keys, iv)


def follow(table: SaTable, before: bytes, after: bytes) -> None:
    """Go on from the last cipher block of `after` wherever that of `before` is to be gone on from.

    RFC 2409 appendix B: the IV of a message is the last block of the one before.
    """
    for sa in table.sas.values():
        block = sa.cipher.block if sa.cipher is not None else 0
        if not block or len(after) < HEADER_LENGTH + block:
            continue
        for node in table.nodes_of(sa):
            if node.iv == before[-block:]:
                node.iv = after[-block:]
            elif sa.iv == before[-block:] and node.iv == _first_iv(sa, sa.iv, node.message_id):
                # Begun in the breath that sent the last message of phase 1.
                node.iv = _first_iv(sa, after[-block:], node.message_id)
        if sa.iv == before[-block:]:
            sa.iv = after[-block:]


def _first_iv(sa: IsakmpSa, last_block: bytes, message_id: int) -> bytes:
    assert sa.policy is not None and sa.cipher is not None, "there are keys"
    return oakley.phase2_iv(sa.policy.hash, last_block, message_id, sa.cipher.block)


def _from_clear(header: Header, body: bytes) -> Message:
    parsed = parse_payloads(header.next_payload, body, offset=HEADER_LENGTH)
    return Message(header, [payload.packet for payload in parsed])


def _iv_behind(keys: Keys, plain: PlainMessage) -> bytes:
    """The IV that a message was sealed with: C1 = E(P1 xor IV)."""
    block = keys.cipher.block
    first = plain.datagram[HEADER_LENGTH : HEADER_LENGTH + block]
    opened = keys.cipher.decrypt(keys.key, bytes(block), first)
    clear = keys.cipher.pad(plain.plaintext[HEADER_LENGTH:])[:block]
    return bytes(one ^ other for one, other in zip(opened, clear, strict=True))


def _edit(hook: Hook, message: Message, prove: Callable[[], None] | None) -> None:
    for edit in hook.edits:
        edit(message)
    if hook.proves:
        if prove is None:
            raise ConfigError("only what this peer sends can be proved by it")
        prove()


def _closed(hook: Hook, message: Message, keys: Keys | None, iv: bytes) -> bytes:
    body = message.body()
    for change in hook.bodies:
        body = change(body)
    octets = message.build(body) if keys is None else message.seal(keys, iv, body)
    for change in hook.wires:
        octets = change(octets)
    return octets


def _prove(peer: Peer, name: str, message: Message) -> None:
    """HASH or SIG over what is sent."""
    sa = peer.engine.table.find(message.header.cky_i, message.header.cky_r)
    if sa is None or sa.policy is None or sa.keys is None:
        raise ConfigError(f"{name} proves nothing: there are no keys yet")
    if name in (MM5.message, MM6.message, AM2.message, AM3.message):
        own_id = body_of(message.one("id")) if message.all("id") else sa.own_id_b
        function = oakley.hash_i if sa.initiator else oakley.hash_r
        proof = function(
            sa.policy.hash,
            sa.keys.skeyid,
            sa.g_xi,
            sa.g_xr,
            sa.cky_i,
            sa.cky_r,
            sa.sai_b,
            own_id,
        )
        if sa.credential is None:
            message.change("hash", proof)
        else:
            key = peer.keys_held.signing_key(sa.credential.key_label)
            message.change("sig", sign_hash(key, proof))
        return
    keys, message_id = Keys.of(sa), message.header.message_id
    rest = [layer for layer in message.payloads if not isinstance(layer, HASH)]
    if name == QM2.message:
        node = peer.engine.table.find_node(sa, message_id)
        assert node is not None, "message 2 belongs to a quick mode"
        message.change("hash", keys.hash_2(message_id, node.nonce_i, rest))
    elif name in (QM1.message, INFO.message):
        message.change("hash", keys.hash_1(message_id, rest))
    else:
        raise ConfigError(f"nothing in {name} can be proved again")


def _adopt(peer: Peer, name: str, message: Message) -> None:
    """What this peer will compute with later is what it sent."""
    table, header = peer.engine.table, message.header
    sa = _sa_of(table, header)
    if sa is None:
        return
    if name in (MM1.message, AM1.message):
        sa.sai_b = body_of(message.one("sa"))
    if name == AM1.message:
        sa.own_id_b = body_of(message.one("id"))
    node = table.find_node(sa, header.message_id) if header.message_id else None
    nonce = bytes(message.one("nonce").data) if message.all("nonce") else None
    holder = node if node is not None else sa
    if nonce is not None and holder.initiator:
        holder.nonce_i = nonce
    elif nonce is not None:
        holder.nonce_r = nonce
    if node is not None and name == QM1.message:
        node.ids = tuple(body_of(layer) for layer in message.all("id"))
