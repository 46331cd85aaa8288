"""Show commands: their text beside golden files, their JSON, that every row of the table shows.

The golden files are made anew by `IKELAB_REGENERATE=1 pytest tests/unit/test_ios_show.py`, and read
as a diff.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ikelab.errors import ConfigError
from ikelab.ios import debugging
from ikelab.ios.arguments import Arguments, Command, Pipe
from ikelab.ios.command_tree import ROWS
from ikelab.ios.config_text import parse_config
from ikelab.ios.row import Mode
from ikelab.ios.session import Session
from ikelab.ios.show import VIEWS, plain, show, show_facts
from ikelab.ios.snapshot import (
    AdmissionRow,
    CertificateKind,
    CertificateRow,
    CrlRow,
    DropRow,
    InterfaceRow,
    IpsecSaRow,
    IsakmpSaRow,
    KeyRow,
    NodeSnapshot,
    PeerRow,
    PendingCertificateRow,
    RequestRow,
    ServerRow,
    TrustpointRow,
)
from ikelab.isakmp.policy import IsakmpPolicy, ProxyIdentity, TransformSet
from ikelab.wire.numbers import (
    AuthAlgorithm,
    AuthMethod,
    EncapsulationMode,
    EncryptionAlgorithm,
    EspTransform,
    Group,
    HashAlgorithm,
)

GOLDEN = Path(__file__).parents[1] / "golden" / "ios"
REGENERATE = os.environ.get("IKELAB_REGENERATE") == "1"

LEGACY = IsakmpPolicy(
    1,
    EncryptionAlgorithm.TRIPLE_DES_CBC,
    None,
    HashAlgorithm.MD5,
    AuthMethod.PRE_SHARED_KEY,
    Group.MODP_1024,
)
MODERN = IsakmpPolicy(
    10,
    EncryptionAlgorithm.AES_CBC,
    256,
    HashAlgorithm.SHA2_256,
    AuthMethod.RSA_SIG,
    Group.MODP_2048,
)


def at(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)


CA = CertificateRow(
    CertificateKind.CA,
    8,
    "Signature",
    ("cn=root-ca",),
    ("cn=ra-subca", "o=Example"),
    at("2009-01-28 11:21:19"),
    at("2011-01-28 11:21:19"),
    ("ra",),
    crl_urls=("http://192.0.2.99/root-ca.crl",),
    storage="nvram:root-ca#8CA.cer",
)
OWN = CertificateRow(
    CertificateKind.ROUTER,
    0x1D0,
    "General Purpose",
    ("cn=ra-subca",),
    ("serialNumber=FTX0000A0AA+ipaddress=192.0.2.5+hostname=r1.example.net",),
    at("2009-03-06 10:44:55"),
    at("2009-09-02 11:44:55"),
    ("ra",),
    crl_urls=("http://192.0.2.99/ra-subca.crl",),
    renew=at("2009-07-28 11:44:55"),
    name="r1.example.net",
    address="192.0.2.5",
    device_serial="FTX0000A0AA",
)
GRE = 47
PAIR = IpsecSaRow(
    "Tunnel1",
    "198.51.100.2",
    "192.0.2.1",
    ProxyIdentity("198.51.100.2", protocol=GRE),
    ProxyIdentity("192.0.2.1", protocol=GRE),
    TransformSet(
        "T", EspTransform.ESP_AES, 256, AuthAlgorithm.HMAC_SHA2_256, EncapsulationMode.TRANSPORT
    ),
    0x11689A5F,
    0x9375DD09,
    3566,
    4607999,
    1,
    pfs=Group.MODP_2048,
    encaps=4,
    decaps=3,
    send_errors=1,
)
SERVER = ServerRow(
    "du-subca",
    "enabled",
    True,
    "CN=du-subca",
    "manual",
    3,
    "complete",
    fingerprint="A6298B11A50948FFC170D745CD7DFABC",
    subordinate=True,
    upper_fingerprint="ABD85DC7C152AE904949A459B91F0A39",
    expires=at("2011-02-12 16:06:24"),
    crl_next_update=at("2009-04-05 10:01:49"),
    storage="ftp://192.0.2.99",
    overlap_days=90,
    rollover_timer=at("2010-11-14 16:06:14"),
)
SNAPSHOT = NodeSnapshot(
    parse_config((GOLDEN / "spoke-modern.cfg").read_text()),
    datetime(2009, 3, 5, 6, 43, 7, 259999, tzinfo=UTC),
    uptime=90061,
    version="0.1.0",
    isakmp_sas=(
        IsakmpSaRow(
            "198.51.100.2",
            "192.0.2.1",
            True,
            "QM_IDLE",
            4218,
            "ACTIVE",
            "hub",
            MODERN,
            85868,
            dpd=True,
            peer_id="hub.example.net\x1b[2J",
            up_for=532,
        ),
        IsakmpSaRow(
            "198.51.100.2",
            "192.0.2.7",
            False,
            "QM_IDLE",
            13060,
            policy=LEGACY,
            remaining=0,
            nat=True,
        ),
        IsakmpSaRow("198.51.100.2", "203.0.113.200", True, "MM_NO_STATE"),
    ),
    ipsec_sas=(PAIR,),
    peers=(
        PeerRow("192.0.2.1", 500, "198.51.100.2", "hub.example.net\x1b[2J", 4, 1),
        PeerRow("203.0.113.200", 4500, "198.51.100.2", None, 5, 2),
    ),
    admission=AdmissionRow(600, 100, 2, 1, 40, 7, 3, 0),
    drops=(DropRow("no-proposal-chosen", 2), DropRow("malformed", 30, "cut at octet 9\x1b[2J")),
    certificates=(
        OWN,
        CA,
        replace(CA, rollover=True, serial=0x21),
        replace(CA, kind=CertificateKind.SUBORDINATE_CA, trustpoints=("du",)),
        replace(CA, kind=CertificateKind.SUBORDINATE_CA, rollover=True, trustpoints=("du",)),
    ),
    pending_certificates=(
        PendingCertificateRow("du", "r1.example.net", "32C06B4E" * 4, "A757CADE" * 5),
    ),
    trustpoints=(
        TrustpointRow("ra", ("cn=ra-subca",), 8, True, False, "http://192.0.2.20:12345"),
        TrustpointRow("du", ("cn=du-subca",), 9, False, True),
        TrustpointRow("new"),
    ),
    crls=(
        CrlRow(
            ("cn=du-subca",),
            at("2009-04-05 10:03:28"),
            at("2009-04-05 16:03:28"),
            "u",
            218,
            superseded=True,
        ),
        CrlRow(
            ("cn=du-subca",),
            at("2009-04-05 13:28:25"),
            at("2009-04-05 19:28:25"),
            "http://192.0.2.99/du-subca.crl",
            240,
        ),
    ),
    servers=(
        SERVER,
        ServerRow(
            "ra-subca",
            "disabled, CA Certificate request is pending",
            False,
            "CN=ra-subca",
            "auto",
            0,
            "minimum",
            subordinate=True,
            pending_certificate=True,
        ),
        ServerRow("root-ca", "disabled", False, "CN=root-ca", "auto", 31, "names"),
    ),
    requests=(
        RequestRow("du-subca", 4, "subordinate", "pending", "93" * 16, "cn=du-subca"),
        RequestRow("du-subca", 12, "router", "granted", "AB" * 16, "hostname=evil\x1b]0;x\n"),
        RequestRow("root-ca", 1, "router", "pending", "CD" * 16, "hostname=other"),
    ),
    keys=(KeyRow("spoke1", bytes(range(94)), at("2009-03-05 00:00:00")), KeyRow("k", b"\xab")),
    interfaces=(
        InterfaceRow("GigabitEthernet0/0", "198.51.100.2", "up", "up"),
        InterfaceRow("GigabitEthernet0/1", None, "administratively down", "down"),
        InterfaceRow("Tunnel1", "203.0.113.2", "up", "down"),
    ),
    debugging=frozenset({debugging.ISAKMP}),
)

SHOWN = [
    ("show clock", {}),
    ("show version", {}),
    ("show running-config", {}),
    ("show debugging", {}),
    ("show ip interface brief", {}),
    ("show crypto isakmp sa", {}),
    ("show crypto isakmp sa", {"detail": "detail"}),
    ("show crypto isakmp policy", {}),
    ("show crypto isakmp drops", {}),
    ("show crypto call admission statistics", {}),
    ("show crypto ipsec sa", {}),
    ("show crypto isakmp peers", {}),
    ("show crypto isakmp profile", {}),
    ("show crypto isakmp key", {}),
    ("show crypto session", {}),
    ("show crypto session", {"detail": "detail"}),
    ("show crypto pki certificates", {}),
    ("show crypto pki certificates", {"trustpoint": "ra"}),
    ("show crypto pki trustpoints", {}),
    ("show crypto pki crls", {}),
    ("show crypto pki server", {}),
    ("show crypto pki server", {"server": "du-subca"}),
    ("show crypto key mypubkey rsa", {}),
    ("crypto pki server info requests", {"server": "du-subca"}),
]


def text_of(name: str, **arguments: str) -> str:
    return show(Command(name, Arguments(arguments)), SNAPSHOT)


@pytest.mark.parametrize(("name", "arguments"), SHOWN)
def test_text_is_that_of_the_golden_file(name: str, arguments: dict[str, str]) -> None:
    words = [*name.split(), *arguments.values()]
    path = GOLDEN / ("-".join(words) + ".txt")
    text = show(Command(name, Arguments(arguments)), SNAPSHOT)
    if REGENERATE:
        path.write_text(text)
    assert text == path.read_text()


@pytest.mark.parametrize(("name", "arguments"), SHOWN)
def test_every_show_command_has_facts_in_json(name: str, arguments: dict[str, str]) -> None:
    text = show(Command(name, Arguments(arguments), Pipe("json")), SNAPSHOT)
    assert json.loads(text) == show_facts(Command(name, Arguments(arguments)), SNAPSHOT)


def test_every_show_row_of_the_table_has_a_view() -> None:
    names = {row.grammar.name for row in ROWS[Mode.EXEC]}
    wanted = {name for name in names if name.startswith("show ")}
    assert wanted | {"crypto pki server info requests"} == set(VIEWS)


def test_command_that_shows_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="shows nothing"):
        show(Command("clear crypto sa"), SNAPSHOT)


def test_ends_of_an_sa_are_those_of_the_roles_not_of_the_sides() -> None:
    """IOS's dst is the responder, whichever side one looks from."""
    ours, theirs, *_ = SNAPSHOT.isakmp_sas
    assert (ours.dst, ours.src) == ("192.0.2.1", "198.51.100.2")
    assert (theirs.dst, theirs.src) == ("198.51.100.2", "192.0.2.7")


