"""The benchmark runs and fills every row. Its times are nobody's test."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from tests.benchmarks import __main__ as bench
from tests.benchmarks import chain, enrollment, peers
from tests.benchmarks.report import Report, Row
from tests.benchmarks.stopwatch import CERTIFICATES, CRYPTOGRAPHY, PARTS, SCAPY, Stopwatch

SIDE_ROWS = [*PARTS, bench.OUTSIDE, "whole", "whole / OpenSSL alone"]
ESP_ROWS = [
    f"{name}{what}"
    for name in ("protect", "open")
    for what in ("", ": packets a second", ": bare AES-CBC and HMAC", " / bare")
]
CHAIN_ROWS = ["ours", "the two signatures alone", "ours / the signatures"]
CHAIN_ROWS += ["ours, leaf read, path built", "ours, CRLs read too"]
CRL_ROWS = ["published", "signing and writing alone", "published / alone"]
CRL_ROWS += ["the first of a process"]
PYHANKO_ROWS = ["pyhanko-certvalidator", "pyhanko / ours"]


@pytest.fixture(scope="module")
def report() -> Report:
    return bench.measure(
        runs=1,
        handshakes=1,
        packets=10,
        validations=1,
        sizes=(10, 100),
        peers=False,
        enrollments=8,
        certificates=20,
        entries=50,
    )


def test_one_handshake_fills_every_row(report):
    expected = [f"{side}: {row}" for side in ("initiator", "responder") for row in SIDE_ROWS]
    expected += ["the OpenSSL operations alone, a side", *ESP_ROWS]
    chain_rows = CHAIN_ROWS + ([] if f"{bench.CHAIN}: pyhanko" in report.skipped else PYHANKO_ROWS)
    expected += [f"CRL of {size}: {row}" for size in (10, 100) for row in chain_rows]
    expected += [f"50 entries: {row}" for row in CRL_ROWS]
    found = [row.name for row in report.rows if row.section not in (bench.ENROLL, bench.MANY)]
    assert found == expected
    assert all(len(row.runs) == 1 and row.median > 0 for row in report.rows if row.name in found)


def test_our_ca_issues_as_many_as_it_is_asked_for_beside_scepserver_if_it_is_there(report):
    rows = {row.name: row for row in report.rows if row.section in (bench.ENROLL, bench.MANY)}
    theirs = {name for name in rows if "scepserver" in name}
    missing = f"{bench.ENROLL}: scepserver" in report.skipped
    assert bool(theirs) is not missing
    servers = ["ours, durable"] + ([] if missing else ["scepserver"])
    raw = ("number of its own", "all answers", "CPU an answer")
    for at in enrollment.AT_A_TIME:
        assert {f"{at} at a time: {one}, {what}" for one in servers for what in raw} <= set(rows)
    assert missing or rows["best: ours / scepserver"].median > 0
    assert "ours, up to number 21" in rows  # the CA's own is number 1


def test_a_server_is_judged_by_the_load_at_which_most_certificates_have_a_number_of_their_own():
    def rates(*distinct: float) -> dict[int, enrollment.Rate]:
        found = (enrollment.Rate(900.0, rate, 1.0) for rate in distinct)
        return dict(zip(enrollment.AT_A_TIME, found, strict=True))

    # In one run 2 at a time were better; the median counts.
    runs = [rates(200, 90, 20, 3), rates(210, 300, 20, 3), rates(205, 80, 20, 3)]
    assert enrollment.best_at(runs) == 1


def test_table_has_a_line_for_every_row_and_names_the_machine(report):
    text = report.to_text()
    for row in report.rows:
        assert f"  {row.name} " in text
    assert "cores:" in text and "cryptography:" in text
    assert bench.IN_MEMORY in text and bench.ESP in text


def test_json_holds_medians_spreads_and_every_run(report):
    found = json.loads(json.dumps(report.to_json()))
    assert [row["name"] for row in found["rows"]] == [row.name for row in report.rows]
    assert set(found["rows"][0]) == {"section", "name", "unit", "runs", "median", "low", "high"}


def test_a_median_is_the_middle_of_the_runs_and_the_spread_their_ends():
    row = Row("section", "name", "ms", (3.0, 1.0, 9.0))
    assert (row.median, row.spread) == (3.0, (1.0, 9.0))


def test_what_cannot_be_measured_here_is_said(monkeypatch, capsys):
    monkeypatch.setattr(peers, "why_not", lambda: "there is no strongSwan")
    monkeypatch.setattr(chain, "find_spec", lambda name: None)
    monkeypatch.setattr(enrollment.shutil, "which", lambda name: None)
    words = ["--runs", "1", "--handshakes", "1", "--packets", "1", "--validations", "1"]
    words += ["--enrollments", "1", "--certificates", "1", "--entries", "1"]
    assert bench.main(words) == 0
    out = capsys.readouterr().out
    assert "not measured: there is no strongSwan" in out
    assert f"not measured: {bench.NO_PYHANKO}" in out
    assert f"not measured: {bench.NO_SCEPSERVER}" in out


def test_every_part_of_a_handshake_is_seen_and_the_functions_are_put_back():
    from ikelab.isakmp import work

    before = work.build_payloads
    stopwatch = Stopwatch()
    with stopwatch.watching():
        assert work.build_payloads is not before
    assert work.build_payloads is before


def test_time_inside_another_part_is_taken_out_of_it(monkeypatch):
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr("time.thread_time_ns", lambda: next(clock))
    stopwatch, account = Stopwatch(), Counter()
    verify = stopwatch.timed(lambda: None, CRYPTOGRAPHY)
    check = stopwatch.timed(verify, CERTIFICATES)
    stopwatch.start(account)
    check()
    stopwatch.stop()
    assert account == {"the rest": 20, CERTIFICATES: 20, CRYPTOGRAPHY: 10}
    assert SCAPY not in account


@pytest.mark.parametrize("words", [["--runs", "0"], ["--runs", "x"], ["--format", "xml"]])
def test_arguments_that_mean_nothing_are_refused(words, capsys):
    with pytest.raises(SystemExit) as caught:
        bench.main(words)
    assert caught.value.code == 2
    assert "error:" in capsys.readouterr().err
