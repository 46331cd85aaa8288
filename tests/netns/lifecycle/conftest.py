"""The small lab of stand-ins that these tests deploy, under a name of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ikelab.lab import lifecycle, supervisor
from ikelab.lab.topology import Topology, load
from tests.netns import stand_in
from tests.netns.lifecycle.lab_state import leftovers
from tests.unit.lab_files import LAB, write_lab


@pytest.fixture
def name() -> str:
    """A lab's name that no other run of the tests has."""
    return f"life-{os.getpid()}"


@pytest.fixture
def folder(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The lab's files, with stand-ins for routers; whatever a test leaves is removed."""
    monkeypatch.setattr(supervisor, "load_mains", stand_in.mains)
    yield write_lab(tmp_path / "lab", LAB.replace("name: small", f"name: {name}"))
    lifecycle.destroy(name)
    assert leftovers(name) == []


@pytest.fixture
def topology(folder: Path) -> Topology:
    return load(folder)
