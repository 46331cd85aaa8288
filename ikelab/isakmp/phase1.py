"""What main mode and aggressive mode do alike (RFC 2409 sections 5.1 and 5.4).

The proposal, the key exchange, the identities and their proof. Functions of the desk; which message
carries what is the business of `main_mode.py` and `aggressive.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from hmac import compare_digest
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from ikelab.crypto import oakley
from ikelab.crypto.cipher import cipher_for
from ikelab.crypto.dh import check_public_value
from ikelab.crypto.rsa import sign_hash, verify_hash
from ikelab.errors import ProtocolError
from ikelab.isakmp import identity, proposal
from ikelab.isakmp.events import CheckPeerCert, KeyMaterial
from ikelab.isakmp.policy import IsakmpPolicy
from ikelab.isakmp.sa import rekey_margin
from ikelab.isakmp.work import Work
from ikelab.types import Endpoint
from ikelab.wire import vendor_id
from ikelab.wire.isakmp import body_of
from ikelab.wire.numbers import (
    AuthMethod,
    CertEncoding,
    Doi,
    IdType,
    IpProtocol,
    NotifyType,
    PayloadType,
    ProtocolId,
)
from ikelab.wire.payloads import (
    CERT,
    CERT_REQ,
    HASH,
    ID,
    KE,
    NAT_D,
    NONCE,
    NOTIFY,
    SA,
    SIG,
    VENDOR_ID,
)

if TYPE_CHECKING:
    from ikelab.wire.layer import Layer

COOKIE_LENGTH = 8
CONN_ID_BASE = 1000  # IOS counts from 1001 where no crypto engine has numbers of its own
NONCE_LENGTH = 32  # RFC 2409 section 5 allows 8 to 256 octets
NONCE_RANGE = range(8, 257)
NAT_T_OFFER = (
    vendor_id.NAT_T_RFC_3947,
    vendor_id.NAT_T_DRAFT_07,
    vendor_id.NAT_T_DRAFT_03,
    vendor_id.NAT_T_DRAFT_02,
)

# --- the proposal ---------------------------------------------------------------------------------


def usable_policies(work: Work) -> list[IsakmpPolicy]:
    """The policies that have what they need for this peer; ProtocolError where there is none."""
    usable = [policy for policy in work.config.policies if not unusable(work, policy)]
    if not usable:
        raise ProtocolError(
            "no-usable-policy",
            "no ISAKMP policy has what it needs: rsa-sig wants an enrolled trustpoint, pre-share a"
            f" key for {work.sa.remote.address}",
            seen="; ".join(
                f"policy {p.priority}: {unusable(work, p)}" for p in work.config.policies
            )
            or "no policy",
            wanted="a policy whose key or certificate is there",
            config=f"crypto isakmp key KEY address {work.sa.remote.address}",
        )
    return usable


def unusable(work: Work, policy: IsakmpPolicy) -> str:
    """Why a policy cannot be used with this peer, or nothing."""
    match policy.authentication:
        case AuthMethod.RSA_SIG:
            return "" if work.config.credentials else "no trustpoint is enrolled"
        case AuthMethod.PRE_SHARED_KEY:
            return "" if _find_key(work) else f"no pre-shared key for {work.sa.remote.address}"
        case _:
            return "authentication method is not supported"


def _find_key(work: Work) -> tuple[str, bytes] | None:
    """The pre-shared key for the peer: its keyring's name and its octets."""
    keyrings = identity.keyrings_of(work.config, work.sa.requested_profile)
    return identity.find_pre_shared_key(keyrings, work.sa.remote.address)


def begin(work: Work, policies: Sequence[IsakmpPolicy]) -> SA:
    """Initiator: our cookie and the SA payload of message 1."""
    if work.sa.requested_profile is not None:
        work.trace("sa-request-profile", profile=work.sa.requested_profile)
    offer = proposal.offer_policies(policies)
    work.sa.cky_i = work.rng.draw("cky_i", COOKIE_LENGTH)
    work.sa.sai_b = body_of(offer)
    return offer


