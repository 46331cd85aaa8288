"""Offers and choices: phase 1 policies (RFC 2409 appendix A), phase 2 transform sets (RFC 2407).

The walk keeps a reason for each refusal, because "no proposal chosen" alone helps nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from ikelab.errors import ProtocolError
from ikelab.isakmp.nat_t import PLAIN_MODES, Modes
from ikelab.isakmp.policy import IpsecFlow, IsakmpPolicy, TransformSet
from ikelab.isakmp.tried import (
    Attributes,
    IpsecNote,
    IpsecTried,
    Note,
    Tried,
    count_offers,
    life_octets,
    number_of,
    told_ike,
    told_ipsec,
    try_transform,
    written,
)
from ikelab.wire.isakmp import Payload
from ikelab.wire.numbers import (
    Doi,
    EncapsulationMode,
    Group,
    IkeAttribute,
    IpsecAttribute,
    IsakmpTransform,
    LifeType,
    NotifyType,
    ProtocolId,
    Situation,
)
from ikelab.wire.payloads import SA, Proposal, Transform

_BASIC_LIMIT = 1 << 16  # a TV attribute holds two octets
_SPI_OCTETS = 16  # of a phase 1 proposal (RFC 2408 section 3.5)


@dataclass(frozen=True, slots=True)
class IkeChoice:
    """The policy that matched and the octets-exact transform that is sent back or came back.

    life_octets: how long the lifetime's attribute is, 0 for a basic one.
    """

    policy: IsakmpPolicy
    reply: SA
    lifetime: int
    life_octets: int


@dataclass(frozen=True, slots=True)
class IpsecChoice:
    """A phase 2 choice. spi: the peer's, from the proposal. lifetimes as offered."""

    transform_set: TransformSet
    spi: bytes
    reply: Proposal
    lifetime_seconds: int
    lifetime_kilobytes: int
    group: Group | None


def _duration(value: int) -> int | bytes:
    """A lifetime as IOS writes it: basic where it fits, else four octets."""
    return value if value < _BASIC_LIMIT else value.to_bytes(4, "big")


# --- phase 1 ----------------------------------------------------------------------------------


def ike_attributes(policy: IsakmpPolicy) -> list[tuple[int, int | bytes]]:
    """The attributes of one policy, in the order IOS sends them."""
    attributes: list[tuple[int, int | bytes]] = [
        (IkeAttribute.ENCRYPTION_ALGORITHM, int(policy.encryption)),
        (IkeAttribute.HASH_ALGORITHM, int(policy.hash)),
        (IkeAttribute.GROUP_DESCRIPTION, int(policy.group)),
        (IkeAttribute.AUTHENTICATION_METHOD, int(policy.authentication)),
        (IkeAttribute.LIFE_TYPE, int(LifeType.SECONDS)),
        (IkeAttribute.LIFE_DURATION, policy.lifetime.to_bytes(4, "big")),
    ]
    if policy.key_length is not None:
        attributes.append((IkeAttribute.KEY_LENGTH, policy.key_length))
    return attributes


def offer_policies(policies: Sequence[IsakmpPolicy]) -> SA:
    """The SA payload of message 1: one proposal, one transform a policy, best first."""
    transforms = [
        Transform(
            number=number, transform_id=IsakmpTransform.KEY_IKE, attributes=ike_attributes(policy)
        )
        for number, policy in enumerate(policies, start=1)
    ]
    proposal = Proposal(number=1, protocol_id=ProtocolId.ISAKMP, spi=b"", transforms=transforms)
    return SA(doi=Doi.IPSEC, situation=Situation.IDENTITY_ONLY, proposals=[proposal])


