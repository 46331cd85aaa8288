"""FTP upload and the storage node against each other, and against curl."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest

from ikelab.errors import ConfigError, LabError
from ikelab.node.events import (
    FileNotStored,
    FileStored,
    ReadStorage,
    StorageNotRead,
    StorageRead,
    StoreFile,
)
from ikelab.pki.events import HttpFailed, HttpReply, HttpRequest
from ikelab.pki.recovery import StorageContents
from ikelab.runtime.files import PACE, NodeFiles
from ikelab.runtime.ftp import FtpTarget, OthersFile, download, parse_ftp_url, store_files, upload
from ikelab.runtime.http import fetch
from ikelab.runtime.nodespec import FtpUser
from ikelab.runtime.storaged import Storage

HOST = "127.0.0.1"
USERS = (FtpUser("root-ca", "one"), FtpUser("ra-subca", "p@ss:/word"))
T = TypeVar("T")
Use = Callable[[Storage], Awaitable[T]]


def with_storage(root: Path, use: Use[T]) -> T:
    """Run `use(storage)` beside a storage node's servers."""

    async def main() -> T:
        storage = Storage(root, USERS)
        await storage.start(HOST, 0, 0)
        try:
            async with asyncio.timeout(20):
                return await use(storage)
        finally:
            await storage.close()

    return asyncio.run(main())


def url(storage: Storage, user: str = "root-ca:one", directory: str = "") -> str:
    return f"ftp://{user}@{HOST}:{storage.ports[0]}{directory}"


async def get(storage: Storage, path: str, method: str = "GET") -> HttpReply | HttpFailed:
    return await fetch(HttpRequest("h", method, f"http://{HOST}:{storage.ports[1]}{path}"))


def status(reply: HttpReply | HttpFailed) -> int:
    assert isinstance(reply, HttpReply)
    return reply.status


def test_file_arrives_whole_under_its_final_name(tmp_path: Path) -> None:
    octets = bytes(range(256)) * 1000

    async def use(storage: Storage) -> None:
        await upload(url(storage), "root-ca.crl", octets)

    with_storage(tmp_path, use)
    assert [path.name for path in (tmp_path / "root-ca").iterdir()] == ["root-ca.crl"]
    assert (tmp_path / "root-ca/root-ca.crl").read_bytes() == octets


def test_a_newer_file_replaces_the_older(tmp_path: Path) -> None:
    async def use(storage: Storage) -> None:
        await upload(url(storage), "root-ca.ser", b"1")
        await upload(url(storage), "root-ca.ser", b"22")

    with_storage(tmp_path, use)
    assert (tmp_path / "root-ca/root-ca.ser").read_bytes() == b"22"


def test_empty_file_and_line_ends_are_stored_as_they_are(tmp_path: Path) -> None:
    async def use(storage: Storage) -> None:
        await upload(url(storage), "empty", b"")
        await upload(url(storage), "text", b"a\r\nb\nc\r")

    with_storage(tmp_path, use)
    assert (tmp_path / "root-ca/empty").read_bytes() == b""
    assert (tmp_path / "root-ca/text").read_bytes() == b"a\r\nb\nc\r"


def test_password_with_signs_of_its_own_is_taken_percent_encoded(tmp_path: Path) -> None:
    async def use(storage: Storage) -> None:
        await upload(url(storage, "ra-subca:p%40ss%3A%2Fword"), "1.crt", b"x")

    with_storage(tmp_path, use)
    assert (tmp_path / "ra-subca/1.crt").exists()


def test_each_user_has_a_home_of_its_own(tmp_path: Path) -> None:
    async def use(storage: Storage) -> None:
        with pytest.raises(LabError, match="changing to"):
            await upload(url(storage, directory="/../ra-subca"), "x", b"x")

    with_storage(tmp_path, use)
    assert not list((tmp_path / "ra-subca").iterdir())


def test_directory_of_the_url_is_changed_to(tmp_path: Path) -> None:
    (tmp_path / "root-ca/sub").mkdir(parents=True)

    async def use(storage: Storage) -> None:
        await upload(url(storage, directory="/sub"), "x", b"x")

    with_storage(tmp_path, use)
    assert (tmp_path / "root-ca/sub/x").exists()


