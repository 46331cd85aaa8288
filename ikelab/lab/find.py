"""Where labs are: a folder that is named, or one of the labs that come with the project."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import ikelab
from ikelab.errors import ConfigError
from ikelab.lab.topology import LAB_FILE
from ikelab.lab.yaml_reader import nearest

_PACKAGE = Path(ikelab.__file__).parent


def _shelves(cwd: Path) -> Iterator[Path]:
    """Folders of labs: here, in the clone that we run from, in the installed package."""
    yield cwd / "netns"
    yield _PACKAGE.parent / "netns"
    yield _PACKAGE / "netns"


def available(cwd: Path) -> dict[str, Path]:
    """Labs that can be named: folder name -> folder; the nearest one of a name."""
    found: dict[str, Path] = {}
    for shelf in _shelves(cwd):
        for folder in sorted(shelf.iterdir()) if shelf.is_dir() else ():
            if (folder / LAB_FILE).is_file():
                found.setdefault(folder.name, folder)
    return found


def find(name: str | None, cwd: Path) -> Path:
    """The folder of a lab: a path, a name, or (None) the current directory. Raises ConfigError."""
    labs = available(cwd)
    if name is None:
        if (cwd / LAB_FILE).is_file():
            return cwd
        raise ConfigError(f"there is no {LAB_FILE} here", hint=_known(labs))
    path = cwd / name
    if path.name == LAB_FILE and path.is_file():
        return path.parent
    if (path / LAB_FILE).is_file():
        return path
    if name in labs:
        return labs[name]
    if path.is_dir():
        raise ConfigError(f"there is no {LAB_FILE} in {name}", hint=nearest(path.name, labs))
    raise ConfigError(f"no lab {name!r}", hint=nearest(name, labs) or _known(labs))


def default_out(folder: Path, cwd: Path, lab: str) -> Path:
    """Where the capture of a lab goes: beside the folder of labs it comes from, or here."""
    packaged = folder.is_relative_to(_PACKAGE)
    base = folder.parent.parent if folder.parent.name == "netns" and not packaged else cwd
    return base / "captures" / lab / "latest"


def _known(labs: dict[str, Path]) -> str:
    return f"labs that can be named: {', '.join(labs)}" if labs else "give the path of a lab"
