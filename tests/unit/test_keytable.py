"""The Wireshark directory, with tshark as the witness that it decrypts, names and colours."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from ikelab.capture import pcapng
from ikelab.capture.annotate import Direction, SegmentCapture, TraceRecord, annotate
from ikelab.capture.keytable import EspKey, IkeKey, wireshark_directory
from ikelab.crypto.cipher import cipher_for
from ikelab.ipsec.esp import block_length
from ikelab.ipsec.sa import SaPair
from ikelab.isakmp.events import InstallIpsecSa, KeyMaterial
from ikelab.wire.isakmp import Header, build_message, build_payloads
from ikelab.wire.numbers import (
    AuthAlgorithm,
    EncapsulationMode,
    EncryptionAlgorithm,
    EspTransform,
    ExchangeType,
    Flags,
    IkeAttribute,
)
from ikelab.wire.payloads import HASH, ID, KE, NONCE, SA, Proposal, Transform
from tests.esp_samples import HUB, SPOKE, install_request, mirrored

START = 1_018_000_000_123_456_789
GRE_KEY = 1234
PING = bytes(IP(src="20.0.0.1", dst="20.0.0.4") / ICMP(id=7, seq=1) / Raw(bytes(56)))
CKY_I, CKY_R = bytes.fromhex("fafaeb49382a763c"), bytes.fromhex("1122334455667788")
SUITES = [
    (encryption, bits, authentication)
    for encryption, bits in (
        (EspTransform.ESP_DES, None),
        (EspTransform.ESP_3DES, None),
        (EspTransform.ESP_AES, 128),
        (EspTransform.ESP_AES, 192),
        (EspTransform.ESP_AES, 256),
    )
    for authentication in AuthAlgorithm
]


def frame(source: str, destination: str, packet: Packet, number: int) -> pcapng.Frame:
    ethernet = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
    octets = bytes(ethernet / IP(src=source, dst=destination) / packet)
    return pcapng.Frame(0, START + number, octets)


def esp_frame(source: str, destination: str, esp: bytes, number: int) -> pcapng.Frame:
    ethernet = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
    octets = bytes(ethernet / IP(src=source, dst=destination, proto=50) / Raw(esp))
    return pcapng.Frame(0, START + number, octets)


def esp_frames(installed: InstallIpsecSa, number: int = 0) -> list[pcapng.Frame]:
    """A ping and another in the other direction."""
    iv = bytes(block_length(installed.transform.encryption))
    spoke = SaPair(installed, GRE_KEY, iv)
    hub = SaPair(mirrored(installed), GRE_KEY, iv)
    return [
        esp_frame(SPOKE, HUB, spoke.protect(PING), number),
        esp_frame(HUB, SPOKE, hub.protect(PING), number + 1),
    ]


def message(packets: list[Packet], *, encrypted_with: tuple[bytes, bytes] | None = None) -> bytes:
    first, body = build_payloads(packets)
    flags = Flags.NONE
    if encrypted_with:
        cipher = cipher_for(EncryptionAlgorithm.TRIPLE_DES_CBC, None)
        body = cipher.encrypt(*encrypted_with, cipher.pad(body))
        flags = Flags.ENCRYPTION
    header = Header(CKY_I, CKY_R, first, ExchangeType.IDENTITY_PROTECTION, flags, 0)
    return build_message(header, body)


def main_mode(key: bytes) -> list[bytes]:
    """MM1 to MM5 of a pre-shared key exchange: 3DES, MD5, group 2."""
    attributes = [
        (IkeAttribute.ENCRYPTION_ALGORITHM, 5),
        (IkeAttribute.HASH_ALGORITHM, 1),
        (IkeAttribute.AUTHENTICATION_METHOD, 1),
        (IkeAttribute.GROUP_DESCRIPTION, 2),
    ]
    sa = [SA(proposals=[Proposal(transforms=[Transform(attributes=attributes)])])]
    g_xi, g_xr = bytes(range(128)), bytes(range(128, 256))
    iv = hashlib.md5(g_xi + g_xr).digest()[:8]  # RFC 2409 appendix B
    identity = ID(id_type=1, protocol=17, port=500, data=bytes((192, 168, 134, 146)))
    return [
        message(sa),
        message(sa),
        message([KE(data=g_xi), NONCE(data=bytes(20))]),
        message([KE(data=g_xr), NONCE(data=bytes(range(20)))]),
        message([identity, HASH(data=bytes(range(16)))], encrypted_with=(key, iv)),
    ]


@pytest.fixture
def tshark(need: Callable[[str], str], tmp_path: Path) -> Callable[..., str]:
    """Runs tshark over frames with a directory; fails if it complains about the directory."""
    program = need("tshark")

    def run(octets: bytes, directory: Mapping[str, str], *arguments: str) -> str:
        capture, place = tmp_path / "x.pcapng", tmp_path / "x.wireshark"
        capture.write_bytes(octets)
        place.mkdir(exist_ok=True)
        for name, text in directory.items():
            (place / name).write_text(text)
        done = subprocess.run(
            [program, "-r", str(capture), *arguments],
            env={**os.environ, "WIRESHARK_CONFIG_DIR": str(place)},
            capture_output=True,
            text=True,
            check=True,
        )
        told = [line for line in done.stderr.splitlines() if "could be dangerous" not in line]
        assert told == []
        return done.stdout

    return run


def file_of(frames: list[pcapng.Frame], records: list[TraceRecord] | None = None) -> bytes:
    return annotate([SegmentCapture("wan", frames, "bridge wan")], records or [])


def rows(output: str) -> list[list[str]]:
    return [line.split("\t") for line in output.splitlines()]


def wanted_fields(*names: str) -> list[str]:
    return ["-T", "fields", *(part for name in names for part in ("-e", name))]


@pytest.mark.interop
def test_wireshark_decrypts_every_esp_suite(tshark: Callable[..., str]) -> None:
    installed = [install_request(number, *suite) for number, suite in enumerate(SUITES)]
    frames = [item for n, one in enumerate(installed) for item in esp_frames(one, 2 * n)]
    keys = [key for one in installed for key in EspKey.pair_of(one)]
    directory = wireshark_directory(esp=keys)
    names = ("icmp.type", "gre.key", "esp.icv_good", "esp.protocol", "_ws.malformed", "_ws.expert")
    output = tshark(file_of(frames), directory, *wanted_fields(*names))
    assert rows(output) == [["8", f"0x{GRE_KEY:08x}", "1", "0x2f", "", ""]] * len(frames)


@pytest.mark.interop
def test_wireshark_decrypts_tunnel_mode_and_esp_without_integrity(
    tshark: Callable[..., str],
) -> None:
    tunnel = install_request(1, mode=EncapsulationMode.TUNNEL)
    bare = install_request(2, EspTransform.ESP_AES, 128, None)
    keys = [*EspKey.pair_of(tunnel), *EspKey.pair_of(bare)]
    output = tshark(
        file_of([*esp_frames(tunnel), *esp_frames(bare, 2)]),
        wireshark_directory(esp=keys),
        *wanted_fields("icmp.type", "esp.protocol", "_ws.malformed"),
    )
    assert rows(output) == [["8", "0x04", ""]] * 2 + [["8", "0x2f", ""]] * 2


@pytest.mark.interop
def test_a_wrong_integrity_key_shows_as_a_bad_icv(tshark: Callable[..., str]) -> None:
    installed = install_request(1)
    inbound, outbound = EspKey.pair_of(installed)
    wrong = replace(outbound, authentication_key=bytes(16))
    output = tshark(
        file_of(esp_frames(installed)),
        wireshark_directory(esp=[inbound, wrong]),
        *wanted_fields("esp.icv_good", "esp.icv_bad"),
    )
    assert rows(output) == [["0", "1"], ["1", "0"]]


@pytest.mark.interop
def test_wireshark_decrypts_main_mode(tshark: Callable[..., str]) -> None:
    key = bytes(range(24))
    frames = [
        frame(SPOKE, HUB, UDP(sport=500, dport=500) / Raw(octets), n)
        if n % 2 == 0
        else frame(HUB, SPOKE, UDP(sport=500, dport=500) / Raw(octets), n)
        for n, octets in enumerate(main_mode(key))
    ]
    names = ("isakmp.typepayload", "isakmp.id.data.ipv4_addr", "isakmp.hash", "_ws.malformed")
    material = KeyMaterial(CKY_I, CKY_R, key)
    output = tshark(
        file_of(frames), wireshark_directory(ike=[IkeKey.of(material)]), *wanted_fields(*names)
    )
    assert rows(output) == [
        ["1,2,3", "", "", ""],
        ["1,2,3", "", "", ""],
        ["4,10", "", "", ""],
        ["4,10", "", "", ""],
        ["5,8", SPOKE, bytes(range(16)).hex(), ""],
    ]


@pytest.mark.interop
def test_the_list_of_packets_answers_who_where_what_and_why(tshark: Callable[..., str]) -> None:
    octets = main_mode(bytes(24))[0]
    digest = hashlib.sha256(octets).digest()
    record = TraceRecord("spoke1", Direction.SENT, digest, "spoke1 (I) MM1: SA")
    frames = [frame(SPOKE, HUB, UDP(sport=500, dport=500) / Raw(octets), 0)]
    directory = wireshark_directory(hosts=[(SPOKE, "spoke1"), (HUB, "hub")])
    words = tshark(file_of(frames, [record]), directory).split()
    line = " ".join(words)
    assert "wan spoke1 → hub ISAKMP Security Association,Proposal,Transform" in line
    assert "spoke1 (I) MM1: SA Identity Protection (Main Mode)" in line


@pytest.mark.interop
def test_frames_are_coloured_by_what_they_are(tshark: Callable[..., str]) -> None:
    octets = main_mode(bytes(24))[0]
    refused = TraceRecord(
        "hub", Direction.RECEIVED, hashlib.sha256(octets).digest(), "MM1 refused: no proposal"
    )
    ike = UDP(sport=500, dport=500)
    frames = [
        frame(SPOKE, HUB, ike / Raw(octets), 0),
        frame(SPOKE, HUB, ike / Raw(octets), 1),
        *esp_frames(install_request(1), 2),
    ]
    output = tshark(
        file_of(frames, [refused]),
        wireshark_directory(),
        "--color",
        *wanted_fields("frame.coloring_rule.name"),
    )
    assert output.splitlines() == ["refused", "IKE main mode", "ESP", "ESP"]


def scep_answer(media_type: str, body: bytes) -> Packet:
    from scapy.layers.inet import TCP

    http = f"HTTP/1.0 200 OK\r\nContent-Type: {media_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    return TCP(sport=80, dport=40000, flags="PA", seq=1) / Raw(http.encode() + body)


@pytest.mark.interop
@pytest.mark.parametrize(
    "media_type", ["application/x-pki-message", "application/x-x509-ca-ra-cert"]
)
def test_scep_messages_are_dissected_and_their_attributes_named(
    tshark: Callable[..., str], media_type: str
) -> None:
    # ContentInfo { signedData, SignedData { version 1, {}, { data }, signerInfos { one with the
    # signed attribute messageType "3" } } }, octet by octet (RFC 5652, RFC 8894).
    def tlv(tag: int, *parts: bytes) -> bytes:
        content = b"".join(parts)
        return bytes((tag, len(content))) + content

    message_type = tlv(
        0x30,
        tlv(0x06, bytes.fromhex("6086480186f845010902")),
        tlv(0x31, tlv(0x13, b"3")),
    )
    sha1, rsa = (
        tlv(0x06, bytes.fromhex("2b0e03021a")),
        tlv(0x06, bytes.fromhex("2a864886f70d010101")),
    )
    issuer_and_serial = tlv(0x30, tlv(0x30), tlv(0x02, b"\1"))
    signer = tlv(
        0x30,
        tlv(0x02, b"\1"),
        issuer_and_serial,
        tlv(0x30, sha1),
        tlv(0xA0, message_type),
        tlv(0x30, rsa),
        tlv(0x04, b"sig"),
    )
    signed = tlv(
        0x30,
        tlv(0x02, b"\1"),
        tlv(0x31),
        tlv(0x30, tlv(0x06, bytes.fromhex("2a864886f70d010701"))),
        tlv(0x31, signer),
    )
    content = tlv(0x30, tlv(0x06, bytes.fromhex("2a864886f70d010702")), tlv(0xA0, signed))
    frames = [frame(HUB, SPOKE, scep_answer(media_type, content), 0)]
    output = tshark(file_of(frames), wireshark_directory(), "-V")
    assert "scep-messageType" in output
    assert "PrintableString: 3" in output


def test_an_sa_that_both_ends_report_is_written_once() -> None:
    installed = install_request(1)
    keys = [*EspKey.pair_of(installed), *EspKey.pair_of(mirrored(installed))]
    ike = IkeKey(CKY_I, bytes(24))
    directory = wireshark_directory(esp=keys, ike=[ike, ike])
    assert len(directory["esp_sa"].splitlines()) == 2
    assert directory["ikev1_decryption_table"] == f"{CKY_I.hex()},{'00' * 24}\n"


def test_no_key_shows_in_repr() -> None:
    installed = install_request(1)
    inbound, _ = EspKey.pair_of(installed)
    assert installed.inbound.encryption_key.hex() not in repr(inbound)
    assert repr(bytes(24)) not in repr(IkeKey(CKY_I, bytes(24)))
