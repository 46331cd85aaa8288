"""A PKI in one process on a virtual clock: CAs, routers, and HTTP by function call."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric import rsa

from ikelab.pki.algorithms import public_key_info
from ikelab.pki.ca_events import CaNotice, HttpIn
from ikelab.pki.cert_server import CertificateServer
from ikelab.pki.config import CertServerConfig, TrustpointConfig
from ikelab.pki.enrollment_events import (
    Authenticate,
    Device,
    Enroll,
    TimerFired,
    TrustpointAction,
    TrustpointEvent,
)
from ikelab.pki.events import CertificateInstalled, HttpFailed, HttpReply, HttpRequest
from ikelab.pki.name import parse_dn
from ikelab.pki.trustpoint import State, Trustpoint
from ikelab.pki.x509 import build_certificate, load_certificate
from ikelab.runtime.keys import generate_rsa_key
from ikelab.runtime.store import SqliteCaStore, SqliteNvram
from ikelab.types import Now

START = datetime(2009, 2, 12, 15, 0, 0, 250_000, tzinfo=UTC)


class SeededRng:
    """The same octets for the same seed and draws."""

    def __init__(self, seed: str = "pki") -> None:
        self._seed = seed
        self._count = 0

    def draw(self, label: str, length: int) -> bytes:
        self._count += 1
        return hashlib.shake_256(f"{self._seed} {self._count} {label}".encode()).digest(length)


@cache
def pool_key(bits: int, index: int) -> rsa.RSAPrivateKey:
    """Keys are made once a run: making one is slow, and their value does not matter."""
    return generate_rsa_key(bits)


class PoolKeys:
    """`RsaKeys` from the pool: each call of a run of a test gets another key."""

    def __init__(self) -> None:
        self._next: dict[int, int] = {}
        self.asked: list[tuple[str, int]] = []

    def rsa_key(self, label: str, bits: int) -> rsa.RSAPrivateKey:
        self.asked.append((label, bits))
        index = self._next[bits] = self._next.get(bits, -1) + 1
        return pool_key(bits, index)


@dataclass
class Scene:
    """Hosts by name, a clock, and what everybody reported."""

    legacy: bool = False
    elapsed: float = 0.0
    wall: datetime = START
    synced: bool = True
    servers: dict[str, CertificateServer] = field(default_factory=dict)
    trustpoints: dict[str, Trustpoint] = field(default_factory=dict)
    keys: PoolKeys = field(default_factory=PoolKeys)
    rng: SeededRng = field(default_factory=SeededRng)
    ca_notices: list[CaNotice] = field(default_factory=list)
    notices: list[TrustpointAction] = field(default_factory=list)
    requests: list[HttpRequest] = field(default_factory=list)
    replies: list[bytes] = field(default_factory=list)
    down: set[str] = field(default_factory=set)
    tamper: Callable[[HttpRequest, HttpReply], HttpReply] = lambda request, reply: reply
    on_installed: Callable[[CertificateInstalled], None] = lambda notice: None

    def now(self) -> Now:
        return Now(self.elapsed, self.wall, self.synced)

    def server(
        self, name: str, store: SqliteCaStore | None = None, **config: object
    ) -> CertificateServer:
        """A certificate server at http://NAME, not yet started."""
        store = store or SqliteCaStore(":memory:")
        made = CertificateServer(
            CertServerConfig(name, **config),  # type: ignore[arg-type]
            store,
            self.rng,
            self.keys,
            self.legacy,
        )
        self.servers[name] = made
        return made

    def start(self, name: str) -> CertificateServer:
        self.ca_notices += self.servers[name].no_shut(self.now())
        return self.servers[name]

    def sub_ca_certificate(
        self, key: rsa.RSAPrivateKey, serial: int, start: datetime, life: timedelta
    ) -> bytes:
        """What root-ca signs for a key of ra-subca; DER."""
        root = self.servers["root-ca"].store.load_authority()
        assert root is not None
        return build_certificate(
            serial=serial,
            issuer=parse_dn("cn=root-ca"),
            subject=parse_dn("cn=ra-subca"),
            public_key_info=public_key_info(key),
            not_before=start,
            not_after=start + life,
            issuer_key=root.key,
            digest="sha256",
            ca=True,
            key_usage=frozenset({"keyCertSign", "cRLSign", "digitalSignature"}),
            authority_key_id=load_certificate(root.certificate).subject_key_id,
        )

    def trustpoint(
        self,
        name: str,
        ca: str,
        *,
        nvram: SqliteNvram | None = None,
        hostname: str = "r1.example.com",
        ca_subject: str | None = None,
        **config: object,
    ) -> Trustpoint:
        made = Trustpoint(
            TrustpointConfig(name, enrollment_url=f"http://{ca}", **config),  # type: ignore[arg-type]
            Device(hostname, "FTX1048A6QA"),
            self.rng,
            self.keys,
            nvram or SqliteNvram(":memory:"),
            legacy=self.legacy,
            ca_subject=ca_subject,
        )
        self.trustpoints[name] = made
        return made

    def send(self, name: str, event: TrustpointEvent) -> None:
        """An event to a trustpoint, and all HTTP that follows from it."""
        self._carry(name, self.trustpoints[name].handle(event, self.now()))

    def _carry(self, name: str, actions: list[TrustpointAction]) -> None:
        for action in actions:
            if not isinstance(action, HttpRequest):
                self.notices.append(action)
                if isinstance(action, CertificateInstalled):
                    self.on_installed(action)
                continue
            self.requests.append(action)
            self._carry(name, self.trustpoints[name].handle(self.http(action), self.now()))

    def http(self, request: HttpRequest) -> HttpReply | HttpFailed:
        parts = urlsplit(request.url)
        host = parts.hostname or ""
        if host in self.down or host not in self.servers:
            return HttpFailed(request.handle, "connection refused")
        target = parts.path + ("?" + parts.query if parts.query else "")
        asked = HttpIn(request.method, target, request.body)
        out = self.servers[host].answer(asked, self.now()).sign(self.rng)
        self.ca_notices += out.notices
        self.replies.append(out.body)
        reply = HttpReply(request.handle, out.status, out.content_type, out.body)
        return self.tamper(request, reply)

    def advance(self, **duration: float) -> None:
        """Move both clocks on, stopping at every timer on the way, in order."""
        end = self.wall + timedelta(**duration)
        for _ in range(10_000):
            due = self._next_due()
            if due is None or self.wall + timedelta(seconds=due[0]) > end:
                self._step((end - self.wall).total_seconds())
                return
            self._step(max(due[0], 0.0))
            kind, name = due[1], due[2]
            if kind == "ca":
                self.ca_notices += self.servers[name].tick(self.now())
            else:
                self.send(name, TimerFired())
        raise AssertionError("timers without end")

    def _step(self, seconds: float) -> None:
        self.elapsed += seconds
        self.wall += timedelta(seconds=seconds)

    def _next_due(self) -> tuple[float, str, str] | None:
        now = self.now()
        found = [
            (timer.remaining(now), "ca", name)
            for name, server in self.servers.items()
            if (timer := server.next_timer()) is not None
        ] + [
            (timer.remaining(now), "trustpoint", name)
            for name, trustpoint in self.trustpoints.items()
            for timer in (trustpoint.next_timer(), trustpoint.swap_timer)
            if timer is not None
        ]
        return min(found, default=None)

    def enroll(
        self, name: str, fingerprint: bool = True, password: str | None = None
    ) -> Trustpoint:
        """Authenticate (its configuration must have the fingerprint) and enroll."""
        trustpoint = self.trustpoints[name]
        if trustpoint.state is State.READY:
            self.send(name, Authenticate())
        self.send(name, Enroll(password))
        return trustpoint

    def told(self, kind: type) -> list:
        """Notices of one kind, of routers and CAs."""
        return [item for item in (*self.notices, *self.ca_notices) if isinstance(item, kind)]
