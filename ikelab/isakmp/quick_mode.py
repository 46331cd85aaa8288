"""The steps of quick mode (RFC 2409 section 5.5), named by the rows of `state.py`.

The hash is checked before anything else is looked at. Keys are derived when both SPIs and nonces
are known: by the responder when the data plane has given its SPI, by the initiator with message 2.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from hmac import compare_digest
from typing import TYPE_CHECKING

from ikelab.crypto import oakley
from ikelab.crypto.dh import check_public_value
from ikelab.crypto.esp_keys import key_lengths
from ikelab.errors import ProtocolError
from ikelab.isakmp import identity, informational, nat_t, proposal, state
from ikelab.isakmp.events import ActivateIpsecSa, AllocateSpi, EspKeys, InstallIpsecSa
from ikelab.isakmp.phase1 import NONCE_LENGTH, NONCE_RANGE
from ikelab.isakmp.policy import IpsecFlow, ProxyIdentity, TransformSet
from ikelab.isakmp.tried import IpsecTried
from ikelab.isakmp.work import Work
from ikelab.wire.fields import build_attributes
from ikelab.wire.isakmp import body_of, build_payloads
from ikelab.wire.numbers import (
    WEAK_GROUPS,
    Group,
    HashAlgorithm,
    NotifyType,
    PayloadType,
    ProtocolId,
)
from ikelab.wire.payloads import HASH, KE, NONCE

if TYPE_CHECKING:
    from ikelab.wire.layer import Layer


def _hash_algorithm(work: Work) -> HashAlgorithm:
    assert work.sa.policy is not None
    return work.sa.policy.hash


def _skeyid_a(work: Work) -> bytes:
    assert work.sa.keys is not None
    return work.sa.keys.skeyid_a


def _flow(work: Work) -> IpsecFlow:
    flow = work.quick_mode.flow
    assert flow is not None, "chosen before this step"
    return flow


def check_hash(work: Work, wanted: bytes) -> None:
    """The HASH payload that leads every message under phase 1 keys."""
    if not compare_digest(bytes(work.message.payloads[0].packet.data), wanted):
        raise ProtocolError(
            "bad-hash",
            "HASH does not verify with SKEYID_a",
            seen=bytes(work.message.payloads[0].packet.data).hex(),
            wanted="the HASH under SKEYID_a of this SA",
            notify=NotifyType.INVALID_HASH_INFORMATION,
        )


def _nonce(work: Work) -> bytes:
    nonce = bytes(work.message.one(PayloadType.NONCE).packet.data)
    if len(nonce) not in NONCE_RANGE:
        raise ProtocolError(
            "bad-nonce",
            f"nonce of {len(nonce)} octets, 8 to 256 are legal",
            seen=f"{len(nonce)} octets",
            wanted="8 to 256 octets",
        )
    return nonce


# --- message 1 ----------------------------------------------------------------------------------


def send_qm1(work: Work) -> bool:
    """Initiator: offer the flow's transform sets for its proxies."""
    node, flow = work.quick_mode, _flow(work)
    node.nonce_i = work.rng.draw("nonce", NONCE_LENGTH)
    local = identity.proxy_payload(flow.local_proxy)
    remote = identity.proxy_payload(flow.remote_proxy)
    node.ids = (body_of(local), body_of(remote))
    work.trace("beginning-quick-mode", message_id=node.message_id)
    packets: list[Layer] = [
        proposal.offer_transform_sets(flow, node.inbound_spi, nat_t.modes(work.sa)),
        NONCE(data=node.nonce_i),
    ]
    if flow.pfs is not None:
        node.dh = work.keys.dh_key(flow.pfs)
        packets.append(KE(data=node.dh.public))
    packets += [local, remote]
    packets += nat_t.nat_oa(work.sa, [wanted.mode for wanted in flow.transform_sets])
    node.proxies = (flow.local_proxy, flow.remote_proxy)
    work.send_quick_mode(state.QM1, _behind_hash(work, packets, b""))
    work.start_retransmission(state.QM1)
    return True


def _behind_hash(work: Work, packets: list[Layer], nonce_i: bytes) -> list[Layer]:
    """HASH(1) or, with the initiator's nonce, HASH(2) in front of the payloads it covers."""
    _, covered = build_payloads(packets)
    message_id = work.quick_mode.message_id
    value = oakley.hash_2(_hash_algorithm(work), _skeyid_a(work), message_id, nonce_i, covered)
    return [HASH(data=value), *packets]


