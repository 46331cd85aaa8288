"""Carries out `trust:` and `checks:` on a running lab, through the nodes' control sockets.

Nothing polls or sleeps: each wait is answered by the node when its condition holds.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import assert_never

from ikelab.errors import ConfigError, LabError
from ikelab.ios.config_text import parse_config
from ikelab.lab import state
from ikelab.lab.advance import advance
from ikelab.lab.checks import (
    Advance,
    Check,
    Configure,
    Exec,
    ForgetClock,
    Ping,
    PowerOff,
    Refused,
    ShowContains,
    Trust,
    Wait,
)
from ikelab.lab.dates import format_span
from ikelab.lab.topology import Topology
from ikelab.pki.config import CertServerConfig
from ikelab.runtime.control import ControlClient
from ikelab.runtime.nodespec import NodeSpec

Deed = Wait | Ping | ShowContains | Refused | Exec | Configure | ForgetClock
"""What goes through the console of one node."""

_CA_SECONDS = 60.0  # two RSA keys and an enrollment with the CA above; usually under a second
_ENROLL_SECONDS = 60.0
_PING_SECONDS = 2.0  # IOS's time-out of one echo request
_SLACK = 10.0

_FINGERPRINT = re.compile(r"^\s*CA cert fingerprint: ([0-9A-Fa-f ]+?)\s*$", re.MULTILINE)
_REQUEST_FINGERPRINT = re.compile(r"Certificate Request Fingerprint MD5: ([0-9A-F ]+?)\s*$", re.M)
_RATE = re.compile(r"\((\d+)/(\d+)\)")


@dataclass(frozen=True, slots=True)
class Result:
    """How one check went. title: the check in words; detail: what was seen."""

    title: str
    passed: bool
    detail: str


def establish_trust(topology: Topology, trust: Trust) -> str:
    """Enter the CA's fingerprint at the node, authenticate, enroll; what was done, in a line.

    With `grant:` the request is granted at the CA, and the node is told to ask again: by itself it
    would in a minute, the shortest `enrollment retry period` there is. Without, where the CA grants
    nothing by itself, the request is left waiting for whoever deployed the lab.

    Else returns when the certificate is there, or (a subordinate CA) when the server issues.
    Raises LabError where it does not come to that in time.
    """
    node, ca = topology.node(trust.node), topology.node(trust.ca)
    fingerprint = read_fingerprint(ca)
    config = parse_config(node.config, file=node.config_file, mode=node.mode)
    lines = [f"crypto pki trustpoint {trust.trustpoint}", f"fingerprint {fingerprint}", "exit"]
    is_server = trust.trustpoint in config.servers
    if is_server:
        lines += [f"crypto pki server {trust.trustpoint}", "no shutdown", "exit"]
    with ControlClient(node.control_path) as client:
        client.configure(lines)
        client.exec(f"crypto pki authenticate {trust.trustpoint}")
        if not trust.enroll:
            _wait(client, "authenticated", trust.trustpoint, node)
            return f"{node.name} knows {ca.name} (trustpoint {trust.trustpoint})"
        if not is_server and config.trustpoints[trust.trustpoint].auto_enroll is None:
            _wait(client, "authenticated", trust.trustpoint, node)
            client.exec(f"crypto pki enroll {trust.trustpoint}")
        granted = ""
        if trust.grant is not None or _lets_wait(ca):
            _wait(client, "pending", trust.trustpoint, node)
            if trust.grant is not None:
                granted = f", request {_grant(client, trust, ca)} granted there"
            elif not _grants_by_itself(ca):
                return f"{node.name} waits until {ca.name} grants its request"
            _await_signature(ca)
            client.exec(f"crypto pki enroll {trust.trustpoint}")
        _wait(client, "enrolled", trust.trustpoint, node)
        if is_server:
            _wait(client, "ca-enabled", trust.trustpoint, node)
    return f"{node.name} enrolled with {ca.name} (trustpoint {trust.trustpoint}){granted}"


def _servers(ca: NodeSpec) -> Collection[CertServerConfig]:
    return parse_config(ca.config, file=ca.config_file, mode=ca.mode).servers.values()


def _grants_by_itself(ca: NodeSpec) -> bool:
    """Whether nobody needs to be there for a request to be granted."""
    return any(server.grant == "auto" for server in _servers(ca))


def _lets_wait(ca: NodeSpec) -> bool:
    """Whether a request is not answered at once: it waits for somebody, or for the CA of an RA."""
    return not _grants_by_itself(ca) or any(server.mode == "ra" for server in _servers(ca))


def _await_signature(ca: NodeSpec) -> None:
    """Until what was granted is signed: at once at a CA, at an RA when its CA has answered."""
    with ControlClient(ca.control_path) as console:
        if not console.wait("answered", timeout=_CA_SECONDS):
            raise LabError(
                f"{ca.name} has no answer from the CA above after {_CA_SECONDS:g} s",
                hint=f"does a request wait there? the log of {ca.name} is {ca.log_path}",
            )


def _grant(client: ControlClient, trust: Trust, ca: NodeSpec) -> int:
    """Grant, of the requests at the CA, the one whose fingerprint the node shows; its number.

    Raises LabError where the CA has no such request: somebody else's must not be granted.
    """
    shown = client.exec(f"show crypto pki certificates {trust.trustpoint}")
    fingerprints = {found.replace(" ", "") for found in _REQUEST_FINGERPRINT.findall(shown)}
    config = parse_config(ca.config, file=ca.config_file, mode=ca.mode)
    with ControlClient(ca.control_path) as console:
        for server in config.servers:
            listed = console.exec(f"crypto pki server {server} info requests")
            for line in listed.splitlines():
                number, state, fingerprint, *_ = [*line.split(), "", "", ""]
                if state == "pending" and fingerprint in fingerprints:
                    console.exec(f"crypto pki server {server} grant {number}")
                    return int(number)
    raise LabError(
        f"{ca.name} has no pending request with the fingerprint that {trust.node} shows",
        hint=f"`ikelab exec {ca.name} 'crypto pki server {ca.name} info requests'`",
    )


def read_fingerprint(ca: NodeSpec) -> str:
    """The fingerprint of a CA's certificate as its console shows it, hexadecimal.

    This is the step that makes the trust: it goes past the network, as the guide's phone call.
    """
    with ControlClient(ca.control_path) as client:
        if not client.wait("ca-enabled", timeout=_CA_SECONDS):
            raise LabError(
                f"the certificate server on {ca.name} is not enabled after {_CA_SECONDS:g} s",
                hint=f"`ikelab exec {ca.name} 'show crypto pki server'`; its log is {ca.log_path}",
            )
        shown = client.exec("show crypto pki server")
    found = _FINGERPRINT.search(shown)
    if found is None:
        raise LabError(f"{ca.name} shows no CA certificate fingerprint")
    return found[1].replace(" ", "").upper()


def _wait(client: ControlClient, condition: str, of: str, node: NodeSpec) -> None:
    if not client.wait(condition, of=of, timeout=_ENROLL_SECONDS):
        raise LabError(
            f"{node.name}: {of} is not {condition} after {_ENROLL_SECONDS:g} s",
            hint=f"`ikelab exec {node.name} 'show crypto pki trustpoints'`;"
            f" its log is {node.log_path}",
        )


def carry_out(topology: Topology, check: Check) -> Result:
    """One check. What the node refuses to do counts as failed."""
    title = title_of(check)
    try:
        match check:
            case Trust():
                return Result(title, True, establish_trust(topology, check))
            case PowerOff():
                with ControlClient(state.control_path(topology.name)) as supervisor:
                    supervisor.call("power-off", node=check.node)
                return Result(title, True, "")
            case Advance(seconds):
                stops = advance(topology.name, seconds)
                return Result(title, True, f"in {stops} stops")
            case _:
                with ControlClient(topology.node(check.node).control_path) as client:
                    return _at_console(client, title, check, topology.node(check.node))
    except (LabError, ConfigError) as error:
        return Result(title, False, " ".join(str(error).split()))


def _at_console(client: ControlClient, title: str, check: Deed, node: NodeSpec) -> Result:
    """What is seen or done through a node's control socket."""
    match check:
        case Wait():
            held = client.wait(check.condition, of=check.of, timeout=check.within)
            return Result(title, held, "" if held else f"not within {check.within} s")
        case Ping():
            return _ping(title, check, node)
        case ShowContains():
            text = client.exec(check.command)
            return Result(title, check.text in text, _excerpt(text, check.text))
        case Refused():
            return _refused(title, check, client)
        case Exec():
            return Result(title, True, client.exec(check.command).strip().replace("\n", " / "))
        case Configure():
            client.configure(check.lines)
            return Result(title, True, "")
        case ForgetClock():
            client.call("forget-clock", date=check.date.isoformat())
            return Result(title, True, "")
        case _:
            assert_never(check)


