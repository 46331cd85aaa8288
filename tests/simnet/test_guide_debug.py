"""The guide's debug listings, line by line, from runs with the guide's names and policies.

The templates are in tests/golden/debug: {c} a connection, {m} a message ID, {h} a peer, {s} an SA,
{spi} an SPI, {sn} a serial number of a board. What the guide's spoke image does not print, though
its hub image does, is named in `NOT_ON_THE_SPOKE`.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from ikelab.ios import debugging
from ikelab.ios.log import NodeLog
from ikelab.isakmp.events import Clear, SendDatagram
from ikelab.node.events import NodeAction
from ikelab.pki.x509 import load_certificate
from ikelab.wire.numbers import Doi, ProtocolId
from ikelab.wire.payloads import DELETE_WITH_REASON
from tests.simnet.guide import boot, server_of
from tests.simnet.network import Simnet, SimNode

GOLDEN = Path(__file__).parents[1] / "golden" / "debug"
NOT_ON_THE_SPOKE = (
    "ISAKMP ({c}): His hash no match - this node outside NAT",
    "ISAKMP ({c}): No NAT Found for self or peer",
)
_VALUES = (  # what differs from run to run, in the order in which it is looked for
    (r"(ISAKMP:? ?)\((0:)?[1-9]\d*\)", r"\1(\2{c})"),
    (r"(M-ID of|message ID =|[Nn]ode) (?:-|[1-9])\d+", r"\1 {m}"),
    (r"(peer = |struct )0x[0-9A-F]+", r"\1{h}"),
    (r"(peer_handle = )0x[0-9A-F]+", r"\1{x}"),
    (r"(successfully |peer_reap for [\d.]+: )[0-9A-F]+", r"\1{h}"),
    (r"sa = [0-9A-F]+", "sa = {s}"),
    (r"has spi 0x[0-9A-F]+", "has spi {spi}"),
    (r"serialNumber=\w+", "serialNumber={sn}"),
)


def template(text: str) -> str:
    """A line with its values taken out, and runs of blanks made one."""
    for pattern, replacement in _VALUES:
        text = re.sub(pattern, replacement, text)
    return " ".join(text.split())


def printed(actions: list[NodeAction], *names: str) -> list[str]:
    """The templates of what a node printed about these actions; not our own lines."""
    lines = NodeLog().lines(actions, names or (debugging.ISAKMP,))
    return [template(line.text) for line in lines if not line.text.startswith("IKELAB-")]


def golden(name: str) -> list[str]:
    """A list of templates; `#` begins a comment."""
    lines = (GOLDEN / name).read_text().splitlines()
    return [template(line) for line in lines if line and not line.startswith("#")]


# --- D1: the spoke that migrates to certificates --------------------


def migrate(net: Simnet) -> SimNode:
    """The tunnel of the migrating spoke comes up; its log from there on."""
    spoke = net.nodes["r35-1-1020"]
    spoke.log.clear()
    net.acquire(spoke)
    assert net.run(5, lambda: bool(spoke.installed))
    net.run(1)
    return spoke


@cache
def migrated() -> tuple[str, ...]:
    return tuple(printed(migrate(boot()).log))


def test_d1_successful_initiator_prints_the_guides_list() -> None:
    assert [line for line in migrated() if line not in NOT_ON_THE_SPOKE] == golden("d1.txt")


@pytest.mark.parametrize(
    ("facts", "changed"),
    [
        (
            {"profile": "other-profile"},
            {
                "ISAKMP:(0): SA request profile is {}": ("r35-profile", "other-profile"),
                "ISAKMP : Looking for xauth in profile {}": ("r35-profile", "other-profile"),
            },
        ),
        (
            {"keyring": "camel"},
            {"ISAKMP:(0):Found ADDRESS key in keyring {}": ("giraffe", "camel")},
        ),
        (
            {"ra": "mpls"},
            {
                "Choosing trustpoint {} as issuer": ("ra", "mpls"),
                "ISAKMP:({c}): using the {} trustpoint's keypair to sign": ("ra", "mpls"),
            },
        ),
        ({"hash": "sha"}, {"ISAKMP: hash {}": ("MD5", "SHA")}),
    ],
)
def test_other_facts_change_the_lines_that_name_them_and_no_others(
    facts: dict[str, str], changed: dict[str, tuple[str, str]]
) -> None:
    before, after = migrated(), printed(migrate(boot(**facts)).log)
    assert len(after) == len(before)
    differing = {(one, other) for one, other in zip(before, after, strict=True) if one != other}
    assert differing == {
        (text.replace("{}", old), text.replace("{}", new)) for text, (old, new) in changed.items()
    }


def test_d1_delete_of_the_older_sas_prints_the_guides_list() -> None:
    """The spoke has lost its SAs without a word; the hub hears it from INITIAL-CONTACT."""
    net = boot()
    spoke = migrate(net)
    spoke.router.isakmp.table.sas.clear()
    spoke.router.isakmp.table.peers.clear()
    spoke.router.isakmp.table.pairs.clear()
    spoke.installed.clear()
    found = printed(migrate(net).log)
    wanted = golden("d1-delete.txt")
    start = found.index("ISAKMP: set new node {m} to QM_IDLE") - 1
    assert found[start : start + len(wanted)] == wanted
    hub = net.nodes["s-dmvpn-headend"]
    assert len(hub.installed) == 1


# --- D2: the spoke that is revoked, at the hub --------------------


@cache
def revoked() -> tuple[NodeAction, ...]:
    """What the hub did: three tunnels were up, one spoke was revoked, its tunnel flapped."""
    net = boot()
    spoke, hub, ca = (net.nodes[n] for n in ("r35-3-1022", "s-dmvpn-headend", "du-subca"))
    for name in ("r35-1-1020", "r35-3-1022", "r35-2-1021"):
        net.acquire(net.nodes[name])
        assert net.run(5, lambda name=name: bool(net.nodes[name].installed))
        net.run(3)
    point = spoke.router.trustpoints["du"]
    assert point.credential is not None
    serial = load_certificate(point.credential.certificate).serial
    notices = server_of(net, "du-subca").revoke(serial, net.now)
    net.do(ca, [*notices, *ca.router.queues["du-subca"].pump()])
    net.run(2)
    net.do(hub, hub.router.request_crl("du", net.now))
    net.run(70)  # the finished quick modes are forgotten
    net.do(spoke, shut_tunnel(spoke, net))
    net.run(4)
    net.acquire(spoke)
    net.run(9)
    return tuple(hub.log)


def shut_tunnel(spoke: SimNode, net: Simnet) -> list[NodeAction]:
    """`shutdown` of the tunnel: IOS tells its peer by Cisco's payload 18, with reason 6."""
    engine = spoke.router.isakmp
    (sa,) = engine.table.sas.values()
    cookies = sa.cky_i + sa.cky_r
    told = DELETE_WITH_REASON(
        doi=Doi.IPSEC, protocol_id=ProtocolId.ISAKMP, spi_size=16, reason=6, spis=[cookies]
    )
    sent = engine._context.inform(sa, [told], net.now)
    forgotten = spoke.router.handle(Clear(), net.now)
    return [*sent, *(one for one in forgotten if not isinstance(one, SendDatagram))]


