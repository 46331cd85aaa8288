"""Hostile cases: who sends what, where the idea comes from, and what the target must make of it.

A case is an attack, a generator of shots at a target. Each shot says what it sends, what the sender
must see of the answer and which reason the target must give in its own records. After the last one
the target is asked to prove that nothing came of it (`check`): it lives, goes on serving honest
peers, told no secrets and grew by no more than `GROWTH` octets.

`pytest -m hostile` plays every case; `play` yields its steps, so that a command can print them.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

GROWTH = 10_000_000
"""Octets by which a target may have grown after an attack."""

_MODULES = ("enrollment", "messages", "requests", "certificates")
_PAGE = 4096


@dataclass(frozen=True, slots=True)
class Seen:
    """answer: what the sender got, in few words. reasons: what the target recorded since."""

    answer: str
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Shot:
    """One thing sent. reason: one the target must have recorded, "" where it records none."""

    what: str
    fire: Callable[[], Seen]
    answer: str
    reason: str = ""


class Target(Protocol):
    """What is shot at."""

    def check(self) -> None:
        """Raises AssertionError where an attack came to something."""


@dataclass(frozen=True, slots=True)
class Case:
    """id: family and number. name: for a command line. repeats: of each shot, for the growth."""

    id: str
    name: str
    precedent: str
    expected: str
    target: Callable[[], AbstractContextManager[Any]]
    attack: Callable[[Any], Iterator[Shot]]
    repeats: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """A shot and what came of it."""

    shot: Shot
    seen: Seen

    @property
    def as_expected(self) -> bool:
        """Whether sender and target both saw what they should."""
        told = not self.shot.reason or self.shot.reason in self.seen.reasons
        return told and self.seen.answer == self.shot.answer

    def __str__(self) -> str:
        """One line."""
        reasons = ", ".join(dict.fromkeys(self.seen.reasons)) or "nothing recorded"
        return f"{self.shot.what}: {self.seen.answer} ({reasons})"


_CASES: dict[str, Case] = {}


def case(
    id: str,
    name: str,
    *,
    precedent: str,
    expected: str,
    target: Callable[[], AbstractContextManager[Any]],
    repeats: int = 0,
) -> Callable[[Callable[[Any], Iterator[Shot]]], Callable[[Any], Iterator[Shot]]]:
    """Register the decorated attack."""

    def register(attack: Callable[[Any], Iterator[Shot]]) -> Callable[[Any], Iterator[Shot]]:
        same = [other for other in _CASES.values() if other.id == id or other.name == name]
        assert not same, f"{id} {name} is there already"
        _CASES[id] = Case(id, name, precedent, expected, target, attack, repeats)
        return attack

    return register


def cases(family: str = "") -> tuple[Case, ...]:
    """All cases, or those of one family ("E"), by id."""
    for module in _MODULES:
        import_module(f"tests.hostile.{module}")
    return tuple(_CASES[id] for id in sorted(_CASES) if id.startswith(family))


def play(case: Case) -> Iterator[Step]:
    """Attack a fresh target; raises AssertionError where it does not stand."""
    with case.target() as target:
        shots: list[Shot] = []
        for shot in case.attack(target):
            yield Step(shot, shot.fire())
            shots.append(shot)
        assert shots, f"{case.id} sends nothing"
        _repeat(case, shots)
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
