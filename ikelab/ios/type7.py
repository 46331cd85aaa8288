"""IOS's "type 7" passwords: hidden from a glance, not encrypted. The key is public knowledge.

Two decimal digits say where in the key to begin (0 to 15), then each octet is the password's
exclusive-or the key's, in hexadecimal.
"""

from __future__ import annotations

from ikelab.errors import ConfigError

_KEY = b"dsfd;kfoA,.iyewrkldJKDHSUBsgvca69834ncxv9873254k;fg87"
_START = 2  # where in the key we begin; IOS draws it, a fixed one diffs better


def decode_type7(text: str) -> str:
    """The password. Raises ConfigError where it is not printable ASCII: a mistyped digit."""
    start, octets = int(text[:2]), bytes.fromhex(text[2:])
    plain = bytes(octet ^ _KEY[(start + i) % len(_KEY)] for i, octet in enumerate(octets))
    if not all(0x20 <= octet < 0x7F for octet in plain):
        raise ConfigError("Invalid encrypted password", hint="copy all of its digits")
    return plain.decode("ascii")


def encode_type7(password: str) -> str:
    """The hidden form."""
    hidden = (octet ^ _KEY[(_START + i) % len(_KEY)] for i, octet in enumerate(password.encode()))
    return f"{_START:02d}" + "".join(f"{octet:02X}" for octet in hidden)
