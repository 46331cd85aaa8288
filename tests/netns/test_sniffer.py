"""The sniffer on a bridge: every frame once, with the kernel's time, whatever happens to us."""

from __future__ import annotations

import os
import resource
import socket
import stat
import struct
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Dot1Q, Ether

from ikelab.capture import pcapng
from ikelab.errors import LabError
from ikelab.runtime.namespace import enter, inside
from ikelab.runtime.sniffer import FRAMES_PER_TURN, Sniffer
from tests.netns.segment import Segment, ip

pytestmark = pytest.mark.needs_root

NODES = {"a": "192.0.2.1", "b": "192.0.2.2", "c": "192.0.2.3"}
PORT = 40000


@pytest.fixture
def wan() -> Iterator[Segment]:
    with Segment(NODES) as made:
        yield made


@pytest.fixture
def sniffer(wan: Segment, tmp_path: Path) -> Iterator[Sniffer]:
    made = Sniffer(
        "br0", tmp_path / "wan.pcapng", name="wan", description="WAN", namespace=wan.switch
    )
    yield made
    made.stop()


def udp(wan: Segment, node: str) -> socket.socket:
    with inside(wan.namespace(node)):
        return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


def send(wan: Segment, node: str, destination: str, *payloads: bytes) -> None:
    with udp(wan, node) as sender:
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        for payload in payloads:
            sender.sendto(payload, (destination, PORT))


def datagrams(section: pcapng.Section) -> Counter[bytes]:
    """How often each UDP payload to our port was seen."""
    found: Counter[bytes] = Counter()
    for frame in section.frames:
        packet = Ether(frame.octets)
        if UDP in packet and packet[UDP].dport == PORT:
            found[bytes(packet[UDP].payload)[: packet[UDP].len - 8]] += 1
    return found


def read(sniffer: Sniffer) -> pcapng.Section:
    return pcapng.parse(sniffer.path.read_bytes())


@pytest.mark.parametrize("destination", ["192.0.2.2", "192.0.2.255", "224.0.0.251", "192.0.2.99"])
def test_a_frame_between_two_ports_is_seen_once(
    wan: Segment, sniffer: Sniffer, destination: str
) -> None:
    # Unicast is forwarded, broadcast and multicast are flooded to both other ports.
    if destination == "192.0.2.99":  # nobody there: unicast to an address no port has learnt
        nobody = ("lladdr", "02:00:00:00:00:99", "dev", "eth0")
        ip("-n", wan.namespace("a"), "neigh", "add", destination, *nobody)
    if destination == "224.0.0.251":
        ip("-n", wan.namespace("a"), "route", "add", "224.0.0.0/4", "dev", "eth0")
    payloads = [f"number {n}".encode() for n in range(20)]
    send(wan, "a", destination, *payloads)
    sniffer.stop()
    assert datagrams(read(sniffer)) == Counter(payloads)


def test_what_the_bridge_itself_sends_is_seen_once(wan: Segment, sniffer: Sniffer) -> None:
    ip("-n", wan.switch, "addr", "add", "192.0.2.250/24", "dev", "br0")
    with inside(wan.switch), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"from the bridge", ("192.0.2.1", PORT))
    send(wan, "a", "192.0.2.250", b"to the bridge")
    sniffer.stop()
    assert datagrams(read(sniffer)) == {b"from the bridge": 1, b"to the bridge": 1}


