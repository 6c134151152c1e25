"""The demo checks itself: every step is run and verified, also on somebody's own repository."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Repo, dag

DEMO = Path(__file__).parent.parent.parent / "scripts" / "demo.py"


@pytest.mark.slow
def test_all_right(real_history: Path, airflow_python: str) -> None:
    done = subprocess.run([sys.executable, DEMO, "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]
    assert done.stdout.rstrip().endswith("all right")


def test_on_a_repository_of_ones_own(repo: Repo, tmp_path: Path, airflow_python: str) -> None:
    repo.commit({"dags/a.py": dag("mine")})
    done = subprocess.run(
        [sys.executable, DEMO, "--check", str(repo.path)],
        capture_output=True,
        text=True,
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "mine" in done.stdout
