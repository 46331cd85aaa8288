"""A UDP end for a script: in a namespace of a lab or on loopback, and nowhere else.

`Station` carries a `script.Peer`'s datagrams over a real socket, with the machine's clock, the
kernel's randomness and libcrypto's keys. Whatever is sent goes to an address that a lab owns:
another one is refused before a socket is asked, so that no script reaches a network of others.

    with Station("192.168.159.250", namespace="ikelab-first-tunnel-psk-spoke1", port=5500) as here:
        peer = here.peer("192.168.159.242", pre_shared_key="a-long-key-of-this-lab-only")
        here.begin(peer)
        here.serve(peer, until=lambda: bool(peer.of(InstallIpsecSa)))
"""

from __future__ import annotations

import os
import select
import shutil
import socket
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Self

from ikelab.errors import LabError
from ikelab.ipsec import ipv4, udp_encap
from ikelab.isakmp.events import TimerFired
from ikelab.isakmp.policy import IsakmpConfig
from ikelab.runtime import ownership
from ikelab.runtime.clock import NodeClock
from ikelab.runtime.keys import OsDhKeys, OsRng
from ikelab.runtime.namespace import inside
from ikelab.runtime.nodespec import RUN_DIRECTORY
from ikelab.runtime.nvram import SqliteNvram
from ikelab.script import Identity, IdentityKeys, Peer, settings
from ikelab.script.identity import Verdict, believe
from ikelab.types import Endpoint, Now, Rng
from ikelab.wire.numbers import ISAKMP_PORT, NAT_T_PORT, IpProtocol

_DISCARD = 9  # a port that nobody listens at
_POLL = 0.05  # seconds: `until` may be about something that no datagram tells


