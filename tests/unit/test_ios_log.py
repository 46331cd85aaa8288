"""The log of IKE: IOS's lines from real dialogues of two engines, and of single facts."""

from __future__ import annotations

import pytest

from ikelab.ios import debugging
from ikelab.ios.log import NodeLog
from ikelab.isakmp.events import (
    Clear,
    KeyMaterial,
    PlainMessage,
    Refused,
    SendDatagram,
    Trace,
    Transition,
)
from ikelab.pki.name import parse_dn
from ikelab.types import Endpoint
from tests.dialogue import test_aggressive_mode
from tests.dialogue.playbook import I_END, PSK, R_END, Pair, config

PEER = Endpoint("192.0.2.9", 500)
HOSTILE = "x\n%SYS-5-CONFIG_I: forged\r\x1b[31m\x07\u202e\u2028\x9b"


def texts(*actions: object, dialect: str = "12.4") -> list[str]:
    log = NodeLog("15" if dialect == "15" else "12.4")
    return [line.text for line in log.lines(actions, (debugging.ISAKMP,))]


def assert_in_order(found: list[str], wanted: list[str]) -> None:
    """Every wanted line is there, in this order, whatever stands between."""
    rest = iter(found)
    for text in wanted:
        assert text in rest, f"{text!r} does not come where it should in:\n" + "\n".join(found)


# --- a tunnel comes up ------------------------------------------------------------------------


def test_initiator_prints_the_guides_main_mode_in_its_order() -> None:
    pair = Pair()
    pair.establish()
    assert_in_order(
        texts(*pair.i.log),
        [
            "ISAKMP:(0):Can not start Aggressive mode, trying Main mode.",
            "ISAKMP:(0): beginning Main Mode exchange",
            "ISAKMP:(0): sending packet to 192.0.2.2 my_port 500 peer_port 500 (I) MM_NO_STATE",
            "ISAKMP:(0):Sending an IKE IPv4 Packet.",
            "ISAKMP (0:0): received packet from 192.0.2.2 dport 500 sport 500 Global (I)"
            " MM_NO_STATE",
            "ISAKMP:(0):Input = IKE_MESG_FROM_PEER, IKE_MM_EXCH",
            "ISAKMP:(0):Old State = IKE_I_MM1  New State = IKE_I_MM2",
            "ISAKMP:(0): processing SA payload. message ID = 0",
            "ISAKMP:(0): processing vendor id payload",
            "ISAKMP:(0): vendor ID seems Unity/DPD but major 69 mismatch",
            "ISAKMP (0:0): vendor ID is NAT-T RFC 3947",
            "ISAKMP:(0):atts are acceptable. Next payload is 0",
            "ISAKMP:(0):Returning Actual lifetime: 86400",
            "ISAKMP:(0)::Started lifetime timer: 86400.",
            "ISAKMP:(0): sending packet to 192.0.2.2 my_port 500 peer_port 500 (I) MM_SA_SETUP",
            "ISAKMP:(0):Old State = IKE_I_MM2  New State = IKE_I_MM3",
            "ISAKMP (0:0): received packet from 192.0.2.2 dport 500 sport 500 Global (I)"
            " MM_SA_SETUP",
            "ISAKMP:(0): processing KE payload. message ID = 0",
            "ISAKMP:(0): processing NONCE payload. message ID = 0",
            "ISAKMP:received payload type 20",
            "ISAKMP:received payload type 20",
            "ISAKMP:(1001):My ID configured as IPv4 Addr, but Addr not in Cert!",
            "ISAKMP:(1001):Using FQDN as My ID",
            "ISAKMP:(1001):SA is doing RSA signature authentication using id type ID_FQDN",
            "ISAKMP:(1001): using the ra trustpoint's keypair to sign",
            "ISAKMP:(1001): sending packet to 192.0.2.2 my_port 500 peer_port 500 (I) MM_KEY_EXCH",
            "ISAKMP:(1001):Old State = IKE_I_MM4  New State = IKE_I_MM5",
            "ISAKMP (0:1001): received packet from 192.0.2.2 dport 500 sport 500 Global (I)"
            " MM_KEY_EXCH",
            "ISAKMP:(1001): processing ID payload. message ID = 0",
            "ISAKMP (0:1001): ID payload\n\tnext-payload : 6\n\ttype         : 2\n"
            "\tFQDN name    : hub.cisco.example\n\tprotocol     : 17\n\tport         : 500\n"
            "\tlength       : 25",
            "ISAKMP:(1001): processing CERT payload. message ID = 0",
            "ISAKMP:(1001): processing a CT_X509_SIGNATURE cert",
            "ISAKMP:(1001): processing SIG payload. message ID = 0",
            "ISAKMP:(1001):SA authentication status:\n\tauthenticated",
            "ISAKMP:(1001):SA has been authenticated with 192.0.2.2",
            "ISAKMP:(1001):Old State = IKE_I_MM6  New State = IKE_P1_COMPLETE",
        ],
    )


