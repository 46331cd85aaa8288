"""Two of the guide's own mistakes about identities, on its own network: what each leads to."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ikelab.isakmp.events import Clear, Refused
from ikelab.isakmp.policy import IdentityMatch
from ikelab.wire.numbers import IdType
from tests.simnet.guide import boot
from tests.simnet.labs import configure, tunnel_comes_up
from tests.simnet.network import Simnet, SimNode


@pytest.fixture(scope="module")
def net() -> Simnet:
    return boot()


def peer_ids(node: SimNode) -> set[tuple[int, bytes]]:
    sas = node.router.isakmp.table.sas.values()
    return {sa.peer_id for sa in sas if sa.peer_id is not None}


def test_a_certificate_with_the_address_of_the_ca_makes_a_spoke_use_its_name(net: Simnet) -> None:
    """`ip-address 192.168.159.243` in r35-1-1020's trustpoint: "Addr not in Cert!"."""
    hub, spoke = net.nodes["s-dmvpn-headend"], net.nodes["r35-1-1020"]
    assert tunnel_comes_up(net, spoke, hub)
    assert (IdType.ID_FQDN, b"r35-1-1020.cisco.com") in peer_ids(hub)
    assert (
        hub.router.isakmp.table.established_with(spoke_end(hub, spoke)).profile == "dmvpn-profile"
    )


def spoke_end(hub: SimNode, spoke: SimNode):
    return next(
        sa.remote
        for sa in hub.router.isakmp.table.sas.values()
        if sa.remote.address in spoke.addresses
    )


def set_profile(net: Simnet, hub: SimNode, *more: IdentityMatch) -> None:
    """`set isakmp-profile dmvpn-profile`, as the guide's hub has it; more: what it matches, too."""
    config = hub.router.config
    ipsec = replace(config.ipsec_profiles["ESE_DMVPN"], isakmp_profile="dmvpn-profile")
    profile = config.profiles["dmvpn-profile"]
    profile = replace(profile, match_identity=(*profile.match_identity, *more))
    configure(
        net,
        hub,
        ipsec_profiles={**config.ipsec_profiles, "ESE_DMVPN": ipsec},
        profiles={**config.profiles, "dmvpn-profile": profile},
    )


def test_a_spoke_without_a_domain_matches_none_of_the_profiles(net: Simnet) -> None:
    """r35-3-1022 has no domain name, and its address in its certificate: `match identity host
    domain cisco.com` fits neither. The flow is for peers of the profile, so it gets none.
    """
    hub, spoke = net.nodes["s-dmvpn-headend"], net.nodes["r35-3-1022"]
    set_profile(net, hub)
    assert not tunnel_comes_up(net, spoke, hub)
    told = [r for r in hub.of(Refused) if r.reason == "profile-mismatch"]
    assert told and "(192.168.187.194) matches no profile" in told[-1].detail
    set_profile(net, hub, IdentityMatch("address", "192.168.187.194"))
    net.give(spoke, Clear())  # the profile is chosen when the peer proves who it is
    net.run(1)
    assert tunnel_comes_up(net, spoke, hub)
