"""What a lab shows for itself: tables for people, plain objects for programs.

Read from the nodes' snapshots (`ios/snapshot.py` in plain types). What a peer may have written into
them (names, subjects) is printed with its control characters escaped.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import IO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ikelab.lab.record import Capture
from ikelab.lab.steps import Result
from ikelab.runtime.control import Json

Snapshot = Mapping[str, Json]

_PIPE_WIDTH = 1000  # columns where the output is no terminal: rows stay on one line, for grep


@dataclass(frozen=True, slots=True)
class Enrollment:
    """A certificate of a node that its trustpoint got. serial: as IOS prints it, hexadecimal."""

    node: str
    trustpoint: str
    serial: str
    subject: str
    issuer: str


@dataclass(frozen=True, slots=True)
class Phase1:
    """An ISAKMP SA as `show crypto isakmp sa` has it."""

    node: str
    peer: str
    role: str
    state: str
    conn_id: int


@dataclass(frozen=True, slots=True)
class Phase2:
    """A pair of ESP SAs with its packets."""

    node: str
    interface: str
    peer: str
    transform: str
    inbound_spi: str
    outbound_spi: str
    encaps: int
    decaps: int


@dataclass(frozen=True, slots=True)
class Summary:
    """All that a run found."""

    lab: str
    title: str
    enrollments: tuple[Enrollment, ...]
    phase1: tuple[Phase1, ...]
    phase2: tuple[Phase2, ...]
    results: tuple[Result, ...]
    capture: Capture | None

    @property
    def passed(self) -> bool:
        """Whether every check held."""
        return all(result.passed for result in self.results)


def enrollments(node: str, snapshot: Snapshot) -> Iterator[Enrollment]:
    """The certificates that were issued to this node: its own, and a subordinate CA's."""
    for row in _rows(snapshot, "certificates"):
        if row.get("kind") == "CA":
            continue
        trustpoints = row.get("trustpoints")
        names = [str(one) for one in trustpoints] if isinstance(trustpoints, list) else []
        serial = f"{_number(row, 'serial'):02X}"
        yield Enrollment(
            node, ", ".join(names), serial, _name(row.get("subject")), _name(row.get("issuer"))
        )


def phase1(node: str, snapshot: Snapshot) -> Iterator[Phase1]:
    """The ISAKMP SAs of a node."""
    for row in _rows(snapshot, "isakmp_sas"):
        role = "initiator" if row.get("initiator") else "responder"
        yield Phase1(node, _text(row, "remote"), role, _text(row, "state"), _number(row, "conn_id"))


def phase2(node: str, snapshot: Snapshot) -> Iterator[Phase2]:
    """The IPsec SAs of a node."""
    for row in _rows(snapshot, "ipsec_sas"):
        yield Phase2(
            node,
            _text(row, "interface"),
            _text(row, "remote"),
            _transform(row.get("transform")),
            f"0x{_number(row, 'inbound_spi'):08X}",
            f"0x{_number(row, 'outbound_spi'):08X}",
            _number(row, "encaps"),
            _number(row, "decaps"),
        )


def summary_json(summary: Summary) -> Json:
    """The summary for a program."""
    capture: Json = None
    if summary.capture is not None:
        capture = {key: _plain(value) for key, value in asdict(summary.capture).items()}
        capture["open"] = _open_command(summary.capture, str)
    return {
        "lab": summary.lab,
        "title": summary.title,
        "passed": summary.passed,
        "enrollments": [asdict(row) for row in summary.enrollments],
        "isakmp_sas": [asdict(row) for row in summary.phase1],
        "ipsec_sas": [asdict(row) for row in summary.phase2],
        "checks": [asdict(row) for row in summary.results],
        "capture": capture,
    }