def test_timestamps_are_the_kernels_in_nanoseconds(wan: Segment, sniffer: Sniffer) -> None:
    with inside(wan.namespace("b")):
        receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def exchange(count: int) -> tuple[int, list[int], int]:
        """Times before and after, and the stamps of the datagrams between, read only then."""
        before = time.time_ns()
        send(wan, "a", "192.0.2.2", *(b"stamp me" for _ in range(count)))
        for _ in range(count):
            receiver.recv(100)
        after = time.time_ns()
        known = len(read(sniffer).frames)
        while sniffer.on_readable():
            pass
        frames = [frame for frame in read(sniffer).frames[known:] if b"stamp me" in frame.octets]
        return before, [frame.timestamp for frame in frames], after

    with receiver:
        receiver.settimeout(10)
        receiver.bind(("192.0.2.2", PORT))
        while True:
            # The first socket of a machine that asks for timestamps has them switched on by a
            # work item a moment later; what comes before that is stamped when it is read.
            _, stamps, after = exchange(1)
            if stamps[0] < after:
                break
        before, stamps, after = exchange(50)
    assert before <= min(stamps) <= max(stamps) <= after
    assert len(stamps) == 50
    assert stamps == sorted(stamps)
    assert any(stamp % 1000 for stamp in stamps)


def test_what_is_queued_when_it_stops_is_kept(wan: Segment, sniffer: Sniffer) -> None:
    payloads = [struct.pack("!I", number) for number in range(5 * FRAMES_PER_TURN)]
    send(wan, "a", "192.0.2.2", *payloads)  # nobody has read anything yet
    sniffer.stop()
    assert datagrams(read(sniffer)) == Counter(payloads)
    assert sniffer.dropped == 0


def test_stop_ends_on_a_busy_segment(wan: Segment, tmp_path: Path) -> None:
    class Busy(Sniffer):
        """On whose segment somebody sends each time it looks."""

        turns = 0

        def on_readable(self) -> int:
            send(wan, "a", "192.0.2.2", b"one more")
            self.turns += 1
            assert self.turns < 5
            return super().on_readable()

    busy = Busy("br0", tmp_path / "wan.pcapng", name="wan", namespace=wan.switch)
    send(wan, "a", "192.0.2.2", b"before")
    busy.stop()
    assert datagrams(read(busy)) == {b"before": 1}


def test_a_turn_ends_so_that_others_have_theirs(wan: Segment, sniffer: Sniffer) -> None:
    send(wan, "a", "192.0.2.2", *(bytes(4) for _ in range(2 * FRAMES_PER_TURN)))
    assert sniffer.on_readable() == FRAMES_PER_TURN
    while sniffer.on_readable():
        pass
    assert sniffer.on_readable() == 0


def test_the_file_is_a_capture_at_any_moment_and_only_its_owners(
    wan: Segment, sniffer: Sniffer
) -> None:
    assert read(sniffer).interfaces == (pcapng.Interface("wan", "WAN"),)
    send(wan, "a", "192.0.2.2", b"one")
    sniffer.on_readable()
    assert datagrams(read(sniffer)) == {b"one": 1}
    assert stat.S_IMODE(sniffer.path.stat().st_mode) == 0o600