def choose(work: Work, policies: Sequence[IsakmpPolicy]) -> None:
    """Responder: walk the offer of message 1, choose, and draw our cookie."""
    payload = work.message.one(PayloadType.SA)
    choice = proposal.choose_policy(payload, policies, lambda policy: unusable(work, policy))
    work.sa.sai_b = payload.body
    work.sa.cky_r = work.rng.draw("cky_r", COOKIE_LENGTH)
    note_vendor_ids(work)
    _adopt(work, choice)
    work.sa.answer_vendor_id = vendor_id.NAT_T_RFC_3947 in work.sa.peer_vendor_ids
    work.reply = choice.reply


def accept(work: Work, policies: Sequence[IsakmpPolicy]) -> None:
    """Initiator: the answer in message 2 must be one of our own transforms."""
    choice = proposal.accept_choice(work.message.one(PayloadType.SA), policies)
    work.sa.cky_r = work.message.header.cky_r
    note_vendor_ids(work)
    _adopt(work, choice)


def _adopt(work: Work, choice: proposal.IkeChoice) -> None:
    for refusal in choice.refusals:
        work.trace("policy-refused", **_refusal_values(refusal))
    policy = choice.policy
    work.sa.policy = policy
    work.sa.cipher = cipher_for(policy.encryption, policy.key_length)
    work.sa.lifetime = choice.lifetime
    work.trace("atts-acceptable", priority=policy.priority, lifetime=choice.lifetime)


def _refusal_values(refusal: proposal.Refusal) -> dict[str, object]:
    return {
        "transform": refusal.transform,
        "priority": refusal.priority,
        "text": refusal.text,
    }


def note_vendor_ids(work: Work) -> None:
    """What the peer says it can do."""
    seen = tuple(bytes(p.packet.data) for p in work.message.of_type(PayloadType.VENDOR_ID))
    work.sa.peer_vendor_ids = (*work.sa.peer_vendor_ids, *seen)
    for octets in seen:
        work.trace("vendor-id", vendor=vendor_id.name_vendor_id(octets) or octets.hex())


# --- the key exchange -----------------------------------------------------------------------------


def chosen_policy(work: Work) -> IsakmpPolicy:
    """The policy of message 1 or 2."""
    assert work.sa.policy is not None, "chosen in message 1 or 2"
    return work.sa.policy


def key_exchange(work: Work) -> list[Layer]:
    """KE, NONCE, CERT_REQs, vendor ID, NAT-D twice: the same for both sides."""
    sa, policy = work.sa, chosen_policy(work)
    sa.dh = work.keys.dh_key(policy.group)
    public, nonce = sa.dh.public, work.rng.draw("nonce", NONCE_LENGTH)
    if sa.initiator:
        sa.g_xi, sa.nonce_i = public, nonce
    else:
        sa.g_xr, sa.nonce_r = public, nonce
    packets: list[Layer] = [KE(data=public), NONCE(data=nonce)]
    if policy.authentication is AuthMethod.RSA_SIG:
        for trustpoint, authority in work.config.trusted_authorities:
            work.trace("constructing-cert-req", trustpoint=trustpoint, authority=authority.hex())
            packets.append(CERT_REQ(encoding=CertEncoding.X509_SIGNATURE, authority=authority))
    packets.append(VENDOR_ID(data=vendor_id.DPD))
    # RFC 3947 section 3.2: the remote end's hash first, then our own.
    packets.append(NAT_D(data=nat_d(work, sa.remote)))
    packets.append(NAT_D(data=nat_d(work, sa.local)))
    return packets


def nat_d(work: Work, end: Endpoint) -> bytes:
    """Our hash of one end: what a NAT-D payload of it should hold."""
    sa = work.sa
    packed = IPv4Address(end.address).packed
    return oakley.nat_d_hash(chosen_policy(work).hash, sa.cky_i, sa.cky_r, packed, end.port)


