"""The reference captures: `run --record` writes one per lab into captures/, and this their index.

They are committed, so that somebody without root can open an exchange. Their keys belong to labs
that no longer exist.
"""

from __future__ import annotations

from pathlib import Path

from ikelab.capture import pcapng
from ikelab.errors import LabError, WireError
from ikelab.ipsec.udp_encap import NON_ESP_MARKER
from ikelab.lab.record import Owner, write_file
from ikelab.wire.numbers import ISAKMP_PORT, NAT_T_PORT

_HEAD = """\
# Reference captures

One run of each lab that comes with the project, made by `sudo ./netns/lab run LAB --record`. The
keys are beside the frames on purpose: they were thrown away with the lab. To open one decrypted:

    WIRESHARK_CONFIG_DIR=captures/LAB/LAB.wireshark wireshark captures/LAB/LAB.pcapng

`tshark` takes the same directory. Beside each capture stand a ladder of its IKE messages and what
every node's console said (`logs/`). An encrypted message that is sent again ("attempt 1 of 5" in
its comment) is malformed to Wireshark, which takes it for the next one of the exchange.

| lab | what it shows | frames | IKE messages |
|---|---|---|---|
"""
_ISAKMP, _NAT_T = (port.to_bytes(2, "big") for port in (ISAKMP_PORT, NAT_T_PORT))
_PORTS, _UDP_PAYLOAD = 34, 42  # octets of a frame before them: Ethernet, IPv4, UDP


def write_index(captures: Path, owner: Owner) -> Path:
    """`captures/README.md`, from the captures that are there. Raises LabError."""
    rows = [
        _row(path) for path in sorted(captures.glob("*/*.pcapng")) if path.stem == path.parent.name
    ]
    index = captures / "README.md"
    write_file(index, (_HEAD + "".join(rows)).encode(), owner)
    return index


def _is_ike(frame: bytes) -> bool:
    """Port 500 at either end, or 4500 with the marker of RFC 3948."""
    ports = {frame[_PORTS : _PORTS + 2], frame[_PORTS + 2 : _PORTS + 4]}
    marked = frame[_UDP_PAYLOAD:].startswith(NON_ESP_MARKER)
    return _ISAKMP in ports or (_NAT_T in ports and marked)


def _row(path: Path) -> str:
    try:
        section = pcapng.parse(path.read_bytes())
    except (OSError, WireError) as error:
        raise LabError(f"{path} cannot be read: {error}") from error
    title = section.comment.partition(": ")[2]
    messages = sum(_is_ike(frame.octets) for frame in section.frames)
    lab = path.stem
    return f"| [{lab}]({lab}/ladder.svg) | {title} | {len(section.frames)} | {messages} |\n"