def test_aggressive_mode_prints_the_states_that_ios_has() -> None:
    pair = test_aggressive_mode.pair_of(PSK)
    pair.establish()
    initiator = texts(*pair.i.log)
    assert_in_order(
        initiator,
        [
            "ISAKMP:(0): beginning Aggressive Mode exchange",
            "ISAKMP:(0): sending packet to 192.0.2.2 my_port 500 peer_port 500 (I) AG_INIT_EXCH",
            "ISAKMP:(0):Input = IKE_MESG_FROM_IPSEC, IKE_SA_REQ_AM",
            "ISAKMP:(0):Old State = IKE_READY  New State = IKE_I_AM1",
            "ISAKMP (0:0): received packet from 192.0.2.2 dport 500 sport 500 Global (I)"
            " AG_INIT_EXCH",
            "ISAKMP:(1001):Input = IKE_MESG_FROM_PEER, IKE_AM_EXCH",
            "ISAKMP:(1001):Old State = IKE_I_AM1  New State = IKE_P1_COMPLETE",
        ],
    )
    responder = texts(*pair.r.log)
    assert_in_order(
        responder,
        [
            "ISAKMP:(1001):Input = IKE_MESG_FROM_PEER, IKE_AM_EXCH",
            "ISAKMP:(1001):Old State = IKE_READY  New State = IKE_R_AM2",
            "ISAKMP:(1001):Input = IKE_MESG_FROM_PEER, IKE_AM_EXCH",
            "ISAKMP:(1001):Old State = IKE_R_AM2  New State = IKE_P1_COMPLETE",
        ],
    )
    assert not any("AGGRESSIVE_" in line for line in (*initiator, *responder))
    assert "trying Main mode" not in " ".join(initiator)


def test_quick_mode_prints_signed_message_ids_and_both_directions() -> None:
    pair = Pair()
    pair.establish()
    found = texts(*pair.i.log)
    message_id = next(t.message_id for t in pair.i.of(Transition) if t.message_id)
    signed = int.from_bytes(message_id.to_bytes(4, "big"), "big", signed=True)
    assert_in_order(
        found,
        [
            "ISAKMP:(1001): sending packet to 192.0.2.2 my_port 500 peer_port 500 (I) QM_IDLE",
            f"ISAKMP:(1001):Node {signed}, Input = IKE_MESG_INTERNAL, IKE_INIT_QM",
            "ISAKMP:(1001):Old State = IKE_QM_READY  New State = IKE_QM_I_QM1",
            f"ISAKMP:(1001): processing HASH payload. message ID = {signed}",
            f"ISAKMP:(1001): processing SA payload. message ID = {signed}",
            "ISAKMP:(1001): Creating IPSec SAs",
            "        inbound SA from 192.0.2.2 to 192.0.2.1 (f/i)  0/ 0\n"
            "        (proxy 192.0.2.2 to 192.0.2.1)",
            "        has spi 0x00001001 and conn_id 0",
            "        lifetime of 3600 seconds",
            "        lifetime of 4608000 kilobytes",
            "        outbound SA from 192.0.2.1 to 192.0.2.2 (f/i)  0/ 0\n"
            "        (proxy 192.0.2.1 to 192.0.2.2)",
            f"ISAKMP:(1001):Node {signed}, Input = IKE_MESG_FROM_PEER, IKE_QM_EXCH",
            "ISAKMP:(1001):Old State = IKE_QM_I_QM1  New State = IKE_QM_PHASE2_COMPLETE",
        ],
    )


