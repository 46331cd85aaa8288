"""Our router, configured in IOS's words, and a stock charon: a GRE tunnel under IPsec comes up."""

from __future__ import annotations

import re

import pytest

from ikelab.wire.isakmp import parse_header
from tests.interop.charon import Charon
from tests.interop.charon_log import parse_main_mode, read_kernel_sas
from tests.interop.our_router import start_our_router
from tests.interop.pki_files import PkiFiles
from tests.interop.segment import ip
from tests.interop.suites import OURS, SECRET, THEIRS, psk_connection, rsa_connection

pytestmark = [pytest.mark.interop, pytest.mark.needs_root]

INNER_OURS, INNER_THEIRS = "203.0.113.1", "203.0.113.2"

# suite -> (mode of the lab, isakmp policy, transform set)
IOS = {
    "aes256-sha256-modp2048": (
        "modern",
        " encr aes 256\n hash sha256\n group 14\n",
        "esp-aes 256 esp-sha256-hmac",
    ),
    "aes128-sha1-modp1536": (
        "legacy",
        " encr aes\n hash sha\n group 5\n",
        "esp-aes esp-sha-hmac",
    ),
    "3des-md5-modp1024": (
        "legacy",
        " encr 3des\n hash md5\n group 2\n",
        "esp-3des esp-md5-hmac",
    ),
}
MODERN = "aes256-sha256-modp2048"

TUNNEL = f"""\
crypto ipsec profile DMVPN
 set transform-set TS
!
interface GigabitEthernet0/0
 ip address {OURS} 255.255.255.0
!
interface Tunnel1
 ip address {INNER_OURS} 255.255.255.252
 ip mtu 1400
 tunnel source {OURS}
 tunnel destination {THEIRS}
 tunnel protection ipsec profile DMVPN
!
end
"""


def ios_config(suite, authentication, *more):
    _, policy, transform_set = IOS[suite]
    return "\n".join(
        (
            "hostname spoke1",
            "ip domain name example.net",
            *more,
            f"crypto isakmp policy 10\n authentication {authentication}\n{policy}!",
            f"crypto ipsec transform-set TS {transform_set}\n mode transport\n!",
            TUNNEL,
        )
    )


def psk_config(suite, key=SECRET):
    return ios_config(suite, "pre-share", f"crypto isakmp key {key} address {THEIRS}")


def rsa_config(suite, revocation_check="crl"):
    trustpoint = (
        "crypto pki trustpoint ra-subca\n"
        f" revocation-check {revocation_check}\n"
        " rsakeypair spoke1\n!"
    )
    return ios_config(suite, "rsa-sig", trustpoint, "crypto isakmp identity hostname")


def make_both(segment, xfrm, short_directory):
    """Both ends at work: (our router, charon), ended and removed afterwards."""
    running = []

    def make(suite, config, connection, **credentials):
        namespace = segment.add_host("router", OURS)
        router = start_our_router(
            namespace, short_directory, config, mode=IOS[suite][0], **credentials
        )
        running.append(router)
        charon = Charon(
            segment.add_host("charon", THEIRS),
            short_directory / "charon",
            connection,
            xfrm_library=xfrm.library,
        )
        running.append(charon.__enter__())
        return router, charon

    yield make
    for end in reversed(running):
        end.__exit__(None, None, None)


start = pytest.fixture(make_both, name="start")


def bring_up(router, charon, *, we_initiate):
    if we_initiate:
        router.send_through(INNER_THEIRS)
    else:
        charon.start_initiating()
    assert router.console.wait("tunnel-up", of="Tunnel1", timeout=8), router.log
    charon.wait_for(charon.is_up, "installed child")


def check_same_keys(router, charon):
    """Ka against charon's log, the ESP keys against what charon gave to its kernel."""
    trace = router.trace
    theirs = parse_main_mode(charon.log_file.read_text())
    assert [key.encryption_key for key in trace.ike] == [theirs.encryption_key]
    check_esp_keys(router, charon)


def check_esp_keys(router, daemon):
    """The ESP keys of our router against what charon or pluto gave to its kernel."""
    if daemon.shows_keys:
        kernel = {sa.spi: (sa.encryption_key, sa.integrity_key) for sa in kernel_sas(daemon)}
        ours = {key.spi: (key.encryption_key, key.authentication_key) for key in router.trace.esp}
        assert ours == kernel


def kernel_sas(daemon):
    return read_kernel_sas(daemon.sa_file)


