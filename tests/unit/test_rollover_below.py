"""Rollover of subordinate CAs below a root that rolls over itself; the dates are the guide's."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from ikelab.pki.ca_events import RequestRefused, RolloverAvailable
from ikelab.pki.cert_server import CertificateServer
from ikelab.pki.crl import verify_crl
from ikelab.pki.scep import FailInfo, PkiStatus
from ikelab.pki.x509 import Certificate, load_certificate
from tests.pki_scene import Scene, pool_key
from tests.scep_requester import Requester
from tests.unit.rollover_scene import AskerOfNext, following, load_last_crl, present, utc

HOUR = timedelta(hours=1)


# --- subordinate CAs below it ---------------------------------------------------------------------


def below_the_guides_root(**config: object) -> tuple[Scene, Requester]:
    """du-subca, 0x20, from 09:59:41 to 11:59:41 below a root that ends 13:34:12 (V04)."""
    scene = Scene(wall=utc("09:34:12 May 15 2008"))
    wanted: dict[str, object] = {
        "lifetime_ca_certificate": 4 * HOUR,
        "lifetime_certificate": 2 * HOUR,
        "auto_rollover": HOUR,
        "grant_auto_rollover_ca_cert": True,
    }
    server = scene.server("root-ca", **(wanted | config))
    server.store.raise_last_serial(0x1C)
    scene.start("root-ca")
    server.store.raise_last_serial(0x1F)
    scene.advance(seconds=(utc("09:59:41 May 15 2008") - scene.wall).total_seconds())
    first = Requester(scene, server, name="cn=du-subca")
    assert first.enroll(ca=True).status is PkiStatus.PENDING  # manual: a new CA waits
    scene.ca_notices += server.grant(None, scene.now())
    [der] = first.poll().certificates
    shadow = replace(
        first,
        key_index=101,
        transaction_id="SHADOW",
        signer=load_certificate(der),
        signer_key=first.key,
    )
    return scene, shadow


def test_the_sub_cas_shadow_of_the_guide_is_cut_at_the_end_of_its_root() -> None:
    scene, asker = below_the_guides_root()
    old = asker.signer
    assert old is not None and old.serial == 0x20
    assert old.not_after == utc("11:59:41 May 15 2008")
    scene.advance(minutes=90)  # half an hour before
    reply = asker.enroll(renewal=True, ca=True)
    assert reply.status is PkiStatus.SUCCESS  # granted though the mode is manual
    shadow = load_certificate(reply.certificates[0])
    assert (shadow.serial, shadow.is_ca) == (0x21, True)
    assert (shadow.not_before, shadow.not_after) == (
        utc("11:59:41 May 15 2008"),
        utc("13:34:12 May 15 2008"),
    )


def test_without_grant_auto_rollover_the_shadow_waits_for_a_person() -> None:
    scene, asker = below_the_guides_root(grant_auto_rollover_ca_cert=False)
    scene.advance(minutes=90)
    assert asker.enroll(renewal=True, ca=True).status is PkiStatus.PENDING


def test_a_sub_ca_that_renews_with_the_same_key_starts_at_once() -> None:
    scene, asker = below_the_guides_root()
    scene.advance(minutes=90)
    same = replace(asker, key_index=100)
    renewed = load_certificate(same.enroll(renewal=True, ca=True).certificates[0])
    assert renewed.not_before == scene.wall.replace(microsecond=0)


def test_a_sub_ca_that_ends_with_its_root_is_sent_to_the_next_one() -> None:
    scene, asker = below_the_guides_root(lifetime_certificate=4 * HOUR)
    assert asker.signer is not None and asker.signer.not_after == utc("13:34:12 May 15 2008")
    scene.advance(hours=3)
    refused = asker.enroll(renewal=True, ca=True)
    assert refused.fail_info is FailInfo.BAD_REQUEST
    assert scene.told(RequestRefused)[-1].reason == "ca-ends"
    root = following(asker.server)
    of_next = AskerOfNext(**{name: getattr(asker, name) for name in asker.__dataclass_fields__})
    of_next.transaction_id = "NEXT"
    [der] = of_next.enroll(renewal=True, ca=True).certificates
    shadow = load_certificate(der)
    assert shadow.is_signed_by(root.public_key)
    assert shadow.not_before == utc("13:34:12 May 15 2008")


def sub_ca(scene: Scene, start: datetime, life: timedelta) -> CertificateServer:
    """ra-subca with a certificate of a CA above, from a date on."""
    server = scene.server("ra-subca", mode="sub-cs", auto_rollover=timedelta(days=90))
    scene.start("ra-subca")
    der = scene.sub_ca_certificate(pool_key(2048, 50), 8, start, life)
    root = present(scene.servers["root-ca"]).der
    scene.ca_notices += server.install_certificate(der, [root], pool_key(2048, 50), scene.now())
    return server


@pytest.mark.parametrize(
    ("start", "timer"),
    [
        # The guide prints 12:21:18 and, in one of two listings, 16:06:14: its timers were set a
        # moment after the certificates were read.
        ("12:21:19 Jan 28 2009", "12:21:19 Oct 30 2010"),
        ("16:06:24 Feb 12 2009", "16:06:24 Nov 14 2010"),
    ],
)
def test_the_autorollover_timers_of_the_guides_sub_cas(start: str, timer: str) -> None:
    scene = Scene(wall=utc(start))
    scene.server("root-ca", grant="auto", lifetime_ca_certificate=timedelta(days=1825))
    scene.start("root-ca")
    server = sub_ca(scene, utc(start), timedelta(days=730))
    assert server.status().rollover_date == utc(timer)


def test_a_sub_ca_holds_its_next_certificate_and_swaps_at_the_second() -> None:
    scene = Scene()
    scene.server("root-ca", grant="auto")
    scene.start("root-ca")
    start = scene.wall.replace(microsecond=0)
    server = sub_ca(scene, start, timedelta(days=100))
    end = start + timedelta(days=100)
    scene.advance(days=50)
    der = scene.sub_ca_certificate(pool_key(2048, 51), 9, end, timedelta(days=100))
    root = present(scene.servers["root-ca"]).der
    install = (der, [root], pool_key(2048, 51), scene.now())
    assert server.install_certificate(*install) == [RolloverAvailable("ra-subca", 9, end)]
    assert server.install_certificate(*install) == []  # heard of twice, after a crash
    assert server.status().rollover_expires == end + timedelta(days=100)
    before = present(server)
    scene.advance(seconds=(end - scene.wall).total_seconds() - 1)
    assert present(server) == before
    scene.advance(seconds=1)
    assert present(server).der == der
    verify_crl(load_last_crl(server), present(server))


# --- the same key again ---------------------------------------------------------------------------


def test_routers_that_hold_a_former_certificate_of_the_key_are_answered_in_its_name() -> None:
    scene = Scene()
    scene.server("root-ca", grant="auto")
    scene.start("root-ca")
    start = scene.wall.replace(microsecond=0)
    server = sub_ca(scene, start, timedelta(days=100))
    server.config = replace(server.config, grant="auto")
    before = present(server)
    scene.advance(days=50)
    start = scene.wall.replace(microsecond=0)
    renewed = scene.sub_ca_certificate(pool_key(2048, 50), 9, start, timedelta(days=100))
    root = present(scene.servers["root-ca"]).der
    key = pool_key(2048, 50)
    scene.ca_notices += server.install_certificate(renewed, [root], key, scene.now())

    class OldFriend(Requester):
        @property
        def ca(self) -> Certificate:
            return before

    issued = load_certificate(OldFriend(scene, server).enroll().certificates[0])
    assert issued.is_signed_by(before.public_key)
    fresh = load_certificate(Requester(scene, server, key_index=103).enroll().certificates[0])
    assert fresh.is_signed_by(before.public_key)
