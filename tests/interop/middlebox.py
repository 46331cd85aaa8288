"""A box on the way that takes vendor IDs out of message 1; neither end knows of it.

HASH_I and HASH_R cover the SA payload of message 1 and no vendor ID (RFC 2409 section 5), so zeros
in their place are believed. What two ends would prefer is out of the way then, and they show
what else they know.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable

from ikelab.runtime.namespace import inside

_UDP_HEADER, _ISAKMP_HEADER = 8, 28
_REACH = 600  # octets of message 1, of aggressive mode's too, that are searched


def blank_vendor_ids(namespace: str, vendor_ids: Iterable[bytes]) -> None:
    """What leaves a namespace for port 500 has zeros in place of these, each of 16 octets.

    nft compares and sets octets at a fixed place only: one rule for every place where a payload of
    whole words may begin. Checksums are no matter, a veth leaves them for the receiver to ignore.
    """
    begin = _UDP_HEADER + _ISAKMP_HEADER
    rules = [
        f"udp dport 500 @th,{8 * place},128 0x{octets.hex()} @th,{8 * place},128 set 0"
        for octets in vendor_ids
        for place in range(begin, begin + _REACH, 4)
    ]
    chain = ["type filter hook output priority 0", *rules]
    text = "\n".join(("table ip middlebox {", "chain output {", *chain, "}", "}", ""))
    with inside(namespace):
        subprocess.run(["nft", "-f", "-"], input=text, text=True, check=True)
