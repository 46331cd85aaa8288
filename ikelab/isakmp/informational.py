"""Informational exchanges (RFC 2408 section 4.8, RFC 2409 section 5.7, RFC 3706): read and written.

One message, no state. Only messages whose HASH verifies have an effect; what arrives in clear is
told and counted, never obeyed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hmac import compare_digest
from typing import TYPE_CHECKING

from ikelab.crypto import oakley
from ikelab.errors import ProtocolError
from ikelab.isakmp.events import Trace
from ikelab.isakmp.message import Opened, check_rule
from ikelab.isakmp.policy import IsakmpConfig
from ikelab.isakmp.sa import IsakmpSa
from ikelab.isakmp.state import PayloadRule
from ikelab.wire import vendor_id
from ikelab.wire.fields import build_attributes, parse_attributes
from ikelab.wire.isakmp import Payload, build_payloads
from ikelab.wire.numbers import (
    Doi,
    IkeAttribute,
    IpsecAttribute,
    LifeType,
    NotifyType,
    PayloadType,
    ProtocolId,
)
from ikelab.wire.payloads import DELETE, DELETE_WITH_REASON, HASH, NOTIFY

if TYPE_CHECKING:
    from ikelab.wire.layer import Layer

INFO = PayloadRule(
    "INFO",
    (PayloadType.HASH,),
    (PayloadType.NOTIFY, PayloadType.DELETE, PayloadType.DELETE_WITH_REASON),
    encrypted=True,
    first=PayloadType.HASH,
)


@dataclass(frozen=True, slots=True)
class IsakmpDeleted:
    """The peer drops this ISAKMP SA. with_reason: it said so by Cisco's payload 18."""

    with_reason: bool = False


@dataclass(frozen=True, slots=True)
class EspDeleted:
    """The peer drops the ESP SAs that it receives on: our outbound SPIs."""

    spis: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class AreYouThere:
    """R-U-THERE (RFC 3706 section 5.3): to be answered with the same sequence number."""

    sequence: bytes


@dataclass(frozen=True, slots=True)
class InitialContact:
    """The peer knows of no older SA with us (RFC 2407 section 4.6.3.3)."""


@dataclass(frozen=True, slots=True)
class ResponderLifetime:
    """The ISAKMP SA lives less long than was offered (RFC 2407 section 4.6.3.1)."""

    seconds: int


@dataclass(frozen=True, slots=True)
class Notified:
    """Any other notify."""

    notify_type: int
    spi: bytes


Meaning = IsakmpDeleted | EspDeleted | AreYouThere | InitialContact | ResponderLifetime | Notified
REASON_TUNNEL_DOWN = 6
ERRORS = range(1, 8192)
"""Notify types that report an error (RFC 2408 section 3.14.1)."""


def read(opened: Opened, sa: IsakmpSa) -> list[Meaning]:
    """What an encrypted informational message asks for. Raises ProtocolError.

    An SA that is not ours to delete by this message (other cookies, other SPI sizes) is skipped.
    """
    check_rule(INFO, [payload.type for payload in opened.payloads], encrypted=True)
    assert sa.policy is not None and sa.keys is not None
    wanted = oakley.hash_1(
        sa.policy.hash, sa.keys.skeyid_a, opened.header.message_id, opened.after_first()
    )
    if not compare_digest(bytes(opened.payloads[0].packet.data), wanted):
        raise ProtocolError(
            "bad-hash",
            "HASH of the informational exchange does not verify",
            seen=bytes(opened.payloads[0].packet.data).hex(),
            wanted="the HASH under SKEYID_a of this SA",
        )
    meanings: list[Meaning] = []
    for payload in opened.payloads[1:]:
        if payload.type == PayloadType.NOTIFY:
            meanings.append(_read_notify(payload.packet, sa))
        else:
            meanings.extend(_read_delete(payload.packet, sa))
    return meanings


def _read_notify(packet: NOTIFY, sa: IsakmpSa) -> Meaning:
    if bytes(packet.spi) == sa.cky_i + sa.cky_r:
        match packet.notify_type:
            case NotifyType.R_U_THERE:
                return AreYouThere(bytes(packet.data))
            case NotifyType.INITIAL_CONTACT:
                return InitialContact()
            case NotifyType.RESPONDER_LIFETIME:
                seconds, _ = read_lifetimes(bytes(packet.data))
                return ResponderLifetime(seconds or 0)
    return Notified(int(packet.notify_type), bytes(packet.spi))


def read_lifetimes(octets: bytes) -> tuple[int | None, int | None]:
    """Seconds and kilobytes of a RESPONDER-LIFETIME's data; None for one that it does not say.

    Life type and duration in turn, in phase 2's numbers (RFC 2407 section 4.5), which real peers
    use for phase 1 as well.
    """
    seconds = kilobytes = life_type = None
    for kind, value in parse_attributes(octets)[0]:
        number = value if isinstance(value, int) else int.from_bytes(value, "big")
        if kind in (IpsecAttribute.SA_LIFE_TYPE, IkeAttribute.LIFE_TYPE):
            life_type = number
        elif kind in (IpsecAttribute.SA_LIFE_DURATION, IkeAttribute.LIFE_DURATION):
            if life_type == LifeType.SECONDS:
                seconds = number
            elif life_type == LifeType.KILOBYTES:
                kilobytes = number
    return seconds, kilobytes


