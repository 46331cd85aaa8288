"""Aggressive mode with a stock charon: both roles, both ways to prove oneself, both refusals."""

from __future__ import annotations

import pytest

from ikelab.isakmp.events import InstallIpsecSa, PlainMessage, Refused, SaRequested
from ikelab.isakmp.policy import AggressivePeer
from ikelab.wire.numbers import IdType
from tests.interop import test_strongswan_main_mode as main_mode
from tests.interop.engine_host import FileKeys
from tests.interop.suites import (
    OURS,
    SECRET,
    THEIRS,
    bring_up,
    check_same_keys,
    psk_config,
    psk_connection,
    rsa_config,
    rsa_connection,
)

start_router = pytest.fixture(main_mode.make_both, name="start_router")
ios_config = main_mode.ios_config
bring_up_router = main_mode.bring_up
check_same_router_keys = main_mode.check_same_keys
pytestmark = [pytest.mark.interop, pytest.mark.needs_root]

SUITE = "aes256-sha256-modp2048"
NAME = "spoke1.example.net"
TO_HUB = AggressivePeer(THEIRS, IdType.ID_FQDN, NAME)
ALLOWED = {"aggressive_mode": True, "aggressive_peers": (TO_HUB,)}
ROLES = pytest.mark.parametrize("we_initiate", [True, False], ids=["initiator", "responder"])


def sent(ours):
    return [m.comment.split()[3] for m in ours.of(PlainMessage) if m.sent]


@ROLES
def test_pre_shared_key(start, we_initiate):
    # As responder we call ourselves by address.
    connection = psk_connection(SUITE, aggressive=True, peer_id=NAME if we_initiate else OURS)
    ours, charon = start(psk_config(SUITE, **ALLOWED), connection)
    with charon, ours:
        bring_up(ours, charon, we_initiate=we_initiate)
        check_same_keys(ours, charon)
        assert sent(ours)[0] == "AM1" if we_initiate else "AM2"
        assert ours.of(Refused) == []


@ROLES
def test_rsa_signatures(start, segment, pki, we_initiate):
    segment.serve(pki.web)
    leaf, hub = pki.issue("spoke1"), pki.issue("hub")
    ours, charon = start(
        rsa_config(SUITE, pki, leaf, **ALLOWED),
        rsa_connection(SUITE, pki, hub, aggressive=True),
        keys=FileKeys(leaf.key),
        pki=pki,
    )
    with charon, ours:
        bring_up(ours, charon, we_initiate=we_initiate)
        check_same_keys(ours, charon)
        assert sent(ours)[0] == "AM1" if we_initiate else "AM2"
        assert ours.of(Refused) == []


@ROLES
def test_a_router_with_the_commands_of_ios(start_router, we_initiate):
    """From the configuration file to the wire: client-endpoint and password of the peer."""
    config = ios_config(
        SUITE,
        "pre-share",
        "no crypto isakmp aggressive-mode disable",
        f"crypto isakmp key {SECRET} hostname hub.example.net",
        f"crypto isakmp peer address {THEIRS}",
        f" set aggressive-mode password {SECRET}",
        f" set aggressive-mode client-endpoint fqdn {NAME}",
        "!",
    )
    connection = psk_connection(
        SUITE,
        aggressive=True,
        own_id="hub.example.net",
        peer_id=NAME if we_initiate else OURS,
    )
    router, charon = start_router(SUITE, config, connection)
    bring_up_router(router, charon, we_initiate=we_initiate)
    check_same_router_keys(router, charon)
    assert "QM_IDLE" in router.console.exec("show crypto isakmp sa")


def test_charon_is_refused_where_aggressive_mode_is_off(start):
    ours, charon = start(psk_config(SUITE), psk_connection(SUITE, aggressive=True))
    with charon, ours:
        charon.start_initiating()
        ours.run_until(lambda: bool(ours.of(Refused)), "refusal by us")
        assert ours.of(Refused)[0].reason == "aggressive-mode-disabled"
        assert sent(ours) == []
        assert ours.states == []


def test_charon_that_wants_main_mode_refuses_ours(start):
    ours, charon = start(psk_config(SUITE, **ALLOWED), psk_connection(SUITE))
    with charon, ours:
        ours.tell(SaRequested(ours.engine.config.flows[0]))
        ours.run_until(lambda: bool(ours.of(Refused)), "answer in clear")
        assert ours.of(Refused)[0].reason == "unauthenticated-informational"
        assert ours.of(InstallIpsecSa) == []


def test_another_pre_shared_key_is_seen_in_message_2(start):
    ours, charon = start(
        psk_config(SUITE, key="another key", **ALLOWED),
        psk_connection(SUITE, aggressive=True, peer_id=NAME),
    )
    with charon, ours:
        ours.tell(SaRequested(ours.engine.config.flows[0]))
        ours.run_until(lambda: bool(ours.of(Refused)), "refusal of message 2")
        assert ours.of(Refused)[0].reason == "bad-hash"
        assert ours.states == ["IKE_I_AM1"]
