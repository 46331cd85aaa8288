"""A router's engines as the rows that the show commands print."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ikelab.ios.snapshot import (
    AdmissionRow,
    CertificateKind,
    CertificateRow,
    CrlRow,
    DropRow,
    InterfaceRow,
    IpsecSaRow,
    IsakmpSaRow,
    KeyRow,
    NodeSnapshot,
    NtpRow,
    PeerRow,
    PendingCertificateRow,
    RequestRow,
    ServerRow,
    TrustpointRow,
)
from ikelab.isakmp import fragmentation
from ikelab.isakmp.identity import describe_id
from ikelab.isakmp.reasons import REASONS, UNKNOWN
from ikelab.isakmp.sa import IpsecPair, IsakmpSa
from ikelab.node.router import Router
from ikelab.ntp.association import Association
from ikelab.ntp.client import NtpClient
from ikelab.pki.cert_server import CertificateServer, ServerState
from ikelab.pki.name import read_name
from ikelab.pki.store import RequestKind
from ikelab.pki.trustpoint import Trustpoint
from ikelab.pki.x509 import Certificate, fingerprint, format_name, load_certificate
from ikelab.types import Now
from ikelab.wire import vendor_id

_KINDS = {
    RequestKind.SUB_CA: "subordinate",
    RequestKind.RA: "ra",
    RequestKind.ROUTER: "router",
}


@dataclass(frozen=True, slots=True)
class PlaneCounters:
    """What the data plane counted for the pair with this inbound SPI.

    octets: of the direction that carried more, as they count against the pair's lifetime.
    """

    inbound_spi: bytes
    encaps: int
    decaps: int
    octets: int
    send_errors: int
    receive_errors: int


def take_snapshot(
    router: Router,
    now: Now,
    counters: Sequence[PlaneCounters] = (),
    debugging: frozenset[str] = frozenset(),
) -> NodeSnapshot:
    """Everything that show commands can print, at this moment."""
    by_spi = {counted.inbound_spi: counted for counted in counters}
    pairs = router.isakmp.table.pairs.values()
    return NodeSnapshot(
        config=router.config,
        moment=now.wall,
        synced=now.synced,
        drifting=now.drifting,
        ntp=tuple(_ntp_row(router.ntp, one, now) for one in router.ntp.associations.values()),
        ntp_updated=router.ntp.updated,
        ntp_drops=tuple(DropRow(name, n, "") for name, n in sorted(router.ntp.drops.items())),
        uptime=int(now.elapsed),
        version=package_version(),
        mode=router.mode,
        isakmp_sas=tuple(_isakmp_rows(router, now)),
        ipsec_sas=tuple(_ipsec_row(pair, by_spi.get(pair.inbound_spi), now) for pair in pairs),
        drops=tuple(_drop_rows(router)),
        admission=_admission_row(router),
        peers=tuple(_peer_rows(router)),
        certificates=tuple(_certificate_rows(router)),
        pending_certificates=tuple(_pending_rows(router)),
        trustpoints=tuple(_trustpoint_row(point) for point in router.trustpoints.values()),
        crls=tuple(_crl_rows(router, now)),
        crl_cache_limit=router.revocation.limit,
        servers=tuple(_server_row(server) for server in router.servers.values()),
        requests=tuple(_request_rows(router)),
        keys=tuple(_key_rows(router)),
        interfaces=tuple(_interface_rows(router)),
        debugging=debugging,
    )


def _ntp_row(client: NtpClient, one: Association, now: Now) -> NtpRow:
    best, source = one.best(now.elapsed), client.source(now.elapsed)
    return NtpRow(
        one.address,
        client.standing(one.address, now.elapsed).value,
        one.reference,
        one.stratum,
        None if one.heard is None else int(now.elapsed - one.heard),
        2**one.poll,
        one.reach,
        _microseconds(best.delay if best else 0.0),
        # What was measured last: the best sample has none left once the clock was set by it.
        _microseconds(one.last_offset),
        _microseconds(one.dispersion(now.elapsed)),
        _microseconds(source.root_delay),
        _microseconds(source.root_dispersion),
    )


def _microseconds(seconds: float) -> int:
    return round(seconds * 1_000_000)


def package_version() -> str:
    """The version of ikelab that runs."""
    try:
        return version("ikelab")
    except PackageNotFoundError:
        return "not installed"


# --- IKE --------------------------------------------------------------------------------------


def _isakmp_rows(router: Router, now: Now) -> Iterator[IsakmpSaRow]:
    for sa in router.isakmp.table.sas.values():
        yield IsakmpSaRow(
            local=sa.local.address,
            remote=sa.remote.address,
            initiator=sa.initiator,
            state=sa.shown,
            conn_id=sa.conn_id,
            profile=sa.profile,
            policy=sa.policy,
            remaining=None if sa.expires is None else max(int(sa.expires - now.elapsed), 0),
            dpd=vendor_id.DPD in sa.peer_vendor_ids,
            nat=sa.nat is not None and sa.nat.is_needed,
            fragmentation=router.isakmp.config.fragmentation and fragmentation.is_said_by(sa),
            local_port=sa.local.port,
            remote_port=sa.remote.port,
            peer_id=_peer_id(sa),
            up_for=None if sa.established is None else int(now.elapsed - sa.established),
        )


def _peer_id(sa: IsakmpSa) -> str | None:
    """What a peer has proved to be."""
    if sa.peer_id is None or not sa.is_complete:
        return None
    return describe_id(*sa.peer_id)


def _peer_rows(router: Router) -> Iterator[PeerRow]:
    table = router.isakmp.table
    for address, peer in table.peers.items():
        sas = [sa for sa in table.sas.values() if sa.remote.address == address]
        newest = max(sas, key=lambda sa: (sa.is_complete, sa.handle))
        yield PeerRow(
            address=address,
            port=newest.remote.port,
            local=newest.local.address,
            peer_id=_peer_id(newest),
            handle=peer.handle,
            count=peer.count,
        )


def _admission_row(router: Router) -> AdmissionRow:
    sas, counted = router.isakmp.table.sas.values(), router.isakmp.admissions
    active = sum(sa.is_complete for sa in sas)
    return AdmissionRow(
        router.config.admission.sas,
        router.config.admission.in_negotiation,
        active,
        len(sas) - active,
        counted["incoming accepted"],
        counted["incoming rejected"],
        counted["outgoing accepted"],
        counted["outgoing rejected"],
    )


def _drop_rows(router: Router) -> Iterator[DropRow]:
    for reason, count in sorted(router.isakmp.drops.items()):
        last = router.last_refusal.get(reason)
        if last is None:
            yield DropRow(reason, count)
            continue
        yield DropRow(
            reason,
            count,
            last.detail,
            peer=str(last.peer),
            message=last.message,
            payload=last.payload,
            rule=last.rule,
            seen=last.seen,
            wanted=last.wanted,
            config=last.config,
            mend=REASONS.get(reason, UNKNOWN).mend,
        )


def _ipsec_row(pair: IpsecPair, counted: PlaneCounters | None, now: Now) -> IpsecSaRow:
    local_proxy, remote_proxy = pair.proxies or (pair.flow.local_proxy, pair.flow.remote_proxy)
    return IpsecSaRow(
        interface=pair.flow.name,
        local=pair.flow.local.address,
        remote=pair.remote.address,
        local_proxy=local_proxy,
        remote_proxy=remote_proxy,
        transform=pair.transform,
        inbound_spi=int.from_bytes(pair.inbound_spi, "big"),
        outbound_spi=int.from_bytes(pair.outbound_spi, "big"),
        remaining_seconds=max(int(pair.expires - now.elapsed), 0),
        remaining_kilobytes=_kilobytes_left(pair, counted),
        conn_id=pair.number,
        remote_port=pair.remote.port,
        pfs=pair.flow.pfs,
        encaps=counted.encaps if counted else 0,
        decaps=counted.decaps if counted else 0,
        send_errors=counted.send_errors if counted else 0,
        receive_errors=counted.receive_errors if counted else 0,
    )


def _kilobytes_left(pair: IpsecPair, counted: PlaneCounters | None) -> int:
    used = counted.octets // 1024 if counted else 0
    return max(pair.lifetime_kilobytes - used, 0)


# --- PKI --------------------------------------------------------------------------------------


def _names(name: bytes) -> tuple[str, ...]:
    return tuple(format_name(name).split(","))


def _certificate_row(
    certificate: Certificate,
    kind: CertificateKind,
    trustpoint: Trustpoint,
    *,
    rollover: bool = False,
) -> CertificateRow:
    subject = {key: value for rdn in read_name(certificate.subject) for key, value in rdn}
    is_ca = certificate.is_ca
    return CertificateRow(
        kind=kind,
        serial=certificate.serial,
        usage="Signature" if is_ca else "General Purpose",
        issuer=_names(certificate.issuer),
        subject=_names(certificate.subject),
        start=certificate.not_before,
        end=certificate.not_after,
        trustpoints=(trustpoint.config.name,),
        crl_urls=certificate.crl_urls,
        renew=None if kind is not CertificateKind.ROUTER or rollover else trustpoint.renew_date,
        name=subject.get("hostname"),
        address=subject.get("ipaddress"),
        device_serial=subject.get("serialNumber"),
        fingerprint_md5=fingerprint(certificate.der, "md5"),
        fingerprint_sha1=fingerprint(certificate.der, "sha1"),
        storage=_storage_name(certificate),
        rollover=rollover,
    )


def _storage_name(certificate: Certificate) -> str:
    """`nvram:ra-subca#9.cer`, `nvram:root-ca#11CA.cer`: the issuer's cn and the serial number."""
    issuer = {key: value for rdn in read_name(certificate.issuer) for key, value in rdn}
    name = "".join(char for char in issuer.get("cn", "") if char.isalnum() or char in "-_.")
    mark = "CA" if certificate.is_ca else ""
    return f"nvram:{name[:32]}#{certificate.serial:X}{mark}.cer"


