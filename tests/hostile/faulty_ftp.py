"""A storage host that fails in ways a real one does: an FTP server with a fault to switch on."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from tests.tcp_ports import HOST

FAULTS = ("read-only", "full", "hang", "half", "reset", "no-rename", "refuse")
"""STOR refused; cut by the server in the middle, told or not; taken and never read; RNTO refused;
no log-in at all."""


class FaultyFtp(socketserver.ThreadingTCPServer):
    """Serves one directory to anybody. fault: "" for none, or one of FAULTS."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, root: Path) -> None:
        super().__init__((HOST, 0), _Session)
        self.root = root
        self.fault = ""
        self.stopping = threading.Event()
        self.renamed: list[str] = []

    @property
    def url(self) -> str:
        return f"ftp://ca:one@{HOST}:{self.server_address[1]}"


class _Session(socketserver.StreamRequestHandler):
    """One control connection: the few commands that our client sends."""

    server: FaultyFtp
    _replies: ClassVar[dict[str, str]] = {
        "USER": "331 password",
        "TYPE": "200 binary",
        "QUIT": "221 bye",
    }

    def handle(self) -> None:
        self._passive: socket.socket | None = None
        self._from = ""
        self._say("220 storage ready")
        try:
            while line := self.rfile.readline():
                command, _, argument = line.decode().strip().partition(" ")
                answer = self._replies.get(command)
                self._say(answer or getattr(self, f"_{command.lower()}")(argument))
                if command == "QUIT":
                    return
        except OSError:
            pass  # the client has given up
        finally:
            if self._passive is not None:
                self._passive.close()

    def _say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())

    def _pass(self, argument: str) -> str:
        return "530 no" if self.server.fault == "refuse" else "230 in"

    def _pasv(self, argument: str) -> str:
        if self._passive is not None:
            self._passive.close()
        self._passive = socket.create_server((HOST, 0))
        port = self._passive.getsockname()[1]
        return f"227 passive ({HOST.replace('.', ',')},{port >> 8},{port & 255})"

    def _data(self) -> socket.socket:
        assert self._passive is not None
        self._say("150 here it goes")
        with self._passive:
            return self._passive.accept()[0]

    def _nlst(self, argument: str) -> str:
        with self._data() as data:
            names = sorted(path.name for path in self.server.root.iterdir())
            data.sendall("".join(f"{name}\r\n" for name in names).encode())
        return "226 done"

    def _retr(self, argument: str) -> str:
        if not (self.server.root / argument).is_file():
            return "550 no such file"
        with self._data() as data:
            data.sendall((self.server.root / argument).read_bytes())
        return "226 done"

    def _stor(self, argument: str) -> str:
        fault = self.server.fault
        if fault in ("read-only", "full"):
            return "553 Read-only file system" if fault == "read-only" else "452 no space left"
        with self._data() as data:
            if fault == "hang":
                self.server.stopping.wait(60)
                raise OSError("nobody waits any more")
            octets = _read_all(data)
        if fault in ("half", "reset"):
            octets = octets[: len(octets) // 2]
        (self.server.root / argument).write_bytes(octets)
        if fault == "reset":
            raise OSError("the host has died")
        return "226 done"

    def _size(self, argument: str) -> str:
        return f"213 {(self.server.root / argument).stat().st_size}"

    def _rnfr(self, argument: str) -> str:
        self._from = argument
        return "350 to what"

    def _rnto(self, argument: str) -> str:
        if self.server.fault == "no-rename":
            return "553 no"
        (self.server.root / self._from).rename(self.server.root / argument)
        self.server.renamed.append(argument)
        return "250 done"


def _read_all(data: socket.socket) -> bytes:
    octets = b""
    while chunk := data.recv(65536):
        octets += chunk
    return octets


@contextmanager
def faulty_ftp(root: Path) -> Iterator[FaultyFtp]:
    """Running in threads."""
    server = FaultyFtp(root)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stopping.set()
        server.shutdown()
        server.server_close()
        thread.join()
