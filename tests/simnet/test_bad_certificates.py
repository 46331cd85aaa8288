"""A real certificate that must not count, shown by either router in message 5 and in message 6.

Hub and spoke are enrolled; then one of them is given a certificate of our own making, as if it had
got it so, and restarted. Each fault is refused by the hub and by the spoke, as responder and as
initiator, no IPsec SA comes up, and `ikelab explain` says it in a sentence.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

from ikelab.isakmp.events import ConfigChanged, Refused
from ikelab.lab import cli, explain
from ikelab.lab.record import hosts_of
from ikelab.lab.topology import load
from ikelab.pki.issuer import ROUTER_USAGE
from ikelab.pki.x509 import build_certificate, load_certificate, parse_dn
from ikelab.runtime.trace import TraceWriter, read_trace
from tests.pki_samples import rsa_key
from tests.simnet.labs import LABS, boot_lab, enroll, tunnel_comes_up
from tests.simnet.network import START, Simnet

LAB = "root-offline"
HUB, SPOKE = "hub", "spoke1"
DAY = timedelta(days=1)
OUR_CA, OTHER_CA = "cn=ra-subca", "cn=other-ca"


@dataclass(frozen=True)
class Fault:
    """A certificate and what is made of it. seen, mend: words of the refusal and its remedy."""

    reason: str
    rule: str
    seen: str
    mend: str
    start: timedelta = -DAY
    end: timedelta = DAY
    issuer: str = OUR_CA
    forged: bool = False
    payload: str = "CERT"
    wanted: str = "a certificate path that holds"


FAULTS = {
    "expired": Fault(
        "expired",
        "RFC 5280 section 6.1.3",
        "ended 2026-03-01 08:00:00, the clock says 2026-03-02 08:",
        "let the peer enroll anew",
        start=-9 * DAY,
        end=-DAY,
    ),
    "not-yet-valid": Fault(
        "not-yet-valid",
        "RFC 5280 section 6.1.3",
        "starts 2026-03-03 08:00:00, the clock says 2026-03-02 08:",
        "set this router's clock; if it is right, set the CA's and let the peer enroll anew",
        start=DAY,
        end=9 * DAY,
    ),
    "of a CA of another name": Fault(
        "untrusted-issuer",
        "RFC 5280 section 6.1",
        "no path from a certificate of cn=other-ca to a trusted one",
        "authenticate the CA that issued the peer's certificate",
        issuer=OTHER_CA,
        forged=True,
    ),
    "of another CA of this name": Fault(
        "certificate-bad-signature",
        "RFC 5280 section 6.1.3",
        "no certificate of cn=ra-subca has the key that signed",
        "let the peer enroll with the CA that this router knows",
        forged=True,
    ),
}

# What a router does that keeps to the rules: it sees that the peer does not ask for such a one.
NOT_ASKED_FOR = Fault(
    "no-certificate-for-request",
    "RFC 2408 section 3.10",
    OUR_CA,
    "enroll with a CA that the peer trusts, or let the peer trust ours",
    issuer=OTHER_CA,
    forged=True,
    payload="CERT_REQ",
    wanted=f"{OTHER_CA}, cn=root-ca",
)


def lab() -> Simnet:
    net = boot_lab(LAB, "root-ca", "ra-subca", HUB, SPOKE)
    enroll(net, "ra-subca", "ra-subca", "root-ca")
    enroll(net, HUB, "ra", "ra-subca")
    enroll(net, SPOKE, "ra", "ra-subca")
    return net


def give_certificate(net: Simnet, name: str, fault: Fault) -> None:
    """Restart a router with another certificate in its nvram; it does not enroll by itself."""
    node = net.nodes[name]
    nvram = node.router.nvram
    held = nvram.load_trustpoint("ra")
    assert held is not None and held.certificate is not None and held.key_label is not None
    key = nvram.load_key(held.key_label)
    authority = net.nodes["ra-subca"].router.servers["ra-subca"].store.load_authority()
    assert key is not None and authority is not None
    own = load_certificate(held.certificate)
    made = build_certificate(
        serial=own.serial,
        issuer=parse_dn(fault.issuer),
        subject=own.subject,
        public_key_info=own.public_key_info,
        not_before=START + fault.start,
        not_after=START + fault.end,
        issuer_key=rsa_key("other-ca") if fault.forged else authority.key,
        digest="sha256",
        ca=False,
        key_usage=ROUTER_USAGE,
        crl_url="http://10.254.0.99/ra-subca.crl",
        fqdns=own.fqdns,
    )
    nvram.save_trustpoint(replace(held, certificate=made), (held.key_label, key))
    points = node.router.config.trustpoints
    manual = {**points, "ra": replace(points["ra"], auto_enroll=None)}
    net.add(replace(node.router.config, trustpoints=manual), nvram=nvram)


def send_it_whatever_is_asked_for(net: Simnet, name: str) -> None:
    """Some show the certificate that they have, as charon with `send_cert = always`."""
    engine = net.nodes[name].router.isakmp
    [shown] = engine.config.credentials
    shown = replace(shown, authorities=(parse_dn(OUR_CA),))
    engine.handle(ConfigChanged(replace(engine.config, credentials=(shown,))), net.now)


def stays_down(net: Simnet, begins: str) -> bool:
    """Whether a minute after one has called the other no router has IPsec SAs."""
    hub, spoke = net.nodes[HUB], net.nodes[SPOKE]
    ends = (spoke, hub) if begins == SPOKE else (hub, spoke)
    came_up = tunnel_comes_up(net, *ends)
    net.run(60)
    return not (came_up or hub.installed or spoke.installed)


def explained(net: Simnet, name: str, directory: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What `ikelab explain NODE` prints of the run."""
    topology = load(LABS / LAB)
    for node in net.nodes.values():
        with TraceWriter(directory / node.name) as trace:
            trace.refused(node.of(Refused))
    traces = {node.name: read_trace(directory / node.name, node.name) for node in topology.nodes}
    refusals = explain.located(topology, traces, ())
    told = explain.to_json(refusals, dict(hosts_of(topology)))
    (directory / explain.REFUSALS).write_text(told)
    assert cli._main(["explain", name, "--capture", str(directory)]) == cli.OK
    return capsys.readouterr().out


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize(("bad", "judge"), [(SPOKE, HUB), (HUB, SPOKE)], ids=("spoke", "hub"))
@pytest.mark.parametrize("begins", [SPOKE, HUB])
def test_it_is_refused_by_name_and_explain_says_what_would_mend_it(
    fault: Fault,
    bad: str,
    judge: str,
    begins: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    net = lab()
    give_certificate(net, bad, fault)
    send_it_whatever_is_asked_for(net, bad)
    assert stays_down(net, begins)
    shown_in = "MM5" if bad == begins else "MM6"
    first = net.nodes[judge].of(Refused)[0]
    assert (first.message, first.reason) == (shown_in, fault.reason)
    for asked in (bad, judge):
        told = explained(net, asked, tmp_path, capsys)
        assert_told(told, f"{judge} refused {shown_in} of {bad} (192.168.159.", fault)


def assert_told(told: str, who: str, fault: Fault) -> None:
    """A sentence with what would mend it, and the refusal's parts below."""
    sentence, *table = told.splitlines()
    assert sentence.startswith(who)
    assert f": {fault.reason}: " in sentence
    assert f". To mend it, {fault.mend}" in sentence
    parts = {line[2:10].strip(): line[11:] for line in table}
    assert parts.keys() == {"payload", "rule", "seen", "wanted", "found in"}
    assert (parts["payload"], parts["rule"]) == (fault.payload, fault.rule)
    assert fault.seen in parts["seen"] and parts["wanted"] == fault.wanted


@pytest.mark.parametrize("bad", [SPOKE, HUB])
@pytest.mark.parametrize("begins", [SPOKE, HUB])
def test_a_certificate_that_the_peer_does_not_ask_for_is_not_shown(
    bad: str, begins: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    net = lab()
    give_certificate(net, bad, NOT_ASKED_FOR)
    assert stays_down(net, begins)
    asked_in, judge = "MM4" if bad == begins else "MM5", HUB if bad == SPOKE else SPOKE
    first = net.nodes[bad].of(Refused)[0]
    assert (first.message, first.reason) == (asked_in, NOT_ASKED_FOR.reason)
    for asked in (bad, judge):
        told = explained(net, asked, tmp_path, capsys)
        assert_told(told, f"{bad} refused {asked_in} of {judge} (192.168.159.", NOT_ASKED_FOR)


def test_the_same_routers_with_a_certificate_that_counts_have_their_tunnel() -> None:
    """What is refused above is refused for its fault, not for how it came into nvram."""
    net = lab()
    good = Fault("", "", "", "")
    for name in (SPOKE, HUB):
        give_certificate(net, name, good)
    assert tunnel_comes_up(net, net.nodes[SPOKE], net.nodes[HUB])