def check_doi(payload: Payload) -> None:
    """DOI and situation of an SA payload (RFC 2407 section 4.2)."""
    if payload.packet.doi != Doi.IPSEC:
        raise ProtocolError(
            "doi",
            f"DOI {payload.packet.doi}, this is the IPsec DOI (1)",
            seen=payload.packet.doi,
            wanted=int(Doi.IPSEC),
            notify=NotifyType.DOI_NOT_SUPPORTED,
        )
    if payload.packet.situation != Situation.IDENTITY_ONLY:
        raise ProtocolError(
            "situation",
            f"situation {payload.packet.situation}, only SIT_IDENTITY_ONLY (1) is supported",
            seen=payload.packet.situation,
            wanted=int(Situation.IDENTITY_ONLY),
            notify=NotifyType.SITUATION_NOT_SUPPORTED,
        )


def _match_policy(attributes: Attributes, policy: IsakmpPolicy) -> str:
    """Empty when the attributes fit, else why not, in IOS's words where a trace has them."""
    known = {kind: number_of(value) for kind, value in attributes}
    if len(known) != len(attributes):
        return "Attribute offered twice!"
    if known.get(IkeAttribute.ENCRYPTION_ALGORITHM) != policy.encryption:
        return "Encryption algorithm offered does not match policy!"
    if known.get(IkeAttribute.KEY_LENGTH) != policy.key_length:
        return "Proposed key length does not match policy"
    if known.get(IkeAttribute.HASH_ALGORITHM) != policy.hash:
        return "Hash algorithm offered does not match policy!"
    if known.get(IkeAttribute.AUTHENTICATION_METHOD) != policy.authentication:
        return "Authentication method offered does not match policy!"
    if known.get(IkeAttribute.GROUP_DESCRIPTION) != policy.group:
        return "Diffie-Hellman group offered does not match policy!"
    if known.get(IkeAttribute.LIFE_TYPE, LifeType.SECONDS) != LifeType.SECONDS:
        return "Only lifetimes in seconds are taken in phase 1"
    if known.get(IkeAttribute.LIFE_DURATION) == 0:
        return "Lifetime offered is of no seconds"
    if known.keys() - _UNDERSTOOD:
        return "Attribute offered is not supported"
    return ""


_UNDERSTOOD = {
    IkeAttribute.ENCRYPTION_ALGORITHM,
    IkeAttribute.HASH_ALGORITHM,
    IkeAttribute.AUTHENTICATION_METHOD,
    IkeAttribute.GROUP_DESCRIPTION,
    IkeAttribute.LIFE_TYPE,
    IkeAttribute.LIFE_DURATION,
    IkeAttribute.KEY_LENGTH,
}


def _lifetime(attributes: Attributes, default: int) -> int:
    for kind, value in attributes:
        if kind == IkeAttribute.LIFE_DURATION:
            return number_of(value)
    return default


def choose_policy(
    payload: Payload,
    policies: Sequence[IsakmpPolicy],
    unusable: Callable[[IsakmpPolicy], str],
    note: Note = lambda tried: None,
) -> IkeChoice:
    """The responder's walk: each policy in turn over each transform offered (guide, D2).

    unusable: why a policy cannot be used with this peer (no key, no certificate), or "". note: is
    told of every step.
    Raises ProtocolError no-proposal-chosen with every reason in its detail.
    """
    check_doi(payload)
    refusals: list[Tried] = []
    for policy in policies:
        obstacle = unusable(policy)
        for proposal in payload.packet.proposals:
            for transform in proposal.transforms:
                reason = _check_protocol(proposal, transform)
                reason = reason or _match_policy(transform.attributes, policy) or obstacle
                step = try_transform(proposal.transforms, transform, policy, reason)
                note(step)
                if not reason:
                    return IkeChoice(
                        policy,
                        _reply(payload, proposal, transform),
                        min(_lifetime(transform.attributes, policy.lifetime), policy.lifetime),
                        life_octets(transform.attributes),
                    )
                refusals.append(step)
    reasons = "; ".join(
        f"transform {r.transform} / policy {r.priority}: {r.text}" for r in refusals
    )
    raise ProtocolError(
        "no-proposal-chosen",
        reasons or ("nothing is offered" if policies else "no ISAKMP policy is configured"),
        seen="; ".join(
            told_ike(t.attributes) for p in payload.packet.proposals for t in p.transforms
        ),
        wanted=" or ".join(told_ike(ike_attributes(policy)) for policy in policies) or "no policy",
        config=", ".join(f"crypto isakmp policy {p.priority}" for p in policies)
        or "crypto isakmp policy 10",
        notify=NotifyType.NO_PROPOSAL_CHOSEN,
    )


