"""A certificate server whose `mode` is changed: its store is open once, and stays what it was."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ikelab.ios.config_text import parse_config
from ikelab.node.events import FileStored, NodeAction, ReadStorage, StorageRead, StoreFile
from ikelab.node.router import Router
from ikelab.pki.ca_events import HttpIn, ServerDisabled, ServerEnabled, ServerNotStarted
from ikelab.pki.cert_server import ServerState
from ikelab.pki.recovery import StorageContents
from ikelab.runtime.store import SqliteCaStore, SqliteNvram
from tests.pki_scene import PoolKeys, Scene, SeededRng

NAME = "root-ca"
CONFIG = """
hostname root-ca
crypto pki trustpoint root-ca
 enrollment url http://192.0.2.1
 subject-name cn=root-ca,ou=ioscs RA
crypto pki server root-ca
 no shutdown
ip http server
"""
GET_CA = HttpIn("GET", "/cgi-bin/pkiclient.exe?operation=GetCACert", b"")


class Box:
    """A router whose certificate server's files are always taken."""

    def __init__(self, folder: Path) -> None:
        self.notices: list[NodeAction] = []
        self.router = Router(
            parse_config(CONFIG),
            "modern",
            rng=SeededRng(),
            keys=PoolKeys(),  # type: ignore[arg-type]  # no IKE here
            nvram=SqliteNvram(":memory:"),
            open_store=lambda name: SqliteCaStore(str(folder / f"{name}.db")),
        )
        self.now = Scene().now()
        self._perform(self.router.start(self.now))

    def _perform(self, actions: list[NodeAction]) -> None:
        waiting = deque(actions)
        while waiting:
            match action := waiting.popleft():
                case StoreFile():
                    stored = FileStored(action.server, action.order)
                    waiting += self.router.handle(stored, self.now)
                case ReadStorage():
                    read = StorageRead(action.handle, StorageContents())
                    waiting += self.router.handle(read, self.now)
                case _:
                    self.notices.append(action)

    def change(self, mode: str) -> list[NodeAction]:
        """`shutdown`, `mode ...`, `no shutdown` in one; what was told since."""
        self.notices.clear()
        config = self.router.config
        server = replace(config.servers[NAME], mode=mode)
        changed = replace(config, servers={NAME: server})
        self._perform(self.router.configure(changed, self.now))
        return self.notices

    def ca_certificate(self) -> bytes:
        answer, _ = self.router.serve(GET_CA, self.now)
        assert answer.status == 200
        return answer.body

    @property
    def state(self) -> ServerState:
        return self.router.servers[NAME].state


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    made = Box(tmp_path)
    yield made
    store = made.router.servers[NAME].store
    assert isinstance(store, SqliteCaStore)
    store.close()


def test_a_root_is_stopped_by_a_change_to_an_ra_and_comes_back_with_its_key(box: Box) -> None:
    before = box.ca_certificate()
    told = box.change("ra")
    assert [item for item in told if isinstance(item, ServerDisabled)]
    [refused] = [item for item in told if isinstance(item, ServerNotStarted)]
    assert refused.reason == "wrong-mode" and "made in mode root" in refused.detail
    assert box.state is ServerState.DISABLED
    assert box.router.serve(GET_CA, box.now)[0].status == 503
    told = box.change("root")
    assert [item for item in told if isinstance(item, ServerEnabled)]
    assert box.ca_certificate() == before


def test_a_root_does_not_become_a_sub_ca_on_the_same_database(box: Box) -> None:
    told = box.change("sub-cs")
    assert not [item for item in told if isinstance(item, ServerNotStarted)]  # it runs on
    config = box.router.config
    for enabled in (False, True):
        server = replace(config.servers[NAME], mode="sub-cs", enabled=enabled)
        box._perform(box.router.configure(replace(config, servers={NAME: server}), box.now))
    [refused] = [item for item in box.notices if isinstance(item, ServerNotStarted)]
    assert refused.reason == "wrong-mode"
