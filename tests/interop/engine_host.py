"""Our IKE engine alone on a real UDP socket in a namespace, with surroundings that only answer.

The smallest shell that lets a stock peer talk to `IsakmpEngine`: no data plane, no PKI of ours, no
daemon. SPIs are drawn, every installation works and is kept with its keys, certificates are checked
by openssl. What a test wants to compare (keys, states, refusals) is in `log`.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from ikelab.crypto.dh import ExponentKey
from ikelab.isakmp.events import (
    Action,
    Event,
    PeerCertAccepted,
    PeerCertRefused,
    Refused,
    SendDatagram,
    Transition,
)
from ikelab.isakmp.policy import Credential, IsakmpConfig
from ikelab.runtime.keys import OsRng
from ikelab.runtime.station import Station
from ikelab.script import Peer
from ikelab.script.identity import PeerId
from ikelab.types import Endpoint, Now
from ikelab.wire.numbers import Group, IdType
from tests.interop.pki_files import IssuedCertificate, PkiFiles

T = TypeVar("T")
TRUSTPOINT = "ra-subca"


class FileKeys:
    """Diffie-Hellman keys by plain arithmetic, the RSA key of one PEM file under any label."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file

    def dh_key(self, group: Group) -> ExponentKey:
        return ExponentKey(group, int.from_bytes(os.urandom(32), "big"))

    def signing_key(self, label: str) -> RSAPrivateKey:
        assert self._file is not None, "a configuration without RSA needs no key"
        key = load_pem_private_key(self._file.read_bytes(), None)
        assert isinstance(key, RSAPrivateKey)
        return key


def certificate_in(file: Path) -> x509.Certificate:
    """The certificate of a PEM file, read by the cryptography library."""
    return x509.load_pem_x509_certificate(file.read_bytes())


def credential(pki: PkiFiles, leaf: IssuedCertificate) -> Credential:
    """A leaf as the engine wants it, its chain up to the root."""
    certificate = certificate_in(leaf.certificate)
    sub_ca, root = certificate_in(pki.sub_ca), certificate_in(pki.root)
    fqdns, addresses = _names(certificate)
    return Credential(
        trustpoint=TRUSTPOINT,
        certificate=certificate.public_bytes(Encoding.DER),
        chain=(sub_ca.public_bytes(Encoding.DER), root.public_bytes(Encoding.DER)),
        authorities=(sub_ca.subject.public_bytes(), root.subject.public_bytes()),
        subject=certificate.subject.public_bytes(),
        fqdns=fqdns,
        addresses=addresses,
        key_label=leaf.name,
    )


def authorities(pki: PkiFiles) -> tuple[tuple[str, bytes], ...]:
    """The names our CERT_REQs carry: the sub-CA's."""
    return ((TRUSTPOINT, certificate_in(pki.sub_ca).subject.public_bytes()),)


def _names(certificate: x509.Certificate) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names and addresses of the subjectAltName."""
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    addresses = names.get_values_for_type(x509.IPAddress)
    return tuple(names.get_values_for_type(x509.DNSName)), tuple(map(str, addresses))


class EngineHost(Peer):
    """One engine with the UDP socket 500 of a namespace; a context manager.

    pki: who checks the peer's certificates, None where only pre-shared keys are used.
    """

    def __init__(
        self,
        namespace: str,
        address: str,
        config: IsakmpConfig,
        *,
        keys: FileKeys | None = None,
        pki: PkiFiles | None = None,
    ) -> None:
        self._station = Station(address, namespace=namespace)
        self._pki = pki
        self._lost = self._unsent = 0
        super().__init__(
            config, OsRng(), keys or FileKeys(), local=self._station.end, verdict=self._check
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._station.close()
        if error is not None:
            told = [str(action) for action in self.log if isinstance(action, Transition | Refused)]
            error.add_note("our engine:\n" + "\n".join(told))

    def tell(self, *events: Event) -> None:
        """Feed events to the engine and send what it asks for."""
        self.give(self._station.now(), *events)
        self._station.flush(self)

    def deaf_to(self, datagrams: int) -> None:
        """Lose the next datagrams that come in."""
        self._lost = datagrams

    def mute_for(self, datagrams: int) -> None:
        """Lose the next datagrams that we send."""
        self._unsent = datagrams

    def run_until(self, condition: Callable[[], bool], what: str, *, seconds: float = 8.0) -> None:
        """Serve the socket and the timers until the condition holds. AssertionError in the end."""
        if not self._station.serve(self, until=condition, seconds=seconds):
            raise AssertionError(f"no {what} after {seconds} s")

    def receive(
        self,
        octets: bytes,
        now: Now,
        remote: Endpoint | None = None,
        local: Endpoint | None = None,
    ) -> list[Action]:
        if self._lost:
            self._lost -= 1
            return []
        return super().receive(octets, now, remote, local)

    def answer(self, action: Action) -> Iterable[Event]:
        if isinstance(action, SendDatagram) and self._unsent:
            self._unsent -= 1
            return []
        return super().answer(action)

    def _check(
        self, handle: int, certificates: tuple[bytes, ...], peer_id: PeerId
    ) -> PeerCertAccepted | PeerCertRefused:
        assert self._pki is not None
        leaf = x509.load_der_x509_certificate(certificates[0])
        words = ["verify", "-crl_check_all", "-trusted", str(self._pki.root)]
        words += ["-untrusted", str(self._pki.sub_ca)]
        for stem in ("root-ca", "ra-subca"):
            words += ["-CRLfile", str(self._pki.directory / f"{stem}.crl.pem")]
        done = subprocess.run(
            ["openssl", *words, "/dev/stdin"],
            input=leaf.public_bytes(Encoding.PEM),
            capture_output=True,
            check=False,
        )
        if done.returncode:
            return PeerCertRefused(handle, "openssl", done.stderr.decode())
        info = leaf.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        fqdns, addresses = _names(leaf)
        subject = leaf.subject.public_bytes()
        serial = leaf.serial_number
        is_subject = peer_id == (IdType.ID_DER_ASN1_DN, subject)
        names = (subject, fqdns, addresses)
        return PeerCertAccepted(handle, TRUSTPOINT, info, *names, serial, is_subject=is_subject)
