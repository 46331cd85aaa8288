"""NIST's Public Key Interoperability Test Suite: its runs and its files.

The files are in the package `cryptography-vectors`. `pkits.tsv` lists the runs and what others say
of them; see `pkits_expected.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

TABLE = Path(__file__).with_name("pkits.tsv")
# A moment at which everything of PKITS is valid that is meant to be.
MOMENT = datetime(2022, 5, 1, tzinfo=UTC)
ANCHOR = "TrustAnchorRootCertificate"
ACCEPTED, REFUSED = "accepted", "refused"


@dataclass(frozen=True, slots=True)
class Run:
    """One run: a test with one of its settings.

    number: section, test and sub-test of NIST's document. message: S/MIME file with the
    certificates and CRLs; leaf: file of the certificate. policies: "any", or NIST's test policies
    ("1+2"). settings: E, M, A for initial-explicit-policy, initial-policy-mapping-inhibit,
    initial-inhibit-any-policy, or "-". nist, pyhanko, openssl: the verdicts.
    """

    number: str
    message: str
    leaf: str
    policies: str
    settings: str
    nist: str
    pyhanko: str
    openssl: str

    @property
    def section(self) -> str:
        """Such as "4.8"."""
        return ".".join(self.number.split(".")[:2])


def read_runs() -> list[Run]:
    """All runs of the table."""
    lines = TABLE.read_text().splitlines()
    return [Run(*line.split("\t")) for line in lines if line and not line.startswith("#")]


def find_files() -> Path | None:
    """The directory of PKITS, None where the package is not installed."""
    spec = find_spec("cryptography_vectors")
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "x509" / "PKITS_data"
