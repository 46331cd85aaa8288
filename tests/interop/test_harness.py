"""The harness itself: two stock charons reach a child SA, and everything goes away afterwards."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.interop.charon import Charon, Connection
from tests.interop.charon_log import (
    parse_dumps,
    parse_main_mode,
    parse_quick_mode,
    read_kernel_sas,
)
from tests.interop.pki_files import PkiFiles
from tests.interop.segment import Segment

pytestmark = [pytest.mark.interop, pytest.mark.needs_root]

HUB, SPOKE = "192.0.2.1", "192.0.2.11"


def with_psk(local, remote, **changes):
    words = {
        "proposal": "aes128-sha1-modp2048",
        "esp_proposal": "aes128-sha1",
        "pre_shared_key": "a throw-away key",
    }
    return Connection(local=local, remote=remote, **(words | changes))


def with_certificate(pki, leaf, local, remote, **changes):
    words = {"proposal": "aes256-sha256-modp2048", "esp_proposal": "aes256-sha256"}
    return Connection(
        local=local,
        remote=remote,
        certificate=leaf.certificate,
        key=leaf.key,
        authorities=(pki.root, pki.sub_ca),
        **(words | changes),
    )


@pytest.fixture
def charons(segment, xfrm, short_directory):
    """Two daemons of the given connections, hub first, not started yet."""

    def make(hub, spoke):
        return tuple(
            Charon(
                segment.add_host(role, connection.local),
                short_directory / role,
                connection,
                xfrm_library=xfrm.library,
            )
            for role, connection in (("hub", hub), ("spoke", spoke))
        )

    return make


def namespaces_named(stem):
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True)
    return [line.split()[0] for line in listed.stdout.splitlines() if line.startswith(stem)]


def test_two_charons_with_a_pre_shared_key_install_a_gre_child(charons):
    hub, spoke = charons(with_psk(HUB, SPOKE), with_psk(SPOKE, HUB))
    with hub, spoke:
        spoke.initiate()
        assert spoke.is_up()
        hub.wait_for(hub.is_up, "installed child")
        assert "TRANSPORT" in hub.list_sas()
        assert f"local  {HUB}/32[gre]" in hub.list_sas()


def test_two_charons_with_certificates_check_both_crls(charons, segment, pki):
    asked = segment.serve(pki.web)
    hub, spoke = charons(
        with_certificate(pki, pki.issue("hub"), HUB, SPOKE),
        with_certificate(pki, pki.issue("spoke1"), SPOKE, HUB),
    )
    with hub, spoke:
        spoke.initiate()
        hub.wait_for(hub.is_up, "installed child")
        assert "remote 'O=ikelab, CN=spoke1'" in hub.list_sas()
    # Each end fetches the leaf's issuer's CRL and the root's, once.
    assert sorted(asked) == ["/ra-subca.crl"] * 2 + ["/root-ca.crl"] * 2


def test_a_revoked_certificate_is_refused(charons, segment, tmp_path):
    pki = PkiFiles(tmp_path / "pki")
    revoked = pki.issue("spoke1")
    pki.revoke(revoked)
    segment.serve(pki.web)
    hub, spoke = charons(
        with_certificate(pki, pki.issue("hub"), HUB, SPOKE),
        with_certificate(pki, revoked, SPOKE, HUB),
    )
    with hub, spoke:
        with pytest.raises(RuntimeError, match="initiate failed"):
            spoke.initiate()
        assert not hub.is_up()
    assert "certificate was revoked" in hub.log_file.read_text()


def test_both_logs_tell_the_same_keys(charons):
    hub, spoke = charons(with_psk(HUB, SPOKE), with_psk(SPOKE, HUB))
    with hub, spoke:
        spoke.initiate()
        hub.wait_for(hub.is_up, "installed child")
    logs = [daemon.log_file.read_text() for daemon in (hub, spoke)]
    assert parse_main_mode(logs[0]) == parse_main_mode(logs[1])
    assert parse_quick_mode(logs[0]) == parse_quick_mode(logs[1])
    assert len(parse_main_mode(logs[0]).g_xy) == 256


def test_the_kernels_stand_in_wrote_the_keys_of_the_log(charons, xfrm):
    if xfrm.library is None:
        pytest.skip("a kernel with ESP shows no keys of charon's")
    hub, spoke = charons(with_psk(HUB, SPOKE), with_psk(SPOKE, HUB))
    with hub, spoke:
        spoke.initiate()
        hub.wait_for(hub.is_up, "installed child")
    keys = parse_quick_mode(hub.log_file.read_text())
    installed = {sa.source: sa for sa in read_kernel_sas(hub.sa_file)}
    assert installed[SPOKE].encryption_key == keys.from_initiator.encryption_key
    assert installed[HUB].integrity_key == keys.from_responder.integrity_key
    # seed = protocol | SPI | Ni_b | Nr_b
    assert keys.from_initiator.seed[:5] == b"\3" + installed[SPOKE].spi


def test_the_segments_tap_sees_each_message_once(charons, segment):
    hub, spoke = charons(with_psk(HUB, SPOKE), with_psk(SPOKE, HUB))
    with hub, spoke:
        spoke.initiate()
        hub.wait_for(hub.is_up, "installed child")
        seen = segment.datagrams()
    assert [datagram.source[0] for datagram in seen] == [SPOKE, HUB] * 4 + [SPOKE]
    assert [datagram.octets[18] for datagram in seen] == [2] * 6 + [32] * 3


def test_a_daemon_that_cannot_start_says_why(segment, short_directory):
    connection = with_psk(HUB, SPOKE, proposal="no-such-cipher")
    namespace = segment.add_host("hub", HUB)
    with pytest.raises(RuntimeError, match="proposal"):
        with Charon(namespace, short_directory / "hub", connection):
            pass


def test_nothing_is_left_after_a_failure(xfrm, short_directory):
    with pytest.raises(ZeroDivisionError) as caught:
        with Segment() as segment:
            stem = segment.switch.removesuffix("-switch")
            daemon = Charon(
                segment.add_host("hub", HUB),
                short_directory / "hub",
                with_psk(HUB, SPOKE),
                xfrm_library=xfrm.library,
            )
            with daemon:
                pid = daemon.pid
                assert Path(f"/proc/{pid}/exe").resolve().name == "charon"
                assert len(namespaces_named(stem)) == 2
                raise ZeroDivisionError
    assert not Path(f"/proc/{pid}").exists()
    assert namespaces_named(stem) == []
    assert "charon in" in caught.value.__notes__[0]


def test_a_dump_that_is_cut_short_is_noticed():
    head = "05[IKE] SKEYID => 20 bytes @ 0x7f02e4005490\n"
    row = "05[IKE]    0: " + "AB " * 16 + " ................\n"
    with pytest.raises(ValueError, match="ends after 16 of 20"):
        parse_dumps(head + row)
    last = "05[IKE]   16: 01 02 03 04" + " " * 37 + "....\n"
    (dump,) = parse_dumps(head + row + last)
    assert dump.octets == b"\xab" * 16 + b"\1\2\3\4"
