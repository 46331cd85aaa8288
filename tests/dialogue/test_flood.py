"""A flood of first messages: memory stays bounded, a live tunnel is not touched."""

from ikelab.isakmp.admission import HALF_OPEN_IN_ALL, HALF_OPEN_OF_ADDRESS
from ikelab.isakmp.events import DatagramReceived, SendDatagram
from ikelab.types import Endpoint
from tests.dialogue.playbook import R_END, Pair, esp_keys


def message_1():
    pair = Pair(seed="flood")
    pair.request()
    return pair.i.outbox[0].octets


def flood(pair, addresses):
    octets = message_1()
    for number, address in enumerate(addresses):
        forged = (number + 1).to_bytes(8, "big") + octets[8:]
        pair.elapsed += 0.001
        pair.give(pair.r, DatagramReceived(R_END, Endpoint(address, 500), forged))
    pair.r.outbox.clear()  # the answers go to addresses that never asked


def test_spoofed_addresses_cannot_fill_the_memory_or_end_a_tunnel():
    pair = Pair()
    pair.establish()
    flood(pair, (f"198.51.{n // 250}.{n % 250 + 1}" for n in range(3000)))
    assert len(pair.r.engine.table.sas) == HALF_OPEN_IN_ALL + 1
    assert pair.r.engine.table.established_with(pair.i.end) is not None
    assert pair.r.engine.drops["half-open-limit"] == 3000 - HALF_OPEN_IN_ALL
    pair.establish()
    assert esp_keys(pair.i) == esp_keys(pair.r)


def test_one_address_gets_no_more_than_its_share():
    pair = Pair()
    flood(pair, ["198.51.100.7"] * 50)
    assert len(pair.r.engine.table.sas) == HALF_OPEN_OF_ADDRESS


def test_a_newcomer_gets_through_in_the_middle_of_a_flood():
    pair = Pair()
    flood(pair, (f"198.51.{n // 250}.{n % 250 + 1}" for n in range(400)))
    pair.establish()
    assert esp_keys(pair.i) == esp_keys(pair.r) != []


def test_answers_are_never_larger_than_the_question():
    pair = Pair()
    octets = message_1()
    pair.give(pair.r, DatagramReceived(R_END, Endpoint("198.51.100.7", 500), octets))
    assert all(len(answer.octets) < len(octets) for answer in pair.r.of(SendDatagram))
