"""Aggressive mode (RFC 2409 section 5.1): three messages, off unless configured."""

from dataclasses import replace

import pytest

from ikelab.crypto import oakley
from ikelab.isakmp.admission import AGGRESSIVE_ANSWERS_OF_ADDRESS
from ikelab.isakmp.events import (
    CheckPeerCert,
    InstallIpsecSa,
    PlainMessage,
    SendDatagram,
    Trace,
)
from ikelab.isakmp.policy import AggressivePeer, Keyring, PreSharedKey
from ikelab.script import AM1, AM2, AM3
from ikelab.wire.isakmp import build_message, parse_header
from ikelab.wire.numbers import Group, IdType, NotifyType
from tests.dialogue.playbook import (
    I_END,
    MODERN,
    PSK,
    R_END,
    RA_SUBCA,
    Pair,
    config,
    esp_keys,
    key_material,
)

TO_HUB = AggressivePeer(R_END.address, IdType.ID_FQDN, "spoke1.cisco.example")
KEY_OF_SPOKE1 = Keyring("default", (PreSharedKey("", "", "sesame", "spoke1.cisco.example"),))


def spoke(**changes):
    words = {"aggressive_mode": True, "aggressive_peers": (TO_HUB,), "policies": (PSK,)}
    return config("spoke1", I_END, R_END, **{**words, **changes})


def hub(**changes):
    words = {"aggressive_mode": True, "policies": (PSK,)}
    return config("hub", R_END, I_END, **{**words, **changes})


def pair_of(policy, *, of_spoke=None, of_hub=None):
    return Pair(
        spoke(policies=(policy,), **(of_spoke or {})), hub(policies=(policy,), **(of_hub or {}))
    )


def messages(side, name):
    return [m.payloads for m in side.of(PlainMessage) if m.sent and f"sends {name}" in m.comment]


def shown(side):
    return [sa.shown for sa in side.engine.table.sas.values()]


@pytest.mark.parametrize("policy", [PSK, MODERN], ids=["pre-share", "rsa-sig"])
def test_both_sides_have_the_same_keys_after_three_messages(policy):
    pair = pair_of(policy)
    pair.establish()
    assert pair.i.states == pair.r.states == ["IKE_P1_COMPLETE"]
    assert key_material(pair.i) == key_material(pair.r)
    assert esp_keys(pair.i) == esp_keys(pair.r) != []
    assert pair.i.refusals == pair.r.refusals == []


def test_the_three_messages_with_a_pre_shared_key():
    pair = pair_of(PSK)
    pair.establish()
    ids = ("VID",) * 5
    assert messages(pair.i, "AM1") == [("SA", "KE", "NONCE", "ID", *ids)]
    proof = ("SA", "KE", "NONCE", "ID", "HASH", "VID", "VID", "NAT-D", "NAT-D")
    assert messages(pair.r, "AM2") == [proof]
    assert messages(pair.i, "AM3") == [("HASH", "NAT-D", "NAT-D", "N")]
    assert messages(pair.i, "MM1") == []


def test_the_three_messages_with_signatures():
    pair = pair_of(MODERN)
    pair.establish()
    (first,), (second,), (third,) = (
        messages(pair.i, "AM1"),
        messages(pair.r, "AM2"),
        messages(pair.i, "AM3"),
    )
    assert first[:5] == ("SA", "KE", "NONCE", "ID", "CERT_REQ")
    assert second[:7] == ("SA", "KE", "NONCE", "ID", "CERT", "SIG", "CERT_REQ")
    assert third[:2] == ("CERT", "SIG")
    assert [check.certificates for check in pair.r.of(CheckPeerCert)] != []


