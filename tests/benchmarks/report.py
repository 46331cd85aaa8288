"""What was measured, run by run, as a table for people and as JSON for programs.

A row is the median over the runs with the lowest and the highest. Times of one machine mean little
on another; the ratios are of two figures of the same run, and those are what to compare.
"""

from __future__ import annotations

import os
import platform
import ssl
import statistics
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path

from cryptography.hazmat.backends.openssl import backend

LIBRARIES = ("cryptography", "scapy")


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. runs: its value in each run, in order."""

    section: str
    name: str
    unit: str
    runs: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle of the runs."""
        return statistics.median(self.runs)

    @property
    def spread(self) -> tuple[float, float]:
        """The lowest and the highest run."""
        return min(self.runs), max(self.runs)


@dataclass(slots=True)
class Report:
    """Rows in the order they were first noted. skipped: why a section has none."""

    runs: int
    handshakes: int
    packets: int
    skipped: dict[str, str] = field(default_factory=dict)
    _values: dict[tuple[str, str, str], list[float]] = field(default_factory=dict)

    def note(self, section: str, name: str, unit: str, value: float) -> None:
        """One run's value of a row."""
        self._values.setdefault((section, name, unit), []).append(value)

    @property
    def rows(self) -> list[Row]:
        """All rows so far."""
        return [Row(*key, tuple(values)) for key, values in self._values.items()]

    def to_json(self) -> dict[str, object]:
        """Everything, for `json.dumps`."""
        return {
            "machine": machine(),
            "runs": self.runs,
            "handshakes": self.handshakes,
            "packets": self.packets,
            "skipped": self.skipped,
            "rows": [
                asdict(row) | {"median": row.median, "low": row.spread[0], "high": row.spread[1]}
                for row in self.rows
            ],
        }

    def to_text(self) -> str:
        """The table."""
        lines = [
            f"{name}: {value}" for name, value in machine().items() if isinstance(value, str | int)
        ]
        lines.append(
            f"{self.runs} runs, all parts of each run in turns; {self.handshakes} handshakes and"
            f" {self.packets} packets a run; median [lowest - highest]"
        )
        section = ""
        for row in self.rows:
            if row.section != section:
                section = row.section
                lines += ["", section]
            lines.append(_line(row))
        for name, reason in self.skipped.items():
            lines += ["", f"{name}", f"  not measured: {reason}"]
        return "\n".join(lines) + "\n"


def _line(row: Row) -> str:
    digits = 0 if row.median >= 1000 else 2
    low, high = row.spread
    median = f"{row.median:.{digits}f}"
    return f"  {row.name:<46} {median:>8} {row.unit:<10} [{low:.{digits}f} - {high:.{digits}f}]"


def machine() -> dict[str, object]:
    """What the figures depend on; nothing that tells whose machine it is."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        **{name: version(name) for name in LIBRARIES},
        "libcrypto of cryptography": backend.openssl_version_text(),
        "libcrypto of the system": ssl.OPENSSL_VERSION,
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
