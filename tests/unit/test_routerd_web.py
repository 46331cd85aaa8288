"""The daemon's web server: requests that come together are recorded together, then answered."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from ikelab.errors import LabError
from ikelab.node.events import NodeAction
from ikelab.pki.ca_events import HttpIn, HttpOut
from ikelab.pki.events import HttpFailed, HttpReply, HttpRequest
from ikelab.runtime.http import fetch
from ikelab.runtime.nodespec import NodeKind, NodeSpec
from ikelab.runtime.routerd import RouterProcess
from ikelab.runtime.store import SqliteCaStore
from ikelab.types import Now
from tests.scep_messages import Client
from tests.tcp_ports import free_port

T = TypeVar("T")
SCEP = "/cgi-bin/pkiclient.exe?operation="
CONFIG = """\
hostname ca
ip http server
ip http port {port}
crypto pki server root-ca
 grant auto
 no shutdown
end
"""


def running(use: Callable[[RouterProcess, int], Awaitable[T]]) -> T:
    """The daemon, as CA, in this process; `use` gets it with its port."""

    async def main(folder: str) -> T:
        port = free_port()
        spec = NodeSpec(
            lab="web",
            name="ca",
            kind=NodeKind.CA,
            mode="modern",
            config=CONFIG.format(port=port),
            config_file="ca.cfg",
            run_root=Path(folder),
        )
        spec.run_dir.mkdir(parents=True)
        process = RouterProcess(spec)
        try:
            await process.start()
            async with asyncio.timeout(20):
                while not process.router.servers["root-ca"].store.load_crl():
                    await asyncio.sleep(0.01)
                return await use(process, port)
        finally:
            await process.close()

    with tempfile.TemporaryDirectory(prefix="ikelab-") as folder:  # short, for its sockets
        return asyncio.run(main(folder))


async def post(port: int, body: bytes) -> HttpReply | HttpFailed:
    url = f"http://127.0.0.1:{port}{SCEP}PKIOperation"
    return await fetch(HttpRequest("h", "POST", url, body, "application/x-pki-message"))


async def client_of(port: int) -> Client:
    reply = await fetch(HttpRequest("h", "GET", f"http://127.0.0.1:{port}{SCEP}GetCACert"))
    assert isinstance(reply, HttpReply)
    return Client(reply.body)


def store_of(process: RouterProcess) -> SqliteCaStore:
    store = process.router.servers["root-ca"].store
    assert isinstance(store, SqliteCaStore)
    return store


def test_requests_that_come_together_get_numbers_of_their_own_and_share_the_disk() -> None:
    groups: list[int] = []

    async def use(process: RouterProcess, port: int) -> list[int]:
        client, store = await client_of(port), store_of(process)
        plain = store.group

        @contextmanager
        def counted() -> Iterator[None]:
            before = store.last_serial()
            with plain():
                yield
            groups.append(store.last_serial() - before)

        store.group = counted  # type: ignore[method-assign]
        bodies = client.prepare(16)
        replies = await asyncio.gather(*(post(port, body) for body in bodies))
        assert all(isinstance(reply, HttpReply) for reply in replies)
        return client.read([r.body for r in replies if isinstance(r, HttpReply)], first=1)

    serials = running(use)
    assert sorted(serials) == list(range(2, 18))
    assert sum(groups) == 16 and len(groups) < 16, groups


def test_nobody_is_answered_when_the_disk_did_not_take_it() -> None:
    async def use(process: RouterProcess, port: int) -> list[int]:
        client, store = await client_of(port), store_of(process)

        @contextmanager
        def failing() -> Iterator[None]:
            with store.deferred():
                yield
            raise LabError("ca.db: disk I/O error")

        plain, store.group = store.group, failing  # type: ignore[method-assign]
        bodies = client.prepare(4)
        replies = await asyncio.gather(*(post(port, body) for body in bodies))
        assert {r.status for r in replies if isinstance(r, HttpReply)} == {500}
        store.group = plain  # type: ignore[method-assign]
        again = [await post(port, body) for body in bodies]
        return client.read([r.body for r in again if isinstance(r, HttpReply)], first=1)

    assert len(set(running(use))) == 4


def test_a_bug_that_one_request_finds_is_that_requests_alone() -> None:
    async def use(process: RouterProcess, port: int) -> list[int]:
        client = await client_of(port)
        bodies = client.prepare(4)
        plain = process.router.serve

        def serve(request: HttpIn, now: Now) -> tuple[HttpOut, list[NodeAction]]:
            if request.body == bodies[1]:
                raise ZeroDivisionError
            return plain(request, now)

        process.router.serve = serve  # type: ignore[method-assign]
        replies = await asyncio.gather(*(post(port, body) for body in bodies))
        return [reply.status for reply in replies if isinstance(reply, HttpReply)]

    assert running(use) == [200, 500, 200, 200]
