"""Pre-shared keys and the algorithms of 2009: each lab runs, its capture is clean, and what is weak
is refused by name where the lab does not allow it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.command_line import captured_fields, copied_lab, ikelab

pytestmark = pytest.mark.needs_root


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
    ikelab("run", lab, "--out", tmp_path)
    method, cipher, digest, group, mm6 = SUITES[lab]
    names = ("authentication_method", "encryption_algorithm", "hash_algorithm", "group_description")
    chosen = captured_fields(
        tmp_path,
        lab,
        'frame.comment contains "sends MM2"',
        *(f"isakmp.ike.attr.{name}" for name in names),
    )
    assert chosen == [[method, cipher, digest, group]]
    encrypted = captured_fields(
        tmp_path, lab, "isakmp.exchangetype == 2 && isakmp.flag_e == 1", "isakmp.typepayload"
    )
    assert encrypted[1] == [mm6]
    icmp = captured_fields(tmp_path, lab, "esp", "esp.icv_good", "icmp.type")
    assert icmp and {row[0] for row in icmp} == {"1"} and {row[1] for row in icmp} == {"0", "8"}
    bad = "_ws.expert.severity >= 6291456 || _ws.malformed"
    assert captured_fields(tmp_path, lab, bad, "frame.number") == []


def test_what_is_weak_is_refused_by_file_and_line_in_modern_mode(tmp_path: Path) -> None:
    copy = copied_lab("first-tunnel-legacy", tmp_path / "weak")
    text = (copy / "lab.yaml").read_text()
    (copy / "lab.yaml").write_text(text.replace("mode: legacy", "mode: modern"))
    done = ikelab("run", copy, "--out", tmp_path / "out", code=2)
    told = done.stdout + done.stderr
    assert "configs/hub.cfg:5:" in told and "512" in told and "mode: legacy" in told
    assert "3DES is too weak" in told and "MD5 is too weak" in told
    assert not (Path("/run/netns") / "ikelab-weak-hub").exists()
