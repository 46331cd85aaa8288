"""Entering a network namespace by name or path, for a while or for good.

Sockets and TAP devices stay in the namespace they were opened in, so one process can hold ends in
several. Only the calling thread moves. Python has `os.setns` from 3.12 on; this is the C call.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ikelab.errors import LabError

NAMED = Path("/run/netns")  # where `ip netns add` keeps them

_CLONE_NEWNET = 0x40000000
_LIBC = ctypes.CDLL(None, use_errno=True)


def enter(namespace: str) -> None:
    """Move this thread into a namespace: a name of `ip netns list`, or a path with a slash.

    Raises LabError where there is none, or without the right to enter it.
    """
    path = Path(namespace) if "/" in namespace else NAMED / namespace
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise LabError(
            f"no network namespace {namespace}: {error.strerror}",
            hint="is the lab deployed? `ip netns list` shows the namespaces there are",
        ) from error
    try:
        _set(descriptor, namespace)
    finally:
        os.close(descriptor)


@contextmanager
def inside(namespace: str | None) -> Iterator[None]:
    """Run a block in a namespace and come back; None stays where we are.

    Nothing in the block may await or start threads. Raises LabError as `enter`.
    """
    if namespace is None:
        yield
        return
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        enter(namespace)
        try:
            yield
        finally:
            _set(home, "we came from")
    finally:
        os.close(home)


def _set(descriptor: int, name: str) -> None:
    """setns(2), its failure as a LabError."""
    if _LIBC.setns(descriptor, _CLONE_NEWNET) != 0:
        reason = os.strerror(ctypes.get_errno())
        raise LabError(
            f"cannot enter network namespace {name}: {reason}",
            hint="network namespaces need root (start with sudo)",
        )
