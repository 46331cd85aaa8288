"""Grant by hand on virtual time: minutes of polling, a CA that is away, a rejection."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ikelab.errors import ConfigError
from ikelab.ios.config_text import parse_config
from ikelab.ios.log import NodeLog
from ikelab.node.console import Console
from ikelab.pki.ca_events import RequestQueued, RequestRefused
from ikelab.pki.events import (
    CertificateInstalled,
    EnrollmentFailed,
    EnrollmentPending,
    HttpRequest,
    RequestSent,
)
from ikelab.pki.x509 import load_request
from tests.simnet.first_tunnel import trust
from tests.simnet.network import Simnet, SimNode

CONFIGS = Path(__file__).parents[2] / "netns" / "first-tunnel-manual" / "configs"
SERVER = "crypto pki server ra-subca"
MINUTE = 60.0
_REQUEST = re.compile(r"^(\d+) +(\S+) +([0-9A-F]{32}) (.*)$", re.MULTILINE)
_MD5 = re.compile(r"Certificate Request Fingerprint MD5: ([0-9A-F ]+)")


@dataclass
class ManualLab:
    """The shipped lab, and a console at each node. more: lines for the routers' trustpoint."""

    more: tuple[str, ...] = ()
    net: Simnet = field(default_factory=Simnet)
    consoles: dict[str, Console] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.net.storage = "10.254.0.99"
        for name in ("root-ca", "ra-subca", "hub", "spoke1"):
            text = (CONFIGS / f"{name}.cfg").read_text()
            node = self.net.add(parse_config(text, file=f"{name}.cfg"))
            self.consoles[name] = Console(node.router, lambda: [])
        trust(self.net, "ra-subca", "ra-subca", "root-ca")
        self.net.run(1)
        for name in ("hub", "spoke1"):
            if self.more:
                self.configure(name, "crypto pki trustpoint ra", *self.more)
            trust(self.net, name, "ra", "ra-subca")
        self.net.run(1)

    def node(self, name: str) -> SimNode:
        return self.net.nodes[name]

    def type(self, name: str, command: str) -> str:
        """A command at a node's console."""
        answer = self.consoles[name].exec(command, self.net.now)
        self.net.do(self.node(name), answer.actions)
        return answer.text

    def configure(self, name: str, *lines: str) -> None:
        answer = self.consoles[name].configure(lines, self.net.now)
        self.net.do(self.node(name), answer.actions)

    def enroll(self, *names: str) -> None:
        for name in names:
            self.type(name, "crypto pki enroll ra")
            self.net.run(1)

    def requests(self) -> list[tuple[str, str, str, str]]:
        """`info requests`: (id, state, MD5, subject)."""
        return _REQUEST.findall(self.type("ra-subca", f"{SERVER} info requests"))

    def states(self) -> list[str]:
        return [state for _, state, _, _ in self.requests()]

    def is_enrolled(self, name: str) -> bool:
        return bool(self.node(name).of(CertificateInstalled))

    def asked(self, name: str) -> int:
        """How often a router has spoken to the CA."""
        return len(self.node(name).of(HttpRequest))


def test_router_and_ca_show_the_same_fingerprint():
    lab = ManualLab()
    lab.enroll("hub", "spoke1")
    assert "Granting mode is: manual" in lab.type("ra-subca", "show crypto pki server")
    listed = lab.requests()
    assert [(number, state) for number, state, _, _ in listed] == [
        ("1", "pending"),
        ("2", "pending"),
    ]
    for name, (_, _, fingerprint, subject) in zip(("hub", "spoke1"), listed, strict=True):
        shown = lab.type(name, "show crypto pki certificates ra")
        assert "Status: Pending" in shown
        assert [text.replace(" ", "") for text in _MD5.findall(shown)] == [fingerprint]
        [sent] = lab.node(name).of(RequestSent)
        assert (sent.fingerprint_md5, sent.subject) == (fingerprint, subject)
    queued = lab.node("ra-subca").of(RequestQueued)
    assert [notice.fingerprint for notice in queued] == [row[2] for row in listed]


