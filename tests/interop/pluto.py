"""One stock libreswan pluto in a network namespace; the sibling of `charon.py`.

Debian's libreswan cannot be installed beside strongSwan, so it is unpacked somewhere and
IKELAB_LIBRESWAN names that folder. The daemon looks for its helpers under a path that is compiled
in: a mount namespace of its own has a link there. `ikev1-policy=accept`, because 4.10 refuses IKEv1
otherwise; `leftupdown=%disabled`, because the script of that path may be strongSwan's.

libreswan 4.10 as Debian builds it has no group 2 and no rekeying by command in IKEv1.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.interop.daemon import Daemon
from tests.interop.pki_files import IssuedCertificate, PkiFiles

HELPERS = Path("usr/libexec/ipsec")

_CONFIG = """\
config setup
    ikev1-policy=accept
    nssdir={directory}/nss
    ipsecdir={directory}
    secretsfile={directory}/ipsec.secrets
    uniqueids=no

conn peer
    ikev2=never
    type={mode}
    left={local}
    leftid={own_id}
    right={remote}
    rightid={peer_id}
    authby={authby}
    ike={ike}
    esp={esp}
    pfs={pfs}
    leftprotoport=gre
    rightprotoport=gre
    leftupdown=%disabled
    aggressive={aggressive}
    auto=ignore
