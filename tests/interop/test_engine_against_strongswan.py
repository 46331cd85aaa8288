"""Our IKE engine and a stock charon: both ends derive the same keys, in either role."""

from __future__ import annotations

import pytest

from ikelab.isakmp.events import Clear, DeleteIpsecSa, InstallIpsecSa, Refused, SaRequested
from ikelab.wire.numbers import Group
from tests.interop.engine_host import FileKeys
from tests.interop.pki_files import PkiFiles
from tests.interop.suites import (
    MORE_SUITES,
    SUITES,
    SUITES_OF_ALL,
    bring_up,
    check_same_keys,
    psk_config,
    psk_connection,
    rsa_config,
    rsa_connection,
)

pytestmark = [pytest.mark.interop, pytest.mark.needs_root]


@pytest.mark.parametrize("we_initiate", [True, False], ids=["initiator", "responder"])
@pytest.mark.parametrize("suite", SUITES)
def test_pre_shared_key(start, suite, we_initiate):
    ours, charon = start(psk_config(suite), psk_connection(suite))
    with charon, ours:
        bring_up(ours, charon, we_initiate=we_initiate)
        check_same_keys(ours, charon)
        assert ours.of(Refused) == []


@pytest.mark.parametrize(
    ("suite", "we_initiate"),
    [(suite, turn % 2 == 0) for turn, suite in enumerate(MORE_SUITES)],
)
def test_every_group_cipher_and_hash(start, suite, we_initiate):
    """With PFS where charon's proposal has it: the curves in both phases."""
    group = SUITES_OF_ALL[suite][1][3]
    pfs = group if "ecp" in suite else None
    ours, charon = start(psk_config(suite, pfs=pfs), psk_connection(suite))
    with charon, ours:
        bring_up(ours, charon, we_initiate=we_initiate)
        check_same_keys(ours, charon)
        assert ours.of(Refused) == []


@pytest.mark.parametrize("we_initiate", [True, False], ids=["initiator", "responder"])
@pytest.mark.parametrize("suite", ["aes256-sha256-modp2048", "3des-md5-modp1024"])
def test_rsa_signatures(start, segment, pki, suite, we_initiate):
    asked = segment.serve(pki.web)
    leaf, hub = pki.issue("spoke1"), pki.issue("hub")
    ours, charon = start(
        rsa_config(suite, pki, leaf),
        rsa_connection(suite, pki, hub),
        keys=FileKeys(leaf.key),
        pki=pki,
    )
    with charon, ours:
        bring_up(ours, charon, we_initiate=we_initiate)
        check_same_keys(ours, charon)
        assert ours.of(Refused) == []
        assert "remote 'spoke1.example.net'" in charon.list_sas()
    assert sorted(asked) == ["/ra-subca.crl", "/root-ca.crl"]


@pytest.mark.parametrize("we_initiate", [True, False], ids=["initiator", "responder"])
def test_perfect_forward_secrecy(start, we_initiate):
    suite = "aes256-sha256-modp2048"
    ours, charon = start(
        psk_config(suite, pfs=Group.MODP_1536),
        psk_connection(suite, esp_proposal="aes256-sha256-modp1536"),
    )
    with charon, ours:
        bring_up(ours, charon, we_initiate=we_initiate)
        check_same_keys(ours, charon)


def test_charon_takes_our_deletes(start):
    suite = "aes128-sha1-modp1536"
    ours, charon = start(psk_config(suite), psk_connection(suite))
    with charon, ours:
        bring_up(ours, charon, we_initiate=True)
        ours.tell(Clear())
        ours.run_until(lambda: not charon.list_sas(), "delete on charon's side")
        assert ours.states == []
    log = charon.log_file.read_text()
    assert "received DELETE for ESP CHILD_SA" in log
    assert "received DELETE for IKE_SA" in log


def test_we_take_charons_deletes(start):
    suite = "aes128-sha1-modp1536"
    ours, charon = start(psk_config(suite), psk_connection(suite))
    with charon, ours:
        bring_up(ours, charon, we_initiate=True)
        charon.terminate()
        ours.run_until(lambda: not ours.states, "delete on our side")
        (installed,), (deleted,) = ours.of(InstallIpsecSa), ours.of(DeleteIpsecSa)
        assert deleted.inbound_spi == installed.inbound.spi
        assert ours.of(Refused) == []


