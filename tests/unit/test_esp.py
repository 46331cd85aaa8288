"""ESP against published packets, against scapy's own IPsec, and against everything hostile."""

from __future__ import annotations

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.ipsec import ESP, SecurityAssociation
from scapy.packet import Raw

from ikelab.crypto.esp_keys import key_lengths
from ikelab.errors import ProtocolError
from ikelab.ipsec.esp import LAST_SEQUENCE, InboundSa, OutboundSa, block_length, overhead
from ikelab.ipsec.replay import WINDOW_SIZE, ReplayWindow
from ikelab.isakmp.events import EspKeys
from ikelab.isakmp.policy import TransformSet
from ikelab.wire.numbers import AuthAlgorithm, EspTransform

SPI = bytes.fromhex("9375dd09")
CIPHERS = [
    (EspTransform.ESP_DES, None, "DES"),
    (EspTransform.ESP_3DES, None, "3DES"),
    (EspTransform.ESP_AES, 128, "AES-CBC"),
    (EspTransform.ESP_AES, 192, "AES-CBC"),
    (EspTransform.ESP_AES, 256, "AES-CBC"),
]
INTEGRITY = [
    (None, "NULL"),
    (AuthAlgorithm.HMAC_MD5, "HMAC-MD5-96"),
    (AuthAlgorithm.HMAC_SHA, "HMAC-SHA1-96"),
    (AuthAlgorithm.HMAC_SHA2_256, "SHA2-256-128"),
    (AuthAlgorithm.HMAC_SHA2_384, "SHA2-384-192"),
    (AuthAlgorithm.HMAC_SHA2_512, "SHA2-512-256"),
]
EVERY_SUITE = pytest.mark.parametrize(
    ("encryption", "bits", "cipher_name", "authentication", "integrity_name"),
    [(*cipher, *integrity) for cipher in CIPHERS for integrity in INTEGRITY],
)


def transform_set(
    encryption: EspTransform = EspTransform.ESP_AES,
    bits: int | None = 128,
    authentication: AuthAlgorithm | None = AuthAlgorithm.HMAC_SHA,
) -> TransformSet:
    return TransformSet("T", encryption, bits, authentication)


def keys_for(transform: TransformSet, spi: bytes = SPI) -> EspKeys:
    cipher, integrity = key_lengths(
        transform.encryption, transform.key_length, transform.authentication
    )
    return EspKeys(spi, bytes(range(7, 7 + cipher)), bytes(range(101, 101 + integrity)))


def pair(transform: TransformSet | None = None) -> tuple[OutboundSa, InboundSa]:
    transform = transform or transform_set()
    keys = keys_for(transform)
    iv = bytes(range(block_length(transform.encryption)))
    return OutboundSa(transform, keys, iv), InboundSa(transform, keys)


def scapy_sa(cipher_name: str, integrity_name: str, keys: EspKeys) -> SecurityAssociation:
    return SecurityAssociation(
        ESP,
        spi=int.from_bytes(keys.spi, "big"),
        crypt_algo=cipher_name,
        crypt_key=keys.encryption_key,
        auth_algo=integrity_name,
        auth_key=keys.authentication_key,
    )


def refusal(inbound: InboundSa, octets: bytes) -> str:
    with pytest.raises(ProtocolError) as caught:
        inbound.open(octets)
    return caught.value.reason


def test_rfc_3602_case_5_is_opened() -> None:
    # RFC 3602 section 4, "Sample transport-mode ESP packet (ping 192.168.123.100)".
    key = bytes.fromhex("90d382b410eeba7ad938c46cec1a82bf")
    packet = bytes.fromhex(
        "0000432100000001e96e8c08ab465763fd098d45dd3ff893"
        "f663c25d325c18c6a9453e194e120849a4870b66cc6b9965330013b4898dc856"
        "a4699e523a55db080b59ec3a8e4b7e52775b07d1db34ed9c538ab50c551b874a"
        "a269add047ad2d5913ac19b7cfbad4a6"
    )
    ping = bytes.fromhex("08000ebda70a00008e9c083db95b0700") + bytes(range(8, 0x38))
    inbound = InboundSa(transform_set(authentication=None), EspKeys(packet[:4], key, b""))
    assert inbound.open(packet) == (1, ping)


