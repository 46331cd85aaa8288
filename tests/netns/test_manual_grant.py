"""The lab whose CA grants nothing by itself: what both consoles say, and what the wire carries."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ikelab.errors import ConfigError
from ikelab.runtime.control import ControlClient
from tests.command_line import captured_fields, copied_lab, ikelab

pytestmark = pytest.mark.needs_root
SHIPPED = "first-tunnel-manual"
COPY = "manual-by-hand"
RUN = Path("/run/ikelab") / COPY
SERVER = "crypto pki server ra-subca"
PENDING, GRANTED, REJECTED = "pending", "granted", "rejected"
_MD5 = re.compile(r"Certificate Request Fingerprint MD5: ([0-9A-F ]+)")
_REQUEST = re.compile(r"^(\d+) +(\S+) +([0-9A-F]{32}) (.*)$", re.MULTILINE)


@pytest.fixture
def waiting(tmp_path: Path) -> Iterator[str]:
    """The lab with nobody told to grant: both requests wait. What `deploy` said."""
    file = copied_lab(SHIPPED, tmp_path / COPY) / "lab.yaml"
    text = file.read_text()
    assert text.count(", grant: ra-subca") == 2
    file.write_text(text.replace(", grant: ra-subca", ""))
    try:
        yield ikelab("deploy", tmp_path / COPY).stderr
    finally:
        ikelab("destroy", COPY)


def console(node: str, command: str) -> str:
    with ControlClient(RUN / f"{node}.sock", timeout=20) as client:
        return client.exec(command)


def log(node: str) -> str:
    return (RUN / f"{node}.log").read_text()


def requests() -> list[tuple[str, str, str, str]]:
    """`info requests`: (id, state, MD5, subject)."""
    return _REQUEST.findall(console("ra-subca", f"{SERVER} info requests"))


def reached(node: str, condition: str, seconds: float = 5.0) -> bool:
    with ControlClient(RUN / f"{node}.sock") as client:
        return client.wait(condition, of="ra", timeout=seconds)


def test_both_consoles_show_the_same_fingerprint(waiting: str) -> None:
    assert "hub waits until ra-subca grants its request" in waiting
    assert "Granting mode is: manual" in console("ra-subca", "show crypto pki server")
    listed = requests()
    assert [(row[0], row[1]) for row in listed] == [("1", PENDING), ("2", PENDING)]
    for node, (_, _, fingerprint, subject) in zip(("hub", "spoke1"), listed, strict=True):
        assert f"hostname={node}.cisco.example" in subject
        shown = _MD5.findall(console(node, "show crypto pki certificates"))
        printed = _MD5.findall(log(node))
        assert [text.replace(" ", "") for text in (*shown, *printed)] == [fingerprint] * 2


def test_one_is_granted_one_rejected_and_asks_anew(waiting: str) -> None:
    console("ra-subca", f"{SERVER} grant 1")
    console("ra-subca", f"{SERVER} reject 2")
    assert [row[1] for row in requests()] == [GRANTED, REJECTED]
    with pytest.raises(ConfigError, match="there is no enrollment request 3"):
        console("ra-subca", f"{SERVER} grant 3")
    assert "request 1 is not pending any more" in console("ra-subca", f"{SERVER} reject 1")

    console("hub", "crypto pki enroll ra")
    assert reached("hub", "enrolled")
    console("spoke1", "crypto pki enroll ra")
    assert not reached("spoke1", "enrolled", 0.5)
    assert "%PKI-6-CERTREJECT: Certificate enrollment request was rejected" in log("spoke1")
    assert "Status: Pending" not in console("spoke1", "show crypto pki certificates")

    console("spoke1", "crypto pki enroll ra")
    assert reached("spoke1", PENDING)
    console("ra-subca", f"{SERVER} grant all")
    assert [row[1] for row in requests()] == [GRANTED, REJECTED, GRANTED]
    console("spoke1", "crypto pki enroll ra")
    assert reached("spoke1", "enrolled")
    assert "(5/5)" in console("spoke1", "ping 20.0.0.4 source 20.0.0.5")


@pytest.mark.nightly
def test_the_routers_find_out_by_themselves_within_a_minute(waiting: str) -> None:
    console("ra-subca", f"{SERVER} grant all")
    assert reached("hub", "enrolled", 70) and reached("spoke1", "enrolled", 5)
    assert "(5/5)" in console("spoke1", "ping 20.0.0.4 source 20.0.0.5")


@pytest.mark.interop
def test_the_lab_runs_and_tshark_reads_request_poll_and_answers(
    tmp_path: Path, need: Callable[[str], str]
) -> None:
    need("tshark")
    done = ikelab("run", SHIPPED, "--out", tmp_path)
    assert "spoke1 enrolled with ra-subca (trustpoint ra), request 2 granted there" in done.stderr
    names = ("x509sat.PrintableString", "cms.EnvelopedData_element")
    rows = captured_fields(tmp_path, SHIPPED, "cms.signedAttrs && tcp.port==12345", *names)
    # The names of signer and recipient have the router's serial number, printable too.
    rows = [[re.sub(r",?LAB[0-9A-F]{8}", "", words).strip(","), item] for words, item in rows]
    # messageType, in answers pkiStatus too, transactionID; an envelope where something is carried.
    hub, spoke = (rows[number][0].split(",")[-1] for number in (0, 4))
    assert hub != spoke
    expected = [
        row
        for transaction in (hub, spoke)
        for row in (
            [f"19,{transaction}", "1"],
            [f"3,3,{transaction}", ""],
            [f"20,{transaction}", "1"],
            [f"3,0,{transaction}", "1"],
        )
    ]
    assert [[words, "1" if envelope else ""] for words, envelope in rows] == expected
