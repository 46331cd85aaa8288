"""The guide's root CA with `auto-rollover`, its two generations, and who asks the next one.

The guide's times are Eastern, EST five and EDT four hours behind UTC.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from ikelab.pki.cert_server import CertificateServer
from ikelab.pki.crl import load_crl
from ikelab.pki.x509 import Certificate, load_certificate
from ikelab.runtime.store import SqliteCaStore
from tests.pki_scene import Scene
from tests.scep_requester import Requester

HOUR = timedelta(hours=1)
EST, EDT = 5 * HOUR, 4 * HOUR


def utc(text: str, behind: timedelta = EST) -> datetime:
    return datetime.strptime(text, "%H:%M:%S %b %d %Y").replace(tzinfo=UTC) + behind


def root_of_the_guide(store: SqliteCaStore | None = None, **config: object) -> Scene:
    """Four hours of CA, an hour of overlap, 0x09F until 10:34:12 EST May 27 2008 (V02)."""
    scene = Scene(wall=utc("06:34:12 May 27 2008"))
    wanted: dict[str, object] = {
        "lifetime_ca_certificate": 4 * HOUR,
        "lifetime_certificate": 2 * HOUR,
        "auto_rollover": HOUR,
        "database_level": "complete",
        "archive_password": "cisco123",
    }
    server = scene.server("root-ca", store, **(wanted | config))
    server.store.raise_last_serial(0x9E)
    scene.start("root-ca")
    return scene


def present(server: CertificateServer) -> Certificate:
    der = server.certificates[0]
    assert der is not None
    return load_certificate(der)


def following(server: CertificateServer) -> Certificate:
    der = server.certificates[1]
    assert der is not None
    return load_certificate(der)


def load_last_crl(server: CertificateServer):
    crl = server.store.load_crl()
    assert crl is not None
    return load_crl(crl.crl)


class AskerOfNext(Requester):
    """Encrypts for the next CA certificate, and believes its answer."""

    @property
    def ca(self) -> Certificate:
        return following(self.server)
