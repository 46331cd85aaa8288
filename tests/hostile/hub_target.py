"""A router to attack, simulated: virtual time, a live tunnel, and two ways to be a member.

The hub 192.0.2.1 has a tunnel with the honest spoke (192.0.2.2, a whole router of its own), and
one each with the members 192.0.2.3 (a certificate) and 192.0.2.4 (a shared key), who attack it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from ikelab.errors import ProtocolError
from ikelab.hostile.hub import Assault, NotHere
from ikelab.ios.config_text import parse_config
from ikelab.ios.log import NodeLog
from ikelab.ipsec.esp import InboundSa, OutboundSa
from ikelab.isakmp import events as isakmp
from ikelab.isakmp.admission import HALF_OPEN_IN_ALL, PAIRS_OF_FLOW, QUICK_MODES_OF_SA
from ikelab.node.console import Console
from ikelab.node.events import AcquireSa
from ikelab.pki.store import StoredTrustpoint
from ikelab.runtime.store import SqliteNvram
from ikelab.script import Identity, IdentityKeys, Peer, Seeded, settings
from ikelab.types import Endpoint, Now
from tests.pki_samples import NOW, authority, router, rsa_key
from tests.simnet.network import Simnet, SimNode

HUB, HONEST = Endpoint("192.0.2.1", 500), Endpoint("192.0.2.2", 500)
MEMBERS = {"rsa": Endpoint("192.0.2.3", 500), "psk": Endpoint("192.0.2.4", 500)}
PAIRS = PAIRS_OF_FLOW * (len(MEMBERS) + 1)
LOG = 2_000  # actions of the hub that are kept: about a megabyte
SECRET = "known-to-two-routers-only"

_CONFIG = """
hostname {name}
ip domain name example.com
crypto key generate rsa label {name}.example.com modulus 2048
crypto pki trustpoint ra
 enrollment url http://192.0.2.99:80
 revocation-check none
 rsakeypair {name}.example.com
crypto isakmp policy 1
 encryption aes 256
 hash sha256
 authentication rsa-sig
 group 14
crypto isakmp policy 2
 encryption aes 256
 hash sha256
 authentication pre-share
 group 14
crypto isakmp fragmentation
crypto isakmp key {secret} address 192.0.2.4
crypto ipsec transform-set AES esp-aes 256 esp-sha256-hmac
 mode transport
crypto ipsec profile TUNNELS
 set transform-set AES
interface GigabitEthernet0/0
 ip address {address} 255.255.255.0
{tunnels}
end
"""
_TUNNEL = """
interface Tunnel{number}
 ip address 10.0.{number}.{last} 255.255.255.0
 tunnel source {source}
 tunnel destination {destination}
 tunnel protection ipsec profile TUNNELS
