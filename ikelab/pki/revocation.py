"""A router's CRL cache and the check of a peer's certificates (RFC 5280 sections 5 and 6).

`check` builds a path, verifies its signatures and dates, and only then asks the web server named
in the verified certificates for a CRL: an impostor cannot make a router fetch anything. Revocation
is looked up at every authentication; nothing here remembers that a peer was once accepted
(CVE-2011-0935 is the story of a router that did). What is remembered is that a signature holds.

Where a CA publishes several CRLs, by place or reason, all that a certificate needs are fetched;
deltas (FreshestCRL) too, but without one the complete CRL stands.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address
from urllib.parse import urlsplit

from ikelab.errors import PkiError
from ikelab.pki.chain import build_path, build_paths, find_crl_signer, first_unknown, validate
from ikelab.pki.crl import Crl, load_crl
from ikelab.pki.crl_status import check_crl_dates, is_of_wrong_clock
from ikelab.pki.distribution_point import DistributionPoint
from ikelab.pki.enrollment_events import Trust
from ikelab.pki.events import CrlInstalled, CrlRefused, HttpFailed, HttpReply, HttpRequest
from ikelab.pki.x509 import Certificate, format_name, load_certificate, names_match
from ikelab.types import Now

# "Parsed CRL cache maximum size is 65536 bytes", in the guide's `show crypto pki crls`.
CACHE_LIMIT = 65536

CRL_SECONDS = 5.0
"""How long a CRL may take to come, from the first octet sent to the last received."""

BY_SCEP = "scep:"
"""With a trustpoint's name behind it, where its CA is to be asked; never from a certificate."""

_MAX_WAITING = 256  # checks of handshakes that wait for CRLs at one time
_MAX_CERTIFICATES = 16  # of one peer; the longest chain of any CA hierarchy here has four
_MAX_URL = 1024
_ENDS_IN_NUMBER = re.compile(r"(?:^|\.)(?:[0-9]+|0x[0-9a-f]*)\.?$")


@dataclass(frozen=True, slots=True)
class PathAccepted:
    """Action: the certificates of `check` hold. path: DER, the peer's first, the anchor last."""

    handle: int
    trustpoint: str
    path: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class PathRefused:
    """Action: they do not. reason: short name ("revoked", "expired"); detail: a sentence."""

    handle: int
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class CachedCrl:
    """A CRL in the cache. issuer: the CA certificate that verified it. url: where it came from.

    superseded: a newer one is there; it is only counted until its own nextUpdate, as the guide's
    cache of 458 octets (218 + 240) shows.
    """

    crl: Crl
    issuer: Certificate
    url: str
    superseded: bool = False


RevocationAction = HttpRequest | CrlInstalled | CrlRefused | PathAccepted | PathRefused


@dataclass(slots=True)
class _Check:
    """A peer waiting for its verdict.

    others: certificates at hand beside the path. asked: URLs fetched for this check, each once: two
    CRLs that do not fit into the cache together must not chase each other for ever. failed: why a
    URL gave nothing.
    """

    handle: int
    path: Sequence[Certificate]
    others: Sequence[Certificate]
    trust: Trust
    asked: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Fetch:
    """A request in flight, and who waits for it. ca: path of the CA whose CRL it should be."""

    url: str
    ca: Sequence[Certificate]
    trustpoint: str
    waiting: list[_Check] = field(default_factory=list)


