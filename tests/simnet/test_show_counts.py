"""What `show` counts and dates on routers that are at work: pairs, kilobytes, errors, key pairs."""

import json
import re

from ikelab.node.console import Console
from ikelab.node.snapshot import PlaneCounters
from tests.simnet.first_tunnel import boot, enroll_all


def at_work():
    net = boot()
    enroll_all(net)
    spoke = net.nodes["spoke1"]
    for pairs in (1, 2):
        net.acquire(spoke)
        assert net.run(5, lambda pairs=pairs: len(spoke.installed) == pairs)
    net.run(1)
    return net


def shown(net, command, counted=None):
    """At the spoke; counted: PlaneCounters but for the SPI, of each pair."""
    spoke = net.nodes["spoke1"]
    pairs = spoke.router.isakmp.table.pairs
    counters = [PlaneCounters(spi, *counted) for spi in pairs] if counted else []
    return Console(spoke.router, lambda: counters).exec(command, net.now).text


def test_each_pair_has_a_conn_id_of_its_own():
    text = shown(at_work(), "show crypto ipsec sa")
    assert re.findall(r"conn id: (\d+)", text) == ["1", "1", "2", "2"]


def test_kilobytes_go_down_with_what_was_carried_and_errors_are_counted():
    net = at_work()
    fresh = json.loads(shown(net, "show crypto ipsec sa | json"))["ipsec_sas"][0]
    counted = (7, 3, 5 * 1024 + 1, 2, 1)  # packets out and in, octets, errors out and in
    text = shown(net, "show crypto ipsec sa", counted)
    assert f"(k/sec): ({fresh['remaining_kilobytes'] - 5}/" in text
    assert "#pkts encaps: 7," in text and "#pkts decaps: 3," in text
    assert "#send errors 2, #recv errors 1" in text


def test_a_key_pair_is_dated_when_it_was_generated():
    net = at_work()
    text = shown(net, "show crypto key mypubkey rsa")
    assert "% Key pair was generated at: 08:00:" in text
    assert f" {net.now.wall:%Y}" in text.splitlines()[0]


def test_a_regenerated_key_pair_keeps_its_date_when_it_takes_the_place_of_the_old():
    net = boot()
    console = Console(net.nodes["spoke1"].router, lambda: [])
    enroll_all(net)
    lines = ["crypto pki trustpoint ra", "auto-enroll 90 regenerate"]
    net.do(net.nodes["spoke1"], console.configure(lines, net.now).actions)
    label = net.nodes["spoke1"].router.nvram.key_labels()
    first = shown(net, "show crypto key mypubkey rsa")
    day = 24 * 3600
    net.run(400 * day)
    renewed = shown(net, "show crypto key mypubkey rsa")
    assert net.nodes["spoke1"].router.nvram.key_labels() == label
    dates = [re.findall(r"generated at: (.*)", text) for text in (first, renewed)]
    assert len(dates[0]) == len(dates[1]) == 1 and dates[0] != dates[1]