def test_nothing_of_a_peer_reaches_the_terminal_as_a_control_character() -> None:
    for name, arguments in SHOWN:
        text = show(Command(name, Arguments(arguments)), SNAPSHOT)
        assert all(char.isprintable() or char in "\n\t" for char in text), name


def test_certificates_of_one_trustpoint_only() -> None:
    assert "cn=du-subca" not in text_of("show crypto pki certificates", trustpoint="ra")
    assert (
        text_of("show crypto pki certificates", trustpoint="none")
        == "% Can't find trustpoint none\n"
    )


def test_router_without_certificate_server_says_so() -> None:
    bare = replace(SNAPSHOT, servers=(), requests=())
    for name in ("show crypto pki server", "crypto pki server info requests"):
        command = Command(name, Arguments({"server": "x"}))
        assert show(command, bare) == "%Cannot find Certificate Server\n"


def test_a_server_that_has_its_next_certificate_shows_the_guides_three_lines() -> None:
    server = replace(
        SERVER,
        overlap_days=30,
        rollover_timer=None,
        rollover_fingerprint="CEA006FB8ECDD846801B8C4BC757210D",
        rollover_expires=at("2008-05-14 11:18:05"),
    )
    text = show(Command("show crypto pki server"), replace(SNAPSHOT, servers=(server,)))
    assert [line.strip() for line in text.splitlines()][-4:] == [
        "Rollover status: available for rollover",
        "Rollover CA certificate fingerprint: CEA006FB 8ECDD846 801B8C4B C757210D",
        "Rollover CA certificate expiration time: 11:18:05 UTC May 14 2008",
        "Auto-Rollover configured, overlap period 30 days",
    ]


