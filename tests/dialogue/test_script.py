"""A script's hands on a dialogue: any message changed, lost, repeated, kept back or forged."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from ikelab.errors import ConfigError
from ikelab.isakmp.events import InstallIpsecSa, PlainMessage
from ikelab.script import (
    AM1,
    AM3,
    INFO,
    MM1,
    MM2,
    MM3,
    MM4,
    MM5,
    MM6,
    QM1,
    QM2,
    QM3,
    Message,
    Peer,
    Seeded,
    settings,
)
from ikelab.types import Endpoint
from ikelab.wire.numbers import ExchangeType, IdType, NotifyType, ProtocolId
from ikelab.wire.payloads import DELETE, NOTIFY, VENDOR_ID
from tests.dialogue.playbook import I_END, PSK, R_END, Pair, config, esp_keys


def psk_pair() -> Pair:
    return Pair(
        config("spoke1", I_END, R_END, policies=(PSK,)),
        config("hub", R_END, I_END, policies=(PSK,)),
    )


def test_a_peer_without_hooks_behaves():
    pair = Pair()
    pair.establish()
    assert esp_keys(pair.i) == esp_keys(pair.r) != []
    assert [line.split()[3] for line in pair.i.story if "sends" in line] == [
        *("MM1", "MM3", "MM5", "QM1", "QM3")
    ]


# --- changes --------------------------------------------------------------------------------------


def test_a_changed_signature_is_refused_and_nothing_else_was_wrong():
    pair = Pair()
    pair.i.on(MM5).mutate(sig=bytes(256))
    pair.establish()
    assert pair.r.refusals[0] == "bad-signature"


def test_a_changed_hash_is_refused():
    pair = psk_pair()
    pair.i.on(MM5).mutate(hash=bytes(32))
    pair.establish()
    assert pair.r.refusals[0] == "bad-hash"


@pytest.mark.parametrize("message", [MM5, MM6, QM1, QM2, QM3], ids=lambda rule: rule.message)
def test_the_dialogue_goes_on_behind_a_change_that_means_nothing(message):
    """The chain of IVs follows the wire, in both directions."""
    pair = Pair()
    sender = pair.i if message in (MM5, QM1, QM3) else pair.r
    hook = sender.on(message)
    if message is QM3:
        hook.body(lambda octets: octets + bytes(32))
    elif message in (MM5, MM6):
        hook.mutate(vid=b"a vendor nobody knows")
    else:
        hook.mutate(notify={"notify_type": NotifyType.RESPONDER_LIFETIME}).prove()
    pair.establish()
    assert esp_keys(pair.i) == esp_keys(pair.r) != []
    assert pair.i.refusals == pair.r.refusals == []


def test_another_nonce_of_the_peers_own():
    pair = Pair()
    pair.i.on(MM3).mutate(nonce=b"of main mode").adopt()
    pair.i.on(QM1).mutate(nonce=b"of quick mode").prove().adopt()
    pair.establish()
    assert esp_keys(pair.i) == esp_keys(pair.r) != []


def test_a_lie_that_is_proved_again_is_this_peers_own():
    pair = psk_pair()
    pair.i.on(MM5).mutate(id={"data": b"\xc6\x33\x64\x07"}).prove()
    pair.establish()
    assert pair.r.refusals == [] and pair.r.engine.table.established_with(I_END) is not None
    assert pair.r.sa.peer_id == (1, b"\xc6\x33\x64\x07")


def lifetime(seconds):
    """A change of the SA payload: the first transform's life duration."""

    def change(sa):
        sa.proposals[0].transforms[0].attributes[-2] = (12, seconds.to_bytes(4, "big"))

    return change


def test_a_change_of_message_1_by_a_man_in_the_middle_ends_in_message_5():
    pair = psk_pair()
    pair.i.on(MM1).mutate(sa=lifetime(60))
    pair.i.on_receipt(MM2).mutate(sa=lifetime(86400))
    pair.establish()
    assert pair.i.refusals == [] and pair.r.refusals[0] == "bad-hash"


