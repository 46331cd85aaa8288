"""One router of ours as users run it: the daemon, a configuration in IOS's words, a console.

Enrollment is not what these tests are about: the router finds its key pair and certificates in
nvram, as after a restart.
"""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from ikelab.ios.config import LabMode
from ikelab.pki.store import StoredTrustpoint
from ikelab.runtime.control import ControlClient
from ikelab.runtime.namespace import inside
from ikelab.runtime.nodespec import NodeKind, NodeSpec
from ikelab.runtime.store import SqliteNvram
from ikelab.runtime.trace import Trace, read_trace
from tests.interop.engine_host import certificate_in
from tests.interop.pki_files import IssuedCertificate, PkiFiles

ROOT = Path(__file__).parents[2]
START_SECONDS = 20.0
TRUSTPOINT = "ra-subca"
DISCARD_PORT = 9


class OurRouter:
    """A running router; ends with its process, by TERM, whatever happens."""

    def __init__(self, spec: NodeSpec, process: subprocess.Popen[bytes]) -> None:
        self.spec = spec
        self._process = process
        self.console = ControlClient(spec.control_path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            error.add_note(f"our router said last:\n{log_tail(self.spec)}")
        self.console.close()
        stop(self._process)

    @property
    def trace(self) -> Trace:
        """What it wrote down: messages with comments, IKE and ESP keys."""
        return read_trace(self.spec.trace_path, self.spec.name)

    @property
    def log(self) -> str:
        """What its console printed by itself."""
        return self.spec.log_path.read_text(errors="replace")

    def send_through(self, tunnel_address: str) -> None:
        """One packet to an address behind the tunnel: it makes the router ask for an SA."""
        with inside(self.spec.namespace):
            knock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with knock:
            knock.sendto(b"wake up", (tunnel_address, DISCARD_PORT))

    def wait_for(self, condition: Callable[[], bool], what: str, *, seconds: float = 8.0) -> None:
        """Return when a condition outside the router holds. AssertionError when time is up."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"no {what} after {seconds} s")
            time.sleep(0.05)


def start_our_router(
    namespace: str,
    directory: Path,
    config: str,
    *,
    mode: LabMode = "modern",
    pki: PkiFiles | None = None,
    leaf: IssuedCertificate | None = None,
    debugging: tuple[str, ...] = ("crypto isakmp",),
) -> OurRouter:
    """Start the daemon in a namespace `ikelab-LAB-NODE`; returns when its console answers.

    directory: short, for its sockets and files. config: IOS text. pki, leaf: what trustpoint
    `ra-subca` holds. RuntimeError, with the end of its log, if it does not come up.
    """
    lab, _, node = namespace.removeprefix("ikelab-").rpartition("-")
    spec = NodeSpec(
        lab=lab,
        name=node,
        kind=NodeKind.ROUTER,
        mode=mode,
        config=config,
        config_file=f"{node}.cfg",
        debugging=debugging,
        run_root=directory,
    )
    spec.run_dir.mkdir(mode=0o700, parents=True)
    spec.data_dir.mkdir(mode=0o700)
    if pki is not None and leaf is not None:
        _fill_nvram(spec.data_dir / "nvram.db", pki, leaf)
    return OurRouter(spec, start_process(spec))


def _fill_nvram(path: Path, pki: PkiFiles, leaf: IssuedCertificate) -> None:
    key = load_pem_private_key(leaf.key.read_bytes(), None)
    assert isinstance(key, RSAPrivateKey)
    authorities = (pki.sub_ca, pki.root)
    stored = StoredTrustpoint(
        name=TRUSTPOINT,
        ca_certificates=tuple(
            certificate_in(file).public_bytes(Encoding.DER) for file in authorities
        ),
        certificate=certificate_in(leaf.certificate).public_bytes(Encoding.DER),
        key_label=leaf.name,
    )
    nvram = SqliteNvram(str(path))
    nvram.save_trustpoint(stored, (leaf.name, key))
    nvram.close()


def start_process(
    spec: NodeSpec, module: str = "tests.interop.run_router"
) -> subprocess.Popen[bytes]:
    """Run the module with the spec's file; returns when the daemon answers. RuntimeError."""
    file = spec.run_dir / f"{spec.name}.json"
    fields = {"lab": spec.lab, "name": spec.name, "mode": spec.mode, "config": spec.config}
    fields |= {"kind": spec.kind.value, "config_file": spec.config_file}
    fields |= {"run_root": str(spec.run_root)}
    file.write_text(json.dumps({**fields, "debugging": spec.debugging}))
    reading, writing = os.pipe()
    try:
        with spec.log_path.open("wb") as output:
            process = subprocess.Popen(
                [
                    *("setpriv", "--pdeathsig", "TERM"),
                    *(sys.executable, "-m", module, str(file), str(writing)),
                ],
                cwd=ROOT,
                pass_fds=(writing,),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
    finally:
        os.close(writing)
    try:
        readable, _, _ = select.select([reading], [], [], START_SECONDS)
        if not readable or not os.read(reading, 1):
            raise RuntimeError(f"our router did not come up:\n{log_tail(spec)}")
    except BaseException:
        stop(process)
        raise
    finally:
        os.close(reading)
    return process


def log_tail(spec: NodeSpec, lines: int = 40) -> str:
    """The last lines the daemon printed."""
    return "\n".join(spec.log_path.read_text(errors="replace").splitlines()[-lines:])


def stop(process: subprocess.Popen[bytes]) -> None:
    """TERM, and KILL when that does not help."""
    process.terminate()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
