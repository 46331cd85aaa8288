"""Whose certificate says what: our own ID, and the peer's ID against its certificate (RFC 4945)."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from ikelab.errors import ProtocolError
from ikelab.isakmp.events import PeerCertAccepted
from ikelab.isakmp.identity import (
    check_id_in_certificate,
    check_id_is_source,
    choose_identity,
)
from ikelab.isakmp.policy import Credential, IsakmpConfig
from ikelab.wire.numbers import IdType

ADDRESS, FQDN, DN = IdType.ID_IPV4_ADDR, IdType.ID_FQDN, IdType.ID_DER_ASN1_DN
OURS = "192.168.134.146"
PACKED = IPv4Address(OURS).packed
NAME = "r35-1-1020.cisco.com"


def credential(fqdns: tuple[str, ...] = (NAME,), addresses: tuple[str, ...] = ()) -> Credential:
    return Credential("ra", b"", (), (), b"the subject", fqdns, addresses, "ra")


@pytest.mark.parametrize(
    ("configured", "held", "chosen"),
    [
        (ADDRESS, None, (ADDRESS, PACKED)),
        (FQDN, None, (FQDN, NAME.encode())),
        (DN, None, (ADDRESS, PACKED)),
        (ADDRESS, credential(addresses=(OURS,)), (ADDRESS, PACKED)),
        # The guide's r35-1-1020: `ip-address` is the CA's, "Addr not in Cert!".
        (ADDRESS, credential(addresses=("192.168.159.243",)), (FQDN, NAME.encode())),
        (ADDRESS, credential(()), (DN, b"the subject")),
        (FQDN, credential(("Other.cisco.com", NAME.upper())), (FQDN, NAME.encode())),
        (FQDN, credential(("other.cisco.com",), (OURS,)), (FQDN, b"other.cisco.com")),
        (FQDN, credential((), (OURS,)), (ADDRESS, PACKED)),
        (FQDN, credential(()), (DN, b"the subject")),
        (DN, credential(addresses=(OURS,)), (DN, b"the subject")),
    ],
)
def test_our_identity_is_one_that_the_certificate_vouches_for(
    configured: IdType, held: Credential | None, chosen: tuple[IdType, bytes]
) -> None:
    config = IsakmpConfig(hostname=NAME, identity=configured)
    assert choose_identity(config, held, OURS) == chosen


def certificate(*, is_subject: bool = False) -> PeerCertAccepted:
    return PeerCertAccepted(
        1,
        "ra",
        b"",
        b"subject",
        ("R1.cisco.com",),
        ("192.0.2.1",),
        7,
        ("Admin@Cisco.com",),
        is_subject,
    )


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (FQDN, b"r1.CISCO.com"),
        (ADDRESS, IPv4Address("192.0.2.1").packed),
        (IdType.ID_USER_FQDN, b"Admin@cisco.COM"),
    ],
)
def test_an_id_that_stands_in_the_certificate_is_the_peers(kind: IdType, data: bytes) -> None:
    check_id_in_certificate((kind, data), certificate())


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (FQDN, b"r2.cisco.com"),
        (FQDN, b"cisco.com"),
        (FQDN, b"*.cisco.com"),
        (FQDN, b"R1.cisco.com\0.evil.example"),
        (FQDN, b"192.0.2.1"),
        (ADDRESS, IPv4Address("192.0.2.2").packed),
        (IdType.ID_USER_FQDN, b"admin@cisco.com"),  # the part before @ has a case
        (IdType.ID_USER_FQDN, b"R1.cisco.com"),
        (DN, b"subject"),
        (IdType.ID_IPV4_ADDR_SUBNET, IPv4Address("192.0.2.1").packed + b"\xff" * 4),
        (0, b""),
        (255, b"R1.cisco.com"),
    ],
)
def test_an_id_that_does_not_is_refused_with_what_the_certificate_says(
    kind: int, data: bytes
) -> None:
    with pytest.raises(ProtocolError) as told:
        check_id_in_certificate((kind, data), certificate())
    assert told.value.reason == "id-not-in-certificate"
    assert "R1.cisco.com, 192.0.2.1, Admin@Cisco.com" in told.value.detail


def test_a_dn_counts_as_whoever_checked_the_certificate_compared_it() -> None:
    check_id_in_certificate((DN, b"SUBJECT"), certificate(is_subject=True))


def test_an_address_as_id_is_where_the_packets_come_from() -> None:
    mine = (int(ADDRESS), IPv4Address("192.0.2.1").packed)
    check_id_is_source(mine, "192.0.2.1")
    check_id_is_source((int(FQDN), b"r1.cisco.com"), "192.0.2.9")
    with pytest.raises(ProtocolError, match="packets come from 192.0.2.9"):
        check_id_is_source(mine, "192.0.2.9")
