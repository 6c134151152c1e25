"""Real Git commands in real repositories: one move is one deployment, and Git is never disturbed."""

from __future__ import annotations

import os
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gitdags import hooks, keep
from gitdags.catalog import Catalog
from gitdags.errors import GitdagsError
from gitdags.model import RegisteredRepository
from tests.conftest import Repo
from tests.hooks.conftest import Told, install

MAIN = "refs/heads/main"


class TestMoves:
    def test_commit_amend_reset(self, repo: Repo, first: str, told: Told) -> None:
        second = repo.commit({"a": "2"})
        assert told() == [(MAIN, first, second)]
        repo("commit", "-q", "--amend", "-m", "better")
        third = repo("rev-parse", "HEAD")
        repo("reset", "-q", "--hard", first)
        assert told() == [(MAIN, second, third), (MAIN, third, first)]
        assert told() == []

    def test_merge(self, repo: Repo, first: str, told: Told) -> None:
        repo("checkout", "-q", "-b", "topic")
        topic = repo.commit({"b": "1"})
        repo("checkout", "-q", "main")
        told()
        repo("merge", "-q", "--no-ff", "-m", "merge", "topic")
        merged = repo("rev-parse", "HEAD")
        assert told() == [(MAIN, first, merged)]
        repo("checkout", "-q", "topic")
        assert told() == [("HEAD", merged, topic)]
        repo("merge", "-q", "--ff-only", "main")
        assert told() == [("refs/heads/topic", topic, merged)]

    def test_a_rebase_is_one_when_it_ends(self, repo: Repo, told: Told) -> None:
        repo("checkout", "-q", "-b", "topic")
        repo.commit({"b": "1"})
        old = repo.commit({"b": "2"})
        repo("checkout", "-q", "main")
        repo.commit({"b": "conflicts"})
        repo("checkout", "-q", "topic")
        told()
        assert repo("rebase", "main", check=False)
        assert told() == []
        (repo.path / "b").write_text("1")
        repo("add", "b")
        repo("-c", "core.editor=true", "rebase", "--continue")
        assert told() == [("refs/heads/topic", old, repo("rev-parse", "topic"))]

    def test_a_rebase_given_up_is_none(self, repo: Repo, told: Told) -> None:
        repo("checkout", "-q", "-b", "topic")
        repo.commit({"b": "1"})
        repo("checkout", "-q", "main")
        repo.commit({"b": "conflicts"})
        repo("checkout", "-q", "topic")
        told()
        repo("rebase", "main", check=False)
        repo("rebase", "--abort")
        assert told() == []

    def test_a_rebase_of_no_branch(self, repo: Repo, first: str, told: Told) -> None:
        new_base = repo.commit({"c": "1"})
        repo("checkout", "-q", "--detach", first)
        old = repo.commit({"b": "1"})
        told()
        repo("rebase", "-q", "main")
        assert told() == [("HEAD", old, repo("rev-parse", "HEAD"))]
        assert repo("rev-parse", "HEAD~") == new_base

    def test_branches_and_tags(self, repo: Repo, first: str, told: Told) -> None:
        second = repo.commit({"a": "2"})
        told()
        repo("branch", "old", first)
        repo("branch", "-f", "old", second)
        repo("update-ref", "refs/heads/old", first)
        assert told() == [
            ("refs/heads/old", None, first),
            ("refs/heads/old", first, second),
            ("refs/heads/old", second, first),
        ]
        repo("tag", "-a", "v1", "-m", "v1", first)
        repo("tag", "-f", "-a", "v1", "-m", "again", first)
        assert told() == [("refs/tags/v1", None, first)]
        repo("tag", "-f", "v1", second)
        repo("branch", "-m", "old", "older")
        repo("branch", "-D", "older")
        assert told() == [("refs/tags/v1", first, second), ("refs/heads/old", first, None)]

    def test_renaming_a_branch(self, repo: Repo, first: str, told: Told) -> None:
        repo("branch", "-m", "main", "trunk")
        assert told() == [(MAIN, first, None), ("refs/heads/trunk", None, first)]

    def test_packing_collecting_stashing_are_no_moves(
        self, repo: Repo, first: str, told: Told
    ) -> None:
        repo("tag", "-a", "v1", "-m", "v1")
        told()
        repo("pack-refs", "--all")
        repo("gc", "-q")
        (repo.path / "dags/a.py").write_text("2")
        repo("stash")
        repo("fetch", "-q", ".", "main:refs/remotes/origin/main")
        assert told() == []

    def test_checkouts(self, repo: Repo, first: str, told: Told) -> None:
        second = repo.commit({"a": "2"})
        told()
        repo("checkout", "-q", "--detach", first)
        repo("checkout", "-q", "main")
        repo("checkout", "-q", "main", "--", "a")
        repo("symbolic-ref", "HEAD", "refs/heads/main")
        assert told() == [("HEAD", second, first), ("HEAD", first, second)]

    def test_push(self, catalog: Catalog, repo: Repo, first: str, tmp_path: Path) -> None:
        bare = tmp_path / "bare.git"
        repo("clone", "-q", "--bare", str(repo.path), str(bare))
        registered = catalog.registry.add(str(bare), name="bare")
        assert install(bare).installed
        second = repo.commit({"a": "2"})
        repo("push", "-q", str(bare), "main", "HEAD:refs/heads/new")
        repo("push", "-q", "-f", str(bare), f"{first}:main", ":new")
        moves = [(d.ref, d.old, d.new) for d in catalog.receive(registered)]
        assert sorted(moves[:2]) == [(MAIN, first, second), ("refs/heads/new", None, second)]
        assert sorted(moves[2:]) == [(MAIN, second, first), ("refs/heads/new", second, None)]
        repo("-C", str(bare), "gc", "-q", "--prune=now")
        assert repo("-C", str(bare), "cat-file", "-t", second) == "commit"

    def test_linked_worktrees(
        self, repo: Repo, first: str, told: Told, tmp_path: Path, watched: RegisteredRepository
    ) -> None:
        place = tmp_path / "linked tree"
        repo("worktree", "add", "-q", "-b", "side", str(place))
        told()
        repo("-C", str(place), "commit", "-q", "--allow-empty", "-m", "from there")
        side = repo("rev-parse", "side")
        assert told() == [("refs/heads/side", first, side)]
        repo("-C", str(place), "checkout", "-q", "--detach", first)
        assert told() == [("worktrees/linked-tree/HEAD", side, first)]
        assert hooks.status(place).installed

    def test_without_the_hook_that_sees_all(self, repo: Repo, first: str, told: Told) -> None:
        (repo.path / ".git/hooks/reference-transaction").unlink()
        second = repo.commit({"a": "2"})
        assert told() == [(MAIN, first, second)]
        repo("checkout", "-q", "-b", "topic", first)
        repo.commit({"b": "1"})
        repo("merge", "-q", "-m", "m", "main")
        tip = repo("rev-parse", "HEAD")
        assert told() == [("HEAD", second, first), ("refs/heads/topic", None, tip)]


