"""One name for "any payload layer", so that modules outside `wire/` can say so in their types."""

from typing import TypeAlias

from scapy.packet import Packet

Layer: TypeAlias = Packet