def test_wrong_password_is_told_without_it(tmp_path: Path) -> None:
    async def use(storage: Storage) -> None:
        with pytest.raises(LabError, match="logging in as root-ca: 530") as caught:
            await upload(url(storage, "root-ca:wrong-word"), "x", b"x")
        assert "wrong-word" not in str(caught.value)

    with_storage(tmp_path, use)


def test_host_that_does_not_answer_is_told() -> None:
    with socket.socket() as unused:
        unused.bind((HOST, 0))
        port = unused.getsockname()[1]
        with pytest.raises(LabError, match=f"ftp://{HOST}:{port}: connecting: Connection refused"):
            store_files(FtpTarget(HOST, port), [("x", b"x")])


def test_server_that_hangs_up_is_told() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(hang_up, HOST, 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            with pytest.raises(LabError, match="connecting: the server hung up"):
                await upload(f"ftp://{HOST}:{port}", "x", b"x")

    asyncio.run(main())


def test_files_are_read_back_with_the_names_of_all_that_are_there(tmp_path: Path) -> None:
    octets = bytes(range(256)) * 1000

    async def use(storage: Storage) -> None:
        assert await download(url(storage), ".*") == ((), {})
        for name in ("root-ca.ser", "1.crt", "big.crl"):
            await upload(url(storage), name, octets if name == "big.crl" else name.encode())
        (storage.homes["root-ca"] / "no name\nfor us").touch()
        names, files = await download(url(storage), r"root-ca\.ser|.*\.crl")
        assert sorted(names) == ["1.crt", "big.crl", "root-ca.ser"]
        assert files == {"root-ca.ser": b"root-ca.ser", "big.crl": octets}

    with_storage(tmp_path, use)


def test_a_file_without_an_end_is_not_read_on_and_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ikelab.runtime.ftp._MAX_FILE", 1000)

    async def use(storage: Storage) -> None:
        await upload(url(storage), "root-ca.crl", bytes(1001))
        with pytest.raises(LabError, match=r"reading root-ca\.crl: no end after 1001 octets"):
            await download(url(storage), r".*\.crl")

    with_storage(tmp_path, use)


def test_a_listing_without_an_end_is_not_read_on_and_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ikelab.runtime.ftp._MAX_NAMES", 2)

    async def use(storage: Storage) -> None:
        for name in ("1.crt", "2.crt", "3.crt"):
            await upload(url(storage), name, b"")
        with pytest.raises(LabError, match="listing the directory: .* no end after 2 names"):
            await download(url(storage), "none")

    with_storage(tmp_path, use)


def test_a_node_that_ends_does_not_wait_for_a_dead_storage_host() -> None:
    """The thread hangs in `accept`ed silence; the loop closes at once."""
    held: list[socket.socket] = []
    with socket.create_server((HOST, 0)) as silent:
        port = silent.getsockname()[1]

        async def main() -> None:
            work = asyncio.create_task(upload(f"ftp://{HOST}:{port}", "x", b""))
            accepted, _ = await asyncio.to_thread(silent.accept)
            held.append(accepted)
            work.cancel()

        start = time.monotonic()
        asyncio.run(main())
        assert time.monotonic() - start < 5
    held[0].close()


def test_nvram_takes_and_gives_files_like_a_storage_host(tmp_path: Path) -> None:
    async def main() -> None:
        files = NodeFiles(tmp_path)
        assert await files.carry_out(StoreFile("ca", 7, None, "ca.ser", b"1")) == FileStored(
            "ca", 7
        )
        read = await files.carry_out(ReadStorage("h", None, r"ca\.ser"))
        assert read == StorageRead("h", StorageContents(("ca.ser",), {"ca.ser": b"1"}))
        gone = NodeFiles(tmp_path / "gone")
        assert isinstance(await gone.carry_out(StoreFile("ca", 8, None, "x", b"")), FileNotStored)
        assert isinstance(await gone.carry_out(ReadStorage("h", None, "x")), StorageNotRead)

    asyncio.run(main())
    assert [path.name for path in tmp_path.iterdir()] == ["ca.ser"]
    assert (tmp_path / "ca.ser").stat().st_mode & 0o777 == 0o600


def test_a_file_that_another_has_written_is_not_replaced(tmp_path: Path) -> None:
    async def use(storage: Storage) -> None:
        where = url(storage)
        await upload(where, "ca.ser", b"1", replaces=b"0")  # there is none: as after a clean-up
        await upload(where, "ca.ser", b"2", replaces=b"1")
        await upload(where, "ca.ser", b"2", replaces=b"1")  # the first answer was lost
        with pytest.raises(OthersFile, match="so another writes to its storage"):
            await upload(where, "ca.ser", b"3", replaces=b"1")
        assert (storage.homes["root-ca"] / "ca.ser").read_bytes() == b"2"

    with_storage(tmp_path, use)


def test_nor_is_one_in_nvram(tmp_path: Path) -> None:
    async def main() -> None:
        files = NodeFiles(tmp_path)
        for octets, replaces in ((b"1", b"0"), (b"2", b"1"), (b"2", b"1")):
            stored = await files.carry_out(StoreFile("ca", 1, None, "ca.ser", octets, replaces))
            assert stored == FileStored("ca", 1)
        refused = await files.carry_out(StoreFile("ca", 2, None, "ca.ser", b"3", b"1"))
        assert isinstance(refused, FileNotStored) and refused.is_others

    asyncio.run(main())
    assert (tmp_path / "ca.ser").read_bytes() == b"2"


def test_a_serial_file_is_written_anew_only_so_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async def main() -> None:
        files = NodeFiles(tmp_path)
        monkeypatch.setattr(asyncio, "sleep", sleep)
        for number in range(3):
            for name in ("ca.ser", "ca.crl", f"{number}.crt"):
                stored = await files.carry_out(StoreFile("ca", number, None, name, b"x"))
                assert stored == FileStored("ca", number)

    asyncio.run(main())
    first, second, third = slept  # nothing but the .ser waits
    assert first < 0 < min(second, third) and max(second, third) <= PACE


def test_a_host_that_takes_a_file_too_slowly_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ikelab.runtime.ftp._TRANSFER_SECONDS", -1.0)

    async def use(storage: Storage) -> None:
        with pytest.raises(LabError, match="storing x: not all of it was taken"):
            await upload(url(storage), "x", bytes(100_000))
        assert not (storage.homes["root-ca"] / "x").exists()

    with_storage(tmp_path, use)


def test_half_a_file_is_not_taken_for_a_whole_one() -> None:
    """A server that loses octets: SIZE shows it, and nothing is renamed."""
    said: list[str] = []

    async def losing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hello\r\n")
        data: asyncio.Server | None = None
        while line := (await reader.readline()).decode().strip():
            said.append(line.split()[0])
            match line.split()[0]:
                case "PASV":
                    data = await asyncio.start_server(_swallow, HOST, 0)
                    port = data.sockets[0].getsockname()[1]
                    writer.write(b"227 ok (127,0,0,1,%d,%d)\r\n" % (port >> 8, port & 255))
                case "STOR":
                    writer.write(b"150 go\r\n226 done\r\n")
                case "SIZE":
                    writer.write(b"213 2\r\n")
                case "USER":
                    writer.write(b"230 in\r\n")
                case _:
                    writer.write(b"200 ok\r\n")
        if data is not None:
            data.close()
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(losing, HOST, 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            with pytest.raises(LabError, match="storing x: only 2 of 3 octets arrived"):
                await upload(f"ftp://{HOST}:{port}", "x", b"abc")
            await asyncio.sleep(0)

    asyncio.run(main())
    assert "SIZE" in said and "RNFR" not in said


async def _swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden", "a\r\nDELE b", "x" * 200, "a b"])
def test_only_plain_names_are_sent(name: str) -> None:
    with pytest.raises(LabError, match="is no name for a file"):
        store_files(FtpTarget(HOST, 1), [(name, b"")])


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("ftp://192.0.2.1", FtpTarget("192.0.2.1")),
        ("ftp://u:p@192.0.2.1:2121/a/b", FtpTarget("192.0.2.1", 2121, "u", "p", "a/b")),
        ("ftp://u@192.0.2.1/", FtpTarget("192.0.2.1", 21, "u", "", "")),
    ],
)
def test_urls_are_taken_apart(text: str, target: FtpTarget) -> None:
    assert parse_ftp_url(text) == target
    assert "p" not in str(target).replace("ftp", "")