class TestDeployments:
    def test_who_when_and_for_whom(
        self, catalog: Catalog, repo: Repo, watched: RegisteredRepository
    ) -> None:
        before = datetime.now(UTC)
        repo.commit({"a": "2"})
        (found,) = catalog.receive(watched)
        assert (found.repo, found.by, found.source) == ("repo", "Ada <ada@example.org>", "hook")
        assert before - timedelta(seconds=1) <= found.at <= datetime.now(UTC)
        assert catalog.deployments(watched) == [found]

    def test_a_configured_user(
        self, catalog: Catalog, repo: Repo, watched: RegisteredRepository
    ) -> None:
        repo("config", "user.name", "Grace")
        repo("config", "user.email", "grace@example.org")
        env = {k: v for k, v in repo.environment.items() if not k.startswith("GIT_COMMITTER")}
        words = ["git", "commit", "-q", "--allow-empty", "-m", "x"]
        subprocess.run(words, cwd=repo.path, env=env, check=True)
        (found,) = catalog.receive(watched)
        assert found.by == "Grace <grace@example.org>"

    def test_who_git_took_it_for(
        self, catalog: Catalog, repo: Repo, watched: RegisteredRepository
    ) -> None:
        env = {k: v for k, v in repo.environment.items() if not k.startswith("GIT_COMMITTER")}
        who = ["-c", "user.name=Joan", "-c", "user.email=joan@example.org"]
        words = ["git", *who, "commit", "-q", "--allow-empty", "-m", "x"]
        subprocess.run(words, cwd=repo.path, env=env, check=True)
        assert [d.by for d in catalog.receive(watched)] == ["Joan <joan@example.org>"]

    def test_who_pushed(
        self, catalog: Catalog, repo: Repo, watched: RegisteredRepository, tmp_path: Path
    ) -> None:
        bare = tmp_path / "bare.git"
        repo("clone", "-q", "--bare", str(repo.path), str(bare))
        registered = catalog.registry.add(str(bare), name="bare")
        install(bare)
        repo.commit({"a": "2"})
        env = {**repo.environment, "GL_USERNAME": "grace"}
        subprocess.run(["git", "push", "-q", str(bare), "main"], cwd=repo.path, env=env, check=True)
        assert [d.by for d in catalog.receive(registered)] == ["grace"]

    def test_dates_a_ref(
        self, catalog: Catalog, repo: Repo, first: str, watched: RegisteredRepository
    ) -> None:
        repo.commit({"a": "2"})
        catalog.receive(watched)
        found = catalog.resolve(watched, "main@{now}")
        assert (found.commit, found.source) == (repo("rev-parse", "main"), "deployment")

    def test_dates_head(
        self, catalog: Catalog, repo: Repo, first: str, watched: RegisteredRepository
    ) -> None:
        env = {k: v for k, v in repo.environment.items() if not k.endswith("_DATE")}
        for words in (("checkout", "-q", "-b", "topic", "HEAD"), ("checkout", "-q", "--detach"),
                      ("commit", "-q", "--allow-empty", "-m", "x"), ("checkout", "-q", "main"),
                      ("commit", "-q", "--allow-empty", "-m", "y")):  # fmt: skip
            subprocess.run(["git", *words], cwd=repo.path, env=env, check=True)
        catalog.receive(watched)
        found = catalog.resolve(watched, "HEAD@{now}")
        assert (found.commit, found.source) == (repo("rev-parse", "main"), "deployment")

    def test_both_ends_are_kept(
        self, catalog: Catalog, repo: Repo, first: str, watched: RegisteredRepository
    ) -> None:
        second = repo.commit({"a": "2"})
        catalog.receive(watched)
        assert keep.kept(repo.path) == {first, second}

    def test_a_drain_takes_them_in_too(
        self, catalog: Catalog, repo: Repo, watched: RegisteredRepository
    ) -> None:
        away = Repo(repo.path.with_name("away"))
        away.commit({"a": "1"})
        catalog.registry.add(str(away.path))
        away.path.rename(repo.path.with_name("gone"))
        repo.commit({"a": "2"})
        assert catalog.drain().deployments == 1
        assert len(catalog.deployments(watched)) == 1

    def test_under_every_name_the_repository_has(
        self, catalog: Catalog, repo: Repo, watched: RegisteredRepository
    ) -> None:
        catalog.registry.add(str(repo.path), name="again")
        repo.commit({"a": "2"})
        assert sorted(d.repo for d in catalog.receive(watched)) == ["again", "repo"]

    def test_come_again_where_the_store_was_away(
        self, catalog: Catalog, repo: Repo, watched: RegisteredRepository, settings
    ) -> None:
        second = repo.commit({"a": "2"})
        database = settings.home / "gitdags.db"
        for file in settings.home.glob("gitdags.db*"):
            file.rename(file.with_name("away-" + file.name))
        database.mkdir()
        with Catalog(settings) as other, pytest.raises(GitdagsError):
            other.receive(watched)
        third = repo.commit({"a": "3"})
        database.rmdir()
        for file in settings.home.glob("away-*"):
            file.rename(file.with_name(file.name.removeprefix("away-")))
        with Catalog(settings) as other:
            assert [d.new for d in other.receive(watched)] == [second, third]

    def test_lost_bookkeeping_invents_nothing(
        self, catalog: Catalog, repo: Repo, first: str, watched: RegisteredRepository
    ) -> None:
        repo("branch", "other")
        catalog.receive(watched)
        (repo.path / ".git/gitdags/seen.json").write_text("{torn")
        (repo.path / ".git/gitdags/moves").unlink()
        second = repo.commit({"a": "2"})
        moves = [(d.ref, d.old, d.new) for d in catalog.receive(watched)]
        assert moves == [(MAIN, first, second)]

    def test_a_long_file_begins_anew(
        self, catalog: Catalog, repo: Repo, watched: RegisteredRepository
    ) -> None:
        box = repo.path / ".git/gitdags"
        (box / "moves").write_text("x\n" * (1 << 20))
        repo.commit({"a": "2"})
        assert len(catalog.receive(watched)) == 1
        assert not (box / "moves").exists()
        late = open(box / "moves.1", "a")  # noqa: SIM115 - a hook that is slow to close it
        repo.commit({"a": "3"})
        late.write("\n1 post-commit - 7 - - - .\n")
        late.close()
        assert len(catalog.receive(watched)) == 1
        assert catalog.receive(watched) == []


