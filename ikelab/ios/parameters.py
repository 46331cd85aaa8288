"""Kinds of words that a command line may hold besides keywords: numbers, addresses, names, lines.

Each knows how `?` shows it, which words it takes and how its value is printed back. A kind that
takes nothing leaves the word to others, so IOS's "Invalid input" comes out where none takes it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address
from typing import Protocol

from ikelab.ios.arguments import Value
from ikelab.ios.config import interface_name


@dataclass(frozen=True, slots=True)
class Word:
    """One word of a line and where it begins, counted from 0."""

    text: str
    column: int


@dataclass(frozen=True, slots=True)
class Line:
    """A command line and its words. A lone `!` begins a comment, as in the guide's listings."""

    text: str
    words: tuple[Word, ...]

    @classmethod
    def split(cls, text: str, *, comments: bool = True) -> Line:
        """Words are what stands between blanks. comments: whether a lone `!` ends them."""
        found = tuple(Word(match[0], match.start()) for match in re.finditer(r"\S+", text))
        if not comments:
            return cls(text, found)
        comment = next((i for i, word in enumerate(found) if word.text == "!"), len(found))
        return cls(text, found[:comment])

    def rest(self, at: int) -> str:
        """Everything from one word on, with its blanks."""
        return self.text[self.words[at].column :].rstrip()

    @property
    def end(self) -> int:
        """The column after the last word."""
        return self.words[-1].column + len(self.words[-1].text) if self.words else 0


@dataclass(frozen=True, slots=True)
class Taken:
    """A value, how many words it took, and, where it needs `mode: legacy`, what is weak in it."""

    value: Value
    words: int = 1
    weak: str = ""


class Parameter(Protocol):
    """A kind of word."""

    @property
    def label(self) -> str:
        """How `?` names it, such as `<1-999>` or `A.B.C.D`."""
        ...

    def take(self, line: Line, at: int) -> Taken | None:
        """The value that stands at word `at`, or None."""
        ...

    def show(self, value: Value) -> str:
        """The value as a configuration file has it."""
        ...


@dataclass(frozen=True, slots=True)
class Number:
    """`<low-high>`, decimal; there is no -0. Values under weak_below need `mode: legacy`; unit is
    for its text.
    """

    low: int
    high: int
    weak_below: int = 0
    unit: str = ""

    @property
    def label(self) -> str:
        """`<1-999>`, `<-23 - 23>`."""
        return f"<{self.low} - {self.high}>" if self.low < 0 else f"<{self.low}-{self.high}>"

    def take(self, line: Line, at: int) -> Taken | None:
        """Decimal digits in range; more digits than the largest has are never a number."""
        text = line.words[at].text
        digits = text.removeprefix("-")
        if not (digits.isascii() and digits.isdecimal() and len(digits) <= len(str(self.high))):
            return None
        value = int(text)
        if not self.low <= value <= self.high or (text != digits and value == 0):
            return None
        return Taken(value, weak=f"{self.unit} {value}" if value < self.weak_below else "")

    def show(self, value: Value) -> str:
        """Decimal."""
        return str(int(value))


@dataclass(frozen=True, slots=True)
class Address:
    """A dotted IPv4 address or mask."""

    label: str = "A.B.C.D"

    def take(self, line: Line, at: int) -> Taken | None:
        """Four decimal octets without leading zeros."""
        try:
            return Taken(str(IPv4Address(line.words[at].text)))
        except AddressValueError:
            return None

    def show(self, value: Value) -> str:
        """As it was written."""
        return str(value)


@dataclass(frozen=True, slots=True)
class Pattern:
    """One word that fits a regular expression and, beyond it, a check."""

    label: str
    expression: str
    check: Callable[[str], bool] = bool

    def take(self, line: Line, at: int) -> Taken | None:
        """The whole word must fit."""
        text = line.words[at].text
        fits = re.fullmatch(self.expression, text) and self.check(text)
        return Taken(text) if fits else None

    def show(self, value: Value) -> str:
        """As it is kept."""
        return str(value)


@dataclass(frozen=True, slots=True)
class Rest:
    """The rest of the line, blanks included. normal: the form that is kept, None to refuse it."""

    label: str = "LINE"
    normal: Callable[[str], str | None] = str

    def take(self, line: Line, at: int) -> Taken | None:
        """All words from here on; control characters are refused."""
        text = line.rest(at)
        value = self.normal(text) if text.isprintable() else None
        return None if value is None else Taken(value, words=len(line.words) - at)

    def show(self, value: Value) -> str:
        """As it is kept."""
        return str(value)