def test_the_router_asks_every_minute_and_the_tunnel_comes_up():
    lab = ManualLab()
    lab.enroll("hub", "spoke1")
    lab.net.run(4.5 * MINUTE)
    polls = lab.node("hub").of(EnrollmentPending)
    assert [pending.retry for pending in polls] == [60.0] * 5  # the request and four polls
    lab.type("ra-subca", f"{SERVER} grant all")
    assert not lab.is_enrolled("hub")
    lab.net.run(MINUTE)
    assert lab.is_enrolled("hub") and lab.is_enrolled("spoke1")
    assert lab.states() == ["granted", "granted"]
    hub, spoke = lab.node("hub"), lab.node("spoke1")
    lab.net.acquire(spoke)
    assert lab.net.run(5, lambda: bool(spoke.installed) and spoke.keys() == hub.keys())


@pytest.mark.parametrize("minutes", [1, 2, 60])
def test_the_period_is_what_is_configured(minutes):
    lab = ManualLab((f"enrollment retry period {minutes}",))
    lab.enroll("hub")
    before = lab.asked("hub")
    lab.net.run(minutes * MINUTE - 2)
    assert lab.asked("hub") == before
    lab.net.run(2)
    assert lab.asked("hub") == before + 1


@pytest.mark.parametrize("period", ["0", "61"])
def test_no_shorter_period_than_a_minute_and_no_longer_than_an_hour(period):
    with pytest.raises(ConfigError):
        ManualLab((f"enrollment retry period {period}",))


def test_one_is_granted_by_its_number_and_the_other_waits_on():
    lab = ManualLab()
    lab.enroll("hub", "spoke1")
    lab.type("ra-subca", f"{SERVER} grant 2")
    lab.net.run(MINUTE)
    assert (lab.is_enrolled("hub"), lab.is_enrolled("spoke1")) == (False, True)
    assert lab.states() == ["pending", "granted"]
    with pytest.raises(ConfigError, match="there is no enrollment request 3"):
        lab.type("ra-subca", f"{SERVER} grant 3")
    late = lab.type("ra-subca", f"{SERVER} grant 2")
    assert late == "% request 2 is not pending any more\n"


def test_a_rejected_router_says_so_once_and_stops():
    lab = ManualLab()
    lab.enroll("hub")
    lab.type("ra-subca", f"{SERVER} reject 1")
    assert lab.states() == ["rejected"]
    lab.net.run(MINUTE)
    hub = lab.node("hub")
    [failed] = hub.of(EnrollmentFailed)
    assert failed.rejected
    console = NodeLog().text([failed], lab.net.now)
    assert "%PKI-6-CERTREJECT: Certificate enrollment request was rejected" in console
    asked = lab.asked("hub")
    lab.net.run(600 * MINUTE)
    assert lab.asked("hub") == asked
    assert "Status: Pending" not in lab.type("hub", "show crypto pki certificates ra")
    assert "pending" not in lab.type("hub", "show crypto pki trustpoints ra")


def test_a_rejected_router_may_ask_anew():
    lab = ManualLab()
    lab.enroll("hub")
    lab.type("ra-subca", f"{SERVER} reject all")
    lab.net.run(MINUTE)
    lab.enroll("hub")
    lab.type("ra-subca", f"{SERVER} grant 2")
    lab.net.run(MINUTE)
    assert lab.is_enrolled("hub")
    assert lab.states() == ["rejected", "granted"]


def test_polling_ends_after_the_retry_count():
    lab = ManualLab(("enrollment retry count 3",))
    lab.enroll("hub")
    asked = lab.asked("hub")
    lab.net.run(30 * MINUTE)
    assert lab.asked("hub") == asked + 3
    [failed] = lab.node("hub").of(EnrollmentFailed)
    assert not failed.rejected and "3 retries" in failed.reason


