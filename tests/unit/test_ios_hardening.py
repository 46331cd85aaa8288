"""Whatever is typed or written in a file: an answer, never another exception, and in good time."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ikelab.errors import ConfigError
from ikelab.ios.arguments import Command
from ikelab.ios.command_tree import TABLE
from ikelab.ios.config import RunningConfig
from ikelab.ios.config_text import format_config, read_config
from ikelab.ios.grammar import Fault
from ikelab.ios.pipe import apply_pipe
from ikelab.ios.session import Closed, Edited, Said, Session
from tests.ios_samples import sample

WHOLE = [sample(row.grammar.nodes, full) for row in TABLE for full in (False, True)]
WHOLE += ["no " + line for line in WHOLE] + ["do " + line for line in WHOLE[:20]]
WHOLE += [line + " | include x" for line in WHOLE if line.startswith("show")]


def shortened(line: str, cuts: list[int]) -> str:
    """The line with some words cut short or, at zero, left out."""
    words = line.split()
    for at, cut in enumerate(cuts[: len(words)]):
        words[at] = words[at][:cut]
    return " ".join(words)


# Lines of the table, whole or with words cut, and lines of anything.
LINES = (
    st.sampled_from(WHOLE)
    | st.builds(shortened, st.sampled_from(WHOLE), st.lists(st.integers(0, 12), max_size=6))
    | st.text(max_size=40)
)


@settings(max_examples=400, deadline=None)
@given(st.lists(LINES, max_size=12))
def test_console_answers_every_line_and_every_question(lines: list[str]) -> None:
    session = Session(RunningConfig(), mode="legacy")
    for line in ["configure terminal", *lines]:
        assert isinstance(session.help(line), str)
        assert session.complete(line) is None or isinstance(session.complete(line), str)
        outcome = session.enter(line)
        assert isinstance(outcome, Command | Edited | Said | Closed)
        if isinstance(outcome, Command):
            assert isinstance(apply_pipe(outcome.pipe, "a\nb\n"), str)
    # What any lines led to is printed, and read back as the same.
    read = read_config(format_config(session.config), mode="legacy")
    assert (read.errors, read.config) == ((), session.config)


@settings(max_examples=300, deadline=None)
@given(st.lists(LINES, max_size=12), st.booleans())
def test_file_of_any_lines_is_read_with_errors_that_point_into_it(
    lines: list[str], indented: bool
) -> None:
    text = "\n".join((" " if indented and number % 2 else "") + x for number, x in enumerate(lines))
    count = text.count("\n") + 1
    for error in read_config(text, file="f.cfg").errors:
        assert isinstance(error, ConfigError)
        assert 1 <= error.line <= count
        assert error.column >= 1
        assert str(error).isprintable()


@settings(max_examples=200, deadline=None)
@given(LINES)
def test_tab_only_ever_adds_to_what_was_typed(line: str) -> None:
    session = Session(RunningConfig())
    completed = session.complete(line)
    if completed is not None:
        assert completed.startswith(line)
        assert completed.endswith(" ")


def test_fault_has_only_the_three_ways_of_ios() -> None:
    assert {fault.value for fault in Fault} == {"ambiguous", "incomplete", "invalid"}


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    "line",
    [
        "crypto pki trustpoint " + "a-" * 5000,
        "ip domain name " + "a." * 20000,
        " ".join(["ping 10.0.0.1"] + ["size 100"] * 3000),
        "crypto pki server a\n issuer-name " + "cn=a ," * 5000,
        "crypto pki server a\n database url ftp://" + "a@" * 5000,
        "hostname " + "1" * 100000,
        "ip http port " + "9" * 100000,
    ],
)
def test_long_lines_are_answered_in_good_time(line: str) -> None:
    read_config(line)
    Session(RunningConfig()).enter(line.split("\n")[-1])