def responder_lifetime(spi: bytes, seconds: int | None, kilobytes: int | None) -> NOTIFY:
    """RESPONDER-LIFETIME of an ESP SA: what the responder cut down. spi: the responder's."""
    attributes: list[tuple[int, int | bytes]] = []
    for life_type, value in ((LifeType.SECONDS, seconds), (LifeType.KILOBYTES, kilobytes)):
        if value is not None:
            attributes.append((IpsecAttribute.SA_LIFE_TYPE, int(life_type)))
            attributes.append((IpsecAttribute.SA_LIFE_DURATION, value.to_bytes(4, "big")))
    data = build_attributes(attributes)
    return notify(NotifyType.RESPONDER_LIFETIME, ProtocolId.ESP, spi, data)


def _read_delete(packet: DELETE | DELETE_WITH_REASON, sa: IsakmpSa) -> list[Meaning]:
    spis = tuple(bytes(spi) for spi in packet.spis)
    if packet.protocol_id == ProtocolId.ISAKMP and sa.cky_i + sa.cky_r in spis:
        return [IsakmpDeleted(isinstance(packet, DELETE_WITH_REASON))]
    if packet.protocol_id == ProtocolId.ESP and packet.spi_size == 4:
        return [EspDeleted(spis)]
    return []


def tell(sa: IsakmpSa, message_id: int, payload: Payload) -> Trace:
    """One payload of an authentic message, for the debug log."""
    told = {"payload": PayloadType(payload.type).name, "message_id": message_id}
    packet = payload.packet
    if payload.type in (PayloadType.DELETE, PayloadType.DELETE_WITH_REASON):
        told |= {"doi": packet.doi, "protocol_id": int(packet.protocol_id)}
        told |= {"spi_size": packet.spi_size, "spis": len(packet.spis)}
        if payload.type == PayloadType.DELETE_WITH_REASON:
            told |= {"reason": packet.reason}
    if payload.type == PayloadType.NOTIFY:
        told |= {"type": int(packet.notify_type), "protocol_id": int(packet.protocol_id)}
        told |= {"sa": sa.handle}
    values = tuple((name, str(value)) for name, value in told.items())
    return Trace(sa.remote, sa.conn_id, "processing", values)


def node_deleted(sa: IsakmpSa, message_id: int) -> Trace:
    """An informational exchange is over with its one message."""
    told = (("message_id", str(message_id)), ("reason", "Informational (in) state 1"))
    return Trace(sa.remote, sa.conn_id, "node-deleted", told)


def said(opened: Opened) -> str:
    """What a message says that nobody has proved, for a person."""
    notifies = opened.of_type(PayloadType.NOTIFY)
    told = [f"notify {notify_name(payload.packet.notify_type)}" for payload in notifies]
    return ", ".join(told) or " ".join(opened.names)


def notify_name(notify_type: int) -> str:
    """A notify type for people."""
    try:
        return NotifyType(notify_type).name
    except ValueError:
        return str(notify_type)


def behind_hash(sa: IsakmpSa, message_id: int, packets: Sequence[Layer]) -> list[Layer]:
    """HASH in front of the payloads of one informational message."""
    assert sa.policy is not None and sa.keys is not None
    _, covered = build_payloads(packets)
    value = oakley.hash_1(sa.policy.hash, sa.keys.skeyid_a, message_id, covered)
    return [HASH(data=value), *packets]


def delete_isakmp(sa: IsakmpSa) -> DELETE:
    """DELETE of the ISAKMP SA itself: its SPI is the cookie pair."""
    return DELETE(
        doi=Doi.IPSEC, protocol_id=ProtocolId.ISAKMP, spi_size=16, spis=[sa.cky_i + sa.cky_r]
    )


def farewell(sa: IsakmpSa, config: IsakmpConfig) -> DELETE | DELETE_WITH_REASON:
    """The end of the ISAKMP SA by the user's hand, with a reason where that is configured.

    Cisco publishes no layout of payload 18, so only our own kind is sent ours; Wireshark takes it
    for GDOI's and calls it malformed, so it is off by default. The reason is the one that the
    guide's routers give when a tunnel is shut down (D2: "delete_reason = 6").
    """
    if not config.delete_with_reason or vendor_id.IKELAB not in sa.peer_vendor_ids:
        return delete_isakmp(sa)
    return DELETE_WITH_REASON(
        doi=Doi.IPSEC,
        protocol_id=ProtocolId.ISAKMP,
        spi_size=16,
        reason=REASON_TUNNEL_DOWN,
        spis=[sa.cky_i + sa.cky_r],
    )


def delete_esp(inbound_spis: Sequence[bytes]) -> DELETE:
    """DELETE of ESP SAs, named by the SPIs that we receive on (RFC 2408 section 3.15)."""
    return DELETE(doi=Doi.IPSEC, protocol_id=ProtocolId.ESP, spi_size=4, spis=list(inbound_spis))


def notify(notify_type: int, protocol_id: int, spi: bytes = b"", data: bytes = b"") -> NOTIFY:
    """A NOTIFY payload of the IPsec DOI."""
    return NOTIFY(
        doi=Doi.IPSEC, protocol_id=protocol_id, spi=spi, notify_type=notify_type, data=data
    )