@dataclass(frozen=True, slots=True)
class InterfaceName:
    """`GigabitEthernet0/0`, `gi 0/0`, `tunnel 1`: one word or two, kept in IOS's full form."""

    label: str = "IFNAME"

    def take(self, line: Line, at: int) -> Taken | None:
        """Kind and number together, or in the next word."""
        name = interface_name(line.words[at].text)
        if name is not None:
            return Taken(name)
        pair = " ".join(word.text for word in line.words[at : at + 2])
        name = interface_name(pair)
        return None if name is None else Taken(name, words=2)

    def show(self, value: Value) -> str:
        """The full name."""
        return str(value)


@dataclass(frozen=True, slots=True)
class Serial:
    """A certificate serial number, `0x4`, `0X1D0` or `1d0`: hexadecimal with or without prefix.

    Kept as lower-case hexadecimal text, since it may have 20 octets (RFC 5280 section 4.1.2.2).
    """

    label: str = "<0x0-0xFFFFFFFF>"

    def take(self, line: Line, at: int) -> Taken | None:
        """Up to 40 hexadecimal digits."""
        found = re.fullmatch(r"(?:0[xX])?([0-9a-fA-F]{1,40})", line.words[at].text)
        return Taken(f"{int(found[1], 16):x}") if found else None

    def show(self, value: Value) -> str:
        """With 0x."""
        return f"0x{value}"


@dataclass(frozen=True, slots=True)
class Option:
    """A keyword with the value it stands for. weak: what needs `mode: legacy` about it."""

    text: str
    value: Value
    help: str = ""
    weak: str = ""


def choice(
    words: Mapping[str, tuple[Value, str]], *, weak: Mapping[str, str] | None = None
) -> tuple[Option, ...]:
    """Options from `word: (value, help)`. weak: what to call those that are weak."""
    named = weak or {}
    return tuple(
        Option(word, value, text, weak=named.get(word, "")) for word, (value, text) in words.items()
    )


def _fingerprint(text: str) -> str | None:
    """Upper-case digits without blanks, if they are as many as MD5, SHA-1 or SHA-256 have."""
    digits = "".join(text.split()).upper()
    fits = re.fullmatch(r"[0-9A-F]{32}|[0-9A-F]{40}|[0-9A-F]{64}", digits)
    return digits if fits else None


def _distinguished_name(text: str) -> str | None:
    """`cn=root-ca,o=Example`: attribute=value, by commas."""
    part = r"\s*[A-Za-z][A-Za-z0-9.]*\s*=\s*[^,=\s][^,=]*"
    return text if re.fullmatch(rf"{part}(,{part})*", text) else None


def _has_port(url: str) -> bool:
    """Whether the port of a URL, if it has one, is 1 to 65535."""
    port = re.match(r"\w+://(?:[^/@]*@)?[^/:]*:([0-9]+)", url)
    return port is None or 0 < int(port[1]) <= 65535


HOST = r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?"
_PATH = r"[!-~]*"

WORD = Pattern("WORD", r"[!-~]+")
LABEL = Pattern("WORD", r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
HOSTNAME = Pattern("WORD", r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
DOMAIN = Pattern("WORD", HOST)
HTTP_URL = Pattern("URL", rf"http://{HOST}(?::[0-9]{{1,5}})?(?:/{_PATH})?", _has_port)
STORAGE_URL = Pattern(
    "URL",
    rf"(?:ftp://(?:[!-.0-?A-~]+@)?{HOST}(?::[0-9]{{1,5}})?(?:/{_PATH})?)|nvram:",
    _has_port,
)
TYPE7 = Pattern("LINE", r"(?:0[0-9]|1[0-5])(?:[0-9A-Fa-f]{2})+")


def number_of(names: Sequence[str], text: str) -> int | None:
    """Which of these names, from 0, three letters or more begin: `feb`, `April`, `Sun`."""
    found = [n for n, name in enumerate(names) if name.startswith(text.lower())]
    return found[0] if found else None


def _is_month(text: str) -> bool:
    return number_of(MONTHS, text) is not None


def _is_weekday(text: str) -> bool:
    return number_of(WEEKDAYS, text) is not None


MONTHS = (
    *("january", "february", "march", "april", "may", "june", "july", "august"),
    *("september", "october", "november", "december"),
)
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
MONTH = Pattern("MONTH", r"[A-Za-z]{3,9}", _is_month)
WEEKDAY = Pattern("DAY", r"[A-Za-z]{3,9}", _is_weekday)
HOUR_AND_MINUTE = Pattern("hh:mm", r"(?:[01]?[0-9]|2[0-3]):[0-5][0-9]")
TIME_OF_DAY = Pattern("hh:mm:ss", r"(?:[01]?[0-9]|2[0-3]):[0-5]?[0-9]:[0-5]?[0-9]")
LINE = Rest()
NAMES = Rest("WORD")
FINGERPRINT = Rest("HEX", _fingerprint)
NAME_LINE = Rest("LINE", _distinguished_name)
