"""`ikelab exec` and `ikelab configure`: what is typed at the console of a deployed lab's node."""

from __future__ import annotations

from collections.abc import Sequence

import click

from ikelab.errors import ConfigError
from ikelab.lab import report, state
from ikelab.lab.deployed import nodes_of
from ikelab.lab.yaml_reader import nearest
from ikelab.runtime.control import ControlClient

_SECONDS = 300.0  # a ping of many packets


def execute(lab: str, node: str, line: str, form: str) -> None:
    """Print what one command of the exec mode shows."""
    if form == "json" and "|" not in line:
        line += " | json"
    with _console(lab, node) as client:
        _show(client.exec(line))


def configure(lab: str, node: str, lines: Sequence[str]) -> None:
    """Put lines of the configuration mode into force, all of them or none."""
    with _console(lab, node) as client:
        _show(client.configure(lines))


def _console(lab: str, node: str) -> ControlClient:
    nodes = nodes_of(lab)
    if node not in nodes:
        hint = nearest(node, nodes) or f"there are: {', '.join(nodes)}"
        raise ConfigError(f"no node {node!r} in {lab}", hint=hint)
    return ControlClient(state.run_dir(lab) / f"{node}.sock", timeout=_SECONDS)


def _show(text: str) -> None:
    if text.strip():
        click.echo(report.printable(text.rstrip("\n")))
