"""`explain signature` on the committed captures: every proof in them is found and holds."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from ikelab.capture import pcapng
from ikelab.lab.cli import cli
from ikelab.lab.explain import _datagrams
from ikelab.wire.numbers import PayloadType

CAPTURES = Path(__file__).parents[2] / "captures"
_FRAGMENT, _LAST = 16, 35  # octets of an IKE message: its first payload, the mark of a last piece


def explain(frame: int, where: Path) -> str:
    done = CliRunner().invoke(cli, ["explain", "signature", str(frame), str(where)])
    return f"{done.output}{done.exception or ''}"


def pieces(capture: Path) -> tuple[list[int], list[int]]:
    """Frames with an IKE fragment: those that are not the last of their message, and the last."""
    first, last = list[int](), list[int]()
    for number, frame in enumerate(pcapng.parse(capture.read_bytes()).frames, start=1):
        for _, message in _datagrams([frame]):
            if len(message) > _LAST and message[_FRAGMENT] == PayloadType.FRAGMENT:
                (last if message[_LAST] else first).append(number)
    return first, last


# The main capture, by its directory; and the other side of the NAT, whose keys are in the former's.
@pytest.mark.parametrize("name", ["", "nat-branch.pcapng"])
def test_a_signature_that_came_in_fragments_is_explained_at_its_last(name: str) -> None:
    where = CAPTURES / "nat" / name
    first, last = pieces(where if name else where / "nat.pcapng")
    assert len(last) == 4  # messages 5 and 6 of two spokes
    for frame in last:
        assert "the same: whoever signed has the private key" in explain(frame, where)
    assert f"frame {first[0]} holds an IKE fragment" in explain(first[0], where)
