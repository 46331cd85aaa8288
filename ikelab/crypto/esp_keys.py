"""How many octets of KEYMAT an ESP transform takes (RFC 2409 section 5.5, RFC 2407 section 4.5).

Quick mode asks before it derives keys, the data plane when it gets them. No keys are made here.
"""

from __future__ import annotations

from ikelab.errors import ProtocolError
from ikelab.wire.numbers import AuthAlgorithm, EspTransform, NotifyType

AES_KEY_BITS = (128, 192, 256)

_CIPHER_OCTETS = {
    EspTransform.ESP_DES: 8,
    EspTransform.ESP_3DES: 24,
}

_INTEGRITY_OCTETS = {
    AuthAlgorithm.HMAC_MD5: 16,  # RFC 2403
    AuthAlgorithm.HMAC_SHA: 20,  # RFC 2404
    AuthAlgorithm.HMAC_SHA2_256: 32,  # RFC 4868 section 2.1.1: as long as the hash's output
    AuthAlgorithm.HMAC_SHA2_384: 48,
    AuthAlgorithm.HMAC_SHA2_512: 64,
}


def key_lengths(
    encryption: EspTransform, key_length: int | None, authentication: AuthAlgorithm | None
) -> tuple[int, int]:
    """Octets of (cipher key, integrity key). key_length: bits, for AES only.

    Raises ProtocolError "esp-transform" for a cipher not offered here (ESP_NULL protects nothing)
    and "esp-key-length" for an AES key of no defined size: RFC 3602 section 5.3 makes the
    attribute mandatory, so None is refused too.
    """
    integrity = 0 if authentication is None else _INTEGRITY_OCTETS[authentication]
    if encryption is EspTransform.ESP_AES:
        if key_length not in AES_KEY_BITS:
            raise ProtocolError(
                "esp-key-length",
                f"ESP_AES with a key length of {key_length} bits; RFC 3602 defines 128, 192, 256",
                seen=f"{key_length} bits",
                wanted="128, 192 or 256 bits",
                notify=NotifyType.NO_PROPOSAL_CHOSEN,
            )
        return key_length // 8, integrity
    if encryption not in _CIPHER_OCTETS:
        raise ProtocolError(
            "esp-transform",
            f"{encryption.name} is not offered: traffic would leave in clear",
            seen=encryption.name,
            wanted="a transform that encrypts",
            notify=NotifyType.NO_PROPOSAL_CHOSEN,
        )
    return _CIPHER_OCTETS[encryption], integrity
