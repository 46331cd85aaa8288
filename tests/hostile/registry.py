"""The package's registry of hostile cases, and how a test plays one: on a fresh target, with an eye
on its memory. After an attack it may have grown by no more than `GROWTH` octets.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from ikelab.hostile import registry
from ikelab.hostile.registry import Case, Seen, Shot, Step, Target, case

__all__ = ["GROWTH", "Case", "Seen", "Shot", "Step", "Target", "case", "cases", "play"]

GROWTH = 10_000_000
"""Octets by which a target may have grown after an attack."""

# Cases against the certificate server and a router's check of certificates: their targets are
# made of the tests' own scenes.
_MODULES = (
    "weak_keys",
    "enrollment",
    "messages",
    "requests",
    "certificates",
    "fetching",
    "revocation",
    "web",
    "storage",
    "archives",
    "clocks",
)
_PAGE = 4096


def cases(family: str = "") -> tuple[Case, ...]:
    """All cases, or those of one family ("E"), by id."""
    for module in _MODULES:
        import_module(f"tests.hostile.{module}")
    return registry.cases(family)


def play(case: Case) -> Iterator[Step]:
    """Attack the target that the case brings; raises AssertionError where it does not stand."""
    assert case.target is not None, f"{case.id} brings no target"
    yield from play_on(case.target, case)


def play_on(make: registry.MakeTarget, case: Case) -> Iterator[Step]:
    """Attack a fresh target; raises AssertionError where it does not stand."""
    with make() as target:
        fired: list[Shot] = []
        yield from registry.play(case, target, fired)
        _repeat(case, fired)
        target.check()


def _repeat(case: Case, shots: list[Shot]) -> None:
    if not case.repeats:
        return
    gc.collect()
    before = _resident()
    for _ in range(case.repeats):
        for shot in shots:
            shot.fire()
    gc.collect()
    grown = _resident() - before
    assert grown < GROWTH, f"{case.id}: {grown} octets more after {case.repeats} repeats"


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE
