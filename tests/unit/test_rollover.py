"""`auto-rollover`: a CA makes its next certificate before its end and swaps at the very second."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from ikelab.errors import PkiError
from ikelab.pki.ca_events import (
    ArchiveMade,
    CrlPublished,
    RolloverAvailable,
    RolloverDone,
    ServerDisabled,
    ServerEnabled,
)
from ikelab.pki.cert_server import CertificateServer, ServerState
from ikelab.pki.config import CertServerConfig
from ikelab.pki.crl import verify_crl
from ikelab.pki.rollover import rollover_date
from ikelab.pki.scep import PkiStatus
from ikelab.pki.x509 import fingerprint, load_certificate
from ikelab.runtime.store import SqliteCaStore
from tests.pki_scene import Scene
from tests.scep_requester import Requester
from tests.unit.rollover_scene import (
    AskerOfNext,
    following,
    load_last_crl,
    present,
    root_of_the_guide,
    utc,
)

HOUR = timedelta(hours=1)


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
