"""Quick mode between two engines: keys of both directions, PFS, several policies of lifetime."""

from dataclasses import replace

import pytest

from ikelab.isakmp.events import (
    AllocateSpi,
    InstallIpsecSa,
    IpsecInstallFailed,
    PlainMessage,
    Refused,
    SaRequested,
    SpiAllocated,
)
from ikelab.isakmp.policy import TransformSet
from ikelab.wire.isakmp import parse_payloads
from ikelab.wire.numbers import (
    AuthAlgorithm,
    EncapsulationMode,
    EspTransform,
    Group,
    IpsecAttribute,
    PayloadType,
)
from tests.dialogue.playbook import (
    AES_SHA256,
    I_END,
    MODERN,
    R_END,
    Pair,
    config,
    esp_keys,
    gre_flow,
)

TRIPLE_DES = TransformSet(
    "3DES_MD5", EspTransform.ESP_3DES, None, AuthAlgorithm.HMAC_MD5, EncapsulationMode.TRANSPORT
)


def with_flows(**changes):
    return Pair(
        config("spoke1", I_END, R_END, flows=(gre_flow(I_END, R_END, **changes),)),
        config("hub", R_END, I_END, flows=(gre_flow(R_END, I_END, **changes),)),
    )


def test_each_side_sends_with_the_keys_the_other_receives_with():
    pair = Pair()
    pair.establish()
    ours, theirs = pair.i.of(InstallIpsecSa)[0], pair.r.of(InstallIpsecSa)[0]
    assert ours.inbound == theirs.outbound and ours.outbound == theirs.inbound
    assert ours.inbound != ours.outbound
    assert len(ours.inbound.encryption_key) == len(ours.inbound.authentication_key) == 32


@pytest.mark.parametrize(
    ("transform_set", "lengths"),
    [
        (AES_SHA256, (32, 32)),
        (TRIPLE_DES, (24, 16)),
        (
            TransformSet(
                "a",
                EspTransform.ESP_AES,
                128,
                AuthAlgorithm.HMAC_SHA,
                EncapsulationMode.TRANSPORT,
            ),
            (16, 20),
        ),
    ],
)
def test_keymat_is_cut_to_the_suite(transform_set, lengths):
    pair = with_flows(transform_sets=(transform_set,))
    pair.establish()
    keys = pair.i.of(InstallIpsecSa)[0].inbound
    assert (len(keys.encryption_key), len(keys.authentication_key)) == lengths
    assert esp_keys(pair.i) == esp_keys(pair.r)


def test_second_transform_set_is_chosen_when_the_first_does_not_fit():
    pair = Pair(
        config(
            "spoke1",
            I_END,
            R_END,
            flows=(gre_flow(I_END, R_END, transform_sets=(TRIPLE_DES, AES_SHA256)),),
        )
    )
    pair.establish()
    assert pair.i.of(InstallIpsecSa)[0].transform.name == "AES256_SHA256"
    assert esp_keys(pair.i) == esp_keys(pair.r)


def test_pfs_runs_a_second_exchange_and_gives_other_keys():
    plain, perfect = Pair(), with_flows(pfs=Group.MODP_2048)
    plain.establish()
    perfect.establish()
    sent = [m.payloads for m in perfect.i.of(PlainMessage) if m.sent][3]
    assert sent == ("HASH", "SA", "NONCE", "KE", "ID", "ID")
    assert esp_keys(perfect.i) == esp_keys(perfect.r) != esp_keys(plain.i)


def pfs_pair(of_spoke, of_hub, **of_hub_too):
    return Pair(
        config("spoke1", I_END, R_END, flows=(gre_flow(I_END, R_END, pfs=of_spoke),)),
        config("hub", R_END, I_END, flows=(gre_flow(R_END, I_END, pfs=of_hub),), **of_hub_too),
    )


