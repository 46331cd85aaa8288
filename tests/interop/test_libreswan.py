"""Our IKE engine and a stock libreswan pluto: every exchange that both know, in either role.

The keys that pluto gave to its kernel equal ours: they hang on SKEYID_d, so phase 1 agrees too.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from ikelab.isakmp.events import (
    Clear,
    DeleteIpsecSa,
    InstallIpsecSa,
    KeyMaterial,
    PlainMessage,
    Refused,
    SaRequested,
)
from ikelab.isakmp.policy import AggressivePeer, Keepalive
from ikelab.wire.numbers import Group, IdType
from tests.interop.engine_host import FileKeys
from tests.interop.pluto import PlutoConnection
from tests.interop.suites import OURS, SECRET, THEIRS, check_kernel_keys, psk_config, rsa_config

pytestmark = [pytest.mark.interop, pytest.mark.needs_root]

NAME = "spoke1.example.net"
SUITE = "aes256-sha256-modp2048"
# Debian's pluto has no group 2.
WORDS = {
    SUITE: ("aes256-sha2_256;modp2048", "aes256-sha2_256"),
    "aes128-sha1-modp1536": ("aes128-sha1;modp1536", "aes128-sha1"),
    "aes128-sha256-ecp256": ("aes128-sha2_256;dh19", "aes128-sha2_256"),
    "aes256-sha384-ecp384": ("aes256-sha2_384;dh20", "aes256-sha2_384"),
    "aes256-sha512-ecp521": ("aes256-sha2_512;dh21", "aes256-sha2_512"),
}
ROLES = pytest.mark.parametrize("we_initiate", [True, False], ids=["initiator", "responder"])
AGGRESSIVE = {
    "aggressive_mode": True,
    "aggressive_peers": (AggressivePeer(THEIRS, IdType.ID_FQDN, NAME),),
}


def connection(suite=SUITE, **changes):
    ike, esp = WORDS[suite]
    words = {"ike": ike, "esp": esp, "pre_shared_key": SECRET}
    return PlutoConnection(THEIRS, OURS, **(words | changes))


def rsa_connection(pki, leaf, **changes):
    words = {"pre_shared_key": None, "pki": pki, "leaf": leaf}
    return connection(**(words | changes))


def bring_up(ours, pluto, *, we_initiate):
    if we_initiate:
        ours.tell(SaRequested(ours.engine.config.flows[0]))
    else:
        pluto.start_initiating()
    ours.run_until(lambda: bool(ours.of(InstallIpsecSa)), "pair on our side")
    ours.run_until(pluto.is_up, "child on pluto's side")


def check_same_keys(ours, pluto):
    (installed,) = ours.of(InstallIpsecSa)
    check_kernel_keys(installed, pluto)
    assert len(ours.of(KeyMaterial)) == 1


def names(ours):
    return [m.comment.split()[3] for m in ours.of(PlainMessage) if m.sent]


@ROLES
@pytest.mark.parametrize("suite", WORDS)
def test_main_mode_with_a_pre_shared_key(start_pluto, suite, we_initiate):
    ours, pluto = start_pluto(psk_config(suite), connection(suite))
    with pluto, ours:
        bring_up(ours, pluto, we_initiate=we_initiate)
        check_same_keys(ours, pluto)
        assert ours.of(Refused) == []


@ROLES
def test_main_mode_with_rsa_signatures(start_pluto, pki, we_initiate):
    leaf, hub = pki.issue("spoke1"), pki.issue("hub")
    ours, pluto = start_pluto(
        rsa_config(SUITE, pki, leaf), rsa_connection(pki, hub), keys=FileKeys(leaf.key), pki=pki
    )
    with pluto, ours:
        bring_up(ours, pluto, we_initiate=we_initiate)
        check_same_keys(ours, pluto)
        assert ours.of(Refused) == []


@ROLES
def test_aggressive_mode_with_a_pre_shared_key(start_pluto, we_initiate):
    peer_id = f"@{NAME}" if we_initiate else OURS
    ours, pluto = start_pluto(
        psk_config(SUITE, **AGGRESSIVE), connection(aggressive=True, peer_id=peer_id)
    )
    with pluto, ours:
        bring_up(ours, pluto, we_initiate=we_initiate)
        check_same_keys(ours, pluto)
        assert names(ours)[0] == ("AM1" if we_initiate else "AM2")
        assert ours.of(Refused) == []


@ROLES
def test_aggressive_mode_with_rsa_signatures(start_pluto, pki, we_initiate):
    leaf, hub = pki.issue("spoke1"), pki.issue("hub")
    ours, pluto = start_pluto(
        rsa_config(SUITE, pki, leaf, **AGGRESSIVE),
        rsa_connection(pki, hub, aggressive=True, peer_id=f"@{NAME}"),
        keys=FileKeys(leaf.key),
        pki=pki,
    )
    with pluto, ours:
        bring_up(ours, pluto, we_initiate=we_initiate)
        check_same_keys(ours, pluto)
        assert names(ours)[0] == ("AM1" if we_initiate else "AM2")
        assert ours.of(Refused) == []


@ROLES
def test_perfect_forward_secrecy(start_pluto, we_initiate):
    ours, pluto = start_pluto(
        psk_config(SUITE, pfs=Group.MODP_1536), connection(esp="aes256-sha2_256;dh5", pfs=True)
    )
    with pluto, ours:
        bring_up(ours, pluto, we_initiate=we_initiate)
        check_same_keys(ours, pluto)


def test_pluto_takes_our_deletes(start_pluto):
    ours, pluto = start_pluto(psk_config(SUITE), connection())
    with pluto, ours:
        bring_up(ours, pluto, we_initiate=True)
        ours.tell(Clear())
        ours.run_until(lambda: not pluto.is_up(), "delete on pluto's side")
        assert ours.states == []


def test_we_take_plutos_deletes(start_pluto):
    ours, pluto = start_pluto(psk_config(SUITE), connection())
    with pluto, ours:
        bring_up(ours, pluto, we_initiate=True)
        pluto.terminate()
        ours.run_until(lambda: not ours.states, "delete on our side")
        (installed,), (deleted,) = ours.of(InstallIpsecSa), ours.of(DeleteIpsecSa)
        assert deleted.inbound_spi == installed.inbound.spi
        assert ours.of(Refused) == []


def test_we_answer_dead_peer_detection(start_pluto):
    more = ("dpddelay=1", "dpdtimeout=4", "dpdaction=clear")
    ours, pluto = start_pluto(psk_config(SUITE), connection(more=more))
    with pluto, ours:
        bring_up(ours, pluto, we_initiate=True)
        ours.run_until(lambda: names(ours).count("INFO:") + _acks(ours) >= 2, "two answers")
        assert pluto.is_up()
        assert ours.of(Refused) == []


def _acks(ours):
    return sum(m.payloads == ("HASH", "N") for m in ours.of(PlainMessage) if m.sent)


def test_pluto_answers_our_dead_peer_detection(start_pluto):
    config = replace(psk_config(SUITE), keepalive=Keepalive(1, 2))
    more = ("dpddelay=30", "dpdtimeout=120", "dpdaction=clear")
    ours, pluto = start_pluto(config, connection(more=more))
    with pluto, ours:
        bring_up(ours, pluto, we_initiate=True)
        ours.run_until(lambda: _acks(ours) >= 2, "two probes of ours")
        (sa,) = ours.engine.table.sas.values()
        ours.run_until(lambda: sa.probes == 0 or _probes(ours) == 0, "an answer to the last")
        assert ours.of(Refused) == []


def _probes(ours):
    (sa,) = ours.engine.table.sas.values()
    return sa.probes


@pytest.mark.parametrize("phase", [1, 2])
def test_pluto_rekeys_before_the_end_of_a_lifetime(start_pluto, phase):
    """4.10 cannot be told to rekey IKEv1: it does so when its margin begins."""
    short, long = ("12s", "3600s")
    lives = (short, long) if phase == 1 else (long, short)
    more = (f"ikelifetime={lives[0]}", f"salifetime={lives[1]}", "rekeymargin=10s", "rekeyfuzz=0%")
    ours, pluto = start_pluto(psk_config(SUITE), connection(more=more))
    with pluto, ours:
        bring_up(ours, pluto, we_initiate=False)
        if phase == 1:
            ours.run_until(lambda: len(ours.of(KeyMaterial)) > 1, "second main mode")
        else:
            established = "IPsec SA established"
            ours.run_until(lambda: pluto.log.count(established) > 1, "second pair")
            check_kernel_keys(ours.of(InstallIpsecSa)[-1], pluto)
        assert ours.of(Refused) == []


@pytest.mark.parametrize("phase", [1, 2])
def test_we_rekey_before_the_end_of_a_lifetime(start_pluto, phase):
    config = psk_config(SUITE)
    if phase == 1:
        config = replace(config, policies=(replace(config.policies[0], lifetime=4),))
    else:
        config = replace(config, flows=(replace(config.flows[0], lifetime_seconds=4),))
    ours, pluto = start_pluto(config, connection())
    with pluto, ours:
        bring_up(ours, pluto, we_initiate=True)
        if phase == 1:
            ours.run_until(lambda: len(ours.of(KeyMaterial)) > 1, "second main mode")
        else:
            established = "IPsec SA established"
            ours.run_until(lambda: pluto.log.count(established) > 1, "second pair")
            check_kernel_keys(ours.of(InstallIpsecSa)[-1], pluto)
        assert ours.of(Refused) == []


def test_another_pre_shared_key_leads_nowhere(start_pluto):
    ours, pluto = start_pluto(psk_config(SUITE, key="another key"), connection())
    with pluto, ours:
        pluto.start_initiating()
        ours.run_until(lambda: bool(ours.of(Refused)), "refusal of message 5")
        assert ours.of(Refused)[0].reason == "undecryptable"
        assert ours.of(InstallIpsecSa) == []


def test_pluto_is_told_that_its_proposal_is_refused(start_pluto):
    ours, pluto = start_pluto(psk_config(SUITE), connection("aes128-sha1-modp1536"))
    with pluto, ours:
        pluto.start_initiating()
        ours.run_until(lambda: "NO_PROPOSAL_CHOSEN" in pluto.log, "notify on pluto's side")
        assert ours.of(Refused)[0].reason == "no-proposal-chosen"
        assert not pluto.is_up()
