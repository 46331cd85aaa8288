"""E15: PKCS #12 archives that somebody wants to recover a certificate server from."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PrivateFormat, pkcs12

from ikelab.errors import ConfigError
from ikelab.node.console import Console
from ikelab.node.events import ReadStorage
from ikelab.pki import der
from ikelab.pki.ca_events import ServerNotStarted, StorageUnreadable
from ikelab.pki.cert_server import CertificateServer, ServerState
from ikelab.pki.config import CertServerConfig
from ikelab.pki.issuer import sign_ca_certificate
from ikelab.pki.pkcs12 import Identity, dump_pkcs12
from ikelab.pki.store import Authority
from tests.hostile.registry import Seen, Shot, case
from tests.pki_scene import pool_key
from tests.simnet.first_tunnel import load
from tests.simnet.network import Simnet, SimNode

NAME, PASSWORD = "root-ca", "cisco123"
URL = "ftp://root-ca:rootca-lab@10.254.0.99"
ARCHIVE = "root-ca_00002.p12"
SERVER = (
    f"crypto pki server {NAME}",
    "database level complete",
    f"database archive pkcs12 password {PASSWORD}",
    f"database url {URL}",
    "no shutdown",
)
_SECONDS = 2.0  # for any refusal


def root() -> tuple[Simnet, SimNode]:
    """A root CA with its archive and its files in the storage."""
    net = Simnet()
    net.storage = "10.254.0.99"
    config = load(NAME)
    server = replace(config.servers[NAME], archive_password=PASSWORD)
    node = net.add(replace(config, servers={NAME: server}))
    net.run(60, lambda: ca_of(node).state is ServerState.ENABLED)
    assert net.run(60, lambda: not ca_of(node).store.outbox())
    return net, node


def ca_of(node: SimNode) -> CertificateServer:
    return node.router.servers[NAME]


class ArchiveTarget:
    """The root is lost; its storage is there, and somebody brings archives."""

    def __init__(self) -> None:
        self.net, node = root()
        authority = ca_of(node).store.load_authority()
        assert authority is not None
        self.authority: Authority = authority
        self.files = self.net.homes[URL]
        self.archive = self.files[ARCHIVE]

    def importing(self, archive: bytes, password: str = PASSWORD) -> Callable[[], Seen]:
        """A shot: `crypto pki import` of this file, and if it is taken, `no shutdown`."""

        def fire() -> Seen:
            self.files[ARCHIVE] = archive
            node = self._new_router()
            start = time.thread_time()
            try:
                self._type(node, f"crypto pki import {NAME} pkcs12 {URL} {password}")
            except ConfigError as error:
                text = str(error)
                assert PASSWORD not in text and node.router.nvram.key_labels() == ()
                late = time.thread_time() - start > _SECONDS
                return Seen("late" if late else "refused", tuple(text.strip("% ").split(": ")[:1]))
            self._type(node, *SERVER)
            self.net.run(5)
            told = [
                item.reason if isinstance(item, ServerNotStarted) else "storage-unreadable"
                for item in node.log
                if isinstance(item, ServerNotStarted | StorageUnreadable)
            ]
            return Seen(ca_of(node).state.value, tuple(told))

        return fire

    def _new_router(self) -> SimNode:
        self.net.nodes.pop(NAME)
        config = load(NAME)
        return self.net.add(replace(config, servers={}, trustpoints={}, key_pairs={}))

    def _type(self, node: SimNode, *lines: str) -> None:
        console = Console(node.router, lambda: [])
        answer = console.configure(lines, self.net.now)
        self.net.do(node, answer.actions)
        if answer.order is not None:
            assert isinstance(answer.order.action, ReadStorage)
            outcome = self.net._read(answer.order.action)
            self.net.do(node, console.then(answer.order, outcome, self.net.now).actions)

    def check(self) -> None:
        """The true archive still brings the same CA back."""
        assert self.importing(self.archive)() == Seen("enabled")
        restored = ca_of(self.net.nodes[NAME]).store.load_authority()
        assert restored is not None and restored.certificate == self.authority.certificate


@contextmanager
def lost_root() -> Iterator[ArchiveTarget]:
    yield ArchiveTarget()


@case(
    "E15",
    "archive",
    precedent="guide, recovery from root-ca_00237.p12; PBKDF2 counts as a denial of service",
    expected="refused with a reason in under 2 s; another CA's key never takes this one's place",
    target=lost_root,
)
def archive(target: ArchiveTarget) -> Iterator[Shot]:
    good = target.archive
    for what, password in (
        ("a wrong password", "cisco124"),
        ("the password in capitals", PASSWORD.upper()),
        ("a password of 200 letters", "x" * 200),
    ):
        yield Shot(what, target.importing(good, password), "refused", "wrong-password")
    slow = _with_iterations(target.authority, 1_000_000)
    yield Shot("a million iterations", target.importing(slow, "wrong"), "refused", "wrong-password")
    endless = slow.replace(b"\x02\x03\x0f\x42\x40", b"\x02\x03\x7f\xff\xff")
    assert endless != slow
    yield Shot("eight millions", target.importing(endless), "refused", "unsupported-algorithm")
    for what, octets in (
        ("two hundred encrypted parts", _in_many_parts(slow)),
        ("half of it", good[: len(good) // 2]),
        ("nothing", b""),
        ("text", b"-----BEGIN PKCS12-----\n"),
        ("300 KB", good + bytes(300_000)),
        ("20,000 nested lists", b"\x30\x80" * 20_000),
    ):
        yield Shot(what, target.importing(octets), "refused", "malformed-pkcs12")
    swapped = bytearray(good)
    swapped[len(good) // 2] ^= 1
    yield Shot("one bit changed", target.importing(bytes(swapped)), "refused", "wrong-password")
    disabled = "disabled, Storage not accessible"
    theirs = _dumped(_other_ca(target, NAME))
    yield Shot("a CA of the name", target.importing(theirs), disabled, "storage-unreadable")
    theirs = _dumped(_other_ca(target, "other-ca"))
    yield Shot("a CA of another name", target.importing(theirs), "disabled", "wrong-ca")
    router = replace(target.authority, certificate=_of_a_router(target.authority))
    theirs = _dumped(router)
    yield Shot("a router's", target.importing(theirs), "refused", "no-ca-certificate")


def _other_ca(target: ArchiveTarget, name: str) -> Authority:
    """Self-signed as well, with a key of its own."""
    key = pool_key(2048, 900)
    config = CertServerConfig(name)
    return Authority(1, key, sign_ca_certificate(config, key, 1, target.net.now.wall))


def _dumped(authority: Authority) -> bytes:
    identity = Identity(authority.key, authority.certificate, authority.chain)
    return dump_pkcs12(identity, NAME, PASSWORD, legacy=False)


def _with_iterations(authority: Authority, count: int) -> bytes:
    encryption = (
        PrivateFormat.PKCS12.encryption_builder()
        .kdf_rounds(count)
        .key_cert_algorithm(pkcs12.PBES.PBESv2SHA256AndAES256CBC)
        .hmac_hash(SHA256())
        .build(PASSWORD.encode())
    )
    certificate = x509.load_der_x509_certificate(authority.certificate)
    return pkcs12.serialize_key_and_certificates(
        NAME.encode(), authority.key, certificate, None, encryption
    )


def _in_many_parts(file: bytes) -> bytes:
    """Its encrypted certificates two hundred times; nobody comes as far as the MAC."""
    version, content, mac = (part.raw for part in der.parse(file).children())
    kind, wrapped = der.parse(content).children()
    parts = der.parse(der.parse(wrapped.content).content).children()
    many = der.sequence(*(part.raw for part in parts * 100))
    content = der.sequence(kind.raw, der.explicit(0, der.octet_string(many)))
    return der.sequence(version, content, mac)


def _of_a_router(authority: Authority) -> bytes:
    """A certificate for the CA's key that makes it no CA."""
    key: RSAPrivateKey = authority.key
    ca = x509.load_der_x509_certificate(authority.certificate)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(ca.not_valid_before_utc)
        .not_valid_after(ca.not_valid_after_utc)
        .sign(key, SHA256())
    )
    return made.public_bytes(Encoding.DER)
