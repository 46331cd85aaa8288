"""ISAKMP profiles and keyrings: who a peer must be for a flow, and which key is tried with it."""

from __future__ import annotations

import pytest

from ikelab.isakmp.events import Refused, SaRequested, Trace
from ikelab.isakmp.policy import IdentityMatch, IsakmpProfile, Keyring, PreSharedKey
from ikelab.wire.numbers import IdType
from tests.dialogue.playbook import I_END, PSK, R_END, Pair, config, esp_keys, gre_flow

DOMAIN = IdentityMatch("domain", "cisco.example")
ELSEWHERE = IdentityMatch("domain", "example.com")
HOST = "255.255.255.255"


def ring(name, key, address="0.0.0.0", mask="0.0.0.0"):
    return Keyring(name, (PreSharedKey(address, mask, key),))


def hub(match=DOMAIN, *, keyring=None, flow_profile="spokes", **changes):
    profile = IsakmpProfile("spokes", (match,) if match else (), keyring)
    flow = gre_flow(R_END, I_END, isakmp_profile=flow_profile)
    return config("hub", R_END, I_END, **({"profiles": (profile,), "flows": (flow,)} | changes))


def spoke(match=DOMAIN, *, keyring=None, **changes):
    profile = IsakmpProfile("hubs", (match,) if match else (), keyring)
    flow = gre_flow(I_END, R_END, isakmp_profile="hubs")
    return config("spoke1", I_END, R_END, **({"profiles": (profile,), "flows": (flow,)} | changes))


def sa_of(side):
    return next(iter(side.engine.table.sas.values()))


def test_both_profiles_match_and_the_flow_comes_up():
    pair = Pair(spoke(), hub())
    pair.establish()
    assert (sa_of(pair.i).profile, sa_of(pair.r).profile) == ("hubs", "spokes")
    assert esp_keys(pair.i) == esp_keys(pair.r) != []
    assert ("profile", "hubs") in next(
        t.values for t in pair.i.of(Trace) if t.name == "sa-request-profile"
    )


def test_responder_gives_a_flow_only_to_peers_of_its_profile():
    pair = Pair(spoke(), hub(ELSEWHERE))
    pair.establish()
    [refused] = pair.r.of(Refused)
    assert (refused.message, refused.reason) == ("QM1", "profile-mismatch")
    assert "Tunnel1 is for peers of crypto isakmp profile spokes" in refused.detail
    assert pair.r.states == ["IKE_P1_COMPLETE"] and esp_keys(pair.r) == []


def test_a_flow_without_a_profile_is_for_any_peer():
    pair = Pair(spoke(), hub(ELSEWHERE, flow_profile=None))
    pair.establish()
    assert sa_of(pair.r).profile is None and esp_keys(pair.r) != []


@pytest.mark.parametrize("match", [ELSEWHERE, None])
def test_initiator_refuses_a_peer_that_its_profile_does_not_match(match):
    pair = Pair(spoke(match), hub())
    pair.establish()
    refused = pair.i.of(Refused)[0]
    assert (refused.message, refused.reason) == ("MM6", "profile-mismatch")
    assert "hub.cisco.example" in refused.detail and "profile hubs" in refused.detail
    assert "IKE_P1_COMPLETE" not in pair.i.states and esp_keys(pair.i) == []


def psk(side, match, keyring, *rings):
    make, other = (spoke, R_END) if side == "spoke" else (hub, I_END)
    found = IdentityMatch("address", other.address) if match is None else match
    return make(found, keyring=keyring, policies=(PSK,), keyrings=rings)


def test_initiator_takes_the_key_of_its_profiles_keyring():
    pair = Pair(
        psk(
            "spoke",
            None,
            "giraffe",
            ring("okapi", "wrong", R_END.address, HOST),
            ring("giraffe", "right"),
        ),
        psk("hub", None, None, ring("zebra", "right")),
    )
    pair.establish()
    assert sa_of(pair.i).keyring == "giraffe" and esp_keys(pair.i) == esp_keys(pair.r) != []


def test_without_a_key_in_the_profiles_keyring_nothing_is_sent():
    pair = Pair(
        psk("spoke", None, "giraffe", ring("okapi", "right"), Keyring("giraffe")),
        psk("hub", None, None, ring("zebra", "right")),
    )
    pair.establish()
    assert pair.i.refusals == ["no-usable-policy"] and pair.r.log == []


def test_responder_looks_in_all_keyrings_and_takes_the_most_exact_address():
    pair = Pair(
        psk("spoke", None, None, ring("giraffe", "right")),
        psk("hub", None, None, ring("zebra", "wrong"), ring("okapi", "right", I_END.address, HOST)),
    )
    pair.establish()
    assert sa_of(pair.r).keyring == "okapi" and sa_of(pair.r).profile == "spokes"


def test_a_key_from_another_keyring_than_the_matched_profiles_does_not_authenticate():
    """The responder had to choose a key before it knew who the peer is."""
    pair = Pair(
        psk("spoke", None, None, ring("giraffe", "right")),
        psk(
            "hub",
            None,
            "zebra",
            ring("zebra", "other"),
            ring("okapi", "right", I_END.address, HOST),
        ),
    )
    pair.establish()
    refused = pair.r.of(Refused)[0]
    assert (refused.message, refused.reason) == ("MM5", "keyring-mismatch")
    assert "okapi" in refused.detail and "zebra" in refused.detail
    assert "IKE_P1_COMPLETE" not in pair.r.states


def test_a_second_flow_to_the_same_peer_has_a_main_mode_of_its_own_profile():
    other = gre_flow(I_END, R_END, name="Tunnel2", isakmp_profile="others")
    profiles = (IsakmpProfile("hubs", (DOMAIN,)), IsakmpProfile("others", (DOMAIN,)))
    first = gre_flow(I_END, R_END, isakmp_profile="hubs")
    pair = Pair(
        config("spoke1", I_END, R_END, flows=(first, other), profiles=profiles),
        hub(flow_profile=None),
    )
    pair.establish()
    pair.give(pair.i, SaRequested(other))
    pair.run()
    assert [sa.profile for sa in pair.i.engine.table.sas.values()] == ["hubs", "others"]
    assert {p.flow.name for p in pair.i.engine.table.pairs.values()} == {"Tunnel1", "Tunnel2"}


def test_the_new_isakmp_sa_before_the_olds_end_is_of_the_same_profile():
    pair = Pair(spoke(), hub())
    pair.establish()
    pair.live(86400, until=lambda: len(pair.i.of(Trace)) and len(pair.i.states) == 2)
    pair.run()
    assert {sa.profile for sa in pair.i.engine.table.sas.values()} == {"hubs"}


def test_pre_shared_keys_with_identity_hostname_match_by_name():
    ids = {"identity": IdType.ID_FQDN, "hostname": "spoke1.cisco.example"}
    rings = (ring("giraffe", "right"),)
    pair = Pair(
        config("spoke1", I_END, R_END, policies=(PSK,), keyrings=rings, **ids),
        hub(policies=(PSK,), keyrings=rings),
    )
    pair.establish()
    assert sa_of(pair.r).profile == "spokes" and esp_keys(pair.r) != []
