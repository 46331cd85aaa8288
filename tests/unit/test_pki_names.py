"""Distinguished names: as DER, as IOS prints them, and as they are compared."""

from __future__ import annotations

import pytest
from cryptography import x509 as library

from ikelab.errors import ConfigError
from ikelab.pki import der
from ikelab.pki.name import is_within, read_name
from ikelab.pki.x509 import build_name, format_name, name_values, names_match, parse_dn

SPOKE = build_name(
    [
        [
            ("hostname", "r35-3-1022"),
            ("ipaddress", "192.168.187.194"),
            ("serialNumber", "FTX1048A6DW"),
        ]
    ]
)


# --- names ----------------------------------------------------------------------------------------


def test_attributes_of_one_rdn_are_in_der_order_as_ios_prints_them() -> None:
    """Both orders of the guide's `show` output come from one rule: shorter encodings first."""
    assert format_name(SPOKE) == (
        "serialNumber=FTX1048A6DW+hostname=r35-3-1022+ipaddress=192.168.187.194"
    )
    longer = [("ipaddress", "192.168.159.243"), ("hostname", "r35-1-1020.cisco.com")]
    assert format_name(build_name([[*longer, ("serialNumber", "FTX1047A2C7")]])) == (
        "serialNumber=FTX1047A2C7+ipaddress=192.168.159.243+hostname=r35-1-1020.cisco.com"
    )


def test_names_are_what_cryptography_writes() -> None:
    rdn = library.RelativeDistinguishedName(
        [
            library.NameAttribute(
                library.NameOID.UNSTRUCTURED_NAME,
                "r35-3-1022",
                library.name._ASN1Type.IA5String,
            ),
            library.NameAttribute(
                library.NameOID.SERIAL_NUMBER,
                "FTX1048A6DW",
                library.name._ASN1Type.PrintableString,
            ),
        ]
    )
    ours = build_name([[("hostname", "r35-3-1022"), ("serialNumber", "FTX1048A6DW")]])
    assert ours == library.Name([rdn]).public_bytes()


@pytest.mark.parametrize(
    "text",
    [
        "cn=root-ca",
        "cn=root-ca,o=Example,c=US",
        "cn=a\\,b\\+c\\\\d,o=x",
        "cn=\\#1",
        "cn=\\ blanks\\ ",
        "cn=K\u00f6ln",
        "serialNumber=1+hostname=r1.example.com,dc=example",
    ],
)
def test_names_come_back_from_text_as_they_were(text: str) -> None:
    assert format_name(parse_dn(text)) == text


def test_text_takes_quotes_blanks_and_long_names() -> None:
    parsed = parse_dn('CN = "Smith, Jane" ; unstructuredName = r1 , O=\\4b\\c3\\b6ln ')
    assert format_name(parsed) == "cn=Smith\\, Jane,hostname=r1,o=K\u00f6ln"


def test_first_part_of_the_text_is_encoded_last() -> None:
    assert [rdn[0][0] for rdn in read_name(parse_dn("cn=x,ou=y,o=z"))] == ["o", "ou", "cn"]


@pytest.mark.parametrize(
    "text",
    ["", "root-ca", "cn=", "cn=a,", "x9=a", "cn=a\\", 'cn="a', 'cn="a"b', "c=USA", "cn=\\ff", "=a"]
    + ["cn=" + "a" * 65, "cn=a\nb"],
)
def test_text_that_is_no_name_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(ConfigError, match="is not a distinguished name") as caught:
        parse_dn(text)
    assert "cn=NAME" in caught.value.hint


def test_formatted_names_are_safe_for_a_terminal() -> None:
    """A peer's subject may hold escape sequences, line breaks, bidirectional marks."""
    hostile = "a\x1b[31m\r\n%SYS-5\u202e\x00"
    attribute = der.sequence(der.oid("2.5.4.3"), der.tlv(der.UTF8_STRING, hostile.encode()))
    text = format_name(der.sequence(der.set_of(attribute)))
    assert text.isprintable()
    assert text == "cn=a\\1b[31m\\0d\\0a%SYS-5\\e2\\80\\ae\\00"


def test_names_match_without_regard_to_case_and_blanks() -> None:
    assert names_match(parse_dn("cn=Root  CA,o=X"), parse_dn("cn=root ca ,o=x"))
    assert not names_match(parse_dn("cn=root,o=x"), parse_dn("cn=root"))
    assert not names_match(parse_dn("cn=root,o=x"), parse_dn("o=x,cn=root"))
    assert is_within(parse_dn("cn=a,o=x,c=US"), parse_dn("o=X,c=us"))
    assert not is_within(parse_dn("o=x,c=US"), parse_dn("cn=a,o=x,c=US"))


# --- fingerprints ---------------------------------------------------------------------------------


def test_values_of_one_kind_can_be_asked_for() -> None:
    assert name_values(SPOKE, "hostname") == ("r35-3-1022",)
    assert len(name_values(SPOKE)) == 3
