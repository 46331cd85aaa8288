"""E13: certificate requests that ask for what no router should have."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from ikelab.pki import der
from ikelab.pki.name import parse_dn
from ikelab.pki.store import RequestKind, RequestState
from ikelab.pki.x509 import load_certificate
from tests.hostile.ca_target import CaTarget, ca
from tests.hostile.registry import Shot, case

BAD_REQUEST, BAD_CHECK = "FAILURE badRequest", "FAILURE badMessageCheck"

_STORAGE_FILE = re.compile(r"[0-9A-F]+\.(crt|cnm)|root-ca\.(ser|crl)")


class Storing(CaTarget):
    """Grants by hand whatever waits at the end, and looks at certificates and files."""

    def check(self) -> None:
        self._refuse_sub_cas()
        self.scene.ca_notices += self.server.grant(None, self.scene.now())
        assert not [row for row in self.server.requests() if row.state is RequestState.PENDING]
        for row in self.server.requests():
            if row.certificate is not None:
                certificate = load_certificate(row.certificate)
                assert not certificate.is_ca
                assert certificate.key_usage == {"digitalSignature", "keyEncipherment"}
        self._look_at_files()
        self._serve_honest()

    def _refuse_sub_cas(self) -> None:
        """They stand in a table of their own, so that nobody grants them for routers."""
        for row in self.server.requests():
            if row.kind is RequestKind.SUB_CA:
                assert row.request_id is not None
                self.scene.ca_notices += self.server.reject(row.request_id)

    def _look_at_files(self) -> None:
        for file in self.server.store.outbox():
            assert _STORAGE_FILE.fullmatch(file.name), file.name
            if file.name.endswith(".cnm"):
                lines = file.octets.decode("ascii").splitlines()
                assert [line.partition(" = ")[0] for line in lines] == [
                    "subjectname_str",
                    "expiration",
                ], lines


@case(
    "E13",
    "greedy-request",
    precedent="IOS stores a certificate as HEX.crt and HEX.cnm; guide, database level complete",
    expected="only a name, a key and host names are taken over; files are named by the number",
    target=ca(Storing, database_level="complete"),
)
def greedy_request(target: CaTarget) -> Iterator[Shot]:
    evil = target.evil
    sub_ca = replace(evil, transaction_id="SUBCA").pkcs_req(ca=True)
    yield Shot("CA:TRUE", target.posting(sub_ca), "PENDING", "queued")
    for number, subject in enumerate(("cn=../../x", "cn=C:\\x", "cn=$(reboot)", "cn=<script>")):
        octets = replace(evil, transaction_id=f"P{number}").pkcs_req(subject=parse_dn(subject))
        yield Shot(f"subject {subject}", target.posting(octets), "PENDING", "queued")
    plain = parse_dn("hostname=r1.example.com")
    for what, text in (
        ("a NUL", b"r1\x00example.com"),
        ("a line of its own", b"r1\nWriting 1.c"),
        ("an escape", b"r1\x1b[2Jle.com"),
    ):
        assert len(text) < 15
        subject = plain.replace(b"r1.example.com", text.ljust(14, b"x"))
        octets = evil.pkcs_req(subject=subject)
        yield Shot(f"a name with {what}", target.posting(octets), BAD_REQUEST, "bad-name")
    for what, parts in (
        ("the CA's name", {"subject": parse_dn("CN=Root-CA")}),
        ("no name", {"subject": b"\x30\x00"}),
        ("a wildcard", {"fqdns": ["*.example.com"]}),
        ("a path for a host", {"fqdns": ["../../etc/passwd"]}),
        ("a host of 300 letters", {"fqdns": [".".join(["a" * 60] * 5)]}),
    ):
        octets = evil.pkcs_req(**parts)  # type: ignore[arg-type]
        yield Shot(what, target.posting(octets), BAD_REQUEST, "bad-name")
    short = replace(evil, bits=512).csr()
    yield Shot(
        "a key of 512 bits",
        target.posting(evil.pkcs_req(short)),
        "FAILURE badAlg",
        "weak-algorithm",
    )
    for what, csr, reason in _broken(target):
        yield Shot(what, target.posting(evil.pkcs_req(csr)), BAD_CHECK, reason)


def _broken(target: CaTarget) -> list[tuple[str, bytes, str]]:
    """Requests that nobody has signed, or that are none: told apart for nobody."""
    evil = target.evil
    good = evil.csr()
    info, algorithm, _ = der.parse(good).children()
    other = der.parse(target.victim.csr()).children()[0]
    return [
        (
            "another's signature",
            der.sequence(other.raw, algorithm.raw, der.parse(good).children()[2].raw),
            "bad-signature",
        ),
        (
            "a signature of zeros",
            der.sequence(info.raw, algorithm.raw, der.bit_string(bytes(128))),
            "bad-signature",
        ),
        (
            "an empty signature",
            der.sequence(info.raw, algorithm.raw, der.bit_string(b"")),
            "bad-signature",
        ),
        ("no request", der.sequence(der.integer(1)), "malformed-request"),
        ("a request of 20 KB", evil.csr(challenge="x" * 20_000), "malformed-request"),
    ]
