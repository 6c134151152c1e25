"""What doctor says of refs that gitdags keeps, and of its hooks."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gitdags import hooks
from gitdags.catalog import Catalog
from gitdags.config import Settings
from gitdags.doctor import examine
from tests.conftest import Repo

Said = Callable[[], list[tuple[str, str, str]]]


@pytest.fixture
def said(catalog: Catalog, settings: Settings, repo: Repo) -> Said:
    """(state, message, hint) of what is not well with the repository."""
    repo.commit({"a": "1"})
    catalog.registry.add(str(repo.path))

    def look() -> list[tuple[str, str, str]]:
        found = [d for d in examine(settings, catalog) if d.subject == "repo" and d.state != "ok"]
        return [(d.state, d.message, d.hint) for d in found]

    return look


def test_a_remote_that_everything_is_pushed_to(repo: Repo, said: Said) -> None:
    repo("remote", "add", "--mirror=push", "my backup", "file:///x", check=False)
    repo("remote", "add", "--mirror=push", "backup", "file:///x")
    key = "remote.backup.mirror"
    assert said() == [
        ("warning", "a push to backup takes refs that gitdags keeps with it",
         f"git -C {repo.path} config {key} false"),
    ]  # fmt: skip
    repo("config", key, "no")
    assert said() == []


def test_a_refspec_that_prunes_everything(repo: Repo, said: Said) -> None:
    repo("remote", "add", "--mirror=fetch", "origin", "file:///x")
    assert [state for state, _, _ in said()] == ["fault"]


def test_hooks_that_were_replaced(repo: Repo, said: Said) -> None:
    hooks.install(repo.path, {}, python="/nonexistent")
    assert said() == []
    (repo.path / ".git/hooks/post-commit").unlink()
    assert said() == [
        ("warning", "hooks were replaced or removed: post-commit", "gitdags -r repo hooks install")
    ]


def test_a_background_that_failed(repo: Repo, said: Said) -> None:
    hooks.install(repo.path, {}, python="/nonexistent")
    log = repo.path / ".git/gitdags/handler.log"
    log.write_text("2026-01-01T00:00:00Z error: the store is away\n")
    assert said() == [
        (
            "warning",
            "hooks: 2026-01-01T00:00:00Z error: the store is away",
            "gitdags -r repo deploys",
        )
    ]
    with open(log, "a") as lines:
        lines.write("2026-01-01T00:00:01Z 1 moves recorded\n")
    assert said() == []
