"""A ladder diagram of the IKE messages between two routers, as SVG text.

Drawn from the nodes' trace records, not from the packets: so it knows which message it is, whether
it was encrypted, and which state each router was in. A message that never arrived ends in a cross;
one in fragments stands where its last piece was sent.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from ikelab.capture.annotate import Direction, TraceRecord

_SENT = re.compile(
    r"(?:Fragment (?P<piece>\d+) of (?P<pieces>\d+): )?"
    r"(?P<node>\S+) \([IR]\) sends (?P<message>\w+)(?: -> (?P<state>\w+))?: (?P<payloads>.*)"
)
_TAKEN = re.compile(r"\S+ \([IR]\) in (?P<state>\w+) takes")
_CLEAR = ("MM1", "MM2", "MM3", "MM4")

_WIDTH, _LEFT, _RIGHT = 900, 240, 700
_TOP, _STEP = 100, 44
_FONT = "font-family='ui-monospace, Menlo, Consolas, monospace'"


@dataclass(frozen=True, slots=True)
class Rung:
    """One message. sender, receiver: node names; receiver "" where nobody took it.

    milliseconds: since the first message. note: a refusal or a repetition, if any.
    """

    milliseconds: float
    sender: str
    receiver: str
    message: str
    payloads: str
    sender_state: str
    receiver_state: str
    note: str = ""

    @property
    def is_encrypted(self) -> bool:
        """Whether phase 1 keys protected it."""
        return self.message not in _CLEAR


def read_rungs(records: Sequence[TraceRecord]) -> list[Rung]:
    """The IKE messages that the records tell of, in order of sending."""
    received: dict[bytes, list[TraceRecord]] = {}
    for record in records:
        if record.direction is Direction.RECEIVED:
            received.setdefault(record.digest, []).append(record)
    sent = sorted(
        (record for record in records if record.direction is Direction.SENT),
        key=lambda record: record.timestamp,
    )
    rungs: list[Rung] = []
    for record in sent:
        found = _SENT.match(record.comment)
        if found is None or found["piece"] != found["pieces"]:
            continue
        answers = received.get(record.digest, [])
        taken = answers.pop(0) if answers else None
        rungs.append(_rung(record, found, taken, sent[0].timestamp))
    return rungs


def _rung(record: TraceRecord, found: re.Match[str], taken: TraceRecord | None, start: int) -> Rung:
    payloads, _, again = found["payloads"].partition(" (")
    note = f"({again}" if again else ""
    if found["pieces"]:
        note = f"(in {found['pieces']} fragments)"
    state = ""
    if taken is not None:
        lines = taken.comment.split("\n")
        accepted = [match["state"] for match in map(_TAKEN.match, lines) if match]
        state = accepted[0] if accepted else ""
        refusals = [line for line in lines if " refused: " in line]
        note = refusals[0].partition(": ")[2] if refusals else note
    return Rung(
        (record.timestamp - start) / 1e6,
        record.node,
        taken.node if taken else "",
        found["message"],
        payloads,
        found["state"] or "",
        state,
        note,
    )


def draw(rungs: Sequence[Rung], *, title: str) -> str:
    """SVG text. The first sender stands on the left; messages of other pairs are left out."""
    left = rungs[0].sender if rungs else ""
    right = next((rung.receiver for rung in rungs if rung.receiver not in ("", left)), "")
    ends = (left, right, "")  # of a lost message nobody knows whose it was to be
    shown = [rung for rung in rungs if rung.sender in ends and rung.receiver in ends]
    height = _TOP + _STEP * len(shown) + 40
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {_WIDTH} {height}' {_FONT}"
        " font-size='13'>",
        f"<rect width='{_WIDTH}' height='{height}' fill='#ffffff'/>",
        f"<text x='{_WIDTH / 2}' y='28' text-anchor='middle' font-size='15'>{escape(title)}</text>",
        f"<text x='{_WIDTH / 2}' y='{height - 8}' text-anchor='middle' fill='#667085'"
        " font-size='11'>braces and blue: encrypted; at the ends: the state each router was in"
        " (receiver) or went to (sender)</text>",
        *(_lifeline(name, x, height) for name, x in ((left, _LEFT), (right, _RIGHT))),
    ]
    for number, rung in enumerate(shown):
        parts += _arrow(rung, _TOP + _STEP * number, rung.sender == left)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _lifeline(name: str, x: int, height: int) -> str:
    return (
        f"<text x='{x}' y='60' text-anchor='middle' font-weight='bold'>{escape(name)}</text>"
        f"<line x1='{x}' y1='70' x2='{x}' y2='{height - 28}' stroke='#9aa5b1'/>"
    )


def _arrow(rung: Rung, y: int, rightwards: bool) -> list[str]:
    start, end = (_LEFT, _RIGHT) if rightwards else (_RIGHT, _LEFT)
    lost = not rung.receiver
    tip = (start + end) // 2 if lost else end
    color = "#b42318" if lost or "refused" in rung.note else "#175cd3"
    color = "#475467" if not rung.is_encrypted and color == "#175cd3" else color
    back = -9 if rightwards else 9
    head = f"{tip},{y} {tip + back},{y - 5} {tip + back},{y + 5}"
    payloads = f"{{ {rung.payloads} }}" if rung.is_encrypted else rung.payloads
    parts = [
        f"<line x1='{start}' y1='{y}' x2='{tip}' y2='{y}' stroke='{color}' stroke-width='1.6'/>",
        f"<text x='{tip}' y='{y + 5}' text-anchor='middle' fill='{color}'>\N{MULTIPLICATION SIGN}"
        "</text>"
        if lost
        else f"<polygon points='{head}' fill='{color}'/>",
        f"<text x='{(_LEFT + _RIGHT) // 2}' y='{y - 7}' text-anchor='middle' fill='{color}'>"
        f"{escape(rung.message)}: {escape(payloads)}</text>",
        f"<text x='8' y='{y + 4}' fill='#98a2b3' font-size='11'>{rung.milliseconds:.1f} ms</text>",
    ]
    for state, at in ((rung.sender_state, start), (rung.receiver_state, end)):
        anchor, x = ("end", at - 8) if at == _LEFT else ("start", at + 8)
        if state:
            parts.append(
                f"<text x='{x}' y='{y + 4}' text-anchor='{anchor}' fill='#667085' font-size='10'>"
                f"{escape(state)}</text>"
            )
    if rung.note:
        parts.append(
            f"<text x='{(_LEFT + _RIGHT) // 2}' y='{y + 14}' text-anchor='middle' fill='{color}'"
            f" font-size='11'>{escape(rung.note)}</text>"
        )
    return parts