@pytest.mark.parametrize(
    "text",
    [
        "http://192.0.2.1",
        "nvram:",
        "ftp://storage/",
        "ftp:///x",
        "ftp://192.0.2.1:99999",
        "ftp://u%0d%0aDELE@192.0.2.1",
        "ftp://192.0.2.1/a%0ab",
    ],
)
def test_other_urls_are_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_ftp_url(text)


def test_password_is_in_no_repr() -> None:
    assert "geheim" not in repr(parse_ftp_url("ftp://u:geheim@192.0.2.1"))


# --- the web server over the same files -----------------------------------------------------------


def test_a_stored_crl_can_be_fetched_with_its_media_type(tmp_path: Path) -> None:
    async def use(storage: Storage) -> HttpReply | HttpFailed:
        await upload(url(storage), "root-ca.crl", b"crl")
        return await get(storage, "/root-ca.crl")

    reply = with_storage(tmp_path, use)
    assert reply == HttpReply("h", 200, "application/pkix-crl", b"crl")


def test_names_are_looked_for_in_every_home_in_order_or_in_one(tmp_path: Path) -> None:
    for user, octets in (("root-ca", b"root's"), ("ra-subca", b"ra's")):
        (tmp_path / user).mkdir()
        (tmp_path / user / "1.crt").write_bytes(octets)

    async def use(storage: Storage) -> list[bytes]:
        replies = [await get(storage, path) for path in ("/1.crt", "/ra-subca/1.crt")]
        return [reply.body for reply in replies if isinstance(reply, HttpReply)]

    assert with_storage(tmp_path, use) == [b"root's", b"ra's"]


