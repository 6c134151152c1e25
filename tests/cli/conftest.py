"""One small history, indexed once: what the commands are asked about."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gitdags.cli.main import main
from tests.conftest import Repo, dag

HELPER = "NAME = {value!r}\ndef name():\n    return NAME\n"
ETL = dag("etl", "extract", "load", body="from helper import name")


@dataclass(frozen=True)
class World:
    """A repository, its home, and its commits by name."""

    repo: Repo
    home: Path
    commits: dict[str, str]


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory, airflow_python: str) -> World:
    """begin, code, structure, broken, moved, end: one kind of change each."""
    folder = tmp_path_factory.mktemp("world")
    repo, home = Repo(folder / "sales"), folder / "home"
    commits = {
        "begin": repo.commit(
            {"dags/etl.py": ETL, "dags/helper.py": HELPER.format(value="a"),
             "dags/other.py": dag("other")},
            "the beginning",
        ),
        "code": repo.commit({"dags/helper.py": HELPER.format(value="b")}, "another name"),
        "structure": repo.commit(
            {"dags/etl.py": ETL.replace("'load'", "'store'").replace(
                "schedule=None", "schedule='@daily', tags=['x']")},
            "store instead of load",
        ),
        "broken": repo.commit({"dags/etl.py": ETL + "\nraise ValueError('no <b>way</b>')\n"}, "oops"),
        "moved": repo.commit(
            {"dags/etl.py": None, "dags/jobs/etl.py": ETL, "dags/other.py": None,
             "dags/late.py": dag("late")},
            "move, mend and replace",
        ),
    }  # fmt: skip
    repo("tag", "v1", commits["begin"])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(repo.path)
        patch.setenv("GITDAGS_HOME", str(home))
        patch.setenv("GITDAGS_PYTHON", airflow_python)
        assert main(["-q", "init", "."]) == 0
        assert main(["-q", "index", "--all"]) == 0
    return World(repo, home, commits)


Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(
    world: World,
    airflow_python: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Call:
    """The command, in the repository of the world: (exit code, stdout, stderr)."""
    monkeypatch.chdir(world.repo.path)
    monkeypatch.setenv("GITDAGS_HOME", str(world.home))
    monkeypatch.setenv("GITDAGS_PYTHON", airflow_python)
    capsys.readouterr()

    def run(*words: str) -> tuple[int, str, str]:
        try:
            code = main(words)
        except SystemExit as end:  # argparse's way to leave
            code = int(end.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture
def data(call: Call) -> Callable[..., Any]:
    """The command's JSON."""

    def run(*words: str) -> Any:
        code, out, err = call("--json", *words)
        assert (code, err) == (0, ""), err
        return json.loads(out)

    return run
