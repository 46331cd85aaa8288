"""ike-scan, as an auditor would point it at the hub: transform, vendor IDs, refusals."""

from __future__ import annotations

import subprocess

import pytest

from ikelab.wire import vendor_id
from tests.interop.our_router import start_our_router
from tests.interop.suites import OURS, THEIRS
from tests.interop.test_strongswan_main_mode import MODERN, psk_config, rsa_config

pytestmark = [pytest.mark.interop, pytest.mark.needs_root]
NAT_T_RFC3947 = "4a131c81070358455c5728f20e95452f"
# --trans=(attribute=value,...): AES-CBC, 256 bits, SHA2-256, RSA signatures, group 14
WANTED = "(1=7,14=256,2=4,3=3,4=14)"


@pytest.fixture
def scan(segment, pki, short_directory, need):
    """Run ike-scan from another host against our router."""
    router = start_our_router(
        segment.add_host("router", OURS),
        short_directory,
        rsa_config(MODERN),
        pki=pki,
        leaf=pki.issue("spoke1"),
    )
    with router:
        yield scanner(segment, need), router


def scanner(segment, need):
    """ike-scan on a host of its own, towards our router."""
    program, host = need("ike-scan"), segment.add_host("scanner", THEIRS)

    def run(*options):
        command = ["ip", "netns", "exec", host, program, "--retry=1", "--multiline", *options]
        done = subprocess.run([*command, OURS], capture_output=True, text=True, check=False)
        return done.stdout

    return run


def test_the_right_transform_is_answered_exactly(scan):
    run, _ = scan
    said = run(f"--trans={WANTED}")
    assert "Main Mode Handshake returned" in said
    for word in ("Enc=AES", "KeyLength=256", "Hash=SHA2-256", "Auth=RSA_Sig", "modp2048"):
        assert word in said


def test_a_vendor_id_is_answered_only_to_who_sent_it(scan):
    run, _ = scan
    assert NAT_T_RFC3947 in run(f"--trans={WANTED}", f"--vendor={NAT_T_RFC3947}")
    assert "VID=" not in run(f"--trans={WANTED}")


@pytest.mark.parametrize("variant", vendor_id.NAT_T_VENDOR_IDS, ids=["rfc", "07", "03", "02"])
def test_each_version_of_nat_traversal_is_answered_with_itself(scan, variant):
    run, _ = scan
    said = run(f"--trans={WANTED}", f"--vendor={variant.hex()}")
    assert said.count("VID=") == 1 and f"VID={variant.hex()}" in said


def test_of_several_versions_the_best_is_answered(scan):
    run, _ = scan
    offered = [f"--vendor={octets.hex()}" for octets in vendor_id.NAT_T_VENDOR_IDS[::-1]]
    said = run(f"--trans={WANTED}", *offered)
    assert said.count("VID=") == 1 and f"VID={NAT_T_RFC3947}" in said


def test_fragmentation_is_announced_where_it_is_configured(scan):
    run, router = scan
    asked = f"--vendor={vendor_id.FRAGMENTATION.hex()}80000000"
    assert "VID=" not in run(f"--trans={WANTED}", asked)
    router.console.configure(["crypto isakmp fragmentation"])
    said = run(f"--trans={WANTED}", asked)
    assert f"VID={vendor_id.FRAGMENTATION.hex()}80000000" in said


@pytest.mark.parametrize("transform", ["(1=5,2=1,3=1,4=2)", "(1=7,14=256,2=4,3=1,4=14)"])
def test_anything_else_is_answered_by_a_notify_and_kept_nothing_of(scan, transform):
    run, router = scan
    assert "NO-PROPOSAL-CHOSEN" in run(f"--trans={transform}")
    assert "no-proposal-chosen" in router.console.exec("show crypto isakmp drops")
    assert OURS not in router.console.exec("show crypto isakmp sa")


def test_aggressive_mode_is_met_with_silence(scan):
    run, router = scan
    said = run("--aggressive", "--id=attacker", f"--trans={WANTED}")
    assert "0 returned handshake; 0 returned notify" in said
    assert "aggressive-mode-disabled" in router.console.exec("show crypto isakmp drops")


# 3DES, MD5, a pre-shared key, group 2: psk-crack knows the HASH_R of MD5 and SHA-1 only
LEGACY = "(1=5,2=1,3=1,4=2)"


@pytest.fixture
def open_to_aggressive_mode(segment, short_directory, need):
    """A router of 2009 that answers aggressive mode, its key in every dictionary."""
    config = psk_config("3des-md5-modp1024", key="CISCO")
    allowed = f"no crypto isakmp aggressive-mode disable\n{config}"
    namespace = segment.add_host("router", OURS)
    router = start_our_router(namespace, short_directory, allowed, mode="legacy")
    with router:
        yield scanner(segment, need), router


def test_aggressive_mode_where_it_is_allowed(open_to_aggressive_mode):
    run, router = open_to_aggressive_mode
    said = run("--aggressive", "--id=attacker", "--dhgroup=2", f"--trans={LEGACY}")
    assert "Aggressive Mode Handshake returned" in said
    for word in ("Enc=3DES", "Hash=MD5", "Auth=PSK", "modp1024", f"Value={OURS}", "Hash(16 bytes)"):
        assert word in said
    assert "VID=afcad71368a1f1c96b8696fc77570100" in said  # Dead Peer Detection v1.0
    assert "AG_INIT_EXCH" in router.console.exec("show crypto isakmp sa")


def test_a_weak_key_is_guessed_from_the_hash_that_anybody_gets(
    open_to_aggressive_mode, tmp_path, need
):
    """Why aggressive mode is off: an independent program finds the key in a word list."""
    run, _ = open_to_aggressive_mode
    crack, got, words = need("psk-crack"), tmp_path / "psk", tmp_path / "words"
    run("--aggressive", "--id=attacker", "--dhgroup=2", f"--trans={LEGACY}", f"--pskcrack={got}")
    words.write_text("cisco\nsesame\nCISCO\nsecret\n")
    command = [crack, f"--dictionary={words}", str(got)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert 'key "CISCO" matches MD5 hash' in done.stdout
