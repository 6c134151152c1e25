"""gitdags gc: which trees of a depot go, and which stay."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from gitdags import git
from gitdags.airflow import holders
from gitdags.depot import Depot, GitStock
from tests.conftest import Repo, Run


@pytest.fixture
def commits(repo: Repo, tmp_path: Path) -> list[str]:
    """Four, each with a tree in the depot that was last asked for two hours ago."""
    depot = Depot(tmp_path / "home/depot")
    made = [repo.commit({"dags/a.py": f"A = {n}\n"}) for n in range(4)]
    opened = git.Repository(repo.path)
    for commit in made:
        depot.tree(commit, GitStock(opened, opened.commit(commit).tree))
        long_ago = time.time() - 7_200
        os.utime(depot.folder / "lists" / commit, (long_ago, long_ago))
    return made


@pytest.fixture
def storage(tmp_path: Path, commits: list[str]) -> Path:
    """A bundle that holds the first by a version, the second by a task, the third as its current one."""
    bundle = tmp_path / "storage/sales"
    (bundle / "versions" / commits[0]).mkdir(parents=True)
    (tmp_path / "storage/_tracking/sales").mkdir(parents=True)
    (tmp_path / "storage/_tracking/sales" / commits[1]).write_text("now")
    (bundle / "current").symlink_to(tmp_path / "home/depot/trees" / commits[2])
    holders.remember(Depot(tmp_path / "home/depot"), bundle)
    return bundle


def kept(tmp_path: Path) -> list[str]:
    return Depot(tmp_path / "home/depot").commits()


def test_what_no_bundle_holds_goes(
    gitdags: Run, commits: list[str], storage: Path, tmp_path: Path
) -> None:
    told = json.loads(gitdags("gc", "--dry-run", "--json").stdout)
    assert (told["trees"], told["dry_run"]) == ([commits[3]], True)
    assert kept(tmp_path) == sorted(commits)
    assert gitdags("gc").stdout == f"1 tree removed from {tmp_path / 'home/depot'}\n"
    assert kept(tmp_path) == sorted(commits[:3])


def test_a_storage_that_cannot_be_seen_may_hold_anything(
    gitdags: Run, commits: list[str], storage: Path, tmp_path: Path
) -> None:
    storage.rename(storage.with_name("elsewhere"))
    assert gitdags("gc").stdout.startswith("0 trees removed")
    month_ago = time.time() - 31 * 86_400
    os.utime(tmp_path / "home/depot/lists" / commits[0], (month_ago, month_ago))
    assert json.loads(gitdags("gc", "--json").stdout)["trees"] == [commits[0]]


def test_nothing_to_do(gitdags: Run, repo: Repo, tmp_path: Path) -> None:
    done = gitdags("gc", "--depot", str(tmp_path / "nowhere"))
    assert (done.returncode, done.stdout) == (0, f"0 trees removed from {tmp_path / 'nowhere'}\n")
