"""Offers as the debug log and people are told of them: what was tried, why it did not fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from ikelab.errors import ProtocolError
from ikelab.isakmp.policy import IsakmpPolicy
from ikelab.wire.numbers import (
    AuthAlgorithm,
    AuthMethod,
    EncapsulationMode,
    EncryptionAlgorithm,
    EspTransform,
    HashAlgorithm,
    IkeAttribute,
    IpsecAttribute,
    LifeType,
    NotifyType,
    PayloadType,
)
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


_Names = Mapping[int, tuple[str, type[IntEnum] | None]]  # attribute -> its name, names of values
_IKE_NAMES: _Names = {
    IkeAttribute.ENCRYPTION_ALGORITHM: ("encryption", EncryptionAlgorithm),
    IkeAttribute.HASH_ALGORITHM: ("hash", HashAlgorithm),
    IkeAttribute.AUTHENTICATION_METHOD: ("authentication", AuthMethod),
    IkeAttribute.GROUP_DESCRIPTION: ("group", None),
    IkeAttribute.LIFE_TYPE: ("life in", LifeType),
    IkeAttribute.LIFE_DURATION: ("life", None),
    IkeAttribute.KEY_LENGTH: ("key length", None),
}
_IPSEC_NAMES: _Names = {
    IpsecAttribute.SA_LIFE_TYPE: ("life in", LifeType),
    IpsecAttribute.SA_LIFE_DURATION: ("life", None),
    IpsecAttribute.GROUP_DESCRIPTION: ("group", None),
    IpsecAttribute.ENCAPSULATION_MODE: ("mode", EncapsulationMode),
    IpsecAttribute.AUTHENTICATION_ALGORITHM: ("authentication", AuthAlgorithm),
    IpsecAttribute.KEY_LENGTH: ("key length", None),
}


def told_ike(attributes: Attributes) -> str:
    """Phase 1 attributes for a person: "encryption AES_CBC, group 14"; numbers without a name."""
    return _told(attributes, _IKE_NAMES)


def told_ipsec(transform_id: int, attributes: Attributes) -> str:
    """A phase 2 transform for a person: "ESP_AES, key length 256"."""
    return ", ".join(
        filter(None, (_value(transform_id, EspTransform), _told(attributes, _IPSEC_NAMES)))
    )


def _told(attributes: Attributes, names: _Names) -> str:
    told = []
    for kind, value in attributes:
        name, values = names.get(kind, (f"attribute {int(kind)}", None))
        told.append(f"{name} {_value(number_of(value), values)}")
    return ", ".join(told)


def _value(number: int, names: type[IntEnum] | None) -> str:
    return next((one.name for one in names or () if one == number), str(number))


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
