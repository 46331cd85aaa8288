"""The committed captures: every lab has one, the index is current, tshark reads all of each."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from tests.command_line import ROOT, captured_fields

CAPTURES = ROOT / "captures"
# tshark decrypts with the IV that the last message left behind, so it cannot read the same
# encrypted message once more and calls it malformed.
REPEATED = 'frame.comment contains "(repeated" || frame.comment contains "(attempt"'
LABS = sorted(path.parent.name for path in (ROOT / "netns").glob("*/lab.yaml"))


def test_every_lab_has_its_reference_and_a_line_in_the_index() -> None:
    index = (CAPTURES / "README.md").read_text()
    for lab in LABS:
        for name in (f"{lab}.pcapng", "ladder.svg", f"{lab}.wireshark/ikev1_decryption_table"):
            assert (CAPTURES / lab / name).is_file(), "run: sudo ./netns/lab run LAB --record"
        assert f"| [{lab}]({lab}/ladder.svg) |" in index


Fields = Callable[..., list[list[str]]]


def reader(lab: str, tshark: str) -> Fields:
    """What tshark finds in a lab's capture: fields(display filter, names of fields...)."""
    return partial(captured_fields, CAPTURES / lab, lab, tshark=tshark)


def has_enrollment(lab: str) -> bool:
    """A certificate server, and somebody who asks it by HTTP."""
    texts = [file.read_text() for file in (ROOT / "netns" / lab / "configs").glob("*.cfg")]
    words = ("crypto pki server", "enrollment url")
    return all(any(word in text for text in texts) for word in words)


@pytest.mark.interop
@pytest.mark.parametrize("lab", [lab for lab in LABS if has_enrollment(lab)])
def test_tshark_decodes_every_message_of_scep(lab: str, need: Callable[[str], str]) -> None:
    fields = reader(lab, need("tshark"))
    asked = fields('http.request.uri contains "operation="', "http.request.uri")
    operations = [row[0].partition("operation=")[2].partition("&")[0] for row in asked]
    assert {"GetCACaps", "GetCACert", "PKIOperation"} <= set(operations)
    messages = [
        set(row[0].split(",")) for row in fields("cms.signedAttrs", "x509sat.PrintableString")
    ]
    requests = [words for words in messages if words & {"17", "19", "20", "21", "22"}]
    answers = [words for words in messages if not words & {"17", "19", "20", "21", "22"}]
    assert len(requests) == operations.count("PKIOperation")
    assert len(answers) == len(requests) and all("3" in words for words in answers)
    certified = [words for words in answers if "0" in words]
    assert certified, "nobody was given a certificate"


@pytest.mark.interop
@pytest.mark.parametrize("lab", LABS)
def test_tshark_reads_all_of_it_without_a_warning(lab: str, need: Callable[[str], str]) -> None:
    fields = reader(lab, need("tshark"))
    complaints = "(_ws.expert.severity >= 6291456 || _ws.malformed)"
    assert fields(f"{complaints} && !({REPEATED})", "frame.number") == []
    esp = fields("esp", "esp.icv_good", "icmp.type")
    assert esp and {row[0] for row in esp} == {"1"} and {row[1] for row in esp} == {"0", "8"}
    main_mode = fields(f"isakmp.exchangetype == 2 && !({REPEATED})", "frame.number")
    assert len(main_mode) >= 6
