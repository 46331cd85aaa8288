"""Comments on the right frames: order, fragments, losses, retransmissions, several segments."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from scapy.layers.inet import IP, UDP, fragment
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Packet, Raw

from ikelab.capture import pcapng
from ikelab.capture.annotate import Direction, SegmentCapture, TraceRecord, align, annotate
from ikelab.capture.datagram import DatagramFinder

SENT, RECEIVED = Direction.SENT, Direction.RECEIVED
SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
ETHERNET = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")


def packet(payload: bytes, identification: int = 1) -> Packet:
    header = IP(src="192.0.2.1", dst="192.0.2.2", id=identification)
    return header / UDP(sport=500, dport=500) / Raw(payload)


def frame(payload: bytes, at: float = 0.0) -> pcapng.Frame:
    return pcapng.Frame(0, START + round(at * SECOND), bytes(ETHERNET / packet(payload)))


def record(
    node: str, direction: Direction, payload: bytes, comment: str, at: float | None = None
) -> TraceRecord:
    timestamp = 0 if at is None else START + round(at * SECOND)
    return TraceRecord(node, direction, hashlib.sha256(payload).digest(), comment, timestamp)


def comments(*segments: SegmentCapture, records: list[TraceRecord]) -> list[tuple[str, ...]]:
    return [item.comments for item in pcapng.parse(annotate(segments, records)).frames]


def test_the_senders_lines_come_before_the_receivers() -> None:
    records = [
        record("spoke", RECEIVED, b"MM1", "spoke (R) MM1: taken"),
        record("hub", SENT, b"MM1", "hub (I) MM1: SA VID\nhub: no KE yet"),
    ]
    assert comments(SegmentCapture("wan", [frame(b"MM1")]), records=records) == [
        ("hub (I) MM1: SA VID", "hub: no KE yet", "spoke (R) MM1: taken")
    ]


def test_a_frame_nobody_speaks_of_has_no_comment() -> None:
    wan = SegmentCapture("wan", [frame(b"other"), frame(b"MM1")])
    assert comments(wan, records=[record("hub", SENT, b"MM1", "MM1")]) == [(), ("MM1",)]


def test_a_record_without_a_frame_is_no_harm() -> None:
    wan = SegmentCapture("wan", [frame(b"MM1")])
    assert comments(wan, records=[record("hub", SENT, b"MM3", "MM3")]) == [()]


def test_retransmissions_are_told_apart_by_their_order() -> None:
    wan = SegmentCapture("wan", [frame(b"MM1", 0), frame(b"MM1", 10)])
    records = [record("hub", SENT, b"MM1", "MM1"), record("hub", SENT, b"MM1", "MM1 again")]
    assert comments(wan, records=records) == [("MM1",), ("MM1 again",)]


def test_a_frame_lost_behind_the_segment_does_not_take_the_receivers_comment() -> None:
    wan = SegmentCapture("wan", [frame(b"MM1", 0.0), frame(b"MM1", 10.0)])
    records = [
        record("hub", SENT, b"MM1", "first", at=0.0),
        record("hub", SENT, b"MM1", "again", at=10.0),
        record("spoke", RECEIVED, b"MM1", "taken", at=10.001),
    ]
    assert comments(wan, records=records) == [("first",), ("again", "taken")]


def test_a_sending_lost_before_the_segment_leaves_its_comment_out() -> None:
    wan = SegmentCapture("wan", [frame(b"MM1", 10.0)])
    records = [
        record("hub", SENT, b"MM1", "first", at=0.0),
        record("hub", SENT, b"MM1", "again", at=9.999),
    ]
    assert comments(wan, records=records) == [("again",)]


def test_a_duplicate_made_by_the_network_has_only_its_receivers_comment() -> None:
    wan = SegmentCapture("wan", [frame(b"MM1", 0.0), frame(b"MM1", 0.001)])
    records = [
        record("hub", SENT, b"MM1", "sent", at=0.0),
        record("spoke", RECEIVED, b"MM1", "taken", at=0.002),
        record("spoke", RECEIVED, b"MM1", "a repetition", at=0.003),
    ]
    assert comments(wan, records=records) == [("sent", "taken"), ("a repetition",)]


def test_a_nodes_comment_stays_on_the_segments_it_is_attached_to() -> None:
    left = SegmentCapture("left", [frame(b"MM1", 0.0)], nodes={"hub", "router"})
    right = SegmentCapture("right", [frame(b"MM1", 0.1)], nodes={"spoke", "router"})
    records = [record("hub", SENT, b"MM1", "sent"), record("spoke", RECEIVED, b"MM1", "taken")]
    assert comments(left, right, records=records) == [("sent",), ("taken",)]


def test_segments_are_interfaces_and_frames_come_in_order_of_time() -> None:
    left = SegmentCapture("left", [frame(b"1", 0), frame(b"4", 3)], "bridge of left")
    right = SegmentCapture("right", [frame(b"2", 1), frame(b"3", 2)], received=2)
    section = pcapng.parse(
        annotate((left, right), [], names=[("192.0.2.1", "hub")], comment="lab psk")
    )
    assert section.interfaces == (
        pcapng.Interface("left", "bridge of left"),
        pcapng.Interface("right"),
    )
    assert [item.interface for item in section.frames] == [0, 1, 1, 0]
    assert [item.octets[-1:] for item in section.frames] == [b"1", b"2", b"3", b"4"]
    assert (section.names, section.comment) == ((("192.0.2.1", "hub"),), "lab psk")


def test_what_a_peer_wrote_cannot_steer_the_readers_terminal() -> None:
    wan = SegmentCapture("wan", [frame(b"MM5")])
    records = [record("hub", RECEIVED, b"MM5", "ID \x1b[31mevil\x07\x00 Zürich")]
    assert comments(wan, records=records) == [("ID \\x1b[31mevil\\x07\\x00 Zürich",)]


def test_a_fragmented_datagram_is_commented_where_its_last_piece_came() -> None:
    payload = bytes(range(256)) * 12
    pieces = fragment(packet(payload), 1480)
    assert len(pieces) == 3
    for order in ([0, 1, 2], [2, 0, 1], [1, 2, 0]):
        frames = [
            pcapng.Frame(0, START + n, bytes(ETHERNET / pieces[i])) for n, i in enumerate(order)
        ]
        wan = SegmentCapture("wan", frames)
        assert comments(wan, records=[record("hub", SENT, payload, "MM5")]) == [(), (), ("MM5",)]


@pytest.mark.interop
def test_the_comment_sits_where_wireshark_reassembles(
    need: Callable[[str], str], tmp_path: Path
) -> None:
    payload = bytes(range(256)) * 12
    pieces = fragment(packet(payload), 1480)
    frames = [
        pcapng.Frame(0, START + n, bytes(ETHERNET / pieces[i])) for n, i in enumerate((1, 2, 0))
    ]
    file = tmp_path / "x.pcapng"
    file.write_bytes(
        annotate([SegmentCapture("wan", frames)], [record("hub", SENT, payload, "MM5")])
    )
    command = [need("tshark"), "-r", str(file), "-T", "fields", "-e", "udp.length"]
    done = subprocess.run([*command, "-e", "frame.comment"], capture_output=True, check=True)
    assert done.stdout.decode().splitlines() == ["\t", "\t", "3080\tMM5"]


def test_two_datagrams_interleaved_in_fragments_are_kept_apart() -> None:
    one, two = fragment(packet(b"a" * 2000, 1), 1480), fragment(packet(b"b" * 2000, 2), 1480)
    finder = DatagramFinder()
    taken = [finder.take(bytes(ETHERNET / item)) for item in (one[0], two[0], two[1], one[1])]
    assert taken == [None, None, b"b" * 2000, b"a" * 2000]


def test_a_missing_fragment_completes_nothing() -> None:
    pieces = fragment(packet(b"a" * 4000), 1480)
    finder = DatagramFinder()
    assert [finder.take(bytes(ETHERNET / item)) for item in (pieces[0], pieces[2])] == [None, None]


def test_endless_first_fragments_do_not_fill_the_memory() -> None:
    finder = DatagramFinder()
    for number in range(1000):
        finder.take(bytes(ETHERNET / fragment(packet(b"a" * 2000, number), 1480)[0]))
    assert len(finder._waiting) == 256


def test_a_tagged_frame_is_looked_into() -> None:
    tagged = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / Dot1Q(vlan=5)
    assert DatagramFinder().take(bytes(tagged / packet(b"MM1"))) == b"MM1"


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        bytes(ETHERNET / ARP()),
        bytes(ETHERNET / IP(proto=50) / Raw(bytes(40))),
        bytes(ETHERNET / packet(b"payload"))[:30],
        bytes(ETHERNET / packet(b"payload"))[:-1],
        bytes(ETHERNET / IP() / UDP(len=7)),
        bytes(ETHERNET / IP() / UDP(len=9)),
    ],
)
def test_anything_else_carries_no_datagram(octets: bytes) -> None:
    assert DatagramFinder().take(octets) is None


def test_ethernet_padding_is_not_part_of_the_datagram() -> None:
    assert DatagramFinder().take(bytes(ETHERNET / packet(b"x")) + bytes(17)) == b"x"


def test_align_finds_the_nearest_pairs_in_order() -> None:
    # Checked against every possible choice.
    from itertools import combinations

    frames, records = [10, 20, 30, 45, 60], [21, 44, 61]
    best = min(
        combinations(range(5), 3),
        key=lambda chosen: sum(abs(frames[f] - r) for f, r in zip(chosen, records, strict=True)),
    )
    assert align(frames, records) == [(best[0], 0), (best[1], 1), (best[2], 2)]
    assert align(records, frames) == [(0, best[0]), (1, best[1]), (2, best[2])]


def test_align_goes_by_order_where_a_time_is_missing() -> None:
    assert align([10, 20, 30], [0, 29]) == [(0, 0), (1, 1)]
    assert align([10, 20], [20, 10]) == [(0, 0), (1, 1)]
    assert align([], [1]) == align([1], []) == align([], []) == []
