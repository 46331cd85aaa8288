"""Joins captured frames with what the nodes say of their datagrams, as packet comments.

A node's record names a datagram by the SHA-256 of its UDP payload. The comment goes to the frame
where Wireshark dissects that datagram: the frame itself, or the fragment that completes it. The
same datagram may be on the wire more than once (retransmission, duplication, loss on the way, a
router between two segments): `align` says which record belongs to which then.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from operator import attrgetter

from ikelab.capture import pcapng
from ikelab.capture.datagram import DatagramFinder

APPLICATION = "ikelab"


class Direction(Enum):
    """Which end of a datagram's way a record is from."""

    SENT = "sent"
    RECEIVED = "received"


@dataclass(frozen=True, slots=True)
class TraceRecord:
    """What a node says of one datagram.

    digest: SHA-256 of the UDP payload. comment: lines become comments of their own. timestamp:
    nanoseconds since 1970 on the capture's clock, or 0 where the node did not write it down.
    """

    node: str
    direction: Direction
    digest: bytes
    comment: str
    timestamp: int = 0


@dataclass(frozen=True, slots=True)
class SegmentCapture:
    """What was seen on one segment. frames: their `interface` is not looked at.

    nodes: who is attached, or None where that is not known. received, dropped: the sniffer's
    counters.
    """

    name: str
    frames: Sequence[pcapng.Frame]
    description: str = ""
    nodes: Collection[str] | None = None
    received: int | None = None
    dropped: int = 0


def annotate(
    segments: Sequence[SegmentCapture],
    records: Sequence[TraceRecord],
    *,
    names: Sequence[tuple[str, str]] = (),
    comment: str = "",
) -> bytes:
    """One pcapng file of all segments in order of time, commented.

    records: each node's in the order in which it handled the datagrams. names: (dotted address,
    name). comment: of the whole file.
    """
    frames: list[pcapng.Frame] = []
    for number, segment in enumerate(segments):
        there = [
            record for record in records if segment.nodes is None or record.node in segment.nodes
        ]
        frames += _comment_segment(number, segment.frames, there)
    frames.sort(key=attrgetter("timestamp"))  # stable: frames of one moment keep their order
    section = pcapng.Section(
        comment=comment,
        application=APPLICATION,
        interfaces=tuple(pcapng.Interface(item.name, item.description) for item in segments),
        names=tuple(names),
        frames=tuple(frames),
    )
    return pcapng.build(section) + b"".join(_statistics(segments, frames))


def _comment_segment(
    number: int, frames: Sequence[pcapng.Frame], records: Sequence[TraceRecord]
) -> Iterator[pcapng.Frame]:
    """The frames of one segment, with the comments of the nodes attached to it."""
    finder = DatagramFinder()
    where: dict[bytes, list[int]] = defaultdict(list)  # digest -> frames that complete it
    for index, frame in enumerate(frames):
        payload = finder.take(frame.octets)
        if payload is not None:
            where[hashlib.sha256(payload).digest()].append(index)
    comments: dict[int, list[str]] = defaultdict(list)
    for direction in (Direction.SENT, Direction.RECEIVED):  # the sender's lines come first
        for digest, records_of_it in _by_digest(records, direction).items():
            seen = where[digest]
            times = [frames[index].timestamp for index in seen]
            for one, other in align(times, [record.timestamp for record in records_of_it]):
                comments[seen[one]] += printable_lines(records_of_it[other].comment)
    for index, frame in enumerate(frames):
        added = tuple(comments.get(index, ()))
        yield replace(frame, interface=number, comments=frame.comments + added)


def _by_digest(
    records: Sequence[TraceRecord], direction: Direction
) -> Mapping[bytes, list[TraceRecord]]:
    """The records of one direction by datagram, each list in order."""
    found: dict[bytes, list[TraceRecord]] = defaultdict(list)
    for record in records:
        if record.direction is direction:
            found[record.digest].append(record)
    return found


def align(frames: Sequence[int], records: Sequence[int]) -> list[tuple[int, int]]:
    """Which record belongs to which frame: pairs of indices, both rising.

    frames, records: their timestamps, in order. As many records as frames, or a record without a
    time: the n-th belongs to the n-th. Otherwise some have no partner (a frame lost behind the
    segment, a sending lost before it), and the pairs are those nearest in time.
    """
    if len(frames) == len(records) or not all(records):
        return [(number, number) for number in range(min(len(frames), len(records)))]
    if len(frames) < len(records):
        return [(frame, record) for record, frame in align(records, frames)]
    # Dynamic programming: best[r][f] is the least sum of distances of the first r records, each
    # with one of the first f frames.
    best: list[list[float]] = [[0.0] * (len(frames) + 1)]
    for row, record in enumerate(records):
        best.append([float("inf")] * (len(frames) + 1))
        for column, frame in enumerate(frames):
            paired = best[row][column] + abs(frame - record)
            best[row + 1][column + 1] = min(best[row + 1][column], paired)
    pairs: list[tuple[int, int]] = []
    row, column = len(records), len(frames)
    while row:
        if best[row][column] != best[row][column - 1]:
            row -= 1
            pairs.append((column - 1, row))
        column -= 1
    return pairs[::-1]


def printable_lines(comment: str) -> list[str]:
    """A comment's lines, what is not printable escaped: names in it may come from a peer."""
    return [
        "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in line)
        for line in comment.split("\n")
        if line
    ]


def _statistics(
    segments: Sequence[SegmentCapture], frames: Sequence[pcapng.Frame]
) -> Iterator[bytes]:
    """Statistics of the segments whose sniffer counted."""
    end = frames[-1].timestamp if frames else 0
    for number, segment in enumerate(segments):
        if segment.received is not None:
            yield pcapng.build_statistics(
                number, end, received=segment.received, dropped=segment.dropped
            )
