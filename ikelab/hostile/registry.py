"""Hostile cases: who sends what, where the idea comes from, and what the target must make of it.

A case is an attack, a generator of shots at a target. Each shot says what it sends, what the sender
must see of the answer and which reason the target must give in its own records. After the last one
the target is asked to prove that nothing came of it (`check`): it lives, goes on serving honest
peers and told no secrets.

`play` yields a case's steps as they happen: `pytest -m hostile` plays every case, `ikelab attack`
one of them against a deployed lab. What a case shoots at is the player's: a simulated hub, a
deployed one, or the target that the case brings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

_MODULES: tuple[str, ...] = (
    "parser",
    "fragments",
    "floods",
    "machine",
    "authentication",
    "guessing",
    "phase2",
)
"""The modules of this package whose import registers cases."""


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


MakeTarget = Callable[[], AbstractContextManager[Target]]
Attack = Callable[[Any], Iterator[Shot]]


@dataclass(frozen=True, slots=True)
class Case:
    """id: family and number. name: for a command line. repeats: of each shot, for the growth.

    target: what the case brings to be shot at, None where it takes any hub.
    """

    id: str
    name: str
    precedent: str
    expected: str
    target: MakeTarget | None
    attack: Attack
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
    target: MakeTarget | None = None,
    repeats: int = 0,
) -> Callable[[Attack], Attack]:
    """Register the decorated attack."""

    def register(attack: Attack) -> Attack:
        same = [other for other in _CASES.values() if other.id == id or other.name == name]
        assert not same, f"{id} {name} is there already"
        _CASES[id] = Case(id, name, precedent, expected, target, attack, repeats)
        return attack

    return register


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """An id of the plan that no case here plays. where: what does, or why nothing can."""

    id: str
    name: str
    where: str


ELSEWHERE = (
    Elsewhere("A15", "port-4500", "tests/unit/test_udp_encap.py: the socket tells them apart"),
    Elsewhere("B15", "forged-nat-d", "tests/dialogue/test_nat_t.py: no float, no redirect"),
    Elsewhere("F06", "outside-the-lab", "tests/netns/test_station.py: the sender itself refuses"),
)
"""What is accounted for in another way."""


def cases(family: str = "") -> tuple[Case, ...]:
    """All cases registered so far, or those of one family ("E"), by id."""
    for module in _MODULES:
        import_module(f"ikelab.hostile.{module}")
    return tuple(_CASES[id] for id in sorted(_CASES) if id.startswith(family))


def play(case: Case, target: Any, fired: list[Shot] | None = None) -> Iterator[Step]:
    """Attack a target that was just made; raises AssertionError where it does not stand.

    fired: gets every shot, for those who want to repeat them.
    """
    shots = [] if fired is None else fired
    for shot in case.attack(target):
        yield Step(shot, shot.fire())
        shots.append(shot)
    assert shots, f"{case.id} sends nothing"
