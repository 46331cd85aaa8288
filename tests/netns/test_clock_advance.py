"""Virtual time of a deployed lab: advanced over renewals, CRLs and the lives of SAs."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from ikelab.capture import pcapng
from tests.command_line import IKELAB, copied_lab, ikelab
from tests.netns.pki_lab import Lab

pytestmark = pytest.mark.needs_root
APRIL = datetime(2009, 4, 2, 14, 58, 59, tzinfo=UTC)
MILLISECOND = 1_000_000  # in nanoseconds


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The first tunnel, in April 2009."""
    folder = tmp_path_factory.mktemp("labs") / "years"
    copied_lab("first-tunnel", folder, more="clock: 2009-04-02T14:58:59Z\n")
    try:
        ikelab("deploy", folder)
        yield Lab(folder)
    finally:
        ikelab("destroy", "years")


def date(lab: Lab) -> datetime:
    found = json.loads(ikelab("clock", "show", "--lab", lab.name, "--format", "json").stdout)
    return datetime.fromisoformat(found["date"])


def renew_date(lab: Lab, node: str) -> datetime:
    shown = lab.console(node, "show crypto pki certificates")
    words = re.search(r"renew date: (.*)", shown)
    assert words, shown
    return datetime.strptime(words[1], "%H:%M:%S UTC %b %d %Y").replace(tzinfo=UTC)


def test_all_nodes_have_the_labs_date(lab: Lab) -> None:
    assert APRIL <= date(lab) < APRIL + timedelta(minutes=1)
    for node in ("root-ca", "ra-subca", "hub", "spoke1"):
        assert "UTC Thu Apr 2 2009" in lab.console(node, "show clock")


def test_an_hour_rekeys_the_tunnel_and_a_silent_peer_is_asked(lab: Lab) -> None:
    assert "100 percent" in lab.console("spoke1", "ping 20.0.0.4 repeat 3")
    before = re.findall(r"spi: (0x\w+)", lab.console("hub", "show crypto ipsec sa"))
    ikelab("clock", "advance", "1h", "--lab", lab.name)
    after = re.findall(r"spi: (0x\w+)", lab.console("hub", "show crypto ipsec sa"))
    assert before and after and set(before).isdisjoint(after)
    assert "QM_IDLE" in lab.console("hub", "show crypto isakmp sa")
    assert "100 percent" in lab.console("spoke1", "ping 20.0.0.4 repeat 3")


def test_routers_renew_at_their_date_and_bring_the_tunnel_up_with_the_new_serial(lab: Lab) -> None:
    due = {node: renew_date(lab, node) for node in ("hub", "spoke1")}
    done = ikelab("clock", "advance", "--to", "2009-08-07", "--grain", "1d", "--lab", lab.name)
    for moment in due.values():
        assert f"{moment:%Y-%m-%d %H:%M:%S}" in done.stdout + done.stderr
    for node, moment in due.items():
        renewed = renew_date(lab, node)
        assert timedelta(0) <= renewed - moment - timedelta(days=126) < timedelta(seconds=2)
    assert "Success rate is 100" in lab.console("spoke1", "ping 20.0.0.4 repeat 3")
    now = date(lab)
    assert datetime(2009, 8, 7, tzinfo=UTC) <= now < datetime(2009, 8, 7, 0, 1, tzinfo=UTC)
    crl = lab.console("hub", "show crypto pki crls")
    assert "NextUpdate" in crl


def test_frames_carry_the_date_of_the_lab(lab: Lab) -> None:
    frames = pcapng.parse((lab.run_dir / "frames" / "wan.pcapng").read_bytes(), torn=True).frames
    stamps = [frame.timestamp for frame in frames]
    # Two frames of one moment may reach the capture in either order: the kernel stamps them on two
    # cores. A clock that was set back would be seconds.
    assert all(after - before > -MILLISECOND for before, after in pairwise(stamps))
    assert abs(stamps[0] / 1e9 - APRIL.timestamp()) < 60
    assert abs(stamps[-1] / 1e9 - date(lab).timestamp()) < 60


def test_ctrl_c_leaves_all_clocks_at_one_point(lab: Lab) -> None:
    before = date(lab)
    command = [IKELAB, "clock", "advance", "900d", "--lab", lab.name, "--grain", "1d"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        assert ": ra: renewal" in process.stderr.readline()  # it is on its way
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    assert process.returncode == 130
    now = date(lab)
    assert before + timedelta(days=100) < now < before + timedelta(days=900)
    for node in ("root-ca", "ra-subca", "hub", "spoke1"):
        assert f"{now:%b} {now.day} {now.year}" in lab.console(node, "show clock")
    assert "100 percent" in lab.console("spoke1", "ping 20.0.0.4 repeat 3")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["soon"], "is no span of time"),
        ([], "either a span of time"),
        (["1d", "--to", "2030-01-01"], "either a span of time"),
        (["--to", "1999-01-01"], "time does not go back"),
        (["--to", "whenever"], "is no date"),
        (["1d", "--grain", "x"], "--grain takes a span"),
    ],
)
def test_mistakes_are_told_as_such(lab: Lab, arguments: list[str], words: str) -> None:
    done = ikelab("clock", "advance", *arguments, "--lab", lab.name, code=2)
    assert words in " ".join(done.stderr.split())


def test_the_result_can_be_read_by_a_program(lab: Lab) -> None:
    done = ikelab("clock", "advance", "1m", "--lab", lab.name, "--format", "json")
    result = json.loads(done.stdout)
    assert result["lab"] == lab.name and result["stops"] >= 1
    first, last = (datetime.fromisoformat(result[key]) for key in ("from", "to"))
    assert timedelta(seconds=60) <= last - first < timedelta(seconds=65)