def test_the_states_carry_the_names_of_ios():
    pair = pair_of(PSK)
    pair.request()
    assert shown(pair.i) == ["AG_INIT_EXCH"]
    pair.deliver(pair.i)
    assert (pair.r.states, shown(pair.r)) == (["IKE_R_AM2"], ["AG_INIT_EXCH"])
    pair.deliver(pair.r)
    assert shown(pair.i) == ["QM_IDLE"]
    pair.run()
    assert shown(pair.r) == ["QM_IDLE"]


def test_the_third_message_is_taken_in_clear_too():
    """RFC 2409 section 5 lets the initiator choose."""
    pair = pair_of(PSK)
    pair.request()
    pair.deliver(pair.i)
    pair.deliver(pair.r)
    (sent,) = [m for m in pair.i.of(PlainMessage) if m.sent and "sends AM3" in m.comment]
    header = parse_header(sent.plaintext)
    clear = build_message(replace(header, flags=0), sent.plaintext[28:])
    pair.i.outbox.pop(0)
    pair.hand_over(pair.i, clear)
    assert pair.r.states == ["IKE_P1_COMPLETE"]
    (sa,) = pair.r.engine.table.sas.values()
    assert not sa.peer_initial_contact, "HASH_I does not cover a notify in clear"
    assert sa.iv == oakley.first_iv(PSK.hash, sa.g_xi, sa.g_xr, 16)


def test_the_hub_finds_the_key_by_the_name_in_message_1():
    pair = pair_of(PSK, of_hub={"keyrings": (KEY_OF_SPOKE1,)})
    pair.establish()
    assert pair.r.states == ["IKE_P1_COMPLETE"]


def test_the_password_of_the_peer_comes_before_the_keyrings():
    peer = replace(TO_HUB, password="another key")
    pair = pair_of(PSK, of_spoke={"aggressive_peers": (peer,)})
    pair.establish()
    assert "bad-hash" in pair.i.refusals
    assert pair.r.states == ["IKE_R_AM2"]


def test_only_policies_of_one_group_are_offered():
    other = replace(MODERN, priority=30, group=Group.MODP_1536)
    pair = Pair(spoke(policies=(PSK, MODERN, other)), hub(policies=(other,)))
    pair.request()
    pair.deliver(pair.i)
    assert pair.r.refusals == ["no-proposal-chosen"]
    assert pair.r.states == []


def test_off_by_default_as_responder():
    pair = Pair(spoke(), hub(aggressive_mode=False))
    pair.request()
    pair.deliver(pair.i)
    assert pair.r.refusals == ["aggressive-mode-disabled"]
    assert pair.r.states == []
    assert pair.r.outbox == []


def test_off_by_default_as_initiator():
    pair = Pair(spoke(aggressive_mode=False), hub())
    pair.establish()
    assert [m for m in pair.i.moves if "AM1" in m] == []
    assert pair.r.states == ["IKE_P1_COMPLETE"]


def test_other_peers_get_main_mode():
    elsewhere = replace(TO_HUB, address="203.0.113.7")
    pair = Pair(spoke(aggressive_peers=(elsewhere,)), hub())
    pair.establish()
    assert messages(pair.i, "MM1") != []


def test_main_mode_still_meets_a_hub_that_allows_aggressive_mode():
    pair = Pair(config("spoke1", I_END, R_END), hub(policies=(MODERN, PSK)))
    pair.establish()
    assert "IKE_R_MM4" in " ".join(pair.r.moves)


@pytest.mark.parametrize(
    ("number", "reason"), [(1, "bad-key-exchange"), (2, "bad-key-exchange")], ids=["AM1", "AM2"]
)
def test_a_public_value_of_one_is_refused(number, reason):
    pair = pair_of(PSK)
    pair.request()
    if number == 2:
        pair.deliver(pair.i)
    sender = pair.i if number == 1 else pair.r
    octets = sender.outbox.pop(0).octets
    sa = 28 + int.from_bytes(octets[30:32], "big")
    forged = octets[: sa + 4] + bytes(255) + b"\1" + octets[sa + 260 :]
    pair.hand_over(sender, forged)
    target = pair.other(sender)
    assert target.refusals == [reason]
    assert target.states == ([] if number == 1 else ["IKE_I_AM1"])


