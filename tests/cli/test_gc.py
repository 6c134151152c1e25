"""gitdags gc, as a person types it."""

from __future__ import annotations

import json
from pathlib import Path

from tests.conftest import Repo, Run, dag


def test_commits_that_history_has_lost(repo: Repo, gitdags: Run, airflow_python: str) -> None:
    repo.commit({"dags/a.py": dag("a")})
    lost = repo.commit({"dags/a.py": dag("a", "only_here")})
    kept = repo.commit({"dags/a.py": dag("a", "stamped")})
    assert gitdags("init", ".").returncode == 0
    assert gitdags("index", "--all").returncode == 0
    assert gitdags("stamp", "a", "run", "--at", kept).returncode == 0
    assert gitdags("gc").stderr == "nothing to remove\n"
    repo("reset", "-q", "--hard", "HEAD~2")
    repo("reflog", "expire", "--expire=now", "--all")
    repo("gc", "-q", "--prune=now")
    assert repo("cat-file", "-t", kept) == "commit"
    # The stamped commit's parent is its ancestor, and so is kept with it: nothing is lost yet.
    assert json.loads(gitdags("--json", "gc", "--dry-run").stdout)["removed"]["snapshots"] == 0
    assert repo("cat-file", "-t", lost) == "commit"


def test_what_is_gone_is_gone_and_said_before(
    repo: Repo, gitdags: Run, airflow_python: str
) -> None:
    repo.commit({"dags/a.py": dag("a")})
    repo.commit({"dags/a.py": dag("a", "only_here")})
    gitdags("init", ".")
    gitdags("index", "--all")
    repo("reset", "-q", "--hard", "HEAD~1")
    repo("reflog", "expire", "--expire=now", "--all")
    repo("gc", "-q", "--prune=now")
    would = gitdags("gc", "-n")
    assert "would go" in would.stderr
    assert {line.split()[0] for line in would.stdout.splitlines()} >= {"snapshots", "documents"}
    assert "gone" in gitdags("gc").stderr
    assert gitdags("gc").stderr == "nothing to remove\n"
    assert gitdags("ls", "--no-parse").returncode == 0


def test_a_depot_that_is_none(repo: Repo, gitdags: Run, tmp_path: Path) -> None:
    done = gitdags("gc", "--depot", str(tmp_path / "none"))
    assert done.returncode == 2
    assert "hint:" in done.stderr
