"""One console: where it stands, what it sees, and what a line typed there comes to.

It acts on nothing: commands go out as `Command`, edits as `Edited` with the configuration before
and after, and the node does the rest. `?` and Tab are answered from the command table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ikelab.errors import ConfigError
from ikelab.ios.arguments import Command
from ikelab.ios.command_tree import Found, Place, find, forms, is_negative
from ikelab.ios.config import LabMode, RunningConfig
from ikelab.ios.debugging import switched
from ikelab.ios.grammar import Failure, Fault, Grammar, Path, offers, walk
from ikelab.ios.parameters import Line
from ikelab.ios.pipe import FILTERS, parse_pipe
from ikelab.ios.row import Mode
from ikelab.ios.strength import refuse_weak
from ikelab.ios.text import visible


@dataclass(frozen=True, slots=True)
class Edited:
    """The configuration was changed by a line. said: what the console prints about it."""

    before: RunningConfig
    after: RunningConfig
    said: str = ""


@dataclass(frozen=True, slots=True)
class Said:
    """The console's own answer. failed: the line was not taken."""

    text: str
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Closed:
    """`exit` in exec mode."""


Outcome = Command | Edited | Said | Closed


class Session:
    """One console of one node. Set `config` anew when another console has changed it."""

    def __init__(self, config: RunningConfig, *, mode: LabMode = "modern") -> None:
        self.config = config
        self.mode: LabMode = mode
        self.place = Place()
        self.debugging: frozenset[str] = frozenset()

    @property
    def prompt(self) -> str:
        """`hub#`, `hub(config-if)#`."""
        where = f"({self.place.mode.value})" if self.place.mode.value else ""
        return f"{self.config.hostname[:20]}{where}#"

    def enter(self, text: str) -> Outcome:
        """What one line comes to."""
        line = Line.split(text.expandtabs())
        if not line.words or line.words[0].text.startswith("!"):
            return Said("")
        try:
            return self._take(line)
        except ConfigError as error:
            hint = f" ({error.hint})" if error.hint else ""
            return Said(f"% {error.reason}{hint}\n", failed=True)

    def _take(self, line: Line) -> Outcome:
        place = self.place
        do = _after_do(line, place)
        if do is not None:
            place, line = Place(Mode.EXEC), do
        command, bar, filter_text = _split_pipe(line, place)
        found = find(command, place)
        if isinstance(found, Failure):
            return self._failure(found, line)
        if found.edit is not None:
            return self._edit(found)
        outcome = self._console(found, at_console=do is None)
        if not bar or not isinstance(outcome, Command):
            return outcome
        pipe = parse_pipe(filter_text)
        if isinstance(pipe, Failure):
            column = line.text.index("|") + 1 + pipe.column
            return self._failure(replace(pipe, column=column), line)
        return replace(outcome, pipe=pipe)

    def _edit(self, found: Found) -> Edited:
        refuse_weak(found.weak, self.mode)
        self._refuse_locked(found)
        before = self.config
        self.config = found.apply(before)
        self.place = found.next_place
        is_new = found.row.notice and self.config != before and not found.negative
        return Edited(before, self.config, f"{found.row.notice}\n" if is_new else "")

    def _refuse_locked(self, found: Found) -> None:
        """A running certificate server takes no change but `shutdown`."""
        if found.place.mode is not Mode.CS_SERVER or found.row.grammar.name == "shutdown":
            return
        if self.config.servers[found.place.key].enabled:
            raise ConfigError('Server\'s configuration is locked  (enter "shut" to unlock it)')

    def _console(self, found: Found, *, at_console: bool) -> Outcome:
        """A command without an edit: the console's own, or the node's. at_console: not by `do`."""
        refuse_weak(found.weak, self.mode)
        name = ("no " if found.negative else "") + found.row.grammar.name
        if name == "configure terminal" and at_console:
            self.place = Place(Mode.CONFIG)
            return Said("Enter configuration commands, one per line.  End with CNTL/Z.\n")
        if name in ("exit", "end") and at_console:
            return self._leave(to_exec=name == "end")
        if name in ("configure terminal", "exit", "end"):
            raise ConfigError(f"`do {name}` has no meaning here")
        if "debug" in name.replace("undebug", "no debug").split():
            return self._debug(name.replace("undebug", "no debug"))
        return Command(name, found.arguments)

    def _leave(self, *, to_exec: bool) -> Outcome:
        if self.place.mode is Mode.EXEC:
            return Closed()
        self.place = Place(Mode.EXEC) if to_exec else self.place.above
        return Said("")

    def _debug(self, name: str) -> Said:
        if name == "no debug all":
            self.debugging = frozenset()
            return Said("All possible debugging has been turned off\n")
        on, what = not name.startswith("no "), name.partition("debug ")[2]
        self.debugging = self.debugging | {what} if on else self.debugging - {what}
        return Said(switched(what, on))

    def _failure(self, failure: Failure, line: Line) -> Said:
        if failure.fault is Fault.AMBIGUOUS:
            return Said(f'% Ambiguous command:  "{visible(line.text.strip())}"\n', failed=True)
        if failure.fault is Fault.INCOMPLETE:
            return Said("% Incomplete command.\n", failed=True)
        caret = " " * (len(self.prompt) + failure.column) + "^"
        return Said(f"{caret}\n% Invalid input detected at '^' marker.\n", failed=True)

    # --- ? and Tab ----------------------------------------------------------------------------

    def help(self, text: str) -> str:
        """What `?` prints after this text, which ends in a blank or in a part of a word."""
        question = self._question(text)
        known = _known(question)
        if isinstance(known, Failure):
            if known.fault is Fault.AMBIGUOUS:
                return f'% Ambiguous command:  "{visible(text.strip())}"\n'
            return "% Unrecognized command\n"
        return _columns(known) if question.part is None else _matching(known, question.part)

    def complete(self, text: str) -> str | None:
        """The text with its last word made whole, None where that is not unique."""
        question = self._question(text)
        known = _known(question)
        if question.part is None or isinstance(known, Failure):
            return None
        fits = [label for label, _ in known if label.startswith(question.part)]
        return text + fits[0][len(question.part) :] + " " if len(fits) == 1 else None

    def _question(self, text: str) -> _Question:
        """What is asked about: `do` asks about exec mode, a bar about the filters."""
        line, place = Line.split(text.expandtabs(), comments=False), self.place
        partial = bool(text) and not text[-1].isspace()
        if len(line.words) > partial and (do := _after_do(line, place)) is not None:
            line, place = do, Place(Mode.EXEC)
        _, bar, filter_text = _split_pipe(line, place)
        if bar:
            line = Line.split(filter_text, comments=False)
            partial = partial and bool(line.words)
        where = None if bar else place
        if not partial:
            return _Question(line, where)
        before = Line(line.text, line.words[:-1])
        return _Question(before, where, line.words[-1].text.lower())


