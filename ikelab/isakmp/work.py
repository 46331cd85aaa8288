"""The desk a step works at: a draft of the SA, what came in, and the actions so far.

Steps read and change the draft and add actions; they look nothing up and send nothing themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from ikelab.crypto.dh import DhKey
from ikelab.isakmp import retransmit
from ikelab.isakmp.events import Action, PlainMessage, SendDatagram, Trace
from ikelab.isakmp.message import HEADER_LENGTH, Opened, check_rule
from ikelab.isakmp.policy import IsakmpConfig
from ikelab.isakmp.sa import IsakmpSa, PeerStruct, QuickModeNode
from ikelab.isakmp.state import PayloadRule, Row
from ikelab.types import Now, Rng
from ikelab.wire.isakmp import Header, build_message, build_payloads, check_payloads, type_names
from ikelab.wire.numbers import ExchangeType, Flags, Group, PayloadType

if TYPE_CHECKING:
    from ikelab.wire.layer import Layer


class KeySource(Protocol):
    """Where private keys come from: libcrypto in the runtime, a fixed pool in tests."""

    def dh_key(self, group: Group) -> DhKey:
        """A fresh Diffie-Hellman key."""
        ...

    def signing_key(self, label: str) -> RSAPrivateKey:
        """The RSA key pair of that label (`crypto key generate rsa label ...`)."""
        ...


@dataclass(slots=True)
class Work:
    """Everything a step may use.

    opened: the peer's message, None on inputs without one. reply: a payload that one step of a
    message prepares for the next. peers: what is known of all peers.
    """

    config: IsakmpConfig
    rng: Rng
    keys: KeySource
    now: Now
    sa: IsakmpSa
    node: QuickModeNode | None = None
    opened: Opened | None = None
    reply: Layer | None = None
    row: Row | None = None
    peers: Mapping[str, PeerStruct] = field(default_factory=dict)
    actions: list[Action] = field(default_factory=list)

    @property
    def message(self) -> Opened:
        """The peer's message; only for steps of FROM_PEER rows and what follows them."""
        assert self.opened is not None, "this step runs on a message of the peer only"
        return self.opened

    @property
    def quick_mode(self) -> QuickModeNode:
        """The draft of the quick mode node; only for quick mode steps."""
        assert self.node is not None, "this step runs in quick mode only"
        return self.node

    def trace(self, name: str, **values: object) -> None:
        """Note a fact for the debug log."""
        told = tuple((key, str(value)) for key, value in values.items())
        self.actions.append(Trace(self.sa.remote, self.sa.conn_id, name, told))

    def processing(self, payload: PayloadType) -> None:
        """Note that a payload of the peer's message is read now."""
        self.trace("processing", payload=payload.name, message_id=self.message.header.message_id)

    def send_phase1(self, rule: PayloadRule, packets: Sequence[Layer]) -> None:
        """Send the next phase 1 message of the draft and remember it for repeats."""
        header = self._header(self.sa.exchange, 0, encrypted=rule.encrypted)
        datagram, plaintext, names, last_block = self._build(header, rule, packets, self.sa.iv)
        if rule.encrypted:
            self.sa.iv = last_block
        self.sa.last_sent = self._emit(rule.message, datagram, plaintext, names)

    def send_quick_mode(self, rule: PayloadRule, packets: Sequence[Layer]) -> None:
        """Send the next quick mode message of the draft and remember it for repeats."""
        node = self.quick_mode
        header = self._header(ExchangeType.QUICK, node.message_id, encrypted=True)
        datagram, plaintext, names, node.iv = self._build(header, rule, packets, node.iv)
        node.last_sent = self._emit(rule.message, datagram, plaintext, names)

    def send_informational(
        self, rule: PayloadRule, message_id: int, iv: bytes, packets: Sequence[Layer]
    ) -> None:
        """Send a one-message exchange; nothing waits for its answer."""
        header = self._header(ExchangeType.INFORMATIONAL, message_id, encrypted=True)
        datagram, plaintext, names, _ = self._build(header, rule, packets, iv)
        self._emit(rule.message, datagram, plaintext, names)

    def start_retransmission(self, rule: PayloadRule) -> None:
        """The message just sent waits for an answer."""
        holder = self.node or self.sa
        assert holder.last_sent is not None, "nothing was sent"
        interval = retransmit.INTERVAL
        if self.node is not None and self._follows_am3():
            interval = retransmit.INTERVAL_BEHIND_AM3
        holder.retransmission = retransmit.start(
            holder.last_sent, rule.message, self.now.elapsed, interval
        )

    def _follows_am3(self) -> bool:
        """Whether this goes out right behind our message 3 of aggressive mode."""
        sa = self.sa
        if sa.established is None or not sa.initiator:
            return False
        age = self.now.elapsed - sa.established
        return sa.exchange is ExchangeType.AGGRESSIVE and age < retransmit.INTERVAL_BEHIND_AM3

    def _header(self, exchange: ExchangeType, message_id: int, *, encrypted: bool) -> Header:
        flags = Flags.ENCRYPTION if encrypted else Flags.NONE
        sa = self.sa
        return Header(sa.cky_i, sa.cky_r, 0, int(exchange), int(flags), message_id)

    def _build(
        self, header: Header, rule: PayloadRule, packets: Sequence[Layer], iv: bytes
    ) -> tuple[bytes, bytes, tuple[str, ...], bytes]:
        """Datagram, plaintext, payload names and the last cipher block."""
        first, body = build_payloads(packets)
        types = check_payloads(first, body, offset=HEADER_LENGTH)
        check_rule(rule, types, encrypted=rule.encrypted)
        header = Header(
            header.cky_i,
            header.cky_r,
            first,
            header.exchange_type,
            header.flags,
            header.message_id,
        )
        plaintext = build_message(header, body)
        names = type_names(types)
        if not rule.encrypted:
            return plaintext, plaintext, names, b""
        cipher = self.sa.cipher
        assert cipher is not None, "no keys yet"
        sealed = cipher.encrypt(self.sa.encryption_key, iv, cipher.pad(body))
        return build_message(header, sealed), plaintext, names, sealed[-cipher.block :]

    def _emit(
        self, message: str, datagram: bytes, plaintext: bytes, names: tuple[str, ...]
    ) -> SendDatagram:
        sa = self.sa
        then = f" -> {self.row.new_state.value}" if self.row is not None else ""
        comment = f"{self.config.name} ({sa.role}) sends {message}{then}: {' '.join(names)}"
        send = SendDatagram(sa.local, sa.remote, datagram, comment)
        self.actions.append(
            PlainMessage(True, sa.local, sa.remote, datagram, plaintext, comment, names, message)
        )
        self.actions.append(send)
        return send
