"""What all parts of a trustpoint work on: configuration, nvram, and the CA to speak to."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from ikelab.errors import PkiError
from ikelab.pki import generations
from ikelab.pki.config import TrustpointConfig
from ikelab.pki.events import HttpRequest
from ikelab.pki.key_pairs import KeyPairs
from ikelab.pki.scep_client import CaBundle, ScepClient
from ikelab.pki.store import Generation, Nvram, StoredTrustpoint
from ikelab.pki.trustpoint_state import State
from ikelab.pki.x509 import load_certificate


class TrustpointCore(ABC):
    """Set by the constructor of `Trustpoint`; its parts are made for no other class."""

    config: TrustpointConfig
    state: State
    _nvram: Nvram
    _legacy: bool
    _pairs: KeyPairs
    _stored: StoredTrustpoint
    _client: ScepClient
    _fault: PkiError
    _found: CaBundle | None = None  # CA certificates that came and are not held yet
    _retry_at: float | None = 0.0

    @abstractmethod
    def _send(self, request: HttpRequest) -> HttpRequest: ...

    @property
    def following(self) -> Generation | None:
        """The next CA certificate, with ours below it as soon as there is one."""
        return generations.following(self._stored)

    def _bundle(self, *, under_next: bool = False) -> CaBundle:
        """The CA as it is spoken to: the present one, or the next one where that is asked."""
        after = self.following if under_next else None
        held = after or generations.present_of(self._stored)
        ca, *upper = map(load_certificate, held.ca_certificates)
        ra = tuple(map(load_certificate, held.ra_certificates))
        today = None if after is None else load_certificate(self._stored.ca_certificates[0])
        return CaBundle(ca, tuple(upper), ra, today)

    def _keep(self, stored: StoredTrustpoint, *keys: tuple[str, RSAPrivateKey]) -> None:
        self._stored = stored
        self._nvram.save_trustpoint(stored, *keys)

    def _ca_holds(self, at: datetime) -> bool:
        ca = load_certificate(self._stored.ca_certificates[0])
        return ca.not_before <= at <= ca.not_after