def _check_protocol(proposal: Proposal, transform: Transform) -> str:
    if len(proposal.spi) > _SPI_OCTETS:
        return f"SPI of {len(proposal.spi)} octets offered, phase 1 has 0 to {_SPI_OCTETS}"
    if proposal.protocol_id != ProtocolId.ISAKMP:
        return f"Protocol {proposal.protocol_id} offered in phase 1"
    if transform.transform_id != IsakmpTransform.KEY_IKE:
        return f"Transform ID {transform.transform_id} offered is not KEY_IKE"
    return ""


def _reply(payload: Payload, proposal: Proposal, transform: Transform) -> SA:
    chosen = Proposal(
        number=proposal.number,
        protocol_id=proposal.protocol_id,
        spi=proposal.spi,
        transforms=[_same(transform)],
    )
    return SA(doi=payload.packet.doi, situation=payload.packet.situation, proposals=[chosen])


def _same(transform: Transform) -> Transform:
    """The transform exactly as offered (RFC 2408 section 4.2: the responder must not change it)."""
    return Transform(
        number=transform.number,
        transform_id=transform.transform_id,
        attributes=list(transform.attributes),
    )


def check_single_answer(payload: Payload, name: str) -> None:
    """A responder's SA payload holds what it chose and no more (RFC 2408 section 4.2)."""
    proposals = payload.packet.proposals
    if len(proposals) != 1 or len(proposals[0].transforms) != 1:
        raise ProtocolError(
            "proposal-syntax",
            f"{name} must hold one proposal with one transform",
            seen=count_offers(proposals),
            wanted="1 proposal with 1 transform",
            notify=NotifyType.BAD_PROPOSAL_SYNTAX,
        )


def accept_choice(
    payload: Payload, policies: Sequence[IsakmpPolicy], note: Note = lambda tried: None
) -> IkeChoice:
    """The initiator's look at message 2: exactly one transform, one that was offered.

    note: is told which policy of ours it is.
    """
    check_doi(payload)
    check_single_answer(payload, "the answer")
    [transform] = payload.packet.proposals[0].transforms
    for policy in policies:
        offered = {kind: number_of(value) for kind, value in ike_attributes(policy)}
        answered = {kind: number_of(value) for kind, value in transform.attributes}
        if len(answered) == len(transform.attributes) and answered == offered:
            note(try_transform([transform], transform, policy, ""))
            octets = life_octets(transform.attributes)
            return IkeChoice(policy, payload.packet, policy.lifetime, octets)
    raise ProtocolError(
        "proposal-not-offered",
        "the transform in message 2 is none of those in message 1",
        seen=told_ike(transform.attributes),
        wanted=" or ".join(told_ike(ike_attributes(policy)) for policy in policies),
        notify=NotifyType.NO_PROPOSAL_CHOSEN,
    )


# --- phase 2 ----------------------------------------------------------------------------------


def ipsec_attributes(
    flow: IpsecFlow, transform_set: TransformSet, modes: Modes = PLAIN_MODES
) -> list[tuple[int, int | bytes]]:
    """The attributes of one transform set, in the order the guide's debug prints them."""
    attributes: list[tuple[int, int | bytes]] = [
        (IpsecAttribute.ENCAPSULATION_MODE, modes[transform_set.mode]),
        (IpsecAttribute.SA_LIFE_TYPE, int(LifeType.SECONDS)),
        (IpsecAttribute.SA_LIFE_DURATION, _duration(flow.lifetime_seconds)),
        (IpsecAttribute.SA_LIFE_TYPE, int(LifeType.KILOBYTES)),
        (IpsecAttribute.SA_LIFE_DURATION, _duration(flow.lifetime_kilobytes)),
    ]
    if transform_set.authentication is not None:
        attributes.append(
            (IpsecAttribute.AUTHENTICATION_ALGORITHM, int(transform_set.authentication))
        )
    if transform_set.key_length is not None:
        attributes.append((IpsecAttribute.KEY_LENGTH, transform_set.key_length))
    if flow.pfs is not None:
        attributes.append((IpsecAttribute.GROUP_DESCRIPTION, int(flow.pfs)))
    return attributes


