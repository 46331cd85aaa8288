"""E12: HTTP against our CA's process, by raw sockets on the loopback."""

from __future__ import annotations

import asyncio
import re
import socket
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ikelab.runtime.http import HttpLimits
from tests.ca_process import OurCa, our_ca
from tests.hostile.registry import GROWTH, Seen, Shot, case
from tests.scep_messages import Client
from tests.tcp_ports import HOST

LIMITS = HttpLimits()
SCEP = "/cgi-bin/pkiclient.exe?operation="
NOT_HTTP, NOT_FOUND, BAD = "HTTP 400", "HTTP 404", "HTTP 400"
_PATIENCE = 15.0  # seconds
_REASON = re.compile(r"refused: ([a-z0-9-]+): ")
_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")


class WebTarget:
    """A CA that grants at once, as a process; what it logs are its reasons."""

    def __init__(self, ca: OurCa) -> None:
        self.ca = ca
        self._client = Client(self._get("GetCACert"))
        self._log = 0
        self._serve_honest()  # what the first one costs is no growth
        self._before = self._resident()
        self._descriptors = self._open_files()
        self._reasons()

    def sending(self, octets: bytes, *, shut: bool = False) -> Callable[[], Seen]:
        """A shot: these octets on one connection; what is seen are the statuses that come back."""
        return lambda: self.seen(self._talk(octets, shut))

    def getting(self, target: str) -> Callable[[], Seen]:
        """A shot: one GET."""
        return self.sending(f"GET {target} HTTP/1.0\r\n\r\n".encode())

    def seen(self, answer: bytes) -> Seen:
        """Its statuses, and what the CA has logged since."""
        found = [status.decode() for status in _STATUS.findall(answer)]
        return Seen(f"HTTP {' '.join(found)}" if found else "closed", self._reasons())

    def connect(self, receive: int = 0) -> socket.socket:
        """receive: octets that the kernel keeps for us unread, 0 for its own choice."""
        raw = socket.socket()
        raw.settimeout(_PATIENCE)
        if receive:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
        raw.connect((HOST, self.ca.port))
        return raw

    def _talk(self, octets: bytes, shut: bool) -> bytes:
        with self.connect() as raw:
            try:
                raw.sendall(octets)
                if shut:
                    raw.shutdown(socket.SHUT_WR)
            except OSError:  # it has hung up already; what it said is still to be read
                pass
            return read_all(raw)

    def _reasons(self) -> tuple[str, ...]:
        said = self.ca.log
        new, self._log = said[self._log :], len(said)
        return tuple(_REASON.findall(new))

    def check(self) -> None:
        """The process stands, told everything in a line, and enrolls an honest router."""
        self._serve_honest()
        assert "Traceback" not in self.ca.log
        assert self._resident() - self._before < GROWTH
        self.ca.wait_for(
            lambda: self._open_files() <= self._descriptors, "closing of all connections"
        )

    def _serve_honest(self) -> None:
        first = self._client.made + 1
        [body] = self._client.prepare(1)
        url = f"http://{HOST}:{self.ca.port}{SCEP}PKIOperation"
        head = {"Content-Type": "application/x-pki-message"}
        with urllib.request.urlopen(urllib.request.Request(url, body, head), timeout=5) as reply:
            [_] = self._client.read([reply.read()], first)

    def _get(self, operation: str) -> bytes:
        url = f"http://{HOST}:{self.ca.port}{SCEP}{operation}"
        with urllib.request.urlopen(url, timeout=5) as answer:
            octets: bytes = answer.read()
            return octets

    def _resident(self) -> int:
        return int(Path(f"/proc/{self.ca.pid}/statm").read_text().split()[1]) * 4096

    def _open_files(self) -> int:
        return len(list(Path(f"/proc/{self.ca.pid}/fd").iterdir()))


def read_all(raw: socket.socket) -> bytes:
    """Up to the end, or the reset of a server that was not interested any more."""
    octets = b""
    try:
        while chunk := raw.recv(65536):
            octets += chunk
    except OSError:
        pass
    return octets


@contextmanager
def web() -> Iterator[WebTarget]:
    with our_ca("grant auto") as ca:
        yield WebTarget(ca)


# --- requests -------------------------------------------------------------------------------------


