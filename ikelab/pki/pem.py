"""DER as text on a terminal: PEM (RFC 7468), and the bare base64 that IOS prints and takes too.

What comes in was pasted by hand: blanks around lines, CRLF and text between the blocks are taken,
but every octet of a block must be base64, and nothing is guessed.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field

from ikelab.errors import PkiError

CERTIFICATE = "CERTIFICATE"
REQUEST = "CERTIFICATE REQUEST"
PKCS12 = "PKCS12"
"""IOS's own: RFC 7468 has no label for PKCS #12."""

# A chain of a few certificates with their keys; a PKCS #12 of those.
_MAX_TEXT = 1 << 18
_MAX_BLOCKS = 16
_COLUMNS = 64
_LABEL = r"[A-Z0-9]+(?: [A-Z0-9]+)*"
_BLOCK = re.compile(rf"-----BEGIN ({_LABEL})-----\s*\n(.*?)-----END \1-----", re.DOTALL)
_BEGIN = re.compile(rf"-----BEGIN {_LABEL}-----")
_HEADER = re.compile(r"[A-Za-z0-9-]+: ?[!-~][ -~]*")
# OpenSSL's older name for a request.
_SYNONYMS = {"NEW CERTIFICATE REQUEST": REQUEST, "X509 CERTIFICATE": CERTIFICATE}


@dataclass(frozen=True, slots=True)
class PemBlock:
    """One block. label: "CERTIFICATE" and the like. headers: RFC 1421's, of an encrypted key."""

    label: str
    der: bytes = field(repr=False)
    headers: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The block, in its regular form."""
        head = "".join(f"{header}\n" for header in self.headers)
        body = (head + "\n" if head else "") + to_base64(self.der)
        return f"-----BEGIN {self.label}-----\n{body}-----END {self.label}-----\n"


def to_pem(label: str, der: bytes) -> str:
    """The block that holds these octets; ends with a line feed."""
    return PemBlock(label, der).text


def to_base64(der: bytes) -> str:
    """Lines of 64 characters, each with its line feed."""
    text = base64.b64encode(der).decode()
    return "".join(f"{text[at : at + _COLUMNS]}\n" for at in range(0, len(text), _COLUMNS))


def read_pem(text: str) -> tuple[PemBlock, ...]:
    """All blocks of a text, in order; what stands between them is left out.

    Raises PkiError("malformed-pem") for a block that is broken off or holds no base64.
    """
    text = _bounded(text)
    found = [_block(match[1], match[2]) for match in _BLOCK.finditer(text)]
    if len(found) != len(_BEGIN.findall(text)):
        raise PkiError("malformed-pem", "a block begins and does not end")
    if len(found) > _MAX_BLOCKS:
        raise PkiError("malformed-pem", f"{len(found)} blocks, at most {_MAX_BLOCKS}")
    return tuple(found)


def read_pasted(text: str, label: str) -> tuple[bytes, ...]:
    """The octets somebody pasted: blocks of that label, or one thing in bare base64.

    Raises PkiError("malformed-pem"), also for blocks of another label.
    """
    blocks = read_pem(text)
    if not blocks:
        return (_decode(text),)
    other = next((block.label for block in blocks if block.label != label), None)
    if other is not None:
        raise PkiError("malformed-pem", f"a {other} was pasted where a {label} is wanted")
    return tuple(block.der for block in blocks)


def _bounded(text: str) -> str:
    if len(text) > _MAX_TEXT:
        raise PkiError("malformed-pem", f"{len(text)} characters, at most {_MAX_TEXT}")
    return "\n".join(line.strip() for line in text.splitlines()) + "\n"


def _block(label: str, body: str) -> PemBlock:
    headers: list[str] = []
    lines = body.split("\n")
    while lines and _HEADER.fullmatch(lines[0]):
        headers.append(lines.pop(0))
    return PemBlock(_SYNONYMS.get(label, label), _decode("\n".join(lines)), tuple(headers))


def _decode(text: str) -> bytes:
    octets = "".join(text.split())
    try:
        decoded = base64.b64decode(octets, validate=True)
    except (binascii.Error, ValueError) as error:
        raise PkiError("malformed-pem", f"what was pasted is not base64: {error}") from None
    if not decoded:
        raise PkiError("malformed-pem", "nothing was pasted")
    return decoded
