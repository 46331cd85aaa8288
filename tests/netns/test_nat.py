"""The lab `nat`: both captures are read to the ping, and hold what RFC 3947 and 3948 ask for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.command_line import captured_fields, ikelab

pytestmark = [pytest.mark.needs_root, pytest.mark.interop]


def read(folder: Path, part: str, display_filter: str, *names: str) -> list[list[str]]:
    """tshark's fields of one of the two captures, with the lab's one Wireshark directory."""
    directory = folder / f"{part}.wireshark"
    if not directory.exists():
        directory.symlink_to("nat.wireshark")
    return captured_fields(folder, part, display_filter, *names)


def test_two_spokes_behind_one_nat(tmp_path: Path, need: Callable[[str], str]) -> None:
    need("tshark")
    need("nft")
    ikelab("run", "nat", "--out", tmp_path)
    for part in ("nat", "nat-branch"):
        bad = "_ws.expert.severity >= 6291456 || _ws.malformed"
        assert read(tmp_path, part, bad, "frame.number", "_ws.expert.message") == []
        esp = read(tmp_path, part, "esp", "udp.port", "esp.icv_good", "icmp.type")
        assert len(esp) >= 80
        assert {row[1] for row in esp} == {"1"} and {row[2] for row in esp} == {"0", "8"}
        assert all("4500" in row[0].split(",") for row in esp)
        assert read(tmp_path, part, "esp && !udp", "frame.number") == []
    _look_at_the_inside(tmp_path)
    _look_at_the_outside(tmp_path)


def _look_at_the_inside(folder: Path) -> None:
    main_mode = "isakmp.exchangetype == 2 && ip.src == 10.1.1.2"
    sent = read(folder, "nat-branch", main_mode, "udp.srcport", "isakmp.frag.seq")
    ports = [row[0] for row in sent]
    assert ports[:2] == ["500", "500"] and set(ports[2:]) == {"4500"}
    assert [row[1] for row in sent[2:]] == [str(n) for n in range(1, len(sent) - 1)]
    joined = read(folder, "nat-branch", "isakmp.frag.last == 1", "isakmp.typepayload")
    assert joined and all("5,6,9" in row[0] for row in joined)  # ID CERT SIG, decrypted
    told = read(folder, "nat-branch", "isakmp.frag.seq", "frame.comment")
    assert all("fragment" in row[0].lower() for row in told)


def _look_at_the_outside(folder: Path) -> None:
    offered = read(folder, "nat", 'frame.comment contains "takes MM1"', "isakmp.vid_string")
    assert "RFC 3947" in offered[0][0] and offered[0][0].count("nat-t-ike-0") == 3
    seen = read(folder, "nat", "udp.dstport == 4500 && ip.src == 192.168.159.250", "udp.srcport")
    assert {20000 <= int(row[0]) < 30000 for row in seen} == {True}
    assert len({row[0] for row in seen}) == 4  # two spokes, before and after the NAT forgot
    modes = read(folder, "nat", "isakmp.ipsec.attr.encap_mode", "isakmp.ipsec.attr.encap_mode")
    assert {value for row in modes for value in row[0].split(",")} == {"4"}
    original = "isakmp.ike.nat_original_address_ipv4"
    assert read(folder, "nat", f"{original} == 10.1.1.2", original)
