"""NAT traversal and IKE fragmentation with a stock charon: behind real NATs, in either role."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from ikelab.ipsec.udp_encap import Kind, split
from tests.interop.charon import Charon
from tests.interop.our_router import start_our_router
from tests.interop.suites import OURS, SECRET, THEIRS, psk_connection, rsa_connection
from tests.interop.test_strongswan_main_mode import (
    MODERN,
    check_same_keys,
    ios_config,
    make_both,
)

pytestmark = [pytest.mark.interop, pytest.mark.needs_root]

INSIDE = "10.1.1.2"
INNER_THEIRS = "203.0.113.2"
start = pytest.fixture(make_both, name="start")


def psk(*more: str, **words: str) -> str:
    """Our configuration; words: addresses of the usual one and what stands in their place."""
    text = ios_config(MODERN, "pre-share", f"crypto isakmp key {SECRET} address {THEIRS}", *more)
    for usual, other in words.items():
        text = text.replace({"ours": OURS, "theirs": THEIRS}[usual], other)
    return text


def rsa(*more: str, ours: str = OURS) -> str:
    trustpoint = "crypto pki trustpoint ra-subca\n revocation-check none\n rsakeypair spoke1\n!"
    text = ios_config(MODERN, "rsa-sig", trustpoint, "crypto isakmp identity hostname", *more)
    return text.replace(OURS, ours)


@pytest.fixture
def behind_nat(segment, xfrm, short_directory, need):
    """Both ends at work, one of them behind a NAT: (our router, charon)."""
    need("nft")
    running = []

    def make(config, connection, *, inside, **credentials):
        if inside == "ours":
            namespace = segment.add_host_behind_nat("router", INSIDE, outside=OURS)
            theirs = segment.add_host("charon", THEIRS)
        else:
            namespace = segment.add_host("router", OURS)
            theirs = segment.add_host_behind_nat("charon", INSIDE, outside=THEIRS)
        router = start_our_router(namespace, short_directory, config, **credentials)
        running.append(router)
        charon = Charon(theirs, short_directory / "charon", connection, xfrm_library=xfrm.library)
        running.append(charon.__enter__())
        return router, charon

    yield make
    for end in reversed(running):
        end.__exit__(None, None, None)


def bring_up(router, charon, *, we_initiate):
    if we_initiate:
        router.send_through(INNER_THEIRS)
    else:
        charon.start_initiating()
    assert router.console.wait("tunnel-up", of="Tunnel1", timeout=8), router.log
    charon.wait_for(charon.is_up, "installed child")
    check_same_keys(router, charon)


def check_udp(router, segment):
    """ESP in UDP on our side; on the wire everything from message 5 on at port 4500."""
    assert "in use settings ={Transport UDP-Encaps, }" in router.console.exec(
        "show crypto ipsec sa"
    )
    detail = router.console.exec("show crypto isakmp sa detail")
    assert re.search(r" psk .* D?N$| rsig .* D?N$", detail, re.MULTILINE), detail
    seen = segment.datagrams()
    floated = [4500 in (d.source[1], d.destination[1]) for d in seen]
    assert floated[:4] == [False] * 4 and all(floated[4:]) and len(floated) >= 9
    return seen


def test_we_are_behind_a_nat(behind_nat, segment):
    router, charon = behind_nat(psk(ours=INSIDE), psk_connection(MODERN), inside="ours")
    bring_up(router, charon, we_initiate=True)
    seen = check_udp(router, segment)
    assert 20000 <= seen[0].source[1] < 30000
    log = charon.log_file.read_text()
    assert "remote host is behind NAT" in log
    assert f"local {INSIDE}/4500 remote {THEIRS}/4500" in router.console.exec("show crypto session")


def test_we_are_behind_a_nat_with_certificates_in_fragments(behind_nat, segment, pki):
    leaf, hub = pki.issue("spoke1"), pki.issue("hub")
    router, charon = behind_nat(
        rsa("crypto isakmp fragmentation", ours=INSIDE),
        rsa_connection(MODERN, pki, hub, revocation="relaxed"),
        inside="ours",
        pki=pki,
        leaf=leaf,
    )
    bring_up(router, charon, we_initiate=True)
    check_udp(router, segment)


def test_charon_is_behind_a_nat_and_keeps_its_port(behind_nat, segment):
    connection = replace(psk_connection(MODERN), local=INSIDE)
    router, charon = behind_nat(psk(), connection, inside="theirs")
    bring_up(router, charon, we_initiate=False)
    check_udp(router, segment)
    assert "local host is behind NAT" in charon.log_file.read_text()
    router.wait_for(
        lambda: any("took a NAT keepalive" in r.comment for r in router.trace.records),
        "keepalive of charon",
    )
    assert any(split(d.octets)[0] is Kind.KEEPALIVE for d in segment.datagrams((4500,)))


def test_charon_takes_our_keepalives(behind_nat, segment):
    config = psk("crypto isakmp nat keepalive 5", ours=INSIDE)
    router, charon = behind_nat(config, psk_connection(MODERN), inside="ours")
    bring_up(router, charon, we_initiate=True)
    segment.datagrams()
    found = []

    def came():
        found.extend(d for d in segment.datagrams((4500,)) if d.octets == b"\xff")
        return bool(found)

    router.wait_for(came, "keepalive of ours")
    assert found[0].destination == (THEIRS, 4500)


@pytest.mark.parametrize("we_initiate", [True, False], ids=["initiator", "responder"])
def test_charon_forces_udp_where_there_is_no_nat(start, segment, we_initiate):
    connection = psk_connection(MODERN, times="encap = yes")
    router, charon = start(MODERN, psk(), connection)
    bring_up(router, charon, we_initiate=we_initiate)
    check_udp(router, segment)


def test_without_nat_transparency_nothing_floats(start, segment):
    config = psk("no crypto ipsec nat-transparency udp-encapsulation")
    router, charon = start(MODERN, config, psk_connection(MODERN, times="encap = yes"))
    bring_up(router, charon, we_initiate=True)
    assert all(4500 not in (d.source[1], d.destination[1]) for d in segment.datagrams())


@pytest.mark.parametrize("we_initiate", [True, False], ids=["initiator", "responder"])
@pytest.mark.parametrize("setting", ["yes", "force"])
def test_certificates_go_in_fragments_both_ways(start, segment, pki, setting, we_initiate):
    leaf, hub = pki.issue("spoke1"), pki.issue("hub")
    connection = rsa_connection(MODERN, pki, hub, revocation="relaxed", fragmentation=setting)
    config = rsa("crypto isakmp fragmentation")
    router, charon = start(MODERN, config, connection, pki=pki, leaf=leaf)
    bring_up(router, charon, we_initiate=we_initiate)
    told = [r.comment for r in router.trace.records if "ragment" in r.comment]
    assert any("Fragment 1 of" in comment for comment in told)
    assert any("takes fragment 2" in comment for comment in told)
    assert "received fragment #2" in charon.log_file.read_text()
    shown = router.console.exec("show crypto session detail")
    assert re.search(r"Capabilities:D?F connid", shown), shown


def test_fragments_without_agreement_are_refused_by_name(start, segment, pki):
    leaf, hub = pki.issue("spoke1"), pki.issue("hub")
    connection = rsa_connection(MODERN, pki, hub, revocation="relaxed", fragmentation="force")
    router, charon = start(MODERN, rsa(), connection, pki=pki, leaf=leaf)
    charon.start_initiating()
    router.wait_for(
        lambda: "fragment-not-agreed" in router.console.exec("show crypto isakmp drops"),
        "refusal of a fragment",
    )
