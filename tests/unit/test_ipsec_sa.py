"""A pair of SAs from IPv4 packet to IPv4 packet: modes, keys, lifetimes, lies inside ESP."""

from __future__ import annotations

from dataclasses import replace

import pytest
from scapy.layers.inet import ICMP, IP
from scapy.layers.ipsec import ESP, SecurityAssociation
from scapy.layers.l2 import GRE
from scapy.packet import Packet, Raw

from ikelab.crypto.esp_keys import key_lengths
from ikelab.errors import IkelabError, ProtocolError, WireError
from ikelab.ipsec.esp import LAST_SEQUENCE
from ikelab.ipsec.sa import SaPair
from ikelab.isakmp.events import EspKeys, InstallIpsecSa
from ikelab.isakmp.policy import ProxyIdentity, TransformSet
from ikelab.types import Endpoint
from ikelab.wire.numbers import AuthAlgorithm, EncapsulationMode, EspTransform, IpProtocol
from tests.esp_samples import HUB, SPOKE, install_request, mirrored

KEY = 1234
PING = bytes(IP(src="20.0.0.1", dst="20.0.0.4") / ICMP() / Raw(bytes(56)))


def ends(
    mode: EncapsulationMode = EncapsulationMode.TRANSPORT, key: int | None = KEY
) -> tuple[SaPair, SaPair]:
    spoke = install_request(mode=mode)
    return SaPair(spoke, key, bytes(8)), SaPair(mirrored(spoke), key, bytes(range(8)))


def witness(keys: EspKeys, **tunnel: Packet) -> SecurityAssociation:
    return SecurityAssociation(
        ESP,
        spi=int.from_bytes(keys.spi, "big"),
        crypt_algo="3DES",
        crypt_key=keys.encryption_key,
        auth_algo="HMAC-MD5-96",
        auth_key=keys.authentication_key,
        **tunnel,
    )


def refusal(pair: SaPair, octets: bytes) -> str:
    with pytest.raises(ProtocolError) as caught:
        pair.open(octets)
    return caught.value.reason


def from_hub(pair: SaPair, inside: bytes, next_header: int = 47) -> bytes:
    """ESP of the hub with other content than GRE of the tunnel."""
    hub = SaPair(mirrored(pair.request), KEY, bytes(8))
    return hub.outbound.protect(inside, next_header)


BOTH_MODES = pytest.mark.parametrize(
    "mode", [EncapsulationMode.TRANSPORT, EncapsulationMode.TUNNEL]
)


@BOTH_MODES
@pytest.mark.parametrize("key", [None, KEY])
def test_what_one_end_protects_the_other_opens(mode: EncapsulationMode, key: int | None) -> None:
    spoke, hub = ends(mode, key)
    assert hub.open(spoke.protect(PING)) == PING
    assert spoke.open(hub.protect(PING)) == PING


def test_in_transport_mode_scapy_finds_gre_in_esp() -> None:
    spoke, _ = ends()
    packet = IP(src=SPOKE, dst=HUB, proto=50) / Raw(spoke.protect(PING))
    clear = witness(spoke.request.outbound).decrypt(IP(bytes(packet)))
    assert clear.proto == 47
    assert clear[GRE].key == KEY
    assert bytes(clear[GRE].payload) == PING


def test_in_tunnel_mode_scapy_finds_gre_in_ip_in_esp() -> None:
    spoke, _ = ends(EncapsulationMode.TUNNEL)
    packet = IP(src=SPOKE, dst=HUB, proto=50) / Raw(spoke.protect(PING))
    keys = spoke.request.outbound
    clear = witness(keys, tunnel_header=IP(src=SPOKE, dst=HUB)).decrypt(IP(bytes(packet)))
    assert (clear.src, clear.dst, clear.proto) == (SPOKE, HUB, 47)
    assert bytes(clear[GRE].payload) == PING


@pytest.mark.parametrize(
    ("reason", "header"),
    [
        ("gre-wrong-key", GRE(key_present=1, key=KEY + 1)),
        ("gre-wrong-key", GRE()),
        ("gre-protocol", GRE(key_present=1, key=KEY, proto=0x86DD)),
        ("gre-protocol", GRE(key_present=1, key=KEY, proto=0x2001)),
        ("gre-flags", GRE(key_present=1, key=KEY, routing_present=1)),
    ],
)
def test_gre_that_is_not_the_tunnels_is_refused(reason: str, header: Packet) -> None:
    spoke, _ = ends()
    assert refusal(spoke, from_hub(spoke, bytes(header / Raw(PING)))) == reason


def test_gre_with_sequence_numbers_of_the_right_key_is_taken() -> None:
    spoke, _ = ends()
    header = GRE(key_present=1, key=KEY, seqnum_present=1, sequence_number=3, chksum_present=1)
    assert spoke.open(from_hub(spoke, bytes(header / IP(PING)))) == PING


