"""The control socket: how the command line and tests talk to a running node or supervisor.

A Unix stream socket, mode 0600, in the lab's private directory. One JSON object a line each way:

    -> {"op": "exec", "command": "show crypto isakmp sa"}
    <- {"ok": true, "result": "dst             src ..."}
    <- {"ok": false, "error": {"kind": "ConfigError", "reason": ..., "line": 3, "hint": ...}}

Operations that every node has:

    exec       command            text the console would print
    configure  lines              text, as if typed after `configure terminal`
    snapshot                      object, see `lab/report.py` for the parts the lab reads
    wait       for, of, timeout   whether the condition held in time; answers when it does
    forget-clock  date            null; its date is this one now, and not believed; not on storage
    turn       patience           what is due was done, see `runtime/turns.py`; not on storage
    stop                          null; the node then ends as on SIGTERM

`wait` is how readiness is asked: the node answers when the condition holds, so nobody polls and
nobody sleeps.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Self, cast

from ikelab.errors import ConfigError, IkelabError, LabError

Json = bool | int | float | str | list["Json"] | dict[str, "Json"] | None
"""Whatever a line may hold."""

Request = Mapping[str, Json]
Handler = Callable[[Request], Json | Awaitable[Json]]
Predicate = Callable[[str | None], bool]

REQUEST_OCTETS = 1 << 20  # a whole configuration fits; a node never reads more into one line
REPLY_OCTETS = 64 << 20  # a snapshot of a hub with thousands of SAs
WAIT_LIMIT = 3600.0  # seconds: no connection waits for ever when its asker was killed

_LOG = logging.getLogger(__name__)


class Conditions:
    """What can be waited for, and those who wait.

    predicates: name -> function of what the wait is about (a trustpoint, a tunnel, or None: any).
    The owner calls `changed` whenever an answer may have become different.
    """

    def __init__(self, predicates: Mapping[str, Predicate]) -> None:
        self._predicates = dict(predicates)
        self._waiting: list[tuple[Predicate, str | None, asyncio.Future[None]]] = []

    def changed(self) -> None:
        """Look again for everybody who waits."""
        for predicate, of, future in self._waiting:
            if not future.done() and predicate(of):
                future.set_result(None)

    def held(self) -> dict[str, bool]:
        """Each condition, asked of "any": part of a snapshot."""
        return {name: predicate(None) for name, predicate in self._predicates.items()}

    async def wait(self, name: str, of: str | None, timeout: float) -> bool:
        """Whether the condition holds now or within `timeout` seconds. LabError if unknown."""
        predicate = self._predicates.get(name)
        if predicate is None:
            known = ", ".join(sorted(self._predicates))
            raise LabError(f"nothing here is called {name!r}", hint=f"one can wait for: {known}")
        if predicate(of):
            return True
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (predicate, of, future)
        self._waiting.append(entry)
        try:
            async with asyncio.timeout(min(timeout, WAIT_LIMIT)):
                await future
        except TimeoutError:
            return False
        finally:
            self._waiting.remove(entry)
        return True

    async def serve(self, request: Request) -> Json:
        """The operation "wait"."""
        of = request.get("of")
        timeout = request.get("timeout")
        if not isinstance(of, str | None) or not isinstance(timeout, int | float):
            raise LabError("wait takes for (a name), of (a name or null) and timeout (seconds)")
        return await self.wait(text_of(request, "for"), of, timeout)


class ControlServer:
    """Serves operations on one Unix socket from the running asyncio loop.

    handlers: operation -> function of the request; what it returns or awaits is the result, an
    `IkelabError` the refusal. Requests of one connection are answered in order, connections beside
    one another.
    """

    def __init__(self, path: Path, handlers: Mapping[str, Handler]) -> None:
        self.path = path
        self._handlers = dict(handlers)
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen; a socket left by a killed process is replaced. LabError if that cannot be."""
        mask = os.umask(0o177)
        try:
            self._server = await asyncio.start_unix_server(
                self._serve, self.path, limit=REQUEST_OCTETS
            )
        except OSError as error:
            raise LabError(f"cannot listen on {self.path}: {error.strerror}") from error
        finally:
            os.umask(mask)

    async def close(self) -> None:
        """Stop listening, end the connections (an answer being written goes out), remove it."""
        if self._server is None:
            return
        self._server.close()
        mine = asyncio.current_task()
        others = [task for task in self._connections if task is not mine]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        self.path.unlink(missing_ok=True)
        self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            while line := await _read_line(reader):
                writer.write(_line(await self._answer(line)))
                await writer.drain()
        except (ConnectionError, asyncio.CancelledError):
            pass  # the other side went away, or we are closing
        finally:
            self._connections.discard(task)
            writer.close()

    async def _answer(self, line: bytes) -> dict[str, Json]:
        try:
            request = _parse(line)
            handler = self._handlers.get(text_of(request, "op"))
            if handler is None and request["op"] in ("exec", "configure"):
                raise LabError("this node has no console", hint="routers, CAs and NATs have one")
            if handler is None:
                known = ", ".join(sorted(self._handlers))
                raise LabError(f"no operation {request['op']!r}", hint=f"there are: {known}")
            result = handler(request)
            return {"ok": True, "result": await result if inspect.isawaitable(result) else result}
        except IkelabError as error:
            return {"ok": False, "error": _describe(error)}
        except Exception as error:
            # A bug of ours: the asker is told, the node's log has the rest, the node goes on.
            _LOG.exception("operation failed")
            return {"ok": False, "error": {"kind": "bug", "reason": f"internal error: {error!r}"}}


