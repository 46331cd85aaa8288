"""Offers as the debug log and people are told of them: what was tried, why it did not fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ikelab.errors import ProtocolError
from ikelab.isakmp.policy import IsakmpPolicy
from ikelab.wire.numbers import IkeAttribute, NotifyType, PayloadType
from ikelab.wire.payloads import Proposal, Transform

Attributes = Sequence[tuple[int, int | bytes]]
NUMBER_OCTETS = 8  # of an attribute: lifetimes have 4


@dataclass(frozen=True, slots=True)
class Tried:
    """One offered transform beside one policy. text: why it does not fit, in IOS's words, or "".

    attributes: "1=5 2=1", a value of more than two octets in hexadecimal: "12=0x00015180".
    next_payload: 3 where another transform follows, else 0, as on the wire.
    """

    transform: int
    priority: int
    attributes: str
    next_payload: int
    text: str


@dataclass(frozen=True, slots=True)
class IpsecTried:
    """One offered phase 2 transform beside one of our sets; as `Tried`."""

    proposal: int
    transform: int
    transform_id: int
    attributes: str
    text: str


Note = Callable[[Tried], None]
IpsecNote = Callable[[IpsecTried], None]


def told(attributes: Attributes) -> str:
    """Attributes for a person, "1=5 2=2 14=256", in the RFC's numbers."""
    return " ".join(f"{int(kind)}={number_of(value)}" for kind, value in attributes)


def count_offers(proposals: Sequence[Proposal]) -> str:
    """How much an SA payload offers, for a person."""
    transforms = sum(len(proposal.transforms) for proposal in proposals)
    return f"{len(proposals)} proposals with {transforms} transforms"


def number_of(value: int | bytes) -> int:
    """An attribute's value. ProtocolError for what nobody needs: Python prints no 5000 digits."""
    if isinstance(value, int):
        return value
    if len(value) > NUMBER_OCTETS:
        raise ProtocolError(
            "attribute-not-supported",
            f"an attribute of {len(value)} octets",
            seen=f"{len(value)} octets",
            wanted=f"at most {NUMBER_OCTETS} octets",
            notify=NotifyType.ATTRIBUTES_NOT_SUPPORTED,
        )
    return int.from_bytes(value, "big")


def try_transform(
    offered: Sequence[Transform], transform: Transform, policy: IsakmpPolicy, text: str
) -> Tried:
    """A step of the walk over policies."""
    following = PayloadType.TRANSFORM if transform is not offered[-1] else PayloadType.NONE
    attributes = written(transform.attributes)
    return Tried(transform.number, policy.priority, attributes, int(following), text)


def written(attributes: Attributes) -> str:
    """Attributes with their values as they stand on the wire."""
    return " ".join(
        f"{int(kind)}={value}"
        if isinstance(value, int)
        else f"{int(kind)}=0x{value[:NUMBER_OCTETS].hex()}"
        for kind, value in attributes
    )


def life_octets(attributes: Attributes) -> int:
    """Octets of the lifetime's value, 0 where it is a basic attribute or not there."""
    for kind, value in attributes:
        if kind == IkeAttribute.LIFE_DURATION and isinstance(value, bytes):
            return len(value)
    return 0
