"""SCEP in the query of a URL: parameters, and a message in base64 (RFC 8894 section 4.1)."""

from __future__ import annotations

import base64
import binascii
from urllib.parse import unquote_to_bytes

from ikelab.errors import PkiError

_MAX_PARAMETERS = 8


def read_query(query: str) -> dict[str, bytes]:
    """Parameters of a query, the first of each name.

    A "+" stays one: clients send base64 without escaping it, and no value of SCEP has blanks.
    """
    found: dict[str, bytes] = {}
    for part in query.split("&", _MAX_PARAMETERS)[:_MAX_PARAMETERS]:
        name, _, value = part.partition("=")
        found.setdefault(name, unquote_to_bytes(value))
    return found


def decode_message(message: bytes | None) -> bytes:
    """The message of a GET: wrapped lines (IOS) and the URL-safe alphabet (micromdm) are taken."""
    if not message:
        raise PkiError("no-message", "PKIOperation by GET without a message")
    text = b"".join(message.split()).translate(bytes.maketrans(b"-_", b"+/")).rstrip(b"=")
    try:
        return base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except binascii.Error as error:
        raise PkiError("bad-base64", f"the message of a GET: {error}") from None
