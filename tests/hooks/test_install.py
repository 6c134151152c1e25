"""Putting hooks in and taking them out: what was there runs on, and comes back byte for byte."""

from __future__ import annotations

import json
import os
import select
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from gitdags import hooks
from gitdags.catalog import Catalog
from gitdags.hooks import CannotInstall
from gitdags.hooks.install import HOOKS
from gitdags.model import RegisteredRepository
from tests.conftest import Repo, Run
from tests.hooks.conftest import Told, install


def picture(top: Path) -> dict[str, tuple[int, bytes]]:
    """path -> (mode, content or target) of what an installation may touch."""
    found: dict[str, tuple[int, bytes]] = {}
    for path in [top / "config", *sorted((top / "hooks").rglob("*")), top / "gitdags"]:
        if path.is_symlink():
            found[str(path)] = (path.lstat().st_mode, os.fsencode(os.readlink(path)))
        elif path.is_file():
            found[str(path)] = (path.stat().st_mode, path.read_bytes())
        elif path.exists():
            found[str(path)] = (path.stat().st_mode, b"")
    return found


def hook(folder: Path, name: str, body: str, mode: int = 0o755) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_text(f"#!/bin/sh\n{body}\n")
    file.chmod(mode)
    return file


class TestAndBack:
    def test_nothing_is_left(self, repo: Repo, first: str) -> None:
        before = picture(repo.path / ".git")
        install(repo.path)
        assert picture(repo.path / ".git") != before
        assert hooks.uninstall(repo.path) == []
        assert picture(repo.path / ".git") == before

    def test_over_hooks_of_somebody(self, repo: Repo, first: str, tmp_path: Path) -> None:
        folder = repo.path / ".git/hooks"
        hook(folder, "post-commit", "exit 0", 0o711)
        hook(folder, "post-merge", "exit 0", 0o644)  # not executable: git does not run it
        hook(folder, "pre-commit", "exit 0")
        hook(tmp_path, "shared", "exit 0")
        (folder / "post-checkout").symlink_to("../../../shared")
        (folder / "post-rewrite").symlink_to("nowhere")
        with open(repo.path / ".git/config", "a") as file:
            file.write("[transfer] ; a comment\n\thideRefs = refs/other\n[log]")
        before = picture(repo.path / ".git")
        install(repo.path)
        install(repo.path)
        assert hooks.uninstall(repo.path) == []
        assert picture(repo.path / ".git") == before

    def test_a_repository_without_a_folder_of_hooks(self, repo: Repo, first: str) -> None:
        folder = repo.path / ".git/hooks"
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
        assert install(repo.path).installed
        hooks.uninstall(repo.path)
        assert not folder.exists()

    def test_a_configuration_changed_meanwhile(self, repo: Repo, first: str) -> None:
        repo("config", "transfer.hideRefs", "refs/gitdags")  # by the user, and so it stays
        install(repo.path)
        repo("config", "user.name", "Grace")
        assert "changed since" in hooks.uninstall(repo.path)[0]
        assert repo("config", "--get-all", "transfer.hideRefs") == "refs/gitdags"
        assert repo("config", "--get-all", "log.excludeDecoration", check=False) == ""
        assert repo("config", "user.name") == "Grace"

    def test_a_hook_somebody_put_in_place_of_ours(
        self, repo: Repo, first: str, tmp_path: Path
    ) -> None:
        """As pre-commit does: it sets ours aside and runs it."""
        folder = repo.path / ".git/hooks"
        mark = tmp_path / "ran"
        hook(folder, "post-commit", f"echo first >> {mark}")
        install(repo.path)
        (folder / "post-commit").rename(folder / "post-commit.legacy")
        foreign = hook(folder, "post-commit", 'exec "$0.legacy" "$@"')
        assert not hooks.status(repo.path).installed
        repo.commit({"a": "2"})
        assert mark.read_text() == "first\n"
        notes = hooks.uninstall(repo.path)
        assert "post-commit is not gitdags' any more" in notes[0]
        repo.commit({"a": "3"})
        assert mark.read_text() == "first\nfirst\n"
        assert foreign.exists()

    def test_not_installed(self, repo: Repo, first: str) -> None:
        with pytest.raises(CannotInstall, match="no hooks of gitdags"):
            hooks.uninstall(repo.path)

    def test_two_that_were_set_aside(self, repo: Repo, first: str) -> None:
        folder = repo.path / ".git/hooks"
        hook(folder, "post-commit", "exit 0")
        hook(folder, "post-commit.before-gitdags", "exit 0")
        with pytest.raises(CannotInstall, match="there already"):
            install(repo.path)

    def test_moves_not_taken_in_are_left(self, repo: Repo, first: str) -> None:
        install(repo.path)
        repo.commit({"a": "2"})
        (note,) = hooks.uninstall(repo.path)
        assert "left in" in note
        assert [file.name for file in (repo.path / ".git/gitdags").iterdir()] == ["moves"]

    def test_installing_again_mends(self, repo: Repo, first: str) -> None:
        install(repo.path)
        (repo.path / ".git/hooks/post-merge").unlink()
        states = {h.name: h.state for h in hooks.status(repo.path).hooks}
        assert (states["post-merge"], states["post-commit"]) == ("missing", "installed")
        assert install(repo.path).installed

    def test_what_git_shows(self, repo: Repo, first: str, told: Told, tmp_path: Path) -> None:
        repo.commit({"a": "2"})
        told()
        assert "gitdags" not in repo("log", "--decorate=full")
        assert "gitdags" not in repo("ls-remote", str(repo.path))
        hooks.uninstall(repo.path)
        assert "gitdags" in repo("ls-remote", str(repo.path))


