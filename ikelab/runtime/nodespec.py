"""What a node's process is told when it is forked: who it is, where it stands, what it runs.

`lab/topology.py` makes one per node of a lab; the daemons (`routerd`, `storaged`) take nothing
else. The paths of a running lab are derived here, so that all sides agree on them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from ikelab.ios.config import LabMode
from ikelab.ios.log_isakmp import Dialect
from ikelab.runtime.clock import ClockSetting

RUN_DIRECTORY = Path("/run/ikelab")
"""One directory, 0700, per deployed lab."""


CLOCK_FILE = "clock"
"""Name of the lab's clock in its directory."""


def namespace_name(lab: str, node: str) -> str:
    """The named network namespace of a node, as `ip netns list` shows it."""
    return f"ikelab-{lab}-{node}"


class NodeKind(Enum):
    """`kind:` of a node: what daemon runs in it."""

    ROUTER = "router"
    CA = "ca"
    STORAGE = "storage"
    NAT = "nat"
    NTP = "ntp"


@dataclass(frozen=True, slots=True)
class Attachment:
    """One interface of a node on a segment.

    interface: IOS's name, or Linux's on a storage node. ifname: Linux's. address: dotted with
    prefix length, None where the configuration gives none. up: False after `shutdown`.
    """

    interface: str
    ifname: str
    segment: str
    address: str | None
    up: bool = True


@dataclass(frozen=True, slots=True)
class Route:
    """A static route over a segment. prefix: dotted with length; next_hop: dotted."""

    prefix: str
    next_hop: str


@dataclass(frozen=True, slots=True)
class FtpUser:
    """An account of a storage node, with a home of its own."""

    name: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class NtpService:
    """What a time server says of itself. reference: its own source, an address or a clock's name
    (stratum 1) of at most four letters."""

    stratum: int = 1
    reference: str = "LOCL"


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """One node of one lab.

    Links, addresses and `routes` are there before the node starts; tunnels, and the routes of its
    configuration that lead through them, are its own work. config: IOS text, "" on a storage node;
    config_file: its name for error messages. ftp_users: on a storage node only. debugging: what is
    switched on when the node starts, by the names of `ios/debugging.py`; dialect: as which image it
    prints that. clock: how its own stands then. outside: the Linux name of a NAT's interface whose
    address stands for all behind it.
    """

    lab: str
    name: str
    kind: NodeKind
    mode: LabMode
    attachments: tuple[Attachment, ...] = ()
    routes: tuple[Route, ...] = ()
    config: str = ""
    config_file: str = ""
    ftp_users: tuple[FtpUser, ...] = ()
    debugging: tuple[str, ...] = ()
    dialect: Dialect = "12.4"
    clock: ClockSetting = ClockSetting()
    outside: str | None = None
    ntp: NtpService = NtpService()
    run_root: Path = RUN_DIRECTORY

    @property
    def has_console(self) -> bool:
        """Whether it is an IOS box, with a configuration."""
        return self.kind in (NodeKind.ROUTER, NodeKind.CA)

    @property
    def namespace(self) -> str:
        """Its network namespace."""
        return namespace_name(self.lab, self.name)

    @property
    def run_dir(self) -> Path:
        """The lab's directory of sockets, logs and traces."""
        return self.run_root / self.lab

    @property
    def control_path(self) -> Path:
        """Unix socket of `runtime/control.py`."""
        return self.run_dir / f"{self.name}.sock"

    @property
    def lab_clock_path(self) -> Path:
        """The clock that all nodes of the lab share (`runtime/clock.py`)."""
        return self.run_dir / CLOCK_FILE

    @property
    def log_path(self) -> Path:
        """What the process prints: its console and, if it dies, why."""
        return self.run_dir / f"{self.name}.log"

    @property
    def trace_path(self) -> Path:
        """JSON lines of what the engines did, for the capture's comments and key tables."""
        return self.run_dir / f"{self.name}.trace.jsonl"

    @property
    def data_dir(self) -> Path:
        """What the node keeps: nvram of a router, the files of a storage node. Made when used."""
        return self.run_dir / f"{self.name}.data"