@dataclass(frozen=True, slots=True)
class _Question:
    """What `?` or Tab is asked: the words before, and the part of a word, if any.

    place: None behind a bar.
    """

    line: Line
    place: Place | None
    part: str | None = None


def _known(question: _Question) -> list[tuple[str, str]] | Failure:
    """What may stand where the question is."""
    line, place = question.line, question.place
    if place is None:
        found = _offers(FILTERS, walk(FILTERS, line, 0, len(line.words)))
        return found if isinstance(found, Failure) else _sorted(found)
    known = _known_in(line, place)
    if isinstance(known, Failure) and place.mode not in (Mode.EXEC, Mode.CONFIG):
        known = _known_in(line, Place(Mode.CONFIG))
    return known


def _known_in(line: Line, place: Place) -> list[tuple[str, str]] | Failure:
    start, stop = int(is_negative(line, place)), len(line.words)
    _, grammars = forms(place.mode, negative=False)
    known = _offers(grammars, walk(grammars, line, start, stop))
    if start:
        helps = {} if isinstance(known, Failure) else known
        _, grammars = forms(place.mode, negative=True)
        undone = _offers(grammars, walk(grammars, line, start, stop))
        # Some `no` forms have a grammar of their own, without help: the rows' help serves.
        known = (
            undone
            if isinstance(undone, Failure)
            else {label: text or helps.get(label, "") for label, text in undone.items()}
        )
    if isinstance(known, Failure):
        return known
    if stop == 0 and place.mode is not Mode.EXEC:
        known["no"] = "Negate a command or set its defaults"
    if stop and _is_show(line) and "<cr>" in known:
        known["|"] = "Output modifiers"
    return _sorted(known)


def _offers(grammars: Sequence[Grammar], paths: list[Path] | Failure) -> dict[str, str] | Failure:
    """Help by label: rows that begin alike need it once among them."""
    if isinstance(paths, Failure):
        return paths
    texts: dict[str, str] = {}
    for label, text in offers(grammars, paths):
        texts[label] = texts.get(label) or text
    return texts


def _sorted(known: Mapping[str, str]) -> list[tuple[str, str]]:
    """As IOS lists them: by the alphabet, then the bar, then the end of the line."""
    last = {"|": 1, "<cr>": 2}
    return sorted(known.items(), key=lambda entry: (last.get(entry[0], 0), entry[0].lower()))


def _columns(known: list[tuple[str, str]]) -> str:
    """One line an entry."""
    width = max(len(label) for label, _ in known)
    return "".join(f"  {label:<{width}}  {text}".rstrip() + "\n" for label, text in known)


def _matching(known: list[tuple[str, str]], part: str) -> str:
    """The keywords that begin so, side by side; failing these, the parameters."""
    fits = [label for label, _ in known if label.startswith(part)]
    fits = fits or [label for label, _ in known if label[0].isupper() or label[:2] == "<0"]
    return "  ".join(fits) + "\n" if fits else "% Unrecognized command\n"


def _is_show(line: Line) -> bool:
    first = line.words[0].text.lower() if line.words else ""
    return len(first) > 1 and "show".startswith(first)


def _after_do(line: Line, place: Place) -> Line | None:
    """The line after `do` with its columns kept; None where there is no `do`."""
    if place.mode is Mode.EXEC or not line.words or line.words[0].text.lower() != "do":
        return None
    return Line(line.text, line.words[1:])


def _split_pipe(line: Line, place: Place) -> tuple[Line, bool, str]:
    """A show command, whether a bar follows, and what stands after it."""
    if place.mode is not Mode.EXEC or not _is_show(line) or "|" not in line.text:
        return line, False, ""
    bar = line.text.index("|")
    head = Line.split(line.text[:bar])
    skipped = len(Line.split(line.text[: line.words[0].column]).words)
    return Line(head.text, head.words[skipped:]), True, line.text[bar + 1 :]
