"""Refusals of a run: joined with the frames that they are about, and said in a sentence.

A node's record names the datagram by its digest, as the comments of the frames do. The number of a
frame is that of the lab's capture, counted from 1 as Wireshark does.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ikelab.capture.datagram import find_datagrams
from ikelab.capture.pcapng import Frame
from ikelab.errors import PkiError
from ikelab.isakmp.reasons import REASONS, UNKNOWN
from ikelab.pki.name import format_name

# Reasons that only follow from what another node did: that one's own is worth more.
_CONSEQUENCES = {
    *("no-answer", "half-open-timeout", "unauthenticated-informational", "unknown-cookies"),
    *("busy", "peer-dead", "half-open-limit", "phase1-incomplete", "refused-by-peer"),
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a node refused. digest: SHA-256 of the datagram, hexadecimal, "" where it was none.

    timestamp: nanoseconds since 1970 on the capture's clock. peer: dotted address and port. config:
    the line of configuration that decided; config_at: where it stands, "hub.cfg:12". frame: its
    number in the capture, 0 where it is not there. sender: whose datagram it was, where a NAT lends
    its address to several; "" where the address says it.
    """

    node: str
    peer: str
    message: str
    reason: str
    detail: str
    payload: str
    rule: str
    seen: str
    wanted: str
    config: str
    digest: str = ""
    timestamp: int = 0
    config_at: str = ""
    frame: int = 0
    sender: str = ""

    @property
    def mend(self) -> str:
        """What would help."""
        return REASONS.get(self.reason, UNKNOWN).mend

    @property
    def address(self) -> str:
        """The peer's, without its port."""
        return self.peer.rpartition(":")[0]

    def far_end(self, names: Mapping[str, str]) -> str:
        """The peer's name, or its address where it has none. names: node by address."""
        return self.sender or names.get(self.address, self.address)


class FrameIndex:
    """The frames of a capture by the datagrams that they carry or complete."""

    def __init__(self, frames: Sequence[Frame]) -> None:
        self._found: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for number, frame, payload in find_datagrams(frames):
            self._found[hashlib.sha256(payload).hexdigest()].append((frame.timestamp, number))

    def number_of(self, digest: str, timestamp: int) -> int:
        """The frame with this datagram that is nearest in time, 0 where there is none."""
        seen = self._found.get(digest, [])
        nearest = min(seen, key=lambda one: abs(one[0] - timestamp), default=(0, 0))
        return nearest[1]


def find_line(config: str, wanted: str) -> int:
    """The line, from 1, of a configuration that begins with one of these, 0 where none does.

    wanted: as `Refusal.config`, perhaps several separated by ", ".
    """
    lines = [line.strip() for line in config.splitlines()]
    for start in wanted.split(", "):
        for number, line in enumerate(lines, start=1):
            if start and (line == start or line.startswith(start + " ")):
                return number
    return 0


def decisive(
    refusals: Sequence[Refusal], node: str, peer: str | None, names: Mapping[str, str]
) -> Refusal | None:
    """The refusal that says why the last negotiation of a node came to nothing.

    peer: a node's name or an address, None for anybody. names: node by address. What another node
    refused of this one counts, too; what only follows from such a refusal gives way to it, and
    dropped packets of the tunnel to both.
    """
    about = [one for one in refusals if _is_about(one, node, peer, names)]
    about.sort(key=lambda one: one.timestamp)
    negotiating = [one for one in about if one.message != "ESP"]
    causes = [one for one in negotiating if one.reason not in _CONSEQUENCES]
    found = causes or negotiating or about
    return found[-1] if found else None


def _is_about(one: Refusal, node: str, peer: str | None, names: Mapping[str, str]) -> bool:
    other = one.far_end(names)
    if node not in (one.node, other):
        return False
    far, address = (other, one.address) if one.node == node else (one.node, one.node)
    return peer in (None, far, address)


def sentence(refusal: Refusal, names: Mapping[str, str]) -> str:
    """Why, in one sentence: who refused what of whom, where it is seen, and what would mend it."""
    peer = refusal.far_end(names)
    who = f"{peer} ({refusal.peer})" if peer != refusal.address else refusal.peer
    frame = f" (frame {refusal.frame})" if refusal.frame else ""
    if refusal.reason in ("no-answer", "peer-dead", "half-open-timeout"):
        did = f"{refusal.node} gave up on {who}{frame}"
    else:
        did = f"{refusal.node} refused {refusal.message} of {who}{frame}"
    config = f" (`{refusal.config}`" if refusal.config else ""
    if config:
        config += f", {refusal.config_at})" if refusal.config_at else ")"
    detail = refusal.detail or refusal.reason
    detail = detail.rstrip("!.")  # some of IOS's words end a sentence
    return f"{did}: {refusal.reason}: {detail}. To mend it, {refusal.mend}{config}."


def rows(refusal: Refusal) -> list[tuple[str, str]]:
    """The refusal's parts that have something to say, for a table."""
    parts = (
        ("payload", refusal.payload),
        ("rule", refusal.rule),
        ("seen", _with_names(refusal, refusal.seen)),
        ("wanted", _with_names(refusal, refusal.wanted)),
    )
    return [(name, text) for name, text in parts if text]


def _with_names(refusal: Refusal, text: str) -> str:
    """The engine cannot read the CAs of a CERT_REQ, and tells them as DER in hexadecimal."""
    if refusal.payload != "CERT_REQ":
        return text
    return ", ".join(_readable(part) for part in text.split(", "))


def _readable(name: str) -> str:
    try:
        return format_name(bytes.fromhex(name))
    except (ValueError, PkiError):
        return name  # cut short, or no Name: the peer may send any octets
