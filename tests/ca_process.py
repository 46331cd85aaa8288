"""Our CA as users run it, a process with its web server, files and log; on the loopback.

    python -m tests.ca_process NODESPEC.json READY_FD

No namespace and no root: its configuration has no interface, so that it only serves HTTP. What
attacks or times a CA from outside starts it here.
"""

from __future__ import annotations

import gc
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ikelab.ios.config import LabMode
from ikelab.runtime.nodespec import NodeKind, NodeSpec
from ikelab.runtime.routerd import main
from tests.interop.our_router import OurRouter, start_process
from tests.interop.run_router import read_spec
from tests.tcp_ports import free_port

NAME = "root-ca"
CONFIG = """\
hostname root-ca
ip http server
ip http port {port}
crypto pki server root-ca
{lines} no shutdown
end
"""


class OurCa(OurRouter):
    """A running certificate server `root-ca`; serves HTTP on 127.0.0.1 at `port`."""

    port: int = 0

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    @property
    def children(self) -> list[int]:
        """Of that process: the one that signs for it."""
        file = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        return [int(pid) for pid in file.read_text().split()]


@contextmanager
def our_ca(*lines: str, mode: LabMode = "modern", files: Path | None = None) -> Iterator[OurCa]:
    """A CA that has published its first CRL. lines: of `crypto pki server`, as `grant auto`.

    files: a directory of an earlier CA, to go on with; by default a new one, gone afterwards.
    """
    with tempfile.TemporaryDirectory(prefix="ikelab-t-") as made:  # short, for its sockets
        port = free_port()
        spec = NodeSpec(
            lab="ca",
            name=NAME,
            kind=NodeKind.CA,
            mode=mode,
            config=CONFIG.format(port=port, lines="".join(f" {line}\n" for line in lines)),
            config_file=f"{NAME}.cfg",
            run_root=files or Path(made),
        )
        spec.run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        with OurCa(spec, start_process(spec, "tests.ca_process")) as ca:
            ca.port = port
            assert ca.console.wait("ca-enabled", of=NAME, timeout=10), ca.log
            yield ca


if __name__ == "__main__":
    gc.collect()
    gc.freeze()  # as the lab's supervisor does before it forks its nodes
    sys.exit(main(read_spec(Path(sys.argv[1])), int(sys.argv[2])))
