"""Families A to D against the simulated hub; every id of the plan is played or accounted for."""

from __future__ import annotations

import pytest

from tests.hostile.hub_target import simulated_hub
from tests.hostile.registry import Case, cases, play_on

pytestmark = pytest.mark.hostile


@pytest.mark.parametrize(
    "case",
    [case for family in "ABCD" for case in cases(family)],
    ids=lambda case: f"{case.id}-{case.name}",
)
def test_an_attack_ends_in_a_refusal_and_does_no_harm(case: Case) -> None:
    missed = [str(step) for step in play_on(simulated_hub, case) if not step.as_expected]
    assert not missed, "\n".join(missed)
