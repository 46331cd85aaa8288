"""What `debug` can switch on: the names of the commands, and how `show debugging` says them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Debugging:
    """One thing that can be debugged. name: the words behind `debug`, what a LogLine belongs to.

    title: what IOS calls it. section: its head in `show debugging`. help_text: of the words.
    """

    name: str
    title: str
    section: str
    help_text: str


ISAKMP = "crypto isakmp"
IPSEC = "crypto ipsec"
PKI_MESSAGES = "crypto pki messages"
PKI_TRANSACTIONS = "crypto pki transactions"
PKI_CALLBACKS = "crypto pki callbacks"
PKI_VALIDATION = "crypto pki validation"

_CRYPTO, _PKI = "Cryptographic Subsystem:", "PKI:"
DEBUGGINGS = (
    Debugging(ISAKMP, "Crypto ISAKMP", _CRYPTO, "Cryptographic subsystem | ISAKMP Key Management"),
    Debugging(IPSEC, "Crypto IPSEC", _CRYPTO, "IPSEC processing"),
    Debugging(PKI_MESSAGES, "Crypto PKI Msg", _PKI, "PKI Client | PKI Input/Output Messages"),
    Debugging(PKI_TRANSACTIONS, "Crypto PKI Trans", _PKI, "PKI Transactions"),
    Debugging(PKI_CALLBACKS, "Crypto PKI callbacks", _PKI, "PKI Callbacks"),
    Debugging(PKI_VALIDATION, "Crypto PKI Validation Path", _PKI, "PKI Certificate Validation"),
)
"""In the order of `show debugging` (guide, "Certificate Is Revoked or Expired")."""

NAMES = tuple(one.name for one in DEBUGGINGS)
PKI_NAMES = tuple(one.name for one in DEBUGGINGS if one.section == _PKI)


def switched(name: str, on: bool) -> str:
    """What the console says when one is switched."""
    title = next(one.title for one in DEBUGGINGS if one.name == name)
    return f"{title} debugging is {'on' if on else 'off'}\n"


def shown(switched_on: Collection[str]) -> Iterator[str]:
    """The lines of `show debugging`."""
    for section in dict.fromkeys(one.section for one in DEBUGGINGS):
        found = [one for one in DEBUGGINGS if one.section == section and one.name in switched_on]
        if found:
            yield section
            yield from (f"  {one.title} debugging is on" for one in found)