def offer_transform_sets(flow: IpsecFlow, spi: bytes, modes: Modes = PLAIN_MODES) -> SA:
    """The SA payload of quick mode message 1: one proposal a transform set, best first.

    modes: the numbers of the encapsulation modes, which are others where there is a NAT.
    """
    proposals = [
        Proposal(
            number=number,
            protocol_id=ProtocolId.ESP,
            spi=spi,
            transforms=[
                Transform(
                    number=1,
                    transform_id=int(transform_set.encryption),
                    attributes=ipsec_attributes(flow, transform_set, modes),
                )
            ],
        )
        for number, transform_set in enumerate(flow.transform_sets, start=1)
    ]
    return SA(doi=Doi.IPSEC, situation=Situation.IDENTITY_ONLY, proposals=proposals)


@dataclass(frozen=True, slots=True)
class _IpsecOffer:
    """What the attributes of one phase 2 transform say. None: not said."""

    mode: int | None = None
    authentication: int | None = None
    key_length: int | None = None
    group: int | None = None
    seconds: int = 28800  # RFC 2407 section 4.5: the default when no lifetime is offered
    kilobytes: int = 0


def _read_ipsec_attributes(attributes: Attributes) -> _IpsecOffer:
    offer, life_type = _IpsecOffer(), None
    for kind, raw in attributes:
        value = number_of(raw)
        match kind:
            case IpsecAttribute.SA_LIFE_TYPE:
                life_type = value
            case IpsecAttribute.SA_LIFE_DURATION if life_type == LifeType.SECONDS:
                offer, life_type = replace(offer, seconds=value), None
            case IpsecAttribute.SA_LIFE_DURATION if life_type == LifeType.KILOBYTES:
                offer, life_type = replace(offer, kilobytes=value), None
            case IpsecAttribute.ENCAPSULATION_MODE:
                offer = replace(offer, mode=value)
            case IpsecAttribute.AUTHENTICATION_ALGORITHM:
                offer = replace(offer, authentication=value)
            case IpsecAttribute.KEY_LENGTH:
                offer = replace(offer, key_length=value)
            case IpsecAttribute.GROUP_DESCRIPTION:
                offer = replace(offer, group=value)
            case _:
                raise ProtocolError(
                    "attribute-not-supported",
                    f"phase 2 attribute {kind}",
                    seen=kind,
                    wanted="1 to 6 (RFC 2407 section 4.5)",
                    notify=NotifyType.ATTRIBUTES_NOT_SUPPORTED,
                )
    return offer


def _match_transform_set(
    transform: Transform,
    offer: _IpsecOffer,
    wanted: TransformSet,
    modes: Modes,
) -> str:
    if transform.transform_id != wanted.encryption:
        return f"ESP transform {transform.transform_id}, wanted {wanted.encryption.name}"
    if offer.key_length != wanted.key_length:
        return f"key length {offer.key_length}, wanted {wanted.key_length}"
    if offer.authentication != wanted.authentication:
        wanted_name = wanted.authentication.name if wanted.authentication else "none"
        return f"authenticator {offer.authentication}, wanted {wanted_name}"
    if (offer.mode or EncapsulationMode.TUNNEL) != modes[wanted.mode]:
        return f"encaps is {offer.mode}, wanted {modes[wanted.mode]} ({wanted.mode.name.title()})"
    if not offer.seconds:
        return "a lifetime of no seconds"
    return ""


def _is_esp_spi(spi: bytes) -> bool:
    """Four octets, above the 256 values that are reserved (RFC 2406 section 2.1)."""
    return len(spi) == 4 and int.from_bytes(spi, "big") > 255


