"""What a row of the command table is, and how rows over one part of the configuration are made.

A row is a grammar with help, the modes it belongs to, and either a command for the node (exec) or
an edit of the configuration with its `no` form and its reading back for the running-config.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, fields, replace
from enum import Enum
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from ikelab.ios.arguments import Arguments, Value
from ikelab.ios.config import RunningConfig
from ikelab.ios.grammar import Grammar, compile_grammar, negated
from ikelab.ios.vocabulary import KINDS

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    S = TypeVar("S", bound=DataclassInstance)
else:
    S = TypeVar("S")


class Mode(Enum):
    """Where a console stands. The value is what the prompt shows in brackets."""

    EXEC = ""
    CONFIG = "config"
    CONFIG_IF = "config-if"
    CA_TRUSTPOINT = "ca-trustpoint"
    CS_SERVER = "cs-server"
    CONFIG_ISAKMP = "config-isakmp"
    CONFIG_ISAKMP_PEER = "config-isakmp-peer"
    CONF_ISA_PROF = "conf-isa-prof"
    CONF_KEYRING = "conf-keyring"
    CFG_CRYPTO_TRANS = "cfg-crypto-trans"
    IPSEC_PROFILE = "ipsec-profile"


@dataclass(frozen=True, slots=True)
class Shown:
    """One line of the running-config: the row with these arguments, or its `no` form."""

    arguments: Arguments
    negative: bool = False


Edit = Callable[[RunningConfig, str, Arguments], RunningConfig]
"""(configuration, key of the section one stands in, arguments) to the new configuration."""
Read = Callable[[RunningConfig, str], Iterable[Shown]]


@dataclass(frozen=True, slots=True)
class Row:
    """One command.

    edit: None for a row that the node carries out or the console itself. undo: its `no` form, None
    where IOS has none. enters: the mode after it, at the section that `key` names. notice: what
    the console says when it has changed something. once: what it makes is kept by the node, not
    shown by IOS's running-config, though a file needs it. spelled: how the running-config writes
    the first words where that differs.
    """

    modes: tuple[Mode, ...]
    grammar: Grammar
    edit: Edit | None = None
    undo: Edit | None = None
    undo_grammar: Grammar | None = None
    read: Read | None = None
    enters: Mode | None = None
    key: Callable[[Arguments], str] | None = None
    notice: str = ""
    once: bool = False
    spelled: tuple[str, str] = ("", "")

    def line(self, shown: Shown) -> str:
        """One line of the running-config."""
        if shown.negative:
            return f"no {self.grammar.lead}"
        text = self.grammar.render(shown.arguments)
        typed, spelled = self.spelled
        return spelled + text.removeprefix(typed) if typed else text


def words_of(help_text: str) -> list[str]:
    """`"Set policy | Priority"` as one help text a word."""
    return [part.strip() for part in help_text.split("|")] if help_text else []


def exec_row(
    grammar: str, help_text: str, *, also: tuple[Mode, ...] = (), executive: bool = True
) -> Row:
    """A command for the node or the console, in exec mode (unless told not) and those of `also`."""
    modes = (Mode.EXEC, *also) if executive else also
    return Row(modes, compile_grammar(grammar, words_of(help_text), KINDS))


def bind(**values: Value | None) -> Arguments:
    """Arguments of the values that are not None."""
    return Arguments({name: value for name, value in values.items() if value is not None})


def shown(**values: Value | None) -> Shown:
    """A line of the running-config with these arguments; None: left out."""
    return Shown(bind(**values))


@dataclass(frozen=True, slots=True)
class Section(Generic[S]):
    """The rows of one mode: they edit one part of the configuration, found by its key."""

    mode: Mode
    get: Callable[[RunningConfig, str], S]
    put: Callable[[RunningConfig, str, S], RunningConfig]

    def row(
        self,
        grammar: str,
        help_text: str,
        edit: Callable[[S, Arguments], S],
        undo: Callable[[S, Arguments], S] | None,
        read: Callable[[S], Iterable[Shown]],
        *,
        no: str = "",
        spelled: tuple[str, str] = ("", ""),
        once: bool = False,
    ) -> Row:
        """A row whose edits take and give the section. no: another grammar for the `no` form."""
        compiled = compile_grammar(grammar, words_of(help_text), KINDS)
        undone = compile_grammar(no, [], KINDS) if no else negated(compiled)
        return Row(
            (self.mode,),
            compiled,
            edit=self._lift(edit),
            undo=self._lift(undo) if undo is not None else None,
            undo_grammar=undone if undo is not None else None,
            read=lambda config, key: read(self.get(config, key)),
            spelled=spelled,
            once=once,
        )

    def attribute(self, grammar: str, help_text: str, name: str) -> Row:
        """A row over one attribute, which its grammar binds under the attribute's own name."""

        def write(section: S, arguments: Arguments) -> S:
            return with_attribute(section, name, arguments[name])

        def read(section: S) -> Iterable[Shown]:
            value = getattr(section, name)
            return [] if value == default_of(section, name) else [shown(**{name: value})]

        return self.row(grammar, help_text, write, self.reset(name), read)

    def flag(self, grammar: str, help_text: str, name: str, *, no_shown: bool = False) -> Row:
        """A row without arguments over a truth value. no_shown: `no ...` is printed when False."""

        def read(section: S) -> Iterable[Shown]:
            if getattr(section, name):
                return [shown()]
            return [Shown(Arguments(), negative=True)] if no_shown else []

        def write(section: S, arguments: Arguments) -> S:
            return with_attribute(section, name, True)

        def clear(section: S, arguments: Arguments) -> S:
            return with_attribute(section, name, False)

        return self.row(grammar, help_text, write, clear, read)

    def reset(self, name: str) -> Callable[[S, Arguments], S]:
        """An undo: the attribute has its default again."""
        return lambda section, _: with_attribute(section, name, default_of(section, name))

    def _lift(self, edit: Callable[[S, Arguments], S]) -> Edit:
        def whole(config: RunningConfig, key: str, arguments: Arguments) -> RunningConfig:
            return self.put(config, key, edit(self.get(config, key), arguments))

        return whole


