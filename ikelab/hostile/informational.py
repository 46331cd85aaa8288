"""Informational messages of an SA that cases send: probes and deletes, sealed and in clear."""

from __future__ import annotations

from ikelab.hostile.hub import Assault
from ikelab.hostile.registry import Shot
from ikelab.script import Message, Peer
from ikelab.wire.isakmp import Header
from ikelab.wire.layer import Layer
from ikelab.wire.numbers import ExchangeType, NotifyType, ProtocolId
from ikelab.wire.payloads import DELETE, NOTIFY

ACK = "N R-U-THERE-ACK sealed"


def cookies(peer: Peer) -> bytes:
    """The SPI of a peer's ISAKMP SA."""
    return peer.sa.cky_i + peer.sa.cky_r


def delete_isakmp(spi: bytes) -> Layer:
    """DELETE of an ISAKMP SA."""
    return DELETE(protocol_id=ProtocolId.ISAKMP, spi_size=16, spis=[spi])


def delete_esp(*spis: bytes) -> Layer:
    """DELETE of ESP SAs."""
    return DELETE(protocol_id=ProtocolId.ESP, spi_size=4, spis=list(spis))


def are_you_there(peer: Peer, sequence: int, octets: int = 4) -> Layer:
    """R-U-THERE with a sequence number."""
    return NOTIFY(
        protocol_id=ProtocolId.ISAKMP,
        notify_type=NotifyType.R_U_THERE,
        spi=cookies(peer),
        data=sequence.to_bytes(octets, "big"),
    )


def alive(attack: Assault, peer: Peer, sequence: int) -> Shot:
    """The SA is still there: it answers a probe."""
    octets = peer.phase2([are_you_there(peer, sequence)])
    return attack.shot("the SA still answers", octets, ACK, peer=peer)


def in_clear(peer: Peer, *payloads: Layer) -> bytes:
    """An informational message without keys."""
    header = Header(peer.sa.cky_i, peer.sa.cky_r, 0, int(ExchangeType.INFORMATIONAL), 0, 4711)
    return Message(header, list(payloads)).build()
