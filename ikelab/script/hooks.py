"""What a script does to messages of one name on their way out or in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Self

from ikelab.errors import ConfigError
from ikelab.script.message import Change, Message, patched
from ikelab.script.names import payload_type

Edit = Callable[[Message], object]
Octets = Callable[[bytes], bytes]


@dataclass(slots=True)
class Hook:
    """Made by `Peer.on` and `Peer.on_receipt`; each method returns the hook, so that they chain.

    Changes apply to every message of the name that is built or taken, in the order in which they
    were said; a message that is sent again goes out as it first went out.
    """

    message: str
    edits: list[Edit] = field(default_factory=list)
    bodies: list[Octets] = field(default_factory=list)
    wires: list[Octets] = field(default_factory=list)
    before: list[bytes] = field(default_factory=list)
    after: list[bytes] = field(default_factory=list)
    lost: int = 0
    copies: int = 1
    keeps: bool = False
    proves: bool = False
    adopts: bool = False

    @property
    def changes(self) -> bool:
        """Whether octets change at all."""
        return bool(self.edits or self.bodies or self.wires or self.proves)

    # --- what it says -------------------------------------------------------------------------

    def mutate(self, **payloads: Change) -> Self:
        """Change payloads by their short names: `mutate(sig=b"..", ke=None, id={"port": 1})`.

        Octets replace the content, a mapping sets fields, a function edits the scapy layer, None
        removes the payload; one that is not there is added at the end. Raises ConfigError for a
        name that no payload has, and for what is none of these.
        """
        for name, change in payloads.items():
            payload_type(name)
            if not (change is None or isinstance(change, bytes | Mapping) or callable(change)):
                raise ConfigError(
                    f"{name} cannot become {change!r}",
                    hint="give octets, a mapping of fields, a function, or None",
                )

        def change_all(message: Message) -> None:
            for name, change in payloads.items():
                message.change(name, change)

        return self.edit(change_all)

    def header(self, **fields: object) -> Self:
        """Other fields of the header: `header(message_id=1, version=0x20)`."""
        return self.edit(lambda message: message.change_header(**fields))

    def edit(self, change: Edit) -> Self:
        """Any change of the message: order of payloads, more payloads, other payloads."""
        self.edits.append(change)
        return self

    def body(self, change: Octets) -> Self:
        """Change the octets of all payloads, before they are encrypted."""
        self.bodies.append(change)
        return self

    def octets(self, change: Octets) -> Self:
        """Change the octets of the datagram, the last thing before it leaves."""
        self.wires.append(change)
        return self

    def patch(self, offset: int, octets: bytes) -> Self:
        """Overwrite octets of the datagram."""
        return self.octets(lambda whole: patched(whole, offset, octets))

    def prove(self) -> Self:
        """Compute HASH or SIG again over what is sent: the lie is then this peer's own."""
        self.proves = True
        return self

    def adopt(self) -> Self:
        """Let this peer go on as if it had meant it: SAi_b, nonces and quick mode IDs as sent.

        Without it a change is that of a man in the middle: this peer knows nothing of it.
        """
        self.adopts = True
        return self

    # --- whether, when and how often it goes ----------------------------------------------------

    def drop(self, times: int = 1) -> Self:
        """Lose the next transmissions."""
        self.lost = times
        return self

    def duplicate(self, copies: int = 2) -> Self:
        """Send each transmission so many times."""
        self.copies = copies
        return self

    def keep(self) -> Self:
        """Take over: it goes nowhere but into `Peer.kept`; `Peer.release` lets it go on."""
        self.keeps = True
        return self

    def insert(self, *, before: bytes | None = None, after: bytes | None = None) -> Self:
        """Send other octets just before or after it: replays, forgeries, another order."""
        self.before += [] if before is None else [before]
        self.after += [] if after is None else [after]
        return self