@EVERY_SUITE
def test_scapy_opens_what_we_protect(
    encryption: EspTransform,
    bits: int | None,
    cipher_name: str,
    authentication: AuthAlgorithm | None,
    integrity_name: str,
) -> None:
    transform = transform_set(encryption, bits, authentication)
    outbound, _ = pair(transform)
    witness = scapy_sa(cipher_name, integrity_name, keys_for(transform))
    for length in (0, 1, 13, 14, 15, 16, 100, 1400):
        inside = bytes(UDP(sport=1, dport=2) / Raw(bytes(length)))
        packet = IP(src="192.0.2.1", dst="192.0.2.2", proto=50) / Raw(outbound.protect(inside, 17))
        opened = witness.decrypt(IP(bytes(packet)))
        assert opened.proto == 17
        assert bytes(opened.payload) == inside


@EVERY_SUITE
def test_we_open_what_scapy_protects(
    encryption: EspTransform,
    bits: int | None,
    cipher_name: str,
    authentication: AuthAlgorithm | None,
    integrity_name: str,
) -> None:
    transform = transform_set(encryption, bits, authentication)
    witness = scapy_sa(cipher_name, integrity_name, keys_for(transform))
    _, inbound = pair(transform)
    for length in (0, 1, 13, 14, 15, 16, 100, 1400):
        clear = IP(src="192.0.2.1", dst="192.0.2.2") / UDP(sport=1, dport=2) / Raw(bytes(length))
        inside = bytes(IP(bytes(clear)).payload)
        assert inbound.open(bytes(witness.encrypt(clear).payload)) == (17, inside)


def test_every_packet_has_an_iv_of_its_own_and_equal_payloads_look_different() -> None:
    outbound, _ = pair()
    packets = [outbound.protect(b"the same octets") for _ in range(1000)]
    assert len({packet[8:24] for packet in packets}) == 1000
    assert len({packet[24:40] for packet in packets}) == 1000


def test_packets_are_numbered_from_one() -> None:
    outbound, _ = pair()
    numbers = [int.from_bytes(outbound.protect(b"")[4:8], "big") for _ in range(3)]
    assert numbers == [1, 2, 3]


def test_packets_may_arrive_in_any_order() -> None:
    outbound, inbound = pair()
    packets = [outbound.protect(bytes((number,))) for number in range(10)]
    arrived = [inbound.open(packet)[1] for packet in reversed(packets)]
    assert arrived == [bytes((number,)) for number in reversed(range(10))]


def test_a_lost_packet_does_not_disturb_the_next() -> None:
    outbound, inbound = pair()
    outbound.protect(b"lost")
    assert inbound.open(outbound.protect(b"here")) == (47, b"here")


def test_the_next_header_travels() -> None:
    outbound, inbound = pair()
    assert inbound.open(outbound.protect(b"payload", 4)) == (4, b"payload")


def test_a_repeated_packet_is_refused_and_counted() -> None:
    outbound, inbound = pair()
    packet = outbound.protect(b"once")
    inbound.open(packet)
    assert refusal(inbound, packet) == "esp-replay"
    assert inbound.drops == {"esp-replay": 1}


def test_number_zero_is_refused() -> None:
    outbound, inbound = pair()
    packet = outbound.protect(b"x")
    assert refusal(inbound, packet[:4] + bytes(4) + packet[8:]) == "esp-replay"


@pytest.mark.parametrize("place", [4, 7, 8, 23, 24, 39, -1, -12])
def test_one_changed_bit_is_refused_and_the_window_stays(place: int) -> None:
    outbound, inbound = pair()
    packet = bytearray(outbound.protect(b"payload"))
    packet[place] ^= 0x10
    assert refusal(inbound, bytes(packet)) == "esp-bad-icv"
    assert inbound.window.highest == 0
    packet[place] ^= 0x10
    assert inbound.open(bytes(packet)) == (47, b"payload")


def test_a_forged_high_number_does_not_shut_out_the_true_sender() -> None:
    outbound, inbound = pair()
    packet = outbound.protect(b"true")
    forged = packet[:4] + b"\xff\xff\xff\xff" + packet[8:]
    assert refusal(inbound, forged) == "esp-bad-icv"
    assert inbound.open(packet) == (47, b"true")


