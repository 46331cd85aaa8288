"""E03: web servers that a CRL's address may lead to, and a router that really asks them."""

from __future__ import annotations

import asyncio
import itertools
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from ikelab.pki.enrollment_events import Trust
from ikelab.pki.events import HttpFailed, HttpReply, HttpRequest
from ikelab.pki.revocation import CRL_SECONDS
from ikelab.runtime.http import fetch
from tests.hostile.certificates import GOOD, ROOT, URL, RouterTarget
from tests.hostile.registry import Seen, Shot, case
from tests.pki_samples import router
from tests.tcp_ports import HOST

PLACE = "http://198.51.100.9"
_DRIP = 0.2  # seconds between two octets of a slow server
_FLOOD = 1 << 30  # octets it would send


class _Server(socketserver.ThreadingTCPServer):
    """What was asked for, and how much was sent before the router had enough."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__((HOST, 0), _Handler)
        self.asked: list[str] = []
        self.sent = 0

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class _Handler(socketserver.StreamRequestHandler):
    """One connection: the path says how to misbehave."""

    server: _Server

    def handle(self) -> None:
        path = self.rfile.readline().split()[1].decode()
        while self.rfile.readline().strip():
            pass
        self.server.asked.append(path)
        try:
            for octets in _ANSWERS[path](self.server.port):
                self.wfile.write(octets)
                self.server.sent += len(octets)
        except OSError:
            pass  # the router has hung up


def _slowly(head: bytes) -> Callable[[int], Iterator[bytes]]:
    def octets(port: int) -> Iterator[bytes]:
        yield head
        while True:
            time.sleep(_DRIP)
            yield b"x"

    return octets


def _flood(head: bytes, block: bytes) -> Callable[[int], Iterator[bytes]]:
    def octets(port: int) -> Iterator[bytes]:
        yield head
        yield from itertools.repeat(block, _FLOOD // len(block))

    return octets


def _to(url: str) -> Callable[[int], Iterator[bytes]]:
    def octets(port: int) -> Iterator[bytes]:
        location = url.format(port=port)
        yield f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()

    return octets


_OK = b"HTTP/1.1 200 OK\r\n"
_BLOCK = bytes(65536)
_ANSWERS: dict[str, Callable[[int], Iterator[bytes]]] = {
    "/loop": _to("http://127.0.0.1:{port}/loop"),
    "/away": _to("http://127.0.0.1:{port}/metadata"),
    "/file": _to("file:///etc/shadow"),
    "/metadata": lambda port: iter([_OK + b"Content-Length: 6\r\n\r\nsecret"]),
    "/gigabyte": _flood(_OK + b"Content-Length: %d\r\n\r\n" % _FLOOD, _BLOCK),
    "/chunks": _flood(_OK + b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n%s\r\n" % _BLOCK),
    "/endless": _flood(_OK + b"\r\n", _BLOCK),
    "/header": _flood(_OK, b"X: y\r\n" * 1000),
    "/continue": _flood(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
    "/silent": _slowly(b""),
    "/drip": _slowly(_OK + b"Content-Length: 60000\r\n\r\n"),
    "/dripping-header": _slowly(_OK + b"X: "),
}


@dataclass
class FetchingTarget(RouterTarget):
    """Asks over TCP: at the loopback, which a router itself would refuse to ask."""

    server: _Server = field(default_factory=_Server)
    seconds: list[float] = field(default_factory=list)

    def _answer(self, request: HttpRequest) -> HttpReply | HttpFailed:
        if request.url in self.web:
            return super()._answer(request)
        start = time.monotonic()
        reply = asyncio.run(fetch(self._turned(request)))
        self.seconds.append(time.monotonic() - start)
        return reply

    def _turned(self, request: HttpRequest) -> HttpRequest:
        assert request.url.startswith(PLACE)
        return replace(request, url=request.url.replace(PLACE, f"http://{HOST}:{self.server.port}"))

    def slow_ones(self, *paths: str) -> Seen:
        """Several routers at a time, each at another slow server, for time's sake."""
        wanted = [HttpRequest("h", "GET", PLACE + path, seconds=CRL_SECONDS) for path in paths]

        async def ask() -> list[HttpReply | HttpFailed]:
            return await asyncio.gather(*(fetch(self._turned(request)) for request in wanted))

        start = time.monotonic()
        replies = asyncio.run(ask())
        self.seconds.append(time.monotonic() - start)
        return Seen("; ".join(sorted({str(getattr(each, "reason", each)) for each in replies})))

    def check(self) -> None:
        """In time, without the whole of what was sent, and never where a server wanted it to go."""
        assert max(self.seconds) < CRL_SECONDS + 2, self.seconds
        assert self.server.sent < 64 << 20, self.server.sent
        assert "/metadata" not in self.server.asked
        assert self.server.asked.count("/loop") == 1
        super().check()


@contextmanager
def fetching() -> Iterator[FetchingTarget]:
    target = FetchingTarget()
    thread = threading.Thread(target=target.server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield target
    finally:
        target.server.shutdown()
        target.server.server_close()
        thread.join()


@case(
    "E03b",
    "crl-server",
    precedent="strongSwan CVE-2022-40617: a server of the attacker's choice that does not end",
    expected="64 KB, 5 s, no redirect; the peer is refused and the next one is not",
    target=fetching,
)
def crl_server(target: FetchingTarget) -> Iterator[Shot]:
    for path, reason in (
        ("/loop", "crl-unavailable"),
        ("/away", "crl-unavailable"),
        ("/file", "crl-unavailable"),
        ("/gigabyte", "crl-too-large"),
        ("/chunks", "crl-too-large"),
        ("/endless", "crl-too-large"),
        ("/header", "crl-unavailable"),
        ("/continue", "crl-unavailable"),
    ):
        peer = router("cdp.example.com", crl_url=PLACE + path)
        yield Shot(f"a server that sends {path}", target.showing(peer.der), "refused", reason)
    paths = ("/silent", "/drip", "/dripping-header")
    slow = f"no answer in {CRL_SECONDS:g} s"
    yield Shot("three that send an octet now and then", lambda: target.slow_ones(*paths), slow)
    yield Shot("fifty peers of one CA at once", lambda: _many(target), "one CRL asked for")


def _many(target: FetchingTarget) -> Seen:
    """All wait for the one request that is under way."""
    trust = Trust("ra", (ROOT.der,))
    asked = [
        action
        for number in range(50)
        for action in target.checker.check(1000 + number, (GOOD.der,), (trust,), target.now)
        if isinstance(action, HttpRequest)
    ]
    target.checker.handle(HttpFailed(asked[0].handle, "connection refused"), target.now)
    return Seen("one CRL asked for" if [each.url for each in asked] == [URL] else f"{len(asked)}")
