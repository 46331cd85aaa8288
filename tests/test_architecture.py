"""The shape of the tree: imports point one way, the core opens nothing, the tools are content."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "ikelab"

# Each package and what it may import of ours, besides itself, `types` and `errors`.
MAY_IMPORT = {
    "wire": set(),
    "crypto": {"wire"},
    "isakmp": {"wire", "crypto"},
    "ipsec": {"wire", "crypto", "isakmp"},
    "pki": {"wire", "crypto"},
    "ntp": set(),
    "ios": {"wire", "crypto", "isakmp", "ipsec", "pki", "ntp"},
    "capture": {"wire", "crypto", "isakmp", "ipsec", "pki"},
    "node": {"wire", "crypto", "isakmp", "ipsec", "pki", "ntp", "ios", "capture"},
    "script": {"wire", "crypto", "isakmp", "pki", "node"},
    "hostile": {"wire", "crypto", "isakmp", "ipsec", "pki", "node", "script"},
    "runtime": {
        *("wire", "crypto", "isakmp", "ipsec", "pki", "ntp", "ios", "capture", "node", "script"),
    },
    "lab": {
        *("wire", "crypto", "isakmp", "ipsec", "pki", "ios", "capture", "node", "runtime"),
        *("script", "hostile", "ntp"),
    },
}
# `ipsec` reads the engine's events and policy, never its machinery; `ios` and `capture` likewise.
DATA_ONLY = {
    ("ipsec", "isakmp"): {"ikelab.isakmp.events", "ikelab.isakmp.policy"},
    ("capture", "isakmp"): {
        *("ikelab.isakmp.events", "ikelab.isakmp.policy", "ikelab.isakmp.reasons"),
    },
}
SANS_IO = {
    *("wire", "crypto", "isakmp", "ipsec", "pki", "ios", "capture", "node"),
    *("script", "hostile", "ntp"),
}
FORBIDDEN = {
    "time",
    "socket",
    "select",
    "random",
    "secrets",
    "asyncio",
    "subprocess",
    "signal",
    "threading",
    "multiprocessing",
    "sqlite3",
    "ftplib",
    "pyroute2",
    "os",
    "pathlib",
    "tempfile",
    "shutil",
}
CORE_LIBRARIES = {"scapy", "cryptography"}
SHELL_LIBRARIES = CORE_LIBRARIES | {"pyroute2", "click", "rich", "yaml", "h11", "pyftpdlib"}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """(module, line) of every import, also those inside functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            assert node.module is not None
            yield node.module, node.lineno
            if node.module.startswith("ikelab"):
                for alias in node.names:
                    candidate = ROOT / (node.module + "." + alias.name).replace(".", "/")
                    if candidate.with_suffix(".py").exists():
                        yield f"{node.module}.{alias.name}", node.lineno


def package_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else ""


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path):
    package = package_of(path)
    for module, line in imports(path):
        if not module.startswith("ikelab.") or not package:
            continue
        other = module.split(".")[1]
        if other in ("types", "errors") or other == package:
            continue
        assert other in MAY_IMPORT[package], f"{path}:{line}: {package} imports {module}"
        allowed = DATA_ONLY.get((package, other))
        if allowed is not None and module.count(".") >= 2:
            names = {".".join(module.split(".")[:3])}
            assert names <= allowed, f"{path}:{line}: {package} may read {sorted(allowed)} only"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_core_opens_nothing_and_needs_two_libraries(path):
    package = package_of(path)
    for module, line in imports(path):
        top = module.split(".")[0]
        if top in ("ikelab", "__future__") or top in sys.stdlib_module_names:
            if package in SANS_IO:
                assert top not in FORBIDDEN, f"{path}:{line}: {module} in sans-IO code"
            continue
        libraries = CORE_LIBRARIES if package in SANS_IO else SHELL_LIBRARIES
        assert top in libraries | {"_typeshed"}, f"{path}:{line}: {module}"
        if top == "scapy":
            assert package == "wire", f"{path}:{line}: scapy outside wire/"


def test_scapy_all_is_imported_nowhere():
    for path in modules():
        assert "scapy.all" not in {module for module, _ in imports(path)}, path


@pytest.mark.parametrize(
    "path",
    [*modules(), *sorted((ROOT / "tests").rglob("*.py"))],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_no_file_has_grown_past_five_hundred_lines(path):
    assert len(path.read_text().splitlines()) <= 500, "look for the second noun"


@pytest.mark.parametrize(
    "command",
    [["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"]],
    ids=" ".join,
)
def test_tools_are_content(command):
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
