"""E08 to E10: who asks for a certificate, in whose name, again, and for whose answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

from ikelab.pki.name import parse_dn
from ikelab.pki.scep import PkiStatus, build_self_signed
from ikelab.pki.store import MAX_REQUEST_ID
from ikelab.pki.x509 import load_certificate
from tests.hostile.ca_target import CaTarget, ca
from tests.hostile.registry import Seen, Shot, case
from tests.scep_requester import Requester

PENDING, BAD_REQUEST = "PENDING", "FAILURE badRequest"
BAD_CHECK, BAD_ID = "FAILURE badMessageCheck", "FAILURE badCertId"


@case(
    "E08",
    "stranger-enrolls",
    precedent="VU#971035: SCEP does not say who asks",
    expected="everybody waits for a person; one-time passwords cannot be guessed or used again, nor"
    " by another than they are for",
    target=ca(),
)
def stranger_enrolls(target: CaTarget) -> Iterator[Shot]:
    evil, victim = target.evil, target.victim
    yield Shot("a name of its own", target.posting(evil.pkcs_req()), PENDING, "queued")
    target.enrolled(victim)
    target.begin()
    as_victim = replace(evil, name=victim.name, transaction_id="NAME")
    yield Shot("another router's name", target.posting(as_victim.pkcs_req()), PENDING, "queued")
    serial = replace(evil, name="serialNumber=FTX1048A6QA", transaction_id="SERIAL")
    yield Shot("a router's serial number", target.posting(serial.pkcs_req()), PENDING, "queued")
    bound = target.server.generate_password(target.scene.now(), name="invited.example.com")
    stolen = replace(evil, transaction_id="STOLEN").pkcs_req(challenge=bound)
    yield Shot("somebody else's password", target.posting(stolen), BAD_REQUEST, "wrong-password")
    password = target.server.generate_password(target.scene.now())
    target.secrets += [bound, password]
    guess = replace(evil, transaction_id="GUESS").pkcs_req(challenge="0123456789ABCDEF")
    yield Shot("a guessed password", target.posting(guess), BAD_REQUEST, "wrong-password")
    invited = target.asker("invited", target.victim.key_index + 1)
    target.enrolled(invited, challenge=password)
    target.begin()
    again = replace(evil, transaction_id="AGAIN").pkcs_req(challenge=password)
    yield Shot("a password used before", target.posting(again), BAD_REQUEST, "password-used")


class FullQueue(CaTarget):
    """An honest router comes with a one-time password, for the list is full."""

    def _serve_honest(self) -> None:
        password = self.server.generate_password(self.scene.now())
        honest = self.asker("honest", self.victim.key_index + 2)
        reply = honest.enroll(challenge=password)
        assert reply.status is PkiStatus.SUCCESS, reply
        self.server.remove(None)
        super()._serve_honest()


@case(
    "E08b",
    "queue-flood",
    precedent="E08: whoever can ask can ask a thousand times",
    expected="999 requests wait; who has a one-time password comes in all the same",
    target=ca(FullQueue),
)
def queue_flood(target: CaTarget) -> Iterator[Shot]:
    csr = target.evil.csr()
    for number in range(1, MAX_REQUEST_ID):
        octets = replace(target.evil, transaction_id=f"{number}").pkcs_req(csr)
        answer = target.posting(octets)()
        assert answer == Seen(PENDING, ("queued",)), (number, answer)
    last, over = (replace(target.evil, transaction_id=f"X{n}").pkcs_req(csr) for n in (1, 2))
    yield Shot("the 999th request", target.posting(last), PENDING, "queued")
    yield Shot("one more", target.posting(over), BAD_REQUEST, "request-database-full")
    yield Shot("one of the first again", target.posting(last), PENDING)


# --- renewals -------------------------------------------------------------------------------------


def renewing(target: CaTarget, asker: Requester, **changes: object) -> Requester:
    """Somebody who signs with the key and the certificate that `asker` was just given."""
    certificate = target.enrolled(asker)
    wanted: dict[str, object] = {
        "key_index": target.evil.key_index + 1,
        "transaction_id": "RENEW",
        "signer": certificate,
        "signer_key": asker.key,
    }
    return replace(asker, **(wanted | changes))  # type: ignore[arg-type]


@case(
    "E09",
    "renewal-abuse",
    precedent="RFC 8894 section 2.3: a renewal is signed by the certificate it renews",
    expected="refused, and a good one waits for a person as well",
    target=ca(lifetime_certificate=timedelta(days=30)),
)
def renewal_abuse(target: CaTarget) -> Iterator[Shot]:
    evil, victim = target.evil, target.victim
    mine = renewing(target, evil)
    assert mine.signer is not None
    target.enrolled(victim)
    target.begin()
    for what, parts in (
        ("under another router's name", {"subject": parse_dn(victim.name)}),
        ("with another host name beside its own", {"fqdns": ["victim.example.com"]}),
        ("with another address", {"addresses": ["192.0.2.1"]}),
        ("as a CA", {"ca": True}),
    ):
        octets = mine.pkcs_req(renewal=True, **parts)
        yield Shot(f"a renewal {what}", target.posting(octets), BAD_REQUEST, "renewal-changed")
    other_key = replace(mine, signer_key=victim.key, transaction_id="OTHER")
    octets = other_key.pkcs_req(renewal=True)
    yield Shot("a certificate without its key", target.posting(octets), BAD_CHECK, "bad-signature")
    octets = _with_copied_serial(target, mine).pkcs_req(renewal=True)
    yield Shot("a signer with a copied number", target.posting(octets), BAD_CHECK, "unknown-signer")
    good = mine.pkcs_req(renewal=True)
    yield Shot("a good renewal", target.posting(good), PENDING, "queued")
    target.server.revoke(mine.signer.serial, target.scene.now())
    late = replace(mine, transaction_id="REVOKED").pkcs_req(renewal=True)
    yield Shot("by a revoked certificate", target.posting(late), BAD_REQUEST, "renewal-revoked")
    expired = renewing(target, target.asker("late", target.evil.key_index + 2))
    target.scene.advance(days=31)
    target.begin()
    octets = expired.pkcs_req(renewal=True)
    yield Shot("by an outdated certificate", target.posting(octets), BAD_REQUEST, "renewal-expired")


def _with_copied_serial(target: CaTarget, mine: Requester) -> Requester:
    """Its own certificate in everything but the signature, which is not the CA's."""
    assert mine.signer is not None
    at = target.scene.wall.replace(microsecond=0)
    forged = build_self_signed(
        subject=mine.signer.subject,
        key=target.victim.key,
        digest="sha256",
        serial=mine.signer.serial,
        not_before=at,
        not_after=at + timedelta(days=1),
    )
    signer = load_certificate(forged)
    return replace(mine, signer=signer, signer_key=target.victim.key, transaction_id="COPIED")