@pytest.mark.parametrize(
    ("of_spoke", "of_hub", "seen", "line"),
    [
        (None, Group.MODP_2048, "PFS group none", "set pfs group14"),
        (Group.MODP_3072, Group.MODP_2048, "PFS group 15", "set pfs group14"),
        (Group.MODP_1536, None, "PFS group 5", "no set pfs"),
    ],
)
def test_another_pfs_group_is_refused_under_its_own_name(of_spoke, of_hub, seen, line):
    pair = pfs_pair(of_spoke, of_hub)
    pair.establish()
    (refused,) = pair.r.of(Refused)
    assert (refused.reason, refused.seen, refused.config) == ("pfs-mismatch", seen, line)
    assert refused.wanted == f"PFS group {of_hub.value if of_hub else 'none'}"
    assert pair.i.refusals == ["refused-by-peer"] and not pair.i.of(InstallIpsecSa)


def test_without_set_pfs_the_peers_group_is_taken_as_on_ios():
    pair = pfs_pair(Group.ECP_256, None)
    pair.establish()
    assert esp_keys(pair.i) == esp_keys(pair.r) != []
    (installed,) = pair.r.engine.table.pairs.values()
    assert installed.flow.pfs is Group.ECP_256, "what `show crypto ipsec sa` says"


def test_without_set_pfs_a_weak_group_is_taken_where_a_policy_names_it():
    weak = replace(MODERN, priority=20, group=Group.MODP_1024)
    pair = pfs_pair(Group.MODP_1024, None, policies=(MODERN, weak))
    pair.establish()
    assert esp_keys(pair.i) == esp_keys(pair.r) != []


def test_offer_holds_the_lifetimes_of_the_guide():
    pair = Pair()
    pair.establish()
    plain = [m.plaintext for m in pair.i.of(PlainMessage) if m.sent][3]
    payloads = parse_payloads(plain[16], plain[28:])
    offer = [p for p in payloads if p.type == PayloadType.SA][0].packet
    attributes = offer.proposals[0].transforms[0].attributes
    # "SA life duration (basic) of 3600", "(VPI) of 0x0 0x46 0x50 0x0" (guide, D1)
    assert attributes[2] == (IpsecAttribute.SA_LIFE_DURATION, 3600)
    assert attributes[4] == (IpsecAttribute.SA_LIFE_DURATION, bytes((0, 0x46, 0x50, 0)))


def test_the_shorter_lifetime_counts():
    pair = Pair(
        config("spoke1", I_END, R_END, flows=(gre_flow(I_END, R_END, lifetime_seconds=600),))
    )
    pair.establish()
    assert pair.r.of(InstallIpsecSa)[0].lifetime_seconds == 600


def test_a_second_request_while_one_runs_starts_nothing():
    pair = Pair()
    pair.request()
    assert pair.request() == []
    pair.run()
    assert len(pair.i.of(InstallIpsecSa)) == 1


def test_an_established_sa_carries_a_second_quick_mode():
    pair = Pair()
    pair.establish()
    pair.establish()
    assert len(pair.i.states) == 1 and len(pair.i.of(InstallIpsecSa)) == 2
    assert esp_keys(pair.i) == esp_keys(pair.r)


def test_the_responder_waits_for_spi_and_install():
    pair = Pair()
    pair.r.hold = {AllocateSpi, InstallIpsecSa}
    pair.establish()
    node = next(iter(pair.r.engine.table.nodes.values()))
    assert node.state.value == "IKE_QM_SPI_STARVE"
    pair.give(pair.r, SpiAllocated(node.handle, b"\0\0\1\1"))
    node = next(iter(pair.r.engine.table.nodes.values()))
    assert node.state.value == "IKE_QM_IPSEC_INSTALL_AWAIT" and not pair.r.outbox
    pair.give(pair.r, IpsecInstallFailed(node.handle, "no such device"))
    assert pair.r.refusals == ["install-failed"] and not pair.r.engine.table.nodes


def test_both_may_initiate_at_once():
    pair = Pair()
    pair.give(pair.i, SaRequested(pair.i.engine.config.flows[0]))
    pair.give(pair.r, SaRequested(pair.r.engine.config.flows[0]))
    pair.run()
    assert set(pair.i.states) == set(pair.r.states) == {"IKE_P1_COMPLETE"}
    assert esp_keys(pair.i) == esp_keys(pair.r) != []
