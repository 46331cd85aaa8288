"""The console's commands that bring a PKCS #12 file from a storage host or take one there.

A transfer takes time: the answer to the command carries a `FileOrder`, and what the command comes
to is known when the order was carried out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from ikelab.errors import ConfigError
from ikelab.ios.arguments import Arguments, Command
from ikelab.ios.log_pki import loading
from ikelab.ios.text import visible, without_user
from ikelab.node import identities
from ikelab.node.events import (
    FileNotStored,
    FileStored,
    NodeAction,
    ReadStorage,
    StorageNotRead,
    StorageRead,
    StoreFile,
)
from ikelab.node.recovery import import_pkcs12
from ikelab.node.router import Router
from ikelab.pki.pkcs12 import dump_pkcs12, load_pkcs12
from ikelab.pki.recovery import archive_files, latest_archive
from ikelab.types import Now

Outcome = StorageRead | StorageNotRead | FileStored | FileNotStored
Done = tuple[str, Sequence[NodeAction]]
"""Text for the console, and actions to carry out."""


@dataclass(frozen=True, slots=True)
class FileOrder:
    """A transfer that a command waits for. then: what its outcome comes to.

    `then` raises PkiError and ConfigError, as the command itself would.
    """

    action: ReadStorage | StoreFile
    then: Callable[[Outcome, Now], Done]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a file is. directory: URL, None for nvram; shown: without a user; name: "" for any."""

    directory: str | None
    shown: str
    host: str
    name: str

    @classmethod
    def of(cls, url: str) -> _Place:
        """A URL's last part is a file if it has a dot in it; the host's own dots are not meant."""
        if url == "nvram:":
            return cls(None, url, "", "")
        parts = urlsplit(url)
        above, _, last = parts.path.rpartition("/")
        is_file = "." in last
        directory = parts._replace(path=above if is_file else parts.path).geturl()
        shown = without_user(directory).rstrip("/") + "/"
        return cls(directory, shown, parts.hostname or "", last if is_file else "")


class ArchiveConsole:
    """Carries out `crypto pki import` and `export` of PKCS #12 by URL, for one router."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._orders: Mapping[str, Callable[[Arguments], tuple[str, FileOrder]]] = {
            "crypto pki import pkcs12": self._import,
            "crypto pki export pkcs12": self._export,
        }

    def takes(self, command: Command) -> bool:
        """Whether the command is one of these."""
        return command.name in self._orders

    def order(self, command: Command) -> tuple[str, FileOrder]:
        """What is said before the transfer, and the transfer. Raises PkiError, ConfigError."""
        return self._orders[command.name](command.arguments)

    def _import(self, arguments: Arguments) -> tuple[str, FileOrder]:
        """Without a file name the latest archive of the server of that name is meant."""
        place, name = _Place.of(arguments.text("url")), arguments.text("trustpoint")
        pattern = re.escape(place.name) if place.name else archive_files(name)
        said = "% Importing pkcs12...\n"
        if place.host:
            said += f"Address or name of remote host [{place.host}]?\n"

        def then(outcome: Outcome, now: Now) -> Done:
            return self._imported(place, arguments, outcome, now)

        return said, FileOrder(ReadStorage(f"import {name}", place.directory, pattern), then)

    def _imported(self, place: _Place, arguments: Arguments, outcome: Outcome, now: Now) -> Done:
        if isinstance(outcome, StorageNotRead):
            raise ConfigError(f"%Error opening {place.shown}{place.name} ({outcome.reason})")
        assert isinstance(outcome, StorageRead), "the answer to a ReadStorage"
        name, contents = arguments.text("trustpoint"), outcome.contents
        file = place.name or latest_archive(name, contents.names) or ""
        octets = contents.files.get(file)
        if octets is None:
            wanted = file or f"{name}_nnnnn.p12"
            raise ConfigError(f"%Error opening {place.shown}{wanted} (No such file or directory)")
        identity = load_pkcs12(octets, arguments.text("password"), legacy=self._router.legacy)
        actions = import_pkcs12(self._router, name, identity, now)
        said = (
            f"Source filename [{name}]? {visible(file)}\n"
            f"Reading file from {place.shown}{visible(file)}\n"
            f"{loading(file, len(octets))}\n"
            "CRYPTO_PKI: Imported PKCS12 file successfully.\n"
        )
        return said, actions

    def _export(self, arguments: Arguments) -> tuple[str, FileOrder]:
        place, name = _Place.of(arguments.text("url")), arguments.text("trustpoint")
        identity = identities.exported_identity(self._router, name)
        octets = dump_pkcs12(identity, name, arguments.text("password"), legacy=self._router.legacy)
        file = place.name or f"{name}.p12"

        def then(outcome: Outcome, now: Now) -> Done:
            if isinstance(outcome, FileNotStored):
                raise ConfigError(f"%Error opening {place.shown}{file} ({outcome.reason})")
            return f"Writing {file} !\nCRYPTO_PKI: Exported PKCS12 file successfully.\n", []

        return "% Exporting pkcs12...\n", FileOrder(
            StoreFile(name, 0, place.directory, file, octets), then
        )
