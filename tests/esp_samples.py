"""A pair of ESP SAs as quick mode asks for it, at either end."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from ikelab.crypto.esp_keys import key_lengths
from ikelab.isakmp.events import EspKeys, InstallIpsecSa
from ikelab.isakmp.policy import ProxyIdentity, TransformSet
from ikelab.types import Endpoint
from ikelab.wire.numbers import AuthAlgorithm, EncapsulationMode, EspTransform, IpProtocol

SPOKE, HUB = "192.168.134.146", "192.168.159.242"


def install_request(
    number: int = 1,
    encryption: EspTransform = EspTransform.ESP_3DES,
    bits: int | None = None,
    authentication: AuthAlgorithm | None = AuthAlgorithm.HMAC_MD5,
    mode: EncapsulationMode = EncapsulationMode.TRANSPORT,
    *,
    spoke: str = SPOKE,
    hub: str = HUB,
    initiator: bool = True,
    kilobytes: int = 4608000,
) -> InstallIpsecSa:
    """The spoke's half, for GRE to the hub; number makes its SPIs and keys its own."""
    cipher, integrity = key_lengths(encryption, bits, authentication)
    octets = hashlib.shake_256(bytes((number,))).digest(2 * (4 + cipher + integrity))
    halves = octets[: len(octets) // 2], octets[len(octets) // 2 :]
    inbound, outbound = (
        EspKeys(b"\x7f" + half[1:4], half[4 : 4 + cipher], half[4 + cipher :]) for half in halves
    )
    return InstallIpsecSa(
        handle=number,
        flow="Tunnel1",
        local=Endpoint(spoke, 500),
        remote=Endpoint(hub, 500),
        local_proxy=ProxyIdentity(spoke, protocol=IpProtocol.GRE),
        remote_proxy=ProxyIdentity(hub, protocol=IpProtocol.GRE),
        transform=TransformSet("T", encryption, bits, authentication, mode),
        inbound=inbound,
        outbound=outbound,
        lifetime_seconds=3600,
        lifetime_kilobytes=kilobytes,
        initiator=initiator,
    )


def mirrored(ours: InstallIpsecSa) -> InstallIpsecSa:
    """The same pair at the other end."""
    return replace(
        ours,
        local=ours.remote,
        remote=ours.local,
        local_proxy=ours.remote_proxy,
        remote_proxy=ours.local_proxy,
        inbound=ours.outbound,
        outbound=ours.inbound,
        initiator=not ours.initiator,
    )
