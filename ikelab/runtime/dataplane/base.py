"""What a router asks of a data plane: tunnels, ESP SAs, and word when an SA is missing.

One interface for all planes; nothing in here carries a packet. A plane is opened inside the
router's network namespace and lives on its event loop.

The rule for sizes: the tunnel's device has the MTU of `ip mtu`, so the kernel fragments a large
packet, or answers it with "fragmentation needed", *before* GRE and ESP. The ESP packets have DF
clear, as IOS sends them without `tunnel path-mtu-discovery`: where they do not fit the physical
link they are fragmented, and the receiver's kernel puts them together before ESP is opened. At
`ip mtu 1400` every suite fits 1500 octets in both modes, but for AES with HMAC-SHA2-384 or -512 in
tunnel mode. UDP encapsulation takes 8 octets more: then transport mode fits but for
HMAC-SHA2-512, tunnel mode with AES does not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ikelab.errors import ProtocolError
from ikelab.isakmp.events import InstallIpsecSa
from ikelab.isakmp.policy import ProxyIdentity, TransformSet
from ikelab.types import Endpoint

AcquireCallback = Callable[[str], None]
"""Called with the flow's (tunnel's) name when a packet waits for an SA that is not there."""

MoveCallback = Callable[[bytes, Endpoint], None]
"""Called with an inbound SPI and the new end of its peer, whose NAT has given it another port."""

SendUdp = Callable[[Endpoint, Endpoint, bytes], str]
"""Sends a UDP payload from our end to the peer's; what went wrong, or nothing."""

DropCallback = Callable[[str, ProtocolError], None]
"""Called with the peer's address and the error, for each refused packet."""


@dataclass(frozen=True, slots=True)
class TunnelConfig:
    """A point-to-point GRE tunnel with `tunnel protection`.

    name: the flow's name, "Tunnel1". ifname: the Linux device, "tunnel1". address: with prefix
    length, "10.0.0.1/30". local, remote: NBMA addresses (tunnel source and destination). key:
    `tunnel key`, or None. mtu: `ip mtu`, octets.
    """

    name: str
    ifname: str
    address: str
    local: str
    remote: str
    key: int | None = None
    mtu: int = 1400


@dataclass(frozen=True, slots=True)
class SaSnapshot:
    """One pair of ESP SAs for `show crypto ipsec sa`.

    encaps, decaps: packets. octets: before ESP is added, of the direction that carried more.
    send_errors: protected packets that could not leave. drops: inbound, by reason.
    current: whether outbound packets take this pair.
    """

    flow: str
    local: str
    remote: str
    local_proxy: ProxyIdentity
    remote_proxy: ProxyIdentity
    transform: TransformSet
    inbound_spi: bytes
    outbound_spi: bytes
    encaps: int
    decaps: int
    octets: int
    send_errors: int
    drops: tuple[tuple[str, int], ...]
    lifetime_seconds: int
    lifetime_kilobytes: int
    initiator: bool
    current: bool

    @property
    def receive_errors(self) -> int:
        """Inbound packets that were dropped."""
        return sum(count for _, count in self.drops)


@dataclass(frozen=True, slots=True)
class TunnelSnapshot:
    """A tunnel's counters. waiting: packets kept until there is an SA. drops: by reason."""

    config: TunnelConfig
    up: bool
    sent: int
    received: int
    waiting: int
    drops: tuple[tuple[str, int], ...]


class DataPlane(Protocol):
    """The calls are immediate. Nothing of a tunnel ever leaves without an SA."""

    def create_tunnel(self, tunnel: TunnelConfig) -> None:
        """Make the device, with its address, down: `set_up` brings it up. LabError if it cannot."""
        ...

    def remove_tunnel(self, name: str) -> None:
        """Take the device and its SAs away. LabError if there is no such tunnel."""
        ...

    def set_up(self, name: str, up: bool) -> None:
        """`no shutdown` or `shutdown` of the device; packets that wait are dropped by the latter.

        SAs stay: taking them down is IKE's work. LabError if there is no such tunnel.
        """
        ...

    def alloc_spi(self) -> bytes:
        """A fresh inbound SPI: 4 octets, random, 256 or more (RFC 4303 section 2.1), unused."""
        ...

    def install(self, request: InstallIpsecSa) -> None:
        """Take a pair into use; older pairs of the flow stay until they are removed.

        The newest pair carries what is sent. An initiator's is used at once (in the loop's next
        turn, so that QM3 leaves first); a responder's when the initiator shows that it has its
        half: its first packet, `activate`, or half a second.

        Raises LabError (no such tunnel, other addresses, SPI in use) or ProtocolError (proxies
        that are not this GRE, keys that do not fit the transform).
        """
        ...

    def take_udp_esp(self, local: Endpoint, remote: Endpoint, octets: bytes) -> None:
        """An ESP packet that came through UDP, as `udp_encap.split` found it."""
        ...

    def move(self, inbound_spi: bytes, remote: Endpoint) -> None:
        """A pair's peer is at another port from now on. Unknown SPIs are ignored."""
        ...

    def activate(self, inbound_spi: bytes) -> None:
        """QM3 came: the initiator has its half of the pair. Unknown SPIs are ignored."""
        ...

    def remove(self, inbound_spi: bytes) -> None:
        """Take a pair out of use; an SPI that is not there is no error."""
        ...

    def sas(self) -> tuple[SaSnapshot, ...]:
        """Every pair, in order of installation."""
        ...

    def tunnels(self) -> tuple[TunnelSnapshot, ...]:
        """Every tunnel, in order of creation."""
        ...

    def drops(self) -> tuple[tuple[str, int], ...]:
        """Refused packets that belong to no tunnel, by reason: "esp-unknown-spi", "clear-gre"."""
        ...

    def close(self) -> None:
        """Take everything away; a second call does nothing."""
        ...
