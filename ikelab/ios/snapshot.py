"""What a node looks like at one moment, as plain rows: the matter of every show command.

A node fills these from its engines; `show.py` prints them, as text or JSON. Secrets are not here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from ikelab.ios.config import LabMode, RunningConfig
from ikelab.ios.zone import Zone
from ikelab.isakmp.policy import IsakmpPolicy, ProxyIdentity, TransformSet
from ikelab.wire.numbers import Group


@dataclass(frozen=True, slots=True)
class IsakmpSaRow:
    """One phase 1 SA. state: as `shown`, such as "QM_IDLE". conn_id: 0 before keys exist.

    policy: what was agreed on, None before. remaining: seconds of its life. dpd, nat: whether the
    peer announced dead peer detection, whether NAT traversal is in use. peer_id: what it proved to
    be, None before. up_for: seconds since then. fragmentation: of IKE messages, agreed on.
    """

    local: str
    remote: str
    initiator: bool
    state: str
    conn_id: int = 0
    status: str = "ACTIVE"
    profile: str | None = None
    policy: IsakmpPolicy | None = None
    remaining: int | None = None
    dpd: bool = False
    nat: bool = False
    fragmentation: bool = False
    local_port: int = 500
    remote_port: int = 500
    peer_id: str | None = None
    up_for: int | None = None

    @property
    def dst(self) -> str:
        """The responder's address."""
        return self.remote if self.initiator else self.local

    @property
    def src(self) -> str:
        """The initiator's address."""
        return self.local if self.initiator else self.remote


@dataclass(frozen=True, slots=True)
class IpsecSaRow:
    """A pair of ESP SAs with its counters. interface: the tunnel's. spis: as numbers.

    remaining_*: until the pair is replaced. conn_id: counted up from 1, a pair.
    """

    interface: str
    local: str
    remote: str
    local_proxy: ProxyIdentity
    remote_proxy: ProxyIdentity
    transform: TransformSet
    inbound_spi: int
    outbound_spi: int
    remaining_seconds: int
    remaining_kilobytes: int
    conn_id: int
    remote_port: int = 500
    pfs: Group | None = None
    encaps: int = 0
    decaps: int = 0
    send_errors: int = 0
    receive_errors: int = 0


@dataclass(frozen=True, slots=True)
class DropRow:
    """How many datagrams were refused for one reason. last: the sentence of the newest.

    The rest is of the newest, too: whose message, where in it, the rule, the two values, the line
    of configuration that decided, and what would mend it.
    """

    reason: str
    count: int
    last: str = ""
    peer: str = ""
    message: str = ""
    payload: str = ""
    rule: str = ""
    seen: str = ""
    wanted: str = ""
    config: str = ""
    mend: str = ""


@dataclass(frozen=True, slots=True)
class PeerRow:
    """A peer with an ISAKMP SA. count: how many it has. peer_id: None before it has proved one."""

    address: str
    port: int
    local: str
    peer_id: str | None
    handle: int
    count: int


class CertificateKind(Enum):
    """Whose certificate it is; the values are the heads that IOS prints."""

    ROUTER = "Certificate"
    SUBORDINATE_CA = "Certificate (subordinate CA certificate)"
    CA = "CA Certificate"


@dataclass(frozen=True, slots=True)
class CertificateRow:
    """One certificate that is held. issuer, subject: one string a relative distinguished name.

    usage: "General Purpose" or "Signature". name, address, device_serial: what the subject says of
    the router. storage: such as "nvram:ra-subca#9.cer". rollover: it takes over when the other
    one ends.
    """

    kind: CertificateKind
    serial: int
    usage: str
    issuer: tuple[str, ...]
    subject: tuple[str, ...]
    start: datetime
    end: datetime
    trustpoints: tuple[str, ...]
    crl_urls: tuple[str, ...] = ()
    renew: datetime | None = None
    name: str | None = None
    address: str | None = None
    device_serial: str | None = None
    storage: str | None = None
    rollover: bool = False
    fingerprint_md5: str = ""
    fingerprint_sha1: str = ""


@dataclass(frozen=True, slots=True)
class PendingCertificateRow:
    """A certificate that was asked for. Fingerprints: of the PKCS#10, upper-case hexadecimal."""

    trustpoint: str
    name: str
    fingerprint_md5: str
    fingerprint_sha1: str


@dataclass(frozen=True, slots=True)
class TrustpointRow:
    """A trustpoint. subject, serial: of its CA certificate, None before it is authenticated."""

    name: str
    subject: tuple[str, ...] = ()
    serial: int | None = None
    enrolled: bool = False
    pending: bool = False
    enrollment_url: str | None = None


