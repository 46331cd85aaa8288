"""The first lab as a user runs it: `ikelab run first-tunnel`, then the capture under tshark."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ikelab.capture import pcapng
from ikelab.runtime.control import ControlClient
from ikelab.runtime.namespace import inside
from ikelab.runtime.sniffer import Sniffer
from tests.command_line import ikelab
from tests.conftest import REQUIRE_PEERS, missing

pytestmark = pytest.mark.needs_root
RUN = Path("/run/ikelab/first-tunnel")


@dataclass
class Recorded:
    """One run: what was printed, and where the capture is."""

    output: str
    facts: dict[str, object]
    folder: Path

    def tshark(self, *arguments: str) -> list[str]:
        environment = {
            **os.environ,
            "WIRESHARK_CONFIG_DIR": str(self.folder / "first-tunnel.wireshark"),
        }
        command = ["tshark", "-r", str(self.folder / "first-tunnel.pcapng"), *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return [line for line in done.stdout.splitlines() if line]

    def fields(self, display_filter: str, *names: str) -> list[list[str]]:
        columns = [part for name in names for part in ("-e", name)]
        rows = self.tshark("-Y", display_filter, "-T", "fields", *columns)
        return [row.split("\t") for row in rows]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    folder = tmp_path_factory.mktemp("capture")
    text = ikelab("run", "first-tunnel", "--out", str(folder)).stdout
    again = tmp_path_factory.mktemp("again")
    facts = ikelab("run", "first-tunnel", "--out", str(again), "--format", "json").stdout
    return Recorded(text, json.loads(facts), folder)


@pytest.fixture
def deployed() -> Iterator[None]:
    ikelab("deploy", "first-tunnel")
    yield
    ikelab("destroy", "first-tunnel")


@pytest.fixture(scope="module")
def captured(recorded: Recorded) -> Recorded:
    """The run, where tshark is there to look at it."""
    if shutil.which("tshark") is None:
        missing("tshark is not installed", required=REQUIRE_PEERS)
    return recorded


def test_the_summary_says_who_has_what(recorded: Recorded) -> None:
    for words in ("cn=ra-subca", "hub", "spoke1", "QM_IDLE", "5 of 5", "WIRESHARK_CONFIG_DIR="):
        assert words in recorded.output


@pytest.mark.interop
def test_messages_5_and_6_are_read_in_clear(captured: Recorded) -> None:
    rows = captured.fields(
        "isakmp.exchangetype == 2 && isakmp.flag_e == 1",
        "isakmp.typepayload",
        "isakmp.id.data.fqdn",
        "isakmp.cert.encoding",
    )
    assert rows == [
        ["5,6,9,11", "spoke1.cisco.example", "4"],
        ["5,6,9", "hub.cisco.example", "4"],
    ]


@pytest.mark.interop
def test_main_mode_holds_what_the_guide_names(captured: Recorded) -> None:
    rows = captured.fields("isakmp.exchangetype == 2 && isakmp.flag_e == 0", "isakmp.typepayload")
    third = "4,10,7,13,13,13,20,20"
    assert [row[0] for row in rows] == ["1,2,3,13,13,13,13", "1,2,3,13", third, third]


@pytest.mark.interop
def test_quick_mode_is_esp_in_transport_mode_for_gre(captured: Recorded) -> None:
    rows = captured.fields(
        "isakmp.exchangetype == 32",
        "isakmp.typepayload",
        "isakmp.ipsec.attr.encap_mode",
        "isakmp.id.protoid",
        "isakmp.id.data.ipv4_addr",
    )
    assert [row[0] for row in rows] == ["8,1,2,3,10,5,5", "8,1,2,3,10,5,5", "8"]
    assert rows[0][1:] == ["2", "47,47", "192.168.159.250,192.168.159.242"]


@pytest.mark.interop
def test_esp_opens_down_to_icmp_inside_gre(captured: Recorded) -> None:
    rows = captured.fields("esp", "esp.icv_good", "gre.key", "icmp.type", "frame.interface_name")
    assert len(rows) == 20 and {tuple(row[:2]) for row in rows} == {("1", "0x000004d2")}
    assert sorted(row[2] for row in rows) == ["0"] * 10 + ["8"] * 10
    assert {row[3] for row in rows} == {"wan"}


@pytest.mark.interop
def test_wireshark_has_nothing_to_complain_about(captured: Recorded) -> None:
    complaints = captured.fields(
        "_ws.expert.severity >= 6291456 || _ws.malformed", "frame.number", "_ws.expert.message"
    )
    assert complaints == []


@pytest.mark.interop
def test_comments_name_message_router_and_state(captured: Recorded) -> None:
    comments = [row[0] for row in captured.fields("isakmp", "frame.comment")]
    assert "spoke1 (I) sends MM1 -> IKE_I_MM1: SA VID VID VID VID" in comments[0]
    assert "hub (R) in IKE_READY takes MM1" in comments[0]
    assert all("sends" in comment and "takes" in comment for comment in comments[:9])


@pytest.mark.interop
def test_nothing_of_the_tunnel_leaves_in_clear(captured: Recorded) -> None:
    outer = captured.fields("ip", "ip.proto", "ip.src")
    # A decrypted packet shows the outer protocol first, then GRE and ICMP; none begins with these.
    assert {row[0].split(",")[0] for row in outer} == {"6", "17", "50"}
    assert not [row for row in outer if row[1].split(",")[0].startswith("20.0.0.")]


@pytest.mark.interop
def test_scep_and_crl_are_read(captured: Recorded) -> None:
    uris = [row[0] for row in captured.fields("http.request", "http.request.uri")]
    assert sum("operation=GetCACaps" in uri for uri in uris) == 3
    assert sum("operation=GetCACert" in uri for uri in uris) == 3
    assert sum("operation=PKIOperation" in uri for uri in uris) == 3
    assert "/ra-subca.crl" in uris
    assert captured.fields("cms.EnvelopedData_element || cms.encryptedContent", "frame.number")


@pytest.mark.interop
def test_times_are_nanoseconds_and_segments_are_named(captured: Recorded) -> None:
    rows = captured.fields("frame", "frame.time_epoch", "frame.interface_name")
    assert {row[1] for row in rows} == {"inside", "wan"}
    assert any(not row[0].endswith("000") for row in rows)


def test_sockets_are_private_and_every_node_has_its_own_namespace(deployed: None) -> None:
    assert stat.S_IMODE(RUN.stat().st_mode) == 0o700
    nodes = ("root-ca", "ra-subca", "storage", "hub", "spoke1")
    for node in nodes:
        assert stat.S_IMODE((RUN / f"{node}.sock").stat().st_mode) == 0o600
    found = {os.stat(f"/run/netns/ikelab-first-tunnel-{node}").st_ino for node in nodes}
    assert len(found) == len(nodes)


@pytest.mark.parametrize(
    ("address", "port"), [("10.254.0.14", 80), ("10.254.0.99", 80), ("10.254.0.99", 21)]
)
def test_from_the_spoke_root_and_storage_cannot_be_reached(
    deployed: None, address: str, port: int
) -> None:
    with inside("ikelab-first-tunnel-spoke1"), socket.socket() as tcp:
        tcp.settimeout(2)
        with pytest.raises(OSError):
            tcp.connect((address, port))
    with ControlClient(RUN / "spoke1.sock", timeout=20) as spoke:
        assert "(0/2)" in spoke.exec(f"ping {address} repeat 2")


def test_with_the_tunnel_down_nothing_leaves_in_clear(deployed: None, tmp_path: Path) -> None:
    """`shutdown` at the hub: the spoke's pings wait for an SA that never comes."""
    with ControlClient(RUN / "hub.sock") as hub:
        hub.configure(["interface Tunnel1", "shutdown"])
    sniffer = Sniffer("wan", tmp_path / "wan", name="wan", namespace="ikelab-first-tunnel-switch")
    with ControlClient(RUN / "spoke1.sock", timeout=20) as spoke:
        assert "(0/2)" in spoke.exec("ping 20.0.0.4 source 20.0.0.5 repeat 2")
    sniffer.stop()
    seen = pcapng.parse((tmp_path / "wan").read_bytes(), torn=True)
    frames = [frame.octets for frame in seen.frames]
    protocols = {octets[23] for octets in frames if octets[12:14] == b"\x08\x00"}
    assert protocols == {17}, "ISAKMP asks for an SA; no GRE, no ICMP, no ESP"


def test_exec_shows_what_ios_shows(deployed: None) -> None:
    shown = ikelab("exec", "--lab", "first-tunnel", "hub", "show crypto pki certificates").stdout
    assert "cn=ra-subca" in shown and "Certificate Usage: General Purpose" in shown
    wrong = ikelab("exec", "--lab", "first-tunnel", "hub", "show crypto nonsense", code=None)
    assert wrong.returncode == 2 and "^" in wrong.stdout + wrong.stderr
