"""NAT traversal with a NAT at either end, both ends with the same private address."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from ikelab.isakmp.events import Action, DatagramReceived, InstallIpsecSa
from ikelab.types import Endpoint
from ikelab.wire.numbers import EncapsulationMode
from tests.dialogue.natpair import PUBLIC, Nat
from tests.dialogue.playbook import (
    AES_SHA256,
    I_END,
    Pair,
    Side,
    config,
    esp_keys,
    gre_flow,
)

PRIVATE = I_END
HUB_PUBLIC = Endpoint("203.0.113.99", 500)
SPOKE_PUBLIC = Endpoint(PUBLIC, 500)


class TwoNats(Pair):
    """spoke1 (initiator) - NAT - NAT that passes ports 500 and 4500 on - hub."""

    def __init__(self, mode: EncapsulationMode) -> None:
        sets = (replace(AES_SHA256, mode=mode),)
        ends = (("spoke1", HUB_PUBLIC), ("hub", SPOKE_PUBLIC))
        super().__init__(
            *(
                config(name, PRIVATE, far, flows=(gre_flow(PRIVATE, far, transform_sets=sets),))
                for name, far in ends
            )
        )
        self.nat = Nat()

    def deliver(
        self, side: Side, change: Callable[[bytes], bytes] = lambda octets: octets
    ) -> list[Action]:
        sent = side.outbox.pop(0)
        octets = change(sent.octets)
        if side is self.i:
            assert sent.remote.address == HUB_PUBLIC.address
            inside = Endpoint(PRIVATE.address, sent.remote.port)
            seen = self.nat.outwards(sent.local)
            return self.give(self.r, DatagramReceived(inside, seen, octets))
        inside_end = self.nat.inwards(sent.remote)
        assert inside_end is not None
        seen = Endpoint(HUB_PUBLIC.address, sent.local.port)
        return self.give(self.i, DatagramReceived(inside_end, seen, octets))


def proxies(side: Side) -> list[tuple[str, str]]:
    """Ours and the peer's of every pair that was installed."""
    return [(i.local_proxy.address, i.remote_proxy.address) for i in side.of(InstallIpsecSa)]


@pytest.mark.parametrize("mode", [EncapsulationMode.TRANSPORT, EncapsulationMode.TUNNEL])
def test_either_end_knows_the_other_by_the_address_of_its_nat(mode: EncapsulationMode) -> None:
    pair = TwoNats(mode)
    pair.request()
    pair.run()
    pair.request(pair.r)  # and the hub begins the second quick mode
    pair.run()
    for side in (pair.i, pair.r):
        assert side.states == ["IKE_P1_COMPLETE"] and not side.refusals
        nat = side.sa.nat
        assert nat is not None and nat.inside and nat.peer_inside
    assert esp_keys(pair.i) == esp_keys(pair.r)
    private = PRIVATE.address
    if mode is EncapsulationMode.TRANSPORT:  # each end's own view: what its packets have
        assert proxies(pair.i) == [(private, HUB_PUBLIC.address)] * 2
        assert proxies(pair.r) == [(private, SPOKE_PUBLIC.address)] * 2
    else:  # the inner packets', which no NAT changes: as who began the quick mode has them
        assert proxies(pair.i) == [(private, HUB_PUBLIC.address), (SPOKE_PUBLIC.address, private)]
        assert proxies(pair.r) == [(theirs, ours) for ours, theirs in proxies(pair.i)]
