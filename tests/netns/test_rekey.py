"""Rekeying by volume on a real tunnel: thousands of packets, several pairs of keys, none lost."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ikelab.runtime.control import ControlClient

pytestmark = pytest.mark.needs_root
ROOT = Path(__file__).parents[2]
IKELAB = str(Path(sys.executable).with_name("ikelab"))
NODES = ("hub", "spoke1")


@pytest.fixture
def lab(tmp_path: Path):
    """`first-tunnel-psk` with the smallest volume lifetime that IOS takes."""
    folder = tmp_path / "rekey"
    shutil.copytree(ROOT / "netns" / "first-tunnel-psk", folder)
    for name in NODES:
        path = folder / "configs" / f"{name}.cfg"
        text = path.read_text().replace(
            " set isakmp-profile peers",
            " set isakmp-profile peers\n set security-association lifetime kilobytes 2560",
        )
        path.write_text(text)
    yaml = folder / "lab.yaml"
    yaml.write_text(yaml.read_text().replace("name: first-tunnel-psk", "name: rekey"))
    subprocess.run([IKELAB, "deploy", str(folder)], check=True, capture_output=True, timeout=60)
    yield "rekey"
    subprocess.run([IKELAB, "destroy", "rekey"], check=True, capture_output=True, timeout=60)


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
