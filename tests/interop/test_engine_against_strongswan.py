"""Our IKE engine and a stock charon: both ends derive the same keys, in either role."""

from __future__ import annotations

import pytest

from ikelab.isakmp.events import (
    Clear,
    DeleteIpsecSa,
    InstallIpsecSa,
    KeyMaterial,
    Refused,
    SaRequested,
)
from ikelab.isakmp.policy import (
    IpsecFlow,
    IsakmpConfig,
    IsakmpPolicy,
    Keyring,
    PreSharedKey,
    ProxyIdentity,
    TransformSet,
)
from ikelab.types import Endpoint
from ikelab.wire.numbers import (
    AuthAlgorithm,
    AuthMethod,
    EncapsulationMode,
    EncryptionAlgorithm,
    EspTransform,
    Group,
    HashAlgorithm,
)
from tests.interop.charon import Charon, Connection
from tests.interop.charon_log import parse_main_mode, read_kernel_sas
from tests.interop.engine_host import EngineHost, FileKeys, authorities, credential
from tests.interop.pki_files import PkiFiles

pytestmark = [pytest.mark.interop, pytest.mark.needs_root]

OURS, THEIRS = "192.0.2.11", "192.0.2.1"
SECRET = "a throw-away key"

# name, charon's proposals, our phase 1 and phase 2
SUITES = {
    "aes256-sha256-modp2048": (
        ("aes256-sha256-modp2048", "aes256-sha256"),
        (EncryptionAlgorithm.AES_CBC, 256, HashAlgorithm.SHA2_256, Group.MODP_2048),
        (EspTransform.ESP_AES, 256, AuthAlgorithm.HMAC_SHA2_256),
    ),
    "aes128-sha1-modp1536": (
        ("aes128-sha1-modp1536", "aes128-sha1"),
        (EncryptionAlgorithm.AES_CBC, 128, HashAlgorithm.SHA, Group.MODP_1536),
        (EspTransform.ESP_AES, 128, AuthAlgorithm.HMAC_SHA),
    ),
    "3des-md5-modp1024": (
        ("3des-md5-modp1024", "3des-md5"),
        (EncryptionAlgorithm.TRIPLE_DES_CBC, None, HashAlgorithm.MD5, Group.MODP_1024),
        (EspTransform.ESP_3DES, None, AuthAlgorithm.HMAC_MD5),
    ),
}


def our_config(suite, method, **changes):
    _, (encryption, bits, hash_algorithm, group), (esp, esp_bits, integrity) = SUITES[suite]
    transform_set = TransformSet("ts", esp, esp_bits, integrity, EncapsulationMode.TRANSPORT)
    flow = IpsecFlow(
        name="Tunnel1",
        local=Endpoint(OURS, 500),
        remote=Endpoint(THEIRS, 500),
        local_proxy=ProxyIdentity(OURS, protocol=47),
        remote_proxy=ProxyIdentity(THEIRS, protocol=47),
        transform_sets=(transform_set,),
        pfs=changes.pop("pfs", None),
    )
    words = {
        "hostname": "spoke1.example.net",
        "policies": (IsakmpPolicy(10, encryption, bits, hash_algorithm, method, group),),
        "flows": (flow,),
    }
    return IsakmpConfig(**(words | changes))


def psk_config(suite, key=SECRET, **changes):
    keyring = Keyring("default", (PreSharedKey(THEIRS, "255.255.255.255", key),))
    return our_config(suite, AuthMethod.PRE_SHARED_KEY, keyrings=(keyring,), **changes)


def psk_connection(suite, **changes):
    proposal, esp_proposal = SUITES[suite][0]
    words = {"proposal": proposal, "esp_proposal": esp_proposal, "pre_shared_key": SECRET}
    return Connection(local=THEIRS, remote=OURS, **(words | changes))


def rsa_config(suite, pki, leaf, **changes):
    words = {
        "credentials": (credential(pki, leaf),),
        "trusted_authorities": authorities(pki),
    }
    return our_config(suite, AuthMethod.RSA_SIG, **(words | changes))


def rsa_connection(suite, pki, leaf):
    proposal, esp_proposal = SUITES[suite][0]
    return Connection(
        local=THEIRS,
        remote=OURS,
        proposal=proposal,
        esp_proposal=esp_proposal,
        certificate=leaf.certificate,
        key=leaf.key,
        authorities=(pki.root, pki.sub_ca),
    )


