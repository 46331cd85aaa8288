"""Makes and removes a plan's namespaces, bridges and links, with pyroute2.

Everything happens inside namespaces of the lab; the host's own is never written to. The process
must be single-threaded: it steps into a namespace and back.
"""

from __future__ import annotations

import array
import fcntl
import os
import select
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from pyroute2 import IPRoute
from pyroute2 import netns as named
from pyroute2.netlink.exceptions import NetlinkError

from ikelab.errors import LabError
from ikelab.lab.plan import (
    AddAddress,
    AddRoute,
    CreateBridge,
    CreateNamespace,
    CreateVeth,
    LoopbackUp,
    Masquerade,
    Op,
    SetSysctl,
)
from ikelab.runtime.namespace import NAMED, inside
from ikelab.runtime.nodespec import namespace_name

_PROC = Path("/proc")
_PREFIX = "ikelab-"
_GRACE_SECONDS = 2.0  # for a process that gets SIGTERM in a namespace that is going away

# linux/sockios.h, linux/ethtool.h: what would leave packets without checksum, or larger than the
# link, for the last moment. On a veth that moment never comes, and captures would show it.
_SIOCETHTOOL = 0x8946
_OFFLOADS_OFF = (
    0x00000017,  # ETHTOOL_STXCSUM
    0x0000001F,  # ETHTOOL_STSO
    0x00000024,  # ETHTOOL_SGSO
    0x0000002C,  # ETHTOOL_SGRO
)


def apply(ops: Sequence[Op]) -> None:
    """Carry the plan out. Raises LabError at the first failure: `remove` then cleans up."""
    with ExitStack() as stack:
        routes: dict[str, IPRoute] = {}
        for op in ops:
            try:
                if isinstance(op, CreateNamespace):
                    _create(op.namespace)
                    with inside(op.namespace):
                        routes[op.namespace] = stack.enter_context(IPRoute())
                else:
                    _apply(op, routes)
            except (NetlinkError, OSError) as error:
                raise _explain(op, error) from error


def _apply(op: Op, routes: dict[str, IPRoute]) -> None:
    """One op other than the making of a namespace."""
    match op:
        case SetSysctl():
            _set_sysctl(op)
        case CreateBridge():
            _create_bridge(op, routes[op.namespace])
        case CreateVeth():
            _create_veth(op, routes[op.switch], routes[op.namespace])
        case AddAddress():
            route = routes[op.namespace]
            address, length = op.address.split("/")
            route.addr(
                "add", index=_index(route, op.ifname), address=address, prefixlen=int(length)
            )
        case LoopbackUp():
            route = routes[op.namespace]
            route.link("set", index=_index(route, "lo"), state="up")
        case Masquerade():
            _masquerade(op)
        case AddRoute():
            routes[op.namespace].route("add", dst=op.prefix, gateway=op.next_hop)


def _create(namespace: str) -> None:
    """A named namespace; it must not be there yet."""
    if (NAMED / namespace).exists():
        raise LabError(
            f"the network namespace {namespace} exists already",
            hint="another lab's, or left over: `ikelab destroy --all` removes all of ours",
        )
    named.create(namespace)


def _set_sysctl(op: SetSysctl) -> None:
    """Write one value; /proc/sys/net shows the namespace of the thread that opens the file."""
    path = _PROC / "sys" / Path(*op.key.split("."))
    with inside(op.namespace):
        if path.exists():  # a kernel without IPv6 or br_netfilter has nothing to turn off
            path.write_text(op.value)


def _masquerade(op: Masquerade) -> None:
    """Hand the rules to nft in the namespace. LabError where it is missing or refuses them."""
    rules = (
        "table ip nat {\n"
        " chain postrouting {\n"
        "  type nat hook postrouting priority 100\n"
        f'  oifname "{op.ifname}" ip protocol udp masquerade to'
        f" :{op.ports.start}-{op.ports[-1]} random\n"
        f'  oifname "{op.ifname}" masquerade\n'
        " }\n}\n"
    )
    hint = "a NAT node needs the program nft (package nftables) and a kernel with nf_tables NAT"
    with inside(op.namespace):
        try:
            subprocess.run(
                ["nft", "-f", "-"],
                input=rules,
                text=True,
                check=True,
                capture_output=True,
                env={"PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin"},
            )
        except FileNotFoundError as error:
            raise LabError(f"cannot make {str(op).strip()}: no program nft", hint=hint) from error
        except subprocess.CalledProcessError as error:
            told = error.stderr.strip().partition("\n")[0]
            raise LabError(f"cannot make {str(op).strip()}: {told}", hint=hint) from error


def _create_bridge(op: CreateBridge, route: IPRoute) -> None:
    route.link(
        "add",
        kind="bridge",
        ifname=op.name,
        address=op.mac,
        br_stp_state=0,
        br_forward_delay=0,
        br_mcast_snooping=0,
    )
    route.link("set", index=_index(route, op.name), state="up")