class RevocationChecker:
    """Checks of peers' certificates, and the CRLs they need.

    legacy: MD5, SHA-1 and short keys are taken. limit: octets of DER in the cache.
    """

    def __init__(self, legacy: bool = False, limit: int = CACHE_LIMIT) -> None:
        self._limit = limit
        self._legacy = legacy
        self._cache: list[CachedCrl] = []
        self._fetches: dict[str, _Fetch] = {}
        self._sent = 0

    @property
    def limit(self) -> int:
        """Octets of DER that the cache may hold, and one CRL may have."""
        return self._limit

    def set_limit(self, limit: int) -> None:
        """`crypto pki crl cache size`: what has no room any more goes."""
        self._limit = limit
        self._make_room()

    def check(
        self, handle: int, certificates: Sequence[bytes], trusts: Sequence[Trust], now: Now
    ) -> list[RevocationAction]:
        """Start a check; its verdict comes now or after a fetch. certificates: leaf first.

        trusts: the trustpoints that may vouch for the peer, the first that can does.
        """
        try:
            check = _start(handle, certificates, trusts, now.wall, self._legacy)
        except PkiError as error:
            return [PathRefused(handle, error.reason, error.detail)]
        return self._advance(check, now)

    def handle(self, event: HttpReply | HttpFailed, now: Now) -> list[RevocationAction]:
        """The answer to an `HttpRequest` of this cache; others are not ours and change nothing."""
        fetch = self._fetches.pop(event.handle, None)
        if fetch is None:
            return []
        actions: list[RevocationAction] = []
        name = format_name(fetch.ca[0].subject)
        try:
            crl = self._accept(fetch, event, now.wall)
            actions.append(CrlInstalled(name, fetch.url, len(crl.der)))
        except PkiError as error:
            actions.append(_refused_crl(fetch, name, event, error, now.wall))
            for check in fetch.waiting:
                check.failed[fetch.url] = str(error)
        for check in fetch.waiting:
            actions += self._advance(check, now)
        return actions

    def request(self, url: str, issuer: bytes, trustpoint: str = "") -> list[RevocationAction]:
        """`crypto pki crl request`: fetch now, whatever the cache holds. issuer: DER."""
        certificate = load_certificate(issuer)
        reason = "" if url.startswith(BY_SCEP) else _url_fault(url)
        if reason:
            return [CrlRefused(format_name(certificate.subject), url, reason)]
        return self._fetch(url, (certificate,), None, trustpoint)

    def entries(self, now: datetime) -> tuple[CachedCrl, ...]:
        """What the cache holds, the oldest first; an outdated CRL is not there any more."""
        self._drop_outdated(now)
        return tuple(self._cache)

    def size(self, now: datetime) -> int:
        """Octets of DER in the cache."""
        return sum(len(entry.crl.der) for entry in self.entries(now))

    def clear(self) -> None:
        """`clear crypto pki crls`."""
        self._cache.clear()

    # --- verdicts ---------------------------------------------------------------------------------

    def _advance(self, check: _Check, now: Now) -> list[RevocationAction]:
        """Go through the trustpoint's methods until one gives a verdict or must wait."""
        accepted = PathAccepted(
            check.handle, check.trust.trustpoint, tuple(item.der for item in check.path)
        )
        fault = ""
        for method in check.trust.revocation_check:
            if method == "none":
                return [accepted]
            unknown = first_unknown(
                check.path, now.wall, self._crls(), others=check.others, legacy=self._legacy
            )
            if unknown is None:
                return self._fetch_delta(check, now.wall) or [self._verdict(check, accepted, now)]
            position, error = unknown
            places = self._places(check, position)
            url = next((url for url in places if url not in check.asked), None)
            if url is None:
                fault = self._why_unknown(check, check.path[position], places, error)
            elif self._is_busy():
                fault = f"{_MAX_WAITING} checks wait for CRLs already"
            else:
                return self._fetch_for(check, url, position)
        return [PathRefused(check.handle, "crl-unavailable", fault)]

    def _is_busy(self) -> bool:
        return sum(len(fetch.waiting) for fetch in self._fetches.values()) >= _MAX_WAITING

    def _places(self, check: _Check, position: int) -> list[str]:
        """Where CRLs of a certificate may be had: at its CA itself only where it names nothing."""
        points, issuer = check.path[position].crl_points, check.path[position + 1]
        if not points and issuer.der in check.trust.by_scep:
            return [BY_SCEP + check.trust.trustpoint]
        return list(_urls(points))

    def _why_unknown(
        self, check: _Check, certificate: Certificate, urls: Sequence[str], error: PkiError
    ) -> str:
        """For a person: why all places of its CRLs did not help."""
        if not urls:
            return f"{format_name(certificate.subject)} names no CRL that can be fetched"
        for url in urls:
            if url in check.failed:
                return f"{url}: {check.failed[url]}"
        held = {entry.url for entry in self._cache}
        lost = next((url for url in urls if url not in held), None)
        return error.detail if lost is None else f"{lost}: the cache is too small for it"

    def _fetch_for(self, check: _Check, url: str, position: int) -> list[RevocationAction]:
        """Ask for a CRL that the certificate at that position of the path needs."""
        check.asked.add(url)
        return self._fetch(url, check.path[position + 1 :], check, check.trust.trustpoint)

    def _fetch_delta(self, check: _Check, at: datetime) -> list[RevocationAction]:
        """Ask for a delta that is announced and not here; [] where there is none, or no time."""
        deltas = {entry.url for entry in self._current(at) if entry.crl.is_delta}
        for position, certificate in enumerate(check.path[:-1]):
            points = list(certificate.fresh_points)
            for entry in self._current(at):
                if names_match(entry.crl.issuer, certificate.issuer):
                    points += entry.crl.fresh_points
            for url in _urls(points):
                if url not in check.asked | deltas and not self._is_busy():
                    return self._fetch_for(check, url, position)
        return []

    def _verdict(
        self, check: _Check, accepted: PathAccepted, now: Now
    ) -> PathAccepted | PathRefused:
        try:
            validate(
                check.path,
                check.path[-1:],
                now.wall,
                self._crls(),
                "crl",
                others=check.others,
                legacy=self._legacy,
            )
        except PkiError as error:
            return PathRefused(check.handle, error.reason, error.detail)
        return accepted

    # --- cache ------------------------------------------------------------------------------------

    def _crls(self) -> list[Crl]:
        """The newest of each kind; whether they are current is for the validation to say."""
        return [entry.crl for entry in self._cache if not entry.superseded]

    def _current(self, at: datetime) -> list[CachedCrl]:
        self._drop_outdated(at)
        return [entry for entry in self._cache if not entry.superseded]

    def _newest(self, new: CachedCrl) -> CachedCrl | None:
        """Of the same kind: by name and key, since another CA of the name has its own CRLs."""
        for entry in reversed(self._cache):
            same_key = entry.issuer.public_key_info == new.issuer.public_key_info
            same_kind = (entry.crl.is_delta, entry.crl.scope) == (new.crl.is_delta, new.crl.scope)
            if same_key and same_kind and names_match(entry.crl.issuer, new.crl.issuer):
                return entry
        return None

    def _fetch(
        self, url: str, ca: Sequence[Certificate], check: _Check | None, trustpoint: str
    ) -> list[RevocationAction]:
        """Ask for a CRL, or wait with those who have asked already: one in flight per URL."""
        waiting = [] if check is None else [check]
        for fetch in self._fetches.values():
            if (fetch.url, fetch.ca[0].der) == (url, ca[0].der):
                fetch.waiting += waiting
                return []
        self._sent += 1
        handle = f"crl {self._sent}"
        self._fetches[handle] = _Fetch(url, ca, trustpoint, waiting)
        return [HttpRequest(handle, "GET", url, limit=self._limit, seconds=CRL_SECONDS)]

    def _accept(self, fetch: _Fetch, event: HttpReply | HttpFailed, at: datetime) -> Crl:
        """Verify what was fetched and cache it. Raises PkiError; the cache is then as before."""
        if isinstance(event, HttpFailed):
            reason = "crl-too-large" if event.too_large else "crl-unavailable"
            raise PkiError(reason, event.reason)
        if event.status != 200:
            raise PkiError("crl-unavailable", f"HTTP status {event.status}")
        if len(event.body) > self._limit:
            raise PkiError(
                "crl-too-large", f"{len(event.body)} octets; the cache has room for {self._limit}"
            )
        crl = load_crl(event.body)
        others = dict.fromkeys(item for check in fetch.waiting for item in check.others)
        signer = find_crl_signer(crl, fetch.ca, at, others=others, legacy=self._legacy)
        check_crl_dates(crl, at)
        self._install(CachedCrl(crl, signer, fetch.url), at)
        return crl

    def _install(self, new: CachedCrl, at: datetime) -> None:
        self._drop_outdated(at)
        old = self._newest(new)
        if old is not None:
            if old.crl.der == new.crl.der:
                return
            _refuse_older(new.crl, old.crl)
            self._cache[self._cache.index(old)] = replace(old, superseded=True)
        self._cache.append(new)
        self._make_room()

    def _drop_outdated(self, at: datetime) -> None:
        self._cache = [
            entry
            for entry in self._cache
            if entry.crl.next_update is not None
            and at < entry.crl.next_update
            and not is_of_wrong_clock(entry.crl.this_update, at)
        ]

    def _make_room(self) -> None:
        """Superseded CRLs go first, then the one fetched longest ago."""
        while sum(len(entry.crl.der) for entry in self._cache) > self._limit:
            gone = next((item for item in self._cache if item.superseded), self._cache[0])
            self._cache.remove(gone)


