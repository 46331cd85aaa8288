"""Vendor IDs: the octets by which IKEv1 peers announce what they can do, and their names.

Most are the MD5 of a published text, given beside each; the others are from the source named.
A vendor ID carries no promise: it is sent in clear and anyone may send any of them.
"""

from __future__ import annotations

# NAT traversal: MD5 of the name of the RFC or draft (RFC 3947 section 3.1).
NAT_T_RFC_3947 = bytes.fromhex("4a131c81070358455c5728f20e95452f")
NAT_T_DRAFT_07 = bytes.fromhex("439b59f8ba676c4c7737ae22eab8f582")
NAT_T_DRAFT_03 = bytes.fromhex("7d9419a65310ca6f2c179d9215529d56")
# The name with a newline after it: that is what the first implementations hashed and all kept.
NAT_T_DRAFT_02 = bytes.fromhex("90cb80913ebb696e086381b5ec427b1f")
NAT_T_DRAFT_02_NO_NEWLINE = bytes.fromhex("cd60464335df21f87cfdb2fc68b6a448")
NAT_T_DRAFT_00 = bytes.fromhex("4485152d18b6bbcd0be8a8469579ddcc")

# Dead peer detection (RFC 3706 section 5.1): 14 octets, then major and minor version.
DPD_PREFIX = bytes.fromhex("afcad71368a1f1c96b8696fc7757")
DPD = DPD_PREFIX + bytes((1, 0))

# Cisco Unity: MD5 of "CISCO-UNITY" cut to 14 octets, then major and minor version.
CISCO_UNITY_PREFIX = bytes.fromhex("12f5f28c457168a9702d9fe274cc")
CISCO_UNITY = CISCO_UNITY_PREFIX + bytes((1, 0))

# MD5 of "draft-ietf-ipsra-isakmp-xauth-06.txt", cut to 8 octets.
XAUTH = bytes.fromhex("09002689dfd6b712")

# MD5 of "ikelab": another of our own kind.
IKELAB = bytes.fromhex("df2497feb76d317609ea8b71a0ccf58c")

# MD5 of "FRAGMENTATION"; Cisco and Microsoft may add 4 octets of capabilities.
FRAGMENTATION = bytes.fromhex("4048b7d56ebce88525e7de7f00d6c2d3")

# MD5 of "strongSwan".
STRONGSWAN = bytes.fromhex("882fe56d6fd20dbc2251613b2ebe5beb")

# MD5 of "MS NT5 ISAKMPOAKLEY"; 4 octets of version follow.
MS_NT5_ISAKMPOAKLEY = bytes.fromhex("1e2b516905991c7d7c96fcbfb587e461")

# MD5 of "Vid-Initial-Contact" (Microsoft).
MS_INITIAL_CONTACT = bytes.fromhex("26244d38eddb61b3172a36e3d0cfb819")

NAT_T_VENDOR_IDS = (NAT_T_RFC_3947, NAT_T_DRAFT_07, NAT_T_DRAFT_03, NAT_T_DRAFT_02)
"""NAT traversal as an IOS initiator offers it, in its order of preference."""

_EXACT = {
    NAT_T_RFC_3947: "NAT-T RFC 3947",
    NAT_T_DRAFT_07: "NAT-T draft-07",
    NAT_T_DRAFT_03: "NAT-T draft-03",
    NAT_T_DRAFT_02: "NAT-T draft-02",
    NAT_T_DRAFT_02_NO_NEWLINE: "NAT-T draft-02 without newline",
    NAT_T_DRAFT_00: "NAT-T draft-00",
    XAUTH: "XAUTH",
    IKELAB: "ikelab",
    STRONGSWAN: "strongSwan",
    MS_INITIAL_CONTACT: "Microsoft initial contact",
}
# (prefix, octets after it, name): the versions and capabilities are data, not identity.
_PREFIXES = (
    (DPD_PREFIX, 2, "DPD"),
    (CISCO_UNITY_PREFIX, 2, "Cisco Unity"),
    (FRAGMENTATION, 0, "FRAGMENTATION"),
    (FRAGMENTATION, 4, "FRAGMENTATION"),
    (MS_NT5_ISAKMPOAKLEY, 4, "MS NT5 ISAKMPOAKLEY"),
)


def name_vendor_id(octets: bytes) -> str | None:
    """The name of a vendor ID, whatever version it announces; None if it is not known here."""
    exact = _EXACT.get(octets)
    if exact is not None:
        return exact
    for prefix, rest, name in _PREFIXES:
        if len(octets) == len(prefix) + rest and octets.startswith(prefix):
            return name
    return None
