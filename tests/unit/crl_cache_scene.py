"""A hub that checks a spoke below du-subca below root-ca, and the web its CRLs lie in."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from ikelab.pki.algorithms import key_identifier, public_key_info
from ikelab.pki.crl import build_crl
from ikelab.pki.enrollment_events import Trust
from ikelab.pki.events import HttpFailed, HttpReply, HttpRequest
from ikelab.pki.name import parse_dn
from ikelab.pki.revocation import PathAccepted, PathRefused, RevocationAction, RevocationChecker
from ikelab.pki.x509 import build_certificate
from ikelab.types import Now
from tests.pki_scene import START, pool_key

DAY = timedelta(days=1)
WHOLE = START.replace(microsecond=0)
ROOT_URL = "http://192.0.2.9/root-ca.crl"
DU_URL = "http://192.0.2.9/du-subca.crl"
CA_USAGE = frozenset({"keyCertSign", "cRLSign", "digitalSignature"})
ROUTER_USAGE = frozenset({"digitalSignature", "keyEncipherment"})
ROOT, DU, SPOKE = parse_dn("cn=root-ca"), parse_dn("cn=du-subca"), parse_dn("hostname=r35-3-1022")
KEYS = {ROOT: 200, DU: 201, SPOKE: 202}


def certify(
    subject: bytes,
    issuer: bytes,
    serial: int,
    *,
    url: str | None = None,
    key: int | None = None,
    issuer_key: int | None = None,
    start: timedelta = timedelta(0),
    life: timedelta = 365 * DAY,
) -> bytes:
    is_ca = subject in (ROOT, DU)
    return build_certificate(
        serial=serial,
        issuer=issuer,
        subject=subject,
        public_key_info=public_key_info(pool_key(1024, KEYS[subject] if key is None else key)),
        not_before=WHOLE + start,
        not_after=WHOLE + start + life,
        issuer_key=pool_key(1024, KEYS[issuer] if issuer_key is None else issuer_key),
        digest="sha256",
        ca=is_ca,
        key_usage=CA_USAGE if is_ca else ROUTER_USAGE,
        crl_url=url,
    )


def list_of(
    issuer: bytes,
    *revoked: int,
    number: int | None = 1,
    start: timedelta = timedelta(0),
    life: timedelta = timedelta(hours=6),
    key: int | None = None,
) -> bytes:
    signer = pool_key(1024, KEYS[issuer] if key is None else key)
    return build_crl(
        issuer=issuer,
        this_update=WHOLE + start,
        next_update=WHOLE + start + life,
        number=number,
        revoked=[(serial, WHOLE + start, None) for serial in revoked],
        key=signer,
        digest="sha256",
        authority_key_id=None if number is None else key_identifier(public_key_info(signer)),
        version=1 if number is None else 2,
    )


ROOT_CERTIFICATE = certify(ROOT, ROOT, 1)
DU_CERTIFICATE = certify(DU, ROOT, 9, url=ROOT_URL)
SPOKE_CERTIFICATE = certify(SPOKE, DU, 4, url=DU_URL)
BY_DU = Trust("du", (DU_CERTIFICATE, ROOT_CERTIFICATE))
BY_ROOT = Trust("root", (ROOT_CERTIFICATE,))


@dataclass
class Hub:
    """A checker, its clock, and the web: what lies under an URL, or nothing."""

    checker: RevocationChecker = field(default_factory=RevocationChecker)
    web: dict[str, bytes] = field(default_factory=dict)
    elapsed: timedelta = timedelta(seconds=10)
    fetched: list[str] = field(default_factory=list)
    handles: int = 0

    @property
    def now(self) -> Now:
        return Now(self.elapsed.total_seconds(), START + self.elapsed)

    def check(
        self, *certificates: bytes, trusts: tuple[Trust, ...] = (BY_DU,)
    ) -> list[RevocationAction]:
        """All that a check leads to."""
        self.handles += 1
        given = certificates or (SPOKE_CERTIFICATE,)
        return self.carry(self.checker.check(self.handles, given, trusts, self.now))

    def carry(self, actions: list[RevocationAction]) -> list[RevocationAction]:
        done: list[RevocationAction] = []
        for action in actions:
            if isinstance(action, HttpRequest):
                assert (action.method, action.body) == ("GET", b"")
                self.fetched.append(action.url)
                done += self.carry(self.checker.handle(self.answer(action), self.now))
            else:
                done.append(action)
        return done

    def answer(self, request: HttpRequest) -> HttpReply | HttpFailed:
        if request.url not in self.web:
            return HttpFailed(request.handle, "connection refused")
        return HttpReply(request.handle, 200, "application/pkix-crl", self.web[request.url])


def verdict(actions: list[RevocationAction]) -> PathAccepted | PathRefused:
    [found] = [item for item in actions if isinstance(item, PathAccepted | PathRefused)]
    return found


def reason(actions: list[RevocationAction]) -> str:
    found = verdict(actions)
    return found.reason if isinstance(found, PathRefused) else "accepted"