def _start(
    handle: int, certificates: Sequence[bytes], trusts: Sequence[Trust], at: datetime, legacy: bool
) -> _Check:
    """A check with the first path to an anchor whose signatures and dates hold.

    Raises the PkiError that says most: an unknown issuer only if no trustpoint knew it.
    """
    if not certificates:
        raise PkiError("no-certificate", "the peer sent no certificate")
    if len(certificates) > _MAX_CERTIFICATES:
        raise PkiError("too-many-certificates", f"{len(certificates)}, at most {_MAX_CERTIFICATES}")
    # Peers send the CAs of their chain with their own certificate: mostly our anchors, again.
    ours = {der for trust in trusts for der in (*trust.anchors, *trust.below)}
    leaf, *others = [
        (_load_anchor if der in ours else load_certificate)(der) for der in certificates
    ]
    fault = PkiError("untrusted-issuer", f"no trustpoint knows {format_name(leaf.issuer)}")
    for trust in trusts:
        anchors = [_load_anchor(der) for der in trust.anchors]
        at_hand = [*others, *(_load_anchor(der) for der in trust.below)]
        try:
            path = _valid_path(leaf, at_hand, anchors, at, legacy)
        except PkiError as error:
            if fault.reason == "untrusted-issuer":
                fault = error
            continue
        return _Check(handle, path, (*at_hand, *anchors), trust)
    raise fault


