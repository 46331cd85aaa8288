"""The one table of commands, and finding the row that a line means.

From it come: reading and writing `.cfg` files (`config_text.py`), the console with `?`, `no`, `do`
(`session.py`), and the commands that a node carries out.

A row says where a command stands, how it is written, what `?` says, what it changes, what its `no`
form changes, and how it is found again in the configuration. To add `ip mtu` of an interface, this
row in `system_commands.py` is all there is to it:

    INTERFACE.attribute(
        "ip mtu <68-9216>:mtu",                              # grammar.py explains the notation
        "Set IP Maximum Transmission Unit | MTU (bytes)",    # help of the last words
        "mtu",                                               # InterfaceConfig.mtu
    )

`attribute` is for one attribute with a default, `flag` for a truth value, `row` for anything else
(edit, undo and read are given as functions); `enter` makes a section that has a name, `exec_row` a
command that the node carries out under the row's name. The order of rows is the order of the
running-config. Words with fixed values (`md5`) and kinds of words (`A.B.C.D`) are in
`vocabulary.py`.

A command without effect here is not in the table: it is refused, never ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from ikelab.errors import ConfigError
from ikelab.ios.admission_commands import ADMISSION_ROWS
from ikelab.ios.arguments import Arguments
from ikelab.ios.config import RunningConfig
from ikelab.ios.crypto_commands import (
    CRYPTO_ROWS,
    IPSEC_PROFILE_ROWS,
    KEYRING_ROWS,
    POLICY_ROWS,
    PROFILE_ROWS,
    TRANSFORM_SET_ROWS,
)
from ikelab.ios.exec_commands import EXEC_ROWS
from ikelab.ios.grammar import Failure, Fault, Grammar, Weak, match_line
from ikelab.ios.parameters import Line
from ikelab.ios.peer_commands import AGGRESSIVE_ROWS, KEEPALIVE_ROWS, KEY_OF_NAME_ROW, PEER_ROWS
from ikelab.ios.pki_commands import PKI_ROWS, TRUSTPOINT_ROWS
from ikelab.ios.row import Edit, Mode, Row
from ikelab.ios.server_commands import SERVER_ROWS
from ikelab.ios.system_commands import HOST_ROWS, INTERFACE_ROWS, NETWORK_ROWS
from ikelab.ios.text import visible
from ikelab.ios.time_commands import CLOCK_ROWS, STAMP_ROWS

TABLE: tuple[Row, ...] = (
    *STAMP_ROWS,
    *HOST_ROWS,
    *CLOCK_ROWS,
    *PKI_ROWS,
    *SERVER_ROWS,
    *TRUSTPOINT_ROWS,
    *CRYPTO_ROWS,
    *ADMISSION_ROWS,
    *KEEPALIVE_ROWS,
    *AGGRESSIVE_ROWS,
    *PEER_ROWS,
    *KEYRING_ROWS,
    KEY_OF_NAME_ROW,
    *POLICY_ROWS,
    *PROFILE_ROWS,
    *TRANSFORM_SET_ROWS,
    *IPSEC_PROFILE_ROWS,
    *NETWORK_ROWS,
    *INTERFACE_ROWS,
    *EXEC_ROWS,
)

ROWS: Mapping[Mode, tuple[Row, ...]] = {
    mode: tuple(row for row in TABLE if mode in row.modes) for mode in Mode
}
"""The rows of each mode, in the table's order."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a console or a file's reader stands: a mode and the key of its section."""

    mode: Mode = Mode.EXEC
    key: str = ""

    @property
    def above(self) -> Place:
        """Where `exit` leads."""
        if self.mode in (Mode.EXEC, Mode.CONFIG):
            return Place(Mode.EXEC)
        return Place(Mode.CONFIG)


@dataclass(frozen=True, slots=True)
class Found:
    """The row that a line means. negative: its `no` form, which is never weak. place: its own."""

    row: Row
    arguments: Arguments
    weak: tuple[Weak, ...]
    place: Place
    negative: bool = False

    @property
    def edit(self) -> Edit | None:
        """What it does to the configuration, None for a command of the node."""
        return self.row.undo if self.negative else self.row.edit

    def apply(self, config: RunningConfig) -> RunningConfig:
        """The new configuration. Raises ConfigError where the edit cannot be."""
        return config if self.edit is None else self.edit(config, self.place.key, self.arguments)

    @property
    def next_place(self) -> Place:
        """Where one stands afterwards."""
        if self.row.enters is None:
            return self.place
        if self.negative or self.row.key is None:
            return Place(Mode.CONFIG)
        return Place(self.row.enters, self.row.key(self.arguments))


def find(line: Line, place: Place) -> Found | Failure:
    """The row that a line means at this place; in a section, the global rows come second."""
    found = _find_in(line, place)
    if isinstance(found, Found) or place.mode in (Mode.EXEC, Mode.CONFIG):
        return found
    above = _find_in(line, Place(Mode.CONFIG))
    if isinstance(above, Found) or above.column > found.column:
        return above
    return found


def forms(mode: Mode, *, negative: bool) -> tuple[list[Row], list[Grammar]]:
    """The rows of a mode that have this form, and the grammar of the form."""
    pairs = [(row, row.undo_grammar if negative else row.grammar) for row in ROWS[mode]]
    known = [(row, grammar) for row, grammar in pairs if grammar is not None]
    return [row for row, _ in known], [grammar for _, grammar in known]


def is_negative(line: Line, place: Place) -> bool:
    """Whether the line is a `no` form; exec mode has its few `no` commands as rows."""
    return place.mode is not Mode.EXEC and bool(line.words) and line.words[0].text.lower() == "no"


def _find_in(line: Line, place: Place) -> Found | Failure:
    negative = is_negative(line, place)
    rows, grammars = forms(place.mode, negative=negative)
    match = match_line(grammars, line, start=1 if negative else 0)
    if isinstance(match, Failure):
        return match
    weak = () if negative else match.weak
    return Found(rows[match.row], match.arguments, weak, place, negative)


def explain_failure(failure: Failure) -> ConfigError:
    """The failure as an error with a column (from 1) and a hint."""
    column = failure.column + 1
    expected = [label for label in failure.expected if label != "<cr>"]
    if failure.fault is Fault.AMBIGUOUS:
        return ConfigError(
            f"`{visible(failure.word)}` is ambiguous", column=column, hint=" or ".join(expected)
        )
    wanted = "expected " + ", ".join(expected) if expected else "the command ends here"
    if failure.fault is Fault.INCOMPLETE:
        return ConfigError("incomplete command", column=column, hint=wanted)
    close = get_close_matches(failure.word.lower(), expected, n=1)
    hint = f"did you mean `{close[0]}`?" if close else wanted
    if len(expected) > 12 and not close:
        hint = "`?` at the console lists the commands"
    return ConfigError(f"`{visible(failure.word)}` is not known here", column=column, hint=hint)
