"""A node's trace: what its engines did with each datagram, one JSON object a line.

The node appends while it runs; when the lab is captured, the lines become the comments of the
frames and the key tables of the Wireshark directory. The file holds session keys: mode 0600, in
the lab's private directory. A last line that a crash tore is passed over.

    {"t": "message", "sent": true, "digest": "9f..", "comment": "...", "timestamp": 1234567890}
    {"t": "refused", "peer": "192.0.2.1:500", "reason": "revoked", "digest": "9f..", ...}
    {"t": "ike", "cky_i": "..", "key": "..", "skeyid": ".."}
    {"t": "esp", "source": "..", "destination": "..", "spi": "..", ...}     one a direction
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from ikelab.capture.annotate import Direction, TraceRecord
from ikelab.capture.keytable import EspKey, IkeKey
from ikelab.capture.refusals import Refusal
from ikelab.errors import LabError
from ikelab.ipsec import udp_encap
from ikelab.isakmp import events as isakmp_events
from ikelab.isakmp.events import (
    DatagramReceived,
    InstallIpsecSa,
    KeyMaterial,
    PlainMessage,
    Refused,
    SendDatagram,
)
from ikelab.isakmp.policy import TransformSet
from ikelab.runtime.clock import LabClock
from ikelab.wire.numbers import AuthAlgorithm, EncapsulationMode, EspTransform

_SENDS = re.compile(r"\([IR]\) sends (\w+)")
_REFUSED = "message reason detail payload rule seen wanted config".split()
_REMEMBERED = 4096  # messages of peers, several times the spokes of one hub
Traced = PlainMessage | KeyMaterial | InstallIpsecSa
Line = Mapping[str, str | int | bool | None]


@dataclass(frozen=True, slots=True)
class Trace:
    """All that a node wrote down, in its order."""

    records: tuple[TraceRecord, ...] = ()
    ike: tuple[IkeKey, ...] = ()
    esp: tuple[EspKey, ...] = ()
    refusals: tuple[Refusal, ...] = ()


class TraceWriter:
    """Appends to a node's trace. Each line is written at once: it survives the process.

    clock: the lab's, as captures have it.
    """

    def __init__(self, path: Path, clock: LabClock | None = None) -> None:
        self._clock = clock or LabClock()
        self._digests: dict[tuple[str, str], str] = {}  # of a peer's message, to name it later
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            self._descriptor = os.open(path, flags, 0o600)
        except OSError as error:
            raise LabError(f"cannot write {path}: {error.strerror}") from error

    def __enter__(self) -> Self:
        """The writer itself."""
        return self

    def __exit__(self, *_: object) -> None:
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
                key = IkeKey.of(action)
                told = {"cky_i": key.cky_i.hex(), "key": key.encryption_key.hex()}
                self._append({"t": "ike", **told, "skeyid": key.skeyid.hex()})
            case InstallIpsecSa():
                for key_of_esp in EspKey.pair_of(action):
                    self._append(_esp_line(key_of_esp))

    def message(self, datagram: bytes, comment: str, *, sent: bool) -> str:
        """A comment on the frame that carries this UDP payload; its digest, hexadecimal."""
        digest = hashlib.sha256(datagram).hexdigest()
        told: Line = {"sent": sent, "digest": digest, "comment": comment, "timestamp": self._now()}
        self._append({"t": "message", **told})
        return digest

    def sent(self, action: SendDatagram) -> None:
        """A datagram went out."""
        on_wire = udp_encap.on_wire(action.local, action.octets)
        digest = self.message(on_wire, action.comment, sent=True)
        found = _SENDS.search(action.comment)
        if found is not None:
            self._remember(action.remote.address, found[1], digest)

    def received(self, node: str, event: DatagramReceived, actions: Iterable[object]) -> None:
        """A datagram came in, and this is what became of it. node: the host name."""
        taken, told, refused = list[str](), list[str](), list[Refused]()
        for action in actions:
            if isinstance(action, PlainMessage) and not action.sent:
                taken.append(action.message)
                told.append(action.comment)
            elif isinstance(action, isakmp_events.Trace) and action.name == "message-waits":
                told.append(f"{node} keeps this message until the peer is authenticated")
            elif isinstance(action, Refused):
                refused.append(action)
                detail = f" ({action.detail})" if action.detail else ""
                told.append(f"{node}: {action.message} refused: {action.reason}{detail}")
        comment = "\n".join(told or [f"{node} took this message before"])
        on_wire = udp_encap.on_wire(event.local, event.octets)
        digest = self.message(on_wire, comment, sent=False)
        for name in taken:
            self._remember(event.remote.address, name, digest)
        for one in refused:
            self._refused(one, digest)

    def refused(self, actions: Iterable[object]) -> None:
        """What was refused without a datagram that came in just now: a timer, a certificate."""
        for action in actions:
            if isinstance(action, Refused):
                about = (action.peer.address, action.message)
                self._refused(action, self._digests.get(about, ""))

    def _refused(self, action: Refused, digest: str) -> None:
        told = {field: getattr(action, field) for field in _REFUSED}
        told |= {"peer": str(action.peer), "digest": digest, "timestamp": self._now()}
        self._append({"t": "refused", **told})

    def _remember(self, address: str, message: str, digest: str) -> None:
        self._digests[address, message] = digest
        if len(self._digests) > _REMEMBERED:
            del self._digests[next(iter(self._digests))]

    def _now(self) -> int:
        return time.time_ns() + self._clock.ahead_of_machine_ns()

    def _append(self, line: Line) -> None:
        os.write(self._descriptor, json.dumps(line, separators=(",", ":")).encode() + b"\n")


def read_trace(path: Path, node: str) -> Trace:
    """The trace of a node; an empty one where it wrote nothing. LabError if it is none of ours."""
    records: list[TraceRecord] = []
    ike: list[IkeKey] = []
    esp: list[EspKey] = []
    refusals: list[Refusal] = []
    try:
        for line in _lines(path):
            match line["t"]:
                case "message":
                    records.append(_record(line, node))
                case "ike":
                    written = (line["cky_i"], line["key"], line.get("skeyid", ""))
                    ike.append(IkeKey(*map(bytes.fromhex, written)))
                case "refused":
                    told = {key: value for key, value in line.items() if key != "t"}
                    refusals.append(Refusal(node=node, **told))
                case "esp":
                    esp.append(_esp_key(line))
    except (KeyError, TypeError, ValueError) as error:
        raise LabError(f"{path} is no trace of a node: {error!r}") from error
    return Trace(tuple(records), tuple(ike), tuple(esp), tuple(refusals))


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
