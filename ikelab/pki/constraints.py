"""Name constraints (RFC 5280 section 4.2.1.10): which names a CA may certify."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from ikelab.errors import PkiError
from ikelab.pki import der
from ikelab.pki.extensions import (
    DIRECTORY_NAME,
    DNS_NAME,
    IP_ADDRESS,
    RFC822_NAME,
    URI,
    GeneralName,
    NameConstraints,
)
from ikelab.pki.name import brief_name, is_within, name_values
from ikelab.pki.x509 import Certificate


def check_names(certificate: Certificate, constraints: NameConstraints, issuer: str) -> None:
    """Every name of a certificate against a CA's subtrees. issuer: whose, for the message.

    A name of a kind that is constrained, but that nothing here can compare, is refused. Raises
    PkiError("name-constraints").
    """
    kinds = {base.tag for base in (*constraints.permitted, *constraints.excluded)}
    for name in _names(certificate):
        if name.tag == URI and URI in kinds and not _uri_host(name.value):
            raise _refused(name, "constrains hosts, which leaves no room for", issuer)
        if _is_in(name, constraints.excluded, unknown=True):
            raise _refused(name, "excludes", issuer)
        permitted = [base for base in constraints.permitted if base.tag == name.tag]
        if permitted and not _is_in(name, permitted, unknown=False):
            raise _refused(name, "does not permit", issuer)


def _names(certificate: Certificate) -> list[GeneralName]:
    """Subject, subjectAltName, and host names and e-mail addresses that stand in the subject."""
    names = list(certificate.alternative_names)
    if certificate.subject != der.sequence():
        names.append(GeneralName(DIRECTORY_NAME, certificate.subject))
    if not any(name.tag == RFC822_NAME for name in names):
        names += _ascii(RFC822_NAME, name_values(certificate.subject, "e"))
    # A router is known by its unstructuredName as by a dNSName, so it is constrained as one.
    names += _ascii(DNS_NAME, name_values(certificate.subject, "hostname"))
    return names


def _ascii(tag: int, texts: Sequence[str]) -> list[GeneralName]:
    return [GeneralName(tag, text.encode("utf-8", "replace")) for text in texts]


def _refused(name: GeneralName, verb: str, issuer: str) -> PkiError:
    what = brief_name(name.value) if name.tag == DIRECTORY_NAME else f"{name.value!r:.80}"
    return PkiError("name-constraints", f"{issuer} {verb} the name {what}")


def _is_in(name: GeneralName, subtrees: Sequence[GeneralName], *, unknown: bool) -> bool:
    """Whether a name is in one of the subtrees of its kind. unknown: the answer for odd kinds."""
    for base in subtrees:
        if base.tag != name.tag:
            continue
        compare = _COMPARISONS.get(name.tag)
        if compare is None:
            return unknown
        if compare(name.value, base.value):
            return True
    return False


def _dns_within(name: bytes, base: bytes) -> bool:
    """host.example.com is in example.com; an empty base holds all, .example.com not itself."""
    host, domain = name.lower().rstrip(b"."), base.lower().rstrip(b".")
    if domain.startswith(b"."):
        return host.endswith(domain)
    return not domain or host == domain or host.endswith(b"." + domain)


def _mail_within(name: bytes, base: bytes) -> bool:
    """base: one mailbox, all of a host, or (with a leading dot) all of a domain."""
    local, _, host = name.rpartition(b"@")
    host = host.lower()
    base_local, at, base_host = base.rpartition(b"@")
    base_host = base_host.lower()
    if at:
        return (local, host) == (base_local, base_host)
    return host.endswith(base_host) if base_host.startswith(b".") else host == base_host


def _uri_host(name: bytes) -> str:
    """Host of a URI, "" where it has none or it is an address."""
    try:
        host = (urlsplit(name.decode("ascii")).hostname or "").lower()
    except ValueError:
        return ""
    return "" if ":" in host or host.replace(".", "").isdigit() else host


def _uri_within(name: bytes, base: bytes) -> bool:
    """base: a host, or with a leading dot a domain."""
    wanted = base.decode("ascii", "replace").lower()
    host = _uri_host(name)
    return host.endswith(wanted) if wanted.startswith(".") else host == wanted


def _address_within(name: bytes, base: bytes) -> bool:
    """base: address and mask."""
    if len(base) != 2 * len(name):
        return False
    network, mask = base[: len(name)], base[len(name) :]
    return all(a & m == b & m for a, b, m in zip(name, network, mask, strict=True))


_COMPARISONS: dict[int, Callable[[bytes, bytes], bool]] = {
    DIRECTORY_NAME: is_within,
    DNS_NAME: _dns_within,
    RFC822_NAME: _mail_within,
    URI: _uri_within,
    IP_ADDRESS: _address_within,
}
