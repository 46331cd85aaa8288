"""Who speaks SCEP for a trustpoint outside its own enrollment: a registration authority, a CRL."""

from __future__ import annotations

from dataclasses import dataclass

from ikelab.ios.config import RunningConfig
from ikelab.node.device import device_of
from ikelab.pki.registration_authority import Upstream
from ikelab.pki.scep_client import CaBundle, ScepClient, Signer
from ikelab.pki.store import Nvram, StoredTrustpoint
from ikelab.pki.x509 import load_certificate
from ikelab.types import Rng


@dataclass(frozen=True, slots=True)
class Asker:
    """An enrolled trustpoint. capabilities: of its CA's GetCACaps."""

    client: ScepClient
    bundle: CaBundle
    signer: Signer
    capabilities: tuple[str, ...]


def upstream_of(
    config: RunningConfig, nvram: Nvram, name: str, rng: Rng, *, legacy: bool
) -> Upstream | None:
    """How a registration authority speaks to its CA: as its trustpoint does."""
    stored, point = nvram.load_trustpoint(name), config.trustpoints.get(name)
    if stored is None or point is None:
        return None
    client = ScepClient(point, device_of(config), rng, legacy)
    return Upstream(client, stored.capabilities, float(point.retry_period))


def asker_of(
    config: RunningConfig, nvram: Nvram, name: str, rng: Rng, *, legacy: bool
) -> Asker | None:
    """A trustpoint with a certificate and an address to ask at; None for any other."""
    stored, point = nvram.load_trustpoint(name), config.trustpoints.get(name)
    if stored is None or point is None or point.enrollment_url is None:
        return None
    signer = _signer(stored, nvram)
    if signer is None or not stored.ca_certificates:
        return None
    ca, *upper = (load_certificate(der) for der in stored.ca_certificates)
    ra = tuple(load_certificate(der) for der in stored.ra_certificates)
    client = ScepClient(point, device_of(config), rng, legacy)
    return Asker(client, CaBundle(ca, tuple(upper), ra), signer, stored.capabilities)


def _signer(stored: StoredTrustpoint, nvram: Nvram) -> Signer | None:
    if stored.certificate is None or stored.key_label is None:
        return None
    key = nvram.load_key(stored.key_label)
    return None if key is None else Signer(load_certificate(stored.certificate), key)
