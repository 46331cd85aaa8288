"""A certificate server that is killed at a chosen step, as a process of its own.

The process is a whole router with real SQLite files and a real FTP storage on the loopback. Each
SQL statement that writes, each FTP command, each half of what is sent and each answer to a client
is a step; SIGKILL at step n is a death that nothing in the process can prepare for.
"""

from __future__ import annotations

import asyncio
import ftplib
import logging
import os
import pickle
import signal
import sqlite3
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from ikelab.errors import LabError
from ikelab.ios.config_text import parse_config
from ikelab.node.events import (
    FileNotStored,
    FileStored,
    NodeAction,
    ReadStorage,
    StorageNotRead,
    StorageRead,
    StoreFile,
)
from ikelab.node.router import Router
from ikelab.pki.ca_events import HttpIn, RequestGranted, RequestRefused
from ikelab.pki.cert_server import CertificateServer, ServerState
from ikelab.pki.recovery import StorageContents
from ikelab.pki.scep import PkiStatus
from ikelab.runtime.ftp import OthersFile, parse_ftp_url, read_files, store_files
from ikelab.runtime.nodespec import FtpUser
from ikelab.runtime.storaged import Storage
from ikelab.runtime.store import SqliteCaStore, SqliteNvram
from ikelab.types import Now
from tests.pki_scene import Scene, SeededRng, pool_key
from tests.scep_requester import Requester

NAME = "root-ca"
PASSWORD = "cisco123"
CONFIG = """
hostname root-ca
crypto pki server root-ca
 database level complete
 database archive pkcs12 password cisco123
 database url {url}
 no shutdown
ip http server
"""
SCEP = "/cgi-bin/pkiclient.exe?operation="
_WRITES = ("BEGIN", "INSERT", "UPDATE", "DELETE", "CREATE", "COMMIT")


@contextmanager
def storage_process(root: Path) -> Iterator[str]:
    """A storage node's FTP server in a process of its own; the URL of its one user's home."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            asyncio.run(_serve_storage(root, writing))
        finally:
            os._exit(1)
    os.close(writing)
    try:
        with os.fdopen(reading) as stream:
            port = int(stream.readline())
        yield f"ftp://ca:one@127.0.0.1:{port}"
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


async def _serve_storage(root: Path, writing: int) -> None:
    logging.getLogger("pyftpdlib").setLevel(logging.WARNING)
    storage = Storage(root, [FtpUser("ca", "one")])
    await storage.start("127.0.0.1", 0, 0)
    os.write(writing, f"{storage.ports[0]}\n".encode())
    await asyncio.Event().wait()


class _Keys:
    """A CA key of the process's own: one that begins anew is known by it."""

    def __init__(self, index: int) -> None:
        self._index = index

    def rsa_key(self, label: str, bits: int) -> RSAPrivateKey:
        return pool_key(bits, self._index)

    def dh_key(self, group: object) -> Any:
        raise AssertionError("no IKE here")


@dataclass
class Host:
    """A router's process without sockets: its files and its storage are real."""

    folder: Path
    url: str
    minutes: int = 0
    key_index: int = 0
    notices: list[object] = field(default_factory=list)

    def boot(self) -> CertificateServer:
        self.router = Router(
            parse_config(CONFIG.format(url=self.url)),
            "modern",
            rng=SeededRng(f"boot {self.minutes}"),
            keys=_Keys(self.key_index),
            nvram=SqliteNvram(str(self.folder / "nvram.db")),
            open_store=lambda name: SqliteCaStore(str(self.folder / f"{name}.db")),
        )
        self.perform(self.router.start(self.now))
        return self.server

    @property
    def server(self) -> CertificateServer:
        return self.router.servers[NAME]

    @property
    def scene(self) -> Scene:
        """The clients' clock."""
        return Scene()

    @property
    def now(self) -> Now:
        return Now(60.0 * self.minutes, Scene().wall + timedelta(minutes=self.minutes), True)

    def close(self) -> None:
        store, nvram = self.server.store, self.router.nvram
        assert isinstance(store, SqliteCaStore) and isinstance(nvram, SqliteNvram)
        store.close()
        nvram.close()

    def perform(self, actions: list[NodeAction]) -> None:
        """Carry out actions, and what their events bring, until nothing is left to do."""
        waiting = deque(actions)
        while waiting:
            action = waiting.popleft()
            match action:
                case StoreFile():
                    waiting += self.router.handle(self._store(action), self.now)
                case ReadStorage():
                    waiting += self.router.handle(self._read(action), self.now)
                case _:
                    self.notices.append(action)

    def _store(self, action: StoreFile) -> FileStored | FileNotStored:
        assert action.url is not None
        try:
            files = [(action.name, action.octets)]
            store_files(parse_ftp_url(action.url), files, action.replaces)
        except LabError as error:
            is_others = isinstance(error, OthersFile)
            return FileNotStored(action.server, action.order, str(error), is_others)
        return FileStored(action.server, action.order)

    def _read(self, action: ReadStorage) -> StorageRead | StorageNotRead:
        assert action.url is not None
        try:
            contents = StorageContents(*read_files(parse_ftp_url(action.url), action.pattern))
        except LabError as error:
            return StorageNotRead(action.handle, str(error))
        return StorageRead(action.handle, contents)

    def ask(self, target: str, body: bytes = b"") -> bytes:
        """What the web server answers; the files of it go to the storage afterwards."""
        answer, actions = self.router.serve(
            HttpIn("POST" if body else "GET", target, body), self.now
        )
        answer = answer.sign(SeededRng(f"answer {len(self.notices)}"))
        assert answer.status == 200, answer
        self.later = actions
        return answer.body

    def pump(self) -> None:
        self.perform([*self.later, *self.router.queues[NAME].pump()])

    def command(self, notices: list[Any]) -> list[Any]:
        """What a command of the console brought."""
        self.perform([*notices, *self.router.queues[NAME].pump()])
        return notices


