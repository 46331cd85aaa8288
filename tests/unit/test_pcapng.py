"""pcapng files: what the writer makes, tshark and the reader must understand."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw
from scapy.utils import RawPcapNgReader

from ikelab.capture import pcapng
from ikelab.capture.pcapng import Frame, Interface, Section
from ikelab.errors import WireError

MOMENT = 1_016_400_000_123_456_789  # 2002-03-17 21:20:00.123456789 UTC


def datagram(text: bytes = b"hello") -> bytes:
    packet = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
    packet /= IP(src="192.0.2.1", dst="192.0.2.2") / UDP(sport=4000, dport=4001) / Raw(text)
    return bytes(packet)


def section() -> Section:
    return Section(
        comment="lab psk, seed 7",
        application="ikelab",
        interfaces=(Interface("wan", "bridge of hub and spoke"), Interface("lan")),
        names=(("192.0.2.1", "hub"), ("192.0.2.2", "spoke1")),
        frames=(
            Frame(0, MOMENT, datagram(), ("hub (I) MM1: SA VID", "spoke1 (R) MM1")),
            Frame(1, MOMENT + 1, datagram(b"odd")),
            Frame(0, MOMENT + 2, datagram()[:50], ("ünïcödé",), 1500),
        ),
    )


def fields(tshark: str, file: Path, *names: str) -> list[list[str]]:
    command = [tshark, "-r", str(file), "-N", "n", "-T", "fields", "-E", "aggregator=|"]
    for name in names:
        command += ["-e", name]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [line.split("\t") for line in done.stdout.splitlines()]


def test_a_section_comes_back_as_it_was_written() -> None:
    assert pcapng.parse(pcapng.build(section())) == section()


def test_an_empty_section_is_a_file() -> None:
    assert pcapng.parse(pcapng.build(Section())) == Section()


@pytest.mark.interop
def test_tshark_reads_interfaces_times_and_comments(
    need: Callable[[str], str], tmp_path: Path
) -> None:
    file = tmp_path / "x.pcapng"
    file.write_bytes(pcapng.build(section()))
    rows = fields(
        need("tshark"),
        file,
        "frame.interface_name",
        "frame.interface_description",
        "frame.time_epoch",
        "frame.comment",
        "frame.len",
        "frame.cap_len",
    )
    assert rows == [
        [
            "wan",
            "bridge of hub and spoke",
            "1016400000.123456789",
            "hub (I) MM1: SA VID|spoke1 (R) MM1",
            "47",
            "47",
        ],
        ["lan", "", "1016400000.123456790", "", "45", "45"],
        ["wan", "bridge of hub and spoke", "1016400000.123456791", "ünïcödé", "1500", "47"],
    ]


@pytest.mark.interop
def test_tshark_resolves_the_names_of_the_file(need: Callable[[str], str], tmp_path: Path) -> None:
    file = tmp_path / "x.pcapng"
    file.write_bytes(pcapng.build(section()))
    rows = fields(need("tshark"), file, "ip.src_host", "ip.dst_host")
    assert rows[0] == ["hub", "spoke1"]


@pytest.mark.interop
def test_capinfos_shows_comment_application_and_dropped_frames(
    need: Callable[[str], str], tmp_path: Path
) -> None:
    file = tmp_path / "x.pcapng"
    statistics = pcapng.build_statistics(0, MOMENT, received=3, dropped=2)
    file.write_bytes(pcapng.build(section()) + statistics)
    done = subprocess.run(
        [need("capinfos"), str(file)], capture_output=True, text=True, check=True
    ).stdout
    assert "lab psk, seed 7" in done
    assert "Capture application: ikelab" in done
    assert "Number of packets:   3" in done
    assert "Number of stat entries = 1" in done


def test_scapy_reads_every_frame(tmp_path: Path) -> None:
    file = tmp_path / "x.pcapng"
    file.write_bytes(pcapng.build(section()))
    with RawPcapNgReader(str(file)) as reader:
        read = list(reader)
    assert [octets for octets, _ in read] == [frame.octets for frame in section().frames]
    assert [meta.comments for _, meta in read][0] == [b"hub (I) MM1: SA VID", b"spoke1 (R) MM1"]


def test_statistics_and_unknown_blocks_are_skipped_by_the_reader() -> None:
    unknown = struct.pack("<III4sI", 0x0BAD, 16, 0, b"", 16)[:12] + struct.pack("<I", 16)
    statistics = pcapng.build_statistics(0, MOMENT, received=1, dropped=0)
    assert pcapng.parse(pcapng.build(section()) + unknown + statistics) == section()


def test_a_comment_too_long_for_its_option_is_cut_at_a_character() -> None:
    long = "ü" * 40000
    written = pcapng.build(
        Section(interfaces=(Interface("x"),), frames=(Frame(0, 1, b"", (long,)),))
    )
    (comment,) = pcapng.parse(written).frames[0].comments
    assert comment == "ü" * 32767


def test_empty_texts_take_no_option() -> None:
    assert pcapng.build_section_header() == struct.pack(
        "<IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28
    )


def test_every_block_is_a_multiple_of_four_octets() -> None:
    for length in range(8):
        for comment in ("", "a", "ab", "abc", "abcd"):
            assert len(pcapng.build_frame(Frame(0, 0, bytes(length), (comment,)))) % 4 == 0


def test_a_file_torn_at_any_octet_gives_its_whole_frames() -> None:
    whole = pcapng.build(section())
    ends = {
        len(pcapng.build(Section(**{**as_fields(section()), "frames": section().frames[:n]})))
        for n in range(4)
    }
    for length in range(len(whole) - 200, len(whole) + 1):
        read = pcapng.parse(whole[:length], torn=True)
        assert len(read.frames) == sum(end <= length for end in ends) - 1
        if length not in ends:
            with pytest.raises(WireError):
                pcapng.parse(whole[:length])


def as_fields(whole: Section) -> dict[str, object]:
    return {name: getattr(whole, name) for name in Section.__slots__}


def test_a_file_changed_at_any_octet_is_read_or_a_wire_error() -> None:
    whole = bytearray(pcapng.build(section()))
    refused = 0
    for place in range(len(whole)):
        for value in (0, 0x7F, 0xFF):
            changed = bytes(whole[:place]) + bytes((value,)) + bytes(whole[place + 1 :])
            try:
                pcapng.parse(changed)
            except WireError:
                refused += 1
    assert refused > 100


@pytest.mark.parametrize("octets", [b"", b"\x0a", b"\xd4\xc3\xb2\xa1" + bytes(20)])
def test_something_else_is_not_a_pcapng_file(octets: bytes) -> None:
    with pytest.raises(WireError):
        pcapng.parse(octets)
