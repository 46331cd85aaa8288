"""Two labs with the same addresses at the same time, and what is left when everything is killed."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command_line import copied_lab, ikelab

pytestmark = pytest.mark.needs_root
LABS = ("side-a", "side-b")


@pytest.fixture
def both(tmp_path: Path) -> Iterator[None]:
    """`first-tunnel-psk` twice, under two names."""
    for name in LABS:
        ikelab("deploy", copied_lab("first-tunnel-psk", tmp_path / name))
    yield
    for name in LABS:
        ikelab("destroy", name, code=None)


def namespaces() -> set[str]:
    there = Path("/run/netns")
    names = os.listdir(there) if there.exists() else []
    return {name for name in names if any(f"-{lab}-" in name for lab in LABS)}


def ping(lab: str) -> str:
    return ikelab("exec", "--lab", lab, "spoke1", "ping", "20.0.0.4", code=None).stdout


def test_two_labs_with_the_same_addresses_do_not_meet(both: None) -> None:
    for lab in LABS:
        assert "(5/5)" in ping(lab)
    ikelab("destroy", LABS[0])
    assert {name for name in namespaces() if LABS[0] in name} == set()
    assert "(5/5)" in ping(LABS[1])


def test_which_lab_must_be_said_when_there_are_several(both: None) -> None:
    done = ikelab("exec", "hub", "show", "clock", code=2)
    assert all(lab in done.stderr for lab in LABS)


def test_kill_9_of_everything_leaves_what_destroy_removes(both: None) -> None:
    found = json.loads(ikelab("inspect", LABS[0], "--format", "json").stdout)
    supervisor = json.loads(Path(f"/run/ikelab/{LABS[0]}/state.json").read_text())["supervisor"]
    for pid in [node["pid"] for node in found["nodes"]] + [supervisor["pid"]]:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # the kernel ends the nodes with their supervisor
    ikelab("destroy", LABS[0])
    ikelab("destroy", LABS[0])
    assert {name for name in namespaces() if LABS[0] in name} == set()
    assert not Path(f"/run/ikelab/{LABS[0]}").exists()
    assert "(5/5)" in ping(LABS[1]), "the other lab goes on"