class TestGitGoesOn:
    def moves(self, repo: Repo) -> None:
        """Commands that run every hook, none of which may fail or say a word."""
        for words in (
            ("commit", "-q", "--allow-empty", "-m", "x"),
            ("checkout", "-q", "-b", "topic"),
            ("commit", "-q", "--allow-empty", "-m", "y"),
            ("checkout", "-q", "main"),
            ("merge", "-q", "--no-ff", "-m", "z", "topic"),
            ("rebase", "-q", "HEAD~"),
            ("reset", "-q", "--hard", "HEAD~"),
        ):
            done = subprocess.run(
                ["git", *words], cwd=repo.path, env=repo.environment, capture_output=True, text=True
            )
            assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), words

    def test_gitdags_uninstalled(self, repo: Repo, watched: RegisteredRepository) -> None:
        self.moves(repo)  # the interpreter is not there

    def test_the_folder_gone(self, repo: Repo, watched: RegisteredRepository) -> None:
        box = repo.path / ".git/gitdags"
        for file in box.iterdir():
            file.unlink()
        box.rmdir()
        self.moves(repo)
        assert not box.exists()

    def test_the_disk_full(self, repo: Repo, watched: RegisteredRepository, told: Told) -> None:
        moves = repo.path / ".git/gitdags/moves"
        moves.symlink_to("/dev/full")
        self.moves(repo)
        moves.unlink()
        repo.commit({"a": "9"})
        assert (MAIN, repo("rev-parse", "HEAD")) in [(ref, new) for ref, _, new in told()]

    @pytest.mark.skipif(os.getuid() != 0, reason="mounting wants root")
    def test_a_disk_that_is_really_full(self, repo: Repo, watched: RegisteredRepository) -> None:
        box = repo.path / ".git/gitdags"
        script = (
            "mount -t tmpfs -o size=4k none .git/gitdags && head -c 4096 /dev/zero >.git/gitdags/x 2>&-;"
            "git commit -q --allow-empty -m full && git checkout -q -b other"
        )
        words = ["unshare", "--mount", "sh", "-c", script]
        done = subprocess.run(
            words, cwd=repo.path, env=repo.environment, capture_output=True, text=True
        )
        if "unshare" in done.stderr:
            pytest.skip("no mount namespaces here")
        assert (done.returncode, done.stderr) == (0, "")
        assert repo("log", "-1", "--format=%s", "other") == "full"
        assert box.is_dir()

    def test_a_folder_that_cannot_be_written(
        self, repo: Repo, watched: RegisteredRepository
    ) -> None:
        moves = repo.path / ".git/gitdags/moves"
        moves.mkdir()
        self.moves(repo)

    def test_what_the_handler_wrote_is_garbage(
        self, repo: Repo, watched: RegisteredRepository
    ) -> None:
        (repo.path / ".git/gitdags/handler").write_text("-1\nnonsense $(exit 3)\n")
        self.moves(repo)

    def test_hostile_names(self, repo: Repo, first: str, told: Told) -> None:
        names = ["$(touch${IFS}pwned)", "`id`", "a'b\"c", "-x", "%s%n", "é", "x;y"]
        refs = [f"refs/heads/{name}" for name in names]
        for ref in refs:
            repo("update-ref", ref, first)
        assert [move[0] for move in told()] == refs
        assert not (repo.path / "pwned").exists()
