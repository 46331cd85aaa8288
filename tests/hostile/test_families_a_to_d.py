"""Families A to D against the simulated hub; every id of the plan is played or accounted for."""

from __future__ import annotations

import pytest

from ikelab.hostile.registry import ELSEWHERE
from tests.hostile.hub_target import simulated_hub
from tests.hostile.registry import Case, cases, play_on

pytestmark = pytest.mark.hostile


PLAN = {
    *(f"A{n:02}" for n in range(1, 17)),
    *(f"B{n:02}" for n in range(1, 16)),
    *(f"C{n:02}" for n in range(1, 14)),
    *("D01", "D02", "D03", "F06"),
}


def test_every_id_of_the_plan_is_played_or_accounted_for() -> None:
    played = {case.id for family in "ABCD" for case in cases(family)}
    elsewhere = {entry.id for entry in ELSEWHERE}
    assert played | elsewhere >= PLAN and not played & elsewhere


@pytest.mark.parametrize(
    "case",
    [case for family in "ABCD" for case in cases(family)],
    ids=lambda case: f"{case.id}-{case.name}",
)
def test_an_attack_ends_in_a_refusal_and_does_no_harm(case: Case) -> None:
    missed = [
        str(step) for step in play_on(case.target or simulated_hub, case) if not step.as_expected
    ]
    assert not missed, "\n".join(missed)
