"""A certificate server's files on a storage host, by FTP: written whole or not at all, read back.

STOR under a temporary name, SIZE to see that all of it arrived (a data connection that breaks
leaves half a file behind), then RNFR and RNTO, which replace an older one in one step.
"""

from __future__ import annotations

import asyncio
import ftplib
import io
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import TypeVar
from urllib.parse import unquote, urlsplit

from ikelab.errors import ConfigError, LabError

T = TypeVar("T")

_PORT = 21
_SECONDS = 10.0  # for connecting and for each reply: a dead host must not hold a CA up for long
_TRANSFER_SECONDS = 30.0  # for a whole file: nor one that takes an octet now and then
_MAX_FILE = 1 << 22  # octets; a CRL of 100,000 entries has 3.7 million
_MAX_NAMES = 1 << 18

# Names of files come from serial numbers and server names; nothing else may reach the host.
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,100}")


class OthersFile(LabError):
    """A file is there that somebody else has written."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name} is not as this server left it, so another writes to its storage: stop that"
            " one, move its file away, then `no shutdown`"
        )


@dataclass(frozen=True, slots=True)
class FtpTarget:
    """Where `database url ftp://...` leads. directory: relative to the user's home, "" for it."""

    host: str
    port: int = _PORT
    user: str = "anonymous"
    password: str = field(default="", repr=False)
    directory: str = ""

    def __str__(self) -> str:
        """The address without the password."""
        return f"ftp://{self.host}:{self.port}"


def parse_ftp_url(url: str) -> FtpTarget:
    """The parts of `ftp://[user[:password]@]a.b.c.d[:port][/directory]`. Raises ConfigError.

    The host is a dotted address: a lab has no DNS.
    """
    try:
        parts = urlsplit(url)
        host, port = str(IPv4Address(parts.hostname or "")), parts.port or _PORT
    except ValueError as error:
        raise ConfigError(
            "the host of an ftp:// URL must be an IPv4 address", hint="a lab has no DNS"
        ) from error
    if parts.scheme != "ftp":
        raise ConfigError(f"only ftp:// can be written to, not {parts.scheme or 'a bare path'}")
    user = unquote(parts.username or "anonymous")
    target = FtpTarget(host, port, user, unquote(parts.password or ""), unquote(parts.path[1:]))
    if any(ord(char) < 32 for char in target.user + target.password + target.directory):
        raise ConfigError("control characters in an ftp:// URL")
    return target


async def upload(url: str, name: str, octets: bytes, replaces: bytes | None = None) -> None:
    """Store one file under its final name, replacing an older one.

    replaces: what the older one must hold, None for anything. Raises ConfigError (the URL),
    OthersFile or LabError (the host, the account, the transfer). The work is done in a thread; a
    cancelled caller leaves it to end by itself.
    """
    target = parse_ftp_url(url)
    await _in_thread(lambda: store_files(target, [(name, octets)], replaces))


async def download(url: str, pattern: str) -> tuple[tuple[str, ...], dict[str, bytes]]:
    """The names in the directory, and the files whose whole name fits the regular expression.

    Raises as `upload`.
    """
    target = parse_ftp_url(url)
    return await _in_thread(lambda: read_files(target, pattern))


