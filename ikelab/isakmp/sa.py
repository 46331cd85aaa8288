"""The ISAKMP SA, its quick mode nodes, and how a datagram finds them.

What identifies what: an ISAKMP SA by its cookie pair (message 2 meets an SA that knows only its own
cookie); a quick mode by cookie pair and message ID. Plain data; the steps change drafts of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from ikelab.crypto.cipher import CbcCipher
from ikelab.crypto.dh import DhKey
from ikelab.crypto.oakley import SkeyidSet
from ikelab.isakmp.events import DatagramReceived, PeerCertAccepted, SendDatagram, Trace
from ikelab.isakmp.fragment import Pieces
from ikelab.isakmp.nat_t import NatTraversal
from ikelab.isakmp.policy import (
    Credential,
    IpsecFlow,
    IsakmpPolicy,
    ProxyIdentity,
    TransformSet,
)
from ikelab.isakmp.retransmit import Retransmission
from ikelab.isakmp.state import QmState, State
from ikelab.types import Endpoint
from ikelab.wire.numbers import ISAKMP_PORT, EncapsulationMode, ExchangeType
from ikelab.wire.payloads import Proposal

NO_COOKIE = bytes(8)
CROSSING_SECONDS = 10.0  # one retransmission
REKEY_SECONDS = 30.0  # before the end, as IOS renegotiates IPsec SAs
# Without progress: five attempts of the initiator at ten seconds; and before anybody has shown
# that our first message reached it, as long as strongSwan waits.
HALF_OPEN_SECONDS = 60.0
UNVERIFIED_SECONDS = 30.0


Rank = tuple[float, bytes, bytes]
"""When something was established here, and two numbers of it that both sides know."""


@dataclass(slots=True)
class IsakmpSa:
    """One phase 1 SA, growing or grown.

    conn_id: 0 until keys exist, as IOS prints. begun: when message 1 went or came; created: when it
    last got on, as long as it is half-open; established, expires: seconds of `Now.elapsed`, all of
    them. sai_b, id_b: bodies as sent or received: the hashes run over these octets, never over
    rebuilt ones. exchange: the mode of phase 1. iv: of the next phase 1 message; after phase 1 its
    last cipher block, from which every other exchange derives its own. own_id_b: the ID that we
    sent ahead of its proof, in aggressive mode. rekey_at, probe_at: when a new main mode, when an
    R-U-THERE is due. answered: digest of a datagram that was taken -> the stored reply to it,
    newest last. repeats: how often message 2 of aggressive mode went out again, at the peer's
    request.
    requested_profile: of the flow that we initiate for ("SA request profile is"); profile: the one
    that the peer's identity matched. keyring: where the pre-shared key was found. nat: what NAT
    traversal has found, None where it was not agreed on. nat_keepalive_at: when the next one is
    due. pieces: the fragments of a message that is not whole yet. traffic: packets sent and
    received, when they were counted last. used_message_ids: of exchanges that the peer began.
    probe_heard, probes_answered: last sequence number of its R-U-THEREs, times of our latest
    answers. early: messages of phase 2 that wait for the peer's authentication.
    """

    handle: int
    initiator: bool
    local: Endpoint
    remote: Endpoint
    cky_i: bytes
    cky_r: bytes = NO_COOKIE
    state: State = State.IKE_READY
    shown: str = "MM_NO_STATE"
    exchange: ExchangeType = ExchangeType.IDENTITY_PROTECTION
    conn_id: int = 0
    begun: float = 0.0
    created: float = 0.0
    policy: IsakmpPolicy | None = None
    cipher: CbcCipher | None = None
    sai_b: bytes = b""
    dh: DhKey | None = None
    g_xi: bytes = b""
    g_xr: bytes = b""
    nonce_i: bytes = b""
    nonce_r: bytes = b""
    keys: SkeyidSet | None = None
    encryption_key: bytes = b""
    iv: bytes = b""
    requested_authorities: tuple[bytes, ...] = ()
    credential: Credential | None = None
    own_id_b: bytes = b""
    peer_id: tuple[int, bytes] | None = None
    peer_id_b: bytes = b""
    peer_proof: bytes = b""
    peer_cert: PeerCertAccepted | None = None
    awaiting_cert: bool = False
    initial_contact: bool = False
    peer_initial_contact: bool = False
    requested_profile: str | None = None
    profile: str | None = None
    keyring: str | None = None
    peer_vendor_ids: tuple[bytes, ...] = ()
    nat: NatTraversal | None = None
    pieces: Pieces | None = None
    lifetime: int = 0
    established: float | None = None
    expires: float | None = None
    rekey_at: float | None = None
    probe_at: float | None = None
    nat_keepalive_at: float | None = None
    probes: int = 0
    traffic: tuple[int, int] = (0, 0)
    dpd_sequence: int = 0
    errors: int = 0
    retransmission: Retransmission | None = None
    answered: tuple[tuple[bytes, SendDatagram | None], ...] = ()
    last_sent: SendDatagram | None = None
    repeats: int = 0
    checkpoint: IsakmpSa | None = None
    early: tuple[DatagramReceived, ...] = ()
    used_message_ids: tuple[int, ...] = ()
    probe_heard: int = -1
    probes_answered: tuple[float, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Phase 1 is through: quick mode and informational exchanges may run."""
        return self.state is State.IKE_P1_COMPLETE

    @property
    def patience(self) -> float:
        """Seconds without progress after which a half-open SA is given up."""
        is_unverified = self.state in (State.IKE_R_MM2, State.IKE_R_AM2)
        return UNVERIFIED_SECONDS if is_unverified else HALF_OPEN_SECONDS

    @property
    def rank(self) -> Rank:
        """Which of two is the newer, or, where they crossed, which both sides prefer."""
        return self.established or 0.0, self.cky_i, self.cky_r

    @property
    def role(self) -> str:
        """I or R, as IOS prints in brackets."""
        return "I" if self.initiator else "R"

    def has_peer(self, remote: Endpoint) -> bool:
        """Whether this endpoint is the SA's peer.

        A tunnel's destination, port 500, is also the peer that has changed to another port.
        """
        if remote.port == ISAKMP_PORT and self.nat is not None and self.nat.is_needed:
            return self.remote.address == remote.address
        return self.remote == remote

    def has_peer_of(self, other: IsakmpSa) -> bool:
        """Whether both are with one peer.

        By the endpoint or, where a NAT has given it another port, by address and identity.
        """
        if other.remote == self.remote:
            return True
        return other.remote.address == self.remote.address and other.peer_id == self.peer_id

    def heard_at(self, remote: Endpoint) -> IsakmpSa:
        """The SA as one exchange sees it whose messages come from this port of the peer."""
        return self if self.remote == remote else replace(self, remote=remote)

    def draft(self) -> IsakmpSa:
        """A copy to work on; the original stays until the work has passed."""
        return replace(self)


