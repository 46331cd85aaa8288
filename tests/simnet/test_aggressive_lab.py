"""What the README of `first-tunnel-psk` says of aggressive mode, carried out."""

from __future__ import annotations

import re

from ikelab.ios.config_text import parse_config
from ikelab.isakmp.events import Transition
from tests.simnet.labs import LABS, tunnel_comes_up
from tests.simnet.network import Simnet

LAB = LABS / "first-tunnel-psk"


def added_lines() -> list[str]:
    """The two indented blocks of the section, as text for a configuration."""
    section = (LAB / "README.md").read_text().split("## Aggressive mode")[1]
    blocks = re.findall(r"(?m)(?:^    .*\n)+", section)
    return [re.sub(r"(?m)^    ", "", block) for block in blocks]


def test_the_lines_of_the_readme_bring_the_tunnel_up_in_aggressive_mode() -> None:
    both, spokes = added_lines()
    net = Simnet()
    for name, more in (("hub", both), ("spoke1", both + spokes)):
        text = (LAB / "configs" / f"{name}.cfg").read_text()
        net.add(parse_config(f"{more}!\n{text}", file=f"{name}.cfg"))
    hub, spoke = net.nodes["hub"], net.nodes["spoke1"]
    assert tunnel_comes_up(net, spoke, hub)
    for node, state in ((spoke, "IKE_I_AM1"), (hub, "IKE_R_AM2")):
        moves = [action for action in node.log if isinstance(action, Transition)]
        assert state in {move.new_state for move in moves}