def take_key_exchange(work: Work) -> None:
    """The peer's half: KE, NONCE, requests for certificates, vendor IDs, NAT-D."""
    sa, message = work.sa, work.message
    public = bytes(message.one(PayloadType.KE).packet.data)
    nonce = bytes(message.one(PayloadType.NONCE).packet.data)
    if len(nonce) not in NONCE_RANGE:
        raise ProtocolError(
            "bad-nonce",
            f"nonce of {len(nonce)} octets, RFC 2409 section 5 wants 8 to 256",
            seen=f"{len(nonce)} octets",
            wanted="8 to 256 octets",
            notify=NotifyType.PAYLOAD_MALFORMED,
        )
    if sa.initiator:
        sa.g_xr, sa.nonce_r = public, nonce
    else:
        sa.g_xi, sa.nonce_i = public, nonce
        # Before our own key is made; the initiator's check comes with the exchange.
        check_public_value(chosen_policy(work).group, public)
    sa.requested_authorities = tuple(_requested(work))
    note_vendor_ids(work)
    compare_nat_d(work)


def _requested(work: Work) -> list[bytes]:
    names = []
    for payload in work.message.of_type(PayloadType.CERT_REQ):
        if payload.packet.encoding == CertEncoding.X509_SIGNATURE:
            names.append(bytes(payload.packet.authority))
            work.trace("peer-wants-cert", authority=names[-1].hex())
    return names


def compare_nat_d(work: Work) -> None:
    """The peer's first NAT-D is of our end, the others are of its own (RFC 3947 section 3.2)."""
    seen = [bytes(payload.packet.data) for payload in work.message.of_type(PayloadType.NAT_D)]
    if not seen:
        return
    ours = seen[0] == nat_d(work, work.sa.local)
    peers = nat_d(work, work.sa.remote) in seen[1:]
    work.sa.nat_seen = not (ours and peers)
    work.trace("nat-found" if work.sa.nat_seen else "no-nat-found")


def derive_keys(work: Work) -> None:
    """With both halves: SKEYID and what comes of it, the cipher key and the first IV."""
    sa, policy = work.sa, chosen_policy(work)
    assert sa.dh is not None and sa.cipher is not None
    g_xy = sa.dh.exchange(sa.g_xr if sa.initiator else sa.g_xi)
    if policy.authentication is AuthMethod.PRE_SHARED_KEY:
        found = _find_key(work)
        if found is None:
            raise ProtocolError(
                "no-pre-shared-key",
                f"the key for {sa.remote.address} is gone",
                seen=f"no key for {sa.remote.address}",
                wanted="a pre-shared key, as authentication method pre-share needs one",
                config=f"crypto isakmp key KEY address {sa.remote.address}",
            )
        sa.keyring = found[0]
        skeyid = oakley.skeyid_for_pre_shared_key(policy.hash, found[1], sa.nonce_i, sa.nonce_r)
    else:
        skeyid = oakley.skeyid_for_signatures(policy.hash, sa.nonce_i, sa.nonce_r, g_xy)
    sa.keys = oakley.derive_skeyids(policy.hash, skeyid, g_xy, sa.cky_i, sa.cky_r)
    sa.encryption_key = oakley.derive_encryption_key(
        policy.hash, sa.keys.skeyid_e, sa.cipher.key_length
    )
    sa.iv = oakley.first_iv(policy.hash, sa.g_xi, sa.g_xr, sa.cipher.block)
    sa.conn_id = CONN_ID_BASE + sa.handle
    sa.dh = None
    others = (
        ("g_xy", g_xy),
        ("skeyid", sa.keys.skeyid),
        ("skeyid_d", sa.keys.skeyid_d),
        ("skeyid_a", sa.keys.skeyid_a),
        ("skeyid_e", sa.keys.skeyid_e),
        ("iv", sa.iv),
    )
    work.actions.append(KeyMaterial(sa.cky_i, sa.cky_r, sa.encryption_key, others))


# --- who we are -----------------------------------------------------------------------------------


_NOT_IN_CERT = {IdType.ID_IPV4_ADDR: "address-not-in-cert", IdType.ID_FQDN: "fqdn-not-in-cert"}
_ID_WORDS = {
    IdType.ID_IPV4_ADDR: "IPv4 Addr",
    IdType.ID_FQDN: "FQDN",
    IdType.ID_DER_ASN1_DN: "DN",
}


