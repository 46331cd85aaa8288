"""Two user-space data planes on a bridge: ping as the witness inside, the bridge outside."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from scapy.layers.inet import ICMP, IP
from scapy.layers.l2 import GRE, Ether

from ikelab.capture import pcapng
from ikelab.crypto.esp_keys import key_lengths
from ikelab.errors import LabError, ProtocolError
from ikelab.isakmp.events import EspKeys, InstallIpsecSa
from ikelab.isakmp.policy import ProxyIdentity, TransformSet
from ikelab.runtime.dataplane.base import DataPlane, TunnelConfig
from ikelab.runtime.dataplane.userspace import QUEUE_PACKETS, UserspaceDataPlane
from ikelab.runtime.namespace import inside
from ikelab.runtime.sniffer import Sniffer
from ikelab.types import Endpoint
from ikelab.wire.numbers import AuthAlgorithm, EncapsulationMode, EspTransform, IpProtocol
from tests.netns.segment import Segment, ip

pytestmark = pytest.mark.needs_root

SPOKE, HUB, MALLORY = "192.0.2.1", "192.0.2.2", "192.0.2.66"
INSIDE_SPOKE, INSIDE_HUB = "20.0.0.1", "20.0.0.4"
KEY = 1234
TRANSPORT, TUNNEL = EncapsulationMode.TRANSPORT, EncapsulationMode.TUNNEL
SUITES = [
    (EspTransform.ESP_3DES, None, AuthAlgorithm.HMAC_MD5, TRANSPORT),
    (EspTransform.ESP_AES, 128, AuthAlgorithm.HMAC_SHA, TRANSPORT),
    (EspTransform.ESP_AES, 256, AuthAlgorithm.HMAC_SHA2_256, TUNNEL),
    (EspTransform.ESP_AES, 256, AuthAlgorithm.HMAC_SHA2_512, TUNNEL),
]


class SystemRng:
    def draw(self, label: str, length: int) -> bytes:
        return os.urandom(length)


class Clock:
    """Seconds that move when the test says so."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


class Node:
    """One data plane in its namespace, with all it reported."""

    def __init__(self, wan: Segment, name: str, loop: asyncio.AbstractEventLoop) -> None:
        self.wan, self.name = wan, name
        self.acquired: list[str] = []
        self.refused: list[str] = []
        self.clock = Clock()
        self.on_acquire: Callable[[], None] = lambda: None
        self.plane = UserspaceDataPlane(
            loop,
            SystemRng(),
            on_acquire=self._acquire,
            on_drop=lambda peer, error: self.refused.append(error.reason),
            clock=self.clock,
        )

    def _acquire(self, flow: str) -> None:
        self.acquired.append(flow)
        self.on_acquire()

    def create(self, tunnel: TunnelConfig) -> None:
        with inside(self.wan.namespace(self.name)):
            self.plane.create_tunnel(tunnel)
            self.plane.set_up(tunnel.name, True)

    async def ping(self, *arguments: str) -> str:
        """ping's summary line, such as "5 packets transmitted, 5 received, 0% packet loss"."""
        done = await self.run("ping", "-n", "-q", *arguments)
        lines = [line for line in done.stdout.splitlines() if "transmitted" in line]
        return lines[0].partition(", time")[0] if lines else done.stderr

    async def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return await asyncio.to_thread(self.wan.run, self.name, *command)


