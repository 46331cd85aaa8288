"""Rekeying by volume on a real tunnel: thousands of packets, several pairs of keys, none lost."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ikelab.runtime.control import ControlClient
from tests.command_line import copied_lab, ikelab

pytestmark = pytest.mark.needs_root
NODES = ("hub", "spoke1")


@pytest.fixture
def lab(tmp_path: Path):
    """`first-tunnel-psk` with the smallest volume lifetime that IOS takes."""
    folder = copied_lab("first-tunnel-psk", tmp_path / "rekey")
    for name in NODES:
        path = folder / "configs" / f"{name}.cfg"
        text = path.read_text().replace(
            " set isakmp-profile peers",
            " set isakmp-profile peers\n set security-association lifetime kilobytes 2560",
        )
        path.write_text(text)
    ikelab("deploy", folder)
    yield "rekey"
    ikelab("destroy", "rekey")


def test_no_packet_is_lost_while_the_volume_runs_out_again_and_again(lab: str) -> None:
    with ControlClient(Path(f"/run/ikelab/{lab}/spoke1.sock"), timeout=60) as spoke:
        told = spoke.exec("ping 20.0.0.4 source 20.0.0.5 repeat 6000 size 1300")
        installed = spoke.exec("show crypto ipsec sa | include spi: 0x")
    assert "Success rate is 100 percent (6000/6000)" in told
    log = Path(f"/run/ikelab/{lab}/spoke1.log").read_text()
    pairs = len(re.findall("Creating IPSec SAs|Creating IPsec SAs", log))
    # 6000 echoes of 1300 octets are 7.6 MB each way: three volumes of 2560 KB.
    assert pairs >= 3, log[-2000:]
    assert installed
