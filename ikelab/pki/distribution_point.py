"""Where CRLs lie and which certificates each of them covers (RFC 5280 sections 4.2.1.13, 5.2.5).

A CA may publish one CRL for everything or several: by place, by kind of certificate, by reason. A
certificate names places (`DistributionPoint`), a CRL says what it is for
(`IssuingDistributionPoint`); `covered_reasons` puts both together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ikelab.pki import der
from ikelab.pki.extensions import DIRECTORY_NAME, URI, GeneralName, read_general_names
from ikelab.pki.name import name_values, names_match

ISSUING_DISTRIBUTION_POINT = "2.5.29.28"
FRESHEST_CRL = "2.5.29.46"
# The bits of ReasonFlags that are in use: keyCompromise to aACompromise.
ALL_REASONS = frozenset(range(1, 9))
_MAX_POINTS = 64


@dataclass(frozen=True, slots=True)
class DistributionPoint:
    """A place of a CRL. names: any of them is it; reasons: bits of ReasonFlags found there.

    A place of another authority's CRLs than the issuer's (cRLIssuer) has no names: it is not used.
    """

    names: tuple[GeneralName, ...]
    reasons: frozenset[int] = ALL_REASONS

    @property
    def urls(self) -> tuple[str, ...]:
        """Those of the names that are URLs."""
        return tuple(name.text() for name in self.names if name.tag == URI)


@dataclass(frozen=True, slots=True)
class IssuingDistributionPoint:
    """What a CRL covers. names: its place, empty where any; reasons: bits of ReasonFlags."""

    names: tuple[GeneralName, ...] = ()
    only_users: bool = False
    only_cas: bool = False
    only_attributes: bool = False
    is_indirect: bool = False
    reasons: frozenset[int] = ALL_REASONS


# --- reading --------------------------------------------------------------------------------------


def read_distribution_points(value: bytes, issuer: bytes) -> tuple[DistributionPoint, ...]:
    """CRLDistributionPoints, or FreshestCRL. issuer: the certificate's or the CRL's, DER."""
    entries = der.parse(value).expect(der.SEQUENCE).children()
    if not 0 < len(entries) <= _MAX_POINTS:
        raise der.malformed(f"{len(entries)} distribution points, not 1 to {_MAX_POINTS}")
    return tuple(_read_point(entry, issuer) for entry in entries)


def _read_point(entry: der.Element, issuer: bytes) -> DistributionPoint:
    fields = entry.fields()
    point, reasons, owner = fields.take_if(0xA0), fields.take_if(0x81), fields.take_if(0xA2)
    fields.finish()
    if owner is not None:
        return DistributionPoint(())
    return DistributionPoint(
        () if point is None else _read_names(point, issuer), _read_reasons(reasons)
    )


def read_issuing_distribution_point(value: bytes, issuer: bytes) -> IssuingDistributionPoint:
    """The extension of a CRL of that issuer."""
    element = der.parse(value)
    if not element.content:
        raise der.malformed("an issuingDistributionPoint that says nothing")
    fields = element.fields()
    point = fields.take_if(0xA0)
    users, cas = _read_flag(fields, 0x81), _read_flag(fields, 0x82)
    reasons = fields.take_if(0x83)
    indirect, attributes = _read_flag(fields, 0x84), _read_flag(fields, 0x85)
    fields.finish()
    if users + cas + attributes > 1:
        raise der.malformed("a CRL for two of: users only, CAs only, attributes only")
    return IssuingDistributionPoint(
        names=() if point is None else _read_names(point, issuer),
        only_users=users,
        only_cas=cas,
        only_attributes=attributes,
        is_indirect=indirect,
        reasons=_read_reasons(reasons),
    )


def _read_flag(fields: der.Fields, tag: int) -> bool:
    element = fields.take_if(tag)
    return element is not None and element.boolean(tag)


def _read_names(point: der.Element, issuer: bytes) -> tuple[GeneralName, ...]:
    """DistributionPointName: full, or an RDN that is appended to the issuer's name."""
    choice = point.only()
    if choice.tag == 0xA0:
        names = read_general_names(choice)
        for name in names:
            if name.tag == URI:
                name.text()  # must be sound: it is shown and fetched
        if not names:
            raise der.malformed("a distribution point without a name")
        return names
    if choice.tag != 0xA1:
        raise der.malformed(f"tag 0x{choice.tag:02x} as the name of a distribution point")
    whole = der.sequence(der.parse(issuer).content, der.tlv(der.SET, choice.content))
    name_values(whole)  # must be a Name
    return (GeneralName(DIRECTORY_NAME, whole),)


def _read_reasons(element: der.Element | None) -> frozenset[int]:
    if element is None:
        return ALL_REASONS
    octets, unused = element.bits(element.tag)
    bits = "".join(f"{octet:08b}" for octet in octets)[: 8 * len(octets) - unused]
    return frozenset(at for at, bit in enumerate(bits) if bit == "1") & ALL_REASONS


# --- what is covered ------------------------------------------------------------------------------


def covered_reasons(
    scope: IssuingDistributionPoint | None,
    points: Sequence[DistributionPoint],
    issuer: bytes,
    *,
    is_ca: bool,
) -> frozenset[int]:
    """The reasons for which a CRL of that scope tells a certificate's status; may be none.

    points, is_ca: the certificate's. issuer: its issuer, whose name is one more place (RFC 5280
    section 6.3.3, last paragraph). Indirect CRLs cover nothing here.
    """
    if scope is None:
        return ALL_REASONS
    if scope.is_indirect or scope.only_attributes or (scope.only_users and is_ca):
        return frozenset()
    if scope.only_cas and not is_ca:
        return frozenset()
    if not scope.names:
        return scope.reasons
    places = (*points, DistributionPoint((GeneralName(DIRECTORY_NAME, issuer),)))
    there: frozenset[int] = frozenset()
    for place in places:
        if _have_common_name(place.names, scope.names):
            there |= place.reasons
    return scope.reasons & there


def _have_common_name(ones: Sequence[GeneralName], others: Sequence[GeneralName]) -> bool:
    return any(_is_same(one, other) for one in ones for other in others)


def _is_same(one: GeneralName, other: GeneralName) -> bool:
    if one.tag != other.tag:
        return False
    if one.tag == DIRECTORY_NAME:
        return names_match(one.value, other.value)
    return one.value == other.value