class Lab:
    """A spoke and a hub with a tunnel, a stranger, and a capture of everything between them."""

    def __init__(self, wan: Segment, directory: Path) -> None:
        self.wan = wan
        self.loop = asyncio.new_event_loop()
        self.spoke, self.hub = Node(wan, "spoke", self.loop), Node(wan, "hub", self.loop)
        self.sniffer = Sniffer("br0", directory / "wan.pcapng", name="wan", namespace=wan.switch)

    def create_tunnels(self, mtu: int = 1400) -> None:
        near = TunnelConfig("Tunnel1", "tunnel1", f"{INSIDE_SPOKE}/24", SPOKE, HUB, KEY, mtu)
        far = TunnelConfig("Tunnel1", "tunnel1", f"{INSIDE_HUB}/24", HUB, SPOKE, KEY, mtu)
        self.spoke.create(near)
        self.hub.create(far)

    def install(self, request: InstallIpsecSa) -> None:
        """Both halves, as quick mode would: the responder's first."""
        self.hub.plane.install(mirrored(request))
        self.spoke.plane.install(request)

    def run(self, play: Callable[[], Awaitable[None]]) -> None:
        self.loop.run_until_complete(asyncio.wait_for(play(), 60))

    def seen(self) -> list[Ether]:
        """Every IPv4 frame of the wire so far."""
        while self.sniffer.on_readable():
            pass
        section = pcapng.parse(self.sniffer.path.read_bytes())
        frames = [Ether(frame.octets) for frame in section.frames]
        return [frame for frame in frames if frame.type == 0x0800]

    def close(self) -> None:
        self.spoke.plane.close()
        self.hub.plane.close()
        self.sniffer.stop()
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with Segment({"spoke": SPOKE, "hub": HUB, "mallory": MALLORY}) as wan:
        made = Lab(wan, tmp_path)
        try:
            yield made
        finally:
            made.close()


