"""Sizes of CRLs as revocations grow: real ones, read by others too."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from ikelab.lab.cli import cli
from ikelab.lab.crl_growth import CACHE_OCTETS, RevokingCa, fitting, measure


def test_a_crl_has_the_entries_it_is_said_to_have_and_its_cas_signature() -> None:
    ca = RevokingCa()
    for revoked in (0, 1, 250):
        crl = x509.load_der_x509_crl(ca.crl(revoked))
        assert [entry.serial_number for entry in crl] == list(range(2, revoked + 2))
        key = x509.load_der_x509_certificate(ca.certificate).public_key()
        assert isinstance(key, RSAPublicKey) and crl.is_signature_valid(key)


def test_in_legacy_mode_the_sizes_are_those_of_the_guide() -> None:
    [empty, one] = measure([0, 1], [1], legacy=True)
    assert (empty.sizes, one.sizes) == ((218,), (240,))


def test_several_cas_share_what_is_revoked() -> None:
    [row] = measure([1000], [1, 2, 4])
    one, half, quarter = row.sizes
    alone = {entries: len(RevokingCa().crl(entries)) for entries in (500, 250)}
    assert one > half > quarter and (half, quarter) == (alone[500], alone[250])


def test_a_share_that_is_not_whole_is_the_largest() -> None:
    [row, three] = measure([10, 12], [4])
    assert row.sizes == three.sizes


def test_the_cache_is_full_with_exactly_that_many() -> None:
    [most] = fitting([1])
    assert len(RevokingCa().crl(most)) <= CACHE_OCTETS < len(RevokingCa().crl(most + 1))


def test_the_command_prints_the_table_and_what_a_router_takes() -> None:
    done = CliRunner().invoke(cli, ["crl-growth", "--revoked", "0,1", "--legacy"])
    lines = [line.split() for line in done.output.splitlines()]
    assert ["0", "218", "218", "218"] in lines and ["1", "240", "240", "240"] in lines
    assert "A router takes 65536 octets: " in done.output


def test_the_command_gives_numbers_to_a_program() -> None:
    arguments = ["crl-growth", "--revoked", "0", "--cas", "2", "--legacy", "--format", "json"]
    found = json.loads(CliRunner().invoke(cli, arguments).output)
    assert found["crls"] == [{"revoked": 0, "octets": [218]}]
    assert found["cache"]["octets"] == 65536 and found["cache"]["revoked"][0] % 2 == 0


@pytest.mark.parametrize(
    "arguments", [["--revoked", "1,x"], ["--revoked", "1e9"], ["--cas", "0"], ["--cas", ""]]
)
def test_what_is_no_number_is_a_mistake_in_the_command_line(arguments: list[str]) -> None:
    done = CliRunner().invoke(cli, ["crl-growth", *arguments])
    assert done.exit_code == 2 and "takes numbers from" in done.output


@pytest.mark.interop
def test_openssl_reads_a_thousand_entries(tmp_path: Path, need: Callable[[str], str]) -> None:
    (tmp_path / "grown.crl").write_bytes(RevokingCa().crl(1000))
    command = [need("openssl"), "crl", "-inform", "DER", "-in", "grown.crl", "-noout", "-text"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.count("Serial Number:") == 1000
