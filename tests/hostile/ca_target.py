"""A certificate server to attack, with an honest router that must be served afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace

from ikelab.pki import scep
from ikelab.pki.ca_events import HttpOut, RequestGranted, RequestQueued, RequestRefused
from ikelab.pki.cert_server import CertificateServer
from ikelab.pki.chain import validate
from ikelab.pki.scep import CertRep, FailInfo, PkiStatus
from ikelab.pki.x509 import Certificate, load_certificate
from tests.hostile.registry import Seen
from tests.pki_scene import Scene
from tests.scep_requester import Requester

VICTIM, EVIL, HONEST = 150, 160, 170
"""Keys of the pool: who is attacked, who attacks, who comes afterwards."""

FAILURES = {
    FailInfo.BAD_ALG: "badAlg",
    FailInfo.BAD_MESSAGE_CHECK: "badMessageCheck",
    FailInfo.BAD_REQUEST: "badRequest",
    FailInfo.BAD_TIME: "badTime",
    FailInfo.BAD_CERT_ID: "badCertId",
}


class CaTarget:
    """The server `root-ca`; `asker` makes those who talk to it."""

    legacy = False

    def __init__(self, **config: object) -> None:
        self.scene = Scene(legacy=self.legacy)
        self.scene.server("root-ca", **config)
        self.server: CertificateServer = self.scene.start("root-ca")
        self.secrets: list[str] = []
        self.victim = self.asker("victim", VICTIM)
        self.evil = self.asker("evil", EVIL)
        self._known = 0
        self._granted = 0

    def asker(self, name: str, key_index: int, **changes: object) -> Requester:
        plain = Requester(self.scene, self.server, f"hostname={name}.example.com", key_index)
        wanted: dict[str, object] = {"bits": 1024, "transaction_id": name.upper()}
        return replace(plain, **(wanted | changes))  # type: ignore[arg-type]

    def enrolled(self, asker: Requester, **parts: object) -> Certificate:
        """The certificate of a requester whose request is granted by hand if need be."""
        reply = asker.enroll(**parts)
        if reply.status is PkiStatus.PENDING:
            [waiting] = [
                row.request_id
                for row in self.server.requests()
                if row.key.transaction_id == asker.transaction_id and row.certificate is None
            ]
            self.scene.ca_notices += self.server.grant(waiting, self.scene.now())
            reply = asker.poll()
        assert reply.status is PkiStatus.SUCCESS, reply
        return load_certificate(reply.certificates[0])

    def begin(self) -> None:
        """From here on nothing may be granted but to the honest router at the end."""
        self._known = len(self.scene.ca_notices)
        self._granted = len(self.scene.told(RequestGranted))

    def posting(self, octets: bytes) -> Callable[[], Seen]:
        """A shot: the message as a POST."""
        return lambda: self.seen(self.evil.post(octets))

    def asking(self, ask: Callable[[], CertRep]) -> Callable[[], Seen]:
        """A shot: what a requester's own method sends and reads."""

        def fire() -> Seen:
            reply = ask()
            return Seen(_words(reply.status, reply.fail_info), self._reasons())

        return fire

    def seen(self, out: HttpOut) -> Seen:
        """What sender and server make of an answer."""
        return Seen(answer_of(self.evil, out), self._reasons())

    def _reasons(self) -> tuple[str, ...]:
        new = self.scene.ca_notices[self._known :]
        self._known = len(self.scene.ca_notices)
        names = {RequestQueued: "queued", RequestGranted: "granted"}
        return tuple(
            item.reason if isinstance(item, RequestRefused) else names[type(item)]
            for item in new
            if isinstance(item, RequestRefused | RequestQueued | RequestGranted)
        )

    def check(self) -> None:
        """Nobody got a certificate, nobody was told a secret, and a router still enrolls."""
        assert len(self.scene.told(RequestGranted)) == self._granted
        told = repr(self.scene.ca_notices)
        assert not [secret for secret in self.secrets if secret in told]
        self._serve_honest()

    def _serve_honest(self) -> None:
        honest = self.asker("honest", HONEST)
        certificate = self.enrolled(honest)
        validate([certificate, honest.ca], [honest.ca], self.scene.wall, (), "none")
        assert certificate.public_key_info == honest.self_signed().public_key_info
        assert honest.get_crl().status is PkiStatus.SUCCESS


def answer_of(asker: Requester, out: HttpOut) -> str:
    """What somebody on the wire learns: the status, and of a CertRep its status and failInfo."""
    if out.status != 200 or out.content_type != scep.PKI_MESSAGE_TYPE:
        return f"HTTP {out.status}"
    message = asker.message(out.body)
    assert message.pki_status is not None
    return _words(message.pki_status, message.fail_info)


def _words(status: PkiStatus, fail_info: FailInfo | None) -> str:
    return status.name if fail_info is None else f"{status.name} {FAILURES[fail_info]}"


def ca(
    kind: type[CaTarget] = CaTarget, **config: object
) -> Callable[[], AbstractContextManager[CaTarget]]:
    """A target for `case`."""

    @contextmanager
    def made() -> Iterator[CaTarget]:
        target = kind(**config)
        target.begin()
        yield target

    return made