@pytest.mark.parametrize("inside", [b"", PING[:19], b"\x60" + PING[1:]])
def test_what_gre_carries_must_be_ipv4(inside: bytes) -> None:
    spoke, _ = ends()
    header = bytes(GRE(key_present=1, key=KEY, proto=0x0800))
    assert refusal(spoke, from_hub(spoke, header + inside)) == "gre-payload"


@pytest.mark.parametrize("next_header", [1, 4, 17, 50, 59])
def test_transport_mode_carries_gre_only(next_header: int) -> None:
    spoke, _ = ends()
    assert refusal(spoke, from_hub(spoke, PING, next_header)) == "esp-next-header"


def test_tunnel_mode_carries_ipv4_only() -> None:
    spoke, _ = ends(EncapsulationMode.TUNNEL)
    assert refusal(spoke, from_hub(spoke, PING, 47)) == "esp-next-header"


def test_tunnel_mode_refuses_other_protocols_between_the_right_addresses() -> None:
    spoke, _ = ends(EncapsulationMode.TUNNEL)
    inside = bytes(IP(src=HUB, dst=SPOKE) / ICMP())
    assert refusal(spoke, from_hub(spoke, inside, 4)) == "esp-next-header"


def test_tunnel_mode_refuses_addresses_that_were_not_negotiated() -> None:
    spoke, _ = ends(EncapsulationMode.TUNNEL)
    inside = bytes(IP(src="10.1.1.1", dst=SPOKE) / GRE(key_present=1, key=KEY) / IP(PING))
    assert refusal(spoke, from_hub(spoke, inside, 4)) == "esp-wrong-proxy"


def test_a_broken_inner_header_is_a_wire_error() -> None:
    spoke, _ = ends(EncapsulationMode.TUNNEL)
    with pytest.raises(WireError):
        spoke.open(from_hub(spoke, PING[:12], 4))


def test_any_octets_inside_esp_raise_only_our_errors() -> None:
    spoke, _ = ends(EncapsulationMode.TUNNEL)
    inside = bytes(IP(src=HUB, dst=SPOKE) / GRE(key_present=1, key=KEY) / IP(PING))
    assert spoke.open(from_hub(spoke, inside, 4)) == PING
    refused = 0
    for place in range(len(inside)):
        for value in (0x00, 0x7F, 0xFF):
            changed = inside[:place] + bytes((value,)) + inside[place + 1 :]
            for octets in (changed, changed[:place]):
                fresh, _ = ends(EncapsulationMode.TUNNEL)
                try:
                    fresh.open(from_hub(fresh, octets, 4))
                except IkelabError:
                    refused += 1
    assert refused > 100  # most places matter


def test_the_initiator_may_send_at_once_and_the_responder_not() -> None:
    assert SaPair(install_request(initiator=True), KEY, bytes(8)).can_send()
    assert not SaPair(install_request(initiator=False), KEY, bytes(8)).can_send()


