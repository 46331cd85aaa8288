"""A YAML file of a stranger, read so that every complaint has a place: file, line and column.

Nothing is constructed from the file: `yaml.compose` gives nodes with marks, and each scalar is
taken as the text that stands there, so `no`, `1e3` and `010` mean what they look like. Refused
before anything is built: large files, deep nesting, anchors and aliases (a "billion laughs" needs
them, a lab does not), tags such as `!!python/object`. All errors of a file are collected.
"""

from __future__ import annotations

import difflib
import os
import stat
from collections.abc import Collection, Iterator, Mapping, Sequence
from ipaddress import IPv4Address
from pathlib import Path
from typing import Protocol, TypeVar

import yaml

from ikelab.errors import ConfigError

FILE_OCTETS = 256 * 1024  # a lab of 1,000 nodes has about 100 KB
_DEPTH = 12  # lab.yaml needs 5
_NODES = 60_000
_SHOWN = 20  # of the names that a message lists

T = TypeVar("T")


class ConfigErrors(ConfigError):
    """Every error of a file (or of the files of a lab), in order of place. Never empty."""

    def __init__(self, errors: Sequence[ConfigError]) -> None:
        self.errors = tuple(errors)
        first = self.errors[0]
        super().__init__(
            first.reason, file=first.file, line=first.line, column=first.column, hint=first.hint
        )

    def __str__(self) -> str:
        """One line an error."""
        return "\n".join(str(error) for error in self.errors)


class Mark(Protocol):
    """Where a node begins, counted from 0: PyYAML's, in Python or in C."""

    line: int
    column: int


class Complaints:
    """Collects the errors of one reading."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.errors: list[ConfigError] = []

    def add(self, mark: Mark | None, reason: str, hint: str = "") -> None:
        """An error at a mark of the file."""
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        self.errors.append(ConfigError(reason, file=self.file, line=line, column=column, hint=hint))

    def raise_any(self) -> None:
        """Raise ConfigErrors if there is one."""
        if self.errors:
            raise ConfigErrors(self.errors)


class Value:
    """One node of the file. The methods say what it should be; where it is not, they complain and
    return nothing (None, "" or an empty collection), so that the reading goes on.
    """

    def __init__(self, node: yaml.Node, complaints: Complaints, path: str) -> None:
        self._node = node
        self._complaints = complaints
        self.path = path  # "nodes.hub.kind", "" for the whole file

    @property
    def label(self) -> str:
        """What this place is called in messages."""
        return self.path or "the file"

    @property
    def is_scalar(self) -> bool:
        """Whether a word or text stands here, no list and no mapping."""
        return isinstance(self._node, yaml.ScalarNode)

    def complain(self, reason: str, hint: str = "") -> None:
        """An error at this place."""
        self._complaints.add(self._node.start_mark, reason, hint)

    def text(self) -> str | None:
        """A scalar as it is written."""
        if isinstance(self._node, yaml.ScalarNode) and self._node.value != "":
            return str(self._node.value)
        self.complain(f"{self.label} should be a word or text, not {self._kind()}")
        return None

    def choice(self, words: Collection[str]) -> str | None:
        """One of a few words."""
        text = self.text()
        if text is None or text in words:
            return text
        hint = nearest(text, words) or f"one of: {', '.join(words)}"
        self.complain(f"{self.label} cannot be {text!r}", hint)
        return None

    def one_of(self, name: str, known: Mapping[str, T], what: str) -> T | None:
        """What this place names among things that must be there. what: "node", for messages."""
        if name not in known:
            there = ", ".join(list(known)[:_SHOWN]) or "none"
            self.complain(f"no {what} {name!r}", nearest(name, known) or f"there are: {there}")
        return known.get(name)

    def number(self, low: int, high: int) -> int | None:
        """A whole number within limits."""
        text = self.text()
        if text is None:
            return None
        if text.isascii() and text.isdigit() and len(text) < 12 and low <= int(text) <= high:
            return int(text)
        self.complain(f"{self.label} should be a number from {low} to {high}, not {text!r}")
        return None

    def items(self) -> Iterator[Value]:
        """The elements of a list."""
        if not isinstance(self._node, yaml.SequenceNode):
            self.complain(f"{self.label} should be a list, not {self._kind()}")
            return
        for number, node in enumerate(self._node.value, start=1):
            yield Value(node, self._complaints, f"{self.path}[{number}]")

    def entries(self) -> Iterator[tuple[Value, Value]]:
        """Key and value of a mapping with names of the user's own; each name once."""
        if not isinstance(self._node, yaml.MappingNode):
            self.complain(f"{self.label} should be a mapping `name: ...`, not {self._kind()}")
            return
        seen: dict[str, Mark] = {}
        for key_node, node in self._node.value:
            key = Value(key_node, self._complaints, f"a key of {self.label}")
            name = key.text()
            if name is None:
                continue
            if name in seen:
                key.complain(f"{name!r} stands here twice, first in line {seen[name].line + 1}")
                continue
            seen[name] = key_node.start_mark
            yield key, Value(node, self._complaints, f"{self.path}.{name}".lstrip("."))

    def field(self, name: str) -> Value | None:
        """One key of a mapping, without a look at the others; complains if it is not there."""
        found = None
        if isinstance(self._node, yaml.MappingNode):
            found = next((node for key, node in self._node.value if key.value == name), None)
            if found is None:
                self.complain(f"{self.label} lacks {name}")
        else:
            self.complain(f"{self.label} should be a mapping `name: ...`, not {self._kind()}")
        return found and Value(found, self._complaints, f"{self.path}.{name}")

    def fields(self, known: Sequence[str], required: Sequence[str] = ()) -> dict[str, Value]:
        """A mapping with given keys; a key that is not known is an error, with the nearest one."""
        found: dict[str, Value] = {}
        for key, value in self.entries():
            name = key.text() or ""
            if name in known:
                found[name] = value
            else:
                hint = nearest(name, known) or f"known here: {', '.join(known)}"
                key.complain(f"unknown key {name!r} in {self.label}", hint)
        missing = [name for name in required if name not in found]
        if missing and isinstance(self._node, yaml.MappingNode):
            self.complain(f"{self.label} lacks {', '.join(missing)}")
        return found

    def _kind(self) -> str:
        match self._node:
            case yaml.MappingNode():
                return "a mapping"
            case yaml.SequenceNode():
                return "a list"
            case _:
                return "nothing" if self._node.value == "" else repr(self._node.value)


