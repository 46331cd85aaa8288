"""A flood of refusals takes a few lines of the log, and one that says how many were left out."""

from __future__ import annotations

from ikelab.ios.log import NodeLog
from ikelab.ios.log_limit import LogLimit
from ikelab.isakmp.events import DatagramReceived
from tests.dialogue.playbook import I_END, R_END, Pair


def test_a_flood_of_refusals_is_not_a_flood_of_lines():
    pair = Pair()
    limit, log = LogLimit(), NodeLog()
    said = ""
    for _ in range(1000):
        actions = pair.give(pair.r, DatagramReceived(R_END, I_END, b"short"))
        said += log.text(limit.admit(actions, pair.now), pair.now)
    assert 0 < said.count("malformed") < 100
    assert pair.r.engine.drops["malformed"] == 1000
    pair.elapsed += 60.0
    said += log.text(limit.admit([], pair.now), pair.now)
    assert "suppressed 980 more: IKE messages refused: malformed" in said
