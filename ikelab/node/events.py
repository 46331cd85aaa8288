"""What a router is told and asks for beyond what its engines do: files, and the console's deeds."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from ikelab.isakmp import events as isakmp
from ikelab.ntp.client import Answered, NtpAction
from ikelab.pki.ca_events import CaNotice
from ikelab.pki.enrollment_events import TrustpointAction
from ikelab.pki.events import (
    CrlInstalled,
    CrlRefused,
    HttpFailed,
    HttpReply,
    HttpRequest,
    PathExamined,
)
from ikelab.pki.recovery import StorageContents


@dataclass(frozen=True, slots=True)
class StoreFile:
    """Action: write one file of a certificate server; answered by `FileStored` or `...NotStored`.

    order: comes back with the answer. url: `database url`, None for the node's own nvram. Files of
    one server come one at a time, in order; the same one comes again until it is stored. replaces:
    what a file of this name must hold if there is one, None for anything.
    """

    server: str
    order: int
    url: str | None
    name: str
    octets: bytes = field(repr=False)
    replaces: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class FileStored:
    """Event: the file is there, whole, under its final name."""

    server: str
    order: int


@dataclass(frozen=True, slots=True)
class FileNotStored:
    """Event: it is not. reason: for a person. is_others: the file there is not what it replaces."""

    server: str
    order: int
    reason: str
    is_others: bool = False


@dataclass(frozen=True, slots=True)
class ReadStorage:
    """Action: list a storage and read the files whose whole name fits the regular expression.

    Answered by `StorageRead` or `StorageNotRead` with the same handle. url: as in `StoreFile`.
    """

    handle: str
    url: str | None
    pattern: str


@dataclass(frozen=True, slots=True)
class StorageRead:
    """Event: what was there."""

    handle: str
    contents: StorageContents


@dataclass(frozen=True, slots=True)
class StorageNotRead:
    """Event: it could not be read. reason: for a person."""

    handle: str
    reason: str


@dataclass(frozen=True, slots=True)
class StorageUnreachable:
    """Notice: the files of a server wait for their storage; the next try is in `retry` seconds."""

    server: str
    url: str
    reason: str
    retry: float


@dataclass(frozen=True, slots=True)
class AcquireSa:
    """Event: a packet waits for an SA of this tunnel interface."""

    flow: str


@dataclass(frozen=True, slots=True)
class ClockSet:
    """Action: the node's date is this one from now on, by `clock set`. before: what it was."""

    date: datetime
    before: datetime


@dataclass(frozen=True, slots=True)
class ClockStepped:
    """Event: the date was set, forth or back. What is due is done, whatever the timers say.

    shift: seconds that it was moved by, as far as NTP does not know of them.
    """

    shift: float = 0.0


NodeEvent = (
    isakmp.Event
    | HttpReply
    | HttpFailed
    | FileStored
    | FileNotStored
    | StorageRead
    | StorageNotRead
    | AcquireSa
    | ClockStepped
    | Answered
)
NodeAction = (
    isakmp.Action
    | HttpRequest
    | TrustpointAction
    | CaNotice
    | CrlInstalled
    | CrlRefused
    | PathExamined
    | StoreFile
    | ReadStorage
    | StorageUnreachable
    | ClockSet
    | NtpAction
)
