"""`ikelab run`: a lab's whole life in one go, from an empty machine to an empty machine."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from ikelab.errors import ConfigError, LabError
from ikelab.lab import lifecycle, report, state
from ikelab.lab.deployed import listed
from ikelab.lab.lifecycle import Progress
from ikelab.lab.record import Owner, write_capture
from ikelab.lab.steps import Result, carry_out, establish_trust, title_of
from ikelab.lab.supervisor import SWITCHED_OFF
from ikelab.lab.topology import Topology
from ikelab.runtime.control import ControlClient, Json

_NOT_TRIED = "not tried: not everybody is enrolled"


def rehearse(topology: Topology, out: Path, *, keep: bool, progress: Progress) -> report.Summary:
    """Deploy, enroll, check, capture, remove; what was found.

    keep: leave it deployed. A failed check is a result; LabError is raised where the machine, not
    the lab, is at fault. However it ends, without `keep` nothing is left; if this process is
    killed, the supervisor removes the lab.
    """
    owner = Owner.calling(os.environ)
    with lifecycle.deployed(topology, progress, tied=not keep):
        results = list(_work(topology, progress))
        snapshots = {
            node.name: snapshot
            for node in topology.nodes
            if node.has_console and (snapshot := _snapshot(node.control_path))
        }
        results += _deaths(topology)
        counts = lifecycle.flush(topology.name) if keep else lifecycle.stop(topology.name)
        capture = write_capture(topology, counts, out, owner)
        if not keep:
            lifecycle.destroy(topology.name)
    return report.Summary(
        topology.name,
        topology.title,
        tuple(row for name, snap in snapshots.items() for row in report.enrollments(name, snap)),
        tuple(row for name, snap in snapshots.items() for row in report.phase1(name, snap)),
        tuple(row for name, snap in snapshots.items() for row in report.phase2(name, snap)),
        tuple(results),
        capture,
    )


def _work(topology: Topology, progress: Progress) -> Iterator[Result]:
    """The administrator's steps, then the checks; after a step that failed, none is tried."""
    enrolled = True
    for trust in topology.trust:
        title = title_of(trust)
        started = time.monotonic()
        try:
            progress(establish_trust(topology, trust))
        except (LabError, ConfigError) as error:
            progress(f"FAILED {title}: {error.reason}")
            yield Result(title, False, error.reason)
            enrolled = False
            break
        yield Result(title, True, f"in {time.monotonic() - started:.1f} s")
    for check in topology.checks:
        if not enrolled:
            yield Result(title_of(check), False, _NOT_TRIED)
            continue
        result = carry_out(topology, check)
        seen = f": {result.detail}" if result.detail else ""
        progress(f"{'ok' if result.passed else 'FAILED'} {result.title}{seen}")
        yield result


def _snapshot(control: Path) -> dict[str, Json] | None:
    """A node's state; None where it does not answer, which `_deaths` explains."""
    try:
        with ControlClient(control) as client:
            return client.snapshot()
    except LabError:
        return None


def _deaths(topology: Topology) -> Iterator[Result]:
    """A result for each node that ended, and each capture that broke off, while it should not."""
    with ControlClient(state.control_path(topology.name)) as client:
        status = client.call("status")
    for node in listed(status, "nodes"):
        if isinstance(node, dict) and node.get("state") not in ("running", SWITCHED_OFF):
            yield Result(f"{node.get('name')} runs to the end", False, str(node.get("state")))
    for fault in listed(status, "faults"):
        yield Result("every segment is captured", False, str(fault))
