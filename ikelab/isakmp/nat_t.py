"""NAT traversal (RFC 3947): agreeing on it, finding the NAT, and where the peer is heard from.

The two sides agree by vendor IDs in messages 1 and 2; the initiator offers the RFC and its drafts,
the responder answers with one. With the key exchange each side sends hashes of both ends as it
sees them (NAT-D): one that does not match betrays a NAT. Then the initiator changes to port 4500,
and everything, ESP too, goes through that one port (RFC 3948).

    NAT-D (the receiver's end)   HASH(CKY-I | CKY-R | address | port)     first
    NAT-D (the sender's ends)    the same of its own address              one or more

A NAT may give the peer another port at any time. Where a datagram comes from is never believed by
itself: the path moves with a message that only the peer can have sent just now.

Functions of the desk, for main and aggressive mode alike; the marker on the wire and the ESP in it
are `ipsec/udp_encap.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from ikelab.crypto import oakley
from ikelab.types import Endpoint
from ikelab.wire import vendor_id
from ikelab.wire.numbers import (
    ISAKMP_PORT,
    NAT_T_PORT,
    EncapsulationMode,
    IdType,
    PayloadType,
)
from ikelab.wire.payloads import PAYLOAD_CLASSES, VENDOR_ID

if TYPE_CHECKING:
    from ikelab.isakmp.policy import ProxyIdentity
    from ikelab.isakmp.sa import IsakmpSa
    from ikelab.isakmp.work import Work
    from ikelab.wire.layer import Layer

KEEPALIVE_SECONDS = 20  # RFC 3948 section 4: the default

Modes = Mapping[EncapsulationMode, int]
"""The number on the wire of each encapsulation mode of a transform set."""

_HOST = "255.255.255.255"
_TUNNEL, _TRANSPORT = EncapsulationMode.TUNNEL, EncapsulationMode.TRANSPORT
PLAIN_MODES: Modes = {_TUNNEL: 1, _TRANSPORT: 2}
_RFC_MODES: Modes = {_TUNNEL: 3, _TRANSPORT: 4}
_DRAFT_MODES: Modes = {_TUNNEL: 61443, _TRANSPORT: 61444}  # of the private range
_ENCAPSULATED = {_TUNNEL: EncapsulationMode.UDP_TUNNEL, _TRANSPORT: EncapsulationMode.UDP_TRANSPORT}


@dataclass(frozen=True, slots=True)
class Variant:
    """One version of the protocol, by its vendor ID. name: as IOS's log has it."""

    name: str
    vendor_id: bytes
    nat_d: PayloadType
    nat_oa: PayloadType
    modes: Modes


# Drafts 02 and 03 took numbers of the private range. Drafts 04 to 08 took 15 and 16, which IANA
# then gave to GDOI; a capture of two IOS routers that agreed on draft 07 shows type 15.
VARIANTS = (
    Variant("rfc3947", vendor_id.NAT_T_RFC_3947, PayloadType.NAT_D, PayloadType.NAT_OA, _RFC_MODES),
    Variant(
        "07",
        vendor_id.NAT_T_DRAFT_07,
        PayloadType.NAT_D_DRAFT_07,
        PayloadType.NAT_OA_DRAFT_07,
        _RFC_MODES,
    ),
    *(
        Variant(name, octets, PayloadType.NAT_D_DRAFT, PayloadType.NAT_OA_DRAFT, _DRAFT_MODES)
        for name, octets in (
            ("03", vendor_id.NAT_T_DRAFT_03),
            ("02", vendor_id.NAT_T_DRAFT_02),
            ("02", vendor_id.NAT_T_DRAFT_02_NO_NEWLINE),
        )
    ),
)
"""What we know, best first."""

OFFER = VARIANTS[:4]
"""What an initiator offers, in IOS's order."""


@dataclass(frozen=True, slots=True)
class NatTraversal:
    """What the two sides of an ISAKMP SA agreed on and found out.

    inside: we are behind a NAT. peer_inside: the peer is. compared: whether NAT-D was looked at.
    peer_hashes: the NAT-D payloads of the peer that are of its own ends.
    """

    variant: Variant
    inside: bool = False
    peer_inside: bool = False
    compared: bool = False
    peer_hashes: tuple[bytes, ...] = ()

    @property
    def is_needed(self) -> bool:
        """There is a NAT: ESP goes through UDP."""
        return self.inside or self.peer_inside


