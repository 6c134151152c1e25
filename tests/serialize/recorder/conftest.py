"""What the recorder's tests share: one warm recorder a module, and files to give it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from gitdags.serialize.pool import Limits, Outcome, Pool, Request, Surroundings

Record = Callable[..., Outcome]
Documents = Callable[..., dict[str, dict[str, Any]]]


@pytest.fixture(scope="session")
def recorder_pool() -> Iterator[Pool]:
    """A warm recorder in the interpreter the tests run in, without variables."""
    with Pool(Surroundings(sys.executable, engine="recorder"), Limits(timeout=20), 1) as pool:
        yield pool


@pytest.fixture
def record(recorder_pool: Pool, tmp_path: Path) -> Record:
    """Record ``dags/a.py``, with other files beside it, for an era or whatever it looks like."""

    def parse(
        source: str,
        era: str = "",
        files: Mapping[str, str] | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> Outcome:
        for name, content in {**(files or {}), "dags/a.py": source}.items():
            path = tmp_path / "tree" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        request = Request(tmp_path / "tree", b"dags/a.py", (), era)
        if environ is None:
            return next(recorder_pool.run([request]))
        given = Surroundings(sys.executable, engine="recorder", environ=environ)
        with Pool(given, Limits(timeout=20), 1) as pool:
            return next(pool.run([request]))

    return parse


@pytest.fixture
def documents(record: Record) -> Documents:
    """dag_id -> document of a file that must not fail."""

    def parse(*args: Any, **kwargs: Any) -> dict[str, dict[str, Any]]:
        outcome = record(*args, **kwargs)
        assert outcome.errors == (), outcome.errors[0]["traceback"]
        return {one["document"]["dag_id"]: one["document"] for one in outcome.dags}

    return parse


def edges(document: Mapping[str, Any]) -> list[str]:
    """``a>b`` and ``a>label>b``, sorted."""
    return sorted(
        ">".join([a, *([label] if label else []), b]) for a, b, label in document["edges"]
    )


def tasks(document: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Tasks by id."""
    return {task["task_id"]: task for task in document["tasks"]}
