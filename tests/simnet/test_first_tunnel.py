"""The shipped lab without root: enrollment, main mode with certificates, CRL check, quick mode."""

import subprocess

import pytest

from ikelab.ios.log import NodeLog
from ikelab.isakmp import events as isakmp
from ikelab.isakmp.events import Refused, SendDatagram
from ikelab.node.console import Console
from ikelab.pki.ca_events import HttpIn
from ikelab.pki.cert_server import ServerState
from ikelab.pki.enrollment_events import AuthenticationFailed
from ikelab.pki.events import CrlInstalled
from ikelab.pki.x509 import format_name, load_certificate
from tests.simnet.first_tunnel import boot, enroll_all, load, trust
from tests.simnet.network import Faults


def enrolled(faults=None, seed=1):
    net = boot(seed=seed)
    enroll_all(net)
    if faults is not None:
        net.faults = faults
    return net


def up(net):
    """Both ends have installed the same pair."""
    hub, spoke = net.nodes["hub"], net.nodes["spoke1"]
    return lambda: bool(spoke.installed) and spoke.keys() == hub.keys()


def test_everybody_enrolls_and_the_tunnel_comes_up():
    net = enrolled()
    hub, spoke = net.nodes["hub"], net.nodes["spoke1"]
    net.acquire(spoke)
    assert net.run(5, up(net))
    assert hub.states == spoke.states == ["IKE_P1_COMPLETE"]
    sent = [m.comment.split("sends ")[1].split(" ")[0] for m in spoke.of(SendDatagram)]
    assert sent == ["MM1", "MM3", "MM5", "QM1", "QM3"]


def test_the_hub_fetches_the_crl_from_the_spokes_distribution_point():
    net = enrolled()
    net.acquire(net.nodes["spoke1"])
    assert net.run(5, up(net))
    fetched = net.nodes["hub"].of(CrlInstalled)
    assert [(crl.issuer, crl.url) for crl in fetched] == [
        ("cn=ra-subca", "http://10.254.0.99/ra-subca.crl")
    ]
    assert net.nodes["spoke1"].of(CrlInstalled) == []  # revocation-check none


def test_certificates_name_who_issued_them():
    net = enrolled()
    point = net.nodes["hub"].router.trustpoints["ra"]
    leaf = load_certificate(point.credential.certificate)
    assert format_name(leaf.issuer) == "cn=ra-subca"
    assert "hub.cisco.example" in leaf.fqdns and "192.168.159.242" in leaf.addresses


def test_a_revoked_spoke_is_refused_at_message_5():
    net = enrolled()
    ca, spoke = net.nodes["ra-subca"], net.nodes["spoke1"]
    serial = load_certificate(spoke.router.trustpoints["ra"].credential.certificate).serial
    net.do(ca, ca.router.servers["ra-subca"].revoke(serial, net.now))
    net.do(ca, ca.router.queues["ra-subca"].pump())
    net.run(1)
    net.acquire(spoke)
    assert not net.run(30, up(net))
    refused = net.nodes["hub"].of(Refused)
    assert refused[0].reason == "revoked" and f"{serial:X}" in refused[0].detail
    assert not net.nodes["hub"].installed


def test_without_a_crl_the_hub_lets_nobody_in():
    net = enrolled()
    net.storage_up = False
    net.acquire(net.nodes["spoke1"])
    assert not net.run(10, up(net))
    assert net.nodes["hub"].of(Refused)[0].reason == "crl-unavailable"


def test_a_wrong_fingerprint_ends_the_authentication():
    net = boot()
    node = trust(net, "ra-subca", "ra-subca", "root-ca", digest="00" * 32)
    net.run(30)
    assert node.router.trustpoints["ra-subca"].anchors == ()
    assert [failed.reason for failed in node.of(AuthenticationFailed)][:1] == ["wrong-fingerprint"]


def test_the_storage_catches_up_after_an_outage():
    net = boot()
    enrolling = trust(net, "ra-subca", "ra-subca", "root-ca")
    net.storage_up = False
    assert net.run(60, lambda: enrolling.router.trustpoints["ra-subca"].credential is not None)
    assert net.files == {}
    net.storage_up = True
    assert net.run(60, lambda: "ra-subca.crl" in net.files and "root-ca.crl" in net.files)
    assert not enrolling.router.servers["ra-subca"].store.outbox()


