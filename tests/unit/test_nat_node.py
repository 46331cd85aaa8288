"""A NAT in a lab: how it is written, what is made of it, and what it says of its translations."""

from __future__ import annotations

from pathlib import Path

import pytest

from ikelab.lab.plan import AddAddress, Masquerade, SetSysctl, format_plan, make_plan
from ikelab.runtime import natd
from ikelab.runtime.nodespec import Attachment, NodeKind
from tests.unit.lab_files import LAB, errors, loaded

NAT = """\
  gate:
    kind: nat
    outside: {lan: 192.0.2.250}
    inside: {branch: 10.1.1.1, lab: 10.1.2.1}
trust:
"""
SEGMENTS = """\
  lan: {prefix: 192.0.2.0/24}
  branch: {prefix: 10.1.1.0/24}
  lab: {prefix: 10.1.2.0/24}
"""


def with_nat(old: str = "", new: str = "") -> str:
    text = LAB.replace("  lan: {prefix: 192.0.2.0/24}\n", SEGMENTS).replace("trust:\n", NAT)
    assert text.count(old) >= 1
    return text.replace(old, new, 1) if old else text


def test_one_side_is_outside_and_any_number_inside(tmp_path: Path) -> None:
    gate = loaded(tmp_path, with_nat()).node("gate")
    assert gate.kind is NodeKind.NAT and gate.outside == "eth0" and not gate.has_console
    assert gate.attachments == (
        Attachment("eth0", "eth0", "lan", "192.0.2.250/24"),
        Attachment("eth1", "eth1", "branch", "10.1.1.1/24"),
        Attachment("eth2", "eth2", "lab", "10.1.2.1/24"),
    )


def test_it_forwards_and_masquerades_what_goes_outside(tmp_path: Path) -> None:
    topology = loaded(tmp_path, with_nat())
    namespace = topology.node("gate").namespace
    ops = [op for op in make_plan(topology) if op.namespace == namespace]
    assert SetSysctl(namespace, "net.ipv4.ip_forward", "1") in ops
    assert AddAddress(namespace, "eth1", "10.1.1.1/24") in ops
    assert Masquerade(namespace, "eth0") in ops
    assert "masquerade on eth0, UDP from 20000 to 29999" in format_plan(ops)
    assert not [op for op in make_plan(loaded(tmp_path / "plain")) if isinstance(op, Masquerade)]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            "outside: {lan: 192.0.2.250}",
            "outside: {lan: 192.0.2.250, lab: 10.1.2.9}",
            "a NAT has one segment outside",
        ),
        ("    outside: {lan: 192.0.2.250}\n", "", "outside"),
        ("branch: 10.1.1.1", "branch: 10.9.1.1", "10.9.1.1 is outside branch (10.1.1.0/24)"),
        ("branch: 10.1.1.1", "brunch: 10.1.1.1", "brunch"),
        ("branch: 10.1.1.1", "lan: 192.0.2.8", "gate is on lan already"),
        ("lan: 192.0.2.250", "lan: 192.0.2.9", "192.0.2.9 of gate is already disk's on lan"),
        ("from: r1,", "from: gate,", "gate is a nat node, it has no console"),
    ],
)
def test_mistakes_are_told_with_line_and_column(
    tmp_path: Path, old: str, new: str, told: str
) -> None:
    found = errors(tmp_path, with_nat(old, new))
    assert any(told in error and "lab.yaml:" in error for error in found), found


def test_checks_may_give_it_commands(tmp_path: Path) -> None:
    lines = (
        "  - exec: {node: gate, command: clear ip nat translation *}\n"
        "  - show-contains: {node: gate, command: show ip nat translations, text: udp}\n"
    )
    assert len(loaded(tmp_path, with_nat() + lines).checks) == 3


def entry(
    source: str, port: int, seen: str, seen_port: int, protocol: int = 17
) -> dict[str, object]:
    def ends(one: str, one_port: int, other: str, other_port: int) -> dict[str, object]:
        return {
            "attrs": [
                ("CTA_TUPLE_IP", {"attrs": [("CTA_IP_V4_SRC", one), ("CTA_IP_V4_DST", other)]}),
                (
                    "CTA_TUPLE_PROTO",
                    {
                        "attrs": [
                            ("CTA_PROTO_NUM", 17),
                            ("CTA_PROTO_SRC_PORT", one_port),
                            ("CTA_PROTO_DST_PORT", other_port),
                        ]
                    },
                ),
            ]
        }

    hub = "192.0.2.1"
    return {
        "CTA_TUPLE_ORIG": ends(source, port, hub, 4500),
        "CTA_TUPLE_REPLY": ends(hub, 4500, seen, seen_port),
    }


def test_translations_are_shown_as_ios_shows_them() -> None:
    found = natd.read_translation(entry("10.1.1.2", 4500, "192.0.2.250", 20001))
    assert found is not None
    assert natd.show([found]) == (
        "Pro Inside global         Inside local          Outside local         Outside global\n"
        "udp 192.0.2.250:20001     10.1.1.2:4500         192.0.2.1:4500        192.0.2.1:4500\n"
    )


def test_what_is_not_translated_is_not_shown() -> None:
    assert natd.read_translation(entry("192.0.2.8", 4500, "192.0.2.8", 4500)) is None
