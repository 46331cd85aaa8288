"""Trust and checks, carried out on nodes that only pretend."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from ikelab.errors import ConfigError, LabError
from ikelab.lab import steps
from ikelab.lab.checks import (
    Check,
    Configure,
    Exec,
    Ping,
    Refused,
    ShowContains,
    Trust,
    Wait,
)
from ikelab.lab.topology import Topology
from ikelab.runtime.control import ControlServer, Json, Request
from tests.unit.lab_files import CA, LAB, ROUTER, loaded

SHOWN = """\
Certificate Server ca:
    Issuer name: cn=ca
    CA cert fingerprint: 0A1B2C3D 00000001 00000002 00000003
    Server configured in subordinate server mode
    Upper CA cert fingerprint: FFFFFFFF FFFFFFFF FFFFFFFF FFFFFFFF
"""


@dataclass
class Pretender:
    """A node's control socket that notes what it is told. shows: command -> text."""

    told: list[str] = field(default_factory=list)
    holds: set[str] = field(
        default_factory=lambda: {"ca-enabled", "enrolled", "authenticated", "answered"}
    )
    shows: dict[str, str] = field(default_factory=dict)
    drops: list[Json] = field(default_factory=list)

    def handlers(self) -> dict[str, Callable[[Request], Json]]:
        return {
            "exec": self._exec,
            "configure": self._configure,
            "wait": self._wait,
            "snapshot": lambda request: {"drops": self.drops},
        }

    def _exec(self, request: Request) -> Json:
        command = str(request["command"])
        self.told.append(command)
        if command not in self.shows:
            if command.startswith("show"):
                raise ConfigError("Invalid input detected")
            return ""
        return self.shows[command]

    def _configure(self, request: Request) -> Json:
        lines = request["lines"]
        assert isinstance(lines, list)
        self.told += [f"conf: {line}" for line in lines]
        return ""

    def _wait(self, request: Request) -> Json:
        self.told.append(f"wait: {request['for']} {request['of']}")
        return request["for"] in self.holds


@contextmanager
def served(path: Path, node: Pretender) -> Iterator[None]:
    """The node's socket, from a thread."""
    loop = asyncio.new_event_loop()
    server = ControlServer(path, node.handlers())
    path.parent.mkdir(parents=True, exist_ok=True)
    loop.run_until_complete(server.start())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield
    finally:
        asyncio.run_coroutine_threadsafe(server.close(), loop).result(5)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        loop.close()


@dataclass
class Scene:
    """A small lab whose ca and r1 pretend."""

    topology: Topology
    ca: Pretender
    r1: Pretender


@pytest.fixture
def act(tmp_path: Path) -> Iterator[Callable[..., Scene]]:
    """`act()` starts the two nodes, r1 with more lines in its configuration.

    automatic: whether the CA grants by itself.
    """
    with ExitStack() as stack:

        def start(*, trustpoint: str = "", more: str = "", automatic: bool = True) -> Scene:
            text = ROUTER.format(name="r1", address="192.0.2.2", more=more)
            text = text.replace("192.0.2.1\n", f"192.0.2.1\n{trustpoint}", 1)
            server = CA.replace(" no shutdown", " grant auto\n no shutdown") if automatic else CA
            topology = loaded(tmp_path / "lab", r1=text, ca=server)
            nodes = tuple(replace(node, run_root=tmp_path / "run") for node in topology.nodes)
            topology = replace(topology, nodes=nodes)
            scene = Scene(topology, Pretender(), Pretender())
            scene.ca.shows["show crypto pki server"] = SHOWN
            stack.enter_context(served(topology.node("ca").control_path, scene.ca))
            stack.enter_context(served(topology.node("r1").control_path, scene.r1))
            return scene

        yield start


def one_check(scene: Scene, check: Check) -> steps.Result:
    return steps.carry_out(scene.topology, check)


# --- trust ---------------------------------------------------------------------------------------


def test_fingerprint_is_read_on_the_cas_console_and_entered_before_anything_is_asked(
    act: Callable[..., Scene],
) -> None:
    scene = act()
    said = steps.establish_trust(scene.topology, Trust("r1", "ra", "ca"))
    assert said.startswith("r1 enrolled with ca")
    assert scene.ca.told == ["wait: ca-enabled None", "show crypto pki server"]
    assert scene.r1.told == [
        "conf: crypto pki trustpoint ra",
        "conf: fingerprint 0A1B2C3D000000010000000200000003",
        "conf: exit",
        "crypto pki authenticate ra",
        "wait: authenticated ra",
        "crypto pki enroll ra",
        "wait: enrolled ra",
    ]


