"""E03, E04, E06, E07: what a peer's certificates can make a router fetch, hold and believe."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache

from ikelab.pki import der
from ikelab.pki.algorithms import sign
from ikelab.pki.crl import build_crl
from ikelab.pki.enrollment_events import Trust
from ikelab.pki.events import CrlRefused, HttpFailed, HttpReply, HttpRequest
from ikelab.pki.revocation import CACHE_LIMIT, PathAccepted, PathRefused, RevocationChecker
from ikelab.types import Now
from tests.hostile.registry import Seen, Shot, case
from tests.pki_samples import NOW, authority, router, rsa_key

URL = "http://198.51.100.9/root-ca.crl"
ROOT = authority("root-ca")
GOOD = router("good.example.com", serial=2)


@cache
def crl(*revoked: int, entries: int = 0, number: int = 7) -> bytes:
    listed = [(serial, NOW - timedelta(days=1), None) for serial in revoked]
    listed += [(serial, NOW - timedelta(days=1), None) for serial in range(1000, 1000 + entries)]
    return build_crl(
        issuer=ROOT.subject,
        this_update=NOW - timedelta(hours=1),
        next_update=NOW + timedelta(hours=5),
        number=number,
        revoked=listed,
        key=rsa_key("root-ca"),
        digest="sha256",
        authority_key_id=ROOT.subject_key_id,
    )


@dataclass
class RouterTarget:
    """A router's check of peers. web: what lies under a URL. fetched: what was asked for."""

    checker: RevocationChecker = field(default_factory=RevocationChecker)
    web: dict[str, bytes] = field(default_factory=lambda: {URL: crl()})
    fetched: list[str] = field(default_factory=list)
    handles: int = 0

    def check_peer(self, *certificates: bytes) -> Seen:
        """What becomes of a peer with these; a refusal has its reason."""
        self.handles += 1
        trust = Trust("ra", (ROOT.der,))
        actions = self.checker.check(self.handles, certificates, (trust,), self.now)
        reasons: list[str] = []
        while actions:
            action = actions.pop(0)
            match action:
                case HttpRequest():
                    self.fetched.append(action.url)
                    actions = [*self.checker.handle(self._answer(action), self.now), *actions]
                case CrlRefused():
                    reasons.append(action.reason.partition(":")[0])
                case PathAccepted():
                    return Seen("accepted", tuple(reasons))
                case PathRefused():
                    return Seen("refused", (*reasons, action.reason))
        return Seen("no verdict", tuple(reasons))

    def _answer(self, request: HttpRequest) -> HttpReply | HttpFailed:
        if request.url not in self.web:
            return HttpFailed(request.handle, "connection refused")
        return HttpReply(request.handle, 200, "application/pkix-crl", self.web[request.url])

    now = Now(10.0, NOW)

    def showing(self, *certificates: bytes) -> Callable[[], Seen]:
        return lambda: self.check_peer(*certificates)

    def check(self) -> None:
        """The cache kept its limit, and a good peer is accepted, a revoked one is not."""
        assert self.checker.size(NOW) <= CACHE_LIMIT
        self.web = {URL: crl(3, number=9)}
        self.checker.clear()
        assert self.check_peer(GOOD.der).answer == "accepted"
        assert self.check_peer(router("bad.example.com", serial=3).der).reasons == ("revoked",)


@contextmanager
def hub() -> Iterator[RouterTarget]:
    yield RouterTarget()


# --- fetching -------------------------------------------------------------------------------------


class NothingFetched(RouterTarget):
    """None of the addresses was asked."""

    def check(self) -> None:
        assert self.fetched == []
        super().check()


def quiet_hub() -> AbstractContextManager[RouterTarget]:
    @contextmanager
    def made() -> Iterator[RouterTarget]:
        yield NothingFetched()

    return made()


