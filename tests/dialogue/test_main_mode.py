"""Main mode between two engines: six messages, equal keys, and what each side then knows."""

from ikelab.isakmp.events import Clear, KeyMaterial, PlainMessage, SendDatagram, TimerFired
from ikelab.isakmp.policy import IdentityMatch, IsakmpProfile
from ikelab.isakmp.rows import STEPS
from ikelab.isakmp.state import (
    AGGRESSIVE_MODE,
    MAIN_MODE,
    QUICK_MODE_INITIATOR,
    QUICK_MODE_RESPONDER,
)
from ikelab.wire.isakmp import parse_header, parse_payloads
from ikelab.wire.numbers import AuthMethod, IdType, NotifyType, PayloadType
from tests.dialogue.playbook import (
    I_END,
    MODERN,
    PSK,
    R_END,
    RA_SUBCA,
    ROOT_CA,
    Pair,
    config,
    credential,
    deleted,
    esp_keys,
    key_material,
    public_key_info,
)


def names(side, sent=True):
    return [" ".join(m.payloads) for m in side.of(PlainMessage) if m.sent is sent]


def test_six_messages_carry_what_the_guide_names():
    pair = Pair()
    pair.establish()
    assert names(pair.i)[:3] == [
        "SA VID VID VID VID",
        "KE NONCE CERT_REQ VID VID VID NAT-D NAT-D",
        "ID CERT SIG N",
    ]
    assert names(pair.r)[:3] == [
        "SA VID",
        "KE NONCE CERT_REQ VID VID VID NAT-D NAT-D",
        "ID CERT SIG",
    ]


def test_initiator_walks_the_states_of_the_guides_debug():
    pair = Pair()
    pair.establish()
    assert pair.i.moves[:10] == [
        "IKE_READY -> IKE_I_MM1",
        "IKE_I_MM1 -> IKE_I_MM2",
        "IKE_I_MM2 -> IKE_I_MM2",
        "IKE_I_MM2 -> IKE_I_MM3",
        "IKE_I_MM3 -> IKE_I_MM4",
        "IKE_I_MM4 -> IKE_I_MM4",
        "IKE_I_MM4 -> IKE_I_MM5",
        "IKE_I_MM5 -> IKE_I_MM6",
        "IKE_I_MM6 -> IKE_I_MM6",
        "IKE_I_MM6 -> IKE_P1_COMPLETE",
    ]


def test_both_sides_hold_equal_secrets_after_message_4():
    pair = Pair()
    pair.request()
    for side in (pair.i, pair.r, pair.i, pair.r):
        pair.deliver(side)
    assert key_material(pair.i) == key_material(pair.r) != []
    assert pair.i.states == ["IKE_I_MM5"] and pair.r.states == ["IKE_R_MM4"]


def test_no_connection_id_before_keys_exist():
    pair = Pair()
    pair.request()
    pair.deliver(pair.i)
    assert next(iter(pair.r.engine.table.sas.values())).conn_id == 0
    pair.run()
    assert next(iter(pair.r.engine.table.sas.values())).conn_id > 1000


def test_messages_5_and_6_leave_encrypted():
    pair = Pair()
    pair.establish()
    for message in (pair.i.of(SendDatagram)[2], pair.r.of(SendDatagram)[2]):
        assert parse_header(message.octets).flags == 1
        assert public_key_info("spoke1") not in message.octets
        assert public_key_info("hub") not in message.octets


def test_cert_requests_name_one_authority_per_trustpoint_both_ways():
    both = (("ra", RA_SUBCA), ("du", b"\x30\x02du"))
    pair = Pair(responder=config("hub", R_END, I_END, trusted_authorities=both))
    pair.establish()
    message = pair.r.of(SendDatagram)[1].octets
    payloads = parse_payloads(parse_header(message).next_payload, message[28:])
    asked = [bytes(p.packet.authority) for p in payloads if p.type == PayloadType.CERT_REQ]
    assert asked == [RA_SUBCA, b"\x30\x02du"]


def certificates_sent(side):
    plain = [m for m in side.of(PlainMessage) if m.sent and "SIG" in m.payloads][0].plaintext
    payloads = parse_payloads(plain[16], plain[28:])
    return [bytes(p.packet.data) for p in payloads if p.type == PayloadType.CERT]


def test_request_for_the_issuer_gets_the_leaf_alone():
    pair = Pair()
    pair.establish()
    assert certificates_sent(pair.i) == [public_key_info("spoke1")]


def test_request_for_the_root_gets_the_sub_ca_certificate_along():
    asks_root = config("hub", R_END, I_END, trusted_authorities=(("root", ROOT_CA),))
    pair = Pair(responder=asks_root)
    pair.establish()
    assert certificates_sent(pair.i) == [public_key_info("spoke1"), b"sub-CA certificate"]
    assert pair.i.states == ["IKE_P1_COMPLETE"]


