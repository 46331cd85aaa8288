"""Our root and subordinate CA as routers, each in its namespace, for SCEP programs of others.

The subordinate serves SCEP on port 12345 and its CRL at the same place; a namespace `client` is for
whoever enrolls. Certificates name their CRLs by URL, so that a verifier can fetch both.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from ikelab.ios.config import LabMode
from ikelab.lab.steps import read_fingerprint
from ikelab.runtime.namespace import inside
from tests.conftest import REQUIRE_ROOT, missing
from tests.interop.our_router import OurRouter, start_our_router
from tests.interop.segment import Segment

ROOT_ADDRESS = "192.0.2.14"
SUBCA_ADDRESS = "192.0.2.20"
CLIENT_ADDRESS = "192.0.2.50"
SUBCA_PORT = 12345
URL = f"http://{SUBCA_ADDRESS}:{SUBCA_PORT}/cgi-bin/pkiclient.exe"

_ROOT = f"""
hostname root-ca
crypto key generate rsa label root-ca modulus 2048
crypto pki server root-ca
 issuer-name cn=root-ca
 grant auto
 cdp-url http://{ROOT_ADDRESS}/root-ca.crl
 no shutdown
interface GigabitEthernet0/0
 ip address {ROOT_ADDRESS} 255.255.255.0
ip http server
end
"""
_SUBCA = f"""
hostname ra-subca
crypto key generate rsa label ra-subca modulus 2048
crypto pki server ra-subca
 issuer-name cn=ra-subca
 grant auto
 cdp-url http://{SUBCA_ADDRESS}:{SUBCA_PORT}/ra-subca.crl
 mode sub-cs
crypto pki trustpoint ra-subca
 enrollment url http://{ROOT_ADDRESS}
 rsakeypair ra-subca
interface GigabitEthernet0/0
 ip address {SUBCA_ADDRESS} 255.255.255.0
ip http server
ip http port {SUBCA_PORT}
end
"""
_REQUEST = re.compile(r"^(\d+) +(\S+) +([0-9A-F]{32}) (.*)$", re.MULTILINE)


class Authorities:
    """The running pair. subca: its console and log; client: a namespace on the same segment."""

    def __init__(self, segment: Segment, root: OurRouter, subca: OurRouter) -> None:
        self.segment = segment
        self.root = root
        self.subca = subca
        self.client = segment.add_host("client", CLIENT_ADDRESS)

    def run(
        self, *words: str | Path, cwd: Path, seconds: float = 15.0
    ) -> subprocess.CompletedProcess[str]:
        """A program in the client's namespace, to its end."""
        return subprocess.run(
            self.command(*words),
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def command(self, *words: str | Path) -> list[str]:
        """A command line that runs in the client's namespace."""
        return ["ip", "netns", "exec", self.client, *map(str, words)]

    @contextmanager
    def granting_by_hand(self) -> Iterator[None]:
        """Without `grant auto` in this block; what then still waits is rejected."""
        self._configure("no grant auto")
        try:
            yield
        finally:
            self.decide("reject all")
            self._configure("grant auto")

    def _configure(self, line: str) -> None:
        self.subca.console.configure(
            ["crypto pki server ra-subca", "shutdown", line, "no shutdown"]
        )

    def requests(self) -> list[tuple[int, str, str, str]]:
        """`info requests` of the subordinate: (id, state, MD5, subject) of each."""
        shown = self.subca.console.exec("crypto pki server ra-subca info requests")
        return [(int(row[0]), *row[1:]) for row in _REQUEST.findall(shown)]

    def pending(self) -> list[int]:
        """Ids of the requests that wait."""
        return [number for number, state, _, _ in self.requests() if state == "pending"]

    def decide(self, words: str) -> None:
        """`grant all`, `reject 3` and the like, at the subordinate's console."""
        self.subca.console.exec(f"crypto pki server ra-subca {words}")

    def wait_for_log(self, text: str, after: int = 0, *, seconds: float = 5.0) -> str:
        """The subordinate's log from an offset on, once it holds the text."""
        deadline = time.monotonic() + seconds
        while text not in (told := self.subca.log[after:]):
            if time.monotonic() > deadline:
                raise AssertionError(f"{text!r} is not in the log:\n{told}")
            time.sleep(0.02)
        return told

    def write_ca_certificates(self, folder: Path) -> None:
        """root.pem and subca.pem, from GetCACert."""
        with (
            inside(self.client),
            urllib.request.urlopen(f"{URL}?operation=GetCACert", timeout=5) as answer,
        ):
            found = pkcs7.load_der_pkcs7_certificates(answer.read())
        for ca in found:
            file = folder / ("root.pem" if ca.subject == ca.issuer else "subca.pem")
            file.write_bytes(ca.public_bytes(Encoding.PEM))

    def verify(self, openssl: str, certificate: Path) -> str:
        """What `openssl verify` says, each certificate but the root looked up in its issuer's CRL.

        Beside the certificate: root.pem and subca.pem. The CRLs come from where the certificates
        say, fetched from the client's namespace.
        """
        folder = certificate.parent
        crls: list[str | Path] = []
        for number, file in enumerate((certificate, folder / "subca.pem")):
            url = _crl_url(x509.load_pem_x509_certificate(file.read_bytes()))
            with inside(self.client), urllib.request.urlopen(url, timeout=5) as answer:
                crl = x509.load_der_x509_crl(answer.read())
            (folder / f"{number}.crl").write_bytes(crl.public_bytes(Encoding.PEM))
            crls += ["-CRLfile", f"{number}.crl"]
        done = self.run(
            *(openssl, "verify", "-x509_strict", "-crl_check_all", *crls),
            *("-CAfile", "root.pem", "-untrusted", "subca.pem", certificate),
            cwd=folder,
        )
        return (done.stdout + done.stderr).strip()


def _crl_url(certificate: x509.Certificate) -> str:
    points = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    ((name,),) = [point.full_name or [] for point in points]
    return str(name.value)


@contextmanager
def running_authorities(mode: LabMode) -> Iterator[Authorities]:
    """Root and subordinate, enrolled and enabled; skipped with a reason without root's rights."""
    if os.geteuid() != 0:
        missing("network namespaces need root (start with sudo)", required=REQUIRE_ROOT)
    with (
        tempfile.TemporaryDirectory(prefix="ikelab-t-") as directory,
        Segment() as segment,
        _start(segment, "root", ROOT_ADDRESS, Path(directory), _ROOT, mode) as root,
        _start(segment, "subca", SUBCA_ADDRESS, Path(directory), _SUBCA, mode) as subca,
    ):
        subca.console.configure(
            [
                "crypto pki trustpoint ra-subca",
                f"fingerprint {read_fingerprint(root.spec)}",
                "crypto pki server ra-subca",
                "no shutdown",
            ]
        )
        subca.console.exec("crypto pki authenticate ra-subca")
        assert subca.console.wait("ca-enabled", of="ra-subca", timeout=10)
        yield Authorities(segment, root, subca)


def _start(
    segment: Segment, name: str, address: str, directory: Path, config: str, mode: LabMode
) -> OurRouter:
    return start_our_router(segment.add_host(name, address), directory / name, config, mode=mode)
