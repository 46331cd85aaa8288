"""ESP encapsulation and decapsulation (RFC 2406, RFC 4303), one object for each direction.

    0                   1                   2                   3
    |            Security Parameters Index (SPI)                  |  \
    |                      Sequence Number                        |   |
    |                 IV (one cipher block)                       |   | ICV covers
    |                 Payload Data (variable)                     |   |
    |     Padding 1, 2, 3 ... |  Pad Length   |   Next Header     |  /
    |         Integrity Check Value (ICV), truncated HMAC         |

CBC suites only. The SAs draw no octet and know no clock; UDP encapsulation, lifetimes and the
lookup by SPI belong to the data plane.
"""

from __future__ import annotations

import hmac as stdlib_hmac
from collections import Counter
from collections.abc import Mapping

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES

from ikelab.crypto.esp_keys import key_lengths
from ikelab.errors import ProtocolError
from ikelab.ipsec.replay import ReplayWindow
from ikelab.isakmp.events import EspKeys
from ikelab.isakmp.policy import TransformSet
from ikelab.wire.numbers import AuthAlgorithm, EspTransform, IpProtocol

HEADER = 8  # octets of SPI and sequence number
TRAILER = 2  # octets of pad length and next header
LAST_SEQUENCE = 0xFFFFFFFF

_HASHES: Mapping[AuthAlgorithm, tuple[hashes.HashAlgorithm, int]] = {  # and octets of the ICV
    AuthAlgorithm.HMAC_MD5: (hashes.MD5(), 12),  # RFC 2403
    AuthAlgorithm.HMAC_SHA: (hashes.SHA1(), 12),  # RFC 2404
    AuthAlgorithm.HMAC_SHA2_256: (hashes.SHA256(), 16),  # RFC 4868 section 2.1.1
    AuthAlgorithm.HMAC_SHA2_384: (hashes.SHA384(), 24),
    AuthAlgorithm.HMAC_SHA2_512: (hashes.SHA512(), 32),
}


def block_length(encryption: EspTransform) -> int:
    """Octets of the cipher's block, which is also the IV's length: 16 for AES, else 8."""
    return 16 if encryption is EspTransform.ESP_AES else 8


def icv_length(authentication: AuthAlgorithm | None) -> int:
    """Octets of the truncated HMAC at the packet's end."""
    return 0 if authentication is None else _HASHES[authentication][1]


def overhead(transform: TransformSet) -> int:
    """The most octets that ESP adds to a payload, without the outer IP header."""
    block = block_length(transform.encryption)
    padding = block - 1
    return HEADER + block + padding + TRAILER + icv_length(transform.authentication)


class OutboundSa:
    """The sending half of a pair.

    iv: one block of unpredictable octets, drawn by the caller: it starts the cipher and never
    leaves. spi: the receiver's. Raises ProtocolError as `key_lengths` does, and "esp-key-length"
    for keys that do not fit the transform.
    """

    def __init__(self, transform: TransformSet, keys: EspKeys, iv: bytes) -> None:
        cipher = _cipher(transform, keys, iv)
        self.spi = keys.spi
        self.sequence = 0
        self.packets = 0
        self.octets = 0
        self._encryptor = cipher.encryptor()
        self._block = block_length(transform.encryption)
        self._padding = tuple(
            bytes(range(1, length + 1)) + bytes((length,)) for length in range(self._block)
        )
        self._mac = _mac(transform, keys)
        self._icv = icv_length(transform.authentication)

    def protect(self, payload: bytes, next_header: int = IpProtocol.GRE) -> bytes:
        """The whole ESP packet around payload.

        Raises ProtocolError "esp-sequence-wrap" after 2**32 - 1 packets: RFC 4303 section 3.3.3,
        "the counter must not cycle".
        """
        if self.sequence >= LAST_SEQUENCE:
            raise ProtocolError(
                "esp-sequence-wrap",
                f"SPI 0x{self.spi.hex()} has sent its last packet; new keys must be negotiated",
                seen=self.sequence,
                wanted=f"less than {LAST_SEQUENCE}",
            )
        self.sequence += 1
        # One CBC context runs through all packets of the SA. Its first block of a packet,
        # E(sequence xor the previous packet's last block), is the IV on the wire: nobody without
        # the key can foresee it (RFC 3602 section 3), and a new context for each packet costs
        # four times as much.
        padding = self._padding[-(len(payload) + TRAILER) % self._block]
        body = self._encryptor.update(
            self.sequence.to_bytes(self._block, "big")
            + payload
            + padding
            + next_header.to_bytes(1, "big")
        )
        packet = self.spi + self.sequence.to_bytes(4, "big") + body
        self.packets += 1
        self.octets += len(payload)
        if self._mac is None:
            return packet
        mac = self._mac.copy()
        mac.update(packet)
        return packet + mac.finalize()[: self._icv]