@pytest.mark.parametrize("we_initiate", [True, False], ids=["initiator", "responder"])
@pytest.mark.parametrize("suite", IOS)
def test_pre_shared_key(start, suite, we_initiate):
    router, charon = start(suite, psk_config(suite), psk_connection(suite))
    bring_up(router, charon, we_initiate=we_initiate)
    check_same_keys(router, charon)
    shown = router.console.exec("show crypto isakmp sa")
    assert re.search(rf"{THEIRS}\b.*QM_IDLE", shown) or re.search(rf"{OURS}\b.*QM_IDLE", shown)
    if charon.shows_keys:
        shown = router.console.exec("show crypto ipsec sa")
        spis = [int.from_bytes(sa.spi, "big") for sa in kernel_sas(charon)]
        assert [spi for spi in spis if f"0x{spi:X}" not in shown] == []


@pytest.mark.parametrize("we_initiate", [True, False], ids=["initiator", "responder"])
@pytest.mark.parametrize("suite", [MODERN, "3des-md5-modp1024"])
def test_rsa_signatures_with_crls_checked(start, segment, pki, suite, we_initiate):
    asked = segment.serve(pki.web)
    leaf, hub = pki.issue("spoke1"), pki.issue("hub")
    router, charon = start(
        suite, rsa_config(suite), rsa_connection(suite, pki, hub), pki=pki, leaf=leaf
    )
    bring_up(router, charon, we_initiate=we_initiate)
    check_same_keys(router, charon)
    assert "remote 'spoke1.example.net'" in charon.list_sas()
    # charon's anchor is the root, so it wants both lists; ours is the trustpoint's CA.
    assert sorted(asked) == ["/ra-subca.crl", "/ra-subca.crl", "/root-ca.crl"]


@pytest.mark.parametrize("we_initiate", [True, False], ids=["initiator", "responder"])
def test_certificates_of_2009_in_legacy_mode(start, segment, tmp_path, we_initiate):
    pki = PkiFiles(tmp_path / "pki", bits=1024, digest="sha1")
    segment.serve(pki.web)
    leaf, hub = pki.issue("spoke1"), pki.issue("hub")
    suite = "3des-md5-modp1024"
    router, charon = start(
        suite, rsa_config(suite), rsa_connection(suite, pki, hub), pki=pki, leaf=leaf
    )
    bring_up(router, charon, we_initiate=we_initiate)
    check_same_keys(router, charon)


def test_a_crl_out_of_reach_keeps_the_tunnel_down(start, pki):
    leaf, hub = pki.issue("spoke1"), pki.issue("hub")
    connection = rsa_connection(MODERN, pki, hub, revocation="relaxed")
    router, charon = start(MODERN, rsa_config(MODERN), connection, pki=pki, leaf=leaf)
    charon.start_initiating()  # nobody serves the lists
    router.wait_for(
        lambda: (
            any("crl" in r.comment.lower() for r in router.trace.records)
            or "crl" in router.log.lower()
        ),
        "refusal by us",
    )
    assert not router.trace.esp


def test_revocation_check_none_needs_no_crl(start, pki):
    leaf, hub = pki.issue("spoke1"), pki.issue("hub")
    connection = rsa_connection(MODERN, pki, hub, revocation="relaxed")
    router, charon = start(MODERN, rsa_config(MODERN, "none"), connection, pki=pki, leaf=leaf)
    bring_up(router, charon, we_initiate=True)


@pytest.mark.parametrize("suite", IOS)
def test_packets_pass_between_our_data_plane_and_the_kernels_esp(start, suite):
    router, charon = start(suite, psk_config(suite), psk_connection(suite))
    if charon.shows_keys:
        pytest.skip("charon's SAs are not in a kernel here: nothing would encrypt")
    try:
        add_gre_tunnel(charon.namespace)
    except RuntimeError as error:
        pytest.skip(f"this kernel has no GRE: {error}")
    bring_up(router, charon, we_initiate=True)
    assert "Success rate is 100 percent" in router.console.exec(f"ping {INNER_THEIRS}")
    assert "0 packets" not in charon.list_sas()


def add_gre_tunnel(namespace):
    """charon's end of the tunnel, in its kernel."""
    ends = ("local", THEIRS, "remote", OURS)
    ip("-n", namespace, "link", "add", "tunnel1", "type", "gre", *ends)
    ip("-n", namespace, "addr", "add", f"{INNER_THEIRS}/30", "dev", "tunnel1")
    ip("-n", namespace, "link", "set", "tunnel1", "up")


def test_clearing_ours_clears_charons(start):
    router, charon = start(MODERN, psk_config(MODERN), psk_connection(MODERN))
    bring_up(router, charon, we_initiate=True)
    router.console.exec("clear crypto isakmp")
    charon.wait_for(lambda: not charon.list_sas(), "delete on charon's side")


def test_our_end_says_goodbye(start, segment):
    router, charon = start(MODERN, psk_config(MODERN), psk_connection(MODERN))
    bring_up(router, charon, we_initiate=True)
    router.console.stop()
    charon.wait_for(lambda: not charon.list_sas(), "delete on charon's side")
    sent = [d for d in segment.datagrams() if d.source[0] == OURS]
    assert parse_header(sent[-1].octets).exchange_type == 5