class Station:
    """One UDP socket. address: dotted, of the namespace; namespace: `ikelab-LAB-NODE`, or None
    for loopback. port: another than 500 where a router of the lab has that already.

    lodge: the address is a new one, on a segment of the namespace, as long as the station is open.
    Raises LabError where the place belongs to no lab.
    """

    def __init__(
        self,
        address: str,
        *,
        namespace: str | None = None,
        port: int = ISAKMP_PORT,
        lodge: bool = False,
    ) -> None:
        ownership.check_place(namespace, address)
        self._stack = ExitStack()
        if lodge and namespace is not None:
            self._stack.enter_context(ownership.lodged(namespace, address))
        self.end = Endpoint(address, port)
        self.namespace = namespace
        self.rng: Rng = OsRng()
        self._clock = NodeClock()
        self._owned = ownership.Owned(namespace)
        with inside(namespace):
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._raw: socket.socket | None = None
            self._nat_t: socket.socket | None = None
        try:
            self._socket.bind((address, port))
            if port == ISAKMP_PORT:
                self._floated()
        except OSError as error:
            self.close()
            where = namespace or "the host"
            raise LabError(
                f"cannot use {self.end} in {where}: {error.strerror}",
                hint="a router of the lab has port 500 of its address: take another port",
            ) from error

    def __enter__(self) -> Self:
        """The station itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Give the sockets back."""
        self._socket.close()
        for other in (self._raw, self._nat_t):
            if other is not None:
                other.close()
        self._stack.close()

    def now(self) -> Now:
        """The time since this station was opened, and the machine's date."""
        return self._clock.now()

    # --- peers --------------------------------------------------------------------------------

    def peer(
        self,
        remote: str,
        *,
        remote_port: int = ISAKMP_PORT,
        config: IsakmpConfig | None = None,
        identity: Identity | None = None,
        verdict: Verdict = believe,
        **wanted: Any,  # keywords of `settings`, which checks them
    ) -> Peer:
        """A Peer that speaks from here with one other end.

        wanted: as of `script.settings` (`pre_shared_key=`, `policy=`, ...), unless a whole
        `config` is given.
        """
        far = Endpoint(remote, remote_port)
        if config is None:
            config = settings(self.end, far, identity=identity, **wanted)
        keys = IdentityKeys(OsDhKeys(), identity)
        return Peer(config, self.rng, keys, local=self.end, verdict=verdict)

    def begin(self, peer: Peer) -> None:
        """Send the peer's first message."""
        peer.request(self.now())
        self.flush(peer)

    def flush(self, peer: Peer) -> None:
        """Send everything that waits in a peer's outbox."""
        while peer.outbox:
            waiting = peer.outbox.pop(0)
            self.send(waiting.octets, waiting.remote, from_port=waiting.local.port)

    def serve(
        self, peer: Peer, *, until: Callable[[], bool] = lambda: False, seconds: float = 8.0
    ) -> bool:
        """Carry datagrams and fire timers; whether `until` came true in this time."""
        deadline = time.monotonic() + seconds
        self.flush(peer)
        while not until():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            timer = peer.next_timer()
            due = _POLL if timer is None else timer.remaining(self.now())
            came = self._receive(max(0.0, min(_POLL, due, left)))
            if came is not None:
                octets, remote, local = came
                peer.receive(octets, self.now(), remote, local)
            if timer is not None and timer.remaining(self.now()) <= 0:
                peer.give(self.now(), TimerFired())
            self.flush(peer)
        return True

    # --- octets -------------------------------------------------------------------------------

    def send(self, octets: bytes, remote: Endpoint, *, from_port: int | None = None) -> None:
        """Send any octets to an address of a lab. LabError for all others.

        from_port: 4500 for what goes behind NAT traversal's marker (RFC 3948), else our own port.
        """
        self._owned.check(remote.address)
        here = self._socket
        if from_port == NAT_T_PORT != self.end.port:
            local = Endpoint(self.end.address, NAT_T_PORT)
            here, octets = self._floated(), udp_encap.on_wire(local, octets)
        try:
            here.sendto(octets, (remote.address, remote.port))
        except OSError as error:
            raise LabError(f"cannot send to {remote} from {self.end}: {error.strerror}") from error

    def receive(self, seconds: float = 0.0) -> tuple[bytes, Endpoint] | None:
        """The next datagram and its sender; None when none came in time."""
        came = self._receive(seconds)
        return None if came is None else came[:2]

    def _receive(self, seconds: float) -> tuple[bytes, Endpoint, Endpoint] | None:
        """(octets, sender, our end), without the marker of port 4500; IKE only there."""
        sockets = [self._socket, *([self._nat_t] if self._nat_t is not None else [])]
        readable, _, _ = select.select(sockets, [], [], seconds)
        if not readable:
            return None
        try:
            octets, (address, port) = readable[0].recvfrom(65535)
        except OSError:  # an ICMP error for something sent earlier
            return None
        if readable[0] is self._socket:
            return octets, Endpoint(address, port), self.end
        kind, message = udp_encap.split(octets)
        if kind is not udp_encap.Kind.IKE:
            return None
        return message, Endpoint(address, port), Endpoint(self.end.address, NAT_T_PORT)

    def _floated(self) -> socket.socket:
        """The socket at port 4500: there from the start beside port 500, else when it is needed."""
        if self._nat_t is None:
            with inside(self.namespace):
                self._nat_t = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._nat_t.bind((self.end.address, NAT_T_PORT))
        return self._nat_t

    def spoof(self, source: Endpoint, octets: bytes, remote: Endpoint) -> None:
        """Send as if from another address; what is answered goes there, not here."""
        self._owned.check(remote.address)
        if self._raw is None:
            with inside(self.namespace):
                self._raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, IpProtocol.UDP)
            self._raw.setsockopt(socket.IPPROTO_IP, socket.IP_HDRINCL, 1)
        # A checksum of 0 means none (RFC 768): the kernel at the other end takes it.
        ports = source.port.to_bytes(2, "big") + remote.port.to_bytes(2, "big")
        segment = ports + (8 + len(octets)).to_bytes(2, "big") + bytes(2) + octets
        packet = ipv4.Ipv4Packet(source.address, remote.address, IpProtocol.UDP, segment)
        self._raw.sendto(ipv4.build(packet), (str(IPv4Address(remote.address)), 0))


def knock(namespace: str, address: str) -> None:
    """Send one packet from inside a lab's namespace, such as into a tunnel that wants an SA."""
    ownership.check_place(namespace, address)
    with inside(namespace), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        any_socket.sendto(b"knock", (address, _DISCARD))


def identity_of(lab: str, node: str, trustpoint: str, *, root: Path = RUN_DIRECTORY) -> Identity:
    """Certificate and key of a deployed lab's router, read from a copy of its nvram.

    Raises LabError where the router, the trustpoint or its certificate is not there.
    """
    stored = root / lab / f"{node}.data"
    if not os.access(stored / "nvram.db", os.R_OK):
        raise LabError(
            f"{lab} has no router {node} with an nvram that can be read",
            hint="is the lab deployed? Its files are root's (start with sudo)",
        )
    with tempfile.TemporaryDirectory(prefix="ikelab-") as directory:
        # The router holds its file locked; what it has committed is in the file and its log.
        for file in stored.glob("nvram.db*"):
            if not file.name.endswith("-shm"):
                shutil.copy(file, directory)
        nvram = SqliteNvram(str(Path(directory) / "nvram.db"))
        try:
            held = nvram.load_trustpoint(trustpoint)
            key = None if held is None else nvram.load_key(held.key_label or "")
        finally:
            nvram.close()
    if held is None or held.certificate is None or key is None:
        raise LabError(
            f"{node} has no certificate of trustpoint {trustpoint}",
            hint=f"`ikelab exec {node} show crypto pki trustpoints` says what it has",
        )
    return Identity.of(held.certificate, key, held.ca_certificates, name=trustpoint)
