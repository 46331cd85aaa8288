"""A hub that vanishes: dead peer detection on demand, by what the data plane counts."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ikelab.runtime.control import ControlClient
from tests.command_line import copied_lab, ikelab

pytestmark = [pytest.mark.needs_root, pytest.mark.nightly]
LAB = "deadpeer"


@pytest.fixture
def spoke(tmp_path: Path) -> Iterator[ControlClient]:
    """The spoke of `first-tunnel-psk`, which asks only on demand."""
    folder = copied_lab("first-tunnel-psk", tmp_path / LAB)
    path = folder / "configs" / "spoke1.cfg"
    path.write_text("crypto isakmp keepalive 10 2\n!\n" + path.read_text())
    ikelab("deploy", folder)
    with ControlClient(Path(f"/run/ikelab/{LAB}/spoke1.sock"), timeout=60) as client:
        yield client
    ikelab("destroy", LAB)


def advance(span: str) -> None:
    """The lab's clock goes on, each timer met in its turn."""
    ikelab("clock", "advance", "--lab", LAB, "--grain", "0s", span)


def test_the_peer_of_an_idle_tunnel_is_left_alone_and_a_dead_one_found(
    spoke: ControlClient,
) -> None:
    ping = "ping 20.0.0.4 source 20.0.0.5 repeat 5"
    trace = Path(f"/run/ikelab/{LAB}/spoke1.trace.jsonl")
    assert "100 percent" in spoke.exec(ping)
    advance("25s")
    assert "sends INFO" not in trace.read_text()
    subprocess.run(["ip", "-n", f"ikelab-{LAB}-hub", "link", "set", "gi0-1", "down"], check=True)
    assert "0 percent" in spoke.exec(ping)
    advance("45s")
    assert "QM_IDLE" not in spoke.exec("show crypto isakmp sa")
    assert "peer-dead" in spoke.exec("show crypto isakmp drops")
    assert trace.read_text().count("sends INFO") == 5
    assert "spi: 0x" not in spoke.exec("show crypto ipsec sa")
