"""`ikelab explain`: the command line of `explain.py`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import click

from ikelab.capture.explain import lines
from ikelab.capture.refusals import Refusal, decisive, rows, sentence
from ikelab.errors import ConfigError
from ikelab.lab import explain as explaining
from ikelab.lab import lifecycle, report, state
from ikelab.lab.explain import Evidence
from ikelab.lab.yaml_reader import nearest
from ikelab.runtime.control import Json

SIGNATURE = "signature"


def explain(
    words: Sequence[str], capture: Path | None, form: str, deployed: Callable[[], str]
) -> None:
    """NODE [PEER], or signature FRAME [CAPTURE]. deployed: the lab that is meant."""
    if not words or len(words) > (3 if words[0] == SIGNATURE else 2):
        raise click.UsageError("explain NODE [PEER], or explain signature FRAME [CAPTURE]")
    about = words[1] if len(words) > 1 else None
    if words[0] != SIGNATURE:
        _explain_refusal(words[0], about, capture, form, deployed)
        return
    file = Path(words[2]) if len(words) > 2 else capture
    _explain_signature(about, file, form)


def _explain_refusal(
    node: str, peer: str | None, capture: Path | None, form: str, deployed: Callable[[], str]
) -> None:
    """Print why the last negotiation of a node was refused."""
    evidence = _evidence(capture, deployed)
    where = report.near(Path(evidence.where))
    known = sorted(set(evidence.names.values()))
    for name in filter(None, (node, peer)):
        if name not in known and name not in evidence.names:
            hint = nearest(name, known) or f"there are: {', '.join(known)}"
            raise ConfigError(f"no node {name!r} in {where}", hint=hint)
    found = decisive(evidence.refusals, evidence.names.get(node, node), peer, evidence.names)
    if form == "json":
        report.print_json(_as_json(found, evidence), sys.stdout)
        return
    if found is None:
        click.echo(f"nothing was refused by {node}, nor of it, in {where}")
        return
    click.echo(report.printable(sentence(found, evidence.names)))
    for name, text in (*rows(found), ("found in", where)):
        click.echo(report.printable(f"  {name:<8} {text}"))


def _evidence(capture: Path | None, deployed: Callable[[], str]) -> Evidence:
    """A capture that is named, else the deployed lab, else the capture that was written last."""
    if capture is not None:
        return explaining.of_capture(capture if capture.is_dir() else capture.parent)
    if state.labs():
        lifecycle.check_rights()
        return explaining.of_deployed(deployed())
    return explaining.of_capture(explaining.newest_capture(Path.cwd()))


def _as_json(found: Refusal | None, evidence: Evidence) -> Json:
    if found is None:
        return {"where": evidence.where, "refusal": None}
    told: dict[str, Json] = {key: value for key, value in asdict(found).items()}
    said = sentence(found, evidence.names)
    return {"where": evidence.where, "sentence": said, "refusal": {**told, "mend": found.mend}}


def _explain_signature(frame: str | None, capture: Path | None, form: str) -> None:
    """Print the hash, the padded block and the recovered block of a frame's SIG."""
    if frame is None or not frame.isascii() or not frame.isdigit():
        raise click.UsageError("explain signature FRAME [CAPTURE]: FRAME is a number")
    where = capture or explaining.newest_capture(Path.cwd())
    if where.is_dir():
        where = explaining.main_capture(where)
    proof = explaining.proof_in(where, int(frame))
    if form == "json":
        told: dict[str, Json] = {
            key: value.hex() if isinstance(value, bytes) else value
            for key, value in asdict(proof).items()
        }
        report.print_json(told, sys.stdout)
        return
    for line in lines(proof):
        click.echo(report.printable(line))
