"""The console: abbreviations, IOS's three refusals, `?`, Tab, modes, `no`, `do`, pipes, debug."""

from __future__ import annotations

from pathlib import Path

import pytest

from ikelab.ios import debugging
from ikelab.ios.arguments import Arguments, Command, Pipe
from ikelab.ios.command_tree import ROWS, TABLE
from ikelab.ios.config_text import format_config, parse_config
from ikelab.ios.grammar import compile_grammar, match_line
from ikelab.ios.parameters import Line
from ikelab.ios.pipe import apply_pipe
from ikelab.ios.row import Mode
from ikelab.ios.session import Closed, Edited, Said, Session
from ikelab.ios.vocabulary import KINDS
from ikelab.isakmp.policy import IsakmpPolicy
from ikelab.wire.numbers import EncryptionAlgorithm
from tests.ios_samples import elements, sample

HUB = (Path(__file__).parents[1] / "golden" / "ios" / "hub.cfg").read_text()


def console(text: str = "hostname hub\n", mode: str = "legacy") -> Session:
    legacy = mode == "legacy"
    config = parse_config(text, mode="legacy")
    return Session(config, mode="legacy" if legacy else "modern")


def at(mode_lines: list[str], text: str = "hostname hub\n") -> Session:
    session = console(text)
    for line in ["configure terminal", *mode_lines]:
        outcome = session.enter(line)
        assert not (isinstance(outcome, Said) and outcome.failed), outcome
    return session


# --- commands ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "name", "arguments"),
    [
        ("sh clo", "show clock", {}),
        ("SHOW CRYPTO ISAKMP SA", "show crypto isakmp sa", {}),
        ("sh cry isa sa det", "show crypto isakmp sa", {"detail": "detail"}),
        ("show crypto pki certificates ra", "show crypto pki certificates", {"trustpoint": "ra"}),
        (
            "crypto pki server ca grant all",
            "crypto pki server grant",
            {"server": "ca", "request": "all"},
        ),
        (
            "crypto pki server ca grant 7",
            "crypto pki server grant",
            {"server": "ca", "request": 7},
        ),
        (
            "crypto pki server ca revoke 0X4",
            "crypto pki server revoke",
            {"server": "ca", "serial": "4"},
        ),
        ("ping 10.0.0.1", "ping", {"target": "10.0.0.1"}),
        (
            "ping 10.0.0.1 size 100 sou gi 0/0 rep 3",
            "ping",
            {"target": "10.0.0.1", "size": 100, "source": "GigabitEthernet0/0", "repeat": 3},
        ),
        ("clear crypto sa peer 10.0.0.1", "clear crypto sa peer", {"peer": "10.0.0.1"}),
    ],
)
def test_typed_words_become_a_command_with_its_arguments(
    typed: str, name: str, arguments: dict[str, str | int]
) -> None:
    assert console().enter(typed) == Command(name, Arguments(arguments))


def test_abbreviation_of_several_keywords_is_ambiguous() -> None:
    assert console().enter("show c") == Said('% Ambiguous command:  "show c"\n', failed=True)


def test_exact_keyword_wins_over_longer_ones() -> None:
    session = at(["crypto isakmp policy 1"])
    assert isinstance(session.enter("hash sha"), Edited)
    assert isinstance(session.enter("hash s"), Said)


def test_command_with_words_missing_is_incomplete() -> None:
    assert console().enter("show crypto") == Said("% Incomplete command.\n", failed=True)


def test_caret_stands_under_the_wrong_word_with_the_prompt_before_it() -> None:
    session = console()
    outcome = session.enter("show   foo bar")
    assert isinstance(outcome, Said)
    assert outcome.failed
    caret, marker = outcome.text.splitlines()
    assert (session.prompt + "show   foo bar")[caret.index("^") :] == "foo bar"
    assert marker == "% Invalid input detected at '^' marker."


def test_caret_counts_the_bar_of_a_filter() -> None:
    session = console()
    outcome = session.enter("show clock | frob x")
    assert isinstance(outcome, Said)
    caret = outcome.text.splitlines()[0]
    assert (session.prompt + "show clock | frob x")[caret.index("^") :] == "frob x"


def test_empty_lines_and_comments_say_nothing() -> None:
    assert [console().enter(line) for line in ("", "  ", "! note")] == [Said("")] * 3


# --- modes ------------------------------------------------------------------------------------