# --- vendor IDs -----------------------------------------------------------------------------------


def offer(work: Work) -> list[Layer]:
    """Initiator, message 1: a vendor ID for each variant."""
    if not work.config.nat_traversal:
        return []
    for variant in OFFER:
        work.trace("constructed-nat-t", variant=variant.name)
    return [VENDOR_ID(data=variant.vendor_id) for variant in OFFER]


def choose(work: Work) -> None:
    """Responder, message 1: the best of what the peer offers."""
    _agree(work, VARIANTS)


def answer(work: Work) -> list[Layer]:
    """Responder, message 2: the vendor ID of what was chosen."""
    agreed = work.sa.nat
    if agreed is None:
        return []
    work.trace("constructed-nat-t", variant=agreed.variant.name)
    return [VENDOR_ID(data=agreed.variant.vendor_id)]


def accept(work: Work) -> None:
    """Initiator, message 2: the best of our offers that the peer says too."""
    _agree(work, OFFER)


def _agree(work: Work, known: Sequence[Variant]) -> None:
    seen = work.sa.peer_vendor_ids
    found = next((variant for variant in known if variant.vendor_id in seen), None)
    if work.config.nat_traversal and found is not None:
        work.sa.nat = NatTraversal(found)


# --- NAT-D ----------------------------------------------------------------------------------------


def nat_d(work: Work) -> list[Layer]:
    """The two NAT-D payloads of ours (RFC 3947 section 3.2); none unless both sides want them."""
    sa = work.sa
    if sa.nat is None:
        return []
    layer = PAYLOAD_CLASSES[sa.nat.variant.nat_d]
    return [layer(data=_hash(sa, sa.remote)), layer(data=_hash(sa, sa.local))]


def _hash(sa: IsakmpSa, end: Endpoint) -> bytes:
    """What a NAT-D payload of one end should hold."""
    assert sa.policy is not None, "chosen in message 1 or 2"
    packed = IPv4Address(end.address).packed
    return oakley.nat_d_hash(sa.policy.hash, sa.cky_i, sa.cky_r, packed, end.port)


def compare(work: Work) -> None:
    """The peer's first NAT-D is of our end, the others are of its own (RFC 3947 section 3.2).

    Without at least two of them nothing is known of a NAT, and nothing changes.
    """
    sa = work.sa
    if sa.nat is None:
        return
    payloads = work.message.of_type(sa.nat.variant.nat_d)
    seen = [payload.body for payload in payloads]
    own_hash, peer_hashes = seen[:1], tuple(seen[1:])
    known = bool(peer_hashes)
    ours, peers = _is_among(own_hash, sa, sa.local), _is_among(peer_hashes, sa, sa.remote)
    for number in range(len(seen)):  # IOS prints what it knows after each payload
        so_far = (ours, number > 0 and peers)
        work.trace(_FOUND[so_far], payload=int(sa.nat.variant.nat_d))
    sa.nat = replace(
        sa.nat,
        inside=known and not ours,
        peer_inside=known and not peers,
        compared=True,
        peer_hashes=peer_hashes,
    )


def _is_among(hashes: Sequence[bytes], sa: IsakmpSa, end: Endpoint) -> bool:
    """Whether an end is among those hashed.

    In aggressive mode message 3 has NAT-D and comes to port 4500 already; pluto hashes the ports
    of its message 1 there.
    """
    ports = {end.port, ISAKMP_PORT} if end.port == NAT_T_PORT else {end.port}
    return any(_hash(sa, Endpoint(end.address, port)) in hashes for port in ports)


_FOUND = {  # (our hash matched, the peer's matched) -> trace
    (True, True): "no-nat-found",
    (True, False): "peer-hash-no-match",
    (False, True): "own-hash-no-match",
    (False, False): "both-inside-nat",
}


# --- ports ----------------------------------------------------------------------------------------


def destination(remote: Endpoint) -> Endpoint:
    """The tunnel destination of a peer, whatever port it is at now."""
    return Endpoint(remote.address, ISAKMP_PORT)


def float_ports(work: Work) -> None:
    """Initiator, before the first encrypted message: change to 4500 where there is a NAT."""
    sa = work.sa
    if sa.nat is None or not sa.nat.is_needed or sa.local.port != ISAKMP_PORT:
        return
    sa.local = Endpoint(sa.local.address, NAT_T_PORT)
    sa.remote = Endpoint(sa.remote.address, NAT_T_PORT)


