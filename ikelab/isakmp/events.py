"""What the IKE engine is told (events) and what it asks for or reports (actions).

All frozen dataclasses: a test compares lists of them. Actions come in the order in which they must
be carried out. The engine never reads a clock, draws no octet of its own and opens nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from ikelab.errors import ProtocolError
from ikelab.isakmp.policy import IpsecFlow, IsakmpConfig, ProxyIdentity, TransformSet
from ikelab.types import Endpoint

# --- events -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DatagramReceived:
    """A UDP payload came in. local, remote: as seen on the socket."""

    local: Endpoint
    remote: Endpoint
    octets: bytes


@dataclass(frozen=True, slots=True)
class TimerFired:
    """`next_timer()` is due."""


@dataclass(frozen=True, slots=True)
class SaRequested:
    """IKE_SA_REQ_MM from IPSEC: traffic for this flow waits for an SA."""

    flow: IpsecFlow


@dataclass(frozen=True, slots=True)
class SpiAllocated:
    """The SPI asked for by `AllocateSpi` (IKE_GOT_SPI). spi: 4 octets, network order."""

    handle: int
    spi: bytes


@dataclass(frozen=True, slots=True)
class IpsecInstallDone:
    """The pair of `InstallIpsecSa` is in the data plane (IPSEC_INSTALL_DONE)."""

    handle: int


@dataclass(frozen=True, slots=True)
class IpsecInstallFailed:
    """The pair of `InstallIpsecSa` was not taken. reason: for a person."""

    handle: int
    reason: str


@dataclass(frozen=True, slots=True)
class PeerCertAccepted:
    """The chain of `CheckPeerCert` holds now. public_key: SubjectPublicKeyInfo, DER.

    subject: DER name; fqdns, addresses, mailboxes: what the certificate vouches for (RFC 4945).
    is_subject: whether the peer's ID is a DN and names the subject (RFC 5280 section 7.1).
    """

    handle: int
    trustpoint: str
    public_key: bytes
    subject: bytes
    fqdns: tuple[str, ...]
    addresses: tuple[str, ...]
    serial: int
    mailboxes: tuple[str, ...] = ()
    is_subject: bool = False


@dataclass(frozen=True, slots=True)
class PeerCertRefused:
    """The chain of `CheckPeerCert` does not hold. reason: short name; detail: a sentence."""

    handle: int
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class PeerMoved:
    """An authentic ESP packet, newer than any before it, came from another port of the peer.

    Only told of pairs whose peer is behind a NAT (`InstallIpsecSa.peer_moves`).
    """

    inbound_spi: bytes
    remote: Endpoint


@dataclass(frozen=True, slots=True)
class TrafficCounted:
    """The answer to `CountTraffic`. sent, received: packets of these flows, ever."""

    handle: int
    sent: int
    received: int


@dataclass(frozen=True, slots=True)
class Clear:
    """Tear down with DELETE: everything (peer None) or all SAs with one peer address.

    phase2_only: `clear crypto sa`; else `clear crypto isakmp` and what hangs on it.
    """

    peer: str | None = None
    phase2_only: bool = False


@dataclass(frozen=True, slots=True)
class ConfigChanged:
    """New configuration or new certificates; running exchanges keep what they started with."""

    config: IsakmpConfig


@dataclass(frozen=True, slots=True)
class PacketDropped:
    """The data plane refused a packet of a peer, or for one. error: with its reason."""

    peer: Endpoint
    error: ProtocolError


Event = (
    DatagramReceived
    | TimerFired
    | SaRequested
    | SpiAllocated
    | IpsecInstallDone
    | IpsecInstallFailed
    | PeerCertAccepted
    | PeerCertRefused
    | PeerMoved
    | TrafficCounted
    | Clear
    | ConfigChanged
    | PacketDropped
)

# --- actions ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SendDatagram:
    """Send these octets. comment: one line for the capture, "R1 (I) MM1: SA VID VID"."""

    local: Endpoint
    remote: Endpoint
    octets: bytes
    comment: str = ""


@dataclass(frozen=True, slots=True)
class SendKeepalive:
    """Send the one octet 0xFF that keeps a NAT's port ours (RFC 3948 section 2.3)."""

    local: Endpoint
    remote: Endpoint
    comment: str = ""


@dataclass(frozen=True, slots=True)
class CountTraffic:
    """Dead peer detection on demand: ask what passed; answer with `TrafficCounted`."""

    handle: int
    flows: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AllocateSpi:
    """Ask the data plane for a fresh inbound SPI; answer with `SpiAllocated`."""

    handle: int
    flow: str
    peer: Endpoint


