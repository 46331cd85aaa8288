"""Two engines and the wire between them: a test moves one datagram at a time, or lets them run.

The surroundings are the smallest that answer: SPIs count up, every install works, a certificate is
its own public key. Time moves only when the test says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import cache
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ikelab.isakmp.events import (
    Action,
    AllocateSpi,
    DeleteIpsecSa,
    Event,
    InstallIpsecSa,
    KeyMaterial,
    PeerCertAccepted,
    PeerCertRefused,
    Refused,
    SaRequested,
    SpiAllocated,
    TimerFired,
)
from ikelab.isakmp.policy import (
    Credential,
    IpsecFlow,
    IsakmpConfig,
    IsakmpPolicy,
    Keyring,
    PreSharedKey,
    ProxyIdentity,
    TransformSet,
)
from ikelab.isakmp.reasons import REASONS
from ikelab.script import Peer, Seeded
from ikelab.script.identity import PeerId
from ikelab.types import Endpoint, Now
from ikelab.wire.numbers import (
    AuthAlgorithm,
    AuthMethod,
    EncapsulationMode,
    EncryptionAlgorithm,
    EspTransform,
    Group,
    HashAlgorithm,
)

T = TypeVar("T")
I_END, R_END = Endpoint("192.0.2.1", 500), Endpoint("192.0.2.2", 500)
RA_SUBCA = b"\x30\x13DER name of ra-subca"
ROOT_CA = b"\x30\x12DER name of root-ca"
MODERN = IsakmpPolicy(
    10,
    EncryptionAlgorithm.AES_CBC,
    256,
    HashAlgorithm.SHA2_256,
    AuthMethod.RSA_SIG,
    Group.MODP_2048,
)
PSK = IsakmpPolicy(
    20,
    EncryptionAlgorithm.AES_CBC,
    256,
    HashAlgorithm.SHA2_256,
    AuthMethod.PRE_SHARED_KEY,
    Group.MODP_2048,
)
AES_SHA256 = TransformSet(
    "AES256_SHA256",
    EspTransform.ESP_AES,
    256,
    AuthAlgorithm.HMAC_SHA2_256,
    EncapsulationMode.TRANSPORT,
)


@cache
def rsa_key(name: str) -> RSAPrivateKey:
    """One key pair a name, the same for a whole test run."""
    return generate_private_key(65537, 2048)


def public_key_info(name: str) -> bytes:
    """SubjectPublicKeyInfo of a named key."""
    return rsa_key(name).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


class PoolKeys(Seeded):
    """Diffie-Hellman keys from seeded exponents, RSA keys by label."""

    def signing_key(self, label: str) -> RSAPrivateKey:
        return rsa_key(label)


def credential(name: str, authorities: tuple[bytes, ...] = (RA_SUBCA, ROOT_CA)) -> Credential:
    """A router's credential; its "certificate" is the public key itself."""
    return Credential(
        trustpoint="ra",
        certificate=public_key_info(name),
        chain=(b"sub-CA certificate",),
        authorities=authorities,
        subject=b"\x30\x00" + name.encode(),
        fqdns=(f"{name}.cisco.example",),
        addresses=(),
        key_label=name,
    )


def gre_flow(local: Endpoint, remote: Endpoint, **changes: object) -> IpsecFlow:
    """Tunnel1's traffic: GRE between the two ends."""
    values: dict[str, object] = {
        "name": "Tunnel1",
        "local": local,
        "remote": remote,
        "local_proxy": ProxyIdentity(local.address, protocol=47),
        "remote_proxy": ProxyIdentity(remote.address, protocol=47),
        "transform_sets": (AES_SHA256,),
    }
    return IpsecFlow(**{**values, **changes})  # type: ignore[arg-type]


def config(name: str, local: Endpoint, remote: Endpoint, **changes: object) -> IsakmpConfig:
    """A router that can do both RSA signatures and pre-shared keys with one peer."""
    values: dict[str, object] = {
        "hostname": name,
        "policies": (MODERN, PSK),
        "flows": (gre_flow(local, remote),),
        "keyrings": (
            Keyring("default", (PreSharedKey(remote.address, "255.255.255.255", "sesame"),)),
        ),
        "credentials": (credential(name),),
        "trusted_authorities": (("ra", RA_SUBCA),),
    }
    return IsakmpConfig(**{**values, **changes})  # type: ignore[arg-type]