@dataclass(slots=True)
class QuickModeNode:
    """One quick mode exchange. iv: of its next message. sa_handle: the ISAKMP SA under which.

    remote: where the peer is heard from in it. proxies: ours and the peer's, as on the wire.
    """

    handle: int
    sa_handle: int
    initiator: bool
    message_id: int
    remote: Endpoint
    flow: IpsecFlow | None = None
    proxies: tuple[ProxyIdentity, ProxyIdentity] | None = None
    state: QmState = QmState.IKE_QM_READY
    iv: bytes = b""
    nonce_i: bytes = b""
    nonce_r: bytes = b""
    transform: TransformSet | None = None
    reply: Proposal | None = None
    ids: tuple[bytes, ...] = ()
    inbound_spi: bytes = b""
    outbound_spi: bytes = b""
    lifetime_seconds: int = 0
    lifetime_kilobytes: int = 0
    dh: DhKey | None = None
    peer_public: bytes = b""
    retransmission: Retransmission | None = None
    answered: tuple[tuple[bytes, SendDatagram | None], ...] = ()
    last_sent: SendDatagram | None = None
    purge_at: float | None = None

    @property
    def is_over(self) -> bool:
        """Only repeats of its messages may still come."""
        return self.state is QmState.IKE_QM_PHASE2_COMPLETE

    @property
    def installed_proxies(self) -> tuple[ProxyIdentity, ProxyIdentity]:
        """Ours and the peer's, as the data plane has them.

        In tunnel mode those of the wire, which are the inner packet's. In transport mode the
        addresses are those of the packet itself, as it is on this side of a NAT.
        """
        assert self.flow is not None and self.proxies is not None and self.transform is not None
        if self.transform.mode is EncapsulationMode.TRANSPORT:
            return self.flow.local_proxy, self.flow.remote_proxy
        return self.proxies

    def draft(self) -> QuickModeNode:
        """A copy to work on."""
        return replace(self)


