"""Write down what pyhanko-certvalidator and `openssl verify` say of every run of PKITS.

    pip install -e '.[pkits]' && python -m tests.vectors.pkits_expected

The runs (number, message, policies, settings, NIST's own verdict) are NIST's, from the document
"Public Key Interoperability Test Suite (PKITS) Certification Path Validation", version 1.0.1; they
are kept as they stand in `pkits.tsv`. The columns leaf, pyhanko and openssl are made anew. Each
witness is given the certificates and CRLs of the run's S/MIME message and the anchor, nothing else.
"""

from __future__ import annotations

import asyncio
import email
import logging
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import astuple, replace
from importlib.metadata import version
from pathlib import Path

from asn1crypto import cms, pem, x509
from pyhanko_certvalidator import CertificateValidator, ValidationContext
from pyhanko_certvalidator.errors import PathError, ValidationError
from pyhanko_certvalidator.policy_decl import DisallowWeakAlgorithmsPolicy, PKIXValidationParams

from tests.vectors.pkits import (
    ACCEPTED,
    ANCHOR,
    MOMENT,
    REFUSED,
    TABLE,
    Run,
    find_files,
    read_runs,
)

POLICY = "2.16.840.1.101.3.2.1.48."  # NIST's test policies, numbered below this
HEADER = """\
# The runs of NIST's PKITS and what others say of them; made by pkits_expected.py with
# cryptography-vectors {vectors}, pyhanko-certvalidator {pyhanko}, {openssl}.
#
# Columns: run, S/MIME message, leaf's file, policies asked for, settings (E explicit policy, M no
# mapping, A no anyPolicy), verdicts of NIST's document, pyhanko-certvalidator, openssl verify.
"""


class Message:
    """What an S/MIME message of PKITS holds: files of the suite, octet by octet."""

    def __init__(self, files: Path, name: str) -> None:
        parts = email.message_from_bytes((files / "smime" / f"{name}.eml").read_bytes()).walk()
        [octets] = [
            part.get_payload(decode=True)
            for part in parts
            if part.get_content_type() == "application/pkcs7-signature"
        ]
        self.crls = [held for _, held in _held(files / "crls", octets)]
        signed = cms.ContentInfo.load(octets)["content"]
        sid = signed["signer_infos"][0]["sid"].chosen
        wanted = (sid["issuer"].dump(), sid["serial_number"].native)
        self.others = []
        for stem, held in _held(files / "certs", octets):
            certificate = x509.Certificate.load(held)
            if (certificate.issuer.dump(), certificate.serial_number) == wanted:
                self.leaf_file, self.leaf = stem, held
            else:
                self.others.append(held)


def _held(directory: Path, octets: bytes) -> list[tuple[str, bytes]]:
    """The files that stand in octets. Not by asn1crypto: it writes 4.3.6's CA in another way."""
    files = {file.stem: file.read_bytes() for file in sorted(directory.iterdir())}
    return [(stem, held) for stem, held in files.items() if held in octets]


async def ask_pyhanko(run: Run, message: Message, anchor: bytes) -> str:
    """MD5 is refused, DSA-1024 taken, as NIST has it."""
    context = ValidationContext(
        trust_roots=[x509.Certificate.load(anchor)],
        other_certs=[x509.Certificate.load(octets) for octets in message.others],
        crls=message.crls,
        moment=MOMENT,
        revocation_mode="require",
        algorithm_usage_policy=DisallowWeakAlgorithmsPolicy(
            weak_hash_algos=frozenset({"md2", "md5"}), dsa_key_size_threshold=1024
        ),
    )
    wanted = ["any_policy"] if run.policies == "any" else policies(run)
    parameters = PKIXValidationParams(
        user_initial_policy_set=frozenset(wanted),
        initial_explicit_policy="E" in run.settings,
        initial_policy_mapping_inhibit="M" in run.settings,
        initial_any_policy_inhibit="A" in run.settings,
    )
    validator = CertificateValidator(
        x509.Certificate.load(message.leaf), validation_context=context, pkix_params=parameters
    )
    try:
        await validator.async_validate_usage(set())
    except (ValidationError, PathError):
        return REFUSED
    return ACCEPTED


def ask_openssl(run: Run, message: Message, anchor: bytes) -> str:
    """`openssl verify`, with deltas, indirect CRLs and policies."""
    command = ["openssl", "verify", "-attime", str(int(MOMENT.timestamp())), "-auth_level", "0"]
    command += ["-crl_check_all", "-extended_crl", "-use_deltas", "-policy_check"]
    for policy in ["anyPolicy"] if run.policies == "any" else policies(run):
        command += ["-policy", policy]
    flags = {"E": "-explicit_policy", "M": "-inhibit_map", "A": "-inhibit_any"}
    command += [flags[setting] for setting in run.settings if setting in flags]
    with tempfile.TemporaryDirectory() as name:
        files = {
            "-CAfile": ("CERTIFICATE", [anchor]),
            "-CRLfile": ("X509 CRL", message.crls),
            "-untrusted": ("CERTIFICATE", message.others),
            "": ("CERTIFICATE", [message.leaf]),
        }
        for option, (kind, items) in files.items():
            if items:
                file = Path(name, option or "leaf")
                file.write_bytes(b"".join(pem.armor(kind, item) for item in items))
                command += [option, str(file)] if option else [str(file)]
        done = subprocess.run(command, capture_output=True)
    return REFUSED if done.returncode else ACCEPTED


def policies(run: Run) -> Sequence[str]:
    """Dotted."""
    return [POLICY + number for number in run.policies.split("+")]


def main() -> int:
    """The command."""
    logging.disable()  # pyhanko reports every CRL it passes over
    files = find_files()
    if files is None:
        sys.exit("cryptography-vectors is not installed")
    anchor = (files / "certs" / f"{ANCHOR}.crt").read_bytes()
    lines = []
    for run in read_runs():
        message = Message(files, run.message)
        found = replace(
            run,
            leaf=message.leaf_file,
            pyhanko=asyncio.run(ask_pyhanko(run, message, anchor)),
            openssl=ask_openssl(run, message, anchor),
        )
        lines.append("\t".join(astuple(found)) + "\n")
    openssl = subprocess.run(["openssl", "version"], capture_output=True, text=True).stdout
    header = HEADER.format(
        vectors=version("cryptography-vectors"),
        pyhanko=version("pyhanko-certvalidator"),
        openssl=" ".join(openssl.split()[:2]),
    )
    TABLE.write_text(header + "".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
