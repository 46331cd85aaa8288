"""CPU time of one thread, split over the parts of a handshake.

Every moment belongs to exactly one part. The functions of `PARTS` are replaced by timed ones for
as long as a `with` block lasts; time spent in none of them is the rest. A part inside another one
(a signature checked while a certificate is) is taken out of the outer one.
"""

from __future__ import annotations

import functools
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import ikelab.crypto.cipher
import ikelab.crypto.oakley
import ikelab.crypto.rsa
import ikelab.pki.algorithms
import ikelab.pki.revocation
import ikelab.pki.x509
import ikelab.runtime.keys
import ikelab.wire.isakmp
import ikelab.wire.payloads

CRYPTOGRAPHY, SCAPY, CERTIFICATES, REST = "cryptography", "scapy", "certificates", "the rest"
PARTS = (CRYPTOGRAPHY, SCAPY, CERTIFICATES, REST)

# What is timed: (where it is defined, name, part). Everything that does arithmetic for the
# protocol is cryptography, also while a certificate is checked; all of `wire/` is scapy, with the
# strict checks of ours that stand around it.
_TIMED: tuple[tuple[Any, str, str], ...] = (
    (ikelab.crypto.rsa, "sign_hash", CRYPTOGRAPHY),
    (ikelab.crypto.rsa, "verify_hash", CRYPTOGRAPHY),
    (ikelab.crypto.oakley, "prf", CRYPTOGRAPHY),
    (ikelab.crypto.oakley, "digest", CRYPTOGRAPHY),
    (ikelab.crypto.cipher.CbcCipher, "encrypt", CRYPTOGRAPHY),
    (ikelab.crypto.cipher.CbcCipher, "decrypt", CRYPTOGRAPHY),
    (ikelab.runtime.keys.LibcryptoDhKey, "__init__", CRYPTOGRAPHY),
    (ikelab.runtime.keys.LibcryptoDhKey, "exchange", CRYPTOGRAPHY),
    (ikelab.pki.algorithms, "is_signed_by", CRYPTOGRAPHY),
    (ikelab.wire.isakmp, "parse_header", SCAPY),
    (ikelab.wire.isakmp, "parse_payloads", SCAPY),
    (ikelab.wire.isakmp, "build_payloads", SCAPY),
    (ikelab.wire.isakmp, "build_message", SCAPY),
    (ikelab.wire.isakmp, "body_of", SCAPY),
    (ikelab.wire.payloads._Payload, "__init__", SCAPY),
    (ikelab.pki.revocation.RevocationChecker, "check", CERTIFICATES),
    (ikelab.pki.x509, "load_certificate", CERTIFICATES),
)


class Stopwatch:
    """Adds nanoseconds by part to an account, between `start` and `stop`."""

    def __init__(self) -> None:
        self._account: Counter[str] = Counter()
        self._part = REST
        self._mark = 0

    def start(self, account: Counter[str]) -> None:
        """From now on this account is charged, for the rest until a timed function runs."""
        self._account, self._part, self._mark = account, REST, time.thread_time_ns()

    def stop(self) -> None:
        """Time goes by unseen until `start`."""
        self._switch(REST)

    def _switch(self, part: str) -> str:
        now = time.thread_time_ns()
        self._account[self._part] += now - self._mark
        before, self._part, self._mark = self._part, part, now
        return before

    def timed(self, function: Callable[..., Any], part: str) -> Callable[..., Any]:
        """The function, charged to a part."""

        @functools.wraps(function)
        def wrapper(*arguments: Any, **options: Any) -> Any:
            if self._part == part:
                return function(*arguments, **options)
            before = self._switch(part)
            try:
                return function(*arguments, **options)
            finally:
                self._switch(before)

        return wrapper

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Have the functions timed, wherever ikelab's modules imported them to."""
        restore: list[tuple[Any, str, Any]] = []
        try:
            for home, name, part in _TIMED:
                function = getattr(home, name)
                wrapper = self.timed(function, part)
                for holder in _holders(home, name, function):
                    restore.append((holder, name, vars(holder).get(name)))
                    setattr(holder, name, wrapper)
            yield
        finally:
            for holder, name, function in restore:
                if function is None:  # it was inherited
                    delattr(holder, name)
                else:
                    setattr(holder, name, function)


def _holders(home: Any, name: str, function: Any) -> list[Any]:
    """The class itself, or every module that has the function under its name."""
    if isinstance(home, type):
        return [home]
    modules = [m for key, m in sorted(sys.modules.items()) if key.startswith("ikelab.")]
    return [module for module in modules if vars(module).get(name) is function]