def _create_veth(op: CreateVeth, switch: IPRoute, node: IPRoute) -> None:
    with open(NAMED / op.namespace, "rb") as target:
        peer = {"ifname": op.ifname, "address": op.mac, "net_ns_fd": target.fileno()}
        switch.link("add", kind="veth", ifname=op.port, peer=peer)
    port, end = _index(switch, op.port), _index(node, op.ifname)
    for namespace, name in ((op.switch, op.port), (op.namespace, op.ifname)):
        with inside(namespace):
            _disable_offloads(name)
    bridge = _index(switch, op.bridge)
    switch.link("set", index=port, master=bridge, ifalias=op.alias, state="up")
    if op.up:
        node.link("set", index=end, state="up")


def _index(route: IPRoute, ifname: str) -> int:
    found = route.link_lookup(ifname=ifname)
    if not found:
        raise LabError(f"the kernel made no link {ifname}")
    return int(found[0])


def _disable_offloads(ifname: str) -> None:
    """ethtool -K ifname tx off tso off gso off gro off (ETHTOOL_S* of linux/ethtool.h)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        for command in _OFFLOADS_OFF:
            value = array.array("I", [command, 0])  # struct ethtool_value
            address, _ = value.buffer_info()
            request = struct.pack("16sP8x", ifname.encode(), address)
            fcntl.ioctl(any_socket, _SIOCETHTOOL, request)


def _explain(op: Op, error: NetlinkError | OSError) -> LabError:
    """The kernel's refusal with what was tried and, where it is known, what would help."""
    number = getattr(error, "code", None) or getattr(error, "errno", None) or 0
    hint = ""
    if number in (1, 13):  # EPERM, EACCES
        hint = "network namespaces need root (start with sudo); in a container, --privileged"
    elif number == 95:  # EOPNOTSUPP
        hint = "this kernel lacks what is needed: namespaces, veth and bridge"
    elif number == 28:  # ENOSPC
        hint = "user.max_net_namespaces or the disk is full"
    return LabError(f"cannot make {str(op).strip()}: {os.strerror(number)}", hint=hint)


def lab_namespaces(lab: str | None = None) -> tuple[str, ...]:
    """Named namespaces of one lab, by the prefix of their names; None: of all labs."""
    prefix = _PREFIX if lab is None else namespace_name(lab, "")
    if not NAMED.is_dir():
        return ()
    return tuple(sorted(path.name for path in NAMED.iterdir() if path.name.startswith(prefix)))


def remove(namespaces: Iterable[str]) -> tuple[str, ...]:
    """End what still runs in these namespaces and delete them; those that were there.

    Links and bridges go with them. What is not there is passed over, so it can be repeated.
    """
    there = [name for name in namespaces if (NAMED / name).exists()]
    end_processes(processes_in(there))
    for name in there:
        # A name that nothing is mounted on is left by a process killed while making it.
        try:
            named.remove(name)
        except OSError:
            (NAMED / name).unlink(missing_ok=True)
    return tuple(there)


def processes_in(namespaces: Collection[str]) -> tuple[int, ...]:
    """Process ids in any of these namespaces; never ours or one in the host's own namespace."""
    host = _identity(_PROC / "self/ns/net")
    wanted = {_identity(NAMED / name) for name in namespaces} - {host, None}
    if not wanted:
        return ()
    return tuple(pid for pid in _pids() if _identity(_PROC / str(pid) / "ns/net") in wanted)


def _pids() -> Iterator[int]:
    for entry in os.listdir(_PROC):
        if entry.isdigit():
            yield int(entry)


def _identity(path: Path) -> tuple[int, int] | None:
    """Device and inode of a namespace: the same for a name and for a process in it."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def end_processes(pids: Iterable[int], *, grace: float = _GRACE_SECONDS) -> None:
    """SIGTERM, after `grace` seconds SIGKILL for what still runs; returns when all are gone."""
    with ExitStack() as stack:
        waiting: dict[int, int] = {}
        for pid in pids:
            try:
                descriptor = os.pidfd_open(pid)
            except OSError:
                continue  # it has gone by itself
            stack.callback(os.close, descriptor)
            waiting[descriptor] = pid
        for number, seconds in ((signal.SIGTERM, grace), (signal.SIGKILL, None)):
            for descriptor in waiting:
                try:
                    signal.pidfd_send_signal(descriptor, number)
                except ProcessLookupError:
                    pass
            _wait_for(waiting, seconds)


def _wait_for(waiting: dict[int, int], seconds: float | None) -> None:
    """Until the processes have ended or the time is over; those that ended are taken out."""
    poll = select.poll()
    for descriptor in waiting:
        poll.register(descriptor, select.POLLIN)
    deadline = None if seconds is None else time.monotonic() + seconds
    while waiting:
        left = None if deadline is None else max(deadline - time.monotonic(), 0) * 1000
        ready = poll.poll(left)
        if not ready:
            return
        for descriptor, _ in ready:
            poll.unregister(descriptor)
            del waiting[descriptor]
