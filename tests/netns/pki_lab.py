"""A deployed lab of certificate servers: its consoles, its storage, and nodes that die and return.

A node that is killed is started again as a process of the test's own, with the same specification,
in the same namespace: the supervisor starts no node twice.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from ikelab.lab import state
from ikelab.lab.topology import load
from ikelab.runtime.control import ControlClient
from ikelab.runtime.dataplane.tap import set_link
from ikelab.runtime.namespace import enter, inside
from ikelab.runtime.nodespec import namespace_name
from ikelab.runtime.routerd import main
from tests.command_line import ROOT, ikelab


@dataclass
class Lab:
    """One deployed lab."""

    folder: Path
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def run_dir(self) -> Path:
        return Path("/run/ikelab") / self.name

    def console(self, node: str, command: str) -> str:
        with ControlClient(self.run_dir / f"{node}.sock", timeout=30) as client:
            return client.exec(command)

    def configure(self, node: str, *lines: str) -> str:
        with ControlClient(self.run_dir / f"{node}.sock", timeout=30) as client:
            return client.configure(lines)

    def reached(self, node: str, condition: str, of: str | None = None, within: float = 20) -> bool:
        with ControlClient(self.run_dir / f"{node}.sock") as client:
            return client.wait(condition, of=of, timeout=within)

    def log(self, node: str) -> str:
        return (self.run_dir / f"{node}.log").read_text()

    def files(self, user: str) -> dict[str, bytes]:
        """What the storage node has for one FTP user."""
        home = self.run_dir / "storage.data" / user
        return {path.name: path.read_bytes() for path in sorted(home.iterdir())}

    @contextmanager
    def storage_unplugged(self, node: str = "storage", ifname: str = "eth0") -> Iterator[None]:
        """A node's link is down, as by `ip link set IFNAME down`."""
        with inside(namespace_name(self.name, node)):
            set_link(ifname, False)
        try:
            yield
        finally:
            with inside(namespace_name(self.name, node)):
                set_link(ifname, True)

    def kill(self, node: str) -> None:
        """SIGKILL, and wait until it is gone."""
        mine = [process for process in self.started if process.args[-1] == node]  # type: ignore[index]
        if mine:
            mine[-1].kill()
            mine[-1].wait()
            return
        with ControlClient(state.control_path(self.name)) as supervisor:
            status = cast(dict[str, list[dict[str, object]]], supervisor.call("status"))
        pid = next(cast(int, one["pid"]) for one in status["nodes"] if one["name"] == node)
        pidfd = os.pidfd_open(pid)
        os.kill(pid, signal.SIGKILL)
        try:
            assert select.select([pidfd], [], [], 10)[0]
        finally:
            os.close(pidfd)

    def start(self, node: str, *, empty: bool = False) -> None:
        """The node's process anew. empty: as a new router, which knows nothing."""
        data = self.run_dir / f"{node}.data"
        if empty:
            shutil.rmtree(data)
        reading, writing = os.pipe()
        command = [
            sys.executable,
            "-m",
            "tests.netns.pki_lab",
            str(self.folder),
            str(writing),
            node,
        ]
        with open(self.run_dir / f"{node}.log", "ab") as log:
            process = subprocess.Popen(
                command, cwd=ROOT, stdout=log, stderr=log, pass_fds=(writing,)
            )
        self.started.append(process)
        os.close(writing)
        with os.fdopen(reading, "rb") as ready:
            assert ready.read(1) == b"1", self.log(node)

    def close(self) -> None:
        for process in self.started:
            process.terminate()
            process.wait(10)


@contextmanager
def deployed(folder: Path, lab_yaml: str, configs: dict[str, str]) -> Iterator[Lab]:
    """Write a lab, whose name is the folder's, deploy it, and destroy it afterwards."""
    folder.mkdir()
    (folder / "lab.yaml").write_text(f"name: {folder.name}\n{lab_yaml}")
    for node, text in configs.items():
        (folder / f"{node}.cfg").write_text(text)
    lab = Lab(folder)
    try:
        ikelab("deploy", folder)
        yield lab
    finally:
        lab.close()
        ikelab("destroy", folder.name)


if __name__ == "__main__":
    own = load(Path(sys.argv[1])).node(sys.argv[3])
    enter(own.namespace)
    sys.exit(main(own, int(sys.argv[2])))
