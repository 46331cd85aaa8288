"""Family E: certificates, CRLs, the CA and SCEP under attack."""

from __future__ import annotations

import pytest

from tests.hostile.registry import Case, cases, play

pytestmark = pytest.mark.hostile


@pytest.mark.parametrize("case", cases("E"), ids=lambda case: f"{case.id}-{case.name}")
def test_an_attack_ends_in_a_refusal_and_does_no_harm(case: Case) -> None:
    missed = [str(step) for step in play(case) if not step.as_expected]
    assert not missed, "\n".join(missed)
