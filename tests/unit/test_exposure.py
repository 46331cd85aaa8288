"""Warnings of CAs and storage that strangers can reach (the guide's best practices)."""

from __future__ import annotations

from pathlib import Path

import pytest

from ikelab.lab import cli
from ikelab.lab.exposure import exposure_warnings
from ikelab.lab.topology import load

LABS = Path(__file__).parents[2] / "netns"
HUB = """\
hostname hub
crypto isakmp policy 1
 encryption aes 256
 hash sha256
 authentication rsa-sig
 group 14
crypto ipsec transform-set T esp-aes 256 esp-sha256-hmac
crypto ipsec profile P
 set transform-set T
interface GigabitEthernet0/0
 ip address 192.0.2.2 255.255.255.0
interface Tunnel1
 ip address 20.0.0.4 255.255.255.0
 tunnel source GigabitEthernet0/0
 tunnel destination 192.0.2.7
 tunnel protection ipsec profile P
end
"""
CA = """\
hostname ca
crypto pki server ca
{mode}interface GigabitEthernet0/0
 ip address 192.0.2.1 255.255.255.0
ip http server
ip http port {port}
end
"""
LAB = """\
name: exposed
title: whoever comes from the provider's network
segments:
  wan: {prefix: 192.0.2.0/24}
nodes:
  disk: {kind: storage, addresses: {wan: 192.0.2.9}, ftp: {ca: secret-word}}
  ca: {kind: ca, config: ca.cfg, interfaces: {GigabitEthernet0/0: wan}}
  hub: {kind: router, config: hub.cfg, interfaces: {GigabitEthernet0/0: wan}}
"""


def warned(folder: Path, mode: str = "", port: int = 12345, hub: str = HUB) -> list[str]:
    (folder / "lab.yaml").write_text(LAB)
    (folder / "hub.cfg").write_text(hub)
    (folder / "ca.cfg").write_text(CA.format(mode=mode, port=port))
    return [f"{name}: {text}" for name, text in exposure_warnings(load(folder))]


def test_a_root_and_the_storage_where_tunnels_end_are_warned_of(tmp_path: Path) -> None:
    storage, root = warned(tmp_path)
    assert storage.startswith("disk: its FTP server") and "reached from wan" in storage
    assert root.startswith("ca: crypto pki server ca answers on wan") and "is a root" in root
    assert "secret-word" not in storage


def test_a_subordinate_ca_there_is_warned_of_for_port_80_only(tmp_path: Path) -> None:
    assert len(warned(tmp_path, " mode sub-cs\n")) == 1
    _, port = warned(tmp_path, " mode sub-cs\n", 80)
    assert "at port 80" in port and "`ip http port 12345`" in port


@pytest.mark.parametrize(
    ("line", "instead"),
    [
        (" tunnel protection ipsec profile P\n", ""),
        (" tunnel source GigabitEthernet0/0\n", " tunnel source 198.51.100.1\n"),
    ],
)
def test_where_no_tunnel_ends_is_no_outside(tmp_path: Path, line: str, instead: str) -> None:
    assert warned(tmp_path, hub=HUB.replace(line, instead)) == []


@pytest.mark.parametrize(
    ("lab", "nodes"),
    [
        ("standalone-root", ["root-ca", "new-root"]),
        ("redundant-subcas", []),
        ("registration-authority", []),
    ],
)
def test_of_the_labs_those_with_a_root_on_the_wan_are_warned_of(lab: str, nodes: list[str]) -> None:
    assert [name for name, _ in exposure_warnings(load(LABS / lab))] == nodes


def test_deploy_tells_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli._main(["deploy", str(LABS / "standalone-root"), "--dry-run"]) == 0
    told = [line for line in capsys.readouterr().err.splitlines() if "is a root" in line]
    assert len(told) == 2 and told[0].startswith("% Warning: root-ca: crypto pki server root-ca")