def identify(work: Work) -> list[Layer]:
    """ID, certificates and proof; the initiator adds INITIAL-CONTACT."""
    sa, policy = work.sa, chosen_policy(work)
    certificates: tuple[bytes, ...] = ()
    if policy.authentication is AuthMethod.RSA_SIG:
        sa.credential, certificates = identity.choose_credential(
            work.config.credentials, sa.requested_authorities
        )
        work.trace("using-trustpoint", trustpoint=sa.credential.trustpoint)
    id_type, data = identity.choose_identity(work.config, sa.credential, sa.local.address)
    if sa.credential is not None and id_type is not work.config.identity:
        work.trace(_NOT_IN_CERT[work.config.identity], using=_ID_WORDS[id_type])
    work.trace("my-id", type=id_type.name, id=identity.describe_id(id_type, data))
    own_id = ID(id_type=id_type, protocol=IpProtocol.UDP, port=identity.ISAKMP_PORT, data=data)
    packets: list[Layer] = [own_id]
    packets += [CERT(encoding=CertEncoding.X509_SIGNATURE, data=der) for der in certificates]
    packets.append(_prove(work, body_of(own_id)))
    if sa.initial_contact:
        packets.append(
            NOTIFY(
                doi=Doi.IPSEC,
                protocol_id=ProtocolId.ISAKMP,
                spi=sa.cky_i + sa.cky_r,
                notify_type=NotifyType.INITIAL_CONTACT,
                data=b"",
            )
        )
        work.trace("send-initial-contact")
    return packets


def _hash_of(work: Work, id_b: bytes, *, of_initiator: bool) -> bytes:
    sa, policy = work.sa, chosen_policy(work)
    assert sa.keys is not None
    function = oakley.hash_i if of_initiator else oakley.hash_r
    return function(
        policy.hash, sa.keys.skeyid, sa.g_xi, sa.g_xr, sa.cky_i, sa.cky_r, sa.sai_b, id_b
    )


def _prove(work: Work, id_b: bytes) -> Layer:
    """HASH_I or HASH_R, bare with a pre-shared key, signed with a certificate."""
    proof = _hash_of(work, id_b, of_initiator=work.sa.initiator)
    if work.sa.credential is None:
        return HASH(data=proof)
    key = work.keys.signing_key(work.sa.credential.key_label)
    return SIG(data=sign_hash(key, proof))


def take_identity(work: Work) -> bool:
    """Read identity and proof of the peer; with certificates, wait for their check (False)."""
    sa, message = work.sa, work.message
    id_payload = message.one(PayloadType.ID)
    sa.peer_id, sa.peer_id_b = identity.check_phase1_id(id_payload), id_payload.body
    sa.iv = message.next_iv
    # strongSwan as initiator asks for certificates here rather than in message 3.
    sa.requested_authorities = (*sa.requested_authorities, *_requested(work))
    work.trace("peer-id", type=sa.peer_id[0], id=identity.describe_id(*sa.peer_id))
    sa.peer_initial_contact = any(
        payload.packet.notify_type == NotifyType.INITIAL_CONTACT
        and bytes(payload.packet.spi) == sa.cky_i + sa.cky_r
        for payload in message.of_type(PayloadType.NOTIFY)
    )
    if chosen_policy(work).authentication is AuthMethod.PRE_SHARED_KEY:
        sa.peer_proof = _only(work, PayloadType.HASH)
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
        if not sa.nat_seen:
            identity.check_id_is_source(sa.peer_id, sa.remote.address)
    sa.profile = identity.choose_profile(
        work.config.profiles, sa.peer_id, requested=sa.requested_profile, keyring=sa.keyring
    )
    work.trace("authenticated", profile=sa.profile or "*none*")
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
    if sa.initiator:
        sa.rekey_at = sa.expires - rekey_margin(sa.lifetime, sa.initiator)
    if work.config.keepalive is not None:
        sa.probe_at = work.now.elapsed + work.config.keepalive.interval
    return True