def choose_transform_set(
    payload: Payload,
    flow: IpsecFlow,
    modes: Modes = PLAIN_MODES,
    note: IpsecNote = lambda tried: None,
    unasked: Collection[Group] = (),
) -> IpsecChoice:
    """The first proposal that fits one of the flow's transform sets, in our order of preference.

    Serves both sides: the responder over the whole offer, the initiator over the single answer.
    note: is told of every step. unasked: groups of PFS that are taken where the flow wants none.
    Raises ProtocolError pfs-mismatch where nothing but the group differs, else no-proposal-chosen,
    with every reason.
    """
    check_doi(payload)
    refusals: list[str] = []
    groups: list[int | None] = []  # of what would fit otherwise
    for wanted in flow.transform_sets:
        for proposal in payload.packet.proposals:
            if proposal.protocol_id != ProtocolId.ESP or not _is_esp_spi(proposal.spi):
                refusals.append(f"proposal {proposal.number} is not ESP with an SPI of 4 octets")
                continue
            for transform in proposal.transforms:
                offer = _read_ipsec_attributes(transform.attributes)
                reason = _match_transform_set(transform, offer, wanted, modes)
                if not reason and not _fits_pfs(offer.group, flow.pfs, unasked):
                    reason = f"PFS group {offer.group}, wanted {_group_told(flow.pfs)}"
                    groups.append(offer.group)
                attributes = written(transform.attributes)
                number, kind = transform.number, int(transform.transform_id)
                note(IpsecTried(proposal.number, number, kind, attributes, reason))
                if not reason:
                    return _ipsec_choice(wanted, proposal, transform, offer, flow)
                refusals.append(f"proposal {proposal.number} / {wanted.name}: {reason}")
    if groups:
        raise ProtocolError(
            "pfs-mismatch",
            "; ".join(refusals),
            notify=NotifyType.NO_PROPOSAL_CHOSEN,
            payload="SA",
            seen=" or ".join(f"PFS group {_group_told(group)}" for group in dict.fromkeys(groups)),
            wanted=f"PFS group {_group_told(flow.pfs)}",
            config=f"set pfs group{flow.pfs.value}" if flow.pfs else "no set pfs",
        )
    raise ProtocolError(
        "no-proposal-chosen",
        "; ".join(refusals),
        notify=NotifyType.NO_PROPOSAL_CHOSEN,
        seen="; ".join(
            told_ipsec(t.transform_id, t.attributes)
            for p in payload.packet.proposals
            for t in p.transforms
        ),
        wanted=" or ".join(wanted.name for wanted in flow.transform_sets) or "no transform set",
        config=f"set transform-set {' '.join(wanted.name for wanted in flow.transform_sets)}",
    )


def _fits_pfs(offered: int | None, wanted: Group | None, unasked: Collection[Group]) -> bool:
    return offered == wanted or (wanted is None and offered in unasked)


def _group_told(group: int | None) -> str:
    return "none" if group is None else str(int(group))


def _ipsec_choice(
    wanted: TransformSet,
    proposal: Proposal,
    transform: Transform,
    offer: _IpsecOffer,
    flow: IpsecFlow,
) -> IpsecChoice:
    reply = Proposal(
        number=proposal.number,
        protocol_id=proposal.protocol_id,
        spi=proposal.spi,
        transforms=[_same(transform)],
    )
    kilobytes = min(offer.kilobytes or flow.lifetime_kilobytes, flow.lifetime_kilobytes)
    return IpsecChoice(
        wanted,
        bytes(proposal.spi),
        reply,
        min(offer.seconds, flow.lifetime_seconds),
        kilobytes,
        Group(offer.group) if offer.group is not None else None,
    )


def answer_with_spi(choice_reply: Proposal, spi: bytes) -> SA:
    """The SA payload of quick mode message 2: the chosen proposal with our own SPI."""
    proposal = Proposal(
        number=choice_reply.number,
        protocol_id=choice_reply.protocol_id,
        spi=spi,
        transforms=choice_reply.transforms,
    )
    return SA(doi=Doi.IPSEC, situation=Situation.IDENTITY_ONLY, proposals=[proposal])
