"""What is typed after a command: the answers to what it asks, one after another.

IOS asks and waits. Here a command comes as one text: its first line is the command, the lines below
are what one would type at its questions, in order: a pasted certificate and its end (`quit` or a
blank line; a PEM block ends by itself), a password twice, `yes`. A question without an answer is
an `Unanswered`, and nothing was done: a console that can ask prints it, reads, and gives the
command again with one answer more.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum

from ikelab.errors import ConfigError

_BEGIN = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----")
_MAX_LINES = 4096


class AnswerKind(Enum):
    """How a question is answered."""

    BLOCK = "lines up to `quit` or a blank one"
    SECRET = "one line, not shown"
    YES_OR_NO = "yes or no"


class Unanswered(ConfigError):
    """A command asks something that no line below it answers.

    prompt: IOS's question. kind: what answers it.
    """

    def __init__(self, prompt: str, kind: AnswerKind) -> None:
        super().__init__(prompt, hint=f"on the lines below the command: {kind.value}")
        self.prompt = prompt
        self.kind = kind


class Typed:
    """The lines below a command, taken by its questions in order."""

    def __init__(self, lines: Sequence[str] = ()) -> None:
        if len(lines) > _MAX_LINES:
            raise ConfigError(f"% {len(lines)} lines below a command, at most {_MAX_LINES}")
        self._lines = [line.rstrip("\r") for line in lines]

    @classmethod
    def split(cls, text: str) -> tuple[str, Typed]:
        """A command, and what was typed below it."""
        command, *below = text.split("\n")
        while below and not below[-1].strip():
            below.pop()
        return command, cls(below)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left."""
        return not self._lines

    @property
    def first_word(self) -> str:
        """What the next line is, in small letters."""
        return self._lines[0].strip().lower() if self._lines else ""

    def block(self, prompt: str) -> str:
        """Pasted text, up to `quit`, a blank line or the end of the last PEM block."""
        self._skip_blank()
        taken: list[str] = []
        inside = ""
        while self._lines:
            line = self._lines[0].strip()
            begun = _BEGIN.fullmatch(line)
            if not inside and (line in ("", "quit") or self._is_past(taken, begun is not None)):
                break
            self._lines.pop(0)
            taken.append(line)
            inside = begun[1] if begun else "" if line == f"-----END {inside}-----" else inside
        self._skip_blank()  # files end in one; whoever pastes such a file types `quit` all the same
        if self.first_word == "quit":
            self._lines.pop(0)
        if not taken:
            raise Unanswered(prompt, AnswerKind.BLOCK)
        return "\n".join(taken) + "\n"

    def _skip_blank(self) -> None:
        while self._lines and not self._lines[0].strip():
            self._lines.pop(0)

    @staticmethod
    def _is_past(taken: Sequence[str], begins: bool) -> bool:
        """Behind a PEM block comes another one, or the answer to the next question."""
        return bool(taken) and taken[-1].startswith("-----END ") and not begins

    def yes(self, prompt: str) -> bool:
        """`yes` or `no`, or as much of it as one types."""
        if not self._lines:
            raise Unanswered(prompt, AnswerKind.YES_OR_NO)
        answer = self._lines.pop(0).strip().lower()
        if not answer or not ("yes".startswith(answer) or "no".startswith(answer)):
            raise ConfigError("% Please answer 'yes' or 'no'.")
        return answer.startswith("y")

    def new_secret(self, prompt: str) -> str:
        """A password, typed twice."""
        first = self._secret(prompt)
        if self._secret("Re-enter password:") != first:
            raise ConfigError("% The two passwords are not the same")
        return first

    def _secret(self, prompt: str) -> str:
        if not self._lines:
            raise Unanswered(prompt, AnswerKind.SECRET)
        line = self._lines.pop(0)
        if not line or not line.isprintable() or len(line) > 80:
            raise ConfigError("% A password has 1 to 80 characters that can be printed")
        return line

    def finish(self, command: str) -> None:
        """Refuse what nothing asked for. It is not repeated: it may be a secret."""
        if self._lines:
            count = len(self._lines)
            lines = "line" if count == 1 else "lines"
            raise ConfigError(f"% {count} {lines} too many below `{command}`")
