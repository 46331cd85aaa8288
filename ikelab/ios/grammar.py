"""The little language of command rows, and matching a line against many of them at once.

    ip route A.B.C.D:prefix A.B.C.D:mask A.B.C.D:next_hop
    keyword          a word, abbreviable where that is unique; `keyword:name` also binds itself
    KIND:name        a word of this kind (see KINDS in `vocabulary.py`), bound to the name
    <1-999>:name     a number
    [ ... ]          may be left out
    {[ ... ] [ ... ]}  these optional parts in any order

A line is walked word by word through all rows together, as IOS does it: an exact keyword wins over
an abbreviation, an abbreviation must be unique among the keywords that may stand there, and any
keyword wins over a parameter.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from ikelab.ios.arguments import Arguments, Value
from ikelab.ios.parameters import Line, Number, Option, Parameter

Kind = Parameter | tuple[Option, ...]
END = -1
"""The position after a row's last element."""


@dataclass(frozen=True, slots=True)
class Element:
    """A keyword (one option), a choice (many) or a parameter. name: what its value is bound to."""

    index: int
    name: str | None
    options: tuple[Option, ...] = ()
    parameter: Parameter | None = None
    help: str = ""

    def shown(self, value: Value) -> str:
        """The value in a line of text."""
        if self.parameter is not None:
            return self.parameter.show(value)
        return next(option.text for option in self.options if option.value == value)


@dataclass(frozen=True, slots=True)
class Group:
    """Nodes in brackets; loop: in braces, whose parts may come in any order."""

    nodes: tuple[Node, ...]
    loop: bool = False


Node = Element | Group


@dataclass(frozen=True, slots=True)
class Grammar:
    """One compiled row. follow: which elements may come after each, END among them."""

    text: str
    nodes: tuple[Node, ...]
    elements: Mapping[int, Element]
    follow: Mapping[int, frozenset[int]]
    start: frozenset[int]

    @property
    def lead(self) -> str:
        """The keywords at the start, which its `no` form repeats."""
        return " ".join(option.text for option in _leading(self.nodes))

    @property
    def name(self) -> str:
        """Its fixed keywords without the parameters between them: "crypto pki server grant"."""
        fixed = [node for node in self.nodes if isinstance(node, Element) and node.name is None]
        return " ".join(element.options[0].text for element in fixed)

    def render(self, arguments: Arguments) -> str:
        """The line that binds these arguments. Optional parts stand where a name of theirs does."""
        return " ".join(_render(self.nodes, arguments))


def compile_grammar(text: str, helps: Sequence[str], kinds: Mapping[str, Kind]) -> Grammar:
    """A row's grammar. helps: for its last words, in order; choices bring their own.

    Raises ValueError for a row that is written wrong.
    """
    tokens = re.findall(r"[][{}]|[^][{}\s]+", text)
    plain = [i for i, token in enumerate(tokens) if _takes_help(token, kinds)]
    if len(helps) > len(plain):
        raise ValueError(f"{text!r} has {len(plain)} words, not {len(helps)}")
    named = dict(zip(plain[len(plain) - len(helps) :], helps, strict=True))
    nodes, _ = _parse(list(enumerate(tokens)), named, kinds, closing="")
    return _link(text, nodes)


def negated(grammar: Grammar) -> Grammar:
    """The form after `no`: the leading keywords alone, or with all the rest."""
    lead = len(_leading(grammar.nodes))
    rest = grammar.nodes[lead:]
    nodes = (*grammar.nodes[:lead], Group(rest)) if rest else grammar.nodes
    return _link(grammar.text, nodes)


def _takes_help(token: str, kinds: Mapping[str, Kind]) -> bool:
    return token not in "[]{}" and not isinstance(kinds.get(token.partition(":")[0]), tuple)