# --- other people's answers -----------------------------------------------------------------------


@case(
    "E10",
    "replay-and-fishing",
    precedent="RFC 8894 sections 4.4 to 4.6; transactionIDs are not unique and not secret",
    expected="the same answer, for the same key only; nothing is signed twice",
    target=ca(),
)
def replay_and_fishing(target: CaTarget) -> Iterator[Shot]:
    evil, victim = target.evil, target.victim
    captured = victim.pkcs_req()
    certificate = target.enrolled(victim)
    target.begin()
    other = replace(victim, transaction_id="WAITS")
    waiting = other.pkcs_req()
    yield Shot("a request", target.posting(waiting), PENDING, "queued")
    yield Shot("its replay", target.posting(waiting), PENDING)
    changed = other.pkcs_req(fqdns=["evil.example.com"])
    yield Shot("another in its place", target.posting(changed), BAD_REQUEST, "transaction-busy")
    stolen = replace(evil, transaction_id="WAITS")
    yield Shot(
        "its transactionID, another key", target.posting(stolen.pkcs_req()), PENDING, "queued"
    )
    for name, reason, answer in (
        (victim.transaction_id, "other-key", BAD_CHECK),
        ("NOBODY", "unknown-transaction", BAD_ID),
    ):
        polled = replace(evil, transaction_id=name)
        yield Shot(f"a poll for {name}", target.asking(polled.poll), answer, reason)
    for what, serial in (("another router", certificate.serial), ("nobody", 4711)):
        fishing = target.asking(lambda number=serial: evil.get_cert(number))
        yield Shot(f"GetCert, of {what}", fishing, BAD_ID, "unknown-certificate")
    elsewhere = target.asking(lambda: evil.get_crl(parse_dn("cn=other-ca")))
    yield Shot("GetCRL, of another CA", elsewhere, BAD_ID, "unknown-certificate")
    # Sealed for the victim, and the certificate it has already: `check` counts what was granted.
    yield Shot("a granted request again", target.posting(captured), "SUCCESS")
