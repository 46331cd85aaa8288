"""The storage node: FTP for the certificate servers, HTTP for whoever wants a CRL.

Each FTP user has a home of its own. The web server shows the same files, read-only: `/NAME` is
looked for in every home in the order of `lab.yaml`, `/USER/NAME` in one. Private keys
(PKCS#12 archives) and unfinished files are not shown.

One asyncio loop serves everything: pyftpdlib's own loop is an epoll descriptor, watched like any
other.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

from ikelab.errors import LabError
from ikelab.pki.ca_events import HttpIn, HttpOut
from ikelab.runtime.control import Conditions, Json, serve_until_stopped
from ikelab.runtime.http import HttpServer
from ikelab.runtime.nodespec import FtpUser, NodeSpec

with warnings.catch_warnings():
    # pyftpdlib stands on asyncore, which Python 3.11 announces the end of; on 3.12 it brings its
    # own copy.
    warnings.simplefilter("ignore", DeprecationWarning)
    from pyftpdlib.authorizers import DummyAuthorizer
    from pyftpdlib.handlers import FTPHandler
    from pyftpdlib.ioloop import IOLoop
    from pyftpdlib.servers import FTPServer

FTP_PORT = 21
HTTP_PORT = 80
PASSIVE_PORTS = range(50000, 50100)  # fixed, so that a filter can name them
_CONNECTIONS = 64
_IDLE_SECONDS = 60
_PERMISSIONS = "elradfmwMT"  # all but what pyftpdlib has no use for here
_UNFINISHED = ".tmp"

_MEDIA_TYPES = {
    ".crl": "application/pkix-crl",
    ".crt": "application/pkix-cert",
    ".cer": "application/pkix-cert",
    ".cnm": "text/plain",
    ".ser": "text/plain",
}
_PATH = re.compile(r"/(?:([A-Za-z0-9][A-Za-z0-9._-]*)/)?([A-Za-z0-9][A-Za-z0-9._-]*)")

_LOG = logging.getLogger(__name__)


def main(spec: NodeSpec, ready: int) -> int:
    """Serve until SIGTERM. Called in the forked child, inside the node's namespace."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    asyncio.run(_serve(spec, ready))
    return 0


async def _serve(spec: NodeSpec, ready: int) -> None:
    storage = Storage(spec.data_dir, spec.ftp_users)
    await storage.start("0.0.0.0", FTP_PORT, HTTP_PORT)
    await serve_until_stopped(
        spec.control_path,
        {"snapshot": lambda request: storage.snapshot(), "wait": storage.conditions.serve},
        ready,
    )
    await storage.close()


