"""What interop tests share: is there a charon, and can it install a child SA here?

On a kernel with ESP, charon installs real SAs. On one without, a library may stand in for the
kernel: IKELAB_FAKEXFRM names its C source, which answers a process's own XFRM netlink requests
(preloaded, FAKEXFRM_LOG says where to write the SAs). It is no part of this project.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ikelab.isakmp.policy import IsakmpConfig
from tests.conftest import REQUIRE_PEERS, missing
from tests.interop.charon import DAEMON, Charon, Connection
from tests.interop.engine_host import EngineHost, FileKeys
from tests.interop.pki_files import PkiFiles
from tests.interop.pluto import Pluto, PlutoConnection, unpacked
from tests.interop.scep_authority import Authorities, running_authorities
from tests.interop.segment import Segment, ip
from tests.interop.suites import OURS, THEIRS

_PROBE = (
    *("xfrm", "state", "add", "src", "192.0.2.1", "dst", "192.0.2.2", "proto", "esp"),
    *("spi", "0x1000", "mode", "transport", "enc", "cbc(aes)", "0x" + "00" * 16),
    *("auth", "hmac(sha1)", "0x" + "00" * 20),
)


@dataclass(frozen=True, slots=True)
class XfrmBackend:
    """Where charon puts its child SAs: library None means the kernel's own ESP."""

    library: Path | None


def _kernel_has_esp() -> bool:
    name = f"ikelab-t-{os.getpid()}-probe"
    ip("netns", "add", name)
    try:
        done = subprocess.run(["ip", "-n", name, *_PROBE], capture_output=True, check=False)
        return done.returncode == 0
    finally:
        ip("netns", "del", name)


@pytest.fixture(scope="session")
def _xfrm_library(tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    """The stand-in, compiled once a session; None where IKELAB_FAKEXFRM is not set."""
    source = os.environ.get("IKELAB_FAKEXFRM")
    if not source:
        return None
    library = tmp_path_factory.mktemp("xfrm") / "xfrm.so"
    words = ["gcc", "-O2", "-shared", "-fPIC", "-o", str(library), source, "-ldl", "-lpthread"]
    subprocess.run(words, check=True)
    return library


@pytest.fixture(scope="session")
def _esp_in_kernel() -> bool:
    return os.geteuid() == 0 and _kernel_has_esp()


@pytest.fixture
def xfrm(
    need: Callable[[str], str], request: pytest.FixtureRequest, _needs_root: None
) -> XfrmBackend:
    """Everything that charon needs here, or the test ends as skipped with the reason."""
    for program in ("ip", "swanctl", "unshare", "setpriv", "openssl"):
        need(program)
    if not DAEMON.exists():
        missing(f"strongSwan's {DAEMON} is not installed", required=REQUIRE_PEERS)
    if os.environ.get("IKELAB_FAKEXFRM"):
        need("gcc")
        return XfrmBackend(request.getfixturevalue("_xfrm_library"))
    if not request.getfixturevalue("_esp_in_kernel"):
        missing(
            "this kernel has no ESP and IKELAB_FAKEXFRM names no stand-in", required=REQUIRE_PEERS
        )
    return XfrmBackend(None)


@pytest.fixture
def libreswan(need: Callable[[str], str], _needs_root: None) -> Path:
    """Where libreswan was unpacked, or the test ends as skipped with the reason."""
    for program in ("ip", "unshare", "setpriv", "openssl", "certutil", "pk12util"):
        need(program)
    root = unpacked()
    if root is None:
        missing("libreswan is not unpacked (IKELAB_LIBRESWAN names where)", required=REQUIRE_PEERS)
    assert root is not None
    return root


@pytest.fixture
def start_pluto(
    segment: Segment, request: pytest.FixtureRequest, libreswan: Path, short_directory: Path
) -> Callable[..., tuple[EngineHost, Pluto]]:
    """Both ends in their namespaces, (our engine, pluto), not started yet."""
    xfrm: XfrmBackend = request.getfixturevalue("xfrm")

    def make(
        config: IsakmpConfig,
        connection: PlutoConnection,
        *,
        keys: FileKeys | None = None,
        pki: PkiFiles | None = None,
    ) -> tuple[EngineHost, Pluto]:
        namespace = segment.add_host("pluto", THEIRS)
        directory = short_directory / "pluto"
        pluto = Pluto(libreswan, namespace, directory, connection, xfrm_library=xfrm.library)
        namespace = segment.add_host("engine", OURS)
        return EngineHost(namespace, OURS, config, keys=keys, pki=pki), pluto

    return make


@pytest.fixture
def short_directory() -> Iterator[Path]:
    """A directory with a path short enough for a UNIX socket (108 octets), gone afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="ikelab-t-"))
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> PkiFiles:
    """Root, sub-CA and CRLs that no test changes; `issue` adds leaves."""
    if shutil.which("openssl") is None:
        missing("openssl is not installed", required=REQUIRE_PEERS)
    return PkiFiles(tmp_path_factory.mktemp("pki") / "files")


@pytest.fixture
def segment() -> Iterator[Segment]:
    """An empty LAN segment with the addresses 192.0.2.0/24."""
    with Segment() as made:
        yield made


@pytest.fixture
def start(
    segment: Segment, xfrm: XfrmBackend, short_directory: Path
) -> Callable[..., tuple[EngineHost, Charon]]:
    """Both ends in their namespaces, (our engine, charon), not started yet."""

    def make(
        config: IsakmpConfig,
        connection: Connection,
        *,
        keys: FileKeys | None = None,
        pki: PkiFiles | None = None,
    ) -> tuple[EngineHost, Charon]:
        namespace = segment.add_host("charon", THEIRS)
        directory = short_directory / "charon"
        charon = Charon(namespace, directory, connection, xfrm_library=xfrm.library)
        namespace = segment.add_host("engine", OURS)
        return EngineHost(namespace, OURS, config, keys=keys, pki=pki), charon

    return make


@pytest.fixture(scope="module")
def modern() -> Iterator[Authorities]:
    """A root and a subordinate CA of ours that run, for SCEP clients."""
    with running_authorities("modern") as running:
        yield running


@pytest.fixture(scope="module")
def legacy() -> Iterator[Authorities]:
    """The same with the algorithms of 2009."""
    with running_authorities("legacy") as running:
        yield running
