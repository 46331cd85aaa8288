"""The guide's recovery of a root and of a subordinate CA, on a router that knows nothing."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest

from ikelab.errors import ConfigError
from ikelab.ios.log import NodeLog
from ikelab.node.console import Console
from ikelab.node.events import FileStored, ReadStorage
from ikelab.pki.cert_server import ServerState
from ikelab.pki.crl import load_crl
from ikelab.pki.x509 import load_certificate
from tests.simnet.first_tunnel import enroll_all, load, trust
from tests.simnet.network import Simnet, SimNode

PASSWORD = "cisco123"
ROOT_URL = "ftp://root-ca:rootca-lab@10.254.0.99"
SUBCA_URL = "ftp://ra-subca:rasubca-lab@10.254.0.99"
SERVER = (
    "database level complete",
    f"database archive pkcs12 password {PASSWORD}",
    "lifetime crl 0 10",
)
ROOT_SERVER = ("crypto pki server root-ca", *SERVER, "grant auto", f"database url {ROOT_URL}")
SUBCA_SERVER = (
    "crypto pki server ra-subca",
    *SERVER,
    "grant auto",
    "mode sub-cs",
    f"database url {SUBCA_URL}",
)
SUBCA_TRUSTPOINT = (
    "crypto pki trustpoint ra-subca",
    "revocation-check crl none",
    "rsakeypair ra-subca",
)


@pytest.fixture
def net() -> Simnet:
    """The first lab, everybody enrolled, with archives of both CAs in the storage."""
    net = Simnet()
    net.storage = "10.254.0.99"
    for name in ("root-ca", "ra-subca", "hub", "spoke1"):
        config = load(name)
        servers = {
            key: replace(server, archive_password=PASSWORD)
            for key, server in config.servers.items()
        }
        net.add(replace(config, servers=servers))
    enroll_all(net)
    stores = [server.store for name in ("root-ca", "ra-subca") for server in [ca(net, name)]]
    assert net.run(60, lambda: not any(store.outbox() for store in stores))
    return net


def ca(net: Simnet, name: str):
    return net.nodes[name].router.servers[name]


def typed(net: Simnet, node: SimNode, *lines: str) -> str:
    """What the console says to lines of configuration, and all that follows from them."""
    console = Console(node.router, lambda: [])
    answer = console.configure(lines, net.now)
    net.do(node, answer.actions)
    if answer.order is None:
        return answer.text
    assert isinstance(answer.order.action, ReadStorage)
    rest = console.then(answer.order, net._read(answer.order.action), net.now)
    net.do(node, rest.actions)
    return answer.text + rest.text


def replaced(net: Simnet, name: str) -> SimNode:
    """A new router in place of one that is lost with all it knew: addresses, web server, no CA."""
    config = load(name)
    del net.nodes[name]
    return net.add(replace(config, servers={}, trustpoints={}, key_pairs={}))


def log(net: Simnet, node: SimNode) -> str:
    return NodeLog().text(node.log, net.now)


def shown(net: Simnet, node: SimNode, command: str) -> str:
    return Console(node.router, lambda: []).exec(command, net.now).text


def renew(net: Simnet, name: str) -> int:
    """Enroll a router once more; the new serial number."""
    node = net.nodes[name]
    point = node.router.trustpoints["ra"]
    before = point.credential.certificate
    net.do(node, node.router.enroll("ra", net.now))
    assert net.run(60, lambda: point.credential.certificate != before)
    return load_certificate(point.credential.certificate).serial


def test_a_root_is_recovered_in_the_five_steps_of_the_guide(net: Simnet) -> None:
    before = ca(net, "root-ca")
    seen = before.status().fingerprint
    old_crl = load_crl(net.homes[ROOT_URL]["root-ca.crl"])
    last = before.store.last_serial()
    assert last == 2
    node = replaced(net, "root-ca")
    said = typed(net, node, f"crypto pki import root-ca pkcs12 {ROOT_URL} {PASSWORD}")
    size = len(net.homes[ROOT_URL]["root-ca_00002.p12"])
    assert said == (
        "% Importing pkcs12...\n"
        "Address or name of remote host [10.254.0.99]?\n"
        "Source filename [root-ca]? root-ca_00002.p12\n"
        "Reading file from ftp://10.254.0.99/root-ca_00002.p12\n"
        f"Loading root-ca_00002.p12[OK - {size}/4096 bytes]\n"
        "CRYPTO_PKI: Imported PKCS12 file successfully.\n"
    )
    said = typed(net, node, *ROOT_SERVER, "no shutdown")
    assert "% Server database url was changed. You need to move the\n% existing database" in said
    assert "Status: enabled" in shown(net, node, "show crypto pki server")
    after = ca(net, "root-ca")
    assert after.status().fingerprint == seen
    assert after.store.last_serial() == last
    assert {serial for serial in (1, 2) if after.store.issued(serial)} == {1, 2}
    crl = after.store.load_crl()
    assert crl.number == old_crl.number + 1 and crl.this_update >= old_crl.this_update
    assert net.run(5, lambda: not after.store.outbox())
    assert "Loading root-ca.ser[OK - 32/4096 bytes]" in log(net, node)


def test_a_subordinate_ca_is_recovered_in_the_ten_steps_of_the_guide(net: Simnet) -> None:
    before = ca(net, "ra-subca")
    seen, last = before.status(), before.store.last_serial()
    net.do(net.nodes["ra-subca"], before.revoke(2, net.now))
    revoked = load_crl(before.store.load_crl().crl)
    net.do(net.nodes["ra-subca"], net.nodes["ra-subca"].router.queues["ra-subca"].pump())
    assert net.run(5, lambda: not before.store.outbox())
    node = net.nodes["ra-subca"]
    typed(net, node, "no crypto pki server ra-subca")  # step 2
    assert "Certificate server 'remove server' event has been queued" in log(net, node)
    typed(net, node, "no crypto pki certificate chain ra-subca\nyes")  # step 3
    assert "%Cannot find Certificate Server" in shown(net, node, "show crypto pki server")
    typed(net, node, "no crypto pki trustpoint ra-subca")
    node = replaced(net, "ra-subca")
    typed(net, node, *SUBCA_SERVER)  # steps 5, 6: without an enrollment URL
    typed(net, node, *SUBCA_TRUSTPOINT)
    said = typed(net, node, f"crypto pki import ra-subca pkcs12 {SUBCA_URL} {PASSWORD}")  # 7
    assert "CRYPTO_PKI: Imported PKCS12 file successfully." in said
    typed(net, node, "crypto pki trustpoint ra-subca", "enrollment url http://10.254.0.14:80")
    typed(net, node, "crypto pki server ra-subca", "no shutdown")  # step 9
    after = ca(net, "ra-subca")
    status = after.status()
    assert status.state is ServerState.ENABLED
    assert (status.fingerprint, status.upper_fingerprint) == (
        seen.fingerprint,
        seen.upper_fingerprint,
    )
    crl = load_crl(after.store.load_crl().crl)
    assert crl.number > revoked.number and set(crl.revoked) == {2}
    # What was issued before is known; nothing gets a number a second time.
    assert renew(net, "spoke1") == last + 1
    point = net.nodes["hub"].router.trustpoints["ra"]
    assert load_certificate(point.credential.certificate).serial == 2, "the hub's was revoked"
    # Step 10: the request to the root waits there until it is granted.
    typed(net, net.nodes["root-ca"], "crypto pki server root-ca", "shutdown", "no grant auto")
    typed(net, net.nodes["root-ca"], "crypto pki server root-ca", "no shutdown")
    net.do(node, node.router.enroll("ra-subca", net.now))
    net.run(2)
    listed = shown(net, net.nodes["root-ca"], "crypto pki server root-ca info requests")
    subordinate = listed.partition("RA certificate requests")[0]
    assert "pending" in subordinate and "cn=ra-subca" in subordinate
    root = net.nodes["root-ca"]
    granted = Console(root.router, lambda: []).exec("crypto pki server root-ca grant all", net.now)
    net.do(root, granted.actions)
    assert net.run(120, lambda: after.status().fingerprint != seen.fingerprint)
    assert after.status().state is ServerState.ENABLED
    assert after.store.last_serial() == last + 1


def test_a_sub_ca_killed_between_its_trustpoint_and_its_database_is_enabled_all_the_same() -> None:
    """Two databases cannot be written in one step: the certificate is in nvram first."""
    net = Simnet()
    net.storage = "10.254.0.99"
    for name in ("root-ca", "ra-subca"):
        net.add(load(name))
    node = trust(net, "ra-subca", "ra-subca", "root-ca")
    assert net.run(60, lambda: ca(net, "ra-subca").status().state is ServerState.ENABLED)
    seen = ca(net, "ra-subca").status().fingerprint
    net.homes.clear()
    again = net.add(node.router.config, nvram=node.router.nvram)
    status = again.router.servers["ra-subca"].status()
    assert (status.state, status.fingerprint, status.last_serial) == (ServerState.ENABLED, seen, 1)


def test_an_archive_may_be_pasted_too(net: Simnet) -> None:
    seen = ca(net, "root-ca").status().fingerprint
    node = replaced(net, "root-ca")
    archive = base64.encodebytes(net.homes[ROOT_URL]["root-ca_00002.p12"]).decode()
    typed(net, node, f"crypto pki import root-ca pkcs12 terminal {PASSWORD}\n{archive}quit")
    typed(net, node, *ROOT_SERVER, "no shutdown")
    assert ca(net, "root-ca").status().fingerprint == seen


def test_a_router_goes_to_another_box_by_export_and_import(net: Simnet) -> None:
    """Only a key pair that was made exportable; the new box renews as the old one would."""
    spoke, hub = net.nodes["spoke1"], net.nodes["hub"]
    with pytest.raises(ConfigError, match="not-exportable"):
        exported(net, hub, "ra", f"{SUBCA_URL}/hub.p12")
    label = spoke.router.trustpoints["ra"].credential.key_label
    spoke.router.nvram.save_key(label, spoke.router.nvram.load_key(label), None, exportable=True)
    assert "Exported PKCS12 file" in exported(net, spoke, "ra", f"{SUBCA_URL}/spoke1.p12")
    config = load("spoke1")
    del net.nodes["spoke1"]
    node = net.add(replace(config, trustpoints={}, key_pairs={}))
    said = typed(net, node, f"crypto pki import ra pkcs12 {SUBCA_URL}/spoke1.p12 {PASSWORD}")
    assert "Source filename [ra]? spoke1.p12" in said
    typed(net, node, "crypto pki trustpoint ra", "enrollment url http://192.168.159.243:12345")
    assert renew(net, "spoke1") == 4


def exported(net: Simnet, node: SimNode, name: str, url: str) -> str:
    console = Console(node.router, lambda: [])
    answer = console.exec(f"crypto pki export {name} pkcs12 {url} {PASSWORD}", net.now)
    action = answer.order.action
    net.homes.setdefault(action.url, {})[action.name] = action.octets
    return console.then(answer.order, FileStored(action.server, action.order), net.now).text


@pytest.mark.parametrize(
    ("command", "why"),
    [
        (f"{ROOT_URL} wrong-one", "wrong-password"),
        (f"{ROOT_URL}/none.p12 {PASSWORD}", "No such file or directory"),
        (f"{ROOT_URL}/root-ca.ser {PASSWORD}", "malformed-pkcs12"),
    ],
)
def test_what_is_no_archive_of_the_ca_is_refused_and_changes_nothing(
    net: Simnet, command: str, why: str
) -> None:
    node = replaced(net, "root-ca")
    with pytest.raises(ConfigError, match=why):
        typed(net, node, f"crypto pki import root-ca pkcs12 {command}")
    assert node.router.config.trustpoints == {} and node.router.nvram.key_labels() == ()


def test_the_archive_of_another_ca_does_not_start_a_server(net: Simnet) -> None:
    node = replaced(net, "root-ca")
    url = f"{SUBCA_URL}/ra-subca_00002.p12"
    typed(net, node, f"crypto pki import root-ca pkcs12 {url} {PASSWORD}")
    typed(net, node, *ROOT_SERVER, "no shutdown")
    assert "root-ca is not started: wrong-ca: " in log(net, node)
    assert ca(net, "root-ca").status().state is ServerState.DISABLED


def test_an_import_does_not_replace_a_ca_that_is_there(net: Simnet) -> None:
    node = net.nodes["ra-subca"]
    with pytest.raises(ConfigError, match="no crypto pki server ra-subca"):
        typed(net, node, f"crypto pki import ra-subca pkcs12 {SUBCA_URL} {PASSWORD}")
    with pytest.raises(ConfigError, match="give what follows it afterwards"):
        typed(net, node, f"crypto pki import x pkcs12 {SUBCA_URL} {PASSWORD}", "hostname other")


def test_a_storage_that_cannot_be_read_is_told_without_its_password(net: Simnet) -> None:
    node = replaced(net, "root-ca")
    net.storage_up = False
    with pytest.raises(ConfigError) as raised:
        typed(net, node, f"crypto pki import root-ca pkcs12 {ROOT_URL} {PASSWORD}")
    assert "%Error opening ftp://10.254.0.99/ (no route to host)" in str(raised.value)
    assert "rootca-lab" not in str(raised.value) and PASSWORD not in str(raised.value)
