"""The guide's routers and CAs with their web servers off, and an administrator who pastes."""

from __future__ import annotations

import re
from pathlib import Path

from ikelab.ios.config_text import parse_config
from ikelab.node.console import Console
from ikelab.pki.events import HttpRequest
from tests.openssl_files import Openssl
from tests.simnet.network import Simnet, SimNode

CONFIGS = Path(__file__).parents[2] / "netns" / "first-tunnel-manual" / "configs"
_PEM = re.compile(r"-----BEGIN [^-]+-----.*?-----END [^-]+-----\n", re.DOTALL)


class Office:
    """The lab with its CAs' web servers off, and a console at each node."""

    def __init__(self, form: str = "pem") -> None:
        self.net = Simnet()
        self.net.storage = "10.254.0.99"
        self.consoles: dict[str, Console] = {}
        for name in ("root-ca", "ra-subca", "hub", "spoke1"):
            text = (CONFIGS / f"{name}.cfg").read_text()
            node = self.net.add(parse_config(text, file=f"{name}.cfg"))
            self.consoles[name] = Console(node.router, lambda: [])
        for ca in ("root-ca", "ra-subca"):
            self.configure(ca, "no ip http server")
        for name, trustpoint in (("ra-subca", "ra-subca"), ("hub", "ra"), ("spoke1", "ra")):
            method = "enrollment terminal pem" if form == "pem" else "enrollment terminal"
            self.configure(name, f"crypto pki trustpoint {trustpoint}", method)
        self.net.run(1)

    def node(self, name: str) -> SimNode:
        return self.net.nodes[name]

    def type(self, name: str, *lines: str) -> str:
        """A command, and what is typed below it."""
        answer = self.consoles[name].exec("\n".join(lines), self.net.now)
        self.net.do(self.node(name), answer.actions)
        return answer.text

    def configure(self, name: str, *lines: str) -> str:
        answer = self.consoles[name].configure(lines, self.net.now)
        self.net.do(self.node(name), answer.actions)
        return answer.text

    def enable_sub_ca(self) -> str:
        """`no shutdown`, then text between the consoles of sub-CA and root; the CA's PEM."""
        root = pasted_part(self.type("root-ca", "crypto pki export root-ca pem terminal"), 0)
        said = self.type("ra-subca", "crypto pki authenticate ra-subca", root, "yes")
        assert "Trustpoint CA certificate accepted." in said
        self.configure("ra-subca", "crypto pki server ra-subca", "no shutdown")
        self.net.run(1)
        request = pasted_part(self.type("ra-subca", "crypto pki enroll ra-subca"), 0)
        signed = self.sign("root-ca", request)
        self.type("ra-subca", "crypto pki import ra-subca certificate", signed)
        self.net.run(1)
        assert "Status: enabled" in self.type("ra-subca", "show crypto pki server")
        exported = self.type("ra-subca", "crypto pki export ra-subca pem terminal")
        return pasted_part(exported, -1)

    def sign(self, ca: str, request: str) -> str:
        """Paste a request at a CA, grant it; the certificate as it is printed."""
        server = f"crypto pki server {ca}"
        said = self.type(ca, f"{server} request pkcs10 terminal", request, "quit")
        if "reqId=" in said:
            number = re.search(r"reqId=(\d+)", said)[1]  # type: ignore[index]
            said = self.type(ca, f"{server} grant {number}")
        assert said.startswith("% Granted certificate:\n")
        return said.removeprefix("% Granted certificate:\n")

    def enroll(self, name: str, ca: str) -> None:
        """A router by cut and paste."""
        self.type(name, "crypto pki authenticate ra", ca, "quit", "yes")
        said = self.type(name, "crypto pki enroll ra")
        request = said.split("Certificate Request follows:\n")[1].split("---End -")[0]
        signed = self.sign("ra-subca", request)
        said = self.type(name, "crypto pki import ra certificate", signed, "quit")
        assert said == "% Router Certificate successfully imported\n"

    def tunnel_comes_up(self) -> bool:
        hub, spoke = self.node("hub"), self.node("spoke1")
        self.net.acquire(spoke)
        return self.net.run(5, lambda: bool(spoke.installed) and spoke.keys() == hub.keys())

    def nobody_asked_a_ca(self) -> bool:
        asked = [r.url for n in self.net.nodes.values() for r in n.of(HttpRequest)]
        return all(url.startswith("http://10.254.0.99/") for url in asked)


def pasted_part(text: str, which: int) -> str:
    """One of the PEM blocks of what a console printed."""
    return _PEM.findall(text)[which]


def imported(office: Office, elsewhere: Openssl, kind: str = "pem exportable") -> str:
    ca = office.enable_sub_ca()
    cert = office.sign("ra-subca", elsewhere.text("s.csr"))
    command = f"crypto pki import ra {kind} terminal x"
    office.type("spoke1", command, ca, elsewhere.text("s.key"), cert)
    elsewhere.write("ca.pem", ca)
    elsewhere.write("s.pem", cert)
    return ca