def address_of(value: Value) -> str | None:
    """A dotted IPv4 address of one host."""
    text = value.text()
    if text is None:
        return None
    try:
        address = IPv4Address(text)
    except ValueError:
        value.complain(f"{text!r} is no IPv4 address", "write it as 10.0.0.1")
        return None
    if address.is_multicast or address.is_loopback or int(address) in (0, 0xFFFFFFFF):
        value.complain(f"{text} is no address of a host on a segment")
        return None
    return str(address)


def nearest(word: str, known: Collection[str]) -> str:
    """`did you mean ...?`, or "" where nothing is near."""
    found = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f"did you mean {found[0]!r}?" if found else ""


def read_text(path: Path, file: str) -> str:
    """A UTF-8 text file of FILE_OCTETS at most. file: its name for messages. Raises ConfigError."""
    try:
        # O_NONBLOCK: a FIFO in a stranger's lab must not hold us up.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(descriptor, "rb") as stream:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ConfigError("not a file", file=file)
            content = stream.read(FILE_OCTETS + 1)
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", file=file) from error
    if len(content) > FILE_OCTETS:
        raise ConfigError(f"larger than {FILE_OCTETS // 1024} KB, the most that is read", file=file)
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError("not UTF-8 text", file=file, line=line) from error


def compose(text: str, complaints: Complaints) -> Value | None:
    """The document's root, None after a complaint where it is no YAML or not allowed."""
    try:
        if _allowed(text, complaints):
            node = yaml.compose(text, Loader=yaml.SafeLoader)
            if node is not None:
                return Value(node, complaints, "")
            complaints.add(None, "the file is empty")
    except yaml.MarkedYAMLError as error:
        reason = " ".join(part for part in (error.context, error.problem) if part)
        complaints.add(error.problem_mark or error.context_mark, f"not YAML: {reason}")
    except yaml.YAMLError as error:
        complaints.add(None, f"not YAML: {str(error).splitlines()[0]}")
    return None


def _allowed(text: str, complaints: Complaints) -> bool:
    """Whether the stream of events holds nothing that a lab has no use for."""
    depth = nodes = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        reason = ""
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        nodes += isinstance(event, yaml.NodeEvent)
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            reason = "anchors and aliases (& and *) are not taken here"
        elif (tag := getattr(event, "tag", None)) and tag != "!":
            reason = f"the tag {tag!r} is not taken here"
        elif depth > _DEPTH:
            reason = f"nested deeper than {_DEPTH} levels"
        elif nodes > _NODES:
            reason = f"more than {_NODES} values"
        if reason:
            complaints.add(event.start_mark, reason, "write plain names, texts and numbers")
            return False
    return True