def test_request_for_a_foreign_ca_is_answered_by_no_certificate():
    foreign = config("hub", R_END, I_END, trusted_authorities=(("x", b"\x30\x01x"),))
    pair = Pair(responder=foreign)
    pair.establish()
    assert pair.i.refusals[0] == "no-certificate-for-request"
    assert "IKE_P1_COMPLETE" not in pair.r.states


def test_second_credential_is_chosen_by_the_request():
    other = credential("impostor", (b"\x30\x02du",))
    pair = Pair(config("spoke1", I_END, R_END, credentials=(other, credential("spoke1"))))
    pair.establish()
    assert certificates_sent(pair.i) == [public_key_info("spoke1")]


def test_pre_shared_keys_authenticate_with_a_hash():
    pair = Pair(
        config("spoke1", I_END, R_END, policies=(PSK,)),
        config("hub", R_END, I_END, policies=(MODERN, PSK)),
    )
    pair.establish()
    assert names(pair.i)[2] == "ID HASH N" and names(pair.r)[2] == "ID HASH"
    assert pair.r.states == ["IKE_P1_COMPLETE"] and esp_keys(pair.i) == esp_keys(pair.r)
    assert next(iter(pair.r.engine.table.sas.values())).policy.authentication is (
        AuthMethod.PRE_SHARED_KEY
    )


def test_identity_falls_back_to_the_fqdn_when_the_address_is_not_in_the_certificate():
    pair = Pair()
    pair.establish()
    sa = next(iter(pair.r.engine.table.sas.values()))
    assert sa.peer_id == (IdType.ID_FQDN, b"spoke1.cisco.example")


def test_profile_is_the_first_whose_identity_matches():
    profiles = (
        IsakmpProfile("other", (IdentityMatch("domain", "example.com"),)),
        IsakmpProfile("spokes", (IdentityMatch("domain", "cisco.example"),)),
    )
    pair = Pair(responder=config("hub", R_END, I_END, profiles=profiles))
    pair.establish()
    assert next(iter(pair.r.engine.table.sas.values())).profile == "spokes"


def test_initial_contact_drops_what_the_responder_still_held():
    pair = Pair()
    pair.establish()
    fresh = Pair(seed="restarted")
    pair.i = fresh.i  # the initiator lost its memory
    pair.i.spis = 0x5000
    pair.establish()
    assert pair.r.states == ["IKE_P1_COMPLETE"]
    assert deleted(pair.r) == ["initial contact"]
    assert len(pair.r.engine.table.pairs) == 1


def test_clear_tells_the_peer_and_both_forget():
    pair = Pair()
    pair.establish()
    pair.give(pair.i, Clear())
    assert names(pair.i)[-2:] == ["HASH D", "HASH D"]
    pair.run()
    assert pair.i.states == pair.r.states == []
    assert deleted(pair.i) == ["cleared by the user"] or deleted(pair.i) == ["deleted"]
    assert deleted(pair.r) == ["delete notify (in)"]


def test_secrets_are_in_key_material_only():
    pair = Pair()
    pair.establish()
    secret = pair.i.of(KeyMaterial)[0].encryption_key.hex()
    told = "".join(repr(action) for action in pair.i.log)
    assert secret not in told
    assert repr(pair.i.of(KeyMaterial)[0].encryption_key)[2:-1] not in told


def test_notify_no_proposal_chosen_is_sent_in_clear_and_shorter_than_the_offer():
    weak = config("hub", R_END, I_END, policies=(PSK,), keyrings=())
    pair = Pair(responder=weak)
    pair.request()
    offer = pair.i.outbox[0].octets
    pair.deliver(pair.i)
    answer = pair.r.of(SendDatagram)[0].octets
    payloads = parse_payloads(parse_header(answer).next_payload, answer[28:])
    assert payloads[0].packet.notify_type == NotifyType.NO_PROPOSAL_CHOSEN
    assert len(answer) < len(offer) and pair.r.states == []


def test_every_step_the_tables_name_is_bound():
    named = {
        row.step
        for table in (MAIN_MODE, AGGRESSIVE_MODE, QUICK_MODE_INITIATOR, QUICK_MODE_RESPONDER)
        for row in table.values()
        if row.step
    }
    assert named == set(STEPS)


def test_isakmp_sa_without_children_ends_with_its_lifetime_and_a_delete():
    pair = Pair()
    pair.establish()
    pair.give(pair.i, Clear(phase2_only=True))
    pair.run()
    pair.live(86400.0)
    assert pair.i.states == pair.r.states == []
    assert pair.give(pair.i, TimerFired()) == []