def test_prompt_follows_the_mode_and_exit_and_end_lead_out() -> None:
    session = at(["interface Tunnel1"])
    assert session.prompt == "hub(config-if)#"
    session.enter("exit")
    assert session.prompt == "hub(config)#"
    session.enter("crypto pki server ca")
    assert session.prompt == "hub(cs-server)#"
    session.enter("end")
    assert session.prompt == "hub#"
    session.enter("configure terminal")
    session.enter("exit")
    assert session.prompt == "hub#"
    assert session.enter("exit") == Closed()


@pytest.mark.parametrize(
    ("line", "prompt"),
    [
        ("crypto pki trustpoint ra", "hub(ca-trustpoint)#"),
        ("crypto isakmp policy 1", "hub(config-isakmp)#"),
        ("crypto isakmp profile p", "hub(conf-isa-prof)#"),
        ("crypto keyring k", "hub(conf-keyring)#"),
        ("crypto ipsec transform-set t esp-aes esp-sha256-hmac", "hub(cfg-crypto-trans)#"),
        ("crypto ipsec profile p", "hub(ipsec-profile)#"),
    ],
)
def test_each_section_has_ioss_prompt(line: str, prompt: str) -> None:
    assert at([line]).prompt == prompt


def test_global_command_in_a_section_leaves_the_section() -> None:
    session = at(["interface Tunnel1", "crypto isakmp policy 1"])
    assert session.prompt == "hub(config-isakmp)#"


def test_global_command_without_a_section_of_its_own_leaves_to_config_mode() -> None:
    session = at(["interface Tunnel1", "ip http server"])
    assert session.prompt == "hub(config)#"


def test_do_carries_out_an_exec_command_from_a_section() -> None:
    assert at(["interface Tunnel1"]).enter("do show clock") == Command("show clock")
    refused = at([]).enter("do exit")
    assert refused == Said("% `do exit` has no meaning here\n", failed=True)


def test_hostname_changes_the_prompt() -> None:
    assert at(["hostname other"]).prompt == "other(config)#"


# --- edits ------------------------------------------------------------------------------------


def test_edit_gives_the_configuration_before_and_after() -> None:
    session = at(["crypto isakmp policy 1"])
    outcome = session.enter("encr aes 256")
    assert isinstance(outcome, Edited)
    assert outcome.before.policies[1] == IsakmpPolicy(1)
    assert outcome.after.policies[1] == IsakmpPolicy(1, EncryptionAlgorithm.AES_CBC, 256)
    assert session.config is outcome.after


@pytest.mark.parametrize(
    "line",
    [
        "no crypto pki trustpoint ra",
        "no crypto keyring zebra",
        "no crypto isakmp policy 1",
        "no crypto isakmp profile dmvpn-profile",
        "no crypto ipsec transform-set AES",
        "no crypto ipsec transform-set 3DES_MD5 esp-3des esp-md5-hmac",
        "no crypto ipsec profile ESE_DMVPN",
        "no interface Tunnel1",
        "no ip domain name",
        "no ip http server",
        "no ip http port",
        "no ip route 0.0.0.0 0.0.0.0 192.168.159.1",
    ],
)
def test_no_takes_a_line_out_of_the_running_config(line: str) -> None:
    session = at([], HUB)
    before = format_config(session.config)
    assert isinstance(session.enter(line), Edited)
    after = format_config(session.config)
    # What `no` names is there before and gone after; `no ip http server` is printed by IOS.
    named = line.removeprefix("no ").removesuffix(" esp-3des esp-md5-hmac")
    assert "\n" + named in before
    assert "\n" + named not in after


def test_no_of_every_line_in_every_section_brings_back_the_default() -> None:
    """Whatever is printed of a section can be taken back, and then is not printed."""
    config = parse_config(HUB, mode="legacy")
    section = ""
    for line in format_config(config).splitlines():
        if not line.startswith(" "):
            section = line
            continue
        session = at([section], HUB)
        assert isinstance(session.enter("no" + line), Edited), line
        if line == " revocation-check crl":  # the default, which IOS prints nevertheless
            continue
        assert line not in _section(format_config(session.config), section), line


def _section(text: str, title: str) -> list[str]:
    lines = text.splitlines()
    body = lines[lines.index(title) + 1 :]
    end = next(i for i, line in enumerate(body) if not line.startswith(" "))
    return body[:end]


