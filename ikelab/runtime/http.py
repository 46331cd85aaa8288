"""HTTP for enrollment and CRLs: a small server and a small client over asyncio streams and h11.

The server takes what routers of 2009 send (HTTP/1.0, a GET with 4 KB of request line) and bounds
what a stranger can make it hold: octets, seconds and connections. The client fetches one answer
from an address of the lab: no redirects, no proxy, no names, a size and a time limit.

Both ends close a connection by shutting their side down and reading the other's out. A close with
octets unread would send a RST, which may overtake the answer and shows red in Wireshark.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import os
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from ipaddress import IPv4Address
from urllib.parse import urlsplit

import h11

from ikelab.errors import LabError
from ikelab.pki.ca_events import HttpIn, HttpOut
from ikelab.pki.events import HttpFailed, HttpReply, HttpRequest

Handler = Callable[[HttpIn], HttpOut | Awaitable[HttpOut]]
OnRefused = Callable[[str, str, str], None]


_CHUNK = 4096  # h11 sees the header's limit broken once per read, so it may be exceeded by this
_REPLY_HEADER = 16384  # octets of an answer's status line and header fields
_LINGER_SECONDS = 1.0  # how long to read the other side out before the socket goes
_LINGER_OCTETS = 1 << 18  # and how much: who sends more after the answer is not listening
_MAX_INTERIM = 8  # 1xx answers before the one that counts; we ask for none
_SEND_BUFFER = 1 << 17  # octets of answers on their way; the kernel doubles it
_SCHEME_PORT = 80
# Reasons of refusals, for the log; the rest is "not-http".
_REASONS = {
    408: "too-slow",
    413: "body-too-large",
    431: "header-too-large",
    503: "too-many-connections",
}

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """header: octets of request line and header fields; a SCEP GET has about 4 KB of them.

    body: octets of a request's body. seconds: for a whole request to come in, and how long an
    idle connection is kept. connections: at a time; more are told 503.
    """

    header: int = 16384
    body: int = 65536
    seconds: float = 5.0
    connections: int = 32


class _Refusal(Exception):
    """An answer that ends the connection; never leaves this module."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.reason = _REASONS.get(status, "not-http")
        self.answer = HttpOut(status, "text/plain", f"{text}\n".encode())


class HttpServer:
    """Serves `handler` on one TCP port from the running loop.

    handler: request -> answer, or an awaitable of it where the answer takes work in a thread. An
    exception in it is logged and answered with 500. on_refused: told the peer's address, a reason
    and a text of each request that was not for the handler.
    """

    def __init__(
        self,
        handler: Handler,
        limits: HttpLimits | None = None,
        on_refused: OnRefused = lambda peer, reason, detail: None,
    ) -> None:
        self._handler = handler
        self._on_refused = on_refused
        self._limits = limits or HttpLimits()
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        """The port it listens on, 0 when it does not."""
        return self._server.sockets[0].getsockname()[1] if self._server else 0

    async def start(self, address: str, port: int) -> None:
        """Listen; port 0 takes a free one. Raises LabError where that is not possible."""
        try:
            self._server = await asyncio.start_server(
                self._serve, address, port, limit=_CHUNK, backlog=128
            )
        except OSError as error:
            raise LabError(
                f"cannot serve HTTP on {address}:{port}: {error.strerror or error}",
                hint="is another server on this port? `ip http port` moves it",
            ) from error

        # Accepted sockets inherit it: what nobody reads is held by the kernel within bounds.
        for listening in self._server.sockets:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)

    async def close(self) -> None:
        """Stop listening and hang up on everybody."""
        if self._server is None:
            return
        self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            full = len(self._connections) > self._limits.connections
            conversation = _Conversation(reader, writer, self._limits)
            try:
                await conversation.run(_busy if full else self._handler)
            except _Refusal as refusal:
                self._tell(writer, refusal)
                await conversation.refuse(refusal)
            await _linger(reader, writer)
        except (OSError, asyncio.CancelledError):  # TimeoutError is an OSError
            pass  # the other side went away, or we are closing
        finally:
            self._connections.discard(task)
            await _close(writer)

    def _tell(self, writer: asyncio.StreamWriter, refusal: _Refusal) -> None:
        if refusal.answer.status != 500:  # that one is ours, and logged
            peer = writer.get_extra_info("peername")
            self._on_refused(peer[0] if peer else "?", refusal.reason, str(refusal))


