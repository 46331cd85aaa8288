"""E01, E02, E05: revoked peers that come back, lists that are not the last word, bad chains."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ikelab.isakmp.events import Clear, Refused
from ikelab.pki import der
from ikelab.pki.algorithms import sign
from ikelab.pki.events import CrlRefused, HttpRequest
from ikelab.pki.extensions import build_extension
from ikelab.pki.revocation import RevocationAction
from ikelab.pki.x509 import Certificate, load_certificate
from tests.hostile.certificates import GOOD, ROOT, URL, RouterTarget, crl, quiet_hub
from tests.hostile.registry import Seen, Shot, case
from tests.pki_samples import DAY, NOW, authority, crl_of, router, rsa_key
from tests.simnet.labs import boot_lab, enroll
from tests.simnet.network import Simnet, SimNode

# --- E01: a key that the hub has seen before ------------------------------------------------------


@dataclass
class HubTarget:
    """A hub with the tunnel of a spoke that is then revoked, all of it in a simulated network."""

    net: Simnet = field(
        default_factory=lambda: boot_lab("root-offline", "root-ca", "ra-subca", "hub", "spoke1")
    )
    told: int = 0

    def __post_init__(self) -> None:
        enroll(self.net, "ra-subca", "ra-subca", "root-ca")
        enroll(self.net, "hub", "ra", "ra-subca")
        enroll(self.net, "spoke1", "ra", "ra-subca")

    @property
    def hub(self) -> SimNode:
        return self.net.nodes["hub"]

    @property
    def spoke(self) -> SimNode:
        return self.net.nodes["spoke1"]

    def knock(self) -> Seen:
        """The spoke begins anew; the hub has forgotten the tunnel, not what it knows of the key."""
        for node in (self.spoke, self.hub):
            self.net.give(node, Clear())
        self.net.run(1)
        self._reasons()
        self.net.acquire(self.spoke)
        return self.wait_on(0.5)

    def wait_on(self, seconds: float = 5) -> Seen:
        """The same handshake: the hub resends message 4, the spoke its message 5, five times."""
        self.net.run(seconds)
        up = bool(self.hub.installed) and self.hub.keys() == self.spoke.keys()
        return Seen("a tunnel" if up else "no tunnel", self._reasons())

    def _reasons(self) -> tuple[str, ...]:
        refused = self.hub.of(Refused)
        new, self.told = refused[self.told :], len(refused)
        return tuple(item.reason for item in new)

    def revoke(self) -> None:
        """By serial number at the CA; the hub is made to fetch the new list."""
        ca = self.net.nodes["ra-subca"]
        serial = load_certificate(self.certificate).serial
        self.net.do(ca, ca.router.servers["ra-subca"].revoke(serial, self.net.now))
        self.net.do(ca, ca.router.queues["ra-subca"].pump())
        self.net.run(1)
        self.net.do(self.hub, self.hub.router.request_crl("ra", self.net.now))
        self.net.run(1)

    @property
    def certificate(self) -> bytes:
        held = self.spoke.router.trustpoints["ra"].credential
        assert held is not None
        return held.certificate

    def check(self) -> None:
        """Nothing is installed for it, and a new certificate lets the same router in again."""
        assert not self.hub.installed
        old = self.certificate
        self.net.do(self.spoke, self.spoke.router.enroll("ra", self.net.now))
        assert self.net.run(60, lambda: self.certificate != old)
        assert self.knock().answer == "a tunnel"


@contextmanager
def simulated_hub() -> Iterator[HubTarget]:
    yield HubTarget()


@case(
    "E01",
    "revoked-key-in-cache",
    precedent="Cisco CVE-2011-0935; the guide's \"adding peer's pubkey to cache\"",
    expected="refused at message 5 every time: what was accepted once counts for nothing",
    target=simulated_hub,
)
def revoked_key_in_cache(target: HubTarget) -> Iterator[Shot]:
    yield Shot("not revoked yet", target.knock, "a tunnel")
    target.revoke()
    yield Shot("message 5 with the revoked certificate", target.knock, "no tunnel", "revoked")
    yield Shot("the same message 5 again and again", target.wait_on, "no tunnel", "revoked")
    yield Shot("a new main mode", target.knock, "no tunnel", "revoked")
    yield Shot("and another", target.knock, "no tunnel", "revoked")


# --- E02: lists that are not the last word --------------------------------------------------------

BAD = router("bad.example.com", serial=3)
SOON = NOW + timedelta(hours=1)


class ListTarget(RouterTarget):
    """A router that knows from the CA's list number 7 that serial number 3 is revoked."""

    def taking(self, octets: bytes) -> Callable[[], Seen]:
        """`crypto pki crl request` gets these octets; who then comes in?"""

        def fire() -> Seen:
            self.web[URL] = octets
            reasons = self._told(self.checker.request(URL, ROOT.der))
            revoked, good = self.check_peer(BAD.der), self.check_peer(GOOD.der)
            kept = (revoked.reasons, good.answer) == (("revoked",), "accepted")
            return Seen("the old list stays" if kept else "the old list is gone", reasons)

        return fire

    def _told(self, actions: list[RevocationAction]) -> tuple[str, ...]:
        told: list[str] = []
        for action in actions:
            if isinstance(action, HttpRequest):
                told += self._told(self.checker.handle(self._answer(action), self.now))
            elif isinstance(action, CrlRefused):
                told.append(action.reason.partition(":")[0])
        return tuple(told)


@contextmanager
def informed_router() -> Iterator[ListTarget]:
    target = ListTarget(web={URL: crl(3)})
    assert target.check_peer(BAD.der).reasons == ("revoked",)
    yield target