def process_qm1(work: Work) -> bool:
    """Responder: find the flow that these proxies are of, choose, and ask for an SPI."""
    node, message = work.quick_mode, work.message
    check_hash(
        work,
        oakley.hash_1(
            _hash_algorithm(work), _skeyid_a(work), node.message_id, message.after_first()
        ),
    )
    node.iv = message.next_iv
    node.nonce_i = _nonce(work)
    node.flow = _find_flow(work)
    offered = message.one(PayloadType.SA)
    work.processing(PayloadType.HASH)
    work.processing(PayloadType.SA)
    choice = proposal.choose_transform_set(
        offered,
        node.flow,
        nat_t.modes(work.sa),
        lambda tried: _tell(work, tried),
        _unasked_groups(work),
    )
    node.flow = replace(node.flow, pfs=choice.group)
    _tell_rest(work)
    node.transform, node.outbound_spi = choice.transform_set, choice.spi
    node.reply = choice.reply
    node.lifetime_seconds = choice.lifetime_seconds
    node.lifetime_kilobytes = choice.lifetime_kilobytes
    _take_public(work)
    work.trace("responder-gets-spi")
    work.actions.append(AllocateSpi(node.handle, node.flow.name, work.sa.remote))
    return True


def _unasked_groups(work: Work) -> Collection[Group]:
    """IOS takes any offer of PFS where no `set pfs` is configured. Here, too, but a weak group only
    where an ISAKMP policy names it.
    """
    named = {policy.group for policy in work.config.policies}
    return [group for group in Group if group in named or group not in WEAK_GROUPS]


def _tell(work: Work, tried: IpsecTried) -> None:
    """One step of the walk over transform sets."""
    work.trace(
        "ipsec-transform-checked",
        proposal=tried.proposal,
        transform=tried.transform,
        transform_id=tried.transform_id,
        attributes=tried.attributes,
        text=tried.text,
    )


def _tell_rest(work: Work) -> None:
    """The payloads behind HASH and SA."""
    for payload in work.message.payloads[2:]:
        work.processing(PayloadType(payload.type))


def _take_public(work: Work) -> None:
    """The KE payload must be there exactly when PFS was agreed on."""
    node, flow = work.quick_mode, _flow(work)
    found = work.message.of_type(PayloadType.KE)
    if len(found) != (flow.pfs is not None):
        raise ProtocolError(
            "pfs-mismatch",
            f"{len(found)} KE payloads with PFS {flow.pfs.name if flow.pfs else 'off'}",
            seen=f"{len(found)} KE payloads",
            wanted=f"one of {flow.pfs.name}" if flow.pfs else "none, as PFS is off",
            config=f"set pfs group{flow.pfs.value}" if flow.pfs else "no set pfs",
            notify=NotifyType.INVALID_KEY_INFORMATION,
        )
    if flow.pfs is not None:
        node.peer_public = bytes(found[0].packet.data)
        check_public_value(flow.pfs, node.peer_public)


def _find_flow(work: Work) -> IpsecFlow:
    """The configured flow whose proxies mirror the peer's IDci and IDcr."""
    payloads = work.message.of_type(PayloadType.ID)
    if len(payloads) not in (0, 2):
        raise ProtocolError(
            "proxy-identity",
            f"{len(payloads)} ID payloads in quick mode, wanted two or none",
            seen=len(payloads),
            wanted="2 or 0",
            notify=NotifyType.INVALID_ID_INFORMATION,
        )
    work.quick_mode.ids = tuple(payload.body for payload in payloads)
    if payloads:
        theirs, ours = (identity.read_proxy(payload) for payload in payloads)
    else:  # RFC 2409 section 5.5: without IDs the ends themselves are meant
        theirs = ProxyIdentity(work.sa.remote.address)
        ours = ProxyIdentity(work.sa.local.address)
    work.quick_mode.proxies = (ours, theirs)
    ours, theirs = nat_t.as_seen_here(work, ours, theirs)
    flows = [
        flow
        for flow in work.config.flows
        if flow.remote.address == work.sa.remote.address
        and (flow.local_proxy, flow.remote_proxy) == (ours, theirs)
    ]
    for flow in flows:  # several: peers behind one NAT, told apart by their profiles
        if flow.isakmp_profile in (None, work.sa.profile):
            return flow
    if flows:
        raise _other_profile(work, flows[0])
    raise ProtocolError(
        "proxy-identity",
        f"no tunnel protects {_told(ours)} to {_told(theirs)} with {work.sa.remote.address}",
        seen=f"{_told(ours)} to {_told(theirs)}",
        wanted=", ".join(
            f"{_told(flow.local_proxy)} to {_told(flow.remote_proxy)}"
            for flow in work.config.flows
            if flow.remote.address == work.sa.remote.address
        )
        or f"a tunnel to {work.sa.remote.address}, and there is none",
        config=f"tunnel destination {work.sa.remote.address}",
        notify=NotifyType.INVALID_ID_INFORMATION,
    )