@lru_cache(maxsize=64)
def _load_anchor(der: bytes) -> Certificate:
    """`load_certificate`, which depends on the octets alone. Never for what only a peer sent."""
    return load_certificate(der)


def _valid_path(
    leaf: Certificate,
    others: Sequence[Certificate],
    anchors: Sequence[Certificate],
    at: datetime,
    legacy: bool,
) -> Sequence[Certificate]:
    """The first of all paths that holds; with none, why the likeliest does not."""
    fault: PkiError | None = None
    for path in build_paths(leaf, others, anchors, at=at):
        try:
            validate(path, anchors, at, (), "none", legacy=legacy)
        except PkiError as error:
            fault = fault or error
            continue
        return path
    if fault is not None:
        raise fault
    return build_path(leaf, others, anchors, at=at)  # raises, with the reason


def _urls(points: Sequence[DistributionPoint]) -> Iterator[str]:
    """All URLs that may be fetched."""
    return (url for point in points for url in point.urls if not _url_fault(url))


def _refused_crl(
    fetch: _Fetch, issuer: str, event: HttpReply | HttpFailed, error: PkiError, at: datetime
) -> CrlRefused:
    """What is said of it; of one from the future, both dates."""
    refused = CrlRefused(issuer, fetch.url, str(error), fetch.trustpoint)
    if error.reason != "crl-not-yet-valid" or not isinstance(event, HttpReply):
        return refused
    return replace(refused, published=load_crl(event.body).this_update, clock=at)


def _refuse_older(new: Crl, old: Crl) -> None:
    """A CRL that was replayed, or that goes back: by number where both have one, and by date."""
    numbers = f"CRL {new.number} of {new.this_update:%Y-%m-%d %H:%M:%S} after CRL {old.number} of"
    if new.this_update < old.this_update or (
        new.number is not None and old.number is not None and new.number <= old.number
    ):
        raise PkiError("crl-older", f"{numbers} {old.this_update:%Y-%m-%d %H:%M:%S}")


def _url_fault(url: str) -> str:
    """Why a CRL is not fetched from a URL, "" if it may be.

    Only plain HTTP, and no address that means this router itself or the link: the URL is the CA's
    word, but a CA can be fooled into signing one (CVE-2022-40617 and kin).
    """
    if len(url) > _MAX_URL or not url.isascii() or not url.isprintable() or " " in url:
        return "not a URL that can be asked for"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "not a URL"
    if parts.scheme != "http" or not host or port == 0 or parts.username is not None:
        return "only http:// with a host name or address is fetched"
    try:
        address = IPv4Address(host)
    except AddressValueError:
        if host == "localhost" or ":" in host:
            return "a host of this machine only"
        # inet_aton takes 127.1 and 0x7f000001 for addresses: a name does not end in a number.
        return f"{host} is no dotted address" if _ENDS_IN_NUMBER.search(host) else ""
    if address.is_loopback or address.is_link_local or address.is_multicast or int(address) == 0:
        return f"{address} is an address of this machine or link only"
    return ""
