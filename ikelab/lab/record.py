"""Writes a lab's capture: one commented pcapng, its Wireshark directory, the nodes' logs.

    DIR/LAB.pcapng          every segment, in order of time, comments on the frames
    DIR/LAB-SEGMENT.pcapng  a segment behind a NAT, where every message is seen once more
    DIR/LAB.wireshark/      configuration directory with the session keys: Wireshark decrypts
    DIR/ladder.svg          the IKE messages as a picture
    DIR/refusals.json       what was refused and why, with frame numbers: `ikelab explain`
    DIR/logs/NODE.log       what each console printed

Under sudo everything belongs to the user who called it. Keys are for the owner's eyes: 0600.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ikelab.capture import pcapng
from ikelab.capture.annotate import SegmentCapture, annotate
from ikelab.capture.keytable import SKEYID_FILE, wireshark_directory
from ikelab.capture.ladder import draw, read_rungs
from ikelab.errors import LabError, WireError
from ikelab.lab import state
from ikelab.lab.dates import format_span
from ikelab.lab.explain import REFUSALS, located, to_json
from ikelab.lab.topology import Topology
from ikelab.runtime.clock import LabClock
from ikelab.runtime.control import Json
from ikelab.runtime.nodespec import CLOCK_FILE
from ikelab.runtime.trace import Trace, read_trace

# Files of a Wireshark directory that hold what belongs to one run: an old one must not stay.
_PER_RUN = ("ikev1_decryption_table", SKEYID_FILE, "esp_sa", "hosts")


@dataclass(frozen=True, slots=True)
class Capture:
    """Where it was written, and how much of it there is. keys: sessions that can be decrypted.

    behind_nat: captures of the segments that are seen through a NAT.
    """

    path: Path
    wireshark: Path
    frames: int
    dropped: int
    ike_keys: int
    esp_keys: int
    behind_nat: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Owner:
    """Whom files are for: the user behind sudo, else whoever runs this."""

    uid: int
    gid: int

    @classmethod
    def calling(cls, environment: Mapping[str, str]) -> Owner:
        """From SUDO_UID and SUDO_GID, which only mean something to root."""
        uid, gid = environment.get("SUDO_UID", ""), environment.get("SUDO_GID", "")
        if os.geteuid() == 0 and uid.isascii() and uid.isdigit() and gid.isdigit():
            return cls(int(uid), int(gid))
        return cls(os.geteuid(), os.getegid())


def write_capture(topology: Topology, counts: Json, out: Path, owner: Owner) -> Capture:
    """Put a lab's capture into a directory, replacing an older one. counts: the sniffers', by
    segment. Raises LabError.
    """
    run_dir = state.run_dir(topology.name)
    traces = {node.name: read_trace(node.trace_path, node.name) for node in topology.nodes}
    segments = read_segments(topology, run_dir, counts)
    hosts = tuple(hosts_of(topology))
    records = [record for trace in traces.values() for record in trace.records]
    # Wireshark takes the second copy of an encrypted message for the next one, and cannot read it:
    # what a NAT passes on is seen on both sides of it, so each side has a file.
    inside = _behind_nat(topology)
    split = {topology.name: [segment for segment in segments if segment.name not in inside]}
    split |= {f"{topology.name}-{one.name}": [one] for one in segments if one.name in inside}
    about = _about(topology, run_dir)
    files = {
        name: annotate(part, records, names=hosts, comment=about) for name, part in split.items()
    }
    wireshark = out / f"{topology.name}.wireshark"
    try:
        for directory in (out, wireshark, out / "logs"):
            make_directory(directory, owner)
        for name, file in files.items():
            write_file(out / f"{name}.pcapng", file, owner)
        _write_wireshark(wireshark, traces, hosts, owner)
        told = located(topology, traces, pcapng.parse(files[topology.name]).frames)
        write_file(out / REFUSALS, to_json(told, dict(hosts)).encode(), owner)
        write_file(out / "ladder.svg", _ladder(topology, traces).encode(), owner)
        for node in topology.nodes:
            if node.log_path.exists():
                write_file(out / "logs" / f"{node.name}.log", node.log_path.read_bytes(), owner)
    except OSError as error:
        raise LabError(
            f"cannot write {error.filename or out}: {error.strerror}",
            hint="--out names another directory",
        ) from error
    return Capture(
        out / f"{topology.name}.pcapng",
        wireshark,
        frames=sum(len(segment.frames) for segment in segments),
        dropped=sum(segment.dropped for segment in segments),
        ike_keys=len({key.cky_i for trace in traces.values() for key in trace.ike}),
        esp_keys=len(
            {(key.spi, key.encryption_key) for trace in traces.values() for key in trace.esp}
        ),
        behind_nat=tuple(out / f"{name}.pcapng" for name in files if name != topology.name),
    )


def _names(topology: Topology) -> Iterator[str]:
    return (segment.name for segment in topology.segments)


def read_segments(topology: Topology, run_dir: Path, counts: Json) -> list[SegmentCapture]:
    """What was seen so far on each segment. counts: the sniffers', by segment."""
    return [_segment(topology, name, run_dir, counts) for name in _names(topology)]