def _certificate_rows(router: Router) -> Iterator[CertificateRow]:
    for point in router.trustpoints.values():
        server = router.servers.get(point.config.name)
        if server is not None and server.config.mode == "root":
            yield from _root_rows(point, server)
            continue
        held, after, anchors = point.credential, point.following, point.anchors[:1]
        if after is not None:
            new_ca = after.ca_certificates[:1] if after.ca_certificates[:1] != anchors else ()
            yield from _generation_rows(point, after.certificate, new_ca, rollover=True)
        yield from _generation_rows(point, None if held is None else held.certificate, anchors)


def _generation_rows(
    point: Trustpoint, own: bytes | None, cas: Sequence[bytes], *, rollover: bool = False
) -> Iterator[CertificateRow]:
    """The guide shows what comes next before what is in force."""
    if own is not None:
        certificate = load_certificate(own)
        is_ca = certificate.is_ca
        kind = CertificateKind.SUBORDINATE_CA if is_ca else CertificateKind.ROUTER
        yield _certificate_row(certificate, kind, point, rollover=rollover)
    for der in cas:
        ca = load_certificate(der)
        yield _certificate_row(ca, CertificateKind.CA, point, rollover=rollover)


def _root_rows(point: Trustpoint, server: CertificateServer) -> Iterator[CertificateRow]:
    """A root's trustpoint holds nothing but what the server has."""
    present, after = server.certificates
    for der in filter(None, (after,)):
        yield _certificate_row(load_certificate(der), CertificateKind.CA, point, rollover=True)
    for der in filter(None, (present,)):
        yield _certificate_row(load_certificate(der), CertificateKind.CA, point)


