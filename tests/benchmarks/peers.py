"""Two responders as processes, charon and our router daemon, and one initiator for both: ours.

Real UDP between network namespaces. The cost is what the responder's process used of the CPU, all
threads, user and kernel, from before the first message until it rests again. Each handshake is the
first one between the two: what was there before is deleted, and that does not count.
"""

from __future__ import annotations

import os
import select
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from ikelab.runtime.namespace import inside
from tests.benchmarks.pki import BenchPki
from tests.benchmarks.routers import IKE_PORT, BenchRouter, ios_config
from tests.interop.charon import DAEMON, Charon, Connection
from tests.interop.our_router import start_our_router
from tests.interop.segment import Segment, ip

INITIATOR, CHARON, OURS = "192.0.2.11", "192.0.2.1", "192.0.2.2"
TUNNELS = {CHARON: "Tunnel1", OURS: "Tunnel2"}
PROPOSAL, ESP_PROPOSAL = "aes256-sha256-modp2048", "aes256-sha256"
MILLISECOND = 1_000_000

_PATIENCE = 8.0  # seconds for a handshake, or for a process to rest
_REST = 0.02  # seconds without any use of the CPU: nothing is going on any more

# Debian's defaults where they cost time: log level 1, here into a file that is not flushed by line.
_LOG = """
    filelog {{
        log {{
            path = {directory}/charon.log
            default = 1
        }}
    }}
}}
"""


class NotHere(Exception):
    """This machine cannot run the peers; says why."""


class QuietCharon(Charon):
    """The interop tests' charon, which logs as an installed one does instead of everything."""

    def _write_configuration(self) -> None:
        super()._write_configuration()
        file = self.directory / "strongswan.conf"
        before, filelog, _ = file.read_text().partition("    filelog {")
        assert filelog, "the interop configuration has changed"
        file.write_text(before.rstrip() + _LOG.format(directory=self.directory))


