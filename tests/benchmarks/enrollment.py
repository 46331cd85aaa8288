"""Enrollments a second over real HTTP: our CA's process beside micromdm's scepserver.

Both listen on the loopback and hold RSA-2048 keys; so does whoever asks. The requests are made
beforehand, each for another name under one key, and sent by several clients at a time, each on one
connection. Every answer is read afterwards, and an enrollment counts when its certificate has a
serial number of its own; all of ours must. Ours writes every record to the disk before it answers;
scepserver waits for no disk.
"""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Self

from tests.benchmarks.peers import NotHere, cpu_clock
from tests.ca_process import our_ca
from tests.scep_messages import BITS, Client
from tests.tcp_ports import HOST, free_port

AT_A_TIME = (1, 2, 4, 24)
"""How many clients ask at a time: a server is judged by the number that suits it best."""
CLIENTS = AT_A_TIME[-1]

_PATIENCE = 10.0  # seconds for a server to listen


@dataclass(frozen=True, slots=True)
class Rate:
    """What a server did in one run.

    answers: certificates a second. distinct: of these, how many a second have a serial number that
    no other certificate of the server has. cpu: milliseconds an answer, of all its processes.
    """

    answers: float
    distinct: float
    cpu: float


def best_at(runs: Sequence[Mapping[int, Rate]]) -> int:
    """How many at a time suit a server best: the median over the runs of `distinct` is highest.

    runs: of each run, what the server did, by how many asked at a time.
    """
    return max(runs[0], key=lambda clients: median(run[clients].distinct for run in runs))


class EnrollmentBench:
    """Both servers running; a context manager. theirs: None where scepserver is not installed."""

    def __init__(self) -> None:
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._ca = stack.enter_context(our_ca("grant auto"))
            pids = (self._ca.pid, *self._ca.children)
            self.ours = Server(self._ca.port, "/cgi-bin/pkiclient.exe", pids)
            program = shutil.which("scepserver")
            self.theirs = None if program is None else _start_scepserver(stack, program)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def ours_all_distinct(self, requests: int, clients: int = CLIENTS) -> Rate:
        """One run of ours. AssertionError for a request without a certificate of its own."""
        rate = self.ours.measure(requests, clients)
        assert rate.distinct == rate.answers, "our CA gave a serial number twice"
        return rate

    @property
    def issued(self) -> int:
        """How many certificates our CA says it has issued, its own among them."""
        shown = self._ca.console.exec("show crypto pki server")
        line = next(line for line in shown.splitlines() if "Last certificate issued" in line)
        return int(line.rpartition(":")[2], 16)

    @property
    def resident(self) -> int:
        """Octets of memory our CA's process holds."""
        return int(Path(f"/proc/{self._ca.pid}/statm").read_text().split()[1]) * 4096


class Server:
    """A SCEP server on the loopback, with a client that knows its CA."""

    def __init__(self, port: int, path: str, pids: Sequence[int]) -> None:
        self._port, self._pids = port, pids
        self._given: set[int] = set()
        self._target = f"{path}?operation=PKIOperation"
        url = f"http://{HOST}:{port}{path}?operation=GetCACert"
        with urllib.request.urlopen(url, timeout=5) as answer:
            self.client = Client(answer.read())

    def measure(self, requests: int, clients: int) -> Rate:
        """Send that many, prepared beforehand. AssertionError for an answer that is none."""
        first = self.client.made + 1
        bodies = self.client.prepare(requests)
        before, start = self._cpu(), time.perf_counter()
        replies = asyncio.run(_send_all(self._port, self._target, bodies, clients))
        seconds, used = time.perf_counter() - start, self._cpu() - before
        serials = self.client.read(replies, first)
        times = Counter(serials)
        distinct = sum(times[serial] == 1 and serial not in self._given for serial in serials)
        self._given.update(serials)
        return Rate(len(serials) / seconds, distinct / seconds, used / 1e6 / requests)

    def _cpu(self) -> int:
        return sum(map(cpu_clock, self._pids))


def _start_scepserver(stack: ExitStack, program: str) -> Server:
    """As installed, with a file depot of its own; it grants everything by itself."""
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="ikelab-b-"))
    depot, port = Path(folder) / "depot", free_port()
    subprocess.run(
        [program, "ca", "-init", "-keySize", str(BITS), "-depot", str(depot)],
        check=True,
        capture_output=True,
    )
    process = subprocess.Popen(
        [program, "-depot", str(depot), "-port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    stack.callback(process.wait, 10)
    stack.callback(process.terminate)
    _wait_for(port)
    return Server(port, "/scep", (process.pid,))


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) == 0:
                return
        time.sleep(0.02)
    raise NotHere(f"scepserver does not listen after {_PATIENCE:g} s")


async def _send_all(port: int, target: str, bodies: Sequence[bytes], clients: int) -> list[bytes]:
    """Each client sends its share one after the other; the bodies of the answers, in order."""
    replies: list[bytes] = [b""] * len(bodies)

    async def client(share: Sequence[int]) -> None:
        reader, writer = await asyncio.open_connection(HOST, port)
        for index in share:
            head = (
                f"POST {target} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/x-pki-message"
                f"\r\nContent-Length: {len(bodies[index])}\r\n\r\n"
            )
            writer.write(head.encode() + bodies[index])
            replies[index] = await _read_body(reader)
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*(client(range(n, len(bodies), clients)) for n in range(clients)))
    return replies


async def _read_body(reader: asyncio.StreamReader) -> bytes:
    """With a length, or in chunks as Go sends what is long."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    assert head.startswith(b"http/1.1 200"), head
    length = next(
        (line.split(b":")[1] for line in head.split(b"\r\n") if line.startswith(b"content-length")),
        None,
    )
    if length is not None:
        return await reader.readexactly(int(length))
    body = b""
    while size := int(await reader.readline(), 16):
        body += await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
    return body
