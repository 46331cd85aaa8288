"""Where `ikelab attack` attacks: a router, and beside an honest peer at the end of a tunnel."""

from pathlib import Path

import pytest

from ikelab.errors import LabError
from ikelab.lab.attack import find_place
from ikelab.lab.topology import load

LABS = Path(__file__).parents[2] / "netns"


@pytest.mark.parametrize("lab", ["first-tunnel", "first-tunnel-psk", "migration", "strangers"])
def test_the_hub_is_attacked_beside_a_spoke(lab: str) -> None:
    place = find_place(load(LABS / lab), None)
    assert (place.hub.name, place.peer.name) == ("hub", "spoke1")
    assert all(place.tunnel)


@pytest.mark.parametrize("node", [None, "hub", "spoke1"])
def test_behind_a_nat_there_is_no_honest_peer(node: str | None) -> None:
    with pytest.raises(LabError) as refused:
        find_place(load(LABS / "nat"), node)
    assert "without a NAT between them" in str(refused.value.hint)
