"""Fixtures every test may use: what this machine has, and what must be there in a full run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable

import pytest

REQUIRE_PEERS = os.environ.get("IKELAB_REQUIRE_PEERS") == "1"
REQUIRE_ROOT = os.environ.get("IKELAB_REQUIRE_NETNS") == "1"


def missing(reason: str, *, required: bool) -> None:
    """Skip with the reason, or fail where everything is required (the project's own CI)."""
    if required:
        pytest.fail(f"required here, but missing: {reason}", pytrace=False)
    pytest.skip(reason)


@pytest.fixture
def need() -> Callable[[str], str]:
    """`need("tshark")` is the program's path, or the test ends as skipped with the reason."""

    def find(program: str) -> str:
        path = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
        if path is None:
            missing(f"{program} is not installed", required=REQUIRE_PEERS)
        assert path is not None
        return path

    return find


@pytest.fixture(autouse=True)
def _needs_root(request: pytest.FixtureRequest) -> None:
    """Tests marked needs_root are skipped with a reason for ordinary users."""
    if request.node.get_closest_marker("needs_root") and os.geteuid() != 0:
        missing("network namespaces need root (start with sudo)", required=REQUIRE_ROOT)