@dataclass(frozen=True, slots=True)
class IpsecPair:
    """A pair of ESP SAs that is in the data plane, and how long it may stay.

    number: counted up from 1. proxies: ours and the peer's, where a NAT makes them others than the
    flow's.
    """

    sa_handle: int
    flow: IpsecFlow
    remote: Endpoint
    inbound_spi: bytes
    outbound_spi: bytes
    transform: TransformSet
    lifetime_seconds: int
    lifetime_kilobytes: int
    established: float
    number: int
    rekey_at: float | None = None
    proxies: tuple[ProxyIdentity, ProxyIdentity] | None = None

    @property
    def rank(self) -> Rank:
        """Which of two is the newer, or, where they crossed, which both sides prefer."""
        low, high = sorted((self.inbound_spi, self.outbound_spi))
        return self.established, low, high

    @property
    def expires(self) -> float:
        """Seconds of `Now.elapsed`."""
        return self.established + self.lifetime_seconds


def rekey_margin(lifetime: int, initiator: bool) -> float:
    """Seconds before its end that an SA is renewed.

    A quarter of a short life. The side that did not initiate waits half as long again: it steps in
    only where the initiator has failed.
    """
    margin = min(REKEY_SECONDS, lifetime / 4)
    return margin if initiator else margin / 2


@dataclass(slots=True)
class PeerStruct:
    """A peer with an SA. handle: counted up, never used again. count: its ISAKMP SAs."""

    handle: int
    count: int = 0


def _is_newer(one: Rank, other: Rank, lifetime: int) -> bool:
    """Whether `one` takes the place of `other`.

    Two that were made at once crossed: either side began one, and each may have seen the other
    come first. There the numbers decide, which both sides know, so that only one has a successor.
    """
    apart = one[0] - other[0]
    crossed = abs(apart) <= min(CROSSING_SECONDS, lifetime / 8)  # under any span of a rekeying
    return one[1:] > other[1:] if crossed else apart > 0


