"""The two generations that a trustpoint can hold, and which of them the clock has in force.

Ahead of the end of its CA (or, for a certificate server's trustpoint, of its own certificate) a
trustpoint holds the next generation beside the present one. At its start the two change places; the
former stays beside, so that a router whose clock was wrong and is set right finds it again.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from functools import lru_cache

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from ikelab.pki.key_pairs import REGENERATED
from ikelab.pki.store import Generation, Nvram, StoredTrustpoint
from ikelab.pki.x509 import Certificate, load_certificate


def present_of(stored: StoredTrustpoint) -> Generation:
    """The generation in force."""
    return Generation(
        stored.ca_certificates, stored.ra_certificates, stored.certificate, stored.key_label
    )


def start_of(generation: Generation) -> datetime:
    """Of the router's certificate; of the CA's where there is none."""
    return load_certificate(generation.certificate or generation.ca_certificates[0]).not_before


def following(stored: StoredTrustpoint) -> Generation | None:
    """What is held beside, if it comes after what is in force."""
    beside = stored.beside
    if beside is None or not stored.ca_certificates:
        return None
    return beside if start_of(beside) > start_of(present_of(stored)) else None


def swap_date(stored: StoredTrustpoint) -> datetime | None:
    """When the next generation takes over. A CA without a certificate of ours waits for the end of
    the present CA, below which ours may last until then. None: there is none.
    """
    after = following(stored)
    if after is None:
        return None
    next_start = load_certificate(after.ca_certificates[0]).not_before
    end = max(next_start, load_certificate(stored.ca_certificates[0]).not_after)
    return end if after.certificate is None else min(start_of(after), end)


def is_swap_due(stored: StoredTrustpoint, at: datetime) -> bool:
    """Whether the generation beside is the one of this moment, in either direction of time."""
    date = swap_date(stored)
    if date is not None:
        return at >= date
    beside = stored.beside
    return (
        beside is not None
        and bool(stored.ca_certificates)
        and at < start_of(present_of(stored))
        and start_of(beside) <= at < load_certificate(beside.ca_certificates[0]).not_after
    )


def swap(stored: StoredTrustpoint, nvram: Nvram) -> StoredTrustpoint:
    """Let the two generations change places, in one transaction of nvram.

    A regenerated key pair changes its label with that of the pair it follows, so that the
    configured label is that of the key in use.
    """
    beside, before = stored.beside, present_of(stored)
    assert beside is not None
    keys: list[tuple[str, RSAPrivateKey]] = []
    one, other = before.key_label, beside.key_label
    if one is not None and other == one + REGENERATED:
        first, second = nvram.load_key(one), nvram.load_key(other)
        if first is not None and second is not None:
            keys = [(one, second), (other, first)]
            before, beside = replace(before, key_label=other), replace(beside, key_label=one)
    swapped = replace(
        stored,
        ca_certificates=beside.ca_certificates,
        ra_certificates=beside.ra_certificates,
        certificate=beside.certificate,
        key_label=beside.key_label or stored.key_label,
        beside=before,
    )
    nvram.save_trustpoint(swapped, *keys)
    return swapped


def ends_with_its_ca(stored: StoredTrustpoint) -> bool:
    """Whether a renewal by the CA we hold would bring nothing: what follows is the next CA's.

    As IOS has it (Cisco, "IOS PKI Deployment Guide: Certificate Rollover").
    """
    if stored.certificate is None or not stored.ca_certificates:
        return False
    return _end(stored.certificate) >= _end(stored.ca_certificates[0])


def outlives_its_ca(stored: StoredTrustpoint) -> bool:
    """Whether the CA has a newer certificate than the one we hold: none signs past its end."""
    if stored.certificate is None or not stored.ca_certificates:
        return False
    return _end(stored.certificate) > _end(stored.ca_certificates[0])


@lru_cache(maxsize=256)
def _end(certificate: bytes) -> datetime:
    """When one of our own certificates ends. Asked for with every timer: read once."""
    return load_certificate(certificate).not_after


def renews(new: Certificate, old: Certificate) -> bool:
    """Whether it is a later certificate of the very same CA: same name, same key."""
    return (
        new.subject == old.subject
        and new.public_key_info == old.public_key_info
        and new.not_after > old.not_after
    )
