"""A node's trace: written line by line, read back as what the capture needs."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from pathlib import Path

import pytest

from ikelab.capture.annotate import Direction
from ikelab.capture.keytable import EspKey, IkeKey
from ikelab.errors import LabError
from ikelab.isakmp.events import EspKeys, InstallIpsecSa, KeyMaterial, PlainMessage
from ikelab.isakmp.policy import ProxyIdentity, TransformSet
from ikelab.runtime.trace import Trace, TraceWriter, read_trace
from ikelab.types import Endpoint
from ikelab.wire.numbers import AuthAlgorithm, EncapsulationMode, EspTransform

LOCAL, REMOTE = Endpoint("192.0.2.1", 500), Endpoint("192.0.2.2", 500)
TRANSFORM = TransformSet(
    "T",
    EspTransform.ESP_AES,
    256,
    AuthAlgorithm.HMAC_SHA2_256,
    EncapsulationMode.TRANSPORT,
)


def install(transform: TransformSet) -> InstallIpsecSa:
    return InstallIpsecSa(
        handle=1,
        flow="Tunnel1",
        local=LOCAL,
        remote=REMOTE,
        local_proxy=ProxyIdentity("192.0.2.1"),
        remote_proxy=ProxyIdentity("192.0.2.2"),
        transform=transform,
        inbound=EspKeys(b"\0\0\1\1", b"e" * 32, b"a" * 32),
        outbound=EspKeys(b"\0\0\2\2", b"E" * 32, b"A" * 32),
        lifetime_seconds=3600,
        lifetime_kilobytes=4608000,
        initiator=True,
    )


def test_messages_come_back_in_order_with_digest_direction_and_time(tmp_path: Path) -> None:
    path = tmp_path / "hub.trace.jsonl"
    before = time.time_ns()
    with TraceWriter(path) as trace:
        message = PlainMessage(True, LOCAL, REMOTE, b"one", b"plain", "hub (I) MM1: SA", ("SA",))
        trace.action(message)
        trace.message(b"two", "zwei\nZeilen", sent=False)
    first, second = read_trace(path, "hub").records
    assert (first.node, first.direction, first.comment) == (
        "hub",
        Direction.SENT,
        "hub (I) MM1: SA",
    )
    assert first.digest == hashlib.sha256(b"one").digest()
    assert (second.direction, second.comment) == (Direction.RECEIVED, "zwei\nZeilen")
    assert before <= first.timestamp <= second.timestamp <= time.time_ns()


def test_keys_come_back_as_rows_for_wireshark(tmp_path: Path) -> None:
    path = tmp_path / "hub.trace.jsonl"
    plain = TransformSet("N", EspTransform.ESP_NULL, None, None)
    with TraceWriter(path) as trace:
        trace.action(
            KeyMaterial(b"i" * 8, b"r" * 8, b"k" * 32, (("skeyid", b"secret"), ("g_xy", b"deep")))
        )
        trace.action(install(TRANSFORM))
        trace.action(install(plain))
    read = read_trace(path, "hub")
    assert read.ike == (IkeKey(b"i" * 8, b"k" * 32, b"secret"),)
    assert read.esp == (*EspKey.pair_of(install(TRANSFORM)), *EspKey.pair_of(install(plain)))
    assert b"deep".hex().encode() not in path.read_bytes()


def test_file_is_private(tmp_path: Path) -> None:
    path = tmp_path / "hub.trace.jsonl"
    TraceWriter(path).close()
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


def test_a_second_life_of_the_node_appends(tmp_path: Path) -> None:
    path = tmp_path / "hub.trace.jsonl"
    for text in ("first", "second"):
        with TraceWriter(path) as trace:
            trace.message(b"x", text, sent=True)
    assert [record.comment for record in read_trace(path, "hub").records] == ["first", "second"]


def test_every_torn_end_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "hub.trace.jsonl"
    with TraceWriter(path) as trace:
        trace.message(b"x", "whole", sent=True)
        size = path.stat().st_size
        trace.message(b"y", "torn", sent=True)
    octets = path.read_bytes()
    for end in range(size, len(octets)):
        path.write_bytes(octets[:end])
        assert [record.comment for record in read_trace(path, "hub").records] == ["whole"]


def test_node_without_a_trace_has_an_empty_one(tmp_path: Path) -> None:
    assert read_trace(tmp_path / "none", "hub") == Trace()


@pytest.mark.parametrize(
    "line", ["x\n", "[]\n", "{}\n", '{"t":"ike"}\n', '{"t":"ike","cky_i":"x","key":""}\n']
)
def test_what_is_no_trace_is_told_as_such(tmp_path: Path, line: str) -> None:
    path = tmp_path / "hub.trace.jsonl"
    path.write_text(line)
    with pytest.raises(LabError, match="is no trace of a node"):
        read_trace(path, "hub")


def test_a_link_in_place_of_the_trace_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "trace").symlink_to(tmp_path / "target")
    with pytest.raises(LabError, match="cannot write"):
        TraceWriter(tmp_path / "trace")
    assert not (tmp_path / "target").exists()
