"""NAT traversal as RFC 3947 and its drafts have it, with stock daemons, through real NATs.

Two ends that know the RFC agree on it. pluto keeps to the drafts when it is told to
(`nat-ikev1-method=drafts`); for the others a middlebox takes the better versions out of message 1.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw
from scapy.utils import PcapWriter

from ikelab.capture.keytable import wireshark_directory
from ikelab.isakmp.nat_t import VARIANTS
from ikelab.wire import vendor_id
from ikelab.wire.isakmp import parse_header, parse_payloads
from ikelab.wire.numbers import PayloadType
from tests.interop.charon import Charon
from tests.interop.middlebox import blank_vendor_ids
from tests.interop.our_router import OurRouter, start_our_router
from tests.interop.pluto import Pluto
from tests.interop.segment import Datagram
from tests.interop.suites import OURS, SECRET, THEIRS, psk_connection
from tests.interop.test_libreswan import connection as pluto_connection
from tests.interop.test_nat_t_with_strongswan import INNER_THEIRS, INSIDE, psk
from tests.interop.test_strongswan_main_mode import MODERN, check_esp_keys

pytestmark = [pytest.mark.interop, pytest.mark.needs_root]

VERSIONS = {
    "rfc3947": vendor_id.NAT_T_RFC_3947,
    "03": vendor_id.NAT_T_DRAFT_03,
    "02": vendor_id.NAT_T_DRAFT_02,
    "02 without newline": vendor_id.NAT_T_DRAFT_02_NO_NEWLINE,
}
ORDER = [variant.vendor_id for variant in VARIANTS]
DRAFTS = ("nat-ikev1-method=drafts",)
# `aggressive=` -> messages in clear, and sealed ones behind them
PHASE_1 = {False: (4, 2), True: (2, 1)}
AGGRESSIVE = "no crypto isakmp aggressive-mode disable"
TO_THEM = (
    AGGRESSIVE,
    f"crypto isakmp peer address {THEIRS}",
    f" set aggressive-mode password {SECRET}",
    f" set aggressive-mode client-endpoint ipv4-address {INSIDE}",
    "!",
)
BEGINNER = pytest.mark.parametrize("we_initiate", [True, False], ids=["initiator", "responder"])
EXCHANGE = pytest.mark.parametrize("aggressive", [False, True], ids=["main", "aggressive"])


def better_than(version):
    return ORDER[: ORDER.index(VERSIONS[version])]


@dataclass(frozen=True)
class Numbers:
    """Of payloads and encapsulation modes, as tshark prints them."""

    nat_d: str
    nat_oa: str
    modes: dict[str, str]


OF_RFC = Numbers("20", "21", {"tunnel": "3", "transport": "4"})
OF_DRAFTS = Numbers("130", "131", {"tunnel": "61443", "transport": "61444"})


@dataclass(frozen=True)
class Finding:
    """Who is behind a NAT, in the words of our log, pluto's and charon's."""

    ours: str
    plutos: str
    charons: tuple[str, ...]


FINDINGS = {
    "ours": Finding(
        "My hash no match - this node inside NAT",
        "peer behind NAT",
        ("remote host is behind NAT",),
    ),
    "theirs": Finding(
        "His hash no match - this node outside NAT",
        "I am behind NAT",
        ("local host is behind NAT",),
    ),
    "nobody": Finding(
        "NAT found, both nodes inside NAT",  # as an end that forces UDP makes believe
        "I am behind NAT+peer behind NAT",
        (),
    ),
}


@dataclass(frozen=True)
class Ends:
    """Both at work. behind: whose end has a NAT: "ours", "theirs" or "nobody"."""

    router: OurRouter
    peer: Pluto | Charon
    behind: str


@pytest.fixture
def start(segment, xfrm, short_directory, need, request):
    """Both ends; what the initiator sends is without the vendor IDs in `blanked`."""
    need("nft")
    running = []

    def add_host(role, outside, *, inside):
        if inside:
            return segment.add_host_behind_nat(role, INSIDE, outside=outside)
        return segment.add_host(role, outside)

    def make(daemon, connection, config, *, behind, blanked=(), we_initiate=False):
        ours = add_host("router", OURS, inside=behind == "ours")
        theirs = add_host("peer", THEIRS, inside=behind == "theirs")
        blank_vendor_ids(ours if we_initiate else theirs, blanked)
        router = start_our_router(ours, short_directory, config)
        running.append(router)
        words = (theirs, short_directory / "daemon", connection)
        if daemon is Pluto:
            words = (request.getfixturevalue("libreswan"), *words)
        peer = daemon(*words, xfrm_library=xfrm.library)
        running.append(peer.__enter__())
        if daemon is Pluto:
            peer.whack("--debug", "base")  # it tells what it found of a NAT
        if we_initiate:
            router.send_through(INNER_THEIRS)
        else:
            peer.start_initiating()
        assert router.console.wait("tunnel-up", of="Tunnel1", timeout=8), router.log
        peer.wait_for(peer.is_up, "installed child")
        return Ends(router, peer, behind)

    yield make
    for end in reversed(running):
        end.__exit__(None, None, None)


@pytest.fixture
def check(segment, need, tmp_path):
    """What both ends did by a version: on the wire, in their logs, at our console. The datagrams.

    tshark is the judge of the wire.
    """
    tshark = need("tshark")

    def look(ends, version, *, aggressive=False, mode="transport"):
        seen = once(segment.datagrams())
        in_clear, sealed = PHASE_1[aggressive]
        check_ports(seen, in_clear)
        assert nat_t_vendor_ids(seen[1].octets) == [VERSIONS[version]]
        decode = Decoder(tshark, tmp_path, seen, ends.router.trace)
        assert decode("_ws.malformed || _ws.expert.severity >= 6291456", "typepayload") == []
        rows = decode("isakmp", "typepayload", "ipsec.attr.encap_mode")
        check_numbers(rows, in_clear + sealed, version, mode)
        check_finding(ends, version)
        check_console(ends.router, mode)
        check_esp_keys(ends.router, ends.peer)
        return seen

    return look


def once(seen: Sequence[Datagram]) -> list[Datagram]:
    """Without what was sent again, as our quick mode where charon is not through with message 3.

    tshark takes an encrypted message that comes again for the next one, and calls it malformed.
    """
    first: dict[bytes, Datagram] = {}
    for datagram in seen:
        first.setdefault(datagram.octets, datagram)
    return list(first.values())


def nat_t_vendor_ids(octets):
    header = parse_header(octets)
    payloads = parse_payloads(header.next_payload, octets[28:])
    return [p.body for p in payloads if p.type == PayloadType.VENDOR_ID and p.body in ORDER]


def check_ports(seen: Sequence[Datagram], in_clear: int) -> None:
    floated = [4500 in (d.source[1], d.destination[1]) for d in seen]
    assert floated[:in_clear] == [False] * in_clear and all(floated[in_clear:])


def check_numbers(rows, phase1, version, mode):
    """The drafts' own numbers and none of the RFC's, or the other way round."""
    wanted, others = (OF_RFC, OF_DRAFTS) if version == "rfc3947" else (OF_DRAFTS, OF_RFC)
    payloads = [row[0].split(",") for row in rows]
    assert sum(numbers.count(wanted.nat_d) for numbers in payloads[:phase1]) == 4
    number = wanted.modes[mode]
    assert [row[1] for row in rows[phase1 : phase1 + 3]] == [number, number, ""]
    # The initiator always sends both; pluto as responder sends none where it has no NAT.
    assert payloads[phase1].count(wanted.nat_oa) == (2 if mode == "transport" else 0)
    assert not {others.nat_d, others.nat_oa} & {number for row in payloads for number in row}


def check_finding(ends: Ends, version: str) -> None:
    finding = FINDINGS[ends.behind]
    told = re.findall(r"(?:hash no match|NAT found).*", ends.router.log)
    assert told[-1] in finding.ours
    log = ends.peer.log_file.read_text(errors="replace")
    if isinstance(ends.peer, Pluto):
        method = "RFC 3947 (NAT-Traversal)"
        if version != "rfc3947":
            method = "draft-ietf-ipsec-nat-t-ike-02/03"
        found = re.findall(r"Result using (.+) sender port \d+: (.+)", log)
        assert found == [(method, finding.plutos)]
    else:
        assert tuple(re.findall(r"\w+ host is behind NAT", log)) == finding.charons


def check_console(router: OurRouter, mode: str) -> None:
    shown = router.console.exec("show crypto ipsec sa")
    assert shown.count(f"in use settings ={{{mode.title()} UDP-Encaps, }}") == 2, shown
    detail = router.console.exec("show crypto isakmp sa detail")
    assert re.search(r" psk .* D?N$", detail, re.MULTILINE), detail


class Decoder:
    """tshark over datagrams, with the IKE keys of a trace."""

    def __init__(self, tshark, directory, datagrams, trace):
        self._directory = directory
        self._command = [tshark, "-r", str(directory / "seen.pcap"), "-T", "fields"]
        for name, text in wireshark_directory(ike=trace.ike).items():
            (directory / name).write_text(text)
        with PcapWriter(str(directory / "seen.pcap"), linktype=1) as writer:
            for one in datagrams:
                ip = IP(src=one.source[0], dst=one.destination[0])
                udp = UDP(sport=one.source[1], dport=one.destination[1])
                mac = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
                writer.write(mac / ip / udp / Raw(one.octets))

    def __call__(self, display_filter, *names):
        """The values of fields `isakmp.NAME`, one row a message."""
        columns = [word for name in names for word in ("-e", f"isakmp.{name}")]
        done = subprocess.run(
            [*self._command, "-Y", display_filter, *columns],
            env={**os.environ, "WIRESHARK_CONFIG_DIR": str(self._directory)},
            capture_output=True,
            text=True,
            check=True,
        )
        return [line.split("\t") for line in done.stdout.splitlines()]


# --- pluto ----------------------------------------------------------------------------------------


@EXCHANGE
def test_pluto_behind_a_nat_keeps_to_the_drafts(start, check, aggressive):
    connection = pluto_connection(more=DRAFTS, aggressive=aggressive)
    config = psk(AGGRESSIVE) if aggressive else psk()
    ends = start(Pluto, replace(connection, local=INSIDE), config, behind="theirs")
    check(ends, "03", aggressive=aggressive)


@pytest.mark.parametrize("version", VERSIONS)
def test_pluto_behind_a_nat_offers_each_version(start, check, version):
    connection = replace(pluto_connection(), local=INSIDE)
    ends = start(Pluto, connection, psk(), behind="theirs", blanked=better_than(version))
    check(ends, version)


@EXCHANGE
@pytest.mark.parametrize("version", ["rfc3947", "03", "02"])
def test_pluto_answers_us_behind_a_nat(start, check, version, aggressive):
    ends = start(
        Pluto,
        pluto_connection(peer_id=INSIDE, aggressive=aggressive),
        psk(*(TO_THEM if aggressive else ()), ours=INSIDE),
        behind="ours",
        blanked=better_than(version),
        we_initiate=True,
    )
    seen = check(ends, version, aggressive=aggressive)
    host, port = next(d.source for d in seen if d.destination == (THEIRS, 4500))
    assert host == OURS and 20000 <= port < 30000
    assert f"NATOA={INSIDE} NATD={host}:{port} " in ends.peer.log


@BEGINNER
def test_pluto_forces_udp_where_there_is_no_nat(start, check, we_initiate):
    connection = pluto_connection(more=(*DRAFTS, "encapsulation=yes"))
    blanked = better_than("03") if we_initiate else ()
    words = {"behind": "nobody", "blanked": blanked, "we_initiate": we_initiate}
    check(start(Pluto, connection, psk(), **words), "03")


def test_pluto_behind_a_nat_in_tunnel_mode(start, check):
    connection = replace(pluto_connection(more=DRAFTS, mode="tunnel"), local=INSIDE)
    config = psk().replace(" mode transport\n", " mode tunnel\n")
    ends = start(Pluto, connection, config, behind="theirs")
    check(ends, "03", mode="tunnel")


# --- charon ---------------------------------------------------------------------------------------


@EXCHANGE
@pytest.mark.parametrize("version", ["rfc3947", "02"])
def test_charon_behind_a_nat_offers_each_version(start, check, version, aggressive):
    connection = replace(psk_connection(MODERN, aggressive=aggressive), local=INSIDE)
    config = psk(AGGRESSIVE) if aggressive else psk()
    blanked = better_than(version)
    ends = start(Charon, connection, config, behind="theirs", blanked=blanked)
    check(ends, version, aggressive=aggressive)


@EXCHANGE
@pytest.mark.parametrize("version", ["rfc3947", "03", "02"])
def test_charon_answers_us_behind_a_nat(start, check, version, aggressive):
    ends = start(
        Charon,
        psk_connection(MODERN, aggressive=aggressive),
        psk(*(TO_THEM if aggressive else ()), ours=INSIDE),
        behind="ours",
        blanked=better_than(version),
        we_initiate=True,
    )
    check(ends, version, aggressive=aggressive)
