"""The worked examples of netns/scripts, each against the lab that it names."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from ikelab.runtime.ownership import owned_addresses
from tests.command_line import ROOT, ikelab

pytestmark = pytest.mark.needs_root


@pytest.fixture(scope="module")
def lab() -> Iterator[Callable[[str], None]]:
    with ExitStack() as stack:
        there: set[str] = set()

        def deploy(name: str) -> None:
            if name not in there:
                ikelab("deploy", name)
                there.add(name)
                stack.callback(ikelab, "destroy", name)

        yield deploy


def run(*words: str) -> str:
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def script(name: str, *arguments: str) -> str:
    return run(sys.executable, str(ROOT / "netns" / "scripts" / name), *arguments)


def test_initiator_with_a_shared_key(lab: Callable[[str], None]) -> None:
    lab("first-tunnel-psk")
    told = script("initiator_psk.py")
    wrong, right = told.split("Message 3 sent twice")
    assert "sends MM5" in wrong and "takes MM6" not in wrong
    assert "takes QM2" in right and "DELETE of" in right
    assert "192.168.159.250" not in _peers_of("hub", state="QM_IDLE")


def _peers_of(node: str, state: str) -> str:
    shown = ikelab("exec", "--lab", "first-tunnel-psk", node, "show crypto isakmp sa").stdout
    return "\n".join(line for line in shown.splitlines() if state in line)


def test_responder(lab: Callable[[str], None]) -> None:
    lab("first-tunnel-psk")
    told = script("responder.py")
    assert told.count("takes MM5") == 2 and told.count("takes QM1") == 1
    assert "bad-hash" in told and "bad-key-exchange" in told
    assert "192.168.159.66" not in set(owned_addresses())


def test_initiator_with_a_certificate(lab: Callable[[str], None]) -> None:
    lab("first-tunnel")
    told = script("initiator_certificates.py")
    assert told.count("takes MM6") == 1 and "takes QM2" in told


def test_the_command_of_the_readme(lab: Callable[[str], None]) -> None:
    lab("first-tunnel-psk")
    told = run("./netns/lab", "python", "netns/scripts/initiator_psk.py", "--help")
    assert "Initiator with a shared key" in told
