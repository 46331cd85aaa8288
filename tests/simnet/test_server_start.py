"""`no shutdown` of a certificate server: the key pair it takes, its way up, its neighbours."""

from __future__ import annotations

import pytest

from ikelab.errors import ConfigError
from ikelab.ios.config_text import parse_config
from ikelab.node.console import Console
from ikelab.pki.algorithms import public_key_info
from ikelab.pki.x509 import load_certificate
from tests.simnet.labs import boot_lab
from tests.simnet.network import Simnet, SimNode

ROOT = """\
hostname root-ca
crypto key generate rsa label root-ca modulus 3072
crypto pki server root-ca
 no shutdown
end
"""


class Typist:
    """Somebody at a node's console."""

    def __init__(self, net: Simnet, node: SimNode) -> None:
        self.net, self.node = net, node
        self._console = Console(node.router, lambda: [])
        self._seen = 0

    def configure(self, *lines: str) -> str:
        """What the console prints of it, and of what follows within a second."""
        answer = self._console.configure(lines, self.net.now)
        self.net.do(self.node, answer.actions)
        self.net.run(1)
        told, self._seen = self.node.log[self._seen :], len(self.node.log)
        return answer.text + self._console.printed(told, self.net.now)


def root(text: str = ROOT) -> Typist:
    net = Simnet()
    return Typist(net, net.add(parse_config(text)))


def ca_key(typist: Typist, server: str = "root-ca") -> bytes:
    """The key of the CA certificate, SPKI."""
    certificate, _ = typist.node.router.servers[server].certificates
    assert certificate is not None
    return load_certificate(certificate).public_key_info


def made_key(typist: Typist, label: str) -> bytes:
    key = typist.node.router.nvram.load_key(label)
    assert key is not None
    return public_key_info(key)


def test_a_root_takes_the_key_pair_that_was_made_under_its_name() -> None:
    typist = root()
    assert ca_key(typist) == made_key(typist, "root-ca")
    certificate, _ = typist.node.router.servers["root-ca"].certificates
    assert certificate is not None and load_certificate(certificate).public_key.key_size == 3072
    assert "% Generating" not in typist.configure("no ip http server")


def test_a_root_takes_the_key_pair_that_its_trustpoint_names() -> None:
    lines = "crypto pki trustpoint root-ca\n rsakeypair keys\ncrypto pki server root-ca"
    text = ROOT.replace("label root-ca", "label keys").replace("crypto pki server root-ca", lines)
    typist = root(text)
    assert ca_key(typist) == made_key(typist, "keys")


def test_a_root_without_a_key_pair_makes_one() -> None:
    typist = root("hostname root-ca\nend\n")
    said = typist.configure("crypto pki server root-ca", "no shutdown")
    assert "% Generating 2048 bit RSA keys, keys will be non-exportable...[OK]" in said


def test_a_root_that_is_removed_and_made_again_has_another_key() -> None:
    typist = root()
    before = ca_key(typist)
    typist.configure("no crypto pki server root-ca")
    elsewhere = "database url ftp://10.254.0.99/again"
    typist.configure("crypto pki server root-ca", elsewhere, "no shutdown")
    assert ca_key(typist) != before


def test_a_subordinate_ca_whose_trustpoint_has_another_name_says_so() -> None:
    """The guide's "Subordinate CA trustpoint and enrollment names"."""
    net = boot_lab("first-tunnel", "root-ca")
    config = (
        "hostname ra-subca\ncrypto pki trustpoint ra\n enrollment url http://10.254.0.14\nend\n"
    )
    typist = Typist(net, net.add(parse_config(config)))
    said = typist.configure("crypto pki server ra-subca", "mode sub-cs", "no shutdown")
    assert (
        "% You must specify an enrollment URL for this CA before\n"
        "you can authenticate it.\n"
        "% Failed to authenticate the Certificate Authority\n"
    ) in said
    assert "ra-subca enrolls by `crypto pki trustpoint ra-subca`, and there is none" in said
    right = ("crypto pki trustpoint ra-subca", "enrollment url http://10.254.0.14")
    typist.configure("crypto pki server ra-subca", "shutdown", *right)
    said = typist.configure("crypto pki server ra-subca", "no shutdown")
    assert "Failed" not in said


def test_of_two_servers_on_one_router_one_runs() -> None:
    typist = root()
    with pytest.raises(ConfigError, match="serves one certificate server, so `shutdown` root-ca"):
        typist.configure("crypto pki server second", "no shutdown")
    typist.configure("crypto pki server root-ca", "shutdown")
    assert "CS_ENABLED" in typist.configure("crypto pki server second", "no shutdown")


def test_a_configuration_that_does_not_fit_together_changes_nothing() -> None:
    typist = root()
    before = typist.node.router.config
    with pytest.raises(ConfigError, match="which does not exist"):
        typist.configure("hostname other", "crypto pki trustpoint a", "enrollment fallback b")
    assert typist.node.router.config == before
    assert not typist.node.router.trustpoints


def test_another_lifetime_of_the_ca_certificate_is_that_of_the_next_one() -> None:
    typist = root()
    end = typist.node.router.servers["root-ca"].status().expires
    server = "crypto pki server root-ca"
    said = typist.configure(server, "shutdown", "lifetime ca-certificate 10", "no shutdown")
    expected = (
        "% The CA certificate lifetime change will take effect after existing CA certs expire."
    )
    assert expected in said.splitlines()
    assert typist.node.router.servers["root-ca"].status().expires == end
    assert expected not in typist.configure(server, "shutdown", "no lifetime ca-certificate")
