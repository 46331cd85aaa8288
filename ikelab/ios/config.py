"""What one node is told by its configuration file, as plain data in IOS's words.

`command_tree.py` fills a `RunningConfig` from text and prints it back; the engines' own parts
(policies, trustpoints, certificate servers) are their dataclasses. Frozen: an edit makes a new one,
so a node can compare before and after. Nothing here acts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from typing import Literal

from ikelab.errors import ConfigError
from ikelab.ios.zone import Times
from ikelab.isakmp.nat_t import KEEPALIVE_SECONDS
from ikelab.isakmp.policy import (
    AdmissionLimits,
    AggressivePeer,
    IpsecProfile,
    IsakmpPolicy,
    IsakmpProfile,
    Keepalive,
    Keyring,
    TransformSet,
)
from ikelab.pki.config import CertServerConfig, TrustpointConfig
from ikelab.wire.numbers import IdType

LabMode = Literal["legacy", "modern"]
"""`mode:` of a lab: "legacy" allows the algorithms of 2009, "modern" refuses them."""

DPD_RETRY = 2
"""Seconds between retries of `crypto isakmp keepalive` where none are given, as IOS has it."""

DEFAULT_KEYRING = "default"
"""The keyring that `crypto isakmp key` fills."""

# Interface kinds in IOS's spelling, and their short form in a Linux name.
INTERFACE_KINDS: Mapping[str, str] = {
    "Ethernet": "et",
    "FastEthernet": "fa",
    "GigabitEthernet": "gi",
    "Tunnel": "tunnel",
}
_INTERFACE_NAME = re.compile(r"([A-Za-z]+) ?([0-9]{1,10}(?:/[0-9]{1,4}){0,3})")
_LINUX_NAME_LENGTH = 15  # IFNAMSIZ without the closing zero octet


@dataclass(frozen=True, slots=True)
class TunnelConfig:
    """The `tunnel ...` lines of a Tunnel interface.

    source: dotted address or interface name. key: GRE key (RFC 2890), 32 bits.
    mode: "gre ip", point to point. protection: name of an IPsec profile.
    """

    source: str | None = None
    destination: str | None = None
    key: int | None = None
    mode: str = "gre ip"
    protection: str | None = None


@dataclass(frozen=True, slots=True)
class InterfaceConfig:
    """`interface NAME`. address, mask: dotted. mtu: `ip mtu`, octets. tunnel: on Tunnels only."""

    name: str
    address: str | None = None
    mask: str | None = None
    shutdown: bool = False
    mtu: int | None = None
    description: str | None = None
    tunnel: TunnelConfig | None = None


@dataclass(frozen=True, slots=True)
class StaticRoute:
    """`ip route PREFIX MASK NEXT-HOP`, all dotted."""

    prefix: str
    mask: str
    next_hop: str


@dataclass(frozen=True, slots=True)
class RunningConfig:
    """One node's whole configuration.

    key_pairs: RSA key pairs to make where absent, label to bits of modulus; exportable: labels of
    those that may leave the router again. policies: by priority. aggressive_peers: by address.
    crl_cache: kilobytes (1024 octets) of CRLs that are kept, and the largest CRL that is fetched.
    nat_keepalive: seconds, None: none are sent. nat_transparency: NAT traversal. fragmentation: of
    IKE messages. delete_with_reason: payload 18 towards our own kind.
    """

    hostname: str = "Router"
    domain_name: str | None = None
    key_pairs: Mapping[str, int] = field(default_factory=dict)
    servers: Mapping[str, CertServerConfig] = field(default_factory=dict)
    trustpoints: Mapping[str, TrustpointConfig] = field(default_factory=dict)
    keyrings: Mapping[str, Keyring] = field(default_factory=dict)
    policies: Mapping[int, IsakmpPolicy] = field(default_factory=dict)
    identity: IdType = IdType.ID_IPV4_ADDR
    keepalive: Keepalive | None = None
    admission: AdmissionLimits = AdmissionLimits()
    aggressive_mode: bool = False
    aggressive_peers: Mapping[str, AggressivePeer] = field(default_factory=dict)
    nat_keepalive: int | None = KEEPALIVE_SECONDS
    nat_transparency: bool = True
    fragmentation: bool = False
    delete_with_reason: bool = False
    profiles: Mapping[str, IsakmpProfile] = field(default_factory=dict)
    transform_sets: Mapping[str, TransformSet] = field(default_factory=dict)
    ipsec_profiles: Mapping[str, IpsecProfile] = field(default_factory=dict)
    interfaces: Mapping[str, InterfaceConfig] = field(default_factory=dict)
    http_server: bool = False
    http_port: int = 80
    routes: tuple[StaticRoute, ...] = ()
    exportable: frozenset[str] = frozenset()
    crl_cache: int = 64
    ntp_servers: tuple[str, ...] = ()
    ntp_logging: bool = False
    times: Times = Times()

    @property
    def fqdn(self) -> str:
        """Host name with the domain, as certificates and ID_FQDN carry it."""
        return f"{self.hostname}.{self.domain_name}" if self.domain_name else self.hostname


def interface_name(text: str) -> str | None:
    """IOS's full name for `gi0/0`, `tunnel 1` or the like; None where no kind is meant uniquely."""
    found = _INTERFACE_NAME.fullmatch(text)
    if found is None:
        return None
    word = found[1].lower()
    kinds = [kind for kind in INTERFACE_KINDS if kind.lower().startswith(word)]
    number = "/".join(str(int(part)) for part in found[2].split("/"))
    if len(kinds) != 1 or (kinds[0] == "Tunnel" and "/" in number):
        return None
    return kinds[0] + number


