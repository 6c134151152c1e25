"""fuse_mount stands on gitdags.git, model, errors and config, and on nothing else of gitdags."""

from __future__ import annotations

import ast
from pathlib import Path

import fuse_mount

ALLOWED = ("gitdags.git", "gitdags.model", "gitdags.errors", "gitdags.config")


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


def test_imports_point_down() -> None:
    modules = sorted(Path(fuse_mount.__file__).parent.glob("*.py"))
    assert modules
    for path in modules:
        below = {name for name in _imports(path) if name.split(".")[0] == "gitdags"}
        assert below <= set(ALLOWED), path.name
        assert "pygit2" not in _imports(path), path.name


def test_the_file_system_and_the_protocol_know_no_adapter() -> None:
    folder = Path(fuse_mount.__file__).parent
    for name in ("vfs", "nodes", "refs", "repositories", "questions"):
        used = {each.split(".")[-1] for each in _imports(folder / f"{name}.py")}
        assert not used & {"kernel", "libfuse", "protocol", "device", "mfusepy"}, name