def test_a_refused_packet_does_not_disturb_the_decryption_of_the_next() -> None:
    outbound, inbound = pair()
    first, second = outbound.protect(b"first"), outbound.protect(b"second")
    assert refusal(inbound, first[:-1] + bytes((first[-1] ^ 1,))) == "esp-bad-icv"
    assert inbound.open(second) == (47, b"second")


def test_a_packet_cut_anywhere_is_refused_without_decryption() -> None:
    outbound, inbound = pair()
    packet = outbound.protect(bytes(40))
    for length in range(len(packet)):
        reason = refusal(inbound, packet[:length])
        shape = "esp-wrong-spi" if length < 4 else "esp-short"
        assert reason in {shape, "esp-bad-length", "esp-bad-icv"}, length
    assert inbound.open(packet) == (47, bytes(40))


def test_octets_behind_the_packet_are_refused() -> None:
    outbound, inbound = pair()
    packet = outbound.protect(b"payload")
    assert refusal(inbound, packet + b"\0") == "esp-bad-length"
    assert refusal(inbound, packet + bytes(16)) == "esp-bad-icv"


def test_the_smallest_packet_is_one_block() -> None:
    outbound, inbound = pair()
    packet = outbound.protect(b"")
    assert len(packet) == 8 + 16 + 16 + 12
    assert inbound.open(packet) == (47, b"")


def test_a_packet_of_another_sa_is_refused() -> None:
    outbound, inbound = pair()
    packet = outbound.protect(b"x")
    assert refusal(inbound, b"\0\0\x12\x34" + packet[4:]) == "esp-wrong-spi"


@pytest.mark.parametrize(
    "trailer",
    [
        bytes(14) + b"\x0e\x2f",  # zeros instead of 1, 2, 3 ...
        bytes(range(1, 15)) + b"\xff\x2f",  # longer than the packet
        bytes(range(1, 15)) + b"\x0f\x2f",  # one octet of it is not padding
        bytes(13) + b"\x02\x02\x2f",
    ],
)
def test_padding_that_lies_is_refused(trailer: bytes) -> None:
    # Without integrity the padding is all there is to check: encrypt the trailer ourselves.
    from cryptography.hazmat.primitives.ciphers import Cipher, modes
    from cryptography.hazmat.primitives.ciphers.algorithms import AES

    keys = keys_for(transform_set(authentication=None))
    iv = bytes(16)
    body = Cipher(AES(keys.encryption_key), modes.CBC(iv)).encryptor().update(trailer)
    inbound = InboundSa(transform_set(authentication=None), keys)
    assert refusal(inbound, keys.spi + b"\0\0\0\1" + iv + body) == "esp-bad-padding"


def test_padding_beyond_one_block_is_taken() -> None:
    # RFC 4303 section 2.4 allows up to 255 octets, to hide the length.
    from cryptography.hazmat.primitives.ciphers import Cipher, modes
    from cryptography.hazmat.primitives.ciphers.algorithms import AES

    keys = keys_for(transform_set(authentication=None))
    plaintext = b"data" + bytes(range(1, 59)) + bytes((58, 47))
    body = Cipher(AES(keys.encryption_key), modes.CBC(bytes(16))).encryptor().update(plaintext)
    inbound = InboundSa(transform_set(authentication=None), keys)
    assert inbound.open(keys.spi + b"\0\0\0\1" + bytes(16) + body) == (47, b"data")


def test_the_last_number_is_sent_and_no_other_after_it() -> None:
    outbound, inbound = pair()
    outbound.sequence = LAST_SEQUENCE - 1
    assert inbound.open(outbound.protect(b"last")) == (47, b"last")
    with pytest.raises(ProtocolError) as caught:
        outbound.protect(b"one more")
    assert caught.value.reason == "esp-sequence-wrap"
    assert outbound.sequence == LAST_SEQUENCE


def test_packets_and_octets_are_counted_on_both_sides() -> None:
    outbound, inbound = pair()
    for length in (10, 20, 30):
        inbound.open(outbound.protect(bytes(length)))
    assert (outbound.packets, outbound.octets) == (3, 60)
    assert (inbound.packets, inbound.octets) == (3, 60)


