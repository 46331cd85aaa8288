"""What main mode and aggressive mode do alike (RFC 2409 sections 5.1 and 5.4).

The proposal and the key exchange; identities and their proof are in `proof.py`. Functions of the
desk; which message carries what is the business of `main_mode.py` and `aggressive.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ikelab.crypto import oakley
from ikelab.crypto.cipher import cipher_for
from ikelab.crypto.dh import check_public_value
from ikelab.errors import ProtocolError
from ikelab.isakmp import identity, nat_t, proposal
from ikelab.isakmp.events import KeyMaterial
from ikelab.isakmp.policy import IsakmpPolicy
from ikelab.isakmp.tried import Tried
from ikelab.isakmp.work import Work
from ikelab.wire import vendor_id
from ikelab.wire.isakmp import body_of
from ikelab.wire.numbers import (
    AuthMethod,
    CertEncoding,
    ExchangeType,
    Group,
    NotifyType,
    PayloadType,
)
from ikelab.wire.payloads import (
    CERT_REQ,
    KE,
    NONCE,
    SA,
    VENDOR_ID,
)

if TYPE_CHECKING:
    from ikelab.wire.layer import Layer

COOKIE_LENGTH = 8
CONN_ID_BASE = 1000  # IOS counts from 1001 where no crypto engine has numbers of its own
NONCE_LENGTH = 32  # RFC 2409 section 5 allows 8 to 256 octets
NONCE_RANGE = range(8, 257)
# As IOS sends them with its key (guide, D1): Unity, DPD, then that of its own kind.
_CAPABLE = (vendor_id.CISCO_UNITY, vendor_id.DPD, vendor_id.IKELAB)

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


def _find_key(work: Work) -> tuple[str | None, bytes] | None:
    """The pre-shared key for the peer: its keyring's name, if it is in one, and its octets.

    By the peer's address. In aggressive mode first what is set for the peer, or, as responder, what
    belongs to the name that it gave in message 1.
    """
    sa = work.sa
    keyrings = identity.keyrings_of(work.config, sa.requested_profile)
    if sa.exchange is ExchangeType.AGGRESSIVE:
        peer = identity.find_aggressive_peer(work.config, sa.remote.address)
        if sa.initiator and peer is not None and peer.password is not None:
            return None, peer.password.encode()
        if not sa.initiator and sa.peer_id is not None:
            named = identity.find_key_of_hostname(keyrings, sa.peer_id)
            if named is not None:
                return named
    return identity.find_pre_shared_key(keyrings, sa.remote.address)


def begin(work: Work, policies: Sequence[IsakmpPolicy]) -> SA:
    """Initiator: our cookie and the SA payload of message 1."""
    found = identity.find_pre_shared_key(
        identity.keyrings_of(work.config, work.sa.requested_profile), work.sa.remote.address
    )
    if found is not None:
        work.trace("key-found", keyring=found[0])
    offer = proposal.offer_policies(policies)
    work.sa.cky_i = work.rng.draw("cky_i", COOKIE_LENGTH)
    work.sa.sai_b = body_of(offer)
    return offer


def choose(work: Work, policies: Sequence[IsakmpPolicy]) -> None:
    """Responder: walk the offer of message 1, choose, and draw our cookie."""
    payload = work.message.one(PayloadType.SA)
    work.processing(PayloadType.SA)
    note_vendor_ids(work)
    if identity.find_pre_shared_key(
        identity.keyrings_of(work.config, None), work.sa.remote.address
    ):
        work.trace("peer-key-found")
    if work.config.profiles:
        work.trace("scanning-profiles", profiles=" ".join(p.name for p in work.config.profiles))
    choice = proposal.choose_policy(
        payload, policies, lambda policy: unusable(work, policy), lambda tried: _tell(work, tried)
    )
    work.sa.sai_b = payload.body
    work.sa.cky_r = work.rng.draw("cky_r", COOKIE_LENGTH)
    _adopt(work, choice)
    nat_t.choose(work)
    work.reply = choice.reply


def accept(work: Work, policies: Sequence[IsakmpPolicy]) -> None:
    """Initiator: the answer in message 2 must be one of our own transforms."""
    work.processing(PayloadType.SA)
    note_vendor_ids(work)
    if work.sa.requested_profile is not None:
        work.trace("xauth-profile", profile=work.sa.requested_profile)
    choice = proposal.accept_choice(
        work.message.one(PayloadType.SA), policies, lambda tried: _tell(work, tried)
    )
    cky_r = work.message.header.cky_r
    if not any(cky_r):
        raise ProtocolError(
            "zero-responder-cookie",
            "the responder cookie is never zero",
            seen=cky_r.hex(),
            wanted="a cookie of the responder's own",
        )
    _refuse_reflected(work, cky_r, work.sa.cky_i, "cookie")
    work.sa.cky_r = cky_r
    _adopt(work, choice)
    nat_t.accept(work)


def _refuse_reflected(work: Work, theirs: bytes, ours: bytes, what: str) -> None:
    """Initiator: whoever answers with our own values knows nothing but what we sent."""
    if work.sa.initiator and theirs == ours:
        raise ProtocolError(
            "reflected",
            f"the responder's {what} is our own",
            seen=f"our own {what}",
            wanted=f"a {what} of the responder's own",
        )


def _adopt(work: Work, choice: proposal.IkeChoice) -> None:
    policy = choice.policy
    work.sa.policy = policy
    work.sa.cipher = cipher_for(policy.encryption, policy.key_length)
    work.sa.lifetime = choice.lifetime
    work.trace("lifetime-started", lifetime=choice.lifetime, octets=choice.life_octets)


def _tell(work: Work, tried: Tried) -> None:
    """One step of the walk over policies: an offered transform beside one of ours."""
    work.trace(
        "transform-checked",
        transform=tried.transform,
        priority=tried.priority,
        attributes=tried.attributes,
        text=tried.text,
        next=tried.next_payload,
    )


def note_vendor_ids(work: Work) -> None:
    """What the peer says it can do."""
    seen = tuple(bytes(p.packet.data) for p in work.message.of_type(PayloadType.VENDOR_ID))
    # Only those that mean something here are kept: anybody can send many, of any length.
    known = tuple(octets for octets in seen if vendor_id.name_vendor_id(octets))
    work.sa.peer_vendor_ids = (*work.sa.peer_vendor_ids, *known)
    for octets in seen:
        work.trace("vendor-id", vendor=vendor_id.name_vendor_id(octets) or octets[:32].hex())


# --- the key exchange -----------------------------------------------------------------------------


def chosen_policy(work: Work) -> IsakmpPolicy:
    """The policy of message 1 or 2."""
    assert work.sa.policy is not None, "chosen in message 1 or 2"
    return work.sa.policy


def key_exchange(work: Work) -> list[Layer]:
    """KE, NONCE, CERT_REQs, vendor ID, NAT-D twice: the same for both sides."""
    own_half(work, chosen_policy(work).group)
    return key_exchange_of(work)


def key_exchange_of(work: Work) -> list[Layer]:
    """The same with the half that was drawn before."""
    packets = half_payloads(work)
    packets += certificate_requests(work, [chosen_policy(work)])
    packets += [VENDOR_ID(data=octets) for octets in _CAPABLE]
    return [*packets, *nat_t.nat_d(work)]


def own_half(work: Work, group: Group) -> list[Layer]:
    """KE and NONCE of ours, drawn now."""
    sa = work.sa
    sa.dh = work.keys.dh_key(group)
    public, nonce = sa.dh.public, work.rng.draw("nonce", NONCE_LENGTH)
    if sa.initiator:
        sa.g_xi, sa.nonce_i = public, nonce
    else:
        sa.g_xr, sa.nonce_r = public, nonce
    return half_payloads(work)


def half_payloads(work: Work) -> list[Layer]:
    """KE and NONCE with what was drawn."""
    sa = work.sa
    public, nonce = (sa.g_xi, sa.nonce_i) if sa.initiator else (sa.g_xr, sa.nonce_r)
    return [KE(data=public), NONCE(data=nonce)]


def certificate_requests(work: Work, policies: Sequence[IsakmpPolicy]) -> list[Layer]:
    """A CERT_REQ for each CA that we trust, where a certificate may prove the peer."""
    if not any(policy.authentication is AuthMethod.RSA_SIG for policy in policies):
        return []
    packets: list[Layer] = []
    for trustpoint, authority in work.config.trusted_authorities:
        work.trace("constructing-cert-req", trustpoint=trustpoint, authority=authority.hex())
        packets.append(CERT_REQ(encoding=CertEncoding.X509_SIGNATURE, authority=authority))
    return packets


def take_rest(work: Work) -> None:
    """What follows KE and NONCE: requests for certificates, vendor IDs, NAT-D."""
    note_requests(work)
    note_vendor_ids(work)
    nat_t.compare(work)


def take_half(work: Work) -> None:
    """KE and NONCE of the peer."""
    sa, message = work.sa, work.message
    work.processing(PayloadType.KE)
    work.processing(PayloadType.NONCE)
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
    _refuse_reflected(work, public, sa.g_xi, "public value")
    _refuse_reflected(work, nonce, sa.nonce_i, "nonce")
    if sa.initiator:
        sa.g_xr, sa.nonce_r = public, nonce
    else:
        sa.g_xi, sa.nonce_i = public, nonce
        # Before our own key is made; the initiator's check comes with the exchange.
        check_public_value(chosen_policy(work).group, public)


def note_requests(work: Work) -> None:
    """The CAs that the peer asks certificates of; added to those it has asked for before."""
    names = []
    for payload in work.message.of_type(PayloadType.CERT_REQ):
        if payload.packet.encoding == CertEncoding.X509_SIGNATURE:
            names.append(bytes(payload.packet.authority))
            credential = identity.find_credential(work.config.credentials, names[-1])
            chosen = credential.trustpoint if credential is not None else ""
            work.trace("peer-wants-cert", authority=names[-1].hex(), trustpoint=chosen)
    work.sa.requested_authorities = (*work.sa.requested_authorities, *names)


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
