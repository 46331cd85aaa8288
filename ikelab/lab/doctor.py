"""What this machine can do for a lab, in one screen, and what to do about the rest.

Each probe tries the thing itself in a scratch namespace of a child process, rather than reading
versions: a kernel says best what it has. Nothing is left behind.
"""

from __future__ import annotations

import ctypes
import fcntl
import importlib
import json
import os
import shutil
import struct
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ikelab.lab import lifecycle
from ikelab.runtime.nodespec import RUN_DIRECTORY

_CLONE_NEWNET = 0x40000000
_TUNSETIFF, _IFF_TAP, _IFF_NO_PI = 0x400454CA, 2, 0x1000
_PYTHON = (3, 11)
_LIBRARIES = ("scapy", "cryptography", "pyroute2", "click", "rich", "PyYAML", "h11", "pyftpdlib")
_APPARMOR = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")

# program -> what it is for, and the Debian or Ubuntu package that has it
_PROGRAMS = {
    "wireshark": ("opens captures in a window", "wireshark"),
    "tshark": ("opens captures in a terminal; judges them in the tests", "tshark"),
    "nft": ("translates addresses where a lab has a NAT", "nftables"),
    "openssl": ("judges certificates and CRLs in the tests", "openssl"),
    "pki": ("enrolls by SCEP as an independent client in the tests", "strongswan-pki"),
    "swanctl": ("strongSwan, the independent IKE peer of the tests", "strongswan-swanctl"),
    "ike-scan": ("looks at our main mode in the tests", "ike-scan"),
    "scepclient": ("micromdm's SCEP client, in the tests", "scep"),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. remedy: what to do, where something can be done."""

    name: str
    present: bool
    required: bool
    detail: str
    remedy: str = ""

    @property
    def mark(self) -> str:
        """`ok`, `MISSING` (a lab cannot run) or `-` (only less can be done)."""
        return "ok" if self.present else "MISSING" if self.required else "-"


def examine() -> list[Finding]:
    """Look at everything."""
    return [
        *_python(),
        *_privilege(),
        *_kernel(),
        *_leftovers(),
        *_programs(),
    ]


def as_json(findings: list[Finding]) -> str:
    """The same for programs."""
    rows = [{**asdict(finding), "mark": finding.mark} for finding in findings]
    return json.dumps({"able": is_able(findings), "findings": rows}, indent=2)


def is_able(findings: list[Finding]) -> bool:
    """Whether a lab can run here."""
    return all(finding.present for finding in findings if finding.required)


def _python() -> Iterator[Finding]:
    running = ".".join(str(part) for part in sys.version_info[:3])
    yield Finding(
        "Python",
        sys.version_info >= _PYTHON,
        True,
        running,
        "" if sys.version_info >= _PYTHON else "install Python 3.11 or newer",
    )
    found, missing = [], []
    for library in _LIBRARIES:
        try:
            found.append(f"{library} {version(library)}")
        except PackageNotFoundError:
            missing.append(library)
    yield Finding(
        "libraries",
        not missing,
        True,
        ", ".join(found),
        f"pip install {' '.join(missing)}" if missing else "",
    )
    broken = _import_fault()
    if broken:
        yield Finding(
            "daemons", False, True, broken, "reinstall ikelab in an environment of its own"
        )


def _import_fault() -> str:
    """Why the daemons cannot be loaded, or nothing."""
    try:
        importlib.import_module("ikelab.runtime.routerd")
        importlib.import_module("ikelab.runtime.storaged")
    except Exception as error:  # whatever a foreign package raises while it is imported
        return f"{type(error).__name__}: {error}"
    return ""


def _privilege() -> Iterator[Finding]:
    is_root = os.geteuid() == 0
    yield Finding(
        "root", is_root, True, f"user id {os.geteuid()}", "" if is_root else "start with sudo"
    )
    if _APPARMOR.exists() and _APPARMOR.read_text().strip() == "1":
        yield Finding(
            "user namespaces",
            False,
            False,
            "AppArmor denies them to ordinary users",
            "sudo is the way (labs do not need user namespaces)",
        )


# --- kernel -----------------------------------------------------------------------------------


def _make_namespace() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _make_link(kind: str) -> Callable[[], None]:
    def make() -> None:
        from pyroute2 import IPRoute

        with IPRoute() as links:
            extra = {"peer": "probe1"} if kind == "veth" else {}
            links.link("add", ifname="probe0", kind=kind, **extra)
            links.link("del", ifname="probe0")

    return make


def _make_tap() -> None:
    descriptor = os.open("/dev/net/tun", os.O_RDWR)
    try:
        fcntl.ioctl(
            descriptor, _TUNSETIFF, struct.pack("16sH22x", b"probe2", _IFF_TAP | _IFF_NO_PI)
        )
    finally:
        os.close(descriptor)


def _in_scratch_namespace(probe: Callable[[], None]) -> str:
    """Run a probe in a child with a network namespace of its own; why it failed, or nothing."""
    receive, send = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(receive)
            _make_namespace()
            probe()
        except BaseException as error:
            # The last argument of an OSError or a NetlinkError is its text, before it the number.
            reason = str(error.args[-1]) if error.args else type(error).__name__
            os.write(send, reason.encode())
        finally:
            os._exit(0)
    os.close(send)
    with open(receive, "rb") as answer:
        fault = answer.read().decode(errors="replace")
    os.waitpid(pid, 0)
    return fault


_KERNEL = (
    (
        "network namespaces",
        lambda: None,
        True,
        "a kernel with CONFIG_NET_NS; in a container: more rights",
    ),
    ("veth links", _make_link("veth"), True, "modprobe veth; in a container: on the host"),
    ("bridges", _make_link("bridge"), True, "modprobe bridge; in a container: on the host"),
    ("TAP devices", _make_tap, True, "modprobe tun; in a container: give it /dev/net/tun"),
    ("GRE in the kernel", _make_link("gretap"), False, ""),
)


def _kernel() -> Iterator[Finding]:
    if os.geteuid() != 0:
        yield Finding("kernel", False, False, "cannot be looked at without root", "start with sudo")
        return
    for name, probe, required, remedy in _KERNEL:
        fault = _in_scratch_namespace(probe)
        detail = fault or "works"
        if not required:
            detail += "; not needed: tunnels are carried in user space"
        yield Finding(name, not fault, required, detail, remedy if fault else "")


# --- what lies about --------------------------------------------------------------------------


def _leftovers() -> Iterator[Finding]:
    if os.geteuid() != 0:
        return
    labs = lifecycle.everything()
    yield Finding(
        "deployed labs",
        True,
        False,
        ", ".join(labs) if labs else f"none, nothing in {RUN_DIRECTORY}",
        "`ikelab destroy --all` removes them" if labs else "",
    )


def _programs() -> Iterator[Finding]:
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    for program, (use, package) in _PROGRAMS.items():
        found = shutil.which(program, path=path)
        yield Finding(
            program,
            found is not None,
            False,
            f"{use}{'' if found else ' (not installed)'}",
            "" if found else f"apt-get install {package}",
        )
