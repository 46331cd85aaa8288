"""A node's trace: what its engines did with each datagram, one JSON object a line.

The node appends while it runs; when the lab is captured, the lines become the comments of the
frames and the key tables of the Wireshark directory. The file holds session keys: mode 0600, in
the lab's private directory. A last line that a crash tore is passed over.

    {"t": "message", "sent": true, "digest": "9f..", "comment": "...", "timestamp": 1234567890}
    {"t": "ike", "cky_i": "..", "key": ".."}
    {"t": "esp", "source": "..", "destination": "..", "spi": "..", ...}     one a direction
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ikelab.capture.annotate import Direction, TraceRecord
from ikelab.capture.keytable import EspKey, IkeKey
from ikelab.errors import LabError
from ikelab.isakmp.events import InstallIpsecSa, KeyMaterial, PlainMessage
from ikelab.isakmp.policy import TransformSet
from ikelab.runtime.clock import LabClock
from ikelab.wire.numbers import AuthAlgorithm, EncapsulationMode, EspTransform

Traced = PlainMessage | KeyMaterial | InstallIpsecSa
Line = Mapping[str, str | int | bool | None]


@dataclass(frozen=True, slots=True)
class Trace:
    """All that a node wrote down, in its order."""

    records: tuple[TraceRecord, ...] = ()
    ike: tuple[IkeKey, ...] = ()
    esp: tuple[EspKey, ...] = ()


class TraceWriter:
    """Appends to a node's trace. Each line is written at once: it survives the process.

    clock: the lab's, as captures have it.
    """

    def __init__(self, path: Path, clock: LabClock | None = None) -> None:
        self._clock = clock or LabClock()
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            self._descriptor = os.open(path, flags, 0o600)
        except OSError as error:
            raise LabError(f"cannot write {path}: {error.strerror}") from error

    def __enter__(self) -> Self:
        """The writer itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """No more lines."""
        os.close(self._descriptor)

    def action(self, action: Traced) -> None:
        """Write down what an engine asked for or reported."""
        match action:
            case PlainMessage():
                self.message(action.datagram, action.comment, sent=action.sent)
            case KeyMaterial():
                key = action.encryption_key.hex()
                self._append({"t": "ike", "cky_i": action.cky_i.hex(), "key": key})
            case InstallIpsecSa():
                for key_of_esp in EspKey.pair_of(action):
                    self._append(_esp_line(key_of_esp))

    def message(self, datagram: bytes, comment: str, *, sent: bool) -> None:
        """A comment on the frame that carries this UDP payload."""
        self._append(
            {
                "t": "message",
                "sent": sent,
                "digest": hashlib.sha256(datagram).hexdigest(),
                "comment": comment,
                "timestamp": time.time_ns() + self._clock.ahead_of_machine_ns(),
            }
        )

    def _append(self, line: Line) -> None:
        os.write(self._descriptor, json.dumps(line, separators=(",", ":")).encode() + b"\n")


def read_trace(path: Path, node: str) -> Trace:
    """The trace of a node; an empty one where it wrote nothing. LabError if it is none of ours."""
    records: list[TraceRecord] = []
    ike: list[IkeKey] = []
    esp: list[EspKey] = []
    try:
        for line in _lines(path):
            match line["t"]:
                case "message":
                    records.append(_record(line, node))
                case "ike":
                    ike.append(IkeKey(bytes.fromhex(line["cky_i"]), bytes.fromhex(line["key"])))
                case "esp":
                    esp.append(_esp_key(line))
    except (KeyError, TypeError, ValueError) as error:
        raise LabError(f"{path} is no trace of a node: {error!r}") from error
    return Trace(tuple(records), tuple(ike), tuple(esp))


def _lines(path: Path) -> Iterator[Mapping[str, Any]]:  # what JSON gives; checked by use
    if not path.exists():
        return
    with path.open("rb") as stream:
        for line in stream:
            if line.endswith(b"\n"):
                yield json.loads(line)


def _record(line: Mapping[str, Any], node: str) -> TraceRecord:
    direction = Direction.SENT if line["sent"] else Direction.RECEIVED
    digest = bytes.fromhex(line["digest"])
    return TraceRecord(node, direction, digest, str(line["comment"]), int(line["timestamp"]))


def _esp_line(key: EspKey) -> Line:
    return {
        "t": "esp",
        "source": key.source,
        "destination": key.destination,
        "spi": key.spi.hex(),
        "transform": key.transform.name,
        "encryption": int(key.transform.encryption),
        "key_length": key.transform.key_length,
        "authentication": key.transform.authentication,
        "mode": int(key.transform.mode),
        "encryption_key": key.encryption_key.hex(),
        "authentication_key": key.authentication_key.hex(),
    }


def _esp_key(line: Mapping[str, Any]) -> EspKey:
    authentication = line["authentication"]
    transform = TransformSet(
        line["transform"],
        EspTransform(line["encryption"]),
        line["key_length"],
        None if authentication is None else AuthAlgorithm(authentication),
        EncapsulationMode(line["mode"]),
    )
    return EspKey(
        source=line["source"],
        destination=line["destination"],
        spi=bytes.fromhex(line["spi"]),
        transform=transform,
        encryption_key=bytes.fromhex(line["encryption_key"]),
        authentication_key=bytes.fromhex(line["authentication_key"]),
    )
