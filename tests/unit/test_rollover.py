"""`auto-rollover`: a CA makes its next certificate ahead of its end, and swaps at the very second.

The dates are the guide's; its times are Eastern, EST five and EDT four hours behind UTC.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ikelab.errors import PkiError
from ikelab.pki.algorithms import public_key_info
from ikelab.pki.ca_events import (
    ArchiveMade,
    CrlPublished,
    RequestRefused,
    RolloverAvailable,
    RolloverDone,
    ServerDisabled,
    ServerEnabled,
)
from ikelab.pki.cert_server import CertificateServer, ServerState
from ikelab.pki.config import CertServerConfig
from ikelab.pki.crl import load_crl, verify_crl
from ikelab.pki.name import parse_dn
from ikelab.pki.rollover import rollover_date
from ikelab.pki.scep import FailInfo, PkiStatus
from ikelab.pki.x509 import Certificate, build_certificate, fingerprint, load_certificate
from ikelab.runtime.store import SqliteCaStore
from tests.pki_scene import Scene, pool_key
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


def files(server: CertificateServer) -> list[str]:
    return [file.name for file in server.store.outbox()]


# --- the root -------------------------------------------------------------------------------------


def test_the_roots_shadow_of_the_guide_follows_0x9f_to_the_second() -> None:
    scene = root_of_the_guide()
    server = scene.servers["root-ca"]
    assert server.status().rollover_date == utc("09:34:12 May 27 2008")
    scene.advance(seconds=3 * 3600 - 1)
    assert server.certificates[1] is None
    scene.advance(seconds=1)
    old, shadow = present(server), following(server)
    assert (old.serial, shadow.serial) == (0x9F, 0xA0)
    assert (shadow.not_before, shadow.not_after) == (
        utc("10:34:12 May 27 2008"),
        utc("14:34:12 May 27 2008"),
    )
    assert shadow.subject == old.subject and shadow.public_key_info != old.public_key_info
    assert scene.told(RolloverAvailable) == [RolloverAvailable("root-ca", 0xA0, shadow.not_before)]
    assert {"A0.crt", "A0.cnm", "root-ca.ser"} <= set(files(server))
    status = server.status()
    assert status.rollover_fingerprint == fingerprint(shadow.der, "md5")
    assert (status.rollover_expires, status.rollover_date) == (shadow.not_after, None)
    assert status.fingerprint == fingerprint(old.der, "md5")


def test_at_the_second_of_the_end_the_shadow_is_the_ca() -> None:
    scene = root_of_the_guide()
    server = scene.servers["root-ca"]
    scene.advance(seconds=4 * 3600 - 1)
    shadow, number = following(server), load_last_crl(server).number
    assert present(server).serial == 0x9F
    scene.advance(seconds=1)
    assert present(server) == shadow and server.certificates[1] is None
    assert scene.told(RolloverDone) == [RolloverDone("root-ca", 0xA0, shadow.not_after)]
    assert server.state is ServerState.ENABLED and scene.told(ServerDisabled) == []
    crl = load_last_crl(server)
    verify_crl(crl, shadow)
    assert crl.this_update == shadow.not_before
    assert number is not None and crl.number == number + 1
    assert scene.told(ArchiveMade)[-1] == ArchiveMade("root-ca", "root-ca_00003.p12")
    assert {"root-ca_00003.p12", "root-ca.crl"} <= set(files(server))
    assert server.status().rollover_date == shadow.not_after - HOUR


def load_last_crl(server: CertificateServer):
    crl = server.store.load_crl()
    assert crl is not None
    return load_crl(crl.crl)


def test_generation_follows_generation() -> None:
    scene = root_of_the_guide()
    server = scene.servers["root-ca"]
    scene.advance(hours=4 * 5)
    assert [item.serial for item in scene.told(RolloverDone)] == [0xA0, 0xA1, 0xA2, 0xA3, 0xA4]
    assert len(scene.told(RolloverAvailable)) == 5
    assert present(server).not_before == utc("06:34:12 May 27 2008") + 20 * HOUR


def test_without_auto_rollover_a_ca_stops_at_its_end() -> None:
    scene = root_of_the_guide(auto_rollover=None, grant="auto")
    asker = Requester(scene, scene.servers["root-ca"])
    assert asker.server.status().rollover_date is None
    octets = asker.pkcs_req()
    scene.advance(hours=4)
    assert asker.server.state is ServerState.EXPIRED
    assert asker.post(octets).status == 503
    assert scene.told(RolloverAvailable) == []


def test_a_ca_that_was_off_at_its_end_starts_with_the_shadow(tmp_path: Path) -> None:
    path = str(tmp_path / "ca.db")
    store = SqliteCaStore(path)
    scene = root_of_the_guide(store)
    scene.advance(hours=3)
    shadow = following(scene.servers["root-ca"])
    store.close()
    scene.wall += 90 * timedelta(minutes=1)
    config = scene.servers["root-ca"].config
    again = scene.server("root-ca", SqliteCaStore(path))
    again.config = config
    scene.start("root-ca")
    assert present(again) == shadow and again.state is ServerState.ENABLED
    verify_crl(load_last_crl(again), shadow)
    assert "root-ca_00003.p12" in files(again)


def test_a_ca_that_is_asked_before_its_late_timer_answers_as_the_new_one() -> None:
    scene = root_of_the_guide(grant="auto")
    asker = Requester(scene, scene.servers["root-ca"])
    scene.advance(hours=3)
    scene.wall = utc("10:34:12 May 27 2008")
    out = asker.http("GET", "/cgi-bin/pkiclient.exe?operation=GetCACert")
    assert load_certificate(out.body).serial == 0xA0
    assert RolloverDone("root-ca", 0xA0, utc("14:34:12 May 27 2008")) in out.notices


def test_a_request_for_the_next_ca_is_signed_with_its_key_from_its_start_on() -> None:
    scene = root_of_the_guide(grant="auto")
    asker = Requester(scene, scene.servers["root-ca"])
    scene.advance(hours=3)
    shadow = following(asker.server)
    reply = AskerOfNext(scene, asker.server).enroll()
    [der] = reply.certificates
    issued = load_certificate(der)
    assert issued.is_signed_by(shadow.public_key)
    assert (issued.not_before, issued.not_after) == (
        shadow.not_before,
        shadow.not_before + 2 * HOUR,
    )
    before = load_certificate(
        Requester(scene, asker.server, key_index=101).enroll().certificates[0]
    )
    assert before.is_signed_by(present(asker.server).public_key)
    assert before.not_after == shadow.not_before  # cut at the end of its own CA


class AskerOfNext(Requester):
    """Encrypts for the next CA certificate, and believes its answer."""

    @property
    def ca(self) -> Certificate:
        return following(self.server)


def test_a_request_for_the_next_ca_waits_for_a_person_and_is_polled_across_the_swap() -> None:
    scene = root_of_the_guide()
    server = scene.servers["root-ca"]
    scene.advance(hours=3)
    asker = AskerOfNext(scene, server)
    assert asker.enroll().status is PkiStatus.PENDING
    shadow = following(server)
    scene.advance(hours=1)
    assert present(server) == shadow
    scene.ca_notices += server.grant(None, scene.now())
    reply = Requester(scene, server).poll()
    assert load_certificate(reply.certificates[0]).is_signed_by(shadow.public_key)


def test_a_grant_before_the_swap_is_signed_by_the_ca_that_was_asked() -> None:
    scene = root_of_the_guide()
    server = scene.servers["root-ca"]
    scene.advance(hours=3)
    asker = AskerOfNext(scene, server)
    asker.enroll()
    scene.ca_notices += server.grant(None, scene.now())
    reply = asker.poll()
    assert load_certificate(reply.certificates[0]).is_signed_by(following(server).public_key)


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
    der = certificate_below(scene, 0, 8, start, life)
    root = present(scene.servers["root-ca"]).der
    scene.ca_notices += server.install_certificate(der, [root], pool_key(2048, 50), scene.now())
    return server


def certificate_below(
    scene: Scene, key: int, serial: int, start: datetime, life: timedelta
) -> bytes:
    root = scene.servers["root-ca"].store.load_authority()
    assert root is not None
    return build_certificate(
        serial=serial,
        issuer=parse_dn("cn=root-ca"),
        subject=parse_dn("cn=ra-subca"),
        public_key_info=public_key_info(pool_key(2048, 50 + key)),
        not_before=start,
        not_after=start + life,
        issuer_key=root.key,
        digest="sha256",
        ca=True,
        key_usage=frozenset({"keyCertSign", "cRLSign", "digitalSignature"}),
        crl_url=None,
        authority_key_id=None,
    )


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
    der = certificate_below(scene, 1, 9, end, timedelta(days=100))
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
    renewed = certificate_below(scene, 0, 9, scene.wall.replace(microsecond=0), timedelta(days=100))
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


# --- clocks that jump -----------------------------------------------------------------------------


@pytest.mark.parametrize("years", [1, 10, 1000])
def test_a_clock_that_jumps_years_forth_and_back_makes_one_shadow_at_most(years: int) -> None:
    scene = root_of_the_guide(grant="auto")
    server = scene.servers["root-ca"]
    first = present(server)
    for _ in range(50):
        scene.wall += timedelta(days=365 * years)
        scene.ca_notices += server.tick(scene.now())
        scene.wall -= timedelta(days=365 * years)
        scene.ca_notices += server.tick(scene.now())
    assert present(server) == first and server.state is ServerState.ENABLED
    assert len(scene.told(RolloverAvailable)) <= 1
    assert Requester(scene, server).enroll().status is PkiStatus.SUCCESS


def test_a_clock_that_was_ahead_of_a_swap_finds_the_ca_of_its_day_again() -> None:
    scene = root_of_the_guide(grant="auto")
    server = scene.servers["root-ca"]
    scene.advance(hours=3)
    first, shadow = present(server), following(server)
    for _ in range(20):
        scene.wall += 2 * HOUR
        scene.ca_notices += server.tick(scene.now())
        assert present(server) == shadow
        scene.wall -= 2 * HOUR
        scene.ca_notices += server.tick(scene.now())
        assert (present(server), following(server)) == (first, shadow)
    assert len(scene.told(RolloverAvailable)) == 1
    assert [item.again for item in scene.told(RolloverDone)] == [False] + [True] * 39
    scene.advance(hours=1)
    assert present(server) == shadow


def test_an_expired_ca_whose_clock_is_set_right_serves_again() -> None:
    scene = root_of_the_guide(auto_rollover=None, grant="auto")
    server = scene.servers["root-ca"]
    scene.wall += 8 * HOUR
    scene.ca_notices += server.tick(scene.now())
    assert server.state is ServerState.EXPIRED
    scene.wall -= 8 * HOUR
    scene.ca_notices += server.tick(scene.now())
    assert server.state is ServerState.ENABLED
    assert scene.told(ServerEnabled)[-1] == ServerEnabled("root-ca")


def test_an_overlap_longer_than_the_ca_makes_one_shadow_a_generation() -> None:
    scene = root_of_the_guide(auto_rollover=timedelta(days=1825))
    scene.advance(hours=9)
    assert len(scene.told(RolloverAvailable)) == 3
    assert len(scene.told(RolloverDone)) == 2


def test_an_ra_never_rolls_over_by_itself() -> None:
    scene = root_of_the_guide()
    config = CertServerConfig("ra", mode="ra", auto_rollover=HOUR)
    assert rollover_date(config, present(scene.servers["root-ca"])) is None


def test_the_table_knows_no_rollover_of_a_server_that_is_shut() -> None:
    scene = root_of_the_guide()
    server = scene.servers["root-ca"]
    server.shut(scene.now())
    scene.wall += 5 * HOUR
    assert server.tick(scene.now()) == []
    with pytest.raises(PkiError, match="server-state"):
        server.revoke(1, scene.now())


# --- killed in between ----------------------------------------------------------------------------


class Killed(BaseException):
    """The process is no more."""


def killed(*_: object) -> None:
    raise Killed


def restarted(scene: Scene, path: str) -> CertificateServer:
    dead = scene.servers["root-ca"]
    config = dead.config
    dead.store.close()  # type: ignore[attr-defined]
    server = scene.server("root-ca", SqliteCaStore(path))
    server.config = config
    return scene.start("root-ca")


@pytest.mark.parametrize("step", ["reserve_serial", "record_issued", "save_rollover"])
def test_a_root_killed_while_it_makes_its_shadow_makes_one_afterwards(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "ca.db")
    scene = root_of_the_guide(SqliteCaStore(path))
    scene.advance(seconds=3 * 3600 - 1)
    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(SqliteCaStore, step, killed)
        scene.advance(seconds=1)
    server = restarted(scene, path)
    scene.advance(seconds=1)
    shadow = following(server)
    assert shadow.not_before == utc("10:34:12 May 27 2008")
    assert shadow.serial == 0xA0 if step == "reserve_serial" else shadow.serial == 0xA1
    scene.advance(hours=1)
    assert present(server) == shadow


@pytest.mark.parametrize("step", ["save_authority", "save_crl"])
def test_a_root_killed_while_it_swaps_is_the_new_one_afterwards(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "ca.db")
    scene = root_of_the_guide(SqliteCaStore(path))
    scene.advance(seconds=4 * 3600 - 1)
    shadow = following(scene.servers["root-ca"])
    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(SqliteCaStore, step, killed)
        scene.advance(seconds=1)
    scene.wall = utc("10:34:12 May 27 2008")
    server = restarted(scene, path)
    assert present(server) == shadow and server.certificates[1] is None
    verify_crl(load_last_crl(server), shadow)
    assert {"root-ca_00003.p12", "root-ca.crl"} <= set(files(server))


# --- witnesses ------------------------------------------------------------------------------------


@pytest.mark.interop
def test_openssl_verifies_every_generation_its_crl_and_what_it_issued(
    need: Callable[[str], str], tmp_path: Path
) -> None:
    openssl = need("openssl")
    scene = root_of_the_guide(grant="auto")
    server = scene.servers["root-ca"]
    for generation in range(3):
        scene.advance(hours=3)
        issued = AskerOfNext(scene, server, transaction_id=f"G{generation}").enroll()
        shadow = following(server)
        scene.advance(hours=1, seconds=1)
        assert present(server) == shadow
        for name, kind, der in (
            ("ca", "x509", shadow.der),
            ("router", "x509", issued.certificates[0]),
            ("crl", "crl", load_last_crl(server).der),
        ):
            (tmp_path / f"{name}.der").write_bytes(der)
            words = [openssl, kind, "-inform", "DER", "-in", f"{name}.der", "-out", f"{name}.pem"]
            subprocess.run(words, cwd=tmp_path, check=True)
        verify = [openssl, "verify", "-CAfile", "ca.pem", "-CRLfile", "crl.pem", "-crl_check"]
        at = str(int(scene.wall.timestamp()))
        done = subprocess.run(
            [*verify, "-attime", at, "router.pem"], cwd=tmp_path, capture_output=True, text=True
        )
        assert (done.returncode, done.stdout) == (0, "router.pem: OK\n"), done.stderr
        own = [openssl, "verify", "-check_ss_sig", "-attime", at, "-CAfile", "ca.pem", "ca.pem"]
        assert subprocess.run(own, cwd=tmp_path, capture_output=True).returncode == 0
    assert len(scene.told(CrlPublished)) >= 3
