"""The state table of a certificate server, and what it shows of itself.

The steps are methods of `cert_server.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum


class ServerState(Enum):
    """States of a certificate server; the values are what `show crypto pki server` says."""

    DISABLED = "disabled"
    CLOCK_NOT_SET = "disabled, clock not set"
    STORAGE_LOST = "disabled, Storage not accessible"
    REQUEST_PENDING = "disabled, CA Certificate request is pending"
    EXPIRED = "disabled, CA certificate expired"
    ENABLED = "enabled"


class ServerInput(Enum):
    """What can happen to a certificate server. START_*: `no shut`, as what it finds."""

    START_UNSYNCHRONIZED = "no shut without a clock"
    START_SELF_SIGNED = "no shut of a root without a certificate"
    START_SUBORDINATE = "no shut of a sub-CA without a certificate"
    START = "no shut with a certificate"
    CERTIFICATE = "certificate from the CA above"
    EXPIRE = "end of the CA certificate"
    RECOVER = "clock within the life of the CA certificate"
    ROLLOVER = "time for the next CA certificate"
    NEXT_CERTIFICATE = "next certificate from the CA above"
    SWAP = "another CA certificate in force"
    LOSE_STORAGE = "storage not accessible"
    SHUT = "shut"


_S = ServerState
_I = ServerInput
_STARTS = {
    _I.START_UNSYNCHRONIZED: ("", _S.CLOCK_NOT_SET),
    _I.START_SELF_SIGNED: ("sign_itself", _S.ENABLED),
    _I.START_SUBORDINATE: ("write_serial", _S.REQUEST_PENDING),
    _I.START: ("publish", _S.ENABLED),
    _I.LOSE_STORAGE: ("", _S.STORAGE_LOST),
    _I.SHUT: ("", _S.DISABLED),
}
_STOPS = {_I.LOSE_STORAGE: ("", _S.STORAGE_LOST), _I.SHUT: ("", _S.DISABLED)}

# (state, input) -> (step, new state). A pair that is not here is refused.
TABLE: Mapping[ServerState, Mapping[ServerInput, tuple[str, ServerState]]] = {
    _S.DISABLED: _STARTS,
    _S.CLOCK_NOT_SET: _STARTS,
    _S.STORAGE_LOST: _STARTS,
    _S.REQUEST_PENDING: _STOPS | {_I.CERTIFICATE: ("install", _S.ENABLED)},
    _S.EXPIRED: _STOPS
    | {
        _I.CERTIFICATE: ("install", _S.ENABLED),
        _I.SWAP: ("swap", _S.ENABLED),
        _I.RECOVER: ("publish", _S.ENABLED),
    },
    _S.ENABLED: _STOPS
    | {
        _I.CERTIFICATE: ("install", _S.ENABLED),
        _I.ROLLOVER: ("make_next", _S.ENABLED),
        _I.NEXT_CERTIFICATE: ("hold_next", _S.ENABLED),
        _I.SWAP: ("swap", _S.ENABLED),
        _I.EXPIRE: ("", _S.EXPIRED),
    },
}
# Steps after which a CRL of the key that is now in force is due.
PUBLISHING = frozenset({"sign_itself", "publish", "install", "swap"})


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """What `show crypto pki server` prints. Fingerprints: MD5, upper-case hex, None if not there.

    upper_fingerprint: of the CA above, None for a root. pending: requests waiting. ra_fingerprint:
    of an RA's own certificate; `fingerprint` is then that of its CA. rollover_*: of the next CA
    certificate, while there is one; rollover_date: when it will be made, while there is none.
    """

    name: str
    state: ServerState
    issuer: str
    fingerprint: str | None
    upper_fingerprint: str | None
    grant: str
    last_serial: int
    expires: datetime | None
    crl_next_update: datetime | None
    database_level: str
    database_url: str | None
    pending: int
    ra_fingerprint: str | None = None
    rollover_fingerprint: str | None = None
    rollover_expires: datetime | None = None
    rollover_date: datetime | None = None
