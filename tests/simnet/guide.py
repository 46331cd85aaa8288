"""The guide's network, as far as its debug listings show it: its names, addresses and policies.

Root CA, two subordinate CAs, the hub, the spoke that migrates to certificates, the spoke that is
revoked (guide, "Migration", "Revocation Checking"), and the third that the hub has a key for. Keys
of 512 bits are too short for today's libcrypto to make; all else is as printed there.
"""

from __future__ import annotations

from ikelab.ios.config_text import parse_config
from ikelab.pki.cert_server import CertificateServer
from tests.simnet.first_tunnel import trust
from tests.simnet.network import Simnet, SimNode

DOMAIN = "cisco.com"
STORAGE = "10.254.0.99"

ROOT_CA = f"""
hostname root-ca
crypto pki server root-ca
 issuer-name CN=root-ca
 hash md5
 grant auto
 lifetime crl 6
 cdp-url http://{STORAGE}/root-ca.crl
 database url ftp://{STORAGE}
 no shutdown
interface GigabitEthernet0/0
 ip address 10.254.0.14 255.255.255.0
ip http server
"""

SUB_CA = """
hostname {name}
crypto pki trustpoint {name}
 enrollment url http://10.254.0.14:80
 revocation-check crl none
 rsakeypair {name}
crypto pki server {name}
 mode sub-cs
 issuer-name CN={name}
 hash md5
 grant auto
 lifetime crl 6
 cdp-url http://{storage}/{name}.crl
 database url ftp://{storage}
interface GigabitEthernet0/0
 ip address {inside} 255.255.255.0
interface GigabitEthernet0/1
 ip address {address} 255.255.255.0
ip http server
ip http port 12345
"""

HUB = """
hostname s-dmvpn-headend
ip domain name {domain}
crypto key generate rsa label hub-keys modulus 1024
crypto pki trustpoint {du}
 enrollment url http://192.168.188.10:12345
 serial-number
 revocation-check crl
 rsakeypair hub-keys
crypto pki trustpoint {ra}
 enrollment url http://192.168.159.243:12345
 serial-number
 revocation-check crl
 rsakeypair hub-keys
crypto keyring zebra
 pre-shared-key address 192.168.187.190 key CISCO
 pre-shared-key address 192.168.187.194 key CISCO
 pre-shared-key address 192.168.134.146 key CISCO
{policies}
crypto isakmp profile dmvpn-profile
 match identity host domain {domain}
 match identity address 192.168.134.146 255.255.255.255
crypto isakmp identity hostname
crypto ipsec transform-set 3DES_MD5 esp-3des esp-md5-hmac
 mode transport
crypto ipsec profile ESE_DMVPN
 set transform-set 3DES_MD5
interface GigabitEthernet0/0
 ip address 192.168.159.242 255.255.255.0
interface GigabitEthernet0/1
 ip address 192.168.188.6 255.255.255.0
interface Tunnel1
 ip address 20.0.0.4 255.255.255.0
 tunnel source 192.168.159.242
 tunnel destination 192.168.134.146
 tunnel key 1234
 tunnel protection ipsec profile ESE_DMVPN
interface Tunnel2
 ip address 20.0.1.4 255.255.255.0
 tunnel source 192.168.188.6
 tunnel destination 192.168.187.194
 tunnel key 1234
 tunnel protection ipsec profile ESE_DMVPN
interface Tunnel3
 ip address 20.0.2.4 255.255.255.0
 tunnel source 192.168.188.6
 tunnel destination 192.168.187.190
 tunnel key 1234
 tunnel protection ipsec profile ESE_DMVPN
"""

HUB_POLICIES = """
crypto isakmp policy 1
 encryption 3des
 hash md5
 authentication pre-share
 group 2
crypto isakmp policy 2
 encryption 3des
 hash md5
 group 2
"""