class Storage:
    """The files of one storage node and the two servers for them.

    root: directory of the homes. Conditions to wait for: "ready", and "stored" of a file name.
    """

    def __init__(self, root: Path, users: Sequence[FtpUser]) -> None:
        self.homes = {user.name: root / user.name for user in users}
        self.conditions = Conditions({"ready": lambda of: True, "stored": self._is_stored})
        self._users = tuple(users)
        self._http = HttpServer(self.answer)
        self._ftp: _Ftp | None = None

    async def start(self, address: str, ftp_port: int, http_port: int) -> None:
        """Make the homes and listen; port 0 takes a free one. Raises LabError."""
        for home in self.homes.values():
            home.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._ftp = _Ftp(address, ftp_port, self._users, self.homes, self.conditions)
        await self._http.start(address, http_port)

    async def close(self) -> None:
        """Hang up on everybody."""
        if self._ftp is not None:
            self._ftp.close()
        await self._http.close()

    @property
    def ports(self) -> tuple[int, int]:
        """The FTP and the HTTP port."""
        return (self._ftp.port if self._ftp else 0), self._http.port

    def answer(self, request: HttpIn) -> HttpOut:
        """The web server: one file, or why not."""
        if request.method not in ("GET", "HEAD"):
            return HttpOut(405, "text/plain", b"files can only be read here\n")
        found = self._find(request.target.partition("?")[0])
        if found is None:
            return HttpOut(404, "text/plain", b"no such file\n")
        return HttpOut(200, _MEDIA_TYPES[found.suffix], found.read_bytes())

    def snapshot(self) -> dict[str, Json]:
        """All files, for `inspect`."""
        return {"files": list(self._files()), "conditions": dict(self.conditions.held())}

    def _find(self, path: str) -> Path | None:
        """The file that a request path means, if it may be shown."""
        match = _PATH.fullmatch(path)
        if match is None:
            return None
        user, name = match.groups()
        homes = [self.homes[user]] if user in self.homes else [] if user else self.homes.values()
        for home in homes:
            file = home / name
            if file.suffix in _MEDIA_TYPES and file.is_file() and not file.is_symlink():
                return file
        return None

    def _is_stored(self, of: str | None) -> bool:
        return any(name == of or of is None for name in self._names())

    def _names(self) -> Iterator[str]:
        for home in self.homes.values():
            for file in home.iterdir() if home.is_dir() else ():
                if file.suffix != _UNFINISHED:
                    yield file.name

    def _files(self) -> Iterator[Json]:
        for user, home in self.homes.items():
            for file in sorted(home.rglob("*")):
                if file.is_file():
                    status = file.stat()
                    changed = datetime.fromtimestamp(status.st_mtime, UTC)
                    yield {
                        "user": user,
                        "name": str(file.relative_to(home)),
                        "size": status.st_size,
                        "changed": changed.isoformat(timespec="seconds"),
                    }


class _Ftp:
    """pyftpdlib's server on the running asyncio loop."""

    def __init__(
        self,
        address: str,
        port: int,
        users: Sequence[FtpUser],
        homes: dict[str, Path],
        conditions: Conditions,
    ) -> None:
        authorizer = DummyAuthorizer()
        for user in users:
            authorizer.add_user(user.name, user.password, str(homes[user.name]), _PERMISSIONS)

        class Handler(_Handler):
            """The handler of this server: pyftpdlib configures a class, not an object."""

        Handler.authorizer = authorizer
        Handler.changed = staticmethod(conditions.changed)
        self._loop = asyncio.get_running_loop()
        self._ioloop = IOLoop()
        self._timer: asyncio.TimerHandle | None = None
        try:
            self._server = FTPServer((address, port), Handler, ioloop=self._ioloop)
        except OSError as error:
            self._ioloop.close()
            raise LabError(
                f"cannot serve FTP on {address}:{port}: {error.strerror or error}"
            ) from error
        self._server.max_cons = _CONNECTIONS
        self.port = int(self._server.address[1])
        self._loop.add_reader(self._ioloop.fileno(), self._turn)

    def close(self) -> None:
        """Close all connections."""
        self._loop.remove_reader(self._ioloop.fileno())
        if self._timer is not None:
            self._timer.cancel()
        self._server.close_all()

    def _turn(self) -> None:
        """One turn of pyftpdlib's loop, then its next time-out becomes ours."""
        if self._timer is not None:
            self._timer.cancel()
        seconds = self._ioloop.loop(timeout=0, blocking=False)
        self._timer = None if seconds is None else self._loop.call_later(seconds, self._turn)


class _Handler(FTPHandler):  # type: ignore[misc]  # pyftpdlib has no types
    """One FTP session."""

    banner = "storage ready"
    timeout = _IDLE_SECONDS
    passive_ports: ClassVar[Any] = PASSIVE_PORTS
    max_login_attempts = 3
    changed: ClassVar[Any] = None

    def on_file_received(self, file: str) -> None:
        """A whole file: on the disk before the client is told."""
        descriptor = os.open(file, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)

    def on_incomplete_file_received(self, file: str) -> None:
        """The data connection broke: half a file is of no use."""
        os.unlink(file)

    def ftp_RNTO(self, path: str) -> str | None:  # noqa: N802 (pyftpdlib's name)
        """A file has its final name: somebody may wait for it."""
        result: str | None = super().ftp_RNTO(path)
        type(self).changed()
        return result