@case(
    "E03",
    "cdp-elsewhere",
    precedent="strongSwan CVE-2022-40617: fetches before the chain was verified",
    expected="nothing is fetched: not from such places, and never for who is not certified",
    target=quiet_hub,
)
def cdp_elsewhere(target: RouterTarget) -> Iterator[Shot]:
    for url in (
        "http://127.0.0.1/x.crl",
        "http://127.1/x.crl",
        "http://2130706433/x.crl",
        "http://0x7f.0.0.1/x.crl",
        "http://0x7f000001./x.crl",
        "http://localhost/x.crl",
        "http://[::1]/x.crl",
        "http://0.0.0.0/x.crl",
        "http://169.254.169.254/latest/meta-data/",
        "http://224.0.0.1/x.crl",
        "file:///etc/shadow",
        "ftp://198.51.100.9/root-ca.crl",
        "https://198.51.100.9/root-ca.crl",
        "ldap://198.51.100.9/cn=root-ca",
        "gopher://198.51.100.9/x",
        "http://user:password@198.51.100.9/x.crl",
        "http://198.51.100.9:0/x.crl",
        "http://198.51.100.9/" + "x" * 1100,
    ):
        peer = router("cdp.example.com", crl_url=url)
        yield Shot(f"CDP {url[:50]}", target.showing(peer.der), "refused", "crl-unavailable")
    stranger = authority("evil-ca")
    forged = router("spoke.example.com", issuer="evil-ca", crl_url=URL)
    yield Shot(
        "a CA of its own", target.showing(forged.der, stranger.der), "refused", "untrusted-issuer"
    )
    of_name = authority("root-ca", key=rsa_key("evil-ca"), issuer_key=rsa_key("evil-ca"))
    octets = bytearray(router("spoke.example.com").der)
    octets[-1] ^= 1
    yield Shot(
        "a forged signature", target.showing(bytes(octets), of_name.der), "refused", "bad-signature"
    )
    yield Shot("outdated", target.showing(_outdated()), "refused", "expired")


def _outdated() -> bytes:
    past = NOW - timedelta(days=1)
    return router("late.example.com", start=past - timedelta(days=9), end=past).der


@case(
    "E04",
    "large-crl",
    precedent="the guide's cache: 65536 octets at most",
    expected="refused with the limit; what is cached stays",
    target=hub,
)
def large_crl(target: RouterTarget) -> Iterator[Shot]:
    peer = target.showing(GOOD.der)
    yield Shot("a good list first", peer, "accepted")
    held = target.checker.entries(NOW)
    target.checker.clear()
    for entries in (4000, 100_000):
        target.web[URL] = crl(entries=entries, number=entries)
        yield Shot(f"a CRL of {entries} entries", peer, "refused", "crl-too-large")
    for what, octets in (
        ("no CRL", b"<html>"),
        ("100,000 octets of one length", b"\x30\x83\x01\x86\xa0" + bytes(50_000)),
        ("20,000 nested lists", b"\x30\x80" * 20_000),
    ):
        target.web[URL] = octets
        yield Shot(what, peer, "refused", "malformed-crl")
    assert len(held) == 1


# --- reading --------------------------------------------------------------------------------------


def _rebuilt(change: Callable[[list[bytes]], Sequence[bytes]], of: bytes = GOOD.der) -> bytes:
    """With the fields of its tbsCertificate changed; signed by the CA all the same."""
    tbs, algorithm, _ = der.parse(of).children()
    parts = [part.raw for part in tbs.children()]
    inside = der.sequence(*change(parts))
    signature = sign(rsa_key("root-ca"), inside, "sha256")
    return der.sequence(inside, algorithm.raw, der.bit_string(signature))


def with_field(index: int, octets: bytes) -> bytes:
    return _rebuilt(lambda parts: [*parts[:index], octets, *parts[index + 1 :]])


def _twice_the_extension() -> bytes:
    def change(parts: list[bytes]) -> list[bytes]:
        inner = der.parse(parts[-1]).only(der.SEQUENCE)
        first = inner.children()[0].raw
        return [*parts[:-1], der.explicit(3, der.sequence(first + inner.content))]

    return _rebuilt(change)


def _long_name() -> bytes:
    value = der.tlv(der.UTF8_STRING, b"x" * 1_000_000)
    return der.sequence(der.set_of(der.sequence(der.oid("2.5.4.3"), value)))


