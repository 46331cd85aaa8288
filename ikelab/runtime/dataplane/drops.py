"""Why the data plane drops packets, beyond what ESP and GRE refuse themselves."""

from __future__ import annotations

from ikelab.errors import ProtocolError, WireError
from ikelab.runtime.dataplane.base import TunnelConfig
from ikelab.types import Endpoint


def not_ipv4(kind: bytes) -> ProtocolError:
    """Something else was routed into the tunnel. kind: Ethernet type."""
    seen = f"0x{kind.hex()}"
    return ProtocolError("tunnel-not-ipv4", f"Ethernet type {seen}", seen=seen, wanted="0x0800")


def recursion(tunnel: TunnelConfig) -> ProtocolError:
    """Each packet would be wrapped again and again."""
    return ProtocolError(
        "tunnel-recursion",
        f"the route to {tunnel.remote} leads into {tunnel.name} itself",
        seen=f"a packet to {tunnel.remote} in {tunnel.name}",
        wanted="a route outside of the tunnel",
    )


def send_failed(tunnel: TunnelConfig, problem: str) -> ProtocolError:
    """The kernel does not send. problem: its word."""
    return ProtocolError(
        "send-failed", f"{tunnel.remote}: {problem}", seen=problem, wanted="a packet sent"
    )


def no_sa(detail: str) -> ProtocolError:
    """Nothing can protect the packet."""
    return ProtocolError("no-sa", detail, seen="no SA", wanted="a pair of IPsec SAs")


def unknown_spi(spi: bytes, source: Endpoint, local: str) -> ProtocolError:
    """No SA of this SPI is here."""
    return ProtocolError(
        "esp-unknown-spi",
        f"SPI 0x{spi.hex()} from {source} to {local}",
        seen=f"0x{spi.hex()}",
        wanted="the SPI of an SA that is here",
    )


def wrong_way(reason: str, spi: bytes, source: Endpoint, wanted: str) -> ProtocolError:
    """The SA is here, but its packets come from elsewhere, or not so. wanted: dotted address."""
    detail = f"SPI 0x{spi.hex()} came from {source}"
    return ProtocolError(reason, detail, seen=source, wanted=wanted)


def malformed_inside(error: WireError) -> ProtocolError:
    """The packet was the peer's, but no GRE with IPv4 is in it."""
    return ProtocolError(
        "esp-malformed-inside", str(error), seen=error.reason, wanted="GRE with an IPv4 packet"
    )


def tunnel_down(tunnel: TunnelConfig) -> ProtocolError:
    """Nobody takes what comes out."""
    return ProtocolError(
        "tunnel-down", f"{tunnel.name} is down", seen="down", wanted=f"{tunnel.name} up"
    )


def clear_gre(source: str) -> ProtocolError:
    """Somebody sends what only ESP may carry."""
    return ProtocolError(
        "clear-gre", f"GRE without ESP from {source}", seen="GRE in clear", wanted="ESP"
    )


def short_udp(octets: bytes, remote: Endpoint, local: Endpoint) -> ProtocolError:
    """Too few octets on port 4500 to be anything (RFC 3948 section 2)."""
    return ProtocolError(
        "udp-encap-short",
        f"{len(octets)} octets from {remote} to {local}",
        seen=f"{len(octets)} octets",
        wanted="ESP, a message behind four octets of zero, or a keepalive of one octet",
    )
