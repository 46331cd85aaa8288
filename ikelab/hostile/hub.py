"""A router under attack as a case sees it, and what every shot at it must also keep.

`Hub` is what a player brings: the simulated router of the tests or a node of a deployed lab.
`Assault` is what a case works with: it sends, says in few words what came back and which counters
rose, and holds the invariants that need no case of their own: every answer is a message that can be
read and built again, octet for octet, and nobody who has not shown our cookie gets more octets than
it sent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from ikelab.errors import IkelabError, WireError
from ikelab.hostile.registry import Seen, Shot
from ikelab.isakmp.events import InstallIpsecSa
from ikelab.isakmp.policy import AggressivePeer
from ikelab.isakmp.state import PayloadRule
from ikelab.script import MM1, Message, Peer
from ikelab.script.names import message_name
from ikelab.types import Endpoint, Now
from ikelab.wire.isakmp import HEADER_LENGTH, parse_header
from ikelab.wire.numbers import ExchangeType, Flags, IdType, NotifyType
from ikelab.wire.payloads import NOTIFY

SILENCE = "silence"
_ROUNDS = 40  # messages of one dialogue, repeats included


class NotHere(IkelabError):
    """This hub cannot be attacked that way: no such method, no clock to turn."""


class Hub(Protocol):
    """Where attacks go. end: its UDP 500. stranger: an address it has no tunnel with."""

    end: Endpoint
    stranger: Endpoint

    def now(self) -> Now:
        """The time that the attackers' peers go by."""
        ...

    def send(self, octets: bytes, source: Endpoint) -> None:
        """Deliver a datagram; returns when the hub is done with it."""
        ...

    def inbox(self, at: Endpoint) -> list[bytes]:
        """What the hub has sent to an end since the last call."""
        ...

    def recorded(self) -> Counter[str]:
        """`show crypto isakmp drops`, by reason."""
        ...

    def member(self, method: str = "") -> Peer:
        """A peer that the hub has a tunnel for, with good credentials, at an end of its own.

        method: "psk", "rsa", or "" for any. Raises NotHere.
        """
        ...

    def advance(self, seconds: float) -> None:
        """Let time pass. Raises NotHere where nobody turns the clock."""
        ...

    def provoke(self, peer: Peer) -> None:
        """Let the hub begin an exchange with a member. Raises NotHere."""
        ...

    def allow_aggressive_mode(self) -> None:
        """`no crypto isakmp aggressive-mode disable`. Raises NotHere."""
        ...

    def sas(self) -> int:
        """How many ISAKMP SAs there are, in any state."""
        ...

    def check(self) -> None:
        """Raises AssertionError where an attack came to something."""
        ...


