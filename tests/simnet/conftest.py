"""What tests of the simulated network may ask for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.openssl_files import Openssl


@pytest.fixture
def elsewhere(tmp_path: Path, need) -> Openssl:
    """openssl, with a key and a request for spoke1."""
    made = Openssl(need("openssl"), tmp_path)
    made.run(
        *("req", "-newkey", "rsa:2048", "-nodes", "-keyout", "s.key", "-out", "s.csr"),
        *("-subj", "/CN=spoke1", "-addext", "subjectAltName=DNS:spoke1.cisco.example"),
    )
    return made
