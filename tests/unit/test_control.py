"""The control socket: operations, refusals, waiting, rights on the file."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ikelab.errors import ConfigError, LabError, PkiError
from ikelab.runtime.control import (
    REQUEST_OCTETS,
    Conditions,
    ControlClient,
    ControlServer,
    Handler,
    Json,
    Request,
    lines_of,
    text_of,
)


def refuse_line(request: Request) -> Json:
    raise ConfigError("no such command", file="hub.cfg", line=3, column=7, hint="say router")


def refuse_lab(request: Request) -> Json:
    raise LabError("not now", hint="later")


def refuse_pki(request: Request) -> Json:
    raise PkiError("revoked", "serial 04")


def fall_over(request: Request) -> Json:
    raise ZeroDivisionError("a bug")


async def slow(request: Request) -> Json:
    await asyncio.sleep(0)
    return {"from": "a coroutine"}


HANDLERS: dict[str, Handler] = {
    "exec": lambda request: f"<{text_of(request, 'command')}>",
    "configure": lambda request: "\n".join(lines_of(request)),
    "snapshot": lambda request: {"hostname": "hub", "routes": [1, 2]},
    "list": lambda request: [1],
    "line": refuse_line,
    "lab": refuse_lab,
    "pki": refuse_pki,
    "bug": fall_over,
    "slow": slow,
}


@contextmanager
def running(
    path: Path, handlers: dict[str, Handler]
) -> Iterator[Callable[[Callable[[], None]], None]]:
    """A server in a thread with its own loop; the value runs a function on that loop."""
    loop = asyncio.new_event_loop()
    server = ControlServer(path, handlers)
    loop.run_until_complete(server.start())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield loop.call_soon_threadsafe
    finally:
        asyncio.run_coroutine_threadsafe(server.close(), loop).result(5)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        loop.close()


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    where = tmp_path / "hub.sock"
    with running(where, HANDLERS):
        yield where


def test_exec_configure_and_snapshot_return_what_the_node_says(path: Path) -> None:
    with ControlClient(path) as client:
        assert client.exec("show version") == "<show version>"
        assert client.configure(["interface Tunnel1", "shutdown"]) == "interface Tunnel1\nshutdown"
        assert client.snapshot() == {"hostname": "hub", "routes": [1, 2]}
        assert client.call("slow") == {"from": "a coroutine"}


def test_octets_of_other_scripts_and_controls_survive(path: Path) -> None:
    with ControlClient(path) as client:
        assert client.exec('grüße\n"\x1b[31m\u202e') == '<grüße\n"\x1b[31m\u202e>'


def test_socket_is_for_its_owner_only(path: Path) -> None:
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


def test_config_error_keeps_its_place_and_hint(path: Path) -> None:
    with ControlClient(path) as client, pytest.raises(ConfigError) as caught:
        client.call("line")
    error = caught.value
    assert (error.file, error.line, error.column, error.hint) == ("hub.cfg", 3, 7, "say router")


def test_other_refusals_arrive_as_lab_error_with_the_node_named(path: Path) -> None:
    with ControlClient(path) as client:
        with pytest.raises(LabError, match="hub: not now\n  later"):
            client.call("lab")
        with pytest.raises(LabError, match="hub: revoked: serial 04"):
            client.call("pki")


def test_a_node_without_a_console_says_so(tmp_path: Path) -> None:
    path = tmp_path / "storage.sock"
    with running(path, {"stop": lambda request: None}), ControlClient(path) as client:
        with pytest.raises(LabError, match="storage: this node has no console"):
            client.exec("show version")


def test_unknown_operation_names_those_there_are(path: Path) -> None:
    with ControlClient(path) as client, pytest.raises(LabError, match="snapshot"):
        client.call("reboot")


def test_a_bug_in_an_operation_is_told_and_the_server_goes_on(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with ControlClient(path) as client:
        with pytest.raises(LabError, match="internal error: ZeroDivisionError"):
            client.call("bug")
        assert client.exec("x") == "<x>"
    assert "operation failed" in caplog.text


@pytest.mark.parametrize("fields", [{}, {"command": 3}, {"command": None}, {"command": ["a"]}])
def test_missing_or_mistyped_field_is_refused(path: Path, fields: dict[str, Json]) -> None:
    with ControlClient(path) as client, pytest.raises(LabError, match="needs 'command'"):
        client.call("exec", **fields)


def test_lines_must_be_strings(path: Path) -> None:
    with ControlClient(path) as client, pytest.raises(LabError, match="list of strings"):
        client.call("configure", lines=["a", 1])


def test_snapshot_must_be_an_object(tmp_path: Path) -> None:
    where = tmp_path / "odd.sock"
    with running(where, {"snapshot": lambda request: [1]}), ControlClient(where) as client:
        with pytest.raises(LabError, match="not an object"):
            client.snapshot()


@pytest.mark.parametrize("line", [b"hello\n", b"[1]\n", b"\xff\n", b"[" * 100_000 + b"\n"])
def test_a_line_that_is_no_json_object_is_refused(path: Path, line: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as raw:
        raw.settimeout(5)
        raw.connect(str(path))
        raw.sendall(line)
        reply = json.loads(raw.makefile().readline())
    assert reply["ok"] is False
    assert "JSON" in reply["error"]["reason"]


def test_a_line_without_end_is_hung_up_on(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as raw:
        raw.settimeout(5)
        raw.connect(str(path))
        try:
            raw.sendall(b"x" * (REQUEST_OCTETS * 2))
            assert raw.recv(1) == b""
        except (BrokenPipeError, ConnectionResetError):
            pass  # hung up while we were still sending
    with ControlClient(path) as client:
        assert client.exec("x") == "<x>"


def test_requests_of_one_connection_are_answered_in_order(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as raw:
        raw.settimeout(5)
        raw.connect(str(path))
        lines = [json.dumps({"op": "exec", "command": str(n)}) for n in range(3)]
        raw.sendall("\n".join([*lines, ""]).encode())
        stream = raw.makefile()
        assert [json.loads(stream.readline())["result"] for _ in lines] == ["<0>", "<1>", "<2>"]


def test_nobody_there_is_said_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="nobody answers.*\n.*inspect"):
        ControlClient(tmp_path / "none.sock")


def test_client_gives_up_when_no_answer_comes(tmp_path: Path) -> None:
    where = tmp_path / "mute.sock"
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(where))
        mute.listen()
        with ControlClient(where, timeout=0.05) as client:
            with pytest.raises(LabError, match=r"no answer to snapshot in 0\.05 s"):
                client.snapshot()


def test_client_says_when_the_node_dies_in_the_middle(tmp_path: Path) -> None:
    where = tmp_path / "dying.sock"
    with socket.socket(socket.AF_UNIX) as dying:
        dying.bind(str(where))
        dying.listen()
        with ControlClient(where) as client:
            peer, _ = dying.accept()
            with peer:
                peer.sendall(b'{"ok":tr')
                peer.shutdown(socket.SHUT_WR)
                with pytest.raises(LabError, match="dying hung up.*\n.*dying.log"):
                    client.call("exec", command="x")


def test_socket_file_of_a_killed_process_is_replaced(tmp_path: Path) -> None:
    where = tmp_path / "hub.sock"
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(str(where))
    with running(where, HANDLERS), ControlClient(where) as client:
        assert client.exec("x") == "<x>"
    assert not where.exists()


def test_wait_answers_at_once_when_the_condition_holds(tmp_path: Path) -> None:
    where = tmp_path / "hub.sock"
    conditions = Conditions({"ready": lambda of: True})
    with running(where, {"wait": conditions.serve}), ControlClient(where) as client:
        assert client.wait("ready", timeout=0)


def test_wait_blocks_until_the_owner_says_that_something_changed(tmp_path: Path) -> None:
    where = tmp_path / "hub.sock"
    enrolled: set[str | None] = set()
    conditions = Conditions({"enrolled": lambda of: of in enrolled})
    asked = threading.Event()

    async def serve(request: Request) -> Json:
        asyncio.get_running_loop().call_soon(asked.set)
        return await conditions.serve(request)

    with running(where, {"wait": serve}) as call, ControlClient(where) as client:

        def enroll() -> None:
            asked.wait(5)
            call(conditions.changed)  # nothing changed for us: we go on waiting
            call(lambda: enrolled.add("ra"))
            call(conditions.changed)

        helper = threading.Thread(target=enroll)
        helper.start()
        assert client.wait("enrolled", of="ra", timeout=5)
        helper.join()


def test_wait_ends_with_false_when_the_time_is_over(tmp_path: Path) -> None:
    where = tmp_path / "hub.sock"
    conditions = Conditions({"ready": lambda of: False})
    with running(where, {"wait": conditions.serve}), ControlClient(where) as client:
        assert not client.wait("ready", timeout=0.01)


def test_wait_for_an_unknown_condition_names_those_there_are(tmp_path: Path) -> None:
    where = tmp_path / "hub.sock"
    conditions = Conditions({"ready": lambda of: True, "enrolled": lambda of: False})
    with running(where, {"wait": conditions.serve}), ControlClient(where) as client:
        with pytest.raises(LabError, match="enrolled, ready"):
            client.wait("breakfast", timeout=1)


def test_wait_needs_a_time() -> None:
    conditions = Conditions({"ready": lambda of: True})
    with pytest.raises(LabError, match="timeout"):
        asyncio.run(_serve(conditions, {"for": "ready"}))


async def _serve(conditions: Conditions, request: Request) -> Json:
    return await conditions.serve(request)


def test_held_conditions_are_listed() -> None:
    assert Conditions({"a": lambda of: True, "b": lambda of: of is not None}).held() == {
        "a": True,
        "b": False,
    }


def test_closing_the_server_ends_those_who_wait(tmp_path: Path) -> None:
    where = tmp_path / "hub.sock"
    conditions = Conditions({"ready": lambda of: False})
    failures: list[LabError] = []
    asked = threading.Event()

    async def serve(request: Request) -> Json:
        asked.set()
        return await conditions.serve(request)

    def wait() -> None:
        with ControlClient(where) as client:
            try:
                client.wait("ready", timeout=30)
            except LabError as error:
                failures.append(error)

    with running(where, {"wait": serve}):
        thread = threading.Thread(target=wait)
        thread.start()
        assert asked.wait(5)
    thread.join(5)
    assert "hung up" in str(failures[0])
