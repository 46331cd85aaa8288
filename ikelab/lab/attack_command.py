"""`ikelab attack`: one hostile case against a deployed lab, step by step, with its capture."""

from __future__ import annotations

import os
import sys
import warnings
from collections import Counter
from pathlib import Path

from cryptography.utils import CryptographyDeprecationWarning

from ikelab.errors import ConfigError, LabError
from ikelab.hostile.hub import Assault, NotHere
from ikelab.hostile.registry import ELSEWHERE, Case, Step, cases, play
from ikelab.lab import lifecycle, report
from ikelab.lab.attack import DeployedHub, attacked
from ikelab.lab.record import Capture, Owner, write_capture
from ikelab.lab.topology import Topology
from ikelab.lab.yaml_reader import nearest
from ikelab.runtime.control import Json


def show_cases(form: str) -> None:
    """Every case there is, and what is played elsewhere."""
    columns = ("id", "name", "what is sent", "precedent")
    rows = [(case.id, case.name, _what(case), case.precedent) for case in cases()]
    rows += [(entry.id, entry.name, "not played here", entry.where) for entry in ELSEWHERE]
    rows.sort()
    if form == "json":
        found: list[Json] = [dict(zip(columns, row, strict=True)) for row in rows]
        report.print_json(found, sys.stdout)
        return
    report.stdout_console(sys.stdout).print(report.table("Attacks", columns, rows))


def _what(case: Case) -> str:
    return (case.attack.__doc__ or "").strip().splitlines()[0]


def find_case(name: str) -> Case:
    """By id or name. Raises ConfigError."""
    known = {case.name: case for case in cases()}
    for case in known.values():
        if name in (case.id, case.name):
            return case
    for entry in ELSEWHERE:
        if name in (entry.id, entry.name):
            raise ConfigError(f"{entry.id} {entry.name} cannot be played", hint=entry.where)
    hint = nearest(name, list(known)) or "`ikelab attack --list` shows them"
    raise ConfigError(f"no attack is called {name!r}", hint=hint)


def attack(case: Case, topology: Topology, node: str | None, out: Path, form: str) -> bool:
    """Play a case; whether everything was as it should be."""
    # As in the routers: that Diffie-Hellman over primes is outdated is known.
    warnings.filterwarnings("ignore", category=CryptographyDeprecationWarning)
    told: list[Json] = []
    with attacked(topology, node) as (hub, assault):
        place = hub.place
        if form != "json":
            _say(f"{case.id} {case.name}: {_what(case)}")
            _say(f"  precedent: {case.precedent}")
            _say(f"  expected: {case.expected}")
            where = f"{place.hub.name} ({hub.end}) of {topology.name}"
            _say(f"  against {where}, from {place.peer.name} and a stranger at {hub.stranger}")
        before = hub.recorded()
        passed, left_out = _play(case, assault, told, form)
        harm = _harm(hub)
        raised = hub.recorded() - before
    capture = write_capture(
        topology, lifecycle.flush(topology.name), out, Owner.calling(os.environ)
    )
    if form == "json":
        facts: dict[str, Json] = {"id": case.id, "name": case.name, "steps": told}
        facts |= {"left_out": left_out, "harm": harm, "counters": dict(raised)}
        report.print_json({**facts, "capture": str(capture.path)}, sys.stdout)
    else:
        _summary(left_out, harm, raised, capture)
    return passed and not harm


def _play(case: Case, assault: Assault, told: list[Json], form: str) -> tuple[bool, str]:
    """(whether each step was as expected, why the rest was left out)."""
    passed = True
    try:
        for step in play(case, assault):
            passed &= step.as_expected
            told.append(_facts(step))
            if form != "json":
                _say(f"{'ok    ' if step.as_expected else 'FAILED'}  {step}{_wanted(step)}")
    except NotHere as error:
        return passed, str(error)
    return passed, ""


def _facts(step: Step) -> Json:
    return {
        "what": step.shot.what,
        "answer": step.seen.answer,
        "recorded": list(step.seen.reasons),
        "as_expected": step.as_expected,
    }


def _wanted(step: Step) -> str:
    if step.as_expected:
        return ""
    return f"; wanted: {step.shot.answer} ({step.shot.reason or 'anything recorded'})"


def _harm(hub: DeployedHub) -> str:
    """What the attack came to; "" for nothing."""
    try:
        hub.check()
    except (AssertionError, LabError) as error:
        return str(error)
    return ""


def _summary(left_out: str, harm: str, raised: Counter[str], capture: Capture) -> None:
    if left_out:
        _say(f"        the rest is left out: {left_out}")
    if harm:
        _say(f"FAILED  {harm}")
    else:
        _say("ok      the honest tunnel carries packets, the router is well, no secret was told")
    counters = ", ".join(f"{reason} {count}" for reason, count in raised.most_common())
    _say(f"Counters raised: {counters or 'none'}")
    for line in report.where_to_look(capture):
        _say(line)


def _say(text: str) -> None:
    print(report.printable(text), flush=True)
