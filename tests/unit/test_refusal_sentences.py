"""Refusals as `ikelab explain` says them: which one, in which frame, and what would mend it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from ikelab.capture.annotate import Direction, TraceRecord
from ikelab.capture.refusals import FrameIndex, Refusal, decisive, find_line, rows, sentence
from ikelab.errors import LabError
from ikelab.isakmp.events import DatagramReceived, PlainMessage, Refused
from ikelab.lab import cli, explain
from ikelab.lab.topology import load
from ikelab.runtime.trace import Trace, TraceWriter, read_trace
from ikelab.types import Endpoint
from tests.unit.test_annotate import SECOND, START, frame

NAMES = {"192.0.2.1": "hub", "192.0.2.2": "spoke1", "192.0.2.3": "spoke2"}
REVOKED = Refusal(
    node="hub",
    peer="192.0.2.2:500",
    message="MM5",
    reason="revoked",
    detail="serial 0x3 is on the CRL of cn=ra-subca",
    payload="CERT",
    rule="RFC 5280 section 6.3",
    seen="serial 0x3",
    wanted="a certificate path that holds",
    config="revocation-check crl",
    timestamp=10,
    config_at="hub.cfg:12",
    frame=57,
)
NO_ANSWER = replace(
    REVOKED, node="spoke1", peer="192.0.2.1:500", reason="no-answer", timestamp=20, frame=0
)


def test_sentence_names_who_what_where_why_and_the_remedy() -> None:
    assert sentence(REVOKED, NAMES) == (
        "hub refused MM5 of spoke1 (192.0.2.2:500) (frame 57): revoked: serial 0x3 is on the CRL"
        " of cn=ra-subca. To mend it, let the peer enroll anew: a revoked certificate stays revoked"
        " (`revocation-check crl`, hub.cfg:12)."
    )
    assert sentence(NO_ANSWER, NAMES).startswith("spoke1 gave up on hub (192.0.2.1:500): ")
    assert ("wanted", "a certificate path that holds") in rows(REVOKED)


def test_the_other_sides_reason_is_worth_more_than_its_consequence() -> None:
    both = [REVOKED, NO_ANSWER]
    assert decisive(both, "spoke1", None, NAMES) == REVOKED
    assert decisive(both, "spoke1", "hub", NAMES) == REVOKED
    assert decisive(both, "hub", "spoke1", NAMES) == REVOKED
    assert decisive(both, "hub", "192.0.2.2", NAMES) == REVOKED
    assert decisive([NO_ANSWER], "spoke1", None, NAMES) == NO_ANSWER
    told = replace(NO_ANSWER, reason="refused-by-peer", message="QM1")
    assert decisive([REVOKED, told], "spoke1", "hub", NAMES) == REVOKED
    assert decisive([told], "spoke1", None, NAMES) == told
    assert decisive(both, "spoke2", None, NAMES) is None
    assert decisive(both, "hub", "spoke2", NAMES) is None


def test_dropped_packets_are_named_only_where_no_negotiation_failed() -> None:
    dropped = replace(REVOKED, message="ESP", reason="esp-replay", timestamp=99)
    assert decisive([REVOKED, dropped], "hub", None, NAMES) == REVOKED
    assert decisive([NO_ANSWER, dropped], "hub", None, NAMES) == NO_ANSWER
    assert decisive([dropped], "hub", None, NAMES) == dropped


def test_a_detail_that_ends_a_sentence_does_not_end_it_twice() -> None:
    said = sentence(replace(REVOKED, detail="Authentication does not match policy!"), NAMES)
    assert "does not match policy. To mend it" in said


def test_the_newest_refusal_is_meant() -> None:
    later = replace(REVOKED, reason="expired", timestamp=30)
    assert decisive([later, REVOKED], "hub", None, NAMES) == later


def test_the_line_of_configuration_is_found_in_the_file() -> None:
    text = "hostname hub\ncrypto isakmp policy 1\n group 2\ncrypto isakmp policy 10\n"
    assert find_line(text, "crypto isakmp policy 10") == 4
    assert find_line(text, "set pfs group14, crypto isakmp policy 1") == 2
    assert find_line(text, "crypto isakmp key") == 0
    assert find_line(text, "") == 0


def test_a_repeated_datagram_is_found_at_its_time() -> None:
    frames = [frame(b"other", 1), frame(b"same", 5), frame(b"same", 100)]
    index, digest = FrameIndex(frames), hashlib.sha256(b"same").hexdigest()
    assert [index.number_of(digest, START + at * SECOND) for at in (6, 99)] == [2, 3]
    assert index.number_of("00" * 32, 6) == 0


def test_trace_keeps_refusals_with_their_datagram(tmp_path: Path) -> None:
    peer, here = Endpoint("192.0.2.2", 500), Endpoint("192.0.2.1", 500)
    refused = Refused(peer, 1001, "MM5", "revoked", "why", "CERT", "rule", "seen", "wanted", "cfg")
    taken = PlainMessage(False, here, peer, b"mm5", b"", "hub (R) in X takes MM5: ID", (), "MM5")
    with TraceWriter(tmp_path / "t") as trace:
        trace.received("hub", DatagramReceived(here, peer, b"mm5"), [taken])
        trace.refused([refused])  # later: the CRL had to be fetched first
        trace.received("hub", DatagramReceived(here, peer, b"bad"), [refused])
    first, second = read_trace(tmp_path / "t", "hub").refusals
    assert first.digest == hashlib.sha256(b"mm5").hexdigest()
    assert second.digest == hashlib.sha256(b"bad").hexdigest()
    assert (first.node, first.peer, first.message) == ("hub", "192.0.2.2:500", "MM5")
    assert (first.payload, first.rule, first.seen, first.wanted) == (
        *("CERT", "rule", "seen", "wanted"),
    )


def test_behind_a_nat_whoever_sent_the_datagram_is_meant() -> None:
    topology = load(Path(__file__).parents[2] / "netns" / "nat")
    public = "192.168.159.250:4500"
    one, other = (replace(REVOKED, peer=public, digest=digit * 64, frame=0) for digit in "12")
    traces = {node.name: Trace() for node in topology.nodes}
    traces["hub"] = Trace(refusals=(one, other))
    for name, refused in (("spoke1", one), ("spoke2", other)):
        sent = TraceRecord(name, Direction.SENT, bytes.fromhex(refused.digest), "")
        traces[name] = Trace(records=(sent,))
    names = {"192.168.159.242": "hub", "192.168.159.250": "nat1"}
    refusals = explain.located(topology, traces, ())
    for name in ("spoke1", "spoke2"):
        found = decisive(refusals, name, "hub", names)
        assert found is not None and found == decisive(refusals, "hub", name, names)
        assert sentence(found, names).startswith(f"hub refused MM5 of {name} ({public}): ")


# --- the command --------------------------------------------------------------------------------


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    (tmp_path / explain.REFUSALS).write_text(explain.to_json([REVOKED, NO_ANSWER], NAMES))
    return tmp_path


def test_explain_says_it_in_a_sentence(capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli._main(["explain", "spoke1", "hub", "--capture", str(capture)]) == cli.OK
    printed = capsys.readouterr().out
    assert printed.startswith("hub refused MM5 of spoke1 (192.0.2.2:500) (frame 57): revoked")
    assert "  rule     RFC 5280 section 6.3\n" in printed
    assert printed.endswith(f"  found in {capture}\n")


def test_explain_gives_json(capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["explain", "hub", "--capture", str(capture), "--format", "json"]
    assert cli._main(arguments) == cli.OK
    told = json.loads(capsys.readouterr().out)
    assert told["refusal"]["reason"] == "revoked"
    assert told["refusal"]["frame"] == 57
    assert told["refusal"]["mend"]
    assert told["sentence"].startswith("hub refused MM5")


def test_explain_knows_who_was_never_refused(
    capture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli._main(["explain", "spoke2", "--capture", str(capture)]) == cli.OK
    assert "nothing was refused by spoke2" in capsys.readouterr().out


def test_explain_asks_back_for_a_node_that_is_not_there(
    capture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli._main(["explain", "hup", "--capture", str(capture)]) == cli.USAGE
    assert "did you mean 'hub'" in capsys.readouterr().err


def test_a_directory_without_refusals_is_said(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"refusals\.json"):
        explain.of_capture(tmp_path)
    (tmp_path / explain.REFUSALS).write_text('{"refusals": [{"x": 1}], "nodes": {}}')
    with pytest.raises(LabError, match="not written by ikelab"):
        explain.of_capture(tmp_path)