@dataclass(frozen=True, slots=True)
class NamedSection(Section[S]):
    """One of several sections of a kind, each with a name. all, put_all: the whole mapping of them.

    The rest as in `named_section`.
    """

    all: Callable[[RunningConfig], Mapping[str | int, S]]
    put_all: Callable[[RunningConfig, Mapping[str | int, S]], RunningConfig]
    make: Callable[[str], S]
    argument: str
    index: Callable[[str], str | int]

    def add(self, config: RunningConfig, _: str, arguments: Arguments) -> RunningConfig:
        """Make the section that a row names where it is new."""
        name = arguments.text(self.argument)
        known = self.all(config).get(self.index(name), self.make(name))
        return self.put(config, name, known)

    def remove(self, config: RunningConfig, _: str, arguments: Arguments) -> RunningConfig:
        """Without the section that a row names."""
        gone = self.index(arguments.text(self.argument))
        kept = {key: part for key, part in self.all(config).items() if key != gone}
        return self.put_all(config, kept)

    def lines(self, config: RunningConfig) -> Iterable[Shown]:
        """A line for each, in the order in which they were made."""
        return [shown(**{self.argument: key}) for key in self.all(config)]

    def enter(
        self,
        grammar: str,
        help_text: str,
        *,
        add: Edit | None = None,
        remove: Edit | None = None,
        read: Callable[[RunningConfig], Iterable[Shown]] | None = None,
        no: str = "",
        notice: str = "",
    ) -> Row:
        """A global row that makes a section where it is new, and enters it.

        add, remove, read: instead of what every section does. no: as in `row`.
        """
        compiled = compile_grammar(grammar, words_of(help_text), KINDS)
        listed = read or self.lines
        return Row(
            (Mode.CONFIG,),
            compiled,
            edit=add or self.add,
            undo=remove or self.remove,
            undo_grammar=compile_grammar(no, [], KINDS) if no else compiled,
            read=lambda config, _: listed(config),
            enters=self.mode,
            key=lambda arguments: arguments.text(self.argument),
            notice=notice,
        )


def named_section(
    mode: Mode,
    attribute: str,
    make: Callable[[str], S],
    *,
    argument: str = "name",
    index: Callable[[str], str | int] = str,
) -> NamedSection[S]:
    """The sections that the configuration keeps in one attribute, a mapping.

    make: a new one of a name. argument: what the entering row binds the name to. index: the key of
    the mapping for a name.
    """

    def find(config: RunningConfig) -> Mapping[str | int, S]:
        return cast("Mapping[str | int, S]", getattr(config, attribute))

    def put_all(config: RunningConfig, parts: Mapping[str | int, S]) -> RunningConfig:
        return with_attribute(config, attribute, parts)

    return NamedSection(
        mode,
        lambda config, key: find(config)[index(key)],
        lambda config, key, new: put_all(config, {**find(config), index(key): new}),
        find,
        put_all,
        make,
        argument,
        index,
    )


def with_attribute(section: S, name: str, value: object) -> S:
    """The section with one attribute, named by a string, changed."""
    return replace(section, **{name: value})


def default_of(section: object, name: str) -> object:
    """What a dataclass field holds when nothing is configured."""
    found = next(f for f in fields(cast("DataclassInstance", section)) if f.name == name)
    if found.default is MISSING:
        raise TypeError(f"{type(section).__name__}.{name} has no default")
    return found.default