class TestChained:
    def test_each_runs_with_its_words_its_input_and_its_verdict(
        self, repo: Repo, first: str, told: Told, tmp_path: Path
    ) -> None:
        hooks.uninstall(repo.path)
        out = tmp_path / "out"
        folder = repo.path / ".git/hooks"
        for name in HOOKS:
            body = f'echo "{name} $*" >> {out}; cat >> {out}; exit 3'
            if name == "reference-transaction":
                body = f'echo "{name} $*" >> {out}; cat >> {out}; exit 0'
            hook(folder, name, body)
        install(repo.path)
        assert {h.runs for h in hooks.status(repo.path).hooks} == {
            str(folder / f"{name}.before-gitdags") for name in HOOKS
        }
        second = repo.commit({"a": "2"})
        assert out.read_text() == (
            f"reference-transaction prepared\n{first} {second} HEAD\n{first} {second} refs/heads/main\n"
            f"reference-transaction committed\n{first} {second} HEAD\n{first} {second} refs/heads/main\n"
            "post-commit \n"
        )
        done = subprocess.run(
            ["git", "checkout", "-q", "--detach", first], cwd=repo.path, env=repo.environment
        )
        assert done.returncode == 1  # git's own answer where post-checkout fails
        assert f"post-checkout {second} {first} 1\n" in out.read_text()
        assert told() == [("refs/heads/main", first, second), ("HEAD", second, first)]

    def test_a_hook_may_still_refuse(self, repo: Repo, first: str, tmp_path: Path) -> None:
        hook(repo.path / ".git/hooks", "reference-transaction", '[ "$1" != prepared ]')
        install(repo.path)
        assert repo("commit", "--allow-empty", "-m", "x", check=False) == ""
        assert repo("rev-parse", "HEAD") == first

    def test_a_hook_without_an_interpreter_line(
        self, repo: Repo, first: str, tmp_path: Path
    ) -> None:
        file = repo.path / ".git/hooks/post-commit"
        file.write_text(f"echo ran > {tmp_path}/ran\n")
        file.chmod(0o755)
        install(repo.path)
        repo.commit({"a": "2"})
        assert (tmp_path / "ran").read_text() == "ran\n"

    def test_a_push(self, repo: Repo, first: str, tmp_path: Path) -> None:
        bare, out = tmp_path / "bare.git", tmp_path / "out"
        repo("clone", "-q", "--bare", str(repo.path), str(bare))
        hook(bare / "hooks", "post-receive", f"cat >> {out}")
        hook(bare / "hooks", "update", f'echo "$*" >> {out}; [ "$1" != refs/heads/no ]')
        before = picture(bare)
        install(bare)
        second = repo.commit({"a": "2"})
        repo("push", "-q", str(bare), "main")
        repo("push", "-q", str(bare), "main:no", check=False)
        zero = "0" * 40
        assert out.read_text() == (
            f"refs/heads/main {first} {second}\n{first} {second} refs/heads/main\n"
            f"refs/heads/no {zero} {second}\n"
        )
        hooks.uninstall(bare)
        kept = {k: v for k, v in picture(bare).items() if not k.endswith("/gitdags")}
        assert kept == before