def linux_ifname(ios_name: str) -> str:
    """The Linux interface of an IOS one: "GigabitEthernet0/0" is `gi0-0`, "Tunnel1" `tunnel1`.

    Raises ConfigError for names that IOS would not know or Linux could not hold.
    """
    name = interface_name(ios_name)
    if name is None:
        kinds = ", ".join(INTERFACE_KINDS)
        raise ConfigError(f"no such interface: {ios_name!r}", hint=f"the kinds are {kinds}")
    kind = name.rstrip("0123456789/")
    short = INTERFACE_KINDS[kind] + name.removeprefix(kind).replace("/", "-")
    if len(short) > _LINUX_NAME_LENGTH:
        raise ConfigError(f"{ios_name} is too long for Linux: {short} has over 15 characters")
    return short


def interface_order(name: str) -> tuple[str, tuple[int, ...]]:
    """Sort key of interface names: by kind, then by number, as `show` lists them."""
    kind = name.rstrip("0123456789/")
    number = name.removeprefix(kind)
    return kind, tuple(int(part) for part in number.split("/") if part)


def prefix_length(mask: str) -> int:
    """Bits of a dotted mask. Raises ConfigError where it has a hole."""
    bits = int(IPv4Address(mask))
    length = bits.bit_count()
    if bits != (0xFFFFFFFF << (32 - length)) & 0xFFFFFFFF:
        raise ConfigError(f"Bad mask {mask}", hint="the ones of a mask stand together")
    return length


def check_host_address(address: str, mask: str) -> None:
    """Raise ConfigError where a host cannot have this address under this mask."""
    length = prefix_length(mask)
    network = IPv4Network((address, length), strict=False)
    edges = {str(network.network_address), str(network.broadcast_address)}
    if length < 8 or (length < 31 and address in edges):
        raise ConfigError(
            f"Bad mask /{length} for address {address}", hint=f"a host of {network} is wanted"
        )


def check_prefix(prefix: str, mask: str) -> None:
    """Raise ConfigError where a route's prefix has bits outside its mask."""
    network = IPv4Network((prefix, prefix_length(mask)), strict=False)
    if str(network.network_address) != prefix:
        raise ConfigError(
            "Inconsistent address and mask", hint=f"write {network.network_address} {mask}"
        )
