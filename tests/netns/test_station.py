"""A script's socket: in a namespace of a lab or on loopback, towards addresses of labs only."""

from __future__ import annotations

import pytest

from ikelab.errors import LabError
from ikelab.isakmp.events import InstallIpsecSa
from ikelab.runtime.station import Station
from ikelab.script import MM3, MM4
from ikelab.types import Endpoint
from tests.netns.segment import Segment

NODES = {"hub": "192.0.2.1", "spoke": "192.0.2.2"}
SECRET = "of these two only"


def test_nothing_is_opened_outside_a_lab():
    with pytest.raises(LabError, match=r"203\.0\.113\.1 belongs to the host, not to a lab"):
        Station("203.0.113.1")
    with pytest.raises(LabError, match="the namespace office belongs to no lab"):
        Station("192.0.2.1", namespace="office")
    with pytest.raises(LabError, match="no network namespace ikelab-none-hub"):
        Station("192.0.2.1", namespace="ikelab-none-hub")


def test_from_loopback_only_loopback_is_sent_to():
    with Station("127.0.0.1", port=50500) as station:
        for address in ("192.0.2.1", "8.8.8.8", "128.0.0.1"):
            with pytest.raises(LabError, match=f"{address} is not sent to"):
                station.send(b"", Endpoint(address, 500))
        station.send(b"to myself", station.end)
        assert station.receive(1.0) == (b"to myself", station.end)


def test_two_peers_on_loopback():
    with Station("127.0.0.1", port=50500) as one, Station("127.0.0.1", port=50501) as other:
        first = one.peer("127.0.0.1", remote_port=50501, pre_shared_key=SECRET)
        second = other.peer("127.0.0.1", remote_port=50500, pre_shared_key=SECRET)
        one.begin(first)
        for _ in range(20):
            other.serve(second, seconds=0.02)
            if one.serve(first, until=lambda: bool(first.of(InstallIpsecSa)), seconds=0.02):
                break
        assert first.states == ["IKE_P1_COMPLETE"]


@pytest.mark.needs_root
def test_in_a_lab_only_what_a_lab_owns_is_sent_to():
    with Segment(NODES) as wan:
        with Station(NODES["spoke"], namespace=wan.namespace("spoke")) as station:
            for address in ("192.0.2.77", "198.51.100.1"):
                with pytest.raises(LabError, match=f"{address} is not sent to: no lab"):
                    station.send(b"", Endpoint(address, 500))
                with pytest.raises(LabError, match=f"{address} is not sent to: no lab"):
                    station.spoof(station.end, b"", Endpoint(address, 500))
            with pytest.raises(LabError, match=r"addresses of labs:.*192\.0\.2\.1, .*192\.0\.2\.2"):
                station.send(b"", Endpoint("192.0.2.77", 500))


@pytest.mark.needs_root
def test_a_taken_port_is_told_with_what_would_help():
    with Segment(NODES) as wan, Station(NODES["hub"], namespace=wan.namespace("hub")):
        with pytest.raises(LabError, match="take another port"):
            Station(NODES["hub"], namespace=wan.namespace("hub"))


@pytest.mark.needs_root
def test_a_datagram_as_if_from_somebody_else():
    with Segment(NODES) as wan:
        with (
            Station(NODES["hub"], namespace=wan.namespace("hub")) as hub,
            Station(NODES["spoke"], namespace=wan.namespace("spoke")) as spoke,
        ):
            spoke.spoof(Endpoint("203.0.113.9", 4711), b"not me", hub.end)
            assert hub.receive(1.0) == (b"not me", Endpoint("203.0.113.9", 4711))


@pytest.mark.needs_root
def test_where_a_nat_seems_to_be_the_dialogue_goes_on_at_port_4500():
    with Segment(NODES) as wan:
        with (
            Station(NODES["hub"], namespace=wan.namespace("hub")) as hub,
            Station(NODES["spoke"], namespace=wan.namespace("spoke")) as spoke,
        ):
            first = spoke.peer(NODES["hub"], pre_shared_key=SECRET)
            first.on(MM3).mutate(nat_d=bytes(32))
            first.on_receipt(MM4).mutate(nat_d=bytes(32))
            second = hub.peer(NODES["spoke"], pre_shared_key=SECRET)
            spoke.begin(first)
            for _ in range(40):
                hub.serve(second, seconds=0.02)
                if spoke.serve(first, until=lambda: bool(first.of(InstallIpsecSa)), seconds=0.02):
                    break
            assert first.sa.remote == Endpoint(NODES["hub"], 4500)
            assert first.states == second.states == ["IKE_P1_COMPLETE"]
