"""Warnings of pre-shared keys: how long they last, for whom they are, and never what they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from ikelab.ios.config_text import parse_config
from ikelab.ios.guessable import key_warnings, time_to_guess
from ikelab.lab import cli
from tests.unit.lab_files import ROUTER, write_lab

PSK = """
crypto isakmp policy 10
 encryption aes 256
 hash sha256
 authentication pre-share
 group 14
"""
MEND = "take 20 random characters for each peer, or certificates"
STRONG = "kP7-xq2VnW9rTz4LbY8c"


@pytest.mark.parametrize("key", ["CISCO", "cisco123", "Secret!", "12345678901234567890"])
def test_a_common_word_falls_at_once(key: str) -> None:
    assert time_to_guess(key) == "at once, it is in every list of words"


@pytest.mark.parametrize(
    ("key", "time"),
    [
        ("xkq", "within a second or two"),
        ("xkqwvz7", "within 78 seconds"),
        ("xkqwvzhtp", "within 90 minutes"),
        ("xkq-wvzh", "within 40 hours"),
        ("Xkq7wvzht4", "within 26 years"),
    ],
)
def test_a_short_key_lasts_as_long_as_all_of_its_kind(key: str, time: str) -> None:
    assert time_to_guess(key) == f"{time}, with one graphics card"


@pytest.mark.parametrize("key", [STRONG, "a-long-key-of-this-lab-only"])
def test_of_a_long_key_nothing_is_said(key: str) -> None:
    assert time_to_guess(key) == ""
    config = parse_config(f"{PSK}crypto isakmp key {key} address 192.0.2.1\n")
    assert list(key_warnings(config)) == []


def test_weak_and_wildcard_keys_are_told_and_not_shown() -> None:
    config = parse_config(f"{PSK}crypto isakmp key CISCO address 0.0.0.0 0.0.0.0\n")
    weak, everybodys = key_warnings(config)
    assert weak == (
        "the pre-shared key for 0.0.0.0 0.0.0.0 is weak: whoever takes the peer's place can guess"
        f" it at once, it is in every list of words; {MEND}"
    )
    assert everybodys == (
        "the pre-shared key for 0.0.0.0 0.0.0.0 is everybody's: with it one comes in from any"
        f" address, as any peer; {MEND}"
    )
    assert "CISCO" not in weak + everybodys


def test_the_address_of_nobody_is_everybodys() -> None:
    """0.0.0.0 is no host: without a mask, too, it stands for every address."""
    config = parse_config(f"{PSK}crypto isakmp key {STRONG} address 0.0.0.0\n")
    [said] = key_warnings(config)
    assert "everybody's" in said


def test_aggressive_mode_lets_anybody_guess() -> None:
    text = f"{PSK}no crypto isakmp aggressive-mode disable\ncrypto isakmp key xkq hostname spoke1\n"
    [said] = key_warnings(parse_config(text))
    assert said.startswith(
        "the pre-shared key for spoke1 is weak: anybody who asks (aggressive mode is on) can"
    )


def test_a_key_that_no_policy_uses_is_nobodys_business() -> None:
    config = parse_config("crypto isakmp key CISCO address 192.0.2.1\n")
    assert list(key_warnings(config)) == []


def test_deploy_tells_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = ROUTER.format(name="r1", address="192.0.2.2", more="")
    text = text.replace("end\n", f"{PSK}crypto isakmp key CISCO address 192.0.2.7\nend\n")
    assert cli._main(["deploy", str(write_lab(tmp_path, r1=text)), "--dry-run"]) == 0
    printed = capsys.readouterr()
    assert printed.err.splitlines()[0].startswith(
        "% Warning: r1: the pre-shared key for 192.0.2.7 is weak"
    )
    assert "CISCO" not in printed.out + printed.err
