"""The log: IOS's lines from real dialogues of two engines, notices, times, and hostile words."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import get_args

import pytest

from ikelab.ios.log import NodeLog, stamp
from ikelab.ios.log_isakmp import REMEMBERED_PEERS, IsakmpLog
from ikelab.ios.log_line import (
    Configured,
    IsakmpSwitched,
    LineProtocolChanged,
    LinkChanged,
    LogLine,
    Remark,
)
from ikelab.ios.text import visible
from ikelab.isakmp.events import KeyMaterial, PlainMessage, Refused, SendDatagram, Trace, Transition
from ikelab.pki import ca_events as ca
from ikelab.pki import enrollment_events as enrollment
from ikelab.pki import events as pki
from ikelab.pki.name import parse_dn
from ikelab.pki.store import RequestKind
from ikelab.types import Endpoint, Now
from tests.dialogue.playbook import I_END, PSK, R_END, Pair, config

PEER = Endpoint("192.0.2.9", 500)
HOSTILE = "x\n%SYS-5-CONFIG_I: forged\r\x1b[31m\x07\u202e\u2028\x9b"


def texts(*actions: object, dialect: str = "12.4") -> list[str]:
    log = NodeLog("15" if dialect == "15" else "12.4")
    return [line.text for line in log.lines(actions)]


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
            "ISAKMP:(0): vendor ID is NAT-T RFC 3947",
            "ISAKMP:(0):atts are acceptable.",
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
            "ISAKMP:(1001): using the ra trustpoint's keypair to sign",
            "ISAKMP:(1001):My ID configured as IPv4 Addr, but Addr not in Cert!",
            "ISAKMP:(1001):Using FQDN as My ID",
            "ISAKMP:(1001):SA is doing RSA signature authentication using id type ID_FQDN",
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
            "ISAKMP:(0): vendor ID is NAT-T v7",
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
            "ISAKMP:(1001):Input = IKE_MESG_INTERNAL, IKE_PROCESS_ERROR",
            "ISAKMP:(1001):Old State = IKE_R_MM5  New State = IKE_R_MM4",
            "%CRYPTO-5-IKMP_INVAL_CERT: Certificate received from 192.0.2.1 is bad:"
            " CA request failed!",
            "IKELAB-REFUSED: MM5 from 192.0.2.1:500: revoked:"
            " serial 0x7 is on the CRL of cn=ra-subca",
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
        ("text", "Authentication method offered does not match policy!"),
    )
    assert texts(Trace(PEER, 0, "policy-refused", values)) == [
        "ISAKMP:(0):Checking ISAKMP transform 1 against priority 1 policy",
        "ISAKMP:(0):Authentication method offered does not match policy!",
        "ISAKMP:(0):atts are not acceptable.",
    ]


# --- single facts -----------------------------------------------------------------------------


def test_wanted_issuer_is_printed_as_a_name() -> None:
    authority = parse_dn("cn=du-subca").hex()
    assert texts(Trace(PEER, 4003, "peer-wants-cert", (("authority", authority),))) == [
        "ISAKMP:(4003): processing CERT_REQ payload. message ID = 0",
        "ISAKMP:(4003): peer wants a CT_X509_SIGNATURE cert",
        "ISAKMP:(4003): peer wants cert issued by cn=du-subca",
    ]
    assert texts(Trace(PEER, 0, "constructing-cert-req", (("authority", authority),))) == [
        "ISAKMP (0:0): constructing CERT_REQ for issuer cn=du-subca"
    ]


def test_wanted_issuer_that_is_no_name_is_printed_as_short_digits() -> None:
    for authority, printed in (("ff" * 900, "ff" * 32), ("", "any CA")):
        lines = texts(Trace(PEER, 0, "peer-wants-cert", (("authority", authority),)))
        assert lines[-1] == f"ISAKMP:(0): peer wants cert issued by {printed}"


def test_matched_profile_is_named() -> None:
    lines = texts(Trace(PEER, 1001, "authenticated", (("profile", "spoke-profile"),)))
    assert lines[0] == "ISAKMP:(1001):: peer matches spoke-profile profile"
    lines = texts(Trace(PEER, 1001, "authenticated", (("profile", "*none*"),)))
    assert lines[0] == "ISAKMP:(1001):: peer matches *none* of the profiles"


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
    gone = Transition(
        R_END, 1001, 0, "IKE_MESG_INTERNAL", "IKE_PHASE1_DEL", "IKE_P1_COMPLETE", "IKE_DEST_SA"
    )
    stray = SendDatagram(I_END, R_END, bytes(28), "no comment of the engine's form")
    lines = texts(*pair.i.log, gone, stray)
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
    assert texts(Trace(PEER, 7, "atts-acceptable")) == ["IKELAB-ISAKMP: (7): atts-acceptable"]
    der_id = (("type", "ID_DER_ASN1_DN"), ("id", "3000"))
    assert texts(Trace(PEER, 7, "peer-id", der_id)) == [
        "IKELAB-ISAKMP: (7): peer-id type=ID_DER_ASN1_DN id=3000"
    ]


def test_key_material_prints_nothing() -> None:
    pair = Pair()
    pair.establish()
    assert texts(*pair.i.of(KeyMaterial)) == []
    secrets = {octets.hex() for k in pair.i.of(KeyMaterial) for _, octets in k.others}
    printed = "\n".join(texts(*pair.i.log)).lower()
    assert secrets
    assert not any(secret in printed for secret in secrets)


# --- PKI and system ---------------------------------------------------------------------------

SERIAL = 0x1D0
MD5, SHA1 = "32C06B4E09E29D63B94D051E749DBB13", "A757CADE3BD2BE488FD4A4C18DF511418A15DAC6"
WHEN = datetime(2009, 4, 5, 14, 28, 25, tzinfo=UTC)

NOTICES: list[tuple[object, list[str]]] = [
    (
        pki.RequestSent("ra", "hostname=r1", MD5, SHA1),
        [
            "CRYPTO_PKI:  Certificate Request Fingerprint MD5: 32C06B4E 09E29D63 B94D051E 749DBB13",
            "CRYPTO_PKI:  Certificate Request Fingerprint SHA1:"
            " A757CADE 3BD2BE48 8FD4A4C1 8DF51141 8A15DAC6",
        ],
    ),
    (
        pki.CertificateInstalled("ra", 10, "cn=ra-subca", "hostname=r1"),
        ["%PKI-6-CERTRET: Certificate received from Certificate Authority"],
    ),
    (
        pki.EnrollmentFailed("ra", "the CA rejected the request"),
        [
            "%PKI-6-CERTFAIL: Certificate enrollment failed.",
            "IKELAB-PKI: trustpoint ra: the CA rejected the request",
        ],
    ),
    (
        pki.EnrollmentPending("ra", 60.0),
        ["IKELAB-PKI: trustpoint ra: the CA keeps the request, next poll in 60 s"],
    ),
    (
        pki.CaCertificateAccepted("ra", "cn=ra-subca", "00" * 32),
        ["Trustpoint CA certificate accepted."],
    ),
    (
        pki.CrlInstalled("cn=du-subca", "http://192.0.2.99/a.crl", 240),
        ["IKELAB-CRL: cn=du-subca: 240 octets fetched from http://192.0.2.99/a.crl"],
    ),
    (
        pki.CrlRefused("cn=du-subca", "http://192.0.2.99/a.crl", "connection refused"),
        ["IKELAB-CRL: cn=du-subca: not taken from http://192.0.2.99/a.crl: connection refused"],
    ),
    (
        enrollment.CaCertificateOffered("ra", "cn=ra-subca", MD5, SHA1, True),
        [
            "Trustpoint 'ra' is a subordinate CA and holds a non self signed cert\n"
            "Certificate has the following attributes:\n"
            "       Fingerprint MD5: 32C06B4E 09E29D63 B94D051E 749DBB13\n"
            "      Fingerprint SHA1: A757CADE 3BD2BE48 8FD4A4C1 8DF51141 8A15DAC6\n\n"
            "% Do you accept this certificate? [yes/no]:"
        ],
    ),
    (
        enrollment.AuthenticationFailed("ra", "no-answer", "connection refused"),
        [
            "% Failed to authenticate the Certificate Authority",
            "IKELAB-PKI: trustpoint ra: no-answer: connection refused",
        ],
    ),
    (
        enrollment.KeyPairGenerated("ra", 512),
        ["%CRYPTO-6-AUTOGEN: Generated new 512 bit key pair"],
    ),
    (
        enrollment.RenewalStarted("ra"),
        ["%PKI-6-CERTRENEWAUTO: Renewing the router certificate for trustpoint ra"],
    ),
    (
        ca.ServerKeyGenerated("ca", 1024),
        ["% Generating 1024 bit RSA keys, keys will be non-exportable...[OK]"],
    ),
    (ca.ServerEnabled("ca"), ["%PKI-6-CS_ENABLED: Certificate server now enabled."]),
    (
        ca.ServerDisabled("ca", "disabled"),
        ["%PKI-6-CS_DISABLED: Certificate server now disabled."],
    ),
    (ca.CertificateRevoked("ca", 4), ["% Certificate 04 succesfully revoked."]),
    (ca.CertificateRevoked("ca", 4, True), ["IKELAB-CA: certificate 04 was revoked before"]),
    (
        ca.RequestQueued("ca", 4, RequestKind.ROUTER, MD5, "hostname=r1"),
        [f"IKELAB-CA: ca: request 4 waits: hostname=r1, MD5 {MD5}"],
    ),
    (
        ca.RequestGranted("ca", 4, SERIAL, "hostname=r1"),
        ["IKELAB-CA: ca: request 4 granted: certificate 01D0, hostname=r1"],
    ),
    (
        ca.RequestRefused("ca", "PKCSReq", "t", "bad-signature", "the PKCS#10 does not verify"),
        ["IKELAB-CA: ca: PKCSReq refused: bad-signature: the PKCS#10 does not verify"],
    ),
    (
        ca.RequestRemoved("ca", 4, True),
        ["IKELAB-CA: ca: request 4 removed, it waited too long"],
    ),
    (
        ca.RequestRemoved("ca", 4, False),
        ["IKELAB-CA: ca: request 4 removed, by command"],
    ),
    (
        ca.CrlPublished("ca", 2, WHEN, 240),
        ["IKELAB-CA: ca: CRL 2 of 240 octets published"],
    ),
    (Configured(), ["%SYS-5-CONFIG_I: Configured from console by console"]),
    (
        LinkChanged("Tunnel1", "up"),
        ["%LINK-3-UPDOWN: Interface Tunnel1, changed state to up"],
    ),
    (
        LinkChanged("Tunnel1", "administratively down"),
        ["%LINK-5-CHANGED: Interface Tunnel1, changed state to administratively down"],
    ),
    (
        LineProtocolChanged("Tunnel1", True),
        ["%LINEPROTO-5-UPDOWN: Line protocol on Interface Tunnel1, changed state to up"],
    ),
    (IsakmpSwitched(False), ["%CRYPTO-6-ISAKMP_ON_OFF: ISAKMP is OFF"]),
    (Remark("STORAGE", "waits"), ["IKELAB-STORAGE: waits"]),
]


@pytest.mark.parametrize(("notice", "wanted"), NOTICES)
def test_notice_is_printed_in_ioss_words_or_marked_as_ours(
    notice: object, wanted: list[str]
) -> None:
    assert texts(notice) == wanted


def test_every_notice_of_the_pki_engines_is_printed() -> None:
    kinds = {*get_args(pki.PkiNotice), *get_args(ca.CaNotice)}
    kinds |= set(get_args(enrollment.TrustpointAction)) - {pki.HttpRequest}
    assert kinds <= {type(notice) for notice, _ in NOTICES}


# --- time, debugging, hostile words -----------------------------------------------------------


def test_lines_carry_the_nodes_own_time_and_a_star_where_it_is_not_synchronized() -> None:
    line = LogLine("%X: y")
    moment = datetime(2002, 3, 1, 0, 0, 1, 7999, tzinfo=UTC)
    assert stamp(line, Now(5.0, moment, synced=False)) == "*Mar  1 00:00:01.007: %X: y\n"
    assert stamp(line, Now(5.0, moment)) == "Mar  1 00:00:01.007: %X: y\n"
    assert stamp(replace(line, stamped=False), Now(5.0, moment)) == "%X: y\n"


def test_debug_lines_come_only_where_debugging_is_on() -> None:
    actions = [Refused(PEER, 0, "MM5", "revoked", "on the CRL")]
    now = Now(0.0, WHEN)
    quiet = NodeLog().text(actions, now, debugging=())
    loud = NodeLog().text(actions, now, debugging=("crypto isakmp",))
    assert "IKMP_INVAL_CERT" in quiet
    assert "IKELAB-REFUSED" not in quiet
    assert "IKELAB-REFUSED" in loud
    assert NodeLog().text(actions, now) == loud


def test_no_word_of_a_peer_or_server_forges_a_line_or_reaches_the_terminal_raw() -> None:
    """Every text of an action or notice that somebody else can choose is made hostile."""
    names = ("my-id", "peer-id", "peer-wants-cert", "vendor-id", "notify", "authenticated")
    values = (("id", HOSTILE), ("type", "ID_FQDN"), ("authority", HOSTILE), ("vendor", HOSTILE))
    traces = [Trace(PEER, 1, name, values) for name in names]
    notices = [notice for notice, _ in NOTICES if type(notice) not in LOCAL]
    for action in [Refused(PEER, 1, "MM5", "x", HOSTILE), *traces, *map(hostile, notices)]:
        for text in texts(action):
            assert "\r" not in text and "\x1b" not in text and "\u202e" not in text, action
            assert "\n%" not in text.replace("\n\n% Do you accept", ""), action


# Made of words of the node's own user, or of nothing but numbers.
LOCAL = (Configured, LinkChanged, LineProtocolChanged, IsakmpSwitched)
# Names that the user gave; identifiers that engines make.
OURS = {
    "name",
    "trustpoint",
    "server",
    "label",
    "fingerprint",
    "fingerprint_md5",
    "fingerprint_sha1",
}


def hostile(notice: object) -> object:
    """The same notice with hostile text wherever somebody else's words may stand."""
    changes = {
        field.name: HOSTILE
        for field in fields(notice)  # type: ignore[arg-type]
        if isinstance(getattr(notice, field.name), str) and field.name not in OURS
    }
    return replace(notice, **changes)  # type: ignore[type-var]


def test_escapes_keep_what_was_said_readable() -> None:
    assert visible("a\x1b[2J\n\u202e\U000e0001é") == "a\\x1b[2J\\x0a\\u202e\\U000e0001é"


def test_strangers_do_not_fill_the_memory_of_the_log() -> None:
    log = IsakmpLog()
    for number in range(REMEMBERED_PEERS + 50):
        peer = Endpoint(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 500)
        list(log.lines(Trace(peer, 0, "beginning-main-mode")))
    assert len(log._conn_ids) == REMEMBERED_PEERS
