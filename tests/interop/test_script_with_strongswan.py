"""The worked example of an initiator, as it stands in netns/scripts, against a stock charon."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.interop.charon import Charon
from tests.interop.suites import OURS, SECRET, THEIRS, psk_connection

pytestmark = [pytest.mark.interop, pytest.mark.needs_root]
SCRIPT = Path(__file__).parents[2] / "netns" / "scripts" / "initiator_psk.py"


def test_the_example_speaks_with_charon(segment, xfrm, short_directory):
    hub = segment.add_host("charon", THEIRS)
    here = segment.add_host("script", OURS)
    connection = psk_connection("aes256-sha256-modp2048")
    with Charon(hub, short_directory / "charon", connection, xfrm_library=xfrm.library) as charon:
        ends = ["--namespace", here, "--local", OURS, "--remote", THEIRS, "--port", "500"]
        done = subprocess.run(
            [sys.executable, str(SCRIPT), *ends, "--key", SECRET],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        charon.wait_for(lambda: not charon.list_sas(), "end of the SA by our DELETE")
        log = charon.log_file.read_text()
    assert "takes QM2" in done.stdout
    print(log)
    assert "calculated HASH does not match HASH payload" in log
    assert "received retransmit of request with ID 0, retransmitting response" in log
    assert "received DELETE for IKE_SA" in log
