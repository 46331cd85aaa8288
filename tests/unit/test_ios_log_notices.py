"""The log: notices of the PKI and the system, times, debugging, and hostile words."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import get_args

import pytest

from ikelab.ios import debugging
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
from ikelab.isakmp.events import Clear, Refused, Trace
from ikelab.pki import ca_events as ca
from ikelab.pki import enrollment_events as enrollment
from ikelab.pki import events as pki
from ikelab.pki.store import RequestKind
from ikelab.types import Endpoint, Now
from tests.dialogue.playbook import Pair

PEER = Endpoint("192.0.2.9", 500)
HOSTILE = "x\n%SYS-5-CONFIG_I: forged\r\x1b[31m\x07\u202e\u2028\x9b"


def texts(*actions: object, dialect: str = "12.4") -> list[str]:
    log = NodeLog("15" if dialect == "15" else "12.4")
    return [line.text for line in log.lines(actions)]


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
        pki.NextCaHeld("ra", "cn=ra-subca", 160, WHEN),
        [
            "IKELAB-PKI: trustpoint ra: the next CA certificate is here: cn=ra-subca, A0, from"
            " 14:28:25 UTC Apr 5 2009"
        ],
    ),
    (
        pki.NextCaMissing("ra", "HTTP status 404", 600.0),
        [
            "IKELAB-PKI: trustpoint ra: the renewal waits for the next CA certificate: HTTP status"
            " 404; next look in 600 s"
        ],
    ),
    (
        pki.CaRenewed("ra", "cn=ra-subca", 9, WHEN),
        [
            "IKELAB-PKI: trustpoint ra: cn=ra-subca has a new certificate, 09, until"
            " 14:28:25 UTC Apr 5 2009"
        ],
    ),
    (
        pki.NextCertificateHeld("ra", 10, "cn=ra-subca", "hostname=r1", WHEN),
        [
            "%PKI-6-CERTRET: Certificate received from Certificate Authority",
            "IKELAB-PKI: trustpoint ra: certificate 0A is held until its time,"
            " 14:28:25 UTC Apr 5 2009",
        ],
    ),
    (
        pki.GenerationSwapped("ra", 10, 160),
        ["IKELAB-PKI: trustpoint ra: in force now: CA certificate A0, certificate 0A"],
    ),
    (
        pki.GenerationSwapped("ra", None, 160),
        ["IKELAB-PKI: trustpoint ra: in force now: CA certificate A0, none of ours"],
    ),
    (
        ca.RolloverAvailable("ca", 160, WHEN),
        ["IKELAB-CA: ca: rollover certificate A0 takes over 14:28:25 UTC Apr 5 2009"],
    ),
    (
        ca.RolloverDone("ca", 160, WHEN),
        ["IKELAB-CA: ca: CA certificate A0 is in force, until 14:28:25 UTC Apr 5 2009"],
    ),
    (
        pki.EnrollmentFailed("ra", "no certificate after 10 retries"),
        [
            "%PKI-6-CERTFAIL: Certificate enrollment failed.",
            "IKELAB-PKI: trustpoint ra: no certificate after 10 retries",
        ],
    ),
    (
        pki.EnrollmentFailed("ra", "the CA refuses: no reason given", rejected=True),
        [
            "%PKI-6-CERTREJECT: Certificate enrollment request was rejected by Certificate"
            " Authority",
            "IKELAB-PKI: trustpoint ra: the CA refuses: no reason given",
        ],
    ),
    (
        pki.EnrollmentPending("ra", 60.0),
        ["IKELAB-PKI: trustpoint ra: the CA keeps the request, next poll in 60 s"],
    ),
    (
        pki.EnrollmentPending("ra", 60.0, "connection refused"),
        ["IKELAB-PKI: trustpoint ra: no answer from the CA: connection refused; next try in 60 s"],
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
        enrollment.FallbackStarted("ra", "du"),
        [
            "IKELAB-PKI: trustpoint ra: no answer from the CA, the router turns to that of"
            " trustpoint du"
        ],
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
        ca.RequestAuthorized("reg-auth", 1, "hostname=r1"),
        ["IKELAB-CA: reg-auth: request 1 authorized: hostname=r1; the CA is asked to sign it"],
    ),
    (
        ca.RequestRejected("ca", 4),
        ["IKELAB-CA: ca: request 4 rejected, by command"],
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
    (ca.FileWritten("ca", "ca.crl", 240), ["Writing ca.crl !"]),
    (ca.FileLoaded("ca", "ca.ser", 32), ["Loading ca.ser[OK - 32/4096 bytes]"]),
    (ca.FileLoaded("ca", "ca.crl", 4097), ["Loading ca.crl[OK - 4097/8192 bytes]"]),
    (
        ca.StorageUnreadable("ca", "ca.ser", "ftp://192.0.2.99:21: connecting: No route to host"),
        [
            "% There was a problem reading the file 'ca.ser'",
            "%from certificate storage.",
            "% Please verify storage accessibility",
            "% and enable the server again.",
            "IKELAB-STORAGE: ca: ftp://192.0.2.99:21: connecting: No route to host",
        ],
    ),
    (
        ca.ServerNotStarted("ca", "wrong-ca", "not its own"),
        ["IKELAB-CA: ca is not started: wrong-ca: not its own"],
    ),
    (
        ca.ArchiveMade("ca", "ca_00002.p12"),
        ["% Exporting Certificate Server signing certificate and keys..."],
    ),
    (
        ca.ServerRemoved("ca", "ftp://ca:secret@192.0.2.99", ("2.crt", "ca.ser")),
        [
            "Certificate server 'remove server' event has been queued for processing.",
            "IKELAB-STORAGE: ca: its files stay in ftp://192.0.2.99: a recovered server goes on"
            " from them; never written: 2.crt, ca.ser",
        ],
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
    kinds -= {enrollment.RequestPrinted}  # holds a password: for the console that asked only
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
    assert len(log._peers) == REMEMBERED_PEERS


def test_without_debugging_only_messages_are_printed() -> None:
    pair = Pair()
    pair.r.refuse_cert = ("revoked", "serial 0x7 is on the CRL of cn=ra-subca")
    pair.request()
    pair.run()
    found = [line.text for line in NodeLog().lines(pair.r.log, debugging=())]
    assert found
    assert all(text.startswith("%CRYPTO-") for text in found)


def test_what_is_switched_on_later_knows_the_connections_from_before() -> None:
    pair = Pair()
    pair.establish()
    log = NodeLog()
    assert log.lines(pair.r.log, debugging=()) == []
    before = len(pair.r.log)
    pair.give(pair.i, Clear())
    pair.run()
    later = pair.r.log[before:]
    assert any("(0:1001): received packet" in line.text for line in log.lines(later))


def test_ipsec_debugging_names_pairs_that_come_and_go() -> None:
    pair = Pair()
    pair.establish()
    pair.give(pair.i, Clear())
    found = [line.text for line in NodeLog().lines(pair.i.log, (debugging.IPSEC,)) if line.debug]
    assert found[:2] == [
        "IPSEC(create_sa): sa created,\n  (sa) sa_dest= 192.0.2.1, sa_proto= 50,\n"
        "    sa_spi= 0x00001001(4097),\n    sa_trans= esp-256-aes esp-sha256-hmac , sa_conn_id= 1",
        "IPSEC(create_sa): sa created,\n  (sa) sa_dest= 192.0.2.2, sa_proto= 50,\n"
        "    sa_spi= 0x00002001(8193),\n    sa_trans= esp-256-aes esp-sha256-hmac , sa_conn_id= 2",
    ]
    assert [text.partition("(")[2][:9] for text in found[2:]] == ["delete_sa", "delete_sa"]


def test_pki_messages_are_the_web_requests() -> None:
    asked = pki.HttpRequest("h", "GET", "http://192.0.2.9:12345/x?operation=GetCACert&message=ra")
    (opened, sent) = NodeLog().lines([asked], (debugging.PKI_MESSAGES,))
    assert opened.text == "CRYPTO_PKI: http connection opened"
    assert sent.text.splitlines()[1:] == [
        "GET /x?operation=GetCACert&message=ra HTTP/1.0",
        "Host: 192.0.2.9",
    ]
    assert NodeLog().lines([asked], ()) == []
