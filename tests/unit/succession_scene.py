"""A CA with generations, and a router that goes from one to the next."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from ikelab.pki.trustpoint import Trustpoint
from ikelab.pki.x509 import Certificate, fingerprint, load_certificate
from tests.pki_scene import Scene

DAY = timedelta(days=1)


def with_root(**config: object) -> Scene:
    """A CA of a year with a month of overlap, certificates of half a year."""
    scene = Scene()
    wanted: dict[str, object] = {
        "grant": "auto",
        "lifetime_ca_certificate": 365 * DAY,
        "lifetime_certificate": 180 * DAY,
        "lifetime_crl": timedelta(days=14),
        "auto_rollover": 30 * DAY,
    }
    scene.server("root-ca", **(wanted | config))
    scene.start("root-ca")
    return scene


def with_router(
    scene: Scene, name: str = "ra", ca: str = "root-ca", **config: object
) -> Trustpoint:
    der = scene.servers[ca].certificates[0]
    assert der is not None
    wanted: dict[str, object] = {
        "fingerprint": fingerprint(der, "sha256"),
        "auto_enroll": 80,
        "regenerate": True,
        "rsakeypair": "spoke-keys",
    }
    made = scene.trustpoint(name, ca, **(wanted | config))
    if made.config.auto_enroll is None:
        scene.enroll(name)
    else:
        scene.advance(seconds=1)
    assert made.credential is not None
    return made


def own(point: Trustpoint) -> Certificate:
    assert point.credential is not None
    return load_certificate(point.credential.certificate)


def ca_of(point: Trustpoint) -> Certificate:
    return load_certificate(point.anchors[0])


def present(scene: Scene, name: str = "root-ca") -> Certificate:
    der = scene.servers[name].certificates[0]
    assert der is not None
    return load_certificate(der)


def sleep_until(scene: Scene, moment: datetime) -> None:
    """A time in which nothing is done, as by a router that is busy elsewhere."""
    scene._step((moment - scene.wall).total_seconds())


def go_to(scene: Scene, moment: datetime) -> None:
    scene.advance(seconds=(moment - scene.wall).total_seconds())


def manual_until_the_renewal() -> tuple[Scene, Trustpoint]:
    """Enrolled with a CA that grants by hand, and a rollover request that waits there."""
    scene = with_root()
    point = with_router(scene, auto_enroll=95)
    scene.advance(days=363)
    server = scene.servers["root-ca"]
    server.config = replace(server.config, grant="manual")
    scene.advance(hours=21)
    return scene, point