def _other_profile(work: Work, flow: IpsecFlow) -> ProtocolError:
    """`set isakmp-profile` of the flow is for peers that match this profile, and no others."""
    matched = f"crypto isakmp profile {work.sa.profile}" if work.sa.profile else "no profile"
    peer_id = work.sa.peer_id or (0, b"")
    return ProtocolError(
        "profile-mismatch",
        f"{flow.name} is for peers of crypto isakmp profile {flow.isakmp_profile}, this one"
        f" ({identity.describe_id(*peer_id)}) matches {matched}",
        seen=matched,
        wanted=f"crypto isakmp profile {flow.isakmp_profile}",
        config=f"set isakmp-profile {flow.isakmp_profile}",
        notify=NotifyType.INVALID_ID_INFORMATION,
    )


def _told(proxy: ProxyIdentity) -> str:
    return f"{proxy.address}/{proxy.mask}/{proxy.protocol}/{proxy.port}"


# --- message 2 ----------------------------------------------------------------------------------


def install_as_responder(work: Work) -> bool:
    """Responder: with our SPI known, derive the keys and put the pair into the data plane."""
    node, flow = work.quick_mode, _flow(work)
    node.nonce_r = work.rng.draw("nonce", NONCE_LENGTH)
    if flow.pfs is not None:
        node.dh = work.keys.dh_key(flow.pfs)
    _install(work)
    return True


def send_qm2(work: Work) -> bool:
    """Responder: the chosen proposal with our SPI, our nonce, the same proxies."""
    node = work.quick_mode
    assert node.reply is not None, "chosen with message 1"
    packets: list[Layer] = [
        proposal.answer_with_spi(node.reply, node.inbound_spi),
        NONCE(data=node.nonce_r),
    ]
    if node.dh is not None:
        packets.append(KE(data=node.dh.public))
    packets += identity.same_ids(node.ids)
    assert node.transform is not None, "chosen with message 1"
    packets += nat_t.nat_oa(work.sa, [node.transform.mode])
    packets += _responder_lifetime(work)
    work.send_quick_mode(state.QM2, _behind_hash(work, packets, node.nonce_i))
    work.start_retransmission(state.QM2)
    return True


def _responder_lifetime(work: Work) -> list[Layer]:
    """RFC 2407 section 4.6.3.1: the transform goes back as offered, what we cut is told apart."""
    node = work.quick_mode
    assert node.reply is not None, "chosen with message 1"
    offered = informational.read_lifetimes(build_attributes(node.reply.transforms[0].attributes))
    ours = (node.lifetime_seconds, node.lifetime_kilobytes)
    cut = [own if asked and own < asked else None for asked, own in zip(offered, ours, strict=True)]
    if not any(cut):
        return []
    work.trace("send-responder-lifetime", seconds=cut[0] or "-", kilobytes=cut[1] or "-")
    return [informational.responder_lifetime(node.inbound_spi, *cut)]


def _take_responder_lifetime(work: Work) -> None:
    """Initiator: what the responder cut down; it never makes anything longer."""
    node = work.quick_mode
    for payload in work.message.of_type(PayloadType.NOTIFY):
        if payload.packet.notify_type != NotifyType.RESPONDER_LIFETIME:
            continue
        seconds, kilobytes = informational.read_lifetimes(bytes(payload.packet.data))
        node.lifetime_seconds = min(node.lifetime_seconds, seconds or node.lifetime_seconds)
        node.lifetime_kilobytes = min(node.lifetime_kilobytes, kilobytes or node.lifetime_kilobytes)
        work.trace("responder-lifetime", seconds=seconds or "-", kilobytes=kilobytes or "-")


