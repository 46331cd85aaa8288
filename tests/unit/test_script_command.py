"""`./netns/lab python SCRIPT`: how a script ends where the lab does not have what it wants."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]

WANTED = {
    "Station('192.0.2.1', namespace='ikelab-none-hub')": "no network namespace ikelab-none-hub",
    "identity_of('none', 'hub', 'ra')": "none has no router hub with an nvram",
    "ControlClient(RUN_DIRECTORY / 'none/hub.sock')": "nobody answers at",
}
SCRIPT = """\
from ikelab.runtime.control import ControlClient
from ikelab.runtime.nodespec import RUN_DIRECTORY
from ikelab.runtime.station import Station, identity_of

def begin():
    {}

begin()
"""


def run(script: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "ikelab.lab.script", str(script), *arguments]
    return subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("call", WANTED)
def test_what_no_lab_has_is_told_in_a_message_with_a_hint(tmp_path: Path, call: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(call))
    done = run(script)
    assert done.returncode == 3
    message, hint, place = done.stderr.splitlines()
    assert message.startswith(f"% {WANTED[call]}")
    assert hint.startswith("  is the lab deployed? ")
    assert place == f"  {script}, line 6"


def test_a_mistake_of_the_script_shows_its_traceback_and_nothing_of_ours(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("def begin():\n    return 1 // 0\n\nbegin()\n")
    done = run(script)
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback (most recent call last):\n")
    assert "ZeroDivisionError" in done.stderr.splitlines()[-1]
    files = [line.split('"')[1] for line in done.stderr.splitlines() if "File" in line]
    assert files == [str(script)] * 2


def test_a_script_that_asks_our_code_for_what_cannot_be_shows_its_traceback(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("from ikelab.script import settings\nsettings(None, None)\n")
    done = run(script)
    assert done.returncode == 1
    assert f'File "{script}", line 2' in done.stderr
    assert "ikelab.errors.ConfigError: " in done.stderr.splitlines()[-1]


def test_a_file_that_python_cannot_read_is_shown_with_the_place(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("print('never')\ndef (:\n")
    done = run(script)
    assert (done.returncode, done.stdout) == (1, "")
    assert f'File "{script}", line 2' in done.stderr and "SyntaxError" in done.stderr


def test_arguments_neighbours_output_and_exit_code_are_the_scripts(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("WORD = 'beside'\n")
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\nfrom beside import WORD\nprint(sys.argv, __name__, WORD)\nsys.exit(4)\n"
    )
    done = run(script, "--key", "a b")
    assert (done.returncode, done.stderr) == (4, "")
    assert done.stdout == f"{[str(script), '--key', 'a b']} __main__ beside\n"


def test_a_script_that_is_not_there(tmp_path: Path) -> None:
    done = run(tmp_path / "none.py")
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == f"% there is no script {tmp_path / 'none.py'}"