def has_floated(sa: IsakmpSa) -> bool:
    """Whether a NAT was found and messages go to the peer's port 4500 for it."""
    return sa.nat is not None and sa.nat.is_needed and sa.remote.port == NAT_T_PORT


def may_take_phase1(sa: IsakmpSa, local: Endpoint, remote: Endpoint) -> bool:
    """Whether a phase 1 message may come this way.

    Another way than before is right only for the initiator's change of ports, once both sides
    have said that they know it, keys exist, and no NAT-D has shown that there is no NAT.
    """
    if (local, remote) == (sa.local, sa.remote):
        return True
    return (
        sa.nat is not None
        and (sa.nat.is_needed or not sa.nat.compared)
        and not sa.initiator
        and not sa.is_complete
        and sa.keys is not None
        and sa.local.port == ISAKMP_PORT
        and local == Endpoint(sa.local.address, NAT_T_PORT)
        and remote.address == sa.remote.address
    )


def may_take(sa: IsakmpSa, local: Endpoint, remote: Endpoint) -> bool:
    """Whether a message under a complete SA may come this way.

    From another port of the same address, where the peer is behind a NAT that may have forgotten
    its port. Coming in that way moves nothing; `remap.move_peer` does, with proof.
    """
    if (local, remote) == (sa.local, sa.remote):
        return True
    moves = sa.nat is not None and sa.nat.peer_inside and local.port == NAT_T_PORT
    return moves and local == sa.local and remote.address == sa.remote.address


# --- quick mode -----------------------------------------------------------------------------------


def modes(sa: IsakmpSa) -> Modes:
    """The encapsulation modes as this SA's quick modes must name them."""
    return sa.nat.variant.modes if sa.nat is not None and sa.nat.is_needed else PLAIN_MODES


def agreed_mode(sa: IsakmpSa, mode: EncapsulationMode) -> EncapsulationMode:
    """A transform set's mode as the data plane is to run it."""
    return _ENCAPSULATED[mode] if sa.nat is not None and sa.nat.is_needed else mode


def nat_oa(sa: IsakmpSa, offered: Sequence[EncapsulationMode]) -> list[Layer]:
    """Both ends' addresses as we see them, initiator's first (RFC 3947 section 5.2).

    In transport mode only: there a receiver mends checksums with them. GRE, all that is carried
    here, has none over the addresses, so they are sent for others' sake.
    """
    if sa.nat is None or not sa.nat.is_needed or _TRANSPORT not in offered:
        return []
    layer = PAYLOAD_CLASSES[sa.nat.variant.nat_oa]
    ends = (sa.local, sa.remote) if sa.initiator else (sa.remote, sa.local)
    return [
        layer(id_type=IdType.ID_IPV4_ADDR, data=IPv4Address(end.address).packed) for end in ends
    ]


def as_seen_here(
    work: Work, ours: ProxyIdentity, theirs: ProxyIdentity
) -> tuple[ProxyIdentity, ProxyIdentity]:
    """The peer's proxies with the ends' addresses as they are on this side of the NAT.

    Our end it knows by an address that only the NAT has. Its own end it means by the address that
    it has behind its NAT, and which one that is it has said: by NAT-OA or by the NAT-D hash.
    """
    sa = work.sa
    if sa.nat is None or not sa.nat.is_needed:
        return ours, theirs
    if sa.nat.inside and ours.mask == _HOST:
        ours = replace(ours, address=sa.local.address)
    if sa.nat.peer_inside and theirs.mask == _HOST and _is_peers_own(work, theirs.address):
        theirs = replace(theirs, address=sa.remote.address)
    return ours, theirs


def _is_peers_own(work: Work, address: str) -> bool:
    """Whether this is the address that the peer has behind its NAT."""
    nat = work.sa.nat
    assert nat is not None
    place = 1 if work.quick_mode.initiator else 0  # NAT-OA: the initiator's comes first
    original = work.message.of_type(nat.variant.nat_oa)[place : place + 1]
    if original and bytes(original[0].packet.data) == IPv4Address(address).packed:
        return True
    ports = (ISAKMP_PORT, NAT_T_PORT)
    return any(_hash(work.sa, Endpoint(address, port)) in nat.peer_hashes for port in ports)
