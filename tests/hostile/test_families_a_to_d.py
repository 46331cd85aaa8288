"""Families A to D against the simulated hub; every id of the plan is played or accounted for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ikelab.hostile.registry import ELSEWHERE, play
from tests.hostile.hub_target import simulated_hub
from tests.hostile.registry import Case, cases, play_on

pytestmark = pytest.mark.hostile


PACKETS = 10_000
HALF_AN_HOUR = 1800.0


@pytest.mark.nightly
@pytest.mark.parametrize(
    "case",
    [case for family in "ABCD" for case in cases(family) if case.target is None],
    ids=lambda case: case.id,
)
def test_ten_thousand_packets_leave_less_than_ten_megabytes(case: Case) -> None:
    bounded(case, PACKETS)


# Without keys, under half-open SAs, and under a complete one.
@pytest.mark.parametrize("id", ["A09", "B04", "D01"])
def test_a_thousand_packets_leave_less_than_ten_megabytes(id: str) -> None:
    [case] = [case for case in cases(id[0]) if case.id == id]
    bounded(case, 1000)


def bounded(case: Case, packets: int) -> None:
    """Each shot of a case again and again."""
    with simulated_hub() as attack:
        list(play(case, attack))
        repeats = packets // attack.hub.sent + 1
        if attack.hub.waited:  # the live tunnel has a lifetime too
            repeats = min(repeats, int(HALF_AN_HOUR // attack.hub.waited))
    repeated = replace(case, repeats=repeats)
    list(play_on(simulated_hub, repeated))


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