def test_later_images_print_the_wait_for_the_data_plane_and_12_4_does_not() -> None:
    pair = Pair()
    pair.establish()
    awaiting = "ISAKMP:(1001):Old State = IKE_QM_I_QM1  New State = IKE_QM_IPSEC_INSTALL_AWAIT"
    assert awaiting in texts(*pair.i.log, dialect="15")
    assert not any("AWAIT" in text for text in texts(*pair.i.log))


def test_responder_sees_a_new_sa_and_the_four_nat_vendor_ids() -> None:
    pair = Pair()
    pair.establish()
    assert_in_order(
        texts(*pair.r.log),
        [
            "ISAKMP (0:0): received packet from 192.0.2.1 dport 500 sport 500 Global (N) NEW SA",
            "ISAKMP:(0):Old State = IKE_READY  New State = IKE_R_MM1",
            "ISAKMP:(0): vendor ID seems Unity/DPD but major 69 mismatch",
            "ISAKMP:(0): vendor ID seems Unity/DPD but major 245 mismatch",
            "ISAKMP (0:0): vendor ID is NAT-T v7",
            "ISAKMP:(0): vendor ID seems Unity/DPD but major 157 mismatch",
            "ISAKMP:(0): vendor ID seems Unity/DPD but major 123 mismatch",
            "ISAKMP:(0): sending packet to 192.0.2.1 my_port 500 peer_port 500 (R) MM_SA_SETUP",
            "ISAKMP (0:1001): received packet from 192.0.2.1 dport 500 sport 500 Global (R)"
            " MM_KEY_EXCH",
        ],
    )


def test_pre_shared_keys_are_named_as_such() -> None:
    pair = Pair(
        config("spoke1", I_END, R_END, policies=(PSK,)),
        config("hub", R_END, I_END, policies=(PSK,)),
    )
    pair.establish()
    found = "\n".join(texts(*pair.i.log))
    assert "SA is doing pre-shared key authentication using id type ID_IPV4_ADDR" in found
    assert "\taddress      : 192.0.2.1\n" in found
    assert "next-payload : 8\n" in found
    assert "length       : 12" in found


# --- refusals ---------------------------------------------------------------------------------


def test_revoked_certificate_prints_the_guides_message_and_why() -> None:
    pair = Pair()
    pair.r.refuse_cert = ("revoked", "serial 0x7 is on the CRL of cn=ra-subca")
    pair.request()
    pair.run()
    pair.advance(1.0)
    assert_in_order(
        texts(*pair.r.log),
        [
            "%CRYPTO-5-IKMP_INVAL_CERT: Certificate received from 192.0.2.1 is bad:"
            " CA request failed!",
            "IKELAB-REFUSED: MM5 from 192.0.2.1:500: revoked:"
            " serial 0x7 is on the CRL of cn=ra-subca",
            "ISAKMP:(1001):Input = IKE_MESG_INTERNAL, IKE_PROCESS_ERROR",
            "ISAKMP:(1001):Old State = IKE_R_MM5  New State = IKE_R_MM4",
            "ISAKMP:(1001): retransmitting phase 1 MM_KEY_EXCH...",
            "ISAKMP (0:1001): incrementing error counter on sa, attempt 2 of 5: retransmit phase 1",
            "ISAKMP:(1001): retransmitting phase 1 MM_KEY_EXCH",
            "ISAKMP:(1001): sending packet to 192.0.2.1 my_port 500 peer_port 500 (R) MM_KEY_EXCH",
        ],
    )