def request(
    number: int = 1,
    encryption: EspTransform = EspTransform.ESP_AES,
    bits: int | None = 128,
    authentication: AuthAlgorithm = AuthAlgorithm.HMAC_SHA,
    mode: EncapsulationMode = TRANSPORT,
) -> InstallIpsecSa:
    """The spoke's half, as initiator; number makes its SPIs and keys its own."""
    cipher, integrity = key_lengths(encryption, bits, authentication)
    octets = hashlib.shake_256(bytes((number,))).digest(2 * (4 + cipher + integrity))
    halves = octets[: len(octets) // 2], octets[len(octets) // 2 :]
    inbound, outbound = (
        EspKeys(b"\x7f" + half[1:4], half[4 : 4 + cipher], half[4 + cipher :]) for half in halves
    )
    return InstallIpsecSa(
        handle=number,
        flow="Tunnel1",
        local=Endpoint(SPOKE, 500),
        remote=Endpoint(HUB, 500),
        local_proxy=ProxyIdentity(SPOKE, protocol=IpProtocol.GRE),
        remote_proxy=ProxyIdentity(HUB, protocol=IpProtocol.GRE),
        transform=TransformSet("T", encryption, bits, authentication, mode),
        inbound=inbound,
        outbound=outbound,
        lifetime_seconds=3600,
        lifetime_kilobytes=4608000,
        initiator=True,
    )


def mirrored(ours: InstallIpsecSa) -> InstallIpsecSa:
    return replace(
        ours,
        local=ours.remote,
        remote=ours.local,
        local_proxy=ours.remote_proxy,
        remote_proxy=ours.local_proxy,
        inbound=ours.outbound,
        outbound=ours.inbound,
        initiator=False,
    )


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until the condition holds; the test's own time limit ends it."""
    while not condition():
        await asyncio.sleep(0.002)


def counts(pairs: tuple[tuple[str, int], ...]) -> dict[str, int]:
    return dict(pairs)


FIVE_OF_FIVE = "5 packets transmitted, 5 received, 0% packet loss"


@pytest.mark.parametrize(("encryption", "bits", "authentication", "mode"), SUITES)
def test_five_of_five_pings_pass_and_the_wire_shows_only_esp(
    lab: Lab,
    encryption: EspTransform,
    bits: int | None,
    authentication: AuthAlgorithm,
    mode: EncapsulationMode,
) -> None:
    async def play() -> None:
        lab.create_tunnels()
        lab.install(request(1, encryption, bits, authentication, mode))
        assert await lab.spoke.ping("-c5", "-i0.05", "-W2", INSIDE_HUB) == FIVE_OF_FIVE
        assert await lab.hub.ping("-c5", "-i0.05", "-W2", INSIDE_SPOKE) == FIVE_OF_FIVE

    lab.run(play)
    seen = lab.seen()
    assert len(seen) == 20
    assert {frame[IP].proto for frame in seen} == {50}
    (sa,) = lab.spoke.plane.sas()
    assert (sa.encaps, sa.decaps, sa.drops, sa.current) == (10, 10, (), True)
    assert sa.encaps_octets == 10 * (84 + 8 + (20 if mode is TUNNEL else 0))
    assert lab.spoke.acquired == lab.hub.acquired == []


def test_a_data_plane_is_a_data_plane(lab: Lab) -> None:
    plane: DataPlane = lab.spoke.plane  # what mypy checks; here: it can be made and closed
    plane.close()
    plane.close()


def test_without_an_sa_nothing_leaves_and_ike_is_asked_once(lab: Lab) -> None:
    async def play() -> None:
        lab.create_tunnels()
        lost = "5 packets transmitted, 0 received, 100% packet loss"
        assert await lab.spoke.ping("-c5", "-i0.01", "-W0.2", INSIDE_HUB) == lost

    lab.run(play)
    assert lab.spoke.acquired == ["Tunnel1"]
    assert lab.spoke.plane.tunnels()[0].waiting == 5
    assert lab.seen() == []


def test_ike_is_asked_again_after_a_second(lab: Lab) -> None:
    async def play() -> None:
        lab.create_tunnels()
        for step, asked in ((0.0, 1), (0.99, 1), (0.02, 2)):
            lab.spoke.clock.seconds += step
            await lab.spoke.ping("-c1", "-W0.1", INSIDE_HUB)
            assert len(lab.spoke.acquired) == asked

    lab.run(play)


def test_the_packets_that_asked_for_the_sa_are_sent_with_it(lab: Lab) -> None:
    async def play() -> None:
        lab.create_tunnels()
        lab.spoke.on_acquire = lambda: lab.install(request())
        assert await lab.spoke.ping("-c5", "-i0.05", "-W2", INSIDE_HUB) == FIVE_OF_FIVE

    lab.run(play)
    assert lab.spoke.acquired == ["Tunnel1"]
    assert lab.spoke.plane.tunnels()[0].drops == ()


def test_only_the_newest_eight_packets_wait(lab: Lab) -> None:
    async def play() -> None:
        lab.create_tunnels()
        await lab.spoke.ping("-c11", "-i0.01", "-W0.1", INSIDE_HUB)
        (tunnel,) = lab.spoke.plane.tunnels()
        assert tunnel.waiting == QUEUE_PACKETS == 8
        assert counts(tunnel.drops) == {"no-sa": 3}
        lab.install(request())
        await until(lambda: lab.hub.plane.tunnels()[0].received == 8)

    lab.run(play)
    assert lab.spoke.plane.tunnels()[0].waiting == 0


def test_a_packet_that_waited_too_long_is_dropped(lab: Lab) -> None:
    async def play() -> None:
        lab.create_tunnels()
        await lab.spoke.ping("-c3", "-i0.01", "-W0.1", INSIDE_HUB)
        lab.spoke.clock.seconds += 31
        lab.install(request())
        await until(lambda: lab.spoke.plane.tunnels()[0].waiting == 0)

    lab.run(play)
    assert counts(lab.spoke.plane.tunnels()[0].drops) == {"no-sa": 3}
    assert lab.seen() == []


def test_after_the_sas_are_removed_nothing_leaves_in_clear(lab: Lab) -> None:
    ours = request()

    async def play() -> None:
        lab.create_tunnels()
        lab.install(ours)
        assert await lab.spoke.ping("-c5", "-i0.01", "-W2", INSIDE_HUB) == FIVE_OF_FIVE
        before = len(lab.seen())
        lab.spoke.plane.remove(ours.inbound.spi)
        lab.hub.plane.remove(ours.outbound.spi)
        for node, target in ((lab.spoke, INSIDE_HUB), (lab.hub, INSIDE_SPOKE)):
            summary = await node.ping("-c3", "-i0.01", "-W0.2", target)
            assert "0 received" in summary
        assert len(lab.seen()) == before

    lab.run(play)
    assert lab.spoke.plane.sas() == lab.hub.plane.sas() == ()
    assert lab.spoke.acquired == lab.hub.acquired == ["Tunnel1"]


def test_rekeying_under_load_loses_nothing(lab: Lab) -> None:
    async def rekey() -> None:
        for number in range(2, 6):
            old = request(number - 1)
            lab.install(request(number))
            await until(lambda: lab.hub.plane.sas()[-1].decaps > 5)
            lab.spoke.plane.remove(old.inbound.spi)
            lab.hub.plane.remove(old.outbound.spi)

    async def play() -> None:
        lab.create_tunnels()
        lab.install(request(1))
        pings = asyncio.ensure_future(lab.spoke.ping("-c200", "-i0.004", "-W2", INSIDE_HUB))
        await until(lambda: lab.hub.plane.sas()[0].decaps > 5)
        await rekey()
        assert len(lab.spoke.plane.sas()) == 1
        assert await pings == "200 packets transmitted, 200 received, 0% packet loss"

    lab.run(play)
    assert lab.spoke.refused == lab.hub.refused == []
    assert lab.spoke.acquired == []


def test_the_newest_outbound_is_used_and_the_old_inbound_still_opens(lab: Lab) -> None:
    first, second = request(1), request(2)

    async def play() -> None:
        lab.create_tunnels()
        lab.install(first)
        await lab.spoke.ping("-c1", "-W2", INSIDE_HUB)
        lab.spoke.plane.install(second)  # the hub goes on with the first
        await until(lambda: lab.spoke.plane.sas()[1].current)
        await lab.hub.ping("-c2", "-i0.01", "-W0.2", INSIDE_SPOKE)
        assert counts(lab.hub.plane.drops()) == {"esp-unknown-spi": 2}  # answers on the second
        assert [sa.decaps for sa in lab.spoke.plane.sas()] == [3, 0]
        lab.spoke.plane.remove(second.inbound.spi)  # and back to what is left
        assert await lab.spoke.ping("-c5", "-i0.01", "-W2", INSIDE_HUB) == FIVE_OF_FIVE

    lab.run(play)


def test_a_responder_waits_for_the_initiators_first_packet(lab: Lab) -> None:
    ours = request()

    async def play() -> None:
        lab.create_tunnels()
        lab.hub.plane.install(mirrored(ours))
        pings = asyncio.ensure_future(lab.hub.ping("-c1", "-W5", INSIDE_SPOKE))
        await until(lambda: lab.hub.plane.tunnels()[0].waiting == 1)
        assert lab.hub.acquired == []  # an SA is coming, none is asked for
        lab.spoke.plane.install(ours)
        lab.hub.plane.activate(ours.outbound.spi)
        assert "1 received" in await pings

    lab.run(play)


def test_a_responder_that_hears_nothing_sends_after_half_a_second(lab: Lab) -> None:
    async def play() -> None:
        lab.create_tunnels()
        lab.install(request())
        assert "1 received" in await lab.hub.ping("-c1", "-W5", INSIDE_SPOKE)

    lab.run(play)


def stranger_sends(lab: Lab, packet: IP) -> None:
    with lab.wan.raw_socket("mallory", 255) as raw:
        raw.sendto(bytes(packet), (packet.dst, 0))


def test_clear_gre_is_dropped_counted_and_not_answered(lab: Lab) -> None:
    inner = IP(src=INSIDE_SPOKE, dst=INSIDE_HUB) / ICMP()

    async def play() -> None:
        lab.create_tunnels()
        lab.install(request())
        for source in (MALLORY, SPOKE):  # SPOKE: a forged source
            stranger_sends(lab, IP(src=source, dst=HUB) / GRE(key_present=1, key=KEY) / inner)
        await until(lambda: counts(lab.hub.plane.drops()) == {"clear-gre": 2})

    lab.run(play)
    assert lab.hub.plane.tunnels()[0].received == 0
    assert [frame[IP].proto for frame in lab.seen()] == [47, 47]  # no ICMP came back


def test_esp_of_strangers_is_dropped_counted_and_not_answered(lab: Lab) -> None:
    async def play() -> None:
        lab.create_tunnels()
        lab.install(request())
        assert await lab.spoke.ping("-c1", "-W2", INSIDE_HUB)
        taken = bytes(lab.seen()[0][IP].payload)
        before = len(lab.seen())
        unknown = b"\x00\x00\x12\x34" + taken[4:]
        stranger_sends(lab, IP(src=MALLORY, dst=HUB, proto=50) / unknown)
        stranger_sends(lab, IP(src=MALLORY, dst=HUB, proto=50) / taken)
        stranger_sends(lab, IP(src=SPOKE, dst=HUB, proto=50) / taken)
        stranger_sends(lab, IP(src=SPOKE, dst=HUB, proto=50) / (taken[:-1] + b"\0"))
        stranger_sends(lab, IP(src=SPOKE, dst=HUB, proto=50) / taken[:3])
        await until(lambda: len(lab.hub.refused) == 5)
        await until(lambda: len(lab.seen()) == before + 5)

    lab.run(play)
    assert counts(lab.hub.plane.drops()) == {"esp-unknown-spi": 2, "esp-wrong-source": 1}
    assert lab.hub.plane.sas()[0].drops == (("esp-replay", 2),)
    assert lab.hub.plane.tunnels()[0].received == 1
    assert {frame[IP].proto for frame in lab.seen()} == {50}


def test_the_mtu_is_the_tunnels_and_larger_packets_are_fragmented_inside(lab: Lab) -> None:
    async def play() -> None:
        lab.create_tunnels()
        lab.install(request(1, EspTransform.ESP_AES, 256, AuthAlgorithm.HMAC_SHA2_256, TUNNEL))
        whole = ("-M", "do", "-c5", "-i0.01", "-W2")
        assert await lab.spoke.ping(*whole, "-s1372", INSIDE_HUB) == FIVE_OF_FIVE
        assert "0 received" in await lab.spoke.ping(*whole, "-s1373", INSIDE_HUB)
        assert await lab.spoke.ping("-c5", "-i0.01", "-W2", "-s5000", INSIDE_HUB) == FIVE_OF_FIVE

    lab.run(play)
    flags = {(frame[IP].flags.MF, frame[IP].flags.DF, frame[IP].frag) for frame in lab.seen()}
    assert flags == {(False, False, 0)}  # 1500 octets outside are enough for every packet
    assert max(frame[IP].len for frame in lab.seen()) <= 1500


def test_esp_that_does_not_fit_the_link_is_fragmented_outside(lab: Lab) -> None:
    async def play() -> None:
        lab.create_tunnels(mtu=1480)
        lab.install(request())
        sizes = ("-M", "do", "-s1452", "-c5", "-i0.01", "-W2")
        assert await lab.spoke.ping(*sizes, INSIDE_HUB) == FIVE_OF_FIVE

    lab.run(play)
    assert len([frame for frame in lab.seen() if frame[IP].flags.MF]) == 10


def test_any_next_hop_of_the_tunnel_is_its_far_end(lab: Lab) -> None:
    async def play() -> None:
        lab.create_tunnels()
        lab.install(request())
        hub, spoke = lab.wan.namespace("hub"), lab.wan.namespace("spoke")
        ip("-n", hub, "addr", "add", "10.77.0.1/32", "dev", "lo")
        ip("-n", spoke, "route", "add", "10.77.0.1", "via", "20.0.0.99", "dev", "tunnel1")
        assert await lab.spoke.ping("-c5", "-i0.01", "-W2", "10.77.0.1") == FIVE_OF_FIVE
        neighbours = (await lab.spoke.run("ip", "neigh", "show", "dev", "tunnel1")).stdout
        assert "20.0.0.99 lladdr 02:00:c0:00:02:02" in neighbours

    lab.run(play)


def test_the_device_has_no_ipv6_and_an_address_of_its_own(lab: Lab) -> None:
    async def play() -> None:
        with inside(lab.wan.namespace("spoke")):
            with open("/proc/sys/net/ipv6/conf/default/disable_ipv6", "w") as switch:
                switch.write("0")
        lab.create_tunnels()
        shown = (await lab.spoke.run("ip", "addr", "show", "dev", "tunnel1")).stdout
        assert "inet 20.0.0.1/24" in shown
        assert "mtu 1400" in shown
        assert "link/ether 02:00:c0:00:02:01" in shown
        assert "inet6" not in shown

    lab.run(play)


def test_a_route_to_the_far_end_through_the_tunnel_makes_no_loop(lab: Lab) -> None:
    async def play() -> None:
        lab.create_tunnels()
        lab.install(request())
        spoke = lab.wan.namespace("spoke")
        ip("-n", spoke, "route", "add", HUB, "dev", "tunnel1")
        assert "0 received" in await lab.spoke.ping("-c2", "-i0.01", "-W0.2", INSIDE_HUB)
        ip("-n", spoke, "route", "del", HUB, "dev", "tunnel1")
        assert await lab.spoke.ping("-c5", "-i0.01", "-W2", INSIDE_HUB) == FIVE_OF_FIVE

    lab.run(play)
    assert counts(lab.spoke.plane.tunnels()[0].drops) == {"tunnel-recursion": 2}


def test_a_shut_tunnel_takes_nothing_and_comes_back(lab: Lab) -> None:
    async def play() -> None:
        lab.create_tunnels()
        lab.install(request())
        assert await lab.spoke.ping("-c5", "-i0.01", "-W2", INSIDE_HUB) == FIVE_OF_FIVE
        with inside(lab.wan.namespace("hub")):
            lab.hub.plane.set_up("Tunnel1", False)
        assert not lab.hub.plane.tunnels()[0].up
        assert "0 received" in await lab.spoke.ping("-c2", "-i0.01", "-W0.2", INSIDE_HUB)
        assert counts(lab.hub.plane.tunnels()[0].drops) == {"tunnel-down": 2}
        with inside(lab.wan.namespace("hub")):
            lab.hub.plane.set_up("Tunnel1", True)
        assert await lab.spoke.ping("-c5", "-i0.01", "-W2", INSIDE_HUB) == FIVE_OF_FIVE

    lab.run(play)


def test_a_volume_that_comes_to_its_end_asks_for_new_keys_and_loses_nothing(lab: Lab) -> None:
    small = replace(request(1), lifetime_kilobytes=1)

    async def play() -> None:
        lab.create_tunnels()
        lab.install(small)
        lab.spoke.on_acquire = lambda: lab.install(request(2))
        summary = await lab.spoke.ping("-c30", "-i0.01", "-W2", INSIDE_HUB)
        assert summary == "30 packets transmitted, 30 received, 0% packet loss"

    lab.run(play)
    assert lab.spoke.acquired == ["Tunnel1"]
    spent, fresh = lab.spoke.plane.sas()
    assert 0.9 * 1024 <= spent.encaps_octets < 1024 + 92
    assert spent.encaps + fresh.encaps == 30
    assert fresh.current


def test_spis_are_fresh_and_never_reserved(lab: Lab) -> None:
    class Sequence:
        def __init__(self, *spis: int) -> None:
            self.spis = [spi.to_bytes(4, "big") for spi in spis]

        def draw(self, label: str, length: int) -> bytes:
            assert (label, length) == ("spi", 4)
            return self.spis.pop(0)

    plane = UserspaceDataPlane(
        lab.loop, Sequence(0, 255, 256, 256, 300, 256), on_acquire=lambda flow: None
    )
    assert plane.alloc_spi() == b"\0\0\1\0"
    assert plane.alloc_spi() == b"\0\0\1\x2c"
    plane.free_spi(b"\0\0\1\0")
    assert plane.alloc_spi() == b"\0\0\1\0"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"flow": "Tunnel9"}, "no tunnel Tunnel9"),
        ({"remote": Endpoint(MALLORY, 500)}, "does not run between"),
        ({"local": Endpoint(HUB, 500)}, "does not run between"),
    ],
)
def test_a_pair_for_another_tunnel_is_refused(
    lab: Lab, change: dict[str, object], message: str
) -> None:
    lab.create_tunnels()
    with pytest.raises(LabError, match=message):
        lab.spoke.plane.install(replace(request(), **change))
    assert lab.spoke.plane.sas() == ()