def _with_critical_extension() -> bytes:
    tbs, algorithm, _ = der.parse(crl(number=8)).children()
    *parts, wrapped = tbs.children()
    strange = build_extension("1.3.6.1.4.1.99999.1", der.tlv(der.OCTET_STRING, b""), critical=True)
    extensions = der.explicit(0, der.sequence(wrapped.only(der.SEQUENCE).content, strange))
    inside = der.sequence(*(part.raw for part in parts), extensions)
    signature = der.bit_string(sign(rsa_key("root-ca"), inside, "sha256"))
    return der.sequence(inside, algorithm.raw, signature)


def _published(start: datetime, number: int | None = 8, **changes: object) -> bytes:
    return crl_of(ROOT, start=start, number=number, **changes).der  # type: ignore[arg-type]


@case(
    "E02",
    "crl-not-the-last-word",
    precedent="strongSwan 5.6.3 compares the issuer of a fetched CRL; the guide's case T04",
    expected="refused with its reason; the list in the cache stays in force",
    target=informed_router,
    repeats=20,
)
def crl_not_the_last_word(target: ListTarget) -> Iterator[Shot]:
    stays, then = "the old list stays", NOW - timedelta(minutes=30)
    stranger = authority("evil-ca")
    for what, octets, reason in (
        ("an older list, replayed", _published(NOW - timedelta(hours=2), 6), "crl-older"),
        ("a newer date, a smaller number", _published(then, 6), "crl-older"),
        ("a newer number, an older date", _published(NOW - timedelta(hours=2), 9), "crl-older"),
        ("the same number on another list", _published(then, 7), "crl-older"),
        ("a list from the future", _published(SOON, 9), "crl-not-yet-valid"),
        ("one that has ended", _published(NOW - DAY, 9), "crl-expired"),
        ("by a wrong key", _published(then, 8, key=rsa_key("evil-ca")), "crl-bad-signature"),
        (
            "by another CA",
            crl_of(stranger, name="evil-ca", start=then).der,
            "crl-wrong-issuer",
        ),
        (
            "by an impostor of the CA's name",
            crl_of(
                authority("root-ca", key=rsa_key("evil-ca"), issuer_key=rsa_key("evil-ca")),
                key=rsa_key("evil-ca"),
                start=then,
            ).der,
            "crl-wrong-issuer",
        ),
        (
            "an unknown critical extension",
            _with_critical_extension(),
            "crl-unknown-critical-extension",
        ),
        ("cut short", crl(number=8)[:-20], "malformed-crl"),
    ):
        yield Shot(what, target.taking(octets), stays, reason)
    target.web = {}
    yield Shot("the web server is gone", target.taking(b""), stays, "malformed-crl")


# --- E05: chains ----------------------------------------------------------------------------------


@case(
    "E05",
    "bad-chain",
    precedent="strongSwan's ikev2-multi-ca scenarios: loops, path lengths",
    expected="refused with the reason, and nothing fetched",
    target=quiet_hub,
)
def bad_chain(target: RouterTarget) -> Iterator[Shot]:
    for what, certificates, reason in _chains():
        ders = [item.der for item in certificates]
        yield Shot(what, target.showing(*ders), "refused", reason)


def _chains() -> Iterator[tuple[str, tuple[Certificate, ...], str]]:
    short = authority("short", issuer="root-ca", path_length=0)
    below = authority("below", issuer="short")
    yield "a CA below a path length of 0", (router(issuer="below"), below, short), "path-length"
    no_ca = authority("no-ca", issuer="root-ca", ca=False)
    yield "an issuer with CA:FALSE", (router(issuer="no-ca"), no_ca), "not-a-ca"
    member = router("issuer.example.com")
    child = router("child.example.com", issuer="issuer.example.com")
    yield "a router as issuer", (child, member), "untrusted-issuer"
    sealed = authority("sealed", issuer="root-ca", usage=frozenset({"digitalSignature"}))
    yield "a CA that may not sign certificates", (router(issuer="sealed"), sealed), "key-usage"
    one, two = authority("one", issuer="two"), authority("two", issuer="one")
    yield "two CAs that certify each other", (router(issuer="one"), one, two), "untrusted-issuer"
    own = authority("alone")
    yield "a root of its own", (router(issuer="alone"), own), "untrusted-issuer"
    names = ["root-ca", *(f"level-{number}" for number in range(14))]
    levels = [authority(low, issuer=high) for high, low in zip(names, names[1:], strict=False)]
    yield "14 levels", (router(issuer=names[-1]), *levels), "untrusted-issuer"
    more = [authority(f"more-{number}") for number in range(6)]
    yield "20 levels", (router(issuer=names[-1]), *levels, *more), "too-many-certificates"
    other = authority("sub", issuer="root-ca", key=rsa_key("another key"))
    yield "the right name, another key", (router(issuer="sub"), other), "bad-signature"
    twins = [
        authority("sub", issuer="root-ca", key=rsa_key(f"k{number}"), serial=100 + number)
        for number in range(14)
    ]
    yield "fourteen of one name", (router(issuer="sub"), *twins), "bad-signature"
    over = authority("over", issuer="root-ca", start=NOW - 9 * DAY, end=NOW - DAY)
    yield "an outdated CA", (router(issuer="over"), over), "expired"
    early = authority("early", issuer="root-ca", start=NOW + DAY)
    yield "a CA that is not valid yet", (router(issuer="early"), early), "not-yet-valid"
    yield "names that do not chain", (router(issuer="nobody"), no_ca), "untrusted-issuer"
    weak = authority("weak", issuer="root-ca", digest="sha1")
    yield "a CA signed with SHA-1", (router(issuer="weak"), weak), "weak-algorithm"