def test_router_with_auto_enroll_is_not_told_to_enroll(act: Callable[..., Scene]) -> None:
    scene = act(trustpoint=" auto-enroll 70\n")
    steps.establish_trust(scene.topology, Trust("r1", "ra", "ca"))
    assert "crypto pki enroll ra" not in scene.r1.told
    assert scene.r1.told[-1] == "wait: enrolled ra"


def test_subordinate_ca_gets_no_shutdown_and_is_waited_for(act: Callable[..., Scene]) -> None:
    scene = act(more="crypto pki server ra\n mode sub-cs\n")
    steps.establish_trust(scene.topology, Trust("r1", "ra", "ca"))
    assert scene.r1.told == [
        "conf: crypto pki trustpoint ra",
        "conf: fingerprint 0A1B2C3D000000010000000200000003",
        "conf: exit",
        "conf: crypto pki server ra",
        "conf: no shutdown",
        "conf: exit",
        "crypto pki authenticate ra",
        "wait: enrolled ra",
        "wait: ca-enabled ra",
    ]


def test_ca_that_is_not_enabled_is_told_with_where_to_look(act: Callable[..., Scene]) -> None:
    scene = act()
    scene.ca.holds.clear()
    with pytest.raises(LabError, match="certificate server on ca is not enabled.*\n.*ikelab exec"):
        steps.establish_trust(scene.topology, Trust("r1", "ra", "ca"))
    assert scene.r1.told == []


def test_ca_that_shows_no_fingerprint_is_not_trusted(act: Callable[..., Scene]) -> None:
    scene = act()
    upper = SHOWN.replace("    CA cert fingerprint: 0A1B2C3D 00000001 00000002 00000003\n", "")
    scene.ca.shows["show crypto pki server"] = upper
    with pytest.raises(LabError, match="ca shows no CA certificate fingerprint"):
        steps.establish_trust(scene.topology, Trust("r1", "ra", "ca"))
    assert scene.r1.told == []


def test_enrollment_that_does_not_end_is_told(act: Callable[..., Scene]) -> None:
    scene = act()
    scene.r1.holds = {"authenticated"}
    with pytest.raises(LabError, match="r1: ra is not enrolled after 60 s"):
        steps.establish_trust(scene.topology, Trust("r1", "ra", "ca"))


def test_without_enrollment_the_ca_is_only_authenticated(act: Callable[..., Scene]) -> None:
    scene = act()
    said = steps.establish_trust(scene.topology, Trust("r1", "ra", "ca", enroll=False))
    assert said == "r1 knows ca (trustpoint ra)"
    assert scene.r1.told[-2:] == ["crypto pki authenticate ra", "wait: authenticated ra"]


REQUESTS = """\
Router certificates requests:
ReqID  State      Fingerprint                      SubjectName
--------------------------------------------------------------
1      pending    {other} hostname=stranger
2      granted    {ours} hostname=r1
3      pending    {ours} hostname=r1
"""
OURS, OTHER = "0123456789ABCDEF0123456789ABCDEF", "F" * 32


def waiting_at_the_ca(scene: Scene, listed: str) -> None:
    """A request is under way: what both consoles show of it."""
    scene.r1.holds.add("pending")
    grouped = " ".join(OURS[at : at + 8] for at in range(0, 32, 8))
    shown = f"   Certificate Request Fingerprint MD5: {grouped}\n"
    scene.r1.shows["show crypto pki certificates ra"] = shown
    scene.ca.shows["crypto pki server ca info requests"] = listed


def test_the_request_with_the_nodes_own_fingerprint_is_granted_and_asked_for_again(
    act: Callable[..., Scene],
) -> None:
    scene = act(automatic=False)
    waiting_at_the_ca(scene, REQUESTS.format(ours=OURS, other=OTHER))
    said = steps.establish_trust(scene.topology, Trust("r1", "ra", "ca", grant="ca"))
    assert "request 3 granted" in said
    assert scene.ca.told[-2:] == ["crypto pki server ca grant 3", "wait: answered None"]
    assert scene.r1.told[-2:] == ["crypto pki enroll ra", "wait: enrolled ra"]


def test_a_strangers_request_is_never_granted(act: Callable[..., Scene]) -> None:
    scene = act(automatic=False)
    waiting_at_the_ca(scene, REQUESTS.format(ours=OTHER, other=OTHER))
    with pytest.raises(LabError, match="no pending request with the fingerprint that r1 shows"):
        steps.establish_trust(scene.topology, Trust("r1", "ra", "ca", grant="ca"))
    assert not any("grant" in line for line in scene.ca.told)


# --- checks --------------------------------------------------------------------------------------


RATE = "Success rate is {} percent ({}/{})"