def test_an_spi_in_use_and_keys_that_do_not_fit_are_refused(lab: Lab) -> None:
    lab.create_tunnels()
    lab.spoke.plane.install(request())
    with pytest.raises(LabError, match="in use already"):
        lab.spoke.plane.install(request())
    other = request(2)
    short = replace(other, inbound=replace(other.inbound, encryption_key=b"short"))
    with pytest.raises(ProtocolError, match="esp-key-length"):
        lab.spoke.plane.install(short)
    assert len(lab.spoke.plane.sas()) == 1


def test_a_tunnel_that_cannot_be_made_leaves_nothing_behind(lab: Lab) -> None:
    lab.create_tunnels()
    good = TunnelConfig("Tunnel2", "tunnel2", "20.0.1.1/24", SPOKE, HUB)
    for bad, message in (
        (replace(good, name="Tunnel1"), "is there already"),
        (replace(good, ifname="tunnel1"), "cannot make the device tunnel1"),
        (replace(good, ifname="tunnel-with-a-long-name"), "too long"),
        (replace(good, local="198.51.100.1"), "cannot bind ESP to 198.51.100.1"),
        (replace(good, mtu=1), "cannot configure tunnel2"),
    ):
        with inside(lab.wan.namespace("spoke")), pytest.raises(LabError, match=message):
            lab.spoke.plane.create_tunnel(bad)
    assert [tunnel.config.name for tunnel in lab.spoke.plane.tunnels()] == ["Tunnel1"]
    assert "tunnel2" not in lab.wan.run("spoke", "ip", "link").stdout
    lab.spoke.create(good)


def test_close_takes_devices_and_sockets_away(lab: Lab) -> None:
    lab.create_tunnels()
    lab.install(request())
    lab.spoke.plane.close()
    lab.spoke.plane.close()
    assert lab.spoke.plane.tunnels() == lab.spoke.plane.sas() == ()
    assert lab.wan.run("spoke", "ip", "link", "show", "tunnel1").returncode != 0
    with inside(lab.wan.namespace("spoke")):
        raw_sockets = Path("/proc/thread-self/net/raw").read_text().splitlines()
    assert len(raw_sockets) == 1  # the heading


def test_removing_one_tunnel_leaves_the_other_with_the_same_source(lab: Lab) -> None:
    async def play() -> None:
        lab.create_tunnels()
        lab.spoke.create(TunnelConfig("Tunnel2", "tunnel2", "20.0.1.1/24", SPOKE, MALLORY))
        lab.install(request())
        lab.spoke.plane.remove_tunnel("Tunnel2")
        assert await lab.spoke.ping("-c5", "-i0.01", "-W2", INSIDE_HUB) == FIVE_OF_FIVE

    lab.run(play)
    with pytest.raises(LabError, match="no tunnel Tunnel2"):
        lab.spoke.plane.remove_tunnel("Tunnel2")