class Assault:
    """One case's dealings with a hub."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub

    def check(self) -> None:
        """The hub proves that nothing came of it."""
        self.hub.check()

    # --- shots --------------------------------------------------------------------------------

    def shot(
        self,
        what: str,
        octets: bytes,
        answer: str = SILENCE,
        reason: str = "",
        *,
        source: Endpoint | None = None,
        peer: Peer | None = None,
    ) -> Shot:
        """Send octets. source: the stranger unless said otherwise. peer: sends, and can read the
        answer.
        """
        end = source or (peer.end if peer is not None else self.hub.stranger)
        return Shot(what, lambda: self.fire(octets, end, peer), answer, reason)

    def deed(self, what: str, do: Callable[[], str], answer: str, reason: str = "") -> Shot:
        """Anything else a case does; `do` says what came of it."""
        return Shot(what, lambda: self.seen(do), answer, reason)

    def seen(self, do: Callable[[], str]) -> Seen:
        """What came of a deed, and which counters rose."""
        before = self.hub.recorded()
        answer = do()
        return Seen(answer, tuple((self.hub.recorded() - before).keys()))

    def fire(self, octets: bytes, source: Endpoint, peer: Peer | None = None) -> Seen:
        """Send octets and look."""

        def send() -> str:
            self.hub.inbox(source)
            self.hub.send(octets, source)
            answers = self.hub.inbox(source)
            told = " + ".join(describe(answer, peer) for answer in answers) or SILENCE
            if not _shows_our_cookie(octets) and sum(map(len, answers)) > len(octets):
                told += f", {sum(map(len, answers))} octets for {len(octets)}"
            return told

        return self.seen(send)

    # --- peers --------------------------------------------------------------------------------

    def takes(self, method: str) -> bool:
        """Whether members can authenticate that way."""
        try:
            self.hub.member(method)
        except NotHere:
            return False
        return True

    def member(self, method: str = "") -> Peer:
        """A peer with good credentials."""
        return self.hub.member(method)

    def aggressive(self, method: str = "") -> Peer:
        """A member that begins aggressive mode. Raises NotHere where the hub does not allow it."""
        self.hub.allow_aggressive_mode()
        peer = self.hub.member(method)
        config = peer.engine.config
        name = AggressivePeer(self.hub.end.address, IdType.ID_FQDN, config.hostname)
        peer.configure(
            replace(config, aggressive_mode=True, aggressive_peers=(name,)), self.hub.now()
        )
        return peer

    def run(self, peer: Peer) -> None:
        """Carry a peer's dialogue until nobody has anything to say."""
        for _ in range(_ROUNDS):
            while peer.outbox:
                self.hub.send(peer.outbox.pop(0).octets, peer.end)
            answers = self.hub.inbox(peer.end)
            if not answers:
                return
            for answer in answers:
                peer.receive(answer, self.hub.now(), self.hub.end)
        raise AssertionError("the dialogue does not end")

    def establish(self, peer: Peer) -> Peer:
        """Begin and carry on as far as the peer's hooks let it."""
        peer.request(self.hub.now())
        self.run(peer)
        return peer

    def tunnel(self) -> str:
        """A member comes through: main mode and quick mode, "a tunnel" if all is well."""
        peer = self.establish(self.member())
        return "a tunnel" if peer.of(InstallIpsecSa) else f"nothing: {peer.story}"

    def before(self, message: PayloadRule | str, method: str = "") -> tuple[Peer, bytes]:
        """A member that has come as far as this message of its own, and the message, unsent."""
        peer = self.member(method)
        peer.on(message).keep()
        self.establish(peer)
        assert peer.kept, f"{message_name(message)} was not reached: {peer.story}"
        return peer, peer.kept[-1].octets

    def first_octets(self) -> bytes:
        """The octets of a fresh message 1."""
        peer = self.member()
        peer.on(MM1).keep()
        peer.request(self.hub.now())
        return peer.kept[-1].octets


def _shows_our_cookie(octets: bytes) -> bool:
    return len(octets) >= HEADER_LENGTH and any(octets[8:16])


def describe(octets: bytes, peer: Peer | None = None) -> str:
    """A datagram of the hub in few words: "MM2", "N NO-PROPOSAL-CHOSEN", "N R-U-THERE-ACK sealed".

    Raises AssertionError for one that is no message, or not what our own builder makes of it.
    """
    header = parse_header(octets)
    if header.flags & Flags.ENCRYPTION:
        return f"{_sealed(octets, peer)} sealed"
    message = Message.read(octets)
    assert message.build() == octets, f"not what a builder makes: {octets.hex()}"
    match header.exchange_type:
        case ExchangeType.INFORMATIONAL:
            return _told(message)
        case ExchangeType.IDENTITY_PROTECTION:
            return "MM2" if message.all("sa") else "MM4"
        case ExchangeType.AGGRESSIVE:
            return "AM2"
        case _:
            return f"exchange {header.exchange_type}"


def _sealed(octets: bytes, peer: Peer | None) -> str:
    header = parse_header(octets)
    match header.exchange_type:
        case ExchangeType.IDENTITY_PROTECTION:
            return "MM6"
        case ExchangeType.QUICK:
            return "QM"
        case _ if peer is None:
            return "INFO"
    try:
        return _told(peer.read(octets))
    except WireError:
        return "INFO"


def _told(message: Message) -> str:
    names = [_notify(int(layer.notify_type)) for layer in message.all("notify")]
    names += ["D" for _ in message.all("delete")]
    return "N " + " ".join(names) if names else "INFO"


def _notify(number: int) -> str:
    try:
        return NotifyType(number).name.replace("_", "-")
    except ValueError:
        return str(number)


def without_notifies(message: Message) -> None:
    """INITIAL-CONTACT would end the SAs of whoever has the same identity, rightly."""
    message.payloads = [layer for layer in message.payloads if not isinstance(layer, NOTIFY)]
