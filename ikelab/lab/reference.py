"""The reference captures: `run --record` writes one per lab into captures/, and this their index.

They are committed, so that somebody without root can open an exchange. Their keys belong to labs
that no longer exist.
"""

from __future__ import annotations

from pathlib import Path

from ikelab.capture import pcapng
from ikelab.errors import LabError, WireError
from ikelab.lab.record import Owner, write_file

_HEAD = """\
# Reference captures

One run of each lab that comes with the project, made by `sudo ./netns/lab run LAB --record`. The
keys are beside the frames on purpose: they were thrown away with the lab. To open one decrypted:

    WIRESHARK_CONFIG_DIR=captures/LAB/LAB.wireshark wireshark captures/LAB/LAB.pcapng

`tshark` takes the same directory. Beside each capture stand a ladder of its IKE messages and what
every node's console said (`logs/`).

| lab | what it shows | frames | IKE messages |
|---|---|---|---|
"""
_IKE_PORT = (500).to_bytes(2, "big")


def write_index(captures: Path, owner: Owner) -> Path:
    """`captures/README.md`, from the captures that are there. Raises LabError."""
    rows = [
        _row(path) for path in sorted(captures.glob("*/*.pcapng")) if path.stem == path.parent.name
    ]
    index = captures / "README.md"
    write_file(index, (_HEAD + "".join(rows)).encode(), owner)
    return index


def _row(path: Path) -> str:
    try:
        section = pcapng.parse(path.read_bytes())
    except (OSError, WireError) as error:
        raise LabError(f"{path} cannot be read: {error}") from error
    title = section.comment.partition(": ")[2]
    messages = sum(frame.octets[34:36] == _IKE_PORT for frame in section.frames)
    lab = path.stem
    return f"| [{lab}]({lab}/ladder.svg) | {title} | {len(section.frames)} | {messages} |\n"
