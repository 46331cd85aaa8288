"""The command line as a user runs it, labs copied to be changed, tshark over what a run leaves."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
IKELAB = str(Path(sys.executable).with_name("ikelab"))


def ikelab(
    *words: str | Path, code: int | None = 0, seconds: float = 120
) -> subprocess.CompletedProcess[str]:
    """Run it to its end, in the root of the tree. code: what it must exit with, None for any."""
    done = subprocess.run(
        [IKELAB, *map(str, words)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert code is None or done.returncode == code, done.stdout + done.stderr
    return done


def copied_lab(shipped: str, folder: Path, more: str = "") -> Path:
    """A shipped lab in a folder, under the folder's name. more: lines of its lab.yaml."""
    shutil.copytree(ROOT / "netns" / shipped, folder)
    text = (folder / "lab.yaml").read_text()
    named = f"name: {shipped}\n"
    assert named in text
    (folder / "lab.yaml").write_text(text.replace(named, f"name: {folder.name}\n{more}"))
    return folder


def captured_fields(
    folder: Path, lab: str, display_filter: str, *names: str, tshark: str = "tshark"
) -> list[list[str]]:
    """Fields of the frames of a lab's capture, read with its Wireshark directory; a row a frame."""
    columns = [part for name in names for part in ("-e", name)]
    command = [tshark, "-r", str(folder / f"{lab}.pcapng"), "-Y", display_filter]
    done = subprocess.run(
        [*command, "-T", "fields", *columns],
        env={**os.environ, "WIRESHARK_CONFIG_DIR": str(folder / f"{lab}.wireshark")},
        capture_output=True,
        text=True,
        check=True,
    )
    return [line.split("\t") for line in done.stdout.splitlines() if line]
