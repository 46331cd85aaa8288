"""What is refused, with which reason, and that no refused datagram moves a state."""

from dataclasses import replace

import pytest

from ikelab.isakmp.events import Refused, SendDatagram
from ikelab.isakmp.policy import Keyring, PreSharedKey
from ikelab.isakmp.tried import told_ike
from ikelab.wire.numbers import AuthMethod, EncryptionAlgorithm, Group, HashAlgorithm
from tests.dialogue.playbook import (
    AES_SHA256,
    I_END,
    MODERN,
    PSK,
    R_END,
    Pair,
    config,
    credential,
    esp_keys,
    gre_flow,
)


def at_message(number, **pairs):
    """A pair with message `number` waiting to be carried, and the side that sent it."""
    pair = Pair(**pairs)
    pair.request()
    for _ in range(number - 1):
        pair.deliver(pair.i if pair.i.outbox else pair.r)
    return pair, (pair.i if pair.i.outbox else pair.r)


def snapshot(side):
    return [
        (sa.state, sa.iv, sa.cky_r, sa.keys is None, sa.nonce_i, sa.nonce_r)
        for sa in side.engine.table.sas.values()
    ] + [(node.state, node.iv) for node in side.engine.table.nodes.values()]


@pytest.mark.parametrize("number", range(1, 10))
def test_a_message_cut_at_any_octet_moves_no_state(number):
    pair, sender = at_message(number)
    target, octets = pair.other(sender), sender.outbox[0].octets
    before = snapshot(target)
    for length in range(0, len(octets), 1 if len(octets) < 300 else 7):
        pair.hand_over(sender, octets[:length])
        assert snapshot(target) == before, length
    assert set(target.refusals) == {"malformed"}
    pair.run()
    assert esp_keys(pair.i) == esp_keys(pair.r) != []


@pytest.mark.parametrize("number", range(1, 10))
@pytest.mark.parametrize("extra", [b"\1", b"\0" * 16, b"x" * 40])
def test_a_message_with_trailing_octets_moves_no_state(number, extra):
    pair, sender = at_message(number)
    target = pair.other(sender)
    before = snapshot(target)
    pair.hand_over(sender, sender.outbox[0].octets + extra)
    assert snapshot(target) == before and target.refusals == ["malformed"]
    pair.run()
    assert esp_keys(pair.i) == esp_keys(pair.r) != []


@pytest.mark.parametrize("number", [1, 2, 3, 4])
@pytest.mark.parametrize("extra", range(1, 8))
def test_zeros_up_to_a_whole_word_are_taken_in_clear(number, extra):
    """libreswan fills its messages up to four octets."""
    pair, sender = at_message(number)
    target = pair.other(sender)
    octets = sender.outbox[0].octets
    length = (len(octets) + extra).to_bytes(4, "big")
    filled = octets[:24] + length + octets[28:] + bytes(extra)
    fits = extra < 4 and len(filled) % 4 == 0
    pair.hand_over(sender, filled)
    assert target.refusals == ([] if fits else ["malformed"])


@pytest.mark.parametrize("number", [5, 6, 7, 8, 9])
def test_a_flipped_cipher_bit_moves_no_state(number):
    pair, sender = at_message(number)
    target = pair.other(sender)
    before = snapshot(target)
    octets = sender.outbox[0].octets
    # HASH_I does not cover the notify and the padding at message 5's end (a weakness of main mode
    # itself), so its last octet would pass; all others are bound by SIG or HASH.
    last = 64 if number == 5 else len(octets) - 1
    for place in (28, len(octets) // 2, last):
        changed = octets[:place] + bytes([octets[place] ^ 1]) + octets[place + 1 :]
        pair.hand_over(sender, changed)
    assert snapshot(target) == before and len(target.refusals) == 3
    pair.run()
    assert esp_keys(pair.i) == esp_keys(pair.r) != []


def refused(side):
    return side.of(Refused)[-1]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"encryption": EncryptionAlgorithm.TRIPLE_DES_CBC, "key_length": None}, "Encryption"),
        ({"key_length": 128}, "key length"),
        ({"hash": HashAlgorithm.SHA2_512}, "Hash algorithm"),
        ({"authentication": AuthMethod.PRE_SHARED_KEY}, "Authentication method"),
        ({"group": Group.MODP_3072}, "Diffie-Hellman group"),
    ],
)
def test_no_proposal_chosen_says_which_attribute(change, words):
    pair, _ = at_message(
        1,
        initiator=config("spoke1", I_END, R_END, policies=(MODERN,)),
        responder=config("hub", R_END, I_END, policies=(replace(MODERN, **change),)),
    )
    pair.deliver(pair.i)
    assert refused(pair.r).reason == "no-proposal-chosen"
    assert words in refused(pair.r).detail and pair.r.states == []
    assert refused(pair.r).seen == (
        "encryption AES_CBC, hash SHA2_256, group 14, authentication RSA_SIG, life in SECONDS,"
        " life 86400, key length 256"
    )


