"""`ikelab explain`: refusals of a deployed lab or of a capture, and signatures of a capture."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ikelab.capture import pcapng
from ikelab.capture.annotate import Direction
from ikelab.capture.datagram import IkeFragments, find_datagrams
from ikelab.capture.explain import PhaseOneSecrets, Proof, explain_proof
from ikelab.capture.keytable import SKEYID_FILE
from ikelab.capture.pcapng import Frame
from ikelab.capture.refusals import FrameIndex, Refusal, find_line
from ikelab.errors import LabError, WireError
from ikelab.ipsec.udp_encap import NON_ESP_MARKER
from ikelab.lab.topology import Topology
from ikelab.runtime.nodespec import NodeKind
from ikelab.runtime.trace import Trace

REFUSALS = "refusals.json"
"""The file of a capture directory that `ikelab explain` reads."""

_KEYS = ".wireshark"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a run. names: node by address. where: for a person."""

    refusals: tuple[Refusal, ...]
    names: Mapping[str, str]
    where: str


def located(
    topology: Topology, traces: Mapping[str, Trace], frames: Sequence[Frame]
) -> list[Refusal]:
    """The refusals of a run with their frames and lines of configuration, in order of time.

    Behind a NAT several have one address; whoever has written down that it sent the datagram is
    meant.
    """
    index = FrameIndex(frames)
    nats = [node for node in topology.nodes if node.kind is NodeKind.NAT]
    lent = {str(one.address).partition("/")[0] for node in nats for one in node.attachments}
    senders = {
        record.digest.hex(): record.node
        for trace in traces.values()
        for record in trace.records
        if record.direction is Direction.SENT
    }
    found: list[Refusal] = []
    for node in topology.nodes:
        for refusal in traces[node.name].refusals:
            line = find_line(node.config, refusal.config)
            at = f"{Path(node.config_file).name}:{line}" if line else ""
            frame = index.number_of(refusal.digest, refusal.timestamp) if refusal.digest else 0
            sender = senders.get(refusal.digest, "") if refusal.address in lent else ""
            found.append(replace(refusal, config_at=at, frame=frame, sender=sender))
    return sorted(found, key=lambda one: one.timestamp)


def to_json(refusals: Sequence[Refusal], names: Mapping[str, str]) -> str:
    """The text of `refusals.json`. names: node by address."""
    told = {"nodes": dict(names), "refusals": [asdict(one) for one in refusals]}
    return json.dumps(told, indent=1) + "\n"


def of_capture(directory: Path) -> Evidence:
    """What a finished capture holds. Raises LabError."""
    path = directory / REFUSALS
    try:
        told = json.loads(path.read_text())
        refusals = tuple(Refusal(**one) for one in told["refusals"])
        return Evidence(refusals, dict(told["nodes"]), str(directory))
    except OSError as error:
        hint = "`ikelab run LAB` writes one; --capture names its directory"
        raise LabError(f"cannot read {path}: {error.strerror}", hint=hint) from error
    except (ValueError, KeyError, TypeError) as error:
        raise LabError(f"{path} was not written by ikelab: {error}") from error


def of_deployed(lab: str) -> Evidence:
    """What a deployed lab has refused so far. Raises LabError."""
    from ikelab.capture.annotate import annotate
    from ikelab.lab import lifecycle, record, state
    from ikelab.lab.deployed import topology_of
    from ikelab.runtime.trace import read_trace

    topology = topology_of(lab)
    counts = lifecycle.flush(lab)
    traces = {node.name: read_trace(node.trace_path, node.name) for node in topology.nodes}
    segments = record.read_segments(topology, state.run_dir(lab), counts)
    frames = pcapng.parse(annotate(segments, ())).frames
    names = dict(record.hosts_of(topology))
    return Evidence(tuple(located(topology, traces, frames)), names, lab)


def newest_capture(cwd: Path) -> Path:
    """The directory of the capture that was written last. Raises LabError."""
    found = sorted(cwd.glob(f"captures/*/*/{REFUSALS}"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise LabError("no capture here", hint="`ikelab run LAB` writes one, or give --capture DIR")
    return found[-1].parent


def proof_in(capture: Path, frame: int) -> Proof:
    """The signature or hash in a frame of a capture file that ikelab wrote. Raises LabError."""
    try:
        frames = pcapng.parse(capture.read_bytes()).frames
        secrets = _secrets(_keys_of(capture))
        return explain_proof(_datagrams(frames), frame, secrets)
    except OSError as error:
        raise LabError(f"cannot read {error.filename or capture}: {error.strerror}") from error
    except WireError as error:
        raise LabError(error.reason, hint=f"frames with a SIG: {_shown(capture)}") from error


def main_capture(directory: Path) -> Path:
    """Of the captures in a directory the one that has its keys beside it: it holds the whole lab.

    The others hold one side of a NAT.
    """
    found = sorted(directory.glob("*.pcapng"))
    return next((one for one in found if one.with_suffix(_KEYS).is_dir()), directory)


def _keys_of(capture: Path) -> Path:
    """The Wireshark directory of a capture; what a NAT hides from it is in the main capture's."""
    own = capture.with_suffix(_KEYS)
    return own if own.is_dir() else main_capture(capture.parent).with_suffix(_KEYS)


def _shown(capture: Path) -> str:
    return f"`isakmp.typepayload == 9` in Wireshark, {capture.name}"


def _datagrams(frames: Sequence[Frame]) -> list[tuple[int, bytes]]:
    """(frame, IKE message); a message on port 4500 without its marker, one in fragments whole."""
    fragments: defaultdict[int, IkeFragments] = defaultdict(IkeFragments)
    return [
        (number, fragments[frame.interface].take(payload.removeprefix(NON_ESP_MARKER)))
        for number, frame, payload in find_datagrams(frames)
    ]


def _secrets(directory: Path) -> dict[bytes, PhaseOneSecrets]:
    keys = _table(directory / "ikev1_decryption_table")
    skeyids = _table(directory / SKEYID_FILE)
    return {cookie: PhaseOneSecrets(key, skeyids.get(cookie, b"")) for cookie, key in keys.items()}


def _table(path: Path) -> dict[bytes, bytes]:
    rows = (line.split(",") for line in path.read_text().splitlines() if line)
    return {bytes.fromhex(row[0]): bytes.fromhex(row[1]) for row in rows}