async def _in_thread(work: Callable[[], T]) -> T:
    """The result of what blocks. Nobody waits for the thread when the process ends.

    asyncio.to_thread would: a dead storage host would then hold up the end of a node.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def deliver(result: T | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]  # no error, so it is a T

    def run() -> None:
        result, fault = None, None
        try:
            result = work()
        except BaseException as error:
            fault = error
        try:
            loop.call_soon_threadsafe(deliver, result, fault)
        except RuntimeError:
            pass  # the loop is closed: nobody wants to know any more

    threading.Thread(target=run, name="ftp", daemon=True).start()
    return await done


def store_files(
    target: FtpTarget, files: Sequence[tuple[str, bytes]], replaces: bytes | None = None
) -> None:
    """Store files one after the other over one connection; blocks. Raises as `upload`."""
    for name, _ in files:
        if not _FILE_NAME.fullmatch(name):
            raise LabError(f"{name!r} is no name for a file on a storage host")
    with _session(target) as session:
        for name, octets in files:
            if replaces is not None:
                session.doing = f"looking at {name}"
                _refuse_others(session.ftp, name, (replaces, octets))
            session.doing = f"storing {name}"
            _store(session.ftp, name, octets)


def read_files(target: FtpTarget, pattern: str) -> tuple[tuple[str, ...], dict[str, bytes]]:
    """The same for reading; blocks. Names with signs of their own are left out."""
    with _session(target) as session:
        session.doing = "listing the directory"
        names = _list(session.ftp)
        files = {}
        for name in names:
            if re.fullmatch(pattern, name):
                session.doing = f"reading {name}"
                files[name] = _retrieve(session.ftp, name)
    return names, files


@dataclass(slots=True)
class _Session:
    """A connection that is logged in. doing: for the error message."""

    ftp: ftplib.FTP
    doing: str


@contextmanager
def _session(target: FtpTarget) -> Iterator[_Session]:
    """Connect, log in, change directory; what goes wrong up to the end is a LabError."""
    session = _Session(ftplib.FTP(timeout=_SECONDS), "connecting")
    try:
        with session.ftp as ftp:
            ftp.connect(target.host, target.port)
            session.doing = f"logging in as {target.user}"
            ftp.login(target.user, target.password)
            if target.directory:
                session.doing = f"changing to {target.directory}"
                ftp.cwd(target.directory)
            yield session
    except (ftplib.Error, OSError, EOFError, UnicodeError) as error:
        # ftplib's error texts are the server's reply lines; ours are never in them.
        reason = getattr(error, "strerror", None) or str(error) or "the server hung up"
        raise LabError(f"{target}: {session.doing}: {reason}") from error


def _store(ftp: ftplib.FTP, name: str, octets: bytes) -> None:
    """One file: temporary name, size, rename."""
    temporary = f"{name}.tmp"
    deadline = time.monotonic() + _TRANSFER_SECONDS

    def sent(block: bytes) -> None:
        if time.monotonic() > deadline:
            raise ftplib.Error(f"not all of it was taken in {_TRANSFER_SECONDS:g} s")

    # storbinary sets TYPE I, which SIZE needs.
    ftp.storbinary(f"STOR {temporary}", io.BytesIO(octets), callback=sent)
    size = ftp.size(temporary)
    if size != len(octets):
        raise ftplib.Error(f"only {size} of {len(octets)} octets arrived")
    ftp.rename(temporary, name)


def _refuse_others(ftp: ftplib.FTP, name: str, ours: tuple[bytes, bytes]) -> None:
    """ours: what was there, and what is to be, for the answer to that may have been lost."""
    try:
        found = _retrieve(ftp, name)
    except ftplib.error_perm:
        return  # no such file; where it is another fault, storing will tell
    if found not in ours:
        raise OthersFile(name)


def _list(ftp: ftplib.FTP) -> tuple[str, ...]:
    names: list[str] = []
    deadline = time.monotonic() + _TRANSFER_SECONDS

    def take(line: str) -> None:
        if len(names) >= _MAX_NAMES or time.monotonic() > deadline:
            raise ftplib.Error(f"the listing has no end after {len(names)} names")
        if _FILE_NAME.fullmatch(line):
            names.append(line)

    try:
        ftp.retrlines("NLST", take)
    except ftplib.error_perm as error:
        if not str(error).startswith("550"):  # some servers' word for an empty directory
            raise
    return tuple(names)


def _retrieve(ftp: ftplib.FTP, name: str) -> bytes:
    octets = bytearray()
    deadline = time.monotonic() + _TRANSFER_SECONDS

    def take(block: bytes) -> None:
        octets.extend(block)
        if len(octets) > _MAX_FILE or time.monotonic() > deadline:
            raise ftplib.Error(f"no end after {len(octets)} octets")

    ftp.retrbinary(f"RETR {name}", take)
    return bytes(octets)