def test_a_ca_that_is_away_is_asked_again_when_it_is_back():
    lab = ManualLab()
    lab.enroll("hub")
    lab.configure("ra-subca", "no ip http server")
    lab.net.run(3 * MINUTE)
    hub = lab.node("hub")
    said = NodeLog().text([hub.of(EnrollmentPending)[-1]], lab.net.now)
    assert "no answer from the CA: connection refused; next try in 60 s" in said
    lab.type("ra-subca", f"{SERVER} grant all")
    lab.configure("ra-subca", "ip http server")
    lab.net.run(MINUTE)
    assert lab.is_enrolled("hub")
    assert lab.states() == ["granted"]


def test_a_one_time_password_lets_one_router_in_unasked():
    lab = ManualLab()
    said = lab.type("ra-subca", f"{SERVER} password generate 5")
    [password] = re.findall(r"\b[0-9A-F]{16}\b", said)
    assert "5 minutes" in said
    lab.configure("hub", "crypto pki trustpoint ra", f"password {password}")
    assert password not in lab.type("hub", "show running-config")
    lab.enroll("hub")
    assert lab.is_enrolled("hub") and lab.states() == ["granted"]
    lab.configure("spoke1", "crypto pki trustpoint ra", f"password {password}")
    lab.enroll("spoke1")
    [failed] = lab.node("spoke1").of(EnrollmentFailed)
    assert failed.rejected
    [refused] = lab.node("ra-subca").of(RequestRefused)
    assert refused.reason == "password-used"


def test_a_one_time_password_for_a_name_lets_that_router_in_only():
    lab = ManualLab()
    said = lab.type("ra-subca", f"{SERVER} password generate 5 name hub.cisco.example")
    [password] = re.findall(r"\b[0-9A-F]{16}\b", said)
    assert "One-time password for hub.cisco.example, good for 5 minutes" in said
    for name in ("spoke1", "hub"):
        lab.configure(name, "crypto pki trustpoint ra", f"password {password}")
        lab.enroll(name)
    assert lab.node("spoke1").of(EnrollmentFailed) and lab.is_enrolled("hub")
    [refused] = lab.node("ra-subca").of(RequestRefused)
    assert refused.reason == "wrong-password"


def test_a_one_time_password_that_has_run_out_lets_nobody_in():
    lab = ManualLab()
    said = lab.type("ra-subca", f"{SERVER} password generate 5")
    [password] = re.findall(r"\b[0-9A-F]{16}\b", said)
    lab.net.run(5 * MINUTE)
    lab.configure("hub", "crypto pki trustpoint ra", f"password {password}")
    lab.enroll("hub")
    assert lab.node("hub").of(EnrollmentFailed) and not lab.is_enrolled("hub")


def test_a_password_given_while_a_request_waits_makes_another():
    lab = ManualLab()
    lab.enroll("hub")
    said = lab.type("ra-subca", f"{SERVER} password generate")
    [password] = re.findall(r"\b[0-9A-F]{16}\b", said)
    lab.configure("hub", "crypto pki trustpoint ra", f"password {password}")
    lab.enroll("hub")
    assert lab.is_enrolled("hub") and lab.states() == ["pending", "granted"]


def test_the_password_of_a_trustpoint_is_in_no_snapshot():
    lab = ManualLab(("password s3cret-word",))
    assert "s3cret-word" not in str(lab.consoles["hub"].snapshot(lab.net.now))
    assert "s3cret-word" not in repr(lab.node("hub").router.config)
    lab.enroll("hub")
    [waiting] = lab.node("ra-subca").router.servers["ra-subca"].requests()
    assert load_request(waiting.request).challenge == "s3cret-word"


def test_enroll_typed_again_asks_at_once():
    lab = ManualLab()
    lab.enroll("hub")
    lab.enroll("hub")
    lab.type("ra-subca", f"{SERVER} grant all")
    lab.enroll("hub")
    assert lab.is_enrolled("hub")
    assert lab.states() == ["granted"]