def test_a_lifetime_of_nothing_is_refused_and_the_shorter_of_two_counts():
    pair, _ = at_message(1, initiator=config("spoke1", I_END, R_END, policies=(no_time(),)))
    pair.deliver(pair.i)
    assert "Lifetime offered is of no seconds" in refused(pair.r).detail
    hour = replace(MODERN, lifetime=3600)
    pair = Pair(config("spoke1", I_END, R_END), config("hub", R_END, I_END, policies=(hour,)))
    pair.establish()
    assert next(iter(pair.r.engine.table.sas.values())).lifetime == 3600


def no_time():
    return replace(MODERN, lifetime=0)


def test_impostor_with_a_key_but_another_name_is_refused_at_message_5():
    thief = credential("impostor")
    stolen = credential("spoke1")
    pair = Pair(
        config("spoke1", I_END, R_END, credentials=(replace(stolen, key_label=thief.key_label),))
    )
    pair.establish()
    assert pair.r.refusals[0] == "bad-signature" and "IKE_P1_COMPLETE" not in pair.r.states
    assert "IKE_R_MM5 -> IKE_R_MM4" in pair.r.moves


def test_identity_that_is_not_in_the_certificate_is_refused():
    liar = replace(credential("spoke1"), fqdns=("hub.cisco.example",))
    pair = Pair(config("spoke1", I_END, R_END, credentials=(liar,)))
    pair.establish()
    assert pair.r.refusals[0] == "id-not-in-certificate"
    assert "hub.cisco.example" in pair.r.of(Refused)[0].detail


def test_refused_certificate_is_answered_by_five_repetitions_then_the_sa_goes():
    pair = Pair()
    pair.r.refuse_cert = ("revoked", "serial 0x7 is on the CRL of cn=ra-subca")
    pair.request()
    pair.run()
    for _ in range(20):
        pair.advance(1.0)
        pair.run()
    first = pair.r.of(Refused)[0]
    assert first.detail == "serial 0x7 is on the CRL of cn=ra-subca"
    same_sa = [one for one in pair.r.of(Refused) if one.conn_id == first.conn_id]
    assert len(same_sa) == 6  # as in the guide: the first, and five rounds
    assert first.conn_id not in [sa.conn_id for sa in pair.r.engine.table.sas.values()]


def test_rounds_of_a_refused_certificate_take_a_second_and_a_half():
    """The responder asks again after one second, the initiator answers half a second later."""
    pair = Pair()
    pair.r.refuse_cert = ("revoked", "serial 0x7 is on the CRL of cn=ra-subca")
    pair.request()
    pair.run()
    moments: list[float] = []
    while pair.elapsed < 7.0:
        before = pair.r.refusals.count("revoked")
        pair.live(0.25)
        if pair.r.refusals.count("revoked") > before:
            moments.append(pair.elapsed)
    assert moments == [1.5, 3.0, 4.5, 6.0]


def test_initiator_refuses_a_responder_whose_certificate_is_bad():
    pair = Pair()
    pair.i.refuse_cert = ("expired", "ended yesterday")
    pair.request()
    pair.run()
    assert pair.i.refusals[0] == "expired"
    assert "IKE_I_MM6 -> IKE_I_MM5" in pair.i.moves and "IKE_P1_COMPLETE" not in pair.i.states


def test_wrong_pre_shared_key_does_not_authenticate():
    wrong = (Keyring("default", (PreSharedKey("192.0.2.2", "255.255.255.255", "other"),)),)
    pair = Pair(
        config("spoke1", I_END, R_END, policies=(PSK,), keyrings=wrong),
        config("hub", R_END, I_END, policies=(PSK,)),
    )
    pair.establish()
    assert set(pair.r.refusals) <= {"undecryptable", "bad-hash", "payload-missing"}
    assert pair.r.refusals and "IKE_P1_COMPLETE" not in pair.r.states


