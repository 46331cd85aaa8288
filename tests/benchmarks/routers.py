"""Our `Router` with real keys, certificates and CRLs, and the few surroundings a handshake needs.

Nothing is simulated that costs time in a handshake: libcrypto's Diffie-Hellman, RSA keys out of
nvram, signatures, a chain of three certificates and a CRL of each CA, fetched once and cached.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from datetime import UTC, datetime

from ikelab.ios.config_text import parse_config
from ikelab.isakmp import events as isakmp
from ikelab.node.events import AcquireSa, NodeEvent
from ikelab.node.router import Router
from ikelab.pki.events import HttpReply, HttpRequest
from ikelab.pki.store import StoredTrustpoint
from ikelab.runtime.keys import OsDhKeys, OsRng, OsRsaKeys
from ikelab.runtime.store import SqliteCaStore, SqliteNvram
from ikelab.types import Endpoint, Now
from tests.benchmarks.pki import BenchPki
from tests.benchmarks.stopwatch import Stopwatch

TRUSTPOINT = "ra-subca"
IKE_PORT = 500

_TUNNEL = """\
interface Tunnel{number}
 ip address 203.0.113.{inner} 255.255.255.252
 ip mtu 1400
 tunnel source {local}
 tunnel destination {remote}
 tunnel protection ipsec profile P
!
"""

_CONFIG = """\
hostname {name}
ip domain name example.net
!
crypto pki trustpoint {trustpoint}
 revocation-check crl
 rsakeypair {name}
!
crypto isakmp policy 10
 authentication rsa-sig
 encr aes 256
 hash sha256
 group 14
!
crypto isakmp identity hostname
!
crypto ipsec transform-set TS esp-aes 256 esp-sha256-hmac
 mode transport
!
crypto ipsec profile P
 set transform-set TS
!
interface GigabitEthernet0/0
 ip address {local} 255.255.255.0
!
{tunnels}end
"""


class _Keys(OsRsaKeys, OsDhKeys):
    """All of libcrypto."""


def ios_config(name: str, local: str, *remotes: str) -> str:
    """Tunnel1, Tunnel2, ... to each remote: RSA-2048, AES-256, SHA-256, group 14."""
    tunnels = "".join(
        _TUNNEL.format(number=number, inner=4 * number + 1, local=local, remote=remote)
        for number, remote in enumerate(remotes, start=1)
    )
    return _CONFIG.format(name=name, local=local, trustpoint=TRUSTPOINT, tunnels=tunnels)


class BenchRouter:
    """A router that found its key and certificates in nvram.

    spent: nanoseconds of CPU in it; parts: the same by part, while there is a `stopwatch`. outbox:
    what it wants sent. installed: the ESP pairs it has asked for so far.
    """

    def __init__(self, pki: BenchPki, name: str, local: str, *remotes: str) -> None:
        self.spent = 0
        self.parts: Counter[str] = Counter()
        self.outbox: deque[isakmp.SendDatagram] = deque()
        self.installed: list[isakmp.InstallIpsecSa] = []
        self.refused: list[isakmp.Refused] = []
        self.stopwatch: Stopwatch | None = None
        self._pki = pki
        self._local = local
        self._spi = 0x1000
        self._started = time.monotonic()
        _, key, certificate = pki.issue(name)
        nvram = SqliteNvram(":memory:")
        stored = StoredTrustpoint(
            name=TRUSTPOINT,
            ca_certificates=pki.authorities,
            certificate=certificate,
            key_label=name,
        )
        nvram.save_trustpoint(stored, (name, key))
        self._router = Router(
            parse_config(ios_config(name, local, *remotes), file=f"{name}.cfg"),
            "modern",
            rng=OsRng(),
            keys=_Keys(),
            nvram=nvram,
            open_store=lambda server: SqliteCaStore(":memory:"),
        )
        self._router.start(self._now())

    def acquire(self, tunnel: str = "Tunnel1") -> None:
        """A packet waits for this tunnel."""
        self.give(AcquireSa(tunnel))

    def receive(self, octets: bytes, sender: str) -> None:
        """A datagram has come."""
        local, remote = Endpoint(self._local, IKE_PORT), Endpoint(sender, IKE_PORT)
        self.give(isakmp.DatagramReceived(local, remote, octets))

    def clear(self) -> None:
        """`clear crypto session`: everything is deleted, and the peer told."""
        self.give(isakmp.Clear())

    @property
    def is_idle(self) -> bool:
        """No SA at all."""
        table = self._router.isakmp.table
        return not (table.sas or table.nodes or table.pairs)

    def give(self, event: NodeEvent) -> None:
        """Feed an event, with all that follows from it at once; only the router's time counts."""
        queue = deque([event])
        while queue:
            given = queue.popleft()
            before = time.thread_time_ns()
            if self.stopwatch is not None:
                self.stopwatch.start(self.parts)
            actions = self._router.handle(given, self._now())
            if self.stopwatch is not None:
                self.stopwatch.stop()
            self.spent += time.thread_time_ns() - before
            for action in actions:
                queue.extend(self._answers(action))

    def _answers(self, action: object) -> list[NodeEvent]:
        match action:
            case isakmp.SendDatagram():
                self.outbox.append(action)
            case isakmp.AllocateSpi(handle):
                self._spi += 1
                return [isakmp.SpiAllocated(handle, self._spi.to_bytes(4, "big"))]
            case isakmp.InstallIpsecSa(handle):
                self.installed.append(action)
                return [isakmp.IpsecInstallDone(handle)]
            case isakmp.Refused():
                self.refused.append(action)
            case HttpRequest(handle):
                body = self._pki.crls[action.url]
                return [HttpReply(handle, 200, "application/pkix-crl", body)]
            case _:
                pass
        return []

    def _now(self) -> Now:
        return Now(time.monotonic() - self._started, datetime.now(UTC), True)
