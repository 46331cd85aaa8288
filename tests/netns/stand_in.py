"""A stand-in for a router's daemon: a control socket, and a goodbye on the wire when it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Mapping

from ikelab.lab.supervisor import Main
from ikelab.runtime import storaged
from ikelab.runtime.control import Conditions, ControlServer, Json, Request, text_of
from ikelab.runtime.nodespec import NodeKind, NodeSpec

GOODBYE = b"goodbye from %s"
PORT = 500


def mains() -> Mapping[NodeKind, Main]:
    """What `supervisor.load_mains` gives, with the stand-in for routers."""
    return {NodeKind.ROUTER: main, NodeKind.CA: main, NodeKind.STORAGE: storaged.main}


def main(spec: NodeSpec, ready: int) -> int:
    """Until SIGTERM. A configuration with the word CRASH or HANG does what it says instead."""
    if "CRASH" in spec.config:
        raise ZeroDivisionError("this node falls over")
    asyncio.run(_serve(spec, ready))
    return 0


async def _serve(spec: NodeSpec, ready: int) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    if "HANG" in spec.config:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        loop.add_signal_handler(signal.SIGTERM, stop.set)
    conditions = Conditions(
        {
            "ready": lambda of: True,
            "tunnel-up": lambda of: True,
            "enrolled": lambda of: False,
            "ca-enabled": lambda of: True,
        }
    )

    def execute(request: Request) -> Json:
        command = text_of(request, "command")
        if command.startswith("ping "):
            return "Success rate is 100 percent (5/5)"
        if command == "die":
            os._exit(3)
        return f"{spec.name}# {command}"

    control = ControlServer(
        spec.control_path,
        {
            "exec": execute,
            "snapshot": lambda request: {"hostname": spec.name, "pid": os.getpid()},
            "wait": conditions.serve,
        },
    )
    await control.start()
    os.write(ready, b"\n")
    os.close(ready)
    await stop.wait()
    _say_goodbye(spec)
    await control.close()


def _say_goodbye(spec: NodeSpec) -> None:
    """One datagram by broadcast on each segment."""
    for at in spec.attachments:
        if at.address is not None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
                udp.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
                udp.bind((at.address.partition("/")[0], PORT))
                network = at.address.partition("/")[0].rpartition(".")[0]
                udp.sendto(GOODBYE % spec.name.encode(), (f"{network}.255", PORT))
