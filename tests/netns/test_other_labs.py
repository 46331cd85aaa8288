"""Pre-shared keys and the algorithms of 2009: each lab runs, its capture is clean, and what is weak
is refused by name where the lab does not allow it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.needs_root
ROOT = Path(__file__).parents[2]
IKELAB = str(Path(sys.executable).with_name("ikelab"))


def run(lab: str, out: Path) -> subprocess.CompletedProcess[str]:
    command = [IKELAB, "run", lab, "--out", str(out)]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )


def fields(folder: Path, lab: str, display_filter: str, *names: str) -> list[list[str]]:
    environment = {**os.environ, "WIRESHARK_CONFIG_DIR": str(folder / f"{lab}.wireshark")}
    columns = [part for name in names for part in ("-e", name)]
    command = ["tshark", "-r", str(folder / f"{lab}.pcapng"), "-Y", display_filter]
    done = subprocess.run(
        [*command, "-T", "fields", *columns],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return [line.split("\t") for line in done.stdout.splitlines() if line]


SUITES = {
    "first-tunnel-psk": ("1", "7", "4", "14", "5,8"),
    "first-tunnel-legacy": ("3", "5", "1", "2", "5,6,9"),
}


@pytest.mark.interop
@pytest.mark.parametrize("lab", sorted(SUITES))
def test_the_lab_runs_with_its_algorithms_and_tshark_reads_all_of_it(
    lab: str, tmp_path: Path, need: Callable[[str], str]
) -> None:
    need("tshark")
    done = run(lab, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    method, cipher, digest, group, mm6 = SUITES[lab]
    names = ("authentication_method", "encryption_algorithm", "hash_algorithm", "group_description")
    chosen = fields(
        tmp_path,
        lab,
        'frame.comment contains "sends MM2"',
        *(f"isakmp.ike.attr.{name}" for name in names),
    )
    assert chosen == [[method, cipher, digest, group]]
    encrypted = fields(
        tmp_path, lab, "isakmp.exchangetype == 2 && isakmp.flag_e == 1", "isakmp.typepayload"
    )
    assert encrypted[1] == [mm6]
    icmp = fields(tmp_path, lab, "esp", "esp.icv_good", "icmp.type")
    assert icmp and {row[0] for row in icmp} == {"1"} and {row[1] for row in icmp} == {"0", "8"}
    assert (
        fields(tmp_path, lab, "_ws.expert.severity >= 6291456 || _ws.malformed", "frame.number")
        == []
    )


def test_what_is_weak_is_refused_by_file_and_line_in_modern_mode(tmp_path: Path) -> None:
    copy = tmp_path / "weak"
    shutil.copytree(ROOT / "netns" / "first-tunnel-legacy", copy)
    text = (copy / "lab.yaml").read_text()
    (copy / "lab.yaml").write_text(
        text.replace("mode: legacy", "mode: modern").replace("first-tunnel-legacy", "weak")
    )
    done = run(str(copy), tmp_path / "out")
    assert done.returncode == 2
    told = done.stdout + done.stderr
    assert "configs/hub.cfg:5:" in told and "512" in told and "mode: legacy" in told
    assert "3DES is too weak" in told and "MD5 is too weak" in told
    assert not (Path("/run/netns") / "ikelab-weak-hub").exists()
