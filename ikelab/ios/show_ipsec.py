"""The texts of `show crypto ipsec sa` and `show crypto session`."""

from __future__ import annotations

from collections.abc import Iterator

from ikelab.ios.arguments import Arguments
from ikelab.ios.config import InterfaceConfig
from ikelab.ios.snapshot import IpsecSaRow, IsakmpSaRow, NodeSnapshot
from ikelab.ios.text import span, visible
from ikelab.isakmp.policy import ProxyIdentity, TransformSet
from ikelab.wire.numbers import AuthAlgorithm, EncapsulationMode, EspTransform

_CIPHER_WORDS = {
    EspTransform.ESP_DES: "esp-des",
    EspTransform.ESP_3DES: "esp-3des",
    EspTransform.ESP_NULL: "esp-null",
    EspTransform.ESP_AES: "esp-aes",
}
_AUTH_WORDS = {
    AuthAlgorithm.HMAC_MD5: "esp-md5-hmac",
    AuthAlgorithm.HMAC_SHA: "esp-sha-hmac",
    AuthAlgorithm.HMAC_SHA2_256: "esp-sha256-hmac",
    AuthAlgorithm.HMAC_SHA2_384: "esp-sha384-hmac",
    AuthAlgorithm.HMAC_SHA2_512: "esp-sha512-hmac",
}
_IV_OCTETS = {EspTransform.ESP_AES: 16, EspTransform.ESP_NULL: 0}
_MODES = {
    EncapsulationMode.TUNNEL: "Tunnel",
    EncapsulationMode.TRANSPORT: "Transport",
    EncapsulationMode.UDP_TUNNEL: "Tunnel UDP-Encaps",
    EncapsulationMode.UDP_TRANSPORT: "Transport UDP-Encaps",
}


def transform_words(transform: TransformSet) -> str:
    """`esp-256-aes esp-sha-hmac`: IOS puts the key length in the middle here."""
    cipher = _CIPHER_WORDS[transform.encryption]
    if transform.key_length and transform.key_length != 128:
        cipher = f"esp-{transform.key_length}-aes"
    if transform.authentication is None:
        return cipher
    return f"{cipher} {_AUTH_WORDS[transform.authentication]}"


def show_ipsec_sa(snapshot: NodeSnapshot, _: Arguments) -> Iterator[str]:
    """`show crypto ipsec sa`, by interface; without the lines on compression."""
    for interface in dict.fromkeys(row.interface for row in snapshot.ipsec_sas):
        rows = [row for row in snapshot.ipsec_sas if row.interface == interface]
        yield ""
        yield f"interface: {interface}"
        yield f"    Crypto map tag: {interface}-head-0, local addr {rows[0].local}"
        for row in rows:
            yield from _pair(row)


def _pair(row: IpsecSaRow) -> Iterator[str]:
    yield ""
    yield "   protected vrf: (none)"
    yield f"   local  ident (addr/mask/prot/port): {_identity(row.local_proxy)}"
    yield f"   remote ident (addr/mask/prot/port): {_identity(row.remote_proxy)}"
    yield f"   current_peer {row.remote} port {row.remote_port}"
    yield "     PERMIT, flags={origin_is_acl,}"
    sent, taken = row.encaps, row.decaps
    yield f"    #pkts encaps: {sent}, #pkts encrypt: {sent}, #pkts digest: {sent}"
    yield f"    #pkts decaps: {taken}, #pkts decrypt: {taken}, #pkts verify: {taken}"
    yield f"    #send errors {row.send_errors}, #recv errors {row.receive_errors}"
    yield ""
    yield f"     local crypto endpt.: {row.local}, remote crypto endpt.: {row.remote}"
    yield f"     current outbound spi: {_spi(row.outbound_spi)}"
    pfs = f"Y, DH group: group{int(row.pfs)}" if row.pfs else "N, DH group: none"
    yield f"     PFS (Y/N): {pfs}"
    for direction, spi in (("inbound", row.inbound_spi), ("outbound", row.outbound_spi)):
        yield ""
        yield f"     {direction} esp sas:"
        yield from _sa(row, spi)


