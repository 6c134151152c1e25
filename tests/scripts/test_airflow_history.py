"""The real history: the same ids whoever makes it, wherever."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent.parent / "scripts" / "airflow-history"
MAIN = "e615244df78301705d8d4799a3034d30a8be104c"


def git(path: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", path, *words], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_the_history_is_the_one_we_know(real_history: Path) -> None:
    assert git(real_history, "rev-parse", "main") == MAIN
    tags = git(real_history, "tag", "--sort=creatordate").splitlines()
    assert (len(tags), tags[0], tags[-1]) == (17, "1.10.15", "3.3.2")
    assert len(git(real_history, "rev-list", "main").splitlines()) == 17


@pytest.mark.parametrize(
    "environment",
    [
        {"TZ": "Asia/Kathmandu", "LANG": "C", "GIT_AUTHOR_NAME": "somebody"},
        {
            "GIT_DIR": "/nowhere",
            "GIT_COMMITTER_DATE": "2001-01-01T00:00:00Z",
            "GIT_CONFIG_COUNT": "0",
        },
    ],
)
def test_whatever_the_environment_says(
    real_history: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    subprocess.run(
        [sys.executable, SCRIPT, "-q", tmp_path / "made"],
        check=True,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        umask=0o077,
    )
    assert git(tmp_path / "made", "rev-parse", "main") == MAIN
    assert git(tmp_path / "made", "status", "--porcelain") == ""


def test_it_writes_over_nothing(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("1")
    done = subprocess.run([sys.executable, SCRIPT, tmp_path], capture_output=True, text=True)
    assert done.returncode == 3
    assert "hint: " in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
