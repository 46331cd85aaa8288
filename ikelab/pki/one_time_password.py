"""One-time passwords (`password generate`): challenges that let one router in, once, unasked.

The store has only a digest of each. That of a password which is for one name is of both together,
so in anybody else's request it is just a wrong one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import datetime

from ikelab.errors import PkiError
from ikelab.pki.scep_numbers import FailInfo
from ikelab.pki.store import CaStore, PasswordState
from ikelab.pki.x509 import CertificateRequest, name_values


def password_digest(password: str, name: str = "") -> bytes:
    """SHA-256 of what the store is to know. name: whom it is for, "" where it is for anybody."""
    bound = f"{password}\0{name.lower()}" if name else password
    return hashlib.sha256(bound.encode()).digest()


def open_password(store: CaStore, request: CertificateRequest, now: datetime) -> bytes | None:
    """The digest of a request's challenge, if that is an open one-time password for its name.

    Other challenges are what they were meant for, the word to ask a revocation with; but as long as
    a one-time password is out, a wrong one is refused, and a used one always: PkiError
    ("wrong-password", "password-used").
    """
    if not request.challenge:
        return None
    states = {digest: store.password_state(digest, now) for digest in _digests(request)}
    for digest, state in states.items():
        if state is PasswordState.OPEN:
            return digest
    if PasswordState.SPENT in states.values():
        raise _bad_request("password-used", "the one-time password was used or has expired")
    if store.is_password_open(now):
        raise _bad_request(
            "wrong-password", "not the one-time password that was generated, or not for this name"
        )
    return None


def _digests(request: CertificateRequest) -> Iterator[bytes]:
    yield password_digest(request.challenge or "")
    for name in dict.fromkeys((*name_values(request.subject), *request.fqdns)):
        yield password_digest(request.challenge or "", name)


def _bad_request(reason: str, detail: str) -> PkiError:
    return PkiError(reason, detail, fail_info=FailInfo.BAD_REQUEST)