def test_profile_says_it_is_incomplete_only_when_it_is_new() -> None:
    session = at([])
    first = session.enter("crypto isakmp profile p")
    again = session.enter("crypto isakmp profile p")
    assert isinstance(first, Edited)
    assert isinstance(again, Edited)
    notice = "% A profile is deemed incomplete until it has match identity statements\n"
    assert (first.said, again.said) == (notice, "")


def test_running_certificate_server_takes_no_change_but_shutdown() -> None:
    session = at(["crypto pki server ca", "lifetime crl 5", "no shutdown"])
    refused = session.enter("lifetime crl 6")
    assert refused == Said(
        '% Server\'s configuration is locked  (enter "shut" to unlock it)\n', failed=True
    )
    session.enter("shut")
    assert isinstance(session.enter("lifetime crl 6"), Edited)


def test_modern_console_refuses_a_weak_word_and_changes_nothing() -> None:
    session = console(mode="modern")
    session.enter("configure terminal")
    session.enter("crypto isakmp policy 1")
    before = session.config
    refused = session.enter("encr 3des")
    assert isinstance(refused, Said)
    assert refused.failed
    assert "3DES is too weak" in refused.text
    assert session.config is before


def test_transform_set_entered_again_keeps_its_mode() -> None:
    lines = ["crypto ipsec transform-set t esp-3des", "mode transport"]
    session = at([*lines, "crypto ipsec transform-set t esp-aes 256 esp-sha-hmac"])
    assert " mode transport" in format_config(session.config)


def test_keys_made_at_the_console_are_key_pair_requests() -> None:
    session = at(["crypto key generate rsa general-keys label a modulus 1024"])
    assert session.config.key_pairs == {"a": 1024}


# --- debugging --------------------------------------------------------------------------------


def test_debugging_is_state_of_the_console() -> None:
    session = console()
    assert session.enter("debug crypto isakmp") == Said("Crypto ISAKMP debugging is on\n")
    assert session.debugging == {debugging.ISAKMP}
    assert session.enter("undebug crypto isakmp") == Said("Crypto ISAKMP debugging is off\n")
    assert session.debugging == frozenset()
    session.enter("debug crypto isakmp")
    said = Said("All possible debugging has been turned off\n")
    assert session.enter("u all") == said
    assert session.debugging == frozenset()
    assert session.enter("no debug all") == said


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("crypto ipsec", "Crypto IPSEC"),
        ("crypto pki messages", "Crypto PKI Msg"),
        ("crypto pki transactions", "Crypto PKI Trans"),
        ("crypto pki callbacks", "Crypto PKI callbacks"),
        ("crypto pki validation", "Crypto PKI Validation Path"),
    ],
)
def test_each_debugging_is_switched_by_itself(name: str, title: str) -> None:
    session = console()
    session.enter("debug crypto isakmp")
    assert session.enter(f"debug {name}") == Said(f"{title} debugging is on\n")
    assert session.debugging == {debugging.ISAKMP, name}
    assert session.enter(f"no debug {name}") == Said(f"{title} debugging is off\n")
    assert session.debugging == {debugging.ISAKMP}


# --- ? and Tab --------------------------------------------------------------------------------


def test_question_mark_after_a_blank_lists_what_may_follow() -> None:
    assert console().help("crypto pki server ca grant ") == (
        "  <1-999>  Request ID\n  all      all pending requests\n"
    )


def test_question_mark_at_a_complete_show_command_offers_the_bar_and_the_end() -> None:
    assert console().help("show version ") == "  |     Output modifiers\n  <cr>\n"


def test_question_mark_after_a_part_of_a_word_lists_the_words() -> None:
    session = console()
    assert session.help("show cl") == "clock\n"
    assert session.help("show c") == "clock  crypto\n"
    assert session.help("sh run | i") == "include\n"
    assert session.help("sh run |i") == "include\n"
    assert session.help("ping 1") == "A.B.C.D\n"


def test_question_mark_and_tab_take_any_word_as_a_word() -> None:
    session = at([])
    assert session.help("do") == "do\n"
    assert session.help("no") == "no\n"
    assert session.help("!") == "% Unrecognized command\n"
    assert session.complete("!") is None
    assert session.complete("do sh cl") == "do sh clock "
    assert console().complete("show clock | inc") == "show clock | include "
    assert console().complete("show clock |") is None