@pytest.mark.parametrize(("cipher", "integrity"), [(15, 20), (16, 19), (16, 0), (32, 20)])
def test_keys_that_do_not_fit_are_refused(cipher: int, integrity: int) -> None:
    with pytest.raises(ProtocolError) as caught:
        InboundSa(transform_set(), EspKeys(SPI, bytes(cipher), bytes(integrity)))
    assert caught.value.reason == "esp-key-length"


def test_null_encryption_is_not_offered() -> None:
    with pytest.raises(ProtocolError) as caught:
        key_lengths(EspTransform.ESP_NULL, None, AuthAlgorithm.HMAC_SHA)
    assert caught.value.reason == "esp-transform"


@pytest.mark.parametrize("bits", [None, 0, 64, 129, 512])
def test_aes_needs_one_of_its_three_key_lengths(bits: int | None) -> None:
    with pytest.raises(ProtocolError) as caught:
        key_lengths(EspTransform.ESP_AES, bits, AuthAlgorithm.HMAC_SHA)
    assert caught.value.reason == "esp-key-length"


@pytest.mark.parametrize(
    ("encryption", "bits", "authentication", "lengths"),
    [
        (EspTransform.ESP_3DES, None, AuthAlgorithm.HMAC_MD5, (24, 16)),
        (EspTransform.ESP_DES, None, None, (8, 0)),
        (EspTransform.ESP_AES, 128, AuthAlgorithm.HMAC_SHA, (16, 20)),
        (EspTransform.ESP_AES, 192, AuthAlgorithm.HMAC_SHA2_384, (24, 48)),
        (EspTransform.ESP_AES, 256, AuthAlgorithm.HMAC_SHA2_512, (32, 64)),
        (EspTransform.ESP_AES, 256, AuthAlgorithm.HMAC_SHA2_256, (32, 32)),
    ],
)
def test_key_lengths_are_those_of_the_rfcs(
    encryption: EspTransform,
    bits: int | None,
    authentication: AuthAlgorithm | None,
    lengths: tuple[int, int],
) -> None:
    assert key_lengths(encryption, bits, authentication) == lengths


@EVERY_SUITE
def test_overhead_is_the_most_a_packet_grows(
    encryption: EspTransform,
    bits: int | None,
    cipher_name: str,
    authentication: AuthAlgorithm | None,
    integrity_name: str,
) -> None:
    transform = transform_set(encryption, bits, authentication)
    outbound, _ = pair(transform)
    growth = max(len(outbound.protect(bytes(length))) - length for length in range(32))
    assert growth == overhead(transform)


def test_no_key_shows_in_repr() -> None:
    outbound, inbound = pair()
    key = keys_for(transform_set()).encryption_key
    assert key.hex() not in repr(outbound) + repr(inbound) + str(vars(inbound))


def test_the_window_remembers_exactly_64_numbers() -> None:
    window = ReplayWindow()
    window.accept(100)
    assert window.is_fresh(100 - WINDOW_SIZE + 1)
    assert not window.is_fresh(100 - WINDOW_SIZE)
    assert not window.is_fresh(100)


def test_the_window_agrees_with_a_plain_set_of_numbers() -> None:
    # The rule of RFC 4303 section 3.4.3, said without bits.
    window, seen = ReplayWindow(), set[int]()
    number = 1
    for step in range(2000):
        number = (number * 48271 + step) % 300 + step // 4  # wanders upwards, back and forth
        highest = max(seen, default=0)
        fresh = number > 0 and number not in seen and number > highest - WINDOW_SIZE
        assert window.is_fresh(number) == fresh
        if fresh:
            window.accept(number)
            seen.add(number)
    assert len(seen) > 100


def test_a_jump_beyond_the_window_forgets_what_was_before() -> None:
    window = ReplayWindow()
    window.accept(5)
    window.accept(5 + WINDOW_SIZE)
    assert window.is_fresh(6)
    assert not window.is_fresh(5)
    window.accept(10_000)
    assert [n for n in range(9_900, 10_001) if window.is_fresh(n)] == list(range(9_937, 10_000))
