"""`python -m tests.benchmarks [--format table|json] [--runs N] [--handshakes N] [--packets N]

[--validations N] [--enrollments N] [--certificates N] [--entries N]`

Five runs take three to four minutes, most of them for 10,000 certificates. Exit code 0 also where a
part could not be measured: the report says why.
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
from tests.benchmarks.enrollment import AT_A_TIME, CLIENTS, EnrollmentBench, Rate, best_at
from tests.benchmarks.esp import PAYLOAD, EspBench
from tests.benchmarks.handshake import Cost, HandshakeBench, OpensslAlone
from tests.benchmarks.peers import NotHere, Peers
from tests.benchmarks.pki import BenchPki
from tests.benchmarks.report import Report
from tests.benchmarks.republish import ENTRIES, RepublishBench
from tests.benchmarks.stopwatch import CRYPTOGRAPHY

RUNS, HANDSHAKES, PACKETS, VALIDATIONS = 5, 20, 2000, 200
ENROLLMENTS, CERTIFICATES = 320, 10_000
IN_MEMORY = "Full handshake, nine messages, RSA-2048, AES-256, SHA-256, group 14: CPU"
AS_PROCESSES = "The same as a responder process, over UDP, our initiator for both: CPU"
ESP = f"ESP, AES-256 and SHA-256, {PAYLOAD} octets in a packet, one core"
CHAIN = "Path of three certificates, RSA-2048 and SHA-256, revocation by cached CRLs: CPU"
ENROLL = "Enrollment by SCEP over HTTP, RSA-2048 at both ends, answered at once: certificates"
MANY = "The same until that many are issued, both in turns"
CRL = "CRL published anew after a revocation"
NO_SCEPSERVER = "scepserver is not installed (Debian package scep)"
NO_PYHANKO = "pyhanko-certvalidator is not installed (extra pkits)"
MS, US, RATIO, A_SECOND = "ms", "us", "times", "a second"
OUTSIDE = "all but cryptography"


def measure(
    runs: int,
    handshakes: int,
    packets: int,
    validations: int = VALIDATIONS,
    *,
    sizes: Sequence[int] = SIZES,
    peers: bool = True,
    enrollments: int = ENROLLMENTS,
    certificates: int = CERTIFICATES,
    entries: int = ENTRIES,
) -> Report:
    """Everything, `runs` times in turns. sizes: of CRLs; peers: whether charon is wanted.

    enrollments: a run; certificates: of our CA in the end; entries: of the CRL published anew.
    """
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
    with RepublishBench(entries) as republish:
        for _ in range(runs):
            _note_crl(report, republish, entries)
    _note_enrollments(report, runs, enrollments)
    with EnrollmentBench() as enrollment:
        _note_many(report, enrollment, certificates)
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


def _note_crl(report: Report, bench: RepublishBench, entries: int) -> None:
    cost = bench.measure()
    of = f"{entries:,} entries"
    report.note(CRL, f"{of}: published", MS, cost.again)
    report.note(CRL, f"{of}: signing and writing alone", MS, cost.signing + cost.writing)
    report.note(CRL, f"{of}: published / alone", RATIO, cost.again / cost.floor)
    report.note(CRL, f"{of}: the first of a process", MS, cost.first)


def _note_enrollments(report: Report, runs: int, requests: int) -> None:
    """Each run with new servers, for scepserver gets slower with every certificate it has issued.

    Fewest clients first, with a quarter of the requests and more: that is scepserver's best.
    """
    ours: list[dict[int, Rate]] = []
    theirs: list[dict[int, Rate]] = []
    for _ in range(runs):
        with EnrollmentBench() as bench:
            ours.append({})
            theirs.append({})
            for clients in AT_A_TIME:
                count = max(1, requests // max(1, 4 // clients))
                ours[-1][clients] = bench.ours_all_distinct(count, clients)
                if bench.theirs is not None:
                    theirs[-1][clients] = bench.theirs.measure(count, clients)
    for clients in AT_A_TIME:
        _note_rates(report, "ours, durable", clients, [run[clients] for run in ours])
        if theirs[0]:
            _note_rates(report, "scepserver", clients, [run[clients] for run in theirs])
    if not theirs[0]:
        report.skipped[f"{ENROLL}: scepserver"] = NO_SCEPSERVER
        return
    at, their_at = best_at(ours), best_at(theirs)
    for run, their_run in zip(ours, theirs, strict=True):
        one, other = run[at].distinct, their_run[their_at].distinct
        report.note(ENROLL, f"best: ours, {at} at a time", A_SECOND, one)
        report.note(ENROLL, f"best: scepserver, {their_at} at a time", A_SECOND, other)
        if other:
            report.note(ENROLL, "best: ours / scepserver", RATIO, one / other)


def _note_rates(report: Report, server: str, clients: int, runs: Sequence[Rate]) -> None:
    of = f"{clients} at a time: {server}"
    for rate in runs:
        report.note(ENROLL, f"{of}, number of its own", A_SECOND, rate.distinct)
        report.note(ENROLL, f"{of}, all answers", A_SECOND, rate.answers)
        report.note(ENROLL, f"{of}, CPU an answer", MS, rate.cpu)


def _note_many(report: Report, bench: EnrollmentBench, certificates: int) -> None:
    """One row a block of a tenth; the last block is where a CA has got slower, if it does."""
    before, blocks = bench.resident, max(1, certificates // 10)
    both: list[tuple[Rate, Rate | None]] = []
    while (left := certificates - bench.ours.client.made) > 0:
        ours = bench.ours_all_distinct(min(left, blocks))
        theirs = bench.theirs and bench.theirs.measure(min(left, blocks), CLIENTS)
        both.append((ours, theirs))
        report.note(MANY, "ours", A_SECOND, ours.answers)
        if theirs is not None:
            report.note(MANY, "scepserver", A_SECOND, theirs.answers)
    if not both:
        return
    ours, theirs = both[-1]
    report.note(MANY, f"ours, up to number {bench.issued:,}", A_SECOND, ours.answers)
    if theirs is not None:
        report.note(MANY, "scepserver, at the end", A_SECOND, theirs.answers)
        report.note(MANY, "ours / scepserver, at the end", RATIO, ours.answers / theirs.answers)
    report.note(MANY, "our process has grown by", "MB", (bench.resident - before) / 1e6)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    words = argparse.ArgumentParser(
        prog="bench",
        description="CPU time of handshakes, ESP packets, path validations, enrollments and CRLs,"
        " beside peers.",
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
    words.add_argument(
        "--enrollments", type=_positive, default=ENROLLMENTS, help=f"a run; default {ENROLLMENTS}"
    )
    words.add_argument(
        "--certificates",
        type=_positive,
        default=CERTIFICATES,
        help=f"issued in the end; default {CERTIFICATES}",
    )
    words.add_argument(
        "--entries", type=_positive, default=ENTRIES, help=f"of a CRL; default {ENTRIES}"
    )
    given = words.parse_args(arguments)
    # cryptography announces the end of finite-field Diffie-Hellman, which IKEv1 has.
    warnings.filterwarnings("ignore", category=CryptographyDeprecationWarning)
    report = measure(
        given.runs,
        given.handshakes,
        given.packets,
        given.validations,
        enrollments=given.enrollments,
        certificates=given.certificates,
        entries=given.entries,
    )
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