class Peers:
    """Both responders running, and the initiator's socket; a context manager.

    Raises NotHere where root, strongSwan, or an ESP of the kernel (or its stand-in) is missing.
    """

    def __init__(self, pki: BenchPki) -> None:
        self._pki = pki
        self._stack = ExitStack()
        self._pids: dict[str, int] = {}
        self._initiator = BenchRouter(pki, "spoke-of-two", INITIATOR, CHARON, OURS)

    def __enter__(self) -> Peers:
        reason = why_not()
        if reason:
            raise NotHere(reason)
        with ExitStack() as stack:
            self._start(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def measure(self, handshakes: int) -> tuple[float, float]:
        """CPU milliseconds a handshake of (charon, our daemon), the mean, taken in turns."""
        spent = {CHARON: 0, OURS: 0}
        for _ in range(handshakes):
            for address in spent:
                spent[address] += self._handshake(address)
        unit = handshakes * MILLISECOND
        return spent[CHARON] / unit, spent[OURS] / unit

    def _start(self, stack: ExitStack) -> None:
        directory = Path(tempfile.mkdtemp(prefix="ikelab-b-"))
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        segment = stack.enter_context(Segment())
        segment.serve(self._pki.web)
        namespace = segment.add_host("initiator", INITIATOR)
        with inside(namespace):
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        stack.callback(self._socket.close)
        self._socket.bind((INITIATOR, IKE_PORT))
        hub, _, _ = self._pki.issue("charon")
        connection = Connection(
            local=CHARON,
            remote=INITIATOR,
            proposal=PROPOSAL,
            esp_proposal=ESP_PROPOSAL,
            certificate=hub.certificate,
            key=hub.key,
            authorities=(self._pki.root, self._pki.sub_ca),
        )
        charon = stack.enter_context(
            QuietCharon(
                segment.add_host("charon", CHARON),
                directory / "charon",
                connection,
                xfrm_library=_stand_in(directory),
            )
        )
        leaf, _, _ = self._pki.issue("ours")
        router = stack.enter_context(
            start_our_router(
                segment.add_host("ours", OURS),
                directory,
                ios_config("ours", OURS, INITIATOR),
                pki=self._pki,  # type: ignore[arg-type]  # the same files
                leaf=leaf,
                debugging=(),
            )
        )
        self._pids = {CHARON: charon.pid, OURS: router._process.pid}
        for address in self._pids:  # what happens once: the CRLs are fetched, the caches warm
            self._handshake(address)

    def _handshake(self, address: str) -> int:
        """Nanoseconds that the responder took."""
        pid = self._pids[address]
        before = _rested(pid)
        wanted = len(self._initiator.installed) + 1
        self._initiator.acquire(TUNNELS[address])
        deadline = time.monotonic() + _PATIENCE
        while len(self._initiator.installed) < wanted:
            self._send()
            if time.monotonic() > deadline:
                told = "; ".join(str(refused) for refused in self._initiator.refused[-3:])
                raise AssertionError(f"no handshake with {address} after {_PATIENCE} s: {told}")
            self._receive(0.05)
        self._send()  # the last message
        spent = _rested(pid) - before
        self._initiator.clear()
        self._send()
        _rested(pid)
        while self._receive(0.0):
            pass
        self._initiator.outbox.clear()
        return spent

    def _send(self) -> None:
        while self._initiator.outbox:
            sent = self._initiator.outbox.popleft()
            self._socket.sendto(sent.octets, (sent.remote.address, sent.remote.port))

    def _receive(self, seconds: float) -> bool:
        readable, _, _ = select.select([self._socket], [], [], seconds)
        if readable:
            octets, (sender, _) = self._socket.recvfrom(65535)
            self._initiator.receive(octets, sender)
        return bool(readable)


def why_not() -> str:
    """What is missing for the comparison, or nothing."""
    if os.geteuid() != 0:
        return "network namespaces need root (start with sudo)"
    for program in ("ip", "swanctl", "unshare", "setpriv"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    if not DAEMON.exists():
        return f"strongSwan's {DAEMON} is not installed"
    if os.environ.get("IKELAB_FAKEXFRM"):
        return "" if shutil.which("gcc") else "gcc is not installed, IKELAB_FAKEXFRM needs it"
    if not _kernel_has_esp():
        return "this kernel has no ESP, and IKELAB_FAKEXFRM names no stand-in for it"
    return ""


def cpu_clock(pid: int) -> int:
    """Nanoseconds of CPU that all threads of a process have used, in user mode and the kernel.

    The clock of clock_getcpuclockid(3); its number is made as the kernel's
    include/linux/posix-timers_types.h has it: ~pid << 3 | CPUCLOCK_SCHED.
    """
    return time.clock_gettime_ns(~pid << 3 | 2)


def _rested(pid: int) -> int:
    """The process's CPU clock, once it stands still."""
    deadline = time.monotonic() + _PATIENCE
    seen = -1
    while (found := cpu_clock(pid)) != seen and time.monotonic() < deadline:
        seen = found
        time.sleep(_REST)
    return found


def _kernel_has_esp() -> bool:
    name = f"ikelab-b-{os.getpid()}-probe"
    ip("netns", "add", name)
    words = ("src", "192.0.2.1", "dst", "192.0.2.2", "proto", "esp", "spi", "0x1000")
    keys = ("enc", "cbc(aes)", "0x" + "00" * 32, "auth", "hmac(sha256)", "0x" + "00" * 32)
    try:
        ip("-n", name, "xfrm", "state", "add", *words, "mode", "transport", *keys)
    except RuntimeError:
        return False
    else:
        return True
    finally:
        ip("netns", "del", name)


def _stand_in(directory: Path) -> Path | None:
    source = os.environ.get("IKELAB_FAKEXFRM")
    if not source:
        return None
    library = directory / "xfrm.so"
    words = ["gcc", "-O2", "-shared", "-fPIC", "-o", str(library), source, "-ldl", "-lpthread"]
    subprocess.run(words, check=True)
    return library
