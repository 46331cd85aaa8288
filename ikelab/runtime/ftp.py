"""Writing one file to a storage host by FTP, so that it is there whole or not at all.

STOR under a temporary name, SIZE to see that all of it arrived (a data connection that breaks
leaves half a file behind), then RNFR and RNTO, which replace an older one in one step.
"""

from __future__ import annotations

import asyncio
import ftplib
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from urllib.parse import unquote, urlsplit

from ikelab.errors import ConfigError, LabError

_PORT = 21
_SECONDS = 10.0  # for connecting and for each reply: a dead host must not hold a CA up for long

# Names of files come from serial numbers and server names; nothing else may reach the host.
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,100}")


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


async def upload(url: str, name: str, octets: bytes) -> None:
    """Store one file under its final name, replacing an older one.

    Raises ConfigError (the URL) or LabError (the host, the account, the transfer). The work is
    done in a thread; a cancelled caller leaves it to end by itself.
    """
    await asyncio.to_thread(store_files, parse_ftp_url(url), [(name, octets)])


def store_files(target: FtpTarget, files: Sequence[tuple[str, bytes]]) -> None:
    """Store files one after the other over one connection; blocks. Raises as `upload`."""
    for name, _ in files:
        if not _FILE_NAME.fullmatch(name):
            raise LabError(f"{name!r} is no name for a file on a storage host")
    doing = "connecting"
    try:
        with ftplib.FTP(timeout=_SECONDS) as ftp:
            ftp.connect(target.host, target.port)
            doing = f"logging in as {target.user}"
            ftp.login(target.user, target.password)
            if target.directory:
                doing = f"changing to {target.directory}"
                ftp.cwd(target.directory)
            for name, octets in files:
                doing = f"storing {name}"
                _store(ftp, name, octets)
    except (ftplib.Error, OSError, EOFError, UnicodeError) as error:
        # ftplib's error texts are the server's reply lines; ours are never in them.
        reason = getattr(error, "strerror", None) or str(error) or "the server hung up"
        raise LabError(f"{target}: {doing}: {reason}") from error


def _store(ftp: ftplib.FTP, name: str, octets: bytes) -> None:
    """One file: temporary name, size, rename."""
    temporary = f"{name}.tmp"
    ftp.storbinary(f"STOR {temporary}", io.BytesIO(octets))  # sets TYPE I, which SIZE needs
    size = ftp.size(temporary)
    if size != len(octets):
        raise ftplib.Error(f"only {size} of {len(octets)} octets arrived")
    ftp.rename(temporary, name)
