"""One ISAKMP message as a script takes it apart and puts it together.

Reading is as strict as the engine's; building judges nothing. What no payload class can say (a
wrong length, a chain that does not end) is said in octets: of `body()`, or of the whole datagram.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from ikelab.errors import ConfigError
from ikelab.script.keys import Keys
from ikelab.script.names import payload_type
from ikelab.wire.isakmp import (
    HEADER_LENGTH,
    Header,
    build_message,
    build_payloads,
    parse_header,
    parse_payloads,
)
from ikelab.wire.layer import Layer
from ikelab.wire.numbers import Flags, PayloadType
from ikelab.wire.payloads import PAYLOAD_CLASSES

Change: TypeAlias = bytes | Mapping[str, object] | Callable[[Layer], object] | None
"""What becomes of a payload: other content, other fields, a function that edits it, or nothing."""

_CONTENT = {PayloadType.CERT_REQ: "authority"}  # of all others it is called data


@dataclass(slots=True)
class Message:
    """A message in clear: header, payloads (scapy layers, see `wire.payloads`).

    The header's `next_payload` and `length` are computed when it is built.
    """

    header: Header
    payloads: list[Layer] = field(default_factory=list)

    @classmethod
    def read(cls, octets: bytes, keys: Keys | None = None, iv: bytes = b"") -> Message:
        """A datagram, opened with keys and IV where it is encrypted. Raises WireError.

        iv: `keys.iv(message_id)` for the first message of an exchange after phase 1, the last
        cipher block of the message before for all others.
        """
        header = parse_header(octets)
        body, padded = octets[HEADER_LENGTH:], False
        if header.flags & Flags.ENCRYPTION:
            if keys is None:
                raise ConfigError("the message is encrypted", hint="read it with the SA's keys")
            body, padded = keys.cipher.decrypt(keys.key, iv, body), True
        parsed = parse_payloads(header.next_payload, body, offset=HEADER_LENGTH, padding=padded)
        return cls(header, [payload.packet for payload in parsed])

    def all(self, name: str) -> list[Layer]:
        """The payloads of a name, "nat_d", in the order of the wire."""
        wanted = PAYLOAD_CLASSES[payload_type(name)]
        return [layer for layer in self.payloads if isinstance(layer, wanted)]

    def one(self, name: str) -> Layer:
        """The first payload of a name. Raises ConfigError where there is none."""
        found = self.all(name)
        if not found:
            raise ConfigError(f"the message has no {name} payload")
        return found[0]

    def change(self, name: str, to: Change) -> None:
        """Change the first payload of a name; one that is not there is added at the end."""
        kind = payload_type(name)
        if not self.all(name) and to is not None:
            self.payloads.append(PAYLOAD_CLASSES[kind]())
        layer = self.one(name)
        if to is None:
            self.payloads.remove(layer)
        elif isinstance(to, bytes):
            layer.setfieldval(_CONTENT.get(kind, "data"), to)
        elif isinstance(to, Mapping):
            for key, value in to.items():
                layer.setfieldval(key, value)
        else:
            to(layer)

    def change_header(self, **changes: object) -> None:
        """Other cookies, flags, version, message ID: the fields of `wire.isakmp.Header`."""
        self.header = replace(self.header, **changes)  # type: ignore[arg-type]

    def body(self) -> bytes:
        """The octets of all payloads."""
        return build_payloads(self.payloads)[1]

    def build(self, body: bytes | None = None) -> bytes:
        """The datagram in clear. body: in place of the payloads' octets."""
        first, octets = build_payloads(self.payloads)
        header = replace(self.header, next_payload=first)
        return build_message(header, octets if body is None else body)

    def seal(self, keys: Keys, iv: bytes, body: bytes | None = None) -> bytes:
        """The datagram, encrypted. iv: see `read`. body: plaintext in place of the payloads'."""
        first, octets = build_payloads(self.payloads)
        flags = self.header.flags | Flags.ENCRYPTION
        header = replace(self.header, next_payload=first, flags=int(flags))
        padded = keys.cipher.pad(octets if body is None else body)
        return build_message(header, keys.cipher.encrypt(keys.key, iv, padded))


def patched(octets: bytes, offset: int, other: bytes) -> bytes:
    """Octets with some of them replaced, the length staying what it was."""
    return octets[:offset] + other + octets[offset + len(other) :]
