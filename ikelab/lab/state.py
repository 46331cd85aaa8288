"""What is known of a deployed lab: its directory under /run/ikelab, its state file, its lock.

The state file is written before anything is made, so that whatever a killed process leaves behind
can be found and removed. It holds no secret.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from ikelab.errors import LabError
from ikelab.lab.topology import LAB_NAME
from ikelab.runtime import nodespec

_VERSION = 1
_FILE = "state.json"
_ROOM = 4 << 20  # first-tunnel takes between 400 KB and 1.5 MB
_LOCK_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
SUPERVISOR = "supervisor"
"""Stem of the supervisor's socket and log in the lab's directory."""


@dataclass(frozen=True, slots=True)
class Process:
    """A process that cannot be taken for a later one of the same id. started: clock ticks."""

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> Process:
        """The process that has this id now."""
        return cls(pid, _start_time(pid))

    @property
    def is_alive(self) -> bool:
        """Whether it still runs."""
        return self.started != 0 and _start_time(self.pid) == self.started


@dataclass(frozen=True, slots=True)
class LabState:
    """One deployed lab, or what is left of it. supervisor: None until it was forked."""

    lab: str
    folder: str
    namespaces: tuple[str, ...]
    supervisor: Process | None = None

    @property
    def is_running(self) -> bool:
        """Whether somebody looks after it."""
        return self.supervisor is not None and self.supervisor.is_alive


def run_dir(lab: str) -> Path:
    """The lab's private directory of sockets, logs, traces and frames."""
    return nodespec.RUN_DIRECTORY / lab


def control_path(lab: str) -> Path:
    """The supervisor's control socket."""
    return run_dir(lab) / f"{SUPERVISOR}.sock"


def write(state: LabState) -> None:
    """Make the directory where needed and put the state there, whole or not at all."""
    directory = run_dir(state.lab)
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.chmod(0o700)
        temporary = directory / f".{_FILE}.{os.getpid()}"
        temporary.write_text(json.dumps({"version": _VERSION, **asdict(state)}, indent=1) + "\n")
        temporary.chmod(0o600)
        temporary.rename(directory / _FILE)
    except OSError as error:
        raise LabError(
            f"cannot write {directory}: {error.strerror}", hint="is /run full or read-only?"
        ) from error


def check_room() -> None:
    """Raise LabError where the smallest lab's logs, keys and frames would not fit.

    A daemon that finds no room for its log dies without a word.
    """
    free = shutil.disk_usage(nodespec.RUN_DIRECTORY).free
    if free < _ROOM:
        raise LabError(
            f"{nodespec.RUN_DIRECTORY} has only {free // 1024} KB left",
            hint=f"a lab keeps its logs, keys and frames there: {_ROOM >> 20} MB at least",
        )


def read(lab: str) -> LabState | None:
    """The state of a lab; None where there is none, or none that can be read."""
    try:
        content = json.loads((run_dir(lab) / _FILE).read_text())
        if content.get("version") != _VERSION:
            return None
        process = content["supervisor"]
        return LabState(
            content["lab"],
            content["folder"],
            tuple(content["namespaces"]),
            None if process is None else Process(int(process["pid"]), int(process["started"])),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # `destroy` then goes by the names of the namespaces


def labs() -> tuple[str, ...]:
    """Names of all labs with a directory, deployed or left over."""
    root = nodespec.RUN_DIRECTORY
    if not root.is_dir():
        return ()
    found = (path.name for path in root.iterdir() if path.is_dir())
    return tuple(sorted(name for name in found if LAB_NAME.fullmatch(name)))


def forget(lab: str) -> None:
    """Remove the lab's directory with all that is in it."""
    shutil.rmtree(run_dir(lab), ignore_errors=True)


@contextmanager
def locked(names: Sequence[str], *, wait: bool = False) -> Iterator[None]:
    """Nobody else deploys or destroys labs of these names meanwhile.

    Raises LabError if somebody does, or waits for the end of it.
    """
    with ExitStack() as stack:
        for name in sorted(names):
            stack.enter_context(_lock(nodespec.RUN_DIRECTORY / f".{name}.lock", wait))
        yield
    with suppress(OSError):
        nodespec.RUN_DIRECTORY.rmdir()  # the last lab leaves nothing


@contextmanager
def _lock(path: Path, wait: bool) -> Iterator[None]:
    """Hold a file's lock; the file is there only as long as it is held."""
    while True:
        with _open_lock(path) as stream:
            _take_lock(stream, wait)
            if not _is_the_file(stream, path):
                continue  # its last holder has removed it: this is no lock any more
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return


def _open_lock(path: Path) -> IO[bytes]:
    """A file object, so that no interruption can leave the descriptor open."""
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        return open(path, "wb", opener=lambda name, _: os.open(name, _LOCK_FLAGS, 0o600))
    except OSError as error:
        raise LabError(f"cannot write {path}: {error.strerror}") from error


def _take_lock(stream: IO[bytes], wait: bool) -> None:
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError as error:
        raise LabError(
            "another ikelab deploys or removes this lab", hint="wait for it to finish"
        ) from error


def _is_the_file(stream: IO[bytes], path: Path) -> bool:
    """Whether the path still leads to the open file."""
    try:
        return os.path.samestat(os.fstat(stream.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _start_time(pid: int) -> int:
    """Field 22 of /proc/PID/stat, 0 where there is no such process or it is only waited for."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] == "Z" else int(fields[19])
