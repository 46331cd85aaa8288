"""The matrix in README says what the peers' tests said, and of tests that there are."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.interop import matrix

INTEROP = Path(matrix.__file__).parent
REPORT = """<testsuites><testsuite>
<testcase classname="tests.interop.test_libreswan" name="test_we_take_plutos_deletes"/>
<testcase classname="tests.interop.test_libreswan" name="test_perfect_forward_secrecy[initiator]">
<failure/></testcase>
<testcase classname="tests.interop.test_libreswan" name="test_that_no_row_names"/>
</testsuite></testsuites>"""


def test_readme_has_the_matrix_of_the_committed_results() -> None:
    readme = matrix.README.read_text()
    current = matrix.in_readme(readme, matrix.render(matrix.load()))
    assert readme == current, "run: python -m tests.interop.matrix"


def test_every_test_that_the_matrix_names_exists() -> None:
    there = {
        f"{path.name}::{node.name}"
        for path in INTEROP.glob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef)
    }
    assert set(matrix.named_tests()) - there == set()


def test_every_cell_has_its_tests_and_all_passed() -> None:
    results = matrix.load()
    for feature in matrix.FEATURES:
        for evidence in feature.evidence:
            outcomes = matrix.counted(evidence, results)
            assert set(outcomes) == {"passed"}, (feature.name, evidence)
    assert {test.partition("[")[0] for test in results} == set(matrix.named_tests())


def test_a_failure_is_not_hidden() -> None:
    results = matrix.read_report(REPORT)
    assert results == {
        "test_libreswan.py::test_perfect_forward_secrecy[initiator]": "failed",
        "test_libreswan.py::test_we_take_plutos_deletes": "passed",
    }
    table = matrix.render(results)
    assert "| PFS | - | - | **1 of 1 failed** | - | - |" in table
    assert "| deletes | - | - | - | 1 | - |" in table
