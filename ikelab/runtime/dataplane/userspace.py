"""The data plane in this process: TAP device, GRE, ESP, raw IP sockets.

Runs on any kernel with TUN; no packet is ever handed to a GRE or XFRM module. Outbound: a frame
of the TAP becomes GRE becomes ESP, or waits in a short queue while IKE is asked for an SA. Inbound:
ESP of a raw socket, looked up by SPI, opened, stripped of GRE, given to the TAP. There is no path
by which a packet leaves without ESP.

With UDP encapsulation (RFC 3948) ESP goes through a socket that is shared with IKE, so the router
lends it: `send_udp` and `take_udp_esp`. Transport mode needs no mending of checksums behind a NAT
(RFC 3948 section 3.1.2): GRE, which is all that is carried, has none over the addresses.
Tunnels are point-to-point.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Address

from ikelab.errors import LabError, ProtocolError, WireError
from ikelab.ipsec.esp import block_length
from ikelab.ipsec.sa import LOWEST_SPI, SaPair
from ikelab.isakmp.events import InstallIpsecSa
from ikelab.runtime.dataplane import drops
from ikelab.runtime.dataplane.base import (
    AcquireCallback,
    DropCallback,
    MoveCallback,
    SaSnapshot,
    SendUdp,
    TunnelConfig,
    TunnelSnapshot,
)
from ikelab.runtime.dataplane.nbma import NbmaSocket
from ikelab.runtime.dataplane.tap import (
    ETHERNET_HEADER,
    ETHERTYPE_ARP,
    ETHERTYPE_IPV4,
    TapDevice,
)
from ikelab.types import Endpoint, Rng

QUEUE_PACKETS = 8  # kept for each tunnel while there is no SA; the oldest goes first
QUEUE_SECONDS = 30.0  # as long as Linux keeps an acquire state (net.core.xfrm_acq_expires)
ACQUIRE_SECONDS = 1.0  # between two calls of on_acquire for one tunnel
RESPONDER_SECONDS = 0.5  # see `install`
FRAMES_PER_TURN = 64  # then the other descriptors of the loop have their turn

_DESTINATION = slice(ETHERNET_HEADER + 16, ETHERNET_HEADER + 20)


@dataclass(slots=True, eq=False)
class _Tunnel:
    """A device and what flows through it. current: the newest pair that can send."""

    config: TunnelConfig
    tap: TapDevice
    nbma: NbmaSocket
    remote: bytes
    pairs: list[SaPair] = field(default_factory=list)
    current: SaPair | None = None
    queue: deque[tuple[float, bytes]] = field(default_factory=deque)
    asked: float = float("-inf")
    sent: int = 0
    received: int = 0
    drops: Counter[str] = field(default_factory=Counter)


class UserspaceDataPlane:
    """A `DataPlane`. Make it inside the router's namespace; sockets and devices stay there.

    loop: the router's, for its readers and timers. rng: draws SPIs ("spi") and first IVs
    ("esp_iv"). clock: seconds that never step. on_acquire, on_drop, on_move, send_udp: see
    base.py; without send_udp a pair with UDP encapsulation is not installed.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        rng: Rng,
        *,
        on_acquire: AcquireCallback,
        on_drop: DropCallback | None = None,
        on_move: MoveCallback | None = None,
        send_udp: SendUdp | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._loop = loop
        self._rng = rng
        self._on_acquire = on_acquire
        self._on_drop = on_drop
        self._on_move = on_move
        self._send_udp = send_udp
        self._clock = clock
        self._tunnels: dict[str, _Tunnel] = {}
        self._sockets: dict[str, NbmaSocket] = {}
        self._inbound: dict[bytes, tuple[_Tunnel, SaPair]] = {}
        self._drops: Counter[str] = Counter()

    # --- tunnels ------------------------------------------------------------------------------

    def create_tunnel(self, tunnel: TunnelConfig) -> None:
        """Make the device, with its address, down. Raises LabError where it cannot be made."""
        if tunnel.name in self._tunnels:
            raise LabError(f"{tunnel.name} is there already")
        nbma = self._socket(tunnel.local)
        try:
            tap = TapDevice(
                tunnel.ifname,
                tunnel.address,
                local=tunnel.local,
                remote=tunnel.remote,
                mtu=tunnel.mtu,
            )
        except LabError:
            self._release(nbma)
            raise
        made = _Tunnel(tunnel, tap, nbma, IPv4Address(tunnel.remote).packed)
        self._tunnels[tunnel.name] = made
        self._loop.add_reader(tap.fileno(), self._read_tap, made)

    def remove_tunnel(self, name: str) -> None:
        """Take the device and its SAs away. Raises LabError if there is no such tunnel."""
        tunnel = self._tunnel(name)
        for pair in list(tunnel.pairs):
            self.remove(pair.request.inbound.spi)
        del self._tunnels[name]
        self._loop.remove_reader(tunnel.tap.fileno())
        tunnel.tap.close()
        self._release(tunnel.nbma)

    def set_up(self, name: str, up: bool) -> None:
        """`no shutdown` or `shutdown`. Raises LabError if there is no such tunnel."""
        tunnel = self._tunnel(name)
        try:
            tunnel.tap.set_up(up)
        except OSError as error:
            raise LabError(f"cannot change {tunnel.config.ifname}: {error.strerror}") from error
        if not up:
            tunnel.queue.clear()

    # --- security associations ----------------------------------------------------------------

    def alloc_spi(self) -> bytes:
        """A fresh inbound SPI; should two that wait be the same, the second is not installed."""
        while True:
            spi = self._rng.draw("spi", 4)
            if int.from_bytes(spi, "big") >= LOWEST_SPI and spi not in self._inbound:
                return spi

    def install(self, request: InstallIpsecSa) -> None:
        """Take a pair into use. Raises LabError or ProtocolError; nothing changed then."""
        tunnel = self._tunnel(request.flow)
        ends = (request.local.address, request.remote.address)
        if ends != (tunnel.config.local, tunnel.config.remote):
            raise LabError(f"{request.flow} does not run between {' and '.join(ends)}")
        if request.inbound.spi in self._inbound:
            raise LabError(f"inbound SPI 0x{request.inbound.spi.hex()} is in use already")
        iv = self._rng.draw("esp_iv", block_length(request.transform.encryption))
        pair = SaPair(request, tunnel.config.key, iv)
        if pair.in_udp and self._send_udp is None:
            raise LabError(f"{request.flow} wants UDP encapsulation, and there is no socket for it")
        self._inbound[request.inbound.spi] = (tunnel, pair)
        tunnel.pairs.append(pair)
        if pair.ready:
            # Behind what the caller still does in this turn: QM3 leaves before the first ESP.
            self._loop.call_soon(self._choose, tunnel)
        else:
            # The responder's outbound SA waits for a sign that the initiator has its half too:
            # QM3 (`activate`), its first packet, or at last this time.
            self._loop.call_later(RESPONDER_SECONDS, self._make_ready, tunnel, pair)

    def activate(self, inbound_spi: bytes) -> None:
        """The initiator has its half of the pair (QM3 came): outbound may be used."""
        if inbound_spi in self._inbound:
            self._make_ready(*self._inbound[inbound_spi])

    def move(self, inbound_spi: bytes, remote: Endpoint) -> None:
        """A pair's peer is at another port from now on."""
        if inbound_spi in self._inbound:
            self._inbound[inbound_spi][1].remote = remote

    def remove(self, inbound_spi: bytes) -> None:
        """Take a pair out of use; an SPI that is not there is no error."""
        if inbound_spi not in self._inbound:
            return
        tunnel, pair = self._inbound.pop(inbound_spi)
        tunnel.pairs.remove(pair)
        self._choose(tunnel)
        if not tunnel.pairs:
            tunnel.asked = float("-inf")  # that request was answered; the next packet asks anew

    # --- what there is ------------------------------------------------------------------------

    def sas(self) -> tuple[SaSnapshot, ...]:
        """Every pair, in order of installation."""
        return tuple(_snapshot(tunnel, pair) for tunnel, pair in self._inbound.values())

    def tunnels(self) -> tuple[TunnelSnapshot, ...]:
        """Every tunnel, in order of creation."""
        return tuple(
            TunnelSnapshot(
                tunnel.config,
                tunnel.tap.up,
                tunnel.sent,
                tunnel.received,
                len(tunnel.queue),
                tuple(sorted(tunnel.drops.items())),
            )
            for tunnel in self._tunnels.values()
        )

    def drops(self) -> tuple[tuple[str, int], ...]:
        """Refused packets that belong to no tunnel, by reason."""
        return tuple(sorted(self._drops.items()))

    def close(self) -> None:
        """Take everything away; a second call does nothing."""
        for name in list(self._tunnels):
            self.remove_tunnel(name)

    # --- outbound -----------------------------------------------------------------------------

    def _read_tap(self, tunnel: _Tunnel) -> None:
        """Frames of the kernel, at most a turn's worth."""
        for _ in range(FRAMES_PER_TURN):
            frame = tunnel.tap.read()
            if frame is None:
                return
            kind = frame[12:ETHERNET_HEADER]
            if kind == ETHERTYPE_ARP:
                tunnel.tap.answer_arp(frame)
            elif kind != ETHERTYPE_IPV4:
                self._refuse(tunnel, drops.not_ipv4(kind))
            elif frame[_DESTINATION] == tunnel.remote:
                # The route to the tunnel's far end leads into the tunnel: each packet would be
                # wrapped again and again. IOS: %TUN-5-RECURDOWN.
                self._refuse(tunnel, drops.recursion(tunnel.config))
            else:
                self._send(tunnel, frame[ETHERNET_HEADER:])

    def _send(self, tunnel: _Tunnel, packet: bytes) -> None:
        """Protect an IPv4 packet and send it, or keep it until that is possible."""
        pair = tunnel.current
        if pair is None or not pair.can_send():
            self._keep(tunnel, packet)
            return
        problem = self._transmit(tunnel, pair, pair.protect(packet))
        if problem:
            pair.send_errors += 1
            self._refuse(tunnel, drops.send_failed(tunnel.config, problem))
        else:
            tunnel.sent += 1
        if not pair.renewal_asked and pair.wants_renewal():
            pair.renewal_asked = True
            self._on_acquire(tunnel.config.name)

    def _transmit(self, tunnel: _Tunnel, pair: SaPair, esp: bytes) -> str:
        """Send an ESP packet bare or through UDP; what went wrong, or nothing."""
        if pair.in_udp and self._send_udp is not None:
            return self._send_udp(pair.request.local, pair.remote, esp)
        return tunnel.nbma.send(esp, tunnel.config.remote)

    def _keep(self, tunnel: _Tunnel, packet: bytes) -> None:
        """Queue a packet that has no SA, and ask for one."""
        now = self._clock()
        self._forget_old(tunnel, now)
        if len(tunnel.queue) >= QUEUE_PACKETS:
            tunnel.queue.popleft()
            self._refuse(tunnel, drops.no_sa(f"{QUEUE_PACKETS} packets wait for an SA already"))
        tunnel.queue.append((now, packet))
        self._choose(tunnel)
        coming = any(not pair.ready for pair in tunnel.pairs)
        if tunnel.current is None and not coming and now - tunnel.asked >= ACQUIRE_SECONDS:
            tunnel.asked = now
            self._on_acquire(tunnel.config.name)

    def _forget_old(self, tunnel: _Tunnel, now: float) -> None:
        """Drop what waited too long to be of use to anybody."""
        while tunnel.queue and now - tunnel.queue[0][0] > QUEUE_SECONDS:
            tunnel.queue.popleft()
            waited = f"a packet waited {QUEUE_SECONDS:.0f} s for an SA"
            self._refuse(tunnel, drops.no_sa(waited))

    def _choose(self, tunnel: _Tunnel) -> None:
        """The newest pair that can send carries the traffic; what waited goes out with it."""
        usable = [pair for pair in tunnel.pairs if pair.can_send()]
        tunnel.current = usable[-1] if usable else None
        self._forget_old(tunnel, self._clock())
        while tunnel.queue and tunnel.current and tunnel.current.can_send():
            self._send(tunnel, tunnel.queue.popleft()[1])

    def _make_ready(self, tunnel: _Tunnel, pair: SaPair) -> None:
        """The responder's outbound SA may be used from now on."""
        if not pair.ready:
            pair.ready = True
            self._choose(tunnel)

    # --- inbound ------------------------------------------------------------------------------

    def _read_esp(self, nbma: NbmaSocket) -> None:
        """ESP packets that came in, at most a turn's worth."""
        for _ in range(FRAMES_PER_TURN):
            received = nbma.receive_esp()
            if received is None:
                return
            source, octets = received
            self._take_esp(nbma.address, Endpoint(source, 0), octets, in_udp=False)

    def take_udp_esp(self, local: Endpoint, remote: Endpoint, octets: bytes) -> None:
        """An ESP packet that came through UDP."""
        self._take_esp(local.address, remote, octets, in_udp=True)

    def _take_esp(self, local: str, source: Endpoint, octets: bytes, *, in_udp: bool) -> None:
        """One ESP packet: SPI, source, ESP, GRE, and so to the kernel."""
        tunnel, pair = self._inbound.get(octets[:4], (None, None))
        if tunnel is None or pair is None or tunnel.config.local != local:
            self._drop(self._drops, source.address, drops.unknown_spi(octets[:4], source, local))
            return
        refusal = _wrong_way(tunnel, pair, source, in_udp=in_udp)
        if refusal:
            error = drops.wrong_way(refusal, octets[:4], source, tunnel.config.remote)
            self._drop(self._drops, source.address, error)
            return
        try:
            packet = pair.open(octets)
        except ProtocolError as error:
            self._refuse(tunnel, error)
            return
        except WireError as wire_error:
            self._refuse(tunnel, drops.malformed_inside(wire_error))
            return
        if in_udp and pair.has_moved(octets, source) and self._on_move is not None:
            self._on_move(pair.request.inbound.spi, source)
        if not pair.ready:
            self._make_ready(tunnel, pair)
        if tunnel.tap.deliver(packet):
            tunnel.received += 1
        else:
            self._refuse(tunnel, drops.tunnel_down(tunnel.config))

    # --- the rest -----------------------------------------------------------------------------

    def _tunnel(self, name: str) -> _Tunnel:
        try:
            return self._tunnels[name]
        except KeyError:
            raise LabError(f"there is no tunnel {name}") from None

    def _socket(self, local: str) -> NbmaSocket:
        """The raw sockets of a local address; tunnels with the same source share them."""
        if local not in self._sockets:
            nbma = self._sockets[local] = NbmaSocket(local)
            self._loop.add_reader(nbma.esp.fileno(), self._read_esp, nbma)
            self._loop.add_reader(nbma.gre.fileno(), self._read_clear_gre, nbma)
        self._sockets[local].users += 1
        return self._sockets[local]

    def _release(self, nbma: NbmaSocket) -> None:
        """One tunnel less uses the sockets; the last one closes them."""
        nbma.users -= 1
        if nbma.users == 0:
            self._loop.remove_reader(nbma.esp.fileno())
            self._loop.remove_reader(nbma.gre.fileno())
            del self._sockets[nbma.address]
            nbma.close()

    def _read_clear_gre(self, nbma: NbmaSocket) -> None:
        """GRE without ESP is refused whoever sends it: `tunnel protection` is on."""
        for _ in range(FRAMES_PER_TURN):
            source = nbma.receive_clear_gre()
            if source is None:
                return
            self._drop(self._drops, source, drops.clear_gre(source))

    def _refuse(self, tunnel: _Tunnel, error: ProtocolError) -> None:
        """A packet of a tunnel is dropped."""
        self._drop(tunnel.drops, tunnel.config.remote, error)

    def _drop(self, counter: Counter[str], peer: str, error: ProtocolError) -> None:
        counter[error.reason] += 1
        if self._on_drop:
            self._on_drop(peer, error)