def test_public_value_of_one_is_refused_before_any_key_is_made():
    pair, _ = at_message(3)
    pair.deliver(pair.i, lambda octets: octets.replace(octets[32:288], bytes(255) + b"\1"))
    assert refused(pair.r).reason == "bad-key-exchange" and pair.r.states == ["IKE_R_MM2"]


def test_message_5_before_message_3_has_no_row():
    pair, _ = at_message(3)
    header_only = pair.i.outbox[0].octets
    forged = header_only[:19] + b"\1" + header_only[20:]
    pair.hand_over(pair.i, forged)
    assert refused(pair.r).reason == "encryption" and pair.r.states == ["IKE_R_MM2"]


def test_a_stranger_cannot_use_another_peers_cookies():
    from ikelab.isakmp.events import DatagramReceived
    from ikelab.types import Endpoint

    pair, _ = at_message(3)
    octets = pair.i.outbox[0].octets
    pair.give(pair.r, DatagramReceived(R_END, Endpoint("203.0.113.9", 500), octets))
    assert refused(pair.r).reason == "wrong-peer" and pair.r.states == ["IKE_R_MM2"]


@pytest.mark.parametrize(
    ("place", "octets", "reason"),
    [
        (0, bytes(8), "zero-initiator-cookie"),
        (17, b"\x20", "major-version"),
        (18, b"\x63", "exchange-type"),
        (19, b"\x80", "flags"),
        (20, b"\0\0\0\1", "message-id"),
    ],
)
def test_headers_are_refused_by_the_rule_they_break(place, octets, reason):
    pair, _ = at_message(1)
    pair.deliver(pair.i, lambda whole: whole[:place] + octets + whole[place + len(octets) :])
    assert refused(pair.r).reason == reason and pair.r.states == []


def test_proxies_of_another_tunnel_are_refused_under_the_keys():
    from ikelab.isakmp.policy import ProxyIdentity

    odd = gre_flow(I_END, R_END, remote_proxy=ProxyIdentity("198.51.100.7", protocol=47))
    pair = Pair(config("spoke1", I_END, R_END, flows=(odd,)))
    pair.establish()
    assert refused(pair.r).reason == "proxy-identity"
    assert "198.51.100.7" in refused(pair.r).detail
    assert pair.r.of(SendDatagram)[-1].comment.endswith("HASH N")
    assert not pair.r.engine.table.pairs and pair.r.states == ["IKE_P1_COMPLETE"]


def test_transform_set_mismatch_names_the_attribute():
    weaker = gre_flow(I_END, R_END, transform_sets=(replace(AES_SHA256, key_length=128),))
    pair = Pair(config("spoke1", I_END, R_END, flows=(weaker,)))
    pair.establish()
    assert refused(pair.r).reason == "no-proposal-chosen"
    assert "key length 128, wanted 256" in refused(pair.r).detail
    assert refused(pair.r).seen.startswith("ESP_AES, ")
    assert "authentication HMAC_SHA2_256" in refused(pair.r).seen
    assert "mode TRANSPORT" in refused(pair.r).seen and "key length 128" in refused(pair.r).seen


def test_what_was_offered_is_told_by_name_where_it_has_one():
    assert told_ike([(1, 7), (14, 256), (1, 99), (99, 1)]) == (
        "encryption AES_CBC, key length 256, encryption 99, attribute 99 1"
    )


def test_clear_informational_is_told_and_never_obeyed():
    from ikelab.isakmp import informational
    from ikelab.wire.isakmp import Header, build_message, build_payloads
    from ikelab.wire.numbers import ExchangeType

    pair = Pair()
    pair.establish()
    sa = next(iter(pair.r.engine.table.sas.values()))
    first, body = build_payloads([informational.delete_isakmp(sa)])
    forged = Header(sa.cky_i, sa.cky_r, first, ExchangeType.INFORMATIONAL, 0, 99)
    pair.hand_over(pair.i, build_message(forged, body))
    assert refused(pair.r).reason == "unauthenticated-informational"
    assert pair.r.states == ["IKE_P1_COMPLETE"] and len(pair.r.engine.table.pairs) == 1


def test_a_refusal_names_the_message_that_it_is_about():
    policies = (replace(MODERN, group=Group.MODP_3072),)
    pair = Pair(config("spoke1", I_END, R_END, policies=policies))
    pair.request()
    pair.deliver(pair.i)
    assert [one.message for one in pair.r.of(Refused)] == ["MM1"]
    keyless = Pair(config("spoke1", I_END, R_END, credentials=(), keyrings=()))
    keyless.request()
    assert [one.message for one in keyless.i.of(Refused)] == ["MM1"]