@case(
    "E06",
    "twisted-certificate",
    precedent="strongSwan CVE-2021-41991, CVE-2017-9023 and kin",
    expected="not read at all, although the CA has signed it",
    target=quiet_hub,
    repeats=100,
)
def twisted_certificate(target: RouterTarget) -> Iterator[Shot]:
    twisted = der.sequence(der.oid("1.2.840.113549.1.1.11"), der.integer(1))
    pss = der.sequence(der.oid("1.2.840.113549.1.1.10"), der.sequence())
    for what, octets, reason in (
        ("a serial number below zero", with_field(1, b"\x02\x01\x80"), "malformed-certificate"),
        ("serial number 0", with_field(1, der.integer(0)), "malformed-certificate"),
        (
            "a serial number of 21 octets",
            with_field(1, der.integer(1 << 160)),
            "malformed-certificate",
        ),
        (
            "a number with a zero in front",
            with_field(1, b"\x02\x02\x00\x02"),
            "malformed-certificate",
        ),
        ("a parameter for SHA-256", with_field(2, twisted), "malformed-certificate"),
        ("PSS inside, v1.5 outside", with_field(2, pss), "malformed-certificate"),
        ("an extension twice", _twice_the_extension(), "malformed-certificate"),
        ("a subject of 1 MB", with_field(5, _long_name()), "malformed-certificate"),
        ("an indefinite length", b"\x30\x80" + GOOD.der[4:] + b"\0\0", "malformed-certificate"),
        ("a long form of a short length", _long_form(), "malformed-certificate"),
        ("20,000 nested tags", b"\x30\x80" * 8_000, "malformed-certificate"),
        ("endless CHOICE", with_field(5, _nested_names()), "malformed-certificate"),
        ("octets after it", GOOD.der + b"\0", "malformed-certificate"),
        ("nothing", b"", "malformed-certificate"),
    ):
        yield Shot(what, target.showing(octets), "refused", reason)
    many = [GOOD.der] + [ROOT.der] * 16
    yield Shot("seventeen at once", target.showing(*many), "refused", "too-many-certificates")


def _long_form() -> bytes:
    """The validity's length in two octets where one is enough."""

    def change(parts: list[bytes]) -> list[bytes]:
        validity = der.parse(parts[4])
        assert len(validity.content) < 128
        long = b"\x30\x81" + bytes((len(validity.content),)) + validity.content
        return [*parts[:4], long, *parts[5:]]

    return _rebuilt(change)


def _nested_names() -> bytes:
    octets = b""
    while len(octets) < 8_000:
        octets = der.tlv(der.SET, octets) if len(octets) % 2 else der.sequence(octets)
    return octets


# --- caches ---------------------------------------------------------------------------------------


@dataclass
class FloodedTarget(RouterTarget):
    """The CRL of an honest CA must outlive a flood of other certificates."""

    def check(self) -> None:
        assert [entry.crl.der for entry in self.checker.entries(NOW)] == [crl()]
        self.fetched.clear()
        assert self.check_peer(GOOD.der).answer == "accepted"
        assert self.fetched == []
        super().check()


@contextmanager
def flooded() -> Iterator[RouterTarget]:
    target = FloodedTarget()
    assert target.check_peer(GOOD.der).answer == "accepted"
    yield target


@case(
    "E07",
    "certificate-flood",
    precedent="strongSwan CVE-2021-41991: a certificate cache that strangers fill",
    expected="what only peers sent is not kept; the CRL in use stays",
    target=flooded,
    repeats=20,
)
def certificate_flood(target: RouterTarget) -> Iterator[Shot]:
    for number in range(300):
        peer = router("same.example.com", serial=5000 + number)
        seen = target.check_peer(peer.der)
        assert seen.answer == "accepted", seen
    yield Shot("300 of our own CA", lambda: _flood(target, "root-ca"), "accepted")
    yield Shot(
        "100 of a strange one", lambda: _flood(target, "evil-ca"), "refused", "untrusted-issuer"
    )


def _flood(target: RouterTarget, issuer: str) -> Seen:
    seen = [
        target.check_peer(
            router(f"r{number % 5}.example.com", issuer=issuer, serial=6000 + number).der
        )
        for number in range(20)
    ]
    assert len(set(seen)) == 1
    return seen[0]
