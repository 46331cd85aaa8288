"""Cut and paste: the CA certificate in, the request out, the certificate in; nothing else moves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ikelab.errors import PkiError
from ikelab.pki import pem
from ikelab.pki.cert_server import CertificateServer
from ikelab.pki.config import TrustpointConfig
from ikelab.pki.enrollment_events import (
    AcceptCa,
    Authenticate,
    CaCertificateOffered,
    Device,
    Enroll,
    KeyPairGenerated,
    PastedCa,
    PastedCertificate,
    RequestPrinted,
    TimerFired,
    TrustpointEvent,
)
from ikelab.pki.events import (
    CaCertificateAccepted,
    CertificateInstalled,
    HttpFailed,
    HttpReply,
    RequestSent,
)
from ikelab.pki.terminal_trustpoint import TerminalTrustpoint
from ikelab.pki.trustpoint import State, Trustpoint
from ikelab.pki.trustpoint_state import MANUAL_TABLE
from ikelab.pki.x509 import fingerprint, load_certificate, load_request
from ikelab.runtime.store import SqliteNvram
from tests.openssl_files import Openssl
from tests.pki_scene import PoolKeys, Scene


class Desk:
    """A CA, a router, and somebody who carries text between their consoles.

    number: Desks of different numbers have different keys.
    """

    def __init__(self, nvram: SqliteNvram | None = None, number: int = 0, **config: object) -> None:
        self.scene = Scene()
        for _ in range(number):
            self.scene.keys.rsa_key("another's", 2048)
        self.scene.server("root-ca", grant="auto")
        self.server: CertificateServer = self.scene.start("root-ca")
        self.nvram = nvram or SqliteNvram(":memory:")
        self.keys = PoolKeys()
        for _ in range(10 + number):
            self.keys.rsa_key("another's", 2048)
        self.config = dict(config)
        self.point = self.boot()

    def boot(self) -> TerminalTrustpoint:
        settings = {"terminal": "pem"} | self.config
        self.point = TerminalTrustpoint(
            TrustpointConfig("ra", **settings),  # type: ignore[arg-type]
            Device("r1.example.com", "FTX1048A6QA"),
            self.scene.rng,
            self.keys,
            self.nvram,
        )
        return self.point

    @property
    def ca(self) -> bytes:
        authority = self.server.store.load_authority()
        assert authority is not None
        return authority.certificate

    def do(self, event: TrustpointEvent) -> list[object]:
        return list(self.point.handle(event, self.scene.now()))

    def trusting(self) -> Desk:
        self.do(PastedCa((self.ca,)))
        self.do(AcceptCa(True))
        return self

    def printed(self, password: str | None = None) -> bytes:
        [printed] = [a for a in self.do(Enroll(password)) if isinstance(a, RequestPrinted)]
        return printed.request

    def signed(self, request: bytes) -> bytes:
        row, _ = self.server.paste_request(request, "pem", self.scene.now())
        assert row.certificate is not None
        return row.certificate

    def enrolled(self) -> Desk:
        self.trusting()
        self.do(PastedCertificate(self.signed(self.printed())))
        return self


def refusal(deed: Callable[[], object]) -> PkiError:
    with pytest.raises(PkiError) as raised:
        deed()
    return raised.value


def test_a_pasted_ca_certificate_is_looked_at_and_accepted() -> None:
    desk = Desk()
    [offer] = desk.do(PastedCa((desk.ca,)))
    assert isinstance(offer, CaCertificateOffered)
    assert offer.fingerprint_md5 == fingerprint(desk.ca, "md5")
    assert desk.point.state is State.CA_OFFERED and desk.point.anchors == ()
    [accepted] = desk.do(AcceptCa(True))
    assert isinstance(accepted, CaCertificateAccepted)
    assert desk.point.anchors == (desk.ca,)


def test_no_leaves_nothing() -> None:
    desk = Desk()
    desk.do(PastedCa((desk.ca,)))
    desk.do(AcceptCa(False))
    assert desk.point.state is State.READY
    assert (desk.point.anchors, desk.point.offered) == ((), None)
    assert desk.nvram.load_trustpoint("ra") is None


def test_a_configured_fingerprint_spares_the_question_and_a_wrong_one_refuses() -> None:
    ca = Desk().ca
    known = Desk(fingerprint=fingerprint(ca, "sha1"))
    [accepted] = known.do(PastedCa((ca,)))
    assert isinstance(accepted, CaCertificateAccepted)
    wrong = Desk(fingerprint="AB" * 20)
    assert refusal(lambda: wrong.do(PastedCa((ca,)))).reason == "wrong-fingerprint"
    assert (wrong.point.state, wrong.point.offered) == (State.READY, None)


def test_what_is_no_ca_certificate_is_refused() -> None:
    desk = Desk().enrolled()
    leaf = desk.point.credential
    assert leaf is not None
    fresh = Desk()
    assert refusal(lambda: fresh.do(PastedCa((leaf.certificate,)))).reason == "not-a-ca"
    assert refusal(lambda: fresh.do(PastedCa((b"\x30\x00",)))).reason.startswith("malformed")
    assert fresh.point.state is State.READY


def test_another_paste_takes_the_place_of_what_was_offered() -> None:
    desk = Desk()
    other = Desk(number=1)
    desk.do(PastedCa((desk.ca,)))
    desk.do(PastedCa((other.ca,)))
    assert desk.point.state is State.CA_OFFERED
    desk.do(AcceptCa(True))
    assert desk.point.anchors == (other.ca,)


def test_an_accepted_ca_is_not_replaced_by_pasting_another() -> None:
    desk = Desk().trusting()
    assert refusal(lambda: desk.do(PastedCa((desk.ca,)))).reason == "has-ca"
    assert desk.point.anchors == (desk.ca,)


def test_the_request_is_printed_again_as_it_was() -> None:
    desk = Desk().trusting()
    actions = desk.do(Enroll())
    assert [type(action) for action in actions] == [KeyPairGenerated, RequestSent, RequestPrinted]
    sent, printed = actions[1], actions[2]
    assert isinstance(sent, RequestSent) and isinstance(printed, RequestPrinted)
    assert sent.fingerprint_md5 == fingerprint(printed.request, "md5")
    assert desk.printed() == printed.request
    assert load_request(printed.request).fqdns == ("r1.example.com",)
    waiting = desk.point.waiting
    assert waiting is not None and waiting.fingerprint_md5 == sent.fingerprint_md5


def test_the_challenge_is_in_the_request_and_nowhere_else(tmp_path: Path) -> None:
    desk = Desk(SqliteNvram(str(tmp_path / "nvram.db"))).trusting()
    actions = desk.do(Enroll("pass-me-on"))
    [printed] = [a for a in actions if isinstance(a, RequestPrinted)]
    assert load_request(printed.request).challenge == "pass-me-on"
    assert "pass-me-on" not in repr(actions)
    desk.nvram.close()
    assert b"pass-me-on" not in (tmp_path / "nvram.db").read_bytes()


def test_the_certificate_that_is_brought_back_is_installed() -> None:
    desk = Desk().trusting()
    der = desk.signed(desk.printed())
    [installed] = desk.do(PastedCertificate(der))
    assert isinstance(installed, CertificateInstalled)
    assert installed.serial == load_certificate(der).serial
    credential = desk.point.credential
    assert credential is not None
    assert (credential.certificate, credential.chain) == (der, (desk.ca,))
    assert desk.point.state is State.ENROLLED and desk.point.waiting is None


def test_a_restart_between_print_and_paste_loses_nothing() -> None:
    desk = Desk().trusting()
    request = desk.printed()
    desk.boot()
    assert desk.point.state is State.REQUEST_PRINTED
    desk.do(PastedCertificate(desk.signed(request)))
    desk.boot()
    assert desk.point.state is State.ENROLLED


def test_a_new_certificate_for_the_same_key_is_had_the_same_way() -> None:
    desk = Desk().enrolled()
    before = desk.point.credential
    request = desk.printed()
    assert desk.point.credential == before and before is not None
    desk.scene.advance(days=1)
    desk.do(PastedCertificate(desk.signed(request)))
    after = desk.point.credential
    assert after is not None and after.certificate != before.certificate
    assert after.key_label == before.key_label


def test_a_certificate_for_another_key_or_of_another_ca_is_refused() -> None:
    desk, other = Desk().trusting(), Desk(number=1).trusting()
    desk.printed()
    stranger = other.signed(other.printed())
    assert refusal(lambda: desk.do(PastedCertificate(stranger))).reason == "not-our-key"
    assert refusal(lambda: desk.do(PastedCertificate(desk.ca))).reason == "not-our-key"
    assert desk.point.state is State.REQUEST_PRINTED and desk.point.credential is None


def test_a_certificate_our_ca_did_not_sign_is_refused() -> None:
    desk, other = Desk().trusting(), Desk(number=1)
    forged = other.signed(desk.printed())
    assert refusal(lambda: desk.do(PastedCertificate(forged))).reason == "bad-signature"


def test_a_certificate_nobody_asked_for_is_refused() -> None:
    desk = Desk().trusting()
    assert refusal(lambda: desk.do(PastedCertificate(desk.ca))).reason == "no-request"


def test_a_certificate_that_has_ended_is_refused() -> None:
    desk = Desk().trusting()
    der = desk.signed(desk.printed())
    desk.scene.advance(days=500)
    assert refusal(lambda: desk.do(PastedCertificate(der))).reason == "expired"


def test_enrolling_needs_an_accepted_ca_and_a_password_alone_changes_nothing() -> None:
    desk = Desk()
    assert refusal(lambda: desk.do(Enroll())).reason == "trustpoint-state"
    assert desk.nvram.key_labels() == ()


def test_it_asks_nobody_and_sets_no_timer() -> None:
    desk = Desk().enrolled()
    assert desk.point.next_timer() is None
    for event in (TimerFired(), Authenticate(), HttpFailed("x", "y"), HttpReply("x", 200, "", b"")):
        assert desk.do(event) == []


def test_a_request_that_was_printed_is_not_polled_for_by_scep() -> None:
    desk = Desk().trusting()
    desk.printed()
    config = TrustpointConfig("ra", enrollment_url="http://root-ca")
    point = Trustpoint(config, Device("r1"), desk.scene.rng, desk.keys, desk.nvram)
    assert point.state is State.CA_AUTHENTICATED
    with pytest.raises(PkiError) as raised:
        point.handle(PastedCertificate(desk.ca), desk.scene.now())
    assert raised.value.reason == "not-terminal"


def test_every_row_of_the_manual_table_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = set()
    original = Trustpoint._input

    def spy(self: Trustpoint, happened: object, now: object) -> object:
        taken.add((self.state, happened))
        return original(self, happened, now)  # type: ignore[arg-type]

    monkeypatch.setattr(Trustpoint, "_input", spy)
    test_a_pasted_ca_certificate_is_looked_at_and_accepted()
    test_no_leaves_nothing()
    test_another_paste_takes_the_place_of_what_was_offered()
    test_the_request_is_printed_again_as_it_was()
    test_a_new_certificate_for_the_same_key_is_had_the_same_way()
    ca = Desk().ca
    known = Desk(fingerprint=fingerprint(ca, "sha1"))
    known.do(PastedCa((ca,)))
    offered = Desk()
    offered.do(PastedCa((ca,)))
    offered.point.config = TrustpointConfig("ra", fingerprint=fingerprint(ca, "sha256"))
    offered.do(PastedCa((ca,)))
    assert set(MANUAL_TABLE) <= taken


@pytest.mark.interop
def test_openssl_as_the_ca(need: Callable[[str], str], tmp_path: Path) -> None:
    """A CA that knows nothing of us: PEM in, PEM out."""
    openssl = Openssl(need("openssl"), tmp_path)
    openssl.authority()
    desk = Desk()
    desk.scene.wall = load_certificate(
        pem.read_pasted(openssl.text("ca.pem"), pem.CERTIFICATE)[0]
    ).not_before
    desk.do(PastedCa(pem.read_pasted(openssl.text("ca.pem"), pem.CERTIFICATE)))
    desk.do(AcceptCa(True))
    openssl.write("r.pem", pem.to_pem(pem.REQUEST, desk.printed("challenge")))
    shown = openssl.run("req", "-in", "r.pem", "-noout", "-verify", "-text")
    assert "verify OK" in shown.stderr + shown.stdout
    assert "challengePassword" in shown.stdout and "DNS:r1.example.com" in shown.stdout
    openssl.sign("r.pem", "c.pem", name="r1.example.com")
    [der] = pem.read_pasted(openssl.text("c.pem"), pem.CERTIFICATE)
    desk.do(PastedCertificate(der))
    assert desk.point.credential is not None
