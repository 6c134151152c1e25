"""Keep refs: what git would prune stays, however the refs are held, whoever else is at it."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest

from gitdags import keep
from gitdags.git import Repository
from gitdags.keep import CHAIN, KEEP, CannotBundle
from tests.conftest import Repo

GONE = "1" * 40


def refs(repo: Repo) -> list[str]:
    return repo("for-each-ref", "--format=%(refname)", "refs/gitdags").split()


def prune(repo: Repo) -> None:
    """What would take away every commit that no ref reaches."""
    repo("reflog", "expire", "--expire=now", "--expire-unreachable=now", "--all")
    repo("gc", "-q", "--prune=now")


def there(repo: Repo, sha: str) -> bool:
    return repo("cat-file", "-t", sha, check=False) == "commit"


def many(repo: Repo, count: int) -> list[str]:
    """Commits that no ref reaches: each a root of its own."""
    tree = repo("hash-object", "-t", "tree", "-w", "--stdin", input=b"")
    stream = "".join(
        f"commit refs/heads/tmp{n}\ncommitter A <a@b> {1_700_000_000 + n} +0000\ndata 1\nc\n"
        for n in range(count)
    )
    assert tree
    repo("fast-import", "--quiet", input=stream.encode())
    shas = repo("for-each-ref", "--format=%(objectname)", "refs/heads/tmp*").split()
    repo("update-ref", "--stdin", input="".join(
        f"delete refs/heads/tmp{n}\n" for n in range(count)).encode())  # fmt: skip
    return sorted(shas)


class TestKeep:
    def test_survives_a_rewound_branch_and_gc(self, repo: Repo) -> None:
        repo.commit({"a": "1"})
        kept, lost = repo.commit({"a": "2"}), repo.commit({"a": "3"})
        assert keep.keep(repo.path, [kept]) == []
        repo("reset", "-q", "--hard", "HEAD~2")
        prune(repo)
        assert (there(repo, kept), there(repo, lost)) == (True, False)
        assert refs(repo) == [KEEP + kept]

    def test_says_what_is_no_commit(self, repo: Repo) -> None:
        sha = repo.commit({"a": "1"})
        blob = repo("rev-parse", "HEAD:a")
        asked = [GONE, sha, blob, "--upload-pack=x", "main"]
        assert keep.keep(repo.path, asked) == sorted([GONE, blob, "--upload-pack=x", "main"])
        assert keep.kept(repo.path) == {sha}

    def test_twice_is_once(self, repo: Repo) -> None:
        sha = repo.commit({"a": "1"})
        keep.keep(repo.path, [sha])
        keep.keep(repo.path, [sha, sha])
        assert refs(repo) == [KEEP + sha]

    def test_is_not_told_to_hooks_of_the_repository(self, repo: Repo) -> None:
        sha = repo.commit({"a": "1"})
        hook = repo.path / ".git/hooks/reference-transaction"
        hook.write_text("#!/bin/sh\nexit 1\n")
        hook.chmod(0o755)
        assert keep.keep(repo.path, [sha]) == []

    def test_never_writes_into_a_repository_above(self, repo: Repo) -> None:
        sha = repo.commit({"a": "1"})
        (repo.path / "plain").mkdir()
        with pytest.raises(keep.GitFailed, match="not a git repository"):
            keep.keep(repo.path / "plain", [sha])

    def test_is_in_no_list_of_refs(self, repo: Repo) -> None:
        sha = repo.commit({"a": "1"})
        keep.keep(repo.path, [sha])
        opened = Repository(repo.path)
        assert [ref.name for ref in opened.refs()] == ["refs/heads/main"]


class TestFold:
    def test_many_are_one_ref(self, repo: Repo) -> None:
        repo.commit({"a": "1"})
        shas = many(repo, 250)
        assert keep.keep(repo.path, shas) == []
        assert refs(repo) == [CHAIN]
        prune(repo)
        assert all(kind == "commit" for kind in repo(
            "cat-file", "--batch-check=%(objecttype)", input="\n".join(shas).encode()).split())  # fmt: skip
        assert keep.kept(repo.path) == set(shas)
        assert repo("fsck", "--strict") == ""

    def test_one_at_a_time(self, repo: Repo) -> None:
        repo.commit({"a": "1"})
        shas = many(repo, keep.FOLD_AT + 5)
        for sha in shas:
            keep.keep(repo.path, [sha])
        assert sorted(refs(repo)) == [CHAIN, *(KEEP + sha for sha in shas[-5:])]
        assert keep.kept(repo.path) == set(shas)
        keep.keep(repo.path, shas)
        assert len(refs(repo)) == 6

    def test_the_last_link_is_filled_up(self, repo: Repo) -> None:
        repo.commit({"a": "1"})
        shas = many(repo, 2 * keep.PARENTS + 50)
        for at in range(0, len(shas), 40):
            keep.keep(repo.path, shas[at : at + 40])
        keep.fold(repo.path)
        counts = [len(link.kept) for link in keep._links(repo.path, repo("rev-parse", CHAIN))]
        assert counts == [50, keep.PARENTS, keep.PARENTS]

    def test_equal_content_is_equal_commits(self, repo: Repo, tmp_path: Path) -> None:
        repo.commit({"a": "1"})
        shas = many(repo, 120)
        keep.keep(repo.path, shas)
        other = Repo(tmp_path / "other")
        other.commit({"a": "1"})
        assert many(other, 120) == shas
        keep.keep(other.path, reversed(shas))
        assert other("rev-parse", CHAIN) == repo("rev-parse", CHAIN)

    def test_a_chain_somebody_else_wrote_is_kept_too(self, repo: Repo) -> None:
        foreign = repo.commit({"a": "1"})
        shas = many(repo, keep.FOLD_AT)
        repo("update-ref", CHAIN, foreign)
        keep.keep(repo.path, shas)
        repo("checkout", "-q", "--orphan", "new")
        repo("branch", "-D", "main")
        prune(repo)
        assert there(repo, foreign)
        assert keep.kept(repo.path) == {*shas, foreign}

    def test_keepers_race(self, repo: Repo) -> None:
        repo.commit({"a": "1"})
        shas = many(repo, 160)
        code = "import sys; from gitdags import keep\nfor s in sys.argv[2:]: keep.keep(sys.argv[1], [s])"
        racers = [
            subprocess.Popen([sys.executable, "-c", code, repo.path, *shas[n::4]]) for n in range(4)
        ]
        assert [racer.wait() for racer in racers] == [0, 0, 0, 0]
        assert keep.kept(repo.path) == set(shas)
        assert len(refs(repo)) <= keep.FOLD_AT + 4


class TestBundle:
    def test_carries_a_commit_that_no_ref_reaches(self, repo: Repo, tmp_path: Path) -> None:
        repo.commit({"a": "1"})
        sha = repo.commit({"a": "2"})
        repo("reset", "-q", "--hard", "HEAD~")
        keep.keep(repo.path, [sha])
        file = tmp_path / "one.bundle"
        file.write_bytes(b"".join(keep.bundle(repo.path, [sha])))
        other = Repo(tmp_path / "other")
        other("fetch", "-q", str(file), "refs/gitdags/keep/*:refs/gitdags/keep/*")
        assert other("show", f"{sha}:a") == "2"

    def test_of_an_unknown_commit(self, repo: Repo) -> None:
        repo.commit({"a": "1"})
        with pytest.raises(CannotBundle, match="no commit"):
            keep.bundle(repo.path, [GONE])

    def test_of_a_shallow_clone(self, repo: Repo, tmp_path: Path) -> None:
        repo.commit({"a": "1"})
        sha = repo.commit({"a": "2"})
        shallow = tmp_path / "shallow"
        repo("clone", "-q", "--depth=1", f"file://{repo.path}", str(shallow))
        with pytest.raises(CannotBundle, match="shallow"):
            keep.bundle(shallow, [sha])

    def test_breaks_off_loudly(self, repo: Repo) -> None:
        sha = repo.commit({"a": "some content", "b": "more"})
        blob = repo("rev-parse", "HEAD:a")
        (repo.path / ".git/objects" / blob[:2] / blob[2:]).unlink()
        out = io.BytesIO()
        with pytest.raises(keep.GitFailed, match="pack-objects"):
            out.writelines(keep.bundle(repo.path, [sha]))
