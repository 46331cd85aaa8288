"""From a configuration to what the IKE engine is told, and every fault on the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from ikelab.errors import ConfigError
from ikelab.ios.config_text import parse_config
from ikelab.isakmp.policy import Credential, IpsecFlow, ProxyIdentity
from ikelab.node.flows import DEFAULT_POLICY, find_faults, to_isakmp_config
from ikelab.types import Endpoint
from ikelab.wire.numbers import Group, IdType

GOLDEN = Path(__file__).parents[1] / "golden" / "ios"
CREDENTIAL = Credential("ra", b"", (), (), b"", (), (), "ra")

TUNNEL = """
crypto isakmp policy 10
 encr aes 256
 hash sha256
 group 14
crypto ipsec transform-set AES esp-aes esp-sha256-hmac
 mode transport
crypto ipsec profile P
 set transform-set AES
interface GigabitEthernet0/0
 ip address 192.0.2.1 255.255.255.0
interface Tunnel1
 tunnel source GigabitEthernet0/0
 tunnel destination 192.0.2.2
 tunnel protection ipsec profile P
"""


def test_tunnel_becomes_a_flow_of_gre_between_its_two_ends() -> None:
    text = (GOLDEN / "spoke-modern.cfg").read_text()
    config = parse_config(text)
    told = to_isakmp_config(config)
    assert told.flows == (
        IpsecFlow(
            name="Tunnel1",
            local=Endpoint("198.51.100.2", 500),
            remote=Endpoint("192.0.2.1", 500),
            local_proxy=ProxyIdentity("198.51.100.2", "255.255.255.255", 47, 0),
            remote_proxy=ProxyIdentity("192.0.2.1", "255.255.255.255", 47, 0),
            transform_sets=(config.transform_sets["AES"],),
            lifetime_seconds=1800,
            pfs=Group.MODP_2048,
            isakmp_profile="hub",
        ),
    )
    assert told.hostname == "spoke1.example.net"
    assert told.identity is IdType.ID_FQDN


def test_source_given_as_an_interface_is_that_interfaces_address() -> None:
    flow = to_isakmp_config(parse_config(TUNNEL)).flows[0]
    assert flow.local == Endpoint("192.0.2.1", 500)


def test_policies_come_by_rising_priority() -> None:
    text = "crypto isakmp policy 20\ncrypto isakmp policy 3\n"
    told = to_isakmp_config(parse_config(text, mode="legacy"), mode="legacy")
    assert [policy.priority for policy in told.policies] == [3, 20]


def test_default_policy_is_offered_last_in_a_legacy_lab_with_a_certificate() -> None:
    config = parse_config("crypto isakmp policy 20\n", mode="legacy")
    told = to_isakmp_config(config, [CREDENTIAL], [("ra", b"name")], mode="legacy")
    assert told.policies[1:] == (DEFAULT_POLICY,)
    assert told.credentials == (CREDENTIAL,)
    assert told.trusted_authorities == (("ra", b"name"),)


def test_default_policy_is_never_offered_in_a_modern_lab() -> None:
    assert DEFAULT_POLICY not in to_isakmp_config(parse_config(TUNNEL), [CREDENTIAL]).policies


def test_tunnel_that_is_shut_down_or_unprotected_is_no_flow() -> None:
    shut = parse_config(TUNNEL + " shutdown\n")
    bare = parse_config(TUNNEL + " no tunnel protection ipsec profile\n")
    assert to_isakmp_config(shut).flows == to_isakmp_config(bare).flows == ()


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (
            "crypto ipsec profile P\n set transform-set AES NONE\n",
            "crypto ipsec profile P names the transform-set NONE, which does not exist",
        ),
        (
            "crypto ipsec profile P\n set isakmp-profile X\n",
            "crypto ipsec profile P names the isakmp-profile X, which does not exist",
        ),
        (
            "crypto ipsec profile P\n no set transform-set\n",
            "crypto ipsec profile P has no `set transform-set`",
        ),
        (
            "no crypto ipsec profile P\n",
            "interface Tunnel1 names the ipsec profile P, which does not exist",
        ),
        (
            "no crypto isakmp policy 10\n",
            "interface Tunnel1 is protected, but there is no `crypto isakmp policy`",
        ),
        (
            "interface Tunnel1\n no tunnel destination\n",
            "interface Tunnel1 wants both `tunnel source` and `tunnel destination`",
        ),
        (
            "interface gi0/0\n no ip address\n",
            "interface Tunnel1 has `tunnel source GigabitEthernet0/0`, which has no address",
        ),
        (
            "interface Tunnel2\n tunnel source 192.0.2.1\n tunnel destination 192.0.2.2\n"
            " tunnel protection ipsec profile P\n",
            "interface Tunnel2 has the same two ends as Tunnel1: IPsec cannot tell them apart,"
            " unless each has its own isakmp-profile",
        ),
        (
            "crypto isakmp profile I\n keyring K\n",
            "crypto isakmp profile I names the keyring K, which does not exist",
        ),
        (
            "crypto isakmp policy 10\n authentication pre-share\n",
            "crypto isakmp policy 10 wants a pre-shared key, and there is none:"
            " give `crypto isakmp key` or a `crypto keyring`",
        ),
    ],
)
def test_each_inconsistency_is_named(change: str, fault: str) -> None:
    assert list(find_faults(parse_config(TUNNEL + change))) == [fault]


def test_all_faults_are_raised_at_once() -> None:
    text = TUNNEL + "interface gi0/0\n no ip address\ncrypto ipsec profile P\n set pfs group14\n"
    config = parse_config(text + " set transform-set X\n set isakmp-profile Y\n")
    with pytest.raises(ConfigError) as caught:
        to_isakmp_config(config)
    assert all(
        word in caught.value.reason for word in ("transform-set X", "Y, which", "no address")
    )


def test_modern_lab_refuses_a_configuration_made_weak_at_the_console() -> None:
    config = parse_config("crypto isakmp policy 1\n encr 3des\n", mode="legacy")
    with pytest.raises(ConfigError, match="TRIPLE_DES_CBC of crypto isakmp policy 1"):
        to_isakmp_config(config)