class Side(Peer):
    """One engine with its surroundings, and everything it ever did."""

    def __init__(self, given: IsakmpConfig, end: Endpoint, seed: str) -> None:
        super().__init__(given, Seeded(seed), PoolKeys(seed), local=end, verdict=self.judge)
        self.name = given.hostname
        self.spis = 0x1000 if end == I_END else 0x2000
        self.refuse_cert: tuple[str, str] | None = None

    def answer(self, action: Action) -> Iterable[Event]:
        if isinstance(action, AllocateSpi):
            self.spis += 1
            return [SpiAllocated(action.handle, self.spis.to_bytes(4, "big"))]
        return super().answer(action)

    def judge(
        self, handle: int, certificates: tuple[bytes, ...], peer_id: PeerId = None
    ) -> PeerCertAccepted | PeerCertRefused:
        """What the PKI says of a peer's certificate."""
        if self.refuse_cert is not None:
            return PeerCertRefused(handle, *self.refuse_cert)
        known = {public_key_info(name): name for name in ("spoke1", "hub", "impostor")}
        if certificates[0] not in known:
            return PeerCertRefused(handle, "untrusted-issuer", "nobody issued this")
        name = known[certificates[0]]
        return PeerCertAccepted(
            handle,
            "ra",
            certificates[0],
            b"\x30\x00" + name.encode(),
            (f"{name}.cisco.example",),
            (),
            7,
        )


class Pair:
    """Initiator and responder with a wire that the test operates."""

    def __init__(
        self,
        initiator: IsakmpConfig | None = None,
        responder: IsakmpConfig | None = None,
        *,
        seed: str = "seed",
    ) -> None:
        self.elapsed = 0.0
        first = initiator or config("spoke1", I_END, R_END)
        second = responder or config("hub", R_END, I_END)
        self.i = Side(first, I_END, seed + "/i")
        self.r = Side(second, R_END, seed + "/r")

    @property
    def now(self) -> Now:
        """The moment, for both sides alike."""
        return Now(self.elapsed, datetime(2026, 1, 1, tzinfo=UTC), True)

    def other(self, side: Side) -> Side:
        """The side across the wire."""
        return self.r if side is self.i else self.i

    def give(self, side: Side, *events: Event) -> list[Action]:
        """Feed events to one side; its surroundings answer what they can."""
        done = side.give(self.now, *events)
        for action in done:
            assert not isinstance(action, Refused) or is_complete(action), action
        return done

    def request(self, side: Side | None = None) -> list[Action]:
        """The data plane of one side wants its first flow protected."""
        side = side or self.i
        return self.give(side, SaRequested(side.engine.config.flows[0]))

    def deliver(
        self, side: Side, change: Callable[[bytes], bytes] = lambda octets: octets
    ) -> list[Action]:
        """Carry the oldest datagram of one side to the other, perhaps changed on the way."""
        sent = side.outbox.pop(0)
        return self.hand_over(side, change(sent.octets))

    def hand_over(self, side: Side, octets: bytes) -> list[Action]:
        """Give octets to the other side as if `side` had sent them."""
        target = self.other(side)
        return target.receive(octets, self.now, side.end)

    def run(self, limit: int = 50) -> None:
        """Carry datagrams both ways until nobody has any."""
        for _ in range(limit):
            for side in (self.i, self.r):
                if side.outbox:
                    self.deliver(side)
                    break
            else:
                return
        raise AssertionError("the dialogue does not end")

    def advance(self, seconds: float) -> None:
        """Let time pass on both sides, timer by timer."""
        until = self.elapsed + seconds
        while True:
            due = [
                (timer.deadline, index, side)
                for index, side in enumerate((self.i, self.r))
                if (timer := side.engine.next_timer()) is not None and timer.deadline <= until
            ]
            if not due:
                break
            deadline, _, side = min(due)
            self.elapsed = max(self.elapsed, deadline)
            self.give(side, TimerFired())
        self.elapsed = until

    def live(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        """Let time pass on a wire that loses nothing."""
        end = self.elapsed + seconds
        while self.elapsed < end and not until():
            timers = [side.engine.next_timer() for side in (self.i, self.r)]
            deadlines = [timer.deadline for timer in timers if timer is not None]
            self.advance(min([end, *deadlines]) - self.elapsed)
            self.run()

    def establish(self) -> None:
        """Main mode and quick mode, undisturbed."""
        self.request()
        self.run()


def is_complete(refused: Refused) -> bool:
    """Whether a refusal says where, by which rule, what was seen and what was wanted."""
    told = (refused.payload, refused.rule, refused.seen, refused.wanted, refused.detail)
    return all(told) and refused.reason in REASONS


def esp_keys(side: Side) -> list[tuple[bytes, bytes, bytes]]:
    """(SPI, cipher key, integrity key) of all installed directions, sorted."""
    found = []
    for install in side.of(InstallIpsecSa):
        for keys in (install.inbound, install.outbound):
            found.append((keys.spi, keys.encryption_key, keys.authentication_key))
    return sorted(found)


def key_material(side: Side) -> list[tuple[bytes, tuple[tuple[str, bytes], ...]]]:
    """Phase 1 secrets a side derived."""
    return [(keys.encryption_key, keys.others) for keys in side.of(KeyMaterial)]


def deleted(side: Side) -> list[str]:
    """Reasons of all pairs that were taken out."""
    return [action.reason for action in side.of(DeleteIpsecSa)]
