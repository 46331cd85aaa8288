"""Ladders: who sent what to whom, what was lost, what was refused; nothing of a peer is markup."""

import hashlib
from xml.etree import ElementTree

from ikelab.capture.annotate import Direction, TraceRecord
from ikelab.capture.ladder import draw, read_rungs


def sent(node, octets, comment, at):
    digest = hashlib.sha256(octets).digest()
    return TraceRecord(node, Direction.SENT, digest, comment, at * 1_000_000)


def took(node, octets, comment, at=0):
    digest = hashlib.sha256(octets).digest()
    return TraceRecord(node, Direction.RECEIVED, digest, comment, at * 1_000_000)


RECORDS = [
    sent("spoke1", b"1", "spoke1 (I) sends MM1 -> IKE_I_MM1: SA VID", 5),
    took("hub", b"1", "hub (R) in IKE_READY takes MM1: SA VID"),
    sent("hub", b"2", "hub (R) sends MM2 -> IKE_R_MM2: SA", 7),
    sent("hub", b"2", "hub (R) sends MM2 -> IKE_R_MM2: SA (repeated on request)", 17),
    took("spoke1", b"2", "spoke1 (I) in IKE_I_MM1 takes MM2: SA"),
    sent("spoke1", b"5", "spoke1 (I) sends MM5 -> IKE_I_MM5: ID CERT SIG", 20),
    took("hub", b"5", "hub (R) in IKE_R_MM4 takes MM5: ID\nhub: MM5 refused: revoked (<b>4</b>)"),
]


def test_rungs_pair_what_was_sent_with_what_was_taken():
    rungs = read_rungs(RECORDS)
    assert [(rung.message, rung.sender, rung.receiver) for rung in rungs] == [
        ("MM1", "spoke1", "hub"),
        ("MM2", "hub", "spoke1"),
        ("MM2", "hub", ""),
        ("MM5", "spoke1", "hub"),
    ]
    assert rungs[0].sender_state == "IKE_I_MM1" and rungs[0].receiver_state == "IKE_READY"
    assert [rung.milliseconds for rung in rungs] == [0.0, 2.0, 12.0, 15.0]
    assert rungs[2].note == "(repeated on request)" and rungs[2].payloads == "SA"


def test_a_message_in_fragments_is_one_rung_with_the_state_that_took_it():
    [rung] = read_rungs(
        [
            sent("spoke1", b"1", "Fragment 1 of 2: spoke1 (I) sends MM5 -> IKE_I_MM5: ID SIG", 5),
            sent("spoke1", b"2", "Fragment 2 of 2: spoke1 (I) sends MM5 -> IKE_I_MM5: ID SIG", 6),
            took("hub", b"1", "hub (R) takes fragment 1"),
            took("hub", b"2", "hub (R) takes fragment 2\nhub (R) in IKE_R_MM4 takes MM5: ID SIG"),
        ]
    )
    assert (rung.message, rung.receiver, rung.receiver_state) == ("MM5", "hub", "IKE_R_MM4")
    assert rung.note == "(in 2 fragments)"


def test_what_the_hub_sends_to_another_spoke_is_left_out():
    others = [
        sent("hub", b"9", "hub (R) sends MM2 -> IKE_R_MM2: SA VID", 30),
        took("spoke2", b"9", "spoke2 (I) in IKE_I_MM1 takes MM2: SA VID"),
    ]
    pair = [record for record in RECORDS if "repeated" not in record.comment]
    alone, beside = (draw(read_rungs(records), title="t") for records in (pair, pair + others))
    assert alone == beside


def test_a_refusal_is_written_at_its_message():
    assert read_rungs(RECORDS)[3].note == "MM5 refused: revoked (<b>4</b>)"


def test_the_picture_is_well_formed_and_escapes_what_a_peer_says():
    picture = draw(read_rungs(RECORDS), title="a <lab> & its tunnel")
    root = ElementTree.fromstring(picture)
    text = "".join(root.itertext())
    assert "<b>4</b>" in text and "a <lab> & its tunnel" in text
    assert "<b>" not in picture
    assert picture.count("<polygon") == 3, "the lost message has a cross, no tip"


def test_an_empty_trace_draws_an_empty_picture():
    ElementTree.fromstring(draw([], title="nothing"))