@case(
    "E12",
    "bad-requests",
    precedent="request smuggling, path traversal, oversized requests against CAs' web front ends",
    expected="a status and a named reason; 16 KB of request, 64 KB of body, no file but the CRL",
    target=web,
)
def bad_requests(target: WebTarget) -> Iterator[Shot]:
    for octets in (LIMITS.header + 8192, 1_000_000):
        query = target.getting(SCEP + "PKIOperation&message=" + "A" * octets)
        yield Shot(f"a query of {octets:,} octets", query, "HTTP 431", "header-too-large")
    lines = b"GET / HTTP/1.0\r\n" + b"X: y\r\n" * 10_000
    yield Shot("10,000 header fields", target.sending(lines), "HTTP 431", "header-too-large")
    body = target.sending(_post(b"x" * (LIMITS.body + 1)))
    yield Shot("a body of 65,537 octets", body, "HTTP 413", "body-too-large")
    for what, query, reason in (
        ("PKIOperation without a message", SCEP + "PKIOperation", "no-message"),
        ("an empty message", SCEP + "PKIOperation&message=", "no-message"),
        ("a message that is no base64", SCEP + "PKIOperation&message=%00%ff!", "bad-base64"),
        ("a message that is no CMS", SCEP + "PKIOperation&message=AAAA", "malformed-cms"),
        ("9,000 parameters", "/?" + "a&" * 7000 + "operation=GetCACert", "unknown-operation"),
    ):
        answer = NOT_FOUND if reason == "unknown-operation" else BAD
        yield Shot(what, target.getting(query), answer, reason)
    for path in _TRICKS:
        yield Shot(f"GET {path}", target.getting(path), NOT_FOUND, "unknown-operation")
    for method in ("PUT", "DELETE", "TRACE", "OPTIONS", "PROPFIND"):
        octets = f"{method} /root-ca.crl HTTP/1.0\r\n\r\n".encode()
        yield Shot(method, target.sending(octets), BAD, "bad-method")
    for what, octets in _NOT_HTTP:
        yield Shot(what, target.sending(octets), NOT_HTTP, "not-http")
    for version in (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET / HTTP/0.9\r\n\r\n"):
        yield Shot(repr(version[:16]), target.sending(version), "HTTP 505", "not-http")
    coding = _post(b"", length=b"Transfer-Encoding: gzip")
    yield Shot("an unknown transfer coding", target.sending(coding), "HTTP 501", "not-http")
    half = target.sending(_post(b"x" * 10, length=b"Content-Length: 99"), shut=True)
    yield Shot("a body that ends early", half, NOT_HTTP, "not-http")
    yield Shot("nothing", target.sending(b"", shut=True), "closed")


_TRICKS = (
    "/",
    "/../../../../etc/passwd",
    "/%2e%2e/%2e%2e/etc/passwd",
    "/..%2f..%2froot-ca.db",
    "//root-ca.db",
    "/root-ca.db",
    "/nvram.db",
    "/1.crt",
    "/root-ca.crl/",
    "/root-ca.crl/../root-ca.db",
    "/root-ca.crl%00.txt",
    "http://198.51.100.9/root-ca.db",
    "/cgi-bin/pkiclient.exe",
    SCEP + "getcacert",
    SCEP + "GetCACert%00",
    SCEP + "&operation=GetCACert",
)


def _post(body: bytes, length: bytes | None = None) -> bytes:
    counted = b"Content-Length: %d" % len(body) if length is None else length
    target = f"{SCEP}PKIOperation".encode()
    return b"POST %s HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n%s" % (target, counted, body)


_NOT_HTTP = (
    ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200) + b"\r\n\r\n"),
    ("SSH", b"SSH-2.0-OpenSSH_9.6\r\n\r\n"),
    ("a NUL in the target", b"GET /\x00 HTTP/1.0\r\n\r\n"),
    ("a blank in the target", b"GET /a b HTTP/1.0\r\n\r\n"),
    ("no Host", b"GET / HTTP/1.1\r\n\r\n"),
    ("a field without a colon", b"GET / HTTP/1.0\r\nHost\r\n\r\n"),
    ("a blank before the colon", b"GET / HTTP/1.0\r\nHost : x\r\n\r\n"),
    ("two lengths", _post(b"ab", b"Content-Length: 1\r\nContent-Length: 2")),
    ("a length below zero", _post(b"", b"Content-Length: -1")),
    ("a length in words", _post(b"", b"Content-Length: ten")),
    ("a chunk of no size", _post(b"zz\r\n", b"Transfer-Encoding: chunked")),
    ("a chunk of 16^20 octets", _post(b"F" * 21 + b"\r\n", b"Transfer-Encoding: chunked")),
)


# --- pipelining -----------------------------------------------------------------------------------


