"""The errors of the project, one class per *whose fault it is*.

Everything else that is raised is a bug of ours and may end the process loudly.
"""

from __future__ import annotations


class IkelabError(Exception):
    """Base of every error that a caller may expect. Never raised itself."""


class WireError(IkelabError):
    """Octets that are not a well-formed message.

    offset: octets from the start of the datagram (or of the decrypted body) to the fault.
    field: what stood there, in the RFC's words, such as "payload length".
    """

    def __init__(self, reason: str, *, offset: int = 0, field: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.offset = offset
        self.field = field

    def __str__(self) -> str:
        """Reason, field and offset in one line."""
        where = f"{self.field} at octet {self.offset}" if self.field else f"octet {self.offset}"
        return f"{self.reason} ({where})"


class ProtocolError(IkelabError):
    """A well-formed message that the peer should not have sent.

    reason: a short fixed name in lower case, such as "no-proposal-chosen": it is what counters
        and `show crypto isakmp drops` are keyed by.
    detail: one sentence for a person, with the value seen and the value wanted.
    notify: the ISAKMP notify message type (RFC 2408 section 3.14.1) that answers it, or None for
        silence.
    seen, wanted: the two values that differ, as a person writes them; never a secret.
    payload: where the value stood, such as "SA"; "" where the reason alone tells it.
    config: the line of configuration that decided, such as "crypto isakmp policy 10", if one did.
    """

    def __init__(
        self,
        reason: str,
        detail: str = "",
        *,
        notify: int | None = None,
        seen: object = "",
        wanted: object = "",
        payload: str = "",
        config: str = "",
    ) -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail
        self.notify = notify
        self.seen = str(seen)
        self.wanted = str(wanted)
        self.payload = payload
        self.config = config


class PkiError(IkelabError):
    """A certificate, CRL, request or SCEP message that cannot be accepted.

    reason: a short fixed name in lower case, such as "revoked", "expired", "bad-signature".
    fail_info: SCEP failInfo (RFC 8894 section 3.2.1.4) that answers it, or None.
    """

    def __init__(self, reason: str, detail: str = "", *, fail_info: int | None = None) -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail
        self.fail_info = fail_info


class ConfigError(IkelabError):
    """A file or command of the user that cannot be taken.

    file, line, column: where, line and column counted from 1, 0 where unknown.
    hint: what would mend it.
    """

    def __init__(
        self, reason: str, *, file: str = "", line: int = 0, column: int = 0, hint: str = ""
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.file = file
        self.line = line
        self.column = column
        self.hint = hint

    def __str__(self) -> str:
        """`file:line:column: reason (hint)`, as compilers and editors know it."""
        where = ":".join(str(part) for part in (self.file, self.line, self.column) if part)
        text = f"{where}: {self.reason}" if where else self.reason
        return f"{text} ({self.hint})" if self.hint else text


class LabError(IkelabError):
    """The machine or the lab's surroundings do not allow what was asked. hint: what would."""

    def __init__(self, reason: str, *, hint: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint

    def __str__(self) -> str:
        """Reason and, after it, what would mend it."""
        return f"{self.reason}\n  {self.hint}" if self.hint else self.reason
