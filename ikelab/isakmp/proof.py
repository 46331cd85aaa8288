"""Who we are and who the peer is: ID, certificates, HASH or SIG (RFC 2409 sections 5.1 and 5.4).

The second half of what main mode and aggressive mode do alike; the first is in `phase1.py`.
"""

from __future__ import annotations

from hmac import compare_digest
from typing import TYPE_CHECKING

from ikelab.crypto import oakley
from ikelab.crypto.rsa import PADDING, sign_hash, verify_hash
from ikelab.errors import ProtocolError
from ikelab.isakmp import identity, phase1
from ikelab.isakmp.events import CheckPeerCert
from ikelab.isakmp.sa import rekey_margin
from ikelab.isakmp.work import Work
from ikelab.wire.isakmp import body_of
from ikelab.wire.numbers import (
    AuthMethod,
    CertEncoding,
    Doi,
    ExchangeType,
    IdType,
    IpProtocol,
    NotifyType,
    PayloadType,
    ProtocolId,
)
from ikelab.wire.payloads import (
    CERT,
    HASH,
    ID,
    NOTIFY,
    SIG,
)

if TYPE_CHECKING:
    from ikelab.wire.layer import Layer

_NOT_IN_CERT = {IdType.ID_IPV4_ADDR: "address-not-in-cert", IdType.ID_FQDN: "fqdn-not-in-cert"}
_INSTEAD = {
    IdType.ID_IPV4_ADDR: "using-address",
    IdType.ID_FQDN: "using-fqdn",
    IdType.ID_DER_ASN1_DN: "using-dn",
}


def identify(work: Work) -> list[Layer]:
    """ID, certificates and proof; the initiator adds INITIAL-CONTACT."""
    contact = initial_contact(work)
    certificates = choose_certificates(work)
    own_id = own_identity(work)
    tell_credential(work)
    return [own_id, *certificates, prove(work, body_of(own_id)), *contact]


def choose_certificates(work: Work) -> list[Layer]:
    """The credential to prove ourselves with, and its certificates; none with a shared key."""
    sa = work.sa
    if phase1.chosen_policy(work).authentication is not AuthMethod.RSA_SIG:
        return []
    sa.credential, certificates = identity.choose_credential(
        work.config.credentials, sa.requested_authorities
    )
    return [CERT(encoding=CertEncoding.X509_SIGNATURE, data=der) for der in certificates]


def tell_credential(work: Work) -> None:
    """Note which certificate goes along and whose key signs."""
    credential = work.sa.credential
    if credential is not None:
        subject, trustpoint = credential.subject.hex(), credential.trustpoint
        work.trace("using-trustpoint", trustpoint=trustpoint, subject=subject)


def own_identity(work: Work) -> ID:
    """Our ID payload, fit for the credential that was chosen."""
    sa = work.sa
    id_type, data = identity.choose_identity(work.config, sa.credential, sa.local.address)
    if sa.credential is not None and id_type is not work.config.identity:
        work.trace(_NOT_IN_CERT[work.config.identity])
        work.trace(_INSTEAD[id_type])
    return id_payload(work, id_type, data)


def id_payload(work: Work, id_type: IdType, data: bytes) -> ID:
    """An ID payload of ours."""
    own = ID(id_type=id_type, protocol=IpProtocol.UDP, port=identity.ISAKMP_PORT, data=data)
    signing = work.sa.credential is not None
    following = PayloadType.CERT if signing else PayloadType.HASH
    work.trace("my-id", signing=int(signing), next=int(following), **_told_id(own))
    return own


def _told_id(packet: ID) -> dict[str, object]:
    """An ID payload's fields. length: octets of the whole payload."""
    data = bytes(packet.data)
    return {
        "type": int(packet.id_type),
        "id": identity.describe_id(int(packet.id_type), data),
        "protocol": int(packet.protocol),
        "port": int(packet.port),
        "length": 8 + len(data),
    }


def initial_contact(work: Work) -> list[Layer]:
    """INITIAL-CONTACT (RFC 2407 section 4.6.3.3) where we knew no SA with this peer."""
    sa = work.sa
    if not sa.initial_contact:
        return []
    work.trace("send-initial-contact")
    return [
        NOTIFY(
            doi=Doi.IPSEC,
            protocol_id=ProtocolId.ISAKMP,
            spi=sa.cky_i + sa.cky_r,
            notify_type=NotifyType.INITIAL_CONTACT,
            data=b"",
        )
    ]


def _hash_of(work: Work, id_b: bytes, *, of_initiator: bool) -> bytes:
    sa, policy = work.sa, phase1.chosen_policy(work)
    assert sa.keys is not None
    function = oakley.hash_i if of_initiator else oakley.hash_r
    return function(
        policy.hash, sa.keys.skeyid, sa.g_xi, sa.g_xr, sa.cky_i, sa.cky_r, sa.sai_b, id_b
    )


def prove(work: Work, id_b: bytes) -> Layer:
    """HASH_I or HASH_R, bare with a pre-shared key, signed with a certificate."""
    proof = _hash_of(work, id_b, of_initiator=work.sa.initiator)
    if work.sa.credential is None:
        return HASH(data=proof)
    key = work.keys.signing_key(work.sa.credential.key_label)
    room = key.key_size // 8 - PADDING
    if len(proof) > room:
        raise ProtocolError(
            "own-key-too-short",
            f"an RSA key of {key.key_size} bits signs {room} octets, the hash has {len(proof)}",
            seen=f"{key.key_size} bits",
            wanted=f"at least {8 * (len(proof) + PADDING)} bits",
        )
    return SIG(data=sign_hash(key, proof))