def _parse(
    tokens: list[tuple[int, str]], helps: Mapping[int, str], kinds: Mapping[str, Kind], closing: str
) -> tuple[tuple[Node, ...], list[tuple[int, str]]]:
    """Nodes up to the closing bracket, and the tokens after it."""
    nodes: list[Node] = []
    while tokens:
        (index, token), tokens = tokens[0], tokens[1:]
        if token == closing:
            return tuple(nodes), tokens
        if token in ("]", "}"):
            raise ValueError(f"{token!r} without its opening bracket")
        if token in ("[", "{"):
            inner, tokens = _parse(tokens, helps, kinds, "]" if token == "[" else "}")
            nodes.append(Group(inner, loop=token == "{"))
        else:
            nodes.append(_element(index, token, helps.get(index, ""), kinds))
    if closing:
        raise ValueError(f"a bracket is not closed by {closing!r}")
    return tuple(nodes), tokens


def _element(index: int, token: str, help_text: str, kinds: Mapping[str, Kind]) -> Element:
    word, _, name = token.partition(":")
    number = re.fullmatch(r"<(\d+)-(\d+)>", word)
    if number:
        range_ = Number(int(number[1]), int(number[2]))
        return Element(index, name, parameter=range_, help=help_text)
    if word in kinds:
        kind = kinds[word]
        if isinstance(kind, tuple):
            return Element(index, name, options=kind)
        return Element(index, name, parameter=kind, help=help_text)
    if word != word.lower():
        raise ValueError(f"no kind of word is called {word}")
    return Element(index, name or None, options=(Option(word, word, help_text),))


def _leading(nodes: Iterable[Node]) -> list[Option]:
    """The plain keywords at the start."""
    found = []
    for node in nodes:
        if isinstance(node, Group) or node.name is not None or len(node.options) != 1:
            break
        found.append(node.options[0])
    return found


def _elements(nodes: Iterable[Node]) -> Iterator[Element]:
    for node in nodes:
        if isinstance(node, Group):
            yield from _elements(node.nodes)
        else:
            yield node


def _first(nodes: Sequence[Node]) -> frozenset[int]:
    """Which elements may come first."""
    found: frozenset[int] = frozenset()
    for node in nodes:
        if isinstance(node, Element):
            return found | {node.index}
        found |= _first(node.nodes)
    return found


def _link(text: str, nodes: tuple[Node, ...]) -> Grammar:
    follow: dict[int, frozenset[int]] = {}
    start = _follow(nodes, frozenset({END}), follow)
    elements = {element.index: element for element in _elements(nodes)}
    return Grammar(text, nodes, elements, follow, start)


def _follow(
    nodes: Sequence[Node], after: frozenset[int], follow: dict[int, frozenset[int]]
) -> frozenset[int]:
    """Fill in what follows each element, from the end; returns what may come first."""
    for node in reversed(nodes):
        if isinstance(node, Element):
            follow[node.index] = after
            after = frozenset({node.index})
        else:
            first = _first(node.nodes)
            _follow(node.nodes, after | first if node.loop else after, follow)
            after |= first
    return after


def _render(nodes: Sequence[Node], arguments: Arguments) -> list[str]:
    words: list[str] = []
    for node in nodes:
        if isinstance(node, Group):
            names = {element.name for element in _elements(node.nodes)}
            if any(name in arguments for name in names if name):
                words += _render(node.nodes, arguments)
        elif node.name is None:
            words.append(node.options[0].text)
        else:
            words.append(node.shown(arguments[node.name]))
    return words


# --- matching ---------------------------------------------------------------------------------


class Fault(Enum):
    """Why a line is not taken, in IOS's three ways."""

    AMBIGUOUS = "ambiguous"
    INCOMPLETE = "incomplete"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class Failure:
    """A line that no row takes. column: of the word, from 0. expected: what may stand there."""

    fault: Fault
    column: int
    word: str = ""
    expected: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Weak:
    """A word that needs `mode: legacy`, and where it stands (from 0)."""

    word: str
    column: int


