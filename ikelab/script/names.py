"""The names of messages and payloads, as scripts write them."""

from __future__ import annotations

from ikelab.errors import ConfigError
from ikelab.isakmp import fragmentation, informational, state
from ikelab.isakmp.state import PayloadRule
from ikelab.wire.numbers import PayloadType

MM1, MM2, MM3 = state.MM1, state.MM2, state.MM3
AM1, AM2, AM3 = state.AM1, state.AM2, state.AM3
MM4, MM5, MM6 = state.MM4, state.MM5, state.MM6
QM1, QM2, QM3 = state.QM1, state.QM2, state.QM3
INFO = informational.INFO
_RULES = (MM1, MM2, MM3, MM4, MM5, MM6, AM1, AM2, AM3, QM1, QM2, QM3, INFO)
_MESSAGES = (*(rule.message for rule in _RULES), fragmentation.NAME)

PAYLOADS = {
    "sa": PayloadType.SA,
    "ke": PayloadType.KE,
    "id": PayloadType.ID,
    "cert": PayloadType.CERT,
    "cert_req": PayloadType.CERT_REQ,
    "hash": PayloadType.HASH,
    "sig": PayloadType.SIG,
    "nonce": PayloadType.NONCE,
    "notify": PayloadType.NOTIFY,
    "delete": PayloadType.DELETE,
    "vid": PayloadType.VENDOR_ID,
    "nat_d": PayloadType.NAT_D,
    "nat_oa": PayloadType.NAT_OA,
}


def message_name(message: PayloadRule | str) -> str:
    """ "MM5" of `MM5` or "MM5". Raises ConfigError for what no message is called."""
    name = message if isinstance(message, str) else message.message
    if name not in _MESSAGES:
        raise ConfigError(
            f"no message is called {name!r}", hint=f"there are: {', '.join(_MESSAGES)}"
        )
    return name


def payload_type(name: str) -> PayloadType:
    """The type of a payload's short name. Raises ConfigError."""
    if name not in PAYLOADS:
        raise ConfigError(
            f"no payload is called {name!r}", hint=f"there are: {', '.join(PAYLOADS)}"
        )
    return PAYLOADS[name]