"""


def _config(name: str, address: str, peers: list[str]):
    last = address.rpartition(".")[2]
    tunnels = "".join(
        _TUNNEL.format(number=number, last=last, source=address, destination=peer)
        for number, peer in enumerate(peers, start=1)
    )
    text = _CONFIG.format(name=name, address=address, tunnels=tunnels, secret=SECRET)
    return parse_config(text)


def _nvram(name: str) -> SqliteNvram:
    nvram, label = SqliteNvram(":memory:"), f"{name}.example.com"
    stored = StoredTrustpoint(
        name="ra",
        ca_certificates=(authority("root-ca").der,),
        certificate=router(label, crl_url=None).der,
        key_label=label,
    )
    nvram.save_trustpoint(stored, (label, rsa_key(label)))
    return nvram


class _Net(Simnet):
    """A network where attackers have no router: what is sent to them waits for them."""

    def __init__(self) -> None:
        super().__init__()
        self.mail: dict[Endpoint, list[bytes]] = defaultdict(list)

    @property
    def now(self) -> Now:
        return Now(self.elapsed, NOW + timedelta(seconds=self.elapsed))

    def _arrive(self, action: isakmp.SendDatagram) -> None:
        if action.remote.address in (HUB.address, HONEST.address):
            super()._arrive(action)
        else:
            self.mail[action.remote].append(action.octets)


class SimulatedHub:
    """`hostile.hub.Hub` in one process."""

    end = HUB
    stranger = Endpoint("198.51.100.66", 500)

    def __init__(self) -> None:
        self.net = _Net()
        others = [HONEST.address, *(end.address for end in MEMBERS.values())]
        self.hub = self.net.add(_config("hub", HUB.address, others), nvram=_nvram("hub"))
        spoke = _config("spoke", HONEST.address, [HUB.address])
        self.honest = self.net.add(spoke, nvram=_nvram("spoke"))
        self._turn = 0
        self.sent = 0  # datagrams of the attackers
        self.waited = 0.0  # seconds that cases let pass
        self.tunnel = self._tunnel()

    @property
    def engine(self):
        return self.hub.router.isakmp

    # --- what a case needs --------------------------------------------------------------------

    def now(self) -> Now:
        return self.net.now

    def send(self, octets: bytes, source: Endpoint) -> None:
        self.sent += 1
        self.net.give(self.hub, isakmp.DatagramReceived(HUB, source, octets))
        self.net.run(0.01)
        if len(self.hub.log) > LOG:  # the network's memory, not the router's
            self._tell_no_secrets()
            self.hub.log.clear()

    def inbox(self, at: Endpoint) -> list[bytes]:
        return self.net.mail.pop(at, [])

    def recorded(self) -> Counter[str]:
        return Counter(self.engine.drops)

    def member(self, method: str = "") -> Peer:
        self._turn += 1
        return self._peer(MEMBERS[method or "psk"], method or "psk")

    def _peer(self, end: Endpoint, method: str) -> Peer:
        source = Seeded(f"member {self._turn}")
        if method == "psk":
            config = settings(end, HUB, hostname="evil.example.com", pre_shared_key=SECRET)
            return Peer(config, source, IdentityKeys(source))
        label = "evil.example.com"
        certificate, chain = router(label, crl_url=None).der, (authority("root-ca").der,)
        identity = Identity.of(certificate, rsa_key(label), chain)
        config = settings(end, HUB, hostname=label, identity=identity)
        return Peer(config, source, IdentityKeys(source, identity))

    def advance(self, seconds: float) -> None:
        self.waited += seconds
        self.net.run(seconds)

    def provoke(self, peer: Peer) -> None:
        for flow in self.engine.config.flows:
            if flow.remote.address == peer.end.address:
                self.net.give(self.hub, AcquireSa(flow.name))
                self.net.run(0.01)
                return
        raise NotHere(f"the hub has no tunnel with {peer.end}")

    def allow_aggressive_mode(self) -> None:
        line = "no crypto isakmp aggressive-mode disable"
        answer = Console(self.hub.router, lambda: []).configure([line], self.now())
        self.net.do(self.hub, answer.actions)
        assert self.engine.config.aggressive_mode, answer.text

    def sas(self) -> int:
        return len(self.engine.table.sas)

    # --- what must hold afterwards --------------------------------------------------------------

    def check(self) -> None:
        """The live tunnel was not touched, a new one comes up, tables are small, no secret told."""
        table = self.engine.table
        self.tunnel.pass_traffic()
        assert len(table.sas) <= HALF_OPEN_IN_ALL + 20, len(table.sas)
        assert len(table.nodes) <= 200, len(table.nodes)
        assert len(table.pairs) <= PAIRS + QUICK_MODES_OF_SA, len(table.pairs)
        assert len(self.engine.drops) < 100
        self._tell_no_secrets()
        self.net.run(1.0)
        self._tunnel().pass_traffic()

    def _tell_no_secrets(self) -> None:
        """What the router has logged since the last time."""
        told = NodeLog().text(self.hub.log, self.now()) + repr(self.hub.router.last_refusal)
        secrets = [SECRET]
        for material in self.hub.of(isakmp.KeyMaterial):
            secrets += [material.encryption_key.hex(), *(o.hex() for _, o in material.others)]
        assert not [secret for secret in secrets if secret in told.lower()]

    def _tunnel(self) -> _Tunnel:
        known = set(self.honest.installed)
        self.net.acquire(self.honest)
        assert self.net.run(5, lambda: set(self.honest.installed) > known), "no tunnel comes up"
        [spi] = set(self.honest.installed) - known
        self.net.run(0.1)
        return _Tunnel(self, spi)


class _Tunnel:
    """The honest spoke's pair, with packets going both ways."""

    def __init__(self, world: SimulatedHub, spi: bytes) -> None:
        ours = world.honest.installed[spi]
        self._hub: SimNode = world.hub
        self._spi = ours.outbound.spi
        theirs = self._hub.installed[self._spi]
        iv = bytes(range(16))

        def pair(a, b, a_keys, b_keys):
            return OutboundSa(a.transform, a_keys, iv), InboundSa(b.transform, b_keys)

        self._ways = [
            pair(ours, theirs, ours.outbound, theirs.inbound),
            pair(theirs, ours, theirs.outbound, ours.inbound),
        ]

    def pass_traffic(self) -> None:
        assert self._spi in self._hub.installed, "the live tunnel is gone"
        for sender, receiver in self._ways:
            try:
                assert receiver.open(sender.protect(b"ping"))[1] == b"ping"
            except ProtocolError as error:
                raise AssertionError(f"the live tunnel: {error}") from error


@contextmanager
def simulated_hub() -> Iterator[Assault]:
    """A fresh one, for `play`."""
    yield Assault(SimulatedHub())
