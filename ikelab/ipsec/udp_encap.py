"""What shares UDP port 4500 (RFC 3948 section 2): IKE behind a marker, ESP, keepalives.

IKE         | 0  0  0  0 |  ISAKMP message ...      the marker is where ESP has its SPI, which
ESP         |    SPI     |  sequence number ...     is never zero
keepalive   | FF |
"""

from __future__ import annotations

from enum import Enum

from ikelab.types import Endpoint
from ikelab.wire.numbers import NAT_T_PORT

NON_ESP_MARKER = bytes(4)
KEEPALIVE = b"\xff"
_SPI = 4


class Kind(Enum):
    """What a datagram at port 4500 is."""

    IKE = "IKE"
    ESP = "ESP"
    KEEPALIVE = "NAT keepalive"
    SHORT = "too short to be anything"


def split(datagram: bytes) -> tuple[Kind, bytes]:
    """What came, and the IKE message or ESP packet in it, which nothing has looked at yet."""
    if datagram == KEEPALIVE:
        return Kind.KEEPALIVE, b""
    if len(datagram) < _SPI:
        return Kind.SHORT, datagram
    if datagram.startswith(NON_ESP_MARKER):
        return Kind.IKE, datagram[len(NON_ESP_MARKER) :]
    return Kind.ESP, datagram


def on_wire(local: Endpoint, message: bytes) -> bytes:
    """The UDP payload of an IKE message that goes from, or came to, one of our ends."""
    return NON_ESP_MARKER + message if local.port == NAT_T_PORT else message
