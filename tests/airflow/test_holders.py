"""Which trees of a depot stay: those that Airflow still holds, by its own books."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from gitdags import git
from gitdags.airflow import holders
from gitdags.depot import Depot, GitStock
from tests.conftest import Repo


@pytest.fixture
def depot(tmp_path: Path) -> Depot:
    return Depot(tmp_path / "depot")


@pytest.fixture
def commits(repo: Repo, depot: Depot) -> list[str]:
    """Four, each with a tree in the depot that was last asked for two hours ago."""
    made = [repo.commit({"dags/a.py": f"A = {n}\n"}) for n in range(4)]
    opened = git.Repository(repo.path)
    for commit in made:
        depot.tree(commit, GitStock(opened, opened.commit(commit).tree))
        age(depot, commit, 7_200)
    return made


@pytest.fixture
def storage(tmp_path: Path, depot: Depot, commits: list[str]) -> Path:
    """A bundle that holds the first by a version, the second by a task, the third as its current one."""
    bundle = tmp_path / "storage/sales"
    (bundle / "versions" / commits[0]).mkdir(parents=True)
    (tmp_path / "storage/_tracking/sales").mkdir(parents=True)
    (tmp_path / "storage/_tracking/sales" / commits[1]).write_text("now")
    (bundle / holders.CURRENT).symlink_to(depot.folder / "trees" / commits[2])
    holders.remember(depot, bundle)
    return bundle


def age(depot: Depot, commit: str, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(depot.folder / "lists" / commit, (then, then))


def test_what_no_bundle_holds_goes(depot: Depot, commits: list[str], storage: Path) -> None:
    assert holders.held(storage) == set(commits[:3])
    assert holders.clear(depot, dry=True) == [commits[3]]
    assert depot.commits() == sorted(commits)
    assert holders.clear(depot) == [commits[3]]
    assert depot.commits() == sorted(commits[:3])


def test_a_storage_that_cannot_be_seen_may_hold_anything(
    depot: Depot, commits: list[str], storage: Path
) -> None:
    storage.rename(storage.with_name("elsewhere"))
    assert holders.clear(depot) == []
    age(depot, commits[0], 31 * 86_400)
    assert holders.clear(depot) == [commits[0]]


def test_every_bundle_of_a_depot_counts(
    depot: Depot, commits: list[str], storage: Path, tmp_path: Path
) -> None:
    other = tmp_path / "storage/other"
    (other / "versions" / commits[3]).mkdir(parents=True)
    holders.remember(depot, other)
    holders.remember(depot, other)
    assert holders.clear(depot) == []