def test_a_used_up_volume_ends_both_directions() -> None:
    ours = install_request(kilobytes=1)
    spoke, hub = SaPair(ours, KEY, bytes(8)), SaPair(mirrored(ours), KEY, bytes(8))
    sent = 0
    while spoke.can_send():
        assert hub.open(spoke.protect(PING)) == PING
        sent += 1
    assert sent == -(-1024 // (len(PING) + 8))
    assert refusal(hub, spoke.protect(PING)) == "esp-expired"


def test_a_volume_of_zero_is_no_limit() -> None:
    spoke = SaPair(install_request(kilobytes=0), KEY, bytes(8))
    spoke.outbound.octets = 1 << 60
    assert spoke.can_send()


def test_used_up_sequence_numbers_end_sending() -> None:
    spoke, _ = ends()
    spoke.outbound.sequence = LAST_SEQUENCE
    assert not spoke.can_send()


def install_refusal(changed: InstallIpsecSa) -> str:
    with pytest.raises(ProtocolError) as caught:
        SaPair(changed, KEY, bytes(8))
    return caught.value.reason


def behind_nat(mode: EncapsulationMode) -> tuple[SaPair, SaPair]:
    """The spoke, and the hub that sees it at another address."""
    spoke = install_request(mode=mode)
    public = Endpoint("203.0.113.7", 20002)
    hub = replace(mirrored(spoke), remote=public, peer_moves=True)
    if mode is EncapsulationMode.UDP_TRANSPORT:
        hub = replace(hub, remote_proxy=ProxyIdentity(public.address, protocol=IpProtocol.GRE))
    return SaPair(spoke, KEY, bytes(8)), SaPair(hub, KEY, bytes(8))


@pytest.mark.parametrize("mode", [EncapsulationMode.UDP_TRANSPORT, EncapsulationMode.UDP_TUNNEL])
def test_through_udp_both_ends_read_each_other_over_a_nat(mode: EncapsulationMode) -> None:
    spoke, hub = behind_nat(mode)
    assert spoke.in_udp and hub.in_udp
    assert hub.open(spoke.protect(PING)) == PING
    assert spoke.open(hub.protect(PING)) == PING


def test_the_newest_packet_from_another_port_shows_where_the_peer_is() -> None:
    spoke, hub = behind_nat(EncapsulationMode.UDP_TRANSPORT)
    first, second = spoke.protect(PING), spoke.protect(PING)
    new = Endpoint("203.0.113.7", 33333)
    hub.open(second)
    assert hub.has_moved(second, new) and not hub.has_moved(second, hub.remote)
    hub.open(first)
    assert not hub.has_moved(first, new)


def test_a_peer_that_is_behind_no_nat_does_not_move() -> None:
    spoke, hub = behind_nat(EncapsulationMode.UDP_TRANSPORT)
    spoke.open(hub.protect(PING))
    packet = hub.protect(PING)
    spoke.open(packet)
    assert not spoke.has_moved(packet, Endpoint("192.0.2.99", 1))


def test_without_integrity_nothing_shows_where_the_peer_is() -> None:
    spoke, hub = behind_nat(EncapsulationMode.UDP_TRANSPORT)
    bare = replace(hub.request.transform, authentication=None)
    hub.request = replace(hub.request, transform=bare)
    packet = spoke.protect(PING)
    hub.open(packet)
    assert not hub.has_moved(packet, Endpoint("203.0.113.7", 33333))


@pytest.mark.parametrize(
    "proxy",
    [
        ProxyIdentity(HUB, protocol=IpProtocol.GRE),
        ProxyIdentity(SPOKE, protocol=IpProtocol.UDP),
        ProxyIdentity("192.168.134.0", "255.255.255.128", IpProtocol.GRE),
    ],
)
def test_proxies_that_leave_the_tunnel_out_are_refused(proxy: ProxyIdentity) -> None:
    assert install_refusal(replace(install_request(), local_proxy=proxy)) == "esp-proxy"


@pytest.mark.parametrize(
    "proxy", [ProxyIdentity(SPOKE), ProxyIdentity("192.168.134.0", "255.255.255.0", 47)]
)
def test_wider_proxies_are_taken(proxy: ProxyIdentity) -> None:
    SaPair(replace(install_request(), local_proxy=proxy), KEY, bytes(8))


@pytest.mark.parametrize("spi", [b"\0\0\0\0", b"\0\0\0\1", b"\0\0\0\xff"])
def test_reserved_spis_are_refused(spi: bytes) -> None:
    ours = install_request()
    assert install_refusal(replace(ours, outbound=replace(ours.outbound, spi=spi))) == "esp-spi"


def test_at_ip_mtu_1400_only_aes_with_long_icvs_in_tunnel_mode_exceeds_1500_octets() -> None:
    # The rule that runtime/dataplane/base.py states.
    too_long = set()
    for encryption, bits in (
        (EspTransform.ESP_DES, None),
        (EspTransform.ESP_3DES, None),
        (EspTransform.ESP_AES, 256),
    ):
        for authentication in AuthAlgorithm:
            for mode in (EncapsulationMode.TRANSPORT, EncapsulationMode.TUNNEL):
                cipher, integrity = key_lengths(encryption, bits, authentication)
                keys = EspKeys(b"\x7f\0\0\1", bytes(range(cipher)), bytes(integrity))
                transform = TransformSet("T", encryption, bits, authentication, mode)
                ours = replace(install_request(), transform=transform, inbound=keys, outbound=keys)
                pair = SaPair(ours, KEY, bytes(16 if bits else 8))
                packet = b"\x45" + bytes(1399)
                if 20 + len(pair.protect(packet)) > 1500:
                    too_long.add((encryption, authentication, mode))
    assert too_long == {
        (EspTransform.ESP_AES, AuthAlgorithm.HMAC_SHA2_384, EncapsulationMode.TUNNEL),
        (EspTransform.ESP_AES, AuthAlgorithm.HMAC_SHA2_512, EncapsulationMode.TUNNEL),
    }


def test_renewal_is_wanted_before_the_volume_is_used_up() -> None:
    pair = SaPair(install_request(kilobytes=10), KEY, bytes(8))
    packet = bytes((0x45,)) + bytes(999)
    wanted_at = None
    for count in range(1, 11):
        if not pair.can_send():
            break
        pair.protect(packet)
        if wanted_at is None and pair.wants_renewal():
            wanted_at = count
    assert wanted_at == 10 and pair.can_send()
