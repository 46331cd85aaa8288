"""Who we say we are, who the peer says it is, and whether its certificate agrees (RFC 4945)."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import AddressValueError, IPv4Address, IPv4Network

from ikelab.errors import ProtocolError
from ikelab.isakmp.events import PeerCertAccepted
from ikelab.isakmp.policy import (
    AggressivePeer,
    Credential,
    IdentityMatch,
    IsakmpConfig,
    IsakmpProfile,
    Keyring,
    ProxyIdentity,
)
from ikelab.wire.isakmp import Payload
from ikelab.wire.numbers import IdType, IpProtocol, NotifyType
from ikelab.wire.payloads import ID

ISAKMP_PORT = 500
ID_OCTETS = (
    2048  # of a phase 1 ID: a host name has at most 255, names of certificates a few hundred
)
SHOWN = 255  # octets of an ID that are printed


def choose_credential(
    credentials: Sequence[Credential], requested: Sequence[bytes]
) -> tuple[Credential, tuple[bytes, ...]]:
    """The credential for the peer's CERT_REQs and the certificates to send, leaf first.

    A request for any CA of a credential's chain picks it. The CA certificates between the leaf and
    the requested CA go along, because the peer may not hold them. No request at all: the first
    credential, leaf only.
    """
    if not credentials:
        raise ProtocolError(
            "no-certificate",
            "no trustpoint of this router is enrolled",
            seen="no certificate of ours",
            wanted="a router certificate, as authentication method rsa-sig needs one",
            config="crypto pki enroll TRUSTPOINT",
        )
    if not requested or b"" in requested:  # an empty authority means any CA (RFC 2408 §3.10)
        return credentials[0], (credentials[0].certificate,)
    for credential in credentials:
        depths = [i for i, name in enumerate(credential.authorities) if name in requested]
        if depths:
            return credential, (credential.certificate, *credential.chain[: min(depths)])
    raise ProtocolError(
        "no-certificate-for-request",
        "the peer asks for CAs of which none is in the chain of an enrolled trustpoint",
        seen=", ".join(name.hex() for name in requested),
        wanted=", ".join(name.hex() for one in credentials for name in one.authorities),
        config="crypto pki trustpoint TRUSTPOINT",
    )


def find_credential(credentials: Sequence[Credential], authority: bytes) -> Credential | None:
    """The credential that a request for this CA picks; an empty authority means any."""
    for credential in credentials:
        if not authority or authority in credential.authorities:
            return credential
    return None


def choose_identity(
    config: IsakmpConfig, credential: Credential | None, address: str
) -> tuple[IdType, bytes]:
    """Our ID payload's type and data.

    With a certificate the ID must be in it: an address that is not gives way to the FQDN ("My ID
    configured as IPv4 Addr, but Addr not in Cert!", guide D1), a host name that is not to another
    FQDN of the certificate or to our address, and both at last to the subject.
    """
    packed = IPv4Address(address).packed
    if credential is None:
        if config.identity is IdType.ID_FQDN:
            return IdType.ID_FQDN, config.hostname.encode()
        return IdType.ID_IPV4_ADDR, packed
    if config.identity is IdType.ID_DER_ASN1_DN:
        return IdType.ID_DER_ASN1_DN, credential.subject
    own_address = address in credential.addresses
    if config.identity is IdType.ID_IPV4_ADDR and own_address:
        return IdType.ID_IPV4_ADDR, packed
    if credential.fqdns:
        own_name = config.hostname.lower() in (name.lower() for name in credential.fqdns)
        name = config.hostname if own_name else credential.fqdns[0]
        return IdType.ID_FQDN, name.encode()
    if own_address:
        return IdType.ID_IPV4_ADDR, packed
    return IdType.ID_DER_ASN1_DN, credential.subject


def check_phase1_id(payload: Payload) -> tuple[int, bytes]:
    """Type and data of a peer's phase 1 ID.

    Protocol and port are 0/0 or UDP/500 (RFC 2407 section 4.6.2).
    """
    packet = payload.packet
    if (packet.protocol, packet.port) not in ((0, 0), (IpProtocol.UDP, ISAKMP_PORT)):
        raise ProtocolError(
            "id-port",
            f"ID of protocol {packet.protocol} port {packet.port}, wanted 0/0 or 17/500",
            seen=f"{packet.protocol}/{packet.port}",
            wanted="0/0 or 17/500",
            notify=NotifyType.INVALID_ID_INFORMATION,
        )
    data = bytes(packet.data)
    if packet.id_type not in set(IdType):
        raise ProtocolError(
            "id-type",
            f"ID type {packet.id_type} is not one of RFC 2407 section 4.6.2.1",
            seen=packet.id_type,
            wanted="a type of RFC 2407 section 4.6.2.1",
            notify=NotifyType.INVALID_ID_INFORMATION,
        )
    if len(data) > ID_OCTETS:
        raise ProtocolError(
            "id-length",
            f"an ID of {len(data)} octets, at most {ID_OCTETS} are taken",
            seen=f"{len(data)} octets",
            wanted=f"at most {ID_OCTETS} octets",
            notify=NotifyType.INVALID_ID_INFORMATION,
        )
    if packet.id_type in (IdType.ID_FQDN, IdType.ID_USER_FQDN) and not _is_name(data):
        raise ProtocolError(
            "id-syntax",
            f"an ID of type {packet.id_type} with {describe_id(packet.id_type, data)!r} in it",
            seen=describe_id(packet.id_type, data),
            wanted="letters, digits and signs of ASCII",
            notify=NotifyType.INVALID_ID_INFORMATION,
        )
    if packet.id_type == IdType.ID_IPV4_ADDR and len(data) != 4:
        raise ProtocolError(
            "id-length",
            f"ID_IPV4_ADDR of {len(data)} octets",
            seen=f"{len(data)} octets",
            wanted="4 octets",
            notify=NotifyType.INVALID_ID_INFORMATION,
        )
    return int(packet.id_type), data


def _is_name(data: bytes) -> bool:
    """Whether a host name or mailbox has nothing in it that a log, or a C string, ends at."""
    return bool(data) and all(0x21 <= octet <= 0x7E for octet in data)


def describe_id(id_type: int, data: bytes) -> str:
    """An identity for people: control characters are escaped, names never trusted, and short."""
    more = "..." if len(data) > SHOWN else ""
    match id_type:
        case IdType.ID_IPV4_ADDR if len(data) == 4:
            return str(IPv4Address(data))
        case IdType.ID_FQDN | IdType.ID_USER_FQDN:
            text = data[:SHOWN].decode("ascii", "backslashreplace")
            return text.encode("unicode_escape").decode() + more
        case _:
            return data[:SHOWN].hex() + more


def check_id_in_certificate(peer_id: tuple[int, bytes], cert: PeerCertAccepted) -> None:
    """RFC 4945 section 3.1: what the ID claims must stand in the certificate.

    Host names are compared without case, and so is the host of a mailbox; a DN as RFC 5280 section
    7.1 compares names, which the checker of the certificate has done (`is_subject`).
    """
    id_type, data = peer_id
    match id_type:
        case IdType.ID_FQDN:
            known = data.decode("ascii", "replace").lower() in (n.lower() for n in cert.fqdns)
        case IdType.ID_USER_FQDN:
            known = _mailbox(data.decode("ascii", "replace")) in map(_mailbox, cert.mailboxes)
        case IdType.ID_IPV4_ADDR:
            known = str(IPv4Address(data)) in cert.addresses
        case IdType.ID_DER_ASN1_DN:
            known = cert.is_subject
        case _:
            known = False
    if not known:
        vouched = (*cert.fqdns, *cert.addresses, *cert.mailboxes)
        raise ProtocolError(
            "id-not-in-certificate",
            f"the peer calls itself {describe_id(id_type, data)} (ID type {id_type}), its"
            f" certificate vouches for {', '.join(vouched) or 'its DN only'}",
            seen=describe_id(id_type, data),
            wanted=", ".join(vouched) or "its DN",
            notify=NotifyType.INVALID_ID_INFORMATION,
        )


def _mailbox(text: str) -> tuple[str, str]:
    local, _, host = text.rpartition("@")
    return local, host.lower()


def check_id_is_source(peer_id: tuple[int, bytes], address: str) -> None:
    """RFC 4945 section 3.1.1: an address as identity is the one that the packets come from."""
    id_type, data = peer_id
    if id_type == IdType.ID_IPV4_ADDR and str(IPv4Address(data)) != address:
        raise ProtocolError(
            "id-not-source-address",
            f"the peer calls itself {describe_id(id_type, data)}, its packets come from {address}"
            " and no NAT is on the way",
            seen=describe_id(id_type, data),
            wanted=address,
            notify=NotifyType.INVALID_ID_INFORMATION,
        )


# --- profiles and keyrings ------------------------------------------------------------------------


def matching_profiles(
    profiles: Sequence[IsakmpProfile], peer_id: tuple[int, bytes]
) -> list[IsakmpProfile]:
    """The profiles with a `match identity` that fits an ID, proved or not."""
    return [
        profile
        for profile in profiles
        if any(_matches(match, peer_id) for match in profile.match_identity)
    ]


def choose_profile(
    profiles: Sequence[IsakmpProfile],
    peer_id: tuple[int, bytes],
    *,
    requested: str | None,
    keyring: str | None,
) -> str | None:
    """The profile of an authenticated peer: the first with a `match identity` that fits, or None.

    requested: the one that the initiator's flow wants; the peer must match it. keyring: where the
    pre-shared key came from; a profile that names another one is not for this peer.
    """
    matching = [
        profile
        for profile in matching_profiles(profiles, peer_id)
        if requested in (None, profile.name)
    ]
    if requested is not None and not matching:
        raise ProtocolError(
            "profile-mismatch",
            f"the peer calls itself {describe_id(*peer_id)} (ID type {peer_id[0]}), which no"
            f" `match identity` of crypto isakmp profile {requested} fits",
            seen=describe_id(*peer_id),
            wanted=f"an identity that profile {requested} matches",
            config=f"crypto isakmp profile {requested}",
            notify=NotifyType.INVALID_ID_INFORMATION,
        )
    if not matching:
        return None
    profile = matching[0]
    if keyring is not None and profile.keyring not in (None, keyring):
        raise ProtocolError(
            "keyring-mismatch",
            f"the peer's key is in keyring {keyring}, but crypto isakmp profile {profile.name},"
            f" which it matches, has keyring {profile.keyring}",
            seen=f"keyring {keyring}",
            wanted=f"keyring {profile.keyring}",
            config=f"crypto isakmp profile {profile.name}",
            notify=NotifyType.INVALID_ID_INFORMATION,
        )
    return profile.name


def keyrings_of(config: IsakmpConfig, profile: str | None) -> Sequence[Keyring]:
    """Where pre-shared keys are looked for: the profile's keyring, or all where it names none.

    A responder does not know the peer's identity, so not the profile, before it needs the key.
    """
    for one in config.profiles:
        if one.name == profile and one.keyring is not None:
            return [keyring for keyring in config.keyrings if keyring.name == one.keyring]
    return config.keyrings


def _matches(match: IdentityMatch, peer_id: tuple[int, bytes]) -> bool:
    id_type, data = peer_id
    if match.kind == "address":
        if id_type != IdType.ID_IPV4_ADDR:
            return False
        network = IPv4Network(f"{match.value}/{match.mask}", strict=False)
        return IPv4Address(data) in network
    if id_type != IdType.ID_FQDN:
        return False
    name, wanted = data.decode("ascii", "replace").lower(), match.value.lower()
    return name == wanted if match.kind == "host" else name.endswith("." + wanted)


def find_pre_shared_key(keyrings: Sequence[Keyring], address: str) -> tuple[str, bytes] | None:
    """Keyring name and key for a peer address; the longest matching mask wins."""
    found: list[tuple[int, str, bytes]] = []
    for keyring in keyrings:
        for key in keyring.keys:
            if key.hostname:
                continue
            network = IPv4Network(f"{key.address}/{key.mask}", strict=False)
            if IPv4Address(address) in network:
                found.append((network.prefixlen, keyring.name, key.key.encode()))
    best = max(found, key=lambda entry: entry[0], default=None)
    return None if best is None else best[1:]


def find_key_of_hostname(
    keyrings: Sequence[Keyring], peer_id: tuple[int, bytes]
) -> tuple[str, bytes] | None:
    """Keyring name and key of `pre-shared-key hostname`: for an ID that came before the keys.

    That is the responder's case in aggressive mode; names count without regard to case.
    """
    id_type, data = peer_id
    if id_type not in (IdType.ID_FQDN, IdType.ID_USER_FQDN):
        return None
    name = data.decode("ascii", "replace").lower()
    for keyring in keyrings:
        for key in keyring.keys:
            if key.hostname and key.hostname.lower() == name:
                return keyring.name, key.key.encode()
    return None


def find_aggressive_peer(config: IsakmpConfig, address: str) -> AggressivePeer | None:
    """How to begin aggressive mode with a peer, if that is wanted and allowed."""
    if not config.aggressive_mode:
        return None
    return next((peer for peer in config.aggressive_peers if peer.address == address), None)


def proxy_payload(proxy: ProxyIdentity) -> ID:
    """The quick mode ID payload of one side's traffic."""
    packed = IPv4Address(proxy.address).packed
    if proxy.mask == "255.255.255.255":
        return ID(
            id_type=IdType.ID_IPV4_ADDR, protocol=proxy.protocol, port=proxy.port, data=packed
        )
    return ID(
        id_type=IdType.ID_IPV4_ADDR_SUBNET,
        protocol=proxy.protocol,
        port=proxy.port,
        data=packed + IPv4Address(proxy.mask).packed,
    )


def same_ids(bodies: Sequence[bytes]) -> list[ID]:
    """The ID payloads of message 1 again, octet for octet (RFC 2409 section 5.5)."""
    return [
        ID(id_type=body[0], protocol=body[1], port=int.from_bytes(body[2:4], "big"), data=body[4:])
        for body in bodies
    ]


def read_proxy(payload: Payload) -> ProxyIdentity:
    """What a quick mode ID payload says. Raises ProtocolError for kinds we do not route by."""
    packet, data = payload.packet, bytes(payload.packet.data)
    try:
        if packet.id_type == IdType.ID_IPV4_ADDR:
            address, mask = str(IPv4Address(data)), "255.255.255.255"
        elif packet.id_type == IdType.ID_IPV4_ADDR_SUBNET:
            address, mask = str(IPv4Address(data[:4])), str(IPv4Address(data[4:]))
        else:
            raise AddressValueError(f"ID type {packet.id_type}")
    except AddressValueError as error:
        raise ProtocolError(
            "proxy-identity",
            f"the peer's proxy identity cannot be used: {error}",
            seen=f"ID type {packet.id_type} of {len(data)} octets",
            wanted="ID_IPV4_ADDR or ID_IPV4_ADDR_SUBNET",
            notify=NotifyType.INVALID_ID_INFORMATION,
        ) from error
    return ProxyIdentity(address, mask, int(packet.protocol), int(packet.port))