async def serve_until_stopped(path: Path, handlers: Mapping[str, Handler], ready: int) -> None:
    """Be a node that only answers: until SIGTERM or the operation "stop", which is added here.

    ready: a pipe that gets one octet once the socket at `path` listens.
    """
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    control = ControlServer(path, {**handlers, "stop": lambda request: stop.set()})
    await control.start()
    os.write(ready, b"\n")
    os.close(ready)
    await stop.wait()
    await control.close()


class ControlClient:
    """A blocking connection to one control socket. Use as a context manager.

    timeout: seconds for connecting and for each answer. Raises LabError where nobody answers, and
    what the other side refused with: ConfigError as ConfigError, all else as LabError.
    """

    def __init__(self, path: Path, *, timeout: float = 10.0) -> None:
        self.path = path
        self._timeout = timeout
        self._buffer = bytearray()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._socket.settimeout(timeout)
        try:
            self._socket.connect(str(path))
        except OSError as error:
            self._socket.close()
            raise LabError(
                f"nobody answers at {path}: {error.strerror or error}",
                hint="is the lab deployed? `ikelab inspect` shows what runs",
            ) from error

    def __enter__(self) -> Self:
        """The client itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def exec(self, command: str) -> str:
        """What the console prints for one command of the exec mode."""
        return str(self.call("exec", command=command))

    def configure(self, lines: Sequence[str]) -> str:
        """What the console prints for lines typed after `configure terminal`."""
        return str(self.call("configure", lines=list(lines)))

    def snapshot(self) -> dict[str, Json]:
        """The node's state as plain data."""
        result = self.call("snapshot")
        if not isinstance(result, dict):
            raise LabError(f"{self.path.name} sent a snapshot that is not an object")
        return result

    def wait(self, condition: str, *, of: str | None = None, timeout: float) -> bool:
        """Block until the condition holds (True) or the time is over (False)."""
        fields: dict[str, Json] = {"for": condition, "of": of, "timeout": timeout}
        return self._call("wait", fields, timeout + self._timeout) is True

    def stop(self) -> None:
        """Ask the process to end as on SIGTERM; returns when it has begun."""
        self.call("stop")

    def call(self, op: str, **fields: Json) -> Json:
        """One operation, its result."""
        return self._call(op, fields, self._timeout)

    def ask(self, op: str, **fields: Json) -> None:
        """Begin an operation; `answer` brings its result. So several nodes work side by side."""
        self._send(op, fields)

    def answer(self, op: str) -> Json:
        """The result of the operation that `ask` has begun."""
        return self._result(op, self._timeout)

    def _call(self, op: str, fields: Mapping[str, Json], timeout: float) -> Json:
        self._send(op, fields)
        return self._result(op, timeout)

    def _send(self, op: str, fields: Mapping[str, Json]) -> None:
        try:
            self._socket.settimeout(self._timeout)
            self._socket.sendall(_line({"op": op, **fields}))
        except OSError as error:  # a time-out too
            raise LabError(f"{self.path.name}: {error.strerror or error}") from error

    def _result(self, op: str, timeout: float) -> Json:
        deadline = time.monotonic() + timeout
        try:
            reply = _parse(self._receive_line(deadline))
        except TimeoutError as error:
            raise LabError(f"{self.path.name}: no answer to {op} in {timeout:g} s") from error
        except OSError as error:
            raise LabError(f"{self.path.name}: {error.strerror or error}") from error
        if reply.get("ok") is True:
            return reply.get("result")
        raise _refusal(self.path.name, reply.get("error"))

    def _receive_line(self, deadline: float) -> bytes:
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > REPLY_OCTETS:
                raise LabError(f"{self.path.name} sent more than {REPLY_OCTETS} octets in a line")
            self._socket.settimeout(max(deadline - time.monotonic(), 0.001))
            octets = self._socket.recv(1 << 16)
            if not octets:
                raise LabError(
                    f"{self.path.stem} hung up in the middle of an answer",
                    hint=f"its log is {self.path.with_suffix('.log')}",
                )
            self._buffer += octets
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line


