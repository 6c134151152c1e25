"""Names of refs without their commits, and a bound on what libgit2 keeps."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from gitdags.git import NoSuchRepository, Repository, limit_memory
from tests.conftest import Repo


def test_names_are_those_of_refs(repo: Repo) -> None:
    repo.commit({"a": "1"})
    repo("tag", "-a", "v1", "-m", "one")
    repo("update-ref", "refs/tags/tree", "HEAD^{tree}")
    repo("symbolic-ref", "refs/heads/dangling", "refs/heads/nowhere")
    opened = Repository(repo.path)
    assert sorted(opened.ref_names()) == [ref.name.encode() for ref in opened.refs()]


def test_a_repository_that_vanished(repo: Repo, tmp_path: Path) -> None:
    repo.commit({"a": "1"})
    moved = tmp_path / "moved"
    shutil.copytree(repo.path, moved)
    opened = Repository(moved)
    shutil.rmtree(moved)
    with pytest.raises(NoSuchRepository, match=r"refs of .* cannot be read"):
        opened.ref_names()


def test_reading_goes_on_within_bounds(repo: Repo) -> None:
    sha = repo.commit({"a": "1"})
    limit_memory(32 << 20, 8 << 20)
    assert Repository(repo.path).commit(sha).sha == sha
