"""The generations of a certificate server: which one is in force, and when the next one is made.

A CA's key lasts as long as its certificate. `auto-rollover` makes the next one ahead of the end (in
the guide: the shadow certificate), with a start that is exactly this end. Which of them signs is
what the clock says: a clock that was wrong by years and is set right finds the CA of its day again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from ikelab.pki.config import CertServerConfig
from ikelab.pki.issuer import Issuer, issued_files, sign_ca_certificate
from ikelab.pki.store import Authority, CaStore, IssuedCertificate
from ikelab.pki.x509 import Certificate, load_certificate


def in_force(generations: Sequence[Authority], at: datetime) -> Authority | None:
    """The newest that has begun; before all of them, the oldest."""
    begun = [item for item in generations if load_certificate(item.certificate).not_before <= at]
    return begun[-1] if begun else next(iter(generations), None)


def following(store: CaStore, present: Authority) -> Authority | None:
    """The generation after the one in force."""
    return next(
        (item for item in store.generations() if item.generation > present.generation), None
    )


def rollover_date(config: CertServerConfig, ca: Certificate) -> datetime | None:
    """When the next CA certificate is made or asked for: its end less the overlap. None: never."""
    if config.auto_rollover is None or config.mode == "ra":
        return None
    return max(ca.not_before, ca.not_after - config.auto_rollover)


def make_next(
    config: CertServerConfig, store: CaStore, present: Authority, key: RSAPrivateKey
) -> Authority:
    """A root's next generation: serial number, certificate, both on record, in this order.

    A crash on the way skips a serial number; the next look makes another.
    """
    start = load_certificate(present.certificate).not_after
    serial = store.reserve_serial()
    certificate = sign_ca_certificate(config, key, serial, start)
    files = issued_files(config, certificate, store.last_serial())
    store.record_issued(IssuedCertificate(serial, certificate), files)
    made = Authority(present.generation + 1, key, certificate)
    store.save_rollover(made, [])
    return made


def other_issuers(present: Issuer) -> Iterator[Issuer]:
    """Who answers what is not encrypted for the CA certificate in force: the next one, by its own
    key (RFC 8894 figure 9), and former certificates of the present key.

    A router holds the certificate it has accepted. After a renewal that keeps the key it still asks
    by the issuer and serial number of the old one, and must be answered in its name.
    """
    store, authority = present.store, present.authority
    after = following(store, authority)
    if after is not None:
        ca = load_certificate(after.certificate)
        yield Issuer(present.config, store, after, ca, present.legacy, is_next=True)
    for der in store.former_certificates(authority.generation):
        known = load_certificate(der)
        yield Issuer(present.config, store, authority, present.ca, present.legacy, known_as=known)
