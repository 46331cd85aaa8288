"""What shares port 4500 (RFC 3948): told apart before anything is looked at."""

from __future__ import annotations

import pytest

from ikelab.ipsec import udp_encap
from ikelab.ipsec.udp_encap import Kind
from ikelab.types import Endpoint

MESSAGE = bytes(range(1, 60))


@pytest.mark.parametrize(
    ("datagram", "kind", "inside"),
    [
        (bytes(4) + MESSAGE, Kind.IKE, MESSAGE),
        (bytes(4), Kind.IKE, b""),
        (bytes(8), Kind.IKE, bytes(4)),  # ESP with SPI 0 is no ESP: to IKE, which refuses it
        (MESSAGE, Kind.ESP, MESSAGE),  # IKE without its marker: an SPI that nobody knows
        (b"\xff", Kind.KEEPALIVE, b""),
        (b"\xff\xff", Kind.SHORT, b"\xff\xff"),
        (b"\x00", Kind.SHORT, b"\x00"),
        (b"", Kind.SHORT, b""),
        (b"\x00\x00\x00", Kind.SHORT, b"\x00\x00\x00"),
        (b"\xff\xff\xff\xff", Kind.ESP, b"\xff\xff\xff\xff"),
    ],
)
def test_datagrams_at_port_4500_are_told_apart(datagram: bytes, kind: Kind, inside: bytes) -> None:
    assert udp_encap.split(datagram) == (kind, inside)


def test_the_marker_is_on_the_wire_at_port_4500_only() -> None:
    assert udp_encap.on_wire(Endpoint("192.0.2.1", 500), MESSAGE) == MESSAGE
    marked = udp_encap.on_wire(Endpoint("192.0.2.1", 4500), MESSAGE)
    assert udp_encap.split(marked) == (Kind.IKE, MESSAGE)