def title_of(check: Check) -> str:
    """A check in words."""
    match check:
        case Wait():
            what = f"{check.condition} {check.of}" if check.of else check.condition
            return f"{check.node}: {what}"
        case Ping():
            source = f" from {check.source}" if check.source else ""
            verb = "reaches" if check.reachable else "does not reach"
            return f"{check.node} {verb} {check.to}{source}"
        case ShowContains():
            return f"{check.node}: {check.command} has {check.text!r}"
        case Refused():
            return f"{check.node} has refused a peer: {check.reason}"
        case Exec():
            return f"{check.node}# {check.command}"
        case Configure():
            return f"{check.node}(config)# {' / '.join(check.lines)}"
        case Trust():
            verb = "enrolls with" if check.enroll else "authenticates"
            return f"{check.node} {verb} {check.ca} (trustpoint {check.trustpoint})"
        case PowerOff():
            return f"{check.node} is switched off"
        case ForgetClock():
            return f"{check.node} forgets the date: it is {check.date:%Y-%m-%d %H:%M:%S}"
        case Advance(seconds):
            return f"{format_span(seconds)} later"
        case _:
            assert_never(check)


def _refused(title: str, check: Refused, client: ControlClient) -> Result:
    """What the node counts of its refusals."""
    snapshot = client.snapshot()
    drops = snapshot.get("drops")
    seen = {
        str(row.get("reason")): f"{row.get('count')} times, last: {row.get('last')}"
        for row in (drops if isinstance(drops, list) else ())
        if isinstance(row, dict)
    }
    if check.reason in seen:
        return Result(title, True, seen[check.reason])
    return Result(title, False, f"refused was: {', '.join(seen) or 'nothing'}")


def _ping(title: str, check: Ping, node: NodeSpec) -> Result:
    """Echo requests from the node's console."""
    command = f"ping {check.to}"
    if check.source is not None:
        command += f" source {check.source}"
    timeout = check.count * _PING_SECONDS + _SLACK
    with ControlClient(node.control_path, timeout=timeout) as client:
        found = _RATE.search(client.exec(f"{command} repeat {check.count}"))
    if found is None:
        return Result(title, False, f"{node.name} shows no result of ping")
    answered, sent = int(found[1]), int(found[2])
    passed = answered == sent == check.count if check.reachable else answered == 0
    return Result(title, passed, f"{answered} of {sent} answered")


def _excerpt(text: str, wanted: str) -> str:
    """The line with the text in it, or the first lines of what was shown instead."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    hit = next((line for line in lines if wanted in line), None)
    return hit if hit is not None else "shown: " + " / ".join(lines[:3] or ["nothing"])