def test_the_same_change_meant_by_the_initiator_itself_is_an_offer():
    pair = psk_pair()
    pair.i.on(MM1).mutate(sa=lifetime(60)).adopt()
    pair.i.on_receipt(MM2).mutate(sa=lifetime(86400))
    pair.establish()
    assert pair.r.refusals == [] and pair.r.sa.lifetime == 60


def test_header_fields_octets_and_the_order_of_payloads():
    for hook, reason in (
        (lambda hook: hook.header(version=0x20), "major-version"),
        (lambda hook: hook.patch(19, b"\x80"), "flags"),
        (lambda hook: hook.edit(lambda message: message.payloads.reverse()), "payload-order"),
        (lambda hook: hook.mutate(sa=None), "payload-missing"),
        (lambda hook: hook.body(lambda octets: octets[:-1]), "malformed"),
    ):
        pair = Pair()
        hook(pair.i.on(MM1))
        pair.request()
        pair.deliver(pair.i)
        assert pair.r.refusals == [reason]


def test_a_message_that_comes_in_can_be_changed_before_the_engine_sees_it():
    pair = Pair()
    pair.i.on_receipt(MM4).mutate(ke=bytes(256))
    pair.establish()
    assert pair.i.refusals[0] == "bad-key-exchange" and pair.r.refusals == []


# --- when and how often ---------------------------------------------------------------------------


def test_a_lost_message_is_sent_again_as_it_was():
    pair = Pair()
    pair.i.on(MM3).mutate(nonce=b"mine all along").adopt().drop(2)
    pair.request()
    pair.run()
    assert pair.r.states == ["IKE_R_MM2"]
    pair.live(25)
    assert esp_keys(pair.i) == esp_keys(pair.r) != []


def test_a_duplicate_gets_the_stored_answer():
    pair = Pair()
    pair.i.on(MM3).duplicate()
    pair.establish()
    assert esp_keys(pair.i) == esp_keys(pair.r) != []
    assert [d.octets for d in pair.r.log if hasattr(d, "octets")][1] in pair.i.received


def test_a_script_takes_over_at_message_5():
    pair = psk_pair()
    pair.i.on(MM5).keep()
    pair.request()
    pair.run()
    [kept] = pair.i.kept
    assert kept.name == "MM5" and pair.r.states == ["IKE_R_MM4"]
    pair.i.send(kept.octets[:-16] + bytes(16))
    pair.run()
    pair.i.release(kept, pair.now)
    pair.run()
    assert pair.r.states == ["IKE_P1_COMPLETE"]


def test_messages_change_places():
    pair = Pair()
    pair.establish()
    first = pair.i.phase2([NOTIFY(notify_type=NotifyType.R_U_THERE, protocol_id=ProtocolId.ISAKMP)])
    pair.i.on(QM1).insert(before=first)
    pair.request()
    assert [datagram.octets[18] for datagram in pair.i.outbox] == [
        ExchangeType.INFORMATIONAL,
        ExchangeType.QUICK,
    ]


# --- with the keys --------------------------------------------------------------------------------


def test_a_forged_delete_under_the_keys_is_obeyed_and_one_without_hash_is_not():
    pair = Pair()
    pair.establish()
    sa = pair.i.sa
    gone = [DELETE(protocol_id=ProtocolId.ISAKMP, spi_size=16, spis=[sa.cky_i + sa.cky_r])]
    pair.i.send(pair.i.phase2(gone, hashed=False))
    pair.run()
    assert pair.r.refusals == ["payload-missing"] and pair.r.states
    pair.i.send(pair.i.phase2(gone))
    pair.run()
    assert pair.r.states == []


def test_a_delete_that_ends_the_sa_can_still_be_changed():
    from ikelab.isakmp.events import Clear

    pair = Pair()
    pair.establish()
    pair.i.on(INFO).mutate(hash=bytes(32))
    pair.give(pair.i, Clear())
    pair.run()
    assert pair.i.states == [] and pair.r.states and set(pair.r.refusals) == {"bad-hash"}


