"""Who a scripted peer is: a certificate with its key and chain; and what it makes of another's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from ikelab.crypto.dh import DhKey
from ikelab.errors import ConfigError, PkiError
from ikelab.isakmp.events import PeerCertAccepted, PeerCertRefused
from ikelab.isakmp.policy import Credential
from ikelab.node.credentials import accepted
from ikelab.pki.x509 import load_certificate
from ikelab.wire.numbers import Group

PeerId = tuple[int, bytes] | None
Verdict = Callable[[int, tuple[bytes, ...], PeerId], PeerCertAccepted | PeerCertRefused]
"""(handle, the peer's certificates, its ID payload) -> what to make of them. DER, leaf first."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A router certificate as a peer presents it. authorities: whom its CERT_REQs name."""

    credential: Credential
    key: RSAPrivateKey = field(repr=False)
    authorities: tuple[tuple[str, bytes], ...] = ()

    @classmethod
    def of(
        cls, certificate: bytes, key: RSAPrivateKey, chain: Sequence[bytes] = (), name: str = "ra"
    ) -> Identity:
        """certificate, chain: DER, the chain with the leaf's issuer first. name: a trustpoint's."""
        leaf = load_certificate(certificate)
        above = [load_certificate(der) for der in chain]
        issuers = dict.fromkeys([leaf.issuer, *(ca.issuer for ca in above)])
        credential = Credential(
            trustpoint=name,
            certificate=certificate,
            chain=tuple(chain),
            authorities=tuple(issuers),
            subject=leaf.subject,
            fqdns=leaf.fqdns,
            addresses=leaf.addresses,
            key_label=name,
        )
        return cls(credential, key, ((name, leaf.issuer),))


def believe(
    handle: int, certificates: tuple[bytes, ...], peer_id: PeerId
) -> PeerCertAccepted | PeerCertRefused:
    """Take any certificate that can be read: its signature in message 5 or 6 must still fit.

    A script asks what the other end does; whom *it* trusts is seldom the question. Where it is,
    give the Peer another verdict.
    """
    try:
        return accepted(handle, "script", certificates[0], peer_id)
    except PkiError as error:
        return PeerCertRefused(handle, error.reason, error.detail)


class DhSource(Protocol):
    """Where Diffie-Hellman keys come from: `Seeded`, or libcrypto in the runtime."""

    def dh_key(self, group: Group) -> DhKey:
        """A fresh key of the group."""
        ...


class IdentityKeys:
    """The KeySource of a Peer: DH keys from anywhere, the signature key of one identity."""

    def __init__(self, source: DhSource, identity: Identity | None = None) -> None:
        self._source = source
        self._identity = identity

    def dh_key(self, group: Group) -> DhKey:
        """A fresh key of the group."""
        return self._source.dh_key(group)

    def signing_key(self, label: str) -> RSAPrivateKey:
        """The identity's. Raises ConfigError where there is none."""
        if self._identity is None:
            raise ConfigError("this peer has no certificate", hint="give it an Identity")
        return self._identity.key
