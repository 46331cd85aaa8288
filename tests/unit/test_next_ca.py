"""GetNextCACert (RFC 8894 section 4.7): announced only while there is one, signed by today's CA."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ikelab.errors import PkiError
from ikelab.pki import scep
from ikelab.pki.algorithms import key_identifier, public_key_info
from ikelab.pki.ca_events import HttpIn, HttpOut
from ikelab.pki.cert_server import CertificateServer
from ikelab.pki.cms import build_degenerate
from ikelab.pki.issuer import sign_ca_certificate
from ikelab.pki.scep_client import CaBundle, parse_capabilities, read_next_ca_certificates
from ikelab.pki.store import Authority
from ikelab.pki.x509 import build_certificate, load_certificate, parse_dn
from ikelab.runtime.store import SqliteCaStore
from tests.pki_scene import Scene, pool_key

PATH = "/cgi-bin/pkiclient.exe?operation="


def with_root(store: SqliteCaStore | None = None) -> tuple[Scene, CertificateServer]:
    scene = Scene()
    scene.server("root-ca", store)
    return scene, scene.start("root-ca")


def get(scene: Scene, server: CertificateServer, operation: str) -> HttpOut:
    return server.answer(HttpIn("GET", PATH + operation), scene.now())


def following(scene: Scene, server: CertificateServer, generation: int = 2) -> Authority:
    """The next root: begins when the present one ends."""
    present = load_certificate(authority(server).certificate)
    key = pool_key(2048, 70 + generation)
    der = sign_ca_certificate(server.config, key, 90 + generation, present.not_after)
    return Authority(generation, key, der)


def authority(server: CertificateServer) -> Authority:
    found = server.store.load_authority()
    assert found is not None
    return found


def bundle(server: CertificateServer) -> CaBundle:
    return CaBundle(load_certificate(authority(server).certificate))


def reason_of(deed: Callable[[], object]) -> str:
    with pytest.raises(PkiError) as raised:
        deed()
    return raised.value.reason


def test_without_a_rollover_certificate_it_is_404_and_not_among_the_capabilities() -> None:
    scene, server = with_root()
    assert get(scene, server, "GetNextCACert").status == 404
    caps = parse_capabilities(get(scene, server, "GetCACaps").body)
    assert "GetNextCACert" not in caps and "SCEPStandard" in caps


def test_with_one_a_router_learns_it_by_the_signature_of_the_present_ca() -> None:
    scene, server = with_root()
    after = following(scene, server)
    server.store.save_rollover(after, [])
    assert "GetNextCACert" in parse_capabilities(get(scene, server, "GetCACaps").body)
    answer = get(scene, server, "GetNextCACert&message=ra")
    assert (answer.status, answer.content_type) == (200, "application/x-x509-next-ca-cert")
    found = read_next_ca_certificates(answer.body, bundle(server), scene.wall, legacy=False)
    assert found.ca.der == after.certificate
    assert get(scene, server, "GetCACert").body == authority(server).certificate


def test_a_sub_ca_announces_its_next_certificate_with_the_cas_above() -> None:
    scene, server = with_root()
    upper = authority(server)
    after = following(scene, server)
    server.store.save_rollover(Authority(2, after.key, after.certificate, (upper.certificate,)), [])
    body = get(scene, server, "GetNextCACert").body
    announced = scep.read_next_ca(body, load_certificate(upper.certificate))
    assert set(announced) == {after.certificate, upper.certificate}


def test_an_announcement_of_another_ca_is_not_believed() -> None:
    scene, server = with_root()
    other_scene, other = with_root()
    other_key = pool_key(2048, 60)
    forged_by = load_certificate(
        sign_ca_certificate(other.config, other_key, 1, scene.wall - timedelta(days=1))
    )
    forged = scep.build_next_ca(
        [following(scene, server).certificate], forged_by, other_key, "sha256"
    )
    assert reason_of(
        lambda: read_next_ca_certificates(forged, bundle(server), scene.wall, legacy=False)
    ) in ("wrong-signer", "bad-signature")


def test_an_announcement_of_another_name_is_not_taken() -> None:
    scene, server = with_root()
    stranger = Scene()
    stranger.server("other-ca")
    der = authority(stranger.start("other-ca")).certificate
    ca = authority(server)
    body = scep.build_next_ca([der], load_certificate(ca.certificate), ca.key, "sha256")
    assert (
        reason_of(lambda: read_next_ca_certificates(body, bundle(server), scene.wall, legacy=False))
        == "wrong-name"
    )


@pytest.mark.parametrize("body", [b"", b"\x30\x00", build_degenerate([]), b"x" * 70_000])
def test_what_is_no_announcement_is_refused(body: bytes) -> None:
    scene, server = with_root()
    with pytest.raises(PkiError):
        read_next_ca_certificates(body, bundle(server), scene.wall, legacy=False)


def test_the_store_keeps_the_rollover_over_a_restart_until_it_is_the_authority(
    tmp_path: Path,
) -> None:
    path = str(tmp_path / "ca.db")
    store = SqliteCaStore(path)
    scene, server = with_root(store)
    after = following(scene, server)
    store.save_rollover(after, [("root-ca_00003.p12", b"archive")])
    assert authority(server).generation == 1
    store.close()
    again = SqliteCaStore(path)
    kept = again.load_rollover()
    assert kept is not None and kept.certificate == after.certificate
    assert "root-ca_00003.p12" in [file.name for file in again.outbox()]
    again.save_authority(kept, [])
    assert again.load_rollover() is None
    now = again.load_authority()
    assert now is not None and now.certificate == after.certificate


@pytest.mark.parametrize("generation", [0, 1])
def test_a_rollover_of_the_present_generation_or_before_is_refused(generation: int) -> None:
    scene, server = with_root()
    after = following(scene, server, generation)
    assert reason_of(lambda: server.store.save_rollover(after, [])) == "rollover-order"
    assert server.store.load_rollover() is None


def test_a_store_without_a_ca_has_nothing_to_roll_over() -> None:
    scene, server = with_root()
    empty = SqliteCaStore(":memory:")
    assert reason_of(lambda: empty.save_rollover(following(scene, server), [])) == "rollover-order"


@pytest.mark.interop
def test_openssl_verifies_the_announcement(need: Callable[[str], str], tmp_path: Path) -> None:
    scene, server = with_root()
    after = following(scene, server)
    server.store.save_rollover(after, [])
    (tmp_path / "body").write_bytes(get(scene, server, "GetNextCACert").body)
    (tmp_path / "ca.der").write_bytes(authority(server).certificate)
    openssl = need("openssl")
    words = [openssl, "x509", "-inform", "DER", "-in", "ca.der", "-out", "ca.pem"]
    subprocess.run(words, cwd=tmp_path, check=True)
    verify = [openssl, "cms", "-verify", "-inform", "DER", "-in", "body", "-CAfile", "ca.pem"]
    verify += ["-purpose", "any", "-attime", str(int(scene.wall.timestamp())), "-out", "inside"]
    done = subprocess.run(verify, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    show = [openssl, "pkcs7", "-inform", "DER", "-in", "inside", "-print_certs"]
    shown = subprocess.run(show, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    convert = [openssl, "x509", "-outform", "DER"]
    der = subprocess.run(convert, input=shown.encode(), capture_output=True, check=True).stdout
    assert der == after.certificate


# --- what a subordinate CA may announce -----------------------------------------------------------


def signed(
    name: str, key: int, issuer: str, issuer_key: int, start: datetime, serial: int = 77
) -> bytes:
    """A CA certificate of a year. Equal names: self-signed."""
    own, signer = pool_key(2048, 80 + key), pool_key(2048, 80 + issuer_key)
    return build_certificate(
        serial=serial,
        issuer=parse_dn(f"cn={issuer}"),
        subject=parse_dn(f"cn={name}"),
        public_key_info=public_key_info(own),
        not_before=start,
        not_after=start + timedelta(days=365),
        issuer_key=signer,
        digest="sha256",
        ca=True,
        key_usage=frozenset({"keyCertSign", "cRLSign"}),
        crl_url=None,
        authority_key_id=key_identifier(public_key_info(signer)),
    )


def announced(*certificates: bytes, upper: bool = True) -> CaBundle:
    """What a router that knows root and sub-CA makes of an announcement by the sub-CA's key."""
    start = datetime(2009, 1, 1, tzinfo=UTC)
    root = load_certificate(signed("root", 0, "root", 0, start))
    sub = load_certificate(signed("sub", 1, "root", 0, start))
    body = scep.build_next_ca(certificates, sub, pool_key(2048, 81), "sha256")
    present = CaBundle(sub, (root,) if upper else ())
    return read_next_ca_certificates(body, present, start + timedelta(days=300), legacy=False)