def test_d2_revoked_spoke_prints_the_guides_list_at_the_hub() -> None:
    found = printed(list(revoked()))
    wanted = golden("d2.txt")
    start = found.index(wanted[0])
    assert found[start : start + len(wanted)] == wanted


def test_d2_begins_with_quick_modes_of_three_peers_the_second_that_of_the_revoked_one() -> None:
    """As in the guide: 13017, 13021 and 13016, of which 13021 is then deleted."""
    lines = [line.text for line in NodeLog().lines(revoked(), (debugging.ISAKMP,))]
    purged = [re.findall(r"\((\d+)\):purging node", line) for line in lines]
    first, second, third = [found[0] for found in purged if found][:3]
    assert len({first, second, third}) == 3
    assert f'ISAKMP:({second}):deleting SA reason "P1 delete notify (in)"' in "\n".join(lines)


# --- D3: the same refusal, as `debug crypto pki` has it --------------------

_PKI_VALUES = (
    (r"(?:[0-9A-F]{2} ){7,}[0-9A-F]{2}", "{octets}"),
    (r"(CreateObject: |RecoverInit - |Recover - |index = |bytes|\()\d+", r"\1{n}"),
    (r"DestroyObject [0-9A-F]+:[0-9A-F]+", "DestroyObject {n}:{n}"),
    (r"handle=[0-9A-F]+", "handle={x}"),
    (r"serial number= [0-9A-F]+", "serial number= {hh}"),
)


def pki_template(text: str) -> str:
    text = " ".join(text.split())
    for pattern, replacement in _PKI_VALUES:
        text = re.sub(pattern, replacement, text)
    return text


def test_d3_pki_debug_of_the_refusal_prints_the_guides_list() -> None:
    lines = NodeLog().lines(revoked(), debugging.PKI_NAMES)
    found = [pki_template(line.text) for line in lines if not line.text.startswith("IKELAB-")]
    wanted = [line for line in (GOLDEN / "d3.txt").read_text().splitlines() if line[:1] != "#"]
    # The second negotiation: the first one was before the certificate was revoked.
    start = len(found) - found[::-1].index(wanted[0]) - 1
    assert found[start : start + len(wanted)] == wanted


def test_each_pki_debugging_prints_its_own_lines_only() -> None:
    everything = NodeLog().lines(revoked(), debugging.PKI_NAMES)
    for name in (debugging.PKI_VALIDATION, debugging.PKI_CALLBACKS, debugging.PKI_TRANSACTIONS):
        alone = [line for line in NodeLog().lines(revoked(), (name,)) if line.debug]
        assert alone
        assert [line for line in everything if line.debug == name] == alone
    assert not any(line.debug for line in NodeLog().lines(revoked(), ()))


def test_accepted_certificate_is_verified_and_nothing_fails() -> None:
    net = boot()
    hub = net.nodes["s-dmvpn-headend"]
    migrate(net)
    text = "\n".join(line.text for line in NodeLog().lines(hub.log, debugging.PKI_NAMES))
    assert "CRYPTO_PKI: Suitable trustpoints are: ra,\n" in text
    assert "CRYPTO_PKI: Select crl(cn=ra-subca)" in text
    assert "Certificate is verified" in text
    assert "failed" not in text