def process_qm2(work: Work) -> bool:
    """Initiator: the answer must be of our offer and for our proxies; then install."""
    node, flow, message = work.quick_mode, _flow(work), work.message
    check_hash(
        work,
        oakley.hash_2(
            _hash_algorithm(work),
            _skeyid_a(work),
            node.message_id,
            node.nonce_i,
            message.after_first(),
        ),
    )
    node.iv = message.next_iv
    node.nonce_r = _nonce(work)
    node.retransmission = None
    answer = message.one(PayloadType.SA)
    proposal.check_single_answer(answer, "QM2")
    work.processing(PayloadType.HASH)
    work.processing(PayloadType.SA)
    choice = proposal.choose_transform_set(
        answer, flow, nat_t.modes(work.sa), lambda tried: _tell(work, tried)
    )
    _tell_rest(work)
    node.transform, node.outbound_spi = choice.transform_set, choice.spi
    node.lifetime_seconds = choice.lifetime_seconds
    node.lifetime_kilobytes = choice.lifetime_kilobytes
    _take_responder_lifetime(work)
    returned = tuple(payload.body for payload in message.of_type(PayloadType.ID))
    if returned and returned != node.ids and not _are_same_ends(work):
        raise ProtocolError(
            "proxy-identity",
            "the proxies in QM2 are not those of QM1",
            seen=" ".join(body.hex() for body in returned),
            wanted=" ".join(body.hex() for body in node.ids),
            notify=NotifyType.INVALID_ID_INFORMATION,
        )
    _take_public(work)
    _install(work)
    return True


def _are_same_ends(work: Work) -> bool:
    """Whether message 2 names our flow by addresses of the other side of a NAT, as charon does."""
    payloads, flow = work.message.of_type(PayloadType.ID), _flow(work)
    if len(payloads) != 2:
        return False
    ours, theirs = (identity.read_proxy(payload) for payload in payloads)
    seen_here = nat_t.as_seen_here(work, ours, theirs)
    return seen_here == (flow.local_proxy, flow.remote_proxy)


def _install(work: Work) -> None:
    node, sa, flow = work.quick_mode, work.sa, _flow(work)
    transform, proxies = node.transform, node.installed_proxies
    assert transform is not None
    mode = nat_t.agreed_mode(sa, transform.mode)
    g_qm_xy = node.dh.exchange(node.peer_public) if node.dh is not None else b""
    work.trace("creating-ipsec-sas", seconds=node.lifetime_seconds)
    work.actions.append(
        InstallIpsecSa(
            handle=node.handle,
            flow=flow.name,
            local=sa.local,
            remote=sa.remote,
            local_proxy=proxies[0],
            remote_proxy=proxies[1],
            transform=replace(transform, mode=mode),
            inbound=_esp_keys(work, transform, node.inbound_spi, g_qm_xy),
            outbound=_esp_keys(work, transform, node.outbound_spi, g_qm_xy),
            lifetime_seconds=node.lifetime_seconds,
            lifetime_kilobytes=node.lifetime_kilobytes,
            initiator=node.initiator,
            peer_moves=sa.nat is not None and sa.nat.peer_inside,
        )
    )


def _esp_keys(work: Work, transform: TransformSet, spi: bytes, g_qm_xy: bytes) -> EspKeys:
    """One direction, named by the SPI of its receiver."""
    node, keys = work.quick_mode, work.sa.keys
    assert keys is not None
    cipher, integrity = key_lengths(
        transform.encryption, transform.key_length, transform.authentication
    )
    keymat = oakley.derive_keymat(
        _hash_algorithm(work),
        keys.skeyid_d,
        ProtocolId.ESP,
        spi,
        node.nonce_i,
        node.nonce_r,
        cipher + integrity,
        g_qm_xy,
    )
    return EspKeys(spi, keymat[:cipher], keymat[cipher:])


# --- message 3 ----------------------------------------------------------------------------------


def _hash_3(work: Work) -> bytes:
    node = work.quick_mode
    return oakley.hash_3(
        _hash_algorithm(work), _skeyid_a(work), node.message_id, node.nonce_i, node.nonce_r
    )


def send_qm3(work: Work) -> bool:
    """Initiator: proof of liveness; from here on the pair is used."""
    work.send_quick_mode(state.QM3, [HASH(data=_hash_3(work))])
    return True


def process_qm3(work: Work) -> bool:
    """Responder: the initiator has our message 2."""
    check_hash(work, _hash_3(work))
    node = work.quick_mode
    node.iv = work.message.next_iv
    node.retransmission = None
    work.actions.append(ActivateIpsecSa(_flow(work).name, node.inbound_spi))
    return True