def test_storage_is_shown_without_its_password() -> None:
    server = replace(SERVER, storage="ftp://ca:s3cret@192.0.2.99/db")
    snapshot = replace(SNAPSHOT, servers=(server,))
    for pipe in (None, Pipe("json")):
        text = show(Command("show crypto pki server", pipe=pipe), snapshot)
        assert "ftp://192.0.2.99/db" in text
        assert "s3cret" not in text


@pytest.mark.parametrize(
    ("isakmp", "ipsec", "status"),
    [(True, True, "UP-ACTIVE"), (False, True, "UP-NO-IKE"), (True, False, "UP-IDLE")],
)
def test_session_status_follows_from_both_phases(isakmp: bool, ipsec: bool, status: str) -> None:
    snapshot = replace(
        SNAPSHOT,
        isakmp_sas=SNAPSHOT.isakmp_sas[:1] if isakmp else (),
        ipsec_sas=SNAPSHOT.ipsec_sas if ipsec else (),
    )
    assert f"Session status: {status}\n" in show(Command("show crypto session"), snapshot)


def test_session_that_negotiates_or_is_down_says_so() -> None:
    half = replace(SNAPSHOT.isakmp_sas[0], state="MM_KEY_EXCH")
    trying = replace(SNAPSHOT, isakmp_sas=(half,), ipsec_sas=())
    down = replace(trying, isakmp_sas=())
    command = Command("show crypto session")
    assert "DOWN-NEGOTIATING" in show(command, trying)
    assert "Inactive" in show(command, trying)
    assert "Session status: DOWN\n" in show(command, down)


