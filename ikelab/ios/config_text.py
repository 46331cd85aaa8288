"""Configuration files: read with every error, written so that reading gives the same again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ikelab.errors import ConfigError
from ikelab.ios.command_tree import ROWS, Place, explain_failure, find
from ikelab.ios.config import LabMode, RunningConfig
from ikelab.ios.grammar import Failure, Weak
from ikelab.ios.parameters import Line
from ikelab.ios.row import Mode
from ikelab.ios.strength import refuse_weak, weaknesses


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """What a file was read as. errors: all of them. lines: where each section was entered."""

    config: RunningConfig
    errors: tuple[ConfigError, ...] = ()
    lines: Mapping[Place, int] = field(default_factory=dict)


def parse_config(text: str, *, file: str = "", mode: LabMode = "modern") -> RunningConfig:
    """The configuration that a `.cfg` file holds. Raises ConfigError, the file's first."""
    read = read_config(text, file=file, mode=mode)
    if read.errors:
        raise read.errors[0]
    return read.config


def read_config(text: str, *, file: str = "", mode: LabMode = "modern") -> ConfigFile:
    """The same with every error: each is reported once, and the reading goes on after it."""
    reader = _Reader(file, mode)
    for number, content in enumerate(text.split("\n"), start=1):
        if not reader.take(number, content):
            break
    if mode == "modern":
        reader.check_strength()
    errors = sorted(reader.errors, key=lambda error: (error.line, error.column))
    return ConfigFile(reader.config, tuple(errors), reader.lines)


class _Reader:
    """Reads a file line by line: the configuration so far and where the reading stands."""

    def __init__(self, file: str, mode: LabMode) -> None:
        self.file = file
        self.mode: LabMode = mode
        self.config = RunningConfig()
        self.place = Place(Mode.CONFIG)
        self.errors: list[ConfigError] = []
        self.lines: dict[Place, int] = {}
        self.faulty: set[Place] = set()  # where what is missing may be an error's doing
        self.skipping = False  # in a section whose first line is at fault

    def take(self, number: int, content: str) -> bool:
        """One line; False at `end`."""
        line = Line.split(content.expandtabs())
        if not line.words or line.words[0].text.startswith("!"):
            return True
        if self.skipping and line.words[0].column:
            return True
        self.skipping = False
        word = line.words[0].text.lower()
        if word in ("end", "exit") and len(line.words) == 1:
            self.place = Place(Mode.CONFIG)
            return word != "end"
        try:
            weak = self._edit(number, line)
        except ConfigError as error:
            self.faulty.add(self.place)
            self._refuse(error, number, error.column or line.words[0].column + 1)
            # A section that could not be entered: its lines would only be misread.
            self.skipping = line.words[0].column == 0
        else:
            self._refuse_weak(weak, number)
        return True

    def check_strength(self) -> None:
        """Report IOS's weak defaults where their section begins, unless it has errors already."""
        for place, error in weaknesses(self.config):
            if place not in self.faulty:
                self._refuse(error, self.lines.get(place, 0), 1)

    def _edit(self, number: int, line: Line) -> tuple[Weak, ...]:
        found = find(line, self.place)
        if isinstance(found, Failure):
            raise explain_failure(found)
        if found.edit is None:
            raise ConfigError(
                f"`{found.row.grammar.name}` is a deed, not configuration",
                hint="give it at the console, or as a step of a scenario",
            )
        self.config = found.apply(self.config)
        self.place = found.next_place
        self.lines.setdefault(self.place, number)
        return found.weak

    def _refuse_weak(self, weak: tuple[Weak, ...], number: int) -> None:
        try:
            refuse_weak(weak, self.mode)
        except ConfigError as error:
            self.faulty.add(self.place)
            self._refuse(error, number, error.column)

    def _refuse(self, error: ConfigError, line: int, column: int) -> None:
        self.errors.append(
            ConfigError(error.reason, file=self.file, line=line, column=column, hint=error.hint)
        )


def format_config(config: RunningConfig, *, keys: bool = True) -> str:
    """The configuration as text that `parse_config` reads back as the same.

    keys: with the `crypto key generate` lines. IOS's own running-config leaves them out, since
    there the keys are made already; a file needs them.
    """
    lines = list(_lines(config, Place(Mode.CONFIG), keys=keys))
    return "\n".join([*lines, "!", "end", ""])


def show_running_config(config: RunningConfig) -> str:
    """The text of `show running-config`."""
    body = format_config(config, keys=False)
    return f"Building configuration...\n\nCurrent configuration : {len(body)} bytes\n{body}"


def _lines(config: RunningConfig, place: Place, *, keys: bool) -> Iterator[str]:
    """The lines of one section; in between those of the sections it holds."""
    previous = ""
    for row in ROWS[place.mode]:
        if row.read is None or (row.once and not keys):
            continue
        for shown in row.read(config, place.key):
            group = row.grammar.lead if row.enters else row.grammar.lead.split()[0]
            if place.mode is Mode.CONFIG and (row.enters or group != previous):
                yield "!"
            previous = group
            yield row.line(shown)
            if row.enters and row.key:
                inner = Place(row.enters, row.key(shown.arguments))
                yield from (f" {text}" for text in _lines(config, inner, keys=keys))
