"""A registered repository with hooks in it, and what they told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gitdags import hooks
from gitdags.catalog import Catalog
from gitdags.hooks import Status
from gitdags.model import Deployment, RegisteredRepository
from tests.conftest import Repo

NOBODY = "/nonexistent/python"
"""An interpreter that is gone: hooks write moves down, and start nothing behind a test's back."""

Told = Callable[[], list[tuple[str, str | None, str | None]]]


def install(path: Path) -> Status:
    return hooks.install(path, {}, python=NOBODY)


@pytest.fixture
def first(repo: Repo) -> str:
    """The first commit, made before there were hooks."""
    return repo.commit({"dags/a.py": "1"}, "first")


@pytest.fixture
def watched(catalog: Catalog, repo: Repo, first: str) -> RegisteredRepository:
    """The repository, registered, with hooks."""
    registered = catalog.registry.add(str(repo.path))
    assert install(repo.path).installed
    return registered


@pytest.fixture
def told(catalog: Catalog, watched: RegisteredRepository) -> Told:
    """What was deployed since it was last asked: (ref, old, new)."""

    def since() -> list[tuple[str, str | None, str | None]]:
        return [(d.ref, d.old, d.new) for d in received(catalog, watched)]

    return since


def received(catalog: Catalog, repo: RegisteredRepository) -> list[Deployment]:
    return catalog.receive(repo)