class InboundSa:
    """The receiving half of a pair. drops counts refused packets by reason."""

    def __init__(self, transform: TransformSet, keys: EspKeys) -> None:
        block = block_length(transform.encryption)
        self.spi = keys.spi
        self.packets = 0
        self.octets = 0
        self.drops: Counter[str] = Counter()
        self.window = ReplayWindow()
        self._decryptor = _cipher(transform, keys, bytes(block)).decryptor()
        self._block = block
        self._mac = _mac(transform, keys)
        self._icv = icv_length(transform.authentication)

    def open(self, octets: bytes) -> tuple[int, bytes]:
        """(next header, payload) of an ESP packet.

        Raises ProtocolError: "esp-wrong-spi", "esp-short", "esp-bad-length" (not whole blocks),
        "esp-replay", "esp-bad-icv", "esp-bad-padding". Until the ICV is right nothing is
        decrypted and the window stays (RFC 4303 section 3.4.3).
        """
        try:
            self._check_shape(octets)
            self._authenticate(octets)
            next_header, payload = self._decrypt(octets)
        except ProtocolError as error:
            self.drops[error.reason] += 1
            raise
        self.packets += 1
        self.octets += len(payload)
        return next_header, payload

    def _check_shape(self, octets: bytes) -> None:
        """Lengths, before anything is computed over the packet."""
        if octets[:4] != self.spi:
            raise ProtocolError(
                "esp-wrong-spi",
                f"SPI 0x{octets[:4].hex()} came to 0x{self.spi.hex()}",
                seen=octets[:4].hex(),
                wanted=self.spi.hex(),
            )
        ciphertext = len(octets) - HEADER - self._block - self._icv
        if ciphertext < self._block:
            raise ProtocolError(
                "esp-short",
                f"{len(octets)} octets; IV, one block and ICV need "
                f"{HEADER + 2 * self._block + self._icv}",
                seen=f"{len(octets)} octets",
                wanted=f"at least {HEADER + 2 * self._block + self._icv} octets",
            )
        if ciphertext % self._block:
            raise ProtocolError(
                "esp-bad-length",
                f"{ciphertext} octets of ciphertext are not whole blocks of {self._block}",
                seen=f"{ciphertext} octets",
                wanted=f"whole blocks of {self._block} octets",
            )

    def _authenticate(self, octets: bytes) -> None:
        """Replay, then ICV; a packet that passes both moves the window.

        Without an integrity algorithm there is no replay protection either: anybody could move
        the window (RFC 2406 section 3.4.3).
        """
        if self._mac is None:
            return
        sequence = int.from_bytes(octets[4:HEADER], "big")
        if not self.window.is_fresh(sequence):
            raise ProtocolError(
                "esp-replay",
                f"sequence number {sequence} was taken before or lies too far behind "
                f"{self.window.highest}",
                seen=sequence,
                wanted=f"a new number, not far behind {self.window.highest}",
            )
        mac = self._mac.copy()
        mac.update(octets[: -self._icv])
        if not stdlib_hmac.compare_digest(mac.finalize()[: self._icv], octets[-self._icv :]):
            raise ProtocolError(
                "esp-bad-icv",
                f"packet {sequence} of SPI 0x{self.spi.hex()} was altered",
                seen=octets[-self._icv :].hex(),
                wanted="the ICV under the keys of this SA",
            )
        self.window.accept(sequence)

    def _decrypt(self, octets: bytes) -> tuple[int, bytes]:
        """The ciphertext's octets, with the padding checked and taken off."""
        end = len(octets) - self._icv
        # The IV goes through the running context as if it were ciphertext: the block that comes
        # out for it is meaningless, the blocks after it are chained to the IV as they must be.
        plaintext = self._decryptor.update(octets[HEADER:end])[self._block :]
        length = plaintext[-TRAILER]
        stop = len(plaintext) - TRAILER - length
        # RFC 4303 section 2.4: the receiver SHOULD inspect the padding 1, 2, 3, ...
        if stop < 0 or plaintext[stop:-TRAILER] != bytes(range(1, length + 1)):
            raise ProtocolError(
                "esp-bad-padding",
                f"pad length {length} of {len(plaintext)} octets, or its content",
                seen=f"pad length {length}",
                wanted="padding of 1, 2, 3 and so on",
            )
        return plaintext[-1], plaintext[:stop]


def _cipher(transform: TransformSet, keys: EspKeys, iv: bytes) -> Cipher[modes.CBC]:
    """The CBC cipher of a transform, after the keys' lengths were checked."""
    wanted = key_lengths(transform.encryption, transform.key_length, transform.authentication)
    given = (len(keys.encryption_key), len(keys.authentication_key))
    if given != wanted:
        raise ProtocolError(
            "esp-key-length",
            f"keys of {given} octets for {transform.name}, which takes {wanted}",
            seen=given,
            wanted=wanted,
        )
    if len(keys.spi) != 4:
        raise ProtocolError(
            "esp-wrong-spi",
            f"an SPI of {len(keys.spi)} octets; ESP has 4",
            seen=f"{len(keys.spi)} octets",
            wanted="4 octets",
        )
    key = keys.encryption_key
    if transform.encryption is EspTransform.ESP_AES:
        return Cipher(AES(key), modes.CBC(iv))
    # Single DES is triple DES with the same key three times.
    return Cipher(TripleDES(key * 3 if len(key) == 8 else key), modes.CBC(iv))


def _mac(transform: TransformSet, keys: EspKeys) -> hmac.HMAC | None:
    """A keyed HMAC to copy for each packet: half the cost of keying it anew."""
    if transform.authentication is None:
        return None
    return hmac.HMAC(keys.authentication_key, _HASHES[transform.authentication][0])