def flap(net, name):
    """`shutdown` and `no shutdown` of a certificate server, as its administrator types them."""
    console = Console(net.nodes[name].router, lambda: [])
    lines = [f"crypto pki server {name}", "shutdown", "no shutdown", "end"]
    answer = console.configure(lines, net.now)
    net.do(net.nodes[name], answer.actions)
    return NodeLog().text(net.nodes[name].log, net.now)


def test_a_server_whose_storage_cannot_be_read_is_disabled_until_it_is_flapped_again():
    net = boot(None, 1, "root-ca")
    node = net.nodes["root-ca"]
    server = node.router.servers["root-ca"]
    assert net.run(5, lambda: not server.store.outbox())
    fingerprint = server.status().fingerprint
    net.storage_up = False
    assert (
        "% There was a problem reading the file 'root-ca.ser'\n%from certificate storage.\n"
        "% Please verify storage accessibility\n% and enable the server again.\n"
    ) in flap(net, "root-ca")
    shown = Console(node.router, lambda: []).exec("show crypto pki server", net.now).text
    assert "Status: disabled, Storage not accessible" in shown
    answer, _ = node.router.serve(HttpIn("GET", "/?operation=GetCACert"), net.now)
    assert answer.status == 503
    net.storage_up = True
    net.run(60)
    assert server.status().state is ServerState.STORAGE_LOST, "nobody said so"
    said = flap(net, "root-ca")
    assert "Loading root-ca.ser[OK - 32/4096 bytes]" in said
    assert "Loading root-ca.crl[OK - " in said
    assert server.status().state is ServerState.ENABLED
    assert (server.status().fingerprint, server.store.last_serial()) == (fingerprint, 1)
    assert net.run(5, lambda: not server.store.outbox())
    assert "Writing root-ca.crl !" in NodeLog().text(node.log, net.now)


def test_a_server_without_its_database_does_not_begin_anew_over_the_files_of_the_old_one():
    net = boot(None, 1, "root-ca")
    first = net.nodes["root-ca"]
    server = first.router.servers["root-ca"]
    assert net.run(5, lambda: not server.store.outbox())
    before = dict(net.files)
    del net.nodes["root-ca"]  # the router and all it knew
    second = net.add(load("root-ca"))
    net.run(60)
    said = NodeLog().text(second.log, net.now)
    assert "root-ca is not started: storage-in-use: the storage holds the database of" in said
    assert second.router.servers["root-ca"].status().state is ServerState.DISABLED
    assert net.files == before


def test_delete_at_shutdown_clears_the_peer():
    net = enrolled()
    net.acquire(net.nodes["spoke1"])
    assert net.run(5, up(net))
    net.give(net.nodes["spoke1"], isakmp.Clear())
    net.run(1)
    assert net.nodes["hub"].states == [] and net.nodes["hub"].installed == {}


@pytest.mark.interop
def test_openssl_accepts_every_certificate_and_both_crls(tmp_path, need):
    openssl = need("openssl")
    net = enrolled()
    files = {}
    for name, ca in (("root", "root-ca"), ("sub", "ra-subca")):
        authority = net.nodes[ca].router.servers[ca].store.load_authority()
        files[name] = (authority.certificate, "x509")
        files[f"{name}-crl"] = (net.files[f"{ca}.crl"], "crl")
    for name in ("hub", "spoke1"):
        credential = net.nodes[name].router.trustpoints["ra"].credential
        files[name] = (credential.certificate, "x509")
    for name, (octets, kind) in files.items():
        (tmp_path / f"{name}.der").write_bytes(octets)
        convert = [openssl, kind, "-inform", "DER", "-in", f"{name}.der", "-out", f"{name}.pem"]
        subprocess.run(convert, cwd=tmp_path, check=True)
    for name in ("hub", "spoke1"):
        verify = [openssl, "verify", "-x509_strict", "-crl_check_all", "-CAfile", "root.pem"]
        verify += [
            "-attime",
            str(int(net.now.wall.timestamp())),
            "-untrusted",
            "sub.pem",
            "-CRLfile",
            "root-crl.pem",
            "-CRLfile",
            "sub-crl.pem",
        ]
        done = subprocess.run(
            [*verify, f"{name}.pem"], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("percent", [10, 20, 30])
def test_loss_duplication_and_reordering_end_in_equal_keys(percent):
    share = percent / 100
    for seed in range(200):
        net = enrolled(Faults(share, share, share), seed)
        net.acquire(net.nodes["spoke1"])
        assert net.run(3600, up(net)), f"seed {seed}"
