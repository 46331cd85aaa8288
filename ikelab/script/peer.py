"""One end of an IKE dialogue that a script operates: the real engine, with hands on its messages.

A Peer is sans-IO, as the engine is: events and the time go in, datagrams wait in `outbox`. Its
surroundings are the smallest that answer: SPIs are drawn, every installation works, a peer's
certificate is judged by a `Verdict`. `log` holds every action of the engine.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from ikelab.errors import ConfigError, WireError
from ikelab.isakmp.engine import IsakmpEngine
from ikelab.isakmp.events import (
    Action,
    AllocateSpi,
    CheckPeerCert,
    ConfigChanged,
    DatagramReceived,
    Event,
    InstallIpsecSa,
    IpsecInstallDone,
    PlainMessage,
    Refused,
    SaRequested,
    SendDatagram,
    SpiAllocated,
    Transition,
)
from ikelab.isakmp.policy import IsakmpConfig
from ikelab.isakmp.sa import IsakmpSa
from ikelab.isakmp.state import PayloadRule
from ikelab.isakmp.work import KeySource
from ikelab.script import rewrite
from ikelab.script.hooks import Edit, Hook
from ikelab.script.identity import Verdict, believe
from ikelab.script.keys import Keys
from ikelab.script.message import Message
from ikelab.script.names import message_name
from ikelab.types import Endpoint, Now, Rng, Timer
from ikelab.wire.isakmp import Header, parse_header
from ikelab.wire.layer import Layer
from ikelab.wire.numbers import ExchangeType

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Kept:
    """A message that a hook kept back. octets: as they would have gone on."""

    name: str
    sent: bool
    octets: bytes
    remote: Endpoint


class Peer:
    """An initiator or responder. local: its own end, where the configuration has no flow.

    hold: types of actions whose answer a script gives itself; they are then in `held`.
    """

    def __init__(
        self,
        config: IsakmpConfig,
        rng: Rng,
        keys: KeySource,
        *,
        local: Endpoint | None = None,
        verdict: Verdict = believe,
    ) -> None:
        if local is None and not config.flows:
            raise ConfigError("a peer without a flow must be told its own end")
        self.engine = IsakmpEngine(config, rng, keys)
        self.end = local or config.flows[0].local
        self.keys_held = keys
        self.log: list[Action] = []
        self.outbox: list[SendDatagram] = []
        self.received: list[bytes] = []
        self.spis_drawn: list[bytes] = []
        self.kept: list[Kept] = []
        self.hold: set[type[Action]] = set()
        self.held: list[Action] = []
        self._rng = rng
        self._verdict = verdict
        self._out: dict[str, Hook] = {}
        self._in: dict[str, Hook] = {}
        self._plain: dict[bytes, PlainMessage] = {}
        self._made: dict[bytes, tuple[Hook, bytes]] = {}  # what the engine built -> what went out
        self._keys: dict[tuple[bytes, bytes], Keys] = {}

    # --- hands on messages --------------------------------------------------------------------

    def on(self, message: PayloadRule | str) -> Hook:
        """The hook on messages of a name that this peer builds: `on(MM5)`, `on("AM1")`."""
        name = message_name(message)
        return self._out.setdefault(name, Hook(name))

    def on_receipt(self, message: PayloadRule | str) -> Hook:
        """The hook on messages of a name before this peer's engine sees them."""
        name = message_name(message)
        return self._in.setdefault(name, Hook(name))

    def release(self, kept: Kept, now: Now) -> None:
        """Let a message go on that was kept back."""
        if kept.sent:
            self.send(kept.octets, kept.remote)
        else:
            self.give(now, DatagramReceived(self.end, kept.remote, kept.octets))

    def send(self, octets: bytes, remote: Endpoint | None = None) -> None:
        """Send any octets at all. remote: None for the peer of the first flow."""
        to = remote or self.engine.config.flows[0].remote
        self.outbox.append(SendDatagram(self.end, to, octets, "from the script"))

    # --- keys ---------------------------------------------------------------------------------

    @property
    def sa(self) -> IsakmpSa:
        """The newest ISAKMP SA. ConfigError where there is none."""
        if not self.engine.table.sas:
            raise ConfigError("this peer has no ISAKMP SA")
        return self.engine.table.sas[max(self.engine.table.sas)]

    @property
    def keys(self) -> Keys:
        """Of the newest ISAKMP SA, from messages 3 and 4 on."""
        return Keys.of(self.sa)

    def phase2(
        self,
        payloads: Sequence[Layer],
        *,
        exchange: int = ExchangeType.INFORMATIONAL,
        message_id: int | None = None,
        hashed: bool = True,
    ) -> bytes:
        """A sealed first message after phase 1 (RFC 2409 sections 5.5, 5.7): forge what you like.

        message_id: None draws one. hashed: with its HASH(1) in front.
        """
        sa, keys = self.sa, self.keys
        if message_id is None:
            message_id = int.from_bytes(self._rng.draw("message_id", 4), "big") or 1
        header = Header(sa.cky_i, sa.cky_r, 0, int(exchange), 0, message_id)
        inside = keys.behind_hash(message_id, payloads) if hashed else list(payloads)
        return Message(header, inside).seal(keys, keys.iv(message_id))

    def resealed(self, plain: PlainMessage, change: Edit) -> bytes:
        """A message that this peer built, changed, and sealed as the true one was."""
        return rewrite.resealed(plain, change, self.keys)

    def read(self, octets: bytes) -> Message:
        """A datagram of the newest SA that begins an exchange, or is in clear."""
        header = parse_header(octets)
        keys = self.keys if self.sa.keys is not None else None
        iv = b"" if keys is None else keys.iv(header.message_id)
        return Message.read(octets, keys, iv)

    # --- the engine ---------------------------------------------------------------------------

    def request(self, now: Now) -> list[Action]:
        """Begin: traffic of the first flow wants an SA."""
        return self.give(now, SaRequested(self.engine.config.flows[0]))

    def receive(
        self,
        octets: bytes,
        now: Now,
        remote: Endpoint | None = None,
        local: Endpoint | None = None,
    ) -> list[Action]:
        """A datagram came in. remote: None for the peer of the first flow. local: None for our own
        end, another one after NAT traversal has changed to port 4500.
        """
        come_from = remote or self.engine.config.flows[0].remote
        path = (local or self.end, come_from)
        self.received.append(octets)
        hook = self._in.get(rewrite.name_of(self.engine.table, octets)) if self._in else None
        if hook is None:
            return self.give(now, DatagramReceived(*path, octets))
        return self._take(hook, octets, now, path)

    def configure(self, config: IsakmpConfig, now: Now) -> None:
        """Another configuration, for what begins from now on."""
        self.give(now, ConfigChanged(config))

    def next_timer(self) -> Timer | None:
        """When `TimerFired` is wanted next."""
        return self.engine.next_timer()

    def give(self, now: Now, *events: Event) -> list[Action]:
        """Feed events to the engine; the surroundings answer what they can."""
        done: list[Action] = []
        queue = deque(events)
        while queue:
            self._note_keys()
            actions = self.engine.handle(queue.popleft(), now)
            self._note_keys()
            for action in actions:
                self.log.append(action)
                done.append(action)
                if type(action) in self.hold:
                    self.held.append(action)
                else:
                    queue += self.answer(action)
        self._check_hooked()
        return done

    def answer(self, action: Action) -> Iterable[Event]:
        """What the surroundings make of an action."""
        match action:
            case PlainMessage(sent=True) if self._out:
                self._plain[action.datagram] = action
            case SendDatagram():
                self._leave(action)
            case AllocateSpi(handle):
                # 1 to 255 are reserved (RFC 2406 section 2.1).
                self.spis_drawn.append(b"\xc1" + self._rng.draw("spi", 3))
                yield SpiAllocated(handle, self.spis_drawn[-1])
            case InstallIpsecSa():
                yield IpsecInstallDone(action.handle)
            case CheckPeerCert(handle, _, certificates):
                waiting = self.engine.table.sas.get(handle)
                peer_id = None if waiting is None else waiting.peer_id
                yield self._verdict(handle, certificates, peer_id)
            case _:
                pass

    # --- what the script looks at ---------------------------------------------------------------

    def of(self, kind: type[T]) -> list[T]:
        """All actions of one type so far."""
        return [action for action in self.log if isinstance(action, kind)]

    def of_message(self, message: PayloadRule | str) -> list[PlainMessage]:
        """The messages of a name that this peer built, in clear and as the engine sealed them."""
        name = message_name(message)
        return [plain for plain in self.of(PlainMessage) if plain.sent and plain.message == name]

    @property
    def moves(self) -> list[str]:
        """`OLD -> NEW` of every transition so far."""
        return [f"{t.old_state} -> {t.new_state}" for t in self.of(Transition)]

    @property
    def states(self) -> list[str]:
        """States of all ISAKMP SAs that exist now."""
        return [sa.state.value for sa in self.engine.table.sas.values()]

    @property
    def refusals(self) -> list[str]:
        """Reasons of everything refused so far."""
        return [refused.reason for refused in self.of(Refused)]

    @property
    def story(self) -> list[str]:
        """One line a message taken or built, and a refusal with its reason, in order."""
        told: list[str] = []
        for action in self.log:
            match action:
                case PlainMessage():
                    told.append(action.comment)
                case Refused():
                    told.append(f"{action.message} refused: {action.reason}: {action.detail}")
                case _:
                    pass
        return told

    def forget(self) -> None:
        """Drop what was noted so far, as before a run of thousands of messages.

        Gone are `log`, `received`, `spis_drawn`, `kept` and `held`, and what a repeat of a changed
        message would have been; SAs, hooks and what waits in `outbox` stay.
        """
        for notes in (self.log, self.received, self.spis_drawn, self.kept, self.held):
            notes.clear()
        self._made.clear()
        self._keys = {pair: keys for pair, keys in self._keys.items() if self._has_sa(pair)}

    def _has_sa(self, cookies: tuple[bytes, bytes]) -> bool:
        return self.engine.table.find(*cookies) is not None

    # --- out and in -----------------------------------------------------------------------------

    def _note_keys(self) -> None:
        """An SA that a message deletes is gone before its DELETE can be changed."""
        if self._out or self._in:
            for sa in self.engine.table.sas.values():
                if sa.keys is not None:
                    self._keys[sa.cky_i, sa.cky_r] = Keys.of(sa)

    def _check_hooked(self) -> None:
        """A message that went out in fragments was whole nowhere: its hook could do nothing."""
        cut = [name for plain in self._plain.values() if (name := plain.message) in self._out]
        self._plain.clear()
        if cut:
            raise ConfigError(
                f"{', '.join(cut)} left in fragments, which the hook on it does not see",
                hint="use a configuration without fragmentation, or a hook on FRAG",
            )

    def _leave(self, action: SendDatagram) -> None:
        """Put a datagram into the outbox, as the hook on its name has it."""
        plain = self._plain.pop(action.octets, None)
        if plain is not None and plain.message in self._out:
            hook = self._out[plain.message]
            octets = action.octets
            if hook.changes:
                octets = rewrite.outgoing(self, hook, plain, self._keys)
            self._made[action.octets] = (hook, octets)
        if action.octets not in self._made:
            self.outbox.append(action)
            return
        hook, octets = self._made[action.octets]
        if hook.lost > 0:
            hook.lost -= 1
        elif hook.keeps:
            self.kept.append(Kept(hook.message, True, octets, action.remote))
        else:
            wave = [*hook.before, *[octets] * hook.copies, *hook.after]
            self.outbox += [replace(action, octets=each) for each in wave]

    def _take(
        self, hook: Hook, octets: bytes, now: Now, path: tuple[Endpoint, Endpoint]
    ) -> list[Action]:
        """Give the engine a datagram, as the hook on its name has it."""
        if hook.lost > 0:
            hook.lost -= 1
            return []
        shown = octets
        if hook.changes:
            try:
                shown = rewrite.incoming(self.engine.table, hook, octets)
            except WireError:
                pass  # cannot be read: the engine shall say why
        if hook.keeps:
            self.kept.append(Kept(hook.message, False, shown, path[1]))
            return []
        done: list[Action] = []
        for each in [*hook.before, *[shown] * hook.copies, *hook.after]:
            done += self.give(now, DatagramReceived(*path, each))
        if shown != octets:
            rewrite.follow(self.engine.table, shown, octets)
        return done