def test_messages_are_read_with_the_keys():
    pair = Pair()
    pair.establish()
    octets = pair.i.phase2([VENDOR_ID(data=b"hello")], message_id=7)
    message = pair.i.read(octets)
    assert message.one("vid").data == b"hello" and message.header.message_id == 7
    keys = pair.r.keys
    assert Message.read(octets, keys, keys.iv(7)).all("hash")
    with pytest.raises(ConfigError, match="encrypted"):
        Message.read(octets)


def test_mistakes_are_told():
    pair = Pair()
    with pytest.raises(ConfigError, match="no ISAKMP SA"):
        _ = pair.i.keys
    with pytest.raises(ConfigError, match="no payload is called 'signature'"):
        pair.i.on(MM1).mutate(signature=b"")
    with pytest.raises(ConfigError, match="sig cannot become 5"):
        pair.i.on(MM5).mutate(sig=5)  # type: ignore[arg-type]
    for hook in (pair.i.on, pair.i.on_receipt):
        with pytest.raises(ConfigError, match="no message is called 'MM9'"):
            hook("MM9")
    pair.i.on(MM1).prove()
    with pytest.raises(ConfigError, match="no keys yet"):
        pair.request()
    pair = Pair()
    pair.i.on_receipt(MM2).prove()
    with pytest.raises(ConfigError, match="only what this peer sends"):
        pair.establish()


def test_a_responder_is_scripted_as_well():
    pair = Pair()
    pair.r.on(MM6).mutate(cert=None)
    pair.establish()
    assert pair.i.refusals[0] == "no-certificate-from-peer"


@pytest.mark.parametrize(
    ("named", "shown"),
    [(IdType.ID_IPV4_ADDR, I_END.address), (IdType.ID_FQDN, "script.example")],
)
def test_aggressive_mode_is_one_word(named: IdType, shown: str):
    ends = {"pre_shared_key": "sesame", "aggressive": True, "identity_type": named}
    initiator = Peer(settings(I_END, R_END, **ends), Seeded("i"), Seeded("keys"))
    responder = Peer(settings(R_END, I_END, **ends), Seeded("r"), Seeded("more keys"))
    initiator.on(AM3).duplicate()
    pair = Pair()
    initiator.request(pair.now)
    while initiator.outbox or responder.outbox:
        for one, other in ((initiator, responder), (responder, initiator)):
            for sent in [one.outbox.pop(0) for _ in list(one.outbox)]:
                other.receive(sent.octets, pair.now)
    assert [plain.message for plain in initiator.of(PlainMessage)][:3] == ["AM1", "AM2", "AM3"]
    assert responder.sa.peer_id is not None and responder.sa.peer_id[0] == named
    assert initiator.of(InstallIpsecSa) and responder.of(InstallIpsecSa)
    name = initiator.read(initiator.of_message(AM1)[0].datagram).one("id").data
    assert name == (IPv4Address(shown).packed if named is IdType.ID_IPV4_ADDR else shown.encode())


def test_a_seed_makes_the_same_dialogue_twice():
    one, other = Pair(seed="a"), Pair(seed="a")
    for pair in (one, other):
        pair.establish()
    assert [a.inbound for a in one.i.of(InstallIpsecSa)] == [
        a.inbound for a in other.i.of(InstallIpsecSa)
    ]
    assert Seeded("a", {"nonce": b"pinned"}).draw("nonce", 4) == b"pinn"
    assert Seeded("a").draw("x", 8) != Seeded("b").draw("x", 8)
    assert one.i.end == Endpoint("192.0.2.1", 500)


def test_a_hook_on_a_message_that_leaves_in_fragments_says_that_it_can_do_nothing():
    pair = Pair(
        config("spoke1", I_END, R_END, fragmentation=True),
        config("hub", R_END, I_END, fragmentation=True),
    )
    pair.i.on(MM5).mutate(sig=bytes(256))
    with pytest.raises(ConfigError, match="MM5 left in fragments"):
        pair.establish()