class TestHooksPath:
    def test_a_folder_under_version_control(
        self, repo: Repo, first: str, told: Told, tmp_path: Path
    ) -> None:
        hooks.uninstall(repo.path)
        out = tmp_path / "out"
        hook(repo.path / ".githooks", "pre-commit", f"echo pre >> {out}")
        hook(repo.path / ".githooks", "post-commit", f"echo post >> {out}")
        repo("config", "core.hooksPath", ".githooks")
        before = picture(repo.path / ".git")
        assert install(repo.path).installed
        second = repo.commit({"a": "2"})
        assert out.read_text() == "pre\npost\n"
        hook(repo.path / ".githooks", "commit-msg", f"echo later >> {out}")
        repo.commit({"a": "3"})
        assert out.read_text() == "pre\npost\npre\nlater\npost\n"
        assert told()[0] == ("refs/heads/main", first, second)
        assert repo("status", "--porcelain") == ""
        hooks.uninstall(repo.path)
        assert picture(repo.path / ".git") == before

    def test_a_folder_of_all_repositories_of_a_user(
        self, repo: Repo, first: str, told: Told, tmp_path: Path
    ) -> None:
        hooks.uninstall(repo.path)
        out = tmp_path / "out"
        hook(tmp_path / "my hooks", "post-commit", f"echo mine >> {out}")
        repo("config", "--global", "core.hooksPath", "~/my hooks")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("HOME", str(tmp_path))
            install(repo.path)
            second = repo.commit({"a": "2"})
            assert out.read_text() == "mine\n"
            assert told() == [("refs/heads/main", first, second)]
            hooks.uninstall(repo.path)
        assert [file.name for file in (tmp_path / "my hooks").iterdir()] == ["post-commit"]
        assert repo("config", "--local", "--get", "core.hooksPath", check=False) == ""

    def test_somebody_sets_it_back(self, repo: Repo, first: str) -> None:
        (repo.path / ".husky").mkdir()
        repo("config", "core.hooksPath", ".husky")
        install(repo.path)
        repo("config", "core.hooksPath", ".husky")
        assert {h.state for h in hooks.status(repo.path).hooks} == {"changed"}
        assert len(hooks.uninstall(repo.path)) == 1
        assert repo("config", "core.hooksPath") == ".husky"

    def test_a_worktree_with_its_own(self, repo: Repo, first: str) -> None:
        repo("config", "extensions.worktreeConfig", "true")
        repo("config", "--worktree", "core.hooksPath", "elsewhere")
        before = picture(repo.path / ".git")
        with pytest.raises(CannotInstall, match="this worktree alone"):
            install(repo.path)
        assert picture(repo.path / ".git") == before


