"""What the console says of protected tunnels (guide, D1: the tunnel flaps)."""

from __future__ import annotations

from dataclasses import replace

from ikelab.ios.config_text import parse_config
from ikelab.ios.log import NodeLog
from ikelab.runtime.tunnels import TunnelFacts

CONFIG = parse_config(
    """
hostname r1
crypto ipsec transform-set T esp-aes 256 esp-sha256-hmac
crypto ipsec profile P
 set transform-set T
interface GigabitEthernet0/0
 ip address 192.0.2.1 255.255.255.0
interface Tunnel1
 ip address 20.0.0.1 255.255.255.0
 tunnel source 192.0.2.1
 tunnel destination 192.0.2.2
 tunnel protection ipsec profile P
"""
)
SHUT = replace(
    CONFIG,
    interfaces={
        **CONFIG.interfaces,
        "Tunnel1": replace(CONFIG.interfaces["Tunnel1"], shutdown=True),
    },
)


def said(facts: object) -> list[str]:
    return [line.text for line in NodeLog().lines(list(facts))]  # type: ignore[call-overload]


def test_a_flap_prints_what_the_guide_shows() -> None:
    facts = TunnelFacts()
    assert said(facts.configured(CONFIG)) == ["%CRYPTO-6-ISAKMP_ON_OFF: ISAKMP is ON"]
    assert said(facts.configured(CONFIG)) == []
    assert said(facts.configured(SHUT)) == [
        "%CRYPTO-6-ISAKMP_ON_OFF: ISAKMP is OFF",
        "%LINK-5-CHANGED: Interface Tunnel1, changed state to administratively down",
        "%LINEPROTO-5-UPDOWN: Line protocol on Interface Tunnel1, changed state to down",
    ]
    assert said(facts.configured(CONFIG)) == ["%CRYPTO-6-ISAKMP_ON_OFF: ISAKMP is ON"]
    assert said(facts.installed("Tunnel1")) == [
        "%LINK-3-UPDOWN: Interface Tunnel1, changed state to up",
        "%LINEPROTO-5-UPDOWN: Line protocol on Interface Tunnel1, changed state to up",
    ]


def test_a_tunnel_is_up_while_any_pair_carries_it() -> None:
    facts = TunnelFacts()
    list(facts.configured(CONFIG))
    assert len(said(facts.installed("Tunnel1"))) == 2
    assert said(facts.installed("Tunnel1")) == []  # the next pair, before the old one ends
    assert said(facts.removed("Tunnel1")) == []
    assert said(facts.removed("Tunnel1")) == [
        "%LINEPROTO-5-UPDOWN: Line protocol on Interface Tunnel1, changed state to down"
    ]
    assert said(facts.removed("Tunnel1")) == []


def test_a_router_without_protected_tunnels_says_nothing() -> None:
    bare = replace(CONFIG, interfaces={})
    assert said(TunnelFacts().configured(bare)) == []