def take_identity(work: Work) -> bool:
    """Read identity and proof of the peer; with certificates, wait for their check (False)."""
    work.sa.iv = work.message.next_iv
    # strongSwan as initiator asks for certificates here rather than in message 3.
    phase1.note_requests(work)
    take_id(work)
    take_initial_contact(work)
    return take_proof(work)


def take_id(work: Work) -> None:
    """Who the peer says it is."""
    sa, payload = work.sa, work.message.one(PayloadType.ID)
    work.processing(PayloadType.ID)
    sa.peer_id, sa.peer_id_b = identity.check_phase1_id(payload), payload.body
    kinds = [int(one.type) for one in work.message.payloads]
    following = dict(zip(kinds, kinds[1:], strict=False)).get(PayloadType.ID, 0)
    work.trace("peer-id", next=int(following), **_told_id(payload.packet))
    if sa.requested_profile is None:
        matching = identity.matching_profiles(work.config.profiles, sa.peer_id)
        work.trace("peer-profile", profile=matching[0].name if matching else "*none*")


def take_initial_contact(work: Work) -> None:
    """Whether the peer knows of no older SA: obeyed once it is authenticated."""
    sa = work.sa
    sa.peer_initial_contact = any(
        payload.packet.notify_type == NotifyType.INITIAL_CONTACT
        and bytes(payload.packet.spi) == sa.cky_i + sa.cky_r
        for payload in work.message.of_type(PayloadType.NOTIFY)
    )


def take_proof(work: Work) -> bool:
    """HASH or SIG; with certificates, wait for their check (False)."""
    sa, message = work.sa, work.message
    if phase1.chosen_policy(work).authentication is AuthMethod.PRE_SHARED_KEY:
        sa.peer_proof = _only(work, PayloadType.HASH)
        work.processing(PayloadType.HASH)
        return True
    sa.peer_proof = _only(work, PayloadType.SIG)
    certificates = tuple(
        bytes(payload.packet.data)
        for payload in message.of_type(PayloadType.CERT)
        if payload.packet.encoding == CertEncoding.X509_SIGNATURE
    )
    if not certificates:
        raise ProtocolError(
            "no-certificate-from-peer",
            "the peer signs but sent no X.509 signature certificate",
            seen="none",
            wanted="a CERT payload of encoding 4",
            notify=NotifyType.CERTIFICATE_UNAVAILABLE,
        )
    work.trace("peer-certificate", der=certificates[0].hex())
    sa.awaiting_cert = True
    work.actions.append(CheckPeerCert(sa.handle, sa.remote, certificates))
    return False


def _only(work: Work, kind: PayloadType) -> bytes:
    found = work.message.of_type(kind)
    if len(found) != 1:
        raise ProtocolError(
            "payload-missing",
            f"exactly one {kind.name} payload is wanted, there are {len(found)}",
            payload=kind.name,
            seen=len(found),
            wanted=1,
            notify=NotifyType.PAYLOAD_MALFORMED,
        )
    return bytes(found[0].packet.data)


def authenticate(work: Work) -> bool:
    """Both: the proof must be the peer's, and its identity must stand in its certificate."""
    sa = work.sa
    assert sa.peer_id is not None
    wanted = _hash_of(work, sa.peer_id_b, of_initiator=not sa.initiator)
    if sa.peer_cert is None:
        _check_hash(sa.peer_proof, wanted)
    else:
        work.trace("peer-signature", subject=sa.peer_cert.subject.hex())
        if not verify_hash(sa.peer_cert.public_key, sa.peer_proof, wanted):
            raise ProtocolError(
                "bad-signature",
                "SIG does not verify with the key of the peer's certificate"
                f" (serial 0x{sa.peer_cert.serial:X})",
                seen=f"{len(sa.peer_proof)} octets that this key did not sign",
                wanted=f"HASH_{'R' if sa.initiator else 'I'} signed by the certificate's key",
                notify=NotifyType.INVALID_SIGNATURE,
            )
        identity.check_id_in_certificate(sa.peer_id, sa.peer_cert)
        if sa.nat is None or not sa.nat.is_needed:
            identity.check_id_is_source(sa.peer_id, sa.remote.address)
    sa.profile = identity.choose_profile(
        work.config.profiles, sa.peer_id, requested=sa.requested_profile, keyring=sa.keyring
    )
    peer = work.peers.get(sa.remote.address)
    work.trace(
        "authenticated",
        profile=sa.profile or "*none*",
        struct=peer.handle if peer else 0,
        local=sa.local.address,
    )
    return True


def _check_hash(seen: bytes, wanted: bytes) -> None:
    if not compare_digest(seen, wanted):
        raise ProtocolError(
            "bad-hash",
            "HASH does not verify: the pre-shared keys differ",
            seen=seen.hex(),
            wanted="the HASH under our pre-shared key",
            notify=NotifyType.INVALID_HASH_INFORMATION,
        )


def phase1_complete(work: Work) -> bool:
    """Both: the SA is up; its lifetime starts."""
    sa = work.sa
    sa.retransmission = None
    sa.checkpoint = None
    sa.errors = 0
    sa.established = work.now.elapsed
    sa.expires = work.now.elapsed + sa.lifetime
    if sa.initiator or sa.exchange is ExchangeType.IDENTITY_PROTECTION:
        # Aggressive mode is for those who must begin: we may know no key or address of theirs.
        sa.rekey_at = sa.expires - rekey_margin(sa.lifetime, sa.initiator)
    if sa.nat is not None and sa.nat.inside and work.config.nat_keepalive is not None:
        sa.nat_keepalive_at = work.now.elapsed + work.config.nat_keepalive
    if work.config.keepalive is not None:
        sa.probe_at = work.now.elapsed + work.config.keepalive.interval
    return True