def _sa(row: IpsecSaRow, spi: int) -> Iterator[str]:
    left = f"({row.remaining_kilobytes}/{row.remaining_seconds})"
    yield f"      spi: {_spi(spi)}"
    yield f"        transform: {transform_words(row.transform)} ,"
    yield f"        in use settings ={{{_MODES[row.transform.mode]}, }}"
    yield (
        f"        conn id: {row.conn_id}, flow_id: SW:{row.conn_id},"
        f" crypto map: {row.interface}-head-0"
    )
    yield f"        sa timing: remaining key lifetime (k/sec): {left}"
    yield f"        IV size: {_IV_OCTETS.get(row.transform.encryption, 8)} bytes"
    yield "        replay detection support: Y"
    yield "        Status: ACTIVE"


def _identity(proxy: ProxyIdentity) -> str:
    return f"({proxy.address}/{proxy.mask}/{int(proxy.protocol)}/{proxy.port})"


def _spi(spi: int) -> str:
    return f"0x{spi:X}({spi})"


# --- show crypto session ----------------------------------------------------------------------


_CAPABILITIES = (
    "Code: C - IKE Configuration mode, D - Dead Peer Detection",
    "K - Keepalives, N - NAT-traversal, X - IKE Extended Authentication",
    "F - IKE Fragmentation",
)


def show_session(snapshot: NodeSnapshot, arguments: Arguments) -> Iterator[str]:
    """`show crypto session [detail]`: each protected tunnel with its IKE SA and its flow."""
    detail = "detail" in arguments
    yield "Crypto session current status"
    if detail:
        yield ""
        yield from _CAPABILITIES
    for interface in snapshot.config.interfaces.values():
        if interface.tunnel and interface.tunnel.protection and interface.tunnel.destination:
            yield ""
            yield from _session(snapshot, interface, interface.tunnel.destination, detail=detail)


def _session(
    snapshot: NodeSnapshot, interface: InterfaceConfig, peer: str, *, detail: bool
) -> Iterator[str]:
    phase2 = [row for row in snapshot.ipsec_sas if row.interface == interface.name]
    phase1 = [row for row in snapshot.isakmp_sas if row.remote == peer]
    if phase2:  # peers behind one NAT have one address, each a port of its own
        ports = {row.remote_port for row in phase2}
        phase1 = [row for row in phase1 if row.remote_port in ports]
    newest = max(phase1, key=lambda row: row.conn_id, default=None)
    yield f"Interface: {interface.name}"
    if detail and newest is not None and newest.up_for is not None:
        yield f"Uptime: {span(newest.up_for)}"
    yield f"Session status: {_status(phase1, phase2)}"
    port = newest.remote_port if newest is not None else 500
    yield f"Peer: {peer} port {port}" + (" fvrf: (none) ivrf: (none)" if detail else "")
    if detail:
        peer_id = newest.peer_id if newest is not None else None
        yield f"      Phase1_id: {visible(peer_id or '(none)')}"
        yield "      Desc: (none)"
    for row in phase1:
        state = "Active" if row.state == "QM_IDLE" else "Inactive"
        ends = f"local {row.local}/{row.local_port} remote {row.remote}/{row.remote_port}"
        yield f"  IKEv1 SA: {ends} {state}"
        if detail:
            letters = (("D", row.dpd), ("N", row.nat), ("F", row.fragmentation))
            able = "".join(letter for letter, there in letters if there) or "(none)"
            left = span(row.remaining or 0)
            yield f"          Capabilities:{able} connid:{row.conn_id} lifetime:{left}"
    if phase2:
        yield from _flow(phase2, detail=detail)


def _flow(phase2: list[IpsecSaRow], *, detail: bool) -> Iterator[str]:
    pair = phase2[-1]
    local, remote = pair.local_proxy, pair.remote_proxy
    yield f"  IPSEC FLOW: permit {int(local.protocol)} host {local.address} host {remote.address}"
    yield f"        Active SAs: {2 * len(phase2)}, origin: crypto map"
    if detail:
        life = f"life (KB/Sec) {pair.remaining_kilobytes}/{pair.remaining_seconds}"
        taken, drops = sum(p.decaps for p in phase2), sum(p.receive_errors for p in phase2)
        sent, failed = sum(p.encaps for p in phase2), sum(p.send_errors for p in phase2)
        yield f"        Inbound:  #pkts dec'ed {taken} drop {drops} {life}"
        yield f"        Outbound: #pkts enc'ed {sent} drop {failed} {life}"


def _status(phase1: list[IsakmpSaRow], phase2: list[IpsecSaRow]) -> str:
    up = any(row.state == "QM_IDLE" for row in phase1)
    if phase2:
        return "UP-ACTIVE" if up else "UP-NO-IKE"
    if up:
        return "UP-IDLE"
    return "DOWN-NEGOTIATING" if phase1 else "DOWN"