def test_policy_of_a_legacy_lab_ends_with_the_default_suite() -> None:
    command = Command("show crypto isakmp policy")
    assert "Default protection suite" in show(command, replace(SNAPSHOT, mode="legacy"))
    assert "Default protection suite" not in show(command, SNAPSHOT)


def test_clock_that_is_not_synchronized_has_a_star() -> None:
    command = Command("show clock")
    assert show(command, SNAPSHOT) == "06:43:07.259 UTC Thu Mar 5 2009\n"
    assert show(command, replace(SNAPSHOT, synced=False)).startswith("*06:43:07")


def test_filter_typed_at_the_console_reaches_the_text() -> None:
    session = Session(SNAPSHOT.config)
    command = session.enter("show run | inc ip route")
    assert isinstance(command, Command)
    assert show(command, SNAPSHOT) == "ip route 0.0.0.0 0.0.0.0 198.51.100.1\n"


def test_json_of_an_sa_names_its_algorithms_and_holds_no_secret() -> None:
    facts = show_facts(Command("show crypto isakmp sa"), SNAPSHOT)
    assert isinstance(facts, dict)
    rows = facts["isakmp_sas"]
    assert isinstance(rows, list)
    row = rows[0]
    assert isinstance(row, dict)
    policy = row["policy"]
    assert isinstance(policy, dict)
    assert (row["state"], row["conn_id"], row["remaining"]) == ("QM_IDLE", 4218, 85868)
    assert (policy["encryption"], policy["key_length"]) == ("AES_CBC", 256)


def test_snapshot_as_json_holds_no_key_and_no_password() -> None:
    text = (
        "crypto isakmp key s3cret-one address 192.0.2.1\n"
        "crypto keyring k\n pre-shared-key address 192.0.2.2 key s3cret-two\n"
        "crypto pki server ca\n database archive pkcs12 password s3cret-three\n"
        " database url ftp://ca:s3cret-four@192.0.2.99/db\n"
    )
    printed = json.dumps(plain(replace(SNAPSHOT, config=parse_config(text))))
    assert "s3cret" not in printed
    assert "ftp://192.0.2.99/db" in printed
    assert printed.count('"*****"') == 3


def test_only_known_types_have_a_json_form() -> None:
    with pytest.raises(TypeError, match="object has no JSON form"):
        plain(object())


def test_pre_shared_keys_are_shown_at_the_console_and_hidden_in_json() -> None:
    text = "crypto keyring zebra\n pre-shared-key address 192.0.2.0 255.255.255.0 key CISCO\n"
    snapshot = replace(SNAPSHOT, config=parse_config(text))
    shown = show(Command("show crypto isakmp key"), snapshot)
    assert shown.splitlines()[-1] == f"zebra        {'192.0.2.0 [255.255.255.0]':<43} CISCO"
    assert "CISCO" not in show(Command("show crypto isakmp key", pipe=Pipe("json")), snapshot)


def test_profile_word_is_for_sas_that_we_began() -> None:
    (ours, *_) = SNAPSHOT.isakmp_sas
    theirs = replace(SNAPSHOT, isakmp_sas=(replace(ours, initiator=False),))
    assert " ACTIVE hub\n" in text_of("show crypto isakmp sa")
    assert " ACTIVE\n" in show(Command("show crypto isakmp sa"), theirs)
