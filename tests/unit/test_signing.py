"""The process that signs for a certificate server: its answers, its end, and its server's."""

from __future__ import annotations

import asyncio
import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from ikelab.pki import scep
from ikelab.pki.ca_events import HttpIn, HttpOut, RequestRefused
from ikelab.pki.cert_server import CertificateServer
from ikelab.pki.scep import PkiStatus
from ikelab.runtime import signing
from ikelab.runtime.signing import Signer
from tests.ca_process import our_ca
from tests.pki_scene import Scene, pool_key
from tests.scep_messages import Client
from tests.unit.test_routerd_web import client_of, post

POST = "/cgi-bin/pkiclient.exe?operation=PKIOperation"


@contextmanager
def forked() -> Iterator[Signer]:
    signer = Signer()
    signer.fork()
    try:
        yield signer
    finally:
        signer.close()


def decided(number: int) -> tuple[Client, list[HttpOut]]:
    """What a server with `grant auto` answers to that many requests, before it is signed."""
    scene = Scene()
    server = scene.server("root-ca", grant="auto")
    scene.start("root-ca")
    client = Client(ca_of(server))
    asked = [HttpIn("POST", POST, octets) for octets in client.prepare(number)]
    return client, [server.answer(request, scene.now()) for request in asked]


def ca_of(server: CertificateServer) -> bytes:
    certificate, _ = server.certificates
    assert certificate is not None
    return certificate


def sign_all(signer: Signer, answers: list[HttpOut]) -> list[HttpOut]:
    async def together() -> list[HttpOut]:
        return await asyncio.gather(*(signer.sign(answer) for answer in answers))

    return asyncio.run(together())


def test_the_process_signs_each_answer_for_its_own_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client, answers = decided(40)
    with forked() as signer:
        monkeypatch.setattr(HttpOut, "sign", None)  # not here
        signed = sign_all(signer, answers)
    assert client.read([answer.body for answer in signed], 1) == list(range(2, 42))


def test_without_a_process_it_signs_itself() -> None:
    client, answers = decided(3)
    signed = sign_all(Signer(), answers)
    assert client.read([answer.body for answer in signed], 1) == [2, 3, 4]


def test_when_the_process_is_killed_nobody_waits_for_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    client, answers = decided(12)
    with forked() as signer:
        os.kill(signer._pid, signal.SIGSTOP)  # so that all are still waiting when it is killed

        async def killed_meanwhile() -> list[HttpOut]:
            waiting = [asyncio.ensure_future(signer.sign(answer)) for answer in answers]
            await asyncio.sleep(0)
            os.kill(signer._pid, signal.SIGKILL)
            return await asyncio.gather(*waiting)

        signed = asyncio.run(killed_meanwhile())
    assert client.read([answer.body for answer in signed], 1) == list(range(2, 14))
    assert "the signing process has ended" in caplog.text


def test_a_process_that_hangs_is_ended_and_nobody_goes_without_an_answer(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signing, "_SECONDS", 0.05)
    client, answers = decided(12)
    with forked() as signer:
        os.kill(signer._pid, signal.SIGSTOP)
        signed = sign_all(signer, answers)
        with pytest.raises(ChildProcessError):
            os.waitpid(signer._pid, os.WNOHANG)  # it is gone, and nothing of it is left
    assert client.read([answer.body for answer in signed], 1) == list(range(2, 14))
    assert caplog.text.count("the signing process hangs") == 1


def test_an_answer_too_long_for_its_socket_is_signed_here() -> None:
    client, [answer] = decided(1)
    assert answer.unsigned is not None
    crl = bytes(200_000)
    reply = replace(answer.unsigned.reply, certificates=(), crls=(crl,))
    long = replace(answer, unsigned=replace(answer.unsigned, reply=reply))
    with forked() as signer:
        [signed] = sign_all(signer, [long])
    assert len(signed.body) > len(crl)
    assert scep.read_message(signed.body).pki_status is PkiStatus.SUCCESS


def test_what_cannot_be_signed_is_refused_and_told() -> None:
    _, [answer] = decided(1)
    assert answer.unsigned is not None
    short = replace(answer.unsigned, key=pool_key(512, 0))
    short = replace(short, reply=replace(short.reply, digest="sha512"))
    with forked() as signer:
        [signed] = sign_all(signer, [replace(answer, unsigned=short)])
    assert (signed.status, signed.body) == (400, b"refused\n")
    told = signed.notices[-1]
    assert isinstance(told, RequestRefused) and told.reason == "key-too-short"


def test_it_ends_with_a_server_that_is_killed() -> None:
    with our_ca("grant auto") as ca:
        descriptor = os.pidfd_open(ca.children[0])
        os.kill(ca.pid, signal.SIGKILL)
        ended, _, _ = select.select([descriptor], [], [], 10)
        os.close(descriptor)
    assert ended, "the signing process has outlived its server"


def test_a_server_whose_signer_is_killed_goes_on() -> None:
    async def enroll(port: int, client: Client) -> list[int]:
        first = client.made + 1
        replies = await asyncio.gather(*(post(port, body) for body in client.prepare(4)))
        return client.read([reply.body for reply in replies if hasattr(reply, "body")], first)

    with our_ca("grant auto") as ca:
        client = asyncio.run(client_of(ca.port))
        before = asyncio.run(enroll(ca.port, client))
        os.kill(ca.children[0], signal.SIGKILL)
        after = asyncio.run(enroll(ca.port, client))
        assert sorted(before + after) == list(range(2, 10))
        assert "the signing process has ended" in ca.log
