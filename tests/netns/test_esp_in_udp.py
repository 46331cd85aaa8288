"""ESP in UDP on a real wire (RFC 3948): pings pass, and port 4500 takes nothing else for ESP."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from scapy.layers.inet import IP, UDP

from ikelab.ipsec import udp_encap
from ikelab.isakmp.events import InstallIpsecSa
from ikelab.runtime.dataplane.userspace import UserspaceDataPlane
from ikelab.runtime.namespace import inside
from ikelab.runtime.udp import Receivers, UdpSockets
from ikelab.types import Endpoint
from ikelab.wire.numbers import EncapsulationMode
from tests.esp_samples import mirrored
from tests.netns.segment import Segment
from tests.netns.two_planes import (
    FIVE_OF_FIVE,
    HUB,
    INSIDE_HUB,
    SPOKE,
    Lab,
    Node,
    SystemRng,
    counts,
    joined,
    request,
    until,
)

pytestmark = pytest.mark.needs_root

UDP_MODES = [EncapsulationMode.UDP_TRANSPORT, EncapsulationMode.UDP_TUNNEL]


class UdpNode(Node):
    """A data plane with its socket at port 4500, and what came there that is not ESP."""

    def __init__(self, wan: Segment, name: str, address: str, loop: asyncio.AbstractEventLoop):
        super().__init__(wan, name, loop)
        self.others: list[tuple[str, bytes]] = []
        self.moved: list[Endpoint] = []
        with inside(wan.namespace(name)):
            self.udp = UdpSockets(
                loop,
                Receivers(
                    ike=lambda local, remote, octets: self.others.append(("ike", octets)),
                    esp=lambda local, remote, octets: self.plane.take_udp_esp(
                        local, remote, octets
                    ),
                    keepalive=lambda local, remote, octets: self.others.append(("keep", octets)),
                    short=lambda local, remote, octets: self.others.append(("short", octets)),
                ),
            )
            self.udp.apply([address], nat_t=True)
        self.plane = UserspaceDataPlane(
            loop,
            SystemRng(),
            on_acquire=self._acquire,
            on_drop=lambda peer, error: self.refused.append(error.reason),
            on_move=lambda spi, remote: self.moved.append(remote),
            send_udp=self.udp.send,
            clock=self.clock,
        )


class UdpLab(Lab):
    def __init__(self, wan: Segment, directory: Path) -> None:
        super().__init__(wan, directory)
        self.spoke = self.near = UdpNode(wan, "spoke", SPOKE, self.loop)
        self.hub = self.far = UdpNode(wan, "hub", HUB, self.loop)

    def close(self) -> None:
        self.near.udp.close()
        self.far.udp.close()
        super().close()


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[UdpLab]:
    with joined(UdpLab, tmp_path) as made:
        yield made


def udp_request(mode: EncapsulationMode = UDP_MODES[0], **changes: object) -> InstallIpsecSa:
    ends = {"local": Endpoint(SPOKE, 4500), "remote": Endpoint(HUB, 4500)}
    return replace(request(mode=mode), **{**ends, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", UDP_MODES)
def test_pings_pass_and_the_wire_shows_only_udp_4500(lab: UdpLab, mode: EncapsulationMode) -> None:
    async def play() -> None:
        lab.create_tunnels()
        lab.install(udp_request(mode))
        assert await lab.spoke.ping("-c5", "-i0.05", "-W2", INSIDE_HUB) == FIVE_OF_FIVE

    lab.run(play)
    seen = lab.seen()
    assert len(seen) == 10
    assert {(f[UDP].sport, f[UDP].dport) for f in seen} == {(4500, 4500)}


@pytest.mark.parametrize(("mode", "frames"), [(UDP_MODES[0], 4), (UDP_MODES[1], 8)])
def test_a_full_packet_fits_in_transport_mode_and_is_cut_in_tunnel_mode(
    lab: UdpLab, mode: EncapsulationMode, frames: int
) -> None:
    async def play() -> None:
        lab.create_tunnels()
        lab.install(udp_request(mode))
        done = await lab.spoke.ping("-c2", "-i0.05", "-W2", "-M", "do", "-s", "1372", INSIDE_HUB)
        assert done.endswith("2 received, 0% packet loss")

    lab.run(play)
    seen = lab.seen()
    assert len(seen) == frames and all(len(frame[IP]) <= 1500 for frame in seen)


def test_bare_esp_and_esp_in_udp_are_not_taken_for_each_other(lab: UdpLab) -> None:
    async def play() -> None:
        lab.create_tunnels()
        lab.hub.plane.install(mirrored(udp_request()))
        lab.spoke.plane.install(request())  # the spoke sends it bare
        await lab.spoke.ping("-c1", "-W0.3", INSIDE_HUB)
        assert counts(lab.hub.plane.drops()) == {"esp-encapsulation": 1}

    lab.run(play)


def test_a_pair_whose_peer_is_behind_no_nat_takes_no_other_port(lab: UdpLab) -> None:
    async def play() -> None:
        lab.create_tunnels()
        lab.hub.plane.install(mirrored(udp_request()))
        lab.near.udp.apply([SPOKE], nat_t=False)
        with inside(lab.wan.namespace("spoke")):
            other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with other:
            other.bind((SPOKE, 40000))
            spi = mirrored(udp_request()).inbound.spi
            other.sendto(spi + bytes(60), (HUB, 4500))
            await until(lambda: bool(lab.hub.refused))
        assert counts(lab.hub.plane.drops()) == {"esp-wrong-source": 1}

    lab.run(play)


def test_the_hub_follows_a_spoke_behind_a_nat_by_its_newest_packet(lab: UdpLab) -> None:
    async def play() -> None:
        lab.create_tunnels()
        ours = udp_request()
        seen_by_hub = replace(mirrored(ours), remote=Endpoint(SPOKE, 20001), peer_moves=True)
        lab.hub.plane.install(seen_by_hub)
        lab.spoke.plane.install(ours)
        lost = await lab.spoke.ping("-c1", "-W0.3", INSIDE_HUB)  # answered to the old port
        assert lost.startswith("1 packets transmitted, 0 received")
        assert lab.far.moved[0] == Endpoint(SPOKE, 4500)
        lab.hub.plane.move(seen_by_hub.inbound.spi, lab.far.moved[0])
        assert await lab.spoke.ping("-c5", "-i0.05", "-W2", INSIDE_HUB) == FIVE_OF_FIVE

    lab.run(play)


def test_what_comes_to_port_4500_is_told_apart(lab: UdpLab) -> None:
    """Hostile A15: marker, no marker, keepalive, SPI 0, nothing at all."""
    datagrams = [
        (udp_encap.KEEPALIVE, ("keep", b"")),
        (b"", ("short", b"")),
        (b"\0\0\0", ("short", b"\0\0\0")),
        (bytes(4), ("ike", b"")),
        (bytes(40), ("ike", bytes(36))),
    ]

    async def play() -> None:
        lab.create_tunnels()
        with inside(lab.wan.namespace("mallory")):
            stranger = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with stranger:
            for octets, _ in datagrams:
                stranger.sendto(octets, (HUB, 4500))
            stranger.sendto(bytes(range(1, 29)), (HUB, 4500))  # IKE without its marker
            await until(lambda: bool(lab.hub.refused) and len(lab.far.others) == len(datagrams))
        assert lab.far.others == [told for _, told in datagrams]
        assert lab.hub.refused == ["esp-unknown-spi"]

    lab.run(play)
