"""A CA that keeps its key and gets a new certificate: its routers take it, and no stranger's."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from ikelab.pki.ca_events import HttpIn
from ikelab.pki.cert_server import CertificateServer
from ikelab.pki.events import CaRenewed, EnrollmentFailed, HttpReply, HttpRequest
from tests.pki_scene import Scene, pool_key
from tests.unit.succession_scene import ca_of, own, present, with_root, with_router

DAY = timedelta(days=1)


def with_sub_ca(scene: Scene, life: timedelta) -> CertificateServer:
    server = scene.server("ra-subca", mode="sub-cs", grant="auto", lifetime_certificate=60 * DAY)
    scene.start("ra-subca")
    certify(scene, server, 8, life)
    return server


def certify(scene: Scene, server: CertificateServer, serial: int, life: timedelta) -> None:
    """The root signs a certificate for the sub-CA's one key."""
    key = pool_key(2048, 60)
    der = scene.sub_ca_certificate(key, serial, scene.wall.replace(microsecond=0), life)
    scene.ca_notices += server.install_certificate(der, [present(scene).der], key, scene.now())


def test_a_router_takes_the_new_certificate_of_the_same_ca_key() -> None:
    scene = with_root(lifetime_ca_certificate=1825 * DAY)
    server = with_sub_ca(scene, 100 * DAY)
    point = with_router(scene, ca="ra-subca")
    old = ca_of(point)
    scene.advance(days=40)
    certify(scene, server, 9, 300 * DAY)
    scene.advance(days=50)  # the renewal outlives the CA certificate that is held
    assert [item.serial for item in scene.told(CaRenewed)] == [9]
    assert ca_of(point) == present(scene, "ra-subca") != old
    assert point.credential is not None
    assert point.credential.chain[1] == present(scene).der
    scene.advance(days=60)
    assert own(point).not_before > old.not_after
    assert scene.told(EnrollmentFailed) == []


def test_a_new_ca_certificate_from_a_stranger_above_is_not_taken() -> None:
    scene = with_root(lifetime_ca_certificate=1825 * DAY)
    server = with_sub_ca(scene, 100 * DAY)
    point = with_router(scene, ca="ra-subca")
    before = point.anchors
    stranger = Scene()
    stranger.keys.asked.append(("", 0))
    stranger.keys._next[2048] = 60
    stranger.server("root-ca", lifetime_ca_certificate=1825 * DAY)
    stranger.start("root-ca")
    stranger.wall = scene.wall + 40 * DAY
    scene.advance(days=40)
    forged = stranger.server("ra-subca", mode="sub-cs")
    stranger.start("ra-subca")
    certify(stranger, forged, 9, 300 * DAY)
    certify(scene, server, 9, 300 * DAY)
    body = forged.answer(HttpIn("GET", "/?operation=GetCACert"), stranger.now()).body

    def impostor(request: HttpRequest, reply: HttpReply) -> HttpReply:
        return replace(reply, body=body) if "GetCACert" in request.url else reply

    scene.tamper = impostor
    scene.advance(days=50)
    assert point.anchors == before and scene.told(CaRenewed) == []
