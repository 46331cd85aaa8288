"""netns/lab: how it finds itself, when it sets up, what it hands over, whose files it makes.

The environment is a stand-in but for one nightly test, which makes a real one with pip.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
SCRIPT = REPOSITORY / "netns/lab"

ECHO = """#!/bin/sh
echo "cwd=$PWD bytecode=${PYTHONDONTWRITEBYTECODE:-yes}"
for argument; do echo "<$argument>"; done
exit 7
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone, with a space in its path, whose environment is made and echoes its arguments."""
    where = tmp_path / "my clone"
    (where / "netns").mkdir(parents=True)
    shutil.copy(SCRIPT, where / "netns/lab")
    shutil.copy(REPOSITORY / "pyproject.toml", where)
    binaries = where / ".venv/bin"
    binaries.mkdir(parents=True)
    for name in ("ikelab", "python"):
        (binaries / name).write_text(ECHO)
        (binaries / name).chmod(0o755)
    digest = hashlib.sha256((where / "pyproject.toml").read_bytes()).hexdigest()
    for suffix in ("", "test"):
        (where / f".venv/.ikelab-stamp{suffix}").write_text(f"{digest}  - {where.resolve()}\n")
    return where


def run(
    script: Path, *arguments: str, cwd: Path | str = "/", env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith(("SUDO", "PYTHON"))
    }
    return subprocess.run(
        [str(script), *arguments],
        cwd=cwd,
        env={**environment, **(env or {})},
        capture_output=True,
        text=True,
    )


def without_apt(tmp_path: Path) -> dict[str, str]:
    """A PATH on which neither a package manager nor a Python can do any harm."""
    binaries = tmp_path / "bin"
    binaries.mkdir()
    wanted = "bash cat chown cut dirname env flock getent id mktemp readlink rm setpriv sha256sum"
    for name in f"{wanted} tail tee test".split():
        path = shutil.which(name)
        if path is not None:
            (binaries / name).symlink_to(path)
    return {"PATH": str(binaries)}


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["help"]])
def test_help_needs_nothing(tmp_path: Path, arguments: list[str]) -> None:
    lonely = tmp_path / "netns/lab"
    lonely.parent.mkdir()
    shutil.copy(SCRIPT, lonely)
    done = run(lonely, *arguments)
    assert done.returncode == 0
    assert "sudo ./netns/lab run first-tunnel" in done.stdout
    assert not (tmp_path / ".venv").exists()


def test_arguments_directory_and_exit_code_are_handed_through(clone: Path, tmp_path: Path) -> None:
    done = run(clone / "netns/lab", "exec", "hub", "show  two blanks", "*", cwd=tmp_path)
    assert done.returncode == 7
    assert done.stdout.splitlines() == [
        f"cwd={tmp_path} bytecode=yes",
        "<exec>",
        "<hub>",
        "<show  two blanks>",
        "<*>",
    ]
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("caller", "wanted"), [({}, "{lab}\n"), ({"SUDO_UID": "1", "SUDO_GID": "1"}, "sudo {lab}\n")]
)
def test_commands_are_told_under_which_name_messages_are_to_name_them(
    clone: Path, caller: dict[str, str], wanted: str
) -> None:
    if os.getuid() != 0:
        wanted = "sudo {lab}\n"  # as whoever has no rights is to start it
    for name in ("ikelab", "python"):
        (clone / ".venv/bin" / name).write_text('#!/bin/sh\necho "$IKELAB_STARTED_AS"\n')
    lab = clone / "netns/lab"
    for arguments in (["list"], ["python", "a.py"]):
        assert run(lab, *arguments, env=caller).stdout == wanted.format(lab=lab)
    assert run(lab, "test", env=caller).stdout == "\n"


def test_it_finds_its_clone_through_links_and_relative_paths(clone: Path, tmp_path: Path) -> None:
    (tmp_path / "first").symlink_to(clone / "netns/lab")
    (tmp_path / "second").symlink_to("first")
    assert "<list>" in run(tmp_path / "second", "list").stdout
    done = subprocess.run(["./netns/lab", "list"], cwd=clone, capture_output=True, text=True)
    assert "<list>" in done.stdout


def test_made_environment_is_not_touched(clone: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in clone.rglob("*")}
    run(clone / "netns/lab", "list")
    run(clone / "netns/lab", "test")
    assert {path: path.stat().st_mtime_ns for path in clone.rglob("*")} == before


PYTHON = """#!/bin/sh
[ "$2" = venv ] || exit 0  # the version and what it can do are as wanted
mkdir -p "$3/bin"
cp "$0" "$3/bin/python"
cp "$0" "$3/bin/ikelab"
"""


def test_setting_up_leaves_no_temporary_file(clone: Path, tmp_path: Path) -> None:
    (clone / ".venv/.ikelab-stamp").unlink()
    script = (clone / "netns/lab").read_text().replace("/usr/bin/$name", "/nowhere/$name")
    (clone / "netns/lab").write_text(script)
    for name in ("bin", "temporary"):
        (tmp_path / name).mkdir()
    (tmp_path / "bin/python3").write_text(PYTHON)
    (tmp_path / "bin/python3").chmod(0o755)
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    environment = {"TMPDIR": str(tmp_path / "temporary"), "PATH": path}
    done = run(clone / "netns/lab", "list", env=environment)
    assert done.returncode == 0 and "[3/3]" in done.stderr
    assert list((tmp_path / "temporary").iterdir()) == []


def test_tests_are_run_in_the_clone_with_the_arguments(clone: Path) -> None:
    done = run(clone / "netns/lab", "test", "-k", "a b")
    assert done.returncode == 7
    assert done.stdout.splitlines() == [
        f"cwd={clone} bytecode=yes",
        "<-m>",
        "<pytest>",
        "<-k>",
        "<a b>",
    ]


@pytest.mark.parametrize(
    ("arguments", "runner"),
    [
        (["a script.py", "--key", "x"], ["-m", "ikelab.lab.script"]),
        (["-c", "print()"], []),
        ([], []),
    ],
    ids=["a script", "options of Python", "Python itself"],
)
def test_a_script_is_run_where_the_caller_stands(
    clone: Path, tmp_path: Path, arguments: list[str], runner: list[str]
) -> None:
    done = run(clone / "netns/lab", "python", *arguments, cwd=tmp_path)
    words = ["-W", "ignore:Diffie-Hellman over finite fields", *runner, *arguments]
    assert done.returncode == 7
    assert done.stdout.splitlines() == [
        f"cwd={tmp_path} bytecode=yes",
        *(f"<{word}>" for word in words),
    ]


@pytest.mark.parametrize("change", ["other dependencies", "moved", "half made"])
def test_environment_that_does_not_fit_is_made_again(
    clone: Path, tmp_path: Path, change: str
) -> None:
    """Seen by what is missing to make it: no Python here is new enough."""
    if change == "other dependencies":
        with (clone / "pyproject.toml").open("a") as project:
            project.write("# changed\n")
    elif change == "moved":
        clone = clone.rename(clone.with_name("elsewhere"))
    else:
        (clone / ".venv/.ikelab-stamp").unlink()
    environment = without_apt(tmp_path)
    script = (clone / "netns/lab").read_text().replace("/usr/bin/$name", "/nowhere/$name")
    script = script.replace("/usr/bin/python3", "/nowhere/python3")
    (clone / "netns/lab").write_text(script)
    done = run(clone / "netns/lab", "list", env=environment)
    assert done.returncode == 3
    assert "neither Debian nor Ubuntu" in done.stderr
    assert "install Python 3.11 or newer" in done.stderr


@pytest.mark.needs_root
def test_a_clone_of_somebody_else_is_told_before_anything_is_installed(
    clone: Path, tmp_path: Path
) -> None:
    (clone / ".venv/.ikelab-stamp").unlink()
    for parent in [tmp_path, *tmp_path.parents][:3]:
        parent.chmod(0o755)
    stranger = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    command = [*stranger, str(clone / "netns/lab"), "list"]
    done = subprocess.run(command, cwd="/", capture_output=True, text=True)
    assert done.returncode == 3
    assert done.stderr == (
        f"% cannot write in {clone}\n  start with sudo, or in a clone of your own\n"
    )


def test_script_is_good_shell() -> None:
    assert subprocess.run(["bash", "-n", str(SCRIPT)]).returncode == 0
    assert os.access(SCRIPT, os.X_OK)


@pytest.mark.interop
def test_script_pleases_shellcheck(need: Callable[[str], str]) -> None:
    done = subprocess.run([need("shellcheck"), str(SCRIPT)], capture_output=True, text=True)
    assert done.stdout == ""


@pytest.mark.needs_root
def test_under_sudo_root_writes_no_bytecode_between_the_users_files(clone: Path) -> None:
    done = run(clone / "netns/lab", "list", env={"SUDO_UID": "65534", "SUDO_GID": "65534"})
    assert "bytecode=1" in done.stdout


@pytest.mark.needs_root
def test_under_sudo_the_caches_of_the_tests_are_the_users(clone: Path) -> None:
    (clone / ".pytest_cache").mkdir()
    (clone / ".pytest_cache/x").touch()
    run(clone / "netns/lab", "test", env={"SUDO_UID": "65534", "SUDO_GID": "65533"})
    status = (clone / ".pytest_cache/x").stat()
    assert (status.st_uid, status.st_gid) == (65534, 65533)


@pytest.mark.nightly
@pytest.mark.needs_root
@pytest.mark.parametrize("uid", [65534, 54321])  # one that can write its clone, one unknown here
def test_fresh_clone_under_sudo_becomes_the_users_and_works(tmp_path: Path, uid: int) -> None:
    """With pip and its index: 10 s. The second call has nothing to do."""
    clone = tmp_path / "fresh clone"
    ignored = shutil.ignore_patterns(".git", ".venv", "*cache*", ".hypothesis", "captures")
    shutil.copytree(REPOSITORY, clone, ignore=ignored)
    for path in (tmp_path, clone, *clone.rglob("*")):
        os.chown(path, uid, uid)
    for parent in [tmp_path, *tmp_path.parents][:3]:
        parent.chmod(0o755)
    sudo = {"SUDO_UID": str(uid), "SUDO_GID": str(uid)}
    first = run(clone / "netns/lab", "list", env=sudo)
    assert (first.returncode, "first-tunnel" in first.stdout) == (0, True), first.stderr
    assert "[3/3]" in first.stderr
    foreign = [path for path in clone.rglob("*") if path.lstat().st_uid != uid]
    assert foreign == []
    second = run(clone / "netns/lab", "list", env=sudo)
    assert (second.stdout, second.stderr) == (first.stdout, "")