def test_a_wrong_key_is_seen_by_the_initiator_who_sends_no_proof():
    pair = pair_of(
        PSK,
        of_hub={"keyrings": (Keyring("k", (PreSharedKey("0.0.0.0", "0.0.0.0", "another key"),)),)},
    )
    pair.establish()
    assert pair.i.refusals == ["bad-hash"]
    assert pair.i.states == ["IKE_I_AM1"]
    assert messages(pair.i, "AM3") == []
    assert pair.i.of(InstallIpsecSa) == []


def test_a_changed_third_message_spends_the_error_budget_and_no_more():
    pair = pair_of(PSK)
    pair.request()
    pair.deliver(pair.i)
    pair.deliver(pair.r)
    proof = pair.i.outbox.pop(0).octets
    pair.hand_over(pair.i, proof[:40] + bytes([proof[40] ^ 1]) + proof[41:])
    assert pair.r.states == ["IKE_R_AM2"]
    pair.hand_over(pair.i, proof)
    assert pair.r.states == ["IKE_P1_COMPLETE"]


@pytest.mark.parametrize("side", ["i", "r"])
def test_a_revoked_certificate_is_refused_by_either_side(side):
    pair = pair_of(MODERN)
    getattr(pair, side).refuse_cert = ("revoked", "serial 7")
    pair.establish()
    assert "revoked" in getattr(pair, side).refusals
    assert getattr(pair, side).of(InstallIpsecSa) == []


def test_the_peer_must_be_named_in_its_certificate():
    peer = replace(TO_HUB, id_value="somebody.else.example")
    pair = pair_of(MODERN, of_spoke={"aggressive_peers": (peer,)})
    pair.establish()
    assert "id-not-in-certificate" in pair.r.refusals


def test_a_certificate_that_vouches_for_nobody_asked_for_is_not_sent():
    pair = pair_of(MODERN, of_spoke={"trusted_authorities": (("other", b"\x30\x00"),)})
    pair.establish()
    assert pair.r.refusals == ["no-certificate-for-request"]
    assert RA_SUBCA != b"\x30\x00"


def test_message_1_is_sent_again_until_its_answer_comes():
    pair = pair_of(PSK)
    pair.request()
    first = pair.i.outbox.pop(0)
    pair.advance(10)
    again = pair.i.outbox.pop(0)
    assert again.octets == first.octets
    pair.hand_over(pair.i, again.octets)
    pair.run()
    assert pair.i.states == ["IKE_P1_COMPLETE"]


def test_message_2_is_never_sent_by_itself():
    """Whoever began may be a forged address (one request, one answer)."""
    pair = pair_of(PSK)
    pair.request()
    pair.deliver(pair.i)
    pair.r.outbox.clear()
    pair.advance(59)
    assert pair.r.outbox == []
    pair.advance(2)
    assert pair.r.states == []
    assert "half-open-timeout" in pair.r.refusals


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_repeated_message_gets_the_stored_answer(number):
    pair = pair_of(PSK)
    pair.request()
    for _ in range(number - 1):
        pair.deliver(pair.i if pair.i.outbox else pair.r)
    sender = pair.i if pair.i.outbox else pair.r
    octets = sender.outbox[0].octets
    pair.deliver(sender)
    target = pair.other(sender)
    answers = [a.octets for a in target.of(SendDatagram)]
    before = dict(key_material(target)[0][1])
    pair.hand_over(sender, octets)
    assert [t.name for t in target.of(Trace)][-1] == "repeat"
    again = [a.octets for a in target.of(SendDatagram)][len(answers) :]
    wanted = {1: 1, 2: 1, 3: 0}[number]
    assert len(again) == wanted
    assert all(octets in answers for octets in again)
    assert dict(key_material(target)[0][1]) == before