@pytest.mark.parametrize(
    ("reason", "message", "line"),
    [
        (
            "not-yet-valid",
            "MM5",
            "%PKI-3-CERTIFICATE_INVALID_NOT_YET_VALID: Certificate chain validation has failed.",
        ),
        (
            "expired",
            "MM5",
            "%PKI-3-CERTIFICATE_INVALID_EXPIRED: Certificate chain validation has failed.",
        ),
        (
            "crl-unavailable",
            "MM6",
            "%CRYPTO-5-IKMP_INVAL_CERT: Certificate received from 192.0.2.9 is bad:"
            " CA request failed!",
        ),
        (
            "malformed",
            "MM3",
            "%CRYPTO-4-IKMP_BAD_MESSAGE: IKE message from 192.0.2.9 failed its sanity check or is"
            " malformed",
        ),
        ("no-proposal-chosen", "MM1", "ISAKMP:(0):no offers accepted!"),
    ],
)
def test_refusals_that_ios_has_a_message_for_print_it_before_our_reason(
    reason: str, message: str, line: str
) -> None:
    found = texts(Refused(PEER, 0, message, reason, "because"))
    assert found[0] == line
    assert found[-1] == f"IKELAB-REFUSED: {message} from 192.0.2.9:500: {reason}: because"


def test_policy_walk_gives_the_reason_of_each_refusal() -> None:
    values = (
        ("transform", "1"),
        ("priority", "1"),
        ("attributes", "1=5 2=1 4=2 3=3 11=1 12=0x00015180 14=256"),
        ("next", "3"),
        ("text", "Authentication method offered does not match policy!"),
    )
    assert texts(Trace(PEER, 0, "transform-checked", values)) == [
        "ISAKMP:(0):Checking ISAKMP transform 1 against priority 1 policy",
        "ISAKMP:      encryption 3DES-CBC",
        "ISAKMP:      hash MD5",
        "ISAKMP:      default group 2",
        "ISAKMP:      auth RSA sig",
        "ISAKMP:      life type in seconds",
        "ISAKMP:      life duration (VPI) of  0x0 0x1 0x51 0x80",
        "ISAKMP:      keylength of 256",
        "ISAKMP:(0):Authentication method offered does not match policy!",
        "ISAKMP:(0):atts are not acceptable. Next payload is 3",
    ]


# --- single facts -----------------------------------------------------------------------------


def test_wanted_issuer_is_printed_as_a_name() -> None:
    authority = parse_dn("cn=du-subca").hex()
    wanted = [
        "ISAKMP:(4003): processing CERT_REQ payload. message ID = 0",
        "ISAKMP:(4003): peer wants a CT_X509_SIGNATURE cert",
        "ISAKMP:(4003): peer wants cert issued by cn=du-subca",
    ]
    assert texts(Trace(PEER, 4003, "peer-wants-cert", (("authority", authority),))) == [
        *wanted,
        "ISAKMP:(4003): issuer name is not a trusted root.",
    ]
    values = (("authority", authority), ("trustpoint", "du"))
    assert texts(Trace(PEER, 4003, "peer-wants-cert", values)) == [
        *wanted,
        "Choosing trustpoint du as issuer",
    ]
    assert texts(Trace(PEER, 0, "constructing-cert-req", (("authority", authority),))) == [
        "ISAKMP (0:0): constructing CERT_REQ for issuer cn=du-subca"
    ]


def test_wanted_issuer_that_is_no_name_is_printed_as_short_digits() -> None:
    for authority, printed in (("ff" * 900, "ff" * 32), ("", "any CA")):
        lines = texts(Trace(PEER, 0, "peer-wants-cert", (("authority", authority),)))
        assert lines[-2] == f"ISAKMP:(0): peer wants cert issued by {printed}"