@dataclass(slots=True)
class SaTable:
    """All SAs, nodes and installed pairs of one router, and the peers they are with.

    waiting: flows that want an ISAKMP SA, by their destination and name. peer_handles: how many
    peers there have been; pairs_made: how many pairs.
    """

    sas: dict[int, IsakmpSa] = field(default_factory=dict)
    nodes: dict[int, QuickModeNode] = field(default_factory=dict)
    pairs: dict[bytes, IpsecPair] = field(default_factory=dict)  # by inbound SPI
    waiting: dict[Endpoint, dict[str, IpsecFlow]] = field(default_factory=dict)
    peers: dict[str, PeerStruct] = field(default_factory=dict)  # by address
    peer_handles: int = 0
    pairs_made: int = 0

    def insert(self, sa: IsakmpSa) -> Trace:
        """Take in a new SA, and tell of its peer's references."""
        peer = self.peers.get(sa.remote.address)
        is_new = peer is None
        if peer is None:
            self.peer_handles += 1
            peer = self.peers[sa.remote.address] = PeerStruct(self.peer_handles)
        peer.count += 1
        self.sas[sa.handle] = sa
        told = {"new": int(is_new), "struct": peer.handle, "count": peer.count, "sa": sa.handle}
        told |= {"initiator": int(sa.initiator), "local_port": sa.local.port}
        told |= {"remote_port": sa.remote.port}
        return Trace(sa.remote, 0, "sa-inserted", tuple((k, str(v)) for k, v in told.items()))

    def remove(self, sa: IsakmpSa) -> Trace | None:
        """Take out an SA, and tell of its peer's references; None where it was out already."""
        if self.sas.pop(sa.handle, None) is None:
            return None
        peer = self.peers[sa.remote.address]
        peer.count -= 1
        if not peer.count:
            del self.peers[sa.remote.address]
        incoming = sum(not one.initiator and not one.is_complete for one in self.sas.values())
        told = {"struct": peer.handle, "count": peer.count, "incoming": incoming}
        told |= {"initiator": int(sa.initiator)}
        values = tuple((key, str(value)) for key, value in told.items())
        return Trace(sa.remote, sa.conn_id, "sa-removed", values)

    @property
    def awaits_answer(self) -> bool:
        """Whether a message was sent that a peer should answer at once."""
        waiting = [sa.retransmission for sa in self.sas.values()]
        waiting += [node.retransmission for node in self.nodes.values()]
        return any(one is not None for one in waiting)

    def find(self, cky_i: bytes, cky_r: bytes) -> IsakmpSa | None:
        """The SA of a cookie pair."""
        for sa in self.sas.values():
            if sa.cky_i == cky_i and sa.cky_r == cky_r:
                return sa
        return None

    def find_half_open(self, cky_i: bytes, *, initiator: bool) -> IsakmpSa | None:
        """The SA that an initiator cookie alone names: ours before message 2 came, or (as
        responder) the one that the same message 1 made before.
        """
        for sa in self.sas.values():
            if sa.cky_i != cky_i or sa.initiator is not initiator:
                continue
            if not initiator or sa.cky_r == NO_COOKIE:
                return sa
        return None

    def find_node(self, sa: IsakmpSa, message_id: int) -> QuickModeNode | None:
        """The quick mode of a message ID under an SA."""
        for node in self.nodes.values():
            if node.sa_handle == sa.handle and node.message_id == message_id:
                return node
        return None

    def established_with(self, remote: Endpoint, profile: str | None = None) -> IsakmpSa | None:
        """The newest complete SA with a peer, of that ISAKMP profile if one is wanted."""
        complete = [
            sa
            for sa in self.sas.values()
            if sa.is_complete and sa.has_peer(remote) and profile in (None, sa.profile)
        ]
        return max(complete, key=lambda sa: sa.established or 0.0, default=None)

    def negotiating_with(self, remote: Endpoint, profile: str | None = None) -> IsakmpSa | None:
        """An SA that we are initiating with a peer right now, for that profile if one is wanted."""
        for sa in self.sas.values():
            fits = profile in (None, sa.requested_profile)
            if sa.initiator and sa.has_peer(remote) and not sa.is_complete and fits:
                return sa
        return None

    def nodes_of(self, sa: IsakmpSa) -> Iterator[QuickModeNode]:
        """The quick modes under an SA."""
        return (node for node in list(self.nodes.values()) if node.sa_handle == sa.handle)

    def forget_quick_mode(self, pair: IpsecPair, *, even_open: bool = False) -> None:
        """Take out the quick mode that made a pair; one that goes on only where that is meant."""
        for node in list(self.nodes.values()):
            if node.inbound_spi == pair.inbound_spi and (node.is_over or even_open):
                del self.nodes[node.handle]

    def pairs_with(self, remote: Endpoint) -> Iterator[IpsecPair]:
        """The installed pairs with a peer."""
        return (pair for pair in list(self.pairs.values()) if pair.remote == remote)

    def is_superseded(self, pair: IpsecPair) -> bool:
        """Whether a newer pair carries the same flow, and this one needs no successor."""
        return any(
            _is_newer(other.rank, pair.rank, pair.lifetime_seconds)
            for other in self.pairs.values()
            if other.flow.name == pair.flow.name and other is not pair
        )

    def is_renewed(self, sa: IsakmpSa) -> bool:
        """Whether a newer ISAKMP SA with the same peer and profile takes this one's place."""
        return any(
            _is_newer(other.rank, sa.rank, sa.lifetime)
            for other in self.sas.values()
            if other.is_complete
            and other is not sa
            and (other.remote, other.profile) == (sa.remote, sa.profile)
        )

    def deadlines(self) -> list[tuple[float, str]]:
        """Every moment something is due, in seconds of `Now.elapsed`, and what it is."""
        found: list[tuple[float, str]] = []
        for sa in self.sas.values():
            if sa.retransmission is not None:
                found.append((sa.retransmission.deadline, f"resend to {sa.remote}"))
            if sa.rekey_at is not None:
                found.append((sa.rekey_at, f"rekey ISAKMP SA with {sa.remote}"))
            if sa.probe_at is not None:
                found.append((sa.probe_at, f"dead peer detection of {sa.remote}"))
            if sa.pieces is not None:
                found.append((sa.pieces.deadline, f"fragments of {sa.remote}"))
            if sa.nat_keepalive_at is not None:
                found.append((sa.nat_keepalive_at, f"NAT keepalive to {sa.remote}"))
            if sa.expires is not None:
                found.append((sa.expires, f"ISAKMP SA with {sa.remote} ends"))
            elif not sa.initiator:
                found.append((sa.created + sa.patience, f"half-open SA of {sa.remote}"))
        for node in self.nodes.values():
            if node.retransmission is not None:
                found.append((node.retransmission.deadline, "resend quick mode"))
            if node.purge_at is not None:
                found.append((node.purge_at, "purge node"))
        for pair in self.pairs.values():
            found.append((pair.expires, "IPsec SA ends"))
            if pair.rekey_at is not None:
                found.append((pair.rekey_at, "rekey IPsec SA"))
        return found
