"""Hypothesis over recorded messages: only our two errors, and work linear in octets."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ikelab.errors import ProtocolError, WireError
from ikelab.isakmp.message import HEADER_LENGTH, check_header, open_clear
from ikelab.wire.isakmp import Header, build_message, parse_header, parse_payloads
from ikelab.wire.numbers import ExchangeType, PayloadType

VECTORS = Path(__file__).parents[1] / "vectors" / "strongswan"


def recorded() -> list[bytes]:
    """Messages of stock strongSwan, the encrypted ones in clear."""
    found = []
    for path in sorted(VECTORS.glob("*.json")):
        vector = json.loads(path.read_text())
        for entry in (*vector["main_mode"], *vector["informational"]):
            octets = bytes.fromhex(entry["message"])
            if entry.get("plain"):
                octets = octets[:19] + b"\0" + octets[20:28] + bytes.fromhex(entry["plain"])
                octets = octets[:24] + len(octets).to_bytes(4, "big") + octets[28:]
            found.append(octets)
    return found


MESSAGES = recorded()
splices = st.lists(
    st.tuples(st.integers(0, 4000), st.integers(0, 40), st.binary(max_size=40)), max_size=4
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    octets = bytearray(draw(st.sampled_from(MESSAGES)))
    for place, length, new in draw(splices):
        at = place % (len(octets) + 1)
        octets[at : at + length] = new
    if draw(st.booleans()) and len(octets) >= HEADER_LENGTH:
        octets[24:28] = len(octets).to_bytes(4, "big")
    return bytes(octets)


def take(octets: bytes) -> None:
    """What the engine does with a datagram before it knows a state."""
    header = parse_header(octets)
    check_header(header)
    opened = open_clear(header, octets)
    assert sum(4 + len(payload.body) for payload in opened.payloads) == len(octets) - HEADER_LENGTH


def test_what_strongswan_sent_is_taken() -> None:
    assert len(MESSAGES) > 30
    taken = 0
    for octets in MESSAGES:
        try:
            take(octets)
            taken += 1
        except WireError:
            # Decrypted bodies end in padding, which only an encrypted message may have.
            parse_payloads(octets[16], octets[HEADER_LENGTH:], padding=True)
    assert taken


@settings(
    max_examples=2000, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)
@given(mutated())
def test_only_our_two_errors(octets: bytes) -> None:
    try:
        take(octets)
    except (WireError, ProtocolError):
        pass


@pytest.mark.nightly
@settings(max_examples=60_000, deadline=None, suppress_health_check=list(HealthCheck))
@given(mutated())
def test_only_our_two_errors_by_night(octets: bytes) -> None:
    try:
        take(octets)
    except (WireError, ProtocolError):
        pass


# --- linear work ----------------------------------------------------------------------------------


def steps_of(work: Callable[[], object]) -> int:
    """Calls that a piece of work makes: a counter, not a clock."""
    count = 0

    def tick(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(tick)
    try:
        work()
    except WireError:
        pass
    finally:
        sys.setprofile(None)
    return count


def chain(kind: PayloadType, count: int, body: bytes) -> bytes:
    """`count` payloads of one kind, in a message."""
    one = len(body) + 4
    octets = b"".join(
        bytes([kind if n < count - 1 else 0, 0]) + one.to_bytes(2, "big") + body
        for n in range(count)
    )
    header = Header(b"\1" * 8, bytes(8), kind, ExchangeType.IDENTITY_PROTECTION, 0, 0)
    return build_message(header, octets)


def transforms(count: int) -> bytes:
    """An SA with one proposal of `count` transforms."""
    each = b"".join(
        bytes([3 if n < count - 1 else 0, 0, 0, 12, n % 256, 1, 0, 0]) + b"\x80\x01\x00\x07"
        for n in range(count)
    )
    proposal = bytes([0, 0]) + (8 + len(each)).to_bytes(2, "big") + bytes([1, 1, 0, count % 256])
    body = b"\0\0\0\1\0\0\0\1" + proposal + each
    octets = bytes([0, 0]) + (4 + len(body)).to_bytes(2, "big") + body
    header = Header(b"\1" * 8, bytes(8), 1, ExchangeType.IDENTITY_PROTECTION, 0, 0)
    return build_message(header, octets)


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda n: chain(PayloadType.VENDOR_ID, n, b"x" * 16), id="payloads"),
        pytest.param(transforms, id="transforms"),
    ],
)
def test_work_grows_with_the_octets_and_no_faster(make: Callable[[int], bytes]) -> None:
    take(make(2))  # caches and first calls
    few, many = steps_of(lambda: take(make(10))), steps_of(lambda: take(make(60)))
    assert many < 6.5 * few


def test_one_large_payload_costs_no_more_than_a_small_one() -> None:
    small, large = (
        chain(PayloadType.VENDOR_ID, 1, b"x"),
        chain(PayloadType.VENDOR_ID, 1, b"x" * 60_000),
    )
    take(small)
    assert steps_of(lambda: take(large)) <= 1.1 * steps_of(lambda: take(small))


@pytest.mark.parametrize("count", [65, 1000, 16_000])
def test_too_many_payloads_are_refused_before_anything_is_built(count: int) -> None:
    legal = steps_of(lambda: take(chain(PayloadType.VENDOR_ID, 60, b"")))
    crowd = chain(PayloadType.VENDOR_ID, count, b"")
    with pytest.raises(WireError, match="payloads"):
        take(crowd)
    assert steps_of(lambda: take(crowd)) < legal


@pytest.mark.parametrize("count", [300, 4000])
def test_too_many_transforms_are_refused_before_anything_is_built(count: int) -> None:
    legal = steps_of(lambda: take(transforms(250)))
    with pytest.raises(WireError, match="transforms"):
        take(transforms(count))
    assert steps_of(lambda: take(transforms(count))) < legal
