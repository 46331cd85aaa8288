"""Our IKE engine alone on a real UDP socket in a namespace, with surroundings that only answer.

The smallest shell that lets a stock peer talk to `IsakmpEngine`: no data plane, no PKI of ours, no
daemon. SPIs are drawn, every installation works and is kept with its keys, certificates are checked
by openssl. What a test wants to compare (keys, states, refusals) is in `log`.
"""

from __future__ import annotations

import os
import select
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
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
from ikelab.isakmp.engine import IsakmpEngine
from ikelab.isakmp.events import (
    Action,
    AllocateSpi,
    CheckPeerCert,
    DatagramReceived,
    Event,
    InstallIpsecSa,
    IpsecInstallDone,
    PeerCertAccepted,
    PeerCertRefused,
    Refused,
    SendDatagram,
    SpiAllocated,
    TimerFired,
    Transition,
)
from ikelab.isakmp.policy import Credential, IsakmpConfig
from ikelab.runtime.namespace import inside
from ikelab.types import Endpoint, Now
from ikelab.wire.numbers import Group, IdType
from tests.interop.pki_files import IssuedCertificate, PkiFiles

T = TypeVar("T")
TRUSTPOINT = "ra-subca"


class OsRng:
    """Octets of the operating system, whatever the label."""

    def draw(self, label: str, length: int) -> bytes:
        return os.urandom(length)


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


class EngineHost:
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
        self.engine = IsakmpEngine(config, OsRng(), keys or FileKeys())
        self.log: list[Action] = []
        self._local = Endpoint(address, 500)
        self._pki = pki
        self._lost = self._unsent = 0
        self._started = time.monotonic()
        with inside(namespace):
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((address, 500))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()
        if error is not None:
            told = [str(action) for action in self.log if isinstance(action, Transition | Refused)]
            error.add_note("our engine:\n" + "\n".join(told))

    def of(self, kind: type[T]) -> list[T]:
        """All actions of one type so far."""
        return [action for action in self.log if isinstance(action, kind)]

    @property
    def states(self) -> list[str]:
        """States of all ISAKMP SAs that exist now."""
        return [sa.state.value for sa in self.engine.table.sas.values()]

    def give(self, *events: Event) -> None:
        """Feed events to the engine and carry out what it asks for."""
        queue = list(events)
        while queue:
            for action in self.engine.handle(queue.pop(0), self._now()):
                self.log.append(action)
                queue += self._carry_out(action)

    def deaf_to(self, datagrams: int) -> None:
        """Lose the next datagrams that come in."""
        self._lost = datagrams

    def mute_for(self, datagrams: int) -> None:
        """Lose the next datagrams that we send."""
        self._unsent = datagrams

    def run_until(self, condition: Callable[[], bool], what: str, *, seconds: float = 8.0) -> None:
        """Serve the socket and the timers until the condition holds. AssertionError in the end."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"no {what} after {seconds} s")
            self._serve_once()

    def _serve_once(self) -> None:
        timer = self.engine.next_timer()
        # 50 ms at most, because the condition may be the peer's.
        wait = 0.05 if timer is None else min(0.05, max(0.0, timer.remaining(self._now())))
        readable, _, _ = select.select([self._socket], [], [], wait)
        if readable:
            octets, (address, port) = self._socket.recvfrom(65535)
            if self._lost:
                self._lost -= 1
                return
            self.give(DatagramReceived(self._local, Endpoint(address, port), octets))
        if timer is not None and timer.remaining(self._now()) <= 0:
            self.give(TimerFired())

    def _carry_out(self, action: Action) -> Iterator[Event]:
        match action:
            case SendDatagram() if self._unsent:
                self._unsent -= 1
            case SendDatagram(_, remote, octets):
                self._socket.sendto(octets, (remote.address, remote.port))
            case AllocateSpi(handle):
                yield SpiAllocated(handle, b"\xc1" + os.urandom(3))
            case InstallIpsecSa():
                yield IpsecInstallDone(action.handle)
            case CheckPeerCert(handle, _, certificates):
                yield self._check(handle, x509.load_der_x509_certificate(certificates[0]))
            case _:
                pass

    def _check(self, handle: int, leaf: x509.Certificate) -> PeerCertAccepted | PeerCertRefused:
        assert self._pki is not None
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
        is_subject = self.engine.table.sas[handle].peer_id == (IdType.ID_DER_ASN1_DN, subject)
        names = (subject, fqdns, addresses)
        return PeerCertAccepted(handle, TRUSTPOINT, info, *names, serial, is_subject=is_subject)

    def _now(self) -> Now:
        return Now(time.monotonic() - self._started, datetime.now(UTC))