def test_question_mark_after_nonsense_says_so() -> None:
    session = console()
    assert session.help("frob ") == "% Unrecognized command\n"
    assert session.help("frob") == "% Unrecognized command\n"
    assert session.help("show c ") == '% Ambiguous command:  "show c"\n'


def test_question_mark_in_a_section_reaches_global_commands_by_their_first_word() -> None:
    session = at(["interface Tunnel1"])
    assert "  address  Set the IP address of an interface\n" in session.help("ip ")
    assert "  trustpoint    Define a CA trustpoint\n" in session.help("crypto pki ")
    assert "  clock " in session.help("do show ")


def test_question_mark_after_no_has_help_for_every_word() -> None:
    session = at([])
    for text in ("no ", "no crypto ", "no crypto isakmp ", "no crypto ipsec "):
        for line in session.help(text).splitlines():
            assert len(line.split(maxsplit=1)) == 2, line


def test_tab_completes_a_unique_word_only() -> None:
    session = console()
    assert session.complete("sh cry isa") == "sh cry isakmp "
    assert session.complete("show c") is None
    assert session.complete("show ") is None
    assert session.complete("frob") is None


# --- pipes ------------------------------------------------------------------------------------

TEXT = "interface A\n ip address x\n  deep\ninterface B\n shutdown\nend\n"


@pytest.mark.parametrize(
    ("typed", "output"),
    [
        ("include ^interface", "interface A\ninterface B\n"),
        ("exclude ^ .", "interface A\ninterface B\nend\n"),
        ("begin B", "interface B\n shutdown\nend\n"),
        ("section interface A", "interface A\n ip address x\n  deep\n"),
        ("section address", " ip address x\n  deep\n"),
        ("count interface", "Number of lines which match regexp = 2\n"),
        ("i shut", " shutdown\n"),
        ("begin nothing", ""),
    ],
)
def test_filters_keep_what_ios_keeps(typed: str, output: str) -> None:
    command = console().enter(f"show running-config | {typed}")
    assert isinstance(command, Command)
    assert apply_pipe(command.pipe, TEXT) == output


def test_json_is_a_filter_that_leaves_the_rest_to_show() -> None:
    command = console().enter("show clock | json")
    assert command == Command("show clock", pipe=Pipe("json"))
    assert apply_pipe(Pipe("json"), TEXT) == TEXT


def test_faulty_regular_expression_is_refused() -> None:
    outcome = console().enter("show clock | include (")
    assert isinstance(outcome, Said)
    assert outcome.failed
    assert outcome.text.startswith("% Regular expression '('")


def test_bar_after_anything_but_show_is_invalid() -> None:
    outcome = console().enter("clear crypto sa | include x")
    assert isinstance(outcome, Said)
    assert "marker" in outcome.text


# --- the table itself -------------------------------------------------------------------------


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("with_groups", [False, True])
def test_every_row_is_reached_by_a_line_of_its_own(mode: Mode, with_groups: bool) -> None:
    rows = ROWS[mode]
    for number, row in enumerate(rows):
        line = sample(row.grammar.nodes, with_groups)
        found = match_line([one.grammar for one in rows], Line.split(line))
        assert getattr(found, "row", None) == number, (line, found)


def test_every_word_of_the_table_has_help() -> None:
    for mode in Mode:
        helps: dict[tuple[str, str], str] = {}
        for row in ROWS[mode]:
            path = ""
            for element in elements(row.grammar.nodes):
                if element.parameter is not None:
                    entry = (path, element.parameter.label)
                    helps[entry] = helps.get(entry) or element.help
                for option in element.options:
                    helps[path, option.text] = helps.get((path, option.text)) or option.help
                path += " " + (element.options[0].text if len(element.options) == 1 else "*")
        assert [entry for entry, text in helps.items() if not text] == []


def test_every_row_that_edits_is_printed_or_stands_for_one_that_is() -> None:
    silent = {row.grammar.text for row in TABLE if row.edit and row.read is None}
    assert silent == set()


@pytest.mark.parametrize("text", ["a [b", "a b]", "a NOKIND:x", "a {[b]"])
def test_row_written_wrong_is_a_bug_found_at_import(text: str) -> None:
    with pytest.raises(ValueError, match="bracket|no kind"):
        compile_grammar(text, [], KINDS)


def test_row_with_more_help_than_words_is_a_bug_found_at_import() -> None:
    with pytest.raises(ValueError, match="has 1 words"):
        compile_grammar("a", ["x", "y"], KINDS)
