"""From datagram to checked payloads and back: header rules, encryption, payload rules.

The order of the refusals is that of RFC 2408 sections 5.2 and 5.3. Nothing here knows a state.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ikelab.crypto.cipher import CbcCipher
from ikelab.errors import ProtocolError, WireError
from ikelab.isakmp.state import PayloadRule
from ikelab.wire.isakmp import Header, Payload, parse_payloads, payload_names
from ikelab.wire.numbers import ExchangeType, Flags, NotifyType, PayloadType

HEADER_LENGTH = 28
MAJOR_VERSION = 1
PHASE_1 = (ExchangeType.IDENTITY_PROTECTION, ExchangeType.AGGRESSIVE)
_EXCHANGES = (*PHASE_1, ExchangeType.INFORMATIONAL, ExchangeType.QUICK)
_KNOWN_FLAGS = int(Flags.ENCRYPTION | Flags.COMMIT | Flags.AUTHENTICATION_ONLY)


@dataclass(frozen=True, slots=True)
class Opened:
    """A message whose payloads can be read. plaintext: header and clear body, without padding.

    next_iv: the last cipher block, empty for a clear message.
    """

    header: Header
    payloads: tuple[Payload, ...]
    plaintext: bytes
    next_iv: bytes

    @property
    def names(self) -> tuple[str, ...]:
        """Payload names in the order of the wire."""
        return payload_names(self.payloads)

    def of_type(self, payload_type: PayloadType) -> tuple[Payload, ...]:
        """All payloads of a type, in order."""
        return tuple(payload for payload in self.payloads if payload.type == payload_type)

    def one(self, payload_type: PayloadType) -> Payload:
        """The payload of a type that the message's rule promises."""
        return self.of_type(payload_type)[0]

    def after_first(self) -> bytes:
        """The octets behind the first payload: what HASH(1) and HASH(2) run over."""
        return self.plaintext[HEADER_LENGTH + 4 + len(self.payloads[0].body) :]


def check_header(header: Header) -> None:
    """What RFC 2408 section 5.2 asks of a header before any state is looked up."""
    if not any(header.cky_i):
        raise ProtocolError(
            "zero-initiator-cookie",
            "the initiator cookie is never zero",
            seen="0000000000000000",
            wanted="eight octets that are not all zero",
        )
    if header.version >> 4 != MAJOR_VERSION:
        raise ProtocolError(
            "major-version",
            f"major version {header.version >> 4}, this is {MAJOR_VERSION}",
            seen=header.version >> 4,
            wanted=MAJOR_VERSION,
            notify=NotifyType.INVALID_MAJOR_VERSION,
        )
    if header.exchange_type not in _EXCHANGES:
        raise ProtocolError(
            "exchange-type",
            f"exchange type {header.exchange_type} is not configured here",
            seen=header.exchange_type,
            wanted=", ".join(str(int(known)) for known in _EXCHANGES),
            notify=NotifyType.UNSUPPORTED_EXCHANGE_TYPE,
        )
    if header.flags & ~_KNOWN_FLAGS:
        raise ProtocolError(
            "flags",
            f"flags 0x{header.flags:02x}",
            notify=NotifyType.INVALID_FLAGS,
            seen=f"0x{header.flags:02x}",
            wanted=f"no bits beyond 0x{_KNOWN_FLAGS:02x}",
        )
    if header.exchange_type in PHASE_1 and header.message_id:
        raise ProtocolError(
            "message-id",
            f"message ID 0x{header.message_id:08x} in phase 1, where it is 0",
            seen=f"0x{header.message_id:08x}",
            wanted="0",
            notify=NotifyType.INVALID_MESSAGE_ID,
        )
    if header.exchange_type == ExchangeType.QUICK and not header.message_id:
        raise ProtocolError(
            "message-id",
            "message ID 0 in quick mode",
            notify=NotifyType.INVALID_MESSAGE_ID,
            seen="0",
            wanted="any other",
        )


def open_clear(header: Header, datagram: bytes) -> Opened:
    """A message that is not encrypted. Raises WireError."""
    body = datagram[HEADER_LENGTH:]
    payloads = parse_payloads(header.next_payload, body, offset=HEADER_LENGTH, rounded=True)
    return Opened(header, payloads, datagram, b"")


def open_encrypted(
    header: Header, datagram: bytes, cipher: CbcCipher, key: bytes, iv: bytes
) -> Opened:
    """A message under phase 1 keys. Raises ProtocolError for anything that does not decrypt.

    Wrong padding, a wrong key and a forged body all end with the same reason: no oracle.
    """
    sealed = datagram[HEADER_LENGTH:]
    if not sealed or len(sealed) % cipher.block:
        raise ProtocolError(
            "undecryptable",
            f"{len(sealed)} octets are no whole cipher blocks",
            seen=f"{len(sealed)} octets",
            wanted=f"whole blocks of {cipher.block} octets",
        )
    body = cipher.decrypt(key, iv, sealed)
    try:
        payloads = parse_payloads(header.next_payload, body, offset=HEADER_LENGTH, padding=True)
    except WireError as error:
        raise ProtocolError(
            "undecryptable",
            "what came out of the decryption is no chain of payloads",
            seen="other octets",
            wanted="a chain of payloads under the keys of this SA",
        ) from error
    used = sum(4 + len(payload.body) for payload in payloads)
    return Opened(header, payloads, datagram[:HEADER_LENGTH] + body[:used], sealed[-cipher.block :])


def check_rule(rule: PayloadRule, names: Sequence[int], *, encrypted: bool) -> None:
    """Whether these payload types are what a message may hold; for both directions."""
    if encrypted is not rule.encrypted and not (rule.clear_too and not encrypted):
        wanted = "encrypted" if rule.encrypted else "in clear"
        raise ProtocolError(
            "encryption",
            f"{rule.message} must be {wanted}",
            seen="encrypted" if encrypted else "in clear",
            wanted=wanted,
        )
    counts = Counter(names)
    for required in rule.required:
        count = counts.pop(required, 0)
        if count != rule.required.count(required):
            raise ProtocolError(
                "payload-missing",
                f"{rule.message} needs exactly one {required.name} payload",
                payload=required.name,
                seen=count,
                wanted=rule.required.count(required),
                notify=NotifyType.PAYLOAD_MALFORMED,
            )
    for extra in counts:
        if extra not in rule.optional:
            raise ProtocolError(
                "payload-unexpected",
                f"payload type {extra} has no place in {rule.message}",
                payload=f"type {extra}",
                seen=extra,
                wanted=" ".join(known.name for known in (*rule.required, *rule.optional)),
                notify=NotifyType.INVALID_PAYLOAD_TYPE,
            )
    if rule.first is not None and names[0] != rule.first:
        raise ProtocolError(
            "payload-order",
            f"{rule.message} must begin with {rule.first.name}",
            payload=rule.first.name,
            seen=f"type {names[0]} first",
            wanted=f"{rule.first.name} first",
            notify=NotifyType.PAYLOAD_MALFORMED,
        )
