"""How long a pre-shared key lasts against guessing, and what is said of one that does not.

Who takes the responder's place gets message 5 of main mode and tries keys on it at leisure
(CVE-2018-5389); in aggressive mode HASH_R comes to anyone who asks (CVE-2002-1623). Nothing of
either shows in the router's log: only the key itself can be too good for it.
"""

from __future__ import annotations

import string
from collections.abc import Iterator
from dataclasses import dataclass

from ikelab.ios.config import RunningConfig
from ikelab.isakmp.policy import PreSharedKey
from ikelab.wire.numbers import AuthMethod

GUESSES_A_SECOND = 10**9
"""Taken for one graphics card: two HMACs a guess, of which it does some thousand million."""

COMMON_WORDS = (
    *("cisco", "secret", "password", "passw0rd", "letmein", "welcome", "changeme", "qwerty"),
    *("key", "mykey", "psk", "vpn", "vpnkey", "ipsec", "isakmp", "dmvpn", "tunnel", "router"),
    *("test", "lab", "admin", "default", "sesame", "preshared", "presharedkey", "ikelab"),
)
"""What any list of words begins with. In capitals and with figures behind they are no better."""

_YEAR = 365 * 86400
_ENOUGH = 1000 * _YEAR  # of one card: a thousand of them take a year
_UNITS = ((_YEAR, "years"), (86400, "days"), (3600, "hours"), (60, "minutes"), (1, "seconds"))
_ALPHABETS = (string.ascii_lowercase, string.ascii_uppercase, string.digits)
_OTHERS = 33  # printable ASCII that is neither letter nor figure
_MEND = "take 20 random characters for each peer, or certificates"


@dataclass(frozen=True, slots=True)
class _Key:
    """owner: as a sentence has it. is_wildcard: for whatever address."""

    owner: str
    key: str
    is_wildcard: bool = False


def key_warnings(config: RunningConfig) -> Iterator[str]:
    """A sentence on each pre-shared key that is soon guessed or anybody's; never the key itself."""
    methods = [policy.authentication for policy in config.policies.values()]
    if AuthMethod.PRE_SHARED_KEY not in methods:
        return
    who = "anybody who asks (aggressive mode is on)"
    if not config.aggressive_mode:
        who = "whoever takes the peer's place"
    for key in _keys(config):
        time = time_to_guess(key.key)
        if time:
            yield f"the pre-shared key for {key.owner} is weak: {who} can guess it {time}; {_MEND}"
        if key.is_wildcard:
            yield (
                f"the pre-shared key for {key.owner} is everybody's: with it one comes in from any"
                f" address, as any peer; {_MEND}"
            )


def _keys(config: RunningConfig) -> Iterator[_Key]:
    for keyring in config.keyrings.values():
        for key in keyring.keys:
            yield _Key(_owner(key), key.key, key.mask == "0.0.0.0")
    for peer in config.aggressive_peers.values():
        if peer.password is not None:
            yield _Key(peer.address, peer.password)


def _owner(key: PreSharedKey) -> str:
    if key.hostname or key.mask == "255.255.255.255":
        return key.hostname or key.address
    return f"{key.address} {key.mask}"


def time_to_guess(key: str) -> str:
    """ "at once, ..." or "within 3 hours, ...", "" where it takes a thousand years and more.

    An upper bound: all keys of as many characters of the kinds it has are tried. Words of other
    lists and patterns fall sooner.
    """
    if is_common(key):
        return "at once, it is in every list of words"
    seconds = _alphabet(key) ** len(key) // GUESSES_A_SECOND
    if seconds >= _ENOUGH:
        return ""
    for length, name in _UNITS:
        if seconds >= 2 * length:
            return f"within {seconds // length} {name}, with one graphics card"
    return "within a second or two, with one graphics card"


def is_common(key: str) -> bool:
    """Whether it is a common word, however it is written."""
    bare = key.lower()
    return bare in COMMON_WORDS or bare.rstrip(string.digits + "!?.*#") in ("", *COMMON_WORDS)


def _alphabet(key: str) -> int:
    size = sum(len(kind) for kind in _ALPHABETS if set(kind) & set(key))
    return size + (_OTHERS if set(key) - set("".join(_ALPHABETS)) else 0)