class _Conversation:
    """One connection of the server: requests in, answers out, until one side has had enough."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limits: HttpLimits
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._limits = limits
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.header)

    async def run(self, handler: Handler) -> None:
        """Answer requests in turn; a refused one is the last. Raises _Refusal."""
        while self._http.our_state is h11.IDLE:
            request = await self._next_request()
            if request is None:
                return
            await self._send(await _ask(handler, request), head=request.method == "HEAD")
            if self._http.states != {h11.CLIENT: h11.DONE, h11.SERVER: h11.DONE}:
                return  # one side said that this was the last
            self._http.start_next_cycle()

    async def refuse(self, refusal: _Refusal) -> None:
        """The last answer."""
        await self._send(refusal.answer, last=True)

    async def _next_request(self) -> HttpIn | None:
        """The next request, None at the end of the connection or after an idle time."""
        try:
            async with asyncio.timeout(self._limits.seconds):
                return await self._read_request()
        except TimeoutError as error:
            if self._http.their_state is h11.IDLE and not self._http.trailing_data[0]:
                return None
            raise _Refusal(408, "the request took too long") from error
        except h11.RemoteProtocolError as error:
            raise _Refusal(error.error_status_hint, str(error)) from error

    async def _read_request(self) -> HttpIn | None:
        request: h11.Request | None = None
        body = bytearray()
        while True:
            match event := await self._next_event():
                case h11.Request():
                    request = event
                    _refuse_unclear(request)
                case h11.Data():
                    body += event.data
                    if len(body) > self._limits.body:
                        raise _Refusal(413, f"a body has at most {self._limits.body} octets")
                case h11.EndOfMessage():
                    assert request is not None  # h11 never gives an end without a beginning
                    return HttpIn(request.method.decode(), request.target.decode(), bytes(body))
                case _:
                    assert isinstance(event, h11.ConnectionClosed)
                    return None

    async def _next_event(self) -> h11.Event:
        while True:
            event = self._http.next_event()
            if isinstance(event, h11.Event):
                return event
            if self._http.they_are_waiting_for_100_continue:
                self._write(h11.InformationalResponse(status_code=100, headers=[]))
            self._http.receive_data(await self._reader.read(_CHUNK))

    async def _send(self, answer: HttpOut, *, head: bool = False, last: bool = False) -> None:
        """The answer; with `last` the connection is not used again."""
        if self._http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        headers = [("Content-Type", answer.content_type), ("Content-Length", str(len(answer.body)))]
        if last:
            headers.append(("Connection", "close"))
        reason = HTTPStatus(answer.status).phrase
        response = h11.Response(status_code=answer.status, headers=headers, reason=reason)
        self._write(response, *([h11.Data(answer.body)] if answer.body and not head else []))
        self._write(h11.EndOfMessage())
        async with asyncio.timeout(self._limits.seconds):
            await self._writer.drain()

    def _write(self, *events: h11.Event) -> None:
        """In one piece, which is one segment where it fits."""
        octets = b"".join(self._http.send(event) or b"" for event in events)
        if octets:
            self._writer.write(octets)


def _refuse_unclear(request: h11.Request) -> None:
    """What h11 lets pass, and another server in the path may read in another way."""
    if request.http_version not in (b"1.0", b"1.1"):
        raise _Refusal(505, "only HTTP/1.0 and HTTP/1.1 are spoken here")
    names = {name for name, _ in request.headers}
    if {b"content-length", b"transfer-encoding"} <= names:  # RFC 9112 section 6.1
        raise _Refusal(400, "both a length and a transfer coding")


def _busy(request: HttpIn) -> HttpOut:
    raise _Refusal(503, "too many connections, try again")


async def _ask(handler: Handler, request: HttpIn) -> HttpOut:
    """The handler's answer; a bug in it is logged and told as 500."""
    try:
        answer = handler(request)
        return await answer if inspect.isawaitable(answer) else answer
    except _Refusal:
        raise
    except Exception as error:
        _LOG.exception("%s %.80s failed", request.method, request.target)
        raise _Refusal(500, "internal error") from error


