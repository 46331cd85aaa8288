"""Keys, certificates and their files as somebody else's openssl makes them."""

from __future__ import annotations

import subprocess
from pathlib import Path

PASSPHRASE = "their word"


class Openssl:
    """The program in one directory. subject: of the router whose key and certificate it makes."""

    def __init__(self, program: str, folder: Path) -> None:
        self.program, self.folder = program, folder

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.program, *arguments],
            cwd=self.folder,
            check=check,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def octets(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()

    def text(self, name: str) -> str:
        return (self.folder / name).read_text()

    def write(self, name: str, content: str | bytes) -> None:
        octets = content.encode() if isinstance(content, str) else content
        (self.folder / name).write_bytes(octets)

    def authority(self, bits: int = 2048, digest: str = "sha256") -> None:
        """their-root, in ca.key and ca.pem."""
        extension = "basicConstraints=critical,CA:TRUE"
        self.run(
            *(
                "req",
                "-x509",
                f"-{digest}",
                "-newkey",
                f"rsa:{bits}",
                "-nodes",
                "-keyout",
                "ca.key",
            ),
            *("-out", "ca.pem", "-subj", "/CN=their-root", "-days", "3650", "-addext", extension),
        )

    def sign(self, request: str, out: str, *, name: str = "", days: int = 365) -> None:
        """A certificate of their-root for a request. name: its subjectAltName, a host."""
        self.write(f"{out}.ext", f"subjectAltName=DNS:{name}\n" if name else "")
        self.run(
            *("x509", "-req", "-in", request, "-CA", "ca.pem", "-CAkey", "ca.key", "-out", out),
            *("-days", str(days), "-extfile", f"{out}.ext"),
        )

    def router(self, name: str = "r1.example.com", bits: int = 2048, days: int = 365) -> None:
        """NAME.key and NAME.pem, certified by their-root."""
        self.run(
            *("req", "-newkey", f"rsa:{bits}", "-nodes", "-keyout", f"{name}.key"),
            *("-out", f"{name}.csr", "-subj", f"/CN={name}"),
        )
        self.sign(f"{name}.csr", f"{name}.pem", name=name, days=days)

    def pkcs12(self, name: str, *options: str, out: str = "file.p12") -> bytes:
        """Key, certificate and CA of a router in one file."""
        self.run(
            *("pkcs12", "-export", *options, "-inkey", f"{name}.key", "-in", f"{name}.pem"),
            *("-certfile", "ca.pem", "-passout", f"pass:{PASSPHRASE}", "-out", out),
        )
        return self.octets(out)