@pytest.fixture
def start(segment, xfrm, short_directory):
    """Both ends in their namespaces: (our engine, charon), not started yet."""

    def make(config, connection, *, keys=None, pki=None):
        charon = Charon(
            segment.add_host("charon", THEIRS),
            short_directory / "charon",
            connection,
            xfrm_library=xfrm.library,
        )
        namespace = segment.add_host("engine", OURS)
        return EngineHost(namespace, OURS, config, keys=keys, pki=pki), charon

    return make


def bring_up(ours, charon, *, we_initiate):
    if we_initiate:
        ours.give(SaRequested(ours.engine.config.flows[0]))
    else:
        charon.start_initiating()
    ours.run_until(charon.is_up, "child on charon's side")
    ours.run_until(lambda: bool(ours.of(InstallIpsecSa)), "pair on our side")


def check_same_keys(ours, charon, xfrm):
    """Phase 1 against charon's log, KEYMAT of both directions against what its kernel got."""
    (material,) = ours.of(KeyMaterial)
    theirs = parse_main_mode(charon.log_file.read_text())
    others = dict(material.others)
    for name in ("g_xy", "skeyid", "skeyid_d", "skeyid_a", "skeyid_e", "iv"):
        assert others[name] == getattr(theirs, name), name
    assert material.encryption_key == theirs.encryption_key
    if xfrm.library is None:  # a real kernel keeps the keys to itself
        return
    (installed,) = ours.of(InstallIpsecSa)
    kernel = {
        sa.spi: (sa.mode, sa.destination, sa.encryption_key, sa.integrity_key)
        for sa in read_kernel_sas(charon.sa_file)
    }
    assert kernel == {
        keys.spi: ("transport", destination, keys.encryption_key, keys.authentication_key)
        for keys, destination in ((installed.inbound, OURS), (installed.outbound, THEIRS))
    }


@pytest.mark.parametrize("we_initiate", [True, False], ids=["initiator", "responder"])
@pytest.mark.parametrize("suite", SUITES)
def test_pre_shared_key(start, xfrm, suite, we_initiate):
    ours, charon = start(psk_config(suite), psk_connection(suite))
    with charon, ours:
        bring_up(ours, charon, we_initiate=we_initiate)
        check_same_keys(ours, charon, xfrm)
        assert ours.of(Refused) == []


@pytest.mark.parametrize("we_initiate", [True, False], ids=["initiator", "responder"])
@pytest.mark.parametrize("suite", ["aes256-sha256-modp2048", "3des-md5-modp1024"])
def test_rsa_signatures(start, segment, xfrm, pki, suite, we_initiate):
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
        check_same_keys(ours, charon, xfrm)
        assert ours.of(Refused) == []
        assert "remote 'spoke1.example.net'" in charon.list_sas()
    assert sorted(asked) == ["/ra-subca.crl", "/root-ca.crl"]


@pytest.mark.parametrize("we_initiate", [True, False], ids=["initiator", "responder"])
def test_perfect_forward_secrecy(start, xfrm, we_initiate):
    suite = "aes256-sha256-modp2048"
    ours, charon = start(
        psk_config(suite, pfs=Group.MODP_1536),
        psk_connection(suite, esp_proposal="aes256-sha256-modp1536"),
    )
    with charon, ours:
        bring_up(ours, charon, we_initiate=we_initiate)
        check_same_keys(ours, charon, xfrm)


def test_charon_takes_our_deletes(start):
    suite = "aes128-sha1-modp1536"
    ours, charon = start(psk_config(suite), psk_connection(suite))
    with charon, ours:
        bring_up(ours, charon, we_initiate=True)
        ours.give(Clear())
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
        ours.give(SaRequested(ours.engine.config.flows[0]))
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


def test_another_pre_shared_key_leads_nowhere(start):
    suite = "aes256-sha256-modp2048"
    ours, charon = start(psk_config(suite, key="another key"), psk_connection(suite))
    with charon, ours:
        ours.give(SaRequested(ours.engine.config.flows[0]))
        # charon cannot decrypt our message 5 and says so under its own keys.
        ours.run_until(lambda: bool(ours.of(Refused)), "answer to message 5")
        assert ours.of(Refused)[0].reason == "phase1-incomplete"
        assert ours.of(InstallIpsecSa) == []


def test_charons_refusal_of_our_proposal_is_told(start):
    ours, charon = start(
        psk_config("aes256-sha256-modp2048"), psk_connection("aes128-sha1-modp1536")
    )
    with charon, ours:
        ours.give(SaRequested(ours.engine.config.flows[0]))
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