def _about(topology: Topology, run_dir: Path) -> str:
    """What the capture is, and whose time its frames have."""
    text = f"{topology.name}: {topology.title}"
    clock = LabClock.of(run_dir / CLOCK_FILE)
    if not clock.ahead_of_machine_ns():
        return text
    began = f"on {topology.clock:%Y-%m-%d %H:%M:%S} UTC" if topology.clock else "as the machine's"
    text += f". Frames have the time of the lab's clock, which began {began}"
    ahead = round(clock.ahead)
    return text + (f" and was advanced by {format_span(ahead)} in all" if ahead else "")


def _behind_nat(topology: Topology) -> frozenset[str]:
    """The segments on the inside of a NAT."""
    return frozenset(
        attachment.segment
        for node in topology.nodes
        for attachment in node.attachments
        if node.outside is not None and attachment.ifname != node.outside
    )


def _segment(topology: Topology, name: str, run_dir: Path, counts: Json) -> SegmentCapture:
    """What was seen on one segment; a torn end, left by a crash, is cut off."""
    path = run_dir / "frames" / f"{name}.pcapng"
    try:
        section = pcapng.parse(path.read_bytes(), torn=True)
    except (OSError, WireError) as error:
        raise LabError(f"the frames of {name} cannot be read: {error}") from error
    counted = counts.get(name) if isinstance(counts, dict) else None
    dropped = counted.get("dropped") if isinstance(counted, dict) else 0
    return SegmentCapture(
        name,
        section.frames,
        description=section.interfaces[0].description,
        nodes=[
            node.name
            for node in topology.nodes
            if any(attachment.segment == name for attachment in node.attachments)
        ],
        received=len(section.frames),
        dropped=dropped if isinstance(dropped, int) else 0,
    )


def hosts_of(topology: Topology) -> Iterator[tuple[str, str]]:
    """(dotted address, name of the node) of all interfaces."""
    for node in topology.nodes:
        for attachment in node.attachments:
            if attachment.address is not None:
                yield attachment.address.partition("/")[0], node.name


def _write_wireshark(
    directory: Path, traces: Mapping[str, Trace], hosts: tuple[tuple[str, str], ...], owner: Owner
) -> None:
    """The configuration directory; what a user's Wireshark has put there itself stays."""
    files = wireshark_directory(
        ike=[key for trace in traces.values() for key in trace.ike],
        esp=[key for trace in traces.values() for key in trace.esp],
        hosts=hosts,
    )
    for name in _PER_RUN:
        if name not in files:
            (directory / name).unlink(missing_ok=True)
    for name, text in files.items():
        write_file(directory / name, text.encode(), owner)


def _ladder(topology: Topology, traces: Mapping[str, Trace]) -> str:
    records = [record for trace in traces.values() for record in trace.records]
    return draw(read_rungs(records), title=topology.title)


def make_directory(path: Path, owner: Owner) -> None:
    """A directory of the owner's, with its parents; those that are there stay as they are."""
    missing = [path, *path.parents]
    for directory in reversed([one for one in missing if not one.exists()]):
        directory.mkdir(mode=0o755)
        os.chown(directory, owner.uid, owner.gid)


def write_file(path: Path, octets: bytes, owner: Owner) -> None:
    """A private file of the owner's, whole or not at all.

    Made anew under another name and renamed: a link that somebody put there is replaced, not
    followed.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(temporary, flags, 0o600)
        with open(descriptor, "wb") as stream:
            stream.write(octets)
            os.fchown(descriptor, owner.uid, owner.gid)
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