@dataclass(frozen=True, slots=True)
class CrlRow:
    """A CRL in the cache. size: octets of its DER. superseded: only counted, not used any more."""

    issuer: tuple[str, ...]
    last_update: datetime
    next_update: datetime
    url: str
    size: int
    superseded: bool = False


@dataclass(frozen=True, slots=True)
class ServerRow:
    """A certificate server. status: as its state says; running: whether it answers requests.

    Fingerprints: MD5, upper-case hexadecimal, None where there is no certificate. registration: it
    is an RA, and `fingerprint` that of its CA. rollover_timer: when the next CA certificate will be
    made; rollover_fingerprint, rollover_expires: of that certificate, once it is there.
    """

    name: str
    status: str
    running: bool
    issuer: str
    granting: str
    last_serial: int
    database_level: str
    fingerprint: str | None = None
    subordinate: bool = False
    upper_fingerprint: str | None = None
    expires: datetime | None = None
    crl_next_update: datetime | None = None
    storage: str | None = None
    overlap_days: int | None = None
    rollover_timer: datetime | None = None
    rollover_fingerprint: str | None = None
    rollover_expires: datetime | None = None
    pending_certificate: bool = False
    registration: bool = False
    ra_fingerprint: str | None = None


@dataclass(frozen=True, slots=True)
class RequestRow:
    """An enrollment request. kind: "subordinate", "ra" or "router". fingerprint: MD5, hex."""

    server: str
    request_id: int
    kind: str
    state: str
    fingerprint: str
    subject: str


@dataclass(frozen=True, slots=True)
class KeyRow:
    """An RSA key pair's public half. public_key: SubjectPublicKeyInfo, DER."""

    label: str
    public_key: bytes
    generated: datetime | None = None
    usage: str = "General Purpose Key"
    exportable: bool = False


@dataclass(frozen=True, slots=True)
class InterfaceRow:
    """An interface. status: "up", "down" or "administratively down"; protocol: "up" or "down"."""

    name: str
    address: str | None
    status: str
    protocol: str


@dataclass(frozen=True, slots=True)
class AdmissionRow:
    """Requests for ISAKMP SAs since the start, by direction; limits: 0 for none."""

    sa_limit: int = 0
    negotiation_limit: int = 0
    active: int = 0
    negotiating: int = 0
    incoming_accepted: int = 0
    incoming_rejected: int = 0
    outgoing_accepted: int = 0
    outgoing_rejected: int = 0


@dataclass(frozen=True, slots=True)
class NtpRow:
    """A server of NTP. mark: IOS's, of how it is used. when, poll: seconds; when: since its last
    answer, None: never. reach: eight bits. Others: microseconds.
    """

    address: str
    mark: str
    reference: str
    stratum: int
    when: int | None
    poll: int
    reach: int
    delay: int = 0
    offset: int = 0
    dispersion: int = 0
    root_delay: int = 0
    root_dispersion: int = 0


@dataclass(frozen=True, slots=True)
class NodeSnapshot:
    """Everything a node shows. moment, synced, drifting: its own clock (`types.Now`). uptime:
    seconds. ntp_updated: when NTP last set the clock.
    """

    config: RunningConfig
    moment: datetime
    synced: bool = True
    drifting: bool = False
    uptime: int = 0
    version: str = ""
    mode: LabMode = "modern"
    isakmp_sas: tuple[IsakmpSaRow, ...] = ()
    ipsec_sas: tuple[IpsecSaRow, ...] = ()
    drops: tuple[DropRow, ...] = ()
    admission: AdmissionRow = AdmissionRow()
    peers: tuple[PeerRow, ...] = ()
    certificates: tuple[CertificateRow, ...] = ()
    pending_certificates: tuple[PendingCertificateRow, ...] = ()
    trustpoints: tuple[TrustpointRow, ...] = ()
    crls: tuple[CrlRow, ...] = ()
    crl_cache_limit: int = 65536
    servers: tuple[ServerRow, ...] = ()
    requests: tuple[RequestRow, ...] = ()
    keys: tuple[KeyRow, ...] = ()
    interfaces: tuple[InterfaceRow, ...] = ()
    ntp: tuple[NtpRow, ...] = ()
    ntp_updated: datetime | None = None
    ntp_drops: tuple[DropRow, ...] = ()
    debugging: frozenset[str] = field(default_factory=frozenset)

    @property
    def zone(self) -> Zone:
        """Where its dates are printed; all that are here are in UTC."""
        return self.config.times.zone