BEGIN = datetime(2009, 1, 1, tzinfo=UTC)
MIDDLE, END = BEGIN + timedelta(days=300), BEGIN + timedelta(days=365)
ROOT, NEXT_ROOT = signed("root", 0, "root", 0, BEGIN), signed("root", 2, "root", 2, END)


def test_a_sub_ca_announces_its_next_key_below_the_same_root_and_below_the_one_that_follows() -> (
    None
):
    below_old = signed("sub", 3, "root", 0, MIDDLE)
    assert announced(below_old, ROOT).upper[0].der == ROOT
    below_new = signed("sub", 3, "root", 2, END)
    assert announced(below_new, NEXT_ROOT).upper[0].der == NEXT_ROOT


@pytest.mark.parametrize(
    "certificates",
    [
        (signed("sub", 3, "root", 4, MIDDLE), signed("root", 4, "root", 4, MIDDLE)),
        (signed("sub", 3, "root", 4, END), signed("root", 4, "root", 4, END - timedelta(days=1))),
        (signed("sub", 3, "other", 4, MIDDLE), signed("other", 4, "other", 4, MIDDLE)),
        (signed("sub", 3, "sub", 3, END),),
    ],
    ids=["root of today", "root a day early", "root of another name", "itself as root"],
)
def test_a_stolen_sub_ca_cannot_set_a_root_above_itself(certificates: tuple[bytes, ...]) -> None:
    assert reason_of(lambda: announced(*certificates)) == "new-root"


def test_a_sub_ca_that_was_accepted_alone_brings_no_root_with_its_next_certificate() -> None:
    found = announced(signed("sub", 3, "root", 2, END), NEXT_ROOT, upper=False)
    assert found.upper == ()
