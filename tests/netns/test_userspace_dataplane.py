"""Packets through two user-space data planes: ping as the witness inside, the bridge outside."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from scapy.layers.inet import ICMP, IP
from scapy.layers.l2 import GRE

from ikelab.errors import LabError, ProtocolError
from ikelab.runtime.dataplane.userspace import QUEUE_PACKETS
from ikelab.types import Endpoint
from ikelab.wire.numbers import AuthAlgorithm, EncapsulationMode, EspTransform
from tests.esp_samples import mirrored
from tests.netns.two_planes import (
    FIVE_OF_FIVE,
    HUB,
    INSIDE_HUB,
    INSIDE_SPOKE,
    KEY,
    MALLORY,
    SPOKE,
    TRANSPORT,
    TUNNEL,
    Lab,
    counts,
    joined,
    request,
    until,
)

pytestmark = pytest.mark.needs_root
SUITES = [
    (EspTransform.ESP_3DES, None, AuthAlgorithm.HMAC_MD5, TRANSPORT),
    (EspTransform.ESP_AES, 128, AuthAlgorithm.HMAC_SHA, TRANSPORT),
    (EspTransform.ESP_AES, 256, AuthAlgorithm.HMAC_SHA2_256, TUNNEL),
    (EspTransform.ESP_AES, 256, AuthAlgorithm.HMAC_SHA2_512, TUNNEL),
]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with joined(Lab, tmp_path) as made:
        yield made


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
    assert sa.octets == 10 * (84 + 8 + (20 if mode is TUNNEL else 0))
    assert lab.spoke.acquired == lab.hub.acquired == []


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
    assert 0.9 * 1024 <= spent.octets < 1024 + 92
    assert spent.encaps + fresh.encaps == 30
    assert fresh.current


def test_spis_are_fresh_and_never_reserved(lab: Lab) -> None:
    class Sequence:
        def __init__(self, *spis: int) -> None:
            self.spis = [spi.to_bytes(4, "big") for spi in spis]

        def draw(self, label: str, length: int) -> bytes:
            assert (label, length) == ("spi", 4)
            return self.spis.pop(0)

    lab.create_tunnels()
    lab.install(request(1))
    [sa] = lab.spoke.plane.sas()
    lab.spoke.plane._rng = Sequence(0, 255, int.from_bytes(sa.inbound_spi, "big"), 256)
    assert lab.spoke.plane.alloc_spi() == b"\0\0\1\0"


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
