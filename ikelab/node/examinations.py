"""Peers' certificates whose check is under way: what the debug log says of them at the verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ikelab.pki.enrollment_events import Trust
from ikelab.pki.events import PathExamined


class Examinations:
    """Between `CheckPeerCert` and its verdict, by the SA's handle."""

    def __init__(self) -> None:
        self._open: dict[int, PathExamined] = {}

    def begin(self, handle: int, certificates: Sequence[bytes], trusts: Sequence[Trust]) -> None:
        """A check starts. certificates: DER, the peer's own first."""
        vouching = tuple(
            (trust.trustpoint, trust.anchors[0], "crl" in trust.revocation_check)
            for trust in trusts
            if trust.anchors
        )
        leaf = certificates[0] if certificates else b""
        self._open[handle] = PathExamined(handle, leaf, len(certificates), vouching)

    def end(self, handle: int, reason: str = "") -> list[PathExamined]:
        """The verdict: the notice, before the engine is told. reason: why they do not hold."""
        examined = self._open.pop(handle, None)
        return [] if examined is None else [replace(examined, reason=reason)]