Say = Callable[[str, bytes], None]


def play(host: Host, say: Say) -> None:
    """The CA's day: it starts, one router waits to be granted, one has a password, one is revoked.

    say: what has left the process: requests before they are answered, answers afterwards.
    """
    host.boot()
    assert host.server.state is ServerState.ENABLED, host.notices
    say("ca", host.ask(SCEP + "GetCACert"))
    first = Requester(host.scene, host.server, key_index=100, transaction_id="A1")
    asked = first.pkcs_req()
    say("ask waits", asked)
    assert first.read(host.ask(SCEP + "PKIOperation", asked)).status is PkiStatus.PENDING
    [granted] = host.command(host.server.grant(1, host.now))
    assert isinstance(granted, RequestGranted)
    [lost] = host.command(host.server.grant(1, host.now))
    assert isinstance(lost, RequestRefused) and lost.reason == "not-pending"
    say("answer waits", certificate_of(first, host.ask(SCEP + "PKIOperation", asked)))
    password = host.server.generate_password(host.now)
    second = Requester(
        host.scene, host.server, "hostname=r2.example.com", key_index=101, transaction_id="B2"
    )
    asked = second.pkcs_req(challenge=password)
    say("ask password", asked)
    say("answer password", certificate_of(second, host.ask(SCEP + "PKIOperation", asked)))
    host.pump()
    host.command(host.server.revoke(granted.serial, host.now))
    say("end", b"")


def certificate_of(asker: Requester, body: bytes) -> bytes:
    reply = asker.read(body)
    assert reply.status is PkiStatus.SUCCESS, reply
    return reply.certificates[0]


@dataclass
class Died:
    """What a process did before its end. step: the name of the one it was killed at, "" if none."""

    step: str
    said: list[tuple[str, bytes]]


def run_and_kill(host: Host, at: int) -> Died:
    """Play in a child that is killed at its n-th step."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(reading)
            _child(host, at, writing)
            code = 0
        except BaseException as error:
            os.write(writing, _record("error", repr(error).encode()))
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        octets = stream.read()
    _, status = os.waitpid(pid, 0)
    said = list(_records(octets))
    assert not [text for kind, text in said if kind == "error"], said[-1]
    steps = [text.decode() for kind, text in said if kind == "step"]
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    assert killed == bool(steps), status
    return Died(steps[0] if steps else "", [entry for entry in said if entry[0] != "step"])


def _record(kind: str, octets: bytes) -> bytes:
    body = pickle.dumps((kind, octets))
    return len(body).to_bytes(4, "big") + body


def _records(octets: bytes) -> Iterator[tuple[str, bytes]]:
    while octets:
        length = int.from_bytes(octets[:4], "big")
        yield pickle.loads(octets[4 : 4 + length])
        octets = octets[4 + length :]


def _child(host: Host, at: int, writing: int) -> None:
    count = 0

    def step(name: str) -> None:
        nonlocal count
        if count == at:
            os.write(writing, _record("step", name.encode()))
            os.kill(os.getpid(), signal.SIGKILL)
        count += 1

    def say(kind: str, octets: bytes) -> None:
        step(f"before {kind}")
        os.write(writing, _record(kind, octets))
        step(f"after {kind}")

    _watch_sqlite(step)
    _watch_ftp(step)
    play(host, say)


def _watch_sqlite(step: Callable[[str], None]) -> None:
    """A step before every statement that writes; the step after a COMMIT is the next one."""
    connect = sqlite3.connect

    def traced(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection = connect(*arguments, **options)

        def watch(statement: str) -> None:
            if statement.lstrip().startswith(_WRITES):
                step(f"SQL {statement.split('(')[0].strip()[:40]}")

        connection.set_trace_callback(watch)
        return connection

    sqlite3.connect = traced  # type: ignore[assignment]


def _watch_ftp(step: Callable[[str], None]) -> None:
    """A step before every command, and in the middle of what is stored."""
    put, transfer = ftplib.FTP.putcmd, ftplib.FTP.transfercmd

    def watched(self: ftplib.FTP, line: str) -> None:
        if line.split()[0] in ("STOR", "RNFR", "RNTO", "NLST", "RETR", "SIZE"):
            step(f"FTP {line}")
        put(self, line)

    def halved(self: ftplib.FTP, command: str, rest: Any = None) -> Any:
        connection = transfer(self, command, rest)
        return _Halved(connection, step) if command.startswith("STOR") else connection

    ftplib.FTP.putcmd = watched  # type: ignore[method-assign]
    ftplib.FTP.transfercmd = halved  # type: ignore[method-assign,assignment]


class _Halved:
    """A data connection that dies with half of its octets sent."""

    def __init__(self, connection: Any, step: Callable[[str], None]) -> None:
        self._connection, self._step = connection, step

    def __enter__(self) -> _Halved:
        return self

    def __exit__(self, *error: object) -> None:
        self._connection.close()

    def sendall(self, octets: bytes) -> None:
        half = len(octets) // 2
        self._connection.sendall(octets[:half])
        self._step("FTP half of a file")
        self._connection.sendall(octets[half:])
