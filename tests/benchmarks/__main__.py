"""`python -m tests.benchmarks [--format table|json] [--runs N] [--handshakes N] [--packets N]

[--validations N]`

Five runs take about half a minute. Exit code 0 also where a part could not be measured: the report
says why.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from cryptography.utils import CryptographyDeprecationWarning

from tests.benchmarks.chain import SIZES, ChainBench
from tests.benchmarks.esp import PAYLOAD, EspBench
from tests.benchmarks.handshake import Cost, HandshakeBench, OpensslAlone
from tests.benchmarks.peers import NotHere, Peers
from tests.benchmarks.pki import BenchPki
from tests.benchmarks.report import Report
from tests.benchmarks.stopwatch import CRYPTOGRAPHY

RUNS, HANDSHAKES, PACKETS, VALIDATIONS = 5, 20, 2000, 200
IN_MEMORY = "Full handshake, nine messages, RSA-2048, AES-256, SHA-256, group 14: CPU"
AS_PROCESSES = "The same as a responder process, over UDP, our initiator for both: CPU"
ESP = f"ESP, AES-256 and SHA-256, {PAYLOAD} octets in a packet, one core"
CHAIN = "Path of three certificates, RSA-2048 and SHA-256, revocation by cached CRLs: CPU"
NO_PYHANKO = "pyhanko-certvalidator is not installed (extra pkits)"
MS, US, RATIO = "ms", "us", "times"
OUTSIDE = "all but cryptography"


def measure(
    runs: int,
    handshakes: int,
    packets: int,
    validations: int = VALIDATIONS,
    *,
    sizes: Sequence[int] = SIZES,
    peers: bool = True,
) -> Report:
    """Everything, `runs` times in turns. sizes: of CRLs; peers: whether charon is wanted."""
    report = Report(runs, handshakes, packets)
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ikelab-b-")))
        pki = BenchPki(directory / "pki")
        memory, alone, esp = HandshakeBench(pki), OpensslAlone(), EspBench()
        chain = ChainBench()
        both = _start_peers(stack, pki, report) if peers else None
        for _ in range(runs):
            floor = alone.measure(handshakes)
            initiator, responder = memory.measure(handshakes)
            _note_side(report, "initiator", initiator, floor)
            _note_side(report, "responder", responder, floor)
            report.note(IN_MEMORY, "the OpenSSL operations alone, a side", MS, floor)
            if both is not None:
                _note_peers(report, *both.measure(handshakes), responder)
            _note_esp(report, esp, packets)
            for size in sizes:
                _note_chain(report, chain, size, validations)
    return report


def _start_peers(stack: ExitStack, pki: BenchPki, report: Report) -> Peers | None:
    try:
        return stack.enter_context(Peers(pki))
    except (NotHere, RuntimeError) as reason:  # RuntimeError: what charon, ip or our daemon said
        report.skipped[AS_PROCESSES] = str(reason)
        return None


def _note_side(report: Report, side: str, cost: Cost, floor: float) -> None:
    for part, spent in cost.parts.items():
        report.note(IN_MEMORY, f"{side}: {part}", MS, spent)
    report.note(IN_MEMORY, f"{side}: {OUTSIDE}", MS, cost.outside_cryptography)
    report.note(IN_MEMORY, f"{side}: whole", MS, cost.whole)
    report.note(IN_MEMORY, f"{side}: whole / OpenSSL alone", RATIO, cost.whole / floor)


def _note_peers(report: Report, charon: float, ours: float, responder: Cost) -> None:
    report.note(AS_PROCESSES, "charon", MS, charon)
    report.note(AS_PROCESSES, "our router daemon", MS, ours)
    ours_outside = ours - responder.parts[CRYPTOGRAPHY]
    report.note(AS_PROCESSES, f"our router daemon: {OUTSIDE}", MS, ours_outside)
    report.note(AS_PROCESSES, "our router daemon / charon", RATIO, ours / charon)
    in_memory = responder.whole / charon
    report.note(AS_PROCESSES, "our router in memory, without I/O / charon", RATIO, in_memory)


def _note_esp(report: Report, esp: EspBench, packets: int) -> None:
    cost = esp.measure(packets)
    for name, ours, bare in (
        ("protect", cost.protect, cost.bare_encrypt),
        ("open", cost.open, cost.bare_decrypt),
    ):
        report.note(ESP, name, US, ours)
        report.note(ESP, f"{name}: packets a second", "packets/s", 1e6 / ours)
        report.note(ESP, f"{name}: bare AES-CBC and HMAC", US, bare)
        report.note(ESP, f"{name} / bare", RATIO, ours / bare)


def _note_chain(report: Report, chain: ChainBench, size: int, validations: int) -> None:
    cost = chain.measure(size, validations)
    of = f"CRL of {size:,}"
    report.note(CHAIN, f"{of}: ours", US, cost.ours)
    report.note(CHAIN, f"{of}: the two signatures alone", US, cost.bare)
    report.note(CHAIN, f"{of}: ours / the signatures", RATIO, cost.ours / cost.bare)
    report.note(CHAIN, f"{of}: ours, leaf read, path built", US, cost.whole)
    report.note(CHAIN, f"{of}: ours, CRLs read too", US, cost.cold)
    if cost.pyhanko is None:
        report.skipped[f"{CHAIN}: pyhanko"] = NO_PYHANKO
        return
    report.note(CHAIN, f"{of}: pyhanko-certvalidator", US, cost.pyhanko)
    report.note(CHAIN, f"{of}: pyhanko / ours", RATIO, cost.pyhanko / cost.ours)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    words = argparse.ArgumentParser(
        prog="bench",
        description="CPU time of handshakes, ESP packets and path validations, beside peers.",
    )
    words.add_argument("--format", choices=("table", "json"), default="table")
    words.add_argument("--runs", type=_positive, default=RUNS, help=f"default {RUNS}")
    words.add_argument(
        "--handshakes", type=_positive, default=HANDSHAKES, help=f"a run; default {HANDSHAKES}"
    )
    words.add_argument("--packets", type=_positive, default=PACKETS, help=f"default {PACKETS}")
    words.add_argument(
        "--validations", type=_positive, default=VALIDATIONS, help=f"default {VALIDATIONS}"
    )
    given = words.parse_args(arguments)
    # cryptography announces the end of finite-field Diffie-Hellman, which IKEv1 has.
    warnings.filterwarnings("ignore", category=CryptographyDeprecationWarning)
    report = measure(given.runs, given.handshakes, given.packets, given.validations)
    if given.format == "json":
        print(json.dumps(report.to_json(), indent=2))
    else:
        print(report.to_text(), end="")
    return 0


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 up")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
