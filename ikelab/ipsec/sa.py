"""A pair of ESP SAs that protects a GRE tunnel, from packet to packet (RFC 4301, RFC 4303).

Puts GRE, the mode's headers and ESP around a packet and takes them off again, everything checked;
keeps the volume lifetime, which only those who count octets can keep. Time lifetimes are IKE's.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

from ikelab.errors import ProtocolError
from ikelab.ipsec import gre, ipv4
from ikelab.ipsec.esp import LAST_SEQUENCE, InboundSa, OutboundSa
from ikelab.isakmp.events import InstallIpsecSa
from ikelab.isakmp.policy import ProxyIdentity
from ikelab.types import Endpoint
from ikelab.wire.numbers import EncapsulationMode, IpProtocol

LOWEST_SPI = 256  # RFC 4303 section 2.1 reserves 1 to 255

RENEWAL_SHARE = 0.9  # of the volume: what is left lasts while the next pair is negotiated
_RENEWAL_SEQUENCE = LAST_SEQUENCE - (1 << 24)
_IP_IN_IP = 4
_HOST = "255.255.255.255"
_TUNNEL_MODES = (EncapsulationMode.TUNNEL, EncapsulationMode.UDP_TUNNEL)
_UDP_MODES = (EncapsulationMode.UDP_TUNNEL, EncapsulationMode.UDP_TRANSPORT)


class SaPair:
    """The two SAs of one quick mode, for a tunnel with this GRE key (None: without).

    iv: one cipher block of unpredictable octets. ready: whether outbound may be used; the caller
    sets it. in_udp: its ESP goes through UDP. remote: where the peer is, which moves where it is
    behind a NAT. Raises ProtocolError "esp-proxy", "esp-spi" where the request is not GRE between
    its two ends, and as `OutboundSa`.
    """

    def __init__(self, request: InstallIpsecSa, gre_key: int | None, iv: bytes) -> None:
        _check(request)
        self.request = request
        self.ready = request.initiator
        self.in_udp = request.transform.mode in _UDP_MODES
        self.remote = request.remote
        self.inbound = InboundSa(request.transform, request.inbound)
        self.outbound = OutboundSa(request.transform, request.outbound, iv)
        self._gre_key = gre_key
        self._gre_header = gre.build_header(gre.PROTOCOL_IPV4, gre_key)
        self._tunnel_mode = request.transform.mode in _TUNNEL_MODES
        # The inner header's: behind a NAT a proxy is not the end's address on this side.
        self._inner = (request.local.address, request.remote.address)
        if self.in_udp:
            self._inner = (request.local_proxy.address, request.remote_proxy.address)
        # RFC 4301 section 4.4.2.1 counts octets of the protected payload; 0 means no such limit.
        self._limit = request.lifetime_kilobytes * 1024 or float("inf")
        self._renewal = self._limit * RENEWAL_SHARE
        self.renewal_asked = False
        self.send_errors = 0  # protected packets that could not leave; the caller counts them

    @property
    def octets(self) -> int:
        """Before ESP is added, of the direction that carried more: what its lifetime counts."""
        return max(self.outbound.octets, self.inbound.octets)

    def wants_renewal(self) -> bool:
        """Whether its volume or sequence numbers come to an end soon, either direction."""
        return self.octets >= self._renewal or self.outbound.sequence >= _RENEWAL_SEQUENCE

    def can_send(self) -> bool:
        """Ready, and neither volume nor sequence numbers are used up."""
        outbound = self.outbound
        return self.ready and outbound.octets < self._limit and outbound.sequence < LAST_SEQUENCE

    def protect(self, packet: bytes) -> bytes:
        """The ESP packet that carries an IPv4 packet to the tunnel's far end."""
        inside = self._gre_header + packet
        if not self._tunnel_mode:
            return self.outbound.protect(inside, IpProtocol.GRE)
        inner = ipv4.Ipv4Packet(*self._inner, IpProtocol.GRE, inside)
        return self.outbound.protect(ipv4.build(inner), _IP_IN_IP)

    def has_moved(self, octets: bytes, remote: Endpoint) -> bool:
        """Whether the peer is elsewhere now, by a packet that `open` has just taken from there.

        Only the newest packet shows it: a copy, or one that was overtaken, says where it was.
        """
        may_move = self.request.peer_moves and self.request.transform.authentication is not None
        is_newest = int.from_bytes(octets[4:8], "big") == self.inbound.window.highest
        return may_move and is_newest and remote != self.remote

    def open(self, octets: bytes) -> bytes:
        """The IPv4 packet inside an ESP packet.

        Raises ProtocolError as `InboundSa.open` and `gre.parse`, and "esp-expired",
        "esp-next-header", "esp-wrong-proxy", "gre-wrong-key", "gre-protocol", "gre-payload";
        WireError where headers inside are malformed.
        """
        if self.inbound.octets >= self._limit:
            kilobytes = self.request.lifetime_kilobytes
            raise ProtocolError(
                "esp-expired",
                f"the lifetime of {kilobytes} KB is used up",
                seen=f"{self.inbound.octets} octets",
                wanted=f"less than {kilobytes} KB",
            )
        next_header, payload = self.inbound.open(octets)
        if self._tunnel_mode:
            next_header, payload = self._strip_ipv4(next_header, payload)
        if next_header != IpProtocol.GRE:
            raise ProtocolError(
                "esp-next-header",
                f"protocol {next_header} inside; wanted GRE",
                seen=next_header,
                wanted=int(IpProtocol.GRE),
            )
        packet = self._strip_gre(payload)
        if len(packet) < ipv4.HEADER or packet[0] >> 4 != 4:
            raise ProtocolError(
                "gre-payload",
                f"{len(packet)} octets that are no IPv4 packet",
                seen=packet[:1].hex(),
                wanted="an IPv4 packet",
            )
        return packet

    def _strip_ipv4(self, next_header: int, payload: bytes) -> tuple[int, bytes]:
        """Tunnel mode: the inner header must name the tunnel's two ends (RFC 4301 section 5.2)."""
        if next_header != _IP_IN_IP:
            raise ProtocolError(
                "esp-next-header",
                f"protocol {next_header} inside; wanted IPv4",
                seen=next_header,
                wanted=_IP_IN_IP,
            )
        inner = ipv4.parse(payload)
        wanted = self._inner[::-1]
        if (inner.source, inner.destination) != wanted:
            raise ProtocolError(
                "esp-wrong-proxy",
                f"{inner.source} to {inner.destination} inside; negotiated {' to '.join(wanted)}",
                seen=f"{inner.source} to {inner.destination}",
                wanted=" to ".join(wanted),
            )
        return inner.protocol, inner.payload

    def _strip_gre(self, octets: bytes) -> bytes:
        """The payload of a GRE packet with our key that carries IPv4."""
        if octets.startswith(self._gre_header):  # what our own kind sends: nothing to take apart
            return octets[len(self._gre_header) :]
        packet = gre.parse(octets)
        if packet.key != self._gre_key:
            raise ProtocolError(
                "gre-wrong-key",
                f"key {packet.key}; wanted {self._gre_key}",
                seen=packet.key,
                wanted=self._gre_key,
            )
        if packet.protocol != gre.PROTOCOL_IPV4:
            raise ProtocolError(
                "gre-protocol",
                f"protocol 0x{packet.protocol:04x}; wanted IPv4",
                seen=f"0x{packet.protocol:04x}",
                wanted="0x0800",
            )
        return packet.payload


