"""The rooms: who may import whom, and who alone imports what from outside."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODULES = sorted(p for top in ("gitdags", "fuse_mount") for p in (ROOT / top).rglob("*.py"))

# Lower numbers know nothing of higher ones.
LAYERS = [
    {
        "gitdags",
        "gitdags.errors",
        "gitdags.model",
        "gitdags.config",
        "gitdags.scratch",
        "gitdags.spool",
        "gitdags.program",
    },
    {"gitdags.git"},
    {
        "gitdags.keep",
        "gitdags.checkout",
        "gitdags.export",
        "gitdags.archive",
        "gitdags.annotate",
        "gitdags.depot",
    },
    {"gitdags.mirror", "gitdags.trust"},
    {"gitdags.serialize"},
    {
        "gitdags.store",
        "gitdags.versions",
        "gitdags.diff",
        "gitdags.stamp",
        "gitdags.airflow_api",
        "gitdags.past",
        "gitdags.executed",
        "gitdags.layout",
        "gitdags.labels",
    },
    {"gitdags.environments"},
    {"gitdags.parsers"},
    {"gitdags.pools", "gitdags.trial", "gitdags.reading"},
    {"gitdags.history", "gitdags.registry", "gitdags.timeline", "gitdags.hooks"},
    {
        "gitdags.listings",
        "gitdags.comparison",
        "gitdags.backup",
        "gitdags.attribution",
        "gitdags.drain",
        "gitdags.settlement",
        "gitdags.suspects",
    },
    {"gitdags.run_catalog", "gitdags.browse_catalog"},
    {"gitdags.catalog"},
    {"gitdags.check", "gitdags.doctor", "gitdags.receiver", "gitdags.wire"},
    {"gitdags.web", "gitdags.airflow"},
    {"gitdags.cli"},
]
ONLY = {
    "pygit2": "gitdags.git",
    # The script is a program of its own, run by the interpreter that Airflow is in.
    "sqlalchemy": ("gitdags.store", "gitdags.airflow.launch_script"),
    "alembic": "gitdags.store",
    "git": "gitdags.mirror",
    "airflow": ("gitdags.serialize.worker", "gitdags.airflow"),
    "rich": "gitdags.cli",
    "argparse": "gitdags.cli",
    "argcomplete": "gitdags.cli",
    "mfusepy": "fuse_mount.libfuse",
    "pygraphviz": "gitdags.layout",
    "fastapi": "gitdags.web",
    "starlette": "gitdags.web",
    "jinja2": "gitdags.web",
    "pygments": "gitdags.web",
}


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path, *, all_of_them: bool = True) -> Iterator[str]:
    """Modules that a file imports by absolute name; `from a import b` gives a and a.b."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def layer(module: str) -> int | None:
    for number, rooms in enumerate(LAYERS):
        if any(
            module == room or (module.startswith(room + ".") and room != "gitdags")
            for room in rooms
        ):
            return number
    return None


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_point_down(path: Path) -> None:
    here = layer(name_of(path))
    if name_of(path).startswith("fuse_mount"):
        allowed = ("gitdags.git", "gitdags.model", "gitdags.errors", "gitdags.config")
        wrong = [m for m in imports(path) if m.startswith("gitdags.") and not m.startswith(allowed)]
        assert wrong == []
        return
    assert here is not None, f"{name_of(path)} has no place in LAYERS"
    for module in imports(path):
        there = layer(module)
        if module.startswith("gitdags.") and there is not None:
            assert there <= here, f"{name_of(path)} imports {module}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_each_library_has_one_room(path: Path) -> None:
    for module in imports(path):
        room = ONLY.get(module.split(".")[0])
        if room is not None:
            rooms = room if isinstance(room, tuple) else (room,)
            assert name_of(path).startswith((*rooms, "fuse_mount.cli")), (
                f"{name_of(path)}: {module}"
            )


@pytest.mark.parametrize("path", [p for p in MODULES if "worker" in p.parts], ids=name_of)
def test_the_worker_needs_nothing_of_ours(path: Path) -> None:
    assert [m for m in imports(path) if m.startswith("gitdags.") or m == "gitdags"] == []


def test_the_spool_needs_only_the_standard_library() -> None:
    found = {module.split(".")[0] for module in imports(ROOT / "gitdags" / "spool.py")}
    assert found <= sys.stdlib_module_names


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text()))
