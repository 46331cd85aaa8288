"""The HTTP server and client against each other, raw sockets and curl."""

from __future__ import annotations

import asyncio
import socket
import struct
import subprocess
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

import pytest

from ikelab.errors import LabError
from ikelab.pki.ca_events import HttpIn, HttpOut
from ikelab.pki.events import HttpFailed, HttpReply, HttpRequest
from ikelab.runtime.http import Handler, HttpLimits, HttpServer, fetch

HOST = "127.0.0.1"
T = TypeVar("T")


def echo(request: HttpIn) -> HttpOut:
    """What came in, as the answer."""
    text = f"{request.method} {request.target} ".encode()
    return HttpOut(200, "Text/Plain; charset=x", text + request.body)


def serving(
    use: Callable[[int], Awaitable[T]], handler: Handler = echo, limits: HttpLimits | None = None
) -> T:
    """Run `use(port)` beside a server."""

    async def main() -> T:
        server = HttpServer(handler, limits)
        await server.start(HOST, 0)
        try:
            async with asyncio.timeout(20):
                return await use(server.port)
        finally:
            await server.close()

    return asyncio.run(main())


def answering(
    octets: bytes, use: Callable[[int], Awaitable[T]], *, close: bool = True
) -> tuple[T, bytes]:
    """Run `use(port)` beside a server that sends fixed octets; also what it was sent."""
    seen = bytearray()
    done = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.extend(await reader.readuntil(b"\r\n\r\n"))
        writer.write(octets)
        if close:
            writer.write_eof()
        try:
            while chunk := await reader.read(1024):
                seen.extend(chunk)
        except ConnectionError:
            pass
        writer.close()
        done.set()

    async def main() -> T:
        server = await asyncio.start_server(serve, HOST, 0)
        async with server, asyncio.timeout(20):
            result = await use(server.sockets[0].getsockname()[1])
            await done.wait()
            return result

    return asyncio.run(main()), bytes(seen)


async def talk(port: int, octets: bytes, *, shut: bool = False) -> bytes:
    """Send raw octets; all that comes back until the server closes. A RST raises."""
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        writer.write(octets)
        if shut:
            writer.write_eof()
        return await reader.read()
    finally:
        writer.close()


def get(port: int, target: str = "/a?b=c") -> HttpRequest:
    return HttpRequest("h", "GET", f"http://{HOST}:{port}{target}")


# --- server --------------------------------------------------------------------------------------


def test_get_reaches_the_handler_with_its_target_not_decoded() -> None:
    target = "/cgi-bin/pkiclient.exe?operation=PKIOperation&message=MII%0A%2B%2F%3D"
    reply = serving(lambda port: fetch(get(port, target)))
    assert reply == HttpReply("h", 200, "text/plain", f"GET {target} ".encode())


def test_post_reaches_the_handler_with_its_body() -> None:
    def request(port: int) -> HttpRequest:
        return HttpRequest("h", "POST", f"http://{HOST}:{port}/x", b"\x00\xff" * 20_000, "a/b")

    reply = serving(lambda port: fetch(request(port)))
    assert isinstance(reply, HttpReply)
    assert reply.body == b"POST /x " + b"\x00\xff" * 20_000


def test_handler_may_be_a_coroutine() -> None:
    async def slowly(request: HttpIn) -> HttpOut:
        return await asyncio.to_thread(echo, request)

    reply = serving(lambda port: fetch(get(port)), slowly)
    assert isinstance(reply, HttpReply) and reply.body == b"GET /a?b=c "


def test_http_1_0_get_of_4_kb_is_answered_and_the_connection_closed() -> None:
    line = b"/cgi-bin/pkiclient.exe?operation=PKIOperation&message=" + b"M%0A" * 1000
    octets = serving(lambda port: talk(port, b"GET " + line + b" HTTP/1.0\r\n\r\n"))
    assert octets.startswith(b"HTTP/1.1 200 ")
    assert octets.endswith(b"GET " + line + b" ")


def test_requests_on_one_connection_are_answered_in_order_even_pipelined() -> None:
    one = b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\n"
    two = b"GET /2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    octets = serving(lambda port: talk(port, one + two))
    assert octets.count(b"HTTP/1.1 200 ") == 2
    assert octets.index(b"GET /1 ") < octets.index(b"GET /2 ")


