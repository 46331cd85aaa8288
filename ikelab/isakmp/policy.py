"""What the user configures for IKE: policies, transform sets, profiles, keyrings.

Plain data in IOS's words; `ios/command_tree.py` fills it, the engine reads it. The walk over
policies with a reason for each refusal is in `proposal.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

from ikelab.types import Endpoint
from ikelab.wire.numbers import (
    AuthAlgorithm,
    AuthMethod,
    EncapsulationMode,
    EncryptionAlgorithm,
    EspTransform,
    Group,
    HashAlgorithm,
    IdType,
    IpProtocol,
)


@dataclass(frozen=True, slots=True)
class IsakmpPolicy:
    """`crypto isakmp policy N`. The defaults are IOS's: DES, SHA, RSA signatures, group 1, one day.

    key_length: bits, for AES only, else None. lifetime: seconds.
    """

    priority: int
    encryption: EncryptionAlgorithm = EncryptionAlgorithm.DES_CBC
    key_length: int | None = None
    hash: HashAlgorithm = HashAlgorithm.SHA
    authentication: AuthMethod = AuthMethod.RSA_SIG
    group: Group = Group.MODP_768
    lifetime: int = 86400


@dataclass(frozen=True, slots=True)
class TransformSet:
    """`crypto ipsec transform-set NAME esp-... esp-...-hmac` and its `mode`.

    key_length: bits, for AES only, else None. authentication None: no integrity.
    """

    name: str
    encryption: EspTransform
    key_length: int | None
    authentication: AuthAlgorithm | None
    mode: EncapsulationMode = EncapsulationMode.TUNNEL


@dataclass(frozen=True, slots=True)
class IdentityMatch:
    """`match identity host domain D`, `match identity host H` or `match identity address A M`.

    kind: "domain", "host" or "address". value: the name or dotted address. mask: dotted, for
    addresses only.
    """

    kind: str
    value: str
    mask: str = "255.255.255.255"


@dataclass(frozen=True, slots=True)
class IsakmpProfile:
    """`crypto isakmp profile NAME`: for peers that one of its `match identity` lines fits.

    Without such a line it fits nobody. keyring: where an initiator looks for the pre-shared key,
    None: in all of them.
    """

    name: str
    match_identity: tuple[IdentityMatch, ...] = ()
    keyring: str | None = None


@dataclass(frozen=True, slots=True)
class PreSharedKey:
    """`pre-shared-key address A [M] key K`, or `hostname H`: then address and mask are empty.

    The key is never shown by repr.
    """

    address: str
    mask: str
    key: str
    hostname: str = ""

    def __repr__(self) -> str:
        """The peer only: repr ends in logs."""
        return f"PreSharedKey({self.hostname or f'{self.address} {self.mask}'})"


@dataclass(frozen=True, slots=True)
class Keyring:
    """`crypto keyring NAME`; `crypto isakmp key K address A` fills the keyring "default"."""

    name: str
    keys: tuple[PreSharedKey, ...] = ()


@dataclass(frozen=True, slots=True)
class IpsecProfile:
    """`crypto ipsec profile NAME`. lifetimes in seconds and kilobytes, pfs: group or None."""

    name: str
    transform_sets: tuple[str, ...] = ()
    isakmp_profile: str | None = None
    lifetime_seconds: int = 3600
    lifetime_kilobytes: int = 4608000
    pfs: Group | None = None


@dataclass(frozen=True, slots=True)
class ProxyIdentity:
    """One side of the traffic an IPsec SA protects (RFC 2407 section 4.6.2).

    address: dotted; mask: dotted, host mask for ID_IPV4_ADDR; protocol and port 0 mean any.
    """

    address: str
    mask: str = "255.255.255.255"
    protocol: int = IpProtocol.ANY
    port: int = 0


@dataclass(frozen=True, slots=True)
class IpsecFlow:
    """What the data plane wants protected: one tunnel interface's traffic to one peer.

    name: the interface, such as "Tunnel1": install and remove actions carry it back.
    """

    name: str
    local: Endpoint
    remote: Endpoint
    local_proxy: ProxyIdentity
    remote_proxy: ProxyIdentity
    transform_sets: tuple[TransformSet, ...]
    lifetime_seconds: int = 3600
    lifetime_kilobytes: int = 4608000
    pfs: Group | None = None
    isakmp_profile: str | None = None


@dataclass(frozen=True, slots=True)
class Credential:
    """One enrolled trustpoint as the engine sees it: a certificate, its chain and its key.

    certificate: DER. chain: DER of the CA certificates above it, issuer first. authorities: DER
    names of every CA in the chain, the leaf's issuer first: a CERT_REQ naming one of them picks
    this credential. fqdns, addresses: what the certificate vouches for. key: see `crypto.rsa`.
    """

    trustpoint: str
    certificate: bytes
    chain: tuple[bytes, ...]
    authorities: tuple[bytes, ...]
    subject: bytes
    fqdns: tuple[str, ...]
    addresses: tuple[str, ...]
    key_label: str


@dataclass(frozen=True, slots=True)
class Keepalive:
    """`crypto isakmp keepalive INTERVAL RETRY [periodic | on-demand]`. Seconds.

    periodic False is IOS's default: the peer is asked only while packets go to it.
    """

    interval: int
    retry: int = 2
    periodic: bool = True


@dataclass(frozen=True, slots=True)
class AggressivePeer:
    """`crypto isakmp peer address A` with its `set aggressive-mode ...` lines.

    id_type, id_value: the client-endpoint, which is our ID in message 1; None: not given yet.
    password: the pre-shared key, else the keyrings have it. Never shown by repr.
    """

    address: str
    id_type: IdType | None = None
    id_value: str = ""
    password: str | None = None

    def __repr__(self) -> str:
        """Without the password: repr ends in logs."""
        return f"AggressivePeer({self.address}, {self.id_value})"


@dataclass(frozen=True, slots=True)
class AdmissionLimits:
    """`crypto call admission limit ike sa` and `... in-negotiation-sa`: 0 for no limit."""

    sas: int = 0
    in_negotiation: int = 0


@dataclass(frozen=True, slots=True)
class IsakmpConfig:
    """Everything the IKE engine needs to know of the user's configuration.

    policies: by rising priority number, the first is preferred. trusted_authorities: DER names of
    the CAs asked for by CERT_REQ, one per authenticated trustpoint. identity: what `crypto isakmp
    identity` says. flows: what may be negotiated, as initiator and as responder. aggressive_mode:
    whether it is allowed at all; with aggressive_peers it is what we begin with. nat_keepalive:
    seconds between two keepalives from behind a NAT (RFC 3948 section 4), None: none.
    fragmentation: of large IKE messages, with peers that say they know it. delete_with_reason:
    Cisco's payload 18 instead of DELETE, towards our own kind.
    admission: how many SAs there may be.
    """

    hostname: str
    policies: tuple[IsakmpPolicy, ...] = ()
    flows: tuple[IpsecFlow, ...] = ()
    profiles: tuple[IsakmpProfile, ...] = ()
    keyrings: tuple[Keyring, ...] = ()
    identity: IdType = IdType.ID_IPV4_ADDR
    credentials: tuple[Credential, ...] = ()
    trusted_authorities: tuple[tuple[str, bytes], ...] = ()
    keepalive: Keepalive | None = None
    aggressive_mode: bool = False
    aggressive_peers: tuple[AggressivePeer, ...] = ()
    nat_traversal: bool = True
    nat_keepalive: int | None = 20
    fragmentation: bool = False
    delete_with_reason: bool = False
    admission: AdmissionLimits = AdmissionLimits()

    @property
    def name(self) -> str:
        """The host name alone, for comments and logs."""
        return self.hostname.partition(".")[0]

    def flow_now(self, flow: IpsecFlow) -> IpsecFlow:
        """A flow as it is configured now: a pair keeps the one that it was negotiated for."""
        ends = (flow.name, flow.local, flow.remote)
        same = (one for one in self.flows if (one.name, one.local, one.remote) == ends)
        return next(same, flow)