def near(path: Path) -> str:
    """A path as somebody here would type it."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def where_to_look(capture: Capture) -> Iterator[str]:
    """Where a capture is, in lines that can be copied."""
    lost = f", {capture.dropped} LOST" if capture.dropped else ""
    keys = f"keys of {capture.ike_keys} IKE and {capture.esp_keys} ESP SAs"
    yield f"Capture: {near(capture.path)}"
    yield f"  {capture.frames} frames{lost}, {keys}"
    for path in capture.behind_nat:
        yield f"  behind the NAT: {near(path)}"
    yield "Open it decrypted:"
    yield f"  {_open_command(capture, near)}"


def _open_command(capture: Capture, named: Callable[[Path], str]) -> str:
    """The one command that opens a capture decrypted."""
    directory, file = (shlex.quote(named(path)) for path in (capture.wireshark, capture.path))
    return f"WIRESHARK_CONFIG_DIR={directory} wireshark {file}"


def print_summary(summary: Summary, console: Console) -> None:
    """The summary for a person: who trusts whom, what is up, what held, where to look."""
    console.print(Text(f"{summary.lab}: {summary.title}", style="bold"))
    for name, columns, rows in _tables(summary):
        if rows:
            console.print(table(name, columns, rows))
    if summary.capture is not None:
        for line in where_to_look(summary.capture):
            console.print(Text(line), soft_wrap=True)


def _tables(summary: Summary) -> Iterator[tuple[str, Sequence[str], list[Sequence[str]]]]:
    """(title, columns, rows) of each part of the summary."""
    yield (
        "Certificates",
        ("node", "trustpoint", "serial", "subject", "issued by"),
        [(r.node, r.trustpoint, r.serial, r.subject, r.issuer) for r in summary.enrollments],
    )
    yield (
        "ISAKMP SAs",
        ("node", "peer", "role", "state", "conn-id"),
        [(r.node, r.peer, r.role, r.state, str(r.conn_id)) for r in summary.phase1],
    )
    yield (
        "IPsec SAs",
        ("node", "interface", "peer", "transform", "SPI in", "SPI out", "encaps", "decaps"),
        [tuple(map(str, astuple(row))) for row in summary.phase2],
    )
    yield (
        "Checks",
        ("", "check", "seen"),
        [("ok" if r.passed else "FAILED", r.title, r.detail) for r in summary.results],
    )


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """A table of plain text: nothing in it is markup."""
    result = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for column in columns:
        result.add_column(column, header_style="underline")
    for row in rows:
        style = "red" if row and row[0] == "FAILED" else ""
        result.add_row(*(Text(printable(cell)) for cell in row), style=style)
    return result


def stdout_console(file: IO[str]) -> Console:
    """For data: as wide as the terminal, wide enough for whole rows elsewhere."""
    console = Console(file=file, highlight=False)
    return (
        console if console.is_terminal else Console(file=file, width=_PIPE_WIDTH, color_system=None)
    )


def print_json(value: Json, file: IO[str]) -> None:
    """An object for a program. Characters beyond ASCII are escaped, so terminals are safe."""
    file.write(json.dumps(value, indent=2) + "\n")


def printable(text: str) -> str:
    """A text with what is not printable escaped: newlines and tabs stay, escapes do not."""
    return "".join(
        char if char.isprintable() or char in "\n\t" else f"\\x{ord(char):02x}" for char in text
    )


def _rows(snapshot: Snapshot, key: str) -> Iterator[Mapping[str, Json]]:
    rows = snapshot.get(key)
    for row in rows if isinstance(rows, list) else ():
        if isinstance(row, dict):
            yield row


def _text(row: Mapping[str, Json], key: str) -> str:
    value = row.get(key)
    return value if isinstance(value, str) else "-"


def _number(row: Mapping[str, Json], key: str) -> int:
    value = row.get(key)
    return value if isinstance(value, int) else 0


def _name(parts: Json) -> str:
    """A distinguished name from its relative ones."""
    return ", ".join(str(part) for part in parts) if isinstance(parts, list) else str(parts or "-")


def _transform(value: Json) -> str:
    """The name of a transform set."""
    return _text(value, "name") if isinstance(value, dict) else "-"


def _plain(value: object) -> Json:
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return value if isinstance(value, int) else str(value)
