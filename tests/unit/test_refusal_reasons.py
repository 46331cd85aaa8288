"""No refusal without its reason: every place that raises one is walked in the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from ikelab.isakmp.reasons import REASONS

PACKAGE = Path(__file__).parents[2] / "ikelab"
ENGINE = ("isakmp", "crypto", "ipsec", "runtime/dataplane")
# Where a peer's certificate or a CRL is refused; what these raise reaches IKE by its name.
PATHS = "chain crl crl_status constraints revocation x509 extensions algorithms".split()
_ENROLLMENT_ONLY = {"bad-request", "malformed-request"}


def calls(*folders: str, name: str) -> Iterator[tuple[str, ast.Call]]:
    """Every call of a name under these folders, with where it stands."""
    for folder in folders:
        found = PACKAGE / folder
        for path in sorted(found.glob("*.py")) if found.is_dir() else [found.with_suffix(".py")]:
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and _name(node) == name:
                    yield f"{path.relative_to(PACKAGE)}:{node.lineno}", node


def _name(call: ast.Call) -> str:
    match call.func:
        case ast.Name(found) | ast.Attribute(attr=found):
            return found
    return ""


def _reason(call: ast.Call, position: int = 0) -> str | None:
    """The reason that is given as a literal, None where it is another one's."""
    given = call.args[position] if len(call.args) > position else None
    return given.value if isinstance(given, ast.Constant) else None


def test_every_refusal_of_the_engine_says_what_was_seen_and_what_was_wanted() -> None:
    silent = [
        where
        for where, call in calls(*ENGINE, name="ProtocolError")
        if not {"seen", "wanted"} <= {keyword.arg for keyword in call.keywords}
    ]
    assert silent == []


def test_every_reason_that_is_raised_has_its_rule_and_its_remedy() -> None:
    raised = [(where, _reason(c)) for where, c in calls(*ENGINE, name="ProtocolError")]
    paths = [f"pki/{name}" for name in PATHS]
    raised += [(where, _reason(call)) for where, call in calls(*paths, name="PkiError")]
    raised += [(where, _reason(call, 1)) for where, call in calls(*paths, name="PathRefused")]
    assert len(raised) > 100
    unknown = {
        where: reason
        for where, reason in raised
        if reason is not None and reason not in REASONS and reason not in _ENROLLMENT_ONLY
    }
    assert unknown == {}


def test_refusals_are_made_in_one_place() -> None:
    """`Context.refused` counts and completes; nobody else makes the event or counts."""
    makers = {where.split(":")[0] for where, _ in calls("isakmp", "node", name="Refused")}
    assert makers == {"isakmp/context.py"}


@pytest.mark.parametrize("reason", sorted(REASONS))
def test_every_reason_has_a_rule_and_a_remedy(reason: str) -> None:
    assert REASONS[reason].rule
    assert REASONS[reason].mend
