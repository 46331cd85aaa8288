"""Vendor IDs against the texts they are the MD5 of, and against ike-scan's list."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from ikelab.wire import vendor_id
from ikelab.wire.vendor_id import name_vendor_id


@pytest.mark.parametrize(
    ("octets", "text"),
    [
        (vendor_id.NAT_T_RFC_3947, "RFC 3947"),
        (vendor_id.NAT_T_DRAFT_07, "draft-ietf-ipsec-nat-t-ike-07"),
        (vendor_id.NAT_T_DRAFT_03, "draft-ietf-ipsec-nat-t-ike-03"),
        (vendor_id.NAT_T_DRAFT_02, "draft-ietf-ipsec-nat-t-ike-02\n"),
        (vendor_id.NAT_T_DRAFT_02_NO_NEWLINE, "draft-ietf-ipsec-nat-t-ike-02"),
        (vendor_id.NAT_T_DRAFT_00, "draft-ietf-ipsec-nat-t-ike-00"),
        (vendor_id.CISCO_UNITY_PREFIX, "CISCO-UNITY"),
        (vendor_id.XAUTH, "draft-ietf-ipsra-isakmp-xauth-06.txt"),
        (vendor_id.FRAGMENTATION, "FRAGMENTATION"),
        (vendor_id.STRONGSWAN, "strongSwan"),
        (vendor_id.MS_NT5_ISAKMPOAKLEY, "MS NT5 ISAKMPOAKLEY"),
        (vendor_id.MS_INITIAL_CONTACT, "Vid-Initial-Contact"),
    ],
)
def test_vendor_id_is_the_md5_of_its_text(octets: bytes, text: str) -> None:
    assert hashlib.md5(text.encode()).digest().startswith(octets)
    assert len(octets) >= 8


@pytest.mark.parametrize(
    ("octets", "name"),
    [
        (vendor_id.NAT_T_RFC_3947, "NAT-T RFC 3947"),
        (vendor_id.NAT_T_DRAFT_07, "NAT-T draft-07"),
        (vendor_id.NAT_T_DRAFT_03, "NAT-T draft-03"),
        (vendor_id.NAT_T_DRAFT_02, "NAT-T draft-02"),
        (vendor_id.NAT_T_DRAFT_02_NO_NEWLINE, "NAT-T draft-02 without newline"),
        (vendor_id.NAT_T_DRAFT_00, "NAT-T draft-00"),
        (vendor_id.DPD, "DPD"),
        (vendor_id.DPD_PREFIX + b"\x02\x07", "DPD"),
        (vendor_id.CISCO_UNITY, "Cisco Unity"),
        (vendor_id.XAUTH, "XAUTH"),
        (vendor_id.FRAGMENTATION, "FRAGMENTATION"),
        (vendor_id.FRAGMENTATION + bytes.fromhex("c0000000"), "FRAGMENTATION"),
        (vendor_id.STRONGSWAN, "strongSwan"),
        (vendor_id.MS_NT5_ISAKMPOAKLEY + bytes((0, 0, 0, 8)), "MS NT5 ISAKMPOAKLEY"),
        (b"", None),
        (b"x", None),
        (vendor_id.DPD_PREFIX, None),
        (vendor_id.DPD + b"\0", None),
        (vendor_id.XAUTH + b"\0", None),
        (vendor_id.NAT_T_RFC_3947[:-1], None),
        (vendor_id.FRAGMENTATION + b"\xc0", None),
    ],
)
def test_vendor_id_is_named_whatever_version_it_announces(octets: bytes, name: str | None) -> None:
    assert name_vendor_id(octets) == name


def test_ios_offers_nat_traversal_newest_first() -> None:
    # Byte 14 is what IOS prints as "vendor ID seems Unity/DPD but major N mismatch".
    assert [octets[14] for octets in vendor_id.NAT_T_VENDOR_IDS] == [69, 245, 157, 123]


@pytest.mark.interop
def test_ike_scan_knows_them_under_the_same_octets(need: Callable[[str], str]) -> None:
    need("ike-scan")
    table = Path("/usr/share/ike-scan/ike-vendor-ids")
    if not table.exists():
        pytest.skip(f"{table} is not installed")
    known = dict(re.findall(r"^([^#\t]+?)\s*\t\s*\^([0-9a-f]+)$", table.read_text(), re.MULTILINE))
    for octets, wanted in (
        (vendor_id.NAT_T_RFC_3947, "RFC 3947 NAT-T"),
        (vendor_id.NAT_T_DRAFT_07, "draft-ietf-ipsec-nat-t-ike-07"),
        (vendor_id.NAT_T_DRAFT_03, "draft-ietf-ipsec-nat-t-ike-03"),
        (vendor_id.NAT_T_DRAFT_02, r"draft-ietf-ipsec-nat-t-ike-02\n"),
        (vendor_id.CISCO_UNITY, "Cisco Unity"),
        (vendor_id.XAUTH, "XAUTH"),
        (vendor_id.FRAGMENTATION, "IKE Fragmentation"),
        (vendor_id.STRONGSWAN, "strongSwan"),
        (vendor_id.DPD, "Dead Peer Detection v1.0"),
    ):
        assert octets.hex() == known[wanted]