async def _linger(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Say that we are done, then read until the other side is: so the close sends no RST."""
    writer.write_eof()
    octets = 0
    async with asyncio.timeout(_LINGER_SECONDS):
        while octets < _LINGER_OCTETS and (chunk := await reader.read(_CHUNK)):
            octets += len(chunk)


async def _close(writer: asyncio.StreamWriter) -> None:
    """Give the socket back, now: what the other side did to it does not matter any more.

    Who does not read its answers would hold it for ever: `close` waits until they are gone.
    """
    if writer.transport.get_write_buffer_size():
        writer.transport.abort()
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def fetch(request: HttpRequest) -> HttpReply | HttpFailed:
    """Ask a web server of the lab once.

    Only `http://` with a dotted address: a lab has no DNS, and no file of it may make us ask the
    host's. Redirects come back as the 3xx they are. Never raises for what the network does.
    """
    try:
        address, port, target = _parse_url(request.url)
        async with asyncio.timeout(request.seconds):
            return await _fetch(request, address, port, target)
    except TimeoutError:
        return HttpFailed(request.handle, f"no answer in {request.seconds:g} s")
    except OSError as error:
        # asyncio's own text is "Connect call failed ('10.0.0.1', 80)"
        reason = os.strerror(error.errno) if error.errno else str(error)
        return HttpFailed(request.handle, reason.lower())
    except h11.ProtocolError as error:
        return HttpFailed(request.handle, f"not HTTP: {error}")
    except ValueError as error:
        return HttpFailed(request.handle, str(error))


def _parse_url(url: str) -> tuple[str, int, str]:
    """Address, port and request target. Raises ValueError with a reason for a person."""
    parts = urlsplit(url)
    if parts.scheme != "http":
        raise ValueError(f"only http:// can be fetched, not {parts.scheme or 'a bare path'}")
    if parts.username is not None:
        raise ValueError("no user or password is sent by HTTP")
    try:
        address = str(IPv4Address(parts.hostname or ""))
    except ValueError as error:
        raise ValueError(f"{parts.hostname!r} is no IPv4 address, and a lab has no DNS") from error
    target = parts.path or "/"
    port = _SCHEME_PORT if parts.port is None else parts.port
    return address, port, f"{target}?{parts.query}" if parts.query else target


async def _fetch(
    request: HttpRequest, address: str, port: int, target: str
) -> HttpReply | HttpFailed:
    reader, writer = await asyncio.open_connection(address, port, limit=_CHUNK)
    try:
        http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_REPLY_HEADER)
        host = address if port == _SCHEME_PORT else f"{address}:{port}"
        _write_request(http, writer, request, host, target)
        reply = await _read_reply(http, reader, request)
        if isinstance(reply, HttpReply):
            await _part(reader, writer)
        return reply
    finally:
        await _close(writer)


def _write_request(
    http: h11.Connection, writer: asyncio.StreamWriter, request: HttpRequest, host: str, target: str
) -> None:
    headers = [("Host", host), ("User-Agent", "ikelab"), ("Connection", "close")]
    if request.method == "POST":
        headers += [("Content-Type", request.content_type or "application/octet-stream")]
        headers += [("Content-Length", str(len(request.body)))]
    message = [h11.Request(method=request.method, target=target, headers=headers)]
    events: list[h11.Event] = [*message, h11.Data(data=request.body), h11.EndOfMessage()]
    if not request.body:
        del events[1]
    writer.write(b"".join(http.send(event) or b"" for event in events))


async def _read_reply(
    http: h11.Connection, reader: asyncio.StreamReader, request: HttpRequest
) -> HttpReply | HttpFailed:
    handle, limit = request.handle, request.limit
    response: h11.Response | None = None
    body = bytearray()
    interim = 0
    while True:
        match event := http.next_event():
            case h11.Response():
                response = event
            case h11.Data():
                body += event.data
                if len(body) > limit:
                    reason = f"the answer has more than {limit} octets"
                    return HttpFailed(handle, reason, too_large=True)
            case h11.EndOfMessage():
                assert response is not None
                return HttpReply(handle, response.status_code, _media_type(response), bytes(body))
            case h11.InformationalResponse():
                interim += 1
                if interim > _MAX_INTERIM:
                    return HttpFailed(handle, "one interim answer after the other")
            case _:
                assert event is h11.NEED_DATA or event is h11.PAUSED
                octets = await reader.read(_CHUNK)
                if not octets and response is None:
                    return HttpFailed(handle, "the server hung up without an answer")
                http.receive_data(octets)


def _media_type(response: h11.Response) -> str:
    """Content type without parameters, lower case; "" where there is none."""
    value = next((value for name, value in response.headers if name == b"content-type"), b"")
    return value.decode("latin-1").partition(";")[0].strip().lower()


async def _part(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Close after a whole answer; a server that does not let go costs no more than a moment."""
    with contextlib.suppress(OSError):  # TimeoutError is one
        await _linger(reader, writer)
