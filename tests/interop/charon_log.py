"""What a charon wrote of its keys: its level-4 log, and the SAs it gave to the kernel.

The log shows octets as a label and a hex dump below it:

    05[IKE] SKEYID => 32 bytes @ 0x7f02e4005490
    05[IKE]    0: 3A 10 5C ...  :.\\...
    05[IKE]   16: 9F 8E 07 ...  ...

Labels are strongSwan's (keymat_v1.c, child_sa.c); the dataclasses use the words of RFC 2409.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

_HEAD = re.compile(r"(\d+\[[A-Z]+\]) (.+) => (\d+) bytes @ 0x[0-9a-f]+")
_LINE = re.compile(r"(\d+\[[A-Z]+\]) +\d+: ((?:[0-9A-F]{2} ){1,16}).*")
_NEXT_IV = "next IV for MID "


@dataclass(frozen=True, slots=True)
class Dump:
    """Octets of the log under their label."""

    label: str
    octets: bytes


@dataclass(frozen=True, slots=True)
class MainModeKeys:
    """Phase 1 as one daemon computed it. encryption_key: Ka. iv: of the first encrypted message.

    hash_i_data, hash_r_data: what the prf was taken over.
    """

    g_xy: bytes
    skeyid: bytes
    skeyid_d: bytes
    skeyid_a: bytes
    skeyid_e: bytes
    encryption_key: bytes
    iv: bytes
    hash_i_data: bytes
    hash_i: bytes
    hash_r_data: bytes
    hash_r: bytes


@dataclass(frozen=True, slots=True)
class DirectionKeys:
    """KEYMAT of one direction, cut into its keys. seed: what the prf was taken over, after K(n-1).

    The seed is g(qm)^xy (with PFS), protocol, SPI, Ni_b, Nr_b.
    """

    seed: bytes
    encryption_key: bytes
    integrity_key: bytes


@dataclass(frozen=True, slots=True)
class QuickModeKeys:
    """One quick mode as one daemon computed it. iv: of its first message. g_xy: b"" without PFS.

    from_initiator: protects what the initiator sends, from_responder the other direction.
    """

    message_id: int
    iv: bytes
    g_xy: bytes
    hash_1: bytes
    hash_2: bytes
    hash_3: bytes
    from_initiator: DirectionKeys
    from_responder: DirectionKeys


@dataclass(frozen=True, slots=True)
class KernelSa:
    """One SA as the daemon gave it to the kernel. spi: 4 octets. mode: "transport" or "tunnel"."""

    source: str
    destination: str
    spi: bytes
    protocol: int
    mode: str
    encryption_key: bytes
    integrity_key: bytes


def parse_dumps(text: str) -> list[Dump]:
    """All hex dumps of a log in order. Raises ValueError for one that is cut short."""
    lines = iter(text.splitlines())
    dumps = []
    for line in lines:
        head = _HEAD.fullmatch(line)
        if head is None:
            continue
        thread, label, length = head[1], head[2], int(head[3])
        octets = b""
        while len(octets) < length:
            row = _LINE.fullmatch(next(lines, ""))
            if row is None or row[1] != thread:
                raise ValueError(f"the dump of {label!r} ends after {len(octets)} of {length}")
            octets += bytes.fromhex(row[2])
        dumps.append(Dump(label, octets[:length]))
    return dumps


def parse_main_mode(text: str) -> MainModeKeys:
    """The first main mode of a log. Raises ValueError where it is not complete."""
    dumps = parse_dumps(text)
    return MainModeKeys(
        g_xy=_first(dumps, "shared Diffie Hellman secret"),
        skeyid=_first(dumps, "SKEYID"),
        skeyid_d=_first(dumps, "SKEYID_d"),
        skeyid_a=_first(dumps, "SKEYID_a"),
        skeyid_e=_first(dumps, "SKEYID_e"),
        encryption_key=_first(dumps, "encryption key Ka"),
        iv=_first(dumps, "initial IV"),
        hash_i_data=_first(dumps, "HASH_I data"),
        hash_i=_first(dumps, "HASH_I"),
        hash_r_data=_first(dumps, "HASH_R data"),
        hash_r=_first(dumps, "HASH_R"),
    )


def parse_quick_mode(text: str) -> QuickModeKeys:
    """The first quick mode of a log. Raises ValueError where it is not complete."""
    dumps = parse_dumps(text)
    secrets = [dump.octets for dump in dumps if dump.label == "DH secret"]  # phase 2 only
    message_id, iv = _first_phase2_iv(dumps)
    return QuickModeKeys(
        message_id=message_id,
        iv=iv,
        g_xy=secrets[0] if secrets else b"",
        hash_1=_first(dumps, "Hash(1)"),
        hash_2=_first(dumps, "Hash(2)"),
        hash_3=_first(dumps, "Hash(3)"),
        from_initiator=_direction(dumps, "initiator"),
        from_responder=_direction(dumps, "responder"),
    )


def read_kernel_sas(path: Path) -> list[KernelSa]:
    """The SAs of a daemon that were added, in order (one JSON object a line)."""
    events = [json.loads(line) for line in path.read_text().splitlines()]
    return [
        KernelSa(
            source=event["src"],
            destination=event["dst"],
            spi=bytes.fromhex(event["spi"]),
            protocol=event["proto"],
            mode=event["mode"],
            encryption_key=bytes.fromhex(event["enc_key"]),
            integrity_key=bytes.fromhex(event.get("auth_key", "")),
        )
        for event in events
        if event["op"] in ("add", "upd")
    ]


def _first(dumps: list[Dump], label: str) -> bytes:
    for dump in dumps:
        if dump.label == label:
            return dump.octets
    raise ValueError(f"the log has no {label!r}")


def _first_phase2_iv(dumps: list[Dump]) -> tuple[int, bytes]:
    """Message ID 0 is phase 1; of each other one the first IV shown is the exchange's initial."""
    for dump in dumps:
        message_id = dump.label.removeprefix(_NEXT_IV)
        if message_id not in (dump.label, "0"):
            return int(message_id), dump.octets
    raise ValueError("the log has no phase 2 exchange")


def _direction(dumps: list[Dump], sender: str) -> DirectionKeys:
    """charon names keys and seeds after who sends with the SA; the SPI in them is the other's."""
    return DirectionKeys(
        seed=_first(dumps, f"{sender} SA seed"),
        encryption_key=_first(dumps, f"encryption {sender} key"),
        integrity_key=_first(dumps, f"integrity {sender} key"),
    )
