"""From topology to plan: golden files, and what must hold of any plan."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ikelab.lab.plan import (
    AddAddress,
    AddRoute,
    CreateBridge,
    CreateNamespace,
    CreateVeth,
    LoopbackUp,
    SetSysctl,
    format_plan,
    make_plan,
    namespaces_of,
)
from ikelab.lab.topology import load
from tests.unit.lab_files import LAB, ROUTER, loaded

REPOSITORY = Path(__file__).parents[2]
GOLDEN = REPOSITORY / "tests/golden/plan"
UPDATE = os.environ.get("IKELAB_UPDATE_GOLDEN") == "1"


@pytest.mark.parametrize("lab", ["first-tunnel"])
def test_plan_of_a_lab_is_as_recorded(lab: str) -> None:
    """After a wanted change: IKELAB_UPDATE_GOLDEN=1 pytest ..., and read the diff."""
    text = format_plan(make_plan(load(REPOSITORY / "netns" / lab)))
    golden = GOLDEN / f"{lab}.txt"
    if UPDATE:
        golden.write_text(text)
    assert text == golden.read_text()


def test_the_same_topology_gives_the_same_plan(tmp_path: Path) -> None:
    topology = loaded(tmp_path)
    assert make_plan(topology) == make_plan(topology) == make_plan(load(tmp_path))


def test_everything_is_made_in_namespaces_of_the_lab(tmp_path: Path) -> None:
    topology = loaded(tmp_path)
    ours = set(namespaces_of(topology))
    for op in make_plan(topology):
        assert op.namespace in ours
        assert all(name.startswith("ikelab-small-") for name in ours)


def test_nothing_is_used_before_it_is_made(tmp_path: Path) -> None:
    namespaces: set[str] = set()
    links: set[tuple[str, str]] = set()
    for op in make_plan(loaded(tmp_path)):
        match op:
            case CreateNamespace():
                assert op.namespace not in namespaces
                namespaces.add(op.namespace)
            case CreateBridge():
                links.add((op.namespace, op.name))
            case CreateVeth():
                assert {op.switch, op.namespace} <= namespaces
                assert (op.switch, op.bridge) in links
                links |= {(op.switch, op.port), (op.namespace, op.ifname)}
            case AddAddress():
                assert (op.namespace, op.ifname) in links
            case SetSysctl() | LoopbackUp() | AddRoute():
                assert op.namespace in namespaces


def test_ipv6_is_off_before_a_namespace_has_its_first_link(tmp_path: Path) -> None:
    plan = make_plan(loaded(tmp_path))
    for namespace in namespaces_of(load(tmp_path)):
        off = plan.index(SetSysctl(namespace, "net.ipv6.conf.default.disable_ipv6", "1"))
        veths = [op for op in plan if isinstance(op, CreateVeth)]
        first = min(plan.index(op) for op in veths if namespace in (op.namespace, op.switch))
        assert off < first


def test_only_routers_forward(tmp_path: Path) -> None:
    values = {
        op.namespace: op.value
        for op in make_plan(loaded(tmp_path))
        if isinstance(op, SetSysctl) and op.key == "net.ipv4.ip_forward"
    }
    assert values == {
        "ikelab-small-switch": "0",
        "ikelab-small-disk": "0",
        "ikelab-small-ca": "0",
        "ikelab-small-r1": "1",
    }


def test_hardware_addresses_are_local_unique_and_name_the_ipv4_address(tmp_path: Path) -> None:
    veths = [op for op in make_plan(loaded(tmp_path)) if isinstance(op, CreateVeth)]
    assert [op.mac for op in veths] == [
        "06:00:c0:00:02:09",
        "06:00:c0:00:02:01",
        "06:00:c0:00:02:02",
    ]
    assert all(int(op.mac[:2], 16) & 3 == 2 for op in veths)  # local, not a group


def test_interface_without_address_gets_a_hardware_address_of_its_own(tmp_path: Path) -> None:
    config = ROUTER.format(name="r1", address="192.0.2.2", more="interface GigabitEthernet0/1")
    lab = LAB.replace(
        "configs/r1.cfg\n    interfaces: {GigabitEthernet0/0: lan}",
        "configs/r1.cfg\n    interfaces: {GigabitEthernet0/0: lan, GigabitEthernet0/1: lan}",
    )
    plan = make_plan(loaded(tmp_path, lab, r1=config))
    bare = [op for op in plan if isinstance(op, CreateVeth) and op.ifname == "gi0-1"]
    assert [op.mac for op in bare] == ["06:01:00:00:00:04"]
    assert not any(isinstance(op, AddAddress) and op.ifname == "gi0-1" for op in plan)


def test_shutdown_and_routes_are_planned(tmp_path: Path) -> None:
    more = " shutdown\ninterface GigabitEthernet0/1\n ip address 192.0.2.77 255.255.255.0\n"
    config = ROUTER.format(name="r1", address="192.0.2.2", more=more)
    config = config.replace("\nend", "\nip route 10.0.0.0 255.0.0.0 192.0.2.1\nend")
    lab = LAB.replace(
        "configs/r1.cfg\n    interfaces: {GigabitEthernet0/0: lan}",
        "configs/r1.cfg\n    interfaces: {GigabitEthernet0/0: lan, GigabitEthernet0/1: lan}",
    )
    plan = make_plan(loaded(tmp_path, lab, r1=config))
    up = {op.ifname: op.up for op in plan if isinstance(op, CreateVeth) and "r1" in op.namespace}
    assert up == {"gi0-0": False, "gi0-1": True}
    assert AddRoute("ikelab-small-r1", "10.0.0.0/8", "192.0.2.1") in plan