def test_an_older_file_is_replaced_and_its_mode_too(wan: Segment, tmp_path: Path) -> None:
    path = tmp_path / "old.pcapng"
    path.write_bytes(b"older")
    path.chmod(0o644)
    made = Sniffer("br0", path, name="wan", namespace=wan.switch)
    made.stop()
    assert pcapng.parse(path.read_bytes()).frames == ()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_link_in_the_place_of_the_file_is_not_followed(wan: Segment, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(b"precious")
    (tmp_path / "wan.pcapng").symlink_to(precious)
    with pytest.raises(LabError, match="cannot create"):
        Sniffer("br0", tmp_path / "wan.pcapng", name="wan", namespace=wan.switch)
    assert precious.read_bytes() == b"precious"


@pytest.mark.interop
def test_tshark_reads_the_file_while_it_grows(
    wan: Segment, sniffer: Sniffer, need: Callable[[str], str]
) -> None:
    send(wan, "a", "192.0.2.2", b"one", b"two")
    sniffer.on_readable()
    command = [need("tshark"), "-r", str(sniffer.path), "-Y", "udp && !icmp", "-T", "fields"]
    done = subprocess.run(
        [*command, "-e", "frame.interface_name", "-e", "udp.length"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == ["wan\t11", "wan\t11"]


def test_a_vlan_tag_that_the_kernel_took_off_is_put_back(wan: Segment, sniffer: Sniffer) -> None:
    tagged = Ether(dst="ff:ff:ff:ff:ff:ff", src="02:00:00:00:00:09") / Dot1Q(vlan=42, prio=5)
    tagged /= IP(src="192.0.2.1", dst="192.0.2.255") / UDP(dport=PORT) / b"tagged"
    with inside(wan.namespace("a")):
        raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    with raw:
        raw.bind(("eth0", 0))
        raw.send(bytes(tagged))
    sniffer.stop()
    (frame,) = read(sniffer).frames
    assert frame.octets == bytes(tagged)
    assert frame.length is None


def test_frames_that_found_no_room_are_counted(wan: Segment, sniffer: Sniffer) -> None:
    sniffer._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)  # the kernel's least
    send(wan, "a", "192.0.2.2", *(bytes(1000) for _ in range(500)))
    sniffer.stop()
    assert sniffer.dropped > 0
    assert sniffer.frames > 0
    assert sniffer.frames + sniffer.dropped >= 500


def test_a_device_that_vanishes_ends_the_capture_in_peace(wan: Segment, sniffer: Sniffer) -> None:
    send(wan, "a", "192.0.2.2", b"last")
    ip("-n", wan.switch, "link", "del", "br0")
    while sniffer.on_readable():
        pass
    sniffer.stop()
    assert datagrams(read(sniffer)) == {b"last": 1}


def test_a_device_that_goes_down_and_up_is_captured_on(wan: Segment, sniffer: Sniffer) -> None:
    for number in range(3):
        send(wan, "a", "192.0.2.2", bytes((number,)))
        ip("-n", wan.switch, "link", "set", "br0", "down")
        ip("-n", wan.switch, "link", "set", "br0", "up")
        while sniffer.on_readable():
            pass
    sniffer.stop()
    assert datagrams(read(sniffer))[b"\0"] == 1
    assert datagrams(read(sniffer))[b"\2"] == 1


def test_what_cannot_be_captured_is_said(wan: Segment, tmp_path: Path) -> None:
    path = tmp_path / "x.pcapng"
    with pytest.raises(LabError, match="cannot capture on br9"):
        Sniffer("br9", path, name="wan", namespace=wan.switch)
    with pytest.raises(LabError, match="no network namespace no-such-thing"):
        Sniffer("br0", path, name="wan", namespace="no-such-thing")
    with pytest.raises(LabError, match="cannot create"):
        Sniffer("br0", tmp_path / "none" / "x.pcapng", name="wan", namespace=wan.switch)


def test_a_full_disk_is_not_silent_and_costs_only_the_last_frame(
    wan: Segment, tmp_path: Path
) -> None:
    made = Sniffer("br0", tmp_path / "x.pcapng", name="wan", namespace=wan.switch)
    send(wan, "a", "192.0.2.2", b"fits")
    made.on_readable()
    fitting = datagrams(read(made))
    send(wan, "a", "192.0.2.2", b"does not")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (made.path.stat().st_size + 10, limits[1]))
    try:
        with pytest.raises(LabError, match="cannot write"):
            made.stop()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert datagrams(pcapng.parse(made.path.read_bytes(), torn=True)) == fitting == {b"fits": 1}
    made.stop()


def test_inside_comes_back_also_after_an_error(wan: Segment) -> None:
    home = os.readlink("/proc/thread-self/ns/net")
    with pytest.raises(ZeroDivisionError), inside(wan.switch):
        assert os.readlink("/proc/thread-self/ns/net") != home
        raise ZeroDivisionError
    assert os.readlink("/proc/thread-self/ns/net") == home
    with inside(None):
        assert os.readlink("/proc/thread-self/ns/net") == home


def test_a_namespace_may_be_named_by_its_path(wan: Segment) -> None:
    with inside(f"/run/netns/{wan.switch}"):
        assert "br0" in Path("/proc/thread-self/net/dev").read_text()


def test_what_is_no_namespace_cannot_be_entered(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LabError, match="cannot enter network namespace"):
        enter(str(tmp_path / "file"))
