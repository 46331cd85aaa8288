"""The matrix of features and peers in README, from what the tests said.

`python -m tests.interop.matrix --run` runs the tests that the matrix names (as root, with both
peers) and writes `results.json`; without `--run` only README is written again. A test holds that
README is what the results say, and that every test named here exists.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).with_name("results.json")
README = ROOT / "README.md"
BEGIN, END = "<!-- matrix: python -m tests.interop.matrix -->", "<!-- end of matrix -->"

PEERS = ("strongSwan 5.9.8", "libreswan 4.10", "ike-scan 1.9.5")
ROLES = ("we begin", "it begins")


@dataclass(frozen=True, slots=True)
class Evidence:
    """Tests of a feature with one peer. ids: "file::test", of which those count whose parameters
    hold `only`, where it is given."""

    peer: int
    role: int
    ids: tuple[str, ...]
    only: str = ""


@dataclass(frozen=True, slots=True)
class Feature:
    """One row."""

    name: str
    evidence: tuple[Evidence, ...]


def _both(peer: int, *ids: str) -> tuple[Evidence, ...]:
    """Tests with a parameter for our role."""
    return Evidence(peer, 0, ids, "initiator"), Evidence(peer, 1, ids, "responder")


def _one(peer: int, role: int, *ids: str, only: str = "") -> Evidence:
    return Evidence(peer, role, ids, only)


_SW, _LS, _SCAN = range(3)
_E, _U = "test_engine_against_strongswan.py::", "test_engine_upkeep_with_strongswan.py::"
_A, _M = "test_aggressive_with_strongswan.py::", "test_strongswan_main_mode.py::"
_T, _C = "test_lifetimes_with_strongswan.py::", "test_bad_certificates_with_strongswan.py::"
_I = "test_identities_with_strongswan.py::"
_N, _V = "test_nat_t_with_strongswan.py::", "test_nat_t_versions.py::"
_L, _S = "test_libreswan.py::", "test_ike_scan.py::"

FEATURES = (
    Feature(
        "main mode, pre-shared key",
        (
            *_both(_SW, _E + "test_pre_shared_key", _M + "test_pre_shared_key"),
            *_both(_LS, _L + "test_main_mode_with_a_pre_shared_key"),
        ),
    ),
    Feature(
        "main mode, RSA signatures",
        (
            *_both(_SW, _E + "test_rsa_signatures", _M + "test_rsa_signatures_with_crls_checked"),
            *_both(_LS, _L + "test_main_mode_with_rsa_signatures"),
            _one(_SCAN, 1, _S + "test_the_right_transform_is_answered_exactly"),
        ),
    ),
    Feature(
        "aggressive mode, pre-shared key",
        (
            *_both(_SW, _A + "test_pre_shared_key", _A + "test_a_router_with_the_commands_of_ios"),
            *_both(_LS, _L + "test_aggressive_mode_with_a_pre_shared_key"),
            _one(_SCAN, 1, _S + "test_aggressive_mode_where_it_is_allowed"),
        ),
    ),
    Feature(
        "aggressive mode, RSA signatures",
        (
            *_both(_SW, _A + "test_rsa_signatures"),
            *_both(_LS, _L + "test_aggressive_mode_with_rsa_signatures"),
        ),
    ),
    Feature(
        "aggressive mode refused where it is off",
        (
            _one(_SW, 1, _A + "test_charon_is_refused_where_aggressive_mode_is_off"),
            _one(_SCAN, 1, _S + "test_aggressive_mode_is_met_with_silence"),
        ),
    ),
    Feature(
        "groups 1, 15, 16, 19 to 21, DES, AES-192, SHA-384, SHA-512",
        (
            _one(_SW, 0, _E + "test_every_group_cipher_and_hash", only="True"),
            _one(_SW, 1, _E + "test_every_group_cipher_and_hash", only="False"),
        ),
    ),
    Feature(
        "PFS",
        (
            *_both(_SW, _E + "test_perfect_forward_secrecy"),
            *_both(_LS, _L + "test_perfect_forward_secrecy"),
        ),
    ),
    Feature(
        "dead peer detection",
        (
            _one(
                _SW,
                0,
                _T + "test_charon_answers_our_dead_peer_detection",
                _T + "test_a_dead_charon_is_found_dead",
            ),
            _one(_SW, 1, _U + "test_we_answer_dead_peer_detection"),
            _one(_LS, 0, _L + "test_pluto_answers_our_dead_peer_detection"),
            _one(_LS, 1, _L + "test_we_answer_dead_peer_detection"),
        ),
    ),
    Feature(
        "deletes",
        (
            _one(_SW, 0, _E + "test_charon_takes_our_deletes"),
            _one(_SW, 1, _E + "test_we_take_charons_deletes"),
            _one(_LS, 0, _L + "test_pluto_takes_our_deletes"),
            _one(_LS, 1, _L + "test_we_take_plutos_deletes"),
        ),
    ),
    Feature(
        "phase 1 renewed by lifetime; reauthentication",
        (
            _one(_SW, 0, _T + "test_we_renew_phase_1"),
            _one(_SW, 1, _T + "test_charon_renews_phase_1"),
            _one(_LS, 0, _L + "test_we_rekey_before_the_end_of_a_lifetime", only="1"),
            _one(_LS, 1, _L + "test_pluto_rekeys_before_the_end_of_a_lifetime", only="1"),
        ),
    ),
    Feature(
        "phase 2 renewed by lifetime",
        (
            _one(_SW, 0, _T + "test_we_renew_the_pair"),
            _one(_SW, 1, _T + "test_charon_renews_the_child"),
            _one(_LS, 0, _L + "test_we_rekey_before_the_end_of_a_lifetime", only="2"),
            _one(_LS, 1, _L + "test_pluto_rekeys_before_the_end_of_a_lifetime", only="2"),
        ),
    ),
    Feature(
        "renewed by command",
        (
            _one(_SW, 0, _U + "test_we_ask_for_a_second_child_under_the_same_isakmp_sa"),
            _one(
                _SW,
                1,
                _U + "test_charon_rekeys_the_child",
                _U + "test_charon_opens_a_second_isakmp_sa_beside_the_first",
            ),
        ),
    ),
    Feature("both begin at once", (_one(_SW, 0, _T + "test_both_begin_at_once"),)),
    Feature(
        "lost and repeated messages",
        (
            _one(
                _SW,
                1,
                _U + "test_lost_messages_are_sent_again_by_charon",
                _U + "test_a_repeated_message_gets_the_same_answer",
            ),
        ),
    ),
    *(
        Feature(
            f"certificate {words}",
            (
                _one(_SW, 0, _C + "test_charon_refuses_ours", only=f"{fault}-MM5"),
                _one(_SW, 0, _C + "test_we_refuse_charons", only=f"{fault}-MM6"),
                _one(_SW, 1, _C + "test_charon_refuses_ours", only=f"{fault}-MM6"),
                _one(_SW, 1, _C + "test_we_refuse_charons", only=f"{fault}-MM5"),
            ),
        )
        for words, fault in (
            ("revoked", "revoked"),
            ("expired", "expired"),
            ("not valid yet", "not-yet-valid"),
            ("of an unknown CA", "of-an-impostors-ca"),
            ("of another identity", "of-another-name"),
        )
    ),
    Feature(
        "identities: address, host name, DN, mailbox",
        (
            _one(_SW, 0, _I + "test_the_identity_is_compared_with_the_certificate", only="-we-"),
            _one(
                _SW, 1, _I + "test_the_identity_is_compared_with_the_certificate", only="-charon-"
            ),
        ),
    ),
    Feature(
        "CRL out of reach, strict and relaxed",
        (
            _one(_SW, 0, _E + "test_charon_cannot_fetch_the_crl"),
            _one(
                _SW,
                1,
                _M + "test_a_crl_out_of_reach_keeps_the_tunnel_down",
                _M + "test_revocation_check_none_needs_no_crl",
            ),
        ),
    ),
    Feature(
        "another pre-shared key",
        (
            _one(
                _SW,
                0,
                _E + "test_another_pre_shared_key_leads_nowhere",
                _A + "test_another_pre_shared_key_is_seen_in_message_2",
            ),
            _one(_LS, 1, _L + "test_another_pre_shared_key_leads_nowhere"),
        ),
    ),
    Feature(
        "no proposal chosen",
        (
            _one(_SW, 0, _E + "test_charons_refusal_of_our_proposal_is_told"),
            _one(_SW, 1, _E + "test_charon_is_told_that_its_proposal_is_refused"),
            _one(_LS, 1, _L + "test_pluto_is_told_that_its_proposal_is_refused"),
            _one(_SCAN, 1, _S + "test_anything_else_is_answered_by_a_notify_and_kept_nothing_of"),
        ),
    ),
    Feature(
        "NAT traversal, behind a real NAT and forced; keepalives",
        (
            *_both(_SW, _N + "test_charon_forces_udp_where_there_is_no_nat"),
            _one(
                _SW,
                0,
                _N + "test_we_are_behind_a_nat",
                _N + "test_we_are_behind_a_nat_with_certificates_in_fragments",
                _N + "test_charon_takes_our_keepalives",
                _N + "test_without_nat_transparency_nothing_floats",
            ),
            _one(_SW, 0, _V + "test_charon_answers_us_behind_a_nat", only="rfc3947"),
            _one(_SW, 1, _N + "test_charon_is_behind_a_nat_and_keeps_its_port"),
            _one(_SW, 1, _V + "test_charon_behind_a_nat_offers_each_version", only="rfc3947"),
            _one(_LS, 0, _V + "test_pluto_answers_us_behind_a_nat", only="rfc3947"),
            _one(_LS, 1, _V + "test_pluto_behind_a_nat_offers_each_version", only="rfc3947"),
        ),
    ),
    Feature(
        "NAT traversal by drafts 02 and 03, main and aggressive mode",
        (
            *(
                evidence
                for draft in ("02", "03")
                for evidence in (
                    _one(_SW, 0, _V + "test_charon_answers_us_behind_a_nat", only=draft),
                    _one(_LS, 0, _V + "test_pluto_answers_us_behind_a_nat", only=draft),
                    _one(_LS, 1, _V + "test_pluto_behind_a_nat_offers_each_version", only=draft),
                )
            ),
            _one(_SW, 1, _V + "test_charon_behind_a_nat_offers_each_version", only="02"),
            *_both(_LS, _V + "test_pluto_forces_udp_where_there_is_no_nat"),
            _one(
                _LS,
                1,
                _V + "test_pluto_behind_a_nat_keeps_to_the_drafts",
                _V + "test_pluto_behind_a_nat_in_tunnel_mode",
            ),
        ),
    ),
    Feature(
        "IKE fragmentation, both ways",
        (
            *_both(_SW, _N + "test_certificates_go_in_fragments_both_ways"),
            _one(_SW, 1, _N + "test_fragments_without_agreement_are_refused_by_name"),
        ),
    ),
    Feature(
        "vendor IDs",
        (
            _one(
                _SCAN,
                1,
                _S + "test_a_vendor_id_is_answered_only_to_who_sent_it",
                _S + "test_each_version_of_nat_traversal_is_answered_with_itself",
                _S + "test_of_several_versions_the_best_is_answered",
                _S + "test_fragmentation_is_announced_where_it_is_configured",
            ),
        ),
    ),
)

Results = dict[str, str]
"""Test -> "passed", "failed" or "skipped"."""


def named_tests() -> Iterator[str]:
    """Every test that a row names, once."""
    yield from dict.fromkeys(
        test for feature in FEATURES for one in feature.evidence for test in one.ids
    )


def counted(evidence: Evidence, results: Results) -> list[str]:
    """The outcomes that count for a cell."""
    found = []
    for test, outcome in results.items():
        function, _, parameters = test.partition("[")
        if function in evidence.ids and evidence.only in parameters:
            found.append(outcome)
    return found


def render(results: Results) -> str:
    """The table, as README has it between its two markers."""
    columns = [(peer, role) for peer in (_SW, _LS) for role in (0, 1)] + [(_SCAN, 1)]
    heads = [f"{PEERS[peer]}, {ROLES[role]}" for peer, role in columns]
    lines = [f"| | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    for feature in FEATURES:
        cells = [_cell(feature, column, results) for column in columns]
        lines.append(f"| {feature.name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(feature: Feature, column: tuple[int, int], results: Results) -> str:
    outcomes = [
        outcome
        for one in feature.evidence
        if (one.peer, one.role) == column
        for outcome in counted(one, results)
    ]
    bad = sum(outcome != "passed" for outcome in outcomes)
    if bad:
        return f"**{bad} of {len(outcomes)} failed**"
    return str(len(outcomes) or "-")


def in_readme(text: str, table: str) -> str:
    """README with this table."""
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


def load() -> Results:
    """The committed results."""
    found: Results = json.loads(RESULTS.read_text())
    return found


def run() -> Results:
    """Run every test named here; what each said."""
    files = sorted({test.split("::")[0] for test in named_tests()})
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}"]
        command += [f"tests/interop/{file}" for file in files]
        subprocess.run(command, cwd=ROOT, check=False)
        return read_report(report.read_text())


def read_report(text: str) -> Results:
    """The outcomes of a JUnit report, of the tests that are named here."""
    named = set(named_tests())
    found = {}
    for case in ElementTree.fromstring(text).iter("testcase"):
        test = f"{case.get('classname', '').split('.')[-1]}.py::{case.get('name')}"
        if test.partition("[")[0] in named:
            kinds = {child.tag for child in case}
            bad = "failed" if kinds & {"failure", "error"} else "skipped"
            found[test] = bad if kinds & {"failure", "error", "skipped"} else "passed"
    return dict(sorted(found.items()))


def main(words: Sequence[str]) -> None:
    """`--run`: run the tests first."""
    if "--run" in words:
        RESULTS.write_text(json.dumps(run(), indent=1) + "\n")
    README.write_text(in_readme(README.read_text(), render(load())))


if __name__ == "__main__":
    main(sys.argv[1:])