@case(
    "E12b",
    "pipelining",
    precedent="RFC 9112 section 9.3.2; queues of answers nobody reads",
    expected="answered in turn; nothing after a refused one; who reads no answer is cut off",
    target=web,
)
def pipelining(target: WebTarget) -> Iterator[Shot]:
    caps = f"GET {SCEP}GetCACaps HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    last = caps.replace(b"Host", b"Connection: close\r\nHost")
    answers = "HTTP " + " ".join(["200"] * 200)
    yield Shot("200 requests at once", target.sending(caps * 199 + last), answers)
    smuggled = target.sending(caps + b"BAD\r\n\r\n" + caps)
    yield Shot("one after a bad one", smuggled, "HTTP 200 400", "not-http")
    both = _post(
        b"0\r\n\r\nGET /root-ca.crl HTTP/1.1\r\nHost: x\r\n\r\n",
        b"Content-Length: 5\r\nTransfer-Encoding: chunked",
    )
    yield Shot("a length and chunks", target.sending(both), NOT_HTTP, "not-http")
    cert = caps.replace(b"GetCACaps", b"GetCACert")  # a longer answer
    yield Shot("5,000 requests, no answer read", lambda: _deaf(target, cert * 5_000), "cut off")


def _deaf(target: WebTarget, octets: bytes) -> Seen:
    """Asks and asks, and reads nothing until it can send no more."""
    with target.connect(receive=4096) as raw:
        deadline = time.monotonic() + _PATIENCE
        raw.settimeout(LIMITS.seconds)
        try:
            raw.sendall(octets)
        except OSError:
            pass  # the CA reads no more, or has hung up
        raw.settimeout(0.2)
        while time.monotonic() < deadline:
            try:
                if not raw.send(b"x"):
                    break
            except TimeoutError:
                continue
            except OSError:
                return Seen("cut off")
    return Seen("served on")


# --- slow and many --------------------------------------------------------------------------------


@case(
    "E12c",
    "slowloris",
    precedent="slowloris, R-U-Dead-Yet: connections held by an octet now and then",
    expected="5 s for a request, 32 connections, the others are told 503; then the next is served",
    target=web,
)
def slowloris(target: WebTarget) -> Iterator[Shot]:
    slow = "HTTP 408 to 8 of 8, in time"
    yield Shot("eight requests, an octet a second", lambda: _drip(target), slow, "too-slow")
    crowd = "32 held, 468 told HTTP 503"
    yield Shot("500 connections", lambda: _crowd(target), crowd, "too-many-connections")


_BEGINNINGS = (
    b"GET / HT",
    b"GET / HTTP/1.1\r\nHost: x\r\nX: ",
    _post(b"", b"Content-Length: 60000"),
    _post(b"FFFF\r\nab", b"Transfer-Encoding: chunked"),
)


def _drip(target: WebTarget) -> Seen:
    """Two of each kind at a time; each is told in time, though it goes on sending."""

    async def one(beginning: bytes) -> tuple[bytes, float]:
        reader, writer = await asyncio.open_connection(HOST, target.ca.port)
        start = time.monotonic()
        writer.write(beginning)
        answer = asyncio.ensure_future(reader.read())
        while not answer.done() and time.monotonic() - start < _PATIENCE:
            await asyncio.wait([answer], timeout=1.0)
            if not answer.done():
                writer.write(b"a")
        writer.close()
        return (answer.result() if answer.done() else b""), time.monotonic() - start

    async def all_of_them() -> list[tuple[bytes, float]]:
        return await asyncio.gather(*(one(beginning) for beginning in _BEGINNINGS * 2))

    told = asyncio.run(all_of_them())
    right = sum(octets.startswith(b"HTTP/1.1 408 ") for octets, _ in told)
    in_time = all(seconds < LIMITS.seconds + 3 for _, seconds in told)
    text = f"HTTP 408 to {right} of {len(told)}, {'in time' if in_time else 'too late'}"
    return Seen(text, target.seen(b"").reasons)


def _crowd(target: WebTarget) -> Seen:
    """Whoever is refused is told at once, before the first of those who say nothing is cut off."""
    with ExitStack() as stack:
        everybody = [stack.enter_context(target.connect()) for _ in range(500)]
        for raw in everybody[LIMITS.connections :]:
            raw.sendall(b"GET / HTTP/1.0\r\n\r\n")
        told = [read_all(raw) for raw in everybody[LIMITS.connections :]]
        refused = sum(octets.startswith(b"HTTP/1.1 503 ") for octets in told)
        held = everybody[: LIMITS.connections]
        for raw in held:
            raw.setblocking(False)
        alive = sum(_is_open(raw) for raw in held)
    return Seen(f"{alive} held, {refused} told HTTP 503", target.seen(b"").reasons)


def _is_open(raw: socket.socket) -> bool:
    try:
        return bool(raw.recv(1))
    except BlockingIOError:
        return True
