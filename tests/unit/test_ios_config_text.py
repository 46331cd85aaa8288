"""Configuration files: what they are read as, what is printed of them, and every error's words."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ikelab.errors import ConfigError
from ikelab.ios.config import (
    InterfaceConfig,
    RunningConfig,
    StaticRoute,
    TunnelConfig,
    interface_name,
    linux_ifname,
)
from ikelab.ios.config_text import format_config, parse_config, read_config, show_running_config
from ikelab.ios.type7 import decode_type7, encode_type7
from ikelab.isakmp.policy import (
    IsakmpPolicy,
    PreSharedKey,
    TransformSet,
)
from ikelab.pki.config import TrustpointConfig
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


def errors_of(text: str, mode: str = "modern") -> list[str]:
    read = read_config(text, file="r.cfg", mode="legacy" if mode == "legacy" else "modern")
    return [str(error) for error in read.errors]


@pytest.mark.parametrize(
    ("name", "mode"),
    [("hub.cfg", "legacy"), ("root-ca.cfg", "legacy"), ("spoke-modern.cfg", "modern")],
)
def test_example_file_is_printed_as_it_was_read(name: str, mode: str) -> None:
    text = (GOLDEN / name).read_text()
    config = parse_config(text, file=name, mode="legacy" if mode == "legacy" else "modern")
    assert format_config(config) == text


def test_hub_file_is_read_into_the_engines_own_dataclasses() -> None:
    config = parse_config((GOLDEN / "hub.cfg").read_text(), mode="legacy")
    assert config.fqdn == "s-dmvpn-headend.cisco.com"
    assert config.key_pairs == {"hub-keys": 512}
    assert config.policies[1] == IsakmpPolicy(
        1,
        EncryptionAlgorithm.TRIPLE_DES_CBC,
        None,
        HashAlgorithm.MD5,
        AuthMethod.PRE_SHARED_KEY,
        Group.MODP_1024,
    )
    assert config.transform_sets["3DES_MD5"] == TransformSet(
        "3DES_MD5",
        EspTransform.ESP_3DES,
        None,
        AuthAlgorithm.HMAC_MD5,
        EncapsulationMode.TRANSPORT,
    )
    assert config.trustpoints["ra"] == TrustpointConfig(
        "ra",
        enrollment_url="http://192.168.159.243:12345",
        fingerprint="ECE8BE9E9C5179A5ABD983A26E5F5DE8",
        rsakeypair="hub-keys",
        auto_enroll=70,
        regenerate=True,
    )
    assert config.keyrings["zebra"].keys == (
        PreSharedKey("192.168.134.146", "255.255.255.255", "CISCO"),
    )
    assert config.interfaces["Tunnel1"] == InterfaceConfig(
        "Tunnel1",
        "20.0.0.4",
        "255.255.255.0",
        mtu=1400,
        tunnel=TunnelConfig("GigabitEthernet0/0", "192.168.167.250", 1234, protection="ESE_DMVPN"),
    )
    assert (config.http_server, config.http_port) == (True, 12345)
    assert config.routes == (StaticRoute("0.0.0.0", "0.0.0.0", "192.168.159.1"),)


def test_ca_file_is_read_with_its_hidden_password_and_three_part_lifetimes() -> None:
    config = parse_config((GOLDEN / "root-ca.cfg").read_text(), mode="legacy")
    server = config.servers["root-ca"]
    assert server.archive_password == "cisco123"
    assert server.lifetime_certificate == timedelta(hours=2)
    assert server.lifetime_crl == timedelta(minutes=10)
    assert server.auto_rollover == timedelta(days=90)
    assert server.enabled
    assert config.trustpoints["root-ca"].revocation_check == ("crl", "none")


def test_abbreviations_and_comments_are_read_as_at_the_console() -> None:
    text = "int tun 1\n ip addr 10.0.0.1 255.255.255.0 ! the overlay\n! a comment\n shut\n"
    interface = parse_config(text).interfaces["Tunnel1"]
    assert (interface.address, interface.shutdown) == ("10.0.0.1", True)


@pytest.mark.parametrize(
    ("section", "line"),
    [
        ("crypto pki server a", "database archive pkcs12 password 0 cisco123"),
        ("crypto pki server a", "auto-rollover"),
        ("crypto pki server a", "lifetime ca-certificate 0 4"),
        ("crypto pki server a", "grant auto"),
        ("crypto pki server a", "mode sub-cs"),
        ("crypto pki server a", "cdp-url http://192.0.2.9/a.crl"),
        ("crypto pki trustpoint a", "enrollment retry count 3"),
        ("crypto pki trustpoint a", "enrollment retry period 3"),
        ("crypto pki trustpoint a", "auto-enroll"),
        ("crypto pki trustpoint a", "fqdn r1.example.net"),
        ("crypto pki trustpoint a", "serial-number"),
        ("crypto ipsec profile a", "set pfs group14"),
        ("crypto isakmp profile a", "match identity address 192.0.2.1"),
        ("interface Tunnel1", "tunnel key 7"),
        ("interface Tunnel1", "tunnel mode gre ip"),
        ("interface Tunnel1", "tunnel source gi0/0"),
        ("interface Tunnel1", "shutdown"),
    ],
)
def test_line_and_its_no_form_leave_the_section_as_it_was(section: str, line: str) -> None:
    before = parse_config(section + "\n")
    after = parse_config(f"{section}\n {line}\n no {line}\n")
    assert after == before
    assert line == "tunnel mode gre ip" or parse_config(f"{section}\n {line}\n") != before


def test_server_and_route_are_taken_out_and_a_route_is_held_once() -> None:
    route = "ip route 10.0.0.0 255.0.0.0 10.9.9.9\n"
    assert len(parse_config(route + route).routes) == 1
    assert parse_config("crypto pki server a\nno crypto pki server a\n").servers == {}


def test_what_follows_end_is_not_read() -> None:
    assert parse_config("hostname a\nend\nnonsense\n").hostname == "a"


def test_running_config_shows_no_key_generation_and_counts_its_own_bytes() -> None:
    text = show_running_config(RunningConfig(key_pairs={"k": 2048}))
    head, _, body = text.partition(" bytes\n")
    assert "crypto key" not in body
    assert int(head.rpartition(" ")[2]) == len(body)


def test_keys_of_the_default_keyring_are_printed_as_crypto_isakmp_key() -> None:
    text = "crypto isakmp key secret address 0.0.0.0 0.0.0.0\n"
    config = parse_config(text)
    assert text in format_config(config)
    assert config.keyrings["default"].keys == (PreSharedKey("0.0.0.0", "0.0.0.0", "secret"),)
    gone = parse_config(text + "no crypto isakmp key secret address 0.0.0.0 0.0.0.0\n")
    assert gone.keyrings == {}


# --- errors -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (
            "crypto pki trustpont ra\n rsakeypair x\n",
            "r.cfg:1:12: `trustpont` is not known here (did you mean `trustpoint`?)",
        ),
        (
            "int gi0/0\n ip adress 10.0.0.1 255.0.0.0\n",
            "r.cfg:2:5: `adress` is not known here (did you mean `address`?)",
        ),
        (
            "interface Loopback0\n",
            "r.cfg:1:11: `Loopback0` is not known here (expected IFNAME)",
        ),
        (
            "crypto isakmp policy 0\n",
            "r.cfg:1:22: `0` is not known here (expected <1-10000>)",
        ),
        ("hostname\n", "r.cfg:1:9: incomplete command (expected WORD)"),
        ("i\n", "r.cfg:1:1: `i` is ambiguous (ip or interface)"),
        (
            "hostname a b\n",
            "r.cfg:1:12: `b` is not known here (the command ends here)",
        ),
        (
            "interface gi0/0\n ip address 10.0.0.0 255.255.255.0\n",
            "r.cfg:2:2: Bad mask /24 for address 10.0.0.0 (a host of 10.0.0.0/24 is wanted)",
        ),
        (
            "interface gi0/0\n ip address 10.0.0.1 255.0.255.0\n",
            "r.cfg:2:2: Bad mask 255.0.255.0 (the ones of a mask stand together)",
        ),
        (
            "ip route 10.0.0.1 255.0.0.0 10.9.9.9\n",
            "r.cfg:1:1: Inconsistent address and mask (write 10.0.0.0 255.0.0.0)",
        ),
        (
            "interface gi0/0\n tunnel key 1\n",
            "r.cfg:2:2: GigabitEthernet0/0 has no tunnel"
            " (enter `interface Tunnel 1` or the like first)",
        ),
        (
            "ip http port 81\n",
            "r.cfg:1:1: 81 is not a port for HTTP (80, or 1024 to 65535)",
        ),
        (
            "crypto pki authenticate ra\n",
            "r.cfg:1:1: `crypto pki authenticate` is a deed, not configuration"
            " (give it at the console, or as a step of a scenario)",
        ),
        (
            "crypto keyring default\n",
            "r.cfg:1:1: The keyring default is filled by `crypto isakmp key` (take another name)",
        ),
        (
            "crypto pki server a\n lifetime crl 0 0\n",
            "r.cfg:2:2: a lifetime of zero (at least one minute)",
        ),
        (
            "crypto pki trustpoint a\n revocation-check none crl\n",
            "r.cfg:2:2: revocation-check none crl: the second method can never be reached"
            " (`crl`, `none` or `crl none`)",
        ),
        (
            "crypto pki server a\n database archive pkcs12 password 7 0200FF\n",
            "r.cfg:2:2: Invalid encrypted password (copy all of its digits)",
        ),
        (
            "ip route 10.0.0.0 255.0.255.0 10.9.9.9\n",
            "r.cfg:1:1: Bad mask 255.0.255.0 (the ones of a mask stand together)",
        ),
        (
            "crypto ipsec profile p\n set transform-set a b c d e f g\n",
            "r.cfg:2:2: A profile takes up to six transform sets",
        ),
        (
            "crypto pki trustpoint a\n fqdn none\n",
            "r.cfg:2:2: fqdn none is not supported (every request carries a name here)",
        ),
        ("no crypto pki trustpoint a\n", "r.cfg:1:1: Can't find trustpoint a"),
        ("no crypto pki server a\n", "r.cfg:1:1: Cannot find Certificate Server"),
        (
            "configure terminal\n",
            "r.cfg:1:1: `configure` is not known here (expected service, hostname, ip, clock,"
            " crypto, interface, ntp, exit, end, do)",
        ),
        ("no interface gi0/0\n", "r.cfg:1:1: Removal of physical interfaces is not permitted"),
        ("no ip route 10.0.0.0 255.0.0.0 10.9.9.9\n", "r.cfg:1:1: No matching route to delete"),
    ],
)
def test_each_error_says_where_and_what_would_mend_it(text: str, error: str) -> None:
    assert errors_of(text) == [error]


def test_all_errors_of_a_file_are_reported_in_its_order() -> None:
    text = (
        "hostnam a b\ninterface Foo0\n ip address x\n!\nip http port 1\ncrypto pki server a\n x\n"
    )
    assert [error.split(": ")[0] for error in errors_of(text)] == [
        "r.cfg:1:11",
        "r.cfg:2:11",
        "r.cfg:5:1",
        "r.cfg:7:2",
    ]


def test_parse_config_raises_the_first_error_with_file_line_and_column() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config("hostname a\nbogus\n", file="b.cfg")
    assert (caught.value.file, caught.value.line, caught.value.column) == ("b.cfg", 2, 1)


# --- mode: modern -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "column", "weak"),
    [
        ("crypto key generate rsa label a modulus 1024", 41, "an RSA modulus of 1024"),
        ("crypto ipsec transform-set a esp-3des esp-sha256-hmac", 30, "3DES"),
        ("crypto ipsec transform-set a esp-des esp-sha256-hmac", 30, "DES"),
        ("crypto ipsec transform-set a esp-aes esp-md5-hmac", 38, "HMAC-MD5"),
        ("crypto ipsec transform-set a esp-aes esp-sha-hmac", 38, "HMAC-SHA-1"),
        ("crypto isakmp policy 1\n encr 3des", 7, "3DES"),
        ("crypto isakmp policy 1\n encr des", 7, "DES"),
        ("crypto isakmp policy 1\n hash md5", 7, "MD5"),
        ("crypto isakmp policy 1\n hash sha", 7, "SHA-1"),
        ("crypto isakmp policy 1\n group 1", 8, "group 1"),
        ("crypto isakmp policy 1\n group 2", 8, "group 2"),
        ("crypto isakmp policy 1\n group 5", 8, "group 5"),
        ("crypto pki trustpoint a\n hash sha1", 7, "SHA-1"),
        ("crypto pki server a\n hash md5", 7, "MD5"),
        ("crypto ipsec profile a\n set pfs group2", 10, "group 2"),
    ],
)
def test_modern_lab_refuses_a_weak_word_and_a_legacy_lab_takes_it(
    line: str, column: int, weak: str
) -> None:
    number = line.count("\n") + 1
    assert errors_of(line) == [
        f"r.cfg:{number}:{column}: {weak} is too weak for a lab in mode: modern"
        " (take a stronger one, or set `mode: legacy` in lab.yaml)"
    ]
    assert errors_of(line, "legacy") == []


def test_modern_lab_refuses_the_defaults_of_an_empty_policy_where_it_begins() -> None:
    reported = errors_of("hostname a\ncrypto isakmp policy 5\n authentication pre-share\n")
    assert [error.partition(" of ")[0] for error in reported] == [
        "r.cfg:2:1: encryption DES_CBC",
        "r.cfg:2:1: hash SHA",
        "r.cfg:2:1: group 1",
    ]


def test_modern_lab_refuses_a_transform_set_without_integrity() -> None:
    reported = errors_of("crypto ipsec transform-set a esp-aes\n")
    assert len(reported) == 1
    assert "without esp-sha256-hmac or more" in reported[0]


# --- names and passwords ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "ios", "linux"),
    [
        ("gi0/0", "GigabitEthernet0/0", "gi0-0"),
        ("GigabitEthernet 0/1", "GigabitEthernet0/1", "gi0-1"),
        ("FASTETHERNET0/1", "FastEthernet0/1", "fa0-1"),
        ("e1", "Ethernet1", "et1"),
        ("tun1", "Tunnel1", "tunnel1"),
        ("tunnel 007", "Tunnel7", "tunnel7"),
    ],
)
def test_interface_names_are_completed_and_become_linux_names(
    written: str, ios: str, linux: str
) -> None:
    assert interface_name(written) == ios
    assert linux_ifname(written) == linux


def test_no_of_a_weak_word_is_taken_in_a_modern_lab() -> None:
    text = (
        "crypto isakmp policy 1\n encr aes\n group 14\n hash sha256\n no hash md5\n hash sha512\n"
    )
    assert errors_of(text) == []


@pytest.mark.parametrize(
    ("url", "taken"),
    [
        ("http://192.0.2.1", True),
        ("http://192.0.2.1:12345/cgi-bin/pkiclient.exe", True),
        ("http://192.0.2.1:0", False),
        ("http://192.0.2.1:65536", False),
        ("https://192.0.2.1", False),
        ("http://user@192.0.2.1", False),
        ("http://", False),
        ("192.0.2.1", False),
    ],
)
def test_enrollment_url_is_plain_http_to_a_port_that_exists(url: str, taken: bool) -> None:
    assert (errors_of(f"crypto pki trustpoint a\n enrollment url {url}\n") == []) is taken


@pytest.mark.parametrize(
    ("url", "taken"),
    [
        ("nvram:", True),
        ("ftp://192.0.2.1", True),
        ("ftp://ca:pass@192.0.2.1:2121/db", True),
        ("ftp://192.0.2.1:99999", False),
        ("ftp://a@b@c", False),
        ("http://192.0.2.1", False),
        ("flash:", False),
    ],
)
def test_database_url_is_ftp_or_nvram(url: str, taken: bool) -> None:
    assert (errors_of(f"crypto pki server a\n database url {url}\n") == []) is taken


def test_unprintable_words_of_a_file_are_shown_escaped() -> None:
    assert errors_of("\x1b[2J\n")[0].startswith("r.cfg:1:1: `\\x1b[2J` is not known here")


def test_interface_numbers_beyond_reason_are_refused() -> None:
    assert interface_name("tunnel" + "1" * 5000) is None
    assert interface_name("gi" + "/".join("0" * 50)) is None
    assert interface_name("gi\u0661") is None


@pytest.mark.parametrize("name", ["", "x0", "gi", "tunnel1/2", "gi0/0.1", "gi0 /0", "1"])
def test_other_interface_names_are_refused(name: str) -> None:
    assert interface_name(name) is None
    with pytest.raises(ConfigError):
        linux_ifname(name)


def test_interface_name_too_long_for_linux_is_refused() -> None:
    with pytest.raises(ConfigError, match="over 15"):
        linux_ifname("GigabitEthernet1000/1000/1000/1000")


def test_type_7_passwords_of_the_guide_all_hide_the_same_word() -> None:
    hidden = ["104D000A061843595F", "13061E010803557878", "060506324F41584B56"]
    assert {decode_type7(text) for text in hidden} == {"cisco123"}


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1))
def test_type_7_is_undone_by_its_inverse(password: str) -> None:
    assert decode_type7(encode_type7(password)) == password