class TestCommand:
    @pytest.mark.slow
    def test_from_commit_to_document(
        self, gitdags: Run, repo: Repo, first: str, airflow_python: str
    ) -> None:
        """The whole way, by the process that the hook starts."""
        env = {"GITDAGS_PYTHON": airflow_python}
        assert gitdags("init", ".", **env).returncode == 0
        done = gitdags("hooks", "install", **env)
        assert done.returncode == 0, done.stderr
        assert "log.excludeDecoration" in done.stderr
        second = repo.commit({"dags/a.py": "raise ValueError('broken')\n"})
        end_of_handler(repo)
        assert not (repo.path / ".git/gitdags/handler").exists()
        found = json.loads(gitdags("--json", "deploys").stdout)
        assert [(d["ref"], d["old"], d["new"], d["source"]) for d in found] == [
            ("refs/heads/main", first, second, "hook")
        ]
        listed = gitdags("--json", "ls", "--no-parse", "--at", second, **env)
        assert json.loads(listed.stdout)["commit"] == second, listed.stderr
        shown = gitdags("deploys", "main")
        assert first[:12] in shown.stdout
        assert gitdags("hooks", "status").returncode == 0
        assert gitdags("hooks", "uninstall").returncode == 0
        assert gitdags("hooks", "status").returncode == 1

    def test_only_for_a_registered_repository(
        self, gitdags: Run, repo: Repo, first: str, tmp_path: Path
    ) -> None:
        other = Repo(tmp_path / "other")
        other.commit({"a": "1"})
        assert gitdags("init", str(other.path)).returncode == 0
        done = gitdags("hooks", "install")
        assert (done.returncode, done.stderr) == (
            3, "error: this repository is not registered\nhint: gitdags init .\n",
        )  # fmt: skip
        assert not (other.path / ".git/gitdags").exists()

    def test_not_for_mirrors(self, gitdags: Run, repo: Repo, first: str) -> None:
        gitdags("init", f"file://{repo.path}", "--name", "mirrored")
        done = gitdags("-r", "mirrored", "hooks", "install")
        assert done.returncode == 3
        assert "recorded by fetching" in done.stderr

    def test_the_log_says_what_went_wrong(
        self, gitdags: Run, repo: Repo, first: str, tmp_path: Path
    ) -> None:
        gitdags("init", ".")
        gitdags("hooks", "install")
        for file in (tmp_path / "home").glob("gitdags.db*"):
            file.unlink()
        (tmp_path / "home" / "gitdags.db").mkdir()
        repo.commit({"a": "2"})
        end_of_handler(repo)
        (tmp_path / "home" / "gitdags.db").rmdir()
        gitdags("init", ".")
        status = gitdags("hooks", "status")
        assert "unable to open database file" in status.stderr
        assert "wait to be taken in" in status.stderr
        assert len(json.loads(gitdags("--json", "deploys").stdout)) == 1

    def test_secrets_are_for_the_owner(self, gitdags: Run, repo: Repo, first: str) -> None:
        gitdags("init", ".")
        gitdags("hooks", "install")
        box = repo.path / ".git/gitdags"
        modes = {f.name: stat.S_IMODE(f.stat().st_mode) for f in box.iterdir()}
        assert (modes["installed.json"], modes["config.before"]) == (0o600, 0o600)
        assert sys.executable in (repo.path / ".git/hooks/post-commit").read_text()


def end_of_handler(repo: Repo) -> None:
    """Wait for the process that the hook started."""
    pid = int((repo.path / ".git/gitdags/handler").read_text())
    fd = os.pidfd_open(pid)
    try:
        ended, _, _ = select.select([fd], [], [], 120)
        assert ended
    finally:
        os.close(fd)


def test_is_found_from_a_linked_worktree(
    catalog: Catalog, repo: Repo, watched: RegisteredRepository, tmp_path: Path
) -> None:
    place = tmp_path / "linked"
    repo("worktree", "add", "-q", str(place))
    assert hooks.common_dir(place) == hooks.common_dir(repo.path)
    assert hooks.common_dir(tmp_path) is None
