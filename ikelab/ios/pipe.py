"""What may follow `|` after a show command: IOS's output filters, and `json`, which is our own."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ikelab.errors import ConfigError
from ikelab.ios.arguments import Pipe
from ikelab.ios.grammar import Failure, compile_grammar, match_line
from ikelab.ios.parameters import Line
from ikelab.ios.vocabulary import KINDS

_FILTERS = (
    ("begin LINE:pattern", "Begin with the line that matches | Regular Expression"),
    ("count LINE:pattern", "Count number of lines which match regexp | Regular Expression"),
    ("exclude LINE:pattern", "Exclude lines that match | Regular Expression"),
    ("include LINE:pattern", "Include lines that match | Regular Expression"),
    ("json", "The same facts as JSON"),
    ("section LINE:pattern", "Filter a section of output | Regular Expression"),
)
FILTERS = tuple(
    compile_grammar(text, [part.strip() for part in help_text.split("|")], KINDS)
    for text, help_text in _FILTERS
)


def parse_pipe(text: str) -> Pipe | Failure:
    """The filter written after the bar. Raises ConfigError for a faulty regular expression."""
    match = match_line(FILTERS, Line.split(text))
    if isinstance(match, Failure):
        return match
    pattern = match.arguments.text("pattern")
    try:
        re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"Regular expression {pattern!r}: {error}") from error
    return Pipe(FILTERS[match.row].name, pattern)


def apply_pipe(pipe: Pipe | None, text: str) -> str:
    """The output that passes the filter; `json` and no filter leave it as it is."""
    if pipe is None or pipe.kind == "json":
        return text
    lines = text.splitlines()
    matches = [re.search(pipe.pattern, line) is not None for line in lines]
    if pipe.kind == "count":
        return f"Number of lines which match regexp = {sum(matches)}\n"
    kept = _kept(pipe.kind, lines, matches)
    return "".join(line + "\n" for line in kept)


def _kept(kind: str, lines: Sequence[str], matches: Sequence[bool]) -> list[str]:
    if kind == "begin":
        first = next((i for i, match in enumerate(matches) if match), len(lines))
        return list(lines[first:])
    if kind == "section":
        return _sections(lines, matches)
    wanted = kind == "include"
    return [line for line, match in zip(lines, matches, strict=True) if match is wanted]


def _sections(lines: Sequence[str], matches: Sequence[bool]) -> list[str]:
    """Each line that matches, with the lines below it that are indented further."""
    kept: list[str] = []
    inside: int | None = None
    for line, match in zip(lines, matches, strict=True):
        depth = len(line) - len(line.lstrip())
        if inside is not None and (depth <= inside or not line.strip()):
            inside = None
        if match and inside is None:
            inside = depth
        if inside is not None:
            kept.append(line)
    return kept
