"""The state tables as pictures for people: Mermaid text, drawn from what the code runs.

`python -m ikelab.isakmp.diagram` prints `STATES.md`; a test holds that the committed file is
current.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ikelab.isakmp.state import (
    AGGRESSIVE_MODE,
    MAIN_MODE,
    QUICK_MODE_INITIATOR,
    QUICK_MODE_RESPONDER,
    Input,
    Minor,
    QmState,
    Row,
    State,
)

Entry = tuple[tuple[State | QmState, Input], Row]

_WORK_ON_ITSELF = (Minor.PROCESS_MAIN_MODE, Minor.PROCESS_AGGRESSIVE_MODE)

_HEAD = """\
# State tables of IKEv1

Drawn from `state.py`, the tables that the engine runs, by `python -m ikelab.isakmp.diagram`.
States and inputs are IOS's names, as `debug crypto isakmp` prints them: `Old State = ... New State
= ...` after `Input = major, minor`. An edge says: input, then what is taken (<) or sent (>). Edges
of IKE_PROCESS_ERROR go back to where the SA was before the refused message. Aggressive mode ends
where main mode does, in IKE_P1_COMPLETE; its AGGRESSIVE_* states and PROCESS_AGGRESSIVE_MODE are
ours, and IOS's log passes over them.
"""


def _label(given: Input, row: Row) -> str:
    parts = [given[1].value]
    if row.takes is not None:
        parts.append(f"< {row.takes.message}")
    if row.sends is not None:
        parts.append(f"> {row.sends.message}")
    return ", ".join(parts)


def mermaid(rows: Iterable[Entry]) -> str:
    """A Mermaid state diagram of some rows, in the table's order."""
    lines = ["stateDiagram-v2"]
    for (state, given), row in rows:
        lines.append(f"    {state.value} --> {row.new_state.value}: {_label(given, row)}")
    return "\n".join(lines)


def table(rows: Iterable[Entry]) -> str:
    """The same rows as a Markdown table, with the step that runs."""
    lines = [
        "| state | input | step | takes | sends | new state | shown |",
        "|---|---|---|---|---|---|---|",
    ]
    for (state, (major, minor)), row in rows:
        takes = row.takes.message if row.takes else ""
        sends = row.sends.message if row.sends else ""
        lines.append(
            f"| {state.value} | {major.value}, {minor.value} | {row.step} | {takes} | {sends}"
            f" | {row.new_state.value} | {row.shown} |"
        )
    return "\n".join(lines)


def _of_role(letter: str, mode: Mapping[tuple[State, Input], Row]) -> list[Entry]:
    """Phase 1 rows of one role: those that touch its states, and those of both."""
    found: list[Entry] = []
    for (state, given), row in mode.items():
        names = (state.value, row.new_state.value)
        other = "_R_" if letter == "I" else "_I_"
        if not any(other in name for name in names):
            found.append(((state, given), row))
    return found


def _entries(rows: Mapping[tuple[QmState, Input], Row]) -> list[Entry]:
    return [((state, given), row) for (state, given), row in rows.items()]


def document() -> str:
    """`STATES.md`."""
    sections: list[tuple[str, list[Entry]]] = [
        ("Main mode, initiator", _of_role("I", MAIN_MODE)),
        ("Main mode, responder", _of_role("R", MAIN_MODE)),
        ("Aggressive mode, initiator", _of_role("I", AGGRESSIVE_MODE)),
        ("Aggressive mode, responder", _of_role("R", AGGRESSIVE_MODE)),
        ("Quick mode, initiator", _entries(QUICK_MODE_INITIATOR)),
        ("Quick mode, responder", _entries(QUICK_MODE_RESPONDER)),
    ]
    parts = [_HEAD]
    for title, rows in sections:
        drawn = [entry for entry in rows if entry[0][1][1] not in _WORK_ON_ITSELF]
        parts.append(f"## {title}\n\n```mermaid\n{mermaid(drawn)}\n```\n\n{table(rows)}\n")
    return "\n".join(parts)


if __name__ == "__main__":
    print(document(), end="")
