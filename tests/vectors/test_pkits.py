"""Our path validation and NIST's PKITS: agreement, or a refusal that says what is not processed.

Witnesses of every run are NIST's document, pyhanko-certvalidator and `openssl verify`. Paths are
looked for among all CAs and CRLs of the suite, not only those of the run: there are more ways to
accept one falsely.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import pytest

from ikelab.errors import PkiError
from ikelab.pki.chain import build_paths, validate
from ikelab.pki.crl import Crl, load_crl
from ikelab.pki.x509 import Certificate, load_certificate
from tests.conftest import REQUIRE_PEERS, missing
from tests.vectors.pkits import ACCEPTED, ANCHOR, MOMENT, REFUSED, Run, find_files, read_runs

RUNS = read_runs()
LEAVES = {run.leaf for run in RUNS}
UNSUPPORTED = "unsupported"
POLICY_SECTIONS = {"4.8", "4.9", "4.10", "4.11", "4.12"}
POLICY_EXTENSIONS = ("2.5.29.33", "2.5.29.36", "2.5.29.54")
DSA = {"4.1.4", "4.1.5", "4.1.6"}
INDIRECT = {f"4.14.{test}" for test in range(22, 36)}


def is_processed(run: Run) -> bool:
    """Outside what is not processed at all: policies, DSA, indirect CRLs."""
    return run.section not in POLICY_SECTIONS and run.number not in DSA | INDIRECT


@dataclass
class Suite:
    """All of PKITS, read. faults: why a certificate could not be."""

    certificates: dict[str, Certificate] = field(default_factory=dict)
    faults: dict[str, PkiError] = field(default_factory=dict)
    crls: list[Crl] = field(default_factory=list)
    verdicts: dict[str, tuple[str, str]] = field(default_factory=dict)

    def verdict(self, run: Run) -> tuple[str, str]:
        """Accepted, refused or unsupported, and why not accepted."""
        if run.policies != "any" or run.settings != "-":
            return UNSUPPORTED, "validate() cannot be asked for policies"
        if run.leaf not in self.verdicts:
            self.verdicts[run.leaf] = self._validate(run.leaf)
        return self.verdicts[run.leaf]

    def _validate(self, leaf: str) -> tuple[str, str]:
        if leaf in self.faults:
            return self._refusal(self.faults[leaf])
        everything = [item for stem, item in self.certificates.items() if stem not in LEAVES]
        anchors = [self.certificates[ANCHOR]]
        fault = PkiError("untrusted-issuer", "no path")
        for path in build_paths(self.certificates[leaf], everything, anchors, at=MOMENT):
            try:
                validate(
                    path,
                    anchors,
                    MOMENT,
                    self.crls,
                    "crl",
                    others=everything,
                    legacy=True,
                    key_usage=None,
                )
            except PkiError as error:
                fault = error
                continue
            return ACCEPTED, ""
        return self._refusal(fault)

    @staticmethod
    def _refusal(error: PkiError) -> tuple[str, str]:
        critical = error.reason == "unknown-critical-extension"
        is_policy = critical and any(oid in error.detail for oid in POLICY_EXTENSIONS)
        unsupported = is_policy or error.reason == "unsupported-algorithm"
        return UNSUPPORTED if unsupported else REFUSED, str(error)


@pytest.fixture(scope="module")
def suite() -> Suite:
    files = find_files()
    if files is None:
        missing("cryptography-vectors, which has PKITS, is not installed", required=REQUIRE_PEERS)
    assert files is not None
    found = Suite()
    for file in sorted((files / "certs").glob("*.crt")):
        try:
            found.certificates[file.stem] = load_certificate(file.read_bytes(), any_serial=True)
        except PkiError as error:
            found.faults[file.stem] = error
    for file in sorted((files / "crls").glob("*.crl")):
        try:
            found.crls.append(load_crl(file.read_bytes()))
        except PkiError:
            continue  # DSA, and a damaged signature: as if not there
    return found


def test_the_table_has_every_run_once_and_its_witnesses_agree_but_for_two() -> None:
    assert len({run.number for run in RUNS}) == len(RUNS) == 247
    assert {verdict for run in RUNS for verdict in (run.nist, run.pyhanko, run.openssl)} == {
        ACCEPTED,
        REFUSED,
    }
    odd = [run.number for run in RUNS if not run.nist == run.pyhanko == run.openssl]
    # DSA parameters of the issuer; an indirect CRL whose signer's status stands in itself.
    assert odd == ["4.1.5", "4.14.30"]


@pytest.mark.parametrize(
    "run", [run for run in RUNS if is_processed(run)], ids=lambda run: run.number
)
def test_run_has_the_verdict_of_all_witnesses(suite: Suite, run: Run) -> None:
    verdict, why = suite.verdict(run)
    assert verdict == run.nist == run.pyhanko == run.openssl, f"{run.leaf}: {why}"


@pytest.mark.parametrize(
    "run", [run for run in RUNS if not is_processed(run)], ids=lambda run: run.number
)
def test_run_of_what_is_not_processed_is_right_or_refused(suite: Suite, run: Run) -> None:
    verdict, why = suite.verdict(run)
    if verdict == ACCEPTED:
        assert (run.nist, run.pyhanko) == (ACCEPTED, ACCEPTED), run.leaf
    elif run.nist == ACCEPTED and verdict == REFUSED:
        # Without its indirect CRL the status of a certificate is not known.
        assert run.number in INDIRECT and why.startswith("crl-unavailable"), f"{run.leaf}: {why}"


def test_all_runs_together(suite: Suite) -> None:
    """The figures to quote."""
    found = Counter[str]()
    for run in RUNS:
        verdict, _ = suite.verdict(run)
        if verdict == run.nist:
            found["agree"] += 1
        elif verdict == ACCEPTED:
            found["accepted falsely"] += 1
        else:
            found["refused as unsupported"] += 1
    assert found == {"agree": 158, "refused as unsupported": 89}