def test_charon_refuses_our_revoked_certificate(start, segment, tmp_path):
    suite = "aes256-sha256-modp2048"
    pki = PkiFiles(tmp_path / "pki")
    leaf, hub = pki.issue("spoke1"), pki.issue("hub")
    pki.revoke(leaf)
    segment.serve(pki.web)
    ours, charon = start(
        rsa_config(suite, pki, leaf),
        rsa_connection(suite, pki, hub),
        keys=FileKeys(leaf.key),
        pki=pki,
    )
    with charon, ours:
        ours.tell(SaRequested(ours.engine.config.flows[0]))
        ours.run_until(
            lambda: "certificate was revoked" in charon.log_file.read_text(), "refusal by charon"
        )
        assert not charon.is_up()
        assert ours.of(InstallIpsecSa) == []


def test_we_refuse_charons_revoked_certificate(start, segment, tmp_path):
    suite = "aes256-sha256-modp2048"
    pki = PkiFiles(tmp_path / "pki")
    leaf, hub = pki.issue("spoke1"), pki.issue("hub")
    pki.revoke(hub)
    segment.serve(pki.web)
    ours, charon = start(
        rsa_config(suite, pki, leaf),
        rsa_connection(suite, pki, hub),
        keys=FileKeys(leaf.key),
        pki=pki,
    )
    with charon, ours:
        charon.start_initiating()
        ours.run_until(lambda: bool(ours.of(Refused)), "refusal by us")
        assert "certificate revoked" in ours.of(Refused)[0].detail
        assert "IKE_P1_COMPLETE" not in ours.states
        assert "ESTABLISHED" not in charon.list_sas()


@pytest.mark.parametrize("revocation", ["strict", "ifuri", "relaxed"])
def test_charon_cannot_fetch_the_crl(start, segment, pki, revocation):
    """Nothing listens where the CRLs should be: only `relaxed` lets us in."""
    leaf, hub = pki.issue("spoke1"), pki.issue("hub")
    ours, charon = start(
        rsa_config("aes256-sha256-modp2048", pki, leaf),
        rsa_connection("aes256-sha256-modp2048", pki, hub, revocation=revocation),
        keys=FileKeys(leaf.key),
        pki=pki,
    )
    with charon, ours:
        ours.tell(SaRequested(ours.engine.config.flows[0]))
        if revocation == "relaxed":
            ours.run_until(charon.is_up, "child on charon's side")
            return
        ours.run_until(
            lambda: (
                "certificate status is not available" in charon.log_file.read_text()
                and "N(AUTH_FAILED)" in charon.log_file.read_text()
            ),
            "refusal by charon",
        )
        assert not charon.is_up()
        assert ours.of(InstallIpsecSa) == []


def test_another_pre_shared_key_leads_nowhere(start):
    suite = "aes256-sha256-modp2048"
    ours, charon = start(psk_config(suite, key="another key"), psk_connection(suite))
    with charon, ours:
        ours.tell(SaRequested(ours.engine.config.flows[0]))
        # charon cannot decrypt our message 5 and says so under its own keys.
        ours.run_until(lambda: bool(ours.of(Refused)), "answer to message 5")
        assert ours.of(Refused)[0].reason == "phase1-incomplete"
        assert ours.of(InstallIpsecSa) == []


def test_charons_refusal_of_our_proposal_is_told(start):
    ours, charon = start(
        psk_config("aes256-sha256-modp2048"), psk_connection("aes128-sha1-modp1536")
    )
    with charon, ours:
        ours.tell(SaRequested(ours.engine.config.flows[0]))
        ours.run_until(lambda: bool(ours.of(Refused)), "answer to message 1")
        assert "NO_PROPOSAL_CHOSEN" in ours.of(Refused)[0].detail


def test_charon_is_told_that_its_proposal_is_refused(start):
    ours, charon = start(
        psk_config("aes256-sha256-modp2048"), psk_connection("aes128-sha1-modp1536")
    )
    with charon, ours:
        charon.start_initiating()
        ours.run_until(
            lambda: "NO_PROPOSAL_CHOSEN error notify" in charon.log_file.read_text(),
            "refusal on charon's side",
        )
        (refused,) = ours.of(Refused)
        assert refused.reason == "no-proposal-chosen"