MIGRATING_SPOKE = """
hostname r35-1-1020
ip domain name {domain}
crypto key generate rsa label ra modulus 1024
crypto pki trustpoint {ra}
 enrollment url http://192.168.159.243:12345
 serial-number
 ip-address 192.168.159.243
 revocation-check none
 rsakeypair ra
crypto keyring {keyring}
 pre-shared-key address 192.168.159.242 key CISCO
crypto isakmp policy 1
 encryption 3des
 hash {hash}
 group 2
crypto isakmp profile {profile}
 keyring {keyring}
 match identity host domain {domain}
 match identity address 192.168.159.242 255.255.255.255
crypto ipsec transform-set 3DES_MD5 esp-3des esp-md5-hmac
 mode transport
crypto ipsec profile ESE_DMVPN
 set transform-set 3DES_MD5
 set isakmp-profile {profile}
interface GigabitEthernet0/0
 ip address 192.168.134.146 255.255.255.0
interface Tunnel1
 ip address 20.0.0.1 255.255.255.0
 tunnel source 192.168.134.146
 tunnel destination 192.168.159.242
 tunnel key 1234
 tunnel protection ipsec profile ESE_DMVPN
"""

REVOKED_SPOKE = """
hostname r35-3-1022
crypto key generate rsa label r35-3-keys modulus 1024
crypto pki trustpoint du
 enrollment url http://192.168.188.10:12345
 serial-number
 ip-address 192.168.187.194
 revocation-check none
 rsakeypair r35-3-keys
crypto isakmp policy 1
 encryption 3des
 hash md5
 group 2
crypto ipsec transform-set 3DES_MD5 esp-3des esp-md5-hmac
 mode transport
crypto ipsec profile ESE_DMVPN
 set transform-set 3DES_MD5
interface GigabitEthernet0/0
 ip address 192.168.187.194 255.255.255.0
interface Tunnel1
 ip address 20.0.1.3 255.255.255.0
 tunnel source 192.168.187.194
 tunnel destination 192.168.188.6
 tunnel key 1234
 tunnel protection ipsec profile ESE_DMVPN
"""

KEY_SPOKE = """
hostname r35-2-1021
crypto isakmp key CISCO address 192.168.188.6
crypto isakmp policy 1
 encryption 3des
 hash md5
 authentication pre-share
 group 2
crypto ipsec transform-set 3DES_MD5 esp-3des esp-md5-hmac
 mode transport
crypto ipsec profile ESE_DMVPN
 set transform-set 3DES_MD5
interface GigabitEthernet0/0
 ip address 192.168.187.190 255.255.255.0
interface Tunnel1
 ip address 20.0.2.2 255.255.255.0
 tunnel source 192.168.187.190
 tunnel destination 192.168.188.6
 tunnel key 1234
 tunnel protection ipsec profile ESE_DMVPN
"""


def boot(
    *,
    domain: str = DOMAIN,
    ra: str = "ra",
    du: str = "du",
    keyring: str = "giraffe",
    profile: str = "r35-profile",
    hash: str = "md5",
) -> Simnet:
    """Everybody enrolled, no tunnel up. The facts that a listing names may be others."""
    net = Simnet()
    net.storage = STORAGE
    facts = {"domain": domain, "ra": ra, "du": du, "keyring": keyring, "profile": profile}
    facts |= {"hash": hash, "policies": HUB_POLICIES.replace("hash md5", f"hash {hash}")}
    _add(net, ROOT_CA)
    for name, inside, address in (
        ("ra-subca", "10.254.0.10", "192.168.159.243"),
        ("du-subca", "10.254.0.11", "192.168.188.10"),
    ):
        _add(net, SUB_CA.format(name=name, inside=inside, address=address, storage=STORAGE))
        trust(net, name, name, "root-ca")
        point = net.nodes[name].router.trustpoints[name]
        assert net.run(60, lambda point=point: point.credential is not None)
    for text in (HUB, MIGRATING_SPOKE, REVOKED_SPOKE, KEY_SPOKE):
        _add(net, text.format(**facts))
    for name, trustpoint, ca in (
        ("s-dmvpn-headend", du, "du-subca"),
        ("s-dmvpn-headend", ra, "ra-subca"),
        ("r35-1-1020", ra, "ra-subca"),
        ("r35-3-1022", "du", "du-subca"),
    ):
        node = trust(net, name, trustpoint, ca)
        point = node.router.trustpoints[trustpoint]
        assert net.run(60, lambda point=point: bool(point.anchors))
        net.do(node, node.router.enroll(trustpoint, net.now))
        assert net.run(60, lambda point=point: point.credential is not None)
    net.run(5)  # the CRLs reach their storage
    return net


def _add(net: Simnet, text: str) -> SimNode:
    return net.add(parse_config(text, file="guide.cfg", mode="legacy"), mode="legacy")


def server_of(net: Simnet, name: str) -> CertificateServer:
    """The certificate server of a CA."""
    return net.nodes[name].router.servers[name]