@pytest.mark.parametrize(
    ("check", "shown", "passed"),
    [
        (Ping("r1", "192.0.2.1", None, 5), RATE.format(100, 5, 5), True),
        (Ping("r1", "192.0.2.1", None, 5), RATE.format(80, 4, 5), False),
        (Ping("r1", "192.0.2.1", None, 5), RATE.format(0, 0, 5), False),
        (Ping("r1", "192.0.2.1", None, 5), "% Unrecognized host", False),
        (Ping("r1", "192.0.2.1", None, 5, reachable=False), RATE.format(0, 0, 5), True),
        (Ping("r1", "192.0.2.1", None, 5, reachable=False), RATE.format(20, 1, 5), False),
        (Ping("r1", "192.0.2.1", None, 5, reachable=False), "nonsense", False),
    ],
)
def test_ping_passes_only_on_what_was_answered(
    act: Callable[..., Scene], check: Ping, shown: str, passed: bool
) -> None:
    scene = act()
    scene.r1.shows["ping 192.0.2.1 repeat 5"] = shown
    assert one_check(scene, check).passed is passed


def test_ping_names_its_source(act: Callable[..., Scene]) -> None:
    scene = act()
    result = one_check(scene, Ping("r1", "192.0.2.1", "192.0.2.2", 2))
    assert scene.r1.told == ["ping 192.0.2.1 source 192.0.2.2 repeat 2"]
    assert result.title == "r1 reaches 192.0.2.1 from 192.0.2.2"


def test_wait_passes_when_the_node_says_so(act: Callable[..., Scene]) -> None:
    scene = act()
    assert one_check(scene, Wait("r1", "enrolled", "ra", 3)).passed
    failed = one_check(scene, Wait("r1", "tunnel-up", None, 3))
    assert (failed.passed, failed.detail) == (False, "not within 3 s")


def test_show_contains_gives_the_line_or_what_was_there_instead(act: Callable[..., Scene]) -> None:
    scene = act()
    scene.r1.shows["show crypto isakmp sa"] = "dst src state\n1.1.1.1 2.2.2.2 QM_IDLE\n"
    check = ShowContains("r1", "show crypto isakmp sa", "QM_IDLE")
    hit, miss = one_check(scene, check), one_check(scene, replace(check, text="MM_KEY_EXCH"))
    assert (hit.passed, hit.detail) == (True, "1.1.1.1 2.2.2.2 QM_IDLE")
    assert (miss.passed, miss.detail) == (
        False,
        "shown: dst src state / 1.1.1.1 2.2.2.2 QM_IDLE",
    )


def test_refused_is_what_the_node_counts(act: Callable[..., Scene]) -> None:
    scene = act()
    scene.r1.drops.append({"reason": "revoked", "count": 2, "last": "0x3 was revoked"})
    hit = one_check(scene, Refused("r1", "revoked"))
    miss = one_check(scene, Refused("r1", "expired"))
    assert (hit.passed, hit.detail) == (True, "2 times, last: 0x3 was revoked")
    assert (miss.passed, miss.detail) == (False, "refused was: revoked")
    assert one_check(scene, Refused("ca", "expired")).detail == "refused was: nothing"


def test_commands_and_lines_go_to_the_node_that_is_named(act: Callable[..., Scene]) -> None:
    scene = act()
    done = one_check(scene, Exec("r1", "clear crypto isakmp"))
    assert (done.passed, done.title) == (True, "r1# clear crypto isakmp")
    done = one_check(scene, Configure("r1", ("interface Tunnel1", "shutdown")))
    assert (done.passed, done.title) == (True, "r1(config)# interface Tunnel1 / shutdown")
    assert scene.r1.told == ["clear crypto isakmp", "conf: interface Tunnel1", "conf: shutdown"]


def test_trust_among_the_checks_that_does_not_come_about_has_failed(
    act: Callable[..., Scene],
) -> None:
    scene = act()
    assert one_check(scene, Trust("r1", "ra", "ca")).detail == "r1 enrolled with ca (trustpoint ra)"
    scene.ca.holds.clear()
    failed = one_check(scene, Trust("r1", "ra", "ca"))
    assert not failed.passed and "certificate server on ca is not enabled" in failed.detail


def test_what_the_node_refuses_has_failed(act: Callable[..., Scene]) -> None:
    result = one_check(act(), ShowContains("r1", "show nonsense", "x"))
    assert not result.passed
    assert "Invalid input" in result.detail


def test_node_that_is_gone_has_failed(tmp_path: Path) -> None:
    topology = loaded(tmp_path, LAB)
    nodes = tuple(replace(node, run_root=tmp_path / "run") for node in topology.nodes)
    result = steps.carry_out(replace(topology, nodes=nodes), Wait("r1", "ready", None, 1))
    assert not result.passed
    assert "nobody answers" in result.detail
