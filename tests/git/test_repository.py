"""Opening, refs, history and objects of real repositories, good and bad."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from gitdags.git import (
    EmptyRepository,
    MissingObject,
    NoSuchRepository,
    Repository,
    UnsupportedRepository,
)
from tests.conftest import Repo


class TestOpening:
    def test_nothing_there(self, tmp_path: Path) -> None:
        with pytest.raises(NoSuchRepository, match="there is no"):
            Repository(tmp_path / "absent")
        with pytest.raises(NoSuchRepository, match="is no Git repository"):
            Repository(tmp_path)

    def test_a_folder_inside_a_repository_is_not_the_repository(self, repo: Repo) -> None:
        repo.commit({"dags/a": "1"})
        with pytest.raises(NoSuchRepository):
            Repository(repo.path / "dags")

    def test_sha256(self, tmp_path: Path) -> None:
        words = ["git", "init", "-q", "--object-format=sha256", str(tmp_path / "r")]
        subprocess.run(words, check=True)
        with pytest.raises(UnsupportedRepository, match="SHA-256"):
            Repository(tmp_path / "r")

    def test_reftable(self, repo: Repo) -> None:
        repo("config", "core.repositoryFormatVersion", "1")
        repo("config", "extensions.refStorage", "reftable")
        with pytest.raises(UnsupportedRepository, match="reftable"):
            Repository(repo.path)

    def test_empty(self, repo: Repo) -> None:
        with pytest.raises(EmptyRepository):
            Repository(repo.path).require_commits()

    def test_a_linked_worktree(self, repo: Repo) -> None:
        sha = repo.commit({"a": "1"})
        repo("worktree", "add", "-q", str(repo.path.parent / "linked"), "-b", "other")
        linked = Repository(repo.path.parent / "linked")
        assert linked.ref("HEAD") == sha
        assert linked.work_tree == repo.path.parent / "linked"


class TestRefs:
    def test_every_ref_with_its_kind(self, repo: Repo) -> None:
        sha = repo.commit({"a": "1"})
        repo("branch", "feature/x")
        repo("tag", "-a", "v1", "-m", "one")
        repo("update-ref", "refs/remotes/origin/main", sha)
        repo("update-ref", "refs/pull/7/head", sha)
        found = [(r.name, r.kind, r.short, r.commit) for r in Repository(repo.path).refs()]
        assert found == [
            ("refs/heads/feature/x", "branch", "feature/x", sha),
            ("refs/heads/main", "branch", "main", sha),
            ("refs/pull/7/head", "other", "refs/pull/7/head", sha),
            ("refs/remotes/origin/main", "remote", "origin/main", sha),
            ("refs/tags/v1", "tag", "v1", sha),
        ]

    def test_odd_names_and_refs_to_no_commit(self, repo: Repo) -> None:
        sha = repo.commit({"a": "1"})
        blob = repo("rev-parse", "HEAD:a")
        repo("update-ref", "refs/heads/--upload-pack=x", sha)
        repo("update-ref", "refs/heads/<script>", sha)
        repo("update-ref", "refs/tags/a-blob", blob)
        packed = repo.path / ".git" / "packed-refs"
        packed.write_bytes(
            b"# pack-refs with: peeled fully-peeled sorted \n"
            + sha.encode()
            + b" refs/heads/caf\xe9\n"
        )
        names = [ref.short for ref in Repository(repo.path).refs()]
        assert names == ["--upload-pack=x", "<script>", "main"]

    def test_default_branch(self, repo: Repo) -> None:
        sha = repo.commit({"a": "1"})
        repo("checkout", "-q", "-b", "work")
        assert Repository(repo.path).default_branch() == "refs/heads/main"
        repo("branch", "-q", "trunk")
        repo("update-ref", "refs/remotes/origin/trunk", sha)
        repo("symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/trunk")
        assert Repository(repo.path).default_branch() == "refs/heads/trunk"
        repo("branch", "-q", "-D", "trunk")
        assert Repository(repo.path).default_branch() == "refs/remotes/origin/trunk"


class TestHistory:
    def test_first_parents_and_all(self, repo: Repo) -> None:
        first = repo.commit({"a": "1"})
        repo("checkout", "-q", "-b", "side")
        side = repo.commit({"b": "1"})
        repo("checkout", "-q", "main")
        second = repo.commit({"a": "2"})
        repo("merge", "-q", "--no-ff", "-m", "merge", "side")
        merge = repo("rev-parse", "HEAD")
        opened = Repository(repo.path)
        assert [c.sha for c in opened.log(merge)] == [merge, second, first]
        assert {c.sha for c in opened.log(merge, full=True)} == {merge, second, side, first}
        assert [c.sha for c in opened.log(merge, hide=second, full=True)] == [merge, side]
        assert opened.commit(merge).parents == (second, side)
        assert opened.is_ancestor(side, merge)
        assert not opened.is_ancestor(side, second)

    def test_a_commit_with_bytes_that_are_no_text(self, repo: Repo) -> None:
        repo.commit({"a": "1"})
        raw = repo("cat-file", "commit", "HEAD").encode().replace(b"Ada", b"Ad\xe9", 1)
        sha = repo("hash-object", "-t", "commit", "-w", "--stdin", input=raw + b"\n")
        commit = Repository(repo.path).commit(sha)
        assert commit.author == "Ad\ufffd"

    def test_a_rename_is_followed(self, repo: Repo) -> None:
        text = "".join(f"line {n}\n" for n in range(40))
        old = repo.commit({"dags/old.py": text})
        new = repo.commit({"dags/old.py": None, "dags/new.py": text + "one more\n"})
        opened = Repository(repo.path)
        trees = opened.commit(old).tree, opened.commit(new).tree
        assert opened.rename_target(*trees, b"dags/old.py") == b"dags/new.py"
        assert opened.rename_target(*trees, b"dags/absent.py") is None


def test_a_missing_object_is_named(repo: Repo) -> None:
    repo.commit({"a": "1"})
    blob = repo("rev-parse", "HEAD:a")
    opened = Repository(repo.path)
    assert opened.size(blob) == 1
    (repo.path / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    for ask in (opened.blob, opened.size):
        with pytest.raises(MissingObject, match=blob):
            ask(blob)
    with pytest.raises(MissingObject):
        opened.commit("1" * 40)


def test_objects_packed_under_an_open_repository(repo: Repo) -> None:
    first = repo.commit({"a": "1"})
    opened = Repository(repo.path)
    assert opened.commit(first).subject == "change"
    second = repo.commit({"a": "2"})
    repo("gc", "-q", "--prune=now")
    repo("pack-refs", "--all")
    assert opened.ref("refs/heads/main") == second
    assert opened.blob(repo("rev-parse", "HEAD:a")) == b"2"
