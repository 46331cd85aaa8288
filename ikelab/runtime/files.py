"""Where a certificate server's files are written and read: a storage host by FTP, or own nvram."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path

from ikelab.errors import IkelabError, LabError
from ikelab.node.events import (
    FileNotStored,
    FileStored,
    ReadStorage,
    StorageNotRead,
    StorageRead,
    StoreFile,
)
from ikelab.pki.recovery import StorageContents
from ikelab.runtime.ftp import OthersFile, download, upload

# Seconds between two states of a .ser file: a busy CA has a new one every few milliseconds, and
# each costs the disk as much as the certificate does. What comes meanwhile is one state later.
PACE = 0.25


class NodeFiles:
    """Carries out a router's file actions. nvram: the directory for what has no URL."""

    def __init__(self, nvram: Path) -> None:
        self._nvram = nvram
        self._written: dict[str, float] = {}  # .ser files, and when

    async def carry_out(
        self, action: StoreFile | ReadStorage
    ) -> FileStored | FileNotStored | StorageRead | StorageNotRead:
        """Either."""
        return await (self.store(action) if isinstance(action, StoreFile) else self.read(action))

    async def store(self, action: StoreFile) -> FileStored | FileNotStored:
        """Write one file; it is there whole or not at all."""
        await self._pace(action.name)
        try:
            if action.url is None:
                # In a thread: a CA goes on issuing while the disk takes its time.
                path = self._nvram / action.name
                await asyncio.to_thread(_write, path, action.octets, action.replaces)
            else:
                await upload(action.url, action.name, action.octets, action.replaces)
        except IkelabError as error:
            is_others = isinstance(error, OthersFile)
            return FileNotStored(action.server, action.order, str(error), is_others)
        return FileStored(action.server, action.order)

    async def _pace(self, name: str) -> None:
        if name.endswith(".ser"):
            loop = asyncio.get_running_loop()
            await asyncio.sleep(self._written.get(name, 0.0) + PACE - loop.time())
            self._written[name] = loop.time()

    async def read(self, action: ReadStorage) -> StorageRead | StorageNotRead:
        """List the storage and read what fits."""
        try:
            if action.url is None:
                names, files = _read(self._nvram, action.pattern)
            else:
                names, files = await download(action.url, action.pattern)
        except IkelabError as error:
            return StorageNotRead(action.handle, str(error))
        return StorageRead(action.handle, StorageContents(names, files))


def _write(path: Path, octets: bytes, replaces: bytes | None) -> None:
    """Written beside, flushed, renamed; the directory too, or the name might not last."""
    beside = path.with_name(path.name + ".tmp")
    try:
        if replaces is not None and path.exists() and path.read_bytes() not in (replaces, octets):
            raise OthersFile(path.name)
        with open(beside, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as stream:
            stream.write(octets)
            stream.flush()
            os.fsync(stream.fileno())
        beside.replace(path)
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise LabError(f"cannot write {path.name}: {error.strerror}") from error


def _read(directory: Path, pattern: str) -> tuple[tuple[str, ...], dict[str, bytes]]:
    try:
        names = tuple(sorted(path.name for path in directory.iterdir() if path.is_file()))
        wanted = [name for name in names if re.fullmatch(pattern, name)]
        return names, {name: (directory / name).read_bytes() for name in wanted}
    except OSError as error:
        raise LabError(f"cannot read {directory.name}: {error.strerror}") from error
