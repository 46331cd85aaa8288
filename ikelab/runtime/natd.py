"""A NAT's process: the kernel translates, this answers for it at the control socket.

`show ip nat translations` and `clear ip nat translation *`, in IOS's words, read and empty the
kernel's connection tracking table of the namespace. Clearing it is what the restart of a cheap NAT
does to those behind it: their next packet goes out from another port.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import asdict, dataclass

from pyroute2.netlink.nfnetlink.nfctsocket import NFCTSocket

from ikelab.errors import LabError
from ikelab.runtime.control import Conditions, Json, Request, serve_until_stopped, text_of
from ikelab.runtime.nodespec import NodeSpec

_PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp"}
_SHOW = ["show", "ip", "nat", "translations"]
_CLEAR = ["clear", "ip", "nat", "translation", "*"]


@dataclass(frozen=True, slots=True)
class Translation:
    """One conversation. Each field an end, `10.1.1.2:500`; the outside's is never changed."""

    protocol: str
    inside_global: str
    inside_local: str
    outside: str


def main(spec: NodeSpec, ready: int) -> int:
    """Answer until SIGTERM. Called in the forked child, inside the node's namespace."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    asyncio.run(_serve(spec, ready))
    return 0


async def _serve(spec: NodeSpec, ready: int) -> None:
    wait = Conditions({"ready": lambda of: True}).serve
    handlers = {"exec": _exec, "snapshot": _snapshot, "wait": wait}
    await serve_until_stopped(spec.control_path, handlers, ready)


async def _snapshot(request: Request) -> Json:
    found = await asyncio.to_thread(translations)
    return {"translations": [asdict(entry) for entry in found]}


async def _exec(request: Request) -> Json:
    # pyroute2 brings an event loop of its own, which wants a thread of its own.
    words = text_of(request, "command").lower().split()
    if words == _SHOW:
        return show(await asyncio.to_thread(translations))
    if words == _CLEAR:
        await asyncio.to_thread(_clear)
        return ""
    raise LabError(
        "a NAT knows no such command", hint=f"`{' '.join(_SHOW)}` or `{' '.join(_CLEAR)}`"
    )


def _clear() -> None:
    with NFCTSocket() as table:
        table.flush()


def translations() -> list[Translation]:
    """What the kernel translates in this namespace now, in order of the inside ends."""
    with NFCTSocket() as table:
        found = [read_translation(dict(entry["attrs"])) for entry in table.dump()]
    return sorted((one for one in found if one is not None), key=lambda t: t.inside_local)


def read_translation(entry: dict[str, object]) -> Translation | None:
    """A row of the kernel's table; None for one that nothing is changed in."""
    there, protocol = _ends(entry["CTA_TUPLE_ORIG"])
    back, _ = _ends(entry["CTA_TUPLE_REPLY"])
    if back == there[::-1]:
        return None
    return Translation(_PROTOCOLS.get(protocol, str(protocol)), back[1], there[0], there[1])


def _ends(given: object) -> tuple[tuple[str, str], int]:
    """(source, destination) of one direction, and the IP protocol."""
    attributes = dict(given["attrs"])  # type: ignore[index]
    addresses = dict(attributes["CTA_TUPLE_IP"]["attrs"])
    proto = dict(attributes["CTA_TUPLE_PROTO"]["attrs"])
    source = f"{addresses['CTA_IP_V4_SRC']}:{proto.get('CTA_PROTO_SRC_PORT', 0)}"
    destination = f"{addresses['CTA_IP_V4_DST']}:{proto.get('CTA_PROTO_DST_PORT', 0)}"
    return (source, destination), int(proto["CTA_PROTO_NUM"])


def show(entries: list[Translation]) -> str:
    """`show ip nat translations`."""
    rows = [("Pro", "Inside global", "Inside local", "Outside local", "Outside global")]
    rows += [(e.protocol, e.inside_global, e.inside_local, e.outside, e.outside) for e in entries]
    return "".join(
        f"{row[0]:<4}" + "".join(f"{cell:<22}" for cell in row[1:]).rstrip() + "\n" for row in rows
    )
