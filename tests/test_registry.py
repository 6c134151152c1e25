"""Registering and mirroring: real clones over file://, real fetches."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gitdags import mirror
from gitdags.catalog import Catalog
from gitdags.errors import UsageError
from gitdags.git import EmptyRepository, Repository
from gitdags.mirror import CannotFetch
from gitdags.registry import UnknownRepository
from tests.conftest import Repo


@pytest.fixture
def origin(repo: Repo) -> Repo:
    """A remote with a branch, a tag and the head of a pull request."""
    sha = repo.commit({"dags/a.py": "1"})
    repo("tag", "v1")
    repo("update-ref", "refs/pull/7/head", sha)
    repo("update-ref", "refs/merge-requests/9/head", sha)
    return repo


def names(path: str) -> list[str]:
    return [ref.name for ref in Repository(path).refs()]


class TestMirror:
    def test_branches_and_tags(self, catalog: Catalog, origin: Repo) -> None:
        found = catalog.registry.add(f"file://{origin.path}", name="sales")
        assert names(found.path) == ["refs/heads/main", "refs/tags/v1"]
        assert found.url == f"file://{origin.path}"
        assert Path(found.path).name == "sales.git"
        assert Repository(found.path).default_branch() == "refs/heads/main"

    def test_pull_requests_when_asked(self, catalog: Catalog, origin: Repo) -> None:
        found = catalog.registry.add(f"file://{origin.path}", name="sales", pull_requests=True)
        assert names(found.path) == [
            "refs/heads/main", "refs/merge-requests/9/head", "refs/pull/7/head", "refs/tags/v1",
        ]  # fmt: skip

    def test_fetch_says_what_moved(self, catalog: Catalog, origin: Repo) -> None:
        origin("branch", "old")
        found = catalog.registry.add(f"file://{origin.path}", name="sales")
        old = origin("rev-parse", "main")
        new = origin.commit({"dags/a.py": "2"})
        origin("branch", "-D", "old")
        moved = catalog.registry.fetch(found)
        assert moved == [("refs/heads/main", old, new), ("refs/heads/old", old, None)]
        assert catalog.registry.fetch(found) == []

    def test_refs_of_our_own_survive_a_fetch(self, catalog: Catalog, origin: Repo) -> None:
        found = catalog.registry.add(f"file://{origin.path}", name="sales")
        sha = origin("rev-parse", "main")
        origin("-C", found.path, "update-ref", "refs/gitdags/keep/" + sha, sha)
        origin("commit", "-q", "--amend", "--allow-empty", "-m", "rewritten")
        catalog.registry.fetch(found)
        assert Repository(found.path).ref("refs/gitdags/keep/" + sha) == sha

    def test_the_default_branch_follows_the_remote(self, catalog: Catalog, origin: Repo) -> None:
        found = catalog.registry.add(f"file://{origin.path}", name="sales")
        origin("checkout", "-q", "-b", "trunk")
        catalog.registry.fetch(found)
        assert Repository(found.path).default_branch() == "refs/heads/trunk"

    def test_registering_again_fetches_and_keeps_what_was_said(
        self, catalog: Catalog, origin: Repo
    ) -> None:
        url = f"file://{origin.path}"
        catalog.registry.add(url, name="sales", dags_folder="jobs")
        new = origin.commit({"dags/a.py": "2"})
        found = catalog.registry.add(url, name="sales")
        assert found.dags_folder == "jobs"
        assert catalog.resolve(found, "main").commit == new
        assert len(catalog.repositories()) == 1

    def test_a_remote_that_is_not_there_leaves_nothing(
        self, catalog: Catalog, tmp_path: Path
    ) -> None:
        with pytest.raises(CannotFetch) as caught:
            catalog.registry.add(f"file://{tmp_path}/absent", name="sales")
        assert caught.value.hint.startswith("git ls-remote file://")
        assert list((tmp_path / "home" / "mirrors").iterdir()) == []
        assert catalog.repositories() == []

    def test_an_empty_remote(self, catalog: Catalog, repo: Repo) -> None:
        with pytest.raises(EmptyRepository):
            catalog.registry.add(f"file://{repo.path}", name="sales")
        assert catalog.repositories() == []

    def test_hostile_trees_are_not_fetched(self, catalog: Catalog, origin: Repo) -> None:
        blob = origin("rev-parse", "HEAD:dags/a.py")
        data = b"100644 .git\0" + bytes.fromhex(blob)
        tree = origin("hash-object", "-t", "tree", "-w", "--literally", "--stdin", input=data)
        origin("update-ref", "refs/heads/evil", origin("commit-tree", tree, "-m", "x"))
        with pytest.raises(CannotFetch, match="hasDotgit"):
            catalog.registry.add(f"file://{origin.path}", name="sales")


@pytest.mark.parametrize(
    "text",
    [
        "https://example.org/x.git",
        "ssh://git@example.org/x",
        "file:///srv/x",
        "git@example.org:x/y.git",
    ],
)
def test_addresses(text: str) -> None:
    assert mirror.is_url(text)
    mirror.check_url(text)


@pytest.mark.parametrize(
    "text", ["ext::sh -c x", "git://example.org/x", "http://x/y", "-u:x", "fd::17"]
)
def test_transports_that_are_refused(text: str, tmp_path: Path) -> None:
    if mirror.is_url(text):
        with pytest.raises(CannotFetch, match="only https, ssh, file"):
            mirror.check_url(text)


class TestFinding:
    def test_by_name_by_place_or_alone(self, catalog: Catalog, repo: Repo) -> None:
        repo.commit({"dags/a.py": "1"})
        with pytest.raises(UnknownRepository, match="no repository is registered yet"):
            catalog.repository()
        one = catalog.registry.add(str(repo.path))
        assert catalog.repository() == catalog.repository("repo") == one
        other = Repo(repo.path.parent / "other")
        other.commit({"a": "1"})
        two = catalog.registry.add(str(other.path / "."))
        with pytest.raises(UnknownRepository, match="several"):
            catalog.repository()
        assert catalog.repository(start=repo.path / "dags") == one
        assert catalog.repository(start=other.path) == two
        with pytest.raises(UnknownRepository, match="'third'"):
            catalog.repository("third")

    def test_a_path_inside_the_clone_means_the_clone(self, catalog: Catalog, repo: Repo) -> None:
        repo.commit({"dags/a.py": "1"})
        found = catalog.registry.add(str(repo.path / "dags"), name="x")
        assert found.path == str(repo.path)

    def test_a_linked_worktree_and_a_bare_repository(self, catalog: Catalog, repo: Repo) -> None:
        repo.commit({"dags/a.py": "1"})
        repo("worktree", "add", "-q", "../linked", "-b", "w")
        repo("clone", "-q", "--bare", ".", "../bare.git")
        linked = catalog.registry.add(str(repo.path.parent / "linked"))
        bare = catalog.registry.add(str(repo.path.parent / "bare.git"))
        assert (linked.name, bare.name) == ("linked", "bare")
        assert catalog.resolve(linked, "HEAD").commit == catalog.resolve(bare, "main").commit

    @pytest.mark.parametrize("name", ["api", "healthz", "A", "-a", "", "a b", "x" * 64])
    def test_names_that_cannot_be(self, catalog: Catalog, repo: Repo, name: str) -> None:
        repo.commit({"a": "1"})
        with pytest.raises(UsageError):
            catalog.registry.add(str(repo.path), name=name or "é")


def test_nothing_of_git_in_the_environment_is_changed(catalog: Catalog, origin: Repo) -> None:
    before = dict(os.environ)
    catalog.registry.add(f"file://{origin.path}", name="sales")
    assert dict(os.environ) == before