def text_of(request: Request, key: str) -> str:
    """A field that must be a string. Raises LabError."""
    value = request.get(key)
    if not isinstance(value, str):
        raise LabError(f"the request needs {key!r}, a string")
    return value


def lines_of(request: Request) -> tuple[str, ...]:
    """The field `lines`, which must be a list of strings. Raises LabError."""
    value = request.get("lines")
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise LabError("the request needs 'lines', a list of strings")
    return tuple(cast(list[str], value))


async def _read_line(reader: asyncio.StreamReader) -> bytes:
    """The next line, b"" at the end or when it is longer than any request may be."""
    try:
        return await reader.readline()
    except ValueError:  # StreamReader's word for "over the limit"
        return b""


def _line(message: Mapping[str, Json]) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def _parse(line: bytes) -> dict[str, Json]:
    try:
        message = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise LabError("not a line of JSON") from error
    if not isinstance(message, dict):
        raise LabError("not a JSON object")
    return cast(dict[str, Json], message)


def _describe(error: IkelabError) -> dict[str, Json]:
    if isinstance(error, ConfigError):
        return {
            "kind": "ConfigError",
            "reason": error.reason,
            "file": error.file,
            "line": error.line,
            "column": error.column,
            "hint": error.hint,
        }
    if isinstance(error, LabError):
        return {"kind": "LabError", "reason": error.reason, "hint": error.hint}
    return {"kind": type(error).__name__, "reason": str(error)}


def _refusal(name: str, error: Json) -> ConfigError | LabError:
    """The other side's refusal as an exception here."""
    fields = error if isinstance(error, dict) else {}
    reason, hint = str(fields.get("reason", "refused without a reason")), fields.get("hint", "")
    if fields.get("kind") == "ConfigError":
        line, column = fields.get("line"), fields.get("column")
        return ConfigError(
            reason,
            file=str(fields.get("file", "")),
            line=line if isinstance(line, int) else 0,
            column=column if isinstance(column, int) else 0,
            hint=str(hint),
        )
    return LabError(f"{name.removesuffix('.sock')}: {reason}", hint=str(hint))
