"""Our codec takes strongSwan's recorded messages apart and builds the same octets again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ikelab.errors import WireError
from ikelab.wire.isakmp import (
    HEADER_LENGTH,
    build_message,
    build_payloads,
    parse_header,
    parse_payloads,
    payload_names,
)

FILES = sorted((Path(__file__).parent / "strongswan").glob("*.json"))
IDS = [path.stem for path in FILES]


def entries(path: Path) -> list[dict[str, Any]]:
    run = json.loads(path.read_text())
    return [*run["main_mode"], *run["quick_mode"]["messages"], *run["informational"]]


def body_of(entry: dict[str, Any]) -> bytes:
    """What the payloads stand in: decrypted where it was encrypted."""
    return bytes.fromhex(entry["plain"]) if "plain" in entry else message_of(entry)[HEADER_LENGTH:]


def message_of(entry: dict[str, Any]) -> bytes:
    return bytes.fromhex(entry["message"])


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_payloads_are_rebuilt_octet_by_octet(path):
    for entry in entries(path):
        header = parse_header(message_of(entry))
        body = body_of(entry)
        payloads = parse_payloads(header.next_payload, body, padding="plain" in entry)
        first, octets = build_payloads([payload.packet for payload in payloads])
        assert first == header.next_payload
        assert octets == body[: len(octets)]
        # strongSwan pads with zeros, by a whole block where the body was whole blocks already.
        assert set(body[len(octets) :]) <= {0}
        assert len(body) - len(octets) <= 16


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_clear_messages_are_rebuilt_with_their_header(path):
    for entry in entries(path)[:4]:
        message = message_of(entry)
        assert build_message(parse_header(message), message[HEADER_LENGTH:]) == message


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_payload_names_are_those_of_the_exchange(path):
    signatures = json.loads(path.read_text())["pre_shared_key"] is None
    names = [
        [
            name
            for name in payload_names(
                parse_payloads(
                    parse_header(message_of(entry)).next_payload,
                    body_of(entry),
                    padding="plain" in entry,
                )
            )
            if name not in ("VID", "CERT_REQ")
        ]
        for entry in entries(path)
    ]
    proof = ["ID", "CERT", "SIG"] if signatures else ["ID", "HASH"]
    # A PFS quick mode carries KE after the nonce.
    group = ["KE"] if json.loads(path.read_text())["quick_mode"]["g_qm_xy"] else []
    offer = ["HASH", "SA", "NONCE", *group, "ID", "ID"]
    nat = ["KE", "NONCE", "NAT-D", "NAT-D"]
    delete = ["HASH", "D"]
    assert names == [["SA"], ["SA"], nat, nat, proof, proof, offer, offer, ["HASH"], delete, delete]


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_every_cut_of_a_clear_message_is_refused(path):
    for entry in entries(path)[:4]:
        message = message_of(entry)
        first = parse_header(message).next_payload
        for length in range(len(message) - HEADER_LENGTH):
            with pytest.raises(WireError):
                parse_payloads(first, message[HEADER_LENGTH:][:length])


def test_all_recordings_are_here():
    assert len(FILES) == 6
