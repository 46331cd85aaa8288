"""NTP without sockets: packets, a server's answer, a client's associations and its choice."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ikelab.errors import ProtocolError, WireError
from ikelab.ntp.association import Association
from ikelab.ntp.client import (
    Answered,
    Ask,
    LoseClock,
    NtpAction,
    NtpClient,
    NtpRefused,
    NtpSynced,
    SetClock,
    Standing,
)
from ikelab.ntp.packet import OCTETS, Leap, Mode, NtpPacket, difference, reference_name, stamp
from ikelab.ntp.server import NO_SOURCE, Source, answer
from ikelab.types import Now

APRIL = datetime(2009, 4, 2, 14, 58, 59, tzinfo=UTC)
SOURCE = Source(2, bytes([10, 81, 254, 202]), APRIL)

# RFC 5905 has no vectors; this is a server's packet as RFC 2030 and Wireshark's samples lay it out:
# LI 0, version 4, mode 4, stratum 2, poll 6, precision -20, delay 0.5 s, dispersion 0.25 s.
SERVER_PACKET = bytes.fromhex(
    "240206ec 00008000 00004000 0a51feca"
    "cd7f512300000000 cd7f512310000000 cd7f512320000000 cd7f512330000000"
)


# --- packets -------------------------------------------------------------------------------------


def test_a_packet_is_read_field_by_field_and_built_again() -> None:
    packet = NtpPacket.parse(SERVER_PACKET)
    assert packet == NtpPacket(
        mode=Mode.SERVER,
        stratum=2,
        poll=6,
        precision=-20,
        root_delay=0.5,
        root_dispersion=0.25,
        reference_id=bytes([10, 81, 254, 202]),
        reference=0xCD7F512300000000,
        origin=0xCD7F512310000000,
        receive=0xCD7F512320000000,
        transmit=0xCD7F512330000000,
    )
    assert packet.build() == SERVER_PACKET


@pytest.mark.parametrize("length", range(OCTETS))
def test_a_packet_cut_short_is_refused(length: int) -> None:
    with pytest.raises(WireError, match="48"):
        NtpPacket.parse(SERVER_PACKET[:length])


def test_what_follows_the_header_is_passed_over() -> None:
    assert NtpPacket.parse(SERVER_PACKET + bytes(20)).build() == SERVER_PACKET


@pytest.mark.parametrize("version", [0, 5, 6, 7])
def test_unknown_versions_are_refused(version: int) -> None:
    with pytest.raises(WireError, match=f"NTP version {version}"):
        NtpPacket.parse(bytes([version << 3 | 4]) + SERVER_PACKET[1:])


@pytest.mark.parametrize(
    ("moment", "value"),
    [
        # RFC 5905 figure 4: the first day of UNIX, and of era 1.
        (datetime(1970, 1, 1, tzinfo=UTC), 2_208_988_800 << 32),
        (datetime(1999, 12, 31, tzinfo=UTC), 3_155_587_200 << 32),
        (datetime(2036, 2, 7, 6, 28, 17, 500000, tzinfo=UTC), 1 << 32 | 1 << 31),
    ],
)
def test_stamps_are_those_of_the_rfc(moment: datetime, value: int) -> None:
    assert stamp(moment) == value


def test_differences_go_over_the_end_of_an_era_and_back() -> None:
    before, after = datetime(2030, 1, 1, tzinfo=UTC), datetime(2040, 1, 1, tzinfo=UTC)
    span = (after - before).total_seconds()
    assert difference(stamp(after), stamp(before)) == span
    assert difference(stamp(before), stamp(after)) == -span


@pytest.mark.parametrize(
    ("octets", "stratum", "name"),
    [
        (b"GPS\0", 1, ".GPS."),
        (b"RATE", 0, ".RATE."),
        (b"INIT", 16, ".INIT."),
        (bytes([10, 81, 254, 202]), 2, "10.81.254.202"),
        (b"\x1b[2J", 1, "27.91.50.74"),  # nothing for a terminal
        (bytes(4), 0, "0.0.0.0"),
    ],
)
def test_reference_ids_are_shown_as_ios_does(octets: bytes, stratum: int, name: str) -> None:
    assert reference_name(octets, stratum) == name


# --- a server's answer ---------------------------------------------------------------------------


def question(transmit: int = 7) -> bytes:
    return NtpPacket(Mode.CLIENT, transmit=transmit, poll=6).build()


def test_a_server_answers_with_its_stamps_and_ours() -> None:
    reply = answer(question(), SOURCE, APRIL, APRIL + timedelta(milliseconds=1))
    assert reply is not None
    packet = NtpPacket.parse(reply)
    assert (packet.mode, packet.stratum, packet.leap) == (Mode.SERVER, 2, Leap.NONE)
    assert (packet.origin, packet.receive) == (7, stamp(APRIL))
    assert difference(packet.transmit, packet.receive) == pytest.approx(0.001)
    assert reference_name(packet.reference_id, 2) == "10.81.254.202"


@pytest.mark.parametrize("mode", [mode for mode in Mode if mode is not Mode.CLIENT])
def test_a_server_answers_clients_only(mode: Mode) -> None:
    assert answer(NtpPacket(mode).build(), SOURCE, APRIL, APRIL) is None


def test_a_server_without_a_source_says_so() -> None:
    reply = answer(question(), NO_SOURCE, APRIL, APRIL)
    assert reply is not None
    packet = NtpPacket.parse(reply)
    assert (packet.stratum, packet.leap, packet.reference_id) == (0, Leap.ALARM, b"INIT")


def test_an_old_client_is_answered_in_its_version() -> None:
    reply = answer(replace(NtpPacket.parse(question()), version=3).build(), SOURCE, APRIL, APRIL)
    assert reply is not None and NtpPacket.parse(reply).version == 3


# --- a client's associations ---------------------------------------------------------------------


class Scene:
    """A client on a clock that is wrong, and servers that are right but for their errors."""

    def __init__(self, *servers: str, wall: datetime = APRIL - timedelta(days=2600)) -> None:
        self.client = NtpClient(lambda label, length: bytes(length))
        self.elapsed = 0.0
        self.wall = wall  # at elapsed 0, as of now
        self.synced = False
        self.errors = {server: 0.0 for server in servers}  # seconds that a server is wrong by
        self.silent: set[str] = set()
        self.log: list[NtpAction] = []
        self.do(self.client.configure(servers, self.now(), logging=True))

    def now(self) -> Now:
        return Now(self.elapsed, self.wall + timedelta(seconds=self.elapsed), self.synced)

    def true(self, server: str) -> datetime:
        return APRIL + timedelta(seconds=self.elapsed + self.errors[server])

    def do(self, actions: list[NtpAction]) -> None:
        for action in actions:
            self.log.append(action)
            match action:
                case SetClock(seconds):
                    self.wall += timedelta(seconds=seconds)
                    self.synced = True
                case Ask(server, octets) if server not in self.silent:
                    at = self.true(server)
                    reply = answer(octets, SOURCE, at, at)
                    assert reply is not None
                    self.do(self.client.take(Answered(server, reply), self.now()))

    def run(self, seconds: float) -> None:
        end = self.elapsed + seconds
        while (timer := self.client.next_timer()) and timer.deadline <= end:
            assert timer.routine
            self.elapsed = timer.deadline
            self.do(self.client.poll(self.now()))
        self.elapsed = end

    @property
    def error(self) -> float:
        return abs((self.now().wall - APRIL).total_seconds() - self.elapsed)


ONE, TWO, THREE = "192.0.2.1", "192.0.2.2", "192.0.2.3"


def test_the_first_answer_sets_the_clock() -> None:
    scene = Scene(ONE)
    scene.run(1)
    assert scene.error < 0.001
    step = next(action for action in scene.log if isinstance(action, SetClock))
    assert step.step and step.date - step.before == timedelta(days=2600)
    assert NtpSynced(ONE) in scene.log
    assert scene.client.standing(ONE, scene.elapsed) is Standing.FOLLOWED


def test_reach_grows_to_377_octal_and_polls_become_rarer() -> None:
    scene = Scene(ONE)
    seen = []
    scene.run(1)
    for _ in range(8):
        scene.run(64)
        seen.append(f"{scene.client.associations[ONE].reach:o}")
    assert seen[:8] == ["3", "7", "17", "37", "77", "177", "377", "377"]
    scene.run(20000)
    one = scene.client.associations[ONE]
    assert (one.poll, one.reach) == (10, 0o377)
    later = [action for action in scene.log if isinstance(action, SetClock)][1:]
    assert later and not any(action.step for action in later)  # nothing to speak of


def test_dispersion_falls_as_ios_shows_it() -> None:
    """IOS after its first answers: 7937.5, 3937.5, 1937.5 milliseconds."""
    scene = Scene(ONE)
    shown = []
    for _ in range(3):
        scene.run(63)
        shown.append(scene.client.associations[ONE].dispersion(scene.elapsed))
    assert shown == pytest.approx([7.9375, 3.9375, 1.9375], abs=0.01)


def test_a_server_that_falls_silent_is_lost_after_eight_polls_and_found_again() -> None:
    scene = Scene(ONE)
    scene.run(640)
    scene.silent = {ONE}
    scene.run(20000)
    assert scene.client.followed is None
    assert [action for action in scene.log if isinstance(action, LoseClock)] == [LoseClock(ONE)]
    assert scene.client.associations[ONE].reach == 0
    assert scene.client.source(scene.elapsed) == NO_SOURCE
    scene.silent = set()
    scene.run(64)
    assert scene.client.followed == ONE


def test_a_falseticker_is_outvoted() -> None:
    scene = Scene(ONE, TWO, THREE)
    scene.errors[ONE] = 3600.0
    scene.run(64 * 10)
    assert scene.error < 0.001
    standings = [scene.client.standing(server, scene.elapsed) for server in (ONE, TWO, THREE)]
    assert standings[0] is Standing.FALSETICKER
    assert sorted(s.value for s in standings[1:]) == ["*", "+"]


def test_without_a_majority_nobody_is_followed() -> None:
    scene = Scene(ONE, TWO)
    scene.errors[TWO] = 3600.0
    scene.run(640)
    assert scene.client.followed is None


def test_a_client_that_follows_somebody_is_a_server_one_stratum_below() -> None:
    scene = Scene(ONE)
    scene.run(640)
    source = scene.client.source(scene.elapsed)
    assert (source.stratum, source.reference_id) == (3, bytes([192, 0, 2, 1]))


def test_a_server_that_is_not_configured_any_more_is_left() -> None:
    scene = Scene(ONE)
    scene.run(64)
    assert scene.client.configure([], scene.now()) == [LoseClock(ONE)]
    assert scene.client.next_timer() is None


def test_a_clock_moved_by_hand_is_put_right_at_the_next_answer() -> None:
    scene = Scene(ONE)
    scene.run(640)
    for years in (20, -30, 60):
        shift = 365.25 * 86400 * years
        scene.wall += timedelta(seconds=shift)
        scene.client.shift(shift)
        scene.run(1024)
        assert scene.error < 0.001


# --- answers that are none -----------------------------------------------------------------------


def asked() -> tuple[NtpClient, NtpPacket, Now]:
    """A client with a question out; the good answer to it."""
    client = NtpClient(lambda label, length: bytes(length))
    now = Now(0.0, APRIL)
    client.configure([ONE], now)
    (ask,) = client.poll(now)
    assert isinstance(ask, Ask)
    reply = answer(ask.octets, SOURCE, APRIL, APRIL)
    assert reply is not None
    return client, NtpPacket.parse(reply), now


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"origin": 8}, "ntp-bogus"),
        ({"mode": Mode.CLIENT}, "ntp-mode"),
        ({"leap": Leap.ALARM}, "ntp-unsynchronized"),
        ({"stratum": 16}, "ntp-unsynchronized"),
        ({"transmit": 0}, "ntp-late"),
        ({"stratum": 0, "reference_id": b"DENY"}, "ntp-kiss"),
    ],
)
def test_bad_answers_are_refused_with_a_reason(change: dict[str, int], reason: str) -> None:
    client, good, now = asked()
    bad = replace(good, **change)  # type: ignore[arg-type]
    (told,) = client.take(Answered(ONE, bad.build()), now)
    assert isinstance(told, NtpRefused) and told.reason == reason
    assert client.drops == {reason: 1}
    assert client.followed is None


def test_a_forged_answer_does_not_stand_in_the_way_of_the_true_one() -> None:
    client, good, now = asked()
    client.take(Answered(ONE, replace(good, origin=8).build()), now)
    assert any(isinstance(a, SetClock) for a in client.take(Answered(ONE, good.build()), now))


def test_an_answer_is_taken_once() -> None:
    client, good, now = asked()
    client.take(Answered(ONE, good.build()), now)
    (again,) = client.take(Answered(ONE, good.build()), now)
    assert isinstance(again, NtpRefused) and again.reason == "ntp-bogus"


def test_an_answer_across_a_leap_of_the_lab_says_nothing() -> None:
    client, good, _ = asked()
    (told,) = client.take(Answered(ONE, good.build()), Now(86400.0, APRIL + timedelta(days=1)))
    assert isinstance(told, NtpRefused) and told.reason == "ntp-late"


def test_a_stranger_is_no_server() -> None:
    client, good, now = asked()
    (told,) = client.take(Answered(TWO, good.build()), now)
    assert isinstance(told, NtpRefused) and told.reason == "ntp-unknown-server"


@pytest.mark.parametrize("kiss", ["DENY", "RSTR"])
def test_a_client_that_is_denied_asks_no_more(kiss: str) -> None:
    client, good, now = asked()
    client.take(Answered(ONE, replace(good, stratum=0, reference_id=kiss.encode()).build()), now)
    assert client.next_timer() is None
    assert client.associations[ONE].reference == f".{kiss}."


def test_a_client_that_is_told_to_slow_down_does() -> None:
    client, good, now = asked()
    client.take(Answered(ONE, replace(good, stratum=0, reference_id=b"RATE").build()), now)
    assert client.associations[ONE].poll == 7


@pytest.mark.parametrize("octets", [b"", b"\x24", bytes(47), b"\xff" * 48])
def test_octets_that_are_no_packet_are_refused(octets: bytes) -> None:
    association = Association(ONE)
    association.ask(0.0, 7)
    with pytest.raises(ProtocolError, match="ntp-m"):
        association.take(octets, 0.0, 8)


def test_our_stamps_hold_chance_below_the_microsecond() -> None:
    drawn = iter((b"\x0f\xff", b"\x01\x23"))
    client = NtpClient(lambda label, length: next(drawn))
    now = Now(0.0, APRIL)
    client.configure([ONE, TWO], now)
    stamps = [NtpPacket.parse(a.octets).transmit for a in client.poll(now) if isinstance(a, Ask)]
    assert stamps == [stamp(APRIL) + 0xFFF, stamp(APRIL) + 0x123]