def test_a_second_different_message_1_is_refused():
    pair = pair_of(PSK)
    pair.request()
    octets = pair.i.outbox[0].octets
    pair.deliver(pair.i)
    pair.hand_over(pair.i, octets[:-1] + bytes([octets[-1] ^ 1]))
    assert pair.r.refusals == ["changed-repeat"]
    assert pair.r.states == ["IKE_R_AM2"]


def test_a_lost_third_message_is_fetched_when_quick_mode_comes():
    pair = pair_of(PSK)
    pair.request()
    pair.deliver(pair.i)
    pair.deliver(pair.r)
    pair.i.outbox.pop(0)
    pair.run()
    assert pair.r.states == ["IKE_P1_COMPLETE"]
    assert pair.r.refusals == ["phase1-incomplete"]
    pair.advance(1)  # sooner than elsewhere: quick mode may always overtake message 3
    pair.run()
    assert esp_keys(pair.i) == esp_keys(pair.r) != []


def test_main_mode_messages_have_no_row_in_an_aggressive_exchange():
    pair = pair_of(PSK)
    pair.request()
    pair.deliver(pair.i)
    pair.deliver(pair.r)
    octets = bytearray(pair.i.outbox.pop(0).octets)
    octets[18] = 2
    pair.hand_over(pair.i, bytes(octets))
    assert pair.r.refusals == ["unexpected-message"]
    assert pair.r.states == ["IKE_R_AM2"]


def test_rekeying_phase_1_is_aggressive_again():
    short = replace(PSK, lifetime=400)
    pair = pair_of(short)
    pair.establish()
    pair.live(390)
    assert len(messages(pair.i, "AM1")) == 2
    assert messages(pair.i, "MM1") == []


# --- by script ------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", [PSK, MODERN], ids=["pre-share", "rsa-sig"])
def test_a_script_changes_and_proves_each_message(policy):
    pair = pair_of(policy)
    pair.i.on(AM1).mutate(nonce=bytes(range(32))).adopt()
    pair.r.on(AM2).mutate(vid=b"a vendor nobody knows")
    pair.i.on(AM3).mutate(notify={"notify_type": NotifyType.RESPONDER_LIFETIME}).prove()
    pair.establish()
    assert pair.i.refusals == pair.r.refusals == []
    assert esp_keys(pair.i) == esp_keys(pair.r) != []


def test_a_scripted_proof_that_is_wrong_is_refused():
    pair = pair_of(PSK)
    pair.r.on(AM2).mutate(hash=bytes(32))
    pair.establish()
    assert pair.i.refusals[0] == "bad-hash"


def test_an_address_that_shows_no_cookie_gets_few_messages_2():
    """They may be larger than their questions; what a victim gets in all is bounded."""
    pair = pair_of(MODERN)
    pair.request()
    asked = pair.i.outbox.pop(0).octets
    for number in range(20):
        pair.hand_over(pair.i, bytes([number + 1]) * 8 + asked[8:])
    for _ in range(20):
        pair.hand_over(pair.i, bytes([1]) * 8 + asked[8:])
    answers = pair.r.of_message(AM2)
    assert len(answers) == AGGRESSIVE_ANSWERS_OF_ADDRESS == len(pair.r.outbox)
    assert pair.r.engine.drops == {"aggressive-answer-limit": 35}


def test_a_lost_message_2_is_sent_again_on_request_and_a_finished_peer_may_begin_anew():
    pair = pair_of(PSK)
    pair.request()
    asked = pair.i.outbox[0].octets
    pair.deliver(pair.i)
    lost = pair.r.outbox.pop(0).octets
    pair.hand_over(pair.i, asked)
    assert pair.r.outbox[0].octets == lost
    pair.run()
    for _ in range(10):
        pair.i.engine.table.sas.clear()
        pair.i.engine.table.nodes.clear()
        pair.request()
        pair.run()
    assert pair.r.refusals == []
