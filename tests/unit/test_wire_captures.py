"""Datagrams that other implementations sent: read exactly, or refused with our own error.

The captures are not part of the project. IKELAB_FOREIGN_CAPTURES names a folder of pcap and
pcapng files, for example the tests of tcpdump, Zeek or Suricata.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from scapy.layers import l2  # noqa: F401 - binds Ethernet to the captures' link type
from scapy.layers.inet import UDP
from scapy.layers.isakmp import ISAKMP
from scapy.utils import PcapReader

from ikelab.errors import WireError
from ikelab.wire.isakmp import HEADER_LENGTH, build_payloads, parse_header, parse_payloads
from ikelab.wire.numbers import Flags

FOLDER = os.environ.get("IKELAB_FOREIGN_CAPTURES")
CAPTURES = sorted(Path(FOLDER).rglob("*.pcap*")) if FOLDER else []

pytestmark = pytest.mark.skipif(
    not CAPTURES, reason="IKELAB_FOREIGN_CAPTURES names no folder with captures"
)


def isakmp_datagrams(path: Path) -> Iterator[bytes]:
    """UDP payloads of ports 500 and 4500, without the non-ESP marker."""
    with PcapReader(str(path)) as frames:
        for frame in frames:
            if UDP not in frame:
                continue
            udp, octets = frame[UDP], bytes(frame[UDP].payload)
            if 500 in (udp.sport, udp.dport):
                yield octets
            elif 4500 in (udp.sport, udp.dport) and octets.startswith(bytes(4)):
                yield octets[4:]


def read_or_refuse(first: int, octets: bytes) -> bool:
    """Whether the payloads were taken; if so, they rebuild to the identical octets."""
    try:
        payloads = parse_payloads(first, octets)
    except WireError:
        return False
    assert build_payloads([payload.packet for payload in payloads]) == (first, octets)
    return True


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.name)
def test_captured_datagrams_are_read_exactly_or_refused(path: Path) -> None:
    for datagram in isakmp_datagrams(path):
        if len(datagram) > HEADER_LENGTH:  # whatever its length field says
            read_or_refuse(datagram[16], datagram[HEADER_LENGTH:])
        try:
            header = parse_header(datagram)
        except WireError:
            continue
        assert bytes(ISAKMP(datagram)) == datagram
        if not header.flags & Flags.ENCRYPTION:
            read_or_refuse(header.next_payload, datagram[HEADER_LENGTH:])


SOUND = {"ISAKMP_sa_setup.pcap": 4, "isakmp4500.pcap": 4, "ikev1-isakmp-main-mode.pcap": 4}
"""Captures of whole main modes and how many messages of each are in clear."""


@pytest.mark.parametrize(
    "path", [path for path in CAPTURES if path.name in SOUND], ids=lambda path: path.name
)
def test_real_main_modes_are_read_whole(path: Path) -> None:
    clear = 0
    for datagram in isakmp_datagrams(path):
        header = parse_header(datagram)
        if not header.flags & Flags.ENCRYPTION:
            assert read_or_refuse(header.next_payload, datagram[HEADER_LENGTH:])
            clear += 1
    assert clear == SOUND[path.name]
