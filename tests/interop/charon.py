"""One stock strongSwan charon in a network namespace, beside any number of others.

`/run/charon.pid` is compiled in, so each daemon gets a mount namespace with a tmpfs over /run; all
else (configuration, log, control socket) lies in a directory of its own. `setpriv`, `ip netns
exec`, `unshare` and `env` replace each other by exec: the process started here *is* charon, and it
ends with the test that started it.

A library may be preloaded that answers the daemon's XFRM requests in place of a kernel without ESP
and writes down the keys it was given (see conftest.py); the IKE code is Debian's either way.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.interop.daemon import Daemon

DAEMON = Path("/usr/lib/ipsec/charon")

# Not worth a line in an error: hex dumps, and swanctl asking for the state again and again.
_NOISE = re.compile(r"\] +\d+: | => \d+ bytes @ |\] vici client \d+ ")

_PLUGINS = (
    "random nonce aes des sha2 sha1 md5 mgf1 x509 revocation constraints pubkey pkcs1 pkcs7 pkcs8 "
    "pem openssl gmp hmac kdf curl kernel-netlink socket-default vici"
)

# No bypass-lan, farp or dhcp: they would touch the namespace. dos_protection off: it answers the
# sixth half-open SA of an address with silence. delete_rekeyed: by default an IKEv1 child that was
# rekeyed stays until its lifetime ends.
_STRONGSWAN_CONF = """\
charon {{
    load = {plugins}
    dos_protection = no
    install_routes = no
    install_virtual_ip = no
    i_dont_care_about_security_and_use_aggressive_mode_psk = yes
    delete_rekeyed = yes
    retransmit_timeout = 1.0
    retransmit_tries = 3
    fragment_size = 576
    keep_alive = 1
    plugins {{
        vici {{ socket = unix://{directory}/vici }}
    }}
    filelog {{
        log {{
            path = {directory}/charon.log
            flush_line = yes
            default = 1
            cfg = 2
            net = 1
            enc = 1
            chd = 4
            ike = 4
        }}
    }}
}}
"""

_CONNECTION = """\
connections {{
    peer {{
        version = 1
        local_addrs = {local}
        remote_addrs = {remote}
        proposals = {proposal}
        fragmentation = {fragmentation}
        dpd_delay = {dpd_delay}s
        aggressive = {aggressive}
        {times}
        local {{
            auth = {auth}
            {own}
        }}
        remote {{
            auth = {auth}
            {other}
        }}
        children {{
            gre {{
                mode = transport
                local_ts = dynamic[gre]
                remote_ts = dynamic[gre]
                esp_proposals = {esp_proposal}
                {child_times}
            }}
        }}
    }}
}}
secrets {{
    {secret}
}}
"""


@dataclass(frozen=True, slots=True)
class Connection:
    """One peer and one GRE transport child, in swanctl's words.

    local, remote: addresses. proposal, esp_proposal: such as "aes128-sha1-modp2048" and
    "aes128-sha1". own_id, peer_id: identities, "" for the certificate's subject or the address
    and for anybody. pre_shared_key: None for RSA signatures with `certificate` and `key` (PEM),
    checked against `authorities` (PEM, root first). revocation: "strict", "ifuri" or "relaxed".
    dpd_delay: seconds of silence before it asks whether the peer is alive, 0 for never. times,
    child_times: more of swanctl's settings, such as "rekey_time = 5s", of the connection and of its
    child.
    """

    local: str
    remote: str
    proposal: str
    esp_proposal: str
    own_id: str = ""
    peer_id: str = ""
    pre_shared_key: str | None = None
    certificate: Path | None = None
    key: Path | None = None
    authorities: tuple[Path, ...] = ()
    revocation: str = "strict"
    fragmentation: str = "yes"
    dpd_delay: int = 0
    aggressive: bool = False
    times: str = ""
    child_times: str = ""

    def render(self) -> str:
        """The text of swanctl.conf."""
        own = [f'id = "{self.own_id}"'] if self.own_id else []
        other = [f'id = "{self.peer_id or "%any"}"']
        secret = ""
        if self.pre_shared_key is None:
            assert self.certificate is not None
            own.append(f"certs = {self.certificate.name}")
            other.append(f"revocation = {self.revocation}")
        else:
            secret = f'ike {{ secret = "{self.pre_shared_key}" }}'
        return _CONNECTION.format(
            local=self.local,
            remote=self.remote,
            proposal=self.proposal,
            esp_proposal=self.esp_proposal,
            fragmentation=self.fragmentation,
            dpd_delay=self.dpd_delay,
            aggressive="yes" if self.aggressive else "no",
            times=self.times,
            child_times=self.child_times,
            auth="pubkey" if self.pre_shared_key is None else "psk",
            own="\n            ".join(own),
            other="\n            ".join(other),
            secret=secret,
        )


class Charon(Daemon):
    """strongSwan's daemon. log_file: what it logs; its output has only what went before that."""

    name = "charon"

    def __init__(
        self,
        namespace: str,
        directory: Path,
        connection: Connection,
        *,
        xfrm_library: Path | None = None,
    ) -> None:
        super().__init__(namespace, directory, directory / "output.txt", xfrm_library)
        self.connection = connection
        self.log_file = directory / "charon.log"

    def _settle(self) -> None:
        self.wait_for((self.directory / "vici").exists, "its control socket")
        self.swanctl("--load-all", "--noprompt")

    def initiate(self, *, timeout: int = 10) -> None:
        """Bring up the child; returns when it is installed. Raises RuntimeError if it fails."""
        self.swanctl("--initiate", "--child", "gre", "--timeout", str(timeout))

    def start_initiating(self) -> None:
        """Ask for the child and return at once."""
        self.swanctl("--initiate", "--child", "gre", "--timeout", "-1")

    def start_rekeying(self, *, child: bool) -> None:
        """New keys for the child, or for the ISAKMP SA (a second main mode); returns at once."""
        self.swanctl("--rekey", *(("--child", "gre") if child else ("--ike", "peer")))

    def terminate(self) -> None:
        """Delete the ISAKMP SA and its children, telling the peer."""
        self.swanctl("--terminate", "--ike", "peer", "--timeout", "5")

    def list_sas(self) -> str:
        """`swanctl --list-sas`: ESTABLISHED, INSTALLED and so on stand there."""
        return self.swanctl("--list-sas")

    def is_up(self) -> bool:
        """Whether the ISAKMP SA is established and its child installed."""
        sas = self.list_sas()
        return "ESTABLISHED" in sas and "INSTALLED" in sas

    def swanctl(self, *words: str) -> str:
        """Run swanctl against this daemon and return what it printed. RuntimeError if it fails."""
        done = subprocess.run(
            ["swanctl", *words, "--uri", f"unix://{self.directory}/vici"],
            env=self._environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        if done.returncode:
            raise RuntimeError(f"swanctl {' '.join(words)}:\n{done.stdout}{done.stderr}")
        return done.stdout

    def log_tail(self, lines: int = 40) -> str:
        """The last lines of its log, without hex dumps and control connections."""
        text = self.log_file.read_text(errors="replace") if self.log_file.exists() else ""
        if not text:
            text = self._output_file.read_text(errors="replace")
        said = [line for line in text.splitlines() if not _NOISE.search(line)]
        return "\n".join(said[-lines:])

    def _ask_to_end(self, process: subprocess.Popen[bytes]) -> None:
        process.terminate()

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "STRONGSWAN_CONF": str(self.directory / "strongswan.conf"),
            "SWANCTL_DIR": str(self.directory / "swanctl"),
        }

    def _command(self) -> Sequence[str]:
        variables = self._environment() | self._xfrm_variables()
        assignments = [f"{name}={value}" for name, value in variables.items()]
        return [
            *("setpriv", "--pdeathsig", "TERM"),
            *("ip", "netns", "exec", self.namespace),
            *("unshare", "--mount", "--propagation", "private"),
            *("sh", "-c", 'mount -t tmpfs tmpfs /run && exec env -i "$@"', "sh"),
            *assignments,
            str(DAEMON),
        ]

    def _write_configuration(self) -> None:
        swanctl = self.directory / "swanctl"
        for kind in ("x509", "x509ca", "private"):
            (swanctl / kind).mkdir(parents=True)
        settings = _STRONGSWAN_CONF.format(plugins=_PLUGINS, directory=self.directory)
        (self.directory / "strongswan.conf").write_text(settings)
        (swanctl / "swanctl.conf").write_text(self.connection.render())
        if self.connection.certificate is not None:
            shutil.copy(self.connection.certificate, swanctl / "x509")
        if self.connection.key is not None:
            shutil.copy(self.connection.key, swanctl / "private")
        for authority in self.connection.authorities:
            shutil.copy(authority, swanctl / "x509ca")
