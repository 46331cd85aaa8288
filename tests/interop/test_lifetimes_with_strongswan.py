"""Both ends renew in time: phase 1 and 2, by charon and by us, and when both begin at once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ikelab.isakmp.events import (
    DeleteIpsecSa,
    InstallIpsecSa,
    KeyMaterial,
    PlainMessage,
    Refused,
    SaRequested,
)
from ikelab.isakmp.policy import Keepalive
from tests.interop.suites import bring_up, check_kernel_keys, psk_config, psk_connection

pytestmark = [pytest.mark.interop, pytest.mark.needs_root]

SUITE = "aes256-sha256-modp2048"
ROLES = pytest.mark.parametrize("we_initiate", [True, False], ids=["initiator", "responder"])


def second_phase_1(ours):
    return len(ours.of(KeyMaterial)) > 1


def installed(charon):
    return charon.log_file.read_text().count("CHILD_SA gre{") and charon.log_file.read_text().count(
        "established with SPIs"
    )


@pytest.mark.parametrize("setting", ["rekey_time = 2s", "reauth_time = 2s"])
def test_charon_renews_phase_1(start, setting):
    """In IKEv1 charon reauthenticates either way: a new main mode that adopts the children."""
    times = f"{setting}\n        over_time = 4s\n        rand_time = 0s"
    ours, charon = start(psk_config(SUITE), psk_connection(SUITE, times=times))
    with charon, ours:
        bring_up(ours, charon, we_initiate=False)
        ours.run_until(lambda: second_phase_1(ours), "second main mode")
        ours.run_until(charon.is_up, "child still there on charon's side")
        assert ours.of(DeleteIpsecSa) == []
        assert ours.of(Refused) == []


def test_charon_renews_the_child(start):
    times = "rekey_time = 2s\n                life_time = 6s\n                rand_time = 0s"
    ours, charon = start(psk_config(SUITE), psk_connection(SUITE, child_times=times))
    with charon, ours:
        bring_up(ours, charon, we_initiate=False)
        ours.run_until(lambda: installed(charon) > 1, "second pair")
        check_kernel_keys(ours.of(InstallIpsecSa)[1], charon)
        assert ours.of(Refused) == []


@ROLES
def test_we_renew_phase_1(start, we_initiate):
    config = psk_config(SUITE)
    config = replace(config, policies=(replace(config.policies[0], lifetime=4),))
    ours, charon = start(config, psk_connection(SUITE))
    with charon, ours:
        # As the responder, too: charon's SA lives for hours, and nobody tells it that ours ends.
        bring_up(ours, charon, we_initiate=we_initiate)
        ours.run_until(lambda: second_phase_1(ours), "second main mode")
        ours.run_until(charon.is_up, "child still there on charon's side")
        assert ours.of(Refused) == []


@ROLES
def test_we_renew_the_pair(start, we_initiate):
    """The side that did not begin steps in, too: later, where the other has not."""
    config = psk_config(SUITE)
    config = replace(config, flows=(replace(config.flows[0], lifetime_seconds=4),))
    ours, charon = start(config, psk_connection(SUITE))
    with charon, ours:
        bring_up(ours, charon, we_initiate=we_initiate)
        ours.run_until(lambda: installed(charon) > 1, "second pair")
        check_kernel_keys(ours.of(InstallIpsecSa)[1], charon)
        assert ours.of(Refused) == []


def test_charon_answers_our_dead_peer_detection(start):
    config = replace(psk_config(SUITE), keepalive=Keepalive(1, 2))
    ours, charon = start(config, psk_connection(SUITE))
    with charon, ours:
        bring_up(ours, charon, we_initiate=True)
        ours.run_until(lambda: probes(ours) >= 2, "two probes of ours")
        ours.run_until(lambda: sa_of(ours).probes == 0, "the answer to the last")
        assert ours.of(Refused) == []
    assert "N(DPD_ACK)" in charon.log_file.read_text()


def test_a_dead_charon_is_found_dead(start):
    config = replace(psk_config(SUITE), keepalive=Keepalive(1, 1))
    ours, charon = start(config, psk_connection(SUITE))
    with charon, ours:
        bring_up(ours, charon, we_initiate=True)
        ours.deaf_to(1000)
        ours.run_until(lambda: bool(ours.of(DeleteIpsecSa)), "the pair's end", seconds=9)
        assert ours.of(Refused)[-1].reason == "peer-dead"
        assert ours.states == []


def sa_of(ours):
    (sa,) = ours.engine.table.sas.values()
    return sa


def probes(ours):
    return sum(m.payloads == ("HASH", "N") for m in ours.of(PlainMessage) if m.sent)


def test_both_begin_at_once(start):
    ours, charon = start(psk_config(SUITE), psk_connection(SUITE))
    with charon, ours:
        charon.start_initiating()
        ours.tell(SaRequested(ours.engine.config.flows[0]))
        ours.run_until(charon.is_up, "child on charon's side")
        ours.run_until(lambda: bool(ours.of(InstallIpsecSa)), "pair on our side")
        sent = len([m for m in ours.of(PlainMessage) if m.sent])
        with pytest.raises(AssertionError):
            ours.run_until(lambda: False, "anything more", seconds=1.5)
        assert len([m for m in ours.of(PlainMessage) if m.sent]) - sent <= 4, "no loop"
        assert "IKE_P1_COMPLETE" in ours.states
        assert charon.is_up()
