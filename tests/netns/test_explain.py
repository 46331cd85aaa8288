"""`ikelab explain` on a deployed lab, and on what a run has left."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from tests.command_line import ikelab
from tests.netns.test_ca_models import Ran, Run, run  # noqa: F401  (run is a fixture)

pytestmark = pytest.mark.needs_root
LAB = "first-tunnel-psk"


@pytest.fixture(scope="module")
def deployed() -> Iterator[None]:
    ikelab("deploy", LAB)
    yield
    ikelab("destroy", LAB)


def test_a_deployed_lab_says_why_and_where(deployed: None) -> None:
    assert "nothing was refused" in ikelab("explain", "-l", LAB, "hub").stdout
    ikelab("configure", "-l", LAB, "spoke1", "crypto isakmp policy 1", "group 15")
    ikelab("exec", "-l", LAB, "spoke1", "ping", "20.0.0.4", "repeat", "1")
    said = ikelab("explain", "-l", LAB, "spoke1", "hub").stdout
    assert said.startswith("hub refused MM1 of spoke1 (192.168.159.250:500) (frame ")
    assert "no-proposal-chosen: transform 1 / policy 1: Diffie-Hellman group offered" in said
    assert "(`crypto isakmp policy 1`, hub.cfg:" in said
    told = json.loads(ikelab("explain", "-l", LAB, "hub", "--format", "json").stdout)
    assert told["refusal"]["payload"] == "SA"
    assert told["refusal"]["frame"] > 0


def test_a_refused_quick_mode_is_told_by_who_refused_it(deployed: None) -> None:
    ikelab("configure", "-l", LAB, "spoke1", "crypto isakmp policy 1", "group 14")
    ikelab("exec", "-l", LAB, "spoke1", "clear crypto isakmp")  # what has waited with group 15
    ikelab("configure", "-l", LAB, "hub", "crypto ipsec profile DMVPN", "set pfs group19")
    ikelab("exec", "-l", LAB, "spoke1", "ping", "20.0.0.4", "repeat", "1")
    for node in ("spoke1", "hub"):
        said = ikelab("explain", "-l", LAB, node).stdout
        assert said.startswith("hub refused QM1 of spoke1 (192.168.159.250:500) (frame ")
        assert ": pfs-mismatch: " in said and "wanted   PFS group 19" in said
    ikelab("configure", "-l", LAB, "spoke1", "crypto ipsec profile DMVPN", "set pfs group19")
    assert "percent (1/1)" in ikelab("exec", "-l", LAB, "spoke1", "ping 20.0.0.4 repeat 1").stdout


def test_a_configuration_is_changed_whole_or_not_at_all(deployed: None) -> None:
    place = ("-l", LAB, "hub")
    lines = ("interface Tunnel1", "description by hand")
    assert "Invalid input" in ikelab("configure", *place, *lines, "no such thing", code=2).stderr
    shown = ikelab("exec", *place, "show running-config | include by hand").stdout
    assert shown == ""
    ikelab("configure", *place, *lines)
    shown = ikelab("exec", *place, "show running-config | include by hand").stdout
    assert shown == " description by hand\n"


@pytest.mark.interop
def test_the_frame_that_is_named_is_commented_with_the_refusal(
    run: Run,  # noqa: F811
    need: Callable[[str], str],
) -> None:
    need("tshark")
    ran = run("revocation")
    said = ikelab("explain", "spoke1", "hub", "--capture", ran.folder).stdout
    assert said.startswith("hub refused MM5 of spoke1 (192.168.159.250:500) (frame ")
    assert "revoked: serialNumber=" in said
    assert "(`revocation-check crl`, hub.cfg:" in said
    frame = said.partition("(frame ")[2].partition(")")[0]
    ((comment,),) = ran.fields(f"frame.number == {frame}", "frame.comment")
    assert "hub: MM5 refused: revoked" in comment


def signatures(ran: Ran) -> list[str]:
    """The frames whose message has a SIG, as tshark decrypts them."""
    found = ran.fields("isakmp.typepayload == 9 && !icmp", "frame.number")
    return list(dict.fromkeys(row[0] for row in found))


@pytest.mark.interop
def test_every_signature_of_a_capture_holds_its_hash(
    run: Run,  # noqa: F811
    need: Callable[[str], str],
) -> None:
    need("tshark")
    ran = run("revocation")
    frames = signatures(ran)
    assert len(frames) >= 4
    for frame in frames:
        done = ikelab("explain", "signature", frame, ran.folder, "--format", "json")
        proof = json.loads(done.stdout)
        assert proof["holds"] is True
        assert proof["recovered"] == proof["padded"]
        assert proof["recovered"].endswith("00" + proof["computed"])