"""


@dataclass(frozen=True, slots=True)
class PlutoConnection:
    """One peer and its GRE transport child, in libreswan's words.

    ike, esp: such as "aes256-sha2_256;modp2048" and "aes256-sha2_256". own_id, peer_id: "" for the
    address, or for the certificate's. pre_shared_key: None for RSA signatures with `leaf` of `pki`.
    mode: or "tunnel". more: further lines of the connection, such as "dpddelay=1".
    """

    local: str
    remote: str
    ike: str
    esp: str
    own_id: str = ""
    peer_id: str = ""
    pre_shared_key: str | None = None
    pki: PkiFiles | None = None
    leaf: IssuedCertificate | None = None
    pfs: bool = False
    aggressive: bool = False
    mode: str = "transport"
    more: tuple[str, ...] = ()

    def render(self, directory: Path) -> str:
        """The text of ipsec.conf."""
        psk = self.pre_shared_key is not None
        text = _CONFIG.format(
            directory=directory,
            local=self.local,
            own_id=self.own_id or (self.local if psk else "%fromcert"),
            remote=self.remote,
            peer_id=self.peer_id or (self.remote if psk else "%fromcert"),
            authby="secret" if psk else "rsasig",
            ike=self.ike,
            esp=self.esp,
            pfs="yes" if self.pfs else "no",
            aggressive="yes" if self.aggressive else "no",
            mode=self.mode,
        )
        lines = list(self.more)
        if not psk:
            lines += ["leftcert=me", "leftsendcert=always", "rightca=%same"]
        return text + "".join(f"    {line}\n" for line in lines)


class Pluto(Daemon):
    """libreswan's daemon. root: where the package was unpacked. log_file: all that it prints."""

    name = "pluto"

    def __init__(
        self,
        root: Path,
        namespace: str,
        directory: Path,
        connection: PlutoConnection,
        *,
        xfrm_library: Path | None = None,
    ) -> None:
        self.log_file = directory / "pluto.log"
        super().__init__(namespace, directory, self.log_file, xfrm_library)
        self.root = root
        self.connection = connection

    def _settle(self) -> None:
        self.wait_for((self.directory / "run/pluto.ctl").exists, "its control socket")
        self.wait_for(lambda: "listening for IKE" in self.log or self._listen(), "its socket")
        self._add()

    @property
    def log(self) -> str:
        """All that it has said."""
        return self.log_file.read_text(errors="replace")

    def start_initiating(self) -> None:
        """Ask for the child and return at once."""
        self.whack("--name", "peer", "--initiate", "--asynchronous")

    def terminate(self) -> None:
        """Delete the ISAKMP SA and its child, telling the peer."""
        self.whack("--name", "peer", "--terminate")

    def is_up(self) -> bool:
        """Whether a child is installed."""
        return "IPsec SA established" in self.whack("--trafficstatus") + self.whack("--status")

    def whack(self, *words: str) -> str:
        """Its control program; what it printed."""
        command = [str(self.root / HELPERS / "whack"), "--rundir", str(self.directory / "run")]
        done = subprocess.run(
            [*command, *words], capture_output=True, text=True, check=False, timeout=30
        )
        return done.stdout + done.stderr

    def log_tail(self, lines: int = 40) -> str:
        """The last lines of its log that are no debugging."""
        said = [line for line in self.log.splitlines() if not line.startswith("|")]
        return "\n".join(said[-lines:])

    def _ask_to_end(self, process: subprocess.Popen[bytes]) -> None:
        self.whack("--shutdown")

    def _listen(self) -> bool:
        self.whack("--listen")
        return "listening for IKE" in self.log

    def _add(self) -> None:
        """`addconn` reads the configuration and hands the connection over."""
        addconn = [str(self.root / HELPERS / "addconn")]
        addconn += ["--config", str(self.directory / "ipsec.conf")]
        addconn += ["--ctlsocket", str(self.directory / "run/pluto.ctl"), "peer"]
        done = subprocess.run(addconn, capture_output=True, text=True, check=False, timeout=30)
        if "added" not in self.log:
            said = done.stdout + done.stderr
            raise RuntimeError(f"pluto did not take the connection:\n{said}\n{self.log_tail()}")

    def _command(self) -> Sequence[str]:
        variables = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"} | self._xfrm_variables()
        script = (
            "mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /usr/libexec &&"
            f' ln -s "{self.root / HELPERS}" /usr/libexec/ipsec && exec env -i "$@"'
        )
        return [
            *("setpriv", "--pdeathsig", "TERM"),
            *("ip", "netns", "exec", self.namespace),
            *("unshare", "--mount", "--propagation", "private"),
            *("sh", "-c", script, "sh"),
            *(f"{name}={value}" for name, value in variables.items()),
            *(str(self.root / HELPERS / "pluto"), "--nofork", "--stderrlog"),
            *("--config", str(self.directory / "ipsec.conf")),
            *("--rundir", str(self.directory / "run")),
        ]

    def _write_configuration(self) -> None:
        (self.directory / "run").mkdir(parents=True)
        (self.directory / "policies").mkdir()
        for name in ("cacerts", "crls"):
            (self.directory / name).mkdir()
        (self.directory / "ipsec.conf").write_text(self.connection.render(self.directory))
        secret = self.connection.pre_shared_key
        line = "" if secret is None else f': PSK "{secret}"\n'
        (self.directory / "ipsec.secrets").write_text(line)
        self._make_nss()

    def _make_nss(self) -> None:
        nss = self.directory / "nss"
        nss.mkdir()
        _run("certutil", "-N", "-d", f"sql:{nss}", "--empty-password")
        pki, leaf = self.connection.pki, self.connection.leaf
        if pki is None or leaf is None:
            return
        for name, file in (("root-ca", pki.root), ("ra-subca", pki.sub_ca)):
            trust = ("-t", "CT,,", "-n", name, "-i", str(file))
            _run("certutil", "-A", "-d", f"sql:{nss}", *trust)
        bundle = self.directory / "me.p12"
        own = ("-in", str(leaf.certificate), "-inkey", str(leaf.key), "-name", "me")
        _run("openssl", "pkcs12", "-export", *own, "-out", str(bundle), "-passout", "pass:x")
        _run("pk12util", "-i", str(bundle), "-d", f"sql:{nss}", "-W", "x", "-K", "")


def unpacked() -> Path | None:
    """Where libreswan is, if it is anywhere."""
    places = [os.environ.get("IKELAB_LIBRESWAN", "/opt/ikelab-peers/libreswan"), "/"]
    found = (Path(place) for place in places if (Path(place) / HELPERS / "pluto").exists())
    return next(found, None)


def _run(*words: str) -> None:
    program = shutil.which(words[0]) or words[0]
    done = subprocess.run([program, *words[1:]], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.stdout}{done.stderr}")
