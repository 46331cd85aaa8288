"""What the foreign IKE daemons have in common: one process in a network namespace, and its end."""

from __future__ import annotations

import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self


class Daemon(ABC):
    """A context manager that starts the daemon, and ends it whatever happens.

    directory: short (a socket lives in it), made here, the caller removes it. xfrm_library: the
    shared object to preload, or None for the kernel's own ESP; sa_file: where it writes the SAs.
    output_file: what the process prints.
    """

    name: ClassVar[str]

    def __init__(
        self, namespace: str, directory: Path, output_file: Path, xfrm_library: Path | None
    ) -> None:
        self.namespace = namespace
        self.directory = directory
        self.sa_file = directory / "xfrm.jsonl"
        self._output_file = output_file
        self._xfrm_library = xfrm_library
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._write_configuration()
        with self._output_file.open("wb") as output:
            self._process = subprocess.Popen(
                self._command(), stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        try:
            self._settle()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None and not isinstance(error, GeneratorExit):
            error.add_note(f"{self.name} in {self.namespace} said last:\n{self.log_tail()}")
        self.stop()

    @property
    def shows_keys(self) -> bool:
        """Whether `sa_file` tells the keys of its SAs; a real kernel keeps them to itself."""
        return self._xfrm_library is not None

    @property
    def pid(self) -> int:
        """The daemon's process."""
        assert self._process is not None
        return self._process.pid

    def wait_for(self, condition: Callable[[], bool], what: str, *, seconds: float = 8.0) -> None:
        """Return when the condition holds. RuntimeError when time is up or the daemon has ended."""
        assert self._process is not None
        deadline = time.monotonic() + seconds
        while not condition():
            if self._process.poll() is not None:
                raise RuntimeError(f"{self.name} ended early:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"no {what} after {seconds} s:\n{self.log_tail()}")
            time.sleep(0.02)

    def stop(self) -> None:
        """End the daemon, which sends its deletes first; safe to call twice."""
        if self._process is None:
            return
        self._ask_to_end(self._process)
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _xfrm_variables(self) -> dict[str, str]:
        """What the preloaded library wants in the daemon's environment."""
        if self._xfrm_library is None:
            return {}
        return {"LD_PRELOAD": str(self._xfrm_library), "FAKEXFRM_LOG": str(self.sa_file)}

    # --- what each daemon has of its own --------------------------------------------------------

    @abstractmethod
    def log_tail(self, lines: int = 40) -> str:
        """The last lines of its log that are worth reading."""

    @abstractmethod
    def _write_configuration(self) -> None: ...

    @abstractmethod
    def _command(self) -> Sequence[str]: ...

    @abstractmethod
    def _settle(self) -> None:
        """Wait until it serves, and give it its connection."""

    @abstractmethod
    def _ask_to_end(self, process: subprocess.Popen[bytes]) -> None: ...