def test_a_client_that_half_closes_after_its_request_is_answered() -> None:
    octets = serving(lambda port: talk(port, b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\n", shut=True))
    assert octets.endswith(b"GET /1 ")


def test_head_gets_the_length_but_no_body() -> None:
    octets = serving(lambda port: talk(port, b"HEAD /1 HTTP/1.0\r\n\r\n"))
    assert b"content-length: 8" in octets.lower()
    assert octets.endswith(b"\r\n\r\n")


def test_client_that_waits_for_100_continue_is_told_to_go_on() -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"

    async def use(port: int) -> bytes:
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(head)
        line = await reader.readuntil(b"\r\n\r\n")
        writer.write(b"ab")
        writer.write_eof()
        answer = await reader.read()
        writer.close()
        assert answer.endswith(b"POST / ab")
        return line

    assert serving(use).startswith(b"HTTP/1.1 100 ")


@pytest.mark.parametrize(
    ("octets", "status"),
    [
        (b"GET /" + b"x" * 30_000 + b" HTTP/1.0\r\n\r\n", 431),
        (b"GET / HTTP/1.0\r\n" + b"A: b\r\n" * 5000 + b"\r\n", 431),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 70000\r\n\r\n" + b"x" * 70_000, 413),
        (b"\x16\x03\x01\x00\x01\x00\r\n\r\n", 400),
        (b"GET /\x00 HTTP/1.0\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),  # RFC 9112 section 3.2: no Host
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: x\r\n\r\n", 501),
    ],
)
def test_what_is_too_large_or_no_http_is_refused_with_a_status(octets: bytes, status: int) -> None:
    answer = serving(lambda port: talk(port, octets))
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"connection: close" in answer.lower()


def test_nothing_after_a_refused_request_is_served() -> None:
    octets = b"BAD\r\n\r\nGET /smuggled HTTP/1.0\r\n\r\n"
    assert b"smuggled" not in serving(lambda port: talk(port, octets))


def test_slow_request_is_told_408() -> None:
    limits = HttpLimits(seconds=0.05)
    answer = serving(lambda port: talk(port, b"GET / HT"), limits=limits)
    assert answer.startswith(b"HTTP/1.1 408 ")
    answer = serving(
        lambda port: talk(port, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"),
        limits=limits,
    )
    assert answer.startswith(b"HTTP/1.1 408 ")


def test_idle_connection_is_closed_without_a_word() -> None:
    assert serving(lambda port: talk(port, b""), limits=HttpLimits(seconds=0.05)) == b""


def test_connections_over_the_limit_are_told_503_and_others_served() -> None:
    async def use(port: int) -> tuple[bytes, HttpReply | HttpFailed]:
        held = [await asyncio.open_connection(HOST, port) for _ in range(2)]
        refused = await talk(port, b"GET / HTTP/1.0\r\n\r\n")
        for _, writer in held:
            writer.write(b"GET /held HTTP/1.0\r\n\r\n")
        for reader, writer in held:
            assert (await reader.read()).endswith(b"GET /held ")
            writer.close()
        return refused, await fetch(get(port))

    refused, later = serving(use, limits=HttpLimits(connections=2))
    assert refused.startswith(b"HTTP/1.1 503 ")
    assert isinstance(later, HttpReply)


def test_a_bug_in_the_handler_is_500_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    def fall_over(request: HttpIn) -> HttpOut:
        raise ZeroDivisionError("a bug")

    reply = serving(lambda port: fetch(get(port)), fall_over)
    assert isinstance(reply, HttpReply) and reply.status == 500
    assert b"bug" not in reply.body
    assert "ZeroDivisionError" in caplog.text


def test_client_that_resets_in_the_middle_disturbs_nobody() -> None:
    async def use(port: int) -> HttpReply | HttpFailed:
        with socket.create_connection((HOST, port)) as raw:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            raw.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        return await fetch(get(port))

    assert isinstance(serving(use), HttpReply)


def test_port_in_use_is_said_with_a_hint() -> None:
    async def use(port: int) -> None:
        with pytest.raises(LabError, match=f"{HOST}:{port}.*\n.*ip http port"):
            await HttpServer(echo).start(HOST, port)

    serving(use)


def test_closing_the_server_hangs_up_on_idle_clients() -> None:
    async def main() -> bytes:
        server = HttpServer(echo)
        await server.start(HOST, 0)
        reader, writer = await asyncio.open_connection(HOST, server.port)
        writer.write(b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"GET /1 ")
        await server.close()
        assert server.port == 0
        rest = await reader.read()
        writer.close()
        return rest

    assert asyncio.run(main()) == b""


@pytest.mark.interop
def test_curl_gets_and_posts(need: Callable[[str], str]) -> None:
    curl = need("curl")

    async def use(port: int) -> bytes:
        command = [curl, "-sS", "--http1.0", f"http://{HOST}:{port}/old", "--next", "-sS"]
        command += ["--data-binary", "abc", f"http://{HOST}:{port}/new"]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, check=True)
        return done.stdout

    assert serving(use) == b"GET /old POST /new abc"


# --- client --------------------------------------------------------------------------------------


def test_request_says_host_with_port_and_close() -> None:
    reply, seen = answering(b"HTTP/1.0 204 No Content\r\n\r\n", lambda port: fetch(get(port)))
    assert isinstance(reply, HttpReply) and reply.status == 204 and reply.content_type == ""
    lines = seen.lower().split(b"\r\n")
    assert lines[0] == b"get /a?b=c http/1.1"
    assert any(line.startswith(b"host: 127.0.0.1:") for line in lines)
    assert b"connection: close" in lines


def test_answer_without_length_ends_with_the_connection() -> None:
    octets = b"HTTP/1.0 200 OK\r\nContent-Type: application/PKIX-CRL\r\n\r\n\x30\x03"
    reply, _ = answering(octets, lambda port: fetch(get(port)))
    assert reply == HttpReply("h", 200, "application/pkix-crl", b"\x30\x03")


def test_chunked_answer_is_put_together() -> None:
    octets = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
    reply, _ = answering(octets, lambda port: fetch(get(port)))
    assert isinstance(reply, HttpReply) and reply.body == b"abc"


def test_redirect_is_not_followed() -> None:
    octets = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
    reply, _ = answering(octets, lambda port: fetch(get(port)))
    assert isinstance(reply, HttpReply) and reply.status == 302


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (b"HTTP/1.0 200 OK\r\n\r\n" + b"x" * 101, "more than 100 octets"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", "without finishing|peer"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 40_000, "not HTTP"),
        (b"", "hung up without an answer"),
    ],
)
def test_bad_answers_are_failures_with_a_reason(octets: bytes, reason: str) -> None:
    reply, _ = answering(octets, lambda port: fetch(replace(get(port), limit=100)))
    assert isinstance(reply, HttpFailed) and reply.handle == "h"
    assert any(part in reply.reason for part in reason.split("|")), reply.reason
    assert reply.too_large == ("more than" in reason)


def test_drip_feed_meets_the_time_limit() -> None:
    octets = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"
    reply, _ = answering(octets, lambda port: fetch(replace(get(port), seconds=0.05)), close=False)
    assert reply == HttpFailed("h", "no answer in 0.05 s")


def test_refused_connection_is_said() -> None:
    with socket.socket() as unused:
        unused.bind((HOST, 0))
        port = unused.getsockname()[1]
        assert asyncio.run(fetch(get(port))) == HttpFailed("h", "connection refused")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("ftp://127.0.0.1/x", "only http://"),
        ("file:///etc/passwd", "only http://"),
        ("/etc/passwd", "a bare path"),
        ("http://storage/x.crl", "no IPv4 address"),
        ("http://[::1]/x.crl", "no IPv4 address"),
        ("http:///x.crl", "no IPv4 address"),
        ("http://user:secret@127.0.0.1/x", "no user or password"),
        ("http://127.0.0.1:99999/", "ort"),
        ("http://127.0.0.1:x/", "ort"),
        ("http://2130706433/", "no IPv4 address"),
    ],
)
def test_urls_outside_the_rules_are_never_connected_to(url: str, reason: str) -> None:
    reply = asyncio.run(fetch(HttpRequest("h", "GET", url)))
    assert isinstance(reply, HttpFailed)
    assert reason in reply.reason
    assert "secret" not in reply.reason


def test_target_with_blanks_is_refused_not_sent() -> None:
    async def use(port: int) -> HttpReply | HttpFailed:
        return await fetch(get(port, "/a HTTP/1.1\r\nX: y"))

    assert isinstance(serving(use), HttpFailed)