@pytest.mark.parametrize(
    "path",
    [
        "/none.crl",
        "/",
        "/root-ca/",
        "/root-ca_00001.p12",  # a private key
        "/half.crl.tmp",
        "/linked.crl",
        "/../outside.crl",
        "/root-ca/../../outside.crl",
        "/%2e%2e/outside.crl",
        "/root-ca//root.crl",
        "/stranger/root.crl",
        "/.hidden.crl",
        "//root.crl",
    ],
)
def test_other_paths_are_not_found(tmp_path: Path, path: str) -> None:
    home = tmp_path / "root-ca"
    home.mkdir()
    for name in ("root.crl", "root-ca_00001.p12", "half.crl.tmp", ".hidden.crl"):
        (home / name).write_bytes(b"x")
    (tmp_path / "outside.crl").write_bytes(b"outside")
    (home / "linked.crl").symlink_to(tmp_path / "outside.crl")
    assert with_storage(tmp_path, lambda storage: _status(storage, path)) == 404


async def _status(storage: Storage, path: str, method: str = "GET") -> int:
    return status(await get(storage, path, method))


def test_files_can_only_be_read(tmp_path: Path) -> None:
    assert with_storage(tmp_path, lambda storage: _status(storage, "/x.crl", "PUT")) == 405


def test_query_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "root-ca").mkdir()
    (tmp_path / "root-ca/root.crl").write_bytes(b"x")
    assert with_storage(tmp_path, lambda storage: _status(storage, "/root.crl?a=b")) == 200


def test_one_can_wait_for_a_file(tmp_path: Path) -> None:
    async def use(storage: Storage) -> bool:
        waiting = asyncio.create_task(storage.conditions.wait("stored", "root-ca.crl", 10))
        await upload(url(storage), "other", b"x")
        assert not waiting.done()
        await upload(url(storage), "root-ca.crl", b"x")
        return await waiting

    assert with_storage(tmp_path, use)


def test_snapshot_lists_the_files(tmp_path: Path) -> None:
    async def use(storage: Storage) -> object:
        await upload(url(storage), "root-ca.crl", b"abc")
        return storage.snapshot()["files"]

    (row,) = with_storage(tmp_path, use)  # type: ignore[misc]
    assert (row["user"], row["name"], row["size"]) == ("root-ca", "root-ca.crl", 3)


@pytest.mark.interop
def test_curl_stores_and_fetches(need: Callable[[str], str], tmp_path: Path) -> None:
    curl = need("curl")
    (tmp_path / "up.crl").write_bytes(b"from curl")

    async def use(storage: Storage) -> bytes:
        ftp, http = storage.ports
        put = [curl, "-sS", "-T", str(tmp_path / "up.crl"), f"ftp://root-ca:one@{HOST}:{ftp}/"]
        await asyncio.to_thread(subprocess.run, put, check=True)
        fetched = [curl, "-sS", f"http://{HOST}:{http}/up.crl"]
        done = await asyncio.to_thread(subprocess.run, fetched, check=True, capture_output=True)
        return done.stdout

    assert with_storage(tmp_path, use) == b"from curl"