def _wrong_way(tunnel: _Tunnel, pair: SaPair, source: Endpoint, *, in_udp: bool) -> str:
    """Why a packet of a pair may not come like this, or nothing; nothing in it was looked at."""
    if pair.in_udp is not in_udp:
        return "esp-encapsulation"
    if source.address != tunnel.config.remote:
        return "esp-wrong-source"
    if in_udp and source != pair.remote and not pair.request.peer_moves:
        return "esp-wrong-source"
    return ""


def _snapshot(tunnel: _Tunnel, pair: SaPair) -> SaSnapshot:
    """A pair for `show crypto ipsec sa`."""
    request = pair.request
    return SaSnapshot(
        flow=request.flow,
        local=request.local.address,
        remote=request.remote.address,
        local_proxy=request.local_proxy,
        remote_proxy=request.remote_proxy,
        transform=request.transform,
        inbound_spi=request.inbound.spi,
        outbound_spi=request.outbound.spi,
        encaps=pair.outbound.packets,
        decaps=pair.inbound.packets,
        octets=pair.octets,
        send_errors=pair.send_errors,
        drops=tuple(sorted(pair.inbound.drops.items())),
        lifetime_seconds=request.lifetime_seconds,
        lifetime_kilobytes=request.lifetime_kilobytes,
        initiator=request.initiator,
        current=tunnel.current is pair,
    )
