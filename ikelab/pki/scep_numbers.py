"""Numbers and names of SCEP (RFC 8894 section 3.2.1), and which failInfo answers which error."""

from __future__ import annotations

from enum import IntEnum, StrEnum

from ikelab.errors import PkiError


class Attribute(StrEnum):
    """Types of signed attributes (RFC 8894 section 3.2.1); FAIL_INFO_TEXT is of section 3.2.1.5."""

    MESSAGE_TYPE = "2.16.840.1.113733.1.9.2"
    PKI_STATUS = "2.16.840.1.113733.1.9.3"
    FAIL_INFO = "2.16.840.1.113733.1.9.4"
    SENDER_NONCE = "2.16.840.1.113733.1.9.5"
    RECIPIENT_NONCE = "2.16.840.1.113733.1.9.6"
    TRANSACTION_ID = "2.16.840.1.113733.1.9.7"
    FAIL_INFO_TEXT = "1.3.6.1.5.5.7.24.1"


class MessageType(IntEnum):
    """messageType (RFC 8894 section 3.2.1.2). UPDATE_REQ is in old drafts only."""

    CERT_REP = 3
    RENEWAL_REQ = 17
    UPDATE_REQ = 18
    PKCS_REQ = 19
    CERT_POLL = 20
    GET_CERT = 21
    GET_CRL = 22


class PkiStatus(IntEnum):
    """pkiStatus (RFC 8894 section 3.2.1.3)."""

    SUCCESS = 0
    FAILURE = 2
    PENDING = 3


class FailInfo(IntEnum):
    """failInfo (RFC 8894 section 3.2.1.4)."""

    BAD_ALG = 0
    BAD_MESSAGE_CHECK = 1
    BAD_REQUEST = 2
    BAD_TIME = 3
    BAD_CERT_ID = 4


_FAIL_INFOS = {
    "weak-algorithm": FailInfo.BAD_ALG,
    "unsupported-algorithm": FailInfo.BAD_ALG,
    "bad-key": FailInfo.BAD_ALG,
    "key-too-short": FailInfo.BAD_ALG,
    "bad-signature": FailInfo.BAD_MESSAGE_CHECK,
    "no-signer": FailInfo.BAD_MESSAGE_CHECK,
    "malformed-cms": FailInfo.BAD_MESSAGE_CHECK,
    "malformed-certificate": FailInfo.BAD_MESSAGE_CHECK,
    "wrong-recipient": FailInfo.BAD_MESSAGE_CHECK,
    "undecryptable": FailInfo.BAD_MESSAGE_CHECK,
}


def fail_info_of(error: PkiError) -> FailInfo:
    """The failInfo that answers an error: its own, or by its reason; badRequest for the others."""
    if error.fail_info is not None:
        return FailInfo(error.fail_info)
    return _FAIL_INFOS.get(error.reason, FailInfo.BAD_REQUEST)
