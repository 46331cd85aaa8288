"""What a command line was found to say: the values bound to the names of its grammar."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Value = str | int
"""Words and addresses are str, numbers int, choices the member of their IntEnum or a word."""


@dataclass(frozen=True, slots=True)
class Arguments:
    """Values by the names that the grammar gives them; optional parts left out are absent."""

    values: Mapping[str, Value] = field(default_factory=dict)

    def __contains__(self, name: str) -> bool:
        """Whether the part was given."""
        return name in self.values

    def __getitem__(self, name: str) -> Value:
        """The value as it was bound. Raises KeyError where the part was left out."""
        return self.values[name]

    def text(self, name: str, default: str = "") -> str:
        """A word, address or line."""
        return str(self.values.get(name, default))

    def number(self, name: str, default: int = 0) -> int:
        """A number, or the member of an IntEnum."""
        value = self.values.get(name, default)
        if not isinstance(value, int):
            raise TypeError(f"{name} is {value!r}, no number: the grammar binds a word")
        return value


@dataclass(frozen=True, slots=True)
class Pipe:
    """An output filter, `| include WORD`. kind: include exclude begin section count json."""

    kind: str
    pattern: str = ""


@dataclass(frozen=True, slots=True)
class Command:
    """A command for the node to carry out.

    name: the row's own keywords in full ("show crypto isakmp sa"), what a node dispatches on.
    """

    name: str
    arguments: Arguments = field(default_factory=Arguments)
    pipe: Pipe | None = None
