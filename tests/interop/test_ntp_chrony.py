"""NTP with chrony at either end, in the namespaces of a deployed lab; what tshark says of it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.netns.pki_lab import Lab, deployed

pytestmark = pytest.mark.needs_root
Need = Callable[[str], str]
APRIL = datetime(2009, 4, 2, 14, 46, tzinfo=UTC)
LAB = """
clock: 2009-04-02T14:46:00Z
segments:
  inside: {prefix: 10.254.0.0/24}
nodes:
  time:
    kind: ntp
    addresses: {inside: 10.254.0.98}
    stratum: 2
    reference: 10.81.254.202
  ca:
    kind: ca
    config: ca.cfg
    clock: {date: 2002-02-01T06:20:00Z, set: no}
    interfaces: {GigabitEthernet0/0: inside}
  r1:
    kind: router
    config: r1.cfg
    interfaces: {GigabitEthernet0/0: inside}
"""
INTERFACE = "interface GigabitEthernet0/0\n ip address 10.254.0.{} 255.255.255.0\nend\n"
CONFIGS = {
    "ca": "hostname ca\nntp server 10.254.0.98\nip http server\n"
    "crypto pki server ca\n no shutdown\n" + INTERFACE.format(14),
    "r1": "hostname r1\n" + INTERFACE.format(4),
}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with deployed(tmp_path_factory.mktemp("labs") / "chrony", LAB, CONFIGS) as found:
        yield found


def in_namespace(lab: Lab, node: str, *command: str) -> list[str]:
    return ["ip", "netns", "exec", f"ikelab-{lab.name}-{node}", *command]


def test_chrony_takes_the_date_of_the_lab_from_our_server(lab: Lab, need: Need) -> None:
    """`-Q` measures and says what is wrong with the machine's clock, but sets nothing."""
    done = subprocess.run(
        in_namespace(
            *(lab, "r1", need("chronyd"), "-Q", "-u", "root", "-t", "20"),
            "server 10.254.0.98 iburst maxsamples 1",
        ),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = done.stdout + done.stderr
    wrong = re.search(r"System clock wrong by (-?[0-9.]+) seconds", said)
    assert done.returncode == 0 and wrong, said
    lab_now = datetime.now(UTC).timestamp() + float(wrong[1])
    shown = lab.console("ca", "show clock | json")
    moment = re.search(r'"moment": "([^"]+)"', shown)
    assert moment
    assert abs(datetime.fromisoformat(moment[1]).timestamp() - lab_now) < 2


def test_a_ca_on_an_unset_clock_starts_once_our_server_has_set_it(lab: Lab) -> None:
    assert lab.reached("ca", "ca-enabled")
    log = lab.log("ca")
    disabled = log.index("*Feb  1 06:20:00")
    update = log.index(
        "%SYS-6-CLOCKUPDATE: System clock has been updated from 06:20:00 UTC Fri Feb 1 2002"
        " to 14:46:00 UTC Thu Apr 2 2009, configured from NTP by 10.254.0.98."
    )
    enabled = log.index("%PKI-6-CS_ENABLED")
    assert disabled < log.index("%PKI-6-CS_DISABLED") < update < enabled


def test_wireshark_reads_every_packet_without_a_complaint(lab: Lab, need: Need) -> None:
    frames = lab.run_dir / "frames" / "inside.pcapng"
    fields = ["ntp.flags.mode", "ntp.stratum", "ntp.refid", "_ws.expert.message", "_ws.malformed"]
    done = subprocess.run(
        [need("tshark"), "-r", str(frames), "-Y", "ntp", "-T", "fields", "-E", "separator=;"]
        + [word for field in fields for word in ("-e", field)],
        capture_output=True,
        text=True,
        check=True,
    )
    rows = [line.split(";") for line in done.stdout.splitlines()]
    assert ["3", "0", "00000000", "", ""] in rows
    assert ["4", "2", "0a51feca", "", ""] in rows
    assert all(row[3:] == ["", ""] for row in rows), rows


@contextmanager
def chrony_serves(lab: Lab, chronyd: str, folder: Path) -> Iterator[None]:
    """chronyd in r1's namespace, serving the machine's date as stratum 5."""
    conf = folder / "chrony.conf"
    conf.write_text(
        "local stratum 5\nallow all\nbindaddress 10.254.0.4\ncmdport 0\n"
        f"pidfile {folder}/chronyd.pid\n"
    )
    process = subprocess.Popen(
        in_namespace(lab, "r1", chronyd, "-x", "-d", "-u", "root", "-f", str(conf)),
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if "Frequency" in line or "Disabled control" in line:
                break
        yield
    finally:
        process.terminate()
        process.communicate(timeout=10)


def test_our_client_takes_the_date_from_chrony(lab: Lab, need: Need, tmp_path: Path) -> None:
    with chrony_serves(lab, need("chronyd"), tmp_path):
        lab.configure("ca", "no ntp server 10.254.0.98", "ntp logging", "ntp server 10.254.0.4")
        assert lab.reached("ca", "time-followed", "10.254.0.4")
        row = lab.console("ca", "show ntp associations").splitlines()[1]
        assert re.match(r"\*~10\.254\.0\.4 +127\.127\.1\.1 +5 +\d+ +64 +1 ", row), row
        shown = lab.console("ca", "show clock | json")
        moment = re.search(r'"moment": "([^"]+)"', shown)
        assert moment
        ours = datetime.fromisoformat(moment[1])
        assert abs((ours - datetime.now(UTC)).total_seconds()) < 1
        status = lab.console("ca", "show ntp status")
        assert "Clock is synchronized, stratum 6, reference is 10.254.0.4" in status
        assert "%NTP-5-PEERSYNC: NTP synced to peer 10.254.0.4" in lab.log("ca")
