"""Mutated messages: the codec raises WireError or reads exactly; nothing else ever happens.

Seeded, so a failure repeats; the seed and the octets are in the assertion.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from scapy.layers.isakmp import ISAKMP

from ikelab.errors import WireError
from ikelab.wire.isakmp import HEADER_LENGTH, build_payloads, parse_header, parse_payloads
from tests.wire_samples import SAMPLES, message

ROUNDS = 1000
INTERESTING = (0, 1, 2, 3, 4, 5, 7, 8, 12, 13, 18, 20, 64, 127, 128, 132, 254, 255)
SEEDS = [
    message("SA of phase 1", "VENDOR_ID", "VENDOR_ID"),
    message("KE", "NONCE", "CERT_REQ", "NAT_D", "NAT_D", "VENDOR_ID"),
    message("HASH", "SA of phase 2", "NONCE", "ID", "ID", "NAT_OA"),
    message("ID", "CERT", "SIG", "INITIAL-CONTACT"),
    message("HASH", "R-U-THERE", "DELETE of two ESP SAs", "DELETE_WITH_REASON", "FRAGMENT"),
    message(*SAMPLES),
]


def flip_bit(octets: bytearray, rng: random.Random) -> None:
    octets[rng.randrange(len(octets))] ^= 1 << rng.randrange(8)


def set_octet(octets: bytearray, rng: random.Random) -> None:
    octets[rng.randrange(len(octets))] = rng.choice(INTERESTING)


def set_length(octets: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(octets) - 1)
    octets[at : at + 2] = rng.choice((0, 1, 3, 4, 8, 12, len(octets), 0xFFFF)).to_bytes(2, "big")


def cut_out(octets: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(octets))
    del octets[at : at + rng.randrange(1, 9)]


def put_in(octets: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(octets))
    octets[at:at] = rng.randbytes(rng.randrange(1, 9))


def repeat(octets: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(octets))
    octets[at:at] = octets[at : at + rng.randrange(1, 65)]


Mutation = Callable[[bytearray, random.Random], None]
MUTATIONS: tuple[Mutation, ...] = (flip_bit, set_octet, set_length, cut_out, put_in, repeat)


def mutate(datagram: bytes, rng: random.Random, mend_length: bool) -> bytes:
    octets = bytearray(datagram)
    for _ in range(rng.randrange(1, 5)):
        if len(octets) > 1:
            rng.choice(MUTATIONS)(octets, rng)
    if mend_length and len(octets) >= HEADER_LENGTH:  # so the payloads are reached
        octets[24:28] = len(octets).to_bytes(4, "big")
    return bytes(octets)


def take(datagram: bytes, padding: bool) -> bool:
    """Whether the datagram was taken; anything but WireError, or a rebuild that differs, fails."""
    try:
        header = parse_header(datagram)
        payloads = parse_payloads(
            header.next_payload, datagram[HEADER_LENGTH:], offset=HEADER_LENGTH, padding=padding
        )
    except WireError as error:
        assert 0 <= error.offset <= len(datagram)
        assert error.field
        return False
    first, octets = build_payloads([payload.packet for payload in payloads])
    assert first == header.next_payload
    rest = datagram[HEADER_LENGTH + len(octets) :]
    assert HEADER_LENGTH + len(octets) + len(rest) == len(datagram)
    assert datagram[HEADER_LENGTH : len(datagram) - len(rest)] == octets
    assert len(rest) < (256 if padding else 1)
    return True


@pytest.mark.parametrize("seed", range(len(SEEDS)))
def test_mutated_message_is_refused_or_read_exactly(seed: int) -> None:
    rng = random.Random(seed)
    taken = 0
    for number in range(ROUNDS):
        datagram = mutate(SEEDS[seed], rng, mend_length=number % 4 != 0)
        try:
            taken += take(datagram, padding=number % 3 == 0)
        except Exception as error:
            raise AssertionError(f"seed {seed}, round {number}: {datagram.hex()}") from error
    assert 0 < taken < ROUNDS, "both outcomes must be reached"


@pytest.mark.parametrize("seed", range(len(SEEDS)))
def test_scapy_shows_and_rebuilds_any_mutation(seed: int) -> None:
    """What a script sees of a malformed message: tolerant, and the same octets again."""
    rng = random.Random(1000 + seed)
    for number in range(ROUNDS // 5):
        datagram = mutate(SEEDS[seed], rng, mend_length=True)
        if len(datagram) < HEADER_LENGTH:
            continue
        packet = ISAKMP(datagram)
        assert packet.show(dump=True), f"round {number}: {datagram.hex()}"
        assert bytes(packet) == datagram
        packet.clear_cache()
        assert bytes(packet) == datagram, f"round {number}: {datagram.hex()}"


@pytest.mark.parametrize("length", [0, 1, 27, 28, 29, 60, 1500, 65535])
def test_random_octets_are_refused(length: int) -> None:
    rng = random.Random(length)
    for _ in range(50):
        octets = rng.randbytes(length)
        with pytest.raises(WireError):
            parse_header(octets)
        try:
            parse_payloads(rng.randrange(256), octets)
        except WireError:
            continue
        assert not octets  # type 0 and no octets is the one well-formed chain
