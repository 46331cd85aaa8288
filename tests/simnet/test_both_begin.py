"""Both ends of a tunnel have packets at once: two main modes cross, and nobody is left waiting."""

import pytest

from ikelab.ios.config_text import parse_config
from ikelab.isakmp.events import ActivateIpsecSa
from tests.simnet.labs import LABS
from tests.simnet.network import Simnet, SimNode

CONFIGS = LABS / "first-tunnel-psk" / "configs"


def usable(one: SimNode, other: SimNode) -> bool:
    """Whether `one` may send by a pair that `other` has."""
    active = {action.inbound_spi for action in one.of(ActivateIpsecSa)}
    return any(
        (pair.initiator or spi in active) and pair.outbound.spi in other.installed
        for spi, pair in one.installed.items()
    )


# The wire's delays come from the seed: which messages cross or overtake others is its matter.
@pytest.mark.parametrize("seed", range(12))
def test_packets_pass_both_ways_after_a_second(seed: int) -> None:
    net = Simnet(seed)
    for name in ("hub", "spoke1"):
        net.add(parse_config((CONFIGS / f"{name}.cfg").read_text(), file=f"{name}.cfg"))
    hub, spoke = net.nodes["hub"], net.nodes["spoke1"]
    net.acquire(hub)
    net.acquire(spoke)
    assert net.run(1, lambda: usable(hub, spoke) and usable(spoke, hub))
    net.run(60)
    assert usable(hub, spoke) and usable(spoke, hub)
    assert hub.keys() == spoke.keys()