def test_matched_profile_is_named() -> None:
    lines = texts(Trace(PEER, 1001, "peer-profile", (("profile", "spoke-profile"),)))
    assert lines[0] == "ISAKMP:(0):: peer matches spoke-profile profile"
    lines = texts(Trace(PEER, 1001, "peer-profile", (("profile", "*none*"),)))
    assert lines[0] == "ISAKMP:(0):: peer matches *none* of the profiles"


def test_deleted_sa_has_reason_role_and_state() -> None:
    values = (("reason", "P1 delete notify (in)"), ("state", "QM_IDLE"))
    taken = PlainMessage(False, I_END, PEER, bytes(28), b"", "hub (R) in X takes INFO: D", ())
    assert texts(taken, Trace(PEER, 13021, "deleting-sa", values))[-1] == (
        'ISAKMP:(13021):deleting SA reason "P1 delete notify (in)" state (R) QM_IDLE'
        " (peer 192.0.2.9)"
    )


def test_peer_of_a_deleted_sa_begins_anew() -> None:
    pair = Pair()
    pair.establish()
    gone = pair.give(pair.i, Clear())
    stray = SendDatagram(I_END, R_END, bytes(28), "no comment of the engine's form")
    lines = texts(*pair.i.log, *gone, stray)
    sent = "sending packet to 192.0.2.2 my_port 500 peer_port 500"
    assert lines[-2] == f"ISAKMP:(0): {sent}"


def test_notify_in_clear_belongs_to_an_sa_without_keys() -> None:
    comment = "hub (R) sends INFO: N NO-PROPOSAL-CHOSEN"
    assert texts(SendDatagram(I_END, PEER, bytes(28), comment))[0] == (
        "ISAKMP:(0): sending packet to 192.0.2.9 my_port 500 peer_port 500 (R) MM_NO_STATE"
    )


def test_repeats_are_told_apart_by_phase() -> None:
    for message_id, phase in (("0", 1), ("77", 2)):
        assert texts(Trace(PEER, 5, "repeat", (("message_id", message_id),))) == [
            f"ISAKMP:(5): phase {phase} packet is a duplicate of a previous packet."
        ]


def test_quick_mode_that_waits_for_an_answer_names_its_node() -> None:
    octets = bytes(20) + (0xFFFFFFFE).to_bytes(4, "big") + bytes(4)
    comment = "hub (I) sends QM1 -> X: HASH SA (attempt 3 of 5)"
    assert texts(SendDatagram(I_END, PEER, octets, comment))[:3] == [
        "ISAKMP:(0): retransmitting phase 2 QM_IDLE -2 ...",
        "ISAKMP (0:0): incrementing error counter on node, attempt 3 of 5: retransmit phase 2",
        "ISAKMP:(0): retransmitting phase 2 QM_IDLE -2",
    ]


def test_fact_without_a_line_of_ios_is_printed_as_our_own() -> None:
    assert texts(Trace(PEER, 7, "something-new", (("a", "1"), ("b", "2")))) == [
        "IKELAB-ISAKMP: (7): something-new a=1 b=2"
    ]
    # A known fact without the values its line needs is not filled with inventions.
    assert texts(Trace(PEER, 7, "lifetime-started")) == ["IKELAB-ISAKMP: (7): lifetime-started"]
    der_id = (("type", "9"), ("id", "3000"))
    assert texts(Trace(PEER, 7, "peer-id", der_id)) == [
        "IKELAB-ISAKMP: (7): peer-id type=9 id=3000"
    ]


def test_key_material_prints_nothing() -> None:
    pair = Pair()
    pair.establish()
    assert texts(*pair.i.of(KeyMaterial)) == []
    secrets = {octets.hex() for k in pair.i.of(KeyMaterial) for _, octets in k.others}
    printed = "\n".join(texts(*pair.i.log)).lower()
    assert secrets
    assert not any(secret in printed for secret in secrets)