def _pending_rows(router: Router) -> Iterator[PendingCertificateRow]:
    for name, point in router.trustpoints.items():
        sent = point.waiting
        if sent is not None:
            yield PendingCertificateRow(
                name, sent.subject, sent.fingerprint_md5, sent.fingerprint_sha1
            )


def _trustpoint_row(point: Trustpoint) -> TrustpointRow:
    ca = load_certificate(point.anchors[0]) if point.anchors else None
    return TrustpointRow(
        name=point.config.name,
        subject=() if ca is None else _names(ca.subject),
        serial=None if ca is None else ca.serial,
        enrolled=point.credential is not None,
        pending=point.waiting is not None,
        enrollment_url=point.config.enrollment_url,
    )


def _crl_rows(router: Router, now: Now) -> Iterator[CrlRow]:
    for entry in router.revocation.entries(now.wall):
        assert entry.crl.next_update is not None, "the cache holds none without"
        yield CrlRow(
            issuer=_names(entry.crl.issuer),
            last_update=entry.crl.this_update,
            next_update=entry.crl.next_update,
            url=entry.url,
            size=len(entry.crl.der),
            superseded=entry.superseded,
        )


def _server_row(server: CertificateServer) -> ServerRow:
    status, config = server.status(), server.config
    return ServerRow(
        name=status.name,
        status=status.state.value,
        running=status.state is ServerState.ENABLED,
        issuer=status.issuer,
        granting=status.grant,
        last_serial=status.last_serial,
        database_level=status.database_level,
        fingerprint=status.fingerprint,
        subordinate=config.mode == "sub-cs",
        upper_fingerprint=status.upper_fingerprint,
        expires=status.expires,
        crl_next_update=status.crl_next_update,
        storage=status.database_url,
        overlap_days=None if config.auto_rollover is None else config.auto_rollover.days,
        rollover_timer=status.rollover_date,
        rollover_fingerprint=status.rollover_fingerprint,
        rollover_expires=status.rollover_expires,
        pending_certificate=status.state is ServerState.REQUEST_PENDING,
        registration=config.mode == "ra",
        ra_fingerprint=status.ra_fingerprint,
    )


def _request_rows(router: Router) -> Iterator[RequestRow]:
    for name, server in router.servers.items():
        for request in server.requests():
            if request.request_id is None:
                continue
            yield RequestRow(
                server=name,
                request_id=request.request_id,
                kind=_KINDS[request.kind],
                state=request.state.value,
                fingerprint=fingerprint(request.request, "md5"),
                subject=format_name(request.subject),
            )


# --- the box ----------------------------------------------------------------------------------


def _key_rows(router: Router) -> Iterator[KeyRow]:
    for label in router.nvram.key_labels():
        key = router.nvram.load_key(label)
        if key is not None:
            public = key.public_key()
            yield KeyRow(
                label,
                public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
                router.nvram.key_made(key),
                exportable=router.nvram.is_exportable(label),
            )


def _interface_rows(router: Router) -> Iterator[InterfaceRow]:
    """A tunnel's line protocol is up when a pair of SAs carries it."""
    carried = {pair.flow.name for pair in router.isakmp.table.pairs.values()}
    for name, interface in router.config.interfaces.items():
        status = "administratively down" if interface.shutdown else "up"
        protected = interface.tunnel is not None and interface.tunnel.protection is not None
        up = not interface.shutdown and (not protected or name in carried)
        yield InterfaceRow(name, interface.address, status, "up" if up else "down")