def _check(request: InstallIpsecSa) -> None:
    """What was negotiated must be GRE between the two ends."""
    ends = [(request.local_proxy, request.local), (request.remote_proxy, request.remote)]
    for proxy, end in ends:
        # In UDP tunnel mode a host behind a NAT is its proxy, whatever its address is here.
        behind_nat = request.transform.mode is EncapsulationMode.UDP_TUNNEL
        address = proxy.address if behind_nat and proxy.mask == _HOST else end.address
        if not _covers_gre(proxy, address):
            raise ProtocolError(
                "esp-proxy",
                f"{proxy} does not cover GRE of {end.address}",
                seen=proxy,
                wanted=f"GRE of {end.address}",
            )
    for keys in (request.inbound, request.outbound):
        if int.from_bytes(keys.spi, "big") < LOWEST_SPI:
            raise ProtocolError(
                "esp-spi",
                f"SPI 0x{keys.spi.hex()} is reserved (RFC 4303)",
                seen=keys.spi.hex(),
                wanted=f"at least {LOWEST_SPI}",
            )


def _covers_gre(proxy: ProxyIdentity, address: str) -> bool:
    """Whether GRE from or to an address is what the proxy identity names."""
    network = IPv4Network(f"{proxy.address}/{proxy.mask}", strict=False)
    return IPv4Address(address) in network and proxy.protocol in (IpProtocol.ANY, IpProtocol.GRE)
