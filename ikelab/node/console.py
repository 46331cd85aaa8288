"""The console of a router: a line of text in, text and actions out. Sans-IO.

Parsing, `?` and prompts are `ios/session.py`'s; show texts are `ios/show.py`'s. Here a parsed
command meets the engines. To add one: a row in `ios/exec_commands.py`, and a case in `_deed`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from ikelab.errors import ConfigError, PkiError
from ikelab.ios.arguments import Command
from ikelab.ios.command_tree import Place
from ikelab.ios.config import RunningConfig
from ikelab.ios.log import NodeLog
from ikelab.ios.log_isakmp import Dialect
from ikelab.ios.log_limit import LogLimit
from ikelab.ios.parameters import MONTHS, number_of
from ikelab.ios.row import Mode
from ikelab.ios.session import Closed, Edited, Said, Session
from ikelab.ios.show import Json, plain, show
from ikelab.ios.typed import Typed
from ikelab.ios.zone import Zone
from ikelab.isakmp.events import Clear
from ikelab.node.archive_console import ArchiveConsole, FileOrder, Outcome
from ikelab.node.events import ClockSet, NodeAction
from ikelab.node.pki_console import PkiConsole, named_server, printed_requests
from ikelab.node.router import Router
from ikelab.node.snapshot import PlaneCounters, take_snapshot
from ikelab.pki.request_desk import PASSWORD_MINUTES
from ikelab.types import Now


@dataclass(frozen=True, slots=True)
class PingOrder:
    """What `ping` was asked for. source: a local address; size: octets with the IP header."""

    target: str
    source: str | None
    count: int
    size: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What a line brought: text for the console, actions to carry out, perhaps a ping to run.

    order: a transfer that the rest of the answer waits for; its outcome goes to `Console.then`.
    """

    text: str = ""
    actions: list[NodeAction] = field(default_factory=list)
    ping: PingOrder | None = None
    order: FileOrder | None = None