@dataclass(frozen=True, slots=True)
class EspKeys:
    """KEYMAT of one direction: cipher key, then integrity key (RFC 2409 section 5.5)."""

    spi: bytes
    encryption_key: bytes
    authentication_key: bytes

    def __repr__(self) -> str:
        """The SPI only: repr ends in logs."""
        return f"EspKeys(spi=0x{self.spi.hex()})"


@dataclass(frozen=True, slots=True)
class InstallIpsecSa:
    """Put a pair of ESP SAs into the data plane; answer with `IpsecInstallDone` or `...Failed`.

    lifetimes in seconds and kilobytes, as negotiated. With a mode of UDP encapsulation the ports
    are those of the ends; peer_moves: the peer is behind a NAT, which may give it another one.
    """

    handle: int
    flow: str
    local: Endpoint
    remote: Endpoint
    local_proxy: ProxyIdentity
    remote_proxy: ProxyIdentity
    transform: TransformSet
    inbound: EspKeys
    outbound: EspKeys
    lifetime_seconds: int
    lifetime_kilobytes: int
    initiator: bool
    peer_moves: bool = False


@dataclass(frozen=True, slots=True)
class MoveIpsecSa:
    """A pair's peer is at another port of its address from now on."""

    inbound_spi: bytes
    remote: Endpoint


@dataclass(frozen=True, slots=True)
class ActivateIpsecSa:
    """QM3 came: the initiator has its half of the pair, so the responder may send with it."""

    flow: str
    inbound_spi: bytes


@dataclass(frozen=True, slots=True)
class DeleteIpsecSa:
    """Take a pair out of the data plane, named by its inbound SPI."""

    flow: str
    inbound_spi: bytes
    outbound_spi: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class CheckPeerCert:
    """Ask for path, dates and revocation of what the peer presented.

    certificates: DER as received, leaf first as far as one can tell. Answered by
    `PeerCertAccepted` or `PeerCertRefused`, perhaps much later (a CRL must be fetched first).
    """

    handle: int
    peer: Endpoint
    certificates: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class KeyMaterial:
    """The only action that carries phase 1 secrets, for Wireshark's key tables.

    encryption_key: Ka, expanded, exactly the cipher's length. others: name -> octets, for tests
    and `explain`: skeyid, skeyid_d, skeyid_a, skeyid_e, iv, g_xy.
    """

    cky_i: bytes
    cky_r: bytes
    encryption_key: bytes
    others: tuple[tuple[str, bytes], ...] = ()

    def __repr__(self) -> str:
        """The cookies only: repr ends in logs."""
        return f"KeyMaterial(cky_i={self.cky_i.hex()}, cky_r={self.cky_r.hex()})"


@dataclass(frozen=True, slots=True)
class PlainMessage:
    """A message we sent or took, decrypted: comments the frame that carried it.

    sent: whether we sent it. datagram: the octets of the wire (to find the frame by).
    plaintext: the same message in clear. payloads: names in order, "ID CERT SIG". message: its
    name, "MM5".
    """

    sent: bool
    local: Endpoint
    remote: Endpoint
    datagram: bytes
    plaintext: bytes
    comment: str
    payloads: tuple[str, ...]
    message: str = ""


@dataclass(frozen=True, slots=True)
class Transition:
    """One row of a state table was taken. message_id: 0 in phase 1, else the node's M-ID."""

    peer: Endpoint
    conn_id: int
    message_id: int
    major: str
    minor: str
    old_state: str
    new_state: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Something was dropped or refused, and why: the material of `explain` and `drops`.

    message: "MM3", "QM1", "INFO" or "datagram". reason: the fixed short name counters use.
    detail: a sentence for a person. payload, rule: where it stood and what it broke. seen, wanted:
    the two values. config: the line of our configuration that decided, "" where none did.
    """

    peer: Endpoint
    conn_id: int
    message: str
    reason: str
    detail: str
    payload: str = ""
    rule: str = ""
    seen: str = ""
    wanted: str = ""
    config: str = ""


@dataclass(frozen=True, slots=True)
class Trace:
    """A fact worth a debug line, named, with its values; worded by `ios/log.py`."""

    peer: Endpoint
    conn_id: int
    name: str
    values: tuple[tuple[str, str], ...] = ()


Action = (
    SendDatagram
    | SendKeepalive
    | CountTraffic
    | AllocateSpi
    | InstallIpsecSa
    | MoveIpsecSa
    | ActivateIpsecSa
    | DeleteIpsecSa
    | CheckPeerCert
    | KeyMaterial
    | PlainMessage
    | Transition
    | Refused
    | Trace
)