@dataclass(frozen=True, slots=True)
class Path:
    """How far one row fits. at: its last element; resume: the word it goes on with."""

    row: int
    following: frozenset[int]
    resume: int
    values: Mapping[str, Value] = field(default_factory=dict)
    weak: tuple[Weak, ...] = ()


@dataclass(frozen=True, slots=True)
class Match:
    """The row that takes a line, by its place among those given, and what the line says."""

    row: int
    arguments: Arguments
    weak: tuple[Weak, ...]


def match_line(grammars: Sequence[Grammar], line: Line, start: int = 0) -> Match | Failure:
    """The row that takes the words from `start` on; of several, the first."""
    paths = walk(grammars, line, start, len(line.words))
    if isinstance(paths, Failure):
        return paths
    whole = [path for path in paths if END in path.following]
    if not whole:
        return Failure(Fault.INCOMPLETE, line.end, expected=labels(grammars, paths))
    path = min(whole, key=lambda path: path.row)
    return Match(path.row, Arguments(path.values), path.weak)


def walk(grammars: Sequence[Grammar], line: Line, start: int, stop: int) -> list[Path] | Failure:
    """All rows that fit the words from `start` up to `stop`."""
    paths = [Path(row, grammar.start, start) for row, grammar in enumerate(grammars)]
    for at in range(start, stop):
        waiting = [path for path in paths if path.resume > at]
        asked = [path for path in paths if path.resume == at]
        taken = _step(grammars, asked, line, at)
        if isinstance(taken, Failure) and not waiting:
            return taken
        paths = waiting + (taken if isinstance(taken, list) else [])
    return paths


def labels(grammars: Sequence[Grammar], paths: Iterable[Path]) -> tuple[str, ...]:
    """What may come next, as `?` would list it."""
    return tuple(dict.fromkeys(label for label, _ in offers(grammars, paths)))


def offers(grammars: Sequence[Grammar], paths: Iterable[Path]) -> list[tuple[str, str]]:
    """Label and help of everything that may come next; `<cr>` where a line may end."""
    found: list[tuple[str, str]] = []
    for path in paths:
        for index in sorted(path.following):
            if index == END:
                found.append(("<cr>", ""))
                continue
            element = grammars[path.row].elements[index]
            if element.parameter is not None:
                found.append((element.parameter.label, element.help))
            found += [(option.text, option.help) for option in element.options]
    return found


def _step(
    grammars: Sequence[Grammar], paths: list[Path], line: Line, at: int
) -> list[Path] | Failure:
    """One word further: by keyword if any fits, else by parameter."""
    word = line.words[at]
    following = [
        (path, grammars[path.row].elements[index], grammars[path.row].follow[index])
        for path in paths
        for index in sorted(path.following)
        if index != END
    ]
    options = [(path, e, f, option) for path, e, f in following for option in e.options]
    typed = word.text.lower()
    chosen = [entry for entry in options if entry[3].text == typed]
    chosen = chosen or [entry for entry in options if entry[3].text.startswith(typed)]
    if len({entry[3].text for entry in chosen}) > 1:
        texts = tuple(dict.fromkeys(entry[3].text for entry in chosen))
        return Failure(Fault.AMBIGUOUS, word.column, word.text, texts)
    if chosen:
        return [
            _advance(path, e, f, option.value, 1, option.weak, word.column)
            for path, e, f, option in chosen
        ]
    taken = [
        _advance(path, e, f, value.value, value.words, value.weak, word.column)
        for path, e, f in following
        if e.parameter is not None and (value := e.parameter.take(line, at)) is not None
    ]
    return taken or Failure(Fault.INVALID, word.column, word.text, labels(grammars, paths))


def _advance(
    path: Path,
    element: Element,
    following: frozenset[int],
    value: Value,
    words: int,
    weak: str,
    column: int,
) -> Path:
    values = {**path.values, element.name: value} if element.name else path.values
    faults = (*path.weak, Weak(weak, column)) if weak else path.weak
    return Path(path.row, following, path.resume + words, values, faults)