class Console:
    """One console for all who ask through the control socket.

    plane: the data plane's counters, at the moment of a show command. debugging: what is switched
    on from the start.
    """

    def __init__(
        self,
        router: Router,
        plane: Callable[[], Sequence[PlaneCounters]],
        debugging: Iterable[str] = (),
        dialect: Dialect = "12.4",
    ) -> None:
        self._router = router
        self._plane = plane
        self._session = Session(router.config, mode=router.mode)
        self._pki = PkiConsole(router)
        self._archives = ArchiveConsole(router)
        self._session.debugging = frozenset(debugging)
        self._log = NodeLog(dialect)
        self._limit = LogLimit()

    def exec(self, text: str, now: Now) -> Answer:
        """One command of exec mode; on the lines below it, what it asks for (`ios/typed.py`).

        Raises ConfigError with what the console prints about a fault.
        """
        line, typed = Typed.split(text)
        self._session.config = self._router.config
        self._session.place = Place(Mode.EXEC)  # whatever the last one who asked here has typed
        outcome = self._session.enter(line)
        if self._session.place.mode is not Mode.EXEC:
            raise ConfigError(
                "% configuration mode does not last from one command to the next: give its lines"
                " to `ikelab configure`, all at once"
            )
        match outcome:
            case Said(text, failed):
                if failed:
                    raise ConfigError(_under_the_line(self._session.prompt + line, text.rstrip()))
                typed.finish("this line")
                return Answer(text)
            case Command():
                try:
                    return self._deed(outcome, typed, now)
                except PkiError as error:
                    raise ConfigError(f"% {error}") from error
            case Edited() | Closed():
                raise ConfigError("% that belongs into configuration mode: use `ikelab configure`")

    def configure(self, lines: Sequence[str], now: Now) -> Answer:
        """Lines as typed after `configure terminal`: all of them are taken, or none.

        The new configuration is put into force. Commands among them (`crypto pki enroll`) follow,
        each with what it asks for in the same text, below it.
        """
        session = Session(self._router.config, mode=self._router.mode)
        session.debugging = self._session.debugging
        session.enter("configure terminal")
        stops: list[RunningConfig] = []  # put into force on the way: `shutdown`, `no shutdown`
        said, commands = "", list[tuple[Command, Typed]]()
        for number, text in enumerate(lines, start=1):
            line, typed = Typed.split(text)
            outcome = session.enter(line)
            match outcome:
                case Said(words, failed):
                    if failed:
                        raise ConfigError(f"{line.strip()}: {words.strip()}", line=number)
                    said += words
                case Edited():
                    self._refuse_after_transfer(commands)
                    said += outcome.said
                    if _stops_a_server(outcome):
                        stops.append(outcome.after)
                case Command():
                    self._refuse_after_transfer(commands)
                    commands.append((outcome, typed))
                    continue
                case Closed():
                    break
            typed.finish("this line")
        self._session.debugging = session.debugging
        actions: list[NodeAction] = []
        for stop in stops:
            actions += self._router.configure(stop, now)
        if session.config != self._router.config:
            actions += self._router.configure(session.config, now)
            said += printed_requests(actions)
        for command, typed in commands:
            try:
                answer = self._deed(command, typed, now)
            except (PkiError, ConfigError) as error:
                fault = f"% {error}" if isinstance(error, PkiError) else error.reason
                if actions:  # what was done already must be carried out
                    return Answer(f"{said}{fault}\n", actions)
                raise error if isinstance(error, ConfigError) else ConfigError(fault) from error
            said += answer.text
            actions += answer.actions
            if answer.order is not None:
                return Answer(said, actions, order=answer.order)
        return Answer(said, actions)

    def _refuse_after_transfer(self, commands: Sequence[tuple[Command, Typed]]) -> None:
        """What stands below a transfer would be done before it has ended."""
        if commands and self._archives.takes(commands[-1][0]):
            name = commands[-1][0].name
            raise ConfigError(f"% `{name}` takes time: give what follows it afterwards")

    def then(self, order: FileOrder, outcome: Outcome, now: Now) -> Answer:
        """The rest of a command whose transfer has ended. Raises ConfigError."""
        try:
            said, actions = order.then(outcome, now)
        except PkiError as error:
            raise ConfigError(f"% {error}") from error
        return Answer(said, list(actions))

    def printed(self, facts: Iterable[object], now: Now) -> str:
        """What the console prints of these facts, now that so much debugging is switched on."""
        admitted = self._limit.admit(facts, now)
        return self._log.text(admitted, now, self._session.debugging, self.config.times)

    def snapshot(self, now: Now) -> dict[str, Json]:
        """Everything the node shows, as plain data."""
        facts = plain(take_snapshot(self._router, now, self._plane(), self._session.debugging))
        assert isinstance(facts, dict)
        return facts

    # --- deeds --------------------------------------------------------------------------------

    def _deed(self, command: Command, typed: Typed, now: Now) -> Answer:
        if self._pki.takes(command):
            said, actions = self._pki.carry_out(command, typed, now)
            return Answer(said, list(actions))
        typed.finish(command.name)
        if self._archives.takes(command):
            said, order = self._archives.order(command)
            return Answer(said, order=order)
        router, arguments = self._router, command.arguments
        name = arguments.text("trustpoint")
        match command.name:
            case "crypto pki crl request":
                return Answer("", router.request_crl(name, now))
            case "clear crypto isakmp":
                return Answer("", router.handle(Clear(), now))
            case "clear crypto sa":
                return Answer("", router.handle(Clear(phase2_only=True), now))
            case "clear crypto sa peer":
                peer = arguments.text("peer")
                return Answer("", router.handle(Clear(peer, phase2_only=True), now))
            case "clock set":
                return Answer("", [_set_clock(command, now, self.config.times.zone)])
            case "ping":
                return Answer(ping=self._ping(command))
            case "crypto pki server password generate":
                return self._generate_password(command, now)
            case "crypto pki server revoke":
                return self._revoke(command, now)
        snapshot = take_snapshot(router, now, self._plane(), self._session.debugging)
        return Answer(show(command, snapshot))

    def _ping(self, command: Command) -> PingOrder:
        arguments = command.arguments
        source = arguments.text("source") or None
        if source is not None and "." not in source:
            interface = self._router.config.interfaces.get(source)
            if interface is None or interface.address is None:
                raise ConfigError(f"% Invalid source interface - {source} has no address")
            source = interface.address
        return PingOrder(
            arguments.text("target"),
            source,
            arguments.number("repeat", 5),
            arguments.number("size", 100),
        )

    def _generate_password(self, command: Command, now: Now) -> Answer:
        """Said once; the server keeps only its digest."""
        minutes = command.arguments.number("minutes", PASSWORD_MINUTES)
        name = command.arguments.text("name")
        server = named_server(self._router, command.arguments)
        password = server.generate_password(now, minutes, name)
        whose = f" for {name}" if name else ""
        return Answer(f"% One-time password{whose}, good for {minutes} minutes: {password}\n")

    def _revoke(self, command: Command, now: Now) -> Answer:
        server = named_server(self._router, command.arguments)
        serial = int(command.arguments.text("serial"), 16)
        notices = server.revoke(serial, now)
        said = "".join(f"{line.text}\n" for line in self._log.lines(notices) if not line.debug)
        return Answer(said, [*notices, *self._router.queues[server.config.name].pump()])

    @property
    def config(self) -> RunningConfig:
        """The configuration in force."""
        return self._router.config


def _set_clock(command: Command, now: Now, zone: Zone) -> ClockSet:
    """`clock set 14:58:59 2 april 2009`, in the node's zone."""
    arguments = command.arguments
    month = number_of(MONTHS, arguments.text("month"))
    assert month is not None  # the grammar has seen it
    hour, minute, second = map(int, arguments.text("time").split(":"))
    try:
        date = datetime(
            *(arguments.number("year"), month + 1, arguments.number("day"), hour, minute, second),
            tzinfo=UTC,
        )
    except ValueError as error:
        raise ConfigError(f"% Invalid date: {error}") from error
    return ClockSet(zone.utc(date), now.wall)


def _under_the_line(typed: str, text: str) -> str:
    """A text with a caret as a terminal shows it, below the line that it points into."""
    caret, _, rest = text.partition("\n")
    return f" {typed}\n {caret}\n{rest}" if caret.strip() == "^" else text


def _stops_a_server(edited: Edited) -> bool:
    """Whether a line ended a certificate server, which the lines below may begin anew."""
    after = edited.after.servers
    return any(
        name not in after or (server.enabled and not after[name].enabled)
        for name, server in edited.before.servers.items()
    )
