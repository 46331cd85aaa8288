"""Lines below a command: blocks, passwords, yes and no, and what is left over."""

from __future__ import annotations

import pytest

from ikelab.errors import ConfigError
from ikelab.ios.typed import AnswerKind, Typed, Unanswered

CERTIFICATE = ["-----BEGIN CERTIFICATE-----", "AAAA", "-----END CERTIFICATE-----"]
KEY = [
    "-----BEGIN RSA PRIVATE KEY-----",
    "Proc-Type: 4,ENCRYPTED",
    "DEK-Info: DES-EDE3-CBC,0011223344556677",
    "",
    "BBBB",
    "-----END RSA PRIVATE KEY-----",
]


def lines(found: str) -> list[str]:
    return found.splitlines()


@pytest.mark.parametrize("end", [["quit"], [""], ["", "quit"], [" quit "], ["", "", "quit"], []])
def test_a_block_ends_with_quit_or_a_blank_line_or_the_end(end: list[str]) -> None:
    typed = Typed([*CERTIFICATE, *end])
    assert lines(typed.block("?")) == CERTIFICATE
    assert typed.is_empty


def test_a_pem_block_ends_by_itself_before_an_answer_and_goes_on_with_another() -> None:
    typed = Typed([*CERTIFICATE, *CERTIFICATE, "yes"])
    assert lines(typed.block("?")) == CERTIFICATE * 2
    assert typed.yes("?") and typed.is_empty


def test_a_blank_line_inside_an_encrypted_key_does_not_end_it() -> None:
    typed = Typed([*CERTIFICATE, "quit", *KEY, "quit", *CERTIFICATE, "quit"])
    assert [lines(typed.block("?")) for _ in range(3)] == [CERTIFICATE, KEY, CERTIFICATE]
    assert typed.is_empty


def test_bare_base64_goes_up_to_its_end() -> None:
    typed = Typed(["", "AAAA", "BBBB", "quit", "no"])
    assert lines(typed.block("?")) == ["AAAA", "BBBB"]
    assert not typed.yes("?")


@pytest.mark.parametrize("below", [[], ["quit"], ["", ""]])
def test_a_block_with_nothing_in_it_is_asked_for(below: list[str]) -> None:
    with pytest.raises(Unanswered) as asked:
        Typed(below).block("Enter the certificate.")
    assert asked.value.prompt == "Enter the certificate."
    assert asked.value.kind is AnswerKind.BLOCK


@pytest.mark.parametrize(
    ("typed", "meant"), [("yes", True), ("Y", True), ("no", False), ("n", False)]
)
def test_yes_and_no_may_be_cut_short(typed: str, meant: bool) -> None:
    assert Typed([typed]).yes("?") is meant


@pytest.mark.parametrize("typed", ["", "maybe", "yesterday"])
def test_anything_else_is_neither(typed: str) -> None:
    with pytest.raises(ConfigError, match="'yes' or 'no'"):
        Typed([typed]).yes("?")


def test_a_password_is_typed_twice_and_kept_as_it_is() -> None:
    assert Typed([" with blanks ", " with blanks "]).new_secret("Password:") == " with blanks "
    with pytest.raises(ConfigError, match="not the same"):
        Typed(["one", "two"]).new_secret("Password:")
    with pytest.raises(Unanswered) as asked:
        Typed(["hunter"]).new_secret("Password:")
    assert asked.value.kind is AnswerKind.SECRET and "hunter" not in str(asked.value)


@pytest.mark.parametrize("bad", ["", "a\x1bb", "x" * 81])
def test_a_password_nobody_can_type_is_refused_and_not_repeated(bad: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Typed([bad, bad]).new_secret("Password:")
    assert not bad or bad not in str(refused.value)


def test_the_command_is_the_first_line_and_blank_lines_at_the_end_do_not_count() -> None:
    command, typed = Typed.split("show clock\n\n \n")
    assert command == "show clock" and typed.is_empty
    command, typed = Typed.split("import\r\nA\r\n")
    assert lines(typed.block("?")) == ["A"]


def test_what_is_left_over_is_counted_but_not_shown() -> None:
    with pytest.raises(ConfigError) as refused:
        Typed(["secret", "secret"]).finish("show clock")
    assert str(refused.value).startswith("% 2 lines too many below `show clock`")


def test_a_flood_of_lines_is_refused() -> None:
    with pytest.raises(ConfigError, match="at most"):
        Typed(["a"] * 5000)
